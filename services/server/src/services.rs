//! The services that a program serves.

use std::convert::Infallible;

use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tower::Service;

/// What to serve. Health needs not be added.
///
/// A generated server refuses messages of more than 4 MiB by itself: one that takes pictures is added with
/// `.max_decoding_message_size(usize::MAX)`, because this server has looked at the size before.
#[derive(Default)]
pub struct Services {
    routes: RoutesBuilder,
    names: Vec<&'static str>,
}

impl Services {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    #[must_use]
    #[allow(
        clippy::should_implement_trait,
        reason = "it adds a service, as tonic's builders do, and no number"
    )]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    pub(crate) fn routes(self) -> Routes {
        self.routes.routes().prepare()
    }
}
