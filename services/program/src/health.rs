//! How the parts that both programs have are, for HealthService.

use std::path::PathBuf;
use std::sync::Arc;

use rollcall_attendance::{Clock as _, Log, Quality, SystemClock};
use rollcall_core::limits;
use rollcall_server::health::{Part, Probe, State};
use rollcall_terminals::Machine;

/// The event log: whether events wait for room.
pub fn log(log: Log) -> Probe {
    Box::new(move || {
        let health = log.health();
        let full = format!("the disk is full, {} events wait for room", health.kept);
        part("log", health.is_disk_full.then_some(full))
    })
}

/// The clock: whether it was ever set.
pub fn clock(clock: Arc<SystemClock>) -> Probe {
    Box::new(move || {
        let unset = clock.read().quality == Quality::Unset;
        part("clock", unset.then(|| "the clock was not set since the machine was started".to_owned()))
    })
}

/// The disk of the data folder: whether there is room.
pub fn disk(folder: PathBuf) -> Probe {
    Box::new(move || {
        let free_bytes = Machine::read(&folder).disk_free_bytes;
        let low = free_bytes < limits::DISK_FREE_LOW_BYTES;
        part("disk", low.then(|| format!("{} MiB are left", free_bytes >> 20)))
    })
}

/// A part that works, or works and should be looked at, for the reason given.
pub fn part(part: &'static str, degraded: Option<String>) -> Part {
    let state = if degraded.is_some() { State::Degraded } else { State::Well };
    Part { part, state, explanation: degraded.unwrap_or_default() }
}
