//! Who may try again, and when: the hold-off after a passage, and the limits after failed attempts.
//!
//! An attempt is a passage of somebody who has to show that they are alive. After the first failed one nobody is asked
//! at this door for 5 seconds, after the second in a row for 15, then for 60 each time; a row ends with an attempt that
//! succeeds, or after ten minutes without a failed one. Each failure in a row asks for one turn of the head more, up to
//! three, each to a side of its own: a recording that turns the right way by chance does so once in two tries, then in
//! four, then in eight. A face that failed three times in a row is not tried again at all for an hour after the last, or
//! until its person has come in by badge, card or PIN. So ten tries in a row with one face are three, and seven refusals.
//!
//! All of it is in memory: a restart forgets it, and takes longer than most of these waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rollcall_core::{PersonId, limits};

/// Waits after the first, second, third failure in a row, and each further one.
const WAITS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];

/// A door's row of failures ends after so long without one.
const ROW: Duration = Duration::from_secs(600);

/// Failures in a row after which a face is not tried again.
const FACE_FAILURES: u32 = 3;

/// For how long it is not.
const FACE_CLOSED: Duration = Duration::from_secs(3600);

/// The most turns of the head that one attempt asks for.
const TURNS_MAX: u32 = 3;

/// Whether somebody may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Now, with so many turns of the head.
    Now(usize),
    /// Not before this.
    From(Instant),
    /// Not with the face.
    Closed,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
struct Row {
    failures: u32,
    last: Instant,
}

impl Row {
    fn after(before: Option<Row>, now: Instant) -> Self {
        Self { failures: before.map_or(1, |row| row.failures.saturating_add(1)), last: now }
    }

    fn is_within(&self, now: Instant, time: Duration) -> bool {
        now.saturating_duration_since(self.last) < time
    }
}

/// The failed attempts at one door.
#[derive(Debug, Default)]
pub struct Attempts {
    door: Option<Row>,
    faces: VecDeque<(PersonId, Row)>,
    /// Failures that do not count yet.
    fresh: Vec<(PersonId, Instant)>,
}

impl Attempts {
    /// Counts what has failed before `now`. What fails in one frame counts from the next on, so that the order of the
    /// faces in a frame is of no matter.
    pub fn settle(&mut self, now: Instant) {
        for (person, failed_at) in self.fresh.extract_if(.., |(_, at)| *at < now).collect::<Vec<_>>() {
            self.count(person, failed_at);
        }
    }

    /// Whether this face may be tried at `now`.
    pub fn permission(&self, person: PersonId, now: Instant) -> Permission {
        let face = self.face(person, now);
        if face.is_some_and(|row| row.failures >= FACE_FAILURES) {
            return Permission::Closed;
        }
        let door = self.door.filter(|row| row.is_within(now, ROW));
        let failures = door.iter().chain(&face).map(|row| row.failures).max().unwrap_or(0);
        let open_from = door.map(|row| row.last + wait_after(row.failures));
        match open_from.filter(|from| *from > now) {
            Some(from) => Permission::From(from),
            None => Permission::Now((1 + failures).min(TURNS_MAX) as usize),
        }
    }

    /// Whether an attempt has failed at this door, or with this face, not long ago.
    pub fn has_failed_lately(&self, person: PersonId, now: Instant) -> bool {
        self.face(person, now).is_some() || self.door.is_some_and(|row| row.is_within(now, ROW))
    }

    /// An attempt with this face has failed.
    pub fn failed(&mut self, person: PersonId, now: Instant) {
        self.fresh.push((person, now));
    }

    /// An attempt has succeeded.
    pub fn succeeded(&mut self, person: PersonId) {
        self.door = None;
        self.forget(person);
    }

    /// This person came in by other means: what was tried with their face before is no longer held against it.
    pub fn forget(&mut self, person: PersonId) {
        self.faces.retain(|(failed, _)| *failed != person);
        self.fresh.retain(|(failed, _)| *failed != person);
    }

