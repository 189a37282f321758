//! The keys of the gallery: one secret of 32 bytes, kept in a file beside the database, and the keys made from it.
//!
//! Each use has a key of its own, HMAC-SHA256 of its label under the secret, so that what one use shows says nothing
//! about another. Who has the database alone, without that file, cannot read a template, find a PIN by trying all of
//! them, make a badge, or write a line of the erasure ledger.

use hmac::{Hmac, KeyInit as _, Mac as _};
use rollcall_core::PersonId;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::SealError;
use crate::seal::{Place, Seal};

/// Bytes of a key.
pub const KEY_SIZE_BYTES: usize = 32;

/// Bytes of a sealed key: nonce, key, tag.
pub const SEALED_KEY_SIZE_BYTES: usize = 24 + KEY_SIZE_BYTES + 16;

/// A sealed key belongs to nobody and no table.
const KEY_PLACE: Place<'static> =
    Place { table: "gallery.key", person: PersonId::from_bytes([0; 16]), row: &[], model: &[] };

/// A key for one use. Overwritten when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY_SIZE_BYTES]>);

impl Key {
    /// The secret with these bytes.
    pub fn new(bytes: [u8; KEY_SIZE_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; KEY_SIZE_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| SealError::NoRandom)?;
        Ok(Self(bytes))
    }

    /// This key as it may lie on a card: sealed with a secret that the device alone has, [`SEALED_KEY_SIZE_BYTES`].
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn sealed_for(&self, device: &Self) -> Result<Vec<u8>, SealError> {
        device.for_keys().seal(KEY_PLACE, &*self.0)
    }

    /// The key that was sealed with this device's secret.
    ///
    /// # Errors
    /// When it was sealed with another, or is damaged.
    pub fn opened_on(device: &Self, sealed: &[u8]) -> Result<Self, SealError> {
        let bytes = device.for_keys().open(KEY_PLACE, sealed)?;
        let key = <[u8; KEY_SIZE_BYTES]>::try_from(bytes.as_slice()).map_err(|_| SealError::NotOpened)?;
        Ok(Self::new(key))
    }

    fn for_keys(&self) -> Seal {
        Seal::new(self.derive("rollcall key of a device 1").bytes())
    }

    /// The key for the use with this label.
    pub(crate) fn derive(&self, label: &str) -> Self {
        Self::new(self.mac(&[label.as_bytes()]))
    }

    /// HMAC-SHA256 over the parts, each with its length, so that no two lists of parts are one message.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.begin();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// HMAC-SHA256 over the whole that these pieces make, however it was cut.
    pub(crate) fn mac_of_whole(&self, pieces: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.begin();
        pieces.iter().for_each(|piece| mac.update(piece));
        mac.finalize().into_bytes().into()
    }

    fn begin(&self) -> Hmac<Sha256> {
        // A key shorter than a block is filled up with zeros (RFC 2104, section 2).
        let mut block = Zeroizing::new([0; 64]);
        block[..KEY_SIZE_BYTES].copy_from_slice(&*self.0);
        <Hmac<Sha256>>::new(&(*block).into())
    }

    /// What tells this key from another and does not tell the key.
    pub fn fingerprint(&self) -> [u8; KEY_SIZE_BYTES] {
        *self.derive("rollcall gallery fingerprint 1").bytes()
    }

    /// The bytes, for a cipher or an encrypted backup.
    pub fn bytes(&self) -> &[u8; KEY_SIZE_BYTES] {
        &self.0
    }
}

/// Shows no byte of it.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The keys in use.
pub(crate) struct Keys {
    /// Seals templates and kept pictures.
    pub(crate) templates: Key,
    /// Verifiers of PINs and cards, signatures of badges.
    pub(crate) credentials: Key,
    /// Lines of the erasure ledger.
    pub(crate) erasures: Key,
    /// Digests of requests that name people.
    pub(crate) requests: Key,
    /// At a hub: codes of authenticity of what terminals keep of it, rows and lines of the ledger.
    pub(crate) authenticity: Key,
    /// At a hub: what of a person it alone can read.
    pub(crate) recovery: Key,
}

impl Keys {
    pub(crate) fn of(secret: &Key) -> Self {
        Self {
            templates: secret.derive("rollcall gallery templates 1"),
            credentials: secret.derive("rollcall gallery credentials 1"),
            erasures: secret.derive("rollcall gallery erasures 1"),
            requests: secret.derive("rollcall gallery requests 1"),
            authenticity: secret.derive("rollcall gallery authenticity 1"),
            recovery: secret.derive("rollcall gallery recovery 1"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let keys = Keys::of(&Key::new([7; 32]));
        let keys = [
            keys.templates,
            keys.credentials,
            keys.erasures,
            keys.requests,
            keys.authenticity,
            keys.recovery,
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(at + 1).all(|other| other.bytes() != key.bytes()));
        }
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let key = Key::new([7; 32]);
        assert_ne!(key.mac(&[b"ab", b"c"]), key.mac(&[b"a", b"bc"]));
        assert_ne!(key.mac(&[b"ab"]), key.mac(&[b"ab", b""]));
    }

    #[test]
    fn a_key_sealed_for_one_device_opens_on_no_other() {
        let (key, device) = (Key::new([7; 32]), Key::new([8; 32]));
        let mut sealed = key.sealed_for(&device).unwrap();
        assert_eq!(sealed.len(), SEALED_KEY_SIZE_BYTES);
        assert!(!sealed.windows(8).any(|part| part == [7; 8]));
        assert_eq!(Key::opened_on(&device, &sealed).unwrap().bytes(), key.bytes());
        assert_eq!(Key::opened_on(&Key::new([9; 32]), &sealed).unwrap_err(), SealError::NotOpened);
        sealed[40] ^= 1;
        assert_eq!(Key::opened_on(&device, &sealed).unwrap_err(), SealError::NotOpened);
    }

    #[test]
    fn no_key_is_printed() {
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key");
    }
}
