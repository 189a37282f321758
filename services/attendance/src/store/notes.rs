//! Statements about notes: free text that belongs to an event and can be erased, in `site.db`.

use rollcall_core::{EventId, PersonId};
use rollcall_store::{StoreError, Tx, on};
use sqlx::AssertSqlSafe;

/// Writes a note before its event. Until [`settle`] it may be an orphan.
pub(crate) async fn insert(
    tx: &mut Tx,
    event_id: EventId,
    person_id: PersonId,
    note: &str,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("insert into attendance_note (event_id, person_id, note, is_settled) values ($1, $2, $3, 0)")
            .bind(event_id.as_bytes())
            .bind(person_id.as_bytes())
            .bind(note)
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// The event of this note is in the log.
pub(crate) async fn settle(tx: &mut Tx, event_id: EventId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update attendance_note set is_settled = 1 where event_id = $1")
            .bind(event_id.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Removes a note whose event was not written.
pub(crate) async fn delete(tx: &mut Tx, event_id: EventId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from attendance_note where event_id = $1")
            .bind(event_id.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Events, at most `limit`, whose notes were written and not settled.
pub(crate) async fn unsettled(tx: &mut Tx, limit: i64) -> Result<Vec<Vec<u8>>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select event_id from attendance_note where is_settled = 0 limit $1")
            .bind(limit)
            .fetch_all(connection)
            .await
    })
}

/// The notes of these events.
pub(crate) async fn of_events(
    tx: &mut Tx,
    event_ids: &[EventId],
) -> Result<Vec<(Vec<u8>, String)>, StoreError> {
    if event_ids.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (1..=event_ids.len()).map(|index| format!("${index}")).collect();
    let sql = format!("select event_id, note from attendance_note where event_id in ({})", places.join(", "));
    on!(tx, connection => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql));
        for event_id in event_ids {
            query = query.bind(event_id.as_bytes());
        }
        query.fetch_all(connection).await
    })
}

/// Removes every note about a person.
pub(crate) async fn erase(tx: &mut Tx, person_id: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from attendance_note where person_id = $1")
            .bind(person_id.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}
