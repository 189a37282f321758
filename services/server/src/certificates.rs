//! This server's own certificate, signed by the site's authority, and what all certificates are made with.
//!
//! Files, in the folder that is given, beside the authority's (`authority.rs`): `server.pem`, `server.key`: this server,
//! for 397 days; made anew with less than 30 days left, when the names it is for have changed, and when another authority
//! has taken over.
//!
//! All are PEM with ECDSA P-256 keys; keys are for their owner alone. Each file is written whole; a key comes before its
//! certificate. After a crash between the two the pair, which does not match then, is made anew.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use rollcall_core::UtcInstant;
use rollcall_store::{read_private, replace_file};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ServerError;

const LEAF_FILE: &str = "server.pem";
const LEAF_KEY_FILE: &str = "server.key";

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
const LEAF_DAYS: u32 = 397;
const LEAF_DAYS_LEFT_MIN: u32 = 30;
const FILE_SIZE_BYTES: u64 = 64 << 10;

/// 2026-01-01. A Raspberry Pi without a clock begins long before this program was written; what it signs then has to be
/// good when it knows the time.
pub(crate) const EARLIEST_US: i64 = 1_767_225_600_000_000;

/// This server's certificate for these names, with its key; made where it is missing, old or of another authority.
pub(crate) fn of_server(
    folder: &Path,
    authority: &Signer,
    names: &BTreeSet<String>,
    now: UtcInstant,
) -> Result<(CertificateDer<'static>, KeyPair), ServerError> {
    let (path, key_path) = (folder.join(LEAF_FILE), folder.join(LEAF_KEY_FILE));
    if let (Some(pem), true) = (read(&path)?, key_path.exists()) {
        let key = key_pair(&key_path)?;
        let leaf = certificate(&path, &pem).ok();
        if let Some(leaf) = leaf.filter(|leaf| is_good(leaf, &key, &authority.certificate, names, now)) {
            return Ok((leaf, key));
        }
    }
    make_leaf(folder, authority, names, now)
}

/// An authority: its certificate, and the key that signs.
pub(crate) struct Signer {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Signer {
    /// A certificate of this authority.
    pub(crate) fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<rcgen::Certificate, rcgen::Error> {
        params.use_authority_key_identifier_extension = true;
        // Random, so that two of one key are told apart; a UUIDv7 begins with a zero bit, as a positive number has to.
        params.serial_number = Some(SerialNumber::from_slice(uuid::Uuid::now_v7().as_bytes()));
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        params.signed_by(key, &issuer)
    }
}

/// This machine's name, its loopback, and what the configuration adds.
pub(crate) fn all_names(names: &[String]) -> BTreeSet<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    let host = Some(host.trim().to_lowercase()).filter(|host| !host.is_empty() && host != "(none)");
    own.into_iter().chain(host).chain(names.iter().cloned()).collect()
}

fn make_leaf(
    folder: &Path,
    authority: &Signer,
    names: &BTreeSet<String>,
    now: UtcInstant,
) -> Result<(CertificateDer<'static>, KeyPair), ServerError> {
    let path = folder.join(LEAF_FILE);
    let key = KeyPair::generate().map_err(|error| signing(&path, error))?;
    let mut params = params(LEAF_DAYS, now);
    params.distinguished_name.push(DnType::CommonName, "Rollcall server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names.iter().map(|name| alternative(&path, name)).collect::<Result<_, _>>()?;
    let leaf = authority.sign(params, &key).map_err(|error| signing(&path, error))?;
    replace_file(&folder.join(LEAF_KEY_FILE), key.serialize_pem().as_bytes())?;
    replace_file(&path, leaf.pem().as_bytes())?;
    tracing::info!(file = %path.display(), "made the server's certificate");
    Ok((leaf.der().clone(), key))
}

/// Of a certificate that is good from yesterday on, for so many days.
pub(crate) fn params(days: u32, now: UtcInstant) -> CertificateParams {
    let now = now.max(UtcInstant::from_micros(EARLIEST_US));
    let since =
        |instant: UtcInstant| rcgen::date_time_ymd(1970, 1, 1) + instant.since(UtcInstant::from_micros(0));
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // A client's clock may be slow.
    params.not_before = since(now.before(DAY));
    params.not_after = since(now.after(DAY * days));
    params
}

fn alternative(path: &Path, name: &str) -> Result<SanType, ServerError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let host = name.to_ascii_lowercase().try_into();
    host.map(SanType::DnsName).map_err(|_| ServerError::Certificate {
        path: path.to_owned(),
        problem: format!("cannot be for \"{name}\", which is neither a host name nor an address"),
    })
}

