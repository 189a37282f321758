//! Request ids: a creation that is repeated answers as it did the first time (AIP-155).
//!
//! The caller of a creation may send a UUID. In the transaction of the creation the service asks [`recall`] first; when
//! there is nothing, it creates, and calls [`remember`]. A reply that was lost, a retry, two retries at once: one thing
//! is created. The same id with another request is refused.
//!
//! Table `request`, one in each database that has creations: `method` and `request_id` (16 bytes) are the key,
//! `request_sha256` tells requests apart, `response` is what the service needs to answer again. Kept
//! [`limits::REQUEST_ID_DAYS`] days, then the next creation removes it.
//!
//! Rows outlive what they created, and nobody erases them: a service puts no personal data into `response` (an id is
//! enough to read the rest anew), and where a request has such data, `request_sha256` is a keyed digest.

use std::time::Duration;

use rollcall_core::{Fault, Reason, UtcInstant, limits};

use crate::{Migration, StoreError, Tx, on};

/// The table. Each database that has creations takes it in, once.
pub const MIGRATIONS: &[Migration] = &[Migration {
    name: "requests/0001_request",
    sql: "create table request (
            method TEXT not null,
            request_id BLOB not null,
            request_sha256 BLOB not null,
            response BLOB not null,
            created_us INTEGER not null,
            primary key (method, request_id)
        ) STRICT;
        create index request_created on request (created_us);",
}];

/// The id of one request, chosen by its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The id in the field `request_id`; `None` when it is empty, and then a repeated call is a new one.
    ///
    /// # Errors
    /// When it is no UUID of 8-4-4-4-12 hex digits.
    pub fn parse(text: &str) -> Result<Option<Self>, Fault> {
        if text.is_empty() {
            return Ok(None);
        }
        uuid_bytes(text).map(|bytes| Some(Self(bytes))).ok_or_else(|| {
            let message = "request_id is no UUID; send 8-4-4-4-12 hex digits, or nothing";
            Fault::new(Reason::FieldInvalid, message).with("field", "request_id")
        })
    }

    /// The 16 bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// The bytes of a hyphenated UUID, in capitals or not.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let hyphens = [8, 13, 18, 23];
    if bytes.len() != 36 || hyphens.iter().any(|at| bytes[*at] != b'-') {
        return None;
    }
    let digits: Vec<u8> =
        bytes.iter().enumerate().filter(|(at, _)| !hyphens.contains(at)).map(|(_, b)| *b).collect();
    let mut id = [0; 16];
    hex::decode_to_slice(digits, &mut id).ok().map(|()| id)
}

/// Why a request id does not lead to an answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The id was used before with another request.
    #[error("this request_id was used before with another request; send a new UUID with each new request")]
    Reused,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RequestError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Reused => Fault::new(Reason::RequestIdReused, self).with("field", "request_id"),
            Self::Store(error) => error.fault(),
        }
    }
}

#[derive(sqlx::FromRow)]
struct RequestRow {
    request_sha256: Vec<u8>,
    response: Vec<u8>,
}

/// What [`remember`] kept for this request; `None` when it is new. On PostgreSQL it also makes another transaction
/// with the same id wait for this one.
///
/// # Errors
/// [`RequestError::Reused`] when the id belongs to another request.
pub async fn recall(
    tx: &mut Tx,
    method: &str,
    request_id: RequestId,
    request_sha256: &[u8; 32],
) -> Result<Option<Vec<u8>>, RequestError> {
    lock(tx, method, request_id).await?;
    let row: Option<RequestRow> = on!(tx, connection => {
        sqlx::query_as("select request_sha256, response from request where method = $1 and request_id = $2")
            .bind(method)
            .bind(&request_id.0[..])
            .fetch_optional(connection)
            .await
    })?;
    match row {
        None => Ok(None),
        Some(row) if row.request_sha256 == request_sha256 => Ok(Some(row.response)),
        Some(_) => Err(RequestError::Reused),
    }
}

/// Two transactions with one id would both find nothing and both create; the second would then fail at its end.
async fn lock(tx: &mut Tx, method: &str, request_id: RequestId) -> Result<(), StoreError> {
    if tx.engine() == crate::Engine::Sqlite {
        return Ok(());
    }
    let number = format!("{method} {}", hex::encode(request_id.0));
    on!(tx, connection => {
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(number)
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Keeps what is needed to answer this request again, and removes what is older than [`limits::REQUEST_ID_DAYS`].
///
/// # Errors
/// [`StoreError::Conflict`] when the request was not asked for with [`recall`] in this transaction.
pub async fn remember(
    tx: &mut Tx,
    method: &str,
    request_id: RequestId,
    request_sha256: &[u8; 32],
    response: &[u8],
    now: UtcInstant,
) -> Result<(), StoreError> {
    let kept = Duration::from_secs(limits::REQUEST_ID_DAYS * 86_400);
    on!(tx, connection => {
        sqlx::query("delete from request where created_us < $1")
            .bind(now.before(kept).micros())
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "insert into request (method, request_id, request_sha256, response, created_us)
                values ($1, $2, $3, $4, $5)",
        )
        .bind(method)
        .bind(&request_id.0[..])
        .bind(&request_sha256[..])
        .bind(response)
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_request_id_is_a_uuid_or_nothing() {
        let id = "0193a5c0-0000-7000-8000-00000000000a";
        assert_eq!(RequestId::parse("").unwrap(), None);
        assert_eq!(RequestId::parse(id).unwrap(), RequestId::parse(&id.to_uppercase()).unwrap());
        assert!(RequestId::parse(id).unwrap().is_some());
        for wrong in
            ["x", &id[1..], &id.replace('-', ""), &id.replace('a', "g"), "' or 1=1 --", &"é".repeat(18)]
        {
            assert_eq!(RequestId::parse(wrong).unwrap_err().reason, Reason::FieldInvalid, "{wrong}");
        }
    }
}
