//! Groups, as stored.

use rollcall_core::{GroupId, PersonId};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::group::Group;
use crate::store::{id, rows_of_parameters};
use crate::{GalleryError, person, text};

#[derive(sqlx::FromRow)]
struct GroupRow {
    group_id: Vec<u8>,
    display_name: String,
    version: i64,
    person_count: i64,
}

impl TryFrom<GroupRow> for Group {
    type Error = GalleryError;

    fn try_from(row: GroupRow) -> Result<Self, GalleryError> {
        Ok(Self {
            id: id(&row.group_id, "a group's id")?,
            etag: person::etag(&row.group_id, row.version),
            display_name: row.display_name,
            person_count: row.person_count,
        })
    }
}

macro_rules! select_groups {
    ($rest:literal) => {
        concat!(
            "select g.group_id, g.display_name, g.version,
                (select count(*) from gallery_member m where m.group_id = g.group_id) as person_count
            from gallery_group g ",
            $rest
        )
    };
}

/// One group.
pub(crate) async fn get(tx: &mut Tx, group: GroupId) -> Result<Option<Group>, GalleryError> {
    let row: Option<GroupRow> = on!(tx, connection => {
        sqlx::query_as(select_groups!("where g.group_id = $1"))
            .bind(group.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    row.map(Group::try_from).transpose()
}

/// The groups after this key, by folded name and id.
pub(crate) async fn page(
    tx: &mut Tx,
    after: &(String, Vec<u8>),
    limit: usize,
) -> Result<Vec<Group>, GalleryError> {
    let rows: Vec<GroupRow> = on!(tx, connection => {
        sqlx::query_as(select_groups!(
            "where (g.display_name_folded, g.group_id) > ($1, $2)
            order by g.display_name_folded, g.group_id limit $3"
        ))
        .bind(&after.0)
        .bind(&after.1)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(Group::try_from).collect()
}

/// Whether a group with this name is there, other than `except`.
pub(crate) async fn name_taken(
    tx: &mut Tx,
    display_name: &str,
    except: Option<GroupId>,
) -> Result<bool, StoreError> {
    let found: Option<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select group_id from gallery_group where display_name = $1")
            .bind(display_name)
            .fetch_optional(connection)
            .await
    })?;
    Ok(found.is_some_and(|found| except.is_none_or(|except| found != except.as_bytes())))
}

/// The group with this name.
pub(crate) async fn by_name(tx: &mut Tx, display_name: &str) -> Result<Option<GroupId>, GalleryError> {
    let found: Option<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select group_id from gallery_group where display_name = $1")
            .bind(display_name)
            .fetch_optional(connection)
            .await
    })?;
    found.map(|found| id(&found, "a group's id")).transpose()
}

/// How many groups there are.
pub(crate) async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select count(*) from gallery_group").fetch_one(connection).await)
}

/// The first of these groups that is not there.
pub(crate) async fn first_missing(tx: &mut Tx, groups: &[GroupId]) -> Result<Option<GroupId>, StoreError> {
    if groups.is_empty() {
        return Ok(None);
    }
    let sql = format!(
        "select group_id from gallery_group where group_id in {}",
        rows_of_parameters(1, groups.len())
    );
    let found: Vec<Vec<u8>> = on!(tx, connection => {
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
        for group in groups {
            query = query.bind(group.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    Ok(groups.iter().find(|group| found.iter().all(|found| found != group.as_bytes())).copied())
}

/// Adds a group.
pub(crate) async fn insert(tx: &mut Tx, group: GroupId, display_name: &str) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_group (group_id, display_name, display_name_folded, version)
                values ($1, $2, $3, 1)",
        )
        .bind(group.as_bytes())
        .bind(display_name)
        .bind(text::sort_key(display_name))
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Gives a group another name.
pub(crate) async fn rename(tx: &mut Tx, group: GroupId, display_name: &str) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_group set display_name = $1, display_name_folded = $2, version = version + 1
                where group_id = $3",
        )
        .bind(display_name)
        .bind(text::sort_key(display_name))
        .bind(group.as_bytes())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Who belongs to a group.
pub(crate) async fn members(tx: &mut Tx, group: GroupId) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select person_id from gallery_member where group_id = $1 order by person_id")
            .bind(group.as_bytes())
            .fetch_all(connection)
            .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}

/// Removes a group. Its people stay.
pub(crate) async fn delete(tx: &mut Tx, group: GroupId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_group where group_id = $1")
            .bind(group.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}
