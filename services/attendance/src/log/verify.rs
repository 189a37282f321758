//! Checking the logs in a database that another process may be writing to.

use rollcall_core::TerminalId;
use rollcall_store::{Db, StoreError, Tx};

use super::check::{AFTER_GAP, Findings, PAGE};
use crate::AttendanceError;
use crate::chain::{Broken, ChainCheck, ChainHash};
use crate::store::log::{self, LogEntry, damaged};
use crate::store::{received, rows};

/// Checks every event of every log in a database against its chain, as of one moment, and writes nothing: events that
/// were found changed before are listed again.
///
/// # Errors
/// A database that cannot be read, events that are missing.
pub async fn verify(db: &Db) -> Result<Findings, AttendanceError> {
    let mut tx = db.read().await?;
    let mut findings = Findings::default();
    for terminal in log::terminals(&mut tx).await? {
        let terminal =
            TerminalId::try_from(&terminal[..]).map_err(|_| damaged(db, "a terminal without an id"))?;
        for entry in log::logs(&mut tx, db, terminal).await? {
            one(&mut tx, db, &entry, &mut findings).await?;
        }
    }
    Ok(findings)
}

async fn one(tx: &mut Tx, db: &Db, log: &LogEntry, findings: &mut Findings) -> Result<(), StoreError> {
    let before = log.first_seq - 1;
    let mut check = ChainCheck::after(before, log.before_hash);
    let mut last = (before, log.before_hash);
    let mut gaps = received::gaps(tx, db, log.tip.log_id).await?.into_iter().peekable();
    loop {
        let page = rows::chain_rows(tx, log.tip.log_id, last.0, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            while let Some(gap) = gaps.next_if(|gap| gap.first == check.next() && gap.last < row.seq) {
                check.skip(gap.last, gap.hash);
            }
            let hash = ChainHash::try_from(&row.hash[..]).unwrap_or(ChainHash::ZERO);
            match check.row(row.seq, &row.bytes, hash) {
                Ok(()) => {}
                Err(Broken::Missing(_)) if row.damage & AFTER_GAP != 0 => {}
                Err(Broken::Missing(from)) => {
                    return Err(damaged(
                        db,
                        format!("events {from} to {} of a log are missing", row.seq - 1),
                    ));
                }
                Err(Broken::Changed(seq)) => findings.changed.push((log.tip.log_id, seq)),
            }
            last = (row.seq, hash);
            findings.events += 1;
        }
    }
    while let Some(gap) = gaps.next_if(|gap| gap.first == last.0 + 1) {
        last = (gap.last, gap.hash);
    }
    if last == (log.tip.head, log.tip.hash) {
        return Ok(());
    }
    Err(damaged(db, format!("the last event of a log is {}, and should be {}", last.0, log.tip.head)))
}
