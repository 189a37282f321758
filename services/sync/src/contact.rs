//! How often a terminal and its hub have met: the first thing that either looks at, for it tells a device that came back
//! with an older state from a lost answer, a clone from a hub that was restored.
//!
//! Both keep a number that rises by one with each contact. What a terminal is about to say is stored before it is said,
//! with a random number, and said again until it is answered; so a lost answer looks like what it is. Adoption begins
//! both sides anew ([`Contacts::default`], [`Known::default`]).
//!
//! Nothing here refuses anybody's events: a fork is counted, told and lived with.

use std::time::Duration;

use rollcall_core::{UtcInstant, limits};

/// A random number that is used once.
pub type Nonce = [u8; 16];

/// What a terminal says, stored before it is first sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// One more than the last contact that was answered.
    pub contact: u64,
    /// Tells this attempt from another device's with the same number.
    pub nonce: Nonce,
}

/// What a terminal keeps of its contacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// The last one, as the hub's answer gave it.
    pub contact: u64,
    /// Said and not answered.
    pub pending: Option<Pending>,
}

impl Contacts {
    /// What to say next: what was not answered again, else the next number with `nonce`. To be stored before it is sent.
    pub fn call(&mut self, nonce: Nonce) -> Pending {
        *self.pending.get_or_insert(Pending { contact: self.contact.saturating_add(1), nonce })
    }

    /// The hub has answered with this number. To be stored.
    pub fn answered(&mut self, contact: u64) {
        *self = Self { contact, pending: None };
    }
}

/// What a hub keeps of its contacts with one terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last one.
    pub contact: u64,
    /// What it was made with.
    pub nonce: Option<Nonce>,
    /// The boards that have called with this terminal's certificate, oldest first.
    pub boards: Vec<String>,
    /// When the latest forks were.
    pub forks: Vec<UtcInstant>,
    /// Two devices have the certificate. It stays so until one of them is adopted anew.
    pub is_cloned: bool,
}

/// What a contact means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next one.
    Accepted,
    /// The last one again: its answer was lost.
    Retry,
    /// The terminal has met the hub more often than the hub knows: the hub was restored from a backup.
    HubSteppedBack,
    /// The terminal has met the hub less often: it came back with an older state, or it is a copy.
    Forked {
        /// Whether it is known by now to be a copy.
        cloned: bool,
    },
}

