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
pub mod verify_log;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rollcall_program::shell::{passphrase, runtime};

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
