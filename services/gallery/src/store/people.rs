//! People and whom they belong with, as stored.

use std::collections::{BTreeMap, HashMap};

use rollcall_core::{GroupId, PersonId, SiteDay, UtcInstant};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

use crate::consent::Line;
use crate::person::PersonFields;
use crate::store::consents::LineRow;
use crate::store::{day, id, rows_of_parameters};
use crate::{GalleryError, text};

#[derive(sqlx::FromRow)]
pub(crate) struct PersonRow {
    pub(crate) person_id: Vec<u8>,
    pub(crate) display_name: String,
    pub(crate) external_id: Option<String>,
    pub(crate) leave_day: Option<String>,
    pub(crate) created_us: i64,
    pub(crate) revision: i64,
    pub(crate) template_count: i64,
    pub(crate) from_hub: i64,
    pub(crate) standing_until_us: Option<i64>,
}

impl PersonRow {
    pub(crate) fn id(&self) -> Result<PersonId, GalleryError> {
        id(&self.person_id, "a person's id")
    }

    pub(crate) fn leave_day(&self) -> Result<Option<SiteDay>, GalleryError> {
        day(self.leave_day.as_deref(), "a person's last day")
    }
}

macro_rules! select_people {
    ($rest:literal) => {
        concat!(
            "select p.person_id, p.display_name, p.external_id, p.leave_day, p.created_us, p.revision,
                (select count(*) from gallery_template t where t.person_id = p.person_id) as template_count,
                p.from_hub, p.standing_until_us
            from gallery_person p ",
            $rest
        )
    };
}

/// One person.
pub(crate) async fn get(tx: &mut Tx, person: PersonId) -> Result<Option<PersonRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(select_people!("where p.person_id = $1"))
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })
}

/// Whether somebody with this id is there.
pub(crate) async fn exists(tx: &mut Tx, person: PersonId) -> Result<bool, StoreError> {
    let found: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar("select revision from gallery_person where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(found.is_some())
}

/// The person with this external id.
pub(crate) async fn by_external_id(tx: &mut Tx, external_id: &str) -> Result<Option<PersonRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(select_people!("where p.external_id = $1"))
            .bind(external_id)
            .fetch_optional(connection)
            .await
    })
}

/// Whom a list has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only this group's.
    pub(crate) group: Option<GroupId>,
    /// Only those whose folded name or external id begins with this.
    pub(crate) prefix: Option<String>,
}

/// The people after this key, by folded name and id.
pub(crate) async fn page(
    tx: &mut Tx,
    filter: &Filter,
    after: &(String, Vec<u8>),
    limit: usize,
) -> Result<Vec<PersonRow>, StoreError> {
    let prefix = filter.prefix.as_deref().unwrap_or_default();
    on!(tx, connection => {
        sqlx::query_as(select_people!(
            "where (p.display_name_folded, p.person_id) > ($1, $2)
                and ($3 = 0 or exists (
                    select 1 from gallery_member m where m.person_id = p.person_id and m.group_id = $4))
                and ($5 = 0 or (p.display_name_folded >= $6 and p.display_name_folded < $7)
                    or (p.external_id_folded >= $6 and p.external_id_folded < $7))
            order by p.display_name_folded, p.person_id limit $8"
        ))
        .bind(&after.0)
        .bind(&after.1)
        .bind(i64::from(filter.group.is_some()))
        .bind(filter.group.map_or(Vec::new(), |group| group.to_bytes().to_vec()))
        .bind(i64::from(filter.prefix.is_some()))
        .bind(prefix)
        .bind(text::after_prefix(prefix))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    })
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    person_id: Vec<u8>,
    group_id: Vec<u8>,
}

