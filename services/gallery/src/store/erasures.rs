//! Erasures, as stored.

use std::collections::{HashMap, HashSet};

use rollcall_core::{ErasureId, PersonId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::GalleryError;
use crate::erasure::{DeviceErasure, Erasure, Removal};
use crate::store::{id, instant, rows_of_parameters};

const WHAT: &str = "an erasure";

#[derive(sqlx::FromRow)]
struct ErasureRow {
    erasure_id: Vec<u8>,
    person_id: Vec<u8>,
    line: i64,
    erased_us: i64,
}

impl ErasureRow {
    fn read(&self) -> Result<(i64, Erasure), GalleryError> {
        let erasure = Erasure {
            id: id(&self.erasure_id, WHAT)?,
            person: id(&self.person_id, WHAT)?,
            erased: UtcInstant::from_micros(self.erased_us),
            devices: Vec::new(),
        };
        Ok((self.line, erasure))
    }
}

#[derive(sqlx::FromRow)]
struct DeviceRow {
    erasure_id: Vec<u8>,
    device: String,
    confirmed_us: Option<i64>,
}

/// One erasure.
pub(crate) async fn get(tx: &mut Tx, erasure: ErasureId) -> Result<Option<Erasure>, GalleryError> {
    let row: Option<ErasureRow> = on!(tx, connection => {
        sqlx::query_as("select erasure_id, person_id, line, erased_us from gallery_erasure where erasure_id = $1")
            .bind(erasure.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(with_devices(tx, row.as_slice()).await?.pop())
}

/// The erasure of a person.
pub(crate) async fn of(tx: &mut Tx, person: PersonId) -> Result<Option<Erasure>, GalleryError> {
    let row: Option<ErasureRow> = on!(tx, connection => {
        sqlx::query_as("select erasure_id, person_id, line, erased_us from gallery_erasure where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(with_devices(tx, row.as_slice()).await?.pop())
}

/// The erasures before this key, newest first.
pub(crate) async fn page(
    tx: &mut Tx,
    before: Option<(i64, ErasureId)>,
    limit: usize,
) -> Result<Vec<Erasure>, GalleryError> {
    let (before_us, before_id) = before.unwrap_or((i64::MAX, ErasureId::from_bytes([0xff; 16])));
    let rows: Vec<ErasureRow> = on!(tx, connection => {
        sqlx::query_as(
            "select erasure_id, person_id, line, erased_us from gallery_erasure
                where (erased_us, erasure_id) < ($1, $2) order by erased_us desc, erasure_id desc limit $3",
        )
        .bind(before_us)
        .bind(before_id.as_bytes())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    })?;
    with_devices(tx, &rows).await
}

/// Every erasure with its line in the ledger, without the devices.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<(i64, Erasure)>, GalleryError> {
    let rows: Vec<ErasureRow> = on!(tx, connection => {
        sqlx::query_as("select erasure_id, person_id, line, erased_us from gallery_erasure order by line")
            .fetch_all(connection)
            .await
    })?;
    rows.iter().map(ErasureRow::read).collect()
}

async fn with_devices(tx: &mut Tx, rows: &[ErasureRow]) -> Result<Vec<Erasure>, GalleryError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select erasure_id, device, confirmed_us from gallery_erasure_device where erasure_id in {}
            order by erasure_id, device",
        rows_of_parameters(1, rows.len())
    );
    let device_rows: Vec<DeviceRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for row in rows {
            query = query.bind(&row.erasure_id);
        }
        query.fetch_all(connection).await
    })?;
    let mut devices: HashMap<Vec<u8>, Vec<DeviceErasure>> = HashMap::new();
    for row in device_rows {
        let device = DeviceErasure { device: row.device, confirmed: instant(row.confirmed_us) };
        devices.entry(row.erasure_id).or_default().push(device);
    }
    let erasure = |row: &ErasureRow| {
        let (_, erasure) = row.read()?;
        Ok(Erasure { devices: devices.remove(&row.erasure_id).unwrap_or_default(), ..erasure })
    };
    rows.iter().map(erasure).collect()
}

/// Adds a removal under this number, pending on these devices.
pub(crate) async fn insert(
    tx: &mut Tx,
    line: i64,
    removal: &Removal,
    devices: &[String],
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("insert into gallery_erasure (erasure_id, person_id, line, erased_us) values ($1, $2, $3, $4)")
            .bind(removal.erasure.as_bytes())
            .bind(removal.person.as_bytes())
            .bind(line)
            .bind(removal.erased.micros())
            .execute(&mut *connection)
            .await?;
        for device in devices {
            sqlx::query("insert into gallery_erasure_device (erasure_id, device) values ($1, $2)")
                .bind(removal.erasure.as_bytes())
                .bind(device)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    })
}

/// The number of the next erasure, where the database numbers them.
pub(crate) async fn next_line(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select coalesce(max(line), 0) + 1 from gallery_erasure").fetch_one(connection).await
    })
}

/// Those of these people who were erased.
pub(crate) async fn among(tx: &mut Tx, people: &[PersonId]) -> Result<HashSet<PersonId>, GalleryError> {
    const PEOPLE: usize = 100;
    let mut erased = HashSet::new();
    for chunk in people.chunks(PEOPLE) {
        let sql = format!(
            "select person_id from gallery_erasure where person_id in {}",
            rows_of_parameters(1, chunk.len())
        );
        let rows: Vec<Vec<u8>> = on!(tx, connection => {
            let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
            for person in chunk {
                query = query.bind(person.as_bytes());
            }
            query.fetch_all(connection).await
        })?;
        for row in rows {
            erased.insert(id(&row, WHAT)?);
        }
    }
    Ok(erased)
}

/// The erasures that this device has not confirmed.
pub(crate) async fn unconfirmed(tx: &mut Tx, device: &str) -> Result<Vec<ErasureId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(
            "select erasure_id from gallery_erasure_device where device = $1 and confirmed_us is null
                order by erasure_id",
        )
        .bind(device)
        .fetch_all(connection)
        .await
    })?;
    rows.iter().map(|row| id(row, WHAT)).collect()
}

/// Notes that these erasures have taken effect on this device.
pub(crate) async fn confirm(
    tx: &mut Tx,
    erasures: &[ErasureId],
    device: &str,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        for erasure in erasures {
            sqlx::query(
                "update gallery_erasure_device set confirmed_us = $1
                    where erasure_id = $2 and device = $3 and confirmed_us is null",
            )
            .bind(now.micros())
            .bind(erasure.as_bytes())
            .bind(device)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    })
}
