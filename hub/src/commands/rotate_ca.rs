//! `hub rotate-ca`: another certificate authority takes over, while the hub runs or not. Terminals that are away meanwhile
//! trust both until they have come back. Repeating it while one takes over changes nothing.

use std::process::ExitCode;

use rollcall_core::UtcInstant;
use rollcall_server::{Authority, CA_NEXT_FILE, CA_NEXT_KEY_FILE};
use rollcall_store::DataFolder;

use crate::place::{Place, Store};

/// Options of `hub rotate-ca`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (config, data) = args.place.read()?;
    let data = DataFolder::of_another(&data)?;
    let now = UtcInstant::now();
    Authority::open(data.path(), now)?.begin_rotation(now)?;
    println!(
        "another authority takes over: terminals get a certificate of it when theirs is renewed, and the old one goes when \
         the last of them has"
    );
    if let Store::Server { .. } = Store::of(&config.store)? {
        let folder = data.path().display();
        println!(
            "copy {CA_NEXT_FILE} and {CA_NEXT_KEY_FILE} from {folder} into the data folder of every other hub on this \
             database"
        );
    }
    Ok(ExitCode::SUCCESS)
}
