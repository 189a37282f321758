//! What a terminal has of its hub: its key, its certificate, whom it takes for the hub, and where that is.
//!
//! Files in the data folder, for the owner alone:
//!
//! - `hub.key`: this terminal's key, PEM. Made when it first asks to be adopted.
//! - `hub-authorities.pem`: the authorities that the hub's certificate may be of.
//! - `hub.pem`: this terminal's certificate and the authority that signed it.
//! - `hub.json`: the machine that the key was made on, and, when it belongs to a hub, the site and the hub's addresses.
//! - `clock.floor`: the latest time that an authenticated hub or time server said, microseconds since 1970 as text.
//!
//! Each is written whole. `hub.json` decides: it names the hub after the other files are there, and is the first to go;
//! so a crash leaves a terminal that belongs to its hub or one that can ask again. A key that was made on another machine
//! is destroyed at the start: the card was moved or copied, and two devices must not be one (the protocol's A2).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_core::{Fault, Reason, TerminalId, UtcInstant, limits};
use rollcall_store::{DataFolder, StoreError, read_private, replace_file};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ServerError;
use crate::authority::{AuthorityId, key_sha256};
use crate::certificates::{DAY, certificates_from_pem, certificates_to_pem, not_after};
use crate::hub::{ClockFloor, HubTrust, client_config};
use crate::leaf::{LEAF_DAYS_LEFT_MIN, TerminalKey};

const KEY: &str = "hub.key";
const AUTHORITIES: &str = "hub-authorities.pem";
const CHAIN: &str = "hub.pem";
const STATE: &str = "hub.json";
const CLOCK: &str = "clock.floor";

/// The floor of the clock is written when it has risen by so much: a card that wears out by being written each minute.
const CLOCK_STEP: Duration = Duration::from_secs(3_600);

/// Why it is not known whether this terminal belongs to a hub.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// A file cannot be read or written, or others can use it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificates do not fit each other.
    #[error(transparent)]
    Certificates(#[from] ServerError),
    /// A file is not what this program writes.
    #[error("{} {problem}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
}

impl MembershipError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Certificates(error) => error.fault(),
            Self::Damaged { .. } => Fault::new(Reason::DataDamaged, self),
        }
    }
}

/// A hub that this terminal belongs to.
#[derive(Debug)]
pub struct Joined {
    /// The site's name.
    pub site: String,
    /// Where the hub is, host:port, the best first.
    pub addresses: Vec<String>,
    /// How to connect: with this terminal's certificate, to nobody but the hub.
    pub tls: Arc<ClientConfig>,
    /// When the certificate ends.
    pub not_after: UtcInstant,
    /// Whether another authority takes over, under which this terminal has no certificate yet.
    is_of_old_authority: bool,
}

impl Joined {
    /// Whether another certificate is to be asked for.
    pub fn needs_renewal(&self, now: UtcInstant) -> bool {
        self.is_of_old_authority || now.after(DAY * LEAF_DAYS_LEFT_MIN) >= self.not_after
    }
}

/// What a hub told when it adopted this terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The certificate, then its authority, DER.
    pub chain: Vec<Vec<u8>>,
    /// Whom to take for the hub, DER; the one that signs certificates last.
    pub authorities: Vec<Vec<u8>>,
    /// The site's name.
    pub site: String,
    /// Where the hub is.
    pub addresses: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    hardware: String,
    hub: Option<StoredHub>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHub {
    site: String,
    addresses: Vec<String>,
}

/// See the module. A clone is another handle to the same.
#[derive(Clone)]
pub struct HubMembership {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    terminal: TerminalId,
    hardware: String,
    clock: Arc<ClockFloor>,
    joined: watch::Sender<Option<Arc<Joined>>>,
    /// Held while files are changed. Inside: the floor of the clock as it was written.
    files: Mutex<UtcInstant>,
}

impl HubMembership {
    /// Reads it. `hardware` is what this machine is known by, `built` when the program was made.
    ///
    /// # Errors
    /// A key that others can use; a file that is damaged.
    pub fn open(
        folder: &DataFolder,
        terminal: TerminalId,
        hardware: &str,
        built: UtcInstant,
    ) -> Result<Self, MembershipError> {
        let path = folder.path().to_owned();
        let saved = saved_clock(&path)?;
        let inner = Inner {
            terminal,
            hardware: hardware.to_owned(),
            clock: ClockFloor::new(saved, built),
            joined: watch::Sender::new(None),
            files: Mutex::new(saved),
            folder: path,
        };
        if inner.is_of_another_machine()? {
            inner.forget()?;
            tracing::warn!(
                "the key for the hub was made on another machine and is destroyed; join the hub anew"
            );
        }
        inner.read()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Which terminal this is.
    pub fn terminal(&self) -> TerminalId {
        self.inner.terminal
    }

    /// The hub, if it belongs to one.
    pub fn joined(&self) -> Option<Arc<Joined>> {
        self.inner.joined.borrow().clone()
    }

    /// The hub, and each change of it: joined, left, other addresses, another certificate.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Joined>>> {
        self.inner.joined.subscribe()
    }

