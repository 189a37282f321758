//! `SyncService` over gRPC: converts, calls, converts.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use rollcall_core::{Caller, CallerId, Fault, PeerAddress, Reason, TerminalId, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::pull_gallery_response::Part;
use rollcall_proto::v1::sync_service_server::{SyncService, SyncServiceServer};
use tonic::{Request, Response, Status, Streaming};

use crate::SyncError;
use crate::hub::{Hub, Pulled};

/// The service, to add to a hub's server.
pub fn service(hub: Hub) -> SyncServiceServer<impl SyncService> {
    // The server has looked at the size of a message before.
    SyncServiceServer::new(Grpc { hub }).max_decoding_message_size(usize::MAX)
}

struct Grpc {
    hub: Hub,
}

type Sending<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn refused(error: SyncError) -> Status {
    let fault = error.fault();
    rollcall_proto::status(fault.reason.code().grpc(), fault.message, fault.reason.as_str(), fault.metadata)
}

/// Whose certificate it is.
fn terminal<T>(request: &Request<T>) -> Result<TerminalId, Status> {
    match request.extensions().get::<Caller>().map(|caller| caller.id) {
        Some(CallerId::Terminal(terminal)) => Ok(terminal),
        _ => Err(refused(SyncError::Refused(Fault::new(
            Reason::RoleForbids,
            "only a terminal calls this, with its certificate",
        )))),
    }
}

#[tonic::async_trait]
impl SyncService for Grpc {
    async fn open(&self, request: Request<v1::Hello>) -> Result<Response<v1::Welcome>, Status> {
        let terminal = terminal(&request)?;
        let address = request.extensions().get::<PeerAddress>().map(|address| address.0.to_string());
        let welcome = self.hub.open(terminal, request.into_inner(), address.unwrap_or_default()).await;
        welcome.map(Response::new).map_err(refused)
    }

    async fn push(&self, request: Request<v1::PushRequest>) -> Result<Response<v1::Ack>, Status> {
        let ack = self.hub.push(terminal(&request)?, request.into_inner()).await;
        ack.map(Response::new).map_err(refused)
    }

    type PullGalleryStream = Sending<v1::PullGalleryResponse>;

    async fn pull_gallery(
        &self,
        request: Request<v1::PullGalleryRequest>,
    ) -> Result<Response<Self::PullGalleryStream>, Status> {
        let pulled = self.hub.pull_gallery(terminal(&request)?, request.into_inner().have).await;
        let parts: Sending<Part> = match pulled.map_err(refused)? {
            Pulled::Delta(chunks, end) => {
                let parts = chunks.into_iter().map(Part::Delta).chain([Part::End(end)]);
                Box::pin(stream::iter(parts.map(Ok)))
            }
            Pulled::Snapshot(snapshot) => {
                let begin = Part::SnapshotBegin(snapshot.begin());
                let rest = stream::try_unfold(Some(snapshot), async |left| {
                    let Some(mut snapshot) = left else { return Ok(None) };
                    match snapshot.next().await.map_err(|error| refused(error.into()))? {
                        Some(rows) => Ok(Some((Part::Snapshot(rows), Some(snapshot)))),
                        None => Ok(Some((Part::SnapshotEnd(snapshot.end()), None))),
                    }
                });
                Box::pin(stream::iter([Ok(begin)]).chain(rest))
            }
        };
        Ok(Response::new(Box::pin(parts.map_ok(|part| v1::PullGalleryResponse { part: Some(part) }))))
    }

    async fn offer_gallery(
        &self,
        request: Request<Streaming<v1::OfferGalleryRequest>>,
    ) -> Result<Response<v1::OfferGalleryResponse>, Status> {
        let terminal = terminal(&request)?;
        let mut offers = request.into_inner();
        let mut all = v1::OfferGalleryResponse::default();
        while let Some(offer) = offers.try_next().await? {
            let taken = self.hub.take_back(terminal, offer).await.map_err(refused)?;
            all.taken += taken.taken;
            all.refused += taken.refused;
        }
        Ok(Response::new(all))
    }

    async fn exchange_ledger(
        &self,
        request: Request<v1::ExchangeLedgerRequest>,
    ) -> Result<Response<v1::ExchangeLedgerResponse>, Status> {
        let answer = self.hub.exchange_ledger(terminal(&request)?, request.into_inner()).await;
        answer.map(Response::new).map_err(refused)
    }

    type NotifyStream = Sending<v1::Hint>;

    async fn notify(
        &self,
        request: Request<v1::NotifyRequest>,
    ) -> Result<Response<Self::NotifyStream>, Status> {
        let news = self.hub.news(terminal(&request)?).await.map_err(refused)?;
        let hints = stream::try_unfold(news, async |mut news| {
            let hint = news.next().await.map_err(refused)?;
            Ok(hint.map(|hint| (hint, news)))
        });
        Ok(Response::new(Box::pin(hints)))
    }

    async fn pull_settings(
        &self,
        request: Request<v1::PullSettingsRequest>,
    ) -> Result<Response<v1::PullSettingsResponse>, Status> {
        self.hub.settings(terminal(&request)?).await.map(Response::new).map_err(refused)
    }

    async fn report_status(
        &self,
        request: Request<v1::ReportStatusRequest>,
    ) -> Result<Response<v1::ReportStatusResponse>, Status> {
        let terminal = terminal(&request)?;
        self.hub.report(terminal, request.into_inner()).await.map_err(refused)?;
        Ok(Response::new(v1::ReportStatusResponse {}))
    }

    async fn offer_people(
        &self,
        request: Request<Streaming<v1::OfferPeopleRequest>>,
    ) -> Result<Response<v1::OfferPeopleResponse>, Status> {
        let terminal = terminal(&request)?;
        let mut offers = request.into_inner();
        let mut taken = 0;
        let mut people = Vec::new();
        while let Some(person) = offers.try_next().await? {
            people.push(person);
            if people.len() == limits::PROPOSALS_AT_ONCE {
                taken += self.hub.propose(terminal, std::mem::take(&mut people)).await.map_err(refused)?;
            }
        }
        if !people.is_empty() {
            taken += self.hub.propose(terminal, people).await.map_err(refused)?;
        }
        Ok(Response::new(v1::OfferPeopleResponse { taken }))
    }

    async fn answer_command(
        &self,
        request: Request<v1::AnswerCommandRequest>,
    ) -> Result<Response<v1::AnswerCommandResponse>, Status> {
        let terminal = terminal(&request)?;
        self.hub.answered(terminal, request.get_ref()).await.map_err(refused)?;
        Ok(Response::new(v1::AnswerCommandResponse {}))
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let chain = self.hub.renew(terminal(&request)?, &request.get_ref().csr).await.map_err(refused)?;
        let chain = chain.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::RenewCertificateResponse { chain }))
    }
}
