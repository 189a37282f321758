//! What can go wrong with stored data, split by what the caller can do about it.
//!
//! An error of the driver becomes a [`StoreError`] at the first line that it crosses: [`crate::on!`] does so for
//! statements and knows which database they ran on. Messages name databases and files, never what is in them.

use std::path::PathBuf;

use rollcall_core::{Fault, Reason};
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::PgDatabaseError;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not now: no free connection, a lock held too long, two writers that excluded each other, or PostgreSQL gone.
    /// Nothing was changed; ask again.
    #[error("the database {place} cannot do this now ({source}); nothing was changed, try again")]
    Unavailable {
        /// Which database.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The connection was lost between the commit and its answer.
    #[error(
        "the connection to {place} was lost during a commit ({source}); the change was made or not: read again, then repeat it if it is missing"
    )]
    Unsure {
        /// Which database.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The program is stopping; nothing was changed.
    #[error("the program is stopping and takes no more changes; try again when it runs")]
    Stopping,
    /// What was stored cannot be read any more.
    #[error("the database {place} is damaged ({detail}); stop the program and restore a backup")]
    Damaged {
        /// The file.
        place: String,
        /// What the engine found.
        detail: String,
    },
    /// No room on the disk; nothing was changed.
    #[error("there is no room left on the disk of {place}; free some and try again")]
    Full {
        /// The file or database.
        place: String,
    },
    /// The disk failed, or is not writable. After a failed sync nobody knows what is on it: stop and start again.
    #[error("the disk of {place} cannot be read or written: {source}")]
    Disk {
        /// The file or database.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The database has a migration that this program does not know.
    #[error(
        "the database {place} was made by a newer version of this program (it has \"{migration}\"); install that version, or restore a backup of this one"
    )]
    Newer {
        /// Which database.
        place: String,
        /// The first unknown migration.
        migration: String,
    },
    /// The database lacks a migration of this program.
    #[error(
        "the database {place} was made by an older version of this program (it has no \"{migration}\"); start this version on it once"
    )]
    Behind {
        /// Which database.
        place: String,
        /// The first that it lacks.
        migration: String,
    },
    /// An applied migration is not what this program has by that name, or one was slipped in before it.
    #[error("the migration \"{migration}\" of {place} {problem}; add a new migration instead")]
    MigrationChanged {
        /// Which database.
        place: String,
        /// Its name.
        migration: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A migration did not run; the schema is as before it.
    #[error("the migration \"{migration}\" of {place} failed: {source}")]
    MigrationFailed {
        /// Which database.
        place: String,
        /// Its name.
        migration: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// SQLite runs without a setting that the promises rest on.
    #[error("SQLite keeps {setting} of {place} at {found}, not {wanted}; is the folder on a network share?")]
    Setting {
        /// The file.
        place: String,
        /// The pragma.
        setting: &'static str,
        /// What it must be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// Something with these values, which must be unique, is there already.
    #[error("there is already a row with the same {columns}")]
    Conflict {
        /// Which columns, as `table.column, table.column`, the same on both engines.
        columns: String,
    },
    /// A statement is wrong: a fault of this program.
    #[error("a statement failed on {place}: {source}")]
    Statement {
        /// Which database.
        place: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// A write panicked; it was rolled back.
    #[error("a write panicked and was rolled back; the log has the message")]
    Panicked,
    /// Another process uses the data folder.
    #[error("the data folder {} is in use by {holder}; stop that first", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, `process PID (PROGRAM)`.
        holder: String,
    },
    /// A file or folder that must be ours alone is not.
    #[error("{} {problem}; {remedy}", .path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// Something is where a backup or a restored folder should go. It was not touched.
    #[error("{} {problem}", .path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
        /// What is there, and what to do.
        problem: String,
    },
    /// The passphrase of a backup. Nothing was changed.
    #[error("the passphrase for {} {problem}", .file.display())]
    BackupPassphrase {
        /// The backup.
        file: PathBuf,
        /// What is wrong with the passphrase.
        problem: &'static str,
    },
    /// A backup is not what it was when it was made. Nothing was changed.
    #[error("the backup {} cannot be used: {problem}; take another one", .file.display())]
    BackupDamaged {
        /// The backup.
        file: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A backup of a newer program. Nothing was changed.
    #[error("the backup {} was made by a newer or another version of this program ({what}); restore it with that", .file.display())]
    BackupNewer {
        /// The backup.
        file: PathBuf,
        /// What this program does not know.
        what: String,
    },
    /// A file or folder could not be made, read or written.
    #[error("cannot {doing} {}: {source}", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl StoreError {
    /// What the driver said about this database, in our words.
    #[doc(hidden)]
    pub fn wrap(source: sqlx::Error, place: &str) -> Self {
        let place = place.to_owned();
        match Kind::of(&source) {
            Kind::Unavailable => Self::Unavailable { place, source },
            Kind::Damaged => Self::Damaged { place, detail: source.to_string() },
            Kind::Full => Self::Full { place },
            Kind::Disk => Self::Disk { place, source },
            Kind::Conflict => {
                Self::Conflict { columns: source.as_database_error().map(columns).unwrap_or_default() }
            }
            Kind::Statement => Self::Statement { place, source },
        }
    }

    /// What the driver said to a commit.
    pub(crate) fn wrap_commit(source: sqlx::Error, place: &str) -> Self {
        match source {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
                Self::Unsure { place: place.to_owned(), source }
            }
            source => Self::wrap(source, place),
        }
    }

    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        let reason = match self {
            Self::Unavailable { .. } | Self::Unsure { .. } | Self::Stopping | Self::Full { .. } => {
                Reason::Unavailable
            }
            Self::Damaged { .. } => Reason::DataDamaged,
            Self::Conflict { .. } => Reason::AlreadyExists,
            Self::BackupPassphrase { .. } => Reason::FieldInvalid,
            Self::Occupied { .. } | Self::BackupDamaged { .. } | Self::BackupNewer { .. } => {
                Reason::StateForbids
            }
            Self::Disk { .. }
            | Self::Newer { .. }
            | Self::Behind { .. }
            | Self::MigrationChanged { .. }
            | Self::MigrationFailed { .. }
            | Self::Setting { .. }
            | Self::Statement { .. }
            | Self::Panicked
            | Self::InUse { .. }
            | Self::Exposed { .. }
            | Self::File { .. } => Reason::Internal,
        };
        Fault::new(reason, self)
    }
}

