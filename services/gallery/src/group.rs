//! A group: people who belong together.

use rollcall_core::{GroupId, limits};

use crate::{GalleryError, text};

/// A class, a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// Unique.
    pub display_name: String,
    /// How many people belong to it.
    pub person_count: i64,
    /// Changes with every change of the group itself.
    pub etag: String,
}

/// A name that can be stored.
pub(crate) fn display_name(text: &str) -> Result<String, GalleryError> {
    text::line("display_name", text, limits::GROUP_NAME_CHARS)
}
