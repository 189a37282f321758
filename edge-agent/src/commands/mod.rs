//! The commands, one file each, and what they share.

pub mod backup;
pub mod bench;
pub mod detect;
pub mod doctor;
pub mod door;
pub mod enrol;
pub mod evaluate;
pub mod events;
pub mod identify;
pub mod join;
pub mod restore;
pub mod token;
pub mod verify_log;

use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where packages put the networks.
const INSTALLED: &str = "/usr/share/rollcall/models";

/// The folder with the networks: as asked for, else the nearest `models` beside or above the program, else where
/// packages put it.
pub fn models_folder(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = asked {
        return Ok(folder);
    }
    let program = std::env::current_exe().context("the place of this program is not known")?;
    let above = program.ancestors().skip(1).map(|folder| folder.join("models"));
    let mut folders = above.chain([PathBuf::from(INSTALLED)]);
    folders.find(|f| f.join("manifest.toml").is_file()).context(
        "no models folder beside or above this program or in /usr/share/rollcall; name it with --models DIR",
    )
}

/// Whether `error` is about nobody reading our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |kind: ErrorKind| kind == ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().is_some_and(|e| broken(e.kind()));
        let json = cause.downcast_ref::<serde_json::Error>();
        io || json.and_then(serde_json::Error::io_error_kind).is_some_and(broken)
    })
}

/// What went wrong and why, once: an error often cites its cause, and the cause is then listed again.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|c| !c.is_empty()) {
        match text.is_empty() {
            true => text = cause,
            false if text.contains(&cause) => {}
            false => text += &format!(": {cause}"),
        }
    }
    text
}

/// A progress line on stderr, shown only on a terminal and only once two seconds have passed.
pub struct Progress(ProgressBar);

impl Progress {
    /// `steps` steps of `what`.
    pub fn new(what: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} {pos}/{len} [{bar:40}] {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// One step further.
    pub fn step(&self) {
        if self.0.is_hidden() && self.0.elapsed() > Duration::from_secs(2) && io::stderr().is_terminal() {
            self.0.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.0.inc(1);
    }

    /// One step further of a command that prints a line for each step: on a terminal these lines are the progress.
    pub fn step_beside_lines(&self) {
        if !io::stdout().is_terminal() {
            self.step();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A path as text for output.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Runs what a command asks of a running program.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")
}
