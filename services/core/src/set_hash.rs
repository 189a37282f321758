//! The hash of a set: the sum of its members' hashes modulo 2^256.
//!
//! It does not depend on the order, and one member more or less is one addition. It finds what was lost, doubled or
//! damaged. It is no proof against somebody who chooses members: a set with a given sum can be searched for, so what
//! comes from others is authenticated member by member.

/// The sum of SHA-256 of each member, a 256-bit number with its most significant byte first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SetHash([u8; 32]);

impl SetHash {
    /// Of the set without members.
    pub const EMPTY: Self = Self([0; 32]);

    /// The hash with these 32 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The 32 bytes, to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Of the set with one member more, by its hash.
    #[must_use]
    pub fn with(self, member: [u8; 32]) -> Self {
        let mut sum = self.0;
        let mut carry = false;
        for (digit, other) in sum.iter_mut().zip(member).rev() {
            let (once, first) = digit.overflowing_add(other);
            let (twice, second) = once.overflowing_add(u8::from(carry));
            (*digit, carry) = (twice, first || second);
        }
        Self(sum)
    }

    /// Of the set with one member less, by its hash.
    #[must_use]
    pub fn without(self, member: [u8; 32]) -> Self {
        let mut difference = self.0;
        let mut borrow = false;
        for (digit, other) in difference.iter_mut().zip(member).rev() {
            let (once, first) = digit.overflowing_sub(other);
            let (twice, second) = once.overflowing_sub(u8::from(borrow));
            (*digit, borrow) = (twice, first || second);
        }
        Self(difference)
    }
}

impl TryFrom<&[u8]> for SetHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl FromIterator<[u8; 32]> for SetHash {
    fn from_iter<I: IntoIterator<Item = [u8; 32]>>(members: I) -> Self {
        members.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl std::fmt::Debug for SetHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "{first:02x}{second:02x}..")
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_carries_and_borrows_through_all_bytes() {
        let one = std::array::from_fn(|at| u8::from(at == 31));
        let most = SetHash::from_bytes([0xff; 32]);
        assert_eq!(most.with(one), SetHash::EMPTY);
        assert_eq!(SetHash::EMPTY.without(one), most);
    }

    proptest! {
        #[test]
        fn the_order_of_members_does_not_count(members in vec(any::<[u8; 32]>(), 0..20)) {
            let forwards: SetHash = members.iter().copied().collect();
            let backwards: SetHash = members.iter().rev().copied().collect();
            prop_assert_eq!(forwards, backwards);
        }

        #[test]
        fn what_was_added_can_be_taken_away(start in any::<[u8; 32]>(), member in any::<[u8; 32]>()) {
            let start = SetHash::from_bytes(start);
            prop_assert_eq!(start.with(member).without(member), start);
            prop_assert_eq!(start.without(member).with(member), start);
        }

        #[test]
        fn a_member_less_is_seen(members in vec(any::<[u8; 32]>(), 1..20), gone in any::<prop::sample::Index>()) {
            let gone = gone.index(members.len());
            prop_assume!(members[gone] != [0; 32]);
            let all: SetHash = members.iter().copied().collect();
            let rest: SetHash = members.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, one)| *one).collect();
            prop_assert_ne!(all, rest);
        }
    }
}
