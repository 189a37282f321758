//! People, as stored.

use rollcall_core::{PersonId, SiteDay};
use rollcall_store::{StoreError, Tx, on};

use crate::GalleryError;
use crate::store::day;

/// Whether somebody with this id is there.
pub(crate) async fn exists(tx: &mut Tx, person: PersonId) -> Result<bool, StoreError> {
    let found: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar("select revision from gallery_person where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(found.is_some())
}

/// The last day of a person.
///
/// # Errors
/// [`GalleryError::Erased`] when they were erased, [`GalleryError::NotFound`] when there is no such person.
pub(crate) async fn leave_day(tx: &mut Tx, person: PersonId) -> Result<Option<SiteDay>, GalleryError> {
    let found: Option<Option<String>> = on!(tx, connection => {
        sqlx::query_scalar("select leave_day from gallery_person where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    match found {
        Some(leave) => day(leave.as_deref(), "a person's last day"),
        None => Err(missing(tx, person).await?),
    }
}

/// Why there is no such person.
pub(crate) async fn missing(tx: &mut Tx, person: PersonId) -> Result<GalleryError, StoreError> {
    let erased: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar("select erased_us from gallery_erasure where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(match erased {
        Some(_) => GalleryError::Erased(person),
        None => GalleryError::NotFound { name: person.name() },
    })
}
