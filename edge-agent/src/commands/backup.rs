//! `edge-agent backup`: one file with all that a site has, made while the program runs, or not.
//!
//! The program is not asked: SQLite lets another process copy a database as it is at a moment while it is written to,
//! and so does the store's backup. It needs the rights of whoever runs the program.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use rollcall_program::shell::tell_backup;
use rollcall_store::{Backup, DataFolder, Db, FactsFuture, Tx};

use super::{passphrase, runtime};
use crate::config::DATA_FOLDER;
use crate::{folder, key};

/// Options of `edge-agent backup`.
#[derive(clap::Args)]
pub struct Args {
    /// The file to make; there must be none
    out: PathBuf,
    /// Data folder of the program
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER, env = "ROLLCALL_DATA")]
    data: PathBuf,
    /// File with a passphrase: the backup is then encrypted, and holds the keys too
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let data = DataFolder::of_another(&args.data)?;
    let db = |name: &str| Db::sqlite_of_another(&data.file(name));
    let mut backup = Backup::new(&data);
    for name in [folder::LOG, folder::GALLERY, folder::SITE] {
        backup = backup.database(name, &db(name), no_facts);
    }
    let backup = match passphrase {
        Some(_) => backup.opened_key(folder::GALLERY_KEY, key::of_another(&data)?.bytes()),
        None => backup.key(folder::GALLERY_KEY),
    };
    let backup = backup.key(folder::CA_KEY).file(folder::CA, &data.file(folder::CA));
    let report = runtime()?.block_on(backup.write(&args.out, passphrase))?;
    tell_backup("edge-agent", &report);
    Ok(ExitCode::SUCCESS)
}

fn no_facts(_: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async { Ok(BTreeMap::new()) })
}
