//! A terminal's events on their way up: what is to be done with each of its logs, and the pushes of one.
//!
//! Where to go on is told by the hub, each time: the terminal remembers nothing of what was acknowledged. So an answer
//! that was lost, a hub that was restored and a card that was restored need no case of their own:
//!
//! - the hub has a beginning of the log: the rest is pushed.
//! - the hub has the log and more: the log was rolled back, and nothing new is on it. It is closed, and still offered: a hub
//!   that is restored later needs it.
//! - the hub has another log under the same id, or a gap where this one has events: what is kept is moved to the end of
//!   another log and pushed from there. The hub knows an event that it has by its id. A fork costs a resend, never an
//!   event.
//! - the hub lacks what was deleted here: the rest is pushed after a gap, which the hub records.

use rollcall_attendance::ChainHash;
use rollcall_core::{LogId, limits};

/// A log as the terminal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLog {
    /// Which.
    pub log_id: LogId,
    /// The first number still kept; one more than `head` when none is.
    pub first: u64,
    /// The last number.
    pub head: u64,
    /// The chain there.
    pub head_hash: ChainHash,
    /// Whether events are appended to it.
    pub is_current: bool,
}

/// What the hub says that it has of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLog {
    /// Which.
    pub log_id: LogId,
    /// The highest number; 0: none.
    pub have: u64,
    /// The chain there. Absent: events that the terminal still has are missing at the hub under a recorded gap.
    pub have_hash: Option<ChainHash>,
    /// The hub's chain at the terminal's head, when it has that far and nothing is missing.
    pub at_head: Option<ChainHash>,
}

/// What the hub says after it has committed a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Of which log.
    pub log_id: LogId,
    /// The highest number that it has now.
    pub have: u64,
    /// The chain there.
    pub have_hash: ChainHash,
    /// Up to here the terminal may delete.
    pub prune_through: u64,
}

/// What is to be done with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Nothing,
    /// Push.
    Push(Pushing),
    /// It was rolled back: open a new log, and go on offering this one.
    Close,
    /// Move every event that is kept to the end of the current log, of a new one if this is it, then supersede it: it is
    /// empty and never offered again.
    Move,
}

/// Judges a log by what the hub has of it. `own_hash`: the terminal's chain at number `held.have`, where it is known still.
pub fn plan(own: &OwnLog, held: &HeldLog, own_hash: Option<ChainHash>) -> Plan {
    let before_first = own.first.saturating_sub(1);
    if held.have < before_first {
        return Plan::Push(Pushing { next: own.first, gap: true, is_question: false, stalls: 0 });
    }
    if held.have > own.head {
        return match held.at_head == Some(own.head_hash) {
            true if own.is_current => Plan::Close,
            true => question(own),
            false => Plan::Move,
        };
    }
    match held.have_hash.is_some() && held.have_hash == own_hash {
        true if held.have == own.head => question(own),
        true => Plan::Push(Pushing { next: held.have + 1, gap: false, is_question: false, stalls: 0 }),
        false => Plan::Move,
    }
}

/// A log that the hub has whole: its last event is sent once more, for the answer says what may be deleted.
fn question(own: &OwnLog) -> Plan {
    if own.first > own.head {
        return Plan::Nothing;
    }
    Plan::Push(Pushing { next: own.head, gap: false, is_question: true, stalls: 0 })
}

/// The pushes of one log, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushing {
    next: u64,
    gap: bool,
    is_question: bool,
    stalls: u32,
}

/// What to send. Events from `first_seq` on, as many as there are and as fit: at most [`limits::PUSH_EVENTS`] and
/// [`limits::PUSH_SIZE_BYTES`], whatever fits of them at once; with `gap` there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number of the first event.
    pub first_seq: u64,
    /// What is before it exists no more.
    pub gap: bool,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Committed.
    Ack(Acked),
    /// The hub has other events under these numbers.
    Forked,
    /// The hub has less than this push goes on from.
    PositionUnknown {
        /// Up to where it has the log.
        have: u64,
    },
    /// No answer, or none that means anything here.
    Failed,
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next request.
    Send,
    /// The hub has the log.
    Done,
    /// See [`Plan::Move`].
    Move,
    /// Begin with a Hello again, after a pause: what the hub has is not what it said.
    OpenAgain,
}

