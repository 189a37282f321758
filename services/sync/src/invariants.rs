//! What holds whatever happens, as functions over plain pictures of the state: for tests, for the simulator, and for
//! assertions.
//!
//! I9 (without a network only the sync stops) is not here: it is a matter of what the programs wait for.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use rollcall_attendance::{Anchor, ChainHash, Corrected, Reading, correct};
use rollcall_core::{EventId, GalleryId, PersonId, SetHash, UtcInstant, limits};

use crate::gallery::{GalleryState, HistoryHash, Scope};
use crate::intake::{Batch, BatchError};

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

fn hold(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

/// An event of a hub's copy of a log.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Its number.
    pub seq: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The chain with it.
    pub hash: ChainHash,
}

/// I1: a hub's copy of a log is its numbers from 1 on without a hole that is no recorded gap, each event hashed after the one
/// before; after a gap the chain begins with what the terminal said it was.
///
/// # Errors
/// The first number at which it is not so.
pub fn i1_the_hubs_copy_is_whole<'a>(
    events: impl IntoIterator<Item = Stored<'a>>,
    gaps: &[(RangeInclusive<u64>, ChainHash)],
    have: u64,
) -> Result<(), Violation> {
    let mut chain = ChainHash::ZERO;
    let mut next = 1;
    let pass_gaps = |next: &mut u64, chain: &mut ChainHash| {
        while let Some((gap, after)) = gaps.iter().find(|(gap, _)| gap.start() == next) {
            (*next, *chain) = (gap.end() + 1, *after);
        }
    };
    for event in events {
        pass_gaps(&mut next, &mut chain);
        hold(event.seq == next, "I1", || format!("number {next} is missing and recorded nowhere"))?;
        chain = chain.after(event.bytes);
        hold(event.hash == chain, "I1", || format!("event {next} is not the one that was hashed"))?;
        next += 1;
    }
    pass_gaps(&mut next, &mut chain);
    hold(next == have + 1, "I1", || format!("{have} events are said to be there and {} are", next - 1))
}

/// I1: where a terminal and the hub have the same number of a log, they have the same chain.
///
/// # Errors
/// When they have not.
pub fn i1_both_have_the_same(seq: u64, terminal: ChainHash, hub: Option<ChainHash>) -> Result<(), Violation> {
    hold(hub == Some(terminal), "I1", || format!("at {seq} the terminal has {terminal:?}, the hub {hub:?}"))
}

/// I2: every one of these events is at the hub.
///
/// # Errors
/// The first that is not.
pub fn i2_no_event_is_lost(
    events: impl IntoIterator<Item = EventId>,
    at_hub: &HashSet<EventId>,
) -> Result<(), Violation> {
    for event in events {
        hold(at_hub.contains(&event), "I2", || format!("{event} is not at the hub"))?;
    }
    Ok(())
}

/// I3: no event counts twice. The events are those that count, of one terminal.
///
/// # Errors
/// The first that does.
pub fn i3_none_counts_twice(events: impl IntoIterator<Item = EventId>) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for event in events {
        hold(seen.insert(event), "I3", || format!("{event} counts twice"))?;
    }
    Ok(())
}

/// I4: no terminal is said to have come back with an older state unless one was rolled back or cloned.
///
/// # Errors
/// A false alarm.
pub fn i4_no_false_alarm(forks: usize, was_rolled_back_or_cloned: bool) -> Result<(), Violation> {
    hold(forks == 0 || was_rolled_back_or_cloned, "I4", || format!("{forks} forks and no reason for any"))
}

/// I5: nothing above what the hub said may be deleted was deleted.
///
/// # Errors
/// When it was.
pub fn i5_only_what_is_kept_elsewhere_is_deleted(
    first_kept: u64,
    prune_through: u64,
) -> Result<(), Violation> {
    let deleted = first_kept.saturating_sub(1);
    hold(deleted <= prune_through, "I5", || {
        format!("deleted through {deleted}, and {prune_through} was allowed")
    })
}

