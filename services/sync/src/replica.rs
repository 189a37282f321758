//! A terminal's copy of the gallery while it is fed: what to do with each part of an answer to PullGallery.
//!
//! What comes is set aside; only the end makes it count, with its revision, in one transaction. So a stream that is cut
//! changes nothing, and the old gallery is matched meanwhile. The end is believed only when the sum over the rows is what
//! the hub says it is.
//!
//! Rows of a delta come by revision, rows of a snapshot by the person's id, each only once. A row whose person the
//! terminal's ledger names counts here like any other, and is kept as its hash alone.

use std::collections::HashMap;

use rollcall_core::{GalleryId, PersonId, SetHash, limits};

use crate::gallery::{GalleryState, RowHash};

/// What the machine needs of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSummary {
    /// Of the change that it is the result of.
    pub revision: u64,
    /// Who.
    pub person: PersonId,
    /// Its hash; `None`: not at this terminal any more.
    pub hash: Option<RowHash>,
    /// Of the whole row.
    pub size_bytes: usize,
}

/// A part of an answer to PullGallery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Changes.
    Delta(&'a [RowSummary]),
    /// The end of the changes.
    End(GalleryState),
    /// Everything follows.
    SnapshotBegin {
        /// What it will be.
        state: GalleryState,
        /// How many rows.
        row_count: u64,
    },
    /// Some of everything.
    Snapshot(&'a [RowSummary]),
    /// The end of everything.
    SnapshotEnd(GalleryState),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set the rows aside.
    Stage,
    /// Throw away what was set aside before: everything follows.
    StageAnew,
    /// Apply the changes that were set aside and store the state, in one transaction. The answer is over.
    Commit(GalleryState),
    /// Put what was set aside in the place of all that was there and store the state, in one transaction. The answer is
    /// over.
    Swap(GalleryState),
}

/// Why an answer is given up. Nothing of it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// A part that has no place here.
    #[error("the hub's answer has its parts in an order that means nothing")]
    OutOfPlace,
    /// A row that has no place here: before the one before it, or beyond the end.
    #[error("the hub's rows are not in order")]
    RowOrder,
    /// The changes are of another history, another scope or an earlier time than what is here.
    #[error("the hub's changes are not of the gallery that is here")]
    OtherGallery,
    /// Everything of another history, before the rows of this one were offered to it.
    #[error("the hub began a new history before it was offered the rows of this one; open again")]
    NotOffered,
    /// A row with more than [`limits::GALLERY_ROW_SIZE_BYTES`], a part with more than
    /// [`limits::GALLERY_CHUNK_SIZE_BYTES`], or more rows than a gallery takes.
    #[error("the hub's answer is larger than a gallery may be")]
    TooLarge,
    /// Not as many rows as there were to be.
    #[error("the hub's answer has not as many rows as it says")]
    Count,
    /// The sum over the rows is another: a row is missing or damaged, here or on the way. Pull again with
    /// [`GalleryState::anew`], and everything comes.
    #[error("the rows are not those that the hub says they are; the whole gallery is fetched")]
    SetHash,
}

/// One answer, as it is taken.
#[derive(Debug)]
pub struct Replica {
    own: GalleryState,
    offered_to: Option<GalleryId>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Start,
    Delta(Delta),
    Snapshot(Snapshot),
    Over,
}

#[derive(Debug)]
struct Delta {
    set_hash: SetHash,
    revision: u64,
    /// The rows that came, for whoever comes again.
    came: HashMap<PersonId, Option<RowHash>>,
}

#[derive(Debug)]
struct Snapshot {
    state: GalleryState,
    rows_left: u64,
    set_hash: SetHash,
    last: Option<PersonId>,
}

impl Replica {
    /// Before the first part. `own`: what the terminal has; `offered_to`: the history that its rows were offered to in this
    /// session, or that the hub named in its Welcome without asking for them.
    pub fn new(own: GalleryState, offered_to: Option<GalleryId>) -> Self {
        Self { own, offered_to, phase: Phase::Start }
    }

    /// Whether it is everything that comes, and not changes.
    pub fn is_snapshot(&self) -> bool {
        matches!(self.phase, Phase::Snapshot(_))
    }

