//! What the agent and the process that keeps the lock say to each other: one JSON object a line, over two pipes.
//!
//! Both are the same program, so there are no versions. A line that is no message ends the connection: whoever writes
//! such a line is not to be trusted with a door.

use rollcall_core::limits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::DoorConfig;
use super::lock::Opener;
use super::{DoorEvent, Keeping};

/// From the agent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The first one: which door, and whether it is locked down.
    Start {
        /// The door.
        config: Box<DoorConfig>,
        /// Whether it is locked down.
        is_locked_down: bool,
    },
    /// Release the lock for one opening.
    Open {
        /// When this was asked, by [`mono_ms`]. An old order is not obeyed.
        asked_ms: u64,
        /// For whom.
        opener: Opener,
    },
    /// Begin or end a lockdown.
    Lockdown(bool),
    /// Answer with a pong.
    Ping(u64),
}

/// From the process that keeps the lock.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It has the lines, and the lock is locked.
    Ready,
    /// It cannot go on, and ends.
    Failed {
        /// Why, in words.
        problem: String,
        /// Another process has the lines.
        is_busy: bool,
    },
    /// The answer to a ping.
    Pong(u64),
    /// Something happened.
    Event(DoorEvent),
    /// An order to open was not obeyed.
    Refused(Refusal),
    /// What it keeps, whenever that changes.
    State(Keeping),
}

/// Why an order to open was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The door is locked down.
    LockedDown,
    /// It came too late.
    Old,
}

/// Milliseconds of the machine's monotonic clock, the same for all processes.
pub fn mono_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// A message with its newline.
///
/// # Errors
/// None for the messages above; serde has no way to say so.
pub fn line<M: Serialize>(message: &M) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// What came that is no message.
#[derive(Debug, thiserror::Error)]
#[error("a message of the door is no message: {0}")]
pub struct Garbled(String);

/// Bytes that have come and are not a whole line yet.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Takes in bytes and gives the messages that are whole.
    ///
    /// # Errors
    /// A line is no message, or longer than one can be.
    pub fn take<M: DeserializeOwned>(&mut self, bytes: &[u8]) -> Result<Vec<M>, Garbled> {
        self.0.extend_from_slice(bytes);
        let Some(end) = self.0.iter().rposition(|byte| *byte == b'\n') else {
            return if self.0.len() > limits::DOOR_MESSAGE_BYTES {
                Err(Garbled(format!("it has more than {} bytes", limits::DOOR_MESSAGE_BYTES)))
            } else {
                Ok(Vec::new())
            };
        };
        let rest = self.0.split_off(end + 1);
        let whole = std::mem::replace(&mut self.0, rest);
        let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(|error| Garbled(error.to_string()))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn messages_come_out_however_the_bytes_are_cut() {
        let orders = [
            Order::Start { config: Box::default(), is_locked_down: true },
            Order::Open { asked_ms: 5, opener: Opener::Exempt },
            Order::Lockdown(false),
            Order::Ping(u64::MAX),
        ];
        let bytes: Vec<u8> = orders.iter().flat_map(|order| line(order).unwrap()).collect();
        for size in [1, 2, 3, 7, 50, bytes.len()] {
            let mut lines = Lines::default();
            let read: Vec<Order> = bytes.chunks(size).flat_map(|chunk| lines.take(chunk).unwrap()).collect();
            assert_eq!(read, orders, "{size} bytes at a time");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(Lines::default().take::<Order>(b"open sesame\n").is_err());
        assert!(Lines::default().take::<Order>(b"{\"open\":{\"asked_ms\":-1}}\n").is_err());
        assert!(Lines::default().take::<Order>(&vec![b' '; limits::DOOR_MESSAGE_BYTES + 1]).is_err());
        assert!(Lines::default().take::<Order>(&[0xff, b'\n']).is_err());
    }
}
