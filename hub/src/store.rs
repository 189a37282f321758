//! What a hub knows of itself, and every statement about that: who it is and which key its people are sealed with, here;
//! which backups there are, in `store/backups.rs`. All processes over one database share it.

use rollcall_core::TerminalId;
use rollcall_store::{Db, Migration, StoreError, on};

pub mod backups;

/// The tables.
pub const MIGRATIONS: &[Migration] = &[HEAD, BACKUPS];

const HEAD: Migration = Migration {
    name: "hub/0001_head",
    sql: "create table hub_head (
            one INTEGER not null primary key check (one = 1),
            -- What the hub's own log knows it by.
            hub_id BLOB not null,
            -- Tells gallery.key from another key, and does not tell the key.
            key_fingerprint BLOB,
            -- SHA-256 of the restored.json that the hub has taken notice of.
            restored_sha256 BLOB,
            -- 1: it was made of a backup, and its gallery has not begun a new history since.
            is_stepped_back INTEGER not null check (is_stepped_back in (0, 1))
        ) STRICT;",
};

const BACKUPS: Migration = Migration {
    name: "hub/0002_backups",
    sql: "create table hub_backup (
            -- Its name in the backup folder.
            file TEXT not null primary key,
            made_us INTEGER not null,
            size_bytes INTEGER not null,
            is_there INTEGER not null check (is_there in (0, 1))
        ) STRICT;
        create index hub_backup_by_time on hub_backup (made_us);

        -- The last event of a log that is in it: its number, and the chain there.
        create table hub_backup_log (
            file TEXT not null references hub_backup (file) on delete cascade,
            log_id BLOB not null,
            position INTEGER not null,
            hash BLOB not null,
            primary key (file, log_id)
        ) STRICT;

        -- At most one row: the latest attempt failed.
        create table hub_backup_failure (
            one INTEGER not null primary key check (one = 1),
            since_us INTEGER not null,
            latest_us INTEGER not null,
            problem TEXT not null
        ) STRICT;",
};

/// What is known.
pub struct Head {
    /// Who the hub is, among the terminals that have logs.
    pub hub: TerminalId,
    /// Of the key that people are sealed with; `None` before there is one.
    pub key_fingerprint: Option<Vec<u8>>,
    /// Of the backup's listing that it was restored from, once that was taken notice of.
    pub restored_sha256: Option<Vec<u8>>,
    /// Whether it was restored, and its gallery has not begun a new history since.
    pub is_stepped_back: bool,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    hub_id: Vec<u8>,
    key_fingerprint: Option<Vec<u8>>,
    restored_sha256: Option<Vec<u8>>,
    is_stepped_back: i64,
}

/// Reads it; it is made at the first call.
pub async fn head(db: &Db) -> Result<Head, StoreError> {
    let fresh = TerminalId::generate();
    let mut tx = db.write().await?;
    let row: HeadRow = on!(tx, connection => {
        sqlx::query_as(
            "insert into hub_head (one, hub_id, is_stepped_back) values (1, $1, 0)
                on conflict (one) do update set hub_id = hub_head.hub_id
                returning hub_id, key_fingerprint, restored_sha256, is_stepped_back",
        )
        .bind(fresh.as_bytes())
        .fetch_one(connection)
        .await
    })?;
    tx.commit().await?;
    let damaged =
        || StoreError::Damaged { place: db.place().to_owned(), detail: "the hub's id is none".into() };
    Ok(Head {
        hub: TerminalId::try_from(&row.hub_id[..]).map_err(|_| damaged())?,
        key_fingerprint: row.key_fingerprint,
        restored_sha256: row.restored_sha256,
        is_stepped_back: row.is_stepped_back != 0,
    })
}

/// Notes the key that people are sealed with.
pub async fn set_key_fingerprint(db: &Db, fingerprint: &[u8; 32]) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("update hub_head set key_fingerprint = $1 where one = 1")
            .bind(&fingerprint[..])
            .execute(connection)
            .await
            .map(|_| ())
    })?;
    tx.commit().await
}

/// Notes that the hub was made of the backup with this listing: its gallery has to begin a new history.
pub async fn set_restored(db: &Db, listing_sha256: &[u8; 32]) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("update hub_head set restored_sha256 = $1, is_stepped_back = 1 where one = 1")
            .bind(&listing_sha256[..])
            .execute(connection)
            .await
            .map(|_| ())
    })?;
    tx.commit().await
}

/// Notes that the gallery has begun a new history.
pub async fn set_gone_on(db: &Db) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("update hub_head set is_stepped_back = 0 where one = 1").execute(connection).await.map(|_| ())
    })?;
    tx.commit().await
}
