//! A terminal that belongs to a hub: the hub's people take their place beside its own, and nothing is changed here.
//!
//! What came is applied in one transaction with where the hub said that it leads: the former people are matched until it
//! is committed, and a stream that is cut changes nothing. A snapshot comes in beside them and is then swapped for them;
//! only who differs is put in place anew. The hub's people are in the ordinary tables, so that the index, the desk and
//! the lists see no difference; the row as it came is kept beside, sealed, for a hub that lost it.
//!
//! People of the device itself, from before it was adopted, stay until the hub says what became of them: a row with the
//! same id takes their place, a removal removes them.
//!
//! What ends by its date ends here without a network: templates at `face_until_us`, everything at `leave_us`. Then the
//! kept row goes too, and such a person cannot be given back to a hub that lost them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use prost::bytes::Bytes;
use rollcall_core::{GalleryId, GroupId, PersonId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_store::{Tx, checkpoint, vacuum};

use super::Gallery;
use crate::keys::Key;
use crate::recogniser::{TEMPLATE_TABLE, off_runtime};
use crate::row::{Row, Told, Upsert};
use crate::seal::{Place, Seal};
use crate::store::replica::{self, Arrival, Position};
use crate::store::rows::{self, StoredRow};
use crate::store::{changes, erasures};
use crate::{GalleryError, RecogniseError, SealError, SetHash};

/// People put in place at once.
const BATCH: usize = 200;

/// What the hub says that the people here are to be.
struct Target {
    position: Position,
    set_hash: SetHash,
}

impl Gallery {
    /// From now on this terminal belongs to the hub at this address, `host:port`: every change is refused with it.
    /// `credential_key` verifies the credentials of the hub's people; `None` leaves the one that is known.
    ///
    /// # Errors
    /// At a hub; a database that does not answer.
    pub async fn belong_to(&self, address: &str, credential_key: Option<Key>) -> Result<(), GalleryError> {
        self.demand_terminal()?;
        let gallery = self.clone();
        let address = address.to_owned();
        let write = async move {
            let sealed = credential_key.map(|key| key.sealed_for(&gallery.shared.keys.templates)).transpose();
            let sealed = sealed.map_err(RecogniseError::from)?;
            let mut tx = gallery.begin_upkeep().await?;
            replica::set_hub(&mut tx, &address, sealed.as_deref()).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// What verifies the credentials of this gallery: a hub tells its terminals.
    pub fn credential_key(&self) -> [u8; 32] {
        *self.shared.keys.credentials.bytes()
    }

    /// The address of the hub that this terminal belongs to.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn hub(&self) -> Result<Option<String>, GalleryError> {
        let hub = replica::hub(&mut self.shared.db.read().await?).await?;
        Ok(hub.map(|hub| hub.address))
    }

    /// The key that verifies the credentials of the hub's people.
    pub(super) async fn hubs_credential_key(&self, tx: &mut Tx) -> Result<Option<Key>, GalleryError> {
        let sealed = replica::hub(tx).await?.and_then(|hub| hub.credential_key);
        let key = sealed.map(|sealed| Key::opened_on(&self.shared.keys.templates, &sealed)).transpose();
        Ok(key.map_err(RecogniseError::from)?)
    }

    /// What this terminal has of its hub: where it was told to be, and the hash of the people who are here. The default
    /// when nothing was pulled yet.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn replica_state(&self) -> Result<v1::GalleryState, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        let Some(told) = replica::hub(&mut tx).await?.and_then(|hub| hub.told) else {
            return Ok(v1::GalleryState::default());
        };
        let set_hash: SetHash = rows::hashes(&mut tx, &[]).await?.iter().collect();
        Ok(v1::GalleryState {
            gallery_id: told.gallery.to_bytes().to_vec().into(),
            revision: told.revision.unsigned_abs(),
            set_hash: set_hash.to_bytes().to_vec().into(),
            history_hash: told.history_hash.to_vec().into(),
            scope: told.scope.to_vec().into(),
        })
    }

    /// Takes in the people who changed, all that lead to this state.
    ///
    /// # Errors
    /// [`GalleryError::Row`] for what is no row; [`GalleryError::SetHash`] when the people here would not be the hub's,
    /// and then a snapshot is to be pulled. Nothing is changed then.
    pub async fn apply_delta(
        &self,
        rows: Vec<v1::GalleryRow>,
        state: v1::GalleryState,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let target = Target::read(&state)?;
        let rows = self.read_rows_of_hub(rows).await?;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            let told = demand_adopted(&mut tx).await?;
            let goes_on = |told: &Position| {
                told.gallery == target.position.gallery && told.scope == target.position.scope
            };
            if !told.as_ref().is_some_and(goes_on) {
                return Err(target.missed());
            }
            // The last word on each person.
            let rows: BTreeMap<PersonId, Row> = rows.into_iter().map(|row| (row.person, row)).collect();
            let erased = erasures::among(&mut tx, &rows.keys().copied().collect::<Vec<_>>()).await?;
            let rows = rows.into_values().filter(|row| !erased.contains(&row.person));
            let (stay, gone): (Vec<Row>, Vec<Row>) = rows.partition(|row| row.upsert.is_some());
            let gone: Vec<PersonId> = gone.into_iter().map(|row| row.person).collect();
            let staying: Vec<PersonId> = stay.iter().map(|row| row.person).collect();
            let created = gallery.clear(&mut tx, &staying, &gone, now).await?;
            let sealing = gallery.clone();
            let arrivals = off_runtime(move || sealing.arrivals(stay, &created, now)).await?;
            gallery.arrive(&mut tx, arrivals.map_err(RecogniseError::from)?, now).await?;
            let here: SetHash = rows::hashes(&mut tx, &[]).await?.iter().collect();
            if here != target.set_hash {
                return Err(target.missed());
            }
            replica::remove_empty_groups(&mut tx).await?;
            replica::set_position(&mut tx, Some(&target.position)).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// Makes room for a snapshot to come in. What came of an earlier one is dropped.
    ///
    /// # Errors
    /// When this terminal belongs to no hub; a database that does not answer.
    pub async fn begin_snapshot(&self) -> Result<(), GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            demand_adopted(&mut tx).await?;
            replica::clear_stage(&mut tx).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// Takes rows of the snapshot that is coming in. Nobody is matched by them yet.
    ///
    /// # Errors
    /// [`GalleryError::Row`]: nothing of these is taken.
    pub async fn take_snapshot_rows(&self, rows: Vec<v1::GalleryRow>) -> Result<(), GalleryError> {
        let rows = self.read_rows_of_hub(rows).await?;
        let gallery = self.clone();
        let sealing = self.clone();
        let (kept, removed) = off_runtime(move || {
            let removed: Vec<_> = rows
                .iter()
                .filter(|row| row.upsert.is_none())
                .map(|row| (row.person, row.revision))
                .collect();
            let kept = rows.iter().filter_map(|row| Some(sealing.stored(row, row.upsert.as_ref()?)));
            Ok::<_, SealError>((kept.collect::<Result<Vec<StoredRow>, _>>()?, removed))
        })
        .await?
        .map_err(RecogniseError::from)?;
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            demand_adopted(&mut tx).await?;
            replica::stage(&mut tx, &kept, &removed).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// Puts the snapshot that has come in in the place of the hub's people here.
    ///
    /// # Errors
    /// [`GalleryError::SetHash`] when what came is not all of it; nothing is changed then.
    pub async fn swap_snapshot(&self, state: v1::GalleryState, now: UtcInstant) -> Result<(), GalleryError> {
        let target = Target::read(&state)?;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            demand_adopted(&mut tx).await?;
            let came: SetHash = replica::staged_hashes(&mut tx).await?.iter().collect();
            if came != target.set_hash {
                return Err(target.missed());
            }
            replica::drop_erased(&mut tx).await?;
            let gone = replica::gone(&mut tx).await?;
            let differing = replica::differing(&mut tx).await?;
            let created = gallery.clear(&mut tx, &differing, &gone, now).await?;
            for people in differing.chunks(BATCH) {
                let staged = replica::staged(&mut tx, people).await?;
                let (opening, created) = (gallery.clone(), created.clone());
                let arrivals = off_runtime(move || {
                    let arrival = |row| opening.arrival_of_stored(row, &created, now);
                    staged.into_iter().map(arrival).collect::<Result<Vec<_>, _>>()
                });
                gallery.arrive(&mut tx, arrivals.await??, now).await?;
            }
            replica::renew_same(&mut tx).await?;
            replica::clear_stage(&mut tx).await?;
            replica::remove_empty_groups(&mut tx).await?;
            replica::set_position(&mut tx, Some(&target.position)).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// The rows of the hub's people here, as they came, after this person; and whom to go on after. At most
    /// [`limits::GALLERY_CHUNK_SIZE_BYTES`], empty after the last: what a hub that lost them is offered.
    ///
    /// # Errors
    /// A database that does not answer; a row that does not open.
    pub async fn held_rows(
        &self,
        after: Option<PersonId>,
    ) -> Result<(Vec<v1::GalleryRow>, Option<PersonId>), GalleryError> {
        let mut last = after;
        loop {
            let mut tx = self.shared.db.read().await?;
            let page = rows::page(&mut tx, &[], last, BATCH).await?;
            drop(tx);
            if page.is_empty() {
                return Ok((Vec::new(), last));
            }
            let mut size_bytes = 0;
            let mut held = Vec::new();
            for row in page {
                size_bytes += row.sealed.len();
                if size_bytes > limits::GALLERY_CHUNK_SIZE_BYTES && !held.is_empty() {
                    break;
                }
                last = Some(row.person);
                if !row.sealed.is_empty() {
                    held.push(row);
                }
            }
            if held.is_empty() {
                continue;
            }
            let gallery = self.clone();
            let rows = off_runtime(move || held.iter().map(|row| gallery.open_row(row)).collect());
            let rows: Result<Vec<_>, SealError> = rows.await?;
            return Ok((rows.map_err(RecogniseError::from)?, last));
        }
    }

    /// Forgets the hub's people, and sweeps what is left of them from the file: too long was nothing heard from the hub.
    /// The terminal still belongs to it, and is sent them again.
    ///
    /// # Errors
    /// A database that does not answer; then repeating it goes on.
    pub async fn forget(&self, now: UtcInstant) -> Result<(), GalleryError> {
        self.forget_hub(now, false).await
    }

    /// Forgets the hub's people and the hub: this terminal stands alone from now on.
    ///
    /// # Errors
    /// As [`Gallery::forget`].
    pub async fn leave_hub(&self, now: UtcInstant) -> Result<(), GalleryError> {
        self.forget_hub(now, true).await
    }

    async fn forget_hub(&self, now: UtcInstant, leave: bool) -> Result<(), GalleryError> {
        self.demand_terminal()?;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            let people = replica::of_hub(&mut tx).await?;
            replica::delete_people(&mut tx, &people).await?;
            changes::record_many(&mut tx, &people, true, now).await?;
            replica::clear_stage(&mut tx).await?;
            replica::remove_empty_groups(&mut tx).await?;
            match leave {
                true => replica::leave_hub(&mut tx).await?,
                false => replica::set_position(&mut tx, None).await?,
            }
            gallery.commit(tx).await?;
            vacuum(&gallery.shared.db).await?;
            Ok(checkpoint(&gallery.shared.db).await?)
        };
        self.shared.writes.run(write).await
    }

    /// Every row, or none.
    async fn read_rows_of_hub(&self, rows: Vec<v1::GalleryRow>) -> Result<Vec<Row>, GalleryError> {
        let gallery = self.clone();
        let read = off_runtime(move || {
            let running = gallery.recogniser().ok();
            let running = running.map(|running| (running.model_hash(), running.embedding_length()));
            rows.iter().map(|row| Row::read(row, running)).collect()
        });
        read.await?
    }

    /// Removes people for good, and others to be put in place anew, whatever belongs to them; since when they were here.
    /// All before the first is put in place: a card may go from one to another.
    async fn clear(
        &self,
        tx: &mut Tx,
        staying: &[PersonId],
        gone: &[PersonId],
        now: UtcInstant,
    ) -> Result<HashMap<PersonId, UtcInstant>, GalleryError> {
        let created = replica::created(tx, staying).await?;
        let here = replica::created(tx, gone).await?;
        replica::delete_people(tx, staying).await?;
        replica::delete_people(tx, gone).await?;
        let gone: Vec<PersonId> = gone.iter().copied().filter(|person| here.contains_key(person)).collect();
        changes::record_many(tx, &gone, true, now).await?;
        Ok(created)
    }

    async fn arrive(&self, tx: &mut Tx, arrivals: Vec<Arrival>, now: UtcInstant) -> Result<(), GalleryError> {
        let groups: HashSet<GroupId> =
            arrivals.iter().flat_map(|arrival| arrival.told.groups.iter().copied()).collect();
        replica::add_groups(tx, &groups).await?;
        let people: Vec<PersonId> = arrivals.iter().map(|arrival| arrival.row.person).collect();
        let first = changes::record_many(tx, &people, false, now).await?;
        replica::insert(tx, &arrivals, first, now).await?;
        let rows: Vec<StoredRow> = arrivals.into_iter().map(|arrival| arrival.row).collect();
        Ok(rows::put(tx, &rows).await?)
    }

    fn arrivals(
        &self,
        rows: Vec<Row>,
        created: &HashMap<PersonId, UtcInstant>,
        now: UtcInstant,
    ) -> Result<Vec<Arrival>, SealError> {
        let arrival = |row: Row| {
            let upsert = row.upsert.as_ref()?;
            Some(self.stored(&row, upsert).and_then(|stored| {
                self.arrival(stored, upsert.told.clone(), created.get(&row.person).copied().unwrap_or(now))
            }))
        };
        rows.into_iter().filter_map(arrival).collect()
    }

    fn arrival_of_stored(
        &self,
        stored: StoredRow,
        created: &HashMap<PersonId, UtcInstant>,
        now: UtcInstant,
    ) -> Result<Arrival, GalleryError> {
        let row = Row::read(&self.open_row(&stored).map_err(RecogniseError::from)?, None)?;
        let told = row.upsert.ok_or(GalleryError::Damaged("a person's row"))?.told;
        let created = created.get(&stored.person).copied().unwrap_or(now);
        Ok(self.arrival(stored, told, created).map_err(RecogniseError::from)?)
    }

    fn arrival(&self, row: StoredRow, told: Told, created: UtcInstant) -> Result<Arrival, SealError> {
        let seal = Seal::new(self.shared.keys.templates.bytes());
        let sealed = told.templates.iter().map(|template| {
            let (person, id) = (row.person, template.template.as_bytes());
            let place = Place { table: TEMPLATE_TABLE, person, row: id, model: &template.model_hash };
            seal.seal(place, &template.embedding)
        });
        let sealed_templates = sealed.collect::<Result<_, _>>()?;
        let zone = self.zone();
        let leave_day = told.leave.map(|leave| zone.day(leave.before(Duration::from_micros(1))));
        Ok(Arrival { row, told, sealed_templates, leave_day, created })
    }

    fn stored(&self, row: &Row, upsert: &Upsert) -> Result<StoredRow, SealError> {
        Ok(StoredRow {
            person: row.person,
            revision: row.revision,
            hash: upsert.hash,
            sealed: self.seal_row(row.person, &upsert.bytes)?,
            mac: upsert.mac,
        })
    }
}

/// What the hub said last.
async fn demand_adopted(tx: &mut Tx) -> Result<Option<Position>, GalleryError> {
    match replica::hub(tx).await? {
        Some(hub) => Ok(hub.told),
        None => Err(GalleryError::State("this terminal belongs to no hub; join one first".into())),
    }
}

impl Target {
    fn read(state: &v1::GalleryState) -> Result<Self, GalleryError> {
        let bad = |field: &str| GalleryError::Row {
            row: "the state after the rows".into(),
            problem: format!("has a {field} that cannot be"),
        };
        let bytes_32 = |field, bytes: &Bytes| <[u8; 32]>::try_from(&bytes[..]).map_err(|_| bad(field));
        Ok(Self {
            position: Position {
                gallery: GalleryId::try_from(&state.gallery_id[..]).map_err(|_| bad("gallery_id"))?,
                revision: i64::try_from(state.revision).map_err(|_| bad("revision"))?,
                history_hash: bytes_32("history_hash", &state.history_hash)?,
                scope: bytes_32("scope", &state.scope)?,
            },
            set_hash: SetHash::from_bytes(bytes_32("set_hash", &state.set_hash)?),
        })
    }

    fn missed(&self) -> GalleryError {
        GalleryError::SetHash { revision: self.position.revision.unsigned_abs() }
    }
}
