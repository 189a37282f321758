//! [`Received`]: the logs of other devices, as a hub stores them.
//!
//! Bytes are stored and hashed as they came, in the tables of this program's own events, so that lists, registers and
//! exports see all terminals alike. What cannot be read is stored too, and flagged; a kind that is not known is stored
//! and passed on.
//!
//! Promises: the numbers of a log are without a hole, except for those that were recorded as gaps, for ever. An event
//! that a terminal sends again (in another log, after a fork) is stored, and counted once; one with the same id and
//! other bytes is kept beside the first, and flagged. The scope of an id is its terminal: nobody can be in the way of
//! another's events. What [`Receiving::commit`] has answered is on the disk.
//!
//! Nothing is kept in memory between two pushes, so that several processes may take them in over one PostgreSQL. There a
//! push holds the row of its log, and from [`Receiving::append`] on the row of the feed: pushes to different logs are
//! read, hashed and checked side by side and written one after the other, which keeps the feed's order that of commits.
//! No transaction locks two logs of other devices.
//!
//! Not here: which push is right (sync decides, by what it reads here), and whether the caller is the terminal.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::{EventId, LogId, TerminalId, UtcInstant, limits};
use rollcall_store::{Db, StoreError, Tx};

use crate::chain::ChainHash;
use crate::kind;
use crate::log::{CLASHES, UNREADABLE};
use crate::place::{NewRow, Place, ready, write};
use crate::store::log::{LogEntry, Tip};
use crate::store::received::{self as store, First, Gap};
use crate::store::rows::EventEntry;
use crate::{AttendanceError, store as tables};

/// How far a log goes: its last number and the chain there; 0 and [`ChainHash::ZERO`]: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last number.
    pub seq: u64,
    /// The chain at it.
    pub hash: ChainHash,
}

impl Position {
    /// Of a log of which nothing is there.
    pub const NONE: Self = Self { seq: 0, hash: ChainHash::ZERO };
}

/// What a hub has of a log that a terminal offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which log.
    pub log_id: LogId,
    /// How far it goes here.
    pub have: Position,
    /// The chain at the terminal's last number, where the log goes so far here and the number is in no gap.
    pub at_head: Option<ChainHash>,
    /// Numbers that no device had any more when they were asked for.
    pub missing: Vec<RangeInclusive<u64>>,
}

/// What a hub has of a log, for people: "1-4,812 received, none missing".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Which log.
    pub log_id: LogId,
    /// The last number.
    pub have: u64,
    /// Numbers that no device had any more when they were asked for.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Events that had come before in another log, and are counted there.
    pub repeats: u64,
    /// Events with the id of another and other bytes.
    pub clashes: u64,
    /// Events that this program cannot read.
    pub unreadable: u64,
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.have {
            0 => return f.write_str("nothing received"),
            have => write!(f, "1-{} received, ", grouped(have))?,
        }
        if self.missing.is_empty() {
            return f.write_str("none missing");
        }
        let ranges: Vec<String> = self
            .missing
            .iter()
            .map(|range| format!("{}-{}", grouped(*range.start()), grouped(*range.end())))
            .collect();
        write!(f, "{} missing", ranges.join(", "))
    }
}

/// A number with a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The logs of other devices. A clone is another handle to the same.
#[derive(Clone)]
pub struct Received {
    db: Db,
    /// Tells this process's watchers of a new position.
    tell: Arc<dyn Fn(i64) + Send + Sync>,
}

impl Received {
    /// Those in the database of a log of this program's own ([`crate::Log::received`]).
    pub(crate) fn new(db: Db, tell: impl Fn(i64) + Send + Sync + 'static) -> Self {
        Self { db, tell: Arc::new(tell) }
    }

    /// What is here of each log that a terminal offers with its last number, in their order.
    ///
    /// # Errors
    /// [`AttendanceError::LogOfAnother`]; a database that does not answer.
    pub async fn held(
        &self,
        terminal_id: TerminalId,
        offered: &[(LogId, u64)],
    ) -> Result<Vec<Held>, AttendanceError> {
        let mut tx = self.db.read().await?;
        let mut held = Vec::with_capacity(offered.len());
        for (log_id, head) in offered {
            let log = store::log(&mut tx, &self.db, *log_id).await?;
            let tip = match log {
                Some(log) if log.terminal_id != terminal_id => {
                    return Err(AttendanceError::LogOfAnother(*log_id));
                }
                Some(log) => log.tip,
                None => beginning(*log_id),
            };
            let at_head = hash_at(&mut tx, &self.db, &tip, *head).await?;
            let missing = missing(&mut tx, &self.db, *log_id).await?;
            held.push(Held { log_id: *log_id, have: position(&tip), at_head, missing });
        }
        Ok(held)
    }

