//! What a hub tells its terminals, all of one moment.

use std::collections::{HashMap, VecDeque};

use prost::Message as _;
use rollcall_core::{PersonId, limits};
use rollcall_proto::v1;
use rollcall_store::Tx;
use tokio::sync::OwnedSemaphorePermit;

use super::Gallery;
use crate::change::Change;
use crate::recogniser::off_runtime;
use crate::scope::Scope;
use crate::store::rows::{self, StoredRow};
use crate::store::{changes, proposals};
use crate::{GalleryError, RecogniseError, SealError, SetHash};

/// One moment of a hub's gallery. Not to be held while somebody is waited for: an erasure waits for it.
pub struct Moment {
    gallery: Gallery,
    tx: Tx,
}

/// All people of a scope as they were at one moment, to be sent.
pub struct Snapshot {
    gallery: Gallery,
    state: v1::GalleryState,
    count: usize,
    rows: VecDeque<StoredRow>,
    /// Whom terminals knew before they were adopted, and nobody took in.
    removed: Vec<v1::GalleryRow>,
    _permit: OwnedSemaphorePermit,
}

impl Gallery {
    /// The gallery as it is now.
    ///
    /// # Errors
    /// Not at a hub; a database that does not answer.
    pub async fn moment(&self) -> Result<Moment, GalleryError> {
        self.demand_hub()?;
        Ok(Moment { gallery: self.clone(), tx: self.shared.db.read().await? })
    }

    /// Everybody of a scope, to be sent in pieces. Waits while [`limits::GALLERY_SNAPSHOTS`] others are being sent.
    ///
    /// # Errors
    /// Not at a hub; a database that does not answer.
    pub async fn snapshot(&self, scope: &Scope) -> Result<Snapshot, GalleryError> {
        let permit = self.shared.snapshots.clone().acquire_owned().await;
        let permit = permit.map_err(|_| rollcall_store::StoreError::Stopping)?;
        let mut moment = self.moment().await?;
        let state = moment.state(scope).await?;
        let rows = moment.everybody(scope).await?;
        let removed = proposals::not_taken_in(&mut moment.tx).await?;
        let removed: Vec<_> = removed.into_iter().map(|person| removed_at(person, state.revision)).collect();
        let count = rows.len() + removed.len();
        Ok(Snapshot { gallery: self.clone(), state, count, rows: rows.into(), removed, _permit: permit })
    }
}

impl Moment {
    /// Where the gallery is, and the hash of the people of this scope.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn state(&mut self, scope: &Scope) -> Result<v1::GalleryState, GalleryError> {
        let head = rows::head(&mut self.tx).await?;
        let history_hash = head.history_hash.ok_or(GalleryError::Damaged("the gallery's history"))?;
        let known = self.gallery.shared.set_hashes.get(scope, head.gallery, head.revision);
        let set_hash = match known {
            Some(set_hash) => set_hash,
            None => {
                let sum: SetHash = rows::hashes(&mut self.tx, &scope.groups()).await?.iter().collect();
                self.gallery.shared.set_hashes.put(scope, head.gallery, head.revision, sum);
                sum
            }
        };
        Ok(v1::GalleryState {
            gallery_id: head.gallery.to_bytes().to_vec().into(),
            revision: head.revision.unsigned_abs(),
            set_hash: set_hash.to_bytes().to_vec().into(),
            history_hash: history_hash.to_vec().into(),
            scope: scope.hash().to_vec().into(),
        })
    }

    /// The chain over all changes up to a revision; `None` when there is no such, or it is no longer kept. Then there is
    /// nothing to go on from, and a terminal is sent a snapshot.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn history_hash_at(&mut self, revision: u64) -> Result<Option<[u8; 32]>, GalleryError> {
        match i64::try_from(revision) {
            Ok(revision) => rows::link(&mut self.tx, revision).await,
            Err(_) => Ok(None),
        }
    }

    /// The lowest revision that a terminal can go on from change by change.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn oldest_change(&mut self) -> Result<u64, GalleryError> {
        Ok(rows::oldest_link(&mut self.tx).await?.unwrap_or(0).unsigned_abs())
    }

    /// The people who changed after a revision, as they are now, in the order of their last change; whoever is gone, or
    /// in none of the groups of the scope, as one to be removed. `None` when that is more than a terminal takes in at
    /// once: then a snapshot is less work.
    ///
    /// # Errors
    /// A database that does not answer; a row that does not open.
    pub async fn rows_after(
        &mut self,
        revision: u64,
        scope: &Scope,
    ) -> Result<Option<Vec<v1::GalleryRow>>, GalleryError> {
        let Ok(revision) = i64::try_from(revision) else { return Ok(Some(Vec::new())) };
        let most = i64::try_from(limits::GALLERY_DELTA_CHANGES).unwrap_or(i64::MAX);
        let changes = changes::after(&mut self.tx, revision, most + 1).await?;
        if changes.len() > limits::GALLERY_DELTA_CHANGES {
            return Ok(None);
        }
        let last: HashMap<PersonId, i64> =
            changes.iter().map(|change| (change.person, change.revision)).collect();
        let people: Vec<PersonId> = last.keys().copied().collect();
        let mut stored = HashMap::new();
        for page in people.chunks(limits::PAGE_SIZE) {
            let rows = rows::of(&mut self.tx, page, &scope.groups()).await?;
            stored.extend(rows.into_iter().map(|row| (row.person, row)));
        }
        let size_bytes: usize = stored.values().map(|row| row.sealed.len()).sum();
        if size_bytes > limits::GALLERY_DELTA_SIZE_BYTES {
            return Ok(None);
        }
        let gallery = self.gallery.clone();
        let rows = off_runtime(move || {
            let newest = changes.iter().filter(|change| last.get(&change.person) == Some(&change.revision));
            newest.map(|change| row_of(&gallery, change, stored.get(&change.person))).collect()
        });
        let rows: Result<Vec<v1::GalleryRow>, SealError> = rows.await?;
        Ok(Some(rows.map_err(RecogniseError::from)?))
    }

    async fn everybody(&mut self, scope: &Scope) -> Result<Vec<StoredRow>, GalleryError> {
        let groups = scope.groups();
        let mut everybody: Vec<StoredRow> = Vec::new();
        loop {
            let last = everybody.last().map(|row| row.person);
            let page = rows::page(&mut self.tx, &groups, last, limits::PAGE_SIZE).await?;
            let done = page.len() < limits::PAGE_SIZE;
            everybody.extend(page);
            if done {
                return Ok(everybody);
            }
        }
    }
}

