//! V4L2 cameras: USB webcams (UVC), and whatever else streams MJPEG or YUV.
//!
//! The only file that names the `v4l` crate (0.14), whose traps it goes round:
//! - `Stream::next` gives the oldest frame that waits, so all that wait are taken and the newest is kept.
//! - After a time-out inside `next` the stream cannot go on: the buffer in hand is queued twice. So it is waited outside,
//!   with all buffers but the one in hand queued by hand before the start.
//! - `Stream` panics when it is dropped and cannot be stopped, and its buffers once more, which aborts the process. A
//!   stream that does not stop is left as it is: its descriptor and its mapped buffers are lost.
//! - Texts of a driver that are not UTF-8 and values that it does not know are panics: each device is looked at by itself
//!   ([`guarded`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_core::limits;
use rollcall_vision::decode::{FrameFormat, FrameLayout};
use rustix::event::PollFlags;
use v4l::buffer::{Flags as BufferFlags, Type};
use v4l::capability::Flags;
use v4l::device::Handle;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::choice::{Choice, Offer, OfferedSize, Wanted, choices};
use super::node::{Abilities, Node, Usability, judge};
use super::thread::guarded;
use super::{Camera, CameraError, Grabbed, Source};

const POLL: Duration = Duration::from_millis(limits::CAMERA_POLL_MS);

/// Buffers that a driver is asked for: one in hand, one ready, two being filled.
const BUFFERS: u32 = 4;

/// The most that a driver can give (`VIDEO_MAX_FRAME`).
const BUFFERS_MAX: usize = 32;

/// What is offered and refused: so many are tried.
const TRIES: usize = 4;

const FORMATS: [(&[u8; 4], FrameFormat); 5] = [
    (b"MJPG", FrameFormat::Mjpeg),
    (b"JPEG", FrameFormat::Mjpeg),
    (b"YUYV", FrameFormat::Yuyv),
    (b"NV12", FrameFormat::Nv12),
    (b"YU12", FrameFormat::Yuv420),
];

/// A device, or the first that can be used.
pub struct V4lSource {
    device: Option<PathBuf>,
    wanted: Wanted,
}

impl V4lSource {
    /// The device of this path; without one, whichever can be used.
    pub fn new(device: Option<PathBuf>, wanted: Wanted) -> Self {
        Self { device, wanted }
    }
}

impl Source for V4lSource {
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError> {
        if let Some(path) = &self.device {
            return open(&describe(path, &self.wanted)?, &self.wanted);
        }
        let mut found = Vec::new();
        for path in paths() {
            let camera = guarded("looking at it", || {
                let node = describe(&path, &self.wanted)?;
                if node.usability == Usability::RawSensor {
                    found.push(format!("{} is {}", path.display(), node.usability.advice()));
                }
                if node.usability == Usability::Camera {
                    open(&node, &self.wanted).map(Some)
                } else {
                    Ok(None)
                }
            });
            match camera {
                Ok(Some(camera)) => return Ok(camera),
                Ok(None) => {}
                Err(error) => found.push(error.to_string()),
            }
        }
        if found.is_empty() {
            found.push("plug a USB camera in, or set camera.source".to_owned());
        }
        Err(CameraError::NotFound(found.join("; ")))
    }
}

/// All devices. One that cannot be looked at is an error of its own.
pub fn nodes(wanted: &Wanted) -> Vec<(PathBuf, Result<Node, CameraError>)> {
    let look = |path: PathBuf| {
        let node = guarded("looking at it", || describe(&path, wanted));
        (path, node)
    };
    paths().into_iter().map(look).collect()
}

/// `/dev/videoN` by number.
fn paths() -> Vec<PathBuf> {
    let mut numbers: Vec<u32> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("video")?.parse().ok())
        .take(limits::CAMERA_NODES)
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| format!("/dev/video{number}").into()).collect()
}

/// Names of a device that udev keeps.
fn links(device: &Path) -> Vec<PathBuf> {
    let device = device.canonicalize().ok();
    let folders =
        ["/dev/v4l/by-id", "/dev/v4l/by-path"].into_iter().filter_map(|f| std::fs::read_dir(f).ok());
    let links = folders.flatten().take(limits::CAMERA_NODES * 2).filter_map(|entry| Some(entry.ok()?.path()));
    let mut links: Vec<PathBuf> =
        links.filter(|link| device.is_some() && link.canonicalize().ok() == device).collect();
    links.sort();
    links
}

fn fails(device: &Path, action: &'static str) -> impl FnOnce(io::Error) -> CameraError {
    let device = device.display().to_string();
    move |source| CameraError::Device { device, action, source }
}

