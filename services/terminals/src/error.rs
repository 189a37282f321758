//! What can go wrong with terminals and their settings.

use rollcall_core::{BadName, Fault, Reason};
use rollcall_store::StoreError;

/// Why a call about a terminal was not answered.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] BadName),
    /// No terminal of this name is known here.
    #[error("there is no {0} here; ListTerminals tells which there are")]
    NotFound(String),
    /// Somebody else changed the settings first.
    #[error("the settings were changed since their etag {given} was read; read them again (now {current})")]
    EtagMismatch {
        /// What the caller had read.
        given: String,
        /// What it is now.
        current: String,
    },
    /// The mask names something else than a setting.
    #[error(
        "update_mask names \"{0}\"; it may name display_name, direction, groups, fpir_target, keep_pictures, \
         access_rules, without_clock"
    )]
    Mask(String),
    /// A value is out of its range.
    #[error("{field} {problem}")]
    Field {
        /// The field, as in the contract.
        field: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// What only a hub does.
    #[error("{0} is done at the hub; a terminal does not adopt others")]
    NotServedHere(&'static str),
    /// What only a terminal does.
    #[error("{0} is done at the terminal itself; this is a hub")]
    NotServedByHub(&'static str),
    /// The hub of this terminal says what its settings are.
    #[error("this terminal belongs to the hub {hub}; change its settings there")]
    Adopted {
        /// Where the hub is reached.
        hub: String,
    },
    /// A certificate's key is not the one that is in force.
    #[error("the key of {0}'s certificate is not the one in force; adopt it anew")]
    KeyNotInForce(String),
    /// There are as many as there may be.
    #[error("{0}")]
    Limit(String),
    /// A terminal did not take a command, or did not answer, or has not said something yet.
    #[error("{0}")]
    Unreachable(String),
    /// Nobody asked this terminal for that.
    #[error("there is no {0} for this terminal, or it is over")]
    NoCommand(String),
    /// The page token or page size is wrong, or the device refused.
    #[error("{}", .0.message)]
    Refused(Fault),
    /// What is stored is not what this program writes.
    #[error("what is stored of a terminal cannot be read ({0}); restore a backup")]
    Unreadable(&'static str),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TerminalError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        let reason = match self {
            Self::Name(_) => Reason::FieldInvalid,
            Self::NotFound(_) => Reason::NotFound,
            Self::EtagMismatch { .. } => Reason::EtagMismatch,
            Self::Mask(_) => Reason::UpdateMaskInvalid,
            Self::Field { field, .. } => return Fault::new(Reason::FieldInvalid, self).with("field", field),
            Self::NotServedHere(_) => Reason::NotServedHere,
            Self::NotServedByHub(_) => Reason::NotServedHere,
            Self::Adopted { hub } => return Fault::new(Reason::TerminalAdopted, self).with("hub", hub),
            Self::KeyNotInForce(_) => Reason::CredentialsInvalid,
            Self::Limit(_) => Reason::LimitReached,
            Self::Unreachable(_) => Reason::Unavailable,
            Self::NoCommand(_) => Reason::NotFound,
            Self::Refused(fault) => return fault.clone(),
            Self::Unreadable(_) => Reason::DataDamaged,
            Self::Store(error) => return error.fault(),
        };
        Fault::new(reason, self)
    }
}
