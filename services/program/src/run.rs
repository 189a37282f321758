//! How a program starts, says that it is ready, and ends.
//!
//! It starts in two phases: first everything is locked, opened, checked and bound; only then is anything served, and one
//! line on standard output says that it is ready and where. A start that fails says why in one line and leaves nothing
//! half done. SIGTERM and SIGINT end it: calls may finish, within a deadline.

use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{folder, systemd};

/// Time for calls to finish once it is told to stop. systemd kills after 90 seconds.
const DRAIN: Duration = Duration::from_secs(20);

/// A program that serves.
pub trait Running {
    /// What others need to reach it.
    fn ready(&self) -> Ready<'_>;

    /// Returns, with the reason, when it cannot go on.
    fn failed(&self) -> impl Future<Output = String>;

    /// Takes nothing more, lets what runs end within `patience`, and closes everything in order. Returns how many calls
    /// were cut.
    fn drain(self, patience: Duration) -> impl Future<Output = usize>;
}

/// The one line that others wait for: `ready: URL ca=FILE token=FILE`, and what else the program has.
pub struct Ready<'a> {
    /// Where it is reached from other machines.
    pub url: String,
    /// Its data folder.
    pub folder: &'a Path,
    /// The file with the administrator's token.
    pub token: &'a Path,
    /// Further words, each `key=value`.
    pub more: Vec<String>,
}

/// Serves until it is told to stop. `build` is the first phase, `spawn` the second.
///
/// # Errors
/// Why it did not start, or could not go on.
pub fn serve<B, R: Running>(
    build: impl Future<Output = anyhow::Result<B>>,
    spawn: impl AsyncFnOnce(B) -> anyhow::Result<R>,
) -> anyhow::Result<ExitCode> {
    // Whatever it makes is for its own account alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(run(build, spawn))
}

async fn run<B, R: Running>(
    build: impl Future<Output = anyhow::Result<B>>,
    spawn: impl AsyncFnOnce(B) -> anyhow::Result<R>,
) -> anyhow::Result<ExitCode> {
    // From the first moment on, so that a start can be stopped too.
    let mut stop = Stop::listen()?;
    let built = tokio::select! {
        built = build => built?,
        name = stop.asked() => {
            tracing::info!(signal = name, "stopped while starting");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let running = spawn(built).await?;
    tell(&running.ready())?;
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

fn tell(ready: &Ready<'_>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let ca = ready.folder.join(folder::CA);
    let mut line = format!("ready: {} ca={} token={}", ready.url, ca.display(), ready.token.display());
    for word in &ready.more {
        line.push(' ');
        line.push_str(word);
    }
    // Nobody has to read it.
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
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
