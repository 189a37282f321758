//! Statements that read events.

use rollcall_core::{EventId, LogId, PersonId, TerminalId, limits};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::cursor::Feed;

/// Which events; all that are set must hold. A person is looked for under every id that they have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EventFilter {
    pub person_id: Option<PersonId>,
    pub terminal_id: Option<TerminalId>,
    /// Numbers of kinds; empty: all.
    pub kinds: Vec<i64>,
    pub from_us: Option<i64>,
    pub until_us: Option<i64>,
}

impl EventFilter {
    /// Whether events may have to be looked through that are not given.
    fn looks_through(&self) -> bool {
        // A person's events have an index by position.
        self.person_id.is_none() && *self != Self::default()
    }
}

/// An event as it is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredEvent {
    pub position: i64,
    pub log_id: LogId,
    pub seq: i64,
    pub bytes: Vec<u8>,
    pub event_id: Option<EventId>,
    pub terminal_id: TerminalId,
    pub at_us: i64,
    pub time_trust: i64,
    /// Bit 0: its bytes or its hash are not what was written. Bit 1: events before it are missing.
    pub damage: i64,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    position: i64,
    log_id: Vec<u8>,
    seq: i64,
    bytes: Vec<u8>,
    event_id: Option<Vec<u8>>,
    terminal_id: Vec<u8>,
    at_us: i64,
    time_trust: i64,
    damage: i64,
}

impl EventRow {
    fn event(self) -> Result<StoredEvent, StoreError> {
        let wrong = |_| StoreError::Damaged {
            place: "of the log".to_owned(),
            detail: format!("the event at position {} has an id of the wrong length", self.position),
        };
        Ok(StoredEvent {
            position: self.position,
            log_id: LogId::try_from(&self.log_id[..]).map_err(wrong)?,
            seq: self.seq,
            event_id: self.event_id.as_deref().map(EventId::try_from).transpose().map_err(wrong)?,
            terminal_id: TerminalId::try_from(&self.terminal_id[..]).map_err(wrong)?,
            bytes: self.bytes,
            at_us: self.at_us,
            time_trust: self.time_trust,
            damage: self.damage,
        })
    }
}

/// One page of a feed.
#[derive(Debug)]
pub(crate) struct EventPage {
    pub events: Vec<StoredEvent>,
    /// The position to read on after.
    pub next: i64,
    /// There is more now.
    pub more: bool,
}

/// The next events after a position. `people` are the ids of the filter's person. A filter that would have to look through more than [`limits::EVENT_SCAN`] events
/// stops there; the page then says that there is more.
pub(crate) async fn page(
    tx: &mut Tx,
    feed: &Feed,
    after: i64,
    filter: &EventFilter,
    people: &[PersonId],
    size: usize,
) -> Result<EventPage, StoreError> {
    let horizon = match filter.looks_through() {
        true => feed.position.min(after.saturating_add(limits::EVENT_SCAN)),
        false => feed.position,
    };
    let sql = page_statement(filter, people.len());
    let mut rows: Vec<EventRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(after)
            .bind(horizon)
            .bind(i64::try_from(size).unwrap_or(i64::MAX - 1).saturating_add(1));
        for person_id in people {
            query = query.bind(person_id.as_bytes());
        }
        if let Some(terminal_id) = &filter.terminal_id {
            query = query.bind(terminal_id.as_bytes());
        }
        for bound in [filter.from_us, filter.until_us].into_iter().flatten() {
            query = query.bind(bound);
        }
        query.fetch_all(connection).await
    })?;
    let is_cut = rows.len() > size;
    rows.truncate(size);
    let next = match rows.last() {
        Some(last) if is_cut => last.position,
        _ => horizon,
    };
    let events = rows.into_iter().map(EventRow::event).collect::<Result<_, _>>()?;
    Ok(EventPage { events, next, more: is_cut || horizon < feed.position })
}

/// Made of constants and numbers alone; values are bound.
fn page_statement(filter: &EventFilter, people: usize) -> String {
    let mut sql = "select position, log_id, seq, bytes, event_id, terminal_id, at_us, time_trust, damage
        from attendance_event where position > $1 and position <= $2 and repeat_of is null"
        .to_owned();
    if people > 0 {
        let places: Vec<String> = (4..people + 4).map(|place| format!("${place}")).collect();
        sql.push_str(&format!(" and person_id in ({})", places.join(", ")));
    }
    let conditions = [
        filter.terminal_id.is_some().then_some("terminal_id ="),
        filter.from_us.is_some().then_some("at_us >="),
        filter.until_us.is_some().then_some("at_us <"),
    ];
    for (index, condition) in conditions.into_iter().flatten().enumerate() {
        sql.push_str(&format!(" and {condition} ${}", index + 4 + people));
    }
    if !filter.kinds.is_empty() {
        let kinds: Vec<String> = filter.kinds.iter().map(i64::to_string).collect();
        sql.push_str(&format!(" and kind in ({})", kinds.join(", ")));
    }
    sql.push_str(" order by position limit $3");
    sql
}

/// The event of a terminal with this id.
pub(crate) async fn find_of(
    tx: &mut Tx,
    terminal_id: TerminalId,
    event_id: EventId,
) -> Result<Option<StoredEvent>, StoreError> {
    let row: Option<EventRow> = on!(tx, connection => {
        sqlx::query_as(
            "select position, log_id, seq, bytes, event_id, terminal_id, at_us, time_trust, damage
                from attendance_event where event_id = $1 and terminal_id = $2 order by position limit 1",
        )
        .bind(event_id.as_bytes())
        .bind(terminal_id.as_bytes())
        .fetch_optional(connection)
        .await
    })?;
    row.map(EventRow::event).transpose()
}

/// The event with this id, in whichever log it was stored first.
pub(crate) async fn find(tx: &mut Tx, event_id: EventId) -> Result<Option<StoredEvent>, StoreError> {
    let row: Option<EventRow> = on!(tx, connection => {
        sqlx::query_as(
            "select position, log_id, seq, bytes, event_id, terminal_id, at_us, time_trust, damage
                from attendance_event where event_id = $1 order by position limit 1",
        )
        .bind(event_id.as_bytes())
        .fetch_optional(connection)
        .await
    })?;
    row.map(EventRow::event).transpose()
}
