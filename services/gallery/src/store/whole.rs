//! All that is stored of some people at once, for the rows that a hub makes of them.

use std::collections::HashMap;

use rollcall_core::{CredentialId, GroupId, PersonId, SiteDay, TemplateId, UtcInstant};
use rollcall_store::{Tx, on};
use rollcall_vision::Quality;
use sqlx::AssertSqlSafe;

use crate::store::mismatches::{Mismatch, MismatchRow};
use crate::store::templates::QualityRow;
use crate::store::{consents, day, id, instant, rows_of_parameters};
use crate::{Consent, CredentialKind, GalleryError};

/// A person with all that belongs to them, kept pictures and verdicts on pictures aside.
#[derive(Debug)]
pub(crate) struct WholePerson {
    pub(crate) person: PersonId,
    pub(crate) display_name: String,
    pub(crate) external_id: Option<String>,
    pub(crate) leave_day: Option<SiteDay>,
    pub(crate) created: UtcInstant,
    /// In the order of their ids.
    pub(crate) groups: Vec<(GroupId, String)>,
    /// Oldest line first.
    pub(crate) consents: Vec<Consent>,
    /// Oldest first.
    pub(crate) templates: Vec<WholeTemplate>,
    /// Oldest first, ended ones too.
    pub(crate) credentials: Vec<WholeCredential>,
    /// Oldest first.
    pub(crate) mismatches: Vec<Mismatch>,
}

#[derive(Debug)]
pub(crate) struct WholeTemplate {
    pub(crate) template: TemplateId,
    pub(crate) model_hash: Vec<u8>,
    pub(crate) model: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created: UtcInstant,
    pub(crate) quality: Quality,
}

#[derive(Clone, Debug)]
pub(crate) struct WholeCredential {
    pub(crate) credential: CredentialId,
    pub(crate) kind: CredentialKind,
    pub(crate) created: UtcInstant,
    pub(crate) revoked: Option<UtcInstant>,
    /// `None`: ended.
    pub(crate) verifier: Option<[u8; 32]>,
}

#[derive(sqlx::FromRow)]
struct PersonRow {
    person_id: Vec<u8>,
    display_name: String,
    external_id: Option<String>,
    leave_day: Option<String>,
    created_us: i64,
}

#[derive(sqlx::FromRow)]
struct GroupRow {
    person_id: Vec<u8>,
    group_id: Vec<u8>,
    display_name: String,
}

#[derive(sqlx::FromRow)]
struct TemplateRow {
    person_id: Vec<u8>,
    template_id: Vec<u8>,
    model_hash: Vec<u8>,
    model: String,
    sealed: Vec<u8>,
    created_us: i64,
    #[sqlx(flatten)]
    quality: QualityRow,
}

#[derive(sqlx::FromRow)]
struct CredentialRow {
    person_id: Vec<u8>,
    credential_id: Vec<u8>,
    kind: i64,
    verifier: Option<Vec<u8>>,
    created_us: i64,
    revoked_us: Option<i64>,
}

/// The rows of a `select` that ends with the ids which its people must be among.
macro_rules! rows_of {
    ($tx:expr, $people:expr, $select:literal, $order:literal) => {{
        let sql = format!(concat!($select, " in {} order by ", $order), rows_of_parameters(1, $people.len()));
        on!($tx, connection => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
            for person in $people {
                query = query.bind(person.as_bytes());
            }
            query.fetch_all(connection).await
        })
    }};
}

