//! Many people at once, as stored: statements that take a hundred rows each.

use rollcall_core::{GroupId, PersonId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::store::{id, rows_of_parameters};
use crate::{GalleryError, text};

/// Rows of one statement.
const ROWS: usize = 100;

/// Somebody to add.
pub(crate) struct NewPerson<'a> {
    pub(crate) person: PersonId,
    pub(crate) display_name: &'a str,
    pub(crate) external_id: Option<&'a str>,
}

/// Somebody who is there, as far as an import compares.
#[derive(sqlx::FromRow)]
pub(crate) struct KnownRow {
    person_id: Vec<u8>,
    pub(crate) external_id: String,
    pub(crate) display_name: String,
}

impl KnownRow {
    pub(crate) fn id(&self) -> Result<PersonId, GalleryError> {
        id(&self.person_id, "a person's id")
    }
}

/// Everybody who has an external id.
pub(crate) async fn known(tx: &mut Tx) -> Result<Vec<KnownRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as("select person_id, external_id, display_name from gallery_person where external_id is not null")
            .fetch_all(connection)
            .await
    })
}

#[derive(sqlx::FromRow)]
struct GroupNameRow {
    group_id: Vec<u8>,
    display_name: String,
}

/// Every group by its name.
pub(crate) async fn group_names(tx: &mut Tx) -> Result<Vec<(String, GroupId)>, GalleryError> {
    let rows: Vec<GroupNameRow> = on!(tx, connection => {
        sqlx::query_as("select group_id, display_name from gallery_group").fetch_all(connection).await
    })?;
    rows.into_iter().map(|row| Ok((row.display_name, id(&row.group_id, "a group's id")?))).collect()
}

/// Adds people whose changes were noted at this revision and the following.
pub(crate) async fn insert_people(
    tx: &mut Tx,
    people: &[NewPerson<'_>],
    first_revision: i64,
    now: UtcInstant,
) -> Result<(), StoreError> {
    for (chunk, first) in people.chunks(ROWS).zip((first_revision..).step_by(ROWS)) {
        let sql = format!(
            "insert into gallery_person (person_id, display_name, display_name_folded, external_id,
                external_id_folded, created_us, revision) values {}",
            rows_of_parameters(chunk.len(), 7)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (new, revision) in chunk.iter().zip(first..) {
                query = query
                    .bind(new.person.as_bytes())
                    .bind(new.display_name)
                    .bind(text::sort_key(new.display_name))
                    .bind(new.external_id)
                    .bind(new.external_id.map(text::sort_key))
                    .bind(now.micros())
                    .bind(revision);
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Adds people to groups.
pub(crate) async fn insert_members(tx: &mut Tx, members: &[(PersonId, GroupId)]) -> Result<(), StoreError> {
    for chunk in members.chunks(ROWS) {
        let sql = format!(
            "insert into gallery_member (person_id, group_id) values {}",
            rows_of_parameters(chunk.len(), 2)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (person, group) in chunk {
                query = query.bind(person.as_bytes()).bind(group.as_bytes());
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Gives a person another name, or the same, at this revision.
pub(crate) async fn rename(
    tx: &mut Tx,
    person: PersonId,
    display_name: &str,
    revision: i64,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_person set display_name = $1, display_name_folded = $2, revision = $3
                where person_id = $4",
        )
        .bind(display_name)
        .bind(text::sort_key(display_name))
        .bind(revision)
        .bind(person.as_bytes())
        .execute(connection)
        .await
        .map(|_| ())
    })
}
