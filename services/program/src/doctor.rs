//! The command `doctor` of both programs: what was found of one thing after another, and what is the same to look at.

use std::path::Path;
use std::process::ExitCode;

use rollcall_attendance::{Clock as _, Quality as ClockQuality, SystemClock};
use rollcall_core::{UtcInstant, limits};
use rollcall_terminals::Machine;

/// What was found of one thing.
pub struct Finding {
    what: &'static str,
    state: State,
    said: String,
}

/// How good that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Well,
    /// It works, and somebody should look at it; or it is not there and need not be.
    Look,
    /// It does not work.
    Wrong,
}

impl Finding {
    /// A finding, in a sentence.
    pub fn new(what: &'static str, state: State, said: impl Into<String>) -> Self {
        Self { what, state, said: said.into() }
    }
}

/// Says what was found. Status 0 when nothing is wrong.
pub fn tell(findings: impl Iterator<Item = Finding>) -> ExitCode {
    let mut is_wrong = false;
    for finding in findings {
        let mark = match finding.state {
            State::Well => "ok   ",
            State::Look => "look ",
            State::Wrong => "WRONG",
        };
        is_wrong |= finding.state == State::Wrong;
        println!("{mark} {:11} {}", finding.what, finding.said);
    }
    if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether the time can be trusted.
pub fn clock() -> Finding {
    const WHAT: &str = "clock";
    let reading = SystemClock::new(UtcInstant::from_micros(0)).read();
    let now = UtcInstant::from_micros(reading.wall_us);
    match reading.quality {
        ClockQuality::Ntp | ClockQuality::Hub => {
            Finding::new(WHAT, State::Well, format!("{now}, from a time server"))
        }
        ClockQuality::Rtc => Finding::new(WHAT, State::Well, format!("{now}, from a real-time clock")),
        ClockQuality::Saved | ClockQuality::Unset => Finding::new(
            WHAT,
            State::Look,
            format!(
                "{now}, from neither a time server nor a real-time clock: after a power cut it is wrong until the hub \
                 corrects it; add a clock module, or let systemd-timesyncd reach a time server"
            ),
        ),
    }
}

/// Whether there is room where the data are, or will be.
pub fn disk(data: &Path) -> Finding {
    const WHAT: &str = "disk";
    let place = data.ancestors().find(|folder| folder.is_dir()).unwrap_or(data);
    let machine = Machine::read(place);
    let (free, size) = (machine.disk_free_bytes >> 20, machine.disk_size_bytes >> 20);
    let said = format!("{free} of {size} MiB are free at {}", place.display());
    match machine.disk_free_bytes >= limits::DISK_FREE_LOW_BYTES {
        true => Finding::new(WHAT, State::Well, said),
        false => Finding::new(WHAT, State::Wrong, said + "; make room, or the log will have none"),
    }
}
