//! `TerminalService` over gRPC: converts, calls, converts. Here a terminal's, in `fleet` a hub's.

mod adoption;
mod fleet;

use std::pin::Pin;
use std::sync::Arc;

use rollcall_core::{Caller, Fault, PersonId, Reason, TerminalId, page};
use rollcall_proto::v1;
use rollcall_proto::v1::terminal_service_server::{TerminalService, TerminalServiceServer};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::convert::{
    groups, lockdown_to_proto, mask_from_proto, revised_to_proto, settings_from_proto, status_to_proto,
};
use crate::joining::{HowToJoin, JoinStep, Joining};
use crate::{Device, Enrolment, TerminalError, Terminals};

pub use self::fleet::{FleetGrpc, fleet_service};
pub use adoption::{AdoptionGrpc, adoption_service};

/// The service, to add to a server. `software` is the version that terminals of this program tell.
pub fn service<D: Device>(
    terminals: Terminals<D>,
    software: &'static str,
) -> TerminalServiceServer<impl TerminalService> {
    TerminalServiceServer::new(Grpc::new(terminals, software))
}

/// The gRPC face of [`Terminals`].
pub struct Grpc<D> {
    terminals: Terminals<D>,
    /// Version of the program.
    software: &'static str,
    joining: Option<Arc<dyn Joining>>,
}

impl<D: Device> Grpc<D> {
    /// `software` is the version that terminals of this program tell.
    pub fn new(terminals: Terminals<D>, software: &'static str) -> Self {
        Self { terminals, software, joining: None }
    }

    /// The same for a terminal that can join a hub.
    #[must_use]
    pub fn with_joining(self, joining: Arc<dyn Joining>) -> Self {
        Self { joining: Some(joining), ..self }
    }

    fn joining(&self, what: &'static str) -> Result<&Arc<dyn Joining>, Status> {
        self.joining.as_ref().ok_or_else(|| refused(TerminalError::NotServedHere(what)))
    }

    async fn terminal(&self, id: TerminalId) -> Result<v1::Terminal, TerminalError> {
        let settings = self.terminals.settings(id).await?.settings;
        Ok(v1::Terminal {
            name: id.name(),
            display_name: settings.display_name,
            adopt_time: None,
            revoke_time: None,
            software: self.software.to_owned(),
        })
    }
}

fn refused(error: TerminalError) -> Status {
    status(error.fault())
}

fn status(fault: Fault) -> Status {
    rollcall_proto::status(fault.reason.code().grpc(), fault.message, fault.reason.as_str(), fault.metadata)
}

fn id(name: &str) -> Result<TerminalId, Status> {
    TerminalId::from_name(name).map_err(|error| refused(error.into()))
}

fn by<T>(request: &Request<T>) -> Result<String, Status> {
    let caller = request.extensions().get::<Caller>().map(Caller::name);
    caller.ok_or_else(|| status(Fault::new(Reason::Internal, "the server has not said who calls")))
}

fn join_step_to_proto(step: JoinStep) -> v1::JoinHubProgress {
    use v1::JoinHubState as State;
    let (state, address, digits) = match step {
        JoinStep::Searching => (State::Searching, String::new(), String::new()),
        JoinStep::Waiting { address, digits } => (State::Waiting, address, digits),
        JoinStep::Adopted { address } => (State::Adopted, address, String::new()),
        JoinStep::Refused { address } => (State::Refused, address, String::new()),
    };
    v1::JoinHubProgress { state: state.into(), address, digits }
}

fn hub_alone<T>(what: &'static str) -> Result<T, Status> {
    Err(refused(TerminalError::NotServedHere(what)))
}

#[tonic::async_trait]
impl<D: Device> TerminalService for Grpc<D> {
    async fn list_terminals(
        &self,
        request: Request<v1::ListTerminalsRequest>,
    ) -> Result<Response<v1::ListTerminalsResponse>, Status> {
        let request = request.into_inner();
        page::size(request.page_size).map_err(status)?;
        page::key("terminals", &request.page_token).map_err(status)?;
        let terminal = self.terminal(self.terminals.identity().terminal).await.map_err(refused)?;
        Ok(Response::new(v1::ListTerminalsResponse {
            terminals: vec![terminal],
            next_page_token: String::new(),
        }))
    }

    async fn get_terminal(
        &self,
        request: Request<v1::GetTerminalRequest>,
    ) -> Result<Response<v1::Terminal>, Status> {
        let terminal = self.terminal(id(&request.get_ref().name)?).await;
        terminal.map(Response::new).map_err(refused)
    }

