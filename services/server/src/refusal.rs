//! Refusals: a fault as an HTTP response or as trailers, and words for errors that tonic makes itself.

use std::time::Duration;

use http::{HeaderMap, Response};
use rollcall_core::{Fault, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const DETAILS: &str = "grpc-status-details-bin";
const STATUS: &str = "grpc-status";

/// How tonic begins what it says of a request that it cannot read (tonic 0.14, `codec/decode.rs`, `server/grpc.rs`).
const UNREADABLE: &[&str] = &[
    "failed to decode Protobuf message",
    "Missing request message",
    "protocol error: received message with",
    "Unexpected EOF decoding stream",
];

/// The status of a fault.
pub(crate) fn status(fault: &Fault) -> Status {
    rollcall_proto::status(
        fault.reason.code().grpc(),
        fault.message.clone(),
        fault.reason.as_str(),
        fault.metadata.iter().cloned(),
    )
}

/// The same, with the time after which to try again.
pub(crate) fn status_with_delay(fault: &Fault, delay: Duration) -> Status {
    let metadata: std::collections::HashMap<String, String> =
        fault.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let mut details = ErrorDetails::with_error_info(fault.reason.as_str(), rollcall_proto::DOMAIN, metadata);
    details.set_retry_info(Some(delay));
    Status::with_error_details(Code::from_i32(fault.reason.code().grpc()), fault.message.clone(), details)
}

/// A whole response without a body.
pub(crate) fn response(status: Status) -> Response<()> {
    status.into_http()
}

/// What comes after the last message.
pub(crate) fn trailers(status: Status) -> HeaderMap {
    let (mut parts, ()) = response(status).into_parts();
    parts.headers.remove(http::header::CONTENT_TYPE);
    parts.headers
}

/// The status code in headers or trailers.
pub(crate) fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// Gives an error that came without a reason one. Only tonic makes such.
pub(crate) fn explain(headers: &mut HeaderMap) {
    let failed = code(headers).is_some_and(|code| code != Code::Ok);
    if !failed || headers.contains_key(DETAILS) {
        return;
    }
    let Some(bare) = Status::from_header_map(headers) else { return };
    for (name, value) in &trailers(status(&meaning(bare.code(), bare.message()))) {
        headers.insert(name, value.clone());
    }
}

fn meaning(code: Code, message: &str) -> Fault {
    let reason = match code {
        _ if UNREADABLE.iter().any(|begin| message.starts_with(begin)) => {
            let message = format!("the request is not what the contract says: {message}");
            return Fault::new(Reason::FieldInvalid, message);
        }
        Code::InvalidArgument => Reason::FieldInvalid,
        Code::NotFound => Reason::NotFound,
        Code::OutOfRange | Code::ResourceExhausted => Reason::LimitReached,
        Code::Unimplemented => Reason::NotServedHere,
        Code::DeadlineExceeded => Reason::DeadlineExceeded,
        Code::Cancelled | Code::Unavailable => Reason::Unavailable,
        _ => Reason::Internal,
    };
    Fault::new(reason, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn an_error_without_a_reason_gets_one_and_one_with_a_reason_stays() {
        let mut headers = trailers(Status::internal("failed to decode Protobuf message: x"));
        explain(&mut headers);
        let told = Status::from_header_map(&headers).unwrap();
        assert_eq!(told.code(), Code::InvalidArgument);
        assert_eq!(rollcall_proto::reason(&told).unwrap(), "FIELD_INVALID");

        let mut headers = trailers(Status::internal("a handler's own"));
        explain(&mut headers);
        let told = Status::from_header_map(&headers).unwrap();
        assert_eq!((told.code(), rollcall_proto::reason(&told)), (Code::Internal, Some("INTERNAL".into())));

        let before = trailers(status(&Fault::new(Reason::ConsentMissing, "no consent")));
        let mut after = before.clone();
        explain(&mut after);
        assert_eq!(before, after);
    }

    #[test]
    fn success_is_left_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, "0".parse().unwrap());
        explain(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
