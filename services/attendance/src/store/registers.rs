//! Closed registers, in `site.db`, and what registers read of the events, in `log.db`.
//!
//! A closed register keeps what its closing saw: the mark that the doors proposed for each person who was expected, and
//! the zone that its times were in. Who is in a group, the site's zone and codes, and the times of events (anchors
//! correct them) may change later, and a closed register must not. Amendments stay events, and are laid over it.

use std::collections::BTreeSet;

use prost::Message as _;
use rollcall_core::{EventId, PeriodId, PersonId, SiteDay, SiteZone, TerminalId, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{Migration, StoreError, Tx, on};

use super::timetable::damaged;
use crate::codes;
use crate::register::{Amendment, Direction, Mark, Passage, Proposal, Visit};
use crate::timetable::{SessionName, day_from_text};

/// Tables of `site.db`.
pub(crate) const MIGRATION: Migration = Migration {
    name: "attendance/0102_registers",
    sql: "\
create table attendance_closing (
    period_id BLOB not null references attendance_period (period_id),
    day TEXT not null,
    position INTEGER not null,
    closed_us INTEGER not null,
    time_zone TEXT not null,
    primary key (period_id, day)
) STRICT;
create index attendance_closing_day on attendance_closing (day);
create table attendance_line (
    period_id BLOB not null,
    day TEXT not null,
    person_id BLOB not null,
    code TEXT not null,
    arrive_us INTEGER,
    leave_us INTEGER,
    primary key (period_id, day, person_id),
    foreign key (period_id, day) references attendance_closing (period_id, day)
) STRICT;
create index attendance_line_person on attendance_line (person_id, day)",
};

/// Indexes of `log.db`: the events that humans make are few, and registers ask for them by person.
pub(crate) const LOG_MIGRATION: Migration = Migration {
    name: "attendance-log/0101_registers",
    sql: "\
create index attendance_event_recorded on attendance_event (at_us) where kind = 6;
create index attendance_event_amended on attendance_event (person_id, position) where kind = 7",
};

/// The numbers of kinds of events: their fields in `EventKind`.
const RECORDED_MANUALLY: i64 = 6;

/// How much later than what it tells of a manual record may be: RecordManually takes 31 days, and a day for clocks.
const RECORDED_LATER_US: i64 = 32 * 86_400_000_000;

/// Events that are read at once.
const EVENTS_AT_ONCE: i64 = 2_000;

/// That a register is closed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Closing {
    pub(crate) session: SessionName,
    pub(crate) position: i64,
    pub(crate) closed: UtcInstant,
    pub(crate) zone: SiteZone,
}

/// What a closed register says of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClosedLine {
    pub(crate) session: SessionName,
    pub(crate) person: PersonId,
    pub(crate) proposal: Proposal,
}

#[derive(sqlx::FromRow)]
struct ClosingRow {
    period_id: Vec<u8>,
    day: String,
    position: i64,
    closed_us: i64,
    time_zone: String,
}

#[derive(sqlx::FromRow)]
struct LineRow {
    period_id: Vec<u8>,
    day: String,
    person_id: Vec<u8>,
    code: String,
    arrive_us: Option<i64>,
    leave_us: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    position: i64,
    bytes: Vec<u8>,
    terminal_id: Vec<u8>,
    at_us: i64,
}

impl ClosingRow {
    fn parse(self) -> Option<Closing> {
        Some(Closing {
            session: session_name(&self.period_id, &self.day)?,
            position: self.position,
            closed: UtcInstant::from_micros(self.closed_us),
            zone: SiteZone::named(&self.time_zone).ok()?,
        })
    }
}

impl LineRow {
    fn parse(self) -> Option<ClosedLine> {
        let mark = Mark { code: codes::find(&self.code)?, provisional: false };
        let visit = Visit {
            arrive: self.arrive_us.map(UtcInstant::from_micros),
            leave: self.leave_us.map(UtcInstant::from_micros),
        };
        Some(ClosedLine {
            session: session_name(&self.period_id, &self.day)?,
            person: PersonId::try_from(&self.person_id[..]).ok()?,
            proposal: Proposal { mark, visit },
        })
    }
}

fn session_name(period_id: &[u8], day: &str) -> Option<SessionName> {
    Some(SessionName { period: PeriodId::try_from(period_id).ok()?, day: day_from_text(day)? })
}

fn parsed<R, T>(rows: Vec<R>, table: &'static str, parse: fn(R) -> Option<T>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(|row| parse(row).ok_or_else(|| damaged(table))).collect()
}

/// The closing of a session's register; `None` while it is open.
pub(crate) async fn closing(tx: &mut Tx, session: SessionName) -> Result<Option<Closing>, StoreError> {
    let row: Option<ClosingRow> = on!(tx, connection => {
        sqlx::query_as("select * from attendance_closing where period_id = $1 and day = $2")
            .bind(session.period.as_bytes())
            .bind(session.day.to_string())
            .fetch_optional(connection)
            .await
    })?;
    row.map(|row| row.parse().ok_or_else(|| damaged("attendance_closing"))).transpose()
}

