//! Statements about logs, their chains and the feed.

use rollcall_core::{EventId, LogId, PersonId, TerminalId};
use rollcall_store::{Db, StoreError, Tx, dialect, on};

use crate::chain::ChainHash;
use crate::cursor::{Feed, FeedId};

/// The last entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub log_id: LogId,
    pub head: i64,
    pub hash: ChainHash,
}

/// A log as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogEntry {
    pub tip: Tip,
    pub terminal_id: TerminalId,
    pub hw_id: String,
    pub parent: Option<Tip>,
    /// The first number that is kept, and the hash before it.
    pub first_seq: i64,
    pub before_hash: ChainHash,
    pub is_current: bool,
    pub opened_us: i64,
    pub reason: String,
}

#[derive(sqlx::FromRow)]
struct LogRow {
    log_id: Vec<u8>,
    terminal_id: Vec<u8>,
    hw_id: String,
    parent_log_id: Option<Vec<u8>>,
    parent_head: Option<i64>,
    parent_hash: Option<Vec<u8>>,
    first_seq: i64,
    before_hash: Vec<u8>,
    head: i64,
    head_hash: Vec<u8>,
    is_current: i64,
    opened_us: i64,
    reason: String,
}

impl LogRow {
    /// `None` when a value has another length than it was stored with.
    fn entry(self) -> Option<LogEntry> {
        let parent = match (self.parent_log_id, self.parent_head, self.parent_hash) {
            (Some(log_id), Some(head), Some(hash)) => Some(Tip {
                log_id: LogId::try_from(&log_id[..]).ok()?,
                head,
                hash: ChainHash::try_from(&hash[..]).ok()?,
            }),
            _ => None,
        };
        Some(LogEntry {
            tip: Tip {
                log_id: LogId::try_from(&self.log_id[..]).ok()?,
                head: self.head,
                hash: ChainHash::try_from(&self.head_hash[..]).ok()?,
            },
            terminal_id: TerminalId::try_from(&self.terminal_id[..]).ok()?,
            hw_id: self.hw_id,
            parent,
            first_seq: self.first_seq,
            before_hash: ChainHash::try_from(&self.before_hash[..]).ok()?,
            is_current: self.is_current != 0,
            opened_us: self.opened_us,
            reason: self.reason,
        })
    }
}

pub(crate) fn damaged(db: &Db, detail: impl Into<String>) -> StoreError {
    StoreError::Damaged { place: db.place().to_owned(), detail: detail.into() }
}

/// The terminals that have a log here, by id.
pub(crate) async fn terminals(tx: &mut Tx) -> Result<Vec<Vec<u8>>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select distinct terminal_id from attendance_log order by terminal_id")
            .fetch_all(connection)
            .await
    })
}

