//! Statements about people who were taken for others: a terminal that stood alone gave somebody an id, and the hub knows
//! them by another. In `site.db`; an id leads to the one person that it is in one step.

use std::collections::BTreeMap;

use rollcall_core::PersonId;
use rollcall_store::{Migration, StoreError, Tx, on};

use super::timetable::damaged;

/// The table.
pub(crate) const MIGRATION: Migration = Migration {
    name: "attendance/0201_aliases",
    sql: "\
create table attendance_alias (
    old_id BLOB not null primary key,
    person_id BLOB not null
) STRICT;
create index attendance_alias_person on attendance_alias (person_id)",
};

#[derive(sqlx::FromRow)]
struct AliasRow {
    old_id: Vec<u8>,
    person_id: Vec<u8>,
}

impl AliasRow {
    fn parse(self) -> Result<(PersonId, PersonId), StoreError> {
        let ids = PersonId::try_from(&self.old_id[..]).ok().zip(PersonId::try_from(&self.person_id[..]).ok());
        ids.ok_or_else(|| damaged("attendance_alias"))
    }
}

/// Every old id with the person that it is.
pub(crate) async fn all(tx: &mut Tx) -> Result<BTreeMap<PersonId, PersonId>, StoreError> {
    let rows: Vec<AliasRow> = on!(tx, connection => {
        sqlx::query_as("select old_id, person_id from attendance_alias").fetch_all(connection).await
    })?;
    rows.into_iter().map(AliasRow::parse).collect()
}

/// The old ids of a person.
pub(crate) async fn of_person(tx: &mut Tx, person: PersonId) -> Result<Vec<PersonId>, StoreError> {
    let rows: Vec<AliasRow> = on!(tx, connection => {
        sqlx::query_as("select old_id, person_id from attendance_alias where person_id = $1 order by old_id")
            .bind(person.as_bytes())
            .fetch_all(connection)
            .await
    })?;
    rows.into_iter().map(|row| row.parse().map(|(old, _)| old)).collect()
}

/// The person that an id is: another one, or itself.
pub(crate) async fn resolve(tx: &mut Tx, id: PersonId) -> Result<PersonId, StoreError> {
    let row: Option<AliasRow> = on!(tx, connection => {
        sqlx::query_as("select old_id, person_id from attendance_alias where old_id = $1")
            .bind(id.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(row.map(AliasRow::parse).transpose()?.map_or(id, |(_, person)| person))
}

/// How many there are.
pub(crate) async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select count(*) from attendance_alias").fetch_one(connection).await)
}

/// An old id, and whatever led to it, leads to this person from now on.
pub(crate) async fn set(tx: &mut Tx, old: PersonId, person: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update attendance_alias set person_id = $2 where person_id = $1")
            .bind(old.as_bytes())
            .bind(person.as_bytes())
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "insert into attendance_alias (old_id, person_id) values ($1, $2)
                on conflict (old_id) do update set person_id = excluded.person_id",
        )
        .bind(old.as_bytes())
        .bind(person.as_bytes())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Forgets who a person was, and that others were this person.
pub(crate) async fn erase(tx: &mut Tx, person: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from attendance_alias where person_id = $1 or old_id = $1")
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}
