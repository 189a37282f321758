//! How long a call may go on: one [`Lease`] a call, and the executor that ends calls whose lease is over.
//!
//! hyper runs each call of a connection as a future of its own, given to an [`Executor`] right after the service was
//! called for it. So the connection's service leaves the call's lease for the executor, which runs the two side by side:
//! when the lease is over, the call's future is dropped, and h2 resets the stream. This is the only way to end a call
//! whose client does not read: its body is not asked for more and cannot end itself.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rollcall_core::{Code, Fault, Reason, UtcInstant};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Open;
use crate::standing::{Admitted, Standing};

/// Between two looks at a call, and for a client to take the last words of an ended one.
const LOOK: Duration = Duration::from_secs(1);

/// The right of a call to go on.
pub(crate) struct Lease {
    stall: Duration,
    /// Cancelled when the answer has to end; `fault` says why.
    ending: CancellationToken,
    fault: OnceLock<Fault>,
    state: Mutex<State>,
    /// Counts the call among its connection's.
    _open: Open,
}

#[derive(Default)]
struct State {
    /// Since when the client has had a piece of the answer to take.
    offered: Option<Instant>,
    /// When it ends, and with what words.
    end: Option<(Instant, Fault)>,
    /// Whose right is looked at again while it lasts.
    caller: Option<Admitted>,
    /// It has no end of its own, so the program's end is its end.
    endless: bool,
}

impl Lease {
    pub(crate) fn new(stall: Duration, open: Open) -> Arc<Self> {
        Arc::new(Self {
            stall,
            ending: CancellationToken::new(),
            fault: OnceLock::new(),
            state: Mutex::default(),
            _open: open,
        })
    }

    /// Ends at `at` with these words.
    pub(crate) fn ends_at(&self, at: Instant, fault: Fault) {
        self.state().end = Some((at, fault));
    }

    /// Ends when this caller is no longer let in.
    pub(crate) fn depends_on(&self, caller: Admitted) {
        self.state().caller = Some(caller);
    }

    /// Ends when the program does.
    pub(crate) fn is_endless(&self) {
        self.state().endless = true;
    }

    /// A piece of the answer was handed to the connection.
    pub(crate) fn offered(&self) {
        self.state().offered = Some(Instant::now());
    }

    /// The connection asks for the next piece.
    pub(crate) fn taken(&self) {
        self.state().offered = None;
    }

    /// Ends the answer with these words, unless it has an end already.
    pub(crate) fn end(&self, fault: Fault) {
        // The first reason is the one that is told.
        let _ = self.fault.set(fault);
        self.ending.cancel();
    }

    /// Resolves when the answer has to end.
    pub(crate) fn ending(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.ending.clone().cancelled_owned()
    }

    /// Why it has to end.
    pub(crate) fn fault(&self) -> Fault {
        self.fault.get().cloned().unwrap_or_else(|| Fault::new(Reason::Internal, "the call was ended"))
    }

    /// Returns when the call is to be dropped.
    async fn watch(&self, standing: &Standing, stopping: &CancellationToken) {
        loop {
            let (end, endless) = {
                let state = self.state();
                (state.end.as_ref().map(|(at, _)| *at), state.endless)
            };
            let look = Instant::now() + LOOK;
            tokio::select! {
                () = tokio::time::sleep_until(end.map_or(look, |end| end.min(look))) => {}
                () = stopping.cancelled(), if endless => {
                    self.end(Fault::new(Reason::Unavailable, "the program is stopping; call again when it runs"));
                }
                () = self.ending.cancelled() => {}
            }
            if self.ending.is_cancelled() {
                tokio::time::sleep(LOOK).await;
                return;
            }
            if self.look(Instant::now()) {
                return;
            }
            self.look_at_caller(standing).await;
        }
    }

    /// Whether the client has stalled.
    fn look(&self, now: Instant) -> bool {
        let due = {
            let state = self.state();
            if state.offered.is_some_and(|since| now >= since + self.stall) {
                return true;
            }
            state.end.clone().filter(|(at, _)| now >= *at)
        };
        if let Some((_, fault)) = due {
            self.end(fault);
        }
        false
    }

    async fn look_at_caller(&self, standing: &Standing) {
        let Some(caller) = self.state().caller.clone() else { return };
        if let Err(fault) = standing.still(&caller, UtcInstant::now()).await {
            let code = fault.reason.code();
            // A database that does not answer takes nobody's right away.
            if matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::NotFound) {
                self.end(fault);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the calls of one connection, each with its lease.
#[derive(Clone)]
pub(crate) struct Executor {
    tracker: TaskTracker,
    standing: Standing,
    stopping: CancellationToken,
    next: Arc<Mutex<Option<Arc<Lease>>>>,
}

impl Executor {
    pub(crate) fn new(tracker: TaskTracker, standing: Standing, stopping: CancellationToken) -> Self {
        Self { tracker, standing, stopping, next: Arc::default() }
    }

    /// The lease of the call that hyper hands over next.
    pub(crate) fn next_call_has(&self, lease: Arc<Lease>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, call: F) {
        let lease = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (standing, stopping) = (self.standing.clone(), self.stopping.clone());
        self.tracker.spawn(async move {
            let Some(lease) = lease else {
                call.await;
                return;
            };
            tokio::select! {
                _ = call => {}
                () = lease.watch(&standing, &stopping) => {}
            }
        });
    }
}
