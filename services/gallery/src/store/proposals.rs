//! People whom terminals had before they were adopted, as stored at a hub.

use rollcall_core::{PersonId, TerminalId, UtcInstant};
use rollcall_store::{StoreError, Tx, on};

use crate::GalleryError;
use crate::store::id;

/// Not decided yet.
const OPEN: i64 = 0;

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    AsNew,
    AsAnother,
    Refused,
}

impl Decided {
    const fn number(self) -> i64 {
        match self {
            Self::AsNew => 1,
            Self::AsAnother => 2,
            Self::Refused => 3,
        }
    }
}

/// Somebody nobody has decided on.
pub(crate) struct StoredProposal {
    pub(crate) person: PersonId,
    pub(crate) terminal: TerminalId,
    pub(crate) sealed: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct ProposalRow {
    person_id: Vec<u8>,
    terminal_id: Vec<u8>,
    sealed: Vec<u8>,
}

impl ProposalRow {
    fn read(self) -> Result<StoredProposal, GalleryError> {
        Ok(StoredProposal {
            person: id(&self.person_id, "a proposal")?,
            terminal: id(&self.terminal_id, "a proposal")?,
            sealed: self.sealed,
        })
    }
}

/// Whether somebody was proposed, decided on or not.
pub(crate) async fn is_known(tx: &mut Tx, person: PersonId) -> Result<bool, StoreError> {
    let found: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar("select decision from gallery_proposal where person_id = $1")
            .bind(person.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    Ok(found.is_some())
}

/// How many nobody has decided on.
pub(crate) async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from gallery_proposal where decision = $1")
            .bind(OPEN)
            .fetch_one(connection)
            .await
    })
}

/// Adds somebody to decide on.
pub(crate) async fn insert(
    tx: &mut Tx,
    proposal: &StoredProposal,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_proposal (person_id, terminal_id, sealed, offered_us, decision)
                values ($1, $2, $3, $4, $5)",
        )
        .bind(proposal.person.as_bytes())
        .bind(proposal.terminal.as_bytes())
        .bind(&proposal.sealed)
        .bind(now.micros())
        .bind(OPEN)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// One that nobody has decided on.
pub(crate) async fn get(tx: &mut Tx, person: PersonId) -> Result<Option<StoredProposal>, GalleryError> {
    let row: Option<ProposalRow> = on!(tx, connection => {
        sqlx::query_as(
            "select person_id, terminal_id, sealed from gallery_proposal where person_id = $1 and decision = $2",
        )
        .bind(person.as_bytes())
        .bind(OPEN)
        .fetch_optional(connection)
        .await
    })?;
    row.map(ProposalRow::read).transpose()
}

/// Those that nobody has decided on, after this person, in the order of their ids.
pub(crate) async fn page(
    tx: &mut Tx,
    after: Option<PersonId>,
    limit: usize,
) -> Result<Vec<StoredProposal>, GalleryError> {
    let rows: Vec<ProposalRow> = on!(tx, connection => {
        sqlx::query_as(
            "select person_id, terminal_id, sealed from gallery_proposal where decision = $1 and person_id > $2
                order by person_id limit $3",
        )
        .bind(OPEN)
        .bind(after.map_or(Vec::new(), |after| after.to_bytes().to_vec()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(ProposalRow::read).collect()
}

/// Notes what became of one. What was offered is gone; that it was stays, so that it is not proposed again.
pub(crate) async fn decide(
    tx: &mut Tx,
    person: PersonId,
    decided: Decided,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update gallery_proposal set decision = $1, decided_us = $2, sealed = null where person_id = $3",
        )
        .bind(decided.number())
        .bind(now.micros())
        .bind(person.as_bytes())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Removes one, decided on or not.
pub(crate) async fn delete(tx: &mut Tx, person: PersonId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from gallery_proposal where person_id = $1")
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// People under whose id nobody was taken in: their terminal is to forget them.
pub(crate) async fn not_taken_in(tx: &mut Tx) -> Result<Vec<PersonId>, GalleryError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar(
            "select person_id from gallery_proposal where decision in ($1, $2)
                and not exists (select 1 from gallery_person p where p.person_id = gallery_proposal.person_id)
                order by person_id",
        )
        .bind(Decided::AsAnother.number())
        .bind(Decided::Refused.number())
        .fetch_all(connection)
        .await
    })?;
    rows.iter().map(|row| id(row, "a proposal")).collect()
}
