//! What became of each picture that was offered for enrolment, as stored.

use rollcall_core::{PersonId, TemplateId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use rollcall_vision::{Quality, Rect};

use crate::GalleryError;
use crate::enrol::{Judgement, Verdict, looks_like};
use crate::store::id;
use crate::store::templates::{quality_values, storable};

const WHAT: &str = "an enrolment";

/// What became of one picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Enrolment {
    pub(crate) picture_sha256: [u8; 32],
    pub(crate) judgement: Judgement,
    /// Where the face meant is.
    pub(crate) bounds: Option<Rect>,
    pub(crate) quality: Option<Quality>,
    /// The template that was made of it.
    pub(crate) template: Option<TemplateId>,
    pub(crate) recorded: UtcInstant,
}

#[derive(sqlx::FromRow)]
struct EnrolmentRow {
    picture_sha256: Vec<u8>,
    verdict: i64,
    explanation: String,
    box_left: Option<f64>,
    box_top: Option<f64>,
    box_right: Option<f64>,
    box_bottom: Option<f64>,
    eyes_px: Option<f64>,
    sharpness: Option<f64>,
    yaw_deg: Option<f64>,
    roll_deg: Option<f64>,
    nose_height: Option<f64>,
    brightness: Option<f64>,
    contrast: Option<f64>,
    looks_like: Option<Vec<u8>>,
    looks_like_score: Option<f64>,
    template_id: Option<Vec<u8>>,
    recorded_us: i64,
}

/// Verdicts by their number in the database, which is that of the contract.
const VERDICTS: [(i64, Verdict); 12] = [
    (1, Verdict::Enrolled),
    (2, Verdict::NoFace),
    (3, Verdict::SeveralFaces),
    (4, Verdict::TooSmall),
    (5, Verdict::Blurred),
    (6, Verdict::TurnedAway),
    (7, Verdict::TooDark),
    (8, Verdict::TooBright),
    (9, Verdict::LooksLike),
    (10, Verdict::UnlikeOthers),
    (11, Verdict::PoorQuality),
    (12, Verdict::Unreadable),
];

/// A verdict's number.
pub(crate) fn number(verdict: Verdict) -> i64 {
    VERDICTS.iter().find(|(_, known)| *known == verdict).map_or(0, |(number, _)| *number)
}

impl TryFrom<EnrolmentRow> for Enrolment {
    type Error = GalleryError;

    fn try_from(row: EnrolmentRow) -> Result<Self, GalleryError> {
        let verdict = VERDICTS.iter().find(|(number, _)| *number == row.verdict).map(|(_, verdict)| *verdict);
        let f32_of = |value: f64| value as f32;
        let bounds = || {
            Some(Rect {
                x0: f32_of(row.box_left?),
                y0: f32_of(row.box_top?),
                x1: f32_of(row.box_right?),
                y1: f32_of(row.box_bottom?),
            })
        };
        let quality = || {
            Some(Quality {
                inter_ocular_px: f32_of(row.eyes_px?),
                sharpness: f32_of(row.sharpness?),
                yaw_deg: f32_of(row.yaw_deg?),
                roll_deg: f32_of(row.roll_deg?),
                nose_height: f32_of(row.nose_height?),
                brightness: f32_of(row.brightness?),
                contrast: f32_of(row.contrast?),
            })
        };
        let other: Option<PersonId> = row.looks_like.as_deref().map(|bytes| id(bytes, WHAT)).transpose()?;
        Ok(Self {
            picture_sha256: row
                .picture_sha256
                .as_slice()
                .try_into()
                .map_err(|_| GalleryError::Damaged(WHAT))?,
            bounds: bounds(),
            quality: quality(),
            template: row.template_id.as_deref().map(|bytes| id(bytes, WHAT)).transpose()?,
            recorded: UtcInstant::from_micros(row.recorded_us),
            judgement: Judgement {
                verdict: verdict.ok_or(GalleryError::Damaged(WHAT))?,
                looks_like: looks_like(other, row.looks_like_score.map(f32_of)),
                explanation: row.explanation,
            },
        })
    }
}

/// Remembers a verdict, in place of one that no longer answers.
pub(crate) async fn put(
    tx: &mut Tx,
    person: PersonId,
    model_hash: &[u8],
    enrolment: &Enrolment,
) -> Result<(), StoreError> {
    let bounds = enrolment.bounds.map(|b| [b.x0, b.y0, b.x1, b.y1].map(storable));
    let quality = enrolment.quality.map(|quality| quality_values(&quality));
    let other = enrolment.judgement.looks_like;
    on!(tx, connection => {
        sqlx::query("delete from gallery_enrolment where person_id = $1 and picture_sha256 = $2")
            .bind(person.as_bytes())
            .bind(&enrolment.picture_sha256[..])
            .execute(&mut *connection)
            .await
            .map(|done| done.rows_affected())?;
        let mut insert = sqlx::query(
            "insert into gallery_enrolment (person_id, picture_sha256, model_hash, verdict, explanation,
                looks_like, looks_like_score, template_id, recorded_us, box_left, box_top, box_right, box_bottom,
                eyes_px, sharpness, yaw_deg, roll_deg, nose_height, brightness, contrast)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        )
        .bind(person.as_bytes())
        .bind(&enrolment.picture_sha256[..])
        .bind(model_hash)
        .bind(number(enrolment.judgement.verdict))
        .bind(&enrolment.judgement.explanation)
        .bind(other.as_ref().map(|other| other.person.as_bytes()))
        .bind(other.map(|other| storable(other.score)))
        .bind(enrolment.template.as_ref().map(TemplateId::as_bytes))
        .bind(enrolment.recorded.micros());
        for at in 0..4 {
            insert = insert.bind(bounds.map(|values| values[at]));
        }
        for at in 0..7 {
            insert = insert.bind(quality.map(|values| values[at]));
        }
        insert.execute(connection).await.map(|done| done.rows_affected())
    })?;
    Ok(())
}

/// The verdict on a picture of a person by this network.
pub(crate) async fn recall(
    tx: &mut Tx,
    person: PersonId,
    picture_sha256: &[u8; 32],
    model_hash: &[u8],
) -> Result<Option<Enrolment>, GalleryError> {
    let row: Option<EnrolmentRow> = on!(tx, connection => {
        sqlx::query_as(
            "select * from gallery_enrolment where person_id = $1 and picture_sha256 = $2 and model_hash = $3",
        )
        .bind(person.as_bytes())
        .bind(&picture_sha256[..])
        .bind(model_hash)
        .fetch_optional(connection)
        .await
    })?;
    row.map(Enrolment::try_from).transpose()
}

/// The verdicts on a person's pictures after the one with this key, oldest first.
pub(crate) async fn page(
    tx: &mut Tx,
    person: PersonId,
    after: (i64, &[u8]),
    count: i64,
) -> Result<Vec<Enrolment>, GalleryError> {
    let rows: Vec<EnrolmentRow> = on!(tx, connection => {
        sqlx::query_as(
            "select * from gallery_enrolment
                where person_id = $1 and (recorded_us, picture_sha256) > ($2, $3)
                order by recorded_us, picture_sha256 limit $4",
        )
        .bind(person.as_bytes())
        .bind(after.0)
        .bind(after.1)
        .bind(count)
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(Enrolment::try_from).collect()
}
