//! What a hub is told of this terminal's logs, and given of them.
//!
//! A log is offered as long as it is here, also when it was closed or all of its events were pruned: a hub that steps back
//! later needs it, or must know what it has lost. A log whose events were moved away is not.

use std::collections::BTreeMap;

use rollcall_core::{LogId, limits};

use super::Log;
use crate::chain::ChainHash;
use crate::store::log::LogEntry;
use crate::{AttendanceError, store};

/// A log that a terminal offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Which.
    pub log_id: LogId,
    /// The log that it began after.
    pub parent: Option<LogId>,
    /// The first number that is kept; one after `head`: none is.
    pub first: u64,
    /// The last number.
    pub head: u64,
    /// The chain at `head`.
    pub head_hash: ChainHash,
    /// Events are written to it.
    pub is_current: bool,
    /// Whether the chain is whole over the events that are kept. When it is not (bytes were damaged on the disk, or events
    /// lost with a damaged file), the hub cannot follow it: [`Log::supersede`] it before it is offered.
    pub is_whole: bool,
}

/// How many kept events are not at a hub that has each log up to the number given.
pub fn unacknowledged(logs: &[LogState], have: &BTreeMap<LogId, u64>) -> u64 {
    let of_log = |log: &LogState| {
        let have = have.get(&log.log_id).copied().unwrap_or(0).max(log.first.saturating_sub(1));
        log.head.saturating_sub(have)
    };
    logs.iter().map(of_log).sum()
}

impl Log {
    /// The logs to offer, the oldest first, at most [`limits::LOGS`]. Where there are more, those without events are left
    /// out first, then newer ones that are closed; they follow when older ones are pruned and forgotten.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn states(&self) -> Result<Vec<LogState>, AttendanceError> {
        let (db, terminal_id) = (&self.inner.db, self.inner.opened.terminal_id);
        let mut tx = db.read().await?;
        let logs = store::log::logs(&mut tx, db, terminal_id).await?;
        let broken = store::rows::with_damage(&mut tx, terminal_id).await?;
        let is_whole = |log: &LogEntry| broken.iter().all(|log_id| log_id[..] != *log.tip.log_id.as_bytes());
        let state = |log: LogEntry| LogState {
            log_id: log.tip.log_id,
            parent: log.parent.map(|parent| parent.log_id),
            first: number(log.first_seq),
            head: number(log.tip.head),
            head_hash: log.tip.hash,
            is_current: log.is_current,
            is_whole: is_whole(&log),
        };
        let states = logs.into_iter().filter(|log| !log.is_superseded).map(state).collect();
        Ok(at_most(states, limits::LOGS))
    }

    /// The chain of one of these logs at a number; `None` when it is not known any more, or not yet.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn hash_at(&self, log_id: LogId, seq: u64) -> Result<Option<ChainHash>, AttendanceError> {
        let db = &self.inner.db;
        let Ok(seq) = i64::try_from(seq) else { return Ok(None) };
        let mut tx = db.read().await?;
        let logs = store::log::logs(&mut tx, db, self.inner.opened.terminal_id).await?;
        match logs.iter().find(|log| log.tip.log_id == log_id) {
            Some(log) if seq == log.first_seq - 1 => Ok(Some(log.before_hash)),
            Some(_) => Ok(store::received::hashes(&mut tx, db, log_id, seq, seq).await?.remove(&seq)),
            None => Ok(None),
        }
    }

    /// The bytes of the events of a log after number `after`, in order and without a gap: at most `events` of them, and of
    /// `size_bytes` together, but one in any case. Empty when the next one is not kept.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn read(
        &self,
        log_id: LogId,
        after: u64,
        events: usize,
        size_bytes: usize,
    ) -> Result<Vec<Vec<u8>>, AttendanceError> {
        let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
        let limit = i64::try_from(events).unwrap_or(i64::MAX);
        let mut tx = self.inner.db.read().await?;
        let rows = store::rows::bytes_after(&mut tx, log_id, after, limit).await?;
        let mut room = size_bytes;
        let mut read = Vec::with_capacity(rows.len());
        for (row, seq) in rows.into_iter().zip(after + 1..) {
            if row.seq != seq || (row.bytes.len() > room && !read.is_empty()) {
                break;
            }
            room = room.saturating_sub(row.bytes.len());
            read.push(row.bytes);
        }
        Ok(read)
    }
}

fn number(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

/// Leaves out what can wait; the order stays.
fn at_most(mut states: Vec<LogState>, most: usize) -> Vec<LogState> {
    let is_empty = |log: &LogState| !log.is_current && log.first > log.head;
    while states.len() > most {
        let waits = states.iter().position(is_empty);
        let Some(waits) = waits.or_else(|| states.iter().rposition(|log| !log.is_current)) else { break };
        states.remove(waits);
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(number: u8, first: u64, head: u64) -> LogState {
        LogState {
            log_id: LogId::from_bytes([number; 16]),
            parent: None,
            first,
            head,
            head_hash: ChainHash::ZERO,
            is_current: false,
            is_whole: true,
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_what_is_kept_and_the_hub_does_not_have() {
        let logs = [log(1, 1, 10), log(2, 5, 10), log(3, 11, 10), log(4, 1, 10)];
        let have = [(1, 4), (2, 2), (4, 12)].map(|(number, have)| (LogId::from_bytes([number; 16]), have));
        assert_eq!(unacknowledged(&logs, &BTreeMap::from(have)), 6 + 6);
        assert_eq!(unacknowledged(&logs, &BTreeMap::new()), 10 + 6 + 10);
    }

    #[test]
    fn where_there_are_too_many_the_empty_ones_wait_then_the_newest_closed_ones() {
        let current = LogState { is_current: true, ..log(9, 1, 3) };
        let logs = vec![log(1, 1, 4), log(2, 5, 4), log(3, 1, 4), log(4, 1, 4), current];
        let offered = |most| -> Vec<u8> {
            at_most(logs.clone(), most).iter().map(|log| log.log_id.to_bytes()[0]).collect()
        };
        assert_eq!(offered(5), [1, 2, 3, 4, 9]);
        assert_eq!(offered(4), [1, 3, 4, 9]);
        assert_eq!(offered(3), [1, 3, 9]);
        assert_eq!(offered(1), [9]);
    }
}
