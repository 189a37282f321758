//! Templates and kept pictures as they lie on the disk: encrypted, each in its place.
//!
//! A sealed value is 24 bytes of random nonce, the ciphertext, and 16 bytes of tag (XChaCha20-Poly1305; with random
//! nonces of that length 2^80 values are safe). Its associated data is its place: the table, the person, the row, the
//! network's hash. A row that was moved to another person or network does not open. The key is one of the site key's
//! sub-keys, so that nothing else is ever encrypted with it.
//!
//! This protects the gallery on a card or disk that was stolen without the key: where the key file lies elsewhere, or is
//! sealed with the device's one-time-programmable secret, or where a backup was made with a passphrase or without the
//! key. It does not protect against whoever is root on the running device, who can read the key as the program does, nor
//! on a card that holds the key file beside the database. And it hides contents, not counts: who has how many templates
//! can be seen.
//!
//! A value that does not open, or opens to something that is no embedding, is [`SealError`]: whoever loads the gallery
//! skips that row, counts it and says so.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rollcall_core::{PersonId, limits};
use rollcall_vision::Embedding;
use zeroize::Zeroizing;

use crate::keys::Key;

const NONCE_SIZE_BYTES: usize = 24;
/// How far the length of a stored embedding may be from 1: rounding leaves 1e-6.
const NORM_TOLERANCE: f64 = 1e-3;

/// The key for templates and pictures. It is overwritten when it is dropped.
pub(crate) struct Seal(XChaCha20Poly1305);

/// Where a value belongs.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The table. Its length does not vary within a table, so that no two places give the same bytes.
    pub(crate) table: &'static str,
    pub(crate) person: PersonId,
    pub(crate) row: &'a [u8],
    /// SHA-256 of the network; empty for what is of no network.
    pub(crate) model: &'a [u8],
}

/// Why a stored value is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Another key, another place, or damage.
    #[error("it does not open with this site's key in this place")]
    NotOpened,
    /// Not an embedding of this network.
    #[error("it opens, and is no embedding of this network: {0}")]
    NoEmbedding(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl Seal {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    pub(crate) fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_SIZE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandom)?;
        self.seal_with(nonce, place, value)
    }

    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_SIZE_BYTES>().ok_or(SealError::NotOpened)?;
        let aad = place.bytes();
        let opened = self.0.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad });
        opened.map(Zeroizing::new).map_err(|_| SealError::NotOpened)
    }

    pub(crate) fn seal_embedding(
        &self,
        place: Place<'_>,
        embedding: &Embedding,
    ) -> Result<Vec<u8>, SealError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(embedding.len() * 4));
        embedding.values().iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        self.seal(place, &bytes)
    }

    /// The embedding of `length` values that was sealed for this place.
    pub(crate) fn open_embedding(
        &self,
        place: Place<'_>,
        sealed: &[u8],
        length: usize,
    ) -> Result<Embedding, SealError> {
        unit(&self.open(place, sealed)?, Some(length))
    }

    /// Seals so that the same value in the same place gives the same bytes: the nonce is a keyed digest of both (as in
    /// RFC 5297). Whoever sees two of them learns whether they are the same, and nothing else.
    pub(crate) fn seal_same(
        &self,
        nonces: &Key,
        place: Place<'_>,
        value: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let digest = nonces.mac(&[&place.bytes(), value]);
        let mut nonce = [0; NONCE_SIZE_BYTES];
        nonce.copy_from_slice(&digest[..NONCE_SIZE_BYTES]);
        self.seal_with(nonce, place, value)
    }

    fn seal_with(
        &self,
        nonce: [u8; NONCE_SIZE_BYTES],
        place: Place<'_>,
        value: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let aad = place.bytes();
        let payload = Payload { msg: value, aad: &aad };
        let text = self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::NotOpened)?;
        Ok([&nonce[..], &text].concat())
    }
}

