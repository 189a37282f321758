//! `[door]` of the configuration: which driver, which lines, which times.
//!
//! A door whose lock is configured says what the lock does while nobody keeps it (`fail`). There is no default for that:
//! one answer locks people in, the other lets people in, and only whoever wired the lock knows which.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_core::limits;
use serde::{Deserialize, Deserializer, Serialize};

use super::pins::{Input, Output};

/// `[door]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorConfig {
    /// What drives the lines.
    pub driver: Driver,
    /// The GPIO chip: its label, name or path. `gpiocdev` only.
    pub chip: Option<String>,
    /// The relay of the lock.
    pub lock: Option<Line>,
    /// The green light.
    pub green: Option<Line>,
    /// The red light.
    pub red: Option<Line>,
    /// The buzzer.
    pub buzzer: Option<Line>,
    /// The door contact: active while the door is open.
    pub contact: Option<Line>,
    /// The exit button: active while it is pressed.
    pub exit: Option<Line>,
    /// The fire input: active while there is a fire.
    pub fire: Option<Line>,
    /// What the lock is while its relay is off.
    pub fail: Option<Fail>,
    /// Milliseconds for which one opening releases the lock, [`limits::LOCK_OPEN_MS`].
    pub open_ms: u64,
    /// Seconds that the door may stand open, [`limits::DOOR_HELD_OPEN_SECONDS`].
    pub held_open_s: u64,
    /// Where a recorded door writes what its lines do.
    pub record: Option<PathBuf>,
    /// Where a recorded door reads its inputs.
    pub inputs: Option<PathBuf>,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            driver: Driver::None,
            chip: None,
            lock: None,
            green: None,
            red: None,
            buzzer: None,
            contact: None,
            exit: None,
            fire: None,
            fail: None,
            open_ms: 5_000,
            held_open_s: 30,
            record: None,
            inputs: None,
        }
    }
}

/// What drives the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// There is no door: attendance only.
    #[default]
    None,
    /// The kernel's GPIO character device, on any Linux.
    Gpiocdev,
    /// The registers of a Raspberry Pi.
    Rppal,
    /// A file, for tests and the demo.
    Recorded,
}

/// What the lock is while its relay is off: without power at the terminal, without its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fail {
    /// Locked.
    Secure,
    /// Released.
    Safe,
}

/// One line of the chip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which.
    pub line: LineId,
    /// The level at which it is active.
    #[serde(default)]
    pub active: Active,
    /// What the chip pulls an input to.
    #[serde(default)]
    pub bias: Bias,
}

/// Which line: the kernel's offset (on a Raspberry Pi the BCM number), or the kernel's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(untagged)]
pub enum LineId {
    /// Offset.
    Number(u32),
    /// Name.
    Name(String),
}

/// The level at which a line is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Active {
    /// High.
    #[default]
    High,
    /// Low.
    Low,
}

/// What the chip pulls an input to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// Nothing that we ask for.
    #[default]
    AsIs,
    /// High.
    PullUp,
    /// Low.
    PullDown,
}

/// Reads the table and refuses what contradicts itself. For `deserialize_with`.
pub fn checked<'de, D: Deserializer<'de>>(from: D) -> Result<DoorConfig, D::Error> {
    let config = DoorConfig::deserialize(from)?;
    config.problem().map_or(Ok(config), |problem| Err(serde::de::Error::custom(problem)))
}

impl DoorConfig {
    /// What is wrong, in words.
    pub fn problem(&self) -> Option<String> {
        let outside = |name: &str, value: u64, range: &std::ops::RangeInclusive<u64>| {
            let words = format!("{name} is {value}; give {} to {}", range.start(), range.end());
            (!range.contains(&value)).then_some(words)
        };
        outside("open_ms", self.open_ms, &limits::LOCK_OPEN_MS)
            .or_else(|| outside("held_open_s", self.held_open_s, &limits::DOOR_HELD_OPEN_SECONDS))
            .or_else(|| self.driver_problem().map(str::to_owned))
            .or_else(|| self.lines().find_map(|(name, line)| self.line_problem(name, line)))
            .or_else(|| self.shared_line())
    }

