//! The gallery as it goes from a hub to a terminal: how a hub decides what to send, and what it takes back from terminals
//! when it was restored from a backup. `replica.rs` is the terminal's side.
//!
//! Both compare two hashes. The *history hash* chains every change of the hub, whomever it concerns; a terminal keeps what
//! it was told at its revision, although it has only some groups, and a hub that finds another in its own history was
//! restored. The *set hash* is the sum over the rows that this terminal has or is to have; it finds what got lost.
//!
//! A hub that was restored begins a new history under a new id and goes on serving. Whoever comes with a former id offers
//! its rows before it is sent any; so nothing that a terminal has is overwritten before the hub has seen it, and nobody
//! waits for others. A history that the hub does not know is one that it lost.

use std::collections::BTreeSet;

use rollcall_core::{GalleryId, GroupId, PersonId, SetHash};
use sha2::{Digest as _, Sha256};

/// SHA-256 of a row: its person's id and content, one after the other.
pub type RowHash = [u8; 32];

/// The chain over all changes of a hub's gallery up to a revision.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct HistoryHash([u8; 32]);

impl HistoryHash {
    /// Before the first change.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash with these 32 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// After one more change: the hash of the person's row, `None` when they are gone.
    #[must_use]
    pub fn after(&self, revision: u64, person: PersonId, row: Option<RowHash>) -> Self {
        let hash = Sha256::new()
            .chain_update(self.0)
            .chain_update(revision.to_be_bytes())
            .chain_update(person.as_bytes())
            .chain_update(row.unwrap_or_default());
        Self(hash.finalize().into())
    }
}

impl std::fmt::Debug for HistoryHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "{first:02x}{second:02x}..")
    }
}

/// Whose rows a terminal is to have: SHA-256 of the sorted ids of its groups. Without any it has everybody.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scope([u8; 32]);

impl Scope {
    /// The people of these groups.
    pub fn of(groups: &BTreeSet<GroupId>) -> Self {
        let hash = groups.iter().fold(Sha256::new(), |hash, group| hash.chain_update(group.as_bytes()));
        Self(hash.finalize().into())
    }

    /// The scope with these 32 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "{first:02x}{second:02x}..")
    }
}

/// The hash of a person's row.
pub fn row_hash(person: PersonId, content: &[u8]) -> RowHash {
    Sha256::new().chain_update(person.as_bytes()).chain_update(content).finalize().into()
}

/// Where a terminal's gallery is, in the hub's words. The default: it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GalleryState {
    /// Which history; `None`: no gallery, or one that must come whole.
    pub gallery_id: Option<GalleryId>,
    /// The last change in it.
    pub revision: u64,
    /// Over the rows that the terminal has or is to have.
    pub set_hash: SetHash,
    /// The hub's chain at that revision.
    pub history_hash: HistoryHash,
    /// Whose rows they are.
    pub scope: Scope,
}

impl GalleryState {
    /// What a terminal says that wants all rows anew, because those that it has are not the right ones: its own state with a
    /// scope that nobody has. The hub sees all the same whether it lost something that the terminal still has.
    #[must_use]
    pub fn anew(self) -> Self {
        Self { scope: Scope::default(), ..self }
    }
}

/// What the hub has, as far as it concerns one terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnGallery {
    /// Its present state, with the set hash and scope of this terminal.
    pub now: GalleryState,
    /// Whether the terminal's history is one that the hub had before its present one.
    pub is_former: bool,
    /// Its own chain at the terminal's revision; `None` when that change, or one after it, is not kept any more, or when
    /// the hub never had so many.
    pub history_hash_then: Option<HistoryHash>,
    /// The terminal has met the hub more often than the hub knows ([`crate::contact::Verdict::HubSteppedBack`]).
    pub is_restored: bool,
}

