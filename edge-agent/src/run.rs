//! `edge-agent run`: the services in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;

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
    listen: Option<SocketAddr>,
    /// Say what is wrong with the configuration, and start nothing
    #[arg(long)]
    check_config: bool,
}

/// Serves until it is told to stop.
pub fn run(_models: Option<PathBuf>, args: Args) -> anyhow::Result<ExitCode> {
    let _config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    Ok(ExitCode::SUCCESS)
}
