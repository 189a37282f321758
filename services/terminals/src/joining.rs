//! How a terminal is asked to join a hub, and tells how that goes.

use std::pin::Pin;

use rollcall_core::Fault;
use tokio_stream::Stream;

use crate::adopting::Answering;
use crate::adoption::{JoinToken, NoToken};

/// What the program of a terminal does to join and leave a hub.
pub trait Joining: Send + Sync + 'static {
    /// Asks a hub to adopt this terminal. The stream does the work as it is read; dropped, it ends.
    ///
    /// # Errors
    /// `STATE_FORBIDS` when it belongs to a hub, or is asking one already.
    fn join(&self, how: HowToJoin) -> Result<JoinSteps, Fault>;

    /// Makes this terminal stand alone.
    ///
    /// # Errors
    /// `STATE_FORBIDS` when it does.
    fn leave(&self) -> Answering<'_, ()>;
}

/// How it goes. After [`JoinStep::Adopted`], [`JoinStep::Refused`] or a fault it is over.
pub type JoinSteps = Pin<Box<dyn Stream<Item = Result<JoinStep, Fault>> + Send>>;

/// How a terminal comes to a hub.
#[derive(Clone, PartialEq, Eq)]
pub enum HowToJoin {
    /// To the one that announces itself on this network, by digits.
    Nearby,
    /// To the one at this host:port, by digits.
    At(String),
    /// By a token, which says where.
    With(JoinToken),
}

impl HowToJoin {
    /// As it was asked for; a token goes before an address.
    ///
    /// # Errors
    /// A text that is no token.
    pub fn asked(address: &str, token: &str) -> Result<Self, NoToken> {
        match (address.trim(), token.trim()) {
            ("", "") => Ok(Self::Nearby),
            (address, "") => Ok(Self::At(address.to_owned())),
            (_, token) => JoinToken::parse(token).map(Self::With),
        }
    }
}

/// How joining goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinStep {
    /// It looks for a hub.
    Searching,
    /// An operator has to compare these digits with those that the hub shows, and to accept.
    Waiting {
        /// The hub's host:port.
        address: String,
        /// Six digits.
        digits: String,
    },
    /// It belongs to the hub.
    Adopted {
        /// The hub's host:port.
        address: String,
    },
    /// The hub has forgotten the request: nobody accepted it in time, or it was refused.
    Refused {
        /// The hub's host:port.
        address: String,
    },
}