fn row_of(
    gallery: &Gallery,
    change: &Change,
    stored: Option<&StoredRow>,
) -> Result<v1::GalleryRow, SealError> {
    match stored {
        Some(stored) => gallery.open_row(stored),
        None => Ok(removed_at(change.person, change.revision.unsigned_abs())),
    }
}

/// That somebody is not at a terminal any more.
fn removed_at(person: PersonId, revision: u64) -> v1::GalleryRow {
    v1::GalleryRow {
        revision,
        person_id: person.to_bytes().to_vec().into(),
        change: Some(v1::gallery_row::Change::Erase(true)),
        ..Default::default()
    }
}

impl Snapshot {
    /// What comes before the rows.
    pub fn begin(&self) -> v1::SnapshotBegin {
        let row_count = i64::try_from(self.count).unwrap_or(i64::MAX);
        v1::SnapshotBegin { state: Some(self.state.clone()), row_count }
    }

    /// The next rows, at most [`limits::GALLERY_CHUNK_SIZE_BYTES`] of them; `None` after the last.
    ///
    /// # Errors
    /// A row that does not open.
    pub async fn next(&mut self) -> Result<Option<v1::GalleryRows>, GalleryError> {
        let mut size_bytes = 0;
        let mut stored = Vec::new();
        while let Some(row) = self.rows.pop_front() {
            size_bytes += row.sealed.len();
            stored.push(row);
            let next = self.rows.front().map_or(0, |next| next.sealed.len());
            if size_bytes + next > limits::GALLERY_CHUNK_SIZE_BYTES {
                break;
            }
        }
        if stored.is_empty() {
            let rest = self.removed.len().min(limits::PAGE_SIZE);
            let rows: Vec<v1::GalleryRow> = self.removed.drain(..rest).collect();
            return Ok((!rows.is_empty()).then_some(v1::GalleryRows { rows }));
        }
        let gallery = self.gallery.clone();
        let rows = off_runtime(move || stored.iter().map(|row| gallery.open_row(row)).collect());
        let rows: Result<Vec<v1::GalleryRow>, SealError> = rows.await?;
        Ok(Some(v1::GalleryRows { rows: rows.map_err(RecogniseError::from)? }))
    }

    /// What comes after the rows.
    pub fn end(&self) -> v1::GalleryState {
        self.state.clone()
    }
}

/// Rows in messages of at most [`limits::GALLERY_CHUNK_SIZE_BYTES`], in their order.
pub fn in_chunks(rows: Vec<v1::GalleryRow>) -> Vec<v1::GalleryRows> {
    let mut chunks: Vec<v1::GalleryRows> = Vec::new();
    let mut room = 0;
    for row in rows {
        let size_bytes = row.encoded_len();
        match chunks.last_mut().filter(|_| size_bytes <= room) {
            Some(chunk) => chunk.rows.push(row),
            None => {
                room = limits::GALLERY_CHUNK_SIZE_BYTES;
                chunks.push(v1::GalleryRows { rows: vec![row] });
            }
        }
        room = room.saturating_sub(size_bytes);
    }
    chunks
}
