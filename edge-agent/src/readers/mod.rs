//! Other ways in than a face: a QR badge shown to the same camera, a card reader that types like a keyboard.

pub mod badge;
pub mod card;
mod keys;
pub mod pin;

use std::path::PathBuf;

use serde::Deserialize;

/// `[readers]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadersConfig {
    /// Whether the camera's picture is searched for badges.
    pub badge: bool,
    /// The device of a card reader that types like a keyboard; `None`: there is none.
    pub card: Option<PathBuf>,
}

impl Default for ReadersConfig {
    fn default() -> Self {
        Self { badge: true, card: None }
    }
}

/// Why a reader does not run.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The machine has no thread for it.
    #[error("no thread for a reader of credentials: {0}; has the machine too little memory?")]
    Thread(std::io::Error),
}

/// What somebody presented.
#[derive(Clone, PartialEq, Eq)]
pub enum Presented {
    /// Digits typed on the screen.
    Pin(String),
    /// What a reader sent of a card.
    Card(String),
    /// The text of a QR code.
    Badge(String),
}

/// Secrets: not for a log.
impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pin(_) => "Pin",
            Self::Card(_) => "Card",
            Self::Badge(_) => "Badge",
        })
    }
}
