//! The text with which a terminal is adopted without a screen.
//!
//! `RT1.` and base64url (no padding) of: secret (16 bytes), pin (32: SHA-256 of the public key of the hub's authority),
//! check (4: the first of the SHA-256 of all the rest), addresses (host:port, with commas between, UTF-8). The check tells
//! a text that was copied badly from a wrong secret, which would count as a guess. Another version begins with another
//! word.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_core::limits;
use sha2::{Digest as _, Sha256};

/// Bytes of a secret: too many to be guessed.
pub const SECRET_SIZE_BYTES: usize = 16;

const PREFIX: &str = "RT1.";
const PIN_SIZE_BYTES: usize = 32;
const CHECK_SIZE_BYTES: usize = 4;

/// A token for one adoption. It has no `Debug`: it is in no line of the log.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What the hub asks for.
    pub secret: [u8; SECRET_SIZE_BYTES],
    /// SHA-256 of the public key of the hub's authority: whoever has another is not told the secret.
    pub pin: [u8; PIN_SIZE_BYTES],
    /// Where the hub is, host:port, the best first.
    pub addresses: Vec<String>,
}

/// A text that is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// It begins with something else.
    #[error("this is no adoption token: it does not begin with RT1.; copy it whole from the hub")]
    Prefix,
    /// It was copied badly.
    #[error("the adoption token is damaged or cut; copy it whole from the hub")]
    Damaged,
}

impl JoinToken {
    /// The text.
    pub fn to_text(&self) -> String {
        let addresses = self.addresses.join(",");
        let check = self.check(&addresses);
        let bytes = [&self.secret[..], &self.pin, &check, addresses.as_bytes()].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The token of a text.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NoToken> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(NoToken::Prefix)?;
        if text.len() > limits::ADOPTION_TOKEN_CHARS {
            return Err(NoToken::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoToken::Damaged)?;
        let (secret, rest) = bytes.split_first_chunk().ok_or(NoToken::Damaged)?;
        let (pin, rest) = rest.split_first_chunk().ok_or(NoToken::Damaged)?;
        let (check, addresses) = rest.split_first_chunk::<CHECK_SIZE_BYTES>().ok_or(NoToken::Damaged)?;
        let addresses = str::from_utf8(addresses).map_err(|_| NoToken::Damaged)?;
        let listed = addresses.split(',').filter(|address| !address.is_empty()).map(str::to_owned).collect();
        let token = Self { secret: *secret, pin: *pin, addresses: listed };
        if token.check(addresses) == *check { Ok(token) } else { Err(NoToken::Damaged) }
    }

    /// The secret as it is sent to the hub.
    pub fn secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret)
    }

    fn check(&self, addresses: &str) -> [u8; CHECK_SIZE_BYTES] {
        let hash = Sha256::new()
            .chain_update(PREFIX)
            .chain_update(self.secret)
            .chain_update(self.pin)
            .chain_update(addresses)
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash);
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn token(addresses: &[&str]) -> JoinToken {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        JoinToken { secret: [7; SECRET_SIZE_BYTES], pin: [9; PIN_SIZE_BYTES], addresses }
    }

    #[test]
    fn a_token_reads_back_whatever_blanks_are_around_it() {
        for addresses in [&["hub.example:7444", "[2001:db8::1]:7444"][..], &[]] {
            let token = token(addresses);
            assert!(JoinToken::parse(&format!("  {}\n", token.to_text())).unwrap() == token);
        }
    }

    #[test]
    fn a_text_that_was_copied_badly_is_told_from_a_wrong_secret() {
        let text = token(&["hub.example:7444"]).to_text();
        let parsed = |text: &str| JoinToken::parse(text).err();
        assert_eq!(parsed("rct_abc"), Some(NoToken::Prefix));
        assert_eq!(parsed(""), Some(NoToken::Prefix));
        for cut in PREFIX.len()..text.len() {
            assert_eq!(parsed(&text[..cut]), Some(NoToken::Damaged), "{cut}");
        }
        assert_eq!(parsed(&format!("{PREFIX}{}", "A".repeat(10_000))), Some(NoToken::Damaged));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_noticed(at in 4_usize..80, other in "[A-Za-z0-9_-]") {
            let text = token(&["hub.example:7444"]).to_text();
            let mut wrong = text.clone();
            wrong.replace_range(at..=at, &other);
            prop_assume!(wrong != text);
            // The last character of base64 may have bits that stand for nothing.
            prop_assert!(JoinToken::parse(&wrong).is_err());
        }
    }
}
