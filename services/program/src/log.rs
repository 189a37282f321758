//! What the program writes about itself: one line for each event, on standard error.
//!
//! Text on a terminal, JSON elsewhere, unless the configuration says which. Lines are escaped by their format: what a
//! field holds cannot begin a line of its own.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Libraries say nothing below a warning: they know neither our fields nor what is personal.
const OURS: [&str; 11] = [
    "edge_agent",
    "hub",
    "rollcall_accounts",
    "rollcall_attendance",
    "rollcall_gallery",
    "rollcall_program",
    "rollcall_server",
    "rollcall_store",
    "rollcall_sync",
    "rollcall_terminals",
    "rollcall_vision",
];

/// Begins to write events.
///
/// # Errors
/// When something writes them already.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let ours = OURS.map(|name| format!("{name}={level}")).join(",");
    let others = if log.level == LogLevel::Error { "error" } else { "warn" };
    let filter = EnvFilter::try_new(format!("{others},{ours}"))?;
    let terminal = io::stderr().is_terminal();
    let format = log.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(terminal).fmt_fields(rollcall_server::log_fields()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot write a log: {error}"))
}
