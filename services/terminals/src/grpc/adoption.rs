//! `AdoptionService` over gRPC: converts, calls, converts.

use rollcall_core::{Fault, PeerAddress, Reason, TerminalId, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::adoption_service_server::{AdoptionService, AdoptionServiceServer};
use tonic::{Request, Response, Status};

use super::{refused, status};
use crate::TerminalError;
use crate::adoption::{Adoptions, Applicant, Granted};

/// The service of a hub, to add to its server.
pub fn adoption_service(adoptions: Adoptions) -> AdoptionServiceServer<impl AdoptionService> {
    AdoptionServiceServer::new(AdoptionGrpc::new(adoptions))
}

/// The gRPC face of [`Adoptions`].
pub struct AdoptionGrpc {
    adoptions: Adoptions,
}

impl AdoptionGrpc {
    /// The face of these.
    pub fn new(adoptions: Adoptions) -> Self {
        Self { adoptions }
    }
}

/// Where a call comes from.
fn address<T>(request: &Request<T>) -> Result<std::net::IpAddr, Status> {
    let address = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    address
        .ok_or_else(|| status(Fault::new(Reason::Internal, "the server has not said where the call is from")))
}

fn bytes<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], Status> {
    let problem = || format!("has {} bytes; it has to have {N}", bytes.len());
    bytes.try_into().map_err(|_| refused(TerminalError::Field { field, problem: problem() }))
}

fn applicant(applicant: Option<v1::Applicant>) -> Result<Applicant, Status> {
    let applicant = applicant.unwrap_or_default();
    Ok(Applicant {
        terminal: TerminalId::from_bytes(bytes("applicant.terminal_id", &applicant.terminal_id)?),
        hardware: applicant.hw_id,
        display_name: applicant.display_name,
        software: applicant.software,
        csr: applicant.csr.to_vec(),
        people: applicant.people,
        events: applicant.events,
    })
}

fn adoption(granted: Granted) -> v1::Adoption {
    v1::Adoption {
        chain: granted.chain.into_iter().map(Into::into).collect(),
        authorities: granted.authorities.into_iter().map(Into::into).collect(),
        addresses: granted.site.addresses,
        site: granted.site.name,
    }
}

#[tonic::async_trait]
impl AdoptionService for AdoptionGrpc {
    async fn begin_adoption(
        &self,
        request: Request<v1::BeginAdoptionRequest>,
    ) -> Result<Response<v1::BeginAdoptionResponse>, Status> {
        let address = address(&request)?;
        let request = request.into_inner();
        let commitment = bytes("commitment", &request.commitment)?;
        let applicant = applicant(request.applicant)?;
        let begun = self.adoptions.begin(applicant, commitment, address, UtcInstant::now()).await;
        let begun = begun.map_err(refused)?;
        Ok(Response::new(v1::BeginAdoptionResponse {
            request_id: begun.request_id.to_vec().into(),
            hub_nonce: begun.hub_nonce.to_vec().into(),
        }))
    }

    async fn reveal_adoption(
        &self,
        request: Request<v1::RevealAdoptionRequest>,
    ) -> Result<Response<v1::RevealAdoptionResponse>, Status> {
        let request = request.into_inner();
        let (id, nonce) = (bytes("request_id", &request.request_id)?, bytes("nonce", &request.nonce)?);
        self.adoptions.reveal(id, nonce, UtcInstant::now()).await.map_err(refused)?;
        Ok(Response::new(v1::RevealAdoptionResponse {}))
    }

    async fn await_adoption(
        &self,
        request: Request<v1::AwaitAdoptionRequest>,
    ) -> Result<Response<v1::AwaitAdoptionResponse>, Status> {
        let id = bytes("request_id", &request.get_ref().request_id)?;
        let granted = self.adoptions.wait(id, UtcInstant::now()).await.map_err(refused)?;
        Ok(Response::new(v1::AwaitAdoptionResponse { adoption: granted.map(adoption) }))
    }

    async fn redeem_adoption_token(
        &self,
        request: Request<v1::RedeemAdoptionTokenRequest>,
    ) -> Result<Response<v1::Adoption>, Status> {
        let address = address(&request)?;
        let request = request.into_inner();
        let applicant = applicant(request.applicant)?;
        let granted = self.adoptions.redeem(&request.secret, applicant, address, UtcInstant::now()).await;
        granted.map(|granted| Response::new(adoption(granted))).map_err(refused)
    }
}
