//! What a hub keeps of its contact with a terminal: plain values, with no rule in them. What they mean, and what becomes
//! of them at an Open, is `services/sync`'s to say.

use rollcall_core::{GalleryId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1::ClockQuality;

use crate::TerminalError;
use crate::convert::text;

/// The contact as both sides count it. A terminal that was just adopted has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The contact's number.
    pub number: u64,
    /// The random number that came with it.
    pub nonce: Vec<u8>,
    /// When the terminal came back with an older state, at most [`limits::CONTACT_FORKS`], the oldest first.
    pub forks: Vec<UtcInstant>,
    /// The machines that it was seen on, at most [`limits::CONTACT_MACHINES`].
    pub hardware: Vec<String>,
    /// Since when two devices have its certificate.
    pub cloned: Option<UtcInstant>,
}

impl Contact {
    /// # Errors
    /// `FIELD_INVALID`: more than is kept, or a text that is none.
    pub fn check(&self) -> Result<(), TerminalError> {
        let wrong = |field, problem: String| Err(TerminalError::Field { field, problem });
        if self.nonce.len() > limits::CONTACT_NONCE_SIZE_BYTES {
            let most = limits::CONTACT_NONCE_SIZE_BYTES;
            return wrong("nonce", format!("has {} bytes; give at most {most}", self.nonce.len()));
        }
        if self.forks.len() > limits::CONTACT_FORKS {
            return wrong("forks", format!("are {}; keep the newest", self.forks.len()));
        }
        if self.hardware.len() > limits::CONTACT_MACHINES {
            return wrong("hw_id", format!("is one of {}; keep the first", self.hardware.len()));
        }
        for hardware in &self.hardware {
            text("hw_id", hardware.clone(), limits::HARDWARE_ID_CHARS)?;
        }
        Ok(())
    }
}

/// What a terminal said in an Open that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The gallery that it has; `None`: none.
    pub gallery: Option<HeldGallery>,
    /// Lines of the erasure ledger that it applied.
    pub ledger_count: u64,
    /// The hash over them.
    pub ledger_hash: [u8; 32],
    /// What its clock said, and how much that is worth.
    pub clock: (UtcInstant, ClockQuality),
    /// The version of its software.
    pub software: String,
    /// Where it called from.
    pub address: String,
}

/// A gallery as a terminal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldGallery {
    /// Which history.
    pub gallery: GalleryId,
    /// How far in it.
    pub revision: u64,
    /// The hash over its rows.
    pub set_hash: [u8; 32],
}

/// What a hub last had from a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// When it last said anything.
    pub heard: Option<UtcInstant>,
    /// When it last opened.
    pub opened: Option<UtcInstant>,
    /// When it last sent events.
    pub pushed: Option<UtcInstant>,
    /// The gallery that it had at its last Open.
    pub gallery: Option<HeldGallery>,
    /// Lines of the erasure ledger that it had applied then, and the hash over them.
    pub ledger: Option<(u64, [u8; 32])>,
}

/// What a terminal's clock said, beside the hub's own at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Whose.
    pub terminal: TerminalId,
    /// What it said.
    pub said: UtcInstant,
    /// How much that is worth.
    pub quality: ClockQuality,
    /// What the hub's clock said then.
    pub at: UtcInstant,
}

impl ClockReading {
    /// Microseconds by which the terminal's clock was ahead of the hub's.
    pub fn offset_us(&self) -> i64 {
        self.said.micros().saturating_sub(self.at.micros())
    }
}
