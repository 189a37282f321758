//! People.

use std::collections::HashMap;

use rollcall_core::{GroupId, PersonId, UtcInstant, limits};
use rollcall_store::Tx;

use super::{Gallery, Retry, retry};
use crate::consent::{self, Line};
use crate::person::{self, Person, PersonChange, PersonFields};
use crate::store::people::{self, Filter, PersonRow};
use crate::store::{changes, groups, id, instant};
use crate::{GalleryError, text};

/// Whom a list of people has. The empty one has all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeopleFilter {
    pub(crate) group: Option<GroupId>,
    /// The beginning of a name or an external id, capitals or not.
    pub(crate) query: String,
    pub(crate) external_id: String,
}

/// Where a page of people or groups begins: after the thing with this sort key and id.
pub(crate) type NameKey = (String, Vec<u8>);

impl Gallery {
    /// Adds a person.
    ///
    /// # Errors
    /// An external id that is taken, a group that is not there, a full gallery.
    pub async fn create_person(
        &self,
        fields: PersonFields,
        retry: Option<Retry>,
        now: UtcInstant,
    ) -> Result<Person, GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            let person = match retry::recall(&mut tx, retry.as_ref()).await? {
                Some(known) => id(&known, "a request")?,
                None => {
                    let person = insert(&mut tx, &fields, now).await?;
                    retry::remember(&mut tx, retry.as_ref(), person.as_bytes(), now).await?;
                    person
                }
            };
            let person = gallery.read_person(&mut tx, person, now).await?;
            gallery.commit(tx).await?;
            Ok(person)
        };
        self.shared.writes.run(write).await
    }

    /// One person.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`], also when they were erased.
    pub async fn person(&self, person: PersonId, now: UtcInstant) -> Result<Person, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        match self.read_person(&mut tx, person, now).await {
            Err(GalleryError::Erased(person)) => Err(GalleryError::NotFound { name: person.name() }),
            read => read,
        }
    }

    /// At most `limit` people after a key, by folded name and id.
    pub(crate) async fn people(
        &self,
        filter: &PeopleFilter,
        after: Option<NameKey>,
        limit: usize,
        now: UtcInstant,
    ) -> Result<Vec<Person>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        let prefix = text::sort_key(&filter.query);
        let rows = if filter.external_id.is_empty() {
            let prefix = (!prefix.is_empty()).then_some(prefix);
            let filter = Filter { group: filter.group, prefix };
            people::page(&mut tx, &filter, &after.unwrap_or_default(), limit).await?
        } else if after.is_some() {
            Vec::new()
        } else {
            let found = people::by_external_id(&mut tx, &filter.external_id).await?;
            let begins = |text: &str| text::sort_key(text).starts_with(&prefix);
            let matches =
                |row: &PersonRow| begins(&row.display_name) || row.external_id.as_deref().is_some_and(begins);
            found.into_iter().filter(matches).collect()
        };
        let mut people = self.read_rows(&mut tx, rows, now).await?;
        if let Some(group) = filter.group {
            people.retain(|person| person.fields.groups.contains(&group));
        }
        Ok(people)
    }

    /// Changes some fields. With an etag only if nobody has changed the person since it was read.
    ///
    /// # Errors
    /// [`GalleryError::Etag`], and as [`Gallery::create_person`].
    pub async fn update_person(
        &self,
        person: PersonId,
        change: PersonChange,
        etag: String,
        now: UtcInstant,
    ) -> Result<Person, GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            let before = gallery.read_person(&mut tx, person, now).await?;
            if !etag.is_empty() && etag != before.etag {
                return Err(GalleryError::Etag { name: person.name() });
            }
            let fields = before.fields.changed(change);
            if fields == before.fields {
                return Ok(before);
            }
            check(&mut tx, &fields, Some(person)).await?;
            people::update(&mut tx, person, &fields).await?;
            people::set_groups(&mut tx, person, &fields.groups).await?;
            gallery.settle(&mut tx, person, now).await?;
            changes::record(&mut tx, person, false, now).await?;
            let person = gallery.read_person(&mut tx, person, now).await?;
            gallery.commit(tx).await?;
            Ok(person)
        };
        self.shared.writes.run(write).await
    }

    /// A person as they are in this transaction.
    ///
    /// # Errors
    /// [`GalleryError::Erased`], [`GalleryError::NotFound`].
    pub(crate) async fn read_person(
        &self,
        tx: &mut Tx,
        person: PersonId,
        now: UtcInstant,
    ) -> Result<Person, GalleryError> {
        let row = people::get(tx, person).await?;
        let row = match row {
            Some(row) => row,
            None => return Err(people::missing(tx, person).await?),
        };
        let read = self.read_rows(tx, vec![row], now).await?.pop();
        read.ok_or(GalleryError::Damaged("a person"))
    }

    async fn read_rows(
        &self,
        tx: &mut Tx,
        rows: Vec<PersonRow>,
        now: UtcInstant,
    ) -> Result<Vec<Person>, GalleryError> {
        let ids: Vec<PersonId> = rows.iter().map(PersonRow::id).collect::<Result<_, _>>()?;
        let mut groups = people::groups_of(tx, &ids).await?;
        let ledgers: HashMap<PersonId, Vec<Line>> = people::ledgers_of(tx, &ids).await?;
        let zone = self.zone();
        let person = |row: PersonRow| {
            let id = row.id()?;
            let leave_day = row.leave_day()?;
            let lines = ledgers.get(&id).map(Vec::as_slice).unwrap_or_default();
            let consent = match row.from_hub {
                0 => consent::standing(lines, leave_day, &zone, now).state,
                _ => consent::told(row.template_count > 0, instant(row.standing_until_us), now),
            };
            Ok(Person {
                id,
                etag: person::etag(&row.person_id, row.revision),
                consent,
                template_count: row.template_count,
                created: UtcInstant::from_micros(row.created_us),
                fields: PersonFields {
                    display_name: row.display_name,
                    external_id: row.external_id,
                    groups: groups.remove(&id).unwrap_or_default(),
                    leave_day,
                },
            })
        };
        rows.into_iter().map(person).collect()
    }
}

/// Whether one more person can be added.
pub(super) async fn demand_room(tx: &mut Tx) -> Result<(), GalleryError> {
    let count = people::count(tx).await?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= limits::GALLERY_PEOPLE {
        return Err(GalleryError::Limit { what: "people in one gallery", limit: limits::GALLERY_PEOPLE });
    }
    Ok(())
}

async fn insert(tx: &mut Tx, fields: &PersonFields, now: UtcInstant) -> Result<PersonId, GalleryError> {
    demand_room(tx).await?;
    check(tx, fields, None).await?;
    let person = PersonId::generate();
    people::insert(tx, person, fields, now).await?;
    people::set_groups(tx, person, &fields.groups).await?;
    changes::record(tx, person, false, now).await?;
    Ok(person)
}

/// Whether these fields can be those of `person`, or of a new one.
pub(super) async fn check(
    tx: &mut Tx,
    fields: &PersonFields,
    person: Option<PersonId>,
) -> Result<(), GalleryError> {
    if let Some(external_id) = &fields.external_id {
        let holder = people::by_external_id(tx, external_id).await?;
        let holder = holder.map(|row| row.id()).transpose()?;
        if holder.is_some() && holder != person {
            let hint = "update the person who has it, or give another";
            return Err(GalleryError::Exists { what: "a person with this external_id", hint });
        }
    }
    match groups::first_missing(tx, &fields.groups).await? {
        Some(group) => Err(GalleryError::NotFound { name: group.name() }),
        None => Ok(()),
    }
}
