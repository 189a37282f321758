//! One connection after its handshake: HTTP/2 with limits, until it is idle, old, told to end or cut.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rollcall_core::limits;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::Slot;
use crate::answer::Answer;
use crate::auth::Peer;
use crate::calls::Calls;
use crate::lease::{Executor, Lease};

const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// What every connection needs.
pub(crate) struct Connections {
    pub(crate) calls: Arc<Calls>,
    /// Every task of the server.
    pub(crate) tracker: TaskTracker,
    /// The program stops: no new calls.
    pub(crate) stopping: CancellationToken,
    /// It stops now.
    pub(crate) kill: CancellationToken,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    stream: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    connections: Arc<Connections>,
    _slot: Slot,
) {
    let patience = connections.calls.patience;
    let executor = Executor::new(
        connections.tracker.clone(),
        connections.calls.standing.clone(),
        connections.stopping.clone(),
    );
    let (activity, watched) = watch::channel(Activity::default());
    let service =
        Service { calls: Arc::clone(&connections.calls), peer, executor: executor.clone(), activity };
    let mut connection = pin!(http2(executor).serve_connection(TokioIo::new(stream), service));
    let mut unused = pin!(unused(watched, patience.handshake * 2, patience.idle));
    let mut old = pin!(tokio::time::sleep(patience.lifetime));
    let mut end: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            () = connections.kill.cancelled() => return,
            () = connections.stopping.cancelled(), if end.is_none() => {}
            () = unused.as_mut(), if end.is_none() => {}
            () = old.as_mut(), if end.is_none() => {}
            () = until(end), if end.is_some() => return,
        }
        connection.as_mut().graceful_shutdown();
        end = Some(Instant::now() + patience.grace);
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn http2(executor: Executor) -> http2::Builder<Executor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_PATIENCE)
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
        .max_header_list_size(limits::HEADER_LIST_SIZE_BYTES)
        .max_pending_accept_reset_streams(limits::RESET_STREAMS)
        .max_local_error_reset_streams(limits::RESET_STREAMS)
        .initial_stream_window_size(limits::STREAM_WINDOW_SIZE_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_SIZE_BYTES)
        .max_send_buf_size(limits::ANSWER_PIECE_SIZE_BYTES * 4);
    builder
}

/// What goes on on a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    open: usize,
    begun: u64,
}

/// Resolves when no call was made for a while: a short one before the first, a long one between two.
async fn unused(mut watched: watch::Receiver<Activity>, first: Duration, idle: Duration) {
    loop {
        let Ok(activity) = watched.wait_for(|activity| activity.open == 0).await.map(|activity| *activity)
        else {
            // The service is gone, and the connection with it.
            return std::future::pending().await;
        };
        let patience = if activity.begun == 0 { first } else { idle };
        tokio::select! {
            () = tokio::time::sleep(patience) => return,
            _ = watched.changed() => {}
        }
    }
}

/// The calls of one connection.
struct Service {
    calls: Arc<Calls>,
    peer: Arc<Peer>,
    executor: Executor,
    activity: watch::Sender<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let lease = Lease::new(self.calls.patience.stall, Open::begin(&self.activity));
        self.executor.next_call_has(Arc::clone(&lease));
        let (calls, peer) = (Arc::clone(&self.calls), Arc::clone(&self.peer));
        Box::pin(async move { Ok(calls.answer(peer, lease, request).await) })
    }
}

/// A call that is open, until it is dropped.
pub(crate) struct Open {
    activity: watch::Sender<Activity>,
}

impl Open {
    fn begin(activity: &watch::Sender<Activity>) -> Self {
        activity.send_modify(|activity| {
            activity.open += 1;
            activity.begun += 1;
        });
        Self { activity: activity.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.activity.send_modify(|activity| activity.open -= 1);
    }
}
