//! `edge-agent verify-log`: checks every event against its chain, while the program runs or not. Changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use rollcall_store::{DataFolder, Db};

use super::runtime;
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
    let log = Db::sqlite_of_another(&path);
    let findings =
        runtime()?.block_on(rollcall_attendance::verify(&log)).with_context(|| path.display().to_string())?;
    for (log, seq) in &findings.changed {
        println!("{}: event {seq} is not what was written", log.name());
    }
    let damaged = match findings.changed.len() {
        0 => "none is damaged".to_owned(),
        damaged => format!("{damaged} are damaged"),
    };
    println!("{} events, {damaged}", findings.events);
    Ok(if findings.changed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
