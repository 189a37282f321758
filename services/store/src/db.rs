//! [`Db`]: one database on either engine.
//!
//! SQLite: one connection writes, a few read; a file is used by one process (`DataFolder` sees to that). PostgreSQL: a
//! pool; several processes share a database, so a write locks the rows that it decides on (`dialect::for_update`).
//!
//! On disk, SQLite: `NAME.db`, and beside it while it is open `NAME.db-wal` (commits that are not yet in the file, kept
//! by a crash and taken in at the next start; a torn tail loses only what was never told to be committed) and
//! `NAME.db-shm` (made anew at each start).
//!
//! Transactions begin in tasks of their own: sqlx 0.9.0 leaves a transaction open in the pool when the caller of a
//! PostgreSQL `begin` is dropped between its question and the answer, and a caller may be dropped at any await.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::limits;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Database, Pool, Postgres, Sqlite, Transaction};
use tokio_util::task::TaskTracker;

use crate::migrate::{self, Migration};
use crate::settings::{self, Access, SqliteOptions};
use crate::{Engine, StoreError, Tx, on};

/// A database with its schema up to date. A clone is another handle to the same.
#[derive(Clone)]
pub enum Db {
    /// A file of this machine.
    Sqlite(SqliteDb),
    /// A database of a PostgreSQL server.
    Postgres(PostgresDb),
}

/// See [`Db::open_sqlite`].
#[derive(Clone)]
pub struct SqliteDb {
    readers: Pool<Sqlite>,
    writer: Pool<Sqlite>,
    begins: TaskTracker,
    path: Arc<Path>,
    place: Arc<str>,
}

/// See [`Db::connect_postgres`].
#[derive(Clone)]
pub struct PostgresDb {
    pool: Pool<Postgres>,
    begins: TaskTracker,
    place: Arc<str>,
}

impl Db {
    /// Opens the file, makes it when it is not there, and applies the migrations that it does not have yet.
    ///
    /// # Errors
    /// A damaged file, a setting that does not hold, a schema of a newer program, a failed migration.
    pub async fn open_sqlite(
        path: &Path,
        options: SqliteOptions,
        migrations: &[&[Migration]],
    ) -> Result<Self, StoreError> {
        let sqlite = SqliteDb::at(path, options);
        sqlite.check(options).await?;
        let db = Self::Sqlite(sqlite);
        migrate::run(&db, migrations).await?;
        Ok(db)
    }

    /// A file of a program that may be running, to read it and to back it up. Its schema is left as it is; it is not made
    /// when it is not there.
    pub fn sqlite_of_another(path: &Path) -> Self {
        Self::Sqlite(SqliteDb::at(path, SqliteOptions::default()))
    }

    /// Connects, and applies the migrations that the database does not have yet. Processes that start at once do so
    /// one after the other. `url` is `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; `?host=/FOLDER` for a Unix socket.
    /// The connection is not encrypted: over a network that others use, put it into a tunnel.
    ///
    /// # Errors
    /// A server that cannot be reached, a schema of a newer program, a failed migration.
    pub async fn connect_postgres(url: &str, migrations: &[&[Migration]]) -> Result<Self, StoreError> {
        let db = Self::postgres_of_another(url)?;
        migrate::run(&db, migrations).await?;
        Ok(db)
    }

