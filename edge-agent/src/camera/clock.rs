//! Time for the camera's thread, so that tests need none.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What time it is, and to wait.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Instant;

    /// Waits so long, or until the thread is to stop.
    fn wait(&self, how_long: Duration);

    /// Whether the thread is to stop.
    fn is_stopped(&self) -> bool;
}

/// The system's, and the request to stop.
#[derive(Debug, Default)]
pub struct SystemClock {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl SystemClock {
    /// Ends every wait, now and from now on.
    pub fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, how_long: Duration) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(stopped, how_long, |stopped| !*stopped));
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
