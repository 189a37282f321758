//! The certificates of terminals: what one may ask for, and what it gets.
//!
//! Promises: of a request only the public key is taken, and only one that the request is signed with; whatever else it
//! asks for (names, an authority's rights, a long life) is not looked at. A key is taken when it is on P-256 or P-384:
//! RSA has weak keys that cannot be told from good ones at a glance (ROCA, CVE-2017-15361; Debian's, CVE-2008-0166),
//! Ed25519 has keys with which anything is signed (those of small order), and no terminal makes either.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
    SubjectPublicKeyInfo,
};
use rollcall_core::{Fault, Reason, TerminalId, UtcInstant, limits};
use sha2::{Digest as _, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384};
use x509_parser::prelude::FromDer as _;

use crate::ServerError;
use crate::certificates::{self, Signer};

/// What a terminal's certificate calls it, before the id.
pub(crate) const TERMINAL: &str = "urn:rollcall:terminal:";

/// Days that a terminal's certificate lasts: a terminal that is switched off over the longest holidays can still call.
const LEAF_DAYS: u32 = 90;

/// A terminal whose certificate has fewer days left asks for another: a month of a broken network is then no trouble.
pub const LEAF_DAYS_LEFT_MIN: u32 = 30;

/// The x coordinates of the curves' base points: the public keys of the private keys 1 and -1.
const BASE_POINTS: [&[u8]; 2] = [
    &[
        0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77,
        0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
    ],
    &[
        0xaa, 0x87, 0xca, 0x22, 0xbe, 0x8b, 0x05, 0x37, 0x8e, 0xb1, 0xc7, 0x1e, 0xf3, 0x20, 0xad, 0x74, 0x6e,
        0x1d, 0x3b, 0x62, 0x8b, 0xa7, 0x9b, 0x98, 0x59, 0xf7, 0x41, 0xe0, 0x82, 0x54, 0x2a, 0x38, 0x55, 0x02,
        0xf2, 0x5d, 0xbf, 0x55, 0x29, 0x6c, 0x3a, 0x54, 0x5e, 0x38, 0x72, 0x76, 0x0a, 0xb7,
    ],
];

/// A terminal's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate, then the authority that signed it, DER.
    pub chain: Vec<Vec<u8>>,
    /// SHA-256 of the public key, as [`crate::key_sha256`] has it.
    pub key_sha256: [u8; 32],
    /// When it ends.
    pub not_after: UtcInstant,
}

/// Why none was signed.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The request is none, or has a key that is not taken.
    #[error("csr {0}")]
    Request(&'static str),
    /// The authority's files.
    #[error(transparent)]
    Authority(#[from] ServerError),
    /// The certificate could not be made.
    #[error("the terminal's certificate cannot be made: {0}")]
    Signing(String),
}

impl LeafError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Request(_) => Fault::new(Reason::FieldInvalid, self).with("field", "csr"),
            Self::Authority(error) => error.fault(),
            Self::Signing(_) => Fault::new(Reason::Internal, self),
        }
    }
}

/// The key of a terminal.
pub struct TerminalKey(KeyPair);

impl TerminalKey {
    /// A new one, ECDSA P-256.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, ServerError> {
        KeyPair::generate()
            .map(Self)
            .map_err(|error| ServerError::Tls(format!("no key can be made: {error}")))
    }

    /// The key that [`TerminalKey::to_pem`] wrote; `None` when it is none.
    pub fn from_pem(pem: &str) -> Option<Self> {
        KeyPair::from_pem(pem).ok().map(Self)
    }

    /// As a file keeps it.
    pub fn to_pem(&self) -> zeroize::Zeroizing<String> {
        self.0.serialize_pem().into()
    }

    /// PKCS #8, DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.serialize_der()
    }

    /// A certificate signing request for it, DER. It names nobody: the hub says whose certificate it becomes.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, ServerError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.0);
        let request =
            request.map_err(|error| ServerError::Tls(format!("no request can be made: {error}")))?;
        Ok(request.der().to_vec())
    }

    /// SHA-256 of the public key, as [`crate::key_sha256`] has it.
    pub fn sha256(&self) -> [u8; 32] {
        use rcgen::PublicKeyData as _;
        Sha256::digest(self.0.subject_public_key_info()).into()
    }
}