    /// The time by which the hub's certificate is judged.
    pub fn clock(&self) -> Arc<ClockFloor> {
        Arc::clone(&self.inner.clock)
    }

    /// An authenticated hub, or a time server, says that it is `time`.
    ///
    /// # Errors
    /// A full disk.
    pub fn raise_clock(&self, time: UtcInstant) -> Result<(), MembershipError> {
        let floor = self.inner.clock.raise(time);
        let mut written = self.inner.files();
        if floor >= written.after(CLOCK_STEP) {
            replace_file(&self.inner.file(CLOCK), format!("{}\n", floor.micros()).as_bytes())?;
            *written = floor;
        }
        Ok(())
    }

    /// This terminal's key, made where there is none.
    ///
    /// # Errors
    /// A key that others can use, a full disk.
    pub fn key(&self) -> Result<TerminalKey, MembershipError> {
        let _files = self.inner.files();
        if let Some(key) = self.inner.read_key()? {
            return Ok(key);
        }
        // First the machine: a key without one is nobody's.
        self.inner.put_state(None)?;
        let key = TerminalKey::generate()?;
        replace_file(&self.inner.file(KEY), key.to_pem().as_bytes())?;
        Ok(key)
    }

    /// It belongs to this hub from now on.
    ///
    /// # Errors
    /// A certificate that is not of this terminal's key, a full disk; then it belongs to none.
    pub fn join(&self, membership: &Membership) -> Result<(), MembershipError> {
        let _files = self.inner.files();
        self.inner.put_authorities(&membership.authorities)?;
        self.inner.put_chain(&membership.chain)?;
        let hub = StoredHub { site: membership.site.clone(), addresses: membership.addresses.clone() };
        // What does not fit is not joined.
        self.inner.load(&hub)?;
        self.inner.put_state(Some(hub))?;
        self.inner.read()
    }

    /// It stands alone from now on; key and certificate are gone.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub fn leave(&self) -> Result<(), MembershipError> {
        let _files = self.inner.files();
        self.inner.forget()?;
        self.inner.joined.send_replace(None);
        Ok(())
    }

    /// The hub signed another certificate. Its authority is trusted from now on.
    ///
    /// # Errors
    /// A certificate that is not of this terminal's key; then the old one stays.
    pub fn renew(&self, chain: &[Vec<u8>]) -> Result<(), MembershipError> {
        let _files = self.inner.files();
        let Some(hub) = self.inner.state()?.hub else { return Ok(()) };
        let (key, mut authorities) = (self.inner.needed_key()?, self.inner.certificates(AUTHORITIES)?);
        if let Some(authority) = chain.get(1).filter(|authority| !authorities.contains(authority)) {
            authorities.push(authority.clone());
        }
        // Before anything is written.
        client_config(HubTrust::Authorities(authorities.clone()), Some((&key, chain)), self.clock())?;
        self.inner.put_authorities(&authorities)?;
        self.inner.put_chain(chain)?;
        let joined = self.inner.load(&hub)?;
        self.inner.joined.send_replace(Some(Arc::new(joined)));
        Ok(())
    }

    /// The hub says whom to trust, where it is and what the site is called.
    ///
    /// # Errors
    /// Authorities that are none; then nothing is changed.
    pub fn update(
        &self,
        authorities: &[Vec<u8>],
        addresses: Vec<String>,
        site: String,
    ) -> Result<(), MembershipError> {
        let _files = self.inner.files();
        let Some(before) = self.inner.state()?.hub else { return Ok(()) };
        let known = self.inner.certificates(AUTHORITIES)?;
        // A hub that lists nothing has not been configured; what was there is still true.
        let authorities = if authorities.is_empty() { known.clone() } else { authorities.to_vec() };
        let addresses = if addresses.is_empty() { before.addresses.clone() } else { addresses };
        let told = StoredHub { site, addresses };
        if (&authorities, &told) == (&known, &before) {
            return Ok(());
        }
        client_config(HubTrust::Authorities(authorities.clone()), None, self.clock())?;
        self.inner.put_authorities(&authorities)?;
        self.inner.put_state(Some(told))?;
        self.inner.read()
    }
}

