//! The hash chain of a log: `hash_n = SHA-256(hash_(n-1) | bytes_n)`, `hash_0 = 0`.
//!
//! It shows that no entry was changed, left out or put in since, by accident. It is no signature: who can write the
//! file can write another chain.

use sha2::{Digest as _, Sha256};

/// The hash of a log up to one of its entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// Before the first entry.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash with these 32 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, as stored.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The 32 bytes, to bind to a statement.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The hash after one more entry.
    #[must_use]
    pub fn after(&self, bytes: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(bytes).finalize().into())
    }
}

impl TryFrom<&[u8]> for ChainHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl std::fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}{:02x}..", self.0[0], self.0[1])
    }
}

/// What is wrong with a row of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The rows from this number to the one before the row that was checked are not there.
    Missing(i64),
    /// The bytes of the row with this number are not those that were hashed, or its hash is not the one that was made.
    Changed(i64),
}

/// Checks the rows of a log, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct ChainCheck {
    seq: i64,
    /// As the last row has it.
    stored: ChainHash,
    /// As the last row's bytes give it: another one, when its bytes or its hash were damaged.
    computed: ChainHash,
}

impl ChainCheck {
    /// A check of the rows after number `seq`, whose hash is `hash`; 0 and [`ChainHash::ZERO`] for a whole log.
    pub fn after(seq: i64, hash: ChainHash) -> Self {
        Self { seq, stored: hash, computed: hash }
    }

    /// The number of the next row.
    pub fn next(&self) -> i64 {
        self.seq + 1
    }

    /// Goes on after number `seq`, whose hash is `hash`: what is before it is known to be gone.
    pub fn skip(&mut self, seq: i64, hash: ChainHash) {
        *self = Self::after(seq, hash);
    }

    /// Checks the next row. After a broken one it goes on, so that each damaged row is named once.
    ///
    /// # Errors
    /// What is wrong with this row.
    pub fn row(&mut self, seq: i64, bytes: &[u8], hash: ChainHash) -> Result<(), Broken> {
        let expected = self.seq + 1;
        let computed = self.stored.after(bytes);
        let fits = computed == hash || self.computed.after(bytes) == hash;
        *self = Self { seq, stored: hash, computed };
        match seq == expected {
            false => Err(Broken::Missing(expected)),
            true if fits => Ok(()),
            true => Err(Broken::Changed(seq)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Row = (i64, Vec<u8>, ChainHash);

    fn chain(entries: &[Vec<u8>]) -> Vec<Row> {
        let mut hash = ChainHash::ZERO;
        let row = |(index, bytes): (usize, &Vec<u8>)| {
            hash = hash.after(bytes);
            (i64::try_from(index).unwrap() + 1, bytes.clone(), hash)
        };
        entries.iter().enumerate().map(row).collect()
    }

    fn check(rows: &[Row]) -> Option<Broken> {
        let mut check = ChainCheck::after(0, ChainHash::ZERO);
        rows.iter().find_map(|(seq, bytes, hash)| check.row(*seq, bytes, *hash).err())
    }

    #[test]
    fn the_hash_is_the_one_of_the_specification() {
        let hex = |hash: ChainHash| hash.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // By Python's hashlib.sha256(bytes(32) + b"rollcall").
        let expected = "0a0eca57affdd69209c7a45b6ff6d8ca186b12399314c815a4ed4d63242a7c10";
        assert_eq!(hex(ChainHash::ZERO.after(b"rollcall")), expected);
    }

    proptest! {
        #[test]
        fn an_untouched_chain_holds(entries in vec(vec(any::<u8>(), 0..40), 0..30)) {
            prop_assert_eq!(check(&chain(&entries)), None);
        }

        #[test]
        fn a_flipped_bit_of_an_entry_is_named(
            entries in vec(vec(any::<u8>(), 1..40), 1..30), row: prop::sample::Index, bit: prop::sample::Index,
        ) {
            let mut rows = chain(&entries);
            let row = row.index(rows.len());
            let bit = bit.index(rows[row].1.len() * 8);
            rows[row].1[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(check(&rows), Some(Broken::Changed(rows[row].0)));
            // And that row alone.
            let mut rest = ChainCheck::after(rows[row].0, rows[row].2);
            for (seq, bytes, hash) in &rows[row + 1..] {
                prop_assert_eq!(rest.row(*seq, bytes, *hash), Ok(()));
            }
        }

        #[test]
        fn a_damaged_hash_is_one_broken_row(
            entries in vec(vec(any::<u8>(), 1..40), 1..30), row: prop::sample::Index, bit in 0..256_usize,
        ) {
            let mut rows = chain(&entries);
            let row = row.index(rows.len());
            rows[row].2.0[bit / 8] ^= 1 << (bit % 8);
            let mut check = ChainCheck::after(0, ChainHash::ZERO);
            let broken: Vec<_> =
                rows.iter().filter_map(|(seq, bytes, hash)| check.row(*seq, bytes, *hash).err()).collect();
            prop_assert_eq!(broken, vec![Broken::Changed(rows[row].0)]);
        }

        #[test]
        fn a_missing_entry_is_named(entries in vec(vec(any::<u8>(), 1..40), 2..30), row: prop::sample::Index) {
            let mut rows = chain(&entries);
            let (seq, ..) = rows.remove(row.index(entries.len() - 1));
            prop_assert_eq!(check(&rows), Some(Broken::Missing(seq)));
        }
    }
}