/// The embedding that these bytes are, f32, little-endian, of length 1; with so many values where that is known.
pub(crate) fn unit(bytes: &[u8], length: Option<usize>) -> Result<Embedding, SealError> {
    let (values, rest) = bytes.as_chunks();
    if !rest.is_empty() || length.is_some_and(|length| values.len() != length) {
        return Err(SealError::NoEmbedding(format!("{} bytes", bytes.len())));
    }
    if values.len() > limits::EMBEDDING_LENGTH {
        return Err(SealError::NoEmbedding(format!("{} values", values.len())));
    }
    let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if norm.is_finite() && (norm - 1.0).abs() > NORM_TOLERANCE {
        return Err(SealError::NoEmbedding(format!("norm {norm:e}")));
    }
    Embedding::normalised(values).map_err(|error| SealError::NoEmbedding(error.to_string()))
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        [self.table.as_bytes(), b"\0", self.person.as_bytes(), self.row, self.model].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODEL: [u8; 32] = [7; 32];

    fn seal() -> Seal {
        Seal::new(&[3; 32])
    }

    fn place(person: u8, row: &[u8; 16]) -> Place<'_> {
        Place { table: "gallery_template", person: PersonId::from_bytes([person; 16]), row, model: &MODEL }
    }

    fn embedding() -> Embedding {
        Embedding::normalised((0..128).map(|n| (n as f32 * 0.7).sin()).collect()).unwrap()
    }

    #[test]
    fn an_embedding_comes_back_and_twice_sealed_looks_different() {
        let (seal, place) = (seal(), place(1, &[9; 16]));
        let sealed = seal.seal_embedding(place, &embedding()).unwrap();
        assert_eq!(sealed.len(), 24 + 128 * 4 + 16);
        assert_ne!(sealed, seal.seal_embedding(place, &embedding()).unwrap());
        let opened = seal.open_embedding(place, &sealed, 128).unwrap();
        assert!(opened.cosine(&embedding()) > 0.999_999);
    }

    #[test]
    fn the_same_value_in_the_same_place_is_sealed_the_same_where_that_is_asked_for() {
        let (seal, nonces) = (seal(), Key::new([5; 32]));
        let sealed = |person, value: &[u8]| seal.seal_same(&nonces, place(person, &[9; 16]), value).unwrap();
        assert_eq!(sealed(1, b"value"), sealed(1, b"value"));
        assert_ne!(sealed(1, b"value")[..24], sealed(1, b"other")[..24]);
        assert_ne!(sealed(1, b"value")[..24], sealed(2, b"value")[..24]);
        assert_eq!(seal.open(place(1, &[9; 16]), &sealed(1, b"value")).unwrap().as_slice(), b"value");
    }

    #[test]
    fn a_row_does_not_open_in_another_place_or_with_another_key() {
        let sealed = seal().seal_embedding(place(1, &[9; 16]), &embedding()).unwrap();
        let opens = |seal: &Seal, place| seal.open_embedding(place, &sealed, 128).is_ok();
        assert!(opens(&seal(), place(1, &[9; 16])));
        assert!(!opens(&seal(), place(2, &[9; 16])));
        assert!(!opens(&seal(), place(1, &[8; 16])));
        assert!(!opens(&seal(), Place { model: &[8; 32], ..place(1, &[9; 16]) }));
        assert!(!opens(&seal(), Place { table: "gallery_pictures", ..place(1, &[9; 16]) }));
        assert!(!opens(&Seal::new(&[4; 32]), place(1, &[9; 16])));
    }

    #[test]
    fn f020_what_is_no_embedding_of_this_length_is_refused() {
        let (seal, place) = (seal(), place(1, &[9; 16]));
        let of = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let mut nan = embedding().values().to_vec();
        nan[5] = f32::NAN;
        let mut infinite = nan.clone();
        infinite[5] = f32::INFINITY;
        let cases = [
            of(&nan),
            of(&infinite),
            of(&[0.0; 128]),
            of(&[1e-40; 128]),
            of(&[1.0; 128]),
            of(&embedding().values()[..127]),
            of(&[]),
            vec![1, 2, 3],
        ];
        for value in cases {
            let sealed = seal.seal(place, &value).unwrap();
            let opened = seal.open_embedding(place, &sealed, 128);
            assert!(matches!(opened, Err(SealError::NoEmbedding(_))), "{opened:?}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_or_cut_row_never_opens(at in 0usize..552, flip in 1u8.., cut in 0usize..552) {
            let (seal, place) = (seal(), place(1, &[9; 16]));
            let mut sealed = seal.seal_embedding(place, &embedding()).unwrap();
            prop_assert_eq!(seal.open(place, &sealed[..cut]).unwrap_err(), SealError::NotOpened);
            sealed[at] ^= flip;
            prop_assert_eq!(seal.open(place, &sealed).unwrap_err(), SealError::NotOpened);
        }
    }
}
