//! What needs a human: raised once, in the log and for whoever asks, until it is over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_attendance::Log;
use rollcall_core::limits;

use crate::entrance::events;

/// The alarms that are not over. A clone is another handle to the same.
#[derive(Clone)]
pub struct Alarms {
    log: Log,
    raised: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Alarms {
    pub fn new(log: Log) -> Self {
        Self { log, raised: Arc::default() }
    }

    /// Says whether `alarm` (as in `AlarmRaised`) is on now. The log gets a change of it, and is waited for no longer than
    /// somebody at the door would: whoever sets alarms also lets people in.
    pub async fn set(&self, alarm: &'static str, is_on: bool) {
        let has_changed = {
            let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
            if is_on { raised.insert(alarm) } else { raised.remove(alarm) }
        };
        if !has_changed {
            return;
        }
        match is_on {
            true => tracing::warn!(alarm, "raised"),
            false => tracing::info!(alarm, "over"),
        }
        let patience = Duration::from_millis(limits::LOG_PATIENCE_MS);
        if let Err(error) = self.log.append_patiently(events::alarm(alarm, !is_on), patience).await {
            tracing::warn!(alarm, error = error.fault().reason.as_str(), "the log did not take an alarm");
        }
    }

    /// Those that are on, by name.
    pub fn raised(&self) -> Vec<String> {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.iter().map(|alarm| (*alarm).to_owned()).collect()
    }
}
