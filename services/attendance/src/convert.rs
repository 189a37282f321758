//! Between the contract's types and ours: events.

use prost::Message as _;
use rollcall_core::{PersonId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_store::requests::RequestId;

use crate::events::{EventList, EventView};
use crate::log::{CHANGED, CLASHES};
use crate::record::ManualRecord;
use crate::store::events::EventFilter;
use crate::watch::Watched;
use crate::{AttendanceError, kind};

pub(crate) mod registers;

/// The instant of a timestamp; nanoseconds are cut to microseconds.
pub(crate) fn instant(
    field: &'static str,
    timestamp: &prost_types::Timestamp,
) -> Result<UtcInstant, AttendanceError> {
    let whole = timestamp.seconds.checked_mul(1_000_000);
    let part = (0..1_000_000_000).contains(&timestamp.nanos).then_some(i64::from(timestamp.nanos / 1_000));
    let micros = whole.zip(part).and_then(|(whole, part)| whole.checked_add(part));
    micros.map(UtcInstant::from_micros).ok_or_else(|| AttendanceError::Field {
        field,
        problem: "is no timestamp of the years 1 to 9999".to_owned(),
    })
}

/// The timestamp of an instant.
pub(crate) fn timestamp(micros: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// Checks free text: not longer than `chars`, and nothing that a database refuses.
pub(crate) fn text(field: &'static str, text: String, chars: usize) -> Result<String, AttendanceError> {
    let problem = match text.chars().count() {
        count if count > chars => format!("has {count} characters; at most {chars} are kept"),
        _ if text.contains('\0') => "has a NUL character".to_owned(),
        _ => return Ok(text),
    };
    Err(AttendanceError::Field { field, problem })
}

impl TryFrom<Option<v1::EventFilter>> for EventFilter {
    type Error = AttendanceError;

    fn try_from(filter: Option<v1::EventFilter>) -> Result<Self, Self::Error> {
        let Some(filter) = filter else { return Ok(Self::default()) };
        let person_id = (!filter.person.is_empty()).then(|| PersonId::from_name(&filter.person)).transpose();
        let terminal_id =
            (!filter.terminal.is_empty()).then(|| TerminalId::from_name(&filter.terminal)).transpose();
        let mut kinds = Vec::new();
        for name in &filter.kinds {
            let number = kind::number_of(name).ok_or_else(|| {
                let known: Vec<&str> = kind::names().collect();
                let given: String = name.chars().take(40).collect();
                AttendanceError::Filter(format!("has no kind {given:?}; the kinds are {}", known.join(", ")))
            })?;
            if !kinds.contains(&number) {
                kinds.push(number);
            }
        }
        let bound = |field, time: Option<prost_types::Timestamp>| {
            time.map(|time| instant(field, &time).map(UtcInstant::micros)).transpose()
        };
        Ok(Self {
            person_id: person_id.map_err(|bad| AttendanceError::name("filter.person", &bad))?,
            terminal_id: terminal_id.map_err(|bad| AttendanceError::name("filter.terminal", &bad))?,
            kinds,
            from_us: bound("filter.start_time", filter.start_time)?,
            until_us: bound("filter.end_time", filter.end_time)?,
        })
    }
}

impl TryFrom<v1::RecordManuallyRequest> for ManualRecord {
    type Error = AttendanceError;

    fn try_from(request: v1::RecordManuallyRequest) -> Result<Self, Self::Error> {
        let direction = match v1::Direction::try_from(request.direction) {
            Ok(direction @ (v1::Direction::In | v1::Direction::Out)) => direction,
            Ok(v1::Direction::Unspecified) | Err(_) => {
                let problem = "must be DIRECTION_IN or DIRECTION_OUT".to_owned();
                return Err(AttendanceError::Field { field: "direction", problem });
            }
        };
        Ok(Self {
            person_id: PersonId::from_name(&request.person)
                .map_err(|bad| AttendanceError::name("person", &bad))?,
            direction,
            at: request.time.map(|time| instant("time", &time)).transpose()?,
            note: text("note", request.note, limits::NOTE_CHARS)?,
            request_id: RequestId::parse(&request.request_id).map_err(AttendanceError::Elsewhere)?,
        })
    }
}

impl From<EventView> for v1::Event {
    fn from(event: EventView) -> Self {
        let stored = event.stored;
        // Bytes that cannot be read are passed on as an event without a kind.
        let record = v1::EventRecord::decode(&stored.bytes[..]).unwrap_or_default();
        Self {
            name: stored.event_id.map(|id| id.name()).unwrap_or_default(),
            terminal: stored.terminal_id.name(),
            log: stored.log_id.name(),
            seq: stored.seq,
            time: Some(timestamp(stored.at_us)),
            time_trust: i32::try_from(stored.time_trust).unwrap_or(0),
            stamp: record.stamp,
            kind: record.kind,
            cursor: event.cursor,
            note: event.note,
            damaged: stored.damage & (CHANGED | CLASHES) != 0,
        }
    }
}

impl From<EventList> for v1::ListEventsResponse {
    fn from(list: EventList) -> Self {
        let events = list.events.into_iter().map(v1::Event::from).collect();
        Self { events, next_cursor: list.next_cursor, more: list.more }
    }
}

impl From<Watched> for v1::WatchEventsResponse {
    fn from(watched: Watched) -> Self {
        let events = watched.events.into_iter().map(v1::Event::from).collect();
        Self { events, cursor: watched.cursor }
    }
}