/// The groups of these people, at most a page of them, each in the order of their ids.
pub(crate) async fn groups_of(
    tx: &mut Tx,
    people: &[PersonId],
) -> Result<HashMap<PersonId, Vec<GroupId>>, GalleryError> {
    let mut groups: HashMap<PersonId, Vec<GroupId>> = HashMap::new();
    if people.is_empty() {
        return Ok(groups);
    }
    let sql = format!(
        "select person_id, group_id from gallery_member where person_id in {} order by person_id, group_id",
        rows_of_parameters(1, people.len())
    );
    let rows: Vec<MemberRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for person in people {
            query = query.bind(person.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    for row in rows {
        let person = id(&row.person_id, "a person's id")?;
        groups.entry(person).or_default().push(id(&row.group_id, "a group's id")?);
    }
    Ok(groups)
}

#[derive(sqlx::FromRow)]
struct PersonLineRow {
    person_id: Vec<u8>,
    #[sqlx(flatten)]
    line: LineRow,
}

/// The consent ledgers of these people, at most a page of them, oldest line first.
pub(crate) async fn ledgers_of(
    tx: &mut Tx,
    people: &[PersonId],
) -> Result<HashMap<PersonId, Vec<Line>>, GalleryError> {
    let mut ledgers: HashMap<PersonId, Vec<Line>> = HashMap::new();
    if people.is_empty() {
        return Ok(ledgers);
    }
    let sql = format!(
        "select person_id, decision, giver, giver_label, start_day, end_day from gallery_consent
            where person_id in {} order by person_id, line",
        rows_of_parameters(1, people.len())
    );
    let rows: Vec<PersonLineRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for person in people {
            query = query.bind(person.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    for row in rows {
        let person = id(&row.person_id, "a person's id")?;
        ledgers.entry(person).or_default().push(row.line.try_into()?);
    }
    Ok(ledgers)
}

#[derive(sqlx::FromRow)]
struct NameRow {
    person_id: Vec<u8>,
    display_name: String,
}

/// The names of those of these people who are here, at most a page of them.
pub(crate) async fn names_of(
    tx: &mut Tx,
    people: &[PersonId],
) -> Result<BTreeMap<PersonId, String>, GalleryError> {
    if people.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "select person_id, display_name from gallery_person where person_id in {}",
        rows_of_parameters(1, people.len())
    );
    let rows: Vec<NameRow> = on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for person in people {
            query = query.bind(person.as_bytes());
        }
        query.fetch_all(connection).await
    })?;
    rows.into_iter().map(|row| Ok((id(&row.person_id, "a person's id")?, row.display_name))).collect()
}

/// The people of this device itself after this one, in the order of their ids.
pub(crate) async fn own_after(
    tx: &mut Tx,
    after: Option<PersonId>,
    limit: usize,
) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(
            "select person_id from gallery_person where from_hub = 0 and person_id > $1
                order by person_id limit $2",
        )
        .bind(after.map_or(Vec::new(), |after| after.to_bytes().to_vec()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    })?;
    rows.iter().map(|row| id(row, "a person's id")).collect()
}

/// How many people and templates there are.
pub(crate) async fn counts(tx: &mut Tx) -> Result<(i64, i64), StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select (select count(*) from gallery_person), (select count(*) from gallery_template)",
        )
        .fetch_one(connection)
        .await
    })
}

/// How many people there are.
pub(crate) async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select count(*) from gallery_person").fetch_one(connection).await)
}

/// Adds a person, without their groups.
pub(crate) async fn insert(
    tx: &mut Tx,
    person: PersonId,
    fields: &PersonFields,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_person (person_id, display_name, display_name_folded, external_id,
                external_id_folded, leave_day, created_us, revision) values ($1, $2, $3, $4, $5, $6, $7, 0)",
        )
        .bind(person.as_bytes())
        .bind(&fields.display_name)
        .bind(text::sort_key(&fields.display_name))
        .bind(fields.external_id.as_deref())
        .bind(fields.external_id.as_deref().map(text::sort_key))
        .bind(fields.leave_day.map(|day| day.to_string()))
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Writes the fields of a person anew, without their groups.
pub(crate) async fn update(tx: &mut Tx, person: PersonId, fields: &PersonFields) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_person set display_name = $1, display_name_folded = $2, external_id = $3,
                external_id_folded = $4, leave_day = $5 where person_id = $6",
        )
        .bind(&fields.display_name)
        .bind(text::sort_key(&fields.display_name))
        .bind(fields.external_id.as_deref())
        .bind(fields.external_id.as_deref().map(text::sort_key))
        .bind(fields.leave_day.map(|day| day.to_string()))
        .bind(person.as_bytes())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Makes these the groups of a person. They exist.
pub(crate) async fn set_groups(tx: &mut Tx, person: PersonId, groups: &[GroupId]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_member where person_id = $1")
            .bind(person.as_bytes())
            .execute(&mut *connection)
            .await?;
        for group in groups {
            sqlx::query("insert into gallery_member (person_id, group_id) values ($1, $2)")
                .bind(person.as_bytes())
                .bind(group.as_bytes())
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    })
}

/// Removes a person with all that belongs to them; whether they were there.
pub(crate) async fn delete(tx: &mut Tx, person: PersonId) -> Result<bool, StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_person where person_id = $1")
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected() > 0)
    })
}

/// The last day of a person.
///
/// # Errors
/// [`GalleryError::Erased`] when they were erased, [`GalleryError::NotFound`] when there is no such person.
pub(crate) async fn leave_day(tx: &mut Tx, person: PersonId) -> Result<Option<SiteDay>, GalleryError> {
    let found: Option<Option<String>> = on!(tx, connection => {
        sqlx::query_scalar("select leave_day from gallery_person where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    match found {
        Some(leave) => day(leave.as_deref(), "a person's last day"),
        None => Err(missing(tx, person).await?),
    }
}

/// Why there is no such person.
pub(crate) async fn missing(tx: &mut Tx, person: PersonId) -> Result<GalleryError, StoreError> {
    let erased: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar("select erased_us from gallery_erasure where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(match erased {
        Some(_) => GalleryError::Erased(person),
        None => GalleryError::NotFound { name: person.name() },
    })
}
