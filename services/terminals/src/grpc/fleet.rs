//! `TerminalService` of a hub: of every terminal that it adopted.

use std::pin::Pin;
use std::sync::Arc;

use rollcall_core::{Fault, Reason, TerminalId, UtcInstant, page};
use rollcall_proto::v1;
use rollcall_proto::v1::terminal_service_server::{TerminalService, TerminalServiceServer};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{by, id, refused, status};
use crate::convert::{
    asking_to_proto, groups, lockdown_to_proto, mask_from_proto, registered_to_proto, revised_to_proto,
    settings_from_proto, timestamp,
};
use crate::{Adopting, Fleet, Registered, TerminalError};

/// The list that a page token belongs to.
const LIST: &str = "terminals";

/// A hub's service, to add to a server. Without `adopting` it adopts nobody.
pub fn fleet_service(
    fleet: Fleet,
    adopting: Option<Arc<dyn Adopting>>,
) -> TerminalServiceServer<impl TerminalService> {
    TerminalServiceServer::new(FleetGrpc::new(fleet, adopting))
}

/// The gRPC face of [`Fleet`].
pub struct FleetGrpc {
    fleet: Fleet,
    adopting: Option<Arc<dyn Adopting>>,
}

impl FleetGrpc {
    /// Without `adopting` it adopts nobody.
    pub fn new(fleet: Fleet, adopting: Option<Arc<dyn Adopting>>) -> Self {
        Self { fleet, adopting }
    }

    fn adopting(&self, what: &str) -> Result<&dyn Adopting, Status> {
        let problem = || format!("{what} is not served by this process of the hub; ask another");
        self.adopting.as_deref().ok_or_else(|| status(Fault::new(Reason::NotServedHere, problem())))
    }
}

/// The key of a terminal in the list: its id, then its name.
fn page_key(last: &Registered) -> Vec<u8> {
    [last.terminal.as_bytes(), last.display_name.as_bytes()].concat()
}

fn page_start(key: &[u8]) -> Result<(TerminalId, &str), Status> {
    let parts = key
        .split_at_checked(16)
        .and_then(|(id, name)| Some((TerminalId::try_from(id).ok()?, std::str::from_utf8(name).ok()?)));
    parts.ok_or_else(|| {
        let problem = "page_token is not one of this list; begin again without one";
        status(Fault::new(Reason::PageTokenInvalid, problem))
    })
}

#[tonic::async_trait]
impl TerminalService for FleetGrpc {
    async fn list_terminals(
        &self,
        request: Request<v1::ListTerminalsRequest>,
    ) -> Result<Response<v1::ListTerminalsResponse>, Status> {
        let request = request.into_inner();
        let size = page::size(request.page_size).map_err(status)?;
        let key = page::key(LIST, &request.page_token).map_err(status)?;
        let after = key.as_deref().map(page_start).transpose()?.map(|(terminal, name)| (name, terminal));
        // One more tells whether there is a further page.
        let mut found = self.fleet.list(after, size.saturating_add(1)).await.map_err(refused)?;
        let has_more = found.len() > size;
        found.truncate(size);
        let last = found.last().filter(|_| has_more);
        let next_page_token = last.map_or_else(String::new, |last| page::token(LIST, &page_key(last)));
        let terminals = found.iter().map(registered_to_proto).collect();
        Ok(Response::new(v1::ListTerminalsResponse { terminals, next_page_token }))
    }

    async fn get_terminal(
        &self,
        request: Request<v1::GetTerminalRequest>,
    ) -> Result<Response<v1::Terminal>, Status> {
        let terminal = self.fleet.get(id(&request.get_ref().name)?).await.map_err(refused)?;
        Ok(Response::new(registered_to_proto(&terminal)))
    }

    async fn get_terminal_status(
        &self,
        request: Request<v1::GetTerminalStatusRequest>,
    ) -> Result<Response<v1::TerminalStatus>, Status> {
        let status = self.fleet.status(id(&request.get_ref().name)?).await;
        status.map(Response::new).map_err(refused)
    }

    async fn open_door(&self, request: Request<v1::OpenDoorRequest>) -> Result<Response<()>, Status> {
        let by = by(&request)?;
        let opened = self.fleet.open_door(id(&request.get_ref().name)?, by).await;
        opened.map(Response::new).map_err(refused)
    }

