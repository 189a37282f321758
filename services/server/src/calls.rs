//! What happens to each call, in order: its rule is looked up, its caller is known and permitted, its request is
//! watched, its handler runs until its deadline, its answer gets a reason where it fails.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use rollcall_core::{Fault, PeerAddress, Reason};
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span, field};

use crate::answer::Answer;
use crate::auth::{self, Peer};
use crate::config::Patience;
use crate::contract::{Contract, Rpc, Rule, Shape};
use crate::gate::Gate;
use crate::lease::Lease;
use crate::refusal;
use crate::standing::Standing;
use crate::telemetry::{self, Record, Shown};
use crate::throttle::{Strangers, Throttle};

/// What every call needs.
pub(crate) struct Calls {
    pub(crate) contract: Contract,
    pub(crate) routes: Routes,
    pub(crate) standing: Standing,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) strangers: Strangers,
    pub(crate) patience: Patience,
}

impl Calls {
    /// Answers a call.
    pub(crate) async fn answer(
        self: Arc<Self>,
        peer: Arc<Peer>,
        lease: Arc<Lease>,
        request: Request<Incoming>,
    ) -> Response<Answer> {
        let trace_id = telemetry::trace_id(request.headers());
        let rpc = self.contract.rpc(request.uri().path()).cloned();
        let name: Arc<str> = rpc.as_ref().map_or_else(|| "other".into(), |rpc| Arc::clone(&rpc.path));
        let span = tracing::info_span!("rpc", %trace_id, rpc = %name, caller = field::Empty);
        let mut record = Record::new(name, span.clone());
        let answered = match rpc {
            Some(rpc) => self.call(&peer, &lease, &rpc, request, &span).instrument(span.clone()).await,
            None => Err(refusal::status(&not_served(&span, request.uri().path()))),
        };
        let mut response = match answered {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                refusal::explain(&mut parts.headers);
                match refusal::code(&parts.headers) {
                    Some(code) => {
                        record.code(code);
                        Response::from_parts(parts, Answer::empty(record))
                    }
                    None => Response::from_parts(parts, Answer::new(body, lease, record)),
                }
            }
            Err(status) => {
                record.code(status.code());
                refusal::response(status).map(|()| Answer::empty(record))
            }
        };
        if let Some(value) = telemetry::header(trace_id) {
            response.headers_mut().insert(telemetry::REQUEST_ID, value);
        }
        response
    }

    async fn call(
        &self,
        peer: &Peer,
        lease: &Arc<Lease>,
        rpc: &Rpc,
        request: Request<Incoming>,
        span: &Span,
    ) -> Result<Response<tonic::body::Body>, Status> {
        let deadline = self.deadline(rpc, request.headers(), Instant::now());
        let (mut parts, body) = request.into_parts();
        let admitted = auth::authorise(&self.standing, &self.throttle, peer, &parts.headers, rpc).await?;
        if rpc.rule == Rule::Stranger {
            self.strangers.admit(peer.address, std::time::Instant::now())?;
            parts.extensions.insert(PeerAddress(peer.address));
        }
        // The deadline is kept here; the handler shall not see the secret.
        parts.headers.remove(GRPC_TIMEOUT);
        parts.headers.remove(http::header::AUTHORIZATION);
        if let Some(admitted) = admitted {
            span.record("caller", admitted.who.caller.name());
            if rpc.shape != Shape::Unary {
                lease.depends_on(admitted.clone());
            }
            parts.extensions.insert(admitted.who.caller);
            parts.extensions.insert(admitted.who);
            parts.extensions.insert(PeerAddress(peer.address));
        }
        let fault = deadline.fault(rpc);
        if Instant::now() >= deadline.at {
            return Err(refusal::status(&fault));
        }
        if matches!(rpc.shape, Shape::Stream | Shape::Both) {
            lease.is_endless();
        }
        lease.ends_at(deadline.at, fault.clone());
        let gate = Gate::new(body, rpc, self.patience.stall);
        let handler = guarded(self.routes.clone().oneshot(Request::from_parts(parts, gate)));
        let answered = tokio::select! {
            biased;
            answered = handler => answered,
            () = lease.ending() => Err(refusal::status(&lease.fault())),
            () = tokio::time::sleep_until(deadline.at) => Err(refusal::status(&fault)),
        };
        if rpc.rule == Rule::Stranger
            && let Ok(response) = &answered
            && refusal::code(response.headers()) == Some(Code::Unauthenticated)
        {
            self.strangers.guessed(peer.address, std::time::Instant::now())?;
        }
        answered
    }

    fn deadline(&self, rpc: &Rpc, headers: &HeaderMap, now: Instant) -> Deadline {
        let longest = match rpc.shape {
            Shape::Unary => self.patience.call,
            Shape::Upload => self.patience.upload,
            Shape::Stream | Shape::Both => self.patience.stream,
        };
        match grpc_timeout(headers) {
            Some(asked) if asked < longest => Deadline { at: now + asked, whose: Whose::Client },
            _ => Deadline { at: now + longest, whose: Whose::Server(longest) },
        }
    }
}

struct Deadline {
    at: Instant,
    whose: Whose,
}

enum Whose {
    Client,
    Server(Duration),
}

impl Deadline {
    fn fault(&self, rpc: &Rpc) -> Fault {
        match (&self.whose, rpc.shape) {
            (Whose::Client, _) => Fault::new(Reason::DeadlineExceeded, "the call's deadline passed"),
            (Whose::Server(longest), Shape::Stream | Shape::Both) => Fault::new(
                Reason::Unavailable,
                format!("a stream is ended after {longest:?}; call again from where it was"),
            ),
            (Whose::Server(longest), _) => Fault::new(
                Reason::DeadlineExceeded,
                format!("the call took longer than {longest:?}, the most that it may take"),
            ),
        }
    }
}

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The deadline that a client asks for: at most eight digits and a unit (gRPC over HTTP/2). What is none is ignored.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn not_served(span: &Span, path: &str) -> Fault {
    tracing::debug!(parent: span, path = %Shown(path), "a call that is not served here");
    Fault::new(Reason::NotServedHere, "this program does not serve that call")
}

/// Runs a handler. One that panics takes nothing with it but its own call: the panic hook has logged it, its
/// transaction is rolled back, and whoever can provoke it from afar shall not be able to stop a door.
async fn guarded<F>(handler: F) -> Result<Response<tonic::body::Body>, Status>
where
    F: Future<Output = Result<Response<tonic::body::Body>, Infallible>>,
{
    let mut handler = pin!(handler);
    let ended = std::future::poll_fn(|cx| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answered)) => Poll::Ready(Ok(answered)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    match ended.await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(never)) => match never {},
        Err(panic) => {
            tracing::error!(panic = %Shown(words(panic.as_ref())), "a handler panicked");
            let message = "a fault of this program; its log has the details under the id in x-request-id";
            Err(refusal::status(&Fault::new(Reason::Internal, message)))
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::HeaderValue;

    use super::*;

    #[test]
    fn f071_a_deadline_is_read_as_grpc_writes_it_and_garbage_is_none() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            grpc_timeout(&headers)
        };
        assert_eq!(read("1n"), Some(Duration::from_nanos(1)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        for garbage in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S", "1.5S", "é", "5é", "\t"] {
            assert_eq!(read(garbage), None, "{garbage:?}");
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }
}
