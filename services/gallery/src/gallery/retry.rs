//! Creations that answer the same when they are repeated.

use rollcall_core::UtcInstant;
use rollcall_store::Tx;
use rollcall_store::requests::{self, RequestId};

use super::Gallery;
use crate::GalleryError;

/// A creation whose caller may repeat it.
pub struct Retry {
    method: &'static str,
    id: RequestId,
    digest: [u8; 32],
}

impl Gallery {
    /// The creation with this request id, and the request as it was sent; `None` without an id. What is remembered of
    /// the request is a digest that nobody can try names against who does not have the key.
    ///
    /// # Errors
    /// When the id is no UUID.
    pub fn retry(
        &self,
        method: &'static str,
        request_id: &str,
        request: &[u8],
    ) -> Result<Option<Retry>, GalleryError> {
        let id = RequestId::parse(request_id).map_err(GalleryError::Page)?;
        let digest = || self.shared.keys.requests.mac(&[method.as_bytes(), request]);
        Ok(id.map(|id| Retry { method, id, digest: digest() }))
    }
}

/// What was remembered of this creation; `None` when it is a new one.
pub(super) async fn recall(tx: &mut Tx, retry: Option<&Retry>) -> Result<Option<Vec<u8>>, GalleryError> {
    match retry {
        None => Ok(None),
        Some(retry) => Ok(requests::recall(tx, retry.method, retry.id, &retry.digest).await?),
    }
}

/// Remembers what is needed to answer again. No personal data.
pub(super) async fn remember(
    tx: &mut Tx,
    retry: Option<&Retry>,
    response: &[u8],
    now: UtcInstant,
) -> Result<(), GalleryError> {
    if let Some(retry) = retry {
        requests::remember(tx, retry.method, retry.id, &retry.digest, response, now).await?;
    }
    Ok(())
}

impl Retry {
    /// The id, as a seed.
    pub(super) fn seed(&self) -> [u8; 16] {
        self.id.to_bytes()
    }
}
