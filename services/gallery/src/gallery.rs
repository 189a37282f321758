//! [`Gallery`]: the people of a site, open.
//!
//! What it does is in `gallery/`, by what it is about; each write is one transaction that notes the change in the feed,
//! runs to its end although its caller has gone, and wakes the watchers once it is committed.

mod changes;
mod consents;
mod credentials;
mod enrolment;
mod erasures;
#[cfg(test)]
mod face_tests;
mod faces;
mod groups;
mod history;
mod imports;
mod ledger;
mod mismatches;
mod moment;
mod people;
mod proposals;
mod recognition;
mod replica;
mod retry;
mod roster;
mod rows;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use rollcall_core::{Fault, GalleryId, PersonId, SiteZone, TerminalId, UtcInstant, limits};
use rollcall_store::{Db, Migration, Tx, Writes};
use tokio::sync::{Semaphore, watch};

pub(crate) use enrolment::Enrolled;
pub(crate) use mismatches::{Evidence, Report};
pub(crate) use people::{NameKey, PeopleFilter};
pub(crate) use recognition::{AlikePair, Identified};

pub use changes::Changes;
pub use enrolment::EnrolOptions;
pub use history::{CameBack, Outcome as CameBackAs, TakenBack};
pub use imports::Imported;
pub use ledger::{Holders, HoldersFuture};
pub use moment::{Moment, Snapshot, in_chunks};
pub use proposals::{AliasFuture, Aliases, Proposal};
pub use retry::Retry;
pub use roster::Counts;

use crate::GalleryError;
use crate::erasure::Ledger;
use crate::keys::{Key, Keys};
use crate::recogniser::Recogniser;
use crate::set_hashes::SetHashes;
use crate::store::{self, changes as head, replica as stored_replica, schema};

/// The people of a site. A clone is another handle to the same.
#[derive(Clone)]
pub struct Gallery {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles share.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) writes: Writes,
    pub(crate) keys: Keys,
    is_hub: bool,
    zone: RwLock<SiteZone>,
    newest: watch::Sender<i64>,
    recogniser: OnceLock<Arc<Recogniser>>,
    watchers: Arc<Semaphore>,
    imports: Semaphore,
    ledger: Mutex<Ledger>,
    device: String,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    holders: OnceLock<Arc<dyn Holders>>,
    aliases: OnceLock<Arc<dyn Aliases>>,
    set_hashes: SetHashes,
    snapshots: Arc<Semaphore>,
}

/// What the rest of the program knows of people: an erasure counts when that is gone too.
pub trait Elsewhere: Send + Sync + 'static {
    /// Removes all that is known of a person beside the gallery, bytes left behind by the database included. Repeated
    /// until it has succeeded.
    ///
    /// # Errors
    /// When something may be left.
    fn forget(&self, person: PersonId) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + '_>>;
}

/// What a gallery is opened with.
pub struct GalleryOptions {
    /// A database with `rollcall_store::requests::MIGRATIONS` and [`Gallery::migrations`].
    pub db: Db,
    /// The writes of the program.
    pub writes: Writes,
    /// The secret of this site.
    pub key: Key,
    /// Whose days consents and last days are in.
    pub zone: SiteZone,
    /// The erasure ledger: a file in the data folder that no backup has.
    pub erasures: PathBuf,
    /// The terminal that this is; `None`: the hub.
    pub terminal: Option<TerminalId>,
}

