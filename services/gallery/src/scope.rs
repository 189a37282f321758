//! Whose people a terminal has.

use std::collections::BTreeSet;

use rollcall_core::GroupId;
use sha2::{Digest as _, Sha256};

/// The groups whose people a terminal has; none: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<GroupId>);

impl Scope {
    /// Everybody.
    pub fn everybody() -> Self {
        Self::default()
    }

    /// The people of these groups; of none of them: everybody, as a terminal's settings have it.
    pub fn of(groups: impl IntoIterator<Item = GroupId>) -> Self {
        Self(groups.into_iter().collect())
    }

    /// SHA-256 of the sorted ids: another one, and all rows are sent anew.
    pub fn hash(&self) -> [u8; 32] {
        let ids = self.0.iter().fold(Sha256::new(), |hash, group| hash.chain_update(group.as_bytes()));
        ids.finalize().into()
    }

    /// The groups in the order of their ids; none: everybody.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.0.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_the_same_in_any_order_and_another_with_another_group() {
        let [a, b] = [1, 2].map(|n| GroupId::from_bytes([n; 16]));
        assert_eq!(Scope::of([a, b]).hash(), Scope::of([b, a, b]).hash());
        assert_ne!(Scope::of([a, b]).hash(), Scope::of([a]).hash());
        assert_eq!(Scope::of([]), Scope::everybody());
    }
}
