//! What the fleet's service needs of adoption, which another part does: who asks, adopting one, and a token for one.

use std::future::Future;
use std::pin::Pin;

use rollcall_core::{TerminalId, UtcInstant};

use crate::TerminalError;

/// An answer that is being made.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, TerminalError>> + Send + 'a>>;

/// Adopts terminals.
pub trait Adopting: Send + Sync + 'static {
    /// Terminals that ask to be adopted, the oldest first.
    ///
    /// # Errors
    /// The database.
    fn list(&self, now: UtcInstant) -> Answering<'_, Vec<Asking>>;

    /// Adopts the one whose digits were compared: when it returns, the terminal is registered with the fleet.
    ///
    /// # Errors
    /// `NOT_FOUND`: it does not ask, or other digits are its own.
    fn adopt(
        &self,
        terminal: TerminalId,
        display_name: String,
        digits: String,
        by: String,
        now: UtcInstant,
    ) -> Answering<'_, ()>;

    /// A secret with which one terminal can be adopted.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `LIMIT_REACHED`.
    fn create_token(&self, display_name: String, by: String, now: UtcInstant) -> Answering<'_, NewToken>;
}

/// A terminal that asks to be adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Which.
    pub terminal: TerminalId,
    /// Six digits, to be compared with those on its screen.
    pub digits: String,
    /// Where it asks from.
    pub address: String,
    /// Since when.
    pub since: UtcInstant,
    /// What it calls itself.
    pub display_name: String,
    /// The version of its software.
    pub software: String,
    /// People that it would bring.
    pub people: u64,
    /// Events that it would bring.
    pub events: u64,
}

/// A secret for one adoption. It has no `Debug`: it is in no line of the log.
pub struct NewToken {
    /// Address, key pin and secret in one text.
    pub text: String,
    /// When it is over.
    pub expires: UtcInstant,
}