impl Gallery {
    /// The tables of the gallery.
    pub fn migrations() -> &'static [Migration] {
        schema::MIGRATIONS
    }

    /// Opens the gallery in a database: whoever is in the erasure ledger is removed from it, and what has ended by its
    /// date is ended.
    ///
    /// # Errors
    /// [`GalleryError::Ledger`] when it is not known who was erased; a database or file that does not answer.
    pub async fn open(options: GalleryOptions, now: UtcInstant) -> Result<Self, GalleryError> {
        Self::open_with(options, None, now).await
    }

    /// The same for a program that knows of people elsewhere too.
    ///
    /// # Errors
    /// As [`Gallery::open`], and when what is known elsewhere could not be removed.
    pub async fn open_with(
        options: GalleryOptions,
        elsewhere: Option<Arc<dyn Elsewhere>>,
        now: UtcInstant,
    ) -> Result<Self, GalleryError> {
        let GalleryOptions { db, writes, key, zone, erasures, terminal } = options;
        let keys = Keys::of(&key);
        let mut tx = head::begin(&db).await?;
        head::gallery_id(&mut tx).await?;
        let newest = head::newest(&mut tx).await?;
        let known = store::erasures::all(&mut tx).await?;
        tx.commit().await?;
        let shared = Shared {
            ledger: Mutex::new(erasures::open_ledger(erasures, &keys, &known, db.engine()).await?),
            db,
            writes,
            keys,
            is_hub: terminal.is_none(),
            zone: RwLock::new(zone.clone()),
            newest: watch::Sender::new(newest),
            recogniser: OnceLock::new(),
            watchers: Arc::new(Semaphore::new(limits::GALLERY_WATCHERS)),
            imports: Semaphore::new(1),
            device: terminal.map_or_else(|| "hub".to_owned(), TerminalId::name),
            elsewhere,
            holders: OnceLock::new(),
            aliases: OnceLock::new(),
            set_hashes: SetHashes::default(),
            snapshots: Arc::new(Semaphore::new(limits::GALLERY_SNAPSHOTS)),
        };
        let gallery = Self { shared: Arc::new(shared) };
        gallery.begin_rows(now).await?;
        gallery.keep_away(now).await?;
        gallery.set_zone(zone, now).await?;
        gallery.expire(now).await?;
        Ok(gallery)
    }

    /// Which unbroken history of a gallery this is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn gallery_id(&self) -> Result<GalleryId, GalleryError> {
        Ok(store::rows::head(&mut self.shared.db.read().await?).await?.gallery)
    }

    /// Whether this is the gallery of a hub.
    pub fn is_hub(&self) -> bool {
        self.shared.is_hub
    }

    pub(crate) fn demand_hub(&self) -> Result<(), GalleryError> {
        match self.is_hub() {
            true => Ok(()),
            false => Err(GalleryError::HubAlone),
        }
    }

    fn demand_terminal(&self) -> Result<(), GalleryError> {
        match self.is_hub() {
            true => Err(GalleryError::State("a hub belongs to no hub".to_owned())),
            false => Ok(()),
        }
    }

    /// The newest revision, and each newer one as it is committed.
    pub fn revisions(&self) -> watch::Receiver<i64> {
        self.shared.newest.subscribe()
    }

    /// Whose days consents and last days are in.
    pub fn zone(&self) -> SiteZone {
        self.shared.zone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves the site to another zone, and reckons anew until when everybody's consent is in force.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_zone(&self, zone: SiteZone, now: UtcInstant) -> Result<(), GalleryError> {
        let name = zone.name().to_owned();
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
        self.reckon_in(name, now).await
    }

    /// Begins to change the gallery as somebody asks. End it with [`Gallery::commit`].
    ///
    /// # Errors
    /// [`GalleryError::Adopted`] at a terminal that belongs to a hub.
    pub(crate) async fn begin(&self) -> Result<Tx, GalleryError> {
        let mut tx = self.begin_upkeep().await?;
        self.demand_own(&mut tx).await?;
        Ok(tx)
    }

    /// Begins to change the gallery as it must be, whomever it belongs to: what ends by its date, what a hub says.
    pub(crate) async fn begin_upkeep(&self) -> Result<Tx, GalleryError> {
        Ok(head::begin(&self.shared.db).await?)
    }

    /// Begins to read before a change is asked for, of which nothing may come at a terminal that belongs to a hub.
    ///
    /// # Errors
    /// As [`Gallery::begin`].
    pub(crate) async fn read_to_change(&self) -> Result<Tx, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        self.demand_own(&mut tx).await?;
        Ok(tx)
    }

    async fn demand_own(&self, tx: &mut Tx) -> Result<(), GalleryError> {
        if self.is_hub() {
            return Ok(());
        }
        match stored_replica::hub(tx).await? {
            Some(hub) => Err(GalleryError::Adopted { hub: hub.address }),
            None => Ok(()),
        }
    }

    /// Brings a hub's rows up to what has changed, commits, and wakes the watchers.
    pub(crate) async fn commit(&self, mut tx: Tx) -> Result<(), GalleryError> {
        self.keep_rows(&mut tx).await?;
        let newest = head::newest(&mut tx).await?;
        tx.commit().await?;
        self.shared.newest.send_if_modified(|seen| {
            let newer = newest > *seen;
            *seen = newest.max(*seen);
            newer
        });
        Ok(())
    }
}
