//! Every row of a PostgreSQL database in a SQLite file, which is then its backup, and back.
//!
//! The file is made by the same migrations as the database, so its STRICT tables say what each column of both holds, and
//! in which order tables refer to each other. What was written is read again and compared, row by row, by a sum of hashes:
//! before a backup counts, and before a restore is committed.
//!
//! A backup sees one moment (repeatable read). A restore is one transaction into a database without tables of ours: there
//! is all of it or nothing.

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use rollcall_core::limits;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::mpsc;

use crate::migrate::{self, Migration};
use crate::{Db, SqliteOptions, StoreError, Tx, db, on};

/// The table of migrations, which the migrations fill.
const MIGRATION: &str = "migration";

/// Copies a database as it is at this moment to the file `to`, which is not there yet.
pub(crate) async fn to_file(from: &Db, to: &Path, known: &[&[Migration]]) -> Result<(), StoreError> {
    let mut from = from.read().await?;
    migrate::check_complete(&mut from, known).await?;
    let file = Db::open_sqlite(to, SqliteOptions::default(), known).await?;
    let copied = async {
        let mut to = file.write().await?;
        let tables = tables(&mut to).await?;
        let written = copy(&mut from, &mut to, &tables).await?;
        to.commit().await?;
        compare(&mut file.read().await?, &tables, &written).await
    };
    let copied = copied.await;
    // Closed, it is one file.
    file.close().await;
    copied
}

/// Fills a PostgreSQL database with the rows of a file that [`Db`] of it was backed up to. The schema is the file's; the
/// next start brings it up to date. `known` are the migrations of this program.
///
/// # Errors
/// [`StoreError::Occupied`] when the database has tables of ours already; a file of a newer program. Nothing was changed.
pub async fn restore_postgres(file: &Path, url: &str, known: &[&[Migration]]) -> Result<(), StoreError> {
    let mut from = db::read_copy(file).await?;
    migrate::check(&mut from, known).await?;
    let of_file = migrate::names(&mut from).await?;
    let db = Db::postgres_of_another(url)?;
    let restored = async {
        let mut to = migrate::begin(&db).await?;
        check_empty(&mut to).await?;
        let is_in_file = |migration: &&Migration| of_file.iter().any(|name| name == migration.name);
        let migrations = known.concat();
        migrate::apply_all(&mut to, migrations.iter().filter(is_in_file)).await?;
        let tables = tables(&mut from).await?;
        let written = copy(&mut from, &mut to, &tables).await?;
        compare(&mut to, &tables, &written).await?;
        to.commit().await
    };
    let restored = restored.await;
    db.close().await;
    restored
}

/// Looks that a PostgreSQL database has no tables of ours, so that [`restore_postgres`] may fill it.
///
/// # Errors
/// [`StoreError::Occupied`]; a server that cannot be reached.
pub async fn check_empty_postgres(url: &str) -> Result<(), StoreError> {
    let db = Db::postgres_of_another(url)?;
    let checked = async { check_empty(&mut db.read().await?).await };
    let checked = checked.await;
    db.close().await;
    checked
}

async fn check_empty(tx: &mut Tx) -> Result<(), StoreError> {
    match migrate::has_any(tx).await? {
        false => Ok(()),
        true => Err(StoreError::Occupied {
            path: PathBuf::from(tx.place()),
            problem:
                "has the tables of a hub already; restore to an empty database, or drop what is in this one"
                    .to_owned(),
        }),
    }
}

/// A table, as SQLite tells it.
struct Table {
    name: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    holds: Holds,
}

#[derive(Clone, Copy)]
enum Holds {
    Whole,
    Real,
    Text,
    Bytes,
}

