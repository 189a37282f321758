//! Reports: a person's sessions over some days, counted by mark.
//!
//! Pure: it takes marks and counts them. The numbers on a screen, over gRPC and in a file are these.

use std::collections::BTreeMap;

use crate::codes::{CodeSet, State};
use crate::register::Mark;

/// Sessions of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    codes: BTreeMap<&'static str, (State, u32)>,
}

impl Counts {
    /// Counts one session.
    pub fn add(&mut self, mark: Mark) {
        self.codes.entry(mark.code.code).or_insert((mark.code.state, 0)).1 += 1;
    }

    /// Sessions whose mark means this.
    pub fn of(&self, state: State) -> u32 {
        self.codes.values().filter(|(found, _)| *found == state).map(|(_, count)| count).sum()
    }

    /// Sessions in which the person was expected: all but those that are not counted.
    pub fn possible(&self) -> u32 {
        self.codes.values().map(|(_, count)| count).sum::<u32>() - self.of(State::NotRequired)
    }

    /// Sessions by code: every code of the site's set in its order, and after them those of an earlier set that are
    /// there.
    pub fn by_code(&self, set: CodeSet) -> Vec<(&'static str, u32)> {
        let count = |code: &'static str| (code, self.codes.get(code).map_or(0, |(_, count)| *count));
        let known = set.all().iter().map(|code| code.code);
        let other =
            self.codes.keys().filter(|code| set.all().iter().all(|known| known.code != **code)).copied();
        known.chain(other).map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::codes;

    fn mark(code: &str) -> Mark {
        Mark { code: codes::find(code).unwrap(), provisional: false }
    }

    #[test]
    fn sessions_are_counted_by_what_their_marks_mean() {
        let mut counts = Counts::default();
        for code in ["/", "\\", "L", "N", "I", "U", "O", "V", "#", "Y4", "?", "late"] {
            counts.add(mark(code));
        }
        let of = |state| counts.of(state);
        assert_eq!((of(State::Present), of(State::Late), of(State::Absent)), (2, 2, 1));
        assert_eq!((of(State::AuthorisedAbsence), of(State::UnauthorisedAbsence)), (1, 2));
        assert_eq!((of(State::Elsewhere), of(State::NotRequired), of(State::NotYetKnown)), (1, 2, 1));
        assert_eq!(counts.possible(), 10);
        let codes = counts.by_code(CodeSet::Dfe);
        assert_eq!(codes.len(), CodeSet::Dfe.all().len() + 1);
        assert_eq!((codes[0], codes[codes.len() - 1]), (("/", 1), ("late", 1)));
    }

    proptest! {
        #[test]
        fn every_session_is_counted_once(
            marks in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut counts = Counts::default();
            for (plain, index) in &marks {
                let set = if *plain { CodeSet::Plain } else { CodeSet::Dfe };
                counts.add(mark(index.get(set.all()).code));
            }
            let by_code: u32 = counts.by_code(CodeSet::Dfe).iter().map(|(_, count)| count).sum();
            prop_assert_eq!(by_code as usize, marks.len());
            prop_assert_eq!((counts.possible() + counts.of(State::NotRequired)) as usize, marks.len());
        }
    }
}
