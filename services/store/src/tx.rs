//! Transactions, and [`on!`], which runs one SQL text on either engine.

use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};
use std::sync::Arc;

use crate::StoreError;

/// Which of the two engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file of this machine.
    Sqlite,
    /// A server.
    Postgres,
}

/// A transaction. Dropped without [`Tx::commit`] it is rolled back.
pub struct Tx {
    open: Open,
    place: Arc<str>,
}

enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// What [`on!`] takes apart.
#[doc(hidden)]
pub enum Connection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl Tx {
    pub(crate) fn sqlite(transaction: Transaction<'static, Sqlite>, place: Arc<str>) -> Self {
        Self { open: Open::Sqlite(transaction), place }
    }

    pub(crate) fn postgres(transaction: Transaction<'static, Postgres>, place: Arc<str>) -> Self {
        Self { open: Open::Postgres(transaction), place }
    }

    /// Makes every change of this transaction last. When it returns, they survive a power cut.
    ///
    /// # Errors
    /// When they could not be made; then there are none of them ([`StoreError::Unsure`] excepted).
    pub async fn commit(self) -> Result<(), StoreError> {
        let done = match self.open {
            Open::Sqlite(transaction) => transaction.commit().await,
            Open::Postgres(transaction) => transaction.commit().await,
        };
        done.map_err(|error| StoreError::wrap_commit(error, &self.place))
    }

    /// The engine that it runs on.
    pub fn engine(&self) -> Engine {
        match self.open {
            Open::Sqlite(_) => Engine::Sqlite,
            Open::Postgres(_) => Engine::Postgres,
        }
    }

    /// The file, or the database and its server, for messages.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    #[doc(hidden)]
    pub fn connection(&mut self) -> (Connection<'_>, &str) {
        let connection = match &mut self.open {
            Open::Sqlite(transaction) => Connection::Sqlite(transaction),
            Open::Postgres(transaction) => Connection::Postgres(transaction),
        };
        (connection, &self.place)
    }
}

/// Runs a body with the connection of a [`Tx`]: it is compiled once for each driver. The body gives a
/// `Result<_, sqlx::Error>` and may use `?` on one; the whole is a `Result<_, StoreError>`. A body that runs several
/// statements passes `&mut *connection`; one that calls `execute` maps its result, which each driver has a type of its
/// own for, with `.map(|done| done.rows_affected())`.
///
/// ```
/// use rollcall_store::{StoreError, Tx, on};
///
/// #[derive(sqlx::FromRow)]
/// struct DoorRow {
///     door_id: Vec<u8>,
///     name: String,
/// }
///
/// async fn door(tx: &mut Tx, id: &[u8]) -> Result<Option<DoorRow>, StoreError> {
///     on!(tx, connection => {
///         sqlx::query_as::<_, DoorRow>("select door_id, name from door where door_id = $1")
///             .bind(id)
///             .fetch_optional(connection)
///             .await
///     })
/// }
/// ```
#[macro_export]
macro_rules! on {
    ($tx:expr, $connection:ident => $body:expr) => {{
        let (connection, place) = $tx.connection();
        let result: ::std::result::Result<_, $crate::sqlx::Error> = match connection {
            $crate::Connection::Sqlite($connection) => async { $body }.await,
            $crate::Connection::Postgres($connection) => async { $body }.await,
        };
        result.map_err(|error| $crate::StoreError::wrap(error, place))
    }};
}
