//! Registers: what the doors and people's own marks say of each person who was expected in a session.
//!
//! A mark is a function of the session, of who passed which door when, of how far every door that counts has
//! reported, and of the marks that people have set. Nothing else goes in, and no clock is read here.
//!
//! Promises, each held by a test:
//! - the order in which passages and amendments arrive changes nothing, and neither do repetitions of one;
//! - one more arrival never turns somebody who was there into somebody who was not;
//! - what is not known is not invented: without a passage out nobody has left, and nobody is absent before every door
//!   that counts has reported past the close;
//! - a mark that a person has set stands above what the doors say;
//! - a closed register does not see what was stored after its closing, amendments excepted.
//!
//! Not here: codes and their meaning (`codes.rs`), and where any of it is stored (`store/`).

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_core::{EventId, TerminalId, UtcInstant};

use crate::codes::{self, CodeSet, Finding, State};
use crate::timetable::Session;

/// A door that sees somebody leave so soon after a door has seen them come saw the same passage: two cameras at one
/// entrance. Nobody is through a school in ten seconds.
const SAME_PASSAGE: Duration = Duration::from_secs(10);

/// Which way somebody passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// In, or not said: a door that does not know takes attendance.
    In,
    /// Out.
    Out,
}

/// Somebody passed a door, or was seen by a human to come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// When.
    pub time: UtcInstant,
    /// The event that says so.
    pub event: EventId,
    /// Where it stands among all events stored here.
    pub position: i64,
    /// The terminal that saw it; `None`: a human did, and that counts everywhere.
    pub terminal: Option<TerminalId>,
    /// Which way.
    pub direction: Direction,
}

/// A mark that a human set, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The event that says so.
    pub event: EventId,
    /// When it was set.
    pub time: UtcInstant,
    /// What the register said before.
    pub old_code: String,
    /// What it says since.
    pub new_code: String,
    /// accounts/ID or tokens/ID.
    pub by: String,
}

/// How far a terminal has reported: everything that it saw before is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Which.
    pub terminal: TerminalId,
    /// Up to when.
    pub reported: UtcInstant,
}

/// How much of a session is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Every passage before this is here.
    pub until: UtcInstant,
    /// Terminals that count and have not reported up to the session's end, by id.
    pub waiting_for: Vec<TerminalId>,
}

impl Known {
    /// What is known of `session` at `now`, with these terminals. One that counts and is not among them has never
    /// reported.
    pub fn of(session: &Session, watermarks: &[Watermark], now: UtcInstant) -> Self {
        let mut reported: BTreeMap<TerminalId, UtcInstant> =
            session.terminals.iter().map(|terminal| (*terminal, UtcInstant::from_micros(i64::MIN))).collect();
        for mark in watermarks.iter().filter(|mark| session.counts(mark.terminal)) {
            let known = reported.entry(mark.terminal).or_insert(mark.reported);
            *known = mark.reported.max(*known);
        }
        let until = reported.values().fold(now, |until, reported| until.min(*reported));
        let waiting_for =
            reported.into_iter().filter(|(_, reported)| *reported < session.end).map(|(id, _)| id).collect();
        Self { until, waiting_for }
    }

    /// As if every terminal had reported: what a register is closed with.
    pub fn all(session: &Session) -> Self {
        Self { until: session.end, waiting_for: Vec::new() }
    }

    /// Whether nothing that a door could still report changes the marks.
    pub fn is_final(&self, session: &Session) -> bool {
        session.cancelled || self.until >= session.end
    }
}

/// When somebody was there, as far as the doors tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visit {
    /// When they came: the first time, or, of those who were not there at the start, the first time after it.
    pub arrive: Option<UtcInstant>,
    /// When they last left; `None` when they did not, or came back.
    pub leave: Option<UtcInstant>,
}

/// One mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The code.
    pub code: &'static codes::Code,
    /// It may still change by itself.
    pub provisional: bool,
}