/// What a terminal is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it has everything.
    Nothing,
    /// The changes after this revision.
    Delta {
        /// The terminal's revision.
        after: u64,
    },
    /// Everything.
    Snapshot,
    /// Everything, after it has offered what it has: it is of a former history.
    OfferThenSnapshot,
    /// The hub was restored, or cannot know that it was not: it begins a new history first, remembers the terminal's and its
    /// own as former ones, then as [`Decision::OfferThenSnapshot`].
    SteppedBack,
}

impl Decision {
    /// Whether the terminal is to offer its rows first.
    pub fn wants_offer(self) -> bool {
        matches!(self, Self::OfferThenSnapshot | Self::SteppedBack)
    }
}

/// Decides what a terminal is to be sent. Asked at every Open, and again at every Pull, because the hub may have been
/// restored in between: a Pull that finds [`Decision::SteppedBack`] is refused, and the terminal opens again.
pub fn decide(theirs: &GalleryState, own: &OwnGallery) -> Decision {
    let Some(gallery_id) = theirs.gallery_id else { return Decision::Snapshot };
    if own.now.gallery_id != Some(gallery_id) {
        return if own.is_former { Decision::OfferThenSnapshot } else { Decision::SteppedBack };
    }
    if own.is_restored || theirs.revision > own.now.revision {
        return Decision::SteppedBack;
    }
    match own.history_hash_then {
        None => Decision::SteppedBack,
        Some(then) if then != theirs.history_hash => Decision::SteppedBack,
        Some(_) if theirs.scope != own.now.scope => Decision::Snapshot,
        Some(_) if theirs.revision < own.now.revision => Decision::Delta { after: theirs.revision },
        Some(_) if theirs.set_hash != own.now.set_hash => Decision::Snapshot,
        Some(_) => Decision::Nothing,
    }
}

/// What the hub has of a person whom a terminal offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Nobody of this id.
    Lacking,
    /// Unchanged since the present history began: by this revision of the former one. Of somebody who was taken back, the
    /// revision of the row that was taken.
    Former {
        /// The revision.
        revision: u64,
    },
    /// Changed since by somebody, who knew what they saw.
    Changed,
}

/// Why an offered row is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotTaken {
    /// Its code of authenticity is not the hub's: an alarm, the terminal is marked.
    #[error("is not a row that this hub made")]
    Forged,
    /// The ledger names the person.
    #[error("is of a person who was erased")]
    Erased,
    /// The hub's own is as new or newer.
    #[error("is not newer than what the hub has")]
    NotNewer,
}

