//! How a server is set.

use std::net::SocketAddr;
use std::time::Duration;

use rollcall_core::limits;

/// What the program decides.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where gRPC is served. Port 0: any that is free.
    pub listen: SocketAddr,
    /// Where metrics are served over plain HTTP; `None`: nowhere. Whoever reaches it reads them, so: the loopback.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether authenticated callers may ask for the contract (`grpc.reflection.v1`).
    pub reflection: Reflection,
    /// How long it waits. Only tests are in a hurry.
    pub patience: Patience,
}

/// See [`ServerConfig::reflection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reflection {
    /// Not served.
    #[default]
    Off,
    /// Served to whoever is known.
    On,
}

/// How long to wait for clients. `rollcall_core::limits` has the reasons.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a connection without a call.
    pub idle: Duration,
    /// For a connection in all.
    pub lifetime: Duration,
    /// For a connection that was asked to end.
    pub grace: Duration,
    /// For a call with one request and one answer.
    pub call: Duration,
    /// For a call whose request is a stream.
    pub upload: Duration,
    /// For a call whose answer is a stream.
    pub stream: Duration,
    /// For the next piece of a request, and for a client to take the next of an answer.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_millis(limits::HANDSHAKE_MS),
            idle: Duration::from_millis(limits::CONNECTION_IDLE_MS),
            lifetime: Duration::from_millis(limits::CONNECTION_LIFETIME_MS),
            grace: Duration::from_millis(limits::CONNECTION_GRACE_MS),
            call: Duration::from_millis(limits::CALL_MS),
            upload: Duration::from_millis(limits::UPLOAD_MS),
            stream: Duration::from_millis(limits::STREAM_LIFETIME_MS),
            stall: Duration::from_millis(limits::STREAM_STALL_MS),
        }
    }
}

impl ServerConfig {
    /// A server at this address without metrics and reflection.
    pub fn at(listen: SocketAddr) -> Self {
        Self { listen, metrics_listen: None, reflection: Reflection::Off, patience: Patience::default() }
    }
}
