//! Why a call between a terminal and its hub did not do what it was for.

use rollcall_attendance::AttendanceError;
use rollcall_core::{Fault, Reason};
use rollcall_gallery::GalleryError;
use rollcall_store::StoreError;
use rollcall_terminals::TerminalError;

use crate::convert::Malformed;
use crate::intake::BatchError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The two programs have no version of the protocol in common.
    #[error(
        "the {older} is too old for this: it speaks version {theirs} of the protocol at best, and {ours} is needed; update the {older}, \
         the hub before its terminals"
    )]
    Version {
        /// Which side must be updated.
        older: &'static str,
        /// What the terminal speaks.
        theirs: i32,
        /// What the hub speaks.
        ours: i32,
    },
    /// A message that is not as the contract says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A push beyond its limits.
    #[error("the push {0}")]
    Batch(#[from] BatchError),
    /// Other events are there under these numbers.
    #[error(
        "other events are stored under these numbers of the log: it was restored or copied; move its events into another log"
    )]
    Forked,
    /// A push goes on from where the hub is not.
    #[error("the hub has this log up to number {have}; go on from there")]
    Position {
        /// Up to where the hub has the log.
        have: u64,
    },
    /// The hub was restored after this terminal has called.
    #[error("the hub was restored from a backup meanwhile; open again")]
    OpenAgain,
    /// Two devices have the certificate of this terminal.
    #[error(
        "two devices have this terminal's certificate; events are taken, nothing is given: adopt one of them anew"
    )]
    Cloned,
    /// Of the logs.
    #[error(transparent)]
    Attendance(#[from] AttendanceError),
    /// Of the people.
    #[error(transparent)]
    Gallery(#[from] GalleryError),
    /// Of the terminals.
    #[error(transparent)]
    Terminals(#[from] TerminalError),
    /// Of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Of another part of the program.
    #[error("{}", .0.message)]
    Refused(Fault),
}

impl SyncError {
    /// An id that is not 16 bytes.
    pub(crate) fn field(field: &'static str) -> Self {
        Self::Malformed(Malformed { field, problem: "has not 16 bytes".to_owned() })
    }

    /// What the other side is told.
    pub fn fault(&self) -> Fault {
        let reason = match self {
            Self::Version { .. } => Reason::VersionUnsupported,
            Self::Malformed(malformed) => {
                return Fault::new(Reason::FieldInvalid, self).with("field", malformed.field);
            }
            Self::Batch(_) => return Fault::new(Reason::FieldInvalid, self).with("field", "events"),
            Self::Forked => Reason::LogForked,
            Self::Position { have } => return Fault::new(Reason::PositionUnknown, self).with("have", have),
            Self::OpenAgain => Reason::OpenAgain,
            Self::Cloned => Reason::TerminalCloned,
            Self::Attendance(error) => return error.fault(),
            Self::Gallery(error) => return error.fault(),
            Self::Terminals(error) => return error.fault(),
            Self::Store(error) => return error.fault(),
            Self::Refused(fault) => return fault.clone(),
        };
        Fault::new(reason, self)
    }
}