    /// Begins to receive a part of a log, which nobody else appends to until this ends. It runs to its end inside
    /// `rollcall_store::Writes`; dropped before [`Receiving::commit`], nothing of it is stored.
    ///
    /// # Errors
    /// [`AttendanceError::LogOfAnother`]; a terminal with more than [`limits::RECEIVED_LOGS`] logs; a database that does
    /// not answer.
    pub async fn lock(
        &self,
        terminal_id: TerminalId,
        log_id: LogId,
        now: UtcInstant,
    ) -> Result<Receiving, AttendanceError> {
        let mut tx = self.db.write().await?;
        let mut owned = store::lock(&mut tx, &self.db, log_id).await?;
        if owned.is_none() {
            let (logs, newest_us) = store::count_logs(&mut tx, terminal_id).await?;
            if usize::try_from(logs).unwrap_or(usize::MAX) >= limits::RECEIVED_LOGS {
                return Err(AttendanceError::Full(format!(
                    "{} has {logs} logs here, which is the most; a terminal begins one when it was restored or moved: \
                     look why it does so again and again",
                    terminal_id.name()
                )));
            }
            let opened_us = now.micros().max(newest_us.saturating_add(1));
            store::ensure_log(&mut tx, &received_log(terminal_id, log_id, opened_us)).await?;
            owned = store::lock(&mut tx, &self.db, log_id).await?;
        }
        let owned = owned.ok_or(AttendanceError::Internal("a log is gone that was just stored"))?;
        if owned.terminal_id != terminal_id {
            return Err(AttendanceError::LogOfAnother(log_id));
        }
        Ok(Receiving {
            tx,
            db: self.db.clone(),
            tell: Arc::clone(&self.tell),
            terminal_id,
            now,
            tip: owned.tip,
            told: None,
        })
    }

    /// What is here of a terminal's logs, the oldest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn coverage(&self, terminal_id: TerminalId) -> Result<Vec<Coverage>, AttendanceError> {
        let mut tx = self.db.read().await?;
        let mut coverage = Vec::new();
        for log in tables::log::logs(&mut tx, &self.db, terminal_id).await? {
            let log_id = log.tip.log_id;
            let missing = missing(&mut tx, &self.db, log_id).await?;
            let counts = store::counts(&mut tx, log_id).await?;
            coverage.push(Coverage {
                log_id,
                have: number(log.tip.head),
                missing,
                repeats: number(counts.repeats),
                clashes: number(counts.clashes),
                unreadable: number(counts.unreadable),
            });
        }
        Ok(coverage)
    }
}

/// A part of a log that is being received: a transaction with the log's row locked.
pub struct Receiving {
    tx: Tx,
    db: Db,
    tell: Arc<dyn Fn(i64) + Send + Sync>,
    terminal_id: TerminalId,
    now: UtcInstant,
    tip: Tip,
    /// The feed's newest position after an append.
    told: Option<i64>,
}

impl Receiving {
    /// How far the log goes, with what was appended meanwhile.
    pub fn position(&self) -> Position {
        position(&self.tip)
    }

