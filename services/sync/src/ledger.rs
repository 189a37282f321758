//! The erasure ledger's lines between a terminal and its hub: which of them the other side lacks.
//!
//! Lines are random ids, an instant and the hub's code of authenticity; they are never taken away. Both sides tell how
//! many they have and the sum of their hashes. In the order of erasure ids, which is that of time, one side nearly always
//! has a beginning of the other's, or that and a few more that it shows; then exactly what is missing is sent. Otherwise
//! everything is, which costs bytes and nothing else.
//!
//! What a terminal says that it has, it has *applied and swept*: nothing of these people is left on its disk. So its word is
//! the confirmation in the certificate of an erasure.

use std::collections::BTreeMap;

use rollcall_core::{ErasureId, PersonId, SetHash, UtcInstant, limits};
use sha2::{Digest as _, Sha256};

/// One erasure, as a hub made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub erasure_id: ErasureId,
    /// Who it was; the id names nobody any more.
    pub person_id: PersonId,
    /// When.
    pub erased: UtcInstant,
    /// The hub's HMAC-SHA256 over the three.
    pub mac: [u8; 32],
}

impl Line {
    /// SHA-256 of it: its fields one after the other, the instant as 8 bytes of microseconds, the most significant first.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.erasure_id.as_bytes())
            .chain_update(self.person_id.as_bytes())
            .chain_update(self.erased.micros().to_be_bytes())
            .chain_update(self.mac)
            .finalize()
            .into()
    }
}

/// How many lines there are, and which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LedgerState {
    /// How many.
    pub count: u64,
    /// The sum of their hashes.
    pub hash: SetHash,
}

impl LedgerState {
    fn with(self, line: &Line) -> Self {
        Self { count: self.count.saturating_add(1), hash: self.hash.with(line.hash()) }
    }

    fn without(self, line: &Line) -> Self {
        Self { count: self.count.wrapping_sub(1), hash: self.hash.without(line.hash()) }
    }
}

impl<'a> FromIterator<&'a Line> for LedgerState {
    fn from_iter<I: IntoIterator<Item = &'a Line>>(lines: I) -> Self {
        lines.into_iter().fold(Self::default(), Self::with)
    }
}

/// The lines that one side has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    by_id: BTreeMap<ErasureId, Line>,
}

impl Lines {
    /// Takes a line; false when its id was there.
    pub fn insert(&mut self, line: Line) -> bool {
        let is_new = !self.by_id.contains_key(&line.erasure_id);
        self.by_id.entry(line.erasure_id).or_insert(line);
        is_new
    }

    /// Every line, by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.by_id.values()
    }

    /// How many, and which.
    pub fn state(&self) -> LedgerState {
        self.iter().collect()
    }

    /// The lines that somebody who has `theirs`, and among them those of `shown`, does not have, by id. Some that they do
    /// have may be among them when it cannot be told. At most `count`.
    pub fn lacked_by(&self, theirs: LedgerState, shown: &Lines, count: usize) -> Vec<Line> {
        if theirs == self.state() {
            return Vec::new();
        }
        let rest = || self.iter().filter(|line| !shown.by_id.contains_key(&line.erasure_id));
        // What they have besides what they showed.
        let besides = shown.iter().fold(theirs, LedgerState::without);
        let known = beginning(rest(), besides).unwrap_or(0);
        rest().skip(known).take(count).copied().collect()
    }

    /// The lines that `theirs` confirms: those that whoever has it has for certain.
    pub fn confirmed_by(&self, theirs: LedgerState) -> Vec<Line> {
        let known = beginning(self.iter(), theirs).unwrap_or(0);
        self.iter().take(known).copied().collect()
    }
}

impl FromIterator<Line> for Lines {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        let mut all = Self::default();
        for line in lines {
            all.insert(line);
        }
        all
    }
}

/// A terminal's exchange of lines with its hub: one request after the other until both have the same.
#[derive(Debug)]
pub struct Exchange {
    hub: LedgerState,
    /// What the hub has for certain: what was sent to it and what came from it.
    known: Lines,
    is_over: bool,
}

impl Exchange {
    /// Before the first request, with what the hub said in its Welcome.
    pub fn with(hub: LedgerState) -> Self {
        Self { hub, known: Lines::default(), is_over: false }
    }

    /// The lines to send next, with the state of `own`, everything that the terminal keeps; `None` when there is nothing to
    /// exchange.
    pub fn request(&self, own: &Lines) -> Option<Vec<Line>> {
        let is_over = self.is_over || self.hub == own.state();
        (!is_over).then(|| own.lacked_by(self.hub, &self.known, limits::LEDGER_LINES))
    }

    /// Takes the answer to a request of `sent`: the hub's state now, and its lines. Returns those that are new; `own` is to
    /// have them before the next request.
    pub fn answered(
        &mut self,
        own: &Lines,
        sent: Vec<Line>,
        hub: LedgerState,
        lines: Vec<Line>,
    ) -> Vec<Line> {
        self.hub = hub;
        let fresh: Vec<Line> =
            lines.iter().filter(|line| !own.by_id.contains_key(&line.erasure_id)).copied().collect();
        // With nothing left to send and nothing to get, another request would change nothing.
        self.is_over = sent.is_empty() && fresh.is_empty();
        for line in sent.into_iter().chain(lines) {
            self.known.insert(line);
        }
        fresh
    }
}

