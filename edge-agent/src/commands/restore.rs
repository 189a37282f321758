//! `edge-agent restore`: a data folder from a backup. The program must not run on it; everything is checked before
//! anything is put in place.

use std::path::PathBuf;
use std::process::ExitCode;

use rollcall_program::shell::tell_restored;

use super::{passphrase, runtime};
use crate::config::DATA_FOLDER;
use crate::databases;

/// Options of `edge-agent restore`.
#[derive(clap::Args)]
pub struct Args {
    /// The backup
    file: PathBuf,
    /// The data folder to make; not there yet, or empty
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER, env = "ROLLCALL_DATA")]
    data: PathBuf,
    /// File with the passphrase that it was made with
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let known = databases::known();
    let restored = rollcall_store::restore(&args.file, passphrase, &args.data, &known);
    let manifest = runtime()?.block_on(restored)?;
    tell_restored(&args.data, &manifest);
    Ok(ExitCode::SUCCESS)
}