    fn count(&mut self, person: PersonId, now: Instant) {
        self.door = Some(Row::after(self.door.filter(|row| row.is_within(now, ROW)), now));
        let row = Row::after(self.face(person, now), now);
        self.faces.retain(|(failed, _)| *failed != person);
        if self.faces.len() >= limits::FAILED_PEOPLE {
            self.faces.pop_front();
        }
        self.faces.push_back((person, row));
    }

    fn face(&self, person: PersonId, now: Instant) -> Option<Row> {
        let row = self.faces.iter().find(|(failed, _)| *failed == person)?.1;
        row.is_within(now, FACE_CLOSED).then_some(row)
    }
}

fn wait_after(failures: u32) -> Duration {
    let index = (failures.max(1) as usize - 1).min(WAITS.len() - 1);
    WAITS[index]
}

/// People whose faces have no passage for a while, because they have just had one.
#[derive(Debug, Default)]
pub struct HeldOff {
    people: VecDeque<(PersonId, Instant)>,
}

impl HeldOff {
    /// This person's face is held off until then.
    pub fn hold(&mut self, person: PersonId, until: Instant) {
        self.people.retain(|(held, _)| *held != person);
        if self.people.len() >= limits::HELD_OFF {
            self.people.pop_front();
        }
        self.people.push_back((person, until));
    }

    /// Whether it is held off at `now`.
    pub fn holds(&self, person: PersonId, now: Instant) -> bool {
        self.people.iter().any(|(held, until)| *held == person && now < *until)
    }

    /// Lets go of what is over.
    pub fn drop_before(&mut self, now: Instant) {
        self.people.retain(|(_, until)| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PersonId = PersonId::from_bytes([1; 16]);
    const B: PersonId = PersonId::from_bytes([2; 16]);

    #[test]
    fn waits_grow_and_so_do_the_turns() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut attempts = Attempts::default();
        assert_eq!(attempts.permission(A, at(0)), Permission::Now(1));
        for (failed_at, wait, turns) in [(10, 5, 2), (20, 15, 3), (40, 60, 3), (110, 60, 3)] {
            attempts.failed(PersonId::generate(), at(failed_at));
            attempts.settle(at(failed_at + 1));
            let from = failed_at + wait;
            assert_eq!(attempts.permission(A, at(from - 1)), Permission::From(at(from)));
            assert_eq!(attempts.permission(A, at(from)), Permission::Now(turns));
        }
        assert_eq!(attempts.permission(A, at(110 + 600)), Permission::Now(1));
        assert!(!attempts.has_failed_lately(A, at(110 + 600)));
    }

    #[test]
    fn a_success_ends_the_row_of_the_door_and_not_that_of_another_face() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut attempts = Attempts::default();
        for _ in 0..FACE_FAILURES {
            attempts.failed(A, start);
        }
        attempts.settle(start);
        assert_eq!(attempts.permission(A, start), Permission::Now(1));
        attempts.settle(later);
        let now = start + Duration::from_secs(100);
        assert_eq!(attempts.permission(A, now), Permission::Closed);
        attempts.succeeded(B);
        assert_eq!(attempts.permission(B, now), Permission::Now(1));
        assert_eq!(attempts.permission(A, now), Permission::Closed);
        assert_eq!(attempts.permission(A, start + FACE_CLOSED), Permission::Now(1));
        attempts.forget(A);
        assert_eq!(attempts.permission(A, now), Permission::Now(1));
    }

    #[test]
    fn what_is_remembered_of_people_is_bounded() {
        let now = Instant::now();
        let (mut attempts, mut held) = (Attempts::default(), HeldOff::default());
        for _ in 0..2_000 {
            attempts.failed(PersonId::generate(), now);
            held.hold(PersonId::generate(), now + Duration::from_secs(1));
        }
        attempts.settle(now + Duration::from_secs(1));
        assert_eq!((attempts.faces.len(), held.people.len()), (limits::FAILED_PEOPLE, limits::HELD_OFF));
        held.drop_before(now + Duration::from_secs(1));
        assert!(held.people.is_empty());
    }
}
