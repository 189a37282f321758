//! What a backup says of the gallery in it: `gallery`, `ID REVISION PEOPLE`.

use std::collections::BTreeMap;

use rollcall_store::{StoreError, Tx};

use crate::store::changes;

/// Which gallery the database has, its newest revision and how many people are in it.
///
/// # Errors
/// A database that does not answer.
pub async fn facts(tx: &mut Tx) -> Result<BTreeMap<String, String>, StoreError> {
    let (gallery_id, revision, people) = changes::summary(tx).await?;
    let gallery_id = gallery_id.map(hex::encode).unwrap_or_default();
    Ok(BTreeMap::from([("gallery".to_owned(), format!("{gallery_id} {revision} {people}"))]))
}
