//! The hub's people at a terminal, as stored, and what is known of the hub.

use std::collections::{HashMap, HashSet};

use rollcall_core::{GalleryId, GroupId, PersonId, SiteDay, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::row::Told;
use crate::store::rows::{RowRow, StoredRow, bytes_32};
use crate::store::{id, rows_of_parameters};
use crate::{GalleryError, text};

/// Rows of one statement.
const ROWS: usize = 100;

/// The hub that this terminal belongs to.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) address: String,
    pub(crate) credential_key: Option<Vec<u8>>,
    /// `None`: nothing was pulled yet.
    pub(crate) told: Option<Position>,
}

/// What the hub said that the people here are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) gallery: GalleryId,
    pub(crate) revision: i64,
    pub(crate) history_hash: [u8; 32],
    pub(crate) scope: [u8; 32],
}

#[derive(sqlx::FromRow)]
struct HubRow {
    address: String,
    credential_key: Option<Vec<u8>>,
    gallery_id: Option<Vec<u8>>,
    revision: Option<i64>,
    history_hash: Option<Vec<u8>>,
    scope: Option<Vec<u8>>,
}

/// The hub, if there is one.
pub(crate) async fn hub(tx: &mut Tx) -> Result<Option<Hub>, GalleryError> {
    let row: Option<HubRow> = on!(tx, connection => {
        sqlx::query_as(
            "select address, credential_key, gallery_id, revision, history_hash, scope from gallery_hub where one = 1",
        )
        .fetch_optional(connection)
        .await
    })?;
    let Some(row) = row else { return Ok(None) };
    let told = match (row.gallery_id, row.revision, row.history_hash, row.scope) {
        (Some(gallery), Some(revision), Some(history_hash), Some(scope)) => Some(Position {
            gallery: id(&gallery, "the hub's gallery")?,
            revision,
            history_hash: bytes_32(&history_hash)?,
            scope: bytes_32(&scope)?,
        }),
        _ => None,
    };
    Ok(Some(Hub { address: row.address, credential_key: row.credential_key, told }))
}

/// Notes the hub, and its credential key where it is given.
pub(crate) async fn set_hub(
    tx: &mut Tx,
    address: &str,
    credential_key: Option<&[u8]>,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_hub (one, address, credential_key) values (1, $1, $2)
                on conflict (one) do update set address = excluded.address,
                    credential_key = coalesce(excluded.credential_key, gallery_hub.credential_key)",
        )
        .bind(address)
        .bind(credential_key)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Forgets the hub.
pub(crate) async fn leave_hub(tx: &mut Tx) -> Result<(), StoreError> {
    on!(tx, connection => sqlx::query("delete from gallery_hub").execute(connection).await.map(|_| ()))
}

/// Notes what the hub said last; `None`: nothing of it is here.
pub(crate) async fn set_position(tx: &mut Tx, position: Option<&Position>) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_hub set gallery_id = $1, revision = $2, history_hash = $3, scope = $4 where one = 1",
        )
        .bind(position.map(|told| told.gallery.to_bytes().to_vec()))
        .bind(position.map(|told| told.revision))
        .bind(position.map(|told| told.history_hash.to_vec()))
        .bind(position.map(|told| told.scope.to_vec()))
        .execute(connection)
        .await
        .map(|_| ())
    })
}

#[derive(sqlx::FromRow)]
struct CreatedRow {
    person_id: Vec<u8>,
    created_us: i64,
}

/// Since when those of these people who are here have been.
pub(crate) async fn created(
    tx: &mut Tx,
    people: &[PersonId],
) -> Result<HashMap<PersonId, UtcInstant>, GalleryError> {
    let mut created = HashMap::new();
    for chunk in people.chunks(ROWS) {
        let sql = format!(
            "select person_id, created_us from gallery_person where person_id in {}",
            rows_of_parameters(1, chunk.len())
        );
        let rows: Vec<CreatedRow> = on!(tx, connection => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql));
            for person in chunk {
                query = query.bind(person.as_bytes());
            }
            query.fetch_all(connection).await
        })?;
        for row in rows {
            created.insert(id(&row.person_id, "a person's id")?, UtcInstant::from_micros(row.created_us));
        }
    }
    Ok(created)
}

