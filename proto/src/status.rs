//! Errors as they travel: a gRPC status with a `google.rpc.ErrorInfo`.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// `ErrorInfo.domain` of every error of Rollcall.
pub const DOMAIN: &str = "rollcall";

/// The status with this code (`google.rpc.Code`), message for people, reason in capitals and values for scripts.
pub fn status(
    code: i32,
    message: impl Into<String>,
    reason: &str,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    let metadata: std::collections::HashMap<String, String> =
        metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Status::with_error_details(
        Code::from_i32(code),
        message,
        ErrorDetails::with_error_info(reason, DOMAIN, metadata),
    )
}

/// The reason in a status that Rollcall sent.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}
