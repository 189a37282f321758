//! What a driver of lines does. The drivers know levels; what a line means is known to those who use them.
//!
//! A driver opens only the lines of one [`Part`], because the kernel gives a line to one process: the lock and all inputs
//! belong to the supervisor, lights and buzzer to the agent. Every output is inactive from the moment that it is opened.

use std::os::fd::BorrowedFd;

use super::config::{DoorConfig, Driver};
use super::{gpiocdev, recorded, rppal};

/// A line that we set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The lock's relay: active is energised.
    Lock,
    /// The green light.
    Green,
    /// The red light.
    Red,
    /// The buzzer.
    Buzzer,
}

/// A line that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The door contact.
    Contact,
    /// The exit button.
    Exit,
    /// The fire input.
    Fire,
}

/// The lines that one process opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The lock and the inputs.
    Lock,
    /// Lights and buzzer.
    Lights,
}

/// What the inputs are; `None` is not wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The door is open.
    pub is_open: Option<bool>,
    /// The exit button is pressed.
    pub is_exit: Option<bool>,
    /// There is a fire.
    pub is_fire: Option<bool>,
}

/// What went wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no such chip.
    #[error("there is no GPIO chip \"{0}\"; gpiodetect lists the chips by name and label")]
    NoChip(String),
    /// There is no such line.
    #[error("GPIO chip \"{chip}\" has no line \"{line}\"; gpioinfo lists its lines")]
    NoLine {
        /// As configured.
        chip: String,
        /// As configured.
        line: String,
    },
    /// A line is used by another program.
    #[error("a line of the door is in use by another program ({0}); gpioinfo says by which")]
    Busy(String),
    /// The driver failed.
    #[error("{driver}: cannot {what}: {why}")]
    Failed {
        /// Its name.
        driver: &'static str,
        /// What it was to do.
        what: &'static str,
        /// What it said.
        why: String,
    },
}

/// Open lines.
pub trait Pins: Send {
    /// Makes an output active or inactive. One that is not wired is left alone.
    ///
    /// # Errors
    /// The driver's.
    fn set(&mut self, output: Output, is_active: bool) -> Result<(), PinError>;

    /// Reads all inputs.
    ///
    /// # Errors
    /// The driver's.
    fn inputs(&mut self) -> Result<Inputs, PinError>;

    /// What becomes readable when an input changes; `None`: nothing does, they must be read again and again.
    fn changes(&self) -> Option<BorrowedFd<'_>>;
}

/// Opens the lines of a part; outputs are inactive.
///
/// # Errors
/// There is no such chip or line, another program has it, or the driver fails.
pub fn open(config: &DoorConfig, part: Part) -> Result<Box<dyn Pins>, PinError> {
    Ok(match config.driver {
        Driver::None => Box::new(NoPins),
        Driver::Gpiocdev => Box::new(gpiocdev::Lines::open(config, part)?),
        Driver::Rppal => Box::new(rppal::Header::open(config, part)?),
        Driver::Recorded => Box::new(recorded::Recorded::open(config, part)?),
    })
}

struct NoPins;

impl Pins for NoPins {
    fn set(&mut self, _: Output, _: bool) -> Result<(), PinError> {
        Ok(())
    }

    fn inputs(&mut self) -> Result<Inputs, PinError> {
        Ok(Inputs::default())
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Output {
    /// All.
    pub const ALL: [Self; 4] = [Self::Lock, Self::Green, Self::Red, Self::Buzzer];

    /// Its key in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Green => "green",
            Self::Red => "red",
            Self::Buzzer => "buzzer",
        }
    }
}

impl Input {
    /// All.
    pub const ALL: [Self; 3] = [Self::Contact, Self::Exit, Self::Fire];

    /// Its key in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Exit => "exit",
            Self::Fire => "fire",
        }
    }
}

impl Part {
    /// Its outputs.
    pub fn outputs(self) -> &'static [Output] {
        match self {
            Self::Lock => &[Output::Lock],
            Self::Lights => &[Output::Green, Output::Red, Output::Buzzer],
        }
    }

    /// Its inputs.
    pub fn inputs(self) -> &'static [Input] {
        match self {
            Self::Lock => &Input::ALL,
            Self::Lights => &[],
        }
    }
}

impl Inputs {
    /// Sets one.
    pub fn set(&mut self, input: Input, is_active: bool) {
        *match input {
            Input::Contact => &mut self.is_open,
            Input::Exit => &mut self.is_exit,
            Input::Fire => &mut self.is_fire,
        } = Some(is_active);
    }
}
