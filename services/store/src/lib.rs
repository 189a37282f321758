//! The two engines: one [`Db`] over SQLite or PostgreSQL, and what keeps the data folder safe.
//!
//! A service writes each statement once, in its own `store.rs`, and runs it with [`on!`]. It brings its tables as a
//! list of [`Migration`]s. What the two engines do differently is in `dialect.rs`, and nowhere else.
//!
//! Promises: a read sees one moment; a write is committed or it never was; a write that has begun runs to its end
//! although the caller is gone ([`Writes`]); an error of the driver does not leave this crate unwrapped.
//!
//! Not here: tables, rules, and what is in them.

mod backup;
mod db;
pub mod dialect;
mod error;
mod folder;
mod migrate;
pub mod requests;
mod rows;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
mod turn;
mod tx;
mod writes;

pub use age::secrecy::SecretString;
pub use backup::{
    Backup, BackupReport, Facts, FactsFuture, Kind, Manifest, ManifestFile, read_manifest, restore,
};
pub use db::{Db, PostgresDb, SqliteDb, check_integrity, checkpoint, vacuum};
pub use error::StoreError;
pub use folder::{DataFolder, RESTORED, read_private, replace_file};
pub use migrate::Migration;
pub use rows::{check_empty_postgres, restore_postgres};
pub use settings::SqliteOptions;
pub use turn::Turn;
pub use tx::{Connection, Engine, Tx};
pub use writes::Writes;

#[doc(hidden)]
pub use sqlx;