/// How many of the lines, from the first on, are `state`; `None` when no beginning of them is.
fn beginning<'a>(lines: impl Iterator<Item = &'a Line>, state: LedgerState) -> Option<usize> {
    let count = usize::try_from(state.count).ok()?;
    let first: Vec<&Line> = lines.take(count).collect();
    (first.into_iter().collect::<LedgerState>() == state).then_some(count)
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn line(number: u8) -> Line {
        Line {
            erasure_id: ErasureId::from_bytes([number; 16]),
            person_id: PersonId::from_bytes([number; 16]),
            erased: UtcInstant::from_micros(number.into()),
            mac: [number; 32],
        }
    }

    fn lines(numbers: impl IntoIterator<Item = u8>) -> Lines {
        numbers.into_iter().map(line).collect()
    }

    fn numbers(lines: &[Line]) -> Vec<u8> {
        lines.iter().map(|line| line.mac[0]).collect()
    }

    #[test]
    fn whoever_has_a_beginning_gets_the_rest() {
        let all = lines(1..=9);
        assert_eq!(numbers(&all.lacked_by(lines(1..=6).state(), &Lines::default(), 100)), [7, 8, 9]);
        assert_eq!(
            numbers(&all.lacked_by(LedgerState::default(), &Lines::default(), 100)),
            [1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
        assert!(all.lacked_by(all.state(), &Lines::default(), 100).is_empty());
        assert_eq!(
            numbers(&all.lacked_by(lines(1..=6).state(), &Lines::default(), 2)),
            [7, 8],
            "and more when asked again"
        );
    }

    #[test]
    fn lines_that_only_one_side_has_are_exchanged_both_ways() {
        let (hub, terminal) = (lines([1, 2, 3, 5]), lines([1, 2, 4, 6]));
        let shown = lines([4, 6]);
        assert_eq!(numbers(&hub.lacked_by(terminal.state(), &shown, 100)), [3, 5]);
    }

    #[test]
    fn where_it_cannot_be_told_everything_is_sent() {
        let (hub, terminal) = (lines([1, 2, 3]), lines([2, 9]));
        assert_eq!(numbers(&hub.lacked_by(terminal.state(), &Lines::default(), 100)), [1, 2, 3]);
    }

    #[test]
    fn only_lines_that_are_there_for_certain_are_confirmed() {
        let hub = lines(1..=9);
        assert_eq!(numbers(&hub.confirmed_by(lines(1..=4).state())), [1, 2, 3, 4]);
        assert!(hub.confirmed_by(lines([1, 3]).state()).is_empty());
        assert!(hub.confirmed_by(LedgerState { count: u64::MAX, ..hub.state() }).is_empty());
    }

    #[test]
    fn a_line_counts_with_all_that_is_in_it() {
        for other in [
            Line { person_id: PersonId::from_bytes([2; 16]), ..line(1) },
            Line { erased: UtcInstant::from_micros(2), ..line(1) },
            Line { mac: [2; 32], ..line(1) },
        ] {
            assert_ne!(other.hash(), line(1).hash());
        }
    }

    proptest! {
        #[test]
        fn after_an_exchange_both_have_all(
            ours in btree_set(0..60_u8, 0..30), theirs in btree_set(0..60_u8, 0..30),
        ) {
            let (mut hub, mut terminal) = (lines(ours.clone()), lines(theirs.clone()));
            let all = lines(ours.union(&theirs).copied());
            let mut exchange = Exchange::with(hub.state());
            let mut calls = 0;
            while let Some(sent) = exchange.request(&terminal) {
                calls += 1;
                let shown: Lines = sent.iter().copied().collect();
                let answer = hub.lacked_by(terminal.state(), &shown, limits::LEDGER_LINES_PER_ANSWER);
                shown.iter().for_each(|line| { hub.insert(*line); });
                for line in exchange.answered(&terminal, sent, hub.state(), answer) {
                    terminal.insert(line);
                }
            }
            prop_assert_eq!(&hub, &terminal);
            prop_assert_eq!(hub, all);
            prop_assert!(calls <= 1, "one page each is enough");
        }

        #[test]
        fn a_ledger_longer_than_a_page_goes_page_by_page(
            ours in btree_set(0..60_u8, 0..30), theirs in btree_set(0..60_u8, 0..30), page in 1..10_usize,
        ) {
            let (mut hub, terminal) = (lines(ours.clone()), lines(theirs.clone()));
            let mut known = Lines::default();
            for _ in 0..60 {
                for line in terminal.lacked_by(hub.state(), &known, page) {
                    hub.insert(line);
                    known.insert(line);
                }
            }
            prop_assert_eq!(hub, lines(ours.union(&theirs).copied()));
        }
    }
}
