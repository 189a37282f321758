//! [`Writes`]: a write that has begun runs to its end, although whoever asked for it has gone.
//!
//! A gRPC handler may be dropped at any await, between two statements that belong together, or between a commit and
//! what must follow it in memory. So what writes runs in a task of its own, and the handler only waits for it.

use std::future::Future;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::StoreError;

/// The writes that are running. A clone is another handle to the same.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    tracker: TaskTracker,
}

impl Writes {
    /// None running.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `write` to its end and gives its result. Dropping the returned future does not stop the write.
    ///
    /// # Errors
    /// What `write` returns; [`StoreError::Stopping`] after [`Writes::close`], and then `write` was not begun;
    /// [`StoreError::Panicked`] when it panicked.
    pub async fn run<T, E, F>(&self, write: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        // Held from before the check to the spawn, so that `close` waits for a write that passed the check.
        let token = self.tracker.token();
        if self.tracker.is_closed() {
            return Err(StoreError::Stopping.into());
        }
        let running = self.tracker.spawn(write);
        drop(token);
        match running.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(StoreError::Panicked.into()),
            Err(_) => Err(StoreError::Stopping.into()),
        }
    }

    /// How many are running.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Takes no more, and waits for those that run, at most `patience`. Returns how many still run then; they are
    /// rolled back when the program ends.
    pub async fn close(&self, patience: Duration) -> usize {
        self.tracker.close();
        match tokio::time::timeout(patience, self.tracker.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tracker.len(),
        }
    }
}
