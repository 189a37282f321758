//! The head of the gallery and the feed of its changes.

use rollcall_core::{GalleryId, PersonId, UtcInstant, limits};
use rollcall_store::{Db, StoreError, Tx, dialect, on};

use crate::GalleryError;
use crate::store::id;

/// Begins to change the gallery: until it ends nobody else does, in this process or another.
pub(crate) async fn begin(db: &Db) -> Result<Tx, StoreError> {
    let mut tx = db.write().await?;
    let select = dialect::for_update(&tx, "select revision from gallery_head where one = 1");
    let _revision: i64 = on!(tx, connection => sqlx::query_scalar(select).fetch_one(connection).await)?;
    Ok(tx)
}

/// Notes that a person has changed, or was erased, and returns the revision of that change. Every change of a person,
/// their consent, credentials or templates is noted in its own transaction, begun with [`begin`].
pub(crate) async fn record(
    tx: &mut Tx,
    person: PersonId,
    erased: bool,
    now: UtcInstant,
) -> Result<i64, StoreError> {
    on!(tx, connection => {
        let revision: i64 =
            sqlx::query_scalar("update gallery_head set revision = revision + 1 where one = 1 returning revision")
                .fetch_one(&mut *connection)
                .await?;
        sqlx::query("insert into gallery_change (revision, person_id, erased, changed_us) values ($1, $2, $3, $4)")
            .bind(revision)
            .bind(person.as_bytes())
            .bind(i64::from(erased))
            .bind(now.micros())
            .execute(&mut *connection)
            .await?;
        sqlx::query("delete from gallery_change where revision <= $1")
            .bind(revision.saturating_sub(limits::GALLERY_CHANGES))
            .execute(&mut *connection)
            .await?;
        sqlx::query("update gallery_person set revision = $1 where person_id = $2")
            .bind(revision)
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|_| revision)
    })
}

/// The newest revision; 0 for a gallery that has never changed.
pub(crate) async fn newest(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select revision from gallery_head where one = 1").fetch_one(connection).await
    })
}

/// The id of this gallery, made at the first call.
pub(crate) async fn gallery_id(tx: &mut Tx) -> Result<GalleryId, GalleryError> {
    let fresh = GalleryId::generate();
    let stored: Vec<u8> = on!(tx, connection => {
        sqlx::query_scalar("update gallery_head set gallery_id = coalesce(gallery_id, $1) where one = 1 returning gallery_id")
            .bind(fresh.as_bytes())
            .fetch_one(connection)
            .await
    })?;
    id(&stored, "the gallery's id")
}