/// The sessions from `first` to `last` whose registers are closed.
pub(crate) async fn closed_between(
    tx: &mut Tx,
    first: SiteDay,
    last: SiteDay,
) -> Result<BTreeSet<SessionName>, StoreError> {
    let rows: Vec<(Vec<u8>, String)> = on!(tx, connection => {
        sqlx::query_as("select period_id, day from attendance_closing where day >= $1 and day <= $2")
            .bind(first.to_string())
            .bind(last.to_string())
            .fetch_all(connection)
            .await
    })?;
    let names = parsed(rows, "attendance_closing", |(period, day)| session_name(&period, &day))?;
    Ok(names.into_iter().collect())
}

/// The days from `first` to `last` on which a period's register is closed.
pub(crate) async fn closed_days(
    tx: &mut Tx,
    period: PeriodId,
    first: SiteDay,
    last: SiteDay,
) -> Result<BTreeSet<SiteDay>, StoreError> {
    let days: Vec<String> = on!(tx, connection => {
        sqlx::query_scalar("select day from attendance_closing where period_id = $1 and day >= $2 and day <= $3")
            .bind(period.as_bytes())
            .bind(first.to_string())
            .bind(last.to_string())
            .fetch_all(connection)
            .await
    })?;
    let days = parsed(days, "attendance_closing", |day| day_from_text(&day))?;
    Ok(days.into_iter().collect())
}

/// The last day on which a period has a closed register.
pub(crate) async fn last_closed_day(tx: &mut Tx, period: PeriodId) -> Result<Option<SiteDay>, StoreError> {
    let day: Option<String> = on!(tx, connection => {
        sqlx::query_scalar("select max(day) from attendance_closing where period_id = $1")
            .bind(period.as_bytes())
            .fetch_one(connection)
            .await
    })?;
    day.map(|day| day_from_text(&day).ok_or_else(|| damaged("attendance_closing"))).transpose()
}

