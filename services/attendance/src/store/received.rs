//! Statements about logs of other devices, as a hub receives them: whose they are, what is missing in them, and since
//! when they are here. Their events are in `attendance_event` like all others.
//!
//! Locks on PostgreSQL are taken in one order, so that several processes never wait for each other in a ring: the row of
//! a log, then the row of the feed. Whoever has the feed's row is the only one that adds events.

use std::collections::BTreeMap;

use rollcall_core::{EventId, LogId, TerminalId, UtcInstant};
use rollcall_store::{Db, Migration, StoreError, Tx, dialect, on};
use sqlx::AssertSqlSafe;

use super::log::{LogEntry, Tip, damaged};
use crate::chain::ChainHash;

/// Tables and indexes of `log.db`.
pub(crate) const LOG_MIGRATION: Migration = Migration {
    name: "attendance-log/0201_received",
    sql: "\
alter table attendance_log add column is_superseded INTEGER not null default 0;
create unique index attendance_log_current on attendance_log (terminal_id) where is_current = 1;
create index attendance_log_terminal on attendance_log (terminal_id);
alter table attendance_event add column repeat_of INTEGER;
create index attendance_event_repeat on attendance_event (log_id) where repeat_of is not null;
create index attendance_event_damage on attendance_event (log_id) where damage <> 0;
create index attendance_event_anchor on attendance_event (log_id, seq) where kind = 9;
create table attendance_gap (
    log_id BLOB not null references attendance_log (log_id),
    first_seq INTEGER not null,
    last_seq INTEGER not null,
    last_hash BLOB not null,
    noticed_us INTEGER not null,
    primary key (log_id, first_seq)
) STRICT, WITHOUT ROWID;
create table attendance_arrival (
    log_id BLOB not null references attendance_log (log_id),
    arrived_us INTEGER not null,
    seq INTEGER not null,
    primary key (log_id, arrived_us)
) STRICT, WITHOUT ROWID",
};

/// Events of a log that no device has any more: their numbers, and the hash after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub first: i64,
    pub last: i64,
    pub hash: ChainHash,
}

/// Whose a log is, and its last entry, while nobody else appends to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub terminal_id: TerminalId,
    pub tip: Tip,
}

#[derive(sqlx::FromRow)]
struct OwnedRow {
    terminal_id: Vec<u8>,
    head: i64,
    head_hash: Vec<u8>,
}

impl OwnedRow {
    fn owned(self, db: &Db, log_id: LogId) -> Result<Owned, StoreError> {
        let hash = ChainHash::try_from(&self.head_hash[..]).ok();
        let owned = TerminalId::try_from(&self.terminal_id[..])
            .ok()
            .zip(hash)
            .map(|(terminal_id, hash)| Owned { terminal_id, tip: Tip { log_id, head: self.head, hash } });
        owned.ok_or_else(|| damaged(db, "the row of a log has a value of the wrong length"))
    }
}