/// Whether a certificate of the server can be used on.
fn is_good(
    leaf: &CertificateDer<'_>,
    key: &KeyPair,
    ca: &CertificateDer<'_>,
    names: &BTreeSet<String>,
    now: UtcInstant,
) -> bool {
    let (Ok((_, parsed)), Ok((_, ca))) = (X509Certificate::from_der(leaf), X509Certificate::from_der(ca))
    else {
        return false;
    };
    let least = now.after(DAY * LEAF_DAYS_LEFT_MIN).micros() / 1_000_000;
    parsed.validity().not_after.timestamp() > least
        && belongs(leaf, key)
        && parsed.verify_signature(Some(ca.public_key())).is_ok()
        && names_in(&parsed) == *names
}

fn names_in(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return BTreeSet::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) => Some((*host).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whether a certificate is of this key.
pub(crate) fn belongs(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().subject_public_key.data == key.public_key_raw())
}

/// A key that nobody else can read.
pub(crate) fn key_pair(path: &Path) -> Result<KeyPair, ServerError> {
    let pem = read_private(path, FILE_SIZE_BYTES)?;
    let text = str::from_utf8(&pem).map_err(|_| damaged(path))?;
    KeyPair::from_pem(text).map_err(|_| damaged(path))
}

/// A file that is no secret; `None` when it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ServerError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ServerError::File { doing: "read", path: path.to_owned(), source }),
    }
}

/// The first certificate of a PEM file.
pub(crate) fn certificate(path: &Path, pem: &[u8]) -> Result<CertificateDer<'static>, ServerError> {
    CertificateDer::from_pem_slice(pem).map_err(|_| damaged(path))
}

/// The certificates of a PEM file, DER.
///
/// # Errors
/// A file that cannot be read or has none.
pub fn certificates_from_pem(path: &Path) -> Result<Vec<Vec<u8>>, ServerError> {
    let found = crate::tls::certificates(path)?;
    Ok(found.into_iter().map(|certificate| certificate.to_vec()).collect())
}

