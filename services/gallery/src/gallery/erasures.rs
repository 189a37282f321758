//! Erasure: the ledger first, then the database, then the bytes that the database has left behind.

use std::path::PathBuf;
use std::sync::PoisonError;

use rollcall_core::{ErasureId, PersonId, UtcInstant};
use rollcall_store::{StoreError, Tx, checkpoint, vacuum};

use super::Gallery;
use crate::GalleryError;
use crate::erasure::{Entry, Erasure, Ledger};
use crate::keys::Keys;
use crate::store::{changes, erasures, people};

impl Gallery {
    /// Removes a person for ever. When it returns, nothing of them is in the database; the answer says whether also the
    /// file is free of what was deleted. Repeating it answers the same.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`]; a ledger or database that cannot be written, and then repeating it goes on.
    pub async fn erase_person(&self, person: PersonId, now: UtcInstant) -> Result<Erasure, GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.shared.db.read().await?;
            let done = erasures::of(&mut tx, person).await?;
            if done.is_none() && !people::exists(&mut tx, person).await? {
                return Err(GalleryError::NotFound { name: person.name() });
            }
            // Its moment must not outlast the sweep.
            drop(tx);
            if done.is_none() {
                let entry = gallery.write_ledger(person, now).await?;
                let mut tx = gallery.begin().await?;
                gallery.remove(&mut tx, &entry, now).await?;
                gallery.commit(tx).await?;
                tracing::info!(erasure = %entry.erasure, "a person was erased");
            }
            if let Err(error) = gallery.sweep(now).await {
                tracing::warn!(%error, "what was erased is not yet swept from the file; it is tried again");
            }
            let erasure = erasures::of(&mut gallery.shared.db.read().await?, person).await?;
            erasure.ok_or(GalleryError::Damaged("an erasure"))
        };
        self.shared.writes.run(write).await
    }

    /// One erasure.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`].
    pub async fn erasure(&self, erasure: ErasureId) -> Result<Erasure, GalleryError> {
        let found = erasures::get(&mut self.shared.db.read().await?, erasure).await?;
        found.ok_or_else(|| GalleryError::NotFound { name: erasure.name() })
    }

    /// At most `limit` erasures before this key, newest first.
    pub(crate) async fn erasures(
        &self,
        before: Option<(i64, ErasureId)>,
        limit: usize,
    ) -> Result<Vec<Erasure>, GalleryError> {
        erasures::page(&mut self.shared.db.read().await?, before, limit).await
    }

    /// Removes everybody who is in the ledger and not yet in the erasures of the database, which may be an older copy.
    pub(super) async fn keep_away(&self, now: UtcInstant) -> Result<(), GalleryError> {
        let entries = {
            let ledger = self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.entries().to_vec()
        };
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            let known = erasures::all(&mut tx).await?.len();
            // The first lines are the known ones: `open_ledger` has compared them.
            for entry in entries.iter().skip(known) {
                gallery.remove(&mut tx, entry, now).await?;
            }
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// Frees the file of what was deleted from it, and notes that the erasures have taken effect on this device. Does
    /// nothing when there is none that has not.
    pub(super) async fn sweep(&self, now: UtcInstant) -> Result<(), GalleryError> {
        let shared = &self.shared;
        let pending = erasures::unconfirmed(&mut shared.db.read().await?, &shared.device).await?;
        if pending.is_empty() {
            return Ok(());
        }
        if let Some(elsewhere) = &shared.elsewhere {
            for erasure in &pending {
                let person = self.erasure(*erasure).await?.person;
                elsewhere.forget(person).await.map_err(GalleryError::Elsewhere)?;
            }
        }
        vacuum(&shared.db).await?;
        checkpoint(&shared.db).await?;
        let mut tx = self.begin().await?;
        erasures::confirm(&mut tx, &pending, &shared.device, now).await?;
        self.commit(tx).await
    }

    /// The line of a person in the ledger, synced.
    async fn write_ledger(&self, person: PersonId, now: UtcInstant) -> Result<Entry, GalleryError> {
        let gallery = self.clone();
        let append = move || {
            let mut ledger = gallery.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.append(person, now)
        };
        tokio::task::spawn_blocking(append).await.map_err(|_| StoreError::Panicked)?
    }

    async fn remove(&self, tx: &mut Tx, entry: &Entry, now: UtcInstant) -> Result<(), GalleryError> {
        if erasures::of(tx, entry.person).await?.is_some() {
            return Ok(());
        }
        if people::delete(tx, entry.person).await? {
            changes::record(tx, entry.person, true, now).await?;
        }
        Ok(erasures::insert(tx, entry, &self.shared.device).await?)
    }
}

/// Opens the ledger, and compares it with the erasures that the database knows of.
pub(super) async fn open_ledger(
    path: PathBuf,
    keys: &Keys,
    known: &[(i64, Erasure)],
) -> Result<Ledger, GalleryError> {
    let key = keys.erasures.clone();
    let last = known.last().map_or(0, |(line, _)| *line);
    let place = path.display().to_string();
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&path, key, last)).await;
    let ledger = opened.map_err(|_| StoreError::Panicked)??;
    for ((line, erasure), entry) in known.iter().zip(ledger.entries()) {
        if *line != entry.line || erasure.id != entry.erasure || erasure.person != entry.person {
            let problem = format!("is not the one of this database: line {line} is another");
            return Err(GalleryError::Ledger { place, problem });
        }
    }
    Ok(ledger)
}
