//! The terminals' part of a hub: who adopts them, who knows them, and what they are synced with.
//!
//! Here services that do not know each other meet: the authority signs what adoption asks for, the fleet answers the server
//! whether a certificate is trusted, and the gallery which terminals an erasure has to reach.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rollcall_attendance::{Attendance, Position};
use rollcall_core::{Fault, LogId, PersonId, Reason, TerminalId, UtcInstant};
use rollcall_gallery::{AliasFuture, Aliases, Holders, HoldersFuture};
use rollcall_program::machine::{host_name, program_made};
use rollcall_server::{
    Authority, Judgement, Registry, Renewal, ShownCertificate, key_sha256, requested_key_sha256,
};
use rollcall_store::Db;
use rollcall_sync::SyncError;
use rollcall_sync::hub::{Answering as SyncAnswering, Backups, Hub, HubParts};
use rollcall_terminals::adoption::{
    AdoptedTerminals, AdoptingHub, AdoptingSite, Adoptions, Newcomer, SignedCertificate, TrustedAuthority,
};
use rollcall_terminals::{Adopted, Answering, Fleet, KeyHash, Settings, Site, TerminalError, Trust};

use super::site::Parts;
use crate::config::Config;
use crate::store::backups;

/// Terminals that are read at once.
const PAGE: usize = 500;

/// Between two looks at the certificates: whether one is to be made anew, and whether another authority has taken over.
const CERTIFICATES: Duration = Duration::from_secs(3_600);

/// See the module.
#[derive(Clone)]
pub(super) struct Terminals {
    /// Those that were adopted.
    pub(super) fleet: Fleet,
    /// Those that ask to be.
    pub(super) adoptions: Adoptions,
    /// What each is synced with.
    pub(super) sync: Hub,
    authority: Arc<SiteAuthority>,
    site: Site,
}

impl Terminals {
    /// All of it over these, not yet reached by anybody.
    pub(super) async fn open(config: &Config, parts: &Parts) -> anyhow::Result<Self> {
        let now = UtcInstant::now();
        let name = config.site.name.as_ref().map_or_else(|| "Rollcall".to_owned(), |name| name.0.clone());
        let authority = Authority::open(parts.folder.path(), now)?;
        let site = Site {
            display_name: name.clone(),
            time_zone: parts.gallery.zone().name().to_owned(),
            credential_key: parts.gallery.credential_key().into(),
            authorities: authority.certificates(now)?,
            addresses: Vec::new(),
            forget_after_hours: config.sync.forget_after_days.get() * 24,
        };
        let authority = Arc::new(SiteAuthority { authority, name, addresses: RwLock::default() });
        let (db, writes) = (parts.databases.site().clone(), parts.writes.clone());
        let fleet = Fleet::open(db.clone(), writes.clone(), site.clone()).await?;
        let known = Arc::new(Known(fleet.clone()));
        parts.gallery.set_holders(Arc::clone(&known) as _);
        parts.gallery.set_aliases(Arc::new(EventsOf(parts.attendance.clone())));
        let adoptions = Adoptions::new(db.clone(), writes.clone(), Arc::clone(&authority) as _, known);
        let sync = Hub::new(HubParts {
            db: db.clone(),
            writes,
            received: parts.log.received(),
            gallery: parts.gallery.clone(),
            fleet: fleet.clone(),
            adoptions: adoptions.clone(),
            clock: Arc::clone(&parts.clock) as _,
            program_made: program_made(),
            backups: Arc::new(ReadBack(db)),
        });
        Ok(Self { fleet, adoptions, sync, authority, site })
    }

    /// Who the server is, and who judges the certificates that it is shown.
    pub(super) fn identity(&self, names: &[String]) -> anyhow::Result<rollcall_server::Identity> {
        let judge = Judge { fleet: self.fleet.clone(), adoptions: self.adoptions.clone() };
        let identity = self.authority.authority.identity(names, UtcInstant::now())?;
        Ok(identity.with_registry(Arc::new(judge)))
    }

