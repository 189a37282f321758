//! The hash of a set: the sum, modulo 2^256, of the SHA-256 of what is in it.
//!
//! The order does not matter, and whoever adds or takes away one thing need not look at the others. It tells a copy that
//! went wrong; it does not withstand somebody who makes up things to reach a sum, and need not: what is summed comes over
//! an authenticated connection.

/// A sum, as a number of 32 bytes, the highest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetHash([u8; 32]);

impl SetHash {
    /// The sum with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// With one more thing in the set.
    #[must_use]
    pub fn with(self, hash: &[u8; 32]) -> Self {
        let mut sum = [0; 32];
        let mut carry = 0;
        for ((sum, a), b) in sum.iter_mut().zip(self.0).zip(hash).rev() {
            let digit = u16::from(a) + u16::from(*b) + carry;
            *sum = digit.to_be_bytes()[1];
            carry = digit >> 8;
        }
        Self(sum)
    }

    /// With one thing less: the other way round.
    #[must_use]
    pub fn without(self, hash: &[u8; 32]) -> Self {
        // The two's complement of a number is what is to be added to it for 2^256.
        let one: [u8; 32] = std::array::from_fn(|at| u8::from(at == 31));
        self.with(&Self(hash.map(|byte| !byte)).with(&one).0)
    }
}

impl<'a> FromIterator<&'a [u8; 32]> for SetHash {
    fn from_iter<I: IntoIterator<Item = &'a [u8; 32]>>(hashes: I) -> Self {
        hashes.into_iter().fold(Self::default(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_sum_wraps_at_two_to_the_256() {
        let most = SetHash::from_bytes([0xff; 32]);
        let one: [u8; 32] = std::array::from_fn(|at| u8::from(at == 31));
        assert_eq!(most.with(&one), SetHash::default());
        assert_eq!(SetHash::default().without(&one), most);
        assert_eq!(SetHash::default().without(&[0; 32]), SetHash::default());
    }

    proptest! {
        #[test]
        fn neither_order_nor_what_came_and_went_matters(hashes: Vec<[u8; 32]>, other: [u8; 32]) {
            let sum: SetHash = hashes.iter().collect();
            let backwards: SetHash = hashes.iter().rev().collect();
            prop_assert_eq!(sum, backwards);
            prop_assert_eq!(sum.with(&other).without(&other), sum);
        }
    }
}
