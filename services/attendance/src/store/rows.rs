//! Statements about the events of a log, as they are chained, derived and moved.

use rollcall_core::{EventId, LogId, PersonId, TerminalId};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use super::log::Tip;
use crate::chain::ChainHash;

/// An event as it is written.
#[derive(Clone, Debug)]
pub(crate) struct EventEntry {
    pub position: i64,
    pub log_id: LogId,
    pub seq: i64,
    pub hash: ChainHash,
    pub bytes: Vec<u8>,
    pub event_id: Option<EventId>,
    pub kind: i64,
    pub person_id: Option<PersonId>,
    pub terminal_id: TerminalId,
    pub boot_id: [u8; 16],
    pub boottime_us: i64,
    pub wall_us: i64,
    pub stamped_us: i64,
    pub time_trust: i64,
    pub at_us: i64,
    pub damage: i64,
    /// The position of the same event's first storing.
    pub repeat_of: Option<i64>,
}

/// Rows that one statement writes, most first: few lengths, so that a connection prepares few statements.
const ROWS_AT_ONCE: [usize; 3] = [100, 10, 1];

/// Writes some events, many with one statement.
pub(crate) async fn insert_events(tx: &mut Tx, events: &[EventEntry]) -> Result<(), StoreError> {
    let mut rest = events;
    while let Some(size) = ROWS_AT_ONCE.into_iter().find(|size| *size <= rest.len()) {
        let (some, after) = rest.split_at(size);
        rest = after;
        let sql = insert_statement(size);
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for event in some {
                query = query
                    .bind(event.position)
                    .bind(event.log_id.as_bytes())
                    .bind(event.seq)
                    .bind(event.hash.as_bytes())
                    .bind(&event.bytes[..])
                    .bind(event.event_id.as_ref().map(EventId::as_bytes))
                    .bind(event.kind)
                    .bind(event.person_id.as_ref().map(PersonId::as_bytes))
                    .bind(event.terminal_id.as_bytes())
                    .bind(&event.boot_id[..])
                    .bind(event.boottime_us)
                    .bind(event.wall_us)
                    .bind(event.stamped_us)
                    .bind(event.time_trust)
                    .bind(event.at_us)
                    .bind(event.damage)
                    .bind(event.repeat_of);
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Made of constants and numbers alone; values are bound.
fn insert_statement(rows: usize) -> String {
    const COLUMNS: usize = 17;
    let row = |row: usize| {
        let places: Vec<String> =
            (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "insert into attendance_event (position, log_id, seq, hash, bytes, event_id, kind, person_id, terminal_id,
                boot_id, boottime_us, wall_us, stamped_us, time_trust, at_us, damage, repeat_of)
            values {}",
        rows.join(", ")
    )
}

/// What is read of a log's rows to check them and to derive them anew.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct ChainRow {
    pub position: i64,
    pub seq: i64,
    pub hash: Vec<u8>,
    pub bytes: Vec<u8>,
    pub event_id: Option<Vec<u8>>,
    pub kind: i64,
    pub person_id: Option<Vec<u8>>,
    pub terminal_id: Vec<u8>,
    pub boot_id: Option<Vec<u8>>,
    pub boottime_us: i64,
    pub wall_us: i64,
    pub stamped_us: i64,
    pub time_trust: i64,
    pub at_us: i64,
    pub damage: i64,
}

/// Rows of a log after number `after`, in order.
pub(crate) async fn chain_rows(
    tx: &mut Tx,
    log_id: LogId,
    after: i64,
    limit: i64,
) -> Result<Vec<ChainRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select position, seq, hash, bytes, event_id, kind, person_id, terminal_id, boot_id, boottime_us, wall_us,
                    stamped_us, time_trust, at_us, damage
                from attendance_event where log_id = $1 and seq > $2 order by seq limit $3",
        )
        .bind(log_id.as_bytes())
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
    })
}

/// The newest event of a log.
pub(crate) async fn last_row(tx: &mut Tx, log_id: LogId) -> Result<Option<ChainRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select position, seq, hash, bytes, event_id, kind, person_id, terminal_id, boot_id, boottime_us, wall_us,
                    stamped_us, time_trust, at_us, damage
                from attendance_event where log_id = $1 order by seq desc limit 1",
        )
        .bind(log_id.as_bytes())
        .fetch_optional(connection)
        .await
    })
}

/// The newest anchors of a log, the newest first: the numbers of their events, and the bytes.
pub(crate) async fn newest_anchors(
    tx: &mut Tx,
    log_id: LogId,
    limit: usize,
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select seq, bytes from attendance_event where log_id = $1 and kind = 9 order by seq desc limit $2",
        )
        .bind(log_id.as_bytes())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    })
}

/// The time of the newest event after number `after` whose time is known.
pub(crate) async fn latest_known(tx: &mut Tx, log_id: LogId, after: i64) -> Result<Option<i64>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar(
            "select stamped_us from attendance_event
                where log_id = $1 and seq > $2 and time_trust <> 3 order by seq desc limit 1",
        )
        .bind(log_id.as_bytes())
        .bind(after)
        .fetch_optional(connection)
        .await
    })
}

