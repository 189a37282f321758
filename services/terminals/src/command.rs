//! What a hub asks one terminal to do at once, and how that ends. Pure.
//!
//! A command is done at most once: one process takes it, for one connection, and nobody takes it again. It is void when
//! its patience is over by the clock of the hub, because whoever it was for has gone: a door that opens a minute later
//! opens for somebody else.

use std::time::Duration;

use rollcall_core::{CommandId, Fault, Reason, UtcInstant, limits};
use rollcall_proto::v1;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The door is to open for its usual time.
    OpenDoor,
}

/// A command that a terminal's connection has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which.
    pub id: CommandId,
    /// What.
    pub what: What,
    /// Who asked, `accounts/ID` or `tokens/ID`.
    pub by: String,
    /// When it is void.
    pub void: UtcInstant,
}

impl Command {
    /// As the contract has it, with what is left of its patience; `None` when nothing is.
    pub fn to_proto(&self, now: UtcInstant) -> Option<v1::Command> {
        let left = self.void.since(now);
        // A clock that was set back since must not give it more than it had.
        let left = left.min(Duration::from_millis(limits::COMMAND_PATIENCE_MS));
        let patience_ms = i32::try_from(left.as_millis()).ok().filter(|left_ms| *left_ms > 0)?;
        let What::OpenDoor = self.what;
        Some(v1::Command {
            command_id: self.id.to_bytes().to_vec().into(),
            by: self.by.clone(),
            patience_ms,
            what: Some(v1::command::What::OpenDoor(v1::command::OpenTheDoor {})),
        })
    }
}

/// How a terminal answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is not, and this is why.
    Refused(Fault),
}

impl Answer {
    /// The answer in the contract's words. A terminal does not choose what callers of its hub are told of themselves: of
    /// reasons only those count that can be about a door, and any other says that it could not be done now.
    pub fn from_proto(request: &v1::AnswerCommandRequest) -> Self {
        if request.reason.is_empty() {
            return Self::Done;
        }
        const OF_A_DOOR: [Reason; 3] = [Reason::HardwareAbsent, Reason::StateForbids, Reason::Unavailable];
        let reason = OF_A_DOOR.into_iter().find(|reason| reason.as_str() == request.reason);
        let words = request.message.chars().filter(|c| !c.is_control()).take(limits::NOTE_CHARS);
        Self::Refused(Fault::new(reason.unwrap_or(Reason::Unavailable), words.collect::<String>()))
    }

    /// The same, as the terminal says it.
    pub fn to_proto(&self, command: CommandId) -> v1::AnswerCommandRequest {
        let (reason, message) = match self {
            Self::Done => (String::new(), String::new()),
            Self::Refused(fault) => (fault.reason.as_str().to_owned(), fault.message.clone()),
        };
        v1::AnswerCommandRequest { command_id: command.to_bytes().to_vec().into(), reason, message }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_command_carries_what_is_left_of_its_patience_and_none_when_that_is_over() {
        let at = |ms: i64| UtcInstant::from_micros(ms * 1_000);
        let command = Command {
            id: CommandId::generate(),
            what: What::OpenDoor,
            by: "tokens/x".into(),
            void: at(10_000),
        };
        let patience_ms = |now| command.to_proto(now).map(|command| command.patience_ms);
        assert_eq!(patience_ms(at(8_000)), Some(2_000));
        assert_eq!(patience_ms(at(0)), Some(5_000), "a clock that was set back gives no more");
        assert_eq!(patience_ms(at(10_000)), None);
        assert_eq!(patience_ms(at(11_000)), None);
    }

    #[test]
    fn an_answer_travels_there_and_back() {
        let command = CommandId::generate();
        let absent = Answer::Refused(Fault::new(Reason::HardwareAbsent, "this terminal has no door"));
        for answer in [Answer::Done, absent] {
            assert_eq!(Answer::from_proto(&answer.to_proto(command)), answer);
        }
    }

    #[test]
    fn a_terminal_tells_the_hubs_callers_nothing_about_themselves() {
        let lying = v1::AnswerCommandRequest {
            reason: "CREDENTIALS_INVALID".into(),
            message: format!("sign in\nagain{}", "!".repeat(5_000)),
            ..Default::default()
        };
        let Answer::Refused(fault) = Answer::from_proto(&lying) else { panic!("it refuses") };
        assert_eq!(fault.reason, Reason::Unavailable);
        assert!(
            fault.message.starts_with("sign inagain") && fault.message.chars().count() == limits::NOTE_CHARS
        );
    }
}
