//! A backup of a PostgreSQL hub in a restored data folder: the file `hub.db` waits there to be copied into the database.
//!
//! `hub restore` does so, and `hub run` where a crash kept it from it. The copy is one transaction into an empty database.
//! After a crash between that and the removal of the file, both say the same of logs and gallery; it is gone on from there.

use std::path::Path;

use anyhow::Context as _;
use rollcall_store::{Db, RESTORED, StoreError, restore_postgres};
use sha2::{Digest as _, Sha256};

use crate::backups::all_facts;
use crate::databases::{ALL, known};
use crate::place::Store;
use crate::store;

/// Copies it into the database, if there is one that waits.
///
/// # Errors
/// A database that is not empty, or no database to copy it into.
pub async fn finish(data: &Path, store: &Store) -> anyhow::Result<()> {
    let file = data.join(ALL);
    if !file.exists() {
        return Ok(());
    }
    let Store::Server { url } = store else {
        anyhow::bail!(
            "{} waits to be copied into a PostgreSQL database: name an empty one in [store] of the configuration",
            file.display()
        );
    };
    let db = Db::postgres_of_another(url)?;
    match restore_postgres(&file, url, &known()).await {
        Err(StoreError::Occupied { .. }) if is_copied(&file, &db).await? => {}
        done => done.with_context(|| format!("cannot copy {} into the database", file.display()))?,
    }
    if let Some(listing) = listing_sha256(data)? {
        store::set_restored(&db, &listing).await?;
    }
    db.close().await;
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
}

/// The hash of the listing of the backup that the folder was made of, if it was made of one.
///
/// # Errors
/// A file that cannot be read.
pub fn listing_sha256(data: &Path) -> anyhow::Result<Option<[u8; 32]>> {
    let path = data.join(RESTORED);
    match std::fs::read(&path) {
        Ok(listing) => Ok(Some(Sha256::digest(listing).into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

async fn is_copied(file: &Path, db: &Db) -> anyhow::Result<bool> {
    let file = Db::sqlite_of_another(file);
    let of_file = all_facts(&mut file.read().await?).await?;
    file.close().await;
    let of_database = all_facts(&mut db.read().await?).await;
    Ok(of_database.is_ok_and(|facts| facts == of_file))
}