/// What is read of an event to pass it on.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct BytesRow {
    pub seq: i64,
    pub bytes: Vec<u8>,
}

/// The bytes of a log's events after number `after`, in order.
pub(crate) async fn bytes_after(
    tx: &mut Tx,
    log_id: LogId,
    after: i64,
    limit: i64,
) -> Result<Vec<BytesRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select seq, bytes from attendance_event where log_id = $1 and seq > $2 order by seq limit $3",
        )
        .bind(log_id.as_bytes())
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
    })
}

/// The logs of a terminal whose chain is broken: an event's bytes were changed, or events are missing before it.
pub(crate) async fn with_damage(tx: &mut Tx, terminal_id: TerminalId) -> Result<Vec<Vec<u8>>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar(
            "select distinct e.log_id from attendance_event e join attendance_log l on l.log_id = e.log_id
                where l.terminal_id = $1 and e.damage <> 0 and e.damage < 4",
        )
        .bind(terminal_id.as_bytes())
        .fetch_all(connection)
        .await
    })
}

/// What is derived of an event's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRow {
    pub seq: i64,
    pub stamped_us: i64,
    pub time_trust: i64,
    pub at_us: i64,
}

/// Writes what is derived of the time of one event.
pub(crate) async fn set_time(tx: &mut Tx, log_id: LogId, row: &TimeRow) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update attendance_event set stamped_us = $3, time_trust = $4, at_us = $5 where log_id = $1 and seq = $2",
        )
        .bind(log_id.as_bytes())
        .bind(row.seq)
        .bind(row.stamped_us)
        .bind(row.time_trust)
        .bind(row.at_us)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Where an event is, as its row has it.
#[derive(sqlx::FromRow)]
pub(crate) struct PlaceRow {
    pub position: i64,
    pub log_id: Vec<u8>,
    pub seq: i64,
    /// Read so that the row is, and not an index that has all but this.
    #[allow(dead_code, reason = "see above")]
    pub damage: i64,
}

/// The events of every log after a position and up to another, in the order of positions.
pub(crate) async fn places(
    tx: &mut Tx,
    after: i64,
    through: i64,
    limit: i64,
) -> Result<Vec<PlaceRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select position, log_id, seq, damage from attendance_event
                where position > $1 and position <= $2 order by position limit $3",
        )
        .bind(after)
        .bind(through)
        .bind(limit)
        .fetch_all(connection)
        .await
    })
}

/// Writes what is derived of one event.
pub(crate) async fn set_derived(tx: &mut Tx, log_id: LogId, row: &ChainRow) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update attendance_event set event_id = $3, kind = $4, person_id = $5, boot_id = $6, boottime_us = $7,
                    wall_us = $8, stamped_us = $9, time_trust = $10, at_us = $11, damage = $12, terminal_id = $13
                where log_id = $1 and seq = $2",
        )
        .bind(log_id.as_bytes())
        .bind(row.seq)
        .bind(row.event_id.as_deref())
        .bind(row.kind)
        .bind(row.person_id.as_deref())
        .bind(row.boot_id.as_deref())
        .bind(row.boottime_us)
        .bind(row.wall_us)
        .bind(row.stamped_us)
        .bind(row.time_trust)
        .bind(row.at_us)
        .bind(row.damage)
        .bind(&row.terminal_id[..])
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// The number and time of the last event of another boot than this whose time is known.
pub(crate) async fn last_known_before_boot(
    tx: &mut Tx,
    log_id: LogId,
    boot_id: &[u8; 16],
) -> Result<Option<(i64, i64)>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select seq, stamped_us from attendance_event
                where log_id = $1 and time_trust <> 3 and boot_id <> $2 order by seq desc limit 1",
        )
        .bind(log_id.as_bytes())
        .bind(&boot_id[..])
        .fetch_optional(connection)
        .await
    })
}

/// How many events there are, each counted once.
pub(crate) async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from attendance_event where repeat_of is null").fetch_one(connection).await
    })
}

/// Puts an event into another log, at the place of `tip`, where the chain is whole over the bytes that it has. They and
/// its position in the feed stay.
pub(crate) async fn move_event(tx: &mut Tx, position: i64, tip: &Tip) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update attendance_event set log_id = $2, seq = $3, hash = $4,
                    damage = case when damage <> 0 and damage < 16 then damage + 16 else damage end
                where position = $1",
        )
        .bind(position)
        .bind(tip.log_id.as_bytes())
        .bind(tip.head)
        .bind(tip.hash.as_bytes())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// The hash of one entry; `None` when it is not kept.
pub(crate) async fn hash_at(tx: &mut Tx, log_id: LogId, seq: i64) -> Result<Option<Vec<u8>>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select hash from attendance_event where log_id = $1 and seq = $2")
            .bind(log_id.as_bytes())
            .bind(seq)
            .fetch_optional(connection)
            .await
    })
}
