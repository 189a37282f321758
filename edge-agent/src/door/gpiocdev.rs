//! Lines of the kernel's GPIO character device, by the crate `gpiocdev`.
//!
//! The kernel gives a line to one process and takes it back when that ends, however it ends. What its level is then is
//! the chip driver's matter: most make it an input, so that a resistor decides; Raspberry Pi's own kernel leaves an
//! output as it was unless `config.txt` says `dtparam=strict_gpiod` (raspberrypi/linux#6117, #6150).
//!
//! All lines of a part are one request, so that a part is had whole or not at all. Levels are logical here: the kernel
//! turns those of lines that are active low.

use std::os::fd::{AsFd as _, BorrowedFd};

use gpiocdev::line::{Bias as KernelBias, EdgeDetection, Offset, Value};
use gpiocdev::{Chip, Request};

use super::config::{Active, Bias, DoorConfig, Line, LineId};
use super::pins::{Input, Inputs, Output, Part, PinError, Pins};

/// What gpioinfo says of who has the lines.
const CONSUMER: &str = "rollcall";

/// Lines of one part; without a request when none of them is wired.
pub struct Lines {
    request: Option<Request>,
    outputs: Vec<(Output, Offset)>,
    inputs: Vec<(Input, Offset)>,
}

impl Lines {
    /// Requests the lines of a part, outputs inactive.
    ///
    /// # Errors
    /// There is no such chip or line, or another process has it.
    pub fn open(config: &DoorConfig, part: Part) -> Result<Self, PinError> {
        let outputs = part.outputs().iter().filter_map(|output| Some((*output, config.output(*output)?)));
        let inputs = part.inputs().iter().filter_map(|input| Some((*input, config.input(*input)?)));
        let (outputs, inputs): (Vec<_>, Vec<_>) = (outputs.collect(), inputs.collect());
        let mut lines = Self { request: None, outputs: Vec::new(), inputs: Vec::new() };
        if outputs.is_empty() && inputs.is_empty() {
            return Ok(lines);
        }
        let name = config.chip.as_deref().unwrap_or_default();
        let chip = chip(name)?;
        let mut builder = Request::builder();
        builder.on_chip(chip.path()).with_consumer(CONSUMER);
        for (output, line) in outputs {
            let offset = offset(&chip, name, line)?;
            builder.with_line(offset).as_output(Value::Inactive);
            polarise(&mut builder, line);
            lines.outputs.push((output, offset));
        }
        for (input, line) in inputs {
            let offset = offset(&chip, name, line)?;
            builder.with_line(offset).as_input().with_edge_detection(EdgeDetection::BothEdges);
            builder.with_bias(match line.bias {
                Bias::AsIs => None,
                Bias::PullUp => Some(KernelBias::PullUp),
                Bias::PullDown => Some(KernelBias::PullDown),
            });
            polarise(&mut builder, line);
            lines.inputs.push((input, offset));
        }
        lines.request = Some(builder.request().map_err(|error| match &error {
            // EBUSY has no variant of its own.
            gpiocdev::Error::Uapi(_, why) if why.to_string().contains("busy") => {
                PinError::Busy(error.to_string())
            }
            _ => failed("request the lines")(error),
        })?);
        Ok(lines)
    }
}

/// Which chips there are: name, label and number of lines.
pub fn chips() -> Vec<String> {
    let paths = gpiocdev::chip::chips().unwrap_or_default();
    let infos = paths.iter().filter_map(|path| Chip::from_path(path).ok()?.info().ok());
    infos.map(|info| format!("{} \"{}\" with {} lines", info.name, info.label, info.num_lines)).collect()
}

/// Who has a line; `None`: nobody. Changes nothing.
///
/// # Errors
/// There is no such chip or line.
pub fn user(config: &DoorConfig, line: &Line) -> Result<Option<String>, PinError> {
    let name = config.chip.as_deref().unwrap_or_default();
    let chip = chip(name)?;
    let info = chip.line_info(offset(&chip, name, line)?).map_err(failed("look at a line"))?;
    Ok(info.used.then_some(info.consumer))
}

impl Pins for Lines {
    fn set(&mut self, output: Output, is_active: bool) -> Result<(), PinError> {
        let offset = self.outputs.iter().find(|(wired, _)| *wired == output).map(|(_, offset)| *offset);
        let (Some(request), Some(offset)) = (&self.request, offset) else { return Ok(()) };
        let value = if is_active { Value::Active } else { Value::Inactive };
        request.set_value(offset, value).map(|_| ()).map_err(failed("set a line"))
    }

    fn inputs(&mut self) -> Result<Inputs, PinError> {
        let mut read = Inputs::default();
        let Some(request) = &self.request else { return Ok(read) };
        if !self.inputs.is_empty() {
            // What they say is read below; they only have woken us.
            while request.has_edge_event().map_err(failed("look for edges"))? {
                request.read_edge_event().map_err(failed("read an edge"))?;
            }
        }
        for (input, offset) in &self.inputs {
            let value = request.value(*offset).map_err(failed("read a line"))?;
            read.set(*input, value == Value::Active);
        }
        Ok(read)
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.request.as_ref().filter(|_| !self.inputs.is_empty()).map(|request| request.as_fd())
    }
}

fn polarise(builder: &mut gpiocdev::request::Builder, line: &Line) {
    match line.active {
        Active::High => builder.as_active_high(),
        Active::Low => builder.as_active_low(),
    };
}

/// The chip of this path, label or name.
fn chip(name: &str) -> Result<Chip, PinError> {
    if name.starts_with('/') {
        return Chip::from_path(name).map_err(|_| PinError::NoChip(name.to_owned()));
    }
    let paths = gpiocdev::chip::chips().map_err(failed("list the chips"))?;
    let chips = paths.iter().filter_map(|path| Chip::from_path(path).ok());
    let is_it = |chip: &Chip| chip.info().is_ok_and(|info| info.label == name || info.name == name);
    chips.into_iter().find(is_it).ok_or_else(|| PinError::NoChip(name.to_owned()))
}

fn offset(chip: &Chip, chip_name: &str, line: &Line) -> Result<Offset, PinError> {
    let (found, name) = match &line.line {
        LineId::Number(number) => (chip.line_info(*number).ok(), number.to_string()),
        LineId::Name(name) => (chip.find_line_info(name), name.clone()),
    };
    let missing = || PinError::NoLine { chip: chip_name.to_owned(), line: name };
    found.map(|info| info.offset).ok_or_else(missing)
}

fn failed(what: &'static str) -> impl Fn(gpiocdev::Error) -> PinError {
    move |error| PinError::Failed { driver: "gpiocdev", what, why: error.to_string() }
}
