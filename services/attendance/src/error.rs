//! What can go wrong with events and registers, split by what the caller can do about it.

use std::path::PathBuf;

use rollcall_core::{BadName, Fault, LogId, Reason, limits};
use rollcall_store::StoreError;
use rollcall_store::requests::RequestError;

/// Why attendance did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AttendanceError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gallery, or whoever else answers for the program.
    #[error("{}", .0.message)]
    Elsewhere(Fault),
    /// A field is missing, malformed or out of its range.
    #[error("{field} {problem}")]
    Field {
        /// Its path in the request.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// What was named is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// A list's filter is not one that it has.
    #[error("filter {0}")]
    Filter(String),
    /// A request id that was used before, or the database that knows it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A cursor of another feed, or past the newest event.
    #[error(
        "the cursor is past the newest event: it is of another log, or this one lost events and began anew; begin again without a cursor and compare events by name"
    )]
    CursorAhead,
    /// A cursor whose events were deleted here.
    #[error("the events after the cursor were deleted here; go on at {begins}")]
    CursorExpired {
        /// Where the kept ones begin.
        begins: String,
    },
    /// As many watch as may.
    #[error("{} clients watch events already; close one, or list events instead", limits::EVENT_WATCHERS)]
    WatchersFull,
    /// An event with more bytes than a log takes.
    #[error("the event has {size_bytes} bytes; a log takes {}", limits::EVENT_SIZE_BYTES)]
    EventTooLarge {
        /// What it has.
        size_bytes: usize,
    },
    /// The disk is full, and so is the memory for events that wait for it.
    #[error("the disk is full and {} events wait for it in memory; free some room", limits::LOG_KEPT_EVENTS)]
    LogFull,
    /// The log's disk failed: nobody knows what is on it until the program starts anew.
    #[error("the log could not be written and is not used any more ({0}); the program ends and starts again")]
    LogFailed(String),
    /// The program is stopping; the event was not written.
    #[error("the program is stopping and takes no more events; try again when it runs")]
    Stopping,
    /// A file beside the log.
    #[error("cannot {doing} {}: {source}", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It was changed since its etag was read.
    #[error("{0} was changed since it was read; read it again, then repeat the change")]
    Changed(String),
    /// A log that is another terminal's.
    #[error("{} belongs to another terminal; its events are taken from that one alone", .0.name())]
    LogOfAnother(LogId),
    /// It is in a state in which this cannot be done.
    #[error("{0}")]
    Forbidden(String),
    /// A limit of this program.
    #[error("{0}")]
    Full(String),
    /// An update mask with a field that does not exist or cannot be changed.
    #[error("update_mask has \"{0}\"; give time_zone, code_set, both, or no mask for both")]
    Mask(String),
    /// A spreadsheet could not be written.
    #[error("the spreadsheet could not be written: {0}; is there room in the data folder?")]
    Spreadsheet(#[from] rust_xlsxwriter::XlsxError),
    /// A fault of this program.
    #[error("{0}")]
    Internal(&'static str),
}

impl From<Fault> for AttendanceError {
    fn from(fault: Fault) -> Self {
        Self::Elsewhere(fault)
    }
}

impl AttendanceError {
    /// A name in the field `field` that is none.
    pub fn name(field: &'static str, bad: &BadName) -> Self {
        Self::Field { field, problem: bad.to_string() }
    }

    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Elsewhere(fault) => fault.clone(),
            Self::Field { field, .. } => Fault::new(Reason::FieldInvalid, self).with("field", field),
            Self::NotFound(name) => Fault::new(Reason::NotFound, self).with("name", name),
            Self::Filter(_) => Fault::new(Reason::FilterInvalid, self),
            Self::Request(error) => error.fault(),
            Self::CursorAhead => Fault::new(Reason::CursorAhead, self),
            Self::CursorExpired { begins } => Fault::new(Reason::CursorExpired, self).with("cursor", begins),
            Self::WatchersFull | Self::EventTooLarge { .. } => Fault::new(Reason::LimitReached, self),
            Self::LogFull | Self::LogFailed(_) | Self::Stopping => Fault::new(Reason::Unavailable, self),
            Self::File { .. } => Fault::new(Reason::Internal, self),
            Self::Changed(name) => Fault::new(Reason::EtagMismatch, self).with("name", name),
            Self::LogOfAnother(log_id) => Fault::new(Reason::LogOfAnother, self).with("log", log_id.name()),
            Self::Forbidden(_) => Fault::new(Reason::StateForbids, self),
            Self::Full(_) => Fault::new(Reason::LimitReached, self),
            Self::Mask(field) => Fault::new(Reason::UpdateMaskInvalid, self).with("field", field),
            Self::Spreadsheet(_) => Fault::new(Reason::Unavailable, self),
            Self::Internal(_) => Fault::new(Reason::Internal, self),
        }
    }
}