/// SHA-256 of the public key that a certificate signing request is for.
///
/// # Errors
/// [`LeafError::Request`], as when it is to be signed.
pub fn requested_key_sha256(request: &[u8]) -> Result<[u8; 32], LeafError> {
    use rcgen::PublicKeyData as _;
    Ok(Sha256::digest(public_key(request)?.subject_public_key_info()).into())
}

/// Signs the certificate of a terminal.
pub(crate) fn sign(
    authority: &Signer,
    request: &[u8],
    terminal: TerminalId,
    now: UtcInstant,
) -> Result<Leaf, LeafError> {
    use rcgen::PublicKeyData as _;
    let failed = |error: rcgen::Error| LeafError::Signing(error.to_string());
    let key = public_key(request)?;
    let mut params = certificates::params(LEAF_DAYS, now);
    params.distinguished_name.push(DnType::CommonName, "Rollcall terminal");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let uri = format!("{TERMINAL}{terminal}").try_into().map_err(failed)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    let not_after = UtcInstant::from_micros(params.not_after.unix_timestamp().saturating_mul(1_000_000));
    let leaf = authority.sign(params, &key).map_err(failed)?;
    Ok(Leaf {
        chain: vec![leaf.der().to_vec(), authority.certificate.to_vec()],
        key_sha256: Sha256::digest(key.subject_public_key_info()).into(),
        not_after,
    })
}

