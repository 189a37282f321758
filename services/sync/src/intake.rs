//! A terminal's events as they arrive at the hub: what is new of a push, what was there, what does not fit.
//!
//! All in one transaction with the log's row locked: look at what is held, read the two hashes that [`Batch::compared`]
//! asks for, [`judge`], store. Whatever a terminal sends, nothing that was stored is changed, no event is stored twice,
//! and no number is left out without being recorded as a gap.

use std::ops::RangeInclusive;

use rollcall_attendance::ChainHash;
use rollcall_core::{LogId, limits};

use crate::uplink::HeldLog;

/// The highest number of a log: what a database keeps.
const SEQ_MAX: u64 = i64::MAX.unsigned_abs();

/// A log as a terminal says that it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Which.
    pub log_id: LogId,
    /// The one before it.
    pub parent: Option<LogId>,
    /// The first number still kept; one more than `head` when none is.
    pub first: u64,
    /// The last number.
    pub head: u64,
    /// The chain there.
    pub head_hash: ChainHash,
}

/// What the hub has of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// The highest number; 0: none.
    pub have: u64,
    /// The chain there.
    pub have_hash: ChainHash,
    /// The numbers that no longer existed at the terminal when the hub came to need them.
    pub gaps: &'a [RangeInclusive<u64>],
}

impl Held<'_> {
    /// What a terminal is told about a log that it offers. `at_head`: the hub's chain at the terminal's head, where it has
    /// one.
    pub fn told(&self, offered: &Offered, at_head: Option<ChainHash>) -> HeldLog {
        let is_whole = !self.lacks_any(&(offered.first..=offered.head.min(self.have)));
        HeldLog {
            log_id: offered.log_id,
            have: self.have,
            have_hash: is_whole.then_some(self.have_hash),
            at_head: at_head.filter(|_| is_whole && offered.head <= self.have),
        }
    }

    fn lacks_any(&self, numbers: &RangeInclusive<u64>) -> bool {
        let meets = |gap: &RangeInclusive<u64>| gap.start() <= numbers.end() && numbers.start() <= gap.end();
        !numbers.is_empty() && self.gaps.iter().any(meets)
    }
}

/// Events that follow one another in a log, as they were sent.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, E> {
    /// The number of the first.
    pub first_seq: u64,
    /// The terminal's chain before it.
    pub prev_hash: ChainHash,
    /// What is before it exists no more at the terminal.
    pub gap: bool,
    /// Their bytes.
    pub events: &'a [E],
}

/// Why a push is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Nothing in it.
    #[error("has no event; only a push after a gap may have none")]
    Empty,
    /// Too many events.
    #[error("has {events} events; a push takes {}", limits::PUSH_EVENTS)]
    Events {
        /// How many.
        events: usize,
    },
    /// Too many bytes.
    #[error("has {size_bytes} bytes; a push takes {}", limits::PUSH_SIZE_BYTES)]
    Size {
        /// How many.
        size_bytes: usize,
    },
    /// One event is too large.
    #[error("event {seq} has {size_bytes} bytes; a log takes {}", limits::EVENT_SIZE_BYTES)]
    Event {
        /// Its number.
        seq: u64,
        /// How many.
        size_bytes: usize,
    },
}

/// The numbers at which the hub's chain is to be read, to be compared with a batch's. None for a batch that goes on where
/// the hub is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Before the batch, where the hub is further.
    pub before: Option<u64>,
    /// The last number that both have, where the hub is further. The events between the two are equal when the hashes are.
    pub end: Option<u64>,
}

/// The hub's chain at the numbers of [`Compared`]; `None` where there is none, as within a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// At [`Compared::before`].
    pub before: Option<ChainHash>,
    /// At [`Compared::end`].
    pub end: Option<ChainHash>,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Append all but the first `skip`, which are there.
    Append {
        /// How many are there.
        skip: usize,
    },
    /// Everything is there: acknowledge.
    Nothing,
    /// Record these numbers as missing for ever, loudly, with the batch's `prev_hash` as the chain at the last; then append
    /// all.
    Gap {
        /// The first number that is missing.
        from: u64,
        /// The last.
        to: u64,
    },
    /// LOG_FORKED: other events are there. Store nothing.
    Forked,
    /// POSITION_UNKNOWN: the batch goes on from where the hub is not. Store nothing, say where it is.
    Rewind {
        /// Where.
        have: u64,
    },
}

