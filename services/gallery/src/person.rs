//! A person: the fields, what is let into them, and what a change of them is.

use rollcall_core::{GroupId, PersonId, SiteDay, UtcInstant, limits};
use sha2::{Digest as _, Sha256};

use crate::{ConsentState, GalleryError, text};

/// What is known of a person by their own or the office's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonFields {
    /// As the person writes it.
    pub display_name: String,
    /// The id in another system.
    pub external_id: Option<String>,
    /// In the order of their ids, each once.
    pub groups: Vec<GroupId>,
    /// The last day.
    pub leave_day: Option<SiteDay>,
}

/// Somebody whose attendance is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub id: PersonId,
    /// What is known of them.
    pub fields: PersonFields,
    /// What the consent ledger amounts to.
    pub consent: ConsentState,
    /// How many templates there are.
    pub template_count: i64,
    /// When the person was added.
    pub created: UtcInstant,
    /// Changes with every change of the person.
    pub etag: String,
}

/// A change of some fields; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonChange {
    /// See [`PersonFields`].
    pub display_name: Option<String>,
    /// `Some(None)` takes it away.
    pub external_id: Option<Option<String>>,
    /// All groups from now on.
    pub groups: Option<Vec<GroupId>>,
    /// `Some(None)` takes it away.
    pub leave_day: Option<Option<SiteDay>>,
}

/// A name that can be stored.
pub(crate) fn display_name(text: &str) -> Result<String, GalleryError> {
    text::line("display_name", text, limits::PERSON_NAME_CHARS)
}

/// An external id that can be stored; the empty text is none.
pub(crate) fn external_id(text: &str) -> Result<Option<String>, GalleryError> {
    if text.is_empty() {
        return Ok(None);
    }
    text::line("external_id", text, limits::EXTERNAL_ID_CHARS).map(Some)
}

/// Groups that can be stored: each once, not too many.
pub(crate) fn groups(mut groups: Vec<GroupId>) -> Result<Vec<GroupId>, GalleryError> {
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > limits::PERSON_GROUPS {
        return Err(GalleryError::Limit { what: "groups of one person", limit: limits::PERSON_GROUPS });
    }
    Ok(groups)
}

impl PersonFields {
    /// The fields after a change.
    pub(crate) fn changed(&self, change: PersonChange) -> Self {
        Self {
            display_name: change.display_name.unwrap_or_else(|| self.display_name.clone()),
            external_id: change.external_id.unwrap_or_else(|| self.external_id.clone()),
            groups: change.groups.unwrap_or_else(|| self.groups.clone()),
            leave_day: change.leave_day.unwrap_or(self.leave_day),
        }
    }
}

/// The etag of what has this id and was changed last at this revision or version.
pub(crate) fn etag(id: &[u8], version: i64) -> String {
    let digest = Sha256::new().chain_update(id).chain_update(version.to_be_bytes()).finalize();
    hex::encode(&digest[..8])
}
