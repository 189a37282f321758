//! Erasure: the ledger first, then the database, then the bytes that the database has left behind.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::PoisonError;

use rollcall_core::{ErasureId, PersonId, UtcInstant};
use rollcall_store::{Db, Engine, StoreError, Tx, checkpoint, vacuum};

use super::Gallery;
use crate::GalleryError;
use crate::erasure::{Entry, Erasure, Ledger, Removal};
use crate::keys::{Key, Keys};
use crate::store::{changes, erasures, people, proposals, replica};

impl Gallery {
    /// Removes a person for ever. When it returns, nothing of them is in the database; the answer says whether also the
    /// file is free of what was deleted. Repeating it answers the same.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`]; a ledger or database that cannot be written, and then repeating it goes on.
    pub async fn erase_person(&self, person: PersonId, now: UtcInstant) -> Result<Erasure, GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.read_to_change().await?;
            let done = erasures::of(&mut tx, person).await?;
            if done.is_none() && !people::exists(&mut tx, person).await? {
                return Err(GalleryError::NotFound { name: person.name() });
            }
            // Its moment must not outlast the sweep.
            drop(tx);
            if done.is_none() {
                let devices = gallery.devices().await?;
                let entry = gallery.write_ledger(person, now).await?;
                let mut tx = gallery.begin().await?;
                gallery.remove(&mut tx, &entry, &devices, now).await?;
                gallery.commit(tx).await?;
                tracing::info!(erasure = %entry.removal.erasure, "a person was erased");
            }
            gallery.sweep_or_later(now).await;
            let erasure = erasures::of(&mut gallery.shared.db.read().await?, person).await?;
            erasure.ok_or(GalleryError::Damaged("an erasure"))
        };
        self.shared.writes.run(write).await
    }

    /// Writes the ledger of a database whose file is lost, as on another machine that a backup was put back on, from the
    /// erasures that the database knows. Those that it does not know come from the hub, or at a hub from its terminals.
    /// How many lines it has.
    ///
    /// # Errors
    /// [`GalleryError::Ledger`] when there is a file: set it aside first; a database or file that does not answer.
    pub async fn renew_ledger(db: &Db, key: &Key, path: PathBuf) -> Result<usize, GalleryError> {
        let known = erasures::all(&mut db.read().await?).await?;
        if (1..).zip(&known).any(|(line, (known, _))| line != *known) && db.engine() == Engine::Sqlite {
            return Err(GalleryError::Damaged("the erasures"));
        }
        let key = Keys::of(key).erasures;
        let renew = move || {
            if path.exists() {
                let problem = "is there; set it aside".to_owned();
                return Err(GalleryError::Ledger { place: path.display().to_string(), problem });
            }
            let removals: Vec<Removal> = known.iter().map(|(_, erasure)| erasure.removal()).collect();
            Ok(Ledger::open(&path, key, 0)?.take(&removals)?.len())
        };
        tokio::task::spawn_blocking(renew).await.map_err(|_| StoreError::Panicked)?
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
    /// Where several processes have a ledger each, what the others have removed is written into this one.
    pub(super) async fn keep_away(&self, now: UtcInstant) -> Result<(), GalleryError> {
        let devices = self.devices().await?;
        let gallery = self.clone();
        let write = async move {
            let known = erasures::all(&mut gallery.shared.db.read().await?).await?;
            if gallery.shared.db.engine() == Engine::Postgres {
                gallery
                    .take_into_ledger(known.iter().map(|(_, erasure)| erasure.removal()).collect())
                    .await?;
            }
            let known: HashSet<PersonId> = known.iter().map(|(_, erasure)| erasure.person).collect();
            let entries = gallery.ledger_entries();
            let missing = entries.iter().filter(|entry| !known.contains(&entry.removal.person));
            let missing: Vec<&Entry> = missing.collect();
            if missing.is_empty() {
                return Ok(());
            }
            let mut tx = gallery.begin_upkeep().await?;
            for entry in missing {
                gallery.remove(&mut tx, entry, &devices, now).await?;
            }
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// Sweeps, and says so when that has to wait.
    pub(super) async fn sweep_or_later(&self, now: UtcInstant) {
        if let Err(error) = self.sweep(now).await {
            tracing::warn!(%error, "what was erased is not yet swept from the file; it is tried again");
        }
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
        let mut tx = self.begin_upkeep().await?;
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

    /// Writes removals into the ledger, and gives the lines of those that were not in it.
    pub(super) async fn take_into_ledger(&self, removals: Vec<Removal>) -> Result<Vec<Entry>, GalleryError> {
        let gallery = self.clone();
        let take = move || {
            let mut ledger = gallery.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.take(&removals)
        };
        tokio::task::spawn_blocking(take).await.map_err(|_| StoreError::Panicked)?
    }

    /// Every line of the ledger of this device.
    pub(super) fn ledger_entries(&self) -> Vec<Entry> {
        self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner).entries().to_vec()
    }

    /// Removes a person who is in the ledger, wherever they are, to be confirmed by these devices.
    pub(super) async fn remove(
        &self,
        tx: &mut Tx,
        entry: &Entry,
        devices: &[String],
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let person = entry.removal.person;
        replica::unstage(tx, person).await?;
        proposals::delete(tx, person).await?;
        if erasures::of(tx, person).await?.is_some() {
            return Ok(());
        }
        if people::delete(tx, person).await? {
            changes::record(tx, person, true, now).await?;
        }
        let line = match tx.engine() {
            // The file's: one process has one file.
            Engine::Sqlite => entry.line,
            Engine::Postgres => erasures::next_line(tx).await?,
        };
        Ok(erasures::insert(tx, line, &entry.removal, devices).await?)
    }
}

/// Opens the ledger, and compares it with the erasures that the database knows of. On PostgreSQL other processes write
/// them too: then [`Gallery::keep_away`] brings both to the same.
pub(super) async fn open_ledger(
    path: PathBuf,
    keys: &Keys,
    known: &[(i64, Erasure)],
    engine: Engine,
) -> Result<Ledger, GalleryError> {
    let key = keys.erasures.clone();
    let known = if engine == Engine::Sqlite { known } else { &[] };
    let last = known.last().map_or(0, |(line, _)| *line);
    let place = path.display().to_string();
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&path, key, last)).await;
    let ledger = opened.map_err(|_| StoreError::Panicked)??;
    for (line, erasure) in known {
        let entry = usize::try_from(line - 1).ok().and_then(|at| ledger.entries().get(at));
        let same =
            |entry: &Entry| entry.removal.erasure == erasure.id && entry.removal.person == erasure.person;
        if !entry.is_some_and(same) {
            let problem = format!("is not the one of this database: line {line} is another");
            return Err(GalleryError::Ledger { place, problem });
        }
    }
    Ok(ledger)
}