/// Removes people with all that belongs to them.
pub(crate) async fn delete_people(tx: &mut Tx, people: &[PersonId]) -> Result<(), StoreError> {
    for chunk in people.chunks(ROWS) {
        let sql =
            format!("delete from gallery_person where person_id in {}", rows_of_parameters(1, chunk.len()));
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for person in chunk {
                query = query.bind(person.as_bytes());
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// The hub's people who are here.
pub(crate) async fn of_hub(tx: &mut Tx) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select person_id from gallery_person where from_hub = 1 order by person_id")
            .fetch_all(connection)
            .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}

/// Adds those of these groups that are not there: a terminal knows a hub's groups by their ids.
pub(crate) async fn add_groups(tx: &mut Tx, groups: &HashSet<GroupId>) -> Result<(), GalleryError> {
    let groups: Vec<GroupId> = groups.iter().copied().collect();
    for chunk in groups.chunks(ROWS) {
        let sql = format!(
            "select group_id from gallery_group where group_id in {}",
            rows_of_parameters(1, chunk.len())
        );
        let found: Vec<Vec<u8>> = on!(tx, connection => {
            let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
            for group in chunk {
                query = query.bind(group.as_bytes());
            }
            query.fetch_all(connection).await
        })?;
        for group in chunk.iter().filter(|group| found.iter().all(|found| found != group.as_bytes())) {
            let name = group.to_string();
            on!(tx, connection => {
                sqlx::query(
                    "insert into gallery_group (group_id, display_name, display_name_folded, version, from_hub)
                        values ($1, $2, $2, 1, 1)",
                )
                .bind(group.as_bytes())
                .bind(&name)
                .execute(connection)
                .await
                .map(|_| ())
            })?;
        }
    }
    Ok(())
}

/// Removes the hub's groups that nobody here belongs to.
pub(crate) async fn remove_empty_groups(tx: &mut Tx) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "delete from gallery_group where from_hub = 1
                and not exists (select 1 from gallery_member m where m.group_id = gallery_group.group_id)",
        )
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Somebody of the hub, to be put in place.
pub(crate) struct Arrival {
    pub(crate) row: StoredRow,
    pub(crate) told: Told,
    /// In the order of the templates.
    pub(crate) sealed_templates: Vec<Vec<u8>>,
    pub(crate) leave_day: Option<SiteDay>,
    pub(crate) created: UtcInstant,
}

/// Puts people in place who are not there, as changed at this revision of the device and the following.
pub(crate) async fn insert(
    tx: &mut Tx,
    arrivals: &[Arrival],
    first: i64,
    now: UtcInstant,
) -> Result<(), StoreError> {
    for (chunk, first) in arrivals.chunks(ROWS).zip((first..).step_by(ROWS)) {
        insert_people(tx, chunk, first).await?;
        insert_templates(tx, chunk, now).await?;
        insert_credentials(tx, chunk, now).await?;
        insert_members(tx, chunk).await?;
        insert_reports(tx, chunk).await?;
    }
    Ok(())
}

async fn insert_people(tx: &mut Tx, arrivals: &[Arrival], first: i64) -> Result<(), StoreError> {
    let sql = format!(
        "insert into gallery_person (person_id, display_name, display_name_folded, leave_day, created_us, revision,
            standing_until_us, from_hub, leave_us) values {}",
        rows_of_parameters(arrivals.len(), 9)
    );
    on!(tx, connection => {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (arrival, revision) in arrivals.iter().zip(first..) {
            query = query
                .bind(arrival.row.person.as_bytes())
                .bind(&arrival.told.display_name)
                .bind(text::sort_key(&arrival.told.display_name))
                .bind(arrival.leave_day.map(|day| day.to_string()))
                .bind(arrival.created.micros())
                .bind(revision)
                .bind(arrival.told.face_until.map(UtcInstant::micros))
                .bind(1_i64)
                .bind(arrival.told.leave.map(UtcInstant::micros));
        }
        query.execute(connection).await.map(|_| ())
    })
}

