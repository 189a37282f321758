//! Whether a log is as it was written: each row against the hash chain, and what tables say of events against their
//! bytes. Derived values that differ are written anew; rows whose bytes differ are marked, listed and passed on all the
//! same; rows that are missing mean that the file is damaged.

use rollcall_core::{LogId, TerminalId};
use rollcall_store::{Db, StoreError, Tx};

use crate::chain::{Broken, ChainCheck, ChainHash};
use crate::kind::{self, Derived};
use crate::store;
use crate::store::log::{LogEntry, damaged};
use crate::store::rows::ChainRow;
use crate::time::{self, Anchor, Corrected, Reading};

// `attendance_event.damage` is a set of bits. 16, which no rule asks for: the event was moved to a chain that is whole
// over its bytes as they are (`store::log::move_event`).

/// Bit of `attendance_event.damage`: the bytes or the hash are not what was written.
pub(crate) const CHANGED: i64 = 1;

/// Bit of `attendance_event.damage`: the events before it were lost with a damaged file.
pub(crate) const AFTER_GAP: i64 = 2;

/// Bit of `attendance_event.damage`: an event with the same id and other bytes was stored before.
pub(crate) const CLASHES: i64 = 4;

/// Bit of `attendance_event.damage`: this program could not read the bytes when they came.
pub(crate) const UNREADABLE: i64 = 8;

/// Rows read at once.
pub(super) const PAGE: i64 = 1_000;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Events that were read.
    pub events: u64,
    /// Events whose bytes or hash are not what was written, by log and number; only those not found before.
    pub changed: Vec<(LogId, i64)>,
    /// Events of which a table said something else than their bytes.
    pub rederived: u64,
}

/// Checks every event of every log of a terminal.
///
/// # Errors
/// [`StoreError::Damaged`] when events are missing or cannot be read.
pub(super) async fn all(db: &Db, terminal_id: TerminalId) -> Result<Findings, StoreError> {
    let mut tx = db.read().await?;
    let logs = store::log::logs(&mut tx, db, terminal_id).await?;
    drop(tx);
    let mut findings = Findings::default();
    for log in &logs {
        one(db, log, 0, &mut findings).await?;
    }
    Ok(findings)
}

/// Checks the newest events of a log alone.
pub(super) async fn tail(db: &Db, log: &LogEntry, events: i64) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    one(db, log, log.tip.head - events, &mut findings).await?;
    Ok(findings)
}

/// What is kept of a row until the times of all are known.
struct Seen {
    position: i64,
    seq: i64,
    derived: Derived,
    stamped_us: i64,
    time_trust: i64,
    differs: bool,
}

async fn one(db: &Db, log: &LogEntry, after: i64, findings: &mut Findings) -> Result<(), StoreError> {
    let is_whole = after < log.first_seq;
    let (mut after, mut check) = begin(db, log, after).await?;
    let mut changed = Vec::new();
    let mut seen: Vec<Seen> = Vec::new();
    let mut last = (log.first_seq - 1, log.before_hash);
    let mut tx = db.read().await?;
    loop {
        let rows = store::rows::chain_rows(&mut tx, log.tip.log_id, after, PAGE).await?;
        let Some(newest) = rows.last() else { break };
        after = newest.seq;
        for row in rows {
            let hash = ChainHash::try_from(&row.hash[..]).unwrap_or(ChainHash::ZERO);
            match check.row(row.seq, &row.bytes, hash) {
                Ok(()) => {}
                Err(Broken::Missing(from)) if row.damage & AFTER_GAP == 0 => {
                    let missing = format!("events {from} to {} of a log are missing", row.seq - 1);
                    return Err(damaged(db, missing));
                }
                Err(Broken::Missing(_)) => {}
                Err(Broken::Changed(_)) if row.damage & CHANGED != 0 => {}
                Err(Broken::Changed(seq)) => changed.push(seq),
            }
            last = (row.seq, hash);
            let derived = kind::derive(&row.bytes);
            let differs = derived_row(&row, log.terminal_id, &derived, None) != row;
            let (position, seq, stamped_us, time_trust) =
                (row.position, row.seq, row.stamped_us, row.time_trust);
            seen.push(Seen { position, seq, derived, stamped_us, time_trust, differs });
        }
    }
    check_places(&mut tx, db, log, &seen).await?;
    drop(tx);
    if last != (log.tip.head, log.tip.hash) {
        return Err(damaged(
            db,
            format!("the last event of a log is {}, and should be {}", last.0, log.tip.head),
        ));
    }
    findings.events += u64::try_from(seen.len()).unwrap_or(u64::MAX);
    let times = is_whole.then(|| times(&seen));
    findings.rederived += repair(db, log, &seen, times.as_deref(), &changed).await?;
    findings.changed.extend(changed.into_iter().map(|seq| (log.tip.log_id, seq)));
    Ok(())
}

