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

/// A clock for tests: it goes on only while somebody waits, or when it is told.
#[cfg(test)]
pub mod fake {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// See the module.
    pub struct FakeClock {
        start: Instant,
        inner: Mutex<(Duration, bool)>,
        /// Every wait, as long as it was.
        pub waits: Mutex<Vec<Duration>>,
    }

    impl FakeClock {
        pub fn new() -> Self {
            Self { start: Instant::now(), inner: Mutex::default(), waits: Mutex::default() }
        }

        pub fn elapsed(&self) -> Duration {
            self.inner.lock().unwrap().0
        }

        pub fn advance(&self, by: Duration) {
            self.inner.lock().unwrap().0 += by;
        }

        pub fn stop(&self) {
            self.inner.lock().unwrap().1 = true;
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> Instant {
            self.start + self.elapsed()
        }

        fn wait(&self, how_long: Duration) {
            self.waits.lock().unwrap().push(how_long);
            self.advance(how_long);
        }

        fn is_stopped(&self) -> bool {
            self.inner.lock().unwrap().1
        }
    }
}
