//! The rows of a hub, the chain over its changes, and what terminals are sent of them.

use std::collections::HashMap;

use rollcall_core::{GalleryId, GroupId, PersonId};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::GalleryError;
use crate::store::{id, rows_of_parameters};

/// Rows of one statement.
const ROWS: usize = 100;

/// Up to where rows and chain are made.
pub(crate) struct Head {
    pub(crate) gallery: GalleryId,
    pub(crate) revision: i64,
    /// `None`: none was ever made.
    pub(crate) made_by: Option<Vec<u8>>,
    /// The chain at that revision.
    pub(crate) history_hash: Option<[u8; 32]>,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    gallery_id: Vec<u8>,
    rows_revision: i64,
    rows_made_by: Option<Vec<u8>>,
    history_hash: Option<Vec<u8>>,
}

/// A row as stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredRow {
    pub(crate) person: PersonId,
    pub(crate) revision: i64,
    pub(crate) hash: [u8; 32],
    pub(crate) sealed: Vec<u8>,
    pub(crate) mac: [u8; 32],
}

#[derive(sqlx::FromRow)]
pub(crate) struct RowRow {
    person_id: Vec<u8>,
    revision: i64,
    row_hash: Vec<u8>,
    sealed: Vec<u8>,
    mac: Vec<u8>,
}

impl TryFrom<RowRow> for StoredRow {
    type Error = GalleryError;

    fn try_from(row: RowRow) -> Result<Self, GalleryError> {
        Ok(Self {
            person: id(&row.person_id, "a person's id")?,
            revision: row.revision,
            hash: bytes_32(&row.row_hash)?,
            sealed: row.sealed,
            mac: bytes_32(&row.mac)?,
        })
    }
}

pub(crate) fn bytes_32(bytes: &[u8]) -> Result<[u8; 32], GalleryError> {
    bytes.try_into().map_err(|_| GalleryError::Damaged("a person's row"))
}

/// See [`Head`].
pub(crate) async fn head(tx: &mut Tx) -> Result<Head, GalleryError> {
    let row: HeadRow = on!(tx, connection => {
        sqlx::query_as(
            "select gallery_id, rows_revision, rows_made_by, history_hash from gallery_head where one = 1",
        )
        .fetch_one(connection)
        .await
    })?;
    Ok(Head {
        gallery: id(&row.gallery_id, "the gallery's id")?,
        revision: row.rows_revision,
        made_by: row.rows_made_by,
        history_hash: row.history_hash.as_deref().map(bytes_32).transpose()?,
    })
}

