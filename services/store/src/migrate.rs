//! The schema's history: which migrations a database has, and the rest applied.
//!
//! Table `migration`: `name` (`gallery/0001_people`), `sha256` of its text in the SQLite spelling, `applied_at_us`. The
//! list is append-only and goes forward only. A migration and its row are one transaction, so that a crash leaves the
//! old schema or the new one; the next start goes on from there. Text that was applied never changes: on a database
//! that has it the change would do nothing, and no test would show it.

use rollcall_core::UtcInstant;
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

use crate::{Db, Engine, StoreError, Tx, dialect, on};

/// One step of a schema. It holds nothing of the live program: what a type is called today may change tomorrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The service, a slash, a number that sorts, and what it does: `gallery/0001_people`.
    pub name: &'static str,
    /// Statements in the SQLite spelling; `dialect.rs` says what they may contain. No transaction of their own.
    pub sql: &'static str,
}

impl Migration {
    fn service(&self) -> &str {
        self.name.split_once('/').map_or("", |(service, _)| service)
    }

    fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.sql.as_bytes()).to_vec()
    }
}

const TABLE: &str = "\
create table if not exists migration (
    name TEXT not null primary key,
    sha256 BLOB not null,
    applied_at_us INTEGER not null
) STRICT";

/// A migration that a database has.
#[derive(sqlx::FromRow)]
struct AppliedRow {
    name: String,
    sha256: Vec<u8>,
}

/// Applies what is missing, in the order given.
pub(crate) async fn run(db: &Db, migrations: &[&[Migration]]) -> Result<(), StoreError> {
    let migrations: Vec<Migration> = migrations.concat();
    let mut tx = begin(db).await?;
    execute(&mut tx, TABLE).await?;
    let applied = applied(&mut tx).await?;
    tx.commit().await?;
    let pending = pending(&migrations, &applied, db.place())?;
    for migration in pending {
        apply(db, migration).await?;
    }
    Ok(())
}

/// A transaction that no other process migrates beside.
pub(crate) async fn begin(db: &Db) -> Result<Tx, StoreError> {
    /// "rollcall" in ASCII: the lock's number, which no other program should use.
    const LOCK: i64 = 0x726f_6c6c_6361_6c6c;
    let mut tx = db.write().await?;
    if tx.engine() == Engine::Postgres {
        on!(tx, connection => {
            // Another process may migrate for longer than anybody waits for a row.
            sqlx::query("set local lock_timeout = 0").execute(&mut *connection).await?;
            sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(connection).await.map(|_| ())
        })?;
    }
    Ok(tx)
}

async fn execute(tx: &mut Tx, sql: &str) -> Result<(), StoreError> {
    let sql = dialect::schema(tx.engine(), sql);
    on!(tx, connection => sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ()))
}

async fn applied(tx: &mut Tx) -> Result<Vec<AppliedRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as("select name, sha256 from migration order by name").fetch_all(connection).await
    })
}

/// The names of the migrations that a database has, sorted.
pub(crate) async fn names(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    Ok(applied(tx).await?.into_iter().map(|row| row.name).collect())
}

/// Whether this program can go on from the migrations that a database has.
pub(crate) async fn check(tx: &mut Tx, known: &[&[Migration]]) -> Result<(), StoreError> {
    let applied = applied(tx).await?;
    pending(&known.concat(), &applied, tx.place()).map(|_| ())
}

/// Whether a database has every migration of this program and no other.
pub(crate) async fn check_complete(tx: &mut Tx, known: &[&[Migration]]) -> Result<(), StoreError> {
    let (applied, known) = (applied(tx).await?, known.concat());
    match pending(&known, &applied, tx.place())?.first() {
        None => Ok(()),
        Some(missing) => {
            Err(StoreError::Behind { place: tx.place().to_owned(), migration: missing.name.to_owned() })
        }
    }
}

/// Whether a PostgreSQL database has tables of ours.
pub(crate) async fn has_any(tx: &mut Tx) -> Result<bool, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select to_regclass('migration') is not null").fetch_one(connection).await
    })
}

/// Applies these in the transaction, to a database that has none.
pub(crate) async fn apply_all(
    tx: &mut Tx,
    migrations: impl Iterator<Item = &Migration>,
) -> Result<(), StoreError> {
    execute(tx, TABLE).await?;
    for migration in migrations {
        apply_in(tx, migration).await?;
    }
    Ok(())
}

/// The migrations that a database does not have.
fn pending<'a>(
    migrations: &'a [Migration],
    applied: &[AppliedRow],
    place: &str,
) -> Result<Vec<&'a Migration>, StoreError> {
    if let Some(row) = applied.iter().find(|row| migrations.iter().all(|known| known.name != row.name)) {
        return Err(StoreError::Newer { place: place.to_owned(), migration: row.name.clone() });
    }
    let changed = |migration: &Migration, problem| StoreError::MigrationChanged {
        place: place.to_owned(),
        migration: migration.name.to_owned(),
        problem,
    };
    let mut pending: Vec<&Migration> = Vec::new();
    for (position, migration) in migrations.iter().enumerate() {
        if migrations.iter().take(position).any(|earlier| earlier.name == migration.name) {
            return Err(changed(migration, "is there twice"));
        }
        match applied.iter().find(|row| row.name == migration.name) {
            None => pending.push(migration),
            Some(row) if row.sha256 != migration.hash() => {
                return Err(changed(migration, "was changed after it was applied"));
            }
            Some(_) => {
                if let Some(slipped) = pending.iter().find(|one| one.service() == migration.service()) {
                    return Err(changed(slipped, "comes before one that is already applied"));
                }
            }
        }
    }
    Ok(pending)
}

/// Applies one, unless another process has done so meanwhile.
async fn apply(db: &Db, migration: &Migration) -> Result<(), StoreError> {
    let mut tx = begin(db).await?;
    let applied = applied(&mut tx).await?;
    if pending(std::slice::from_ref(migration), &ours(applied, migration), db.place())?.is_empty() {
        return Ok(());
    }
    apply_in(&mut tx, migration).await?;
    tx.commit().await?;
    tracing::info!(migration = migration.name, "migration applied");
    Ok(())
}

async fn apply_in(tx: &mut Tx, migration: &Migration) -> Result<(), StoreError> {
    execute(tx, migration.sql).await.map_err(|error| match error {
        StoreError::Statement { place, source } => {
            StoreError::MigrationFailed { place, migration: migration.name.to_owned(), source }
        }
        error => error,
    })?;
    on!(tx, connection => {
        sqlx::query("insert into migration (name, sha256, applied_at_us) values ($1, $2, $3)")
            .bind(migration.name)
            .bind(migration.hash())
            .bind(UtcInstant::now().micros())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(())
}

fn ours(applied: Vec<AppliedRow>, migration: &Migration) -> Vec<AppliedRow> {
    applied.into_iter().filter(|row| row.name == migration.name).collect()
}