    /// The chain at a number; `None` when the log does not go so far, and within a gap.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn hash_at(&mut self, seq: u64) -> Result<Option<ChainHash>, AttendanceError> {
        Ok(hash_at(&mut self.tx, &self.db, &self.tip, seq).await?)
    }

    /// The chain at each number from `first` to `last`, where it is known: at most [`limits::PUSH_EVENTS`] of them.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn hashes(
        &mut self,
        first: u64,
        last: u64,
    ) -> Result<BTreeMap<u64, ChainHash>, AttendanceError> {
        let Ok(first) = i64::try_from(first) else { return Ok(BTreeMap::new()) };
        let most = first.saturating_add(i64::try_from(limits::PUSH_EVENTS).unwrap_or(i64::MAX) - 1);
        let last = i64::try_from(last).unwrap_or(i64::MAX).min(self.tip.head).min(most);
        let hashes = store::hashes(&mut self.tx, &self.db, self.tip.log_id, first, last).await?;
        Ok(hashes.into_iter().map(|(seq, hash)| (number(seq), hash)).collect())
    }

    /// Numbers that no device had any more when they were asked for.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn missing(&mut self) -> Result<Vec<RangeInclusive<u64>>, AttendanceError> {
        Ok(missing(&mut self.tx, &self.db, self.tip.log_id).await?)
    }

    /// The last number that was here at a time, as far as was noted ([`limits::ARRIVAL_HOURS`]); 0: none.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn arrived_by(&mut self, time: UtcInstant) -> Result<u64, AttendanceError> {
        Ok(number(store::arrived_by(&mut self.tx, self.tip.log_id, time).await?))
    }

    /// Stores events after the last one.
    ///
    /// # Errors
    /// More or larger events than a push may have; a database that does not answer. Then nothing is stored.
    pub async fn append<B: AsRef<[u8]>>(&mut self, events: &[B]) -> Result<(), AttendanceError> {
        check_size(events)?;
        let Ok(count) = i64::try_from(events.len()) else { return Ok(()) };
        if count == 0 {
            return Ok(());
        }
        if self.tip.head > i64::MAX - count {
            return Err(AttendanceError::Field { field: "first_seq", problem: TOO_FAR.to_owned() });
        }
        let rows: Vec<NewRow> = events.iter().map(|bytes| row(bytes.as_ref())).collect();
        let mut place = Place::read(&mut self.tx, self.tip, self.terminal_id).await?;
        let mut ready = ready(&mut self.tx, &mut place, &rows).await?;
        let feed = tables::log::take_positions(&mut self.tx, &self.db, count).await?;
        let first_position = feed.position - count + 1;
        // Only now: whoever has taken positions is the only one that stores events.
        self.find_repeats(&mut ready.entries, first_position).await?;
        write(&mut self.tx, &place, first_position, ready).await?;
        self.tip = place.tip;
        self.told = Some(feed.position);
        Ok(())
    }

    /// Marks events that are here already, and those with the id of another.
    async fn find_repeats(
        &mut self,
        entries: &mut [EventEntry],
        first_position: i64,
    ) -> Result<(), AttendanceError> {
        let ids: Vec<EventId> = entries.iter().filter_map(|entry| entry.event_id).collect();
        let stored = store::firsts(&mut self.tx, self.terminal_id, &ids).await?;
        let mut firsts: HashMap<EventId, Vec<First>> = stored.into_iter().collect();
        let mut clashes = 0;
        for entry in entries {
            let Some(id) = entry.event_id else { continue };
            let known = firsts.entry(id).or_default();
            match known.iter().find(|first| first.bytes == entry.bytes) {
                Some(first) => entry.repeat_of = Some(first.position),
                None => {
                    if !known.is_empty() {
                        entry.damage |= CLASHES;
                        clashes += 1;
                    }
                    let position = first_position + entry.position;
                    known.push(First { position, bytes: entry.bytes.clone() });
                }
            }
        }
        if clashes > 0 {
            let terminal = self.terminal_id.name();
            tracing::error!(%terminal, clashes, "events came with ids that others of the terminal have");
        }
        Ok(())
    }

    /// Notes for ever that the numbers after the last one up to `through` are missing, and goes on after them; the chain
    /// there is `hash`.
    ///
    /// # Errors
    /// When the log goes as far already; a database that does not answer.
    pub async fn record_gap(&mut self, through: u64, hash: ChainHash) -> Result<(), AttendanceError> {
        let problem =
            |problem: &str| AttendanceError::Field { field: "first_seq", problem: problem.to_owned() };
        let last = i64::try_from(through).ok().filter(|last| *last < i64::MAX);
        let last = last.ok_or_else(|| problem(TOO_FAR))?;
        if last <= self.tip.head {
            return Err(problem("leaves no gap: the log goes as far here"));
        }
        let gap = Gap { first: self.tip.head + 1, last, hash };
        store::insert_gap(&mut self.tx, self.tip.log_id, &gap, self.now).await?;
        self.tip = Tip { head: last, hash, ..self.tip };
        tables::log::set_tip(&mut self.tx, &self.tip).await?;
        let (log, terminal) = (self.tip.log_id.name(), self.terminal_id.name());
        tracing::error!(%log, %terminal, first = gap.first, last, "events of a terminal are lost");
        Ok(())
    }

    /// Makes it last. Returns how far the log goes.
    ///
    /// # Errors
    /// When it did not; then nothing of it is stored (`StoreError::Unsure` excepted).
    pub async fn commit(mut self) -> Result<Position, AttendanceError> {
        self.note_arrival().await?;
        let position = self.position();
        self.tx.commit().await?;
        if let Some(told) = self.told {
            (self.tell)(told);
        }
        Ok(position)
    }

    /// Notes how far the log is, unless it did so not long ago.
    async fn note_arrival(&mut self) -> Result<(), StoreError> {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let needed = self.now.before(hours(24 * limits::PRUNE_WITHOUT_BACKUP_DAYS));
        let newest = store::last_arrival(&mut self.tx, self.tip.log_id).await?;
        let is_due = newest.is_none_or(|newest| {
            self.now >= UtcInstant::from_micros(newest).after(hours(limits::ARRIVAL_HOURS))
        });
        if self.tip.head == 0 || !is_due {
            return Ok(());
        }
        store::insert_arrival(&mut self.tx, &self.tip, self.now, needed).await
    }
}

