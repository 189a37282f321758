//! Ways in that are no face: PINs, cards, badges.
//!
//! Stored is a keyed digest of what is presented at the door, so that the database alone, without the key, does not
//! give the PINs away to somebody who tries a million of them.
//!
//! A badge's text is `RC1.` and 32 bytes in base64 for URLs: the credential's id and the first 16 bytes of
//! HMAC-SHA256 over it. A PIN that the gallery chooses comes from the key and a seed, so that a repeated request can
//! be answered with it again and it need not be stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_core::{CredentialId, PersonId, SiteDay, UtcInstant};
use subtle::ConstantTimeEq as _;

use crate::GalleryError;
use crate::keys::Key;

/// What is shown at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// Digits.
    Pin,
    /// What a reader sends of a card.
    Card,
    /// The text of a QR code.
    Badge,
}

impl CredentialKind {
    /// As stored, and in what is signed.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Pin => 1,
            Self::Card => 2,
            Self::Badge => 3,
        }
    }

    pub(crate) fn of(number: i64) -> Option<Self> {
        [Self::Pin, Self::Card, Self::Badge].into_iter().find(|kind| kind.number() == number)
    }
}

/// A credential without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Which.
    pub id: CredentialId,
    /// Whose.
    pub person: PersonId,
    /// What it is.
    pub kind: CredentialKind,
    /// When it was given.
    pub created: UtcInstant,
    /// When it was ended.
    pub revoked: Option<UtcInstant>,
}

/// Whether a credential opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// It does.
    InForce,
    /// It was ended.
    Revoked,
    /// Its holder's last day is over.
    HolderLeft,
}

/// Whose credential was presented at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialHolder {
    /// Who.
    pub person: PersonId,
    /// Which credential.
    pub credential: CredentialId,
    /// Whether it counts.
    pub state: CredentialState,
}

/// When a holder is let in no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// After this day; `None`: never.
    Day(Option<SiteDay>),
    /// From this moment on, as the hub says.
    Moment(UtcInstant),
}

/// The state of a credential at `now`, on the day `today`.
pub(crate) fn state(revoked: bool, leaving: Leaving, today: SiteDay, now: UtcInstant) -> CredentialState {
    let left = match leaving {
        Leaving::Day(last) => last.is_some_and(|last| last < today),
        Leaving::Moment(first) => first <= now,
    };
    match (revoked, left) {
        (true, _) => CredentialState::Revoked,
        (false, true) => CredentialState::HolderLeft,
        (false, false) => CredentialState::InForce,
    }
}

const BADGE_PREFIX: &str = "RC1.";
const BADGE_MAC_SIZE_BYTES: usize = 16;

/// What is stored of a PIN or a card, and looked up when one is presented.
pub(crate) fn verifier(key: &Key, kind: CredentialKind, value: &[u8]) -> [u8; 32] {
    key.mac(&[b"verifier", &kind.number().to_be_bytes(), value])
}

/// The text of a badge.
pub(crate) fn badge(key: &Key, id: CredentialId) -> String {
    let mac = key.mac(&[b"badge", id.as_bytes()]);
    format!(
        "{BADGE_PREFIX}{}",
        URL_SAFE_NO_PAD.encode([id.as_bytes(), &mac[..BADGE_MAC_SIZE_BYTES]].concat())
    )
}

/// The credential of a badge that this site made.
pub(crate) fn badge_id(key: &Key, text: &str) -> Option<CredentialId> {
    let mut bytes = [0; 16 + BADGE_MAC_SIZE_BYTES];
    let encoded = text.strip_prefix(BADGE_PREFIX)?;
    let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?;
    let (id, mac) = bytes[..length].split_at_checked(16)?;
    let id = CredentialId::try_from(id).ok()?;
    let right = key.mac(&[b"badge", id.as_bytes()]);
    bool::from(mac.ct_eq(&right[..BADGE_MAC_SIZE_BYTES])).then_some(id)
}

/// A PIN that somebody has chosen: 6 to 10 digits, and not one that comes to everybody's mind.
pub(crate) fn chosen_pin(value: &str) -> Result<&str, GalleryError> {
    if !(6..=10).contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(GalleryError::invalid(
            "value",
            "is no PIN; give 6 to 10 digits, or nothing for a random one",
        ));
    }
    if is_trivial(value) {
        return Err(GalleryError::invalid(
            "value",
            "is a PIN that is easy to guess; give another, or nothing",
        ));
    }
    Ok(value)
}

/// What a reader sends of a card: 4 to 64 characters that can be printed, without blanks at the ends.
pub(crate) fn card(value: &str) -> Result<&str, GalleryError> {
    let right = (4..=64).contains(&value.chars().count())
        && value.trim() == value
        && value.chars().all(|c| !c.is_control());
    right.then_some(value).ok_or_else(|| {
        GalleryError::invalid("value", "is no card; give the 4 to 64 characters that the reader sends")
    })
}