/// A log, wherever it is from; `None`: nothing of it is here.
pub(crate) async fn log(tx: &mut Tx, db: &Db, log_id: LogId) -> Result<Option<Owned>, StoreError> {
    let row: Option<OwnedRow> = on!(tx, connection => {
        sqlx::query_as("select terminal_id, head, head_hash from attendance_log where log_id = $1")
            .bind(log_id.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    row.map(|row| row.owned(db, log_id)).transpose()
}

/// The same, locked until this transaction ends.
pub(crate) async fn lock(tx: &mut Tx, db: &Db, log_id: LogId) -> Result<Option<Owned>, StoreError> {
    let select =
        dialect::for_update(tx, "select terminal_id, head, head_hash from attendance_log where log_id = $1");
    let row: Option<OwnedRow> = on!(tx, connection => {
        sqlx::query_as(select).bind(log_id.as_bytes()).fetch_optional(connection).await
    })?;
    row.map(|row| row.owned(db, log_id)).transpose()
}

/// Adds a log unless it is there. Whose it then is the caller looks up: another process may have been first.
pub(crate) async fn ensure_log(tx: &mut Tx, log: &LogEntry) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_log (log_id, terminal_id, hw_id, first_seq, before_hash, head, head_hash,
                    is_current, opened_us, reason, is_superseded)
                values ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, 0)
                on conflict (log_id) do nothing",
        )
        .bind(log.tip.log_id.as_bytes())
        .bind(log.terminal_id.as_bytes())
        .bind(&log.hw_id)
        .bind(log.first_seq)
        .bind(log.before_hash.as_bytes())
        .bind(log.tip.head)
        .bind(log.tip.hash.as_bytes())
        .bind(log.opened_us)
        .bind(&log.reason)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// How many logs of a terminal there are, and when the newest was opened.
pub(crate) async fn count_logs(tx: &mut Tx, terminal_id: TerminalId) -> Result<(i64, i64), StoreError> {
    on!(tx, connection => {
        sqlx::query_as("select count(*), coalesce(max(opened_us), 0) from attendance_log where terminal_id = $1")
            .bind(terminal_id.as_bytes())
            .fetch_one(connection)
            .await
    })
}

#[derive(sqlx::FromRow)]
struct HashRow {
    seq: i64,
    hash: Vec<u8>,
}

/// The hashes of a log's entries from `first` to `last` that are kept, and those after gaps.
pub(crate) async fn hashes(
    tx: &mut Tx,
    db: &Db,
    log_id: LogId,
    first: i64,
    last: i64,
) -> Result<BTreeMap<i64, ChainHash>, StoreError> {
    let rows: Vec<HashRow> = on!(tx, connection => {
        sqlx::query_as(
            "select seq, hash from attendance_event where log_id = $1 and seq >= $2 and seq <= $3
                union all
                select last_seq, last_hash from attendance_gap where log_id = $1 and last_seq >= $2 and last_seq <= $3",
        )
        .bind(log_id.as_bytes())
        .bind(first)
        .bind(last)
        .fetch_all(connection)
        .await
    })?;
    let parse = |row: HashRow| Some((row.seq, ChainHash::try_from(&row.hash[..]).ok()?));
    let hashes: Option<BTreeMap<i64, ChainHash>> = rows.into_iter().map(parse).collect();
    hashes.ok_or_else(|| damaged(db, "an event has a hash of the wrong length"))
}

#[derive(sqlx::FromRow)]
struct GapRow {
    first_seq: i64,
    last_seq: i64,
    last_hash: Vec<u8>,
}

/// What is missing of a log, in order.
pub(crate) async fn gaps(tx: &mut Tx, db: &Db, log_id: LogId) -> Result<Vec<Gap>, StoreError> {
    let rows: Vec<GapRow> = on!(tx, connection => {
        sqlx::query_as(
            "select first_seq, last_seq, last_hash from attendance_gap where log_id = $1 order by first_seq",
        )
        .bind(log_id.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    let parse = |row: GapRow| {
        let hash = ChainHash::try_from(&row.last_hash[..]).ok()?;
        Some(Gap { first: row.first_seq, last: row.last_seq, hash })
    };
    let gaps: Option<Vec<Gap>> = rows.into_iter().map(parse).collect();
    gaps.ok_or_else(|| damaged(db, "the row of a gap has a value of the wrong length"))
}

/// Notes for ever that these events are missing.
pub(crate) async fn insert_gap(
    tx: &mut Tx,
    log_id: LogId,
    gap: &Gap,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_gap (log_id, first_seq, last_seq, last_hash, noticed_us)
                values ($1, $2, $3, $4, $5)",
        )
        .bind(log_id.as_bytes())
        .bind(gap.first)
        .bind(gap.last)
        .bind(gap.hash.as_bytes())
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Events that are counted in a log, and those that are flagged.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub(crate) struct Counts {
    pub repeats: i64,
    pub clashes: i64,
    pub unreadable: i64,
}

/// How many events of a log are repeats, or flagged by the intake.
pub(crate) async fn counts(tx: &mut Tx, log_id: LogId) -> Result<Counts, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select
                (select count(*) from attendance_event where log_id = $1 and repeat_of is not null) as repeats,
                (select count(*) from attendance_event
                    where log_id = $1 and damage <> 0 and (damage & 4) <> 0) as clashes,
                (select count(*) from attendance_event
                    where log_id = $1 and damage <> 0 and (damage & 8) <> 0) as unreadable",
        )
        .bind(log_id.as_bytes())
        .fetch_one(connection)
        .await
    })
}