    async fn set_lockdown(
        &self,
        request: Request<v1::SetLockdownRequest>,
    ) -> Result<Response<v1::Lockdown>, Status> {
        let by = by(&request)?;
        let request = request.into_inner();
        let exempt = groups(&request.exempt_groups).map_err(refused)?;
        let set = self.fleet.set_lockdown(id(&request.terminal)?, request.lockdown, exempt, by).await;
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
        let updated = self.fleet.update(terminal, wanted, mask, etag, by).await;
        updated.map(|revised| Response::new(revised_to_proto(&revised))).map_err(refused)
    }

    async fn get_terminal_settings(
        &self,
        request: Request<v1::GetTerminalSettingsRequest>,
    ) -> Result<Response<v1::TerminalSettings>, Status> {
        let settings = self.fleet.settings(id(&request.get_ref().terminal)?).await;
        settings.map(|revised| Response::new(revised_to_proto(&revised))).map_err(refused)
    }

    type EnrolAtCameraStream = Pin<Box<dyn Stream<Item = Result<v1::EnrolmentProgress, Status>> + Send>>;

    async fn enrol_at_camera(
        &self,
        request: Request<v1::EnrolAtCameraRequest>,
    ) -> Result<Response<Self::EnrolAtCameraStream>, Status> {
        let terminal = self.fleet.get(id(&request.get_ref().terminal)?).await.map_err(refused)?;
        Err(refused(TerminalError::Unreachable(format!(
            "the hub cannot guide somebody before the camera of {} ({}): begin the enrolment at the terminal's own \
             screen, or enrol pictures with EnrolPicture",
            terminal.display_name,
            terminal.terminal.name()
        ))))
    }

    type JoinHubStream = Pin<Box<dyn Stream<Item = Result<v1::JoinHubProgress, Status>> + Send>>;

    async fn join_hub(
        &self,
        _: Request<v1::JoinHubRequest>,
    ) -> Result<Response<Self::JoinHubStream>, Status> {
        Err(refused(TerminalError::NotServedByHub("joining a hub")))
    }

    async fn leave_hub(
        &self,
        _: Request<v1::LeaveHubRequest>,
    ) -> Result<Response<v1::LeaveHubResponse>, Status> {
        Err(refused(TerminalError::NotServedByHub("leaving a hub")))
    }

    async fn list_adoption_requests(
        &self,
        _: Request<v1::ListAdoptionRequestsRequest>,
    ) -> Result<Response<v1::ListAdoptionRequestsResponse>, Status> {
        let adopting = self.adopting("listing adoption requests")?;
        let asking = adopting.list(UtcInstant::now()).await.map_err(refused)?;
        let requests = asking.into_iter().map(asking_to_proto).collect();
        Ok(Response::new(v1::ListAdoptionRequestsResponse { requests }))
    }

    async fn adopt_terminal(
        &self,
        request: Request<v1::AdoptTerminalRequest>,
    ) -> Result<Response<v1::Terminal>, Status> {
        let by = by(&request)?;
        let v1::AdoptTerminalRequest { terminal, display_name, digits } = request.into_inner();
        let terminal = id(&terminal)?;
        let adopting = self.adopting("adopting a terminal")?;
        adopting.adopt(terminal, display_name, digits, by, UtcInstant::now()).await.map_err(refused)?;
        let terminal = self.fleet.get(terminal).await.map_err(refused)?;
        Ok(Response::new(registered_to_proto(&terminal)))
    }

    async fn create_adoption_token(
        &self,
        request: Request<v1::CreateAdoptionTokenRequest>,
    ) -> Result<Response<v1::AdoptionToken>, Status> {
        let by = by(&request)?;
        let adopting = self.adopting("making an adoption token")?;
        let display_name = request.into_inner().display_name;
        let token = adopting.create_token(display_name, by, UtcInstant::now()).await.map_err(refused)?;
        let expire_time = Some(timestamp(token.expires));
        Ok(Response::new(v1::AdoptionToken { token: token.text, expire_time }))
    }

    async fn revoke_terminal(
        &self,
        request: Request<v1::RevokeTerminalRequest>,
    ) -> Result<Response<v1::Terminal>, Status> {
        let by = by(&request)?;
        let revoked = self.fleet.revoke(id(&request.get_ref().name)?, by, UtcInstant::now()).await;
        revoked.map(|terminal| Response::new(registered_to_proto(&terminal))).map_err(refused)
    }
}
