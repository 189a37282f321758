//! The databases of a hub, and which service's tables are in which.
//!
//! On SQLite three files, as a terminal has them. `log.db` is apart because the logs of all doors are in it and every
//! erasure writes a file with personal data anew: `gallery.db` and `site.db` stay small, and a push of events waits for
//! none of that. On PostgreSQL one database has all tables, since nothing there is written anew as a whole.
//!
//! Only the process that has the data folder's lock uses the files. A PostgreSQL database is used by several processes.

use std::sync::Arc;

use rollcall_attendance::{Identity, LOG_MIGRATIONS, Log, SystemClock};
use rollcall_core::TerminalId;
use rollcall_gallery::Gallery;
use rollcall_program::folder;
use rollcall_store::{DataFolder, Db, Migration, SqliteOptions, StoreError, requests};

use crate::place::Store;
use crate::store;

/// Tables of `site.db`: accounts, timetable, notes, terminals, and what the hub knows of itself.
const SITE: [&[Migration]; 7] = [
    requests::MIGRATIONS,
    rollcall_accounts::MIGRATIONS,
    rollcall_attendance::SITE_MIGRATIONS,
    rollcall_terminals::MIGRATIONS,
    rollcall_terminals::FLEET_MIGRATIONS,
    rollcall_terminals::ADOPTION_MIGRATIONS,
    store::MIGRATIONS,
];

/// The name of a PostgreSQL database in a backup: one file with all tables.
pub const ALL: &str = "hub.db";

/// By which a hub's log knows its machine: the hub may move to another one, and several machines may write the log.
const NO_HARDWARE: &str = "hub";

/// Every migration that this program knows, once: what a PostgreSQL database has.
pub fn known() -> Vec<&'static [Migration]> {
    [&[LOG_MIGRATIONS, Gallery::migrations()][..], &SITE].concat()
}

/// Open. A clone is another handle to the same.
#[derive(Clone)]
pub enum Databases {
    /// Files; the log opens its own.
    Files {
        /// People, consent, templates, credentials.
        gallery: Db,
        /// The rest.
        site: Db,
    },
    /// One for everything.
    Server(Db),
}

impl Databases {
    /// Opens them, and brings their schema up to date.
    ///
    /// # Errors
    /// A file that is damaged, a server that cannot be reached, a schema of a newer program.
    pub async fn open(store: &Store, data: &DataFolder) -> Result<Self, StoreError> {
        let url = match store {
            Store::Server { url } => url,
            Store::Files => {
                let personal = SqliteOptions { secure_delete: true };
                let gallery: [&[Migration]; 2] = [requests::MIGRATIONS, Gallery::migrations()];
                return Ok(Self::Files {
                    gallery: Db::open_sqlite(&data.file(folder::GALLERY), personal, &gallery).await?,
                    site: Db::open_sqlite(&data.file(folder::SITE), personal, &SITE).await?,
                });
            }
        };
        Ok(Self::Server(Db::connect_postgres(url, &known()).await?))
    }

    /// People, consent, templates, credentials.
    pub fn gallery(&self) -> &Db {
        match self {
            Self::Files { gallery, .. } => gallery,
            Self::Server(db) => db,
        }
    }

    /// Accounts, timetable, notes, terminals, and what the hub knows of itself.
    pub fn site(&self) -> &Db {
        match self {
            Self::Files { site, .. } => site,
            Self::Server(db) => db,
        }
    }

    /// The logs, with the hub's own open to be written. It is opened last and closed last: it holds the connections to a
    /// server that everything else shares.
    ///
    /// # Errors
    /// A database that does not answer; damage in a file is none, what can be read is saved.
    pub async fn open_log(
        &self,
        data: &DataFolder,
        hub: TerminalId,
        clock: &Arc<SystemClock>,
    ) -> anyhow::Result<Log> {
        let identity = Identity { terminal_id: hub, hw_id: NO_HARDWARE.to_owned() };
        let clock = Arc::clone(clock) as _;
        Ok(match self {
            Self::Files { .. } => Log::open(data, identity, clock).await?,
            Self::Server(db) => Log::open_in(db.clone(), identity, clock).await?,
        })
    }

    /// Closes them.
    pub async fn close(&self) {
        self.gallery().close().await;
        self.site().close().await;
    }
}
