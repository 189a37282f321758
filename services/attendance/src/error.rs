//! What can go wrong with events and registers, split by what the caller can do about it.

use rollcall_core::{BadName, Fault, Reason};
use rollcall_store::StoreError;

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
    /// A fault of this program.
    #[error("{0}")]
    Internal(&'static str),
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
            Self::Internal(_) => Fault::new(Reason::Internal, self),
        }
    }
}
