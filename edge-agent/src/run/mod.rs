//! `edge-agent run`: a terminal that stands alone: camera, door, screen and services in one process.
//!
//! It starts in two phases: [`Site::build`] locks the data folder, opens and checks everything and binds; only then is
//! anything served, and one line on standard output says that it is ready and where. A start that fails says why in
//! one line and leaves nothing half done. SIGTERM and SIGINT end it: calls may finish, within a deadline. When the
//! event log's disk fails it ends with an error at once, because it can promise nothing any more.

mod alarms;
mod device;
mod hardware;
mod people;
mod site;
mod status;
mod systemd;
mod ticks;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::models_folder;
use crate::config::{ADDRESS, Config, DATA_FOLDER};
use crate::kiosk::LoopbackAddress;
use crate::log;
use site::{Running, Site};

pub use alarms::Alarms;
pub use device::Parts;

/// Time for calls to finish once it is told to stop. systemd kills after 90 seconds.
const DRAIN: Duration = Duration::from_secs(20);

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
    // Whatever it makes is for its own account alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let plan = Plan {
        data: args.data.or_else(|| config.data_folder.clone()).unwrap_or_else(|| DATA_FOLDER.into()),
        models: models_folder(models.or_else(|| config.models.clone()))?,
        address: args.address.or(config.server.address).unwrap_or(ADDRESS),
        config,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(serve(&plan))
}

async fn serve(plan: &Plan) -> anyhow::Result<ExitCode> {
    // From the first moment on, so that a start can be stopped too.
    let mut stop = Stop::listen()?;
    let site = tokio::select! {
        site = Site::build(plan) => site?,
        name = stop.asked() => {
            tracing::info!(signal = name, "stopped while starting");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let running = site.spawn().await?;
    ready(&running)?;
    systemd::ready();
    let failure = tokio::select! {
        name = stop.asked() => {
            tracing::info!(signal = name, "stopping");
            None
        }
        reason = running.failed() => Some(reason),
    };
    systemd::stopping();
    let left = running.drain(DRAIN).await;
    if left > 0 {
        tracing::warn!(calls = left, "calls were cut, they did not end in time");
    }
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => anyhow::bail!("{reason}"),
    }
}

/// The one line that others wait for.
fn ready(running: &Running) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let (ca, token) = (running.folder().join(crate::folder::CA), running.token());
    let screen = running.screen().map(|screen| format!(" screen={screen}")).unwrap_or_default();
    let told =
        writeln!(out, "ready: {} ca={} token={}{screen}", running.url(), ca.display(), token.display());
    // Nobody has to read it.
    match told.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

/// The signals that ask it to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one, and gives its name.
    async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
