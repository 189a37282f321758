//! Whose certificates the server takes: those that an authority of the site signed, for clients.
//!
//! Two things that webpki's verifier does not do: the authorities can change while the server runs, and a certificate
//! whose time is over or has not come passes the handshake. The calls refuse it, in words, which a handshake cannot;
//! but one call, the renewal, it may make. Everything else of the chain is checked here.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rollcall_core::{Fault, Reason, TerminalId, UtcInstant};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ServerError;
use crate::authority::{AuthorityId, key_sha256};
use crate::leaf::TERMINAL;

/// Verifies the certificates of clients. A connection without one passes.
#[derive(Debug)]
pub(crate) struct Clients {
    verifier: RwLock<Arc<dyn ClientCertVerifier>>,
}

impl Clients {
    /// Takes certificates of these authorities.
    pub(crate) fn of(authorities: &[CertificateDer<'static>]) -> Result<Arc<Self>, ServerError> {
        Ok(Arc::new(Self { verifier: RwLock::new(verifier(authorities)?) }))
    }

    /// Takes certificates of these from now on.
    pub(crate) fn set(&self, authorities: &[CertificateDer<'static>]) -> Result<(), ServerError> {
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier(authorities)?;
        Ok(())
    }

    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn verifier(authorities: &[CertificateDer<'static>]) -> Result<Arc<dyn ClientCertVerifier>, ServerError> {
    let failed = |error: &dyn std::fmt::Display| ServerError::Tls(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| failed(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.allow_unauthenticated().build().map_err(|error| failed(&error))
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A terminal has one certificate; there is nothing to choose.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verifier = self.current();
        match verifier.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if is_of_time(&error) => match its_last_second(end_entity) {
                Some(then) => verifier.verify_client_cert(end_entity, intermediates, then),
                None => Err(error),
            },
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current().verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current().verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

fn is_of_time(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else { return false };
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

fn its_last_second(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let last = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(last)))
}

/// The certificate of a terminal, shown on a connection and signed by an authority of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCertificate {
    /// Whose it is.
    pub terminal: TerminalId,
    /// SHA-256 of its public key, as [`crate::key_sha256`] has it.
    pub key_sha256: [u8; 32],
    /// Who signed it.
    pub authority: AuthorityId,
    /// From when on it counts.
    pub not_before: UtcInstant,
    /// Until when.
    pub not_after: UtcInstant,
}

impl ShownCertificate {
    /// Reads it; `None` when it names no terminal, or several.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok()??.value;
        let mut uris = names.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let uri = uris.next().filter(|_| uris.next().is_none())?;
        let second = |time: i64| UtcInstant::from_micros(time.saturating_mul(1_000_000));
        Some(Self {
            terminal: uri.strip_prefix(TERMINAL)?.parse().ok()?,
            key_sha256: key_sha256(certificate)?,
            authority: AuthorityId::that_signed(&parsed)?,
            not_before: second(parsed.validity().not_before.timestamp()),
            not_after: second(parsed.validity().not_after.timestamp()),
        })
    }

    /// Whether its time is now.
    ///
    /// # Errors
    /// What a caller is told when it is over or has not come.
    pub(crate) fn check_time(&self, now: UtcInstant) -> Result<(), Fault> {
        let Self { terminal, not_before, not_after, .. } = self;
        let message = if now > *not_after {
            format!("the certificate of {} ended on {not_after}; call RenewCertificate", terminal.name())
        } else if now < *not_before {
            format!(
                "the certificate of {} begins on {not_before}, and the clock here says {now}; set the clock \
                 of the hub, or call RenewCertificate",
                terminal.name()
            )
        } else {
            return Ok(());
        };
        Err(Fault::new(Reason::CredentialsInvalid, message))
    }
}
