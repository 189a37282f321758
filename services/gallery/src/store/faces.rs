//! What recognition loads: the templates of one network with what a decision needs beside them.

use std::collections::BTreeMap;

use rollcall_core::{PersonId, TemplateId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};

use crate::GalleryError;
use crate::store::{id, instant};

/// Templates that are read at once: a megabyte of sealed embeddings.
const TEMPLATES_AT_ONCE: i64 = 2_000;

/// A person's templates, still sealed.
#[derive(Debug)]
pub(crate) struct SealedPerson {
    pub(crate) person: PersonId,
    pub(crate) until: Option<UtcInstant>,
    pub(crate) templates: Vec<(TemplateId, Vec<u8>)>,
    pub(crate) reports: Vec<Report>,
}

/// A reported mismatch, as far as a decision needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) threshold: f32,
    pub(crate) actual: Option<PersonId>,
}

#[derive(sqlx::FromRow)]
struct SealedRow {
    person_id: Vec<u8>,
    template_id: Vec<u8>,
    sealed: Vec<u8>,
    standing_until_us: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct ReportRow {
    person_id: Vec<u8>,
    actual_person_id: Option<Vec<u8>>,
    threshold: f64,
}

/// The people who changed after a revision; `None` when changes after it are no longer kept.
pub(crate) async fn changed_since(tx: &mut Tx, revision: i64) -> Result<Option<Vec<PersonId>>, GalleryError> {
    let oldest: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar("select min(revision) from gallery_change").fetch_one(connection).await
    })?;
    if oldest.is_some_and(|oldest| oldest > revision + 1) {
        return Ok(None);
    }
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select distinct person_id from gallery_change where revision > $1")
            .bind(revision)
            .fetch_all(connection)
            .await
    })?;
    rows.iter().map(|bytes| id(bytes, "a change")).collect::<Result<_, _>>().map(Some)
}

/// A person's templates; none when there are none, or no such person.
pub(crate) async fn of(
    tx: &mut Tx,
    person: PersonId,
    model_hash: &[u8],
) -> Result<SealedPerson, GalleryError> {
    let rows: Vec<SealedRow> = on!(tx, connection => {
        sqlx::query_as(
            "select t.person_id, t.template_id, t.sealed, p.standing_until_us
                from gallery_template t join gallery_person p on p.person_id = t.person_id
                where t.person_id = $1 and t.model_hash = $2 order by t.template_id",
        )
        .bind(person.as_bytes())
        .bind(model_hash)
        .fetch_all(connection)
        .await
    })?;
    let reports: Vec<ReportRow> = on!(tx, connection => {
        sqlx::query_as(
            "select person_id, actual_person_id, threshold from gallery_mismatch where person_id = $1
                union all
                select person_id, actual_person_id, threshold from gallery_told_report where person_id = $1",
        )
        .bind(person.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    let mut sealed = SealedPerson { person, until: None, templates: Vec::new(), reports: Vec::new() };
    for row in rows {
        sealed.until = instant(row.standing_until_us);
        sealed.templates.push((id(&row.template_id, "a template")?, row.sealed));
    }
    sealed.reports = reports.iter().map(report).collect::<Result<_, _>>()?;
    Ok(sealed)
}

/// Everybody with templates, some at a time.
pub(crate) struct Everybody {
    reports: BTreeMap<PersonId, Vec<Report>>,
    last: (Vec<u8>, Vec<u8>),
    /// The person whose templates may go on with the next rows.
    unfinished: Option<SealedPerson>,
    done: bool,
}

impl Everybody {
    pub(crate) async fn begin(tx: &mut Tx) -> Result<Self, GalleryError> {
        let reports = all_reports(tx).await?;
        Ok(Self { reports, last: (Vec::new(), Vec::new()), unfinished: None, done: false })
    }

    /// The next people, whose templates are complete; `None` after the last.
    pub(crate) async fn next(
        &mut self,
        tx: &mut Tx,
        model_hash: &[u8],
    ) -> Result<Option<Vec<SealedPerson>>, GalleryError> {
        if self.done {
            return Ok(None);
        }
        let rows = page(tx, model_hash, (&self.last.0, &self.last.1)).await?;
        self.done = (rows.len() as i64) < TEMPLATES_AT_ONCE;
        let mut people: Vec<SealedPerson> = self.unfinished.take().into_iter().collect();
        for row in rows {
            let person: PersonId = id(&row.person_id, "a template")?;
            let template = (id(&row.template_id, "a template")?, row.sealed);
            self.last = (row.person_id, row.template_id);
            match people.last_mut().filter(|sealed| sealed.person == person) {
                Some(sealed) => sealed.templates.push(template),
                None => people.push(SealedPerson {
                    person,
                    until: instant(row.standing_until_us),
                    templates: vec![template],
                    reports: self.reports.remove(&person).unwrap_or_default(),
                }),
            }
        }
        if !self.done {
            self.unfinished = people.pop();
        }
        Ok(Some(people))
    }
}

async fn page(tx: &mut Tx, model_hash: &[u8], after: (&[u8], &[u8])) -> Result<Vec<SealedRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select t.person_id, t.template_id, t.sealed, p.standing_until_us
                from gallery_template t join gallery_person p on p.person_id = t.person_id
                where t.model_hash = $1 and (t.person_id, t.template_id) > ($2, $3)
                order by t.person_id, t.template_id limit $4",
        )
        .bind(model_hash)
        .bind(after.0)
        .bind(after.1)
        .bind(TEMPLATES_AT_ONCE)
        .fetch_all(connection)
        .await
    })
}

async fn all_reports(tx: &mut Tx) -> Result<BTreeMap<PersonId, Vec<Report>>, GalleryError> {
    let rows: Vec<ReportRow> = on!(tx, connection => {
        sqlx::query_as(
            "select person_id, actual_person_id, threshold from gallery_mismatch
                union all
                select person_id, actual_person_id, threshold from gallery_told_report",
        )
        .fetch_all(connection)
        .await
    })?;
    let mut reports: BTreeMap<PersonId, Vec<Report>> = BTreeMap::new();
    for row in &rows {
        reports.entry(id(&row.person_id, "a mismatch")?).or_default().push(report(row)?);
    }
    Ok(reports)
}

fn report(row: &ReportRow) -> Result<Report, GalleryError> {
    let actual = row.actual_person_id.as_deref().map(|bytes| id(bytes, "a mismatch")).transpose()?;
    Ok(Report { threshold: row.threshold as f32, actual })
}

/// What a person is called; `None` when there is no such person.
pub(crate) async fn display_name(tx: &mut Tx, person: PersonId) -> Result<Option<String>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select display_name from gallery_person where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })
}
