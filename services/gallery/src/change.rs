//! A change of the gallery.

use rollcall_core::{PersonId, UtcInstant};

/// That somebody has changed. What they are now is asked of the gallery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Rises by 1 with every change.
    pub revision: i64,
    /// Who.
    pub person: PersonId,
    /// Whether they were erased.
    pub erased: bool,
    /// When.
    pub changed: UtcInstant,
}
