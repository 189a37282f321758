//! The site's certificate authority: it signs this server's certificate and those of terminals, and another can take
//! over from it.
//!
//! Files, in the folder that is given:
//!
//! - `ca.pem`, `ca.key`: the authority, for ten years. Clients trust `ca.pem`.
//! - `ca-next.pem`, `ca-next.key`: there while another takes over. It signs terminals' certificates from the start, and
//!   both are trusted; this server shows one of the old authority until the end, because a terminal that was away knows
//!   no other.
//!
//! The files are the state: they are read whenever something is signed, so what a command beside a running program
//! begins holds from the next signature on.
//!
//! Each file is written whole, and a key before its certificate, which is made from the key where it is missing. The
//! last step, in which the next authority becomes the only one, copies first the key and then the certificate over the
//! old ones and removes the copies' sources; a crash in it is seen by two keys that are the same, and it is done again.
//! An authority without its key is an error: nothing can be signed, and making another would cut off everybody who
//! trusts this one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rollcall_core::{TerminalId, UtcInstant};
use rollcall_store::{StoreError, read_private, replace_file};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ServerError;
use crate::certificates::{self, Signer, belongs};
use crate::clients::Clients;
use crate::leaf::{self, Leaf, LeafError};
use crate::tls::Identity;

/// The certificate of the site's authority, for clients to trust.
pub const CA_FILE: &str = "ca.pem";
/// The authority's key.
pub const CA_KEY_FILE: &str = "ca.key";
/// The certificate of the authority that takes over.
pub const CA_NEXT_FILE: &str = "ca-next.pem";
/// Its key.
pub const CA_NEXT_KEY_FILE: &str = "ca-next.key";

const CA_DAYS: u32 = 3_653;
const KEY_FILE_SIZE_BYTES: u64 = 64 << 10;

/// The authority of a site. Several may be open for one folder.
pub struct Authority {
    folder: PathBuf,
    /// Whose certificates a server with an identity of this authority takes.
    clients: Arc<Clients>,
}

impl Authority {
    /// The authority in `folder`, made where there is none.
    ///
    /// # Errors
    /// A key that others can read, a file that is damaged or lacks its key, a full disk.
    pub fn open(folder: &Path, now: UtcInstant) -> Result<Self, ServerError> {
        let signers = Signers::read(folder, now)?;
        Ok(Self { folder: folder.to_owned(), clients: Clients::of(&signers.certificates())? })
    }

    /// Who the server of this folder is: a certificate for this machine's name, localhost and `names` (host names and IP
    /// addresses), made where it is missing or old, and its key. Asked again from time to time and given to
    /// [`crate::Running::renew`], a program that never stops has a certificate that never ends.
    ///
    /// # Errors
    /// As [`Authority::open`]; a name that is none.
    pub fn identity(&self, names: &[String], now: UtcInstant) -> Result<Identity, ServerError> {
        let signers = self.read(now)?;
        let names = certificates::all_names(names);
        let (leaf, key) = certificates::of_server(&self.folder, &signers.current, &names, now)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|error| ServerError::Tls(error.to_owned()))?;
        let chain = vec![leaf, signers.current.certificate];
        Ok(Identity { chain, key, clients: Some(Arc::clone(&self.clients)), registry: None })
    }

    /// The authorities to trust, DER: the one that this server shows first, the one that signs terminals' certificates
    /// last. Two while one takes over, else one.
    ///
    /// # Errors
    /// As [`Authority::open`].
    pub fn certificates(&self, now: UtcInstant) -> Result<Vec<Vec<u8>>, ServerError> {
        let signers = self.read(now)?;
        Ok(signers.certificates().into_iter().map(|certificate| certificate.to_vec()).collect())
    }

    /// Signs a certificate for a terminal. Of `request`, a certificate signing request in DER, only the public key is
    /// taken.
    ///
    /// # Errors
    /// [`LeafError`]: a request that is none, is not signed by its key, or has a key that is not taken; the files.
    pub fn sign_terminal(
        &self,
        request: &[u8],
        terminal: TerminalId,
        now: UtcInstant,
    ) -> Result<Leaf, LeafError> {
        let signers = self.read(now)?;
        leaf::sign(signers.next.as_ref().unwrap_or(&signers.current), request, terminal, now)
    }

    /// Makes another authority that takes over. Where one is taking over already, nothing is changed.
    ///
    /// # Errors
    /// As [`Authority::open`].
    pub fn begin_rotation(&self, now: UtcInstant) -> Result<(), ServerError> {
        let (certificate, key) = (self.folder.join(CA_NEXT_FILE), self.folder.join(CA_NEXT_KEY_FILE));
        if self.read(now)?.next.is_none() {
            let made = make_key(&key)?;
            make_certificate(&certificate, &made, now)?;
            self.read(now)?;
        }
        Ok(())
    }

    /// While another authority takes over, which it is.
    ///
    /// # Errors
    /// As [`Authority::open`].
    pub fn next(&self, now: UtcInstant) -> Result<Option<AuthorityId>, ServerError> {
        Ok(self.read(now)?.next.and_then(|next| AuthorityId::of(&next.certificate)))
    }

    /// The old authority goes: the one that takes over is the only one from now on. To be called when every terminal
    /// has shown a certificate of it, else those that have not are cut off. Without one that takes over nothing is
    /// changed.
    ///
    /// # Errors
    /// As [`Authority::open`].
    pub fn end_rotation(&self, now: UtcInstant) -> Result<(), ServerError> {
        if self.read(now)?.next.is_some() {
            take_over(&self.folder)?;
            self.read(now)?;
        }
        Ok(())
    }

    /// The state on the disk; servers trust from now on whom it says.
    fn read(&self, now: UtcInstant) -> Result<Signers, ServerError> {
        let signers = Signers::read(&self.folder, now)?;
        self.clients.set(&signers.certificates())?;
        Ok(signers)
    }
}

