//! The commands, one file each.

pub mod backup;
pub mod doctor;
pub mod restore;
pub mod rotate_ca;
pub mod terminal;
pub mod verify_log;

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::EXAMPLE;

/// `hub config`: the example, to begin a configuration with.
pub fn print_example() -> anyhow::Result<ExitCode> {
    std::io::stdout().lock().write_all(EXAMPLE.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
