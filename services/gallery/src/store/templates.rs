//! Templates and kept pictures, as stored.

use rollcall_core::{PersonId, TemplateId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use rollcall_vision::Quality;

use crate::GalleryError;
use crate::store::id;

const WHAT: &str = "a template";

/// The quality of a template of which nobody here knows it.
pub(crate) const UNKNOWN_QUALITY: Quality = Quality {
    inter_ocular_px: 0.0,
    sharpness: 0.0,
    yaw_deg: 0.0,
    roll_deg: 0.0,
    nose_height: 0.0,
    brightness: 0.0,
    contrast: 0.0,
};

/// A template about to be stored.
pub(crate) struct NewTemplate<'a> {
    pub(crate) template: TemplateId,
    pub(crate) person: PersonId,
    pub(crate) model_hash: &'a [u8],
    pub(crate) model: &'a str,
    pub(crate) sealed: &'a [u8],
    pub(crate) quality: Quality,
    pub(crate) created: UtcInstant,
}

/// A template as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) template: TemplateId,
    pub(crate) model: String,
    pub(crate) quality: Quality,
    pub(crate) created: UtcInstant,
    pub(crate) picture_kept: bool,
}

#[derive(sqlx::FromRow)]
struct TemplateRow {
    template_id: Vec<u8>,
    model: String,
    created_us: i64,
    /// Null: none is kept.
    picture_of: Option<Vec<u8>>,
    #[sqlx(flatten)]
    quality: QualityRow,
}

/// The columns of a quality.
#[derive(Clone, Copy, sqlx::FromRow)]
pub(crate) struct QualityRow {
    eyes_px: f64,
    sharpness: f64,
    yaw_deg: f64,
    roll_deg: f64,
    nose_height: f64,
    brightness: f64,
    contrast: f64,
}

impl From<QualityRow> for Quality {
    fn from(row: QualityRow) -> Self {
        Self {
            inter_ocular_px: row.eyes_px as f32,
            sharpness: row.sharpness as f32,
            yaw_deg: row.yaw_deg as f32,
            roll_deg: row.roll_deg as f32,
            nose_height: row.nose_height as f32,
            brightness: row.brightness as f32,
            contrast: row.contrast as f32,
        }
    }
}

/// The values of a quality in the order of its columns, as both engines take them: landmarks in one point make infinite
/// ones.
pub(crate) fn quality_values(quality: &Quality) -> [f64; 7] {
    [
        quality.inter_ocular_px,
        quality.sharpness,
        quality.yaw_deg,
        quality.roll_deg,
        quality.nose_height,
        quality.brightness,
        quality.contrast,
    ]
    .map(storable)
}

/// A measurement as both engines take it.
pub(crate) fn storable(value: f32) -> f64 {
    const MOST: f32 = 1e9;
    if value.is_nan() { 0.0 } else { f64::from(value.clamp(-MOST, MOST)) }
}

pub(crate) async fn insert(tx: &mut Tx, new: &NewTemplate<'_>) -> Result<(), StoreError> {
    let [eyes, sharpness, yaw, roll, nose, brightness, contrast] = quality_values(&new.quality);
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_template (template_id, person_id, model_hash, model, sealed, created_us,
                eyes_px, sharpness, yaw_deg, roll_deg, nose_height, brightness, contrast)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(new.template.as_bytes())
        .bind(new.person.as_bytes())
        .bind(new.model_hash)
        .bind(new.model)
        .bind(new.sealed)
        .bind(new.created.micros())
        .bind(eyes)
        .bind(sharpness)
        .bind(yaw)
        .bind(roll)
        .bind(nose)
        .bind(brightness)
        .bind(contrast)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(())
}

/// Keeps the picture that a template was made of.
pub(crate) async fn keep_picture(tx: &mut Tx, template: TemplateId, sealed: &[u8]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("insert into gallery_picture (template_id, sealed) values ($1, $2)")
            .bind(template.as_bytes())
            .bind(sealed)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(())
}

/// How many templates a person has, of any network.
pub(crate) async fn count(tx: &mut Tx, person: PersonId) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from gallery_template where person_id = $1")
            .bind(person.as_bytes())
            .fetch_one(connection)
            .await
    })
}

/// A person's templates, oldest first.
pub(crate) async fn list(tx: &mut Tx, person: PersonId) -> Result<Vec<Template>, GalleryError> {
    let rows: Vec<TemplateRow> = on!(tx, connection => {
        sqlx::query_as(
            "select t.template_id, t.model, t.created_us, t.eyes_px, t.sharpness, t.yaw_deg, t.roll_deg,
                    t.nose_height, t.brightness, t.contrast,
                    p.template_id as picture_of
                from gallery_template t left join gallery_picture p on p.template_id = t.template_id
                where t.person_id = $1 order by t.template_id",
        )
        .bind(person.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter()
        .map(|row| {
            Ok(Template {
                template: id(&row.template_id, WHAT)?,
                model: row.model,
                quality: row.quality.into(),
                created: UtcInstant::from_micros(row.created_us),
                picture_kept: row.picture_of.is_some(),
            })
        })
        .collect()
}

/// Removes one template, its kept picture, and the verdicts that rest on it: its own, and those by which other pictures
/// were unlike the person's templates. False when there is none.
pub(crate) async fn delete(
    tx: &mut Tx,
    person: PersonId,
    template: TemplateId,
    unlike_others: i64,
) -> Result<bool, StoreError> {
    on!(tx, connection => {
        let deleted = sqlx::query("delete from gallery_template where person_id = $1 and template_id = $2")
            .bind(person.as_bytes())
            .bind(template.as_bytes())
            .execute(&mut *connection)
            .await
            .map(|done| done.rows_affected())?;
        if deleted > 0 {
            sqlx::query("delete from gallery_enrolment where person_id = $1 and verdict = $2")
                .bind(person.as_bytes())
                .bind(unlike_others)
                .execute(connection)
                .await
                .map(|done| done.rows_affected())?;
        }
        Ok(deleted > 0)
    })
}

/// Removes every template, kept picture and verdict of a person; how many templates there were. The caller notes the
/// change.
pub(crate) async fn delete_of(tx: &mut Tx, person: PersonId) -> Result<u64, StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_enrolment where person_id = $1")
            .bind(person.as_bytes())
            .execute(&mut *connection)
            .await
            .map(|done| done.rows_affected())?;
        sqlx::query("delete from gallery_template where person_id = $1")
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })
}
