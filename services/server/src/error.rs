//! Why the server does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use rollcall_core::{Fault, Reason};
use rollcall_store::StoreError;

/// What is wrong, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not one of this machine's.
    #[error("cannot listen on {address}: {source}; is the program running already?")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A service that the contract does not have: nobody could say who may call it.
    #[error("the contract has no service {service}")]
    UnknownService {
        /// Its full name.
        service: &'static str,
    },
    /// An RPC that nobody has said who may call.
    #[error("{rpc} has no access rule; a call without one is not served")]
    NoRule {
        /// Its path.
        rpc: String,
    },
    /// The committed descriptor cannot be read.
    #[error("the contract's descriptor cannot be read: {0}")]
    Descriptor(String),
    /// A file of a certificate or key.
    #[error("cannot {doing} {}: {source}", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key that others can use, or a folder that cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate that is none, or does not belong to its key.
    #[error("{} {problem}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// TLS cannot be set up with these certificates.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// Metrics can be collected for one recorder a process.
    #[error("metrics are collected elsewhere in this process: {0}")]
    Metrics(String),
}

impl ServerError {
    /// What a caller is told. Nobody calls before the server runs; this is for the program's own report.
    pub fn fault(&self) -> Fault {
        Fault::new(Reason::Internal, self)
    }
}
