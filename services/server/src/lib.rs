//! The gRPC server that both programs use, hardened.
//!
//! Promises: TLS 1.3 only; a call without a rule in the contract is not served; nobody takes more connections, streams,
//! memory or time than `rollcall_core::limits` says; every error has a reason; a log line has no payload and cannot be
//! forged; what an administrator takes away ends within five seconds, streams included.
//!
//! tonic's services are run by hyper directly, not by tonic's own server: that one spawns connections where nobody can
//! end them, has no limit on a handshake, none on a stream's body, and answers with errors that have no reason.
//!
//! Certificates are here too: the site's authority, which signs its server's and its terminals' (`authority.rs`), whose
//! certificates a server takes (`clients.rs`), and whom a terminal takes for its hub (`hub.rs`).
//!
//! The way of a call: `accept` -> `connection` -> `calls` (`contract`, `auth`, `gate`) -> the service -> `answer`.

mod accept;
mod answer;
mod auth;
mod authority;
mod calls;
mod certificates;
mod clients;
mod config;
mod connection;
mod contract;
mod error;
mod gate;
pub mod health;
mod hub;
mod leaf;
mod lease;
mod log_fields;
mod membership;
mod metrics_page;
mod refusal;
mod server;
mod services;
mod standing;
mod telemetry;
mod throttle;
mod tls;

pub use authority::{
    Authority, AuthorityId, CA_FILE, CA_KEY_FILE, CA_NEXT_FILE, CA_NEXT_KEY_FILE, key_sha256,
};
pub use certificates::{certificates_from_pem, certificates_to_pem, not_after};
pub use clients::ShownCertificate;
pub use config::{Patience, Reflection, ServerConfig};
pub use error::ServerError;
pub use hub::{ClockFloor, HubTrust, OtherHub, Seen, client_config};
pub use leaf::{LEAF_DAYS_LEFT_MIN, Leaf, LeafError, TerminalKey, requested_key_sha256};
pub use log_fields::log_fields;
pub use membership::{HubMembership, Joined, Membership, MembershipError};
pub use server::{Renewal, Running, Server};
pub use services::Services;
pub use standing::{Judgement, Registry};
pub use throttle::{Throttle, Throttled};
pub use tls::Identity;
