//! What is told of a call: a span with its trace id, one line and two metrics when it is over. Never what it carried.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};
use metrics::{counter, gauge, histogram};
use rollcall_core::limits;
use tonic::Code;
use tracing::Span;
use uuid::Uuid;

/// The header that carries a call's id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a call: the client's, where that is a UUID, so that a script's log and ours can be laid side by side.
pub(crate) fn trace_id(headers: &HeaderMap) -> Uuid {
    const UUID_CHARS: usize = 36;
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let given = given.filter(|text| text.len() == UUID_CHARS).and_then(|text| Uuid::try_parse(text).ok());
    given.unwrap_or_else(Uuid::now_v7)
}

/// The same as a header.
pub(crate) fn header(trace_id: Uuid) -> Option<HeaderValue> {
    HeaderValue::from_str(&trace_id.hyphenated().to_string()).ok()
}

/// What somebody else wrote, for a log line: cut, and without what would break the line.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for char in chars.by_ref().take(limits::LOGGED_CHARS) {
            write!(f, "{}", char.escape_debug())?;
        }
        if chars.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}

/// A call, until it is over.
pub(crate) struct Record {
    rpc: Arc<str>,
    span: Span,
    begun: Instant,
    code: Option<Code>,
}

impl Record {
    pub(crate) fn new(rpc: Arc<str>, span: Span) -> Self {
        gauge!("rollcall_calls_open").increment(1.0);
        Self { rpc, span, begun: Instant::now(), code: None }
    }

    /// It ended so.
    pub(crate) fn code(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        let code = self.code.map_or("CUT", code_name);
        let labels = [("rpc", self.rpc.to_string()), ("code", code.to_owned())];
        gauge!("rollcall_calls_open").decrement(1.0);
        counter!("rollcall_calls_total", &labels).increment(1);
        histogram!("rollcall_call_seconds", &labels).record(duration.as_secs_f64());
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(parent: &self.span, code, duration_ms, "call");
    }
}

/// As gRPC writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_client_may_name_its_call_by_a_uuid_and_by_nothing_else() {
        let given = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(text).unwrap());
            trace_id(&headers).to_string()
        };
        let id = "0193a5c0-0000-7000-8000-000000000001";
        assert_eq!(given(id), id);
        for other in ["", "x", "{0193a5c0-0000-7000-8000-000000000001}", &"a".repeat(36), &"0".repeat(32)] {
            assert_ne!(given(other), other, "{other}");
            assert!(Uuid::try_parse(&given(other)).is_ok());
        }
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        let shown = Shown("a\nb\u{1b}[31mc\r\u{202e}d").to_string();
        assert_eq!(shown, r"a\nb\u{1b}[31mc\r\u{202e}d");
        assert!(Shown(&"x".repeat(64 << 10)).to_string().len() < 110);
    }
}
