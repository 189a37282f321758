//! [`Gallery`]: the people of a site, open.
//!
//! What it does is in `gallery/`, by what it is about; each write is one transaction that notes the change in the feed,
//! runs to its end although its caller has gone, and wakes the watchers once it is committed.

mod enrolment;
mod faces;
mod mismatches;
mod recognition;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rollcall_core::{GalleryId, SiteZone};
use rollcall_store::{Db, Migration, Tx, Writes};
use tokio::sync::watch;

use crate::GalleryError;
use crate::keys::{Key, Keys};
use crate::recogniser::Recogniser;
use crate::store::{changes, schema};

pub use enrolment::EnrolOptions;
pub(crate) use enrolment::Enrolled;
pub(crate) use mismatches::Evidence;
pub(crate) use recognition::Identified;

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
    gallery_id: GalleryId,
    zone: RwLock<SiteZone>,
    newest: watch::Sender<i64>,
    recogniser: OnceLock<Arc<Recogniser>>,
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
}

impl Gallery {
    /// The tables of the gallery.
    pub fn migrations() -> &'static [Migration] {
        schema::MIGRATIONS
    }

    /// Opens the gallery in a database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(options: GalleryOptions) -> Result<Self, GalleryError> {
        let mut tx = changes::begin(&options.db).await?;
        let gallery_id = changes::gallery_id(&mut tx).await?;
        let newest = changes::newest(&mut tx).await?;
        tx.commit().await?;
        let shared = Shared {
            db: options.db,
            writes: options.writes,
            keys: Keys::of(&options.key),
            gallery_id,
            zone: RwLock::new(options.zone),
            newest: watch::Sender::new(newest),
            recogniser: OnceLock::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Which unbroken history of a gallery this is.
    pub fn gallery_id(&self) -> GalleryId {
        self.shared.gallery_id
    }

    /// The newest revision, and each newer one as it is committed.
    pub fn revisions(&self) -> watch::Receiver<i64> {
        self.shared.newest.subscribe()
    }

    /// Whose days consents and last days are in.
    pub fn zone(&self) -> SiteZone {
        self.shared.zone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to change the gallery. End it with [`Gallery::commit`].
    pub(crate) async fn begin(&self) -> Result<Tx, GalleryError> {
        Ok(changes::begin(&self.shared.db).await?)
    }

    /// Commits, and wakes the watchers when the gallery has changed.
    pub(crate) async fn commit(&self, mut tx: Tx) -> Result<(), GalleryError> {
        let newest = changes::newest(&mut tx).await?;
        tx.commit().await?;
        self.shared.newest.send_if_modified(|seen| {
            let newer = newest > *seen;
            *seen = newest.max(*seen);
            newer
        });
        Ok(())
    }
}
