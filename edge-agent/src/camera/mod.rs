//! Frames from a camera: a thread of its own that opens the camera, reads it, and opens it again whenever anything goes
//! wrong, for as long as the program runs.
//!
//! Between this thread and whoever looks at the frames there is one [`Slot`]: the latest frame wins, what it replaces is
//! counted as dropped. Frames are handed on as the camera sent them; they are decoded by whoever takes them, so that a
//! frame that nobody takes costs nothing.

#![allow(dead_code, reason = "taken in use by the terminal's wiring, which comes next")]

use std::time::Instant;

use rollcall_vision::decode::FrameLayout;

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
}