/// Closes a register with these lines.
///
/// [`StoreError::Conflict`] when it is closed already.
pub(crate) async fn insert_closing(
    tx: &mut Tx,
    closing: &Closing,
    lines: &[(PersonId, Proposal)],
) -> Result<(), StoreError> {
    let (period, day) = (closing.session.period, closing.session.day.to_string());
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_closing (period_id, day, position, closed_us, time_zone)
                values ($1, $2, $3, $4, $5)",
        )
        .bind(period.as_bytes())
        .bind(&day)
        .bind(closing.position)
        .bind(closing.closed.micros())
        .bind(closing.zone.name())
        .execute(connection)
        .await
        .map(|_| ())
    })?;
    on!(tx, connection => {
        for (person, proposal) in lines {
            sqlx::query(
                "insert into attendance_line (period_id, day, person_id, code, arrive_us, leave_us)
                    values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(period.as_bytes())
            .bind(&day)
            .bind(person.as_bytes())
            .bind(proposal.mark.code.code)
            .bind(proposal.visit.arrive.map(UtcInstant::micros))
            .bind(proposal.visit.leave.map(UtcInstant::micros))
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    })
}

/// The lines of a closed register, by person.
pub(crate) async fn lines(tx: &mut Tx, session: SessionName) -> Result<Vec<ClosedLine>, StoreError> {
    let rows: Vec<LineRow> = on!(tx, connection => {
        sqlx::query_as("select * from attendance_line where period_id = $1 and day = $2 order by person_id")
            .bind(session.period.as_bytes())
            .bind(session.day.to_string())
            .fetch_all(connection)
            .await
    })?;
    parsed(rows, "attendance_line", LineRow::parse)
}

/// What closed registers from `first` to `last` say of a person.
pub(crate) async fn lines_of(
    tx: &mut Tx,
    person: PersonId,
    first: SiteDay,
    last: SiteDay,
) -> Result<Vec<ClosedLine>, StoreError> {
    let rows: Vec<LineRow> = on!(tx, connection => {
        sqlx::query_as("select * from attendance_line where person_id = $1 and day >= $2 and day <= $3 order by day")
            .bind(person.as_bytes())
            .bind(first.to_string())
            .bind(last.to_string())
            .fetch_all(connection)
            .await
    })?;
    parsed(rows, "attendance_line", LineRow::parse)
}

/// Gives `take` every passage of anybody at or after `from` and before `to` that is stored up to `through`.
pub(crate) async fn passages(
    tx: &mut Tx,
    from: UtcInstant,
    to: UtcInstant,
    through: i64,
    mut take: impl FnMut(PersonId, Passage),
) -> Result<(), StoreError> {
    let (from_us, to_us) = (from.micros(), to.micros());
    let mut after = (from_us, 0_i64);
    loop {
        let rows: Vec<EventRow> = on!(tx, connection => {
            sqlx::query_as(
                "select position, bytes, terminal_id, at_us from attendance_event
                    where (at_us, position) > ($1, $2) and at_us < $3 and kind in (1, 2) and position <= $4
                        and repeat_of is null
                    order by at_us, position limit $5",
            )
            .bind(after.0)
            .bind(after.1)
            .bind(to_us)
            .bind(through)
            .bind(EVENTS_AT_ONCE)
            .fetch_all(connection)
            .await
        })?;
        let Some(last) = rows.last() else { break };
        after = (last.at_us, last.position);
        rows.into_iter().filter_map(passage).for_each(|(person, passage)| take(person, passage));
    }
    let mut after = (from_us, 0_i64);
    loop {
        let rows: Vec<EventRow> = on!(tx, connection => {
            sqlx::query_as(
                "select position, bytes, terminal_id, at_us from attendance_event
                    where (at_us, position) > ($1, $2) and at_us < $3 and kind = 6 and position <= $4
                        and repeat_of is null
                    order by at_us, position limit $5",
            )
            .bind(after.0)
            .bind(after.1)
            .bind(to_us.saturating_add(RECORDED_LATER_US))
            .bind(through)
            .bind(EVENTS_AT_ONCE)
            .fetch_all(connection)
            .await
        })?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = (last.at_us, last.position);
        let within = |(_, passage): &(PersonId, Passage)| (from..to).contains(&passage.time);
        rows.into_iter()
            .filter_map(passage)
            .filter(within)
            .for_each(|(person, passage)| take(person, passage));
    }
}

/// The passages of one person, under any of their ids, at or after `from` and before `to`, by time.
pub(crate) async fn passages_of(
    tx: &mut Tx,
    ids: &[PersonId],
    from: UtcInstant,
    to: UtcInstant,
) -> Result<Vec<Passage>, StoreError> {
    let mut passages: Vec<Passage> = Vec::new();
    for id in ids {
        let rows: Vec<EventRow> = on!(tx, connection => {
            sqlx::query_as(
                "select position, bytes, terminal_id, at_us from attendance_event
                    where person_id = $1 and at_us >= $2 and at_us < $3
                        and (kind = $4 or (kind in (1, 2) and at_us < $5)) and repeat_of is null",
            )
            .bind(id.as_bytes())
            .bind(from.micros())
            .bind(to.micros().saturating_add(RECORDED_LATER_US))
            .bind(RECORDED_MANUALLY)
            .bind(to.micros())
            .fetch_all(connection)
            .await
        })?;
        let found = rows.into_iter().filter_map(passage).map(|(_, passage)| passage);
        passages.extend(found.filter(|passage| (from..to).contains(&passage.time)));
    }
    passages.sort_by_key(|passage| (passage.time, passage.position));
    Ok(passages)
}

/// Every amendment of a person's marks, under any of their ids, each with its session, in the order of their storing.
pub(crate) async fn amendments_of(
    tx: &mut Tx,
    ids: &[PersonId],
) -> Result<Vec<(SessionName, Amendment)>, StoreError> {
    let mut amendments: Vec<EventRow> = Vec::new();
    for id in ids {
        let rows: Vec<EventRow> = on!(tx, connection => {
            sqlx::query_as(
                "select position, bytes, terminal_id, at_us from attendance_event
                    where person_id = $1 and kind = 7 and repeat_of is null order by position",
            )
            .bind(id.as_bytes())
            .fetch_all(connection)
            .await
        })?;
        amendments.extend(rows);
    }
    amendments.sort_by_key(|row| row.position);
    Ok(amendments.into_iter().filter_map(amendment).collect())
}

/// The passage in an event. `None` for what is none, or cannot be read: it is stored, and counts for nobody.
fn passage(row: EventRow) -> Option<(PersonId, Passage)> {
    let record = v1::EventRecord::decode(&row.bytes[..]).ok()?;
    let event = EventId::try_from(&record.event_id[..]).ok()?;
    let seen = UtcInstant::from_micros(row.at_us);
    let at_door = Some(TerminalId::try_from(&row.terminal_id[..]).ok()?);
    let (person, direction, terminal, time) = match record.kind?.kind? {
        Kind::Recognised(seen_by) => (seen_by.person, seen_by.direction, at_door, seen),
        Kind::CredentialUsed(used) => (used.person, used.direction, at_door, seen),
        Kind::RecordedManually(recorded) => {
            let time = if recorded.at_us == 0 { seen } else { UtcInstant::from_micros(recorded.at_us) };
            (recorded.person, recorded.direction, None, time)
        }
        _ => return None,
    };
    let direction = if direction == v1::Direction::Out as i32 { Direction::Out } else { Direction::In };
    let person = PersonId::from_name(&person).ok()?;
    Some((person, Passage { time, event, position: row.position, terminal, direction }))
}

fn amendment(row: EventRow) -> Option<(SessionName, Amendment)> {
    let record = v1::EventRecord::decode(&row.bytes[..]).ok()?;
    let Kind::MarkAmended(amended) = record.kind?.kind? else { return None };
    let amendment = Amendment {
        event: EventId::try_from(&record.event_id[..]).ok()?,
        time: UtcInstant::from_micros(row.at_us),
        old_code: amended.old_code,
        new_code: amended.new_code,
        by: amended.by,
    };
    Some((SessionName::from_name(&amended.session).ok()?, amendment))
}