impl<E: AsRef<[u8]>> Batch<'_, E> {
    /// Whether it keeps to the limits of a push.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), BatchError> {
        if self.events.is_empty() && !self.gap {
            return Err(BatchError::Empty);
        }
        if self.events.len() > limits::PUSH_EVENTS {
            return Err(BatchError::Events { events: self.events.len() });
        }
        for (seq, event) in (self.first_seq..).zip(self.events) {
            let size_bytes = event.as_ref().len();
            if size_bytes > limits::EVENT_SIZE_BYTES {
                return Err(BatchError::Event { seq, size_bytes });
            }
        }
        let size_bytes = self.events.iter().map(|event| event.as_ref().len()).sum();
        if size_bytes > limits::PUSH_SIZE_BYTES {
            return Err(BatchError::Size { size_bytes });
        }
        Ok(())
    }

    /// At which numbers the hub's chain is needed to judge it.
    pub fn compared(&self, held: &Held<'_>) -> Compared {
        let before = self.first_seq.checked_sub(1).filter(|before| *before < held.have);
        let end = self.last().filter(|last| *last < held.have && *last >= self.first_seq);
        Compared { before, end }
    }

    /// The number of the last event, or the one before the first when there is none; `None` when no log has such numbers.
    fn last(&self) -> Option<u64> {
        let count = u64::try_from(self.events.len()).ok()?;
        self.first_seq.checked_sub(1)?.checked_add(count).filter(|last| *last <= SEQ_MAX)
    }
}

