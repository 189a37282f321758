//! `hub backup`: one file with all that a hub has, made while it runs, or not. It needs the rights of whoever runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use rollcall_program::shell::{passphrase, runtime, tell_backup};
use rollcall_store::DataFolder;

use crate::backups;
use crate::place::{Place, Store};

/// Options of `hub backup`.
#[derive(clap::Args)]
pub struct Args {
    /// The file to make; there must be none
    out: PathBuf,
    #[command(flatten)]
    place: Place,
    /// File with a passphrase: the backup is then encrypted, and holds the keys too
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (config, data) = args.place.read()?;
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let data = DataFolder::of_another(&data)?;
    let store = Store::of(&config.store)?;
    let report = runtime()?.block_on(backups::make(&data, &store, &args.out, passphrase))?;
    tell_backup("hub", &report);
    Ok(ExitCode::SUCCESS)
}
