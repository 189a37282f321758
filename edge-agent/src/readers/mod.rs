//! Other ways in than a face: a QR badge shown to the same camera, a card reader that types like a keyboard.

#![allow(dead_code, reason = "taken in use by the terminal's wiring, which comes next")]

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
