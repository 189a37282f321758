//! Timetable, registers and reports between the contract's types and ours.

use rollcall_core::{
    BadName, GroupId, Hours, PeriodId, PersonId, SiteDay, SiteTime, SiteZone, TerminalId, UtcInstant,
    Weekdays, limits,
};
use rollcall_proto::v1;
use rollcall_store::requests::RequestId;
use sha2::{Digest as _, Sha256};

use crate::AttendanceError;
use crate::codes::{Code, CodeSet, State, find};
use crate::exports::{Format, Notes};
use crate::planning::{Repeatable, SettingsChange};
use crate::register::{self, Mark};
use crate::registers::{Line, NewMark, Register};
use crate::reports::{ReportRange, ReportRow, Subject};
use crate::store::timetable::{Settings, StoredPeriod};
use crate::timetable::{Override, Period, Session, SessionName};

fn field(field: &'static str, problem: impl Into<String>) -> AttendanceError {
    AttendanceError::Field { field, problem: problem.into() }
}

/// Reads a resource name in a field.
pub(crate) fn named<T>(
    name_of: &'static str,
    name: &str,
    read: fn(&str) -> Result<T, BadName>,
) -> Result<T, AttendanceError> {
    read(name).map_err(|bad| AttendanceError::name(name_of, &bad))
}

/// The same where the field may be empty.
pub(crate) fn named_or_none<T>(
    name_of: &'static str,
    name: &str,
    read: fn(&str) -> Result<T, BadName>,
) -> Result<Option<T>, AttendanceError> {
    if name.is_empty() { Ok(None) } else { named(name_of, name, read).map(Some) }
}

/// A session in a field.
pub(crate) fn session_name(name_of: &'static str, name: &str) -> Result<SessionName, AttendanceError> {
    named(name_of, name, SessionName::from_name)
}

pub(crate) fn day(name: &'static str, date: v1::Date) -> Result<SiteDay, AttendanceError> {
    let v1::Date { year, month, day } = date;
    let part = |number: i32| i8::try_from(number).ok();
    let year = i16::try_from(year).ok().filter(|year| *year >= 1);
    let made = year.zip(part(month)).zip(part(day));
    made.and_then(|((year, month), day)| SiteDay::new(year, month, day).ok()).ok_or_else(|| {
        field(name, "is no day; give year 1 to 9999, month 1 to 12, and a day that the month has")
    })
}

pub(crate) fn needed_day(name: &'static str, date: Option<v1::Date>) -> Result<SiteDay, AttendanceError> {
    day(name, date.ok_or_else(|| field(name, "is missing"))?)
}