/// The public key of a request that is signed with it.
fn public_key(request: &[u8]) -> Result<SubjectPublicKeyInfo, LeafError> {
    const NONE: LeafError =
        LeafError::Request("is no certificate signing request in DER; send one (PKCS #10)");
    const KEY: LeafError = LeafError::Request("has a key that is not taken; make one on P-256 or P-384");
    if request.len() > limits::CSR_SIZE_BYTES {
        return Err(LeafError::Request("has more bytes than any request; send one of a few hundred"));
    }
    let Ok(([], parsed)) = X509CertificationRequest::from_der(request) else { return Err(NONE) };
    let info = &parsed.certification_request_info.subject_pki;
    let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    // Before the signature is verified, so that no time goes into a key that is not taken.
    if info.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY
        || !curve.is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384)
    {
        return Err(KEY);
    }
    // The verification also shows that the point is on the curve.
    if parsed.verify_signature().is_err() {
        return Err(LeafError::Request("is not signed with the key that it has; make it anew"));
    }
    // 4, then the two coordinates.
    let point = info.subject_public_key.data.as_ref();
    if BASE_POINTS.iter().any(|x| point.len() == 1 + 2 * x.len() && point[1..].starts_with(x)) {
        return Err(LeafError::Request("has a key that everybody knows; make it anew"));
    }
    SubjectPublicKeyInfo::from_der(info.raw).map_err(|_| KEY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rcgen::{BasicConstraints, IsCa, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _};
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::X509Certificate;

    use super::*;
    use crate::Authority;
    use crate::certificates::{DAY, EARLIEST_US};

    fn now() -> UtcInstant {
        UtcInstant::from_micros(EARLIEST_US).after(DAY * 100)
    }

    fn signed(request: &[u8], terminal: TerminalId) -> Result<Leaf, LeafError> {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path(), now()).unwrap().sign_terminal(request, terminal, now())
    }

    fn refused(request: &[u8]) -> String {
        let error = signed(request, TerminalId::generate()).unwrap_err();
        assert_eq!(error.fault().reason, Reason::FieldInvalid);
        error.to_string()
    }

    #[test]
    fn f077_of_a_request_only_the_key_is_taken() {
        let key = KeyPair::generate().unwrap();
        let mut greedy =
            CertificateParams::new(vec!["hub.example".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        let other = format!("{TERMINAL}{}", TerminalId::generate());
        greedy.subject_alt_names.push(SanType::URI(other.try_into().unwrap()));
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let request = greedy.serialize_request(&key).unwrap();
        let terminal = TerminalId::generate();
        let leaf = signed(request.der(), terminal).unwrap();
        let (_, parsed) = X509Certificate::from_der(&leaf.chain[0]).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap().value;
        let [GeneralName::URI(uri)] = names.general_names[..] else { panic!("{names:?}") };
        assert_eq!(uri, format!("urn:rollcall:terminal:{terminal}"));
        assert!(!parsed.is_ca());
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert_eq!(parsed.public_key().raw, key.subject_public_key_info());
        assert_eq!(crate::key_sha256(&leaf.chain[0]), Some(leaf.key_sha256));
        let days = (leaf.not_after.micros() - now().micros()) / 86_400_000_000;
        assert_eq!(days, i64::from(LEAF_DAYS));
    }

    #[test]
    fn f077_keys_on_p_256_and_p_384_are_taken_and_no_others() {
        let request =
            |key: &KeyPair| CertificateParams::default().serialize_request(key).unwrap().der().to_vec();
        for key in [KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()] {
            signed(&request(&key), TerminalId::generate()).unwrap();
        }
        let edwards = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert!(refused(&request(&edwards)).contains("P-256 or P-384"));
        let rsa = hex(RSA_512);
        assert!(refused(&rsa).contains("P-256 or P-384"));
    }

    #[test]
    fn f077_a_key_that_everybody_knows_is_refused() {
        let one = hex(PRIVATE_KEY_ONE);
        let key = KeyPair::try_from(&one[..]).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        assert!(refused(request.der()).contains("everybody knows"));
    }

    #[test]
    fn f077_a_request_that_is_not_signed_with_its_key_is_refused() {
        let request = TerminalKey::generate().unwrap().request().unwrap();
        let mut forged = request.clone();
        // In the signature, which is last.
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(refused(&forged).contains("not signed with the key"));
        assert!(refused(&[request.clone(), vec![0]].concat()).contains("no certificate signing request"));
        assert!(refused(b"").contains("no certificate signing request"));
        assert!(refused(&vec![0x30; limits::CSR_SIZE_BYTES + 1]).contains("more bytes"));
    }

    #[test]
    fn a_key_is_known_by_the_same_hash_in_its_file_its_request_and_its_certificate() {
        let key = TerminalKey::generate().unwrap();
        let again = TerminalKey::from_pem(&key.to_pem()).unwrap();
        let request = again.request().unwrap();
        assert_eq!(requested_key_sha256(&request).unwrap(), key.sha256());
        assert_eq!(signed(&request, TerminalId::generate()).unwrap().key_sha256, key.sha256());
    }

    /// A request for an RSA key of 512 bits, by `openssl req`.
    const RSA_512: &str = "\
        3081c53071020100300c310a300806035504030c0178305c300d06092a864886f70d0101010500034b003048024100bdb17b\
        fd475981b57ea794b46751a68897310704ecd9b92ed2591478eae37c37e55ac9f563eaad4740254a6acf78268aa96d00d3f7\
        ba8ff9af013626ff4116f10203010001a000300d06092a864886f70d01010b0500034100aacaf282650c9f8b6a67b987522d\
        cd6afb35b9bbfe195be69be1719dda5b740139b2dbc9e74229a575e8ff6cdff28565e73d4dda7b2d36e5bb1ab9c30d15da57";

    /// The private key 1 on P-256, PKCS #8.
    const PRIVATE_KEY_ONE: &str = "\
        308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b02010104200000000000000000000000000000\
        000000000000000000000000000000000001a144034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a1\
        3945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }
}
