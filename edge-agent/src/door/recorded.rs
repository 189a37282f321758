//! A door of files, for tests and the demo: what its outputs do is a line of a record, its inputs are a text file.
//!
//! The record gets one JSON object a line and change, written at once, by whichever process has the output:
//!
//! ```json
//! {"mono_ms":81250,"at":"2026-09-01T08:41:00.123456Z","pid":812,"line":"lock","level":"released"}
//! ```
//!
//! `mono_ms` is the machine's monotonic clock, the same for all processes. Levels are `locked` and `released` for the
//! lock, `on` and `off` for the others; the first line of each output is what it was opened as. A file that ends in a torn
//! line is continued as it is.
//!
//! The inputs are lines `contact=open` or `contact=closed`, `exit=pressed` or `exit=idle`, `fire=on` or `fire=off`. What
//! is said last counts, what is not said stays as it was, a line without its newline is not read yet; so a script may
//! either write the file anew or append to it. No file: nothing has happened yet.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rollcall_core::{UtcInstant, limits};
use serde::Serialize;

use super::config::DoorConfig;
use super::messages::mono_ms;
use super::pins::{Inputs, Output, Part, PinError, Pins};

/// The outputs and inputs of one part.
pub struct Recorded {
    config: DoorConfig,
    record: File,
    /// What is on.
    active: Vec<Output>,
    inputs_file: Option<PathBuf>,
    inputs: Inputs,
}

#[derive(Serialize)]
struct Entry {
    mono_ms: u64,
    at: String,
    pid: u32,
    line: &'static str,
    level: &'static str,
}

impl Recorded {
    /// Opens the record and writes what the outputs are.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn open(config: &DoorConfig, part: Part) -> Result<Self, PinError> {
        let path = config.record.clone().unwrap_or_default();
        let record =
            OpenOptions::new().create(true).append(true).open(path).map_err(failed("open the record"))?;
        let inputs_file = config.inputs.clone().filter(|_| part == Part::Lock);
        let inputs = match part {
            Part::Lock => Inputs { is_open: Some(false), is_exit: Some(false), is_fire: Some(false) },
            Part::Lights => Inputs::default(),
        };
        let mut recorded = Self { config: config.clone(), record, active: Vec::new(), inputs_file, inputs };
        for output in part.outputs() {
            recorded.write(*output, false)?;
        }
        Ok(recorded)
    }

    fn write(&mut self, output: Output, is_active: bool) -> Result<(), PinError> {
        let level = match output {
            Output::Lock if self.config.is_energised(true) == is_active => "released",
            Output::Lock => "locked",
            _ if is_active => "on",
            _ => "off",
        };
        let (at, pid) = (UtcInstant::now().to_string(), std::process::id());
        let entry = Entry { mono_ms: mono_ms(), at, pid, line: output.name(), level };
        let mut line = serde_json::to_vec(&entry).map_err(failed("write the record"))?;
        line.push(b'\n');
        // One write: the lines of two processes do not mix.
        self.record.write_all(&line).map_err(failed("write the record"))
    }
}

impl Pins for Recorded {
    fn set(&mut self, output: Output, is_active: bool) -> Result<(), PinError> {
        if self.active.contains(&output) == is_active {
            return Ok(());
        }
        self.write(output, is_active)?;
        self.active.retain(|other| *other != output);
        self.active.extend(is_active.then_some(output));
        Ok(())
    }

    fn inputs(&mut self) -> Result<Inputs, PinError> {
        let Some(path) = &self.inputs_file else { return Ok(self.inputs) };
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(limits::DOOR_INPUTS_BYTES).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(self.inputs),
            read => read.map_err(failed("read the inputs"))?,
        };
        read_inputs(&mut self.inputs, &text);
        Ok(self.inputs)
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn read_inputs(inputs: &mut Inputs, text: &str) {
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        match line.trim() {
            "contact=open" => inputs.is_open = Some(true),
            "contact=closed" => inputs.is_open = Some(false),
            "exit=pressed" => inputs.is_exit = Some(true),
            "exit=idle" => inputs.is_exit = Some(false),
            "fire=on" => inputs.is_fire = Some(true),
            "fire=off" => inputs.is_fire = Some(false),
            _ => {}
        }
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> PinError {
    move |error| PinError::Failed { driver: "recorded", what, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::Value;

    use super::super::config::{Driver, Fail};
    use super::*;

    #[test]
    fn every_change_is_one_line_and_no_change_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record");
        for (fail, levels) in [
            (Fail::Secure, ["locked", "released", "locked"]),
            (Fail::Safe, ["released", "locked", "released"]),
        ] {
            let config = DoorConfig {
                driver: Driver::Recorded,
                fail: Some(fail),
                record: Some(record.clone()),
                ..DoorConfig::default()
            };
            std::fs::write(&record, "").unwrap();
            let mut pins = Recorded::open(&config, Part::Lock).unwrap();
            for is_active in [false, true, true, false] {
                pins.set(Output::Lock, is_active).unwrap();
            }
            let text = std::fs::read_to_string(&record).unwrap();
            let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let read: Vec<&str> = entries.iter().map(|entry| entry["level"].as_str().unwrap()).collect();
            assert_eq!(read, levels);
            assert!(entries.iter().all(|entry| entry["line"] == "lock" && entry["mono_ms"].is_u64()));
        }
    }

    #[test]
    fn inputs_are_what_was_said_last() {
        let mut inputs = Inputs::default();
        read_inputs(&mut inputs, "contact=open\r\nfire=on\nnonsense\nexit=pres");
        assert_eq!((inputs.is_open, inputs.is_fire, inputs.is_exit), (Some(true), Some(true), None));
        read_inputs(&mut inputs, "");
        read_inputs(&mut inputs, "contact=open\ncontact=closed\n");
        assert_eq!((inputs.is_open, inputs.is_fire), (Some(false), Some(true)));
    }
}