/// Those of these people who are here, at most a page of them.
pub(crate) async fn of(
    tx: &mut Tx,
    people: &[PersonId],
) -> Result<HashMap<PersonId, WholePerson>, GalleryError> {
    let mut whole = HashMap::with_capacity(people.len());
    if people.is_empty() {
        return Ok(whole);
    }
    let rows: Vec<PersonRow> = rows_of!(
        tx,
        people,
        "select person_id, display_name, external_id, leave_day, created_us from gallery_person where person_id",
        "person_id"
    )?;
    let mut consents = consents::of(tx, people).await?;
    for row in rows {
        let person = id(&row.person_id, "a person's id")?;
        let new = WholePerson {
            person,
            display_name: row.display_name,
            external_id: row.external_id,
            leave_day: day(row.leave_day.as_deref(), "a person's last day")?,
            created: UtcInstant::from_micros(row.created_us),
            groups: Vec::new(),
            consents: consents.remove(&person).unwrap_or_default(),
            templates: Vec::new(),
            credentials: Vec::new(),
            mismatches: Vec::new(),
        };
        whole.insert(person, new);
    }
    add_groups(tx, people, &mut whole).await?;
    add_templates(tx, people, &mut whole).await?;
    add_credentials(tx, people, &mut whole).await?;
    let rows: Vec<MismatchRow> = rows_of!(
        tx,
        people,
        "select * from gallery_mismatch where person_id",
        "person_id, reported_us, mismatch_id"
    )?;
    for row in rows {
        let mismatch = Mismatch::try_from(row)?;
        if let Some(person) = whole.get_mut(&mismatch.person) {
            person.mismatches.push(mismatch);
        }
    }
    Ok(whole)
}

async fn add_groups(
    tx: &mut Tx,
    people: &[PersonId],
    whole: &mut HashMap<PersonId, WholePerson>,
) -> Result<(), GalleryError> {
    let rows: Vec<GroupRow> = rows_of!(
        tx,
        people,
        "select m.person_id, m.group_id, g.display_name from gallery_member m
            join gallery_group g on g.group_id = m.group_id where m.person_id",
        "m.person_id, m.group_id"
    )?;
    for row in rows {
        if let Some(person) = whole.get_mut(&id(&row.person_id, "a person's id")?) {
            person.groups.push((id(&row.group_id, "a group's id")?, row.display_name));
        }
    }
    Ok(())
}

async fn add_templates(
    tx: &mut Tx,
    people: &[PersonId],
    whole: &mut HashMap<PersonId, WholePerson>,
) -> Result<(), GalleryError> {
    let rows: Vec<TemplateRow> = rows_of!(
        tx,
        people,
        "select person_id, template_id, model_hash, model, sealed, created_us, eyes_px, sharpness, yaw_deg, roll_deg,
            nose_height, brightness, contrast from gallery_template where person_id",
        "person_id, template_id"
    )?;
    for row in rows {
        if let Some(person) = whole.get_mut(&id(&row.person_id, "a person's id")?) {
            person.templates.push(WholeTemplate {
                template: id(&row.template_id, "a template")?,
                model_hash: row.model_hash,
                model: row.model,
                sealed: row.sealed,
                created: UtcInstant::from_micros(row.created_us),
                quality: row.quality.into(),
            });
        }
    }
    Ok(())
}

async fn add_credentials(
    tx: &mut Tx,
    people: &[PersonId],
    whole: &mut HashMap<PersonId, WholePerson>,
) -> Result<(), GalleryError> {
    let rows: Vec<CredentialRow> = rows_of!(
        tx,
        people,
        "select person_id, credential_id, kind, verifier, created_us, revoked_us from gallery_credential
            where person_id",
        "person_id, credential_id"
    )?;
    for row in rows {
        if let Some(person) = whole.get_mut(&id(&row.person_id, "a person's id")?) {
            let verifier = row.verifier.as_deref().map(<[u8; 32]>::try_from).transpose();
            person.credentials.push(WholeCredential {
                credential: id(&row.credential_id, "a credential's id")?,
                kind: CredentialKind::of(row.kind).ok_or(GalleryError::Damaged("a credential"))?,
                created: UtcInstant::from_micros(row.created_us),
                revoked: instant(row.revoked_us),
                verifier: verifier.map_err(|_| GalleryError::Damaged("a credential"))?,
            });
        }
    }
    Ok(())
}
