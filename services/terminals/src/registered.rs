//! What a hub knows of a terminal that it adopted, and whether it trusts a certificate. Pure.

use rollcall_core::{TerminalId, UtcInstant, limits};

use crate::convert::text;
use crate::{Settings, TerminalError};

/// SHA-256 of a public key as it stands in a certificate (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// A terminal that was just adopted, by digits or by a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// Which.
    pub terminal: TerminalId,
    /// What its machine is known by; empty: it does not say.
    pub hardware: String,
    /// The version of its software.
    pub software: String,
    /// Where it was seen.
    pub address: String,
    /// The key of its certificate. From now on no other key of this terminal is trusted.
    pub key: KeyHash,
    /// When its certificate ends.
    pub certificate_expires: UtcInstant,
    /// What it is, as it brings it; [`Settings::first`] where it brings nothing. A terminal that was adopted before keeps
    /// what the hub has of it, but for the name.
    pub settings: Settings,
    /// Who adopted it, `accounts/ID` or `tokens/ID`.
    pub by: String,
}

/// A terminal that a hub adopted at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Which.
    pub terminal: TerminalId,
    /// Its name, which its settings have.
    pub display_name: String,
    /// What the machine is known by on which it was adopted; empty: it does not say.
    pub hardware: String,
    /// The version of its software, as last said.
    pub software: String,
    /// Where it was last seen.
    pub address: String,
    /// When it was adopted, the last time.
    pub adopted: UtcInstant,
    /// Since when it is not trusted.
    pub revoked: Option<UtcInstant>,
    /// Since when two devices have its certificate.
    pub cloned: Option<UtcInstant>,
    /// The one key in force.
    pub key: KeyHash,
    /// When its certificate ends.
    pub certificate_expires: UtcInstant,
}

/// Whether a certificate of a terminal is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its key is in force.
    Trusted,
    /// This hub never adopted the terminal.
    Unknown,
    /// The terminal was revoked.
    Revoked,
    /// The terminal was adopted again with another key.
    OtherKey,
}

impl KeyHash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl Adopted {
    /// # Errors
    /// `FIELD_INVALID`: the first value that is out of its range.
    pub fn check(&self) -> Result<(), TerminalError> {
        text("hw_id", self.hardware.clone(), limits::HARDWARE_ID_CHARS)?;
        text("software", self.software.clone(), limits::SOFTWARE_CHARS)?;
        text("address", self.address.clone(), limits::ADDRESS_CHARS)?;
        self.settings.check()
    }
}

impl Registered {
    /// Whether a certificate with this key is trusted.
    pub fn trust(&self, key: KeyHash) -> Trust {
        if self.revoked.is_some() {
            Trust::Revoked
        } else if self.key != key {
            Trust::OtherKey
        } else {
            Trust::Trusted
        }
    }
}