/// Judges a contact. What is returned is stored before it is answered, and `contact` of it is the answer.
pub fn judge(known: &Known, pending: &Pending, board: &str, now: UtcInstant) -> (Known, Verdict) {
    let mut next = known.clone();
    if !next.boards.iter().any(|one| one == board) && next.boards.len() < limits::CONTACT_MACHINES {
        next.boards.push(board.to_owned());
    }
    next.is_cloned |= next.boards.len() > 1;
    if known.nonce == Some(pending.nonce) {
        return (next, Verdict::Retry);
    }
    next.nonce = Some(pending.nonce);
    let expected = known.contact.saturating_add(1);
    if pending.contact >= expected {
        next.contact = pending.contact;
        let is_next = pending.contact == expected;
        return (next, if is_next { Verdict::Accepted } else { Verdict::HubSteppedBack });
    }
    next.contact = expected;
    next.forks.retain(|fork| now.since(*fork) < Duration::from_secs(86_400));
    next.forks.push(now);
    next.is_cloned |= next.forks.len() >= limits::CONTACT_FORKS_A_DAY;
    let excess = next.forks.len().saturating_sub(limits::CONTACT_FORKS_A_DAY);
    next.forks.drain(..excess);
    let cloned = next.is_cloned;
    (next, Verdict::Forked { cloned })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> UtcInstant {
        UtcInstant::from_micros(1_793_880_000_000_000)
    }

    /// A hub that answers, and what it made of each call.
    #[derive(Default)]
    struct Hub {
        known: Known,
    }

    impl Hub {
        fn hears(&mut self, pending: Pending) -> Verdict {
            self.hears_at(pending, noon())
        }

        fn hears_at(&mut self, pending: Pending, now: UtcInstant) -> Verdict {
            let (known, verdict) = judge(&self.known, &pending, "board 1", now);
            self.known = known;
            verdict
        }

        fn meets(&mut self, terminal: &mut Contacts, nonce: u8) -> Verdict {
            let verdict = self.hears(terminal.call([nonce; 16]));
            terminal.answered(self.known.contact);
            verdict
        }
    }

    #[test]
    fn a_lost_answer_is_no_fork() {
        let (mut hub, mut terminal) = (Hub::default(), Contacts::default());
        assert_eq!(hub.hears(terminal.call([1; 16])), Verdict::Accepted);
        assert_eq!(hub.hears(terminal.call([2; 16])), Verdict::Retry, "what is pending is said again");
        terminal.answered(hub.known.contact);
        assert_eq!(hub.meets(&mut terminal, 3), Verdict::Accepted);
        assert_eq!(terminal, Contacts { contact: 2, pending: None });
    }

    #[test]
    fn f031_a_restored_card_is_one_fork_and_no_clone() {
        let (mut hub, mut terminal) = (Hub::default(), Contacts::default());
        hub.meets(&mut terminal, 1);
        let image = terminal;
        hub.meets(&mut terminal, 2);
        terminal = image;
        assert_eq!(hub.meets(&mut terminal, 3), Verdict::Forked { cloned: false });
        assert_eq!(hub.meets(&mut terminal, 4), Verdict::Accepted, "it was told how often they have met");
    }

    #[test]
    fn f032_a_cloned_card_is_known_by_the_second_alternation() {
        let (mut hub, mut one) = (Hub::default(), Contacts::default());
        hub.meets(&mut one, 1);
        let mut other = one;
        assert_eq!(hub.meets(&mut one, 2), Verdict::Accepted);
        assert_eq!(hub.meets(&mut other, 3), Verdict::Forked { cloned: false });
        assert_eq!(hub.meets(&mut one, 4), Verdict::Forked { cloned: true });
        assert_eq!(hub.meets(&mut one, 5), Verdict::Accepted);
        assert!(hub.known.is_cloned, "until it is adopted anew");
    }

    #[test]
    fn forks_on_different_days_are_no_clone() {
        let day = |days: u64| noon().after(Duration::from_secs(days * 86_400));
        let mut hub = Hub::default();
        hub.known.contact = 9;
        let old = |nonce| Pending { contact: 1, nonce: [nonce; 16] };
        for days in 0..5_u8 {
            assert_eq!(hub.hears_at(old(days), day(days.into())), Verdict::Forked { cloned: false });
        }
        assert!(hub.known.forks.len() < limits::CONTACT_FORKS_A_DAY);
    }

    #[test]
    fn a_second_board_is_a_clone_without_any_fork() {
        let (known, verdict) =
            judge(&Known::default(), &Pending { contact: 1, nonce: [1; 16] }, "board 1", noon());
        assert_eq!((verdict, known.is_cloned), (Verdict::Accepted, false));
        let (known, verdict) = judge(&known, &Pending { contact: 2, nonce: [2; 16] }, "board 2", noon());
        assert_eq!((verdict, known.is_cloned), (Verdict::Accepted, true));
    }

    #[test]
    fn f035_a_restored_hub_is_not_taken_for_cloned_terminals() {
        let (mut hub, mut terminal) = (Hub::default(), Contacts::default());
        hub.meets(&mut terminal, 1);
        let backup = hub.known.clone();
        hub.meets(&mut terminal, 2);
        hub.meets(&mut terminal, 3);
        hub.known = backup;
        assert_eq!(hub.meets(&mut terminal, 4), Verdict::HubSteppedBack);
        assert_eq!(hub.meets(&mut terminal, 5), Verdict::Accepted);
        assert!(!hub.known.is_cloned);
    }

    #[test]
    fn numbers_at_the_end_of_their_range_break_nothing() {
        let known = Known { contact: u64::MAX, nonce: Some([1; 16]), ..Known::default() };
        let (next, _) = judge(&known, &Pending { contact: u64::MAX, nonce: [2; 16] }, "board 1", noon());
        assert_eq!(next.contact, u64::MAX);
        let mut contacts = Contacts { contact: u64::MAX, pending: None };
        assert_eq!(contacts.call([3; 16]).contact, u64::MAX);
    }
}