const TOO_FAR: &str = "is past every number that a log can have";

fn check_size<B: AsRef<[u8]>>(events: &[B]) -> Result<(), AttendanceError> {
    let bad = |problem: String| Err(AttendanceError::Field { field: "events", problem });
    if events.len() > limits::PUSH_EVENTS {
        return bad(format!(
            "has {} events; at most {} are taken at once",
            events.len(),
            limits::PUSH_EVENTS
        ));
    }
    if let Some(event) = events.iter().find(|event| event.as_ref().len() > limits::EVENT_SIZE_BYTES) {
        let size_bytes = event.as_ref().len();
        return bad(format!("has one of {size_bytes} bytes; a log takes {}", limits::EVENT_SIZE_BYTES));
    }
    let size_bytes: usize = events.iter().map(|event| event.as_ref().len()).sum();
    if size_bytes > limits::PUSH_SIZE_BYTES {
        return bad(format!("has {size_bytes} bytes; at most {} are taken at once", limits::PUSH_SIZE_BYTES));
    }
    Ok(())
}

fn row(bytes: &[u8]) -> NewRow {
    let derived = kind::derive(bytes);
    let damage = if derived.event_id.is_none() { UNREADABLE } else { 0 };
    NewRow { bytes: bytes.to_vec(), derived, damage }
}

fn beginning(log_id: LogId) -> Tip {
    Tip { log_id, head: 0, hash: ChainHash::ZERO }
}

fn received_log(terminal_id: TerminalId, log_id: LogId, opened_us: i64) -> LogEntry {
    LogEntry {
        tip: beginning(log_id),
        terminal_id,
        hw_id: String::new(),
        parent: None,
        first_seq: 1,
        before_hash: ChainHash::ZERO,
        is_current: false,
        opened_us,
        reason: "RECEIVED".to_owned(),
        is_superseded: false,
    }
}

async fn hash_at(tx: &mut Tx, db: &Db, tip: &Tip, seq: u64) -> Result<Option<ChainHash>, StoreError> {
    match i64::try_from(seq) {
        Ok(0) => Ok(Some(ChainHash::ZERO)),
        Ok(seq) if seq == tip.head => Ok(Some(tip.hash)),
        Ok(seq) if seq < tip.head => Ok(store::hashes(tx, db, tip.log_id, seq, seq).await?.remove(&seq)),
        Ok(_) | Err(_) => Ok(None),
    }
}

async fn missing(tx: &mut Tx, db: &Db, log_id: LogId) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
    let gaps = store::gaps(tx, db, log_id).await?;
    Ok(gaps.iter().map(|gap| number(gap.first)..=number(gap.last)).collect())
}

fn position(tip: &Tip) -> Position {
    Position { seq: number(tip.head), hash: tip.hash }
}

fn number(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_reads_as_a_sentence() {
        let log = Coverage {
            log_id: LogId::from_bytes([1; 16]),
            have: 4_812,
            missing: Vec::new(),
            repeats: 0,
            clashes: 0,
            unreadable: 0,
        };
        assert_eq!(log.to_string(), "1-4,812 received, none missing");
        let missing = vec![1..=99, 1_000..=1_234];
        let with_gaps = Coverage { missing, have: 1_234_567, ..log.clone() };
        assert_eq!(with_gaps.to_string(), "1-1,234,567 received, 1-99, 1,000-1,234 missing");
        assert_eq!(Coverage { have: 0, ..log }.to_string(), "nothing received");
    }
}