/// Rows and chain are made up to here.
pub(crate) async fn set_head(tx: &mut Tx, revision: i64, history_hash: &[u8; 32]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update gallery_head set rows_revision = $1, history_hash = $2 where one = 1")
            .bind(revision)
            .bind(&history_hash[..])
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Notes by which format and key all rows are made from now on.
pub(crate) async fn set_made_by(tx: &mut Tx, made_by: &[u8; 32]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update gallery_head set rows_made_by = $1 where one = 1")
            .bind(&made_by[..])
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Puts rows in the place of those of the same people.
pub(crate) async fn put(tx: &mut Tx, rows: &[StoredRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS) {
        let sql = format!(
            "insert into gallery_row (person_id, revision, row_hash, sealed, mac) values {}
                on conflict (person_id) do update set revision = excluded.revision, row_hash = excluded.row_hash,
                    sealed = excluded.sealed, mac = excluded.mac",
            rows_of_parameters(chunk.len(), 5)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in chunk {
                query = query
                    .bind(row.person.as_bytes())
                    .bind(row.revision)
                    .bind(&row.hash[..])
                    .bind(&row.sealed)
                    .bind(&row.mac[..]);
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Adds links to the chain, and forgets those up to `forgotten`.
pub(crate) async fn add_links(
    tx: &mut Tx,
    links: &[(i64, [u8; 32])],
    forgotten: i64,
) -> Result<(), StoreError> {
    for chunk in links.chunks(ROWS) {
        let sql = format!(
            "insert into gallery_chain (revision, history_hash) values {}",
            rows_of_parameters(chunk.len(), 2)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (revision, hash) in chunk {
                query = query.bind(revision).bind(&hash[..]);
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    on!(tx, connection => {
        sqlx::query("delete from gallery_chain where revision <= $1")
            .bind(forgotten)
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// The chain after a change; `None` when it is no longer kept, or was never made.
pub(crate) async fn link(tx: &mut Tx, revision: i64) -> Result<Option<[u8; 32]>, GalleryError> {
    let found: Option<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select history_hash from gallery_chain where revision = $1")
            .bind(revision)
            .fetch_optional(connection)
            .await
    })?;
    found.as_deref().map(bytes_32).transpose()
}

/// The oldest change whose chain is kept.
pub(crate) async fn oldest_link(tx: &mut Tx) -> Result<Option<i64>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select min(revision) from gallery_chain").fetch_one(connection).await
    })
}

/// The condition that a person, `p.person_id`, is in one of so many groups, which are bound from parameter `first` on.
fn in_groups(groups: usize, first: usize) -> String {
    match groups {
        0 => String::new(),
        groups => {
            let parameters: Vec<String> = (first..first + groups).map(|n| format!("${n}")).collect();
            format!(
                "and exists (select 1 from gallery_member m
                    where m.person_id = p.person_id and m.group_id in ({}))",
                parameters.join(", ")
            )
        }
    }
}

/// The hashes of the rows of the people of these groups; of none: everybody's.
pub(crate) async fn hashes(tx: &mut Tx, groups: &[GroupId]) -> Result<Vec<[u8; 32]>, GalleryError> {
    let sql = format!("select p.row_hash from gallery_row p where 1 = 1 {}", in_groups(groups.len(), 1));
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
        for group in groups {
            query = query.bind(group.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    rows.iter().map(|hash| bytes_32(hash)).collect()
}

/// The hash of everybody's row, by person.
pub(crate) async fn hashes_by_person(tx: &mut Tx) -> Result<HashMap<PersonId, [u8; 32]>, GalleryError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = on!(tx, connection => {
        sqlx::query_as("select person_id, row_hash from gallery_row").fetch_all(connection).await
    })?;
    rows.iter().map(|(person, hash)| Ok((id(person, "a person's id")?, bytes_32(hash)?))).collect()
}

/// The rows of these groups' people after a person, in the order of their ids.
pub(crate) async fn page(
    tx: &mut Tx,
    groups: &[GroupId],
    after: Option<PersonId>,
    limit: usize,
) -> Result<Vec<StoredRow>, GalleryError> {
    let sql = format!(
        "select p.person_id, p.revision, p.row_hash, p.sealed, p.mac from gallery_row p
            where p.person_id > $1 {} order by p.person_id limit $2",
        in_groups(groups.len(), 3)
    );
    let rows: Vec<RowRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(after.map_or(Vec::new(), |after| after.to_bytes().to_vec()))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        for group in groups {
            query = query.bind(group.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    rows.into_iter().map(StoredRow::try_from).collect()
}

/// Those of these people's rows that there are, at most a page of them, whose people are in these groups.
pub(crate) async fn of(
    tx: &mut Tx,
    people: &[PersonId],
    groups: &[GroupId],
) -> Result<Vec<StoredRow>, GalleryError> {
    if people.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select p.person_id, p.revision, p.row_hash, p.sealed, p.mac from gallery_row p where p.person_id in {} {}",
        rows_of_parameters(1, people.len()),
        in_groups(groups.len(), people.len() + 1)
    );
    let rows: Vec<RowRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for person in people {
            query = query.bind(person.as_bytes());
        }
        for group in groups {
            query = query.bind(group.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    rows.into_iter().map(StoredRow::try_from).collect()
}

/// Forgets what a person's row holds, and not that there is one: its templates have ended by their date.
pub(crate) async fn blank(tx: &mut Tx, person: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update gallery_row set sealed = $1 where person_id = $2")
            .bind(Vec::<u8>::new())
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Everybody, in the order of their ids.
pub(crate) async fn everybody(tx: &mut Tx) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select person_id from gallery_person order by person_id").fetch_all(connection).await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}

/// People with a last day.
pub(crate) async fn leaving(tx: &mut Tx) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select person_id from gallery_person where leave_day is not null and from_hub = 0
            order by person_id")
            .fetch_all(connection)
            .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}
