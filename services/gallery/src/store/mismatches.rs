//! Reported mismatches, as stored.

use rollcall_core::{MismatchId, PersonId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};

use crate::GalleryError;
use crate::store::id;

const WHAT: &str = "a mismatch";

/// "That was not this person."
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mismatch {
    pub(crate) mismatch: MismatchId,
    pub(crate) person: PersonId,
    /// Who it was; `None` when nobody knows, or they were erased.
    pub(crate) actual: Option<PersonId>,
    pub(crate) score: f32,
    /// What the person must reach from now on.
    pub(crate) threshold: f32,
    pub(crate) reported: UtcInstant,
    pub(crate) reported_by: String,
}

#[derive(sqlx::FromRow)]
pub(crate) struct MismatchRow {
    mismatch_id: Vec<u8>,
    person_id: Vec<u8>,
    actual_person_id: Option<Vec<u8>>,
    score: f64,
    threshold: f64,
    reported_us: i64,
    reported_by: String,
}

impl TryFrom<MismatchRow> for Mismatch {
    type Error = GalleryError;

    fn try_from(row: MismatchRow) -> Result<Self, GalleryError> {
        Ok(Self {
            mismatch: id(&row.mismatch_id, WHAT)?,
            person: id(&row.person_id, WHAT)?,
            actual: row.actual_person_id.as_deref().map(|bytes| id(bytes, WHAT)).transpose()?,
            score: row.score as f32,
            threshold: row.threshold as f32,
            reported: UtcInstant::from_micros(row.reported_us),
            reported_by: row.reported_by,
        })
    }
}

pub(crate) async fn insert(tx: &mut Tx, mismatch: &Mismatch) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_mismatch
                (mismatch_id, person_id, actual_person_id, score, threshold, reported_us, reported_by)
                values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(mismatch.mismatch.as_bytes())
        .bind(mismatch.person.as_bytes())
        .bind(mismatch.actual.as_ref().map(PersonId::as_bytes))
        .bind(f64::from(mismatch.score))
        .bind(f64::from(mismatch.threshold))
        .bind(mismatch.reported.micros())
        .bind(&mismatch.reported_by)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(())
}

pub(crate) async fn get(tx: &mut Tx, mismatch: MismatchId) -> Result<Option<Mismatch>, GalleryError> {
    let row: Option<MismatchRow> = on!(tx, connection => {
        sqlx::query_as("select * from gallery_mismatch where mismatch_id = $1")
            .bind(mismatch.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    row.map(Mismatch::try_from).transpose()
}

/// The reports before the one with this key, newest first.
pub(crate) async fn page(
    tx: &mut Tx,
    before: (i64, &[u8]),
    count: i64,
) -> Result<Vec<Mismatch>, GalleryError> {
    let rows: Vec<MismatchRow> = on!(tx, connection => {
        sqlx::query_as(
            "select * from gallery_mismatch where (reported_us, mismatch_id) < ($1, $2)
                order by reported_us desc, mismatch_id desc limit $3",
        )
        .bind(before.0)
        .bind(before.1)
        .bind(count)
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(Mismatch::try_from).collect()
}

/// Takes a report back. The caller notes the change of the person.
pub(crate) async fn delete(tx: &mut Tx, mismatch: MismatchId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_mismatch where mismatch_id = $1")
            .bind(mismatch.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(())
}