fn date(day: SiteDay) -> v1::Date {
    v1::Date { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}

fn time(name: &'static str, time: Option<v1::TimeOfDay>) -> Result<SiteTime, AttendanceError> {
    let v1::TimeOfDay { hours, minutes, seconds } = time.ok_or_else(|| field(name, "is missing"))?;
    let part = |number: i32| i8::try_from(number).ok();
    let made = part(hours).zip(part(minutes)).zip(part(seconds));
    made.and_then(|((hours, minutes), seconds)| SiteTime::new(hours, minutes, seconds, 0).ok())
        .ok_or_else(|| field(name, "is no time of day; give 00:00:00 to 23:59:59"))
}

fn time_of_day(time: SiteTime) -> v1::TimeOfDay {
    let (hours, minutes) = (time.hour().into(), time.minute().into());
    v1::TimeOfDay { hours, minutes, seconds: time.second().into() }
}

fn timestamp(instant: UtcInstant) -> prost_types::Timestamp {
    super::timestamp(instant.micros())
}

fn minutes(name: &'static str, given: i32) -> Result<u32, AttendanceError> {
    u32::try_from(given).map_err(|_| field(name, format!("is {given}; give 0 or more")))
}

/// What tells a request from others: who makes it, and the request without its id.
fn repeatable(
    request_id: &str,
    by: &str,
    request: &impl prost::Message,
) -> Result<Repeatable, AttendanceError> {
    let id = RequestId::parse(request_id)?;
    let digest = Sha256::new().chain_update(by).chain_update([0]).chain_update(request.encode_to_vec());
    Ok(Repeatable { id, sha256: digest.finalize().into() })
}

/// A period to create.
pub(crate) fn new_period(
    mut request: v1::CreatePeriodRequest,
    by: &str,
) -> Result<(Period, Repeatable), AttendanceError> {
    let request_id = std::mem::take(&mut request.request_id);
    let repeatable = repeatable(&request_id, by, &request)?;
    let given = request.period.ok_or_else(|| field("period", "is missing"))?;
    if given.terminals.len() > limits::PERIOD_TERMINALS {
        return Err(field("terminals", format!("has more than {}", limits::PERIOD_TERMINALS)));
    }
    let terminals = given.terminals.iter().map(|name| named("terminals", name, TerminalId::from_name));
    let period = Period {
        id: PeriodId::generate(),
        display_name: super::text("display_name", given.display_name, limits::PERIOD_NAME_CHARS)?,
        group: named("group", &given.group, GroupId::from_name)?,
        weekdays: Weekdays::from_iso(&given.weekdays)
            .ok_or_else(|| field("weekdays", "are not 1 (Monday) to 7 (Sunday), at least one, each once"))?,
        hours: Hours { start: time("start", given.start)?, end: time("end", given.end)? },
        early_minutes: minutes("early_minutes", given.early_minutes)?,
        late_after_minutes: minutes("late_after_minutes", given.late_after_minutes)?,
        closes_after_minutes: minutes("closes_after_minutes", given.closes_after_minutes)?,
        leave_early_minutes: minutes("leave_early_minutes", given.leave_early_minutes)?,
        first_day: needed_day("start_date", given.start_date)?,
        last_day: given.end_date.map(|date| day("end_date", date)).transpose()?,
        terminals: terminals.collect::<Result<_, _>>()?,
    };
    period.check().map_err(|bad| field(bad.field, bad.problem))?;
    Ok((period, repeatable))
}

pub(crate) fn period(stored: StoredPeriod) -> v1::Period {
    let StoredPeriod { period, version } = stored;
    let minutes = |given: u32| i32::try_from(given).unwrap_or(i32::MAX);
    v1::Period {
        name: period.id.name(),
        display_name: period.display_name,
        group: period.group.name(),
        weekdays: period.weekdays.iso(),
        start: Some(time_of_day(period.hours.start)),
        end: Some(time_of_day(period.hours.end)),
        early_minutes: minutes(period.early_minutes),
        late_after_minutes: minutes(period.late_after_minutes),
        closes_after_minutes: minutes(period.closes_after_minutes),
        leave_early_minutes: minutes(period.leave_early_minutes),
        start_date: Some(date(period.first_day)),
        end_date: period.last_day.map(date),
        terminals: period.terminals.into_iter().map(TerminalId::name).collect(),
        etag: version.to_string(),
    }
}

/// The change of a session; `None`: restored.
pub(crate) fn change(
    change: Option<v1::override_session_request::Change>,
) -> Result<Option<Override>, AttendanceError> {
    use v1::override_session_request::Change;
    match change {
        Some(Change::Cancelled(true)) => Ok(Some(Override::Cancelled)),
        Some(Change::Times(times)) => {
            let hours =
                Hours { start: time("times.start", times.start)?, end: time("times.end", times.end)? };
            Ok(Some(Override::Moved(hours)))
        }
        Some(Change::Restored(())) => Ok(None),
        Some(Change::Cancelled(false)) => Err(field("cancelled", "is false; to undo a change send restored")),
        None => Err(field("change", "is missing; send cancelled, times or restored")),
    }
}

pub(crate) fn session(session: &Session) -> v1::Session {
    v1::Session {
        name: session.name.to_string(),
        display_name: session.display_name.clone(),
        group: session.group.name(),
        day: Some(date(session.name.day)),
        start_time: Some(timestamp(session.start)),
        end_time: Some(timestamp(session.end)),
        late_time: Some(timestamp(session.late)),
        close_time: Some(timestamp(session.close)),
        cancelled: session.cancelled,
        overridden: session.overridden,
    }
}

/// A mark to set. Who sets it is the caller.
pub(crate) fn new_mark(
    mut request: v1::AmendMarkRequest,
    by: String,
) -> Result<(NewMark, Repeatable), AttendanceError> {
    let request_id = std::mem::take(&mut request.request_id);
    if request.reason.trim().is_empty() {
        return Err(field("reason", "is empty; say why"));
    }
    // A hash of so short a text would tell it to whoever guesses; the rest tells requests apart.
    let reason = super::text("reason", std::mem::take(&mut request.reason), limits::NOTE_CHARS)?;
    let repeatable = repeatable(&request_id, &by, &request)?;
    let new = NewMark {
        session: session_name("session", &request.session)?,
        person: named("person", &request.person, PersonId::from_name)?,
        code: request.code,
        reason,
        by,
        etag: request.etag,
    };
    Ok((new, repeatable))
}

pub(crate) fn register(register: &Register, notes: Notes) -> v1::Register {
    v1::Register {
        session: Some(session(&register.session)),
        lines: register.lines.iter().map(|line| self::line(line, notes)).collect(),
        as_of_time: Some(timestamp(register.as_of)),
        provisional: register.is_provisional(),
        waiting_for: match register.closed {
            Some(_) => Vec::new(),
            None => register.known.waiting_for.iter().map(|terminal| terminal.name()).collect(),
        },
        closed_time: register.closed.map(timestamp),
    }
}

pub(crate) fn line(line: &Line, notes: Notes) -> v1::RegisterLine {
    let reason = |event| match notes {
        Notes::Shown => line.reasons.get(event).cloned().unwrap_or_default(),
        Notes::Hidden => String::new(),
    };
    let amendments = line.amendments.iter().map(|amendment| v1::Amendment {
        old_mark: set_mark(&amendment.old_code),
        new_mark: set_mark(&amendment.new_code),
        reason: reason(&amendment.event),
        amended_by: amendment.by.clone(),
        amend_time: Some(timestamp(amendment.time)),
        event: amendment.event.name(),
    });
    v1::RegisterLine {
        person: line.person.name(),
        display_name: line.display_name.clone(),
        mark: Some(mark(line.mark)),
        arrive_time: line.visit.arrive.map(timestamp),
        leave_time: line.visit.leave.map(timestamp),
        amendments: amendments.collect(),
        etag: register::etag(&line.amendments),
    }
}

fn mark(mark: Mark) -> v1::Mark {
    v1::Mark {
        code: mark.code.code.to_owned(),
        state: state(mark.code.state).into(),
        provisional: mark.provisional,
    }
}

/// A code of an amendment. One that this program does not know keeps its text.
fn set_mark(code: &str) -> Option<v1::Mark> {
    let state = find(code).map_or(v1::MarkState::Unspecified, |code| state(code.state));
    Some(v1::Mark { code: code.to_owned(), state: state.into(), provisional: false })
}

fn state(state: State) -> v1::MarkState {
    match state {
        State::Present => v1::MarkState::Present,
        State::Late => v1::MarkState::Late,
        State::Absent => v1::MarkState::Absent,
        State::LeftEarly => v1::MarkState::LeftEarly,
        State::AuthorisedAbsence => v1::MarkState::AuthorisedAbsence,
        State::UnauthorisedAbsence => v1::MarkState::UnauthorisedAbsence,
        State::Elsewhere => v1::MarkState::Elsewhere,
        State::NotRequired => v1::MarkState::NotRequired,
        State::NotYetKnown => v1::MarkState::NotYetKnown,
    }
}

pub(crate) fn report_range(request: &v1::GetReportRequest) -> Result<ReportRange, AttendanceError> {
    use v1::get_report_request::Subject as Asked;
    let subject = match &request.subject {
        Some(Asked::Person(name)) => Subject::Person(named("person", name, PersonId::from_name)?),
        Some(Asked::Group(name)) => Subject::Group(named("group", name, GroupId::from_name)?),
        None => return Err(field("subject", "is missing; send person or group")),
    };
    let first = needed_day("start_date", request.start_date)?;
    ReportRange::new(subject, first, needed_day("end_date", request.end_date)?)
}

pub(crate) fn report_row(row: &ReportRow, set: CodeSet) -> v1::ReportRow {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let of = |state: State| number(row.counts.of(state));
    let codes = row.counts.by_code(set).into_iter();
    v1::ReportRow {
        person: row.person.name(),
        display_name: row.display_name.clone(),
        possible: number(row.counts.possible()),
        present: of(State::Present),
        late: of(State::Late),
        left_early: of(State::LeftEarly),
        absent: of(State::Absent),
        authorised_absence: of(State::AuthorisedAbsence),
        unauthorised_absence: of(State::UnauthorisedAbsence),
        elsewhere: of(State::Elsewhere),
        not_yet_known: of(State::NotYetKnown),
        codes: codes
            .map(|(code, count)| v1::CodeCount { code: code.to_owned(), count: number(count) })
            .collect(),
    }
}

pub(crate) fn format(given: i32) -> Result<Format, AttendanceError> {
    match v1::FileFormat::try_from(given) {
        Ok(v1::FileFormat::Csv) => Ok(Format::Csv),
        Ok(v1::FileFormat::Xlsx) => Ok(Format::Xlsx),
        Ok(v1::FileFormat::Unspecified) | Err(_) => {
            Err(field("format", "is none; send FILE_FORMAT_CSV or FILE_FORMAT_XLSX"))
        }
    }
}

pub(crate) fn settings(settings: &Settings) -> v1::AttendanceSettings {
    let code_set = match settings.code_set {
        CodeSet::Plain => v1::CodeSet::Plain,
        CodeSet::Dfe => v1::CodeSet::Dfe,
    };
    let meaning = |code: &Code| v1::CodeMeaning {
        code: code.code.to_owned(),
        state: state(code.state).into(),
        description: code.description.to_owned(),
        settable: code.settable,
    };
    v1::AttendanceSettings {
        time_zone: settings.zone.name().to_owned(),
        code_set: code_set.into(),
        etag: settings.version.to_string(),
        codes: settings.code_set.all().iter().map(meaning).collect(),
    }
}

/// What to change, and the etag that it is changed from. Without a mask both fields are changed.
pub(crate) fn settings_change(
    request: v1::UpdateAttendanceSettingsRequest,
) -> Result<(SettingsChange, String), AttendanceError> {
    let given = request.settings.ok_or_else(|| field("settings", "is missing"))?;
    let paths = request.update_mask.map(|mask| mask.paths).filter(|paths| !paths.is_empty());
    let paths = paths.unwrap_or_else(|| vec!["time_zone".to_owned(), "code_set".to_owned()]);
    let mut change = SettingsChange::default();
    for path in paths {
        match path.as_str() {
            "time_zone" => {
                let zone = SiteZone::named(&given.time_zone);
                change.zone =
                    Some(zone.map_err(|unknown| field("time_zone", format!("is unknown: {unknown}")))?);
            }
            "code_set" => {
                change.code_set = match v1::CodeSet::try_from(given.code_set) {
                    Ok(v1::CodeSet::Plain) => Some(CodeSet::Plain),
                    Ok(v1::CodeSet::Dfe) => Some(CodeSet::Dfe),
                    Ok(v1::CodeSet::Unspecified) | Err(_) => {
                        return Err(field("code_set", "is none; send CODE_SET_PLAIN or CODE_SET_DFE"));
                    }
                };
            }
            other => return Err(AttendanceError::Mask(other.chars().take(80).collect())),
        }
    }
    Ok((change, given.etag))
}