impl Identity {
    /// The site's own certificates in `folder`, as [`Authority::identity`] makes them.
    ///
    /// # Errors
    /// A key that others can read, a damaged file, a name that is none, a full disk.
    pub fn of_site(folder: &Path, names: &[String], now: UtcInstant) -> Result<Self, ServerError> {
        Authority::open(folder, now)?.identity(names, now)
    }
}

/// Which authority signed a certificate: the identifier of its key (RFC 5280, 4.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorityId(pub Vec<u8>);

impl AuthorityId {
    /// Of an authority's certificate, DER; `None` where it has none.
    pub fn of(authority: &[u8]) -> Option<Self> {
        use x509_parser::extensions::ParsedExtension;
        let (_, parsed) = X509Certificate::from_der(authority).ok()?;
        parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(Self(id.0.to_vec())),
            _ => None,
        })
    }

    /// Of the authority that signed this certificate.
    pub(crate) fn that_signed(certificate: &X509Certificate<'_>) -> Option<Self> {
        use x509_parser::extensions::ParsedExtension;
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => Some(Self(id.key_identifier.as_ref()?.0.to_vec())),
            _ => None,
        })
    }
}

/// SHA-256 of the public key (SubjectPublicKeyInfo, DER) of a certificate, by which a key is known and pinned; `None`
/// when it is no certificate.
pub fn key_sha256(certificate: &[u8]) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256::digest(parsed.public_key().raw).into())
}

/// The authorities of a folder.
struct Signers {
    current: Signer,
    /// The one that takes over.
    next: Option<Signer>,
}

impl Signers {
    /// Reads them; makes the first, and ends what a crash left half done.
    fn read(folder: &Path, now: UtcInstant) -> Result<Self, ServerError> {
        let file = |name: &str| folder.join(name);
        let (path, key_path) = (file(CA_FILE), file(CA_KEY_FILE));
        let (next_path, next_key_path) = (file(CA_NEXT_FILE), file(CA_NEXT_KEY_FILE));
        let key = key(&key_path, &path)?;
        if !is_there(&next_key_path) {
            // Without its key it is nobody's.
            if is_there(&next_path) {
                return Err(without_key(&next_path, &next_key_path));
            }
            return Ok(Self { current: signer(&path, key, now)?, next: None });
        }
        let next_key = certificates::key_pair(&next_key_path)?;
        if next_key.public_key_raw() == key.public_key_raw() {
            take_over(folder)?;
            return Ok(Self { current: signer(&path, key, now)?, next: None });
        }
        let next = signer(&next_path, next_key, now)?;
        Ok(Self { current: signer(&path, key, now)?, next: Some(next) })
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let all = std::iter::once(&self.current).chain(&self.next);
        all.map(|signer| signer.certificate.clone()).collect()
    }
}

