//! The consent ledger, as stored.

use std::collections::HashMap;

use rollcall_core::{ConsentId, PersonId, SiteZone, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::GalleryError;
use crate::consent::{self, Consent, Decision, GiverKind, Line, Said, Standing};
use crate::store::{day, id, people, rows_of_parameters};

const WHAT: &str = "a consent";

/// A line as far as the rule needs it.
#[derive(sqlx::FromRow)]
pub(crate) struct LineRow {
    decision: i64,
    giver: i64,
    giver_label: String,
    start_day: Option<String>,
    end_day: Option<String>,
}

impl LineRow {
    fn said(self, form: String) -> Result<Said, GalleryError> {
        let decision = match self.decision {
            1 => Decision::Given {
                start: day(self.start_day.as_deref(), WHAT)?,
                end: day(self.end_day.as_deref(), WHAT)?,
            },
            2 => Decision::Refused,
            3 => Decision::Withdrawn,
            _ => return Err(GalleryError::Damaged(WHAT)),
        };
        let by = match self.giver {
            1 => GiverKind::Person,
            2 => GiverKind::Guardian,
            _ => return Err(GalleryError::Damaged(WHAT)),
        };
        Ok(Said { decision, by, giver_label: self.giver_label, form })
    }
}

impl TryFrom<LineRow> for Line {
    type Error = GalleryError;

    fn try_from(row: LineRow) -> Result<Self, GalleryError> {
        Ok(row.said(String::new())?.line())
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
    let lines = people::ledgers_of(tx, &[person]).await?.remove(&person).unwrap_or_default();
    Ok(consent::standing(&lines, leave, zone, now))
}

#[derive(sqlx::FromRow)]
struct ConsentRow {
    consent_id: Vec<u8>,
    line: i64,
    #[sqlx(flatten)]
    said: LineRow,
    form: String,
    recorded_us: i64,
    recorded_by: String,
}

impl ConsentRow {
    fn read(self) -> Result<(i64, Consent), GalleryError> {
        let consent = Consent {
            id: id(&self.consent_id, WHAT)?,
            said: self.said.said(self.form)?,
            recorded: UtcInstant::from_micros(self.recorded_us),
            recorded_by: self.recorded_by,
        };
        Ok((self.line, consent))
    }
}

macro_rules! select_consents {
    ($rest:literal) => {
        concat!(
            "select consent_id, line, decision, giver, giver_label, form, start_day, end_day, recorded_us,
                recorded_by from gallery_consent ",
            $rest
        )
    };
}

/// The lines of a person's ledger after this one, with their numbers.
pub(crate) async fn page(
    tx: &mut Tx,
    person: PersonId,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Consent)>, GalleryError> {
    let rows: Vec<ConsentRow> = on!(tx, connection => {
        sqlx::query_as(select_consents!("where person_id = $1 and line > $2 order by line limit $3"))
            .bind(person.as_bytes())
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await
    })?;
    rows.into_iter().map(ConsentRow::read).collect()
}

#[derive(sqlx::FromRow)]
struct PersonConsentRow {
    person_id: Vec<u8>,
    #[sqlx(flatten)]
    consent: ConsentRow,
}

/// The whole ledgers of these people, at most a page of them, oldest line first.
pub(crate) async fn of(
    tx: &mut Tx,
    people: &[PersonId],
) -> Result<HashMap<PersonId, Vec<Consent>>, GalleryError> {
    let sql = format!(
        "select person_id, consent_id, line, decision, giver, giver_label, form, start_day, end_day, recorded_us,
            recorded_by from gallery_consent where person_id in {} order by person_id, line",
        rows_of_parameters(1, people.len())
    );
    let rows: Vec<PersonConsentRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for person in people {
            query = query.bind(person.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    let mut ledgers: HashMap<PersonId, Vec<Consent>> = HashMap::new();
    for row in rows {
        let person = id(&row.person_id, "a person's id")?;
        ledgers.entry(person).or_default().push(row.consent.read()?.1);
    }
    Ok(ledgers)
}

/// One line.
pub(crate) async fn get(tx: &mut Tx, consent: ConsentId) -> Result<Option<Consent>, GalleryError> {
    let row: Option<ConsentRow> = on!(tx, connection => {
        sqlx::query_as(select_consents!("where consent_id = $1"))
            .bind(consent.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(row.map(ConsentRow::read).transpose()?.map(|(_, consent)| consent))
}

/// The number of the last line of a ledger; 0 when it is empty.
pub(crate) async fn last_line(tx: &mut Tx, person: PersonId) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select coalesce(max(line), 0) from gallery_consent where person_id = $1")
            .bind(person.as_bytes())
            .fetch_one(connection)
            .await
    })
}

/// Adds a line with this number.
pub(crate) async fn insert(
    tx: &mut Tx,
    person: PersonId,
    line: i64,
    consent: &Consent,
) -> Result<(), StoreError> {
    let (decision, start, end) = match consent.said.decision {
        Decision::Given { start, end } => (1_i64, start, end),
        Decision::Refused => (2, None, None),
        Decision::Withdrawn => (3, None, None),
    };
    let giver = match consent.said.by {
        GiverKind::Person => 1_i64,
        GiverKind::Guardian => 2,
    };
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_consent (consent_id, person_id, line, decision, giver, giver_label, form, start_day,
                end_day, recorded_us, recorded_by) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(consent.id.as_bytes())
        .bind(person.as_bytes())
        .bind(line)
        .bind(decision)
        .bind(giver)
        .bind(&consent.said.giver_label)
        .bind(&consent.said.form)
        .bind(start.map(|day| day.to_string()))
        .bind(end.map(|day| day.to_string()))
        .bind(consent.recorded.micros())
        .bind(&consent.recorded_by)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Notes until when a person's standing stays as it is; whether that is news.
pub(crate) async fn set_standing(
    tx: &mut Tx,
    person: PersonId,
    until: Option<UtcInstant>,
) -> Result<bool, StoreError> {
    let until = until.map(UtcInstant::micros);
    on!(tx, connection => {
        sqlx::query(
            "update gallery_person set standing_until_us = $1
                where person_id = $2 and coalesce(standing_until_us, -1) <> coalesce($1, -1)",
        )
        .bind(until)
        .bind(person.as_bytes())
        .execute(connection)
        .await
        .map(|done| done.rows_affected() > 0)
    })
}

/// People whose standing ends at `now` or before, at most `limit`.
pub(crate) async fn ended(tx: &mut Tx, now: UtcInstant, limit: i64) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(
            "select person_id from gallery_person where standing_until_us <= $1
                order by standing_until_us, person_id limit $2",
        )
        .bind(now.micros())
        .bind(limit)
        .fetch_all(connection)
        .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}

/// People with a consent ledger, after this id, at most `limit`.
pub(crate) async fn with_ledger(
    tx: &mut Tx,
    after: Option<PersonId>,
    limit: i64,
) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(
            "select p.person_id from gallery_person p where p.person_id > $1
                and exists (select 1 from gallery_consent c where c.person_id = p.person_id)
                order by p.person_id limit $2",
        )
        .bind(after.map_or(Vec::new(), |after| after.to_bytes().to_vec()))
        .bind(limit)
        .fetch_all(connection)
        .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}