/// The same step from digit to digit (000000, 123456, 975310), or a few digits over and over (121212, 123123).
fn is_trivial(pin: &str) -> bool {
    let digits: Vec<u8> = pin.bytes().map(|b| b - b'0').collect();
    let mut steps = digits.windows(2).map(|pair| (10 + pair[1] - pair[0]) % 10);
    let first = steps.next();
    let repeats = |length: usize| {
        digits.len().is_multiple_of(length) && digits.chunks(length).all(|chunk| chunk == &digits[..length])
    };
    steps.all(|step| Some(step) == first) || (1..=digits.len() / 2).any(repeats)
}

/// Digits of a random PIN where so many are in force: enough that a guess at the door hits one in a thousand times at
/// most, 6 at least.
pub(crate) fn pin_digits(in_force: u64) -> u32 {
    let mut digits = 6;
    while digits < 10 && in_force.saturating_mul(1_000) > 10_u64.pow(digits) {
        digits += 1;
    }
    digits
}

/// The PIN of this seed at this attempt; `None` where it is one that is easy to guess.
pub(crate) fn random_pin(key: &Key, seed: &[u8], attempt: u32, digits: u32) -> Option<String> {
    let mac = key.mac(&[b"pin", seed, &attempt.to_be_bytes()]);
    let number = mac.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let width = digits as usize;
    let pin = format!("{:0width$}", number % 10_u64.pow(digits));
    (!is_trivial(&pin)).then_some(pin)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::new([7; 32])
    }

    #[test]
    fn pins_that_come_to_mind_are_refused() {
        for bad in [
            "",
            "12345",
            "12345678901",
            "12a456",
            "１２３４５６",
            "-12345",
            "000000",
            "9999999999",
            "123456",
            "987654",
            "890123",
            "135791",
            "121212",
            "123123",
            "1234512345",
            "11111111",
        ] {
            assert!(chosen_pin(bad).is_err(), "{bad}");
        }
        for good in ["483920", "0483920", "1122334", "9876543219", "120000"] {
            assert_eq!(chosen_pin(good).ok(), Some(good));
        }
    }

    #[test]
    fn cards_are_what_a_reader_can_send() {
        for bad in ["", "123", " 1234", "1234\n", "12\t34", &"x".repeat(65)] {
            assert!(card(bad).is_err(), "{bad:?}");
        }
        for good in ["1234", "04:A2:24:1B", "0004711 B", &"x".repeat(64)] {
            assert_eq!(card(good).ok(), Some(good));
        }
    }

    #[test]
    fn a_random_pin_is_as_long_as_the_number_of_others_asks() {
        assert_eq!([0, 1_000, 1_001, 10_001, 100_001, u64::MAX].map(pin_digits), [6, 6, 7, 8, 9, 10]);
        let pins: Vec<String> = (0..1_000).filter_map(|n| random_pin(&key(), b"seed", n, 6)).collect();
        assert!(pins.len() > 990 && pins.iter().all(|pin| chosen_pin(pin).is_ok()));
        assert_eq!(random_pin(&key(), b"seed", 1, 6), random_pin(&key(), b"seed", 1, 6));
        assert_ne!(random_pin(&key(), b"seed", 1, 6), random_pin(&key(), b"need", 1, 6));
    }

    #[test]
    fn only_the_key_makes_a_badge() {
        let id = CredentialId::generate();
        let text = badge(&key(), id);
        assert_eq!(badge_id(&key(), &text), Some(id));
        assert_eq!(badge_id(&Key::new([8; 32]), &text), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(badge_id(&key(), &String::from_utf8(forged).unwrap()), None, "byte {at}");
            assert_eq!(badge_id(&key(), &text[..at]), None);
        }
        assert_eq!(badge_id(&key(), &format!("{text}A")), None);
    }

    #[test]
    fn what_is_stored_of_a_pin_is_not_that_of_a_card_or_of_another_key() {
        let pin = verifier(&key(), CredentialKind::Pin, b"483920");
        assert_ne!(pin, verifier(&key(), CredentialKind::Card, b"483920"));
        assert_ne!(pin, verifier(&Key::new([8; 32]), CredentialKind::Pin, b"483920"));
    }

    #[test]
    fn a_credential_counts_to_the_last_day_of_its_holder() {
        let today = date(2026, 11, 24);
        let now = UtcInstant::from_micros(1_000);
        let of_day = |revoked, last| state(revoked, Leaving::Day(last), today, now);
        assert_eq!(of_day(false, None), CredentialState::InForce);
        assert_eq!(of_day(false, Some(today)), CredentialState::InForce);
        assert_eq!(of_day(false, Some(date(2026, 11, 23))), CredentialState::HolderLeft);
        assert_eq!(of_day(true, Some(date(2026, 11, 23))), CredentialState::Revoked);
        let of_moment = |first| state(false, Leaving::Moment(UtcInstant::from_micros(first)), today, now);
        assert_eq!(
            (of_moment(1_001), of_moment(1_000)),
            (CredentialState::InForce, CredentialState::HolderLeft)
        );
    }

    proptest! {
        #[test]
        fn no_text_is_a_badge_by_chance(text in ".{0,80}") {
            prop_assert_eq!(badge_id(&key(), &text), None);
        }
    }
}
