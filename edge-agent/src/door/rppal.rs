//! Lines of a Raspberry Pi's header, by the crate `rppal`: BCM numbers, registers in memory.
//!
//! A process that is killed leaves the pins as they are, so the unit's `ExecStopPost` runs `edge-agent door-safe`. For the
//! same reason a lock's pin stays an output when we end: as an input it would float. `rppal` is no longer maintained;
//! `gpiocdev` drives the same pins and is what to choose.

use std::os::fd::BorrowedFd;

use rppal::gpio::{Gpio, InputPin, OutputPin};

use super::config::{Active, Bias, DoorConfig, Line, LineId};
use super::pins::{Input, Inputs, Output, Part, PinError, Pins};

/// Pins of one part.
pub struct Header {
    outputs: Vec<(Output, Active, OutputPin)>,
    inputs: Vec<(Input, Active, InputPin)>,
}

impl Header {
    /// Takes the pins of a part, outputs inactive.
    ///
    /// # Errors
    /// This is no Raspberry Pi, its registers may not be used, or a pin does not exist.
    pub fn open(config: &DoorConfig, part: Part) -> Result<Self, PinError> {
        let mut header = Self { outputs: Vec::new(), inputs: Vec::new() };
        let gpio = Gpio::new().map_err(failed("open the GPIO registers"))?;
        for output in part.outputs() {
            let Some(line) = config.output(*output) else { continue };
            let pin = pin(&gpio, line)?;
            let mut pin = match line.active {
                Active::High => pin.into_output_low(),
                Active::Low => pin.into_output_high(),
            };
            pin.set_reset_on_drop(*output != Output::Lock);
            header.outputs.push((*output, line.active, pin));
        }
        for input in part.inputs() {
            let Some(line) = config.input(*input) else { continue };
            let pin = pin(&gpio, line)?;
            let pin = match line.bias {
                Bias::AsIs => pin.into_input(),
                Bias::PullUp => pin.into_input_pullup(),
                Bias::PullDown => pin.into_input_pulldown(),
            };
            header.inputs.push((*input, line.active, pin));
        }
        Ok(header)
    }
}

impl Pins for Header {
    fn set(&mut self, output: Output, is_active: bool) -> Result<(), PinError> {
        for (_, active, pin) in self.outputs.iter_mut().filter(|(wired, ..)| *wired == output) {
            match (*active == Active::High) == is_active {
                true => pin.set_high(),
                false => pin.set_low(),
            }
        }
        Ok(())
    }

    fn inputs(&mut self) -> Result<Inputs, PinError> {
        let mut read = Inputs::default();
        for (input, active, pin) in &self.inputs {
            read.set(*input, pin.is_high() == (*active == Active::High));
        }
        Ok(read)
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn pin(gpio: &Gpio, line: &Line) -> Result<rppal::gpio::Pin, PinError> {
    let missing =
        |line: &dyn std::fmt::Display| PinError::NoLine { chip: "rppal".to_owned(), line: line.to_string() };
    match &line.line {
        LineId::Name(name) => Err(missing(name)),
        LineId::Number(number) => {
            let bcm = u8::try_from(*number).map_err(|_| missing(number))?;
            gpio.get(bcm).map_err(failed("take a pin"))
        }
    }
}

fn failed(what: &'static str) -> impl Fn(rppal::gpio::Error) -> PinError {
    move |error| PinError::Failed { driver: "rppal", what, why: error.to_string() }
}
