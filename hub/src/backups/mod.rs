//! What is in a backup of a hub, and making one while it runs.
//!
//! The program is not asked: both engines let another process copy a database as it is at a moment while it is written
//! to. The log is copied before the rest, so that whatever an event refers to is there; a PostgreSQL database is copied
//! as of one moment. By the clock they are made in `keeper.rs`; `calendar.rs` says when, and which stay.

mod calendar;
mod keeper;

use std::collections::BTreeMap;
use std::path::Path;

use rollcall_program::{folder, key};
use rollcall_server::{CA_NEXT_FILE, CA_NEXT_KEY_FILE};
use rollcall_store::{Backup, BackupReport, DataFolder, Db, FactsFuture, SecretString, Tx};

use crate::databases::{ALL, known};
use crate::place::Store;

pub use keeper::Keeper;

/// Makes a backup as the file `out`, which must not be there.
///
/// # Errors
/// When it could not be made, or not be read back; `out` is not there then.
pub async fn make(
    data: &DataFolder,
    store: &Store,
    out: &Path,
    passphrase: Option<SecretString>,
) -> anyhow::Result<BackupReport> {
    let known = known();
    let mut backup = Backup::new(data);
    match store {
        Store::Files => {
            for (name, facts) in [
                (folder::LOG, log_facts as fn(&mut Tx) -> FactsFuture<'_>),
                (folder::GALLERY, gallery_facts),
                (folder::SITE, no_facts),
            ] {
                backup = backup.database(name, &Db::sqlite_of_another(&data.file(name)), facts);
            }
        }
        Store::Server { url } => {
            backup = backup.postgres(ALL, &Db::postgres_of_another(url)?, &known, all_facts);
        }
    }
    let backup = match passphrase {
        Some(_) => backup.opened_key(folder::GALLERY_KEY, key::of_another(data)?.bytes()),
        None => backup.key(folder::GALLERY_KEY),
    };
    let mut backup = backup.key(folder::CA_KEY).file(folder::CA, &data.file(folder::CA));
    // While another authority takes over.
    if data.file(CA_NEXT_KEY_FILE).exists() {
        backup = backup.key(CA_NEXT_KEY_FILE).file(CA_NEXT_FILE, &data.file(CA_NEXT_FILE));
    }
    Ok(backup.write(out, passphrase).await?)
}

fn log_facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(rollcall_attendance::facts(tx))
}

fn gallery_facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(rollcall_gallery::facts(tx))
}

/// What a backup says of logs and gallery.
pub fn all_facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async {
        let mut facts = rollcall_attendance::facts(tx).await?;
        facts.extend(rollcall_gallery::facts(tx).await?);
        Ok(facts)
    })
}

fn no_facts(_: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async { Ok(BTreeMap::new()) })
}
