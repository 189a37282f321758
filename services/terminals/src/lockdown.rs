//! A door that is locked down: what that is, and the rule of changing it. Pure.

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

    /// Whether it comes to the same at the door.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.is_on, &self.exempt) == (other.is_on, &other.exempt)
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
    fn groups_that_could_not_be_meant_are_refused() {
        let group = GroupId::generate();
        for wrong in [asked(false, &[group]), asked(true, &[group; 101])] {
            assert_eq!(wrong.unwrap_err().fault().metadata, [("field", "exempt_groups".to_owned())]);
        }
        assert!(asked(true, &[]).is_ok());
    }
}
