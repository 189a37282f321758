//! TLS: 1.3 alone, no early data, no tickets (so that every connection shows its certificate anew), HTTP/2 alone.
//!
//! A client may show a certificate. One that the site's authority did not sign fails the handshake (`clients.rs`).

use std::path::Path;
use std::sync::Arc;

use rollcall_store::read_private;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection, version};

use crate::ServerError;
use crate::auth::Certificate;
use crate::clients::{Clients, ShownCertificate};
use crate::standing::Registry;

const KEY_FILE_SIZE_BYTES: u64 = 64 << 10;

/// Who the server is to its clients, and whose certificates it takes.
pub struct Identity {
    /// Its certificate first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Who verifies the certificates of clients; absent: none is asked for.
    pub(crate) clients: Option<Arc<Clients>>,
    /// Who knows the terminals that have them.
    pub(crate) registry: Option<Arc<dyn Registry>>,
}

impl Identity {
    /// Certificates that somebody else made: PEM files with the server's chain and its key, and the authority that
    /// signs terminals' certificates.
    ///
    /// # Errors
    /// A key that others can read, a file that is no PEM.
    pub fn from_files(
        chain: &Path,
        key: &Path,
        client_authority: Option<&Path>,
    ) -> Result<Self, ServerError> {
        let bytes = read_private(key, KEY_FILE_SIZE_BYTES)?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| no_pem(key, &error))?;
        let client_authorities = client_authority.map(certificates).transpose()?.unwrap_or_default();
        let clients = match &client_authorities[..] {
            [] => None,
            authorities => Some(Clients::of(authorities)?),
        };
        Ok(Self { chain: certificates(chain)?, key, clients, registry: None })
    }

    /// The same, for a program that has terminals. Only [`crate::Server::build`] looks at it.
    #[must_use]
    pub fn with_registry(self, registry: Arc<dyn Registry>) -> Self {
        Self { registry: Some(registry), ..self }
    }
}

/// The certificates of a PEM file; never none.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let pem = std::fs::read(path);
    let pem = pem.map_err(|source| ServerError::File { doing: "read", path: path.to_owned(), source })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| no_pem(path, &error))?;
    if found.is_empty() {
        let problem = "has no certificate; give a PEM file".to_owned();
        return Err(ServerError::Certificate { path: path.to_owned(), problem });
    }
    Ok(found)
}

fn no_pem(path: &Path, error: &rustls::pki_types::pem::Error) -> ServerError {
    let problem = format!("cannot be read: {error}; give a PEM file");
    ServerError::Certificate { path: path.to_owned(), problem }
}

/// How rustls is set.
pub(crate) fn config(identity: &Identity) -> Result<Arc<ServerConfig>, ServerError> {
    let failed = |error: &dyn std::fmt::Display| ServerError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| failed(&error))?;
    let builder = match &identity.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as _),
    };
    let mut config = builder
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// What the client of this connection showed. rustls has verified it.
pub(crate) fn certificate(connection: &ServerConnection) -> Certificate {
    match connection.peer_certificates() {
        None | Some([]) => Certificate::None,
        Some([leaf, ..]) => match ShownCertificate::of(leaf) {
            Some(shown) => Certificate::Terminal(Arc::new(shown)),
            None => Certificate::Nameless,
        },
    }
}
