//! Many people from a file, all or none.

use std::collections::{HashMap, HashSet};

use rollcall_core::{GroupId, PersonId, UtcInstant, limits};
use rollcall_store::{StoreError, Tx};

use super::{Gallery, Retry, retry};
use crate::GalleryError;
use crate::import::{self, ImportFile, ImportRow};
use crate::store::{changes, groups, imports, people};

/// What an import has done, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// People added.
    pub created: u32,
    /// People changed.
    pub updated: u32,
    /// People who were so already.
    pub unchanged: u32,
    /// Groups that were not there.
    pub groups_created: u32,
}

impl Imported {
    fn to_bytes(self) -> Vec<u8> {
        [self.created, self.updated, self.unchanged, self.groups_created].map(u32::to_be_bytes).concat()
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.chunks_exact(4).map(|four| four.try_into().map(u32::from_be_bytes));
        let mut next = || numbers.next()?.ok();
        Some(Self { created: next()?, updated: next()?, unchanged: next()?, groups_created: next()? })
    }
}

/// What a file changes.
#[derive(Default)]
struct Plan<'a> {
    created: Vec<(PersonId, &'a ImportRow)>,
    updated: Vec<(PersonId, &'a ImportRow)>,
    unchanged: usize,
    groups: Vec<(GroupId, &'a str)>,
    group_ids: HashMap<&'a str, GroupId>,
}

impl Gallery {
    /// Adds and updates people from a file, all or none. A row whose external id exists updates that person: the name,
    /// and the groups where the file has such a column. One import at a time.
    ///
    /// # Errors
    /// [`GalleryError::Import`] with the rows that are wrong; a file that is no CSV file; a full gallery.
    pub async fn import_people(
        &self,
        file: ImportFile,
        validate_only: bool,
        request_id: &str,
        now: UtcInstant,
    ) -> Result<Imported, GalleryError> {
        let _one = self
            .shared
            .imports
            .try_acquire()
            .map_err(|_| GalleryError::Limit { what: "import at a time; try again later", limit: 1 })?;
        drop(self.read_to_change().await?);
        let gallery = self.clone();
        let request_id = request_id.to_owned();
        let read = move || {
            let pieces: Vec<&[u8]> = file.pieces().iter().map(|piece| &piece[..]).collect();
            let digest = gallery.shared.keys.requests.mac_of_whole(&pieces);
            let retry = gallery.retry("ImportPeople", &request_id, &digest)?;
            Ok::<_, GalleryError>((import::read(&file)?, retry))
        };
        let (rows, retry) = tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Panicked)??;
        if validate_only {
            let mut tx = self.shared.db.read().await?;
            return Ok(plan(&mut tx, &rows).await?.counts());
        }
        let gallery = self.clone();
        let write = async move { gallery.import(&rows, retry, now).await };
        self.shared.writes.run(write).await
    }

    async fn import(
        &self,
        rows: &[ImportRow],
        retry: Option<Retry>,
        now: UtcInstant,
    ) -> Result<Imported, GalleryError> {
        let mut tx = self.begin().await?;
        if let Some(known) = retry::recall(&mut tx, retry.as_ref()).await? {
            return Imported::of_bytes(&known).ok_or(GalleryError::Damaged("a request"));
        }
        let plan = plan(&mut tx, rows).await?;
        plan.carry_out(&mut tx, now).await?;
        retry::remember(&mut tx, retry.as_ref(), &plan.counts().to_bytes(), now).await?;
        self.commit(tx).await?;
        Ok(plan.counts())
    }
}

/// Compares the rows with the gallery.
async fn plan<'a>(tx: &mut Tx, rows: &'a [ImportRow]) -> Result<Plan<'a>, GalleryError> {
    let mut plan = Plan::default();
    let known = imports::known(tx).await?;
    let known: HashMap<&str, _> = known.iter().map(|row| (row.external_id.as_str(), row)).collect();
    let existing: HashMap<String, GroupId> = imports::group_names(tx).await?.into_iter().collect();
    for name in rows.iter().flat_map(|row| row.groups.iter().flatten()) {
        if !plan.group_ids.contains_key(name.as_str()) {
            let group = existing.get(name).copied().unwrap_or_else(|| {
                let group = GroupId::generate();
                plan.groups.push((group, name));
                group
            });
            plan.group_ids.insert(name, group);
        }
    }
    let ids: Vec<PersonId> = rows
        .iter()
        .filter_map(|row| known.get(row.external_id.as_deref()?))
        .map(|known| known.id())
        .collect::<Result<_, _>>()?;
    let mut groups_now: HashMap<PersonId, Vec<GroupId>> = HashMap::new();
    for ids in ids.chunks(limits::PAGE_SIZE) {
        groups_now.extend(people::groups_of(tx, ids).await?);
    }
    for row in rows {
        match row.external_id.as_deref().and_then(|id| known.get(id)) {
            None => plan.created.push((PersonId::generate(), row)),
            Some(person) => {
                let id = person.id()?;
                let groups_now = groups_now.get(&id).map(Vec::as_slice).unwrap_or_default();
                let same = person.display_name == row.display_name && plan.has_groups(row, groups_now);
                if same { plan.unchanged += 1 } else { plan.updated.push((id, row)) }
            }
        }
    }
    plan.check_room(tx).await?;
    Ok(plan)
}

