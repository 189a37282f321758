//! Every statement of the gallery, by what it is about.
//!
//! A function takes the transaction of its caller and decides nothing: whether a consent is in force or a face good
//! enough is the caller's rule. Values are bound, never written into a statement.

pub(crate) mod changes;
pub(crate) mod consents;
pub(crate) mod credentials;
pub(crate) mod enrolments;
pub(crate) mod erasures;
pub(crate) mod faces;
pub(crate) mod groups;
pub(crate) mod histories;
pub(crate) mod imports;
pub(crate) mod mismatches;
pub(crate) mod people;
pub(crate) mod proposals;
pub(crate) mod replica;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod templates;
pub(crate) mod whole;

use rollcall_core::{SiteDay, UtcInstant};

use crate::GalleryError;

/// An id as it was stored.
pub(crate) fn id<'a, T: TryFrom<&'a [u8]>>(bytes: &'a [u8], what: &'static str) -> Result<T, GalleryError> {
    T::try_from(bytes).map_err(|_| GalleryError::Damaged(what))
}

/// A day as it was stored: `2026-11-24`.
pub(crate) fn day(text: Option<&str>, what: &'static str) -> Result<Option<SiteDay>, GalleryError> {
    text.map(|text| text.parse().map_err(|_| GalleryError::Damaged(what))).transpose()
}

/// An instant as it was stored, where there is one.
pub(crate) fn instant(micros: Option<i64>) -> Option<UtcInstant> {
    micros.map(UtcInstant::from_micros)
}

/// `($1, $2), ($3, $4)`: parameters for so many rows of so many values.
pub(crate) fn rows_of_parameters(rows: usize, values: usize) -> String {
    let row = |row: usize| {
        let parameters: Vec<String> =
            (1..=values).map(|value| format!("${}", row * values + value)).collect();
        format!("({})", parameters.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}
