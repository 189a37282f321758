//! Statements about logs, their chains and the feed.

use rollcall_core::{LogId, TerminalId};
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
    /// Its events were moved into another log.
    pub is_superseded: bool,
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
    is_superseded: i64,
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
            is_superseded: self.is_superseded != 0,
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
                    head_hash, is_current, opened_us, reason, is_superseded
                from attendance_log where terminal_id = $1 order by opened_us, log_id",
        )
        .bind(terminal_id.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    let entries: Option<Vec<LogEntry>> = rows.into_iter().map(LogRow::entry).collect();
    entries.ok_or_else(|| damaged(db, "the row of a log has a value of the wrong length"))
}

/// A terminal's current log is not the current one any more.
pub(crate) async fn retire_current(tx: &mut Tx, terminal_id: TerminalId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update attendance_log set is_current = 0 where terminal_id = $1 and is_current = 1")
            .bind(terminal_id.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
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

/// Adds a log.
///
/// [`StoreError::Conflict`] when it is current and the terminal has another that is.
pub(crate) async fn insert_log(tx: &mut Tx, log: &LogEntry) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_log (log_id, terminal_id, hw_id, parent_log_id, parent_head, parent_hash, first_seq,
                    before_hash, head, head_hash, is_current, opened_us, reason, is_superseded)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
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
        .bind(i64::from(log.is_superseded))
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// A log whose events were moved away: it is not written to any more, and begins after its end.
pub(crate) async fn supersede(tx: &mut Tx, tip: &Tip) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update attendance_log set is_superseded = 1, is_current = 0, first_seq = $2 + 1, before_hash = $3
                where log_id = $1",
        )
        .bind(tip.log_id.as_bytes())
        .bind(tip.head)
        .bind(tip.hash.as_bytes())
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

/// Deletes a log's events up to number `through`, which is not past its end; the hash before the rest stays known.
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