    /// Takes the next part. `prior`: the hash of a person's row that the terminal has.
    ///
    /// # Errors
    /// When the answer cannot be right. No further part is taken.
    pub fn take(
        &mut self,
        part: Part<'_>,
        prior: impl Fn(PersonId) -> Option<RowHash>,
    ) -> Result<Action, Refusal> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let (phase, action) = match (phase, part) {
            (Phase::Start, Part::SnapshotBegin { state, row_count }) => {
                (Phase::Snapshot(self.begin(state, row_count)?), Action::StageAnew)
            }
            (Phase::Snapshot(snapshot), Part::Snapshot(rows)) => {
                (Phase::Snapshot(snapshot.with(rows)?), Action::Stage)
            }
            (Phase::Snapshot(snapshot), Part::SnapshotEnd(state)) => {
                (Phase::Over, Action::Swap(snapshot.end(state)?))
            }
            (Phase::Start, Part::Delta(rows)) => {
                (Phase::Delta(Delta::after(&self.own).with(rows, prior)?), Action::Stage)
            }
            (Phase::Delta(delta), Part::Delta(rows)) => {
                (Phase::Delta(delta.with(rows, prior)?), Action::Stage)
            }
            (Phase::Start, Part::End(state)) => {
                (Phase::Over, Action::Commit(Delta::after(&self.own).end(&self.own, state)?))
            }
            (Phase::Delta(delta), Part::End(state)) => {
                (Phase::Over, Action::Commit(delta.end(&self.own, state)?))
            }
            _ => return Err(Refusal::OutOfPlace),
        };
        self.phase = phase;
        Ok(action)
    }

    fn begin(&self, state: GalleryState, row_count: u64) -> Result<Snapshot, Refusal> {
        if self.own.gallery_id.is_some()
            && self.own.gallery_id != state.gallery_id
            && self.offered_to != state.gallery_id
        {
            return Err(Refusal::NotOffered);
        }
        if row_count > limits::GALLERY_PEOPLE as u64 {
            return Err(Refusal::TooLarge);
        }
        if state.gallery_id.is_none() {
            return Err(Refusal::OtherGallery);
        }
        Ok(Snapshot { state, rows_left: row_count, set_hash: SetHash::EMPTY, last: None })
    }
}

impl Delta {
    fn after(own: &GalleryState) -> Self {
        Self { set_hash: own.set_hash, revision: own.revision, came: HashMap::new() }
    }

    fn with(
        mut self,
        rows: &[RowSummary],
        prior: impl Fn(PersonId) -> Option<RowHash>,
    ) -> Result<Self, Refusal> {
        check_size(rows)?;
        for row in rows {
            if row.revision <= self.revision {
                return Err(Refusal::RowOrder);
            }
            self.revision = row.revision;
            let before = self.came.insert(row.person, row.hash).unwrap_or_else(|| prior(row.person));
            let without = before.map_or(self.set_hash, |hash| self.set_hash.without(hash));
            self.set_hash = row.hash.map_or(without, |hash| without.with(hash));
        }
        match self.came.len() > limits::GALLERY_PEOPLE {
            true => Err(Refusal::TooLarge),
            false => Ok(self),
        }
    }

    fn end(self, own: &GalleryState, state: GalleryState) -> Result<GalleryState, Refusal> {
        if own.gallery_id.is_none() || state.gallery_id != own.gallery_id || state.scope != own.scope {
            return Err(Refusal::OtherGallery);
        }
        if state.revision < self.revision {
            return Err(Refusal::RowOrder);
        }
        if state.set_hash != self.set_hash {
            return Err(Refusal::SetHash);
        }
        Ok(state)
    }
}

impl Snapshot {
    fn with(mut self, rows: &[RowSummary]) -> Result<Self, Refusal> {
        check_size(rows)?;
        for row in rows {
            self.rows_left = self.rows_left.checked_sub(1).ok_or(Refusal::Count)?;
            if row.revision > self.state.revision {
                return Err(Refusal::RowOrder);
            }
            // Somebody of before the adoption whom the hub did not take in.
            let Some(hash) = row.hash else { continue };
            if self.last.is_some_and(|last| last >= row.person) {
                return Err(Refusal::RowOrder);
            }
            self.last = Some(row.person);
            self.set_hash = self.set_hash.with(hash);
        }
        Ok(self)
    }

    fn end(self, state: GalleryState) -> Result<GalleryState, Refusal> {
        if state != self.state {
            return Err(Refusal::OtherGallery);
        }
        if self.rows_left != 0 {
            return Err(Refusal::Count);
        }
        if state.set_hash != self.set_hash {
            return Err(Refusal::SetHash);
        }
        Ok(state)
    }
}

