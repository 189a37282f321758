//! [`Turn`]: what only one of several processes over one PostgreSQL database does at a time.
//!
//! On SQLite there is one process, and every turn is its own. On PostgreSQL a turn is an advisory lock that a
//! transaction holds, so that it ends with the process, however that ends. A process whose connection was cut goes on
//! without knowing that it has lost its turn: what is done in turn must be right when it is done twice, a turn only spares
//! that.

use crate::{Db, Engine, StoreError, Tx, on};

/// A turn, until it is dropped.
pub struct Turn {
    _held: Option<Tx>,
}

impl Turn {
    /// Waits for the turn to do what is called so.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn wait(db: &Db, name: &str) -> Result<Self, StoreError> {
        if db.engine() == Engine::Sqlite {
            return Ok(Self { _held: None });
        }
        let mut tx = begin(db).await?;
        on!(tx, connection => {
            sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(lock(name))
                .execute(connection)
                .await
                .map(|_| ())
        })?;
        Ok(Self { _held: Some(tx) })
    }

    /// The same; `None` when another process has it.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn take(db: &Db, name: &str) -> Result<Option<Self>, StoreError> {
        if db.engine() == Engine::Sqlite {
            return Ok(Some(Self { _held: None }));
        }
        let mut tx = begin(db).await?;
        let is_ours: bool = on!(tx, connection => {
            sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(lock(name))
                .fetch_one(connection)
                .await
        })?;
        Ok(is_ours.then_some(Self { _held: Some(tx) }))
    }
}

/// Advisory locks are shared by all that use the database, request ids among them.
fn lock(name: &str) -> String {
    format!("rollcall turn {name}")
}

/// A transaction that may wait, and then do nothing, for as long as a turn takes.
async fn begin(db: &Db) -> Result<Tx, StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("set local lock_timeout = 0").execute(&mut *connection).await?;
        sqlx::query("set local idle_in_transaction_session_timeout = 0").execute(connection).await.map(|_| ())
    })?;
    Ok(tx)
}