    fn driver_problem(&self) -> Option<&'static str> {
        if self.has_lock() && self.fail.is_none() {
            return Some(
                "the lock has no \"fail\". Say what the door is while the lock's relay is off, as it is without power or \
                 program: fail = \"secure\" (locked; people must get out by the handle) or fail = \"safe\" (open). \
                 There is no default, because a wrong one locks people in or lets anybody in; see deploy/DOOR.md",
            );
        }
        match self.driver {
            Driver::Gpiocdev if self.chip.is_none() => Some(
                "driver \"gpiocdev\" needs \"chip\": a label such as \"pinctrl-bcm2711\" (Raspberry Pi 4), or a path \
                 such as \"/dev/gpiochip0\"; gpiodetect lists them",
            ),
            Driver::Gpiocdev | Driver::Rppal if self.lines().next().is_none() => Some(
                "the driver has no line: give at least one of lock, green, red, buzzer, contact, exit and fire",
            ),
            Driver::Recorded if self.record.is_none() => {
                Some("driver \"recorded\" needs \"record\": a file to write")
            }
            _ => None,
        }
    }

    fn line_problem(&self, name: &str, line: &Line) -> Option<String> {
        match &line.line {
            LineId::Name(text) if self.driver == Driver::Rppal => Some(format!(
                "{name}.line is \"{}\"; driver \"rppal\" knows lines by BCM number only",
                text.escape_debug()
            )),
            LineId::Number(number) if self.driver == Driver::Rppal && *number > 27 => {
                Some(format!("{name}.line is {number}; the header of a Raspberry Pi has BCM 0 to 27"))
            }
            LineId::Name(text) if text.is_empty() || text.chars().count() > limits::PIN_NAME_CHARS => {
                Some(format!("{name}.line must have 1 to {} characters", limits::PIN_NAME_CHARS))
            }
            _ => None,
        }
    }

    fn shared_line(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        let (name, _) = self.lines().find(|(_, line)| !seen.insert(&line.line))?;
        Some(format!("{name}.line is another one's line too; each needs its own"))
    }

    /// Every line that is configured, with its key.
    pub fn lines(&self) -> impl Iterator<Item = (&'static str, &Line)> {
        let outputs = Output::ALL.map(|output| (output.name(), self.output(output)));
        let inputs = Input::ALL.map(|input| (input.name(), self.input(input)));
        outputs.into_iter().chain(inputs).filter_map(|(name, line)| Some((name, line?)))
    }

    /// The line of an output.
    pub fn output(&self, output: Output) -> Option<&Line> {
        match output {
            Output::Lock => self.lock.as_ref(),
            Output::Green => self.green.as_ref(),
            Output::Red => self.red.as_ref(),
            Output::Buzzer => self.buzzer.as_ref(),
        }
    }

    /// The line of an input.
    pub fn input(&self, input: Input) -> Option<&Line> {
        match input {
            Input::Contact => self.contact.as_ref(),
            Input::Exit => self.exit.as_ref(),
            Input::Fire => self.fire.as_ref(),
        }
    }

    /// Whether there is a lock. A recorded door has all lines.
    pub fn has_lock(&self) -> bool {
        match self.driver {
            Driver::None => false,
            Driver::Recorded => true,
            Driver::Gpiocdev | Driver::Rppal => self.lock.is_some(),
        }
    }

    /// Whether the lock's relay must be on for the lock to be released, or not.
    pub fn is_energised(&self, is_released: bool) -> bool {
        is_released != (self.fail == Some(Fail::Safe))
    }

    /// Time of one opening.
    pub fn open(&self) -> Duration {
        Duration::from_millis(self.open_ms)
    }

    /// Time that the door may stand open.
    pub fn held_open(&self) -> Duration {
        Duration::from_secs(self.held_open_s)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn problem(text: &str) -> Option<String> {
        toml::from_str::<DoorConfig>(text).unwrap().problem()
    }

    #[test]
    fn a_contradiction_is_refused_with_what_to_do() {
        let gpio = "driver = \"gpiocdev\"\nchip = \"a\"\n";
        for (text, words) in [
            (format!("{gpio}lock = {{ line = 17 }}"), "the lock has no \"fail\""),
            ("driver = \"recorded\"\nrecord = \"a\"".into(), "the lock has no \"fail\""),
            ("driver = \"recorded\"\nfail = \"safe\"".into(), "needs \"record\""),
            ("driver = \"gpiocdev\"\ngreen = { line = 1 }".into(), "needs \"chip\""),
            (gpio.into(), "has no line"),
            ("driver = \"rppal\"\ngreen = { line = \"GPIO17\" }".into(), "by BCM number only"),
            ("driver = \"rppal\"\ngreen = { line = 28 }".into(), "BCM 0 to 27"),
            (format!("{gpio}green = {{ line = 4 }}\nred = {{ line = 4 }}"), "red.line is another one's"),
            (format!("{gpio}green = {{ line = 4 }}\nfire = {{ line = 4 }}"), "fire.line is another one's"),
            (format!("{gpio}green = {{ line = \"\" }}"), "1 to 64 characters"),
            ("open_ms = 499".into(), "open_ms is 499; give 500 to 30000"),
            ("open_ms = 30001".into(), "give 500 to 30000"),
            ("held_open_s = 4".into(), "held_open_s is 4; give 5 to 3600"),
        ] {
            let problem = problem(&text).unwrap_or_else(|| panic!("{text:?} is accepted"));
            assert!(problem.contains(words), "{text:?}: {problem}");
        }
        assert_eq!(problem(""), None);
        assert_eq!(
            problem(&format!("{gpio}lock = {{ line = \"GPIO17\", active = \"low\" }}\nfail = \"safe\"")),
            None
        );
        assert_eq!(problem(&format!("{gpio}green = {{ line = 1 }}")), None);
    }

    #[test]
    fn the_relay_is_off_in_the_state_that_the_lock_falls_to() {
        let mut config = DoorConfig { fail: Some(Fail::Secure), ..DoorConfig::default() };
        assert_eq!((config.is_energised(true), config.is_energised(false)), (true, false));
        config.fail = Some(Fail::Safe);
        assert_eq!((config.is_energised(true), config.is_energised(false)), (false, true));
    }
}
