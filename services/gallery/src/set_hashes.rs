//! Set hashes that a hub has summed already: a hundred terminals that ask after one change cost one sum for each scope.
//!
//! What is remembered follows from the database alone, so that several processes of one hub need not agree on it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rollcall_core::{GalleryId, SetHash, limits};

use crate::scope::Scope;

/// The newest sum of each scope.
#[derive(Default)]
pub(crate) struct SetHashes(Mutex<HashMap<[u8; 32], (GalleryId, i64, SetHash)>>);

impl SetHashes {
    /// The hash of a scope at this revision, if it was summed.
    pub(crate) fn get(&self, scope: &Scope, gallery: GalleryId, revision: i64) -> Option<SetHash> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, at, hash) = *known.get(&scope.hash())?;
        (of == gallery && at == revision).then_some(hash)
    }

    /// Remembers a sum in place of the former of its scope.
    pub(crate) fn put(&self, scope: &Scope, gallery: GalleryId, revision: i64, hash: SetHash) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let scope = scope.hash();
        if known.len() >= limits::GALLERY_SCOPES && !known.contains_key(&scope) {
            known.clear();
        }
        known.insert(scope, (gallery, revision, hash));
    }
}
