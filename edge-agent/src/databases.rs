//! The three databases of a terminal, and which service's tables are in which.
//!
//! `log.db` is the event log, apart from everything so that nothing else can slow or damage it. `gallery.db` holds
//! what is personal and is overwritten with zeros where it is deleted. `site.db` holds the rest.

use rollcall_gallery::Gallery;
use rollcall_store::{DataFolder, Db, Migration, SqliteOptions, StoreError, requests};

use crate::folder;

const SITE: [&[Migration]; 4] = [
    requests::MIGRATIONS,
    rollcall_accounts::MIGRATIONS,
    rollcall_attendance::SITE_MIGRATIONS,
    rollcall_terminals::MIGRATIONS,
];

/// Every migration that this program knows, once.
pub fn known() -> Vec<&'static [Migration]> {
    [&[rollcall_attendance::LOG_MIGRATIONS, Gallery::migrations()][..], &SITE].concat()
}

/// Opens people, consent and templates.
///
/// # Errors
/// The file is damaged, or of a newer program.
pub async fn gallery(data: &DataFolder) -> Result<Db, StoreError> {
    let options = SqliteOptions { secure_delete: true };
    Db::open_sqlite(&data.file(folder::GALLERY), options, &[requests::MIGRATIONS, Gallery::migrations()])
        .await
}

/// Opens accounts, timetable, notes and settings. Notes are personal too.
///
/// # Errors
/// The file is damaged, or of a newer program.
pub async fn site(data: &DataFolder) -> Result<Db, StoreError> {
    let options = SqliteOptions { secure_delete: true };
    Db::open_sqlite(&data.file(folder::SITE), options, &SITE).await
}
