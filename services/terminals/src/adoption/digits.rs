//! The six digits that a human compares. Pure.
//!
//! They are made of what nobody between the two sides can choose alone: the authority that the terminal has met, the
//! terminal's key, and a nonce of each side. The terminal has committed to its nonce before it knows the hub's, and
//! shows it after; so whoever sits between them has bound both conversations before seeing what the digits will be, and
//! hits with one try in a million.

use sha2::{Digest as _, Sha256};

/// What the digits are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// SHA-256 of the public key of the authority that signed the hub's certificate.
    pub authority_sha256: [u8; 32],
    /// SHA-256 of the terminal's public key.
    pub terminal_key_sha256: [u8; 32],
    /// The hub's nonce.
    pub hub_nonce: [u8; 32],
    /// The terminal's nonce.
    pub terminal_nonce: [u8; 32],
}

/// The digits.
pub fn digits(sides: &Sides) -> String {
    let hash = Sha256::new()
        .chain_update(b"rollcall adoption digits 1")
        .chain_update(sides.authority_sha256)
        .chain_update(sides.terminal_key_sha256)
        .chain_update(sides.hub_nonce)
        .chain_update(sides.terminal_nonce)
        .finalize();
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash);
    // Of 2^64 values no six digits are likelier than others by more than one in 10^13.
    format!("{:06}", u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 1_000_000)
}

/// The digits as people read them out.
pub fn spaced(digits: &str) -> String {
    match digits.split_at_checked(digits.len() / 2) {
        Some((first, second)) if !first.is_empty() => format!("{first} {second}"),
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_out_in_two_threes() {
        assert_eq!(spaced("012345"), "012 345");
        assert_eq!(spaced(""), "");
    }

    const SIDES: Sides = Sides {
        authority_sha256: [1; 32],
        terminal_key_sha256: [2; 32],
        hub_nonce: [3; 32],
        terminal_nonce: [4; 32],
    };

    #[test]
    fn digits_are_six_and_never_change_with_the_version() {
        // Computed by Python's hashlib: a hub and a terminal of different years have to show the same.
        assert_eq!(digits(&SIDES), "973570");
    }

    #[test]
    fn each_part_counts() {
        let others = [
            Sides { authority_sha256: [9; 32], ..SIDES },
            Sides { terminal_key_sha256: [9; 32], ..SIDES },
            Sides { hub_nonce: [9; 32], ..SIDES },
            Sides { terminal_nonce: [9; 32], ..SIDES },
        ];
        for other in others {
            assert_ne!(digits(&other), digits(&SIDES), "{other:?}");
        }
    }
}
