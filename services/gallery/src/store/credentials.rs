//! Credentials, as stored: without their secrets.

use rollcall_core::{CredentialId, PersonId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};

use crate::GalleryError;
use crate::credential::{Credential, CredentialKind, Leaving};
use crate::store::{day, id, instant};

#[derive(sqlx::FromRow)]
struct CredentialRow {
    credential_id: Vec<u8>,
    person_id: Vec<u8>,
    kind: i64,
    created_us: i64,
    revoked_us: Option<i64>,
    leave_day: Option<String>,
    leave_us: Option<i64>,
}

impl CredentialRow {
    fn read(self) -> Result<(Credential, Leaving), GalleryError> {
        let credential = Credential {
            id: id(&self.credential_id, "a credential's id")?,
            person: id(&self.person_id, "a person's id")?,
            kind: CredentialKind::of(self.kind).ok_or(GalleryError::Damaged("a credential"))?,
            created: UtcInstant::from_micros(self.created_us),
            revoked: instant(self.revoked_us),
        };
        let leaving = match instant(self.leave_us) {
            Some(first) => Leaving::Moment(first),
            None => Leaving::Day(day(self.leave_day.as_deref(), "a person's last day")?),
        };
        Ok((credential, leaving))
    }
}

macro_rules! select_credentials {
    ($rest:literal) => {
        concat!(
            "select c.credential_id, c.person_id, c.kind, c.created_us, c.revoked_us, p.leave_day, p.leave_us
            from gallery_credential c join gallery_person p on p.person_id = c.person_id ",
            $rest
        )
    };
}

/// One credential, and when its holder is let in no more.
pub(crate) async fn get(
    tx: &mut Tx,
    credential: CredentialId,
) -> Result<Option<(Credential, Leaving)>, GalleryError> {
    let row: Option<CredentialRow> = on!(tx, connection => {
        sqlx::query_as(select_credentials!("where c.credential_id = $1"))
            .bind(credential.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    row.map(CredentialRow::read).transpose()
}

/// The credential in force with this verifier, and when its holder is let in no more.
pub(crate) async fn by_verifier(
    tx: &mut Tx,
    kind: CredentialKind,
    verifier: &[u8; 32],
) -> Result<Option<(Credential, Leaving)>, GalleryError> {
    let row: Option<CredentialRow> = on!(tx, connection => {
        sqlx::query_as(select_credentials!("where c.kind = $1 and c.verifier = $2"))
            .bind(kind.number())
            .bind(&verifier[..])
            .fetch_optional(connection)
            .await
    })?;
    row.map(CredentialRow::read).transpose()
}

/// The credentials of a person, oldest first.
pub(crate) async fn of(tx: &mut Tx, person: PersonId) -> Result<Vec<Credential>, GalleryError> {
    let rows: Vec<CredentialRow> = on!(tx, connection => {
        sqlx::query_as(select_credentials!("where c.person_id = $1 order by c.credential_id"))
            .bind(person.as_bytes())
            .fetch_all(connection)
            .await
    })?;
    rows.into_iter().map(|row| Ok(row.read()?.0)).collect()
}

/// How many PINs are in force.
pub(crate) async fn pins(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from gallery_credential where kind = $1 and verifier is not null")
            .bind(CredentialKind::Pin.number())
            .fetch_one(connection)
            .await
    })
}

/// Adds a credential in force.
pub(crate) async fn insert(
    tx: &mut Tx,
    credential: &Credential,
    verifier: &[u8; 32],
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_credential (credential_id, person_id, kind, verifier, created_us)
                values ($1, $2, $3, $4, $5)",
        )
        .bind(credential.id.as_bytes())
        .bind(credential.person.as_bytes())
        .bind(credential.kind.number())
        .bind(&verifier[..])
        .bind(credential.created.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Ends a credential; whether it was in force.
pub(crate) async fn revoke(
    tx: &mut Tx,
    credential: CredentialId,
    now: UtcInstant,
) -> Result<bool, StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_credential set revoked_us = $1, verifier = null
                where credential_id = $2 and revoked_us is null",
        )
        .bind(now.micros())
        .bind(credential.as_bytes())
        .execute(connection)
        .await
        .map(|done| done.rows_affected() > 0)
    })
}