fn describe(path: &Path, wanted: &Wanted) -> Result<Node, CameraError> {
    let device = Device::with_path(path).map_err(fails(path, "opening it"))?;
    let capabilities = device.query_caps().map_err(fails(path, "asking what it is"))?;
    let flags = capabilities.capabilities;
    let abilities = Abilities {
        captures: flags.contains(Flags::VIDEO_CAPTURE),
        streams: flags.contains(Flags::STREAMING),
        converts: flags.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE),
    };
    let offers = if abilities.captures { offers(&device, wanted) } else { Vec::new() };
    Ok(Node {
        path: path.to_owned(),
        links: links(path),
        usability: judge(&capabilities.driver, abilities, &offers),
        name: capabilities.card,
        driver: capabilities.driver,
        bus: capabilities.bus,
        offers,
    })
}

/// What a device offers. What it does not say is left empty.
fn offers(device: &Device, wanted: &Wanted) -> Vec<Offer> {
    let formats = device.enum_formats().unwrap_or_default();
    let offer = |fourcc: FourCC| Offer {
        code: fourcc.repr.escape_ascii().to_string(),
        format: FORMATS.iter().find(|(code, _)| **code == fourcc.repr).map(|(_, format)| *format),
        sizes: sizes(device, fourcc, wanted),
    };
    formats.iter().take(limits::CAMERA_OFFERS).map(|description| offer(description.fourcc)).collect()
}

fn sizes(device: &Device, fourcc: FourCC, wanted: &Wanted) -> Vec<OfferedSize> {
    let sizes = device.enum_framesizes(fourcc).unwrap_or_default();
    let size = |size| {
        let (width, height, step) = match size {
            FrameSizeEnum::Discrete(size) => (size.width..=size.width, size.height..=size.height, (1, 1)),
            FrameSizeEnum::Stepwise(size) => (
                size.min_width..=size.max_width,
                size.min_height..=size.max_height,
                (size.step_width, size.step_height),
            ),
        };
        let mut offered = OfferedSize { width, height, step, rates: Vec::new() };
        let (width, height) = offered.nearest(wanted);
        let intervals = device.enum_frameintervals(fourcc, width, height).unwrap_or_default();
        let rates = intervals.into_iter().take(limits::CAMERA_OFFERS);
        offered.rates = rates.filter_map(|interval| rate_range(&interval.interval)).collect();
        offered
    };
    sizes.into_iter().take(limits::CAMERA_OFFERS).map(|offered| size(offered.size)).collect()
}

fn rate_range(interval: &FrameIntervalEnum) -> Option<std::ops::RangeInclusive<f64>> {
    match interval {
        FrameIntervalEnum::Discrete(interval) => rate(interval).map(|rate| rate..=rate),
        FrameIntervalEnum::Stepwise(steps) => Some(rate(&steps.max)?..=rate(&steps.min)?),
    }
}

/// Frames a second of the time between two.
fn rate(interval: &Fraction) -> Option<f64> {
    (interval.numerator > 0 && interval.denominator > 0)
        .then(|| f64::from(interval.denominator) / f64::from(interval.numerator))
}

/// Opens a device with the best of what it offers.
fn open(node: &Node, wanted: &Wanted) -> Result<Box<dyn Camera>, CameraError> {
    let device = || node.path.display().to_string();
    let choices = choices(&node.offers, wanted);
    if node.usability != Usability::Camera || choices.is_empty() {
        return Err(CameraError::NoFormat {
            device: device(),
            problem: refusal(node.usability, &node.offers),
        });
    }
    let mut failure = None;
    for choice in choices.iter().take(TRIES) {
        match V4lCamera::start(node, choice) {
            Ok(camera) => return Ok(Box::new(camera)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| CameraError::NoFormat { device: device(), problem: "none".to_owned() }))
}

/// Why frames cannot be had from a device.
fn refusal(usability: Usability, offers: &[Offer]) -> String {
    match usability {
        Usability::NoCapture => "it captures no video, or nothing feeds it".to_owned(),
        Usability::RawSensor | Usability::Processor => format!("it is {}", usability.advice()),
        Usability::Camera | Usability::NoFormat => {
            let codes: Vec<&str> = offers.iter().map(|offer| offer.code.as_str()).collect();
            format!("it has {}", if codes.is_empty() { "none".to_owned() } else { codes.join(", ") })
        }
    }
}

struct V4lCamera {
    path: PathBuf,
    name: String,
    layout: FrameLayout,
    rate: Option<f64>,
    /// `None` only while it is dropped.
    stream: Option<Stream<'static>>,
    handle: Arc<Handle>,
}

impl V4lCamera {
    fn start(node: &Node, choice: &Choice) -> Result<Self, CameraError> {
        let path = node.path.as_path();
        let device = Device::with_path(path).map_err(fails(path, "opening it"))?;
        let layout = set_format(&device, path, choice)?;
        let interval = Fraction::new(1_000, (choice.rate * 1_000.0).round() as u32);
        // Not every driver can set it, or says what it set.
        let parameters = device.set_params(&Parameters::new(interval)).or_else(|_| device.params());
        let rate = parameters.ok().and_then(|parameters| rate(&parameters.interval));
        let stream = Stream::with_buffers(&device, Type::VideoCapture, BUFFERS);
        let mut camera = Self {
            path: path.to_owned(),
            name: format!("{} ({})", node.name, path.display()),
            layout,
            rate,
            stream: Some(stream.map_err(fails(path, "taking buffers"))?),
            handle: device.handle(),
        };
        camera.stream_on().map_err(fails(path, "starting"))?;
        Ok(camera)
    }

    /// Queues all buffers but the first, which `next` queues.
    fn stream_on(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        CaptureStream::queue(stream, 1)?;
        for index in 2..BUFFERS_MAX {
            if CaptureStream::queue(stream, index).is_err() {
                break;
            }
        }
        stream.start()
    }

    /// Whether a frame waits, or comes within this time.
    fn is_ready(&self, patience: Duration) -> io::Result<bool> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            match self.handle.poll(PollFlags::IN.bits() as i16, left_ms) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                polled => return Ok(polled? > 0),
            }
        }
    }
}