/// I6: the same history, revision and scope have the same rows, wherever they are seen.
#[derive(Debug, Default)]
pub struct I6SameRevisionSameRows {
    seen: HashMap<(Option<GalleryId>, u64, HistoryHash, Scope), SetHash>,
}

impl I6SameRevisionSameRows {
    /// Looks at one more gallery: its state and the sum over the rows that are really there.
    ///
    /// # Errors
    /// When the rows are not those of its state, or of another gallery in this state.
    pub fn observe(&mut self, state: &GalleryState, rows: SetHash) -> Result<(), Violation> {
        hold(state.set_hash == rows, "I6", || {
            format!("at revision {} the rows are not those of the state", state.revision)
        })?;
        let key = (state.gallery_id, state.revision, state.history_hash, state.scope);
        let first = *self.seen.entry(key).or_insert(rows);
        hold(first == rows, "I6", || format!("two galleries at revision {} differ", state.revision))
    }
}

/// I7: nobody whom the ledger names is in a gallery.
///
/// # Errors
/// The first who is.
pub fn i7_the_erased_are_gone(
    people: impl IntoIterator<Item = PersonId>,
    ledger: &HashSet<PersonId>,
) -> Result<(), Violation> {
    for person in people {
        hold(!ledger.contains(&person), "I7", || format!("{person} was erased and is there"))?;
    }
    Ok(())
}

/// I7: whoever a device has confirmed the erasure of has nothing on it.
///
/// # Errors
/// The first who has.
pub fn i7_what_is_confirmed_is_done(
    confirmed: impl IntoIterator<Item = PersonId>,
    on_disk: &HashSet<PersonId>,
) -> Result<(), Violation> {
    for person in confirmed {
        hold(!on_disk.contains(&person), "I7", || {
            format!("{person} is confirmed as erased and on the disk")
        })?;
    }
    Ok(())
}

/// I8: corrected times are a function of readings and anchors: computed again they are the same, one for each event.
///
/// # Errors
/// When they are not.
pub fn i8_times_are_derived(
    readings: &[Reading],
    anchors: &[Anchor],
    times: &[Corrected],
) -> Result<(), Violation> {
    let again = correct(readings, anchors, None);
    hold(again == times, "I8", || "corrected times are other ones when they are computed again".to_owned())
}

/// I8: a corrected time is the true one, as far as it may be off.
///
/// # Errors
/// When it is not.
pub fn i8_a_corrected_time_is_true(
    corrected_us: i64,
    true_us: i64,
    allowed_us: u64,
) -> Result<(), Violation> {
    let off = corrected_us.abs_diff(true_us);
    hold(off <= allowed_us, "I8", || format!("a corrected time is off by {off} us, {allowed_us} are allowed"))
}

/// F4: one answer raises the earliest time that a terminal believes by a step at most, and nothing lowers it.
///
/// # Errors
/// When it does not hold.
pub fn f4_the_floor_rises_by_steps(before: UtcInstant, after: UtcInstant) -> Result<(), Violation> {
    let step = Duration::from_secs(limits::CLOCK_FLOOR_STEP_DAYS * 86_400);
    hold(after >= before && after <= before.after(step), "F4", || format!("from {before} to {after} at once"))
}

/// I10: a push keeps to its limits.
///
/// # Errors
/// When it does not.
pub fn i10_a_push_keeps_to_its_limits<E: AsRef<[u8]>>(batch: &Batch<'_, E>) -> Result<(), Violation> {
    let broken = |error: BatchError| Violation { invariant: "I10", what: format!("a push {error}") };
    batch.check().map_err(broken)
}