/// Copies the next authority over the current one, and removes it. Can be done again after any of its steps.
fn take_over(folder: &Path) -> Result<(), ServerError> {
    let (next, next_key) = (folder.join(CA_NEXT_FILE), folder.join(CA_NEXT_KEY_FILE));
    replace_file(&folder.join(CA_KEY_FILE), &read_private(&next_key, KEY_FILE_SIZE_BYTES)?)?;
    if let Some(pem) = certificates::read(&next)? {
        replace_file(&folder.join(CA_FILE), &pem)?;
        remove(&next)?;
    }
    remove(&next_key)?;
    tracing::info!(folder = %folder.display(), "the next certificate authority is the only one from now on");
    Ok(())
}

fn remove(path: &Path) -> Result<(), ServerError> {
    let failed = |source| StoreError::File { doing: "remove", path: path.to_owned(), source };
    Ok(std::fs::remove_file(path).map_err(failed)?)
}

/// An authority's certificate, made from its key where there is none.
fn signer(path: &Path, key: KeyPair, now: UtcInstant) -> Result<Signer, ServerError> {
    let Some(pem) = certificates::read(path)? else {
        let certificate = make_certificate(path, &key, now)?;
        return Ok(Signer { certificate, key });
    };
    let certificate = certificates::certificate(path, &pem)?;
    if !belongs(&certificate, &key) {
        let key = path.with_extension("key");
        let problem = format!("and {} do not belong together; restore both from one backup", key.display());
        return Err(ServerError::Certificate { path: path.to_owned(), problem });
    }
    Ok(Signer { certificate, key })
}

fn make_certificate(
    path: &Path,
    key: &KeyPair,
    now: UtcInstant,
) -> Result<CertificateDer<'static>, ServerError> {
    let mut params = certificates::params(CA_DAYS, now);
    params.distinguished_name.push(DnType::CommonName, "Rollcall site authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let made = params.self_signed(key).map_err(|error| certificates::signing(path, error))?;
    replace_file(path, made.pem().as_bytes())?;
    tracing::info!(file = %path.display(), "made a certificate authority of the site");
    Ok(made.der().clone())
}

/// The key in a file, which is made where neither it nor its certificate is there.
fn key(path: &Path, certificate: &Path) -> Result<KeyPair, ServerError> {
    if is_there(path) {
        return certificates::key_pair(path);
    }
    if is_there(certificate) {
        return Err(without_key(certificate, path));
    }
    make_key(path)
}

fn make_key(path: &Path) -> Result<KeyPair, ServerError> {
    let key = KeyPair::generate().map_err(|error| certificates::signing(path, error))?;
    replace_file(path, key.serialize_pem().as_bytes())?;
    Ok(key)
}

