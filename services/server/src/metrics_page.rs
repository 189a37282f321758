//! Metrics for Prometheus, over plain HTTP on an address of their own: by default the loopback, since there is neither
//! TLS nor a token. Few connections, small requests, short patience.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rollcall_core::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ServerError;

const CONNECTIONS: usize = 4;
const CONNECTION_PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_SIZE_BYTES: usize = 8 << 10;
/// Histograms are drained so often when nobody asks.
const UPKEEP: Duration = Duration::from_secs(10);
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Collects from now on, for this process.
pub(crate) fn collect() -> Result<PrometheusHandle, ServerError> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new().set_buckets(SECONDS).map_err(|error| error.to_string())?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        describe();
        Ok(handle)
    };
    HANDLE.get_or_init(install).clone().map_err(ServerError::Metrics)
}

fn describe() {
    metrics::describe_counter!("rollcall_calls_total", "Calls that are over, by RPC and code.");
    metrics::describe_histogram!("rollcall_call_seconds", "How long they took.");
    metrics::describe_gauge!("rollcall_calls_open", "Calls that are not over.");
    metrics::describe_gauge!("rollcall_connections", "Open connections.");
    metrics::describe_counter!("rollcall_connections_refused_total", "Connections refused, by reason.");
}

/// Serves the page until told to stop.
pub(crate) async fn run(
    listener: TcpListener,
    handle: PrometheusHandle,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = upkeep.tick() => {
                handle.run_upkeep();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let (handle, stop) = (handle.clone(), stop.clone());
                tracker.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = tokio::time::timeout(CONNECTION_PATIENCE, serve(stream, handle)) => {}
                    }
                    drop(place);
                });
            }
            (Ok(_), Err(_)) => {}
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await,
        }
    }
}

async fn serve(stream: TcpStream, handle: PrometheusHandle) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = page(&request, &handle);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_PATIENCE)
        .max_buf_size(REQUEST_SIZE_BYTES)
        .keep_alive(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a request for metrics failed");
    }
}

fn page(request: &Request<Incoming>, handle: &PrometheusHandle) -> Response<Page> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, handle.render()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Page(Some(text.into())));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// A body that is there at once.
struct Page(Option<Bytes>);

impl http_body::Body for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