impl Inner {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn files(&self) -> MutexGuard<'_, UtcInstant> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key that nothing says the machine of is of another one too.
    fn is_of_another_machine(&self) -> Result<bool, MembershipError> {
        if !is_there(&self.file(STATE)) {
            return Ok(is_there(&self.file(KEY)));
        }
        let made_on = self.state()?.hardware;
        Ok(!made_on.is_empty() && !self.hardware.is_empty() && made_on != self.hardware)
    }

    fn forget(&self) -> Result<(), MembershipError> {
        for name in [STATE, KEY, CHAIN, AUTHORITIES] {
            let path = self.file(name);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::File { doing: "remove", path, source }.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells what the files say.
    fn read(&self) -> Result<(), MembershipError> {
        let joined = self.state()?.hub.map(|hub| self.load(&hub)).transpose()?;
        self.joined.send_replace(joined.map(Arc::new));
        Ok(())
    }

    fn load(&self, hub: &StoredHub) -> Result<Joined, MembershipError> {
        let key = self.needed_key()?;
        let (chain, authorities) = (self.certificates(CHAIN)?, self.certificates(AUTHORITIES)?);
        let [leaf, authority] = &chain[..] else {
            return Err(self.damaged(CHAIN, "has not two certificates; leave the hub and join it anew"));
        };
        if key_sha256(leaf) != Some(key.sha256()) {
            return Err(self.damaged(CHAIN, "is not of the key in hub.key; leave the hub and join it anew"));
        }
        let signing = authorities.last().and_then(|authority| AuthorityId::of(authority));
        let damaged = || self.damaged(CHAIN, "has no certificate; leave the hub and join it anew");
        Ok(Joined {
            site: hub.site.clone(),
            addresses: hub.addresses.clone(),
            not_after: not_after(leaf).ok_or_else(damaged)?,
            is_of_old_authority: signing != AuthorityId::of(authority),
            tls: client_config(
                HubTrust::Authorities(authorities),
                Some((&key, &chain[..])),
                Arc::clone(&self.clock),
            )?,
        })
    }

    fn state(&self) -> Result<Stored, MembershipError> {
        let path = self.file(STATE);
        if !is_there(&path) {
            return Ok(Stored::default());
        }
        let bytes = read_private(&path, limits::CONFIG_SIZE_BYTES)?;
        let stored = serde_json::from_slice(&bytes);
        stored.map_err(|_| self.damaged(STATE, "cannot be read; remove it, and join the hub anew"))
    }

    fn put_state(&self, hub: Option<StoredHub>) -> Result<(), MembershipError> {
        let stored = Stored { hardware: self.hardware.clone(), hub };
        let text = serde_json::to_string_pretty(&stored);
        let text = text.map_err(|_| self.damaged(STATE, "cannot be written"))?;
        Ok(replace_file(&self.file(STATE), format!("{text}\n").as_bytes())?)
    }

    fn read_key(&self) -> Result<Option<TerminalKey>, MembershipError> {
        let path = self.file(KEY);
        if !is_there(&path) {
            return Ok(None);
        }
        let pem = read_private(&path, limits::CONFIG_SIZE_BYTES)?;
        let key = str::from_utf8(&pem).ok().and_then(TerminalKey::from_pem);
        key.map(Some).ok_or_else(|| self.damaged(KEY, "is no key; remove it, and join the hub anew"))
    }

    fn needed_key(&self) -> Result<TerminalKey, MembershipError> {
        let missing = || self.damaged(KEY, "is missing; leave the hub and join it anew");
        self.read_key()?.ok_or_else(missing)
    }

    fn certificates(&self, name: &str) -> Result<Vec<Vec<u8>>, MembershipError> {
        Ok(certificates_from_pem(&self.file(name))?)
    }

    fn put_chain(&self, chain: &[Vec<u8>]) -> Result<(), MembershipError> {
        Ok(replace_file(&self.file(CHAIN), certificates_to_pem(chain).as_bytes())?)
    }

    fn put_authorities(&self, authorities: &[Vec<u8>]) -> Result<(), MembershipError> {
        Ok(replace_file(&self.file(AUTHORITIES), certificates_to_pem(authorities).as_bytes())?)
    }

    fn damaged(&self, name: &str, problem: &'static str) -> MembershipError {
        MembershipError::Damaged { path: self.file(name), problem }
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A floor that cannot be read is none: the program's date is one too.
fn saved_clock(folder: &Path) -> Result<UtcInstant, MembershipError> {
    let path = folder.join(CLOCK);
    if !is_there(&path) {
        return Ok(UtcInstant::from_micros(0));
    }
    let bytes = read_private(&path, limits::CONFIG_SIZE_BYTES)?;
    let micros = str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    Ok(UtcInstant::from_micros(micros.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::Authority;

    struct Hub {
        folder: tempfile::TempDir,
        authority: Authority,
    }

    fn now() -> UtcInstant {
        UtcInstant::now()
    }

    impl Hub {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let authority = Authority::open(folder.path(), now()).unwrap();
            Self { folder, authority }
        }

        fn signs(&self, terminal: &HubMembership) -> Vec<Vec<u8>> {
            let request = terminal.key().unwrap().request().unwrap();
            self.authority.sign_terminal(&request, terminal.terminal(), now()).unwrap().chain
        }

        fn adopts(&self, terminal: &HubMembership) -> Membership {
            Membership {
                chain: self.signs(terminal),
                authorities: self.authority.certificates(now()).unwrap(),
                site: "North School".into(),
                addresses: vec!["hub.example:7443".into()],
            }
        }
    }

    fn terminal() -> TerminalId {
        TerminalId::from_bytes([7; 16])
    }

    fn open(folder: &DataFolder, hardware: &str) -> Result<HubMembership, MembershipError> {
        HubMembership::open(folder, terminal(), hardware, now().before(DAY * 10))
    }

    fn data() -> (tempfile::TempDir, DataFolder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(&parent.path().join("data")).unwrap();
        (parent, folder)
    }

    #[test]
    fn a_terminal_that_joined_belongs_to_its_hub_after_a_restart_and_stands_alone_after_leaving() {
        let ((_parent, folder), hub) = (data(), Hub::new());
        let membership = open(&folder, "a machine").unwrap();
        let watched = membership.watch();
        assert!(membership.joined().is_none());
        membership.join(&hub.adopts(&membership)).unwrap();
        assert!(watched.has_changed().unwrap());
        for membership in [membership, open(&folder, "a machine").unwrap(), open(&folder, "").unwrap()] {
            let joined = membership.joined().unwrap();
            assert_eq!(
                (joined.site.as_str(), &joined.addresses[..]),
                ("North School", &["hub.example:7443".to_owned()][..])
            );
            assert!(!joined.needs_renewal(now()));
            assert!(
                !joined.needs_renewal(now().after(DAY * 59)) && joined.needs_renewal(now().after(DAY * 60))
            );
        }
        let membership = open(&folder, "a machine").unwrap();
        membership.leave().unwrap();
        assert!(membership.joined().is_none() && open(&folder, "a machine").unwrap().joined().is_none());
        assert!(!folder.file(KEY).exists() && !folder.file(CHAIN).exists());
    }

    #[test]
    fn a_card_that_was_moved_or_copied_destroys_the_key_and_stands_alone() {
        let ((_parent, folder), hub) = (data(), Hub::new());
        let membership = open(&folder, "a machine").unwrap();
        membership.join(&hub.adopts(&membership)).unwrap();
        let key = membership.key().unwrap().sha256();
        let moved = open(&folder, "another").unwrap();
        assert!(moved.joined().is_none() && !folder.file(KEY).exists());
        assert_ne!(moved.key().unwrap().sha256(), key);
        // On its new machine it joins anew, and stays.
        moved.join(&hub.adopts(&moved)).unwrap();
        assert!(open(&folder, "another").unwrap().joined().is_some());
    }

    #[test]
    fn a_key_that_was_made_for_asking_does_not_go_to_another_machine_either() {
        let (_parent, folder) = data();
        let key = open(&folder, "a machine").unwrap().key().unwrap().sha256();
        assert_eq!(open(&folder, "a machine").unwrap().key().unwrap().sha256(), key, "it is kept");
        assert_ne!(open(&folder, "another").unwrap().key().unwrap().sha256(), key);
        std::fs::remove_file(folder.file(STATE)).unwrap();
        open(&folder, "another").unwrap();
        assert!(!folder.file(KEY).exists(), "a key that nothing says the machine of is nobody's");
    }

    #[test]
    fn f076_a_crash_at_any_file_of_joining_leaves_a_terminal_that_can_ask_again() {
        let ((_parent, folder), hub) = (data(), Hub::new());
        let membership = open(&folder, "a machine").unwrap();
        let adopted = hub.adopts(&membership);
        let key = membership.key().unwrap().sha256();
        for written in [&[AUTHORITIES][..], &[AUTHORITIES, CHAIN]] {
            membership.join(&adopted).unwrap();
            // As it was before the join, but for the files that were written.
            membership.inner.put_state(None).unwrap();
            for name in [AUTHORITIES, CHAIN].into_iter().filter(|name| !written.contains(name)) {
                std::fs::remove_file(folder.file(name)).unwrap();
            }
            let after = open(&folder, "a machine").unwrap();
            assert!(after.joined().is_none(), "{written:?}");
            assert_eq!(after.key().unwrap().sha256(), key, "it asks with the same key");
        }
    }

    #[test]
    fn f076_a_certificate_of_another_key_is_not_taken() {
        let ((_parent, folder), (_other_parent, other), hub) = (data(), data(), Hub::new());
        let membership = open(&folder, "a machine").unwrap();
        let foreign = hub.adopts(&open(&other, "a machine").unwrap());
        membership.key().unwrap();
        membership.join(&foreign).unwrap_err();
        assert!(membership.joined().is_none() && open(&folder, "a machine").unwrap().joined().is_none());
        membership.join(&hub.adopts(&membership)).unwrap();
        membership.renew(&foreign.chain).unwrap_err();
        assert!(open(&folder, "a machine").unwrap().joined().is_some(), "the old one stays");
    }

    #[test]
    fn f078_a_key_that_others_can_use_or_that_is_a_link_is_refused_with_the_command_that_mends_it() {
        let ((_parent, folder), hub) = (data(), Hub::new());
        let membership = open(&folder, "a machine").unwrap();
        membership.join(&hub.adopts(&membership)).unwrap();
        let key = folder.file(KEY);
        for mode in [0o644, 0o640, 0o604] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = open(&folder, "a machine").err().unwrap().to_string();
            assert!(error.contains("chmod 600"), "{mode:o}: {error}");
        }
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&key, folder.file("elsewhere")).unwrap();
        symlink(folder.file("elsewhere"), &key).unwrap();
        let error = open(&folder, "a machine").err().unwrap().to_string();
        assert!(error.contains("symbolic link"), "{error}");
    }

    #[test]
    fn f080_a_terminal_that_is_told_of_another_authority_asks_for_a_certificate_of_it() {
        let ((_parent, folder), hub) = (data(), Hub::new());
        let membership = open(&folder, "a machine").unwrap();
        membership.join(&hub.adopts(&membership)).unwrap();
        hub.authority.begin_rotation(now()).unwrap();
        let both = hub.authority.certificates(now()).unwrap();
        membership.update(&both, vec!["moved.example:7443".into()], "North School".into()).unwrap();
        let joined = membership.joined().unwrap();
        assert_eq!(joined.addresses, ["moved.example:7443"]);
        let watched = membership.watch();
        membership.update(&both, joined.addresses.clone(), "North School".into()).unwrap();
        assert!(!watched.has_changed().unwrap(), "what it knows already is no news");
        assert!(joined.needs_renewal(now()));
        membership.renew(&hub.signs(&membership)).unwrap();
        assert!(!open(&folder, "a machine").unwrap().joined().unwrap().needs_renewal(now()));
        assert_eq!(certificates_from_pem(&folder.file(AUTHORITIES)).unwrap(), both);
        drop(hub.folder);
    }

    #[test]
    fn f080_a_renewed_certificate_brings_its_authority_along() {
        let ((_parent, folder), hub) = (data(), Hub::new());
        let membership = open(&folder, "a machine").unwrap();
        membership.join(&hub.adopts(&membership)).unwrap();
        hub.authority.begin_rotation(now()).unwrap();
        // It renewed before it was told of the other authority.
        membership.renew(&hub.signs(&membership)).unwrap();
        assert_eq!(
            certificates_from_pem(&folder.file(AUTHORITIES)).unwrap(),
            hub.authority.certificates(now()).unwrap()
        );
    }

    #[test]
    fn f048_the_floor_of_the_clock_survives_a_restart() {
        let (_parent, folder) = data();
        let later = now().after(DAY * 10);
        let membership = open(&folder, "a machine").unwrap();
        assert!(membership.clock().now() < later);
        membership.raise_clock(now()).unwrap();
        membership.raise_clock(later).unwrap();
        assert!(open(&folder, "a machine").unwrap().clock().now() >= later);
    }
}