impl Pushing {
    /// What to send next; `None` when the hub has the log.
    pub fn request(&self, own: &OwnLog) -> Option<Request> {
        // What was deleted meanwhile had been acknowledged.
        let first_seq = self.next.max(own.first);
        (self.gap || first_seq <= own.head).then_some(Request { first_seq, gap: self.gap })
    }

    /// Takes an answer. `own`: the log as it is now; `own_hash`: its chain at the number that the answer says the hub has,
    /// where it is known still.
    pub fn answered(&mut self, answer: Answer, own: &OwnLog, own_hash: Option<ChainHash>) -> Next {
        match answer {
            Answer::Forked => Next::Move,
            Answer::Failed => Next::OpenAgain,
            Answer::Ack(ack) if ack.have > own.head && own.is_current => Next::OpenAgain,
            Answer::Ack(ack) if ack.have > own.head => Next::Done,
            Answer::Ack(ack) if own_hash.is_some_and(|own_hash| own_hash != ack.have_hash) => Next::Move,
            Answer::Ack(_) if self.is_question => Next::Done,
            Answer::PositionUnknown { have } if have > own.head => Next::OpenAgain,
            Answer::Ack(Acked { have, .. }) | Answer::PositionUnknown { have } => self.go_on(have, own),
        }
    }

