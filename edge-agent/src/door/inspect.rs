//! The door's lines, looked at for `edge-agent doctor`. Nothing is driven: a relay that clicks opens a door.

use super::config::{DoorConfig, Driver};
use super::gpiocdev;

/// What was found of a line or chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub what: String,
    /// Why it cannot be used, and what to do; `None`: it can be.
    pub problem: Option<String>,
}

/// The GPIO chips of this machine.
pub fn chips() -> Vec<String> {
    gpiocdev::chips()
}

/// The lines that are configured. The registers of a Raspberry Pi (`rppal`) tell nobody who uses a line.
pub fn lines(config: &DoorConfig) -> Vec<Found> {
    if config.driver != Driver::Gpiocdev {
        return Vec::new();
    }
    let lines = config.lines().map(|(name, line)| {
        let problem = match gpiocdev::user(config, line) {
            Ok(None) => None,
            Ok(Some(user)) => Some(format!("is in use by \"{user}\"; is the terminal running?")),
            Err(error) => Some(error.to_string()),
        };
        Found { what: name.to_owned(), problem }
    });
    lines.collect()
}