fn without_key(certificate: &Path, key: &Path) -> ServerError {
    let problem = format!("is there without its key {}; restore that from a backup", key.display());
    ServerError::Certificate { path: certificate.to_owned(), problem }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::TerminalKey;
    use crate::certificates::{DAY, EARLIEST_US};

    fn now() -> UtcInstant {
        UtcInstant::from_micros(EARLIEST_US).after(DAY * 100)
    }

    /// A site, and the authority that signs terminals' certificates there.
    fn signs(authority: &Authority) -> Vec<u8> {
        let terminal = TerminalId::generate();
        let request = TerminalKey::generate().unwrap().request().unwrap();
        let leaf = authority.sign_terminal(&request, terminal, now()).unwrap();
        assert_eq!(leaf.chain.len(), 2, "the certificate and its authority");
        let (_, parsed) = X509Certificate::from_der(&leaf.chain[0]).unwrap();
        assert_eq!(AuthorityId::that_signed(&parsed), AuthorityId::of(&leaf.chain[1]));
        leaf.chain[1].clone()
    }

    #[test]
    fn an_authority_without_its_key_or_with_another_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path(), now()).unwrap();
        let key = folder.path().join(CA_KEY_FILE);
        replace_file(&key, KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
        let error = Authority::open(folder.path(), now()).err().unwrap();
        assert!(error.to_string().contains("do not belong together"), "{error}");
        std::fs::remove_file(&key).unwrap();
        let error = Authority::open(folder.path(), now()).err().unwrap();
        assert!(error.to_string().contains("without its key"), "{error}");
    }

    #[test]
    fn a_crash_between_the_authoritys_key_and_its_certificate_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), now()).unwrap();
        let pin = key_sha256(&authority.certificates(now()).unwrap()[0]);
        std::fs::remove_file(folder.path().join(CA_FILE)).unwrap();
        assert_eq!(key_sha256(&authority.certificates(now()).unwrap()[0]), pin);
    }

    #[test]
    fn f080_the_next_authority_signs_from_the_start_and_the_server_shows_the_old_one_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), now()).unwrap();
        let old = authority.certificates(now()).unwrap();
        assert_eq!((old.len(), signs(&authority)), (1, old[0].clone()));
        assert_eq!(authority.next(now()).unwrap(), None);

        // By a command beside the running program.
        Authority::open(folder.path(), now()).unwrap().begin_rotation(now()).unwrap();
        let both = authority.certificates(now()).unwrap();
        assert_eq!((both.len(), &both[0]), (2, &old[0]));
        assert_eq!(authority.next(now()).unwrap(), AuthorityId::of(&both[1]));
        assert_eq!(signs(&authority), both[1]);
        assert_eq!(authority.identity(&[], now()).unwrap().chain[1].to_vec(), old[0]);
        authority.begin_rotation(now()).unwrap();
        assert_eq!(authority.certificates(now()).unwrap(), both, "a second beginning changes nothing");

        authority.end_rotation(now()).unwrap();
        assert_eq!(authority.certificates(now()).unwrap(), [both[1].clone()]);
        let identity = authority.identity(&[], now()).unwrap();
        assert_eq!(identity.chain[1].to_vec(), both[1], "the server's certificate is made anew");
        authority.end_rotation(now()).unwrap();
        assert_eq!(signs(&authority), both[1]);
    }

    #[test]
    fn f080_a_crash_at_any_step_of_a_rotation_is_mended() {
        type Step = fn(&Path);
        let steps: [(&str, Step); 4] = [
            ("the next key is made", |folder| {
                std::fs::remove_file(folder.join(CA_NEXT_FILE)).unwrap();
            }),
            ("the key is copied", |folder| {
                std::fs::copy(folder.join(CA_NEXT_KEY_FILE), folder.join(CA_KEY_FILE)).unwrap();
            }),
            ("the certificate is copied", |folder| {
                std::fs::copy(folder.join(CA_NEXT_KEY_FILE), folder.join(CA_KEY_FILE)).unwrap();
                std::fs::copy(folder.join(CA_NEXT_FILE), folder.join(CA_FILE)).unwrap();
            }),
            ("the next certificate is removed", |folder| {
                std::fs::copy(folder.join(CA_NEXT_KEY_FILE), folder.join(CA_KEY_FILE)).unwrap();
                std::fs::rename(folder.join(CA_NEXT_FILE), folder.join(CA_FILE)).unwrap();
            }),
        ];
        for (step, crash) in steps {
            let folder = tempfile::tempdir().unwrap();
            let authority = Authority::open(folder.path(), now()).unwrap();
            authority.begin_rotation(now()).unwrap();
            let next = signs(&authority);
            crash(folder.path());
            let after = Authority::open(folder.path(), now()).unwrap();
            let signing = signs(&after);
            assert_eq!(key_sha256(&signing), key_sha256(&next), "{step}");
            after.end_rotation(now()).unwrap();
            assert_eq!(after.certificates(now()).unwrap(), [signing], "{step}");
            for left in [CA_NEXT_FILE, CA_NEXT_KEY_FILE] {
                assert!(!folder.path().join(left).exists(), "{step}: {left}");
            }
        }
    }

    #[test]
    fn f080_a_next_authority_without_its_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path(), now()).unwrap().begin_rotation(now()).unwrap();
        std::fs::remove_file(folder.path().join(CA_NEXT_KEY_FILE)).unwrap();
        let error = Authority::open(folder.path(), now()).err().unwrap();
        assert!(error.to_string().contains("ca-next.pem is there without its key"), "{error}");
    }
}
