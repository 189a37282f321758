//! The consent ledger, as stored.

use rollcall_core::{PersonId, SiteZone, UtcInstant};
use rollcall_store::{Tx, on};

use crate::GalleryError;
use crate::consent::{self, Decision, Giver, Line, Standing};
use crate::store::{day, people};
use crate::text::folded;

#[derive(sqlx::FromRow)]
struct LineRow {
    decision: i64,
    giver: i64,
    giver_label: String,
    start_day: Option<String>,
    end_day: Option<String>,
}

impl TryFrom<LineRow> for Line {
    type Error = GalleryError;

    fn try_from(row: LineRow) -> Result<Self, GalleryError> {
        const WHAT: &str = "a consent";
        let decision = match row.decision {
            1 => Decision::Given {
                start: day(row.start_day.as_deref(), WHAT)?,
                end: day(row.end_day.as_deref(), WHAT)?,
            },
            2 => Decision::Refused,
            3 => Decision::Withdrawn,
            _ => return Err(GalleryError::Damaged(WHAT)),
        };
        let giver = match row.giver {
            1 => Giver::Person,
            2 => Giver::Guardian(folded(&row.giver_label)),
            _ => return Err(GalleryError::Damaged(WHAT)),
        };
        Ok(Self { giver, decision })
    }
}

/// What a person's ledger amounts to at `now`, and until when. Asked in the transaction that makes a template, it is
/// still so when that is committed.
///
/// # Errors
/// [`GalleryError::Erased`], [`GalleryError::NotFound`].
pub(crate) async fn face_until(
    tx: &mut Tx,
    person: PersonId,
    zone: &SiteZone,
    now: UtcInstant,
) -> Result<Standing, GalleryError> {
    let leave = people::leave_day(tx, person).await?;
    let rows: Vec<LineRow> = on!(tx, connection => {
        sqlx::query_as(
            "select decision, giver, giver_label, start_day, end_day from gallery_consent
                where person_id = $1 order by line",
        )
        .bind(person.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    let lines: Vec<Line> = rows.into_iter().map(Line::try_from).collect::<Result<_, _>>()?;
    Ok(consent::standing(&lines, leave, zone, now))
}
