//! The calls about timetable, registers, reports, exports and settings.

use std::pin::Pin;
use std::task::{Context, Poll};

use rollcall_core::{Caller, GroupId, PeriodId, Role, page};
use rollcall_proto::v1;
use tokio_stream::Stream;
use tonic::Status;

use crate::convert::registers as convert;
use crate::exports::{Export, Notes, What};
use crate::{Attendance, AttendanceError};

/// Whether a caller may read the reasons that people gave. A viewer reads registers, not why a child was away.
fn notes(caller: &Caller) -> Notes {
    match caller.role {
        Role::Admin | Role::Office | Role::Teacher => Notes::Shown,
        Role::Viewer | Role::Terminal => Notes::Hidden,
    }
}

type Answered<T> = Result<T, AttendanceError>;

pub(super) async fn amend_mark(
    service: &Attendance,
    caller: &Caller,
    request: v1::AmendMarkRequest,
) -> Answered<v1::RegisterLine> {
    let (new, repeatable) = convert::new_mark(request, caller.name())?;
    let line = service.amend(new, repeatable, service.log().now()).await?;
    Ok(convert::line(&line, notes(caller)))
}

pub(super) async fn create_period(
    service: &Attendance,
    caller: &Caller,
    request: v1::CreatePeriodRequest,
) -> Answered<v1::Period> {
    let (period, repeatable) = convert::new_period(request, &caller.name())?;
    Ok(convert::period(service.create_period(period, repeatable, service.log().now()).await?))
}

pub(super) async fn get_period(service: &Attendance, request: v1::GetPeriodRequest) -> Answered<v1::Period> {
    let id = convert::named("name", &request.name, PeriodId::from_name)?;
    Ok(convert::period(service.period(id).await?))
}

pub(super) async fn list_periods(
    service: &Attendance,
    request: v1::ListPeriodsRequest,
) -> Answered<v1::ListPeriodsResponse> {
    let group = convert::named_or_none("group", &request.group, GroupId::from_name)?;
    let page = service.periods(group, page::size(request.page_size)?, &request.page_token).await?;
    let periods = page.items.into_iter().map(convert::period).collect();
    Ok(v1::ListPeriodsResponse { periods, next_page_token: page.next_token })
}

pub(super) async fn end_period(service: &Attendance, request: v1::EndPeriodRequest) -> Answered<v1::Period> {
    let id = convert::named("name", &request.name, PeriodId::from_name)?;
    let last_day = convert::needed_day("end_date", request.end_date)?;
    Ok(convert::period(service.end_period(id, last_day, request.etag).await?))
}

pub(super) async fn override_session(
    service: &Attendance,
    request: v1::OverrideSessionRequest,
) -> Answered<v1::Session> {
    let name = convert::session_name("session", &request.session)?;
    let session = service.override_session(name, convert::change(request.change)?).await?;
    Ok(convert::session(&session))
}

pub(super) async fn list_sessions(
    service: &Attendance,
    request: v1::ListSessionsRequest,
) -> Answered<v1::ListSessionsResponse> {
    let day = request.day.map(|day| convert::day("day", day)).transpose()?;
    let group = convert::named_or_none("group", &request.group, GroupId::from_name)?;
    let sessions = service.sessions_on(day, group, service.log().now()).await?;
    Ok(v1::ListSessionsResponse { sessions: sessions.iter().map(convert::session).collect() })
}

pub(super) async fn get_register(
    service: &Attendance,
    caller: &Caller,
    request: v1::GetRegisterRequest,
) -> Answered<v1::Register> {
    let name = convert::session_name("session", &request.session)?;
    Ok(convert::register(&service.register(name, service.log().now()).await?, notes(caller)))
}

pub(super) async fn close_register(
    service: &Attendance,
    caller: &Caller,
    request: v1::CloseRegisterRequest,
) -> Answered<v1::Register> {
    let name = convert::session_name("session", &request.session)?;
    let now = service.log().now();
    service.close(name, caller.name(), now).await?;
    Ok(convert::register(&service.register(name, now).await?, notes(caller)))
}

pub(super) async fn get_report(
    service: &Attendance,
    request: v1::GetReportRequest,
) -> Answered<v1::GetReportResponse> {
    let range = convert::report_range(&request)?;
    let size = page::size(request.page_size)?;
    let set = service.settings().await?.code_set;
    let (rows, next_page_token) =
        service.report(range, size, &request.page_token, service.log().now()).await?;
    let rows = rows.iter().map(|row| convert::report_row(row, set)).collect();
    Ok(v1::GetReportResponse { rows, next_page_token })
}

pub(super) async fn export(
    service: &Attendance,
    caller: &Caller,
    request: v1::ExportRequest,
) -> Answered<Pieces> {
    use v1::export_request::What as Asked;
    let what = match request.what {
        Some(Asked::Register(name)) => What::Register(convert::session_name("register", &name)?),
        Some(Asked::Report(report)) => What::Report(convert::report_range(&report)?),
        Some(Asked::Events(filter)) => What::Events(Some(filter).try_into()?),
        None => {
            let problem = "is missing; send events, register or report".to_owned();
            return Err(AttendanceError::Field { field: "what", problem });
        }
    };
    let format = convert::format(request.format)?;
    let export = service.export(what, format, notes(caller), service.log().now()).await?;
    Ok(Pieces { begun: false, export })
}

/// An export as messages: its name first, then its bytes.
pub(super) struct Pieces {
    begun: bool,
    export: Export,
}

impl Stream for Pieces {
    type Item = Result<v1::ExportResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.begun {
            self.begun = true;
            let file_name = std::mem::take(&mut self.export.file_name);
            let content_type = self.export.content_type.to_owned();
            return Poll::Ready(Some(Ok(v1::ExportResponse {
                file_name,
                content_type,
                ..Default::default()
            })));
        }
        self.export.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                let data = piece.map_err(Status::from)?.into();
                Ok(v1::ExportResponse { data, ..Default::default() })
            })
        })
    }
}

pub(super) async fn get_settings(service: &Attendance) -> Answered<v1::AttendanceSettings> {
    Ok(convert::settings(&service.settings().await?))
}

pub(super) async fn update_settings(
    service: &Attendance,
    request: v1::UpdateAttendanceSettingsRequest,
) -> Answered<v1::AttendanceSettings> {
    let (change, etag) = convert::settings_change(request)?;
    Ok(convert::settings(&service.change_settings(change, etag).await?))
}