/// Certificates in DER, as a PEM file holds them.
pub fn certificates_to_pem(certificates: &[Vec<u8>]) -> String {
    let all: Vec<pem::Pem> =
        certificates.iter().map(|der| pem::Pem::new("CERTIFICATE", der.as_slice())).collect();
    pem::encode_many_config(&all, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

/// When a certificate in DER ends; `None` when it is none.
pub fn not_after(certificate: &[u8]) -> Option<UtcInstant> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(UtcInstant::from_micros(parsed.validity().not_after.timestamp().saturating_mul(1_000_000)))
}

fn damaged(path: &Path) -> ServerError {
    let problem = "cannot be read as PEM; restore it from a backup".to_owned();
    ServerError::Certificate { path: path.to_owned(), problem }
}

/// What a certificate that could not be made is told as.
pub(crate) fn signing(path: &Path, error: rcgen::Error) -> ServerError {
    ServerError::Certificate { path: PathBuf::from(path), problem: format!("cannot be made: {error}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::tls::Identity;
    use crate::{CA_FILE, CA_KEY_FILE};

    fn now() -> UtcInstant {
        UtcInstant::from_micros(EARLIEST_US).after(DAY * 100)
    }

    fn chain(folder: &Path, names: &[&str], now: UtcInstant) -> Vec<CertificateDer<'static>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Identity::of_site(folder, &names, now).unwrap().chain
    }

    #[test]
    fn certificates_are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = chain(folder.path(), &["door.example", "10.0.0.7"], now());
        assert_eq!(first, chain(folder.path(), &["10.0.0.7", "door.example"], now()));
        for file in [CA_KEY_FILE, LEAF_KEY_FILE] {
            let mode = folder.path().join(file).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let (_, leaf) = X509Certificate::from_der(&first[0]).unwrap();
        let names = names_in(&leaf);
        for name in ["localhost", "127.0.0.1", "::1", "door.example", "10.0.0.7"] {
            assert!(names.contains(name), "{name} in {names:?}");
        }
        let days = (leaf.validity().not_after.timestamp() - now().micros() / 1_000_000) / 86_400;
        assert_eq!(days, i64::from(LEAF_DAYS));
    }

    #[test]
    fn the_servers_certificate_is_made_anew_when_it_ends_and_when_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let first = chain(folder.path(), &[], now());
        let ca = std::fs::read(folder.path().join(CA_FILE)).unwrap();
        let days = LEAF_DAYS - LEAF_DAYS_LEFT_MIN;
        assert_eq!(first, chain(folder.path(), &[], now().after(DAY * (days - 1))));
        let renewed = chain(folder.path(), &[], now().after(DAY * (days + 1)));
        assert_ne!(first, renewed);
        assert_ne!(renewed, chain(folder.path(), &["new.example"], now().after(DAY * (days + 1))));
        assert_eq!(ca, std::fs::read(folder.path().join(CA_FILE)).unwrap());
    }

    #[test]
    fn a_crash_between_a_key_and_its_certificate_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        chain(folder.path(), &[], now());
        let file = |name: &str| folder.path().join(name);
        // The new key was written, the certificate is the old one's.
        replace_file(&file(LEAF_KEY_FILE), KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
        chain(folder.path(), &[], now());
        std::fs::remove_file(file(LEAF_FILE)).unwrap();
        chain(folder.path(), &[], now());
    }

    #[test]
    fn f078_a_key_that_others_can_use_or_that_is_a_link_is_refused_with_the_command_that_mends_it() {
        for file in [CA_KEY_FILE, LEAF_KEY_FILE] {
            let folder = tempfile::tempdir().unwrap();
            chain(folder.path(), &[], now());
            let key = folder.path().join(file);
            for mode in [0o644, 0o640, 0o604, 0o660] {
                std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
                let error = Identity::of_site(folder.path(), &[], now()).err().unwrap().to_string();
                assert!(error.contains("chmod 600"), "{mode:o}: {error}");
            }
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
            chain(folder.path(), &[], now());
            let elsewhere = folder.path().join("elsewhere");
            std::fs::rename(&key, &elsewhere).unwrap();
            symlink(&elsewhere, &key).unwrap();
            let error = Identity::of_site(folder.path(), &[], now()).err().unwrap().to_string();
            assert!(error.contains("symbolic link"), "{error}");
        }
    }

    #[test]
    fn f078_somebody_elses_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        chain(folder.path(), &[], now());
        let key = folder.path().join(LEAF_KEY_FILE);
        // Root gives the file away; anybody else is given one of root's.
        if std::os::unix::fs::chown(&key, Some(65_534), None).is_ok() {
            let error = Identity::of_site(folder.path(), &[], now()).err().unwrap().to_string();
            assert!(error.contains("chown"), "{error}");
        } else {
            let error = read_private(Path::new("/etc/shadow"), FILE_SIZE_BYTES).err().unwrap();
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_a_clock_that_was_never_set_signs_is_good_later() {
        let folder = tempfile::tempdir().unwrap();
        let unset = UtcInstant::from_micros(0);
        let first = chain(folder.path(), &[], unset);
        assert_eq!(first, chain(folder.path(), &[], now()));
    }

    #[test]
    fn certificates_of_others_are_read_from_files_and_their_key_has_to_be_private() {
        let folder = tempfile::tempdir().unwrap();
        let made = chain(folder.path(), &[], now());
        let file = |name: &str| folder.path().join(name);
        let read = || Identity::from_files(&file(LEAF_FILE), &file(LEAF_KEY_FILE), Some(&file(CA_FILE)));
        let identity = read().unwrap();
        assert_eq!(identity.chain, made[..1]);
        crate::tls::config(&identity).unwrap();
        std::fs::set_permissions(file(LEAF_KEY_FILE), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read().err().unwrap().to_string().contains("chmod 600"));
        let no_pem = Identity::from_files(&file(CA_KEY_FILE), &file(CA_KEY_FILE), None).err().unwrap();
        assert!(no_pem.to_string().contains("has no certificate"), "{no_pem}");
        let mixed = Identity::from_files(&file(CA_FILE), &file(CA_KEY_FILE), None).unwrap();
        crate::tls::config(&mixed).unwrap();
        let mixed = Identity::from_files(&file(LEAF_FILE), &file(CA_KEY_FILE), None).unwrap();
        assert!(crate::tls::config(&mixed).is_err(), "a key of another certificate");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Identity::of_site(folder.path(), &["tür.example".to_owned()], now()).err().unwrap();
        assert!(error.to_string().contains("tür.example"), "{error}");
    }
}