/// Checks that the rows say of themselves what the index by number says of them.
async fn check_places(tx: &mut Tx, db: &Db, log: &LogEntry, seen: &[Seen]) -> Result<(), StoreError> {
    let mut expected: Vec<(i64, i64)> = seen.iter().map(|one| (one.position, one.seq)).collect();
    expected.sort_unstable();
    let (Some(first), Some(last)) = (expected.first(), expected.last()) else { return Ok(()) };
    let (mut after, through) = (first.0 - 1, last.0);
    let mut expected = expected.iter();
    loop {
        let rows = store::rows::places(tx, after, through, PAGE).await?;
        let Some(newest) = rows.last() else { break };
        after = newest.position;
        for row in rows.iter().filter(|row| row.log_id == log.tip.log_id.as_bytes()) {
            if expected.next() != Some(&(row.position, row.seq)) {
                return Err(damaged(
                    db,
                    format!("the event at position {} is not where its index has it", row.position),
                ));
            }
        }
    }
    match expected.next() {
        None => Ok(()),
        Some((position, _)) => Err(damaged(db, format!("the event at position {position} is of no log"))),
    }
}

/// The number to begin after, and the check with the hash there.
async fn begin(db: &Db, log: &LogEntry, after: i64) -> Result<(i64, ChainCheck), StoreError> {
    if after < log.first_seq {
        let before = log.first_seq - 1;
        return Ok((before, ChainCheck::after(before, log.before_hash)));
    }
    let mut tx = db.read().await?;
    let hash = store::rows::hash_at(&mut tx, log.tip.log_id, after).await?;
    let hash = hash.and_then(|hash| ChainHash::try_from(&hash[..]).ok());
    let hash = hash.ok_or_else(|| damaged(db, format!("event {after} of a log is missing")))?;
    Ok((after, ChainCheck::after(after, hash)))
}

fn times(seen: &[Seen]) -> Vec<Corrected> {
    let readings: Vec<Reading> = seen.iter().map(|one| one.derived.reading).collect();
    let anchors: Vec<Anchor> = seen.iter().filter_map(|one| one.derived.anchor).collect();
    time::correct(&readings, &anchors, None)
}

/// The row as its bytes have it; the time as stored when it is not given.
fn derived_row(
    row: &ChainRow,
    terminal_id: TerminalId,
    derived: &Derived,
    corrected: Option<Corrected>,
) -> ChainRow {
    let stamped_us = corrected.map_or(row.stamped_us, |corrected| corrected.us);
    ChainRow {
        event_id: derived.event_id.map(|id| id.to_bytes().to_vec()).or(row.event_id.clone()),
        kind: derived.kind,
        person_id: derived.person_id.map(|id| id.to_bytes().to_vec()),
        terminal_id: terminal_id.to_bytes().to_vec(),
        boot_id: Some(derived.reading.boot_id.to_vec()),
        boottime_us: derived.reading.boottime_us,
        wall_us: derived.reading.wall_us,
        stamped_us,
        time_trust: corrected.map_or(row.time_trust, |corrected| corrected.trust.number()),
        at_us: derived.stated_us.unwrap_or(stamped_us),
        ..row.clone()
    }
}

/// Writes what differs. Returns of how many events.
async fn repair(
    db: &Db,
    log: &LogEntry,
    seen: &[Seen],
    times: Option<&[Corrected]>,
    changed: &[i64],
) -> Result<u64, StoreError> {
    let (log_id, mut rederived) = (log.tip.log_id, 0);
    let mut tx = None;
    for (index, one) in seen.iter().enumerate() {
        let corrected = times.and_then(|times| times.get(index)).copied();
        let moved =
            corrected.is_some_and(|time| (time.us, time.trust.number()) != (one.stamped_us, one.time_trust));
        let is_changed = changed.contains(&one.seq);
        if !one.differs && !moved && !is_changed {
            continue;
        }
        if tx.is_none() {
            tx = Some(db.write().await?);
        }
        let Some(tx) = &mut tx else { continue };
        let Some(row) = store::rows::chain_rows(tx, log_id, one.seq - 1, 1).await?.pop() else { continue };
        let mut new = derived_row(&row, log.terminal_id, &one.derived, corrected);
        new.damage |= if is_changed { CHANGED } else { 0 };
        store::rows::set_derived(tx, log_id, &new).await?;
        rederived += u64::from(one.differs);
    }
    if let Some(tx) = tx {
        tx.commit().await?;
    }
    Ok(rederived)
}
