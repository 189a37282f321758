//! Between the messages of the contract and the types of the gallery. What comes in is checked here, once.

use rollcall_core::PersonId;

use crate::GalleryError;

/// The person that a field names.
pub(crate) fn person_id(field: &'static str, name: &str) -> Result<PersonId, GalleryError> {
    PersonId::from_name(name).map_err(|source| GalleryError::BadName { field, source })
}