    fn go_on(&mut self, have: u64, own: &OwnLog) -> Next {
        let gap = have < own.first.saturating_sub(1);
        let next = if gap { own.first } else { have.saturating_add(1) };
        let advanced = next > self.next || (self.gap && !gap);
        let stalls = if advanced { 0 } else { self.stalls + 1 };
        *self = Self { next, gap, is_question: false, stalls };
        if stalls > limits::PUSH_STALLS {
            return Next::OpenAgain;
        }
        if self.request(own).is_some() { Next::Send } else { Next::Done }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn hash(seq: u64) -> ChainHash {
        (0..seq).fold(ChainHash::ZERO, |hash, number| hash.after(&number.to_le_bytes()))
    }

    fn other(seq: u64) -> ChainHash {
        hash(seq).after(b"another card")
    }

    fn acked(have: u64, have_hash: ChainHash) -> Answer {
        Answer::Ack(Acked { log_id: LogId::from_bytes([1; 16]), have, have_hash, prune_through: 0 })
    }

    fn log(first: u64, head: u64) -> OwnLog {
        OwnLog { log_id: LogId::from_bytes([1; 16]), first, head, head_hash: hash(head), is_current: true }
    }

    fn held(have: u64, at_head: Option<ChainHash>) -> HeldLog {
        HeldLog { log_id: LogId::from_bytes([1; 16]), have, have_hash: Some(hash(have)), at_head }
    }

    fn planned(own: &OwnLog, held: &HeldLog) -> Plan {
        let known = held.have >= own.first - 1 && held.have <= own.head;
        plan(own, held, known.then(|| hash(held.have)))
    }

    fn first_request(plan: Plan, own: &OwnLog) -> Option<(u64, bool)> {
        let Plan::Push(pushing) = plan else { return None };
        pushing.request(own).map(|request| (request.first_seq, request.gap))
    }

    #[test]
    fn it_goes_on_where_the_hub_says() {
        let own = log(1, 150);
        for have in [0, 1, 149] {
            assert_eq!(first_request(planned(&own, &held(have, None)), &own), Some((have + 1, false)));
        }
    }

    #[test]
    fn of_a_log_that_is_at_the_hub_the_last_event_asks_what_may_be_deleted() {
        let own = log(1, 150);
        let Plan::Push(mut pushing) = planned(&own, &held(150, Some(hash(150)))) else { panic!("no push") };
        assert_eq!(pushing.request(&own), Some(Request { first_seq: 150, gap: false }));
        let ack = acked(150, hash(150));
        assert_eq!(pushing.answered(ack, &own, Some(hash(150))), Next::Done);
        assert_eq!(planned(&log(151, 150), &held(150, Some(hash(150)))), Plan::Nothing, "nothing is kept");
    }

    #[test]
    fn a_log_that_was_rolled_back_and_has_nothing_new_is_closed_and_offered_still() {
        let own = log(1, 100);
        let more = held(150, Some(hash(100)));
        assert_eq!(planned(&own, &more), Plan::Close);
        let closed = OwnLog { is_current: false, ..own };
        assert_eq!(first_request(planned(&closed, &more), &closed), Some((100, false)));
        let restored = held(40, None);
        assert_eq!(first_request(planned(&closed, &restored), &closed), Some((41, false)), "the hub lost it");
    }

    #[test]
    fn a_log_that_differs_from_the_hubs_is_moved() {
        let own = log(1, 150);
        let forked = HeldLog { have_hash: Some(other(100)), ..held(100, None) };
        assert_eq!(planned(&own, &forked), Plan::Move);
        assert_eq!(planned(&own, &held(200, Some(other(150)))), Plan::Move, "longer, and other events");
    }

    #[test]
    fn events_that_the_hub_has_a_gap_for_are_moved() {
        let own = log(1, 150);
        for have in [100, 150, 200] {
            let holed = HeldLog { have_hash: None, ..held(have, None) };
            assert_eq!(planned(&own, &holed), Plan::Move);
        }
    }

    #[test]
    fn f037_what_was_deleted_here_and_lost_there_is_a_gap_even_when_nothing_is_left() {
        for own in [log(101, 150), log(151, 150)] {
            assert_eq!(first_request(planned(&own, &held(20, None)), &own), Some((own.first, true)));
            let Plan::Push(mut pushing) = planned(&own, &held(20, None)) else { panic!("no push") };
            let ack = acked(150, hash(150));
            assert_eq!(pushing.answered(ack, &own, Some(hash(150))), Next::Done);
        }
    }

    #[test]
    fn f035_a_hub_restored_between_two_pushes_is_filled_again() {
        let own = log(1, 150);
        let Plan::Push(mut pushing) = planned(&own, &held(100, None)) else { panic!("no push") };
        assert_eq!(pushing.answered(Answer::PositionUnknown { have: 7 }, &own, Some(hash(7))), Next::Send);
        assert_eq!(pushing.request(&own), Some(Request { first_seq: 8, gap: false }));
    }

    #[test]
    fn an_acknowledgement_of_other_events_is_a_fork() {
        let own = log(1, 150);
        let Plan::Push(mut pushing) = planned(&own, &held(100, None)) else { panic!("no push") };
        let ack = acked(120, other(120));
        assert_eq!(pushing.answered(ack, &own, Some(hash(120))), Next::Move);
    }

    #[test]
    fn a_hub_that_gets_no_further_is_left_alone_for_a_while() {
        let own = log(1, 150);
        let Plan::Push(mut pushing) = planned(&own, &held(100, None)) else { panic!("no push") };
        let ack = acked(100, hash(100));
        let answers: Vec<Next> =
            (0..=limits::PUSH_STALLS).map(|_| pushing.answered(ack, &own, Some(hash(100)))).collect();
        assert_eq!(answers.last(), Some(&Next::OpenAgain));
        assert!(answers[..answers.len() - 1].iter().all(|next| *next == Next::Send));
    }

    #[test]
    fn a_hub_that_has_more_than_there_is_is_asked_again() {
        let own = log(1, 150);
        let Plan::Push(mut pushing) = planned(&own, &held(100, None)) else { panic!("no push") };
        for answer in [acked(151, hash(151)), Answer::PositionUnknown { have: u64::MAX }, Answer::Failed] {
            assert_eq!(pushing.answered(answer, &own, None), Next::OpenAgain);
        }
    }

    #[test]
    fn events_appended_while_pushing_go_along() {
        let own = log(1, 150);
        let Plan::Push(mut pushing) = planned(&own, &held(100, None)) else { panic!("no push") };
        let longer = log(1, 151);
        let ack = acked(150, hash(150));
        assert_eq!(pushing.answered(ack, &longer, Some(hash(150))), Next::Send);
        assert_eq!(pushing.request(&longer), Some(Request { first_seq: 151, gap: false }));
    }
}
