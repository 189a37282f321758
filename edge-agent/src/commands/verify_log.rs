//! `edge-agent verify-log`: checks every event against its chain, while the program runs or not. Changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use rollcall_program::shell;
use rollcall_store::{DataFolder, Db};

use crate::config::DATA_FOLDER;
use crate::folder;

/// Options of `edge-agent verify-log`.
#[derive(clap::Args)]
pub struct Args {
    /// Data folder of the program
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER, env = "ROLLCALL_DATA")]
    data: PathBuf,
}

/// Status 0 when every event is what was written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let data = DataFolder::of_another(&args.data)?;
    let path = data.file(folder::LOG);
    anyhow::ensure!(path.is_file(), "there is no event log in {}", data.path().display());
    shell::runtime()?.block_on(shell::verify_log(Db::sqlite_of_another(&path)))
}
