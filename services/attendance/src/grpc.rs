//! AttendanceService over gRPC: convert, call, convert. No rule lives here.

use std::pin::Pin;

use rollcall_core::{Caller, EventId, Fault, Reason, page};
use rollcall_proto::v1;
use rollcall_proto::v1::attendance_service_server::{AttendanceService, AttendanceServiceServer};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::record::ManualRecord;
use crate::store::events::EventFilter;
use crate::{Attendance, AttendanceError};

mod registers;

/// The service, to add to a server.
pub fn service(attendance: Attendance) -> AttendanceServiceServer<Attendance> {
    AttendanceServiceServer::new(attendance)
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl From<AttendanceError> for Status {
    fn from(error: AttendanceError) -> Self {
        status(error.fault())
    }
}

fn status(fault: Fault) -> Status {
    rollcall_proto::status(fault.reason.code().grpc(), fault.message, fault.reason.as_str(), fault.metadata)
}

/// Who makes the call: put there by the server once it has checked that they may.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().copied();
    caller.ok_or_else(|| status(Fault::new(Reason::Internal, "the call came without its caller")))
}

#[tonic::async_trait]
impl AttendanceService for Attendance {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        caller(&request)?;
        let request = request.into_inner();
        let size = page::size(request.page_size).map_err(status)?;
        let filter = EventFilter::try_from(request.filter)?;
        Ok(Response::new(Attendance::list_events(self, &request.cursor, &filter, size).await?.into()))
    }

    type WatchEventsStream = Streamed<v1::WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        caller(&request)?;
        let request = request.into_inner();
        let filter = EventFilter::try_from(request.filter)?;
        let watched = Attendance::watch_events(self, &request.cursor, filter).await?;
        let stream = ReceiverStream::new(watched)
            .map(|watched| watched.map(v1::WatchEventsResponse::from).map_err(Status::from));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_event(&self, request: Request<v1::GetEventRequest>) -> Result<Response<v1::Event>, Status> {
        caller(&request)?;
        let name = request.into_inner().name;
        let id = EventId::from_name(&name).map_err(|bad| AttendanceError::name("name", &bad))?;
        Ok(Response::new(self.event(id).await?.into()))
    }

    async fn record_manually(
        &self,
        request: Request<v1::RecordManuallyRequest>,
    ) -> Result<Response<v1::Event>, Status> {
        let caller = caller(&request)?;
        let record = ManualRecord::try_from(request.into_inner())?;
        Ok(Response::new(Attendance::record_manually(self, caller, record).await?.into()))
    }

    async fn amend_mark(
        &self,
        request: Request<v1::AmendMarkRequest>,
    ) -> Result<Response<v1::RegisterLine>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(registers::amend_mark(self, &caller, request.into_inner()).await?))
    }

    async fn create_period(
        &self,
        request: Request<v1::CreatePeriodRequest>,
    ) -> Result<Response<v1::Period>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(registers::create_period(self, &caller, request.into_inner()).await?))
    }

    async fn get_period(
        &self,
        request: Request<v1::GetPeriodRequest>,
    ) -> Result<Response<v1::Period>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::get_period(self, request.into_inner()).await?))
    }

    async fn list_periods(
        &self,
        request: Request<v1::ListPeriodsRequest>,
    ) -> Result<Response<v1::ListPeriodsResponse>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::list_periods(self, request.into_inner()).await?))
    }

    async fn end_period(
        &self,
        request: Request<v1::EndPeriodRequest>,
    ) -> Result<Response<v1::Period>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::end_period(self, request.into_inner()).await?))
    }

    async fn override_session(
        &self,
        request: Request<v1::OverrideSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::override_session(self, request.into_inner()).await?))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::list_sessions(self, request.into_inner()).await?))
    }

    async fn get_register(
        &self,
        request: Request<v1::GetRegisterRequest>,
    ) -> Result<Response<v1::Register>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(registers::get_register(self, &caller, request.into_inner()).await?))
    }

    async fn close_register(
        &self,
        request: Request<v1::CloseRegisterRequest>,
    ) -> Result<Response<v1::Register>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(registers::close_register(self, &caller, request.into_inner()).await?))
    }

    async fn get_report(
        &self,
        request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::GetReportResponse>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::get_report(self, request.into_inner()).await?))
    }

    type ExportStream = Streamed<v1::ExportResponse>;

    async fn export(
        &self,
        request: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(Box::pin(registers::export(self, &caller, request.into_inner()).await?)))
    }

    async fn get_attendance_settings(
        &self,
        request: Request<v1::GetAttendanceSettingsRequest>,
    ) -> Result<Response<v1::AttendanceSettings>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::get_settings(self).await?))
    }

    async fn update_attendance_settings(
        &self,
        request: Request<v1::UpdateAttendanceSettingsRequest>,
    ) -> Result<Response<v1::AttendanceSettings>, Status> {
        caller(&request)?;
        Ok(Response::new(registers::update_settings(self, request.into_inner()).await?))
    }
}