impl Plan<'_> {
    fn groups_of<'b>(&'b self, row: &'b ImportRow) -> impl Iterator<Item = GroupId> + 'b {
        row.groups.iter().flatten().filter_map(|name| self.group_ids.get(name.as_str()).copied())
    }

    /// Whether a row leaves these groups as they are.
    fn has_groups(&self, row: &ImportRow, groups_now: &[GroupId]) -> bool {
        let wanted: HashSet<GroupId> = self.groups_of(row).collect();
        row.groups.is_none() || wanted == groups_now.iter().copied().collect()
    }

    async fn check_room(&self, tx: &mut Tx) -> Result<(), GalleryError> {
        let room = [
            ("people in one gallery", people::count(tx).await?, self.created.len(), limits::GALLERY_PEOPLE),
            ("groups in one gallery", groups::count(tx).await?, self.groups.len(), limits::GALLERY_GROUPS),
        ];
        match room.into_iter().find(|(_, have, more, limit)| {
            *more > 0 && usize::try_from(*have).unwrap_or(usize::MAX).saturating_add(*more) > *limit
        }) {
            Some((what, _, _, limit)) => Err(GalleryError::Limit { what, limit }),
            None => Ok(()),
        }
    }

    async fn carry_out(&self, tx: &mut Tx, now: UtcInstant) -> Result<(), GalleryError> {
        let everybody: Vec<PersonId> =
            self.created.iter().chain(&self.updated).map(|(person, _)| *person).collect();
        if everybody.is_empty() && self.groups.is_empty() {
            return Ok(());
        }
        for (group, name) in &self.groups {
            groups::insert(tx, *group, name).await?;
        }
        let first = changes::record_many(tx, &everybody, false, now).await?;
        let new = self.created.iter().map(|(person, row)| imports::NewPerson {
            person: *person,
            display_name: &row.display_name,
            external_id: row.external_id.as_deref(),
        });
        imports::insert_people(tx, &new.collect::<Vec<_>>(), first, now).await?;
        let members =
            self.created.iter().flat_map(|(person, row)| self.groups_of(row).map(|group| (*person, group)));
        imports::insert_members(tx, &members.collect::<Vec<_>>()).await?;
        let first_updated = first + i64::try_from(self.created.len()).unwrap_or(i64::MAX);
        for ((person, row), revision) in self.updated.iter().zip(first_updated..) {
            imports::rename(tx, *person, &row.display_name, revision).await?;
            if row.groups.is_some() {
                people::set_groups(tx, *person, &self.groups_of(row).collect::<Vec<_>>()).await?;
            }
        }
        Ok(())
    }

    fn counts(&self) -> Imported {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Imported {
            created: count(self.created.len()),
            updated: count(self.updated.len()),
            unchanged: count(self.unchanged),
            groups_created: count(self.groups.len()),
        }
    }
}
