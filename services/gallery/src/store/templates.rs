//! Templates and kept pictures.

use rollcall_core::PersonId;
use rollcall_store::{StoreError, Tx, on};

/// Removes every template and kept picture of a person; how many templates there were. The caller notes the change.
pub(crate) async fn delete_of(tx: &mut Tx, person: PersonId) -> Result<u64, StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_template where person_id = $1")
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })
}