fn check_size(rows: &[RowSummary]) -> Result<(), Refusal> {
    let all: usize = rows.iter().map(|row| row.size_bytes).fold(0, usize::saturating_add);
    let is_too_large = rows.iter().any(|row| row.size_bytes > limits::GALLERY_ROW_SIZE_BYTES);
    if is_too_large || all > limits::GALLERY_CHUNK_SIZE_BYTES {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::gallery::{HistoryHash, row_hash};

    const HISTORY: GalleryId = GalleryId::from_bytes([1; 16]);
    const LATER_HISTORY: GalleryId = GalleryId::from_bytes([2; 16]);

    fn person(number: u8) -> PersonId {
        PersonId::from_bytes([number; 16])
    }

    fn row(revision: u64, number: u8) -> RowSummary {
        let hash = row_hash(person(number), &revision.to_le_bytes());
        RowSummary { revision, person: person(number), hash: Some(hash), size_bytes: 400 }
    }

    fn gone(revision: u64, number: u8) -> RowSummary {
        RowSummary { hash: None, ..row(revision, number) }
    }

    fn state(gallery_id: GalleryId, revision: u64, rows: &[RowSummary]) -> GalleryState {
        GalleryState {
            gallery_id: Some(gallery_id),
            revision,
            set_hash: rows.iter().filter_map(|row| row.hash).collect(),
            history_hash: HistoryHash::from_bytes([9; 32]),
            scope: Default::default(),
        }
    }

    /// Who is at the terminal: persons 1 and 2, by revisions 1 and 2.
    fn here() -> [RowSummary; 2] {
        [row(1, 1), row(2, 2)]
    }

    fn prior(who: PersonId) -> Option<RowHash> {
        here().into_iter().find(|row| row.person == who).and_then(|row| row.hash)
    }

    fn took(own: GalleryState, parts: &[Part<'_>]) -> Result<Action, Refusal> {
        let mut replica = Replica::new(own, None);
        let mut last = Err(Refusal::OutOfPlace);
        for part in parts {
            last = Ok(replica.take(*part, prior)?);
        }
        last
    }

    #[test]
    fn changes_count_once_their_end_fits() {
        let own = state(HISTORY, 2, &here());
        let rows = [row(3, 3), row(5, 1)];
        let more = [gone(6, 2), row(7, 3)];
        let end = state(HISTORY, 8, &[row(5, 1), row(7, 3)]);
        assert_eq!(took(own, &[Part::Delta(&rows), Part::Delta(&more)]), Ok(Action::Stage));
        let parts = [Part::Delta(&rows), Part::Delta(&more), Part::End(end)];
        assert_eq!(took(own, &parts), Ok(Action::Commit(end)));
        assert_eq!(took(own, &[Part::End(own)]), Ok(Action::Commit(own)), "nothing has changed");
    }

    #[test]
    fn somebody_whom_the_terminal_never_had_may_be_gone() {
        let own = state(HISTORY, 2, &here());
        let end = state(HISTORY, 3, &here());
        assert_eq!(took(own, &[Part::Delta(&[gone(3, 9)]), Part::End(end)]), Ok(Action::Commit(end)));
    }

    #[test]
    fn a_row_that_is_missing_here_or_on_the_way_is_noticed() {
        let own = state(HISTORY, 2, &here());
        let end = state(HISTORY, 4, &[row(1, 1), row(2, 2), row(3, 3), row(4, 4)]);
        assert_eq!(took(own, &[Part::Delta(&[row(4, 4)]), Part::End(end)]), Err(Refusal::SetHash));
        let all = state(HISTORY, 4, &[row(1, 1), row(4, 4)]);
        let begin = Part::SnapshotBegin { state: all, row_count: 2 };
        let rows = [row(1, 1), row(3, 4)];
        let parts = [begin, Part::Snapshot(&rows), Part::SnapshotEnd(all)];
        assert_eq!(took(own, &parts), Err(Refusal::SetHash));
    }

    #[test]
    fn f042_everything_counts_once_it_is_whole() {
        let own = state(HISTORY, 2, &here());
        let all = state(HISTORY, 9, &[row(4, 1), row(9, 3)]);
        let begin = Part::SnapshotBegin { state: all, row_count: 2 };
        let (first, second) = ([row(4, 1)], [row(9, 3)]);
        assert_eq!(took(own, &[begin]), Ok(Action::StageAnew));
        let parts = [begin, Part::Snapshot(&first), Part::Snapshot(&second), Part::SnapshotEnd(all)];
        assert_eq!(took(own, &parts), Ok(Action::Swap(all)));
        assert_eq!(took(own, &[begin, Part::Snapshot(&first), Part::SnapshotEnd(all)]), Err(Refusal::Count));
        let too_many = [row(4, 1), row(5, 2), row(9, 3)];
        assert_eq!(took(own, &[begin, Part::Snapshot(&too_many)]), Err(Refusal::Count));
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        let own = state(HISTORY, 2, &here());
        for rows in [[row(2, 3), row(3, 4)], [row(4, 3), row(4, 4)], [row(4, 3), row(3, 4)]] {
            assert_eq!(took(own, &[Part::Delta(&rows)]), Err(Refusal::RowOrder));
        }
        let rows = [row(5, 3)];
        let parts = [Part::Delta(&rows), Part::End(state(HISTORY, 4, &here()))];
        assert_eq!(took(own, &parts), Err(Refusal::RowOrder));
        let begin = Part::SnapshotBegin { state: state(HISTORY, 9, &[]), row_count: 2 };
        for rows in [[row(1, 2), row(2, 1)], [row(1, 1), row(2, 1)], [row(1, 1), row(10, 2)]] {
            assert_eq!(took(own, &[begin, Part::Snapshot(&rows)]), Err(Refusal::RowOrder));
        }
    }

    #[test]
    fn whoever_a_hub_did_not_take_in_stands_among_the_rows_and_not_in_their_sum() {
        let own = state(HISTORY, 2, &here());
        let all = state(HISTORY, 9, &[row(4, 3)]);
        let begin = Part::SnapshotBegin { state: all, row_count: 2 };
        let parts = [begin, Part::Snapshot(&[row(4, 3), gone(9, 1)]), Part::SnapshotEnd(all)];
        assert_eq!(took(own, &parts), Ok(Action::Swap(all)));
    }

    #[test]
    fn parts_out_of_place_are_refused_and_nothing_is_taken_after_it() {
        let own = state(HISTORY, 2, &here());
        let begin = Part::SnapshotBegin { state: own, row_count: 0 };
        for parts in [
            vec![Part::Snapshot(&[])],
            vec![Part::SnapshotEnd(own)],
            vec![begin, begin],
            vec![begin, Part::Delta(&[])],
            vec![begin, Part::End(own)],
            vec![Part::Delta(&[]), begin],
            vec![Part::End(own), Part::End(own)],
        ] {
            assert_eq!(took(own, &parts), Err(Refusal::OutOfPlace), "{parts:?}");
        }
        let mut replica = Replica::new(own, None);
        assert_eq!(replica.take(Part::Snapshot(&[]), prior), Err(Refusal::OutOfPlace));
        assert_eq!(replica.take(Part::End(own), prior), Err(Refusal::OutOfPlace));
    }

    #[test]
    fn changes_of_another_gallery_are_refused() {
        let own = state(HISTORY, 2, &here());
        let other_scope = GalleryState { scope: crate::gallery::Scope::from_bytes([4; 32]), ..own };
        for end in [state(LATER_HISTORY, 2, &here()), other_scope, GalleryState { gallery_id: None, ..own }] {
            assert_eq!(took(own, &[Part::End(end)]), Err(Refusal::OtherGallery));
        }
        assert_eq!(
            took(GalleryState::default(), &[Part::End(GalleryState::default())]),
            Err(Refusal::OtherGallery)
        );
    }

    #[test]
    fn f038_rows_are_not_overwritten_by_another_history_before_they_were_offered_to_it() {
        let own = state(HISTORY, 2, &here());
        let begin = Part::SnapshotBegin { state: state(LATER_HISTORY, 9, &[]), row_count: 0 };
        let begun = |own, offered_to| Replica::new(own, offered_to).take(begin, prior);
        assert_eq!(begun(own, None), Err(Refusal::NotOffered));
        assert_eq!(begun(own, Some(HISTORY)), Err(Refusal::NotOffered), "it began while they were offered");
        assert_eq!(begun(own, Some(LATER_HISTORY)), Ok(Action::StageAnew));
        assert_eq!(begun(GalleryState::default(), None), Ok(Action::StageAnew), "there is nothing to offer");
    }

    #[test]
    fn rows_and_parts_have_a_largest_size() {
        let own = state(HISTORY, 2, &here());
        let large = RowSummary { size_bytes: limits::GALLERY_ROW_SIZE_BYTES, ..row(3, 3) };
        assert_eq!(took(own, &[Part::Delta(&[large])]), Ok(Action::Stage));
        let too_large = RowSummary { size_bytes: large.size_bytes + 1, ..large };
        assert_eq!(took(own, &[Part::Delta(&[too_large])]), Err(Refusal::TooLarge));
        let chunk: Vec<RowSummary> = (3..12).map(|at| RowSummary { revision: at, ..large }).collect();
        assert_eq!(took(own, &[Part::Delta(&chunk)]), Err(Refusal::TooLarge));
        let begin = Part::SnapshotBegin { state: own, row_count: limits::GALLERY_PEOPLE as u64 + 1 };
        assert_eq!(took(own, &[begin]), Err(Refusal::TooLarge));
    }
}