/// Whether the hub takes a row back that a terminal offers.
///
/// # Errors
/// Why not.
pub fn take_back(
    mac_is_right: bool,
    is_erased: bool,
    present: Present,
    revision: u64,
) -> Result<(), NotTaken> {
    match present {
        _ if !mac_is_right => Err(NotTaken::Forged),
        _ if is_erased => Err(NotTaken::Erased),
        Present::Lacking => Ok(()),
        Present::Former { revision: own } if revision > own => Ok(()),
        Present::Former { .. } | Present::Changed => Err(NotTaken::NotNewer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: GalleryId = GalleryId::from_bytes([1; 16]);

    fn history(revision: u64) -> HistoryHash {
        let person = PersonId::from_bytes([7; 16]);
        (1..=revision).fold(HistoryHash::ZERO, |hash, number| hash.after(number, person, None))
    }

    fn state(revision: u64) -> GalleryState {
        GalleryState {
            gallery_id: Some(HISTORY),
            revision,
            set_hash: SetHash::EMPTY.with([u8::try_from(revision % 251).unwrap_or(0); 32]),
            history_hash: history(revision),
            scope: Scope::of(&BTreeSet::new()),
        }
    }

    fn hub(revision: u64, theirs: &GalleryState) -> OwnGallery {
        let then = (theirs.revision <= revision).then(|| history(theirs.revision));
        OwnGallery { now: state(revision), is_former: false, history_hash_then: then, is_restored: false }
    }

    #[test]
    fn a_terminal_gets_the_changes_that_it_lacks_and_no_more() {
        assert_eq!(decide(&state(5), &hub(9, &state(5))), Decision::Delta { after: 5 });
        assert_eq!(decide(&state(9), &hub(9, &state(9))), Decision::Nothing);
        assert_eq!(decide(&GalleryState::default(), &hub(9, &state(0))), Decision::Snapshot);
    }

    #[test]
    fn a_terminal_whose_rows_or_groups_are_not_the_right_ones_gets_everything() {
        let damaged = GalleryState { set_hash: SetHash::EMPTY, ..state(9) };
        assert_eq!(decide(&damaged, &hub(9, &damaged)), Decision::Snapshot);
        assert_eq!(decide(&state(5).anew(), &hub(9, &state(5))), Decision::Snapshot);
        assert_eq!(decide(&state(10).anew(), &hub(9, &state(10))), Decision::SteppedBack);
        let groups = BTreeSet::from([GroupId::from_bytes([1; 16])]);
        let moved = GalleryState { scope: Scope::of(&groups), ..state(5) };
        assert_eq!(decide(&moved, &hub(9, &moved)), Decision::Snapshot);
    }

    #[test]
    fn f038_a_hub_that_stepped_back_is_found_by_whoever_knows_more() {
        assert_eq!(decide(&state(10), &hub(9, &state(10))), Decision::SteppedBack);
        let told_otherwise = GalleryState { history_hash: history(4), ..state(5) };
        let decision = decide(&told_otherwise, &hub(9, &told_otherwise));
        assert_eq!(decision, Decision::SteppedBack, "three people were enrolled since");
        let restored = OwnGallery { is_restored: true, ..hub(9, &state(5)) };
        assert_eq!(decide(&state(5), &restored), Decision::SteppedBack);
    }

    #[test]
    fn a_terminal_of_a_former_history_offers_its_rows_and_gets_everything() {
        let former = GalleryState { gallery_id: Some(GalleryId::from_bytes([2; 16])), ..state(5) };
        let own = OwnGallery { is_former: true, is_restored: true, ..hub(9, &former) };
        assert_eq!(decide(&former, &own), Decision::OfferThenSnapshot, "and no other history begins");
    }

    #[test]
    fn what_the_hub_does_not_remember_it_may_have_lost() {
        let lost = GalleryState { gallery_id: Some(GalleryId::from_bytes([2; 16])), ..state(5) };
        assert_eq!(decide(&lost, &hub(9, &lost)), Decision::SteppedBack, "a history that it has forgotten");
        let forgotten = OwnGallery { history_hash_then: None, ..hub(9, &state(5)) };
        assert_eq!(decide(&state(5), &forgotten), Decision::SteppedBack, "changes that it does not keep");
    }

    #[test]
    fn f039_only_the_hubs_own_rows_of_people_who_were_not_erased_come_back() {
        let cases = [
            (true, false, Present::Lacking, 5, Ok(())),
            (true, false, Present::Former { revision: 4 }, 5, Ok(())),
            (true, false, Present::Former { revision: 5 }, 5, Err(NotTaken::NotNewer)),
            (true, false, Present::Changed, 5, Err(NotTaken::NotNewer)),
            (false, false, Present::Lacking, 5, Err(NotTaken::Forged)),
            (true, true, Present::Lacking, 5, Err(NotTaken::Erased)),
            (false, true, Present::Lacking, 5, Err(NotTaken::Forged)),
        ];
        for (mac_is_right, is_erased, present, revision, expected) in cases {
            assert_eq!(take_back(mac_is_right, is_erased, present, revision), expected, "{present:?}");
        }
    }

    #[test]
    fn every_part_of_a_change_is_in_the_history() {
        let person = PersonId::from_bytes([1; 16]);
        let one = HistoryHash::ZERO.after(1, person, Some([3; 32]));
        for other in [
            HistoryHash::ZERO.after(2, person, Some([3; 32])),
            HistoryHash::ZERO.after(1, PersonId::from_bytes([2; 16]), Some([3; 32])),
            HistoryHash::ZERO.after(1, person, None),
            one.after(1, person, Some([3; 32])),
        ] {
            assert_ne!(one, other);
        }
    }
}
