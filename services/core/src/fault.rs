//! What can go wrong, once: every REASON of the API with its gRPC and HTTP status.
//!
//! Each service has its own error type; what a caller may see of it is a [`Fault`]. A reason is part of the API: it
//! is never renamed, and a script may act on it.

/// The gRPC status codes that Rollcall answers with (google.rpc.Code), and their HTTP statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// The request is wrong by itself.
    InvalidArgument = 3,
    /// It took too long.
    DeadlineExceeded = 4,
    /// What it is about is not there.
    NotFound = 5,
    /// What it would make is there already.
    AlreadyExists = 6,
    /// Who asks is known, and may not.
    PermissionDenied = 7,
    /// Too much was asked for.
    ResourceExhausted = 8,
    /// Not as things are now; asking again does not help.
    FailedPrecondition = 9,
    /// Somebody else was faster; read again, then ask again.
    Aborted = 10,
    /// Past the end of what there is.
    OutOfRange = 11,
    /// This program does not do that.
    Unimplemented = 12,
    /// Our fault.
    Internal = 13,
    /// Not now; ask again later.
    Unavailable = 14,
    /// What was kept is damaged.
    DataLoss = 15,
    /// Who asks is not known.
    Unauthenticated = 16,
}

impl Code {
    /// The number in the gRPC status.
    pub const fn grpc(self) -> i32 {
        self as i32
    }

    /// The HTTP status (google/rpc/code.proto has the mapping).
    pub const fn http(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Internal | Self::DataLoss => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal $code:ident;)+) => {
        /// Why a call failed, in one word that a script can act on (`google.rpc.ErrorInfo.reason`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As it is sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The status that goes with it.
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)+ }
            }
        }
    };
}

reasons! {
    /// A field is missing, malformed or out of its range.
    FieldInvalid "FIELD_INVALID" InvalidArgument;
    /// A page token is not one of this list's, or the request around it has changed.
    PageTokenInvalid "PAGE_TOKEN_INVALID" InvalidArgument;
    /// A filter or sort order is not one that this list has.
    FilterInvalid "FILTER_INVALID" InvalidArgument;
    /// An update mask names a field that does not exist or cannot be changed.
    UpdateMaskInvalid "UPDATE_MASK_INVALID" InvalidArgument;
    /// The picture cannot be read.
    PictureUnreadable "PICTURE_UNREADABLE" InvalidArgument;
    /// The picture has no face that can be enrolled or compared.
    NoUsableFace "NO_USABLE_FACE" InvalidArgument;
    /// The thing that was named is not there, or not for the caller to see.
    NotFound "NOT_FOUND" NotFound;
    /// A request id was used before with another request.
    RequestIdReused "REQUEST_ID_REUSED" AlreadyExists;
    /// Something with this external id or name exists.
    AlreadyExists "ALREADY_EXISTS" AlreadyExists;
    /// The thing was changed since its etag was read.
    EtagMismatch "ETAG_MISMATCH" Aborted;
    /// The person has no valid consent to face recognition.
    ConsentMissing "CONSENT_MISSING" FailedPrecondition;
    /// The person was erased; an erased id is never used again.
    PersonErased "PERSON_ERASED" FailedPrecondition;
    /// Changes are made at the hub that this terminal belongs to.
    TerminalAdopted "TERMINAL_ADOPTED" FailedPrecondition;
    /// The terminal has no such hardware, or it does not answer.
    HardwareAbsent "HARDWARE_ABSENT" FailedPrecondition;
    /// The thing is in a state in which this cannot be done.
    StateForbids "STATE_FORBIDS" FailedPrecondition;
    /// The cursor is past the newest event: it is of another or of a later copy of this log.
    CursorAhead "CURSOR_AHEAD" OutOfRange;
    /// The cursor's events were deleted here; the answer says where the log now begins.
    CursorExpired "CURSOR_EXPIRED" OutOfRange;
    /// A limit of this program was reached.
    LimitReached "LIMIT_REACHED" ResourceExhausted;
    /// Too many calls in too short a time.
    TooManyRequests "TOO_MANY_REQUESTS" ResourceExhausted;
    /// The call names nobody.
    CredentialsMissing "CREDENTIALS_MISSING" Unauthenticated;
    /// The token or certificate is not one of this site's.
    CredentialsInvalid "CREDENTIALS_INVALID" Unauthenticated;
    /// The token's time is over.
    TokenExpired "TOKEN_EXPIRED" Unauthenticated;
    /// The token was withdrawn.
    TokenRevoked "TOKEN_REVOKED" Unauthenticated;
    /// The token's scopes do not include this call.
    ScopeMissing "SCOPE_MISSING" PermissionDenied;
    /// The log is another terminal's.
    LogOfAnother "LOG_OF_ANOTHER" PermissionDenied;
    /// The caller's role may not do this.
    RoleForbids "ROLE_FORBIDS" PermissionDenied;
    /// This program does not do that.
    NotServedHere "NOT_SERVED_HERE" Unimplemented;
    /// The two programs have no version of the protocol in common; one of them must be updated.
    VersionUnsupported "VERSION" FailedPrecondition;
    /// Other events are stored under these numbers of this log.
    LogForked "LOG_FORKED" Aborted;
    /// The hub has this log up to another number.
    PositionUnknown "POSITION_UNKNOWN" OutOfRange;
    /// The hub was restored since the terminal has opened.
    OpenAgain "OPEN_AGAIN" Aborted;
    /// Two devices have the certificate of this terminal.
    TerminalCloned "TERMINAL_CLONED" FailedPrecondition;
    /// The database, the disk or a part of the program is not ready; nothing was changed.
    Unavailable "UNAVAILABLE" Unavailable;
    /// The call's deadline passed.
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded;
    /// Stored data is damaged.
    DataDamaged "DATA_DAMAGED" DataLoss;
    /// A fault of this program; the log has the details under the trace id.
    Internal "INTERNAL" Internal;
}

/// What a caller is told of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which of the known ways to fail.
    pub reason: Reason,
    /// For people: what failed, on what, what to do next.
    pub message: String,
    /// For scripts: what the message mentions, by name. No secret, no personal data.
    pub metadata: Vec<(&'static str, String)>,
}

impl Fault {
    /// A fault without metadata.
    pub fn new(reason: Reason, message: impl ToString) -> Self {
        Self { reason, message: message.to_string(), metadata: Vec::new() }
    }

    /// The same with one more value for scripts.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_word_in_capitals() {
        let words: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
    }

    #[test]
    fn callers_faults_are_4xx_and_ours_are_5xx() {
        for reason in Reason::ALL {
            let ours = matches!(
                reason.code(),
                Code::Internal
                    | Code::DataLoss
                    | Code::Unimplemented
                    | Code::Unavailable
                    | Code::DeadlineExceeded
            );
            assert_eq!(reason.code().http() >= 500, ours, "{reason:?}");
        }
    }
}