    /// From now on it is reached here, as far as its configuration does not say where.
    pub(super) fn reached_at(&self, address: SocketAddr, config: &Config) {
        let addresses = match &config.hub.addresses.0 {
            none if none.is_empty() => addresses(address, &config.server.names.0),
            configured => configured.clone(),
        };
        *self.authority.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses.clone();
        self.fleet.set_site(Site { addresses, ..self.site.clone() });
    }

    /// The site's name.
    pub(super) fn site_name(&self) -> &str {
        &self.site.display_name
    }

    /// Learns what other processes of this hub change, lets an old authority go, and gives the server another certificate
    /// before its own ends, until it is dropped.
    pub(super) async fn follow(self, names: Vec<String>, server: Renewal) {
        let certificates = async {
            loop {
                tokio::time::sleep(CERTIFICATES).await;
                if let Err(error) = self.look_at_certificates(&names, &server).await {
                    tracing::warn!(%error, "the certificates cannot be looked at");
                }
            }
        };
        tokio::join!(self.fleet.listen(), certificates);
    }

    async fn look_at_certificates(&self, names: &[String], server: &Renewal) -> anyhow::Result<()> {
        let now = UtcInstant::now();
        let waiting = self.adoptions.end_rotation(now).await?;
        if !waiting.is_empty() {
            tracing::info!(
                terminals = waiting.len(),
                "another authority takes over; terminals have yet to renew"
            );
        }
        // What is shown first, then who is told of it: a terminal trusts only the authorities that it was told of.
        server.renew(&self.identity(names)?)?;
        let authorities = self.authority.authority.certificates(now)?;
        let addresses = self.authority.addresses.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.fleet.set_site(Site { authorities, addresses, ..self.site.clone() });
        Ok(())
    }
}

/// Where terminals reach it, the best first: the names that its certificate is for, then what this machine is called.
fn addresses(address: SocketAddr, names: &[String]) -> Vec<String> {
    let port = address.port();
    let with_port = |name: &str| match name.contains(':') {
        true => format!("[{name}]:{port}"),
        false => format!("{name}:{port}"),
    };
    let mut addresses: Vec<String> = names.iter().map(|name| with_port(name)).collect();
    match address.ip() {
        ip if !ip.is_unspecified() => addresses.push(address.to_string()),
        _ => addresses.extend(host_name().map(|host| with_port(&host.0.to_lowercase()))),
    }
    addresses.dedup();
    addresses
}

/// The site's authority, for adoption.
struct SiteAuthority {
    authority: Authority,
    name: String,
    addresses: RwLock<Vec<String>>,
}

impl AdoptingHub for SiteAuthority {
    fn requested_key(&self, csr: &[u8]) -> Result<[u8; 32], Fault> {
        requested_key_sha256(csr).map_err(|error| error.fault())
    }

    fn sign(&self, csr: &[u8], terminal: TerminalId, now: UtcInstant) -> Result<SignedCertificate, Fault> {
        let leaf = self.authority.sign_terminal(csr, terminal, now).map_err(|error| error.fault())?;
        Ok(SignedCertificate { chain: leaf.chain, not_after: leaf.not_after })
    }

    fn authorities(&self, now: UtcInstant) -> Result<Vec<TrustedAuthority>, Fault> {
        let certificates = self.authority.certificates(now).map_err(|error| error.fault())?;
        let trusted = certificates.into_iter().map(|der| {
            let key_sha256 = key_sha256(&der)
                .ok_or_else(|| Fault::new(Reason::DataDamaged, "the authority's certificate is none"))?;
            Ok(TrustedAuthority { der, key_sha256 })
        });
        trusted.collect()
    }