/// For what is not run by [`crate::on!`]: the same without the name of the database.
impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        Self::wrap(source, "of this program")
    }
}

/// What an error of a driver means.
enum Kind {
    Unavailable,
    Damaged,
    Full,
    Disk,
    Conflict,
    Statement,
}

impl Kind {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) if error.kind() == ErrorKind::UniqueViolation => Self::Conflict,
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                match error.try_downcast_ref::<PgDatabaseError>() {
                    Some(_) => Self::of_postgres(&code),
                    None => Self::of_sqlite(code.parse().unwrap_or(0)),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable,
            _ => Self::Statement,
        }
    }

    /// By the primary result code, the low byte of the extended one (sqlite.org/rescode.html).
    fn of_sqlite(code: u32) -> Self {
        const BUSY: u32 = 5;
        const LOCKED: u32 = 6;
        const READONLY: u32 = 8;
        const IOERR: u32 = 10;
        const CORRUPT: u32 = 11;
        const FULL: u32 = 13;
        const CANTOPEN: u32 = 14;
        const NOTADB: u32 = 26;
        match code & 0xff {
            BUSY | LOCKED => Self::Unavailable,
            CORRUPT | NOTADB => Self::Damaged,
            FULL => Self::Full,
            READONLY | IOERR | CANTOPEN => Self::Disk,
            _ => Self::Statement,
        }
    }

    /// By SQLSTATE (PostgreSQL's manual, appendix A).
    fn of_postgres(code: &str) -> Self {
        match code {
            "53100" => Self::Full,
            "58030" => Self::Disk,
            "XX001" | "XX002" => Self::Damaged,
            // Serialisation failure, deadlock, lock timeout, idle too long; no resources; an operator stopped it; connection lost.
            "40001" | "40P01" | "55P03" | "25P03" => Self::Unavailable,
            _ if ["08", "53", "57"].contains(&code.get(..2).unwrap_or_default()) => Self::Unavailable,
            _ => Self::Statement,
        }
    }
}

/// The columns of a violated unique constraint, `table.column, table.column`. SQLite says just this after a colon;
/// PostgreSQL has the table in a field of its own and the columns in its detail, before the values.
fn columns(error: &dyn DatabaseError) -> String {
    let Some(postgres) = error.try_downcast_ref::<PgDatabaseError>() else {
        return error.message().split_once(": ").map_or_else(String::new, |(_, columns)| columns.to_owned());
    };
    let table = postgres.table().unwrap_or("?");
    let columns = postgres.detail().and_then(|detail| {
        let (columns, _) = detail.split_once('(')?.1.split_once(")=(")?;
        Some(columns.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", "))
    });
    columns.unwrap_or_else(|| format!("{table} ({})", postgres.constraint().unwrap_or("?")))
}
