//! `hub verify-log`: checks every event of every log against its chain, while the hub runs or not. Changes nothing.

use std::process::ExitCode;

use rollcall_program::{folder, shell};
use rollcall_store::{DataFolder, Db};

use crate::place::{Place, Store};

/// Options of `hub verify-log`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Status 0 when every event is what was written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (config, data) = args.place.read()?;
    let runtime = shell::runtime()?;
    // A connection to a server belongs to a runtime.
    let _entered = runtime.enter();
    let log = match Store::of(&config.store)? {
        Store::Files => {
            let data = DataFolder::of_another(&data)?;
            let path = data.file(folder::LOG);
            anyhow::ensure!(path.is_file(), "there is no event log in {}", data.path().display());
            Db::sqlite_of_another(&path)
        }
        Store::Server { url } => Db::postgres_of_another(&url)?,
    };
    runtime.block_on(shell::verify_log(log))
}
