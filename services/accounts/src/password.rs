//! Password hashes: Argon2id with 19 MiB, two passes, one lane, which is what OWASP asks for (Password Storage Cheat
//! Sheet, 2024).
//!
//! A hash takes a tenth of a second of a Raspberry Pi 4, so it runs on a thread of its own, at most two at once; who
//! comes third waits. The threads end with their hash.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use rollcall_core::limits;
use tokio::sync::{Semaphore, oneshot};

use crate::AccountsError;
use crate::account::Password;

const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes and compares.
pub(crate) struct Hasher {
    at_once: Arc<Semaphore>,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { at_once: Arc::new(Semaphore::new(limits::PASSWORDS_AT_ONCE)) }
    }

    /// The PHC string of a password, with a new salt.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, AccountsError> {
        self.on_a_thread(move || {
            let hash = argon2()?.hash_password(password.as_bytes()).map_err(failed)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether it is the password of this PHC string. `None` takes as long and is never the password.
    pub(crate) async fn is(&self, password: Password, phc: Option<String>) -> Result<bool, AccountsError> {
        self.on_a_thread(move || {
            let argon2 = argon2()?;
            let Some(phc) = phc else {
                argon2.hash_password(password.as_bytes()).map_err(failed)?;
                return Ok(false);
            };
            let hash = PasswordHash::new(&phc).map_err(|error| AccountsError::Hashing(error.to_string()))?;
            match argon2.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(failed(error)),
            }
        })
        .await
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        let gone = |_| AccountsError::Hashing("its thread ended".into());
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        let permit = permit.map_err(|_| AccountsError::Hashing("the program is stopping".into()))?;
        let (done, result) = oneshot::channel();
        std::thread::Builder::new()
            .name("argon2".into())
            .spawn(move || {
                // When the caller has gone, the hash still takes its memory until here.
                let result = work();
                drop(permit);
                let _ = done.send(result);
            })
            .map_err(|error| AccountsError::Hashing(error.to_string()))?;
        result.await.map_err(gone)?
    }
}

fn argon2() -> Result<Argon2<'static>, AccountsError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|error| AccountsError::Hashing(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn failed(error: Error) -> AccountsError {
    AccountsError::Hashing(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[tokio::test]
    async fn a_hash_says_how_it_was_made_and_fits_its_password_alone() {
        let hasher = Hasher::new();
        let password = || Password::new("correct horse battery".into()).unwrap();
        let phc = hasher.hash(password()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, hasher.hash(password()).await.unwrap());
        assert!(hasher.is(password(), Some(phc.clone())).await.unwrap());
        let other = Password::new("incorrect horse battery".into()).unwrap();
        assert!(!hasher.is(other, Some(phc)).await.unwrap());
        assert!(!hasher.is(password(), None).await.unwrap());
        assert!(!matches!(hasher.is(password(), Some("$garbage".into())).await, Ok(true)));
    }
}
