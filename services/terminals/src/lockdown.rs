//! A door that is locked down: what that is, and the rules of changing it. Pure.
//!
//! At a terminal that belongs to a hub two may speak: the hub, and whoever stands there in an emergency. Whoever spoke
//! last is obeyed, as long as they knew what the other had said. Where they could not know, because the network was
//! down, the door is locked down if either said so: a lockdown too many is ended by a word, one too few by nobody.

use std::time::Duration;

use rollcall_core::{GroupId, UtcInstant};

use crate::TerminalError;
use crate::access::check_groups;

/// Whether the door is locked down. The default is that it never was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lockdown {
    /// Whether it is.
    pub is_on: bool,
    /// Whose people pass nevertheless, by the rules that hold for them always; empty: nobody. In ascending order, each
    /// once, and none where it is not locked down.
    pub exempt: Vec<GroupId>,
    /// Since when it is so; `None`: it was never asked for.
    pub since: Option<UtcInstant>,
    /// Who asked for it, `accounts/ID` or `tokens/ID`; empty: nobody ever did.
    pub by: String,
}

impl Lockdown {
    /// What `by` asks for at `now`.
    ///
    /// # Errors
    /// More groups than there may be, or groups without a lockdown.
    pub fn asked(
        is_on: bool,
        exempt: Vec<GroupId>,
        by: String,
        now: UtcInstant,
    ) -> Result<Self, TerminalError> {
        check_groups("exempt_groups", &exempt)?;
        if !is_on && !exempt.is_empty() {
            let problem = "are given although the lockdown is to end; leave them out".to_owned();
            return Err(TerminalError::Field { field: "exempt_groups", problem });
        }
        let mut exempt = exempt;
        exempt.sort_unstable();
        exempt.dedup();
        Ok(Self { is_on, exempt, since: Some(now), by })
    }

    /// The same, asked for after `before` whatever the clock says: one that was set back makes no word an older one.
    #[must_use]
    pub(crate) fn later_than(self, before: &Self) -> Self {
        let next = before.since.map(|since| since.after(Duration::from_micros(1)));
        Self { since: self.since.max(next), ..self }
    }

    /// Whether it comes to the same at the door.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.is_on, &self.exempt) == (other.is_on, &other.exempt)
    }
}

/// Whose word a terminal's lockdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was asked for at the terminal itself, and the hub, if there is one, has not taken it over.
    Here,
    /// The hub knows it.
    Hub,
}

/// What the hub says of the lockdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The same as the last time.
    Known,
    /// Something else.
    New,
}

/// Whether a terminal obeys what its hub says. Not where it was asked for something else since the hub said so, nor where
/// a release comes from somebody who did not know of the lockdown: because the two crossed, or because the hub was
/// restored from a backup and has forgotten it. The hub is told of these.
pub(crate) fn is_obeyed(in_force: &Lockdown, origin: Origin, said: &Lockdown, word: Word) -> bool {
    let releases = in_force.is_on && !said.is_on;
    match (origin, word) {
        // The hub's words have rising times, as `later_than` makes them.
        (Origin::Hub, _) => !releases || said.since > in_force.since,
        (Origin::Here, Word::Known) => in_force.is_same(said),
        (Origin::Here, Word::New) => !releases,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn asked(is_on: bool, exempt: &[GroupId]) -> Result<Lockdown, TerminalError> {
        Lockdown::asked(is_on, exempt.to_vec(), "tokens/x".into(), UtcInstant::from_micros(5))
    }

    #[test]
    fn the_order_of_exempt_groups_and_who_asks_make_no_other_lockdown() {
        let [first, second] = [GroupId::generate(), GroupId::generate()];
        let one = asked(true, &[first, second]).unwrap();
        let other = Lockdown { by: "accounts/y".into(), ..asked(true, &[second, first, second]).unwrap() };
        assert!(one.is_same(&other) && one.exempt == other.exempt);
        assert!(!one.is_same(&asked(true, &[first]).unwrap()));
        assert!(Lockdown::default().is_same(&asked(false, &[]).unwrap()));
    }

    #[test]
    fn who_knew_what_the_other_said_is_obeyed_and_in_doubt_the_door_is_locked_down() {
        let (on, off) = (asked(true, &[]).unwrap(), asked(false, &[]).unwrap());
        let others = asked(true, &[GroupId::generate()]).unwrap();
        let release = off.clone().later_than(&on);
        for (in_force, origin, said, word, obeyed) in [
            (&on, Origin::Hub, &release, Word::New, true),
            (&on, Origin::Hub, &off, Word::New, false),
            (&on, Origin::Hub, &Lockdown::default(), Word::New, false),
            (&off, Origin::Hub, &on, Word::New, true),
            (&off, Origin::Here, &on, Word::Known, false),
            (&on, Origin::Here, &off, Word::Known, false),
            (&off, Origin::Here, &on, Word::New, true),
            (&on, Origin::Here, &off, Word::New, false),
            (&on, Origin::Here, &others, Word::New, true),
            (&on, Origin::Here, &on, Word::Known, true),
            (&off, Origin::Here, &off, Word::New, true),
        ] {
            assert_eq!(
                is_obeyed(in_force, origin, said, word),
                obeyed,
                "{in_force:?} {origin:?} {said:?} {word:?}"
            );
        }
    }

    #[test]
    fn a_word_is_later_than_the_one_before_although_the_clock_was_set_back() {
        let (early, late) = (UtcInstant::from_micros(5), UtcInstant::from_micros(7));
        let before = Lockdown { since: Some(late), ..asked(true, &[]).unwrap() };
        assert_eq!(asked(false, &[]).unwrap().later_than(&before).since, Some(UtcInstant::from_micros(8)));
        let first = asked(true, &[]).unwrap().later_than(&Lockdown::default());
        assert_eq!(first.since, Some(early));
    }

    #[test]
    fn groups_that_could_not_be_meant_are_refused() {
        let group = GroupId::generate();
        for wrong in [asked(false, &[group]), asked(true, &[group; 101])] {
            assert_eq!(wrong.unwrap_err().fault().metadata, [("field", "exempt_groups".to_owned())]);
        }
        assert!(asked(true, &[]).is_ok());
    }
}
