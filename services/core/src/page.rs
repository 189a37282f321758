//! Pages of a list: how many, and where to go on.
//!
//! A page token is the key of the last thing on the page, tied to the request that it belongs to: a token of another
//! list, or of this one with another filter, is refused instead of answered with something odd. It is no secret and
//! proves nothing; the key in it is checked like any input.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::{Fault, Reason, limits};

const TAG_SIZE_BYTES: usize = 8;

/// How many things to put on a page.
///
/// # Errors
/// When `asked` is negative.
pub fn size(asked: i32) -> Result<usize, Fault> {
    match usize::try_from(asked) {
        Ok(0) => Ok(limits::PAGE_SIZE_DEFAULT),
        Ok(asked) => Ok(asked.min(limits::PAGE_SIZE)),
        Err(_) => Err(Fault::new(Reason::FieldInvalid, format!("page_size is {asked}; give 0 or more"))
            .with("field", "page_size")),
    }
}

/// The token for the page after the thing with this key, of the list that `request` describes (its name and filters).
pub fn token(request: &str, key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([&tag(request)[..], key].concat())
}

/// The key in a token; `None` for the empty token of a first page.
///
/// # Errors
/// When the token is not one of the list that `request` describes.
pub fn key(request: &str, token: &str) -> Result<Option<Vec<u8>>, Fault> {
    if token.is_empty() {
        return Ok(None);
    }
    let refused = || {
        Fault::new(
            Reason::PageTokenInvalid,
            "page_token is not one of this list with these filters; begin again without one",
        )
    };
    if token.len() > limits::PAGE_TOKEN_SIZE_BYTES {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
    let key = bytes.strip_prefix(&tag(request)[..]).ok_or_else(refused)?;
    Ok(Some(key.to_vec()))
}

fn tag(request: &str) -> [u8; TAG_SIZE_BYTES] {
    let digest = Sha256::digest(request.as_bytes());
    std::array::from_fn(|index| digest[index])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_token_leads_back_to_its_key_in_its_own_list_alone() {
        let token = token("people?group=a", b"Linh\0key");
        assert_eq!(key("people?group=a", &token).unwrap().unwrap(), b"Linh\0key");
        assert_eq!(key("people?group=b", &token).unwrap_err().reason, Reason::PageTokenInvalid);
    }

    #[test]
    fn garbage_is_no_token() {
        for garbage in ["x", "????", &"A".repeat(10_000), "AAAA", "' or 1=1 --"] {
            assert_eq!(key("people", garbage).unwrap_err().reason, Reason::PageTokenInvalid, "{garbage}");
        }
        assert_eq!(key("people", "").unwrap(), None);
    }

    #[test]
    fn a_page_has_a_usual_and_a_largest_size() {
        assert_eq!(size(0), Ok(limits::PAGE_SIZE_DEFAULT));
        assert_eq!(size(7), Ok(7));
        assert_eq!(size(i32::MAX), Ok(limits::PAGE_SIZE));
        assert_eq!(size(-1).unwrap_err().reason, Reason::FieldInvalid);
    }
}