/// Whether all of `wanted` are among `there`; the first that is not, otherwise.
///
/// # Errors
/// The first that is not, under the name of the invariant.
pub fn all_are_there<T: Eq + Hash + std::fmt::Debug>(
    invariant: &'static str,
    wanted: impl IntoIterator<Item = T>,
    there: &HashSet<T>,
) -> Result<(), Violation> {
    for one in wanted {
        hold(there.contains(&one), invariant, || format!("{one:?} is missing"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn event(number: u8) -> EventId {
        EventId::from_bytes([number; 16])
    }

    fn person(number: u8) -> PersonId {
        PersonId::from_bytes([number; 16])
    }

    fn copy(numbers: &[u64], mut chain: ChainHash) -> Vec<Stored<'static>> {
        let one = |seq: &u64| {
            chain = chain.after(b"event");
            Stored { seq: *seq, bytes: b"event", hash: chain }
        };
        numbers.iter().map(one).collect()
    }

    #[test]
    fn a_hole_that_is_no_gap_is_a_violation() {
        assert_eq!(i1_the_hubs_copy_is_whole(copy(&[1, 2, 3], ChainHash::ZERO), &[], 3), Ok(()));
        assert!(i1_the_hubs_copy_is_whole(copy(&[1, 3], ChainHash::ZERO), &[], 3).is_err());
        assert!(i1_the_hubs_copy_is_whole(copy(&[1, 2], ChainHash::ZERO), &[], 3).is_err());
        let after = ChainHash::ZERO.after(b"what was there");
        let gaps = [(1..=4, after)];
        assert_eq!(i1_the_hubs_copy_is_whole(copy(&[5, 6], after), &gaps, 6), Ok(()));
        assert_eq!(i1_the_hubs_copy_is_whole([], &gaps, 4), Ok(()));
        assert!(i1_the_hubs_copy_is_whole(copy(&[5, 6], ChainHash::ZERO), &gaps, 6).is_err());
    }

    #[test]
    fn a_changed_event_is_a_violation() {
        let mut stored = copy(&[1, 2, 3], ChainHash::ZERO);
        stored[1].bytes = b"other";
        assert!(i1_the_hubs_copy_is_whole(stored, &[], 3).is_err());
        assert!(i1_both_have_the_same(3, ChainHash::ZERO, None).is_err());
    }

    #[test]
    fn lost_and_doubled_events_are_violations() {
        let there = HashSet::from([event(1), event(2)]);
        assert_eq!(i2_no_event_is_lost([event(1)], &there), Ok(()));
        assert!(i2_no_event_is_lost([event(1), event(3)], &there).is_err());
        assert_eq!(i3_none_counts_twice([event(1), event(2)]), Ok(()));
        assert!(i3_none_counts_twice([event(1), event(2), event(1)]).is_err());
    }

    #[test]
    fn alarms_and_deletions_need_a_reason() {
        assert!(i4_no_false_alarm(1, false).is_err());
        assert_eq!(i4_no_false_alarm(1, true), Ok(()));
        assert_eq!(i5_only_what_is_kept_elsewhere_is_deleted(11, 10), Ok(()));
        assert!(i5_only_what_is_kept_elsewhere_is_deleted(12, 10).is_err());
    }

    #[test]
    fn galleries_that_differ_at_one_revision_are_a_violation() {
        let rows = SetHash::EMPTY.with([1; 32]);
        let state = GalleryState { revision: 3, set_hash: rows, ..GalleryState::default() };
        let mut galleries = I6SameRevisionSameRows::default();
        assert_eq!(galleries.observe(&state, rows), Ok(()));
        assert!(galleries.observe(&state, SetHash::EMPTY).is_err(), "a row is gone");
        let other = GalleryState { set_hash: SetHash::EMPTY, ..state };
        assert!(galleries.observe(&other, SetHash::EMPTY).is_err(), "the same revision, other rows");
    }

    #[test]
    fn an_erased_person_is_a_violation_wherever_they_are() {
        let erased = HashSet::from([person(1)]);
        assert_eq!(i7_the_erased_are_gone([person(2)], &erased), Ok(()));
        assert!(i7_the_erased_are_gone([person(1)], &erased).is_err());
        assert!(i7_what_is_confirmed_is_done([person(1)], &erased).is_err());
        assert!(i8_a_corrected_time_is_true(10, 20, 9).is_err());
        let (early, late) = (UtcInstant::from_micros(0), UtcInstant::from_micros(i64::MAX));
        assert!(f4_the_floor_rises_by_steps(early, late).is_err());
        assert!(f4_the_floor_rises_by_steps(late, early).is_err());
        assert!(all_are_there("I7", [1], &HashSet::new()).is_err());
    }
}