    fn next_authority(&self, now: UtcInstant) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.authority.next(now).map_err(|error| error.fault())?.map(|next| next.0))
    }

    fn end_rotation(&self, now: UtcInstant) -> Result<(), Fault> {
        self.authority.end_rotation(now).map_err(|error| error.fault())
    }

    fn site(&self) -> Answering<'_, AdoptingSite> {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone();
        let site = AdoptingSite { name: self.name.clone(), addresses };
        Box::pin(async move { Ok(site) })
    }
}

/// The fleet, for adoption and for the gallery.
struct Known(Fleet);

impl Known {
    async fn in_force(&self) -> Result<Vec<TerminalId>, TerminalError> {
        let mut in_force = Vec::new();
        let mut last: Option<(String, TerminalId)> = None;
        loop {
            let after = last.as_ref().map(|(name, id)| (name.as_str(), *id));
            let page = self.0.list(after, PAGE).await?;
            let Some(newest) = page.last() else { return Ok(in_force) };
            last = Some((newest.display_name.clone(), newest.terminal));
            in_force.extend(page.iter().filter(|one| one.revoked.is_none()).map(|one| one.terminal));
        }
    }
}

impl AdoptedTerminals for Known {
    fn register(&self, newcomer: Newcomer, now: UtcInstant) -> Answering<'_, ()> {
        Box::pin(async move {
            let applicant = newcomer.applicant;
            let adopted = Adopted {
                terminal: applicant.terminal,
                hardware: applicant.hardware,
                software: applicant.software,
                address: newcomer.address,
                key: KeyHash::from_bytes(newcomer.key_sha256),
                certificate_expires: newcomer.not_after,
                settings: Settings::first(applicant.display_name),
                by: newcomer.by,
            };
            self.0.register(adopted, now).await.map(|_| ())
        })
    }

    fn renewed(
        &self,
        terminal: TerminalId,
        key_sha256: [u8; 32],
        not_after: UtcInstant,
        _now: UtcInstant,
    ) -> Answering<'_, ()> {
        Box::pin(self.0.renewed(terminal, KeyHash::from_bytes(key_sha256), not_after))
    }

    fn in_force(&self) -> Answering<'_, Vec<TerminalId>> {
        Box::pin(self.in_force())
    }
}

impl Holders for Known {
    fn terminals(&self) -> HoldersFuture<'_> {
        Box::pin(async { self.in_force().await.map_err(|error| error.fault()) })
    }
}

/// Whether a certificate is trusted.
struct Judge {
    fleet: Fleet,
    adoptions: Adoptions,
}

impl Registry for Judge {
    fn judge<'a>(&'a self, shown: &'a ShownCertificate) -> Judgement<'a> {
        Box::pin(async move {
            let key = KeyHash::from_bytes(shown.key_sha256);
            let trust = self.fleet.trust(shown.terminal, key).await.map_err(|error| error.fault())?;
            let words = match trust {
                Trust::Trusted => {
                    let noted =
                        self.adoptions.shown(shown.terminal, &shown.authority.0, UtcInstant::now()).await;
                    return noted.map_err(|error| error.fault());
                }
                Trust::Unknown => "this hub has not adopted this terminal; adopt it",
                Trust::Revoked => "this terminal was revoked; adopt it anew, or take its certificate from it",
                Trust::OtherKey => {
                    "this terminal was adopted again with another key: this is a copy of its card, or an old one; adopt it anew"
                }
            };
            Err(Fault::new(Reason::CredentialsInvalid, words))
        })
    }
}

/// Where events say that one person is another.
struct EventsOf(Attendance);

impl Aliases for EventsOf {
    fn set(&self, old: PersonId, person: PersonId) -> AliasFuture<'_> {
        Box::pin(async move { self.0.set_alias(old, person).await.map_err(|error| error.fault()) })
    }
}

/// What is in backups that were read back.
struct ReadBack(Db);

impl Backups for ReadBack {
    fn newest(&self, log_id: LogId) -> SyncAnswering<'_, Vec<Position>> {
        Box::pin(async move { backups::newest(&self.0, log_id).await.map_err(SyncError::Store) })
    }
}