fn set_format(device: &Device, path: &Path, choice: &Choice) -> Result<FrameLayout, CameraError> {
    let no_format = |problem: String| CameraError::NoFormat { device: path.display().to_string(), problem };
    let codes = FORMATS.iter().filter(|(_, format)| *format == choice.format);
    let mut set = Err(io::Error::from(io::ErrorKind::Unsupported));
    for (code, _) in codes {
        set = device.set_format(&Format::new(choice.width, choice.height, FourCC::new(code)));
        if set.as_ref().is_ok_and(|set| set.fourcc.repr == **code) {
            break;
        }
    }
    let set = set.map_err(fails(path, "setting its format"))?;
    let known = FORMATS.iter().find(|(code, _)| **code == set.fourcc.repr);
    let (_, format) =
        known.ok_or_else(|| no_format(format!("it answers {}", set.fourcc.repr.escape_ascii())))?;
    let stride_bytes = if *format == FrameFormat::Mjpeg { 0 } else { set.stride };
    Ok(FrameLayout { width: set.width, height: set.height, format: *format, stride_bytes })
}

impl Camera for V4lCamera {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Grabbed, CameraError> {
        let failed = |error| fails(&self.path, "reading a frame")(error);
        if !self.is_ready(POLL).map_err(failed)? {
            return Err(CameraError::TimedOut);
        }
        let Some(stream) = &mut self.stream else { return Err(CameraError::TimedOut) };
        let mut passed_over = 0;
        loop {
            let (bytes, frame) = CaptureStream::next(stream).map_err(failed)?;
            let waits = self.handle.poll(PollFlags::IN.bits() as i16, 0).unwrap_or(0) > 0;
            if waits && passed_over < limits::CAMERA_BACKLOG {
                passed_over += 1;
                continue;
            }
            if frame.flags.contains(BufferFlags::ERROR) {
                return Err(CameraError::Unusable("its driver says that it is damaged".to_owned()));
            }
            let used = usize::try_from(frame.bytesused).unwrap_or(usize::MAX).min(bytes.len());
            buffer.clear();
            buffer.extend_from_slice(&bytes[..used]);
            return Ok(Grabbed { layout: self.layout, passed_over });
        }
    }
}

impl Drop for V4lCamera {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let no_device = Some(rustix::io::Errno::NODEV.raw_os_error());
        match stream.stop() {
            Ok(()) => drop(stream),
            Err(error) if error.raw_os_error() == no_device => drop(stream),
            Err(error) => {
                tracing::warn!(%error, device = %self.path.display(), "a camera does not stop; its buffers are lost");
                std::mem::forget(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_refused_says_why() {
        let offer = |code: &str| Offer { code: code.to_owned(), format: None, sizes: Vec::new() };
        assert_eq!(refusal(Usability::NoCapture, &[]), "it captures no video, or nothing feeds it");
        assert_eq!(refusal(Usability::NoFormat, &[]), "it has none");
        assert_eq!(refusal(Usability::NoFormat, &[offer("H264"), offer("HEVC")]), "it has H264, HEVC");
        assert!(refusal(Usability::RawSensor, &[]).starts_with("it is a camera module's raw sensor"));
    }
}
