//! The gRPC server that both programs use, hardened.
//!
//! Promises: TLS 1.3 only; a call without a rule in the contract is not served; nobody takes more connections, streams,
//! memory or time than `rollcall_core::limits` says; every error has a reason; a log line has no payload and cannot be
//! forged; what an administrator takes away ends within five seconds, streams included.
//!
//! tonic's services are run by hyper directly, not by tonic's own server: that one spawns connections where nobody can
//! end them, has no limit on a handshake, none on a stream's body, and answers with errors that have no reason.
//!
//! The way of a call: `accept` -> `connection` -> `calls` (`contract`, `auth`, `gate`) -> the service -> `answer`.

mod accept;
mod answer;
mod auth;
mod calls;
mod certificates;
mod config;
mod connection;
mod contract;
mod error;
mod gate;
pub mod health;
mod lease;
mod log_fields;
mod metrics_page;
mod refusal;
mod server;
mod services;
mod telemetry;
mod throttle;
mod tls;

pub use certificates::{CA_FILE, CA_KEY_FILE};
pub use config::{Patience, Reflection, ServerConfig};
pub use error::ServerError;
pub use log_fields::log_fields;
pub use server::{Running, Server};
pub use services::Services;
pub use throttle::{Throttle, Throttled};
pub use tls::Identity;
