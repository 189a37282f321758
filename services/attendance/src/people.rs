//! What this service asks of the gallery, which it does not know: the program gives it an answerer.

use std::future::Future;
use std::pin::Pin;

use rollcall_core::{Fault, PersonId};

/// An answer that may have to be read from a database.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Who there is.
pub trait People: Send + Sync + 'static {
    /// Whether the person is known and not erased.
    fn exists(&self, person: PersonId) -> Answer<'_, bool>;
}