/// Every log of a terminal, the oldest first.
pub(crate) async fn logs(tx: &mut Tx, db: &Db, terminal_id: TerminalId) -> Result<Vec<LogEntry>, StoreError> {
    let rows: Vec<LogRow> = on!(tx, connection => {
        sqlx::query_as(
            "select log_id, terminal_id, hw_id, parent_log_id, parent_head, parent_hash, first_seq, before_hash, head,
                    head_hash, is_current, opened_us, reason
                from attendance_log where terminal_id = $1 order by opened_us, log_id",
        )
        .bind(terminal_id.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    let entries: Option<Vec<LogEntry>> = rows.into_iter().map(LogRow::entry).collect();
    entries.ok_or_else(|| damaged(db, "the row of a log has a value of the wrong length"))
}

/// The last entry of every log.
pub(crate) async fn tips(tx: &mut Tx) -> Result<Vec<Tip>, StoreError> {
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = on!(tx, connection => {
        sqlx::query_as("select log_id, head, head_hash from attendance_log order by log_id").fetch_all(connection).await
    })?;
    let tip = |(log_id, head, hash): (Vec<u8>, i64, Vec<u8>)| {
        let log_id = LogId::try_from(&log_id[..]).ok()?;
        Some(Tip { log_id, head, hash: ChainHash::try_from(&hash[..]).ok()? })
    };
    let tips: Option<Vec<Tip>> = rows.into_iter().map(tip).collect();
    tips.ok_or_else(|| StoreError::Damaged {
        place: "of the event log".to_owned(),
        detail: "the row of a log has a value of the wrong length".to_owned(),
    })
}

pub(crate) async fn insert_log(tx: &mut Tx, log: &LogEntry) -> Result<(), StoreError> {
    on!(tx, connection => {
        if log.is_current {
            sqlx::query("update attendance_log set is_current = 0 where terminal_id = $1 and is_current = 1")
                .bind(log.terminal_id.as_bytes())
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query(
            "insert into attendance_log (log_id, terminal_id, hw_id, parent_log_id, parent_head, parent_hash, first_seq,
                    before_hash, head, head_hash, is_current, opened_us, reason)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(log.tip.log_id.as_bytes())
        .bind(log.terminal_id.as_bytes())
        .bind(&log.hw_id)
        .bind(log.parent.as_ref().map(|parent| parent.log_id.as_bytes()))
        .bind(log.parent.as_ref().map(|parent| parent.head))
        .bind(log.parent.as_ref().map(|parent| parent.hash.as_bytes()))
        .bind(log.first_seq)
        .bind(log.before_hash.as_bytes())
        .bind(log.tip.head)
        .bind(log.tip.hash.as_bytes())
        .bind(i64::from(log.is_current))
        .bind(log.opened_us)
        .bind(&log.reason)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Removes a log without events.
pub(crate) async fn delete_log(tx: &mut Tx, log_id: LogId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from attendance_log where log_id = $1")
            .bind(log_id.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

#[derive(sqlx::FromRow)]
struct TipRow {
    head: i64,
    head_hash: Vec<u8>,
}

/// The last entry of a log; nobody else appends to it until this transaction ends.
pub(crate) async fn lock_tip(tx: &mut Tx, db: &Db, log_id: LogId) -> Result<Tip, StoreError> {
    let select = dialect::for_update(tx, "select head, head_hash from attendance_log where log_id = $1");
    let row: Option<TipRow> = on!(tx, connection => {
        sqlx::query_as(select).bind(log_id.as_bytes()).fetch_optional(connection).await
    })?;
    let tip = row.and_then(|row| {
        Some(Tip { log_id, head: row.head, hash: ChainHash::try_from(&row.head_hash[..]).ok()? })
    });
    tip.ok_or_else(|| damaged(db, "the row of the current log is gone"))
}

pub(crate) async fn set_tip(tx: &mut Tx, tip: &Tip) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update attendance_log set head = $2, head_hash = $3 where log_id = $1")
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

#[derive(sqlx::FromRow)]
struct FeedRow {
    feed_id: Vec<u8>,
    position: i64,
    pruned_through: i64,
}

impl FeedRow {
    fn feed(self) -> Option<Feed> {
        let feed_id: FeedId = self.feed_id.try_into().ok()?;
        Some(Feed { feed_id, position: self.position, pruned_through: self.pruned_through })
    }
}

/// The feed; `None` before the first log was opened.
pub(crate) async fn feed(tx: &mut Tx) -> Result<Option<Feed>, StoreError> {
    let row: Option<FeedRow> = on!(tx, connection => {
        sqlx::query_as("select feed_id, position, pruned_through from attendance_feed").fetch_optional(connection).await
    })?;
    Ok(row.and_then(FeedRow::feed))
}

/// Gives this database a feed; one that it has stays.
pub(crate) async fn ensure_feed(tx: &mut Tx, feed_id: FeedId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_feed (one, feed_id, position, pruned_through) values (1, $1, 0, 0)
                on conflict (one) do update set feed_id = attendance_feed.feed_id",
        )
        .bind(&feed_id[..])
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Makes every cursor that was given out invalid. Positions go on after the newest event.
pub(crate) async fn renew_feed(tx: &mut Tx, feed_id: FeedId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_feed (one, feed_id, position, pruned_through)
                values (1, $1, (select coalesce(max(position), 0) from attendance_event), 0)
                on conflict (one) do update set feed_id = excluded.feed_id",
        )
        .bind(&feed_id[..])
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// The feed after `count` more positions were taken: the last of them is its position. Until this transaction ends
/// nobody else takes any, so positions are committed in their order.
pub(crate) async fn take_positions(tx: &mut Tx, db: &Db, count: i64) -> Result<Feed, StoreError> {
    let row: Option<FeedRow> = on!(tx, connection => {
        sqlx::query_as(
            "update attendance_feed set position = position + $1 returning feed_id, position, pruned_through",
        )
        .bind(count)
        .fetch_optional(connection)
        .await
    })?;
    row.and_then(FeedRow::feed).ok_or_else(|| damaged(db, "the feed's row is gone"))
}

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
}

pub(crate) async fn insert_event(tx: &mut Tx, event: &EventEntry) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_event (position, log_id, seq, hash, bytes, event_id, kind, person_id, terminal_id,
                    boot_id, boottime_us, wall_us, stamped_us, time_trust, at_us, damage)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
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
        .execute(connection)
        .await
        .map(|_| ())
    })
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

/// How many events there are.
pub(crate) async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select count(*) from attendance_event").fetch_one(connection).await)
}

/// Deletes a log's events up to number `through`; the hash before the rest stays known.
pub(crate) async fn prune(tx: &mut Tx, log_id: LogId, through: i64) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update attendance_log set first_seq = $2 + 1,
                    before_hash = coalesce((select e.hash from attendance_event e where e.log_id = $1 and e.seq = $2),
                        before_hash)
                where log_id = $1 and first_seq <= $2 and head >= $2",
        )
        .bind(log_id.as_bytes())
        .bind(through)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "update attendance_feed set pruned_through = coalesce((select max(e.position) from attendance_event e
                    where e.log_id = $1 and e.seq <= $2 and e.position > attendance_feed.pruned_through),
                    pruned_through)",
        )
        .bind(log_id.as_bytes())
        .bind(through)
        .execute(&mut *connection)
        .await?;
        sqlx::query("delete from attendance_event where log_id = $1 and seq <= $2")
            .bind(log_id.as_bytes())
            .bind(through)
            .execute(connection)
            .await
            .map(|_| ())
    })
}