    async fn get_terminal_status(
        &self,
        request: Request<v1::GetTerminalStatusRequest>,
    ) -> Result<Response<v1::TerminalStatus>, Status> {
        let status = self.terminals.status(id(&request.get_ref().name)?).await;
        status.map(|status| Response::new(status_to_proto(status))).map_err(refused)
    }

    async fn open_door(&self, request: Request<v1::OpenDoorRequest>) -> Result<Response<()>, Status> {
        let by = by(&request)?;
        let opened = self.terminals.open_door(id(&request.get_ref().name)?, by).await;
        opened.map(Response::new).map_err(refused)
    }

    async fn set_lockdown(
        &self,
        request: Request<v1::SetLockdownRequest>,
    ) -> Result<Response<v1::Lockdown>, Status> {
        let by = by(&request)?;
        let request = request.into_inner();
        let exempt = groups(&request.exempt_groups).map_err(refused)?;
        let set = self.terminals.set_lockdown(id(&request.terminal)?, request.lockdown, exempt, by).await;
        set.map(|lockdown| Response::new(lockdown_to_proto(&lockdown))).map_err(refused)
    }

    async fn update_terminal_settings(
        &self,
        request: Request<v1::UpdateTerminalSettingsRequest>,
    ) -> Result<Response<v1::TerminalSettings>, Status> {
        let by = by(&request)?;
        let request = request.into_inner();
        let terminal = id(&request.terminal)?;
        let mask = mask_from_proto(request.update_mask).map_err(refused)?;
        let wanted = request.settings.unwrap_or_default();
        let etag = wanted.etag.clone();
        let wanted = settings_from_proto(wanted).map_err(refused)?;
        let updated = self.terminals.update(terminal, wanted, mask, etag, by).await;
        updated.map(|revised| Response::new(revised_to_proto(&revised))).map_err(refused)
    }

    async fn get_terminal_settings(
        &self,
        request: Request<v1::GetTerminalSettingsRequest>,
    ) -> Result<Response<v1::TerminalSettings>, Status> {
        let settings = self.terminals.settings(id(&request.get_ref().terminal)?).await;
        settings.map(|revised| Response::new(revised_to_proto(&revised))).map_err(refused)
    }

    type EnrolAtCameraStream = Pin<Box<dyn Stream<Item = Result<v1::EnrolmentProgress, Status>> + Send>>;

    async fn enrol_at_camera(
        &self,
        request: Request<v1::EnrolAtCameraRequest>,
    ) -> Result<Response<Self::EnrolAtCameraStream>, Status> {
        let request = request.into_inner();
        let person = PersonId::from_name(&request.person).map_err(|error| refused(error.into()))?;
        let enrolment = Enrolment { person, accept_look_alike: request.accept_look_alike };
        let enrolling = self.terminals.enrol(id(&request.terminal)?, enrolment).await.map_err(refused)?;
        Ok(Response::new(Box::pin(enrolling.map(|progress| progress.map_err(status)))))
    }

    type JoinHubStream = Pin<Box<dyn Stream<Item = Result<v1::JoinHubProgress, Status>> + Send>>;

    async fn join_hub(
        &self,
        request: Request<v1::JoinHubRequest>,
    ) -> Result<Response<Self::JoinHubStream>, Status> {
        let request = request.into_inner();
        let how = HowToJoin::asked(&request.address, &request.token)
            .map_err(|error| refused(TerminalError::Field { field: "token", problem: error.to_string() }))?;
        let steps = self.joining("joining a hub")?.join(how).map_err(status)?;
        Ok(Response::new(Box::pin(steps.map(|step| step.map(join_step_to_proto).map_err(status)))))
    }

    async fn leave_hub(
        &self,
        _: Request<v1::LeaveHubRequest>,
    ) -> Result<Response<v1::LeaveHubResponse>, Status> {
        self.joining("leaving a hub")?.leave().await.map_err(refused)?;
        Ok(Response::new(v1::LeaveHubResponse {}))
    }

    async fn list_adoption_requests(
        &self,
        _: Request<v1::ListAdoptionRequestsRequest>,
    ) -> Result<Response<v1::ListAdoptionRequestsResponse>, Status> {
        hub_alone("listing adoption requests")
    }

    async fn adopt_terminal(
        &self,
        _: Request<v1::AdoptTerminalRequest>,
    ) -> Result<Response<v1::Terminal>, Status> {
        hub_alone("adopting a terminal")
    }

    async fn create_adoption_token(
        &self,
        _: Request<v1::CreateAdoptionTokenRequest>,
    ) -> Result<Response<v1::AdoptionToken>, Status> {
        hub_alone("making an adoption token")
    }

    async fn revoke_terminal(
        &self,
        _: Request<v1::RevokeTerminalRequest>,
    ) -> Result<Response<v1::Terminal>, Status> {
        hub_alone("revoking a terminal")
    }
}
