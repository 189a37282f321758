//! The feed of changes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use rollcall_core::limits;
use rollcall_store::{Engine, Tx};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Gallery;
use crate::GalleryError;
use crate::change::Change;
use crate::store::changes;

/// Changes as they happen. It ends with an error only.
pub type Changes = Pin<Box<dyn Stream<Item = Result<Change, GalleryError>> + Send>>;

/// Changes that are read at once.
const BATCH: i64 = 500;

/// How long a change of another process on the same PostgreSQL may stay unseen. SQLite has one process.
const POLL: Duration = Duration::from_secs(2);

struct Watcher {
    gallery: Gallery,
    newest: watch::Receiver<i64>,
    /// The last that was read; 0: none.
    last: i64,
    read: VecDeque<Change>,
    _permit: OwnedSemaphorePermit,
}

impl Gallery {
    /// Every change after a revision, then each as it is committed; after 0 all that are kept.
    ///
    /// # Errors
    /// [`GalleryError::CursorAhead`], [`GalleryError::CursorExpired`], too many watchers.
    pub async fn watch_changes(&self, after: i64) -> Result<Changes, GalleryError> {
        if after < 0 {
            return Err(GalleryError::invalid("revision", "is negative; give 0 or the last one seen"));
        }
        let permit = self.shared.watchers.clone().try_acquire_owned().map_err(|_| GalleryError::Limit {
            what: "watchers of the gallery at once",
            limit: limits::GALLERY_WATCHERS,
        })?;
        let newest = self.revisions();
        check_cursor(&mut self.shared.db.read().await?, after).await?;
        let watcher =
            Watcher { gallery: self.clone(), newest, last: after, read: VecDeque::new(), _permit: permit };
        Ok(Box::pin(try_unfold(watcher, async |mut watcher: Watcher| {
            let change = watcher.next().await?;
            Ok(Some((change, watcher)))
        })))
    }
}

async fn check_cursor(tx: &mut Tx, after: i64) -> Result<(), GalleryError> {
    let newest = changes::newest(tx).await?;
    if after > newest {
        return Err(GalleryError::CursorAhead { given: after, newest });
    }
    let next = changes::after(tx, after, 1).await?;
    check_unbroken(after, next.first(), newest)
}

/// Revisions have no gaps: when the next that is kept is not the next that was made, some are gone.
fn check_unbroken(last: i64, next: Option<&Change>, newest: i64) -> Result<(), GalleryError> {
    match next {
        Some(next) if last > 0 && next.revision != last + 1 => {
            Err(GalleryError::CursorExpired { oldest: next.revision, newest })
        }
        _ => Ok(()),
    }
}

impl Watcher {
    async fn next(&mut self) -> Result<Change, GalleryError> {
        loop {
            if let Some(change) = self.read.pop_front() {
                self.last = change.revision;
                return Ok(change);
            }
            // Before reading: what is committed after this wakes us again.
            let newest = *self.newest.borrow_and_update();
            let mut tx = self.gallery.shared.db.read().await?;
            let read = changes::after(&mut tx, self.last, BATCH).await?;
            drop(tx);
            check_unbroken(self.last, read.first(), newest)?;
            self.read = read.into();
            if self.read.is_empty() {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        // The sender lives as long as the gallery that we hold.
        let changed = self.newest.changed();
        match self.gallery.shared.db.engine() {
            Engine::Sqlite => drop(changed.await),
            Engine::Postgres => drop(tokio::time::timeout(POLL, changed).await),
        }
    }
}
