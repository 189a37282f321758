//! The head of the gallery and the feed of its changes.

use rollcall_core::{GalleryId, PersonId, UtcInstant, limits};
use rollcall_store::{Db, StoreError, Tx, dialect, on};
use sqlx::AssertSqlSafe;

use crate::GalleryError;
use crate::change::Change;
use crate::store::{id, rows_of_parameters};

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

/// Notes the same of many people, in their order, and returns the first revision. Their rows are the
/// caller's to mark with it.
pub(crate) async fn record_many(
    tx: &mut Tx,
    people: &[PersonId],
    erased: bool,
    now: UtcInstant,
) -> Result<i64, StoreError> {
    const ROWS: usize = 100;
    let count = i64::try_from(people.len()).unwrap_or(i64::MAX);
    let newest: i64 = on!(tx, connection => {
        sqlx::query_scalar("update gallery_head set revision = revision + $1 where one = 1 returning revision")
            .bind(count)
            .fetch_one(connection)
            .await
    })?;
    for (chunk, first) in people.chunks(ROWS).zip((newest - count + 1..).step_by(ROWS)) {
        let sql = format!(
            "insert into gallery_change (revision, person_id, erased, changed_us) values {}",
            rows_of_parameters(chunk.len(), 4)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (person, revision) in chunk.iter().zip(first..) {
                query = query.bind(revision).bind(person.as_bytes()).bind(i64::from(erased)).bind(now.micros());
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    on!(tx, connection => {
        sqlx::query("delete from gallery_change where revision <= $1")
            .bind(newest.saturating_sub(limits::GALLERY_CHANGES))
            .execute(connection)
            .await
            .map(|_| newest - count + 1)
    })
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    revision: i64,
    person_id: Vec<u8>,
    erased: i64,
    changed_us: i64,
}

/// The changes after a revision that are kept, oldest first.
pub(crate) async fn after(tx: &mut Tx, revision: i64, limit: i64) -> Result<Vec<Change>, GalleryError> {
    let rows: Vec<ChangeRow> = on!(tx, connection => {
        sqlx::query_as(
            "select revision, person_id, erased, changed_us from gallery_change where revision > $1
                order by revision limit $2",
        )
        .bind(revision)
        .bind(limit)
        .fetch_all(connection)
        .await
    })?;
    let change = |row: ChangeRow| {
        Ok(Change {
            revision: row.revision,
            person: id(&row.person_id, "a person's id")?,
            erased: row.erased != 0,
            changed: UtcInstant::from_micros(row.changed_us),
        })
    };
    rows.into_iter().map(change).collect()
}

/// Notes the zone that everybody's standing is reckoned in; the one before.
pub(crate) async fn set_zone(tx: &mut Tx, zone: &str) -> Result<Option<String>, StoreError> {
    on!(tx, connection => {
        let before: Option<String> =
            sqlx::query_scalar("select zone from gallery_head where one = 1").fetch_one(&mut *connection).await?;
        sqlx::query("update gallery_head set zone = $1 where one = 1")
            .bind(zone)
            .execute(connection)
            .await
            .map(|_| before)
    })
}

/// The newest revision; 0 for a gallery that has never changed.
pub(crate) async fn newest(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select revision from gallery_head where one = 1").fetch_one(connection).await
    })
}

/// The id of the gallery, where it has one yet, its newest revision and how many people it has.
pub(crate) async fn summary(tx: &mut Tx) -> Result<(Option<Vec<u8>>, i64, i64), StoreError> {
    on!(tx, connection => {
        sqlx::query_as("select gallery_id, revision, (select count(*) from gallery_person) from gallery_head where one = 1")
            .fetch_one(connection)
            .await
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

/// Forgets changes as if so many newer had been made.
#[cfg(test)]
pub(crate) async fn forget_before(db: &Db, revision: i64) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("delete from gallery_change where revision < $1")
            .bind(revision)
            .execute(connection)
            .await
            .map(|_| ())
    })?;
    tx.commit().await
}
