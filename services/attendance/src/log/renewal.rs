//! A new log while the program runs: after one that was found to be rolled back, or for the events of one that another
//! device has gone on with.
//!
//! Events are moved, not copied, in one transaction: after a crash they are all in the old log or all in the new one.
//! They go into a log of their own, which begins with them, and not to the end of the current one: the times of events
//! without an anchor are derived from their neighbours, and older events would be taken for later ones there.
//!
//! Locks on PostgreSQL: rows of logs, then the row of the feed (`store/received.rs`).

use rollcall_core::LogId;
use rollcall_store::{Db, StoreError, Tx};

use super::open::{Identity, OpenReason, forget_pruned, new_log, opening};
use super::{Stamped, check, writer};
use crate::clock::Clock;
use crate::place::Place;
use crate::store::log::{LogEntry, Tip};
use crate::{AttendanceError, store};

/// Where the writer goes on, and the newest position in the feed.
pub(super) struct Renewed {
    pub place: Place,
    pub position: i64,
}

/// Begins a log after the current one.
pub(super) async fn close(
    db: &Db,
    identity: &Identity,
    clock: &dyn Clock,
    current: &Place,
) -> Result<Renewed, AttendanceError> {
    let mut tx = db.write().await?;
    let parent = store::log::lock_tip(&mut tx, db, current.tip.log_id).await?;
    let logs = store::log::logs(&mut tx, db, identity.terminal_id).await?;
    forget_pruned(&mut tx, &logs).await?;
    let log = new_log(identity, clock, &logs, Some(parent), OpenReason::Closed)?;
    store::log::retire_current(&mut tx, identity.terminal_id).await?;
    store::log::insert_log(&mut tx, &log).await?;
    let mut place = Place::new(log.tip, identity.terminal_id).with_floor(current.floor);
    let event = Stamped::new(opening(Some(parent), OpenReason::Closed).into(), clock)?;
    let written = writer::append(&mut tx, db, &mut place, &[event]).await?;
    tx.commit().await?;
    tracing::warn!(reason = OpenReason::Closed.as_str(), "a new log begins");
    Ok(Renewed { place, position: written.feed.position })
}

/// Moves the events of a log into a new one, which is the current one if the log was.
pub(super) async fn supersede(
    db: &Db,
    identity: &Identity,
    clock: &dyn Clock,
    current: &Place,
    log_id: LogId,
) -> Result<Renewed, AttendanceError> {
    let mut tx = db.write().await?;
    let logs = store::log::logs(&mut tx, db, identity.terminal_id).await?;
    let old = logs.iter().find(|log| log.tip.log_id == log_id);
    let old = old.ok_or_else(|| AttendanceError::NotFound(log_id.name()))?;
    if old.is_superseded {
        let feed = store::log::feed(&mut tx).await?;
        return Ok(Renewed { place: current.clone(), position: feed.map_or(0, |feed| feed.position) });
    }
    let parent = store::log::lock_tip(&mut tx, db, log_id).await?;
    forget_pruned(&mut tx, &logs).await?;
    let log = LogEntry {
        is_current: old.is_current,
        ..new_log(identity, clock, &logs, Some(parent), OpenReason::Forked)?
    };
    if log.is_current {
        store::log::retire_current(&mut tx, identity.terminal_id).await?;
    }
    store::log::insert_log(&mut tx, &log).await?;
    let tip = move_events(&mut tx, log_id, log.tip).await?;
    store::log::set_tip(&mut tx, &tip).await?;
    store::log::supersede(&mut tx, &parent).await?;
    let mut place = Place::read(&mut tx, tip, identity.terminal_id).await?.with_floor(current.floor);
    let event = Stamped::new(opening(Some(parent), OpenReason::Forked).into(), clock)?;
    let written = writer::append(&mut tx, db, &mut place, &[event]).await?;
    tx.commit().await?;
    tracing::warn!(events = tip.head, "the events of a log were moved into a new one");
    let place = if log.is_current { place } else { current.clone() };
    Ok(Renewed { place, position: written.feed.position })
}

/// Puts every event of a log behind `tip`, in order. Returns the last entry.
async fn move_events(tx: &mut Tx, from: LogId, mut tip: Tip) -> Result<Tip, StoreError> {
    loop {
        // Those that were moved are in the log no more.
        let rows = store::rows::chain_rows(tx, from, 0, check::PAGE).await?;
        if rows.is_empty() {
            return Ok(tip);
        }
        for row in rows {
            tip = Tip { head: tip.head + 1, hash: tip.hash.after(&row.bytes), ..tip };
            store::rows::move_event(tx, row.position, &tip).await?;
        }
    }
}
