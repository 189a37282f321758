//! `edge-agent run`: a terminal that stands alone: camera, door, screen and services in one process.
//!
//! [`Site::build`] locks the data folder, opens and checks everything and binds; [`Site::spawn`] serves. When the event
//! log's disk fails it ends with an error at once, because it can promise nothing any more.

mod alarms;
mod device;
mod hardware;
mod site;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use rollcall_program::shell::models_folder;

use crate::config::{ADDRESS, Config, DATA_FOLDER};
use crate::kiosk::LoopbackAddress;
use crate::log;
use site::Site;

pub use alarms::Alarms;
pub use device::Parts;

/// Options of `edge-agent run`.
#[derive(clap::Args)]
pub struct Args {
    /// Configuration; without one everything is as deploy/examples/edge-agent.toml says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Databases and keys; made when it is not there [default: as configured, else /var/lib/rollcall]
    #[arg(long, value_name = "DIR", env = "ROLLCALL_DATA")]
    data: Option<PathBuf>,
    /// Where to listen; port 0 is any free one [default: as configured, else 0.0.0.0:7443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// Where the screen's page is, on this machine; port 0 is any free one [default: as configured, else 127.0.0.1:7080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    screen: Option<LoopbackAddress>,
    /// Say what is wrong with the configuration, and start nothing
    #[arg(long, requires = "config")]
    check_config: bool,
}

/// What to run, after options and configuration are one.
struct Plan {
    config: Config,
    data: PathBuf,
    models: PathBuf,
    address: SocketAddr,
}

/// Serves until it is told to stop.
pub fn run(models: Option<PathBuf>, args: Args) -> anyhow::Result<ExitCode> {
    let mut config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    if let Some(screen) = args.screen {
        config.kiosk.address = screen;
    }
    if args.check_config {
        println!("nothing is wrong");
        return Ok(ExitCode::SUCCESS);
    }
    log::start(&config.log)?;
    let plan = Plan {
        data: args.data.or_else(|| config.data_folder.clone()).unwrap_or_else(|| DATA_FOLDER.into()),
        models: models_folder(models.or_else(|| config.models.clone()))?,
        address: args.address.or(config.server.address).unwrap_or(ADDRESS),
        config,
    };
    rollcall_program::run::serve(Site::build(&plan), Site::spawn)
}
