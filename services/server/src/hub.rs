//! Whom a terminal takes for its hub, and by which time: TLS 1.3 of a client.
//!
//! Promises: nothing is sent, no token and no name, before the other side has shown what is asked of it. That is a chain
//! that ends in an authority of the terminal's site; or in the one authority that a token pins; or, when a terminal is
//! adopted by comparing digits, any, which is remembered, because the digits are made of it.
//!
//! Host names are not compared: a hub moves between addresses, the authority signs nothing for servers but its own, and
//! a terminal's certificate is not for servers.
//!
//! A Raspberry Pi without a clock begins in the past, and a battery that died may say anything. So certificates are
//! judged by the latest of three times: the clock's, the program's date, and the latest that an authenticated hub or
//! time server ever said ([`ClockFloor`]).

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::UtcInstant;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    version,
};

use crate::ServerError;
use crate::authority::key_sha256;
use crate::certificates::DAY;
use crate::leaf::TerminalKey;

/// The most by which one word of an authenticated hub or time server moves the floor. A hub whose clock is ten years
/// ahead then does not lock its terminals out for ten years.
const FLOOR_STEP: Duration = DAY.saturating_mul(400);

/// The time by which certificates are judged: the clock's, and never before the floor.
#[derive(Debug)]
pub struct ClockFloor {
    floor_us: AtomicI64,
}

impl ClockFloor {
    /// `saved` is the floor of an earlier run, `built` when the program was made.
    pub fn new(saved: UtcInstant, built: UtcInstant) -> Arc<Self> {
        Arc::new(Self { floor_us: AtomicI64::new(saved.max(built).micros()) })
    }

    /// The time.
    pub fn now(&self) -> UtcInstant {
        UtcInstant::now().max(self.floor())
    }

    /// The floor, to be saved.
    pub fn floor(&self) -> UtcInstant {
        UtcInstant::from_micros(self.floor_us.load(Ordering::Relaxed))
    }

    /// An authenticated hub or time server says that it is `time`: the floor rises to it, by 400 days at most. It never
    /// sinks. Returns what it is then.
    pub fn raise(&self, time: UtcInstant) -> UtcInstant {
        let raised = |floor_us: i64| {
            let floor = UtcInstant::from_micros(floor_us);
            time.min(floor.after(FLOOR_STEP)).max(floor).micros()
        };
        self.floor_us.update(Ordering::Relaxed, Ordering::Relaxed, raised);
        self.floor()
    }
}

impl TimeProvider for ClockFloor {
    fn current_time(&self) -> Option<UnixTime> {
        let now = u64::try_from(self.now().micros()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(now)))
    }
}

/// Who may be the hub.
#[derive(Clone, Debug)]
pub enum HubTrust {
    /// Whoever has a certificate of one of these authorities, DER.
    Authorities(Vec<Vec<u8>>),
    /// Whoever has a certificate of the authority with this [`key_sha256`].
    Pinned([u8; 32]),
    /// Whoever has a certificate of any authority, which is kept here.
    Whoever(Arc<Seen>),
}

/// The authority, DER, of a hub that was taken without proof.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Option<Vec<u8>>>);

impl Seen {
    /// The authority of the last handshake that went well.
    pub fn authority(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, authority: &CertificateDer<'_>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(authority.to_vec());
    }
}

/// Somebody else than the hub that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherHub {
    /// It has another authority than the token says, or shows none.
    #[error(
        "it is not the hub of this token: the token asks for the authority SHA256:{}, it has {}",
        Hex(.expected), .shown.as_ref().map_or("shown none".into(), |shown| format!("SHA256:{}", Hex(shown)))
    )]
    Pin {
        /// [`key_sha256`] of the authority that was asked for.
        expected: [u8; 32],
        /// Of the one that was shown.
        shown: Option<[u8; 32]>,
    },
    /// It shows no authority.
    #[error("it is no hub of Rollcall: it shows no certificate authority of its own")]
    NoAuthority,
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a terminal connects. `own` is its key and its certificate with its authority, where it has one. The host name of
/// a connection is not looked at.
///
/// # Errors
/// Authorities that are none; a certificate that is not of the key.
pub fn client_config(
    trust: HubTrust,
    own: Option<(&TerminalKey, &[Vec<u8>])>,
    clock: Arc<ClockFloor>,
) -> Result<Arc<ClientConfig>, ServerError> {
    let failed = |error: &dyn fmt::Display| ServerError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = HubVerifier {
        algorithms: provider.signature_verification_algorithms,
        roots: match &trust {
            HubTrust::Authorities(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority.clone().into()).map_err(|error| failed(&error))?;
                }
                roots
            }
            HubTrust::Pinned(_) | HubTrust::Whoever(_) => RootCertStore::empty(),
        },
        trust,
    };
    let builder = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((key, chain)) => {
            let chain = chain.iter().map(|certificate| certificate.clone().into()).collect();
            let key = PrivateKeyDer::try_from(key.der()).map_err(|error| failed(&error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed(&error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct HubVerifier {
    trust: HubTrust,
    /// Of [`HubTrust::Authorities`].
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HubVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let signed_by = |roots: &RootCertStore| {
            verify_server_cert_signed_by_trust_anchor(&leaf, roots, others, now, self.algorithms.all)
        };
        match &self.trust {
            HubTrust::Authorities(_) => signed_by(&self.roots),
            HubTrust::Pinned(pin) => {
                let pinned = others.iter().find(|other| key_sha256(other).as_ref() == Some(pin));
                let shown = || others.last().and_then(|other| key_sha256(other));
                let pinned =
                    pinned.ok_or_else(|| other_hub(OtherHub::Pin { expected: *pin, shown: shown() }))?;
                signed_by(&roots_of(pinned)?)
            }
            HubTrust::Whoever(seen) => {
                let authority = others.last().ok_or_else(|| other_hub(OtherHub::NoAuthority))?;
                signed_by(&roots_of(authority)?)?;
                seen.put(authority);
                Ok(())
            }
        }
    }
}

fn roots_of(authority: &CertificateDer<'_>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}

fn other_hub(error: OtherHub) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

impl ServerCertVerifier for HubVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_floor_rises_by_400_days_at_most_and_never_sinks() {
        let built = UtcInstant::now().after(DAY * 1_000);
        let clock = ClockFloor::new(UtcInstant::from_micros(0), built);
        assert_eq!(clock.now(), built, "a clock that is slow does not count");
        assert_eq!(clock.raise(built.before(DAY)), built);
        assert_eq!(clock.raise(built.after(DAY * 3)), built.after(DAY * 3));
        let ten_years = built.after(DAY * 3_650);
        assert_eq!(clock.raise(ten_years), built.after(DAY * 403));
        assert_eq!(clock.raise(built), built.after(DAY * 403));
        assert_eq!(ClockFloor::new(clock.floor(), built).floor(), clock.floor());
    }
}
