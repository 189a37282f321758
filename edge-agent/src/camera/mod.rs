//! Frames from a camera: a thread of its own that opens the camera, reads it, and opens it again whenever anything goes
//! wrong, for as long as the program runs.
//!
//! Between this thread and whoever looks at the frames there is one [`Slot`]: the latest frame wins, what it replaces is
//! counted as dropped. Frames are handed on as the camera sent them; they are decoded by whoever takes them, so that a
//! frame that nobody takes costs nothing. What can be told without decoding is checked first
//! ([`FrameLayout::check`]): torn frames and those of another size are skipped and counted.
//!
//! A scene in a file that is played once has an end: the state is then [`CameraState::Ended`] for ever, and the slot is
//! over once its last frame was taken ([`Slot::is_over`]).
//!
//! A driver that never returns from a call holds the thread up, and nothing here notices: whoever takes frames sees that
//! none come.

#![allow(dead_code, unused_imports, reason = "taken in use by the terminal's wiring, which comes next")]

mod choice;
mod clock;
mod command;
mod config;
mod file;
pub mod inspect;
mod node;
mod slot;
#[cfg(test)]
mod tests;
mod thread;
mod v4l;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rollcall_vision::decode::FrameLayout;
use tokio::sync::watch;

pub use config::{Config, Settings};
pub use slot::Slot;
pub use thread::{CameraThread, Counters};

use clock::{Clock, SystemClock};

/// A frame as the camera sent it.
#[derive(Debug)]
pub struct Frame {
    /// The bytes, in the order that `layout` says.
    pub bytes: Vec<u8>,
    /// How they are to be read.
    pub layout: FrameLayout,
    /// When it was taken from the camera.
    pub captured: Instant,
    /// From 1, one more with each frame that the camera gave, dropped ones too.
    pub number: u64,
}

/// How the camera is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraState {
    /// None is configured: people come in by badge, PIN or card.
    Off,
    /// It is being opened for the first time.
    Opening,
    /// Frames come.
    Working {
        /// Device, format, size and rate, for a log line.
        format: String,
    },
    /// There is none, or it has stopped; it is looked for again and again.
    Lost {
        /// What failed, on what, what to do.
        reason: String,
    },
    /// The scene that was to be played once is over; nothing more comes.
    Ended,
}

/// What the rest of the program has of the camera.
#[derive(Clone, Debug)]
pub struct CameraFeed {
    /// Where the frames are.
    pub slot: Arc<Slot>,
    /// How the camera is: within two seconds of its failure.
    pub state: watch::Receiver<CameraState>,
    /// What was counted.
    pub counters: Arc<Counters>,
}

/// Starts the camera's thread. The camera need not be there.
///
/// # Errors
/// When the system gives no thread.
pub fn start(settings: Settings) -> io::Result<(CameraThread, CameraFeed)> {
    let clock = Arc::new(SystemClock::default());
    let source = source(settings, Arc::clone(&clock) as Arc<dyn Clock>);
    thread::start(source, clock)
}

/// `None` when no camera is configured.
fn source(settings: Settings, clock: Arc<dyn Clock>) -> Option<Box<dyn Source>> {
    match settings {
        Settings::Off => None,
        Settings::V4l { device, wanted } => Some(Box::new(v4l::V4lSource::new(device, wanted))),
        Settings::Command { argv, output } => Some(Box::new(command::CommandSource::new(argv, output))),
        Settings::File { path, rate, ending } => {
            Some(Box::new(file::FileSource::new(path, rate, ending, clock)))
        }
    }
}

/// A camera that can be opened, and opened again.
trait Source: Send {
    /// Looks for it anew and opens it.
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError>;
}

/// An open camera. It may panic, as drivers' wrappers do: the thread takes that for an error.
trait Camera {
    /// Which one: the device, program or file, for a log line.
    fn name(&self) -> String;

    /// Frames a second that it agreed to, where that is known.
    fn rate(&self) -> Option<f64>;

    /// Replaces the content of the buffer by the newest frame. Waits at most
    /// [`CAMERA_POLL_MS`](rollcall_core::limits::CAMERA_POLL_MS) longer than one frame takes, then says
    /// [`CameraError::TimedOut`].
    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Grabbed, CameraError>;
}

/// What is known of a frame besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grabbed {
    layout: FrameLayout,
    /// Older frames that waited and were passed over.
    passed_over: u64,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// Nothing came in the time of one call. Alone it means nothing.
    #[error("no picture came")]
    TimedOut,
    /// A frame came and is of no use. Alone it means nothing.
    #[error("a picture is of no use: {0}")]
    Unusable(String),
    /// The scene is over.
    #[error("the scene is over")]
    Ended,
    /// No device can be used.
    #[error("no camera was found: {0}")]
    NotFound(String),
    /// A device fails.
    #[error("the camera {device} fails at {action}: {source}{}", hint(.source))]
    Device {
        /// Which.
        device: String,
        /// What it was to do.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A device has no format that can be decoded.
    #[error("the camera {device} offers no format that can be used: {problem}; choose another camera")]
    NoFormat {
        /// Which.
        device: String,
        /// What it offers.
        problem: String,
    },
    /// A program cannot be started.
    #[error(
        "the camera's program \"{program}\" does not start: {source}; install it, or correct camera.command"
    )]
    NotStarted {
        /// Which.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// A program ended.
    #[error("the camera's program \"{program}\" ended ({status}){said}; run it by hand to see why")]
    Exited {
        /// Which.
        program: String,
        /// How.
        status: String,
        /// The last that it wrote to its standard error, with what leads to it.
        said: String,
    },
    /// A file or folder cannot be played.
    #[error("{}: {problem}; correct camera.file", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It is open and gives nothing good.
    #[error("the camera {camera} gives no good picture{why}; look at its cable")]
    Silent {
        /// Which.
        camera: String,
        /// What it gave instead, with what leads to it.
        why: String,
    },
    /// The driver's wrapper panicked.
    #[error("the camera's driver failed unexpectedly at {0}")]
    Panicked(&'static str),
}

/// What to do about what the system says.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::BUSY) => "; end the other program that uses it",
        Some(rustix::io::Errno::ACCESS) => "; let this program's user into the group \"video\"",
        Some(rustix::io::Errno::NODEV | rustix::io::Errno::NOENT) => "; plug it in",
        Some(rustix::io::Errno::NOSPC) => "; plug it into another USB port, or ask for a smaller picture",
        _ => "",
    }
}
