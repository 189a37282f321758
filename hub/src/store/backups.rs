//! Backups that were read back, and how far each log goes in them.

use std::collections::BTreeMap;

use rollcall_attendance::{ChainHash, Position};
use rollcall_core::{LogId, UtcInstant};
use rollcall_store::{Db, StoreError, Tx, on};

/// A backup that was made by the clock and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The file in the backup folder.
    pub file: String,
    /// When it was made.
    pub made: UtcInstant,
    /// Its size.
    pub size_bytes: i64,
}

/// Notes a backup that was read back, with how far each log goes in it, and that the latest attempt succeeded.
pub async fn insert(db: &Db, backup: &Made, positions: &BTreeMap<LogId, Position>) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("insert into hub_backup (file, made_us, size_bytes, is_there) values ($1, $2, $3, 1)")
            .bind(&backup.file)
            .bind(backup.made.micros())
            .bind(backup.size_bytes)
            .execute(&mut *connection)
            .await?;
        for (log, position) in positions {
            sqlx::query("insert into hub_backup_log (file, log_id, position, hash) values ($1, $2, $3, $4)")
                .bind(&backup.file)
                .bind(log.as_bytes())
                .bind(i64::try_from(position.seq).unwrap_or(i64::MAX))
                .bind(position.hash.as_bytes())
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query("delete from hub_backup_failure").execute(connection).await.map(|_| ())
    })?;
    tx.commit().await
}

/// Notes that the latest attempt failed, and since when that is so. Returns whether it is the first that did.
pub async fn set_failed(db: &Db, problem: &str, now: UtcInstant) -> Result<bool, StoreError> {
    let mut tx = db.write().await?;
    let since: i64 = on!(tx, connection => {
        sqlx::query_scalar(
            "insert into hub_backup_failure (one, since_us, latest_us, problem) values (1, $1, $1, $2)
                on conflict (one) do update set latest_us = excluded.latest_us, problem = excluded.problem
                returning since_us",
        )
        .bind(now.micros())
        .bind(problem)
        .fetch_one(connection)
        .await
    })?;
    tx.commit().await?;
    Ok(since == now.micros())
}

/// What is known of backups by the clock.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Those that are there, newest first.
    pub there: Vec<Made>,
    /// When the latest attempt failed and why; `None`: it succeeded, or there was none.
    pub failed: Option<(UtcInstant, String)>,
}

/// Reads it.
pub async fn known(db: &Db) -> Result<Known, StoreError> {
    let mut tx = db.read().await?;
    let there = list(&mut tx).await?.into_iter().filter(|(_, is_there)| *is_there).map(|(made, _)| made);
    let failed: Option<(i64, String)> = on!(tx, connection => {
        sqlx::query_as("select latest_us, problem from hub_backup_failure").fetch_optional(connection).await
    })?;
    Ok(Known {
        there: there.collect(),
        failed: failed.map(|(latest_us, problem)| (UtcInstant::from_micros(latest_us), problem)),
    })
}

/// Every backup that was not removed, newest first, and whether its file was there when it was last looked for.
pub async fn list(tx: &mut Tx) -> Result<Vec<(Made, bool)>, StoreError> {
    let rows: Vec<(String, i64, i64, i64)> = on!(tx, connection => {
        sqlx::query_as("select file, made_us, size_bytes, is_there from hub_backup order by made_us desc, file desc")
            .fetch_all(connection)
            .await
    })?;
    let made = |(file, made_us, size_bytes, is_there)| {
        (Made { file, made: UtcInstant::from_micros(made_us), size_bytes }, is_there != 0)
    };
    Ok(rows.into_iter().map(made).collect())
}

/// Notes whether the file of a backup is there: one that is missing, with the disk that it is on perhaps, keeps nothing.
pub async fn set_there(db: &Db, file: &str, is_there: bool) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("update hub_backup set is_there = $2 where file = $1")
            .bind(file)
            .bind(i64::from(is_there))
            .execute(connection)
            .await
            .map(|_| ())
    })?;
    tx.commit().await
}

/// Forgets a backup whose file goes: first this, so that nothing counts on a file that is gone.
pub async fn delete(db: &Db, file: &str) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("delete from hub_backup where file = $1").bind(file).execute(connection).await.map(|_| ())
    })?;
    tx.commit().await
}

/// How far a log goes in each of the two newest backups that are there, the newest first; fewer when there are fewer.
pub async fn newest(db: &Db, log: LogId) -> Result<Vec<Position>, StoreError> {
    let mut tx = db.read().await?;
    let rows: Vec<(Option<i64>, Option<Vec<u8>>)> = on!(tx, connection => {
        sqlx::query_as(
            "select l.position, l.hash
                from (select file, made_us from hub_backup where is_there = 1 order by made_us desc, file desc limit 2)
                    as newest
                left join hub_backup_log l on l.file = newest.file and l.log_id = $1
                order by newest.made_us desc, newest.file desc",
        )
        .bind(log.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    let position = |(seq, hash): (Option<i64>, Option<Vec<u8>>)| {
        let seq = u64::try_from(seq?).ok()?;
        Some(Position { seq, hash: ChainHash::try_from(&hash?[..]).ok()? })
    };
    Ok(rows.into_iter().map(|row| position(row).unwrap_or(Position::NONE)).collect())
}