/// What is in one column of one row.
enum Value {
    Whole(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Rows on their way.
#[derive(Default)]
struct Batch {
    rows: Vec<Vec<Value>>,
    size_bytes: usize,
}

/// How many rows a table has, and the sum of their hashes, which does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    rows: u64,
    sum: u128,
}

/// The tables of a SQLite database but that of migrations, each after those that it refers to.
async fn tables(tx: &mut Tx) -> Result<Vec<Table>, StoreError> {
    let mut names: Vec<String> = on!(tx, connection => {
        sqlx::query_scalar(
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite%' and name <> $1
                order by name",
        )
        .bind(MIGRATION)
        .fetch_all(connection)
        .await
    })?;
    let mut sorted: Vec<Table> = Vec::with_capacity(names.len());
    while !names.is_empty() {
        let mut rest = Vec::new();
        let before = sorted.len();
        for name in names {
            let parents: Vec<String> = on!(tx, connection => {
                sqlx::query_scalar("select \"table\" from pragma_foreign_key_list($1)")
                    .bind(&name)
                    .fetch_all(connection)
                    .await
            })?;
            let is_there = |parent: &String| sorted.iter().any(|table| table.name == *parent);
            match parents.iter().all(is_there) {
                true => sorted.push(Table { columns: columns(tx, &name).await?, name }),
                false => rest.push(name),
            }
        }
        if sorted.len() == before {
            return Err(damaged(
                tx,
                format!("the tables {} refer to themselves or in a circle", rest.join(", ")),
            ));
        }
        names = rest;
    }
    Ok(sorted)
}

async fn columns(tx: &mut Tx, table: &str) -> Result<Vec<Column>, StoreError> {
    let rows: Vec<(String, String)> = on!(tx, connection => {
        sqlx::query_as("select name, type from pragma_table_info($1) order by cid")
            .bind(table)
            .fetch_all(connection)
            .await
    })?;
    let mut columns = Vec::with_capacity(rows.len());
    for (name, kind) in rows {
        let holds = match kind.as_str() {
            "INTEGER" => Holds::Whole,
            "REAL" => Holds::Real,
            "TEXT" => Holds::Text,
            "BLOB" => Holds::Bytes,
            other => return Err(damaged(tx, format!("column {name} of {table} is of the type {other}"))),
        };
        columns.push(Column { name, holds });
    }
    Ok(columns)
}

fn damaged(tx: &Tx, detail: String) -> StoreError {
    StoreError::Damaged { place: tx.place().to_owned(), detail }
}

impl Table {
    fn quoted_columns(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        names.join(", ")
    }

    fn select(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("select {} from \"{}\"", self.quoted_columns(), self.name))
    }

    fn insert(&self, rows: usize) -> AssertSqlSafe<String> {
        let width = self.columns.len();
        let row = |row: usize| {
            let places: Vec<String> = (1..=width).map(|place| format!("${}", row * width + place)).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        AssertSqlSafe(format!(
            "insert into \"{}\" ({}) values {}",
            self.name,
            self.quoted_columns(),
            rows.join(", ")
        ))
    }

    fn delete(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("delete from \"{}\"", self.name))
    }
}

/// Writes the rows of every table in the place of those that migrations have made.
async fn copy(from: &mut Tx, to: &mut Tx, tables: &[Table]) -> Result<Vec<Tally>, StoreError> {
    for table in tables.iter().rev() {
        on!(to, connection => sqlx::query(table.delete()).execute(connection).await.map(|_| ()))?;
    }
    let mut written = Vec::with_capacity(tables.len());
    for table in tables {
        let (batches, received) = mpsc::channel(1);
        let (read, tally) = tokio::join!(read(from, table, batches), write(to, table, received));
        // When writing fails, reading only finds that nobody listens.
        let tally = tally?;
        read?;
        written.push(tally);
    }
    Ok(written)
}

/// Whether the rows are those that were written.
async fn compare(tx: &mut Tx, tables: &[Table], written: &[Tally]) -> Result<(), StoreError> {
    for (table, written) in tables.iter().zip(written) {
        let (batches, mut received) = mpsc::channel::<Batch>(1);
        let count = async {
            let mut found = Tally::default();
            while let Some(batch) = received.recv().await {
                batch.rows.iter().for_each(|row| found.add(row));
            }
            found
        };
        let (read, found) = tokio::join!(read(tx, table, batches), count);
        read?;
        if found != *written {
            return Err(damaged(tx, format!("the rows of {} came back changed", table.name)));
        }
    }
    Ok(())
}

