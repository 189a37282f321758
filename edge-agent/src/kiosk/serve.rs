//! Connections: how many, how large their requests, for how long.
//!
//! hyper runs axum's router directly: axum's own server has no limit on connections, none on a slow head, and none on a
//! reader that does not read.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rollcall_core::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Patience;

/// What every connection needs.
pub(super) struct Connections {
    pub patience: Patience,
    pub tracker: TaskTracker,
    pub stopping: CancellationToken,
}

/// Takes connections until told to stop; those above the limit are closed at once.
pub(super) async fn run(listener: TcpListener, router: Router, connections: Connections) {
    let places = Arc::new(Semaphore::new(limits::KIOSK_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = connections.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let (router, stopping, patience) =
                    (router.clone(), connections.stopping.clone(), connections.patience);
                connections.tracker.spawn(async move {
                    tokio::select! {
                        () = stopping.cancelled() => {}
                        () = serve(stream, router, patience) => {}
                    }
                    drop(place);
                });
            }
            (Ok(_), Err(_)) => tracing::debug!("a connection to the screen was refused, there are too many"),
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await,
        }
    }
}

async fn serve(stream: TcpStream, router: Router, patience: Patience) {
    let _ = stream.set_nodelay(true);
    // The kernel ends a connection whose other end does not read.
    let unread = u32::try_from(patience.request.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, unread) {
        tracing::debug!(%error, "a connection to the screen has no time limit");
    }
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience.request)
        .max_buf_size(limits::KIOSK_HEAD_SIZE_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Ok(Err(error)) = tokio::time::timeout(patience.connection, served).await {
        tracing::debug!(%error, "a connection to the screen failed");
    }
}
