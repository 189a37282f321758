//! The histories that a hub's gallery has had, and whom it took back from its terminals.

use rollcall_core::{GalleryId, PersonId, TemplateId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::GalleryError;
use crate::store::id;
use crate::store::whole::WholeCredential;

const WHAT: &str = "what came back";

/// Begins a history at this revision, in place of `former`.
pub(crate) async fn begin(
    tx: &mut Tx,
    former: GalleryId,
    new: GalleryId,
    revision: i64,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        let known: i64 = sqlx::query_scalar("select coalesce(max(number), 0) from gallery_history")
            .fetch_one(&mut *connection)
            .await?;
        let mut number = known;
        // Of the first one nothing is stored until there is another.
        let histories = [(former, 0, known == 0), (new, revision, true)];
        for (gallery, since, _) in histories.into_iter().filter(|(_, _, missing)| *missing) {
            number += 1;
            sqlx::query(
                "insert into gallery_history (number, gallery_id, since_revision, began_us) values ($1, $2, $3, $4)",
            )
            .bind(number)
            .bind(gallery.as_bytes())
            .bind(since)
            .bind(now.micros())
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query("update gallery_head set gallery_id = $1 where one = 1")
            .bind(new.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Up to which revision the present history and this one are the same. Of one that is not known, which began after the
/// backup that this database was restored from: up to where the present one began. `None` for the present one.
pub(crate) async fn shared_with(tx: &mut Tx, gallery: GalleryId) -> Result<Option<i64>, StoreError> {
    on!(tx, connection => {
        let known: Option<i64> = sqlx::query_scalar("select number from gallery_history where gallery_id = $1")
            .bind(gallery.as_bytes())
            .fetch_optional(&mut *connection)
            .await?;
        match known {
            Some(number) => {
                sqlx::query_scalar("select min(since_revision) from gallery_history where number > $1")
                    .bind(number)
                    .fetch_one(connection)
                    .await
            }
            None => {
                sqlx::query_scalar("select since_revision from gallery_history order by number desc limit 1")
                    .fetch_optional(connection)
                    .await
            }
        }
    })
}

/// What came back of a person.
#[derive(sqlx::FromRow)]
pub(crate) struct TakenRow {
    pub(crate) number: i64,
    person_id: Vec<u8>,
    pub(crate) taken_us: i64,
    pub(crate) outcome: i64,
    other_person_id: Option<Vec<u8>>,
}

impl TakenRow {
    pub(crate) fn person(&self) -> Result<PersonId, GalleryError> {
        id(&self.person_id, WHAT)
    }

    pub(crate) fn other(&self) -> Result<Option<PersonId>, GalleryError> {
        self.other_person_id.as_deref().map(|other| id(other, WHAT)).transpose()
    }
}

/// Notes what came back.
pub(crate) struct Taken {
    pub(crate) person: PersonId,
    pub(crate) row_revision: i64,
    pub(crate) revision: i64,
    pub(crate) outcome: i64,
    pub(crate) other: Option<PersonId>,
}

pub(crate) async fn add(tx: &mut Tx, taken: &Taken, now: UtcInstant) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_taken_back
                (number, person_id, taken_us, row_revision, revision, outcome, other_person_id)
                values ((select coalesce(max(number), 0) + 1 from gallery_taken_back), $1, $2, $3, $4, $5, $6)",
        )
        .bind(taken.person.as_bytes())
        .bind(now.micros())
        .bind(taken.row_revision)
        .bind(taken.revision)
        .bind(taken.outcome)
        .bind(taken.other.as_ref().map(PersonId::as_bytes))
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// The revision that the row had which a person, as they are since this revision, was taken back from.
pub(crate) async fn row_revision(
    tx: &mut Tx,
    person: PersonId,
    revision: i64,
) -> Result<Option<i64>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar(
            "select max(row_revision) from gallery_taken_back
                where person_id = $1 and revision = $2 and outcome in (1, 2)",
        )
        .bind(person.as_bytes())
        .bind(revision)
        .fetch_one(connection)
        .await
    })
}

/// What came back before this number, newest first.
pub(crate) async fn page(tx: &mut Tx, before: i64, limit: usize) -> Result<Vec<TakenRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select number, person_id, taken_us, outcome, other_person_id
                from gallery_taken_back where number < $1 order by number desc limit $2",
        )
        .bind(before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    })
}

/// Takes an external id away.
pub(crate) async fn clear_external_id(tx: &mut Tx, person: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_person set external_id = null, external_id_folded = null where person_id = $1",
        )
        .bind(person.as_bytes())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Notes since when a person is here.
pub(crate) async fn set_created(
    tx: &mut Tx,
    person: PersonId,
    created: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update gallery_person set created_us = $1 where person_id = $2")
            .bind(created.micros())
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Removes the consent ledger, the credentials and the reports of a person, to be written anew.
pub(crate) async fn clear(tx: &mut Tx, person: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        for statement in [
            "delete from gallery_consent where person_id = $1",
            "delete from gallery_credential where person_id = $1",
            "delete from gallery_mismatch where person_id = $1",
        ] {
            sqlx::query(statement).bind(person.as_bytes()).execute(&mut *connection).await?;
        }
        Ok(())
    })
}

/// Removes the templates of a person that are not among these; those that stay.
pub(crate) async fn keep_templates(
    tx: &mut Tx,
    person: PersonId,
    templates: &[TemplateId],
) -> Result<Vec<TemplateId>, GalleryError> {
    let among = match templates.len() {
        0 => String::new(),
        count => {
            let parameters: Vec<String> = (2..2 + count).map(|n| format!("${n}")).collect();
            format!("and template_id not in ({})", parameters.join(", "))
        }
    };
    let sql = format!("delete from gallery_template where person_id = $1 {among}");
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(person.as_bytes());
        for template in templates {
            query = query.bind(template.as_bytes());
        }
        query.execute(&mut *connection).await?;
        sqlx::query_scalar("select template_id from gallery_template where person_id = $1")
            .bind(person.as_bytes())
            .fetch_all(connection)
            .await
    })?;
    rows.iter().map(|row| id(row, "a template")).collect()
}

/// Adds a credential as it was; without what verifies it, it has ended.
pub(crate) async fn add_credential(
    tx: &mut Tx,
    person: PersonId,
    credential: &WholeCredential,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_credential (credential_id, person_id, kind, verifier, created_us, revoked_us)
                values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(credential.credential.as_bytes())
        .bind(person.as_bytes())
        .bind(credential.kind.number())
        .bind(credential.verifier.as_ref().map(|verifier| &verifier[..]))
        .bind(credential.created.micros())
        .bind(credential.revoked.map(UtcInstant::micros))
        .execute(connection)
        .await
        .map(|_| ())
    })
}