    /// A database of programs that may be running, to read it and to back it up. Its schema is left as it is. `url` is as
    /// for [`Db::connect_postgres`]; nothing is connected yet.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn postgres_of_another(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse().map_err(|error| StoreError::wrap(error, "URL"))?;
        let place = format!("{} on {}", options.get_database().unwrap_or("postgres"), options.get_host());
        let options = options
            .application_name("rollcall")
            .options([
                // A server that is set to lose its last commits in a crash does not lose ours.
                ("synchronous_commit", "on".to_owned()),
                ("lock_timeout", limits::DATABASE_PATIENCE_MS.to_string()),
                ("idle_in_transaction_session_timeout", limits::DATABASE_IDLE_MS.to_string()),
            ])
            .disable_statement_logging();
        Ok(Self::Postgres(PostgresDb {
            pool: pool_options(limits::DATABASE_CONNECTIONS).connect_lazy_with(options),
            begins: TaskTracker::new(),
            place: place.into(),
        }))
    }

    /// Begins to read. All that is read in this transaction is of one moment, that of its first statement.
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(db) => {
                let transaction = begin(&db.begins, &db.readers, "begin deferred", &db.place).await?;
                Ok(Tx::sqlite(transaction, Arc::clone(&db.place)))
            }
            Self::Postgres(db) => {
                let statement = "begin isolation level repeatable read read only";
                let transaction = begin(&db.begins, &db.pool, statement, &db.place).await?;
                Ok(Tx::postgres(transaction, Arc::clone(&db.place)))
            }
        }
    }

    /// Begins to write. On SQLite there is one writer at a time; on PostgreSQL there are many, and a value that a
    /// decision rests on is read with [`crate::dialect::for_update`].
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(db) => {
                let transaction = begin(&db.begins, &db.writer, "begin immediate", &db.place).await?;
                Ok(Tx::sqlite(transaction, Arc::clone(&db.place)))
            }
            Self::Postgres(db) => {
                let statement = "begin isolation level read committed read write";
                let transaction = begin(&db.begins, &db.pool, statement, &db.place).await?;
                Ok(Tx::postgres(transaction, Arc::clone(&db.place)))
            }
        }
    }

    /// Which of the two it is.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// The file, or the database and its server, for messages.
    pub fn place(&self) -> &str {
        match self {
            Self::Sqlite(db) => &db.place,
            Self::Postgres(db) => &db.place,
        }
    }

    /// Waits until every transaction has ended, and closes the connections. SQLite's log is then part of the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(db) => {
                db.readers.close().await;
                db.writer.close().await;
            }
            Self::Postgres(db) => db.pool.close().await,
        }
    }
}

impl SqliteDb {
    /// With connections that open when they are needed.
    fn at(path: &Path, options: SqliteOptions) -> Self {
        let pool = |access, connections| {
            pool_options(connections)
                .test_before_acquire(false)
                .max_lifetime(None)
                .idle_timeout(None)
                .after_release(|connection, _| Box::pin(is_free(connection)))
                .connect_lazy_with(settings::connect_options(path, options, access))
        };
        Self {
            writer: pool(Access::Writer, 1),
            readers: pool(Access::Reader, limits::DATABASE_READERS),
            begins: TaskTracker::new(),
            path: path.into(),
            place: path.display().to_string().into(),
        }
    }

    /// Opens every connection and reads its settings back.
    async fn check(&self, options: SqliteOptions) -> Result<(), StoreError> {
        let pools =
            [(Access::Writer, &self.writer, 1), (Access::Reader, &self.readers, limits::DATABASE_READERS)];
        for (access, pool, connections) in pools {
            // All held at once, so that each is another one.
            let mut held = Vec::new();
            for _ in 0..connections {
                let connection = pool.acquire().await;
                let mut connection = connection.map_err(|error| StoreError::wrap(error, &self.place))?;
                settings::check(&mut connection, &self.place, options, access).await?;
                held.push(connection);
            }
        }
        Ok(())
    }
}

/// Whether a connection that comes back has no transaction. After a commit that failed (a full disk) SQLite has rolled
/// back by itself, and sqlx 0.9.0 goes on to count a transaction: such a connection begins none any more, and is closed.
async fn is_free(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The roll back of a dropped transaction waits before this in the connection's queue.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

fn pool_options<D: Database>(connections: u32) -> PoolOptions<D> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_millis(limits::DATABASE_PATIENCE_MS))
}

