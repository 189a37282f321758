//! [`Log`]: the terminal's event log. What it has acknowledged is on the disk.

use std::sync::Arc;

use rollcall_core::{EventId, UtcInstant};
use rollcall_proto::v1;
use rollcall_store::Db;

use crate::AttendanceError;

/// Something that happened, not yet in the log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its id, made before it is written, so that what is kept beside the log can be written first.
    pub event_id: EventId,
    /// What happened.
    pub kind: v1::event_kind::Kind,
}

impl From<v1::event_kind::Kind> for NewEvent {
    fn from(kind: v1::event_kind::Kind) -> Self {
        Self { event_id: EventId::generate(), kind }
    }
}

/// An event in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its id.
    pub event_id: EventId,
    /// Its number in its log.
    pub seq: i64,
    /// Where to read on after it.
    pub cursor: String,
    /// When it happened, as well as is known now.
    pub at: UtcInstant,
}

/// The terminal's log. A clone is another handle to the same.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
}

impl Log {
    /// The database with `attendance_log` and `attendance_event`, to read.
    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// Writes an event. When this returns it is on the disk. An event whose id is in the log already is not written
    /// again: its first writing is the answer.
    ///
    /// # Errors
    /// When it was not written.
    pub async fn append(&self, event: impl Into<NewEvent>) -> Result<Appended, AttendanceError> {
        let _: NewEvent = event.into();
        Err(AttendanceError::Internal("not built yet"))
    }
}
