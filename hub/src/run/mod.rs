//! `hub run`: the services of a hub in one process.
//!
//! [`Site::build`] locks the data folder, opens and checks everything and binds; [`Site::spawn`] serves. When the event
//! log's disk fails it ends with an error at once, because it can promise nothing any more.

mod site;
mod stepped_back;
mod terminals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use rollcall_program::config::ADDRESS;
use rollcall_program::log;

use crate::config::Config;
use crate::place::{Place, Store};
use site::Site;

/// Options of `hub run`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Where to listen; port 0 is any free one [default: as configured, else 0.0.0.0:7443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// Say what is wrong with the configuration, and start nothing
    #[arg(long, requires = "config")]
    check_config: bool,
}

/// What to run, after options and configuration are one.
struct Plan {
    config: Config,
    data: PathBuf,
    models: Option<PathBuf>,
    store: Store,
    address: SocketAddr,
}

/// Serves until it is told to stop.
pub fn run(models: Option<PathBuf>, args: Args) -> anyhow::Result<ExitCode> {
    let (config, data) = args.place.read()?;
    if args.check_config {
        println!("nothing is wrong");
        return Ok(ExitCode::SUCCESS);
    }
    log::start(&config.log)?;
    let plan = Plan {
        data,
        models: models.or_else(|| config.models.clone()),
        store: Store::of(&config.store)?,
        address: args.address.or(config.server.address).unwrap_or(ADDRESS),
        config,
    };
    rollcall_program::run::serve(Site::build(&plan), Site::spawn)
}
