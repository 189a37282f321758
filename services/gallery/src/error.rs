//! What can go wrong in the gallery, split by what a caller can do about it.
//!
//! Messages name things by their resource names and fields, never by what is in them.

use rollcall_core::{BadName, Fault, PersonId, Reason};
use rollcall_store::StoreError;
use rollcall_store::requests::RequestError;

use crate::RecogniseError;
use crate::import::Mistakes;

/// Why the gallery did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GalleryError {
    /// A field is missing, malformed or out of its range.
    #[error("{field} {problem}")]
    Invalid {
        /// The field, as in the contract.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A file of people with mistakes; nothing was written.
    #[error("the file has mistakes, and nothing of it was written: {0}")]
    Import(Mistakes),
    /// A resource name that is none.
    #[error("{field}: {source}")]
    BadName {
        /// The field, as in the contract.
        field: &'static str,
        /// Why not.
        source: BadName,
    },
    /// An update mask that names what cannot be changed.
    #[error("the update mask has \"{path}\"; it may have {allowed}")]
    Mask {
        /// The unknown path, cut.
        path: String,
        /// What it may have.
        allowed: &'static str,
    },
    /// A page size or token.
    #[error("{}", .0.message)]
    Page(Fault),
    /// Another part of the program could not forget a person.
    #[error("{}", .0.message)]
    Elsewhere(Fault),
    /// What was named is not there.
    #[error("there is no {name}")]
    NotFound {
        /// The resource name.
        name: String,
    },
    /// The person was removed for ever.
    #[error("{} was erased; an erased id is never used again", .0.name())]
    Erased(PersonId),
    /// Something with this value exists.
    #[error("{what} exists already; {hint}")]
    Exists {
        /// What is taken.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Somebody changed it since it was read.
    #[error("{name} was changed since this etag was read; read it again and repeat the change")]
    Etag {
        /// The resource name.
        name: String,
    },
    /// No valid consent to face recognition.
    #[error("{} has no valid consent to face recognition ({state}); record a consent first", .person.name())]
    ConsentMissing {
        /// Whose.
        person: PersonId,
        /// What the ledger amounts to, in a word.
        state: &'static str,
    },
    /// A limit of this program.
    #[error("there can be at most {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// The thing is in a state in which this cannot be done.
    #[error("{0}")]
    State(String),
    /// A watcher that has seen more than there is.
    #[error(
        "revision {given} is newer than this gallery, which is at {newest}; it is another gallery or an older copy: begin again at 0"
    )]
    CursorAhead {
        /// What the watcher said.
        given: i64,
        /// What there is.
        newest: i64,
    },
    /// A watcher that has seen too little.
    #[error("changes before revision {oldest} are no longer kept; read all people, then go on from {newest}")]
    CursorExpired {
        /// The first that is kept.
        oldest: i64,
        /// The newest.
        newest: i64,
    },
    /// Changes are made at the hub.
    #[error("this terminal belongs to the hub at {hub}; make the change there")]
    Adopted {
        /// Where the hub is.
        hub: String,
    },
    /// What only a hub does.
    #[error("this is done at the hub; a terminal does not")]
    HubAlone,
    /// What a hub, or a terminal of this hub, sent is not what one sends. Nothing of it was taken in.
    #[error("{row} {problem}; nothing of what came with it was taken in")]
    Row {
        /// Whose row.
        row: String,
        /// What is wrong.
        problem: String,
    },
    /// Rows that are each as they should be, and together are not what the hub has.
    #[error("after revision {revision} the people here are not those of the hub; a snapshot is to be pulled")]
    SetHash {
        /// The revision that was to be reached.
        revision: u64,
    },
    /// The erasure ledger cannot be trusted. Nothing is served, for it says who must not come back.
    #[error(
        "the erasure ledger {place} {problem}; put back an untouched copy of this file, then start again"
    )]
    Ledger {
        /// The file.
        place: String,
        /// What is wrong, with the line.
        problem: String,
    },
    /// The erasure ledger cannot be read or written.
    #[error("cannot {doing} the erasure ledger {place}: {source}")]
    LedgerFile {
        /// What was tried.
        doing: &'static str,
        /// The file.
        place: String,
        /// Why not.
        source: std::io::Error,
    },
    /// What is stored is not what this program writes.
    #[error("what is stored of {0} is damaged; restore a backup")]
    Damaged(&'static str),
    /// A request id that belongs to another request.
    #[error(transparent)]
    Request(RequestError),
    /// Faces were not read or compared.
    #[error(transparent)]
    Recognise(#[from] RecogniseError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GalleryError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        let fault = |reason| Fault::new(reason, self);
        match self {
            Self::Invalid { field, .. } | Self::BadName { field, .. } => {
                fault(Reason::FieldInvalid).with("field", field)
            }
            Self::Import(mistakes) => {
                fault(Reason::FieldInvalid).with("field", "data").with("rows", mistakes.rows())
            }
            Self::Mask { .. } => fault(Reason::UpdateMaskInvalid),
            Self::Page(fault) | Self::Elsewhere(fault) => fault.clone(),
            Self::NotFound { name } => fault(Reason::NotFound).with("name", name),
            Self::Erased(person) => fault(Reason::PersonErased).with("person", person.name()),
            Self::Exists { what, .. } => fault(Reason::AlreadyExists).with("what", what),
            Self::Etag { name } => fault(Reason::EtagMismatch).with("name", name),
            Self::ConsentMissing { person, state } => {
                fault(Reason::ConsentMissing).with("person", person.name()).with("consent", state)
            }
            Self::Limit { what, limit } => {
                fault(Reason::LimitReached).with("what", what).with("limit", limit)
            }
            Self::State(_) => fault(Reason::StateForbids),
            Self::CursorAhead { newest, .. } => fault(Reason::CursorAhead).with("newest", newest),
            Self::CursorExpired { oldest, newest } => {
                fault(Reason::CursorExpired).with("oldest", oldest).with("newest", newest)
            }
            Self::Adopted { hub } => fault(Reason::TerminalAdopted).with("hub", hub),
            Self::HubAlone => fault(Reason::NotServedHere),
            Self::Row { row, .. } => fault(Reason::FieldInvalid).with("field", "rows").with("row", row),
            Self::SetHash { revision } => fault(Reason::DataDamaged).with("revision", revision),
            Self::Ledger { .. } | Self::Damaged(_) => fault(Reason::DataDamaged),
            Self::LedgerFile { .. } => fault(Reason::Unavailable),
            Self::Request(error) => error.fault(),
            Self::Recognise(error) => error.fault(),
            Self::Store(error) => error.fault(),
        }
    }

    /// A field that is wrong.
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }
}

impl From<RequestError> for GalleryError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Store(error) => Self::Store(error),
            error => Self::Request(error),
        }
    }
}