/// How good the pictures were is known to the hub alone.
async fn insert_templates(tx: &mut Tx, arrivals: &[Arrival], now: UtcInstant) -> Result<(), StoreError> {
    let all: Vec<_> = arrivals
        .iter()
        .flat_map(|arrival| {
            let templates = arrival.told.templates.iter().zip(&arrival.sealed_templates);
            templates.map(|(template, sealed)| (arrival.row.person, template, sealed))
        })
        .collect();
    for chunk in all.chunks(ROWS) {
        let sql = format!(
            "insert into gallery_template (template_id, person_id, model_hash, model, sealed, created_us,
                eyes_px, sharpness, yaw_deg, roll_deg, nose_height, brightness, contrast) values {}",
            rows_of_parameters(chunk.len(), 13)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (person, template, sealed) in chunk {
                query = query
                    .bind(template.template.as_bytes())
                    .bind(person.as_bytes())
                    .bind(&template.model_hash[..])
                    .bind(hex::encode(&template.model_hash[..6]))
                    .bind(sealed.as_slice())
                    .bind(now.micros());
                for _unknown in 0..7 {
                    query = query.bind(0.0_f64);
                }
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

async fn insert_credentials(tx: &mut Tx, arrivals: &[Arrival], now: UtcInstant) -> Result<(), StoreError> {
    let of = |arrival: &Arrival| {
        let person = arrival.row.person;
        let credentials: Vec<_> = arrival.told.credentials.iter().map(|one| (person, *one)).collect();
        credentials
    };
    let all: Vec<_> = arrivals.iter().flat_map(of).collect();
    for chunk in all.chunks(ROWS) {
        let sql = format!(
            "insert into gallery_credential (credential_id, person_id, kind, verifier, created_us) values {}",
            rows_of_parameters(chunk.len(), 5)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (person, credential) in chunk {
                query = query
                    .bind(credential.credential.as_bytes())
                    .bind(person.as_bytes())
                    .bind(credential.kind.number())
                    .bind(&credential.verifier[..])
                    .bind(now.micros());
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

async fn insert_members(tx: &mut Tx, arrivals: &[Arrival]) -> Result<(), StoreError> {
    let of = |arrival: &Arrival| {
        let person = arrival.row.person;
        let members: Vec<_> = arrival.told.groups.iter().map(|group| (person, *group)).collect();
        members
    };
    let members: Vec<(PersonId, GroupId)> = arrivals.iter().flat_map(of).collect();
    super::imports::insert_members(tx, &members).await
}

async fn insert_reports(tx: &mut Tx, arrivals: &[Arrival]) -> Result<(), StoreError> {
    let of = |arrival: &Arrival| {
        let person = arrival.row.person;
        let reports: Vec<_> =
            (1_i64..).zip(&arrival.told.reports).map(|(n, one)| (person, n, *one)).collect();
        reports
    };
    let all: Vec<_> = arrivals.iter().flat_map(of).collect();
    for chunk in all.chunks(ROWS) {
        let sql = format!(
            "insert into gallery_told_report (person_id, number, actual_person_id, threshold) values {}",
            rows_of_parameters(chunk.len(), 4)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (person, number, (threshold, actual)) in chunk {
                query = query
                    .bind(person.as_bytes())
                    .bind(number)
                    .bind(actual.as_ref().map(PersonId::as_bytes))
                    .bind(f64::from(*threshold));
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Empties the place where a snapshot comes in.
pub(crate) async fn clear_stage(tx: &mut Tx) -> Result<(), StoreError> {
    on!(tx, connection => sqlx::query("delete from gallery_row_new").execute(connection).await.map(|_| ()))
}

/// Adds rows of a snapshot that is coming in, and people whom it removes.
pub(crate) async fn stage(
    tx: &mut Tx,
    rows: &[StoredRow],
    removed: &[(PersonId, i64)],
) -> Result<(), StoreError> {
    let removed = removed.iter().map(|(person, revision)| {
        let (hash, mac) = ([0; 32], [0; 32]);
        (StoredRow { person: *person, revision: *revision, hash, sealed: Vec::new(), mac }, 1_i64)
    });
    let all: Vec<(StoredRow, i64)> = rows.iter().map(|row| (row.clone(), 0)).chain(removed).collect();
    for chunk in all.chunks(ROWS) {
        let sql = format!(
            "insert into gallery_row_new (person_id, revision, erased, row_hash, sealed, mac) values {}",
            rows_of_parameters(chunk.len(), 6)
        );
        on!(tx, connection => {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (row, erased) in chunk {
                query = query
                    .bind(row.person.as_bytes())
                    .bind(row.revision)
                    .bind(erased)
                    .bind(&row.hash[..])
                    .bind(&row.sealed)
                    .bind(&row.mac[..]);
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// The hashes of the rows that have come in.
pub(crate) async fn staged_hashes(tx: &mut Tx) -> Result<Vec<[u8; 32]>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select row_hash from gallery_row_new where erased = 0").fetch_all(connection).await
    })?;
    rows.iter().map(|hash| bytes_32(hash)).collect()
}

/// Drops whoever was erased from what has come in.
pub(crate) async fn drop_erased(tx: &mut Tx) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_row_new where person_id in (select person_id from gallery_erasure)")
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Drops one person from what has come in.
pub(crate) async fn unstage(tx: &mut Tx, person: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_row_new where person_id = $1")
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// The people here whom what has come in does not have, or says to be gone.
pub(crate) async fn gone(tx: &mut Tx) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(
            "select p.person_id from gallery_person p left join gallery_row_new n on n.person_id = p.person_id
                where (p.from_hub = 1 and n.person_id is null) or n.erased = 1 order by p.person_id",
        )
        .fetch_all(connection)
        .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}

/// The people whose row has come in and is another than the one here.
pub(crate) async fn differing(tx: &mut Tx) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(
            "select n.person_id from gallery_row_new n left join gallery_row r on r.person_id = n.person_id
                where n.erased = 0 and (r.person_id is null or r.row_hash <> n.row_hash) order by n.person_id",
        )
        .fetch_all(connection)
        .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}

/// The rows of these people that have come in, at most a page.
pub(crate) async fn staged(tx: &mut Tx, people: &[PersonId]) -> Result<Vec<StoredRow>, GalleryError> {
    let sql = format!(
        "select person_id, revision, row_hash, sealed, mac from gallery_row_new where person_id in {}",
        rows_of_parameters(1, people.len())
    );
    let rows: Vec<RowRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for person in people {
            query = query.bind(person.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    rows.into_iter().map(StoredRow::try_from).collect()
}

/// Where what has come in is what is here, only its revision and code are new.
pub(crate) async fn renew_same(tx: &mut Tx) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_row set revision = n.revision, mac = n.mac from gallery_row_new n
                where n.person_id = gallery_row.person_id and n.row_hash = gallery_row.row_hash and n.erased = 0",
        )
        .execute(connection)
        .await
        .map(|_| ())
    })
}
