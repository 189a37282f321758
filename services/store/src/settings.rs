//! How SQLite is set, and the check that it really is: a pragma that SQLite cannot honour is ignored without a word
//! (WAL on a network share, for one), so each is read back when a file is opened, on every connection.

use std::path::Path;
use std::time::Duration;

use rollcall_core::limits;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::StoreError;

/// What differs from file to file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Overwrite with zeros what is deleted, and keep temporary tables in memory: for files with personal data.
    pub secure_delete: bool,
}

/// Whether a connection may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The one that writes.
    Writer,
    /// One of those that read.
    Reader,
}

/// How a connection is opened. The file is made when it is not there.
pub(crate) fn connect_options(path: &Path, options: SqliteOptions, access: Access) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(access == Access::Writer)
        .busy_timeout(Duration::from_millis(limits::DATABASE_PATIENCE_MS))
        .disable_statement_logging();
    settings(options, access)
        .into_iter()
        .fold(connect, |connect, (setting, value)| connect.pragma(setting, value))
}

/// Each setting with its value as SQLite tells it.
fn settings(options: SqliteOptions, access: Access) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        // Readers do not wait for the writer, nor the writer for them.
        ("journal_mode", "wal".to_owned()),
        // FULL: each commit is synced before it returns.
        ("synchronous", "2".to_owned()),
        ("foreign_keys", "1".to_owned()),
        ("busy_timeout", limits::DATABASE_PATIENCE_MS.to_string()),
        // A manipulated file cannot call functions through views and triggers, and damaged pages are noticed
        // (sqlite.org/security.html).
        ("trusted_schema", "0".to_owned()),
        ("cell_size_check", "1".to_owned()),
        ("secure_delete", u8::from(options.secure_delete).to_string()),
        ("query_only", u8::from(access == Access::Reader).to_string()),
    ];
    if options.secure_delete {
        settings.push(("temp_store", "2".to_owned()));
    }
    settings
}

/// Reads every setting back.
pub(crate) async fn check(
    connection: &mut SqliteConnection,
    place: &str,
    options: SqliteOptions,
    access: Access,
) -> Result<(), StoreError> {
    for (setting, wanted) in settings(options, access) {
        let row = sqlx::query(AssertSqlSafe(format!("pragma {setting}"))).fetch_one(&mut *connection).await;
        // Unchecked: SQLite turns its numbers into text itself.
        let found: String =
            row.and_then(|row| row.try_get_unchecked(0)).map_err(|error| StoreError::wrap(error, place))?;
        if found != wanted {
            return Err(StoreError::Setting { place: place.to_owned(), setting, wanted, found });
        }
    }
    Ok(())
}