/// What the doors say of one person: the part of a register's line that a closing keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The mark.
    pub mark: Mark,
    /// What it rests on.
    pub visit: Visit,
}

/// What the doors say of a person, of whom these are the passages, in any order, others' terminals and times included.
pub fn propose(session: &Session, set: CodeSet, passages: &[Passage], known: &Known) -> Proposal {
    let passages = of_session(session, passages);
    let (visit, finding) = visit(session, &passages, known);
    let code = set.proposed(finding, session.half);
    Proposal { mark: Mark { code, provisional: !known.is_final(session) }, visit }
}

/// The mark that stands: the newest that a human set, else what the doors say.
pub fn standing(proposal: &Proposal, amendments: &[Amendment]) -> Mark {
    let newest = amendments.iter().max_by_key(|amendment| (amendment.time, amendment.event));
    newest
        .and_then(|amendment| codes::find(&amendment.new_code))
        .map_or(proposal.mark, |code| Mark { code, provisional: false })
}

/// The amendments of one person in the order in which they were made, each once.
pub fn in_order(mut amendments: Vec<Amendment>) -> Vec<Amendment> {
    amendments.sort_by_key(|amendment| (amendment.time, amendment.event));
    amendments.dedup_by_key(|amendment| amendment.event);
    amendments
}

/// The etag of a line with so many amendments: marks are only ever added to it.
pub fn etag(amendments: &[Amendment]) -> String {
    amendments.len().to_string()
}

/// What was stored up to and including the closing at `position`.
pub fn before_closing(passages: &[Passage], position: i64) -> Vec<Passage> {
    passages.iter().filter(|passage| passage.position <= position).copied().collect()
}

/// Those that count to the session, in order, each once, without an exit that belongs to an entrance.
fn of_session(session: &Session, passages: &[Passage]) -> Vec<Passage> {
    let counts = |passage: &&Passage| {
        passage.terminal.is_none_or(|terminal| session.counts(terminal))
            && (session.open..session.end).contains(&passage.time)
    };
    let mut counted: Vec<Passage> = passages.iter().filter(counts).copied().collect();
    // Of two in one microsecond the way in comes last, so that it decides.
    counted.sort_by_key(|passage| (passage.time, std::cmp::Reverse(passage.direction), passage.event));
    let mut entered: Option<UtcInstant> = None;
    counted.retain(|passage| match passage.direction {
        Direction::In => {
            entered = Some(passage.time);
            true
        }
        Direction::Out => {
            let same = entered.is_some_and(|entered| passage.time.since(entered) <= SAME_PASSAGE);
            !(same && passage.terminal.is_some())
        }
    });
    counted
}

/// When somebody was there, and what follows, from passages in order.
fn visit(session: &Session, passages: &[Passage], known: &Known) -> (Visit, Finding) {
    let entrances = || passages.iter().filter(|passage| passage.direction == Direction::In);
    let until_start = passages.iter().take_while(|passage| passage.time <= session.start);
    let here_at_start = until_start.last().is_some_and(|passage| passage.direction == Direction::In);
    let arrive =
        entrances().find(|passage| here_at_start || passage.time > session.start).map(|passage| passage.time);
    let last = passages.last().filter(|passage| passage.direction == Direction::Out);
    let leave = last.map(|passage| passage.time);
    let finding = match arrive {
        _ if session.cancelled => Finding::Cancelled,
        None if known.until >= session.close => Finding::NotSeen,
        None => Finding::NotYetKnown,
        Some(arrive) if here_at_start || arrive < session.late => {
            let over = known.until >= session.end;
            let early = leave.zip(session.leave).is_some_and(|(leave, from)| leave < from);
            if over && early { Finding::LeftEarly } else { Finding::OnTime }
        }
        Some(arrive) if arrive < session.close => Finding::Late,
        Some(_) => Finding::AfterClose,
    };
    (Visit { arrive, leave }, finding)
}

/// Whether a person with this mark was in the session.
pub fn attended(state: State) -> bool {
    matches!(state, State::Present | State::Late | State::LeftEarly)
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