/// Judges a batch.
pub fn judge<E: AsRef<[u8]>>(held: &Held<'_>, batch: &Batch<'_, E>, overlap: Overlap) -> Judgement {
    let rewind = Judgement::Rewind { have: held.have };
    let (Some(last), Some(before)) = (batch.last(), batch.first_seq.checked_sub(1)) else { return rewind };
    if before > held.have {
        return match batch.gap {
            true => Judgement::Gap { from: held.have + 1, to: before },
            false => rewind,
        };
    }
    let at = |seq: u64, read: Option<ChainHash>| if seq == held.have { Some(held.have_hash) } else { read };
    if at(before, overlap.before) != Some(batch.prev_hash) {
        return Judgement::Forked;
    }
    let end = last.min(held.have);
    if end > before {
        let there = usize::try_from(end - before).unwrap_or(usize::MAX);
        let sent =
            batch.events.iter().take(there).fold(batch.prev_hash, |hash, event| hash.after(event.as_ref()));
        if held.lacks_any(&(batch.first_seq..=end)) || at(end, overlap.end) != Some(sent) {
            return Judgement::Forked;
        }
        if end < last { Judgement::Append { skip: there } } else { Judgement::Nothing }
    } else if last > before {
        Judgement::Append { skip: 0 }
    } else {
        Judgement::Nothing
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A hub's copy of one log.
    #[derive(Clone, Default)]
    struct Copy {
        /// The chain at each number from 1 on; `None` within a gap.
        hashes: Vec<Option<ChainHash>>,
        events: Vec<Option<Vec<u8>>>,
        gaps: Vec<RangeInclusive<u64>>,
    }

    impl Copy {
        fn hash_at(&self, seq: u64) -> Option<ChainHash> {
            match seq.checked_sub(1) {
                None => Some(ChainHash::ZERO),
                Some(index) => self.hashes.get(usize::try_from(index).unwrap()).copied().flatten(),
            }
        }

        fn have(&self) -> u64 {
            self.hashes.len() as u64
        }

        fn push(&mut self, batch: &Batch<'_, Vec<u8>>) -> Judgement {
            let held =
                Held { have: self.have(), have_hash: self.hash_at(self.have()).unwrap(), gaps: &self.gaps };
            let compared = batch.compared(&held);
            let at = |seq: Option<u64>| seq.and_then(|seq| self.hash_at(seq));
            let overlap = Overlap { before: at(compared.before), end: at(compared.end) };
            let judgement = judge(&held, batch, overlap);
            let skip = match judgement {
                Judgement::Append { skip } => skip,
                Judgement::Gap { from, to } => {
                    self.hashes.resize(usize::try_from(to).unwrap(), None);
                    self.events.resize(usize::try_from(to).unwrap(), None);
                    *self.hashes.last_mut().unwrap() = Some(batch.prev_hash);
                    self.gaps.push(from..=to);
                    0
                }
                _ => return judgement,
            };
            for event in &batch.events[skip..] {
                let hash = self.hash_at(self.have()).unwrap().after(event);
                self.hashes.push(Some(hash));
                self.events.push(Some(event.clone()));
            }
            judgement
        }
    }

    fn events(from: u64, to: u64) -> Vec<Vec<u8>> {
        (from..=to).map(|seq| seq.to_le_bytes().to_vec()).collect()
    }

    fn chain(through: u64) -> ChainHash {
        events(1, through).iter().fold(ChainHash::ZERO, |hash, event| hash.after(event))
    }

    fn batch(first_seq: u64, events: &[Vec<u8>]) -> Batch<'_, Vec<u8>> {
        Batch { first_seq, prev_hash: chain(first_seq.saturating_sub(1).min(1_000)), gap: false, events }
    }

    fn filled(through: u64) -> Copy {
        let mut copy = Copy::default();
        copy.push(&batch(1, &events(1, through)));
        copy
    }

    #[test]
    fn f025_the_same_batch_again_is_stored_once() {
        let mut copy = Copy::default();
        let sent = events(1, 5);
        assert_eq!(copy.push(&batch(1, &sent)), Judgement::Append { skip: 0 });
        for _ in 0..1_000 {
            assert_eq!(copy.push(&batch(1, &sent)), Judgement::Nothing);
        }
        assert_eq!(copy.have(), 5);
    }

    #[test]
    fn what_is_there_is_skipped_and_the_rest_appended() {
        let mut copy = filled(5);
        assert_eq!(copy.push(&batch(3, &events(3, 9))), Judgement::Append { skip: 3 });
        assert_eq!(copy.push(&batch(10, &events(10, 10))), Judgement::Append { skip: 0 });
        assert_eq!(copy.hash_at(10), Some(chain(10)));
    }

    #[test]
    fn f026_an_overlap_with_another_byte_is_a_fork_and_stores_nothing() {
        let mut copy = filled(5);
        for damaged in 0..5 {
            let mut sent = events(1, 9);
            sent[damaged][0] ^= 1;
            assert_eq!(copy.push(&batch(1, &sent)), Judgement::Forked);
        }
        let other_chain = Batch { prev_hash: chain(4), ..batch(6, &[]) };
        let sent = events(6, 6);
        assert_eq!(copy.push(&Batch { events: &sent, ..other_chain }), Judgement::Forked);
        assert_eq!(copy.have(), 5);
    }

    #[test]
    fn f027_numbers_that_do_not_follow_are_told_where_the_hub_is() {
        let mut copy = filled(5);
        let sent = events(1, 2);
        for first_seq in [7, 0, 1 << 63, u64::MAX - 1, u64::MAX] {
            assert_eq!(copy.push(&batch(first_seq, &sent)), Judgement::Rewind { have: 5 }, "{first_seq}");
        }
    }

    #[test]
    fn f028_a_push_keeps_to_its_limits() {
        let of = |events: &[Vec<u8>], gap| Batch { gap, ..batch(1, events) }.check();
        assert_eq!(of(&[], false), Err(BatchError::Empty));
        assert_eq!(of(&[], true), Ok(()));
        assert_eq!(of(&vec![vec![0]; limits::PUSH_EVENTS], false), Ok(()));
        assert_eq!(of(&vec![vec![0]; 501], false), Err(BatchError::Events { events: 501 }));
        assert_eq!(of(&[vec![0; limits::EVENT_SIZE_BYTES]], false), Ok(()));
        let too_large = vec![vec![0], vec![0; limits::EVENT_SIZE_BYTES + 1]];
        assert_eq!(of(&too_large, false), Err(BatchError::Event { seq: 2, size_bytes: (16 << 10) + 1 }));
        let mut full = vec![vec![0; limits::EVENT_SIZE_BYTES]; 32];
        assert_eq!(of(&full, false), Ok(()));
        full.push(vec![0]);
        assert_eq!(of(&full, false), Err(BatchError::Size { size_bytes: (512 << 10) + 1 }));
    }

    #[test]
    fn a_gap_is_recorded_and_what_comes_after_it_goes_on() {
        let mut copy = filled(5);
        let sent = events(11, 12);
        let after_gap = Batch { gap: true, ..batch(11, &sent) };
        assert_eq!(copy.push(&after_gap), Judgement::Gap { from: 6, to: 10 });
        assert_eq!(copy.push(&after_gap), Judgement::Nothing, "an answer was lost");
        assert_eq!(copy.push(&batch(13, &events(13, 14))), Judgement::Append { skip: 0 });
        assert_eq!(copy.hash_at(14), Some(chain(14)));
    }

    #[test]
    fn a_gap_without_events_is_recorded_too() {
        let mut copy = filled(5);
        let pruned = Batch { gap: true, ..batch(11, &[]) };
        assert_eq!(copy.push(&pruned), Judgement::Gap { from: 6, to: 10 });
        assert_eq!(copy.push(&pruned), Judgement::Nothing);
        assert_eq!(copy.have(), 10);
    }

    #[test]
    fn a_gap_that_is_none_is_not_recorded() {
        let mut copy = filled(5);
        let sent = events(6, 7);
        assert_eq!(copy.push(&Batch { gap: true, ..batch(6, &sent) }), Judgement::Append { skip: 0 });
        assert!(copy.gaps.is_empty());
    }

    #[test]
    fn events_for_a_gap_are_a_fork_so_that_they_come_by_another_log() {
        let mut copy = filled(5);
        let sent = events(11, 12);
        copy.push(&Batch { gap: true, ..batch(11, &sent) });
        for first_seq in [1, 6, 8, 11] {
            let sent = events(first_seq, 13);
            let expected = if first_seq == 11 { Judgement::Append { skip: 2 } } else { Judgement::Forked };
            assert_eq!(copy.clone().push(&batch(first_seq, &sent)), expected, "{first_seq}");
        }
    }

    #[test]
    fn a_terminal_that_still_has_what_a_gap_lost_is_told_nothing_to_compare() {
        let held = Held { have: 30, have_hash: chain(30), gaps: &[6..=20] };
        let told = |first, head| {
            let log_id = LogId::from_bytes([1; 16]);
            let offered = Offered { log_id, parent: None, first, head, head_hash: chain(head) };
            held.told(&offered, Some(chain(head)))
        };
        assert_eq!((told(21, 40).have_hash, told(21, 40).at_head), (Some(chain(30)), None));
        assert_eq!(told(21, 25).at_head, Some(chain(25)));
        assert_eq!(told(31, 30).have_hash, Some(chain(30)), "it has nothing any more");
        for (first, head) in [(1, 25), (20, 40), (6, 6), (1, 30)] {
            assert_eq!((told(first, head).have_hash, told(first, head).at_head), (None, None));
        }
    }

    proptest! {
        #[test]
        fn f027_no_number_overflows_or_gets_past_a_hole(
            have in 0..40_u64, first_seq in any::<u64>(), near in 0..60_u64, use_near in any::<bool>(),
            count in 0..20_usize, gap in any::<bool>(),
        ) {
            let mut copy = filled(have);
            let first_seq = if use_near { near } else { first_seq };
            let sent = vec![vec![7]; count];
            // What a hub would make of gaps of 2^60 numbers is not to be held in memory here.
            prop_assume!(first_seq < 10_000 || !gap);
            copy.push(&Batch { gap, ..batch(first_seq, &sent) });
            let holes: u64 = copy.gaps.iter().map(|gap| gap.end() - gap.start() + 1).sum();
            let stored = copy.events.iter().flatten().count() as u64;
            prop_assert_eq!(stored + holes, copy.have(), "an unrecorded hole");
            prop_assert!(copy.have() >= have);
        }

        #[test]
        fn any_pushes_of_parts_of_one_log_leave_a_beginning_of_it(
            parts in vec((1..40_u64, 0..15_u64), 1..30),
        ) {
            let mut copy = Copy::default();
            for (first_seq, count) in parts {
                let sent = events(first_seq, first_seq + count);
                copy.push(&batch(first_seq, &sent));
            }
            let expected: Vec<Option<Vec<u8>>> = events(1, copy.have()).into_iter().map(Some).collect();
            prop_assert_eq!(copy.events, expected);
        }
    }
}