async fn begin<D: Database>(
    begins: &TaskTracker,
    pool: &Pool<D>,
    statement: &'static str,
    place: &str,
) -> Result<Transaction<'static, D>, StoreError> {
    let pool = pool.clone();
    match begins.spawn(async move { pool.begin_with(statement).await }).await {
        Ok(begun) => begun.map_err(|error| StoreError::wrap(error, place)),
        Err(_) => Err(StoreError::Stopping),
    }
}

/// Looks for damage in every page (SQLite; as long as reading the file takes). PostgreSQL looks after itself.
///
/// # Errors
/// [`StoreError::Damaged`] with the first things found.
pub async fn check_integrity(db: &Db) -> Result<(), StoreError> {
    if db.engine() == Engine::Postgres {
        return Ok(());
    }
    look_for_damage(&mut db.read().await?, "pragma quick_check(5)").await
}

/// The same for a copy ([`read_copy`]), and also whether every index has every row.
pub(crate) async fn check_every_page(tx: &mut Tx) -> Result<(), StoreError> {
    look_for_damage(tx, "pragma integrity_check(5)").await
}

async fn look_for_damage(tx: &mut Tx, pragma: &'static str) -> Result<(), StoreError> {
    let findings: Vec<String> =
        on!(tx, connection => sqlx::query_scalar(pragma).fetch_all(connection).await)?;
    if findings == ["ok"] {
        return Ok(());
    }
    Err(StoreError::Damaged { place: tx.place().to_owned(), detail: findings.join("; ") })
}

/// Copies a SQLite file as it is at this moment, without its free pages, while it is written to.
pub(crate) async fn copy_sqlite(db: &SqliteDb, to: &Path) -> Result<(), StoreError> {
    let options = settings::connect_options(&db.path, SqliteOptions::default(), Access::Writer);
    let copied = async {
        // A connection of its own: the readers' may not write, and the writer shall go on.
        let mut connection = options.create_if_missing(false).connect().await?;
        sqlx::query("vacuum into $1").bind(to.to_string_lossy()).execute(&mut connection).await?;
        connection.close().await
    };
    copied.await.map_err(|error| StoreError::wrap(error, &db.place))
}

/// Begins to read a SQLite file that nobody writes to. Nothing is made beside it.
pub(crate) async fn read_copy(path: &Path) -> Result<Tx, StoreError> {
    let place: Arc<str> = path.display().to_string().into();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true)
        .pragma("trusted_schema", "0")
        .pragma("cell_size_check", "1")
        .disable_statement_logging();
    let pool = pool_options::<Sqlite>(1).connect_lazy_with(options);
    let transaction = pool.begin_with("begin deferred").await;
    Ok(Tx::sqlite(transaction.map_err(|error| StoreError::wrap(error, &place))?, place))
}

/// Takes SQLite's log into the file and empties it, so that nothing which was deleted is left in it. Waits for readers,
/// at most [`limits::DATABASE_PATIENCE_MS`]. Nothing to do on PostgreSQL.
///
/// # Errors
/// [`StoreError::Unavailable`] when a reader holds an older moment all that time.
pub async fn checkpoint(db: &Db) -> Result<(), StoreError> {
    let Db::Sqlite(db) = db else { return Ok(()) };
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("pragma wal_checkpoint(truncate)")
        .fetch_one(&db.writer)
        .await
        .map_err(|error| StoreError::wrap(error, &db.place))?;
    if busy == 0 {
        return Ok(());
    }
    Err(StoreError::Unavailable { place: db.place.to_string(), source: sqlx::Error::PoolTimedOut })
}

/// Writes the file anew without its free pages. Takes room and time as the file does. Nothing to do on PostgreSQL.
///
/// # Errors
/// A full disk, mostly; the file is then as before.
pub async fn vacuum(db: &Db) -> Result<(), StoreError> {
    let Db::Sqlite(db) = db else { return Ok(()) };
    let done = sqlx::query("vacuum").execute(&db.writer).await;
    done.map(|_| ()).map_err(|error| StoreError::wrap(error, &db.place))
}
