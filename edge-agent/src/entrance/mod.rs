//! Who comes in: takes verdicts and credentials, asks the rules of the door, writes the event, opens, and tells the
//! screen.

pub mod counters;
mod desk;
pub mod events;
mod names;
mod rules;

use rollcall_core::UtcInstant;

pub use desk::{Desk, Inbox};
pub use names::{GivenName, first_name};
pub use rules::Rules;

/// What the screen says of the latest passage. Replaced by the next, and over after some seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// From 1, one more with each.
    pub number: u64,
    /// When, by the wall clock.
    pub at: UtcInstant,
    /// What.
    pub what: Announced,
    /// Whether the event is on the disk; when not, the screen says "not yet logged".
    pub is_logged: bool,
}

/// See [`Announcement`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// Somebody came in or went out.
    Welcome {
        /// As they are called on the screen.
        first_name: String,
        /// Whether they go out here.
        is_leaving: bool,
    },
    /// "Please use your badge or PIN": nobody who is enrolled, or it cannot be told.
    UseAnother,
    /// "Anna or Ella? Please use your badge or PIN."
    Between(String, String),
    /// Known, and may not pass here or now.
    NotNow,
    /// The PIN, card or badge is not valid.
    CredentialInvalid,
    /// Too many wrong ones: wait so many seconds.
    WaitSeconds(u32),
    /// The door is locked down.
    LockedDown,
}

/// What the terminal is, for the screen's line of state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The door's name.
    pub door: String,
    /// No camera, or why its picture is of no use.
    pub camera_lost: bool,
    /// Whether the door is locked down.
    pub locked_down: bool,
    /// Whether the fire input has released the door.
    pub fire: bool,
    /// Events that wait for room on the disk.
    pub not_logged: usize,
    /// Since when the hub was not reached; `None`: there is no hub, or it is reached.
    pub offline_since: Option<UtcInstant>,
    /// The digits that an operator compares with those of the hub, while this terminal asks to be adopted.
    pub digits: Option<String>,
    /// Whether the clock was not set.
    pub clock_unset: bool,
}