/// Sends the rows of a table, some at a time.
async fn read(tx: &mut Tx, table: &Table, batches: mpsc::Sender<Batch>) -> Result<(), StoreError> {
    on!(tx, connection => {
        let mut rows = sqlx::query(table.select()).fetch(connection);
        let mut batch = Batch::default();
        while let Some(row) = rows.try_next().await? {
            let mut values = Vec::with_capacity(table.columns.len());
            for (at, column) in table.columns.iter().enumerate() {
                values.push(match column.holds {
                    Holds::Whole => Value::Whole(row.try_get(at)?),
                    Holds::Real => Value::Real(row.try_get(at)?),
                    Holds::Text => Value::Text(row.try_get(at)?),
                    Holds::Bytes => Value::Bytes(row.try_get(at)?),
                });
            }
            batch.add(values);
            if batch.is_full() && batches.send(std::mem::take(&mut batch)).await.is_err() {
                return Ok(());
            }
        }
        if !batch.rows.is_empty() {
            // Whoever does not listen any more has failed, and says so.
            let _ = batches.send(batch).await;
        }
        Ok(())
    })
}

async fn write(tx: &mut Tx, table: &Table, mut batches: mpsc::Receiver<Batch>) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    while let Some(batch) = batches.recv().await {
        batch.rows.iter().for_each(|row| tally.add(row));
        on!(tx, connection => {
            let mut query = sqlx::query(table.insert(batch.rows.len()));
            for value in batch.rows.into_iter().flatten() {
                query = match value {
                    Value::Whole(value) => query.bind(value),
                    Value::Real(value) => query.bind(value),
                    Value::Text(value) => query.bind(value),
                    Value::Bytes(value) => query.bind(value),
                };
            }
            query.execute(connection).await.map(|_| ())
        })?;
    }
    Ok(tally)
}

impl Batch {
    fn add(&mut self, row: Vec<Value>) {
        self.size_bytes += row.iter().map(Value::size_bytes).sum::<usize>();
        self.rows.push(row);
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= limits::BACKUP_ROWS || self.size_bytes >= limits::BACKUP_ROWS_SIZE_BYTES
    }
}

impl Value {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Whole(_) | Self::Real(_) => 8,
            Self::Text(value) => value.as_ref().map_or(0, String::len),
            Self::Bytes(value) => value.as_ref().map_or(0, Vec::len),
        }
    }

    /// Feeds it to a hash, so that no two rows feed the same.
    fn feed(&self, hash: &mut Sha256) {
        let whole = |value: &Option<i64>| value.map(i64::to_be_bytes);
        let (tag, bytes): (u8, Option<&[u8]>) = match self {
            Self::Whole(value) => return fixed(hash, b'i', whole(value)),
            // SQLite keeps a whole number as one, and so loses the sign of -0.0.
            Self::Real(value) => {
                return fixed(hash, b'r', value.map(|value| (value + 0.0).to_bits().to_be_bytes()));
            }
            Self::Text(value) => (b't', value.as_deref().map(str::as_bytes)),
            Self::Bytes(value) => (b'b', value.as_deref()),
        };
        match bytes {
            None => hash.update([tag, 0]),
            Some(bytes) => {
                hash.update([tag, 1]);
                hash.update(bytes.len().to_be_bytes());
                hash.update(bytes);
            }
        }
    }
}

fn fixed(hash: &mut Sha256, tag: u8, bytes: Option<[u8; 8]>) {
    match bytes {
        None => hash.update([tag, 0]),
        Some(bytes) => {
            hash.update([tag, 1]);
            hash.update(bytes);
        }
    }
}

impl Tally {
    fn add(&mut self, row: &[Value]) {
        let mut hash = Sha256::new();
        row.iter().for_each(|value| value.feed(&mut hash));
        let digest: [u8; 32] = hash.finalize().into();
        let half: [u8; 16] = std::array::from_fn(|at| digest[at]);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(half));
    }
}