/// An event that was stored before.
#[derive(Clone, Debug)]
pub(crate) struct First {
    pub position: i64,
    pub bytes: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct FirstRow {
    event_id: Vec<u8>,
    position: i64,
    bytes: Vec<u8>,
}

/// Ids that one statement asks for. The last id fills up a shorter list, so that there are few statements to prepare.
const IDS_AT_ONCE: [usize; 3] = [500, 50, 5];

/// The first storings of a terminal's events with these ids, by position; several of one id have other bytes.
pub(crate) async fn firsts(
    tx: &mut Tx,
    terminal_id: TerminalId,
    ids: &[EventId],
) -> Result<BTreeMap<EventId, Vec<First>>, StoreError> {
    let mut firsts: BTreeMap<EventId, Vec<First>> = BTreeMap::new();
    for some in ids.chunks(IDS_AT_ONCE[0]) {
        let Some(last) = some.last() else { continue };
        let length = IDS_AT_ONCE.into_iter().rev().find(|length| *length >= some.len()).unwrap_or(some.len());
        let places: Vec<String> = (2..length + 2).map(|place| format!("${place}")).collect();
        let sql = format!(
            "select event_id, position, bytes from attendance_event
                where terminal_id = $1 and repeat_of is null and event_id in ({}) order by position",
            places.join(", ")
        );
        let rows: Vec<FirstRow> = on!(tx, connection => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql)).bind(terminal_id.as_bytes());
            for id in some.iter().chain(std::iter::repeat_n(last, length - some.len())) {
                query = query.bind(id.as_bytes());
            }
            query.fetch_all(connection).await
        })?;
        for row in rows {
            if let Ok(id) = EventId::try_from(&row.event_id[..]) {
                firsts.entry(id).or_default().push(First { position: row.position, bytes: row.bytes });
            }
        }
    }
    Ok(firsts)
}

/// The time of the newest note of how far a log was.
pub(crate) async fn last_arrival(tx: &mut Tx, log_id: LogId) -> Result<Option<i64>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select max(arrived_us) from attendance_arrival where log_id = $1")
            .bind(log_id.as_bytes())
            .fetch_one(connection)
            .await
    })
}

/// Notes how far a log is now, and forgets the notes before the newest that is as old as `needed`.
pub(crate) async fn insert_arrival(
    tx: &mut Tx,
    tip: &Tip,
    now: UtcInstant,
    needed: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "delete from attendance_arrival where log_id = $1 and arrived_us <
                (select max(a.arrived_us) from attendance_arrival a where a.log_id = $1 and a.arrived_us <= $2)",
        )
        .bind(tip.log_id.as_bytes())
        .bind(needed.micros())
        .execute(&mut *connection)
        .await?;
        sqlx::query("insert into attendance_arrival (log_id, arrived_us, seq) values ($1, $2, $3)")
            .bind(tip.log_id.as_bytes())
            .bind(now.micros())
            .bind(tip.head)
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// How far a log was at a time, as far as was noted; 0: nothing was.
pub(crate) async fn arrived_by(tx: &mut Tx, log_id: LogId, time: UtcInstant) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar(
            "select coalesce(max(seq), 0) from attendance_arrival where log_id = $1 and arrived_us <= $2",
        )
        .bind(log_id.as_bytes())
        .bind(time.micros())
        .fetch_one(connection)
        .await
    })
}
