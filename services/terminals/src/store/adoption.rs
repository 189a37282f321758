//! The tables of adoption: requests, tokens, and which authority each terminal has shown a certificate of.
//!
//! A certificate chain is one BLOB: each certificate with its length before it, four bytes, big-endian.

use rollcall_core::{TerminalId, UtcInstant};
use rollcall_store::{Migration, StoreError, Tx, dialect, on};

use crate::TerminalError;
use crate::adoption::Applicant;

/// The tables of a hub's adoptions, as they came to be.
pub const ADOPTION_MIGRATIONS: &[Migration] = &[Migration {
    name: "adoption/0001_requests_and_tokens",
    sql: "
        create table adoption_request (
            request_id BLOB primary key check (length(request_id) = 16),
            terminal_id BLOB not null check (length(terminal_id) = 16),
            hardware_id TEXT not null,
            display_name TEXT not null,
            software TEXT not null,
            csr BLOB not null,
            people INTEGER not null,
            events INTEGER not null,
            key_sha256 BLOB not null check (length(key_sha256) = 32),
            commitment BLOB not null check (length(commitment) = 32),
            hub_nonce BLOB not null check (length(hub_nonce) = 32),
            digits TEXT,
            address TEXT not null,
            since_us INTEGER not null,
            expire_us INTEGER not null,
            chain BLOB,
            not_after_us INTEGER,
            accepted_by TEXT not null,
            is_accepted INTEGER not null check (is_accepted in (0, 1))
        ) STRICT;
        create table adoption_token (
            secret_sha256 BLOB primary key check (length(secret_sha256) = 32),
            display_name TEXT not null,
            made_by TEXT not null,
            since_us INTEGER not null,
            expire_us INTEGER not null,
            terminal_id BLOB,
            key_sha256 BLOB,
            chain BLOB,
            not_after_us INTEGER
        ) STRICT;
        create table adoption_shown (
            terminal_id BLOB primary key check (length(terminal_id) = 16),
            authority_id BLOB not null,
            since_us INTEGER not null
        ) STRICT;
    ",
}];

/// A request to be adopted.
pub(crate) struct Request {
    pub(crate) request_id: [u8; 16],
    pub(crate) applicant: Applicant,
    pub(crate) key_sha256: [u8; 32],
    pub(crate) commitment: [u8; 32],
    pub(crate) hub_nonce: [u8; 32],
    /// Once the terminal has shown its nonce.
    pub(crate) digits: Option<String>,
    pub(crate) address: String,
    pub(crate) since: UtcInstant,
    pub(crate) expires: UtcInstant,
    /// Once an operator has accepted.
    pub(crate) chain: Option<Vec<Vec<u8>>>,
    pub(crate) not_after: Option<UtcInstant>,
    /// The terminal is registered, and may be told.
    pub(crate) is_accepted: bool,
}

/// A token for one adoption.
pub(crate) struct Token {
    pub(crate) secret_sha256: [u8; 32],
    pub(crate) display_name: String,
    pub(crate) by: String,
    pub(crate) since: UtcInstant,
    pub(crate) expires: UtcInstant,
    pub(crate) used: Option<Used>,
}

/// What a token was used for.
pub(crate) struct Used {
    pub(crate) terminal: TerminalId,
    pub(crate) key_sha256: [u8; 32],
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) not_after: UtcInstant,
}

#[derive(sqlx::FromRow)]
struct RequestRow {
    request_id: Vec<u8>,
    terminal_id: Vec<u8>,
    hardware_id: String,
    display_name: String,
    software: String,
    csr: Vec<u8>,
    people: i64,
    events: i64,
    key_sha256: Vec<u8>,
    commitment: Vec<u8>,
    hub_nonce: Vec<u8>,
    digits: Option<String>,
    address: String,
    since_us: i64,
    expire_us: i64,
    chain: Option<Vec<u8>>,
    not_after_us: Option<i64>,
    is_accepted: i64,
}

impl RequestRow {
    fn request(self) -> Result<Request, TerminalError> {
        Ok(Request {
            request_id: array(&self.request_id)?,
            applicant: Applicant {
                terminal: terminal(&self.terminal_id)?,
                hardware: self.hardware_id,
                display_name: self.display_name,
                software: self.software,
                csr: self.csr,
                people: self.people,
                events: self.events,
            },
            key_sha256: array(&self.key_sha256)?,
            commitment: array(&self.commitment)?,
            hub_nonce: array(&self.hub_nonce)?,
            digits: self.digits,
            address: self.address,
            since: UtcInstant::from_micros(self.since_us),
            expires: UtcInstant::from_micros(self.expire_us),
            chain: self.chain.as_deref().map(chain).transpose()?,
            not_after: self.not_after_us.map(UtcInstant::from_micros),
            is_accepted: self.is_accepted != 0,
        })
    }
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    display_name: String,
    made_by: String,
    since_us: i64,
    expire_us: i64,
    terminal_id: Option<Vec<u8>>,
    key_sha256: Option<Vec<u8>>,
    chain: Option<Vec<u8>>,
    not_after_us: Option<i64>,
}

impl TokenRow {
    fn token(self, secret_sha256: [u8; 32]) -> Result<Token, TerminalError> {
        let used = match (self.terminal_id, self.key_sha256, self.chain, self.not_after_us) {
            (Some(id), Some(key), Some(bytes), Some(not_after_us)) => Some(Used {
                terminal: terminal(&id)?,
                key_sha256: array(&key)?,
                chain: chain(&bytes)?,
                not_after: UtcInstant::from_micros(not_after_us),
            }),
            _ => None,
        };
        Ok(Token {
            secret_sha256,
            display_name: self.display_name,
            by: self.made_by,
            since: UtcInstant::from_micros(self.since_us),
            expires: UtcInstant::from_micros(self.expire_us),
            used,
        })
    }
}

const DAMAGED: TerminalError = TerminalError::Unreadable("a request to be adopted");

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], TerminalError> {
    bytes.try_into().map_err(|_| DAMAGED)
}

fn terminal(bytes: &[u8]) -> Result<TerminalId, TerminalError> {
    TerminalId::try_from(bytes).map_err(|_| DAMAGED)
}

fn chain(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, TerminalError> {
    let mut certificates = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(DAMAGED)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DAMAGED)?;
        let (certificate, rest) = rest.split_at_checked(length).ok_or(DAMAGED)?;
        certificates.push(certificate.to_vec());
        bytes = rest;
    }
    Ok(certificates)
}

fn chain_bytes(chain: &[Vec<u8>]) -> Vec<u8> {
    let length = |certificate: &[u8]| u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_be_bytes();
    chain.iter().flat_map(|one| length(one).into_iter().chain(one.iter().copied())).collect()
}

/// Forgets requests and tokens whose time is over.
pub(crate) async fn forget_expired(tx: &mut Tx, now: UtcInstant) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from adoption_request where expire_us <= $1")
            .bind(now.micros())
            .execute(&mut *connection)
            .await?;
        // A little longer, so that whoever comes late is told that it was too late.
        sqlx::query("delete from adoption_token where expire_us <= $1")
            .bind(now.before(TOKEN_REMEMBERED).micros())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

const TOKEN_REMEMBERED: std::time::Duration = std::time::Duration::from_secs(86_400);

pub(crate) async fn forget_request(tx: &mut Tx, request_id: &[u8; 16]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from adoption_request where request_id = $1")
            .bind(&request_id[..])
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Forgets the request that this terminal made with this key.
pub(crate) async fn forget_request_of(
    tx: &mut Tx,
    terminal: TerminalId,
    key_sha256: &[u8; 32],
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from adoption_request where terminal_id = $1 and key_sha256 = $2")
            .bind(terminal.as_bytes())
            .bind(&key_sha256[..])
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Requests, of one address or of all.
pub(crate) async fn count_requests(tx: &mut Tx, address: Option<&str>) -> Result<i64, StoreError> {
    on!(tx, connection => {
        match address {
            None => sqlx::query_scalar("select count(*) from adoption_request").fetch_one(connection).await,
            Some(address) => {
                sqlx::query_scalar("select count(*) from adoption_request where address = $1")
                    .bind(address)
                    .fetch_one(connection)
                    .await
            }
        }
    })
}

pub(crate) async fn insert_request(tx: &mut Tx, request: &Request) -> Result<(), StoreError> {
    let applicant = &request.applicant;
    on!(tx, connection => {
        sqlx::query(
            "insert into adoption_request (request_id, terminal_id, hardware_id, display_name, software, csr, people,
                events, key_sha256, commitment, hub_nonce, address, since_us, expire_us, accepted_by, is_accepted)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '', 0)",
        )
        .bind(&request.request_id[..])
        .bind(applicant.terminal.as_bytes())
        .bind(&applicant.hardware)
        .bind(&applicant.display_name)
        .bind(&applicant.software)
        .bind(&applicant.csr)
        .bind(applicant.people)
        .bind(applicant.events)
        .bind(&request.key_sha256[..])
        .bind(&request.commitment[..])
        .bind(&request.hub_nonce[..])
        .bind(&request.address)
        .bind(request.since.micros())
        .bind(request.expires.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// A request whose time is not over; in a write nobody else changes it until that ends.
pub(crate) async fn request(
    tx: &mut Tx,
    request_id: &[u8; 16],
    now: UtcInstant,
) -> Result<Option<Request>, TerminalError> {
    let row: Option<RequestRow> = on!(tx, connection => {
        sqlx::query_as("select * from adoption_request where request_id = $1 and expire_us > $2")
            .bind(&request_id[..])
            .bind(now.micros())
            .fetch_optional(connection)
            .await
    })?;
    row.map(RequestRow::request).transpose()
}

/// The request of a terminal that has these digits.
pub(crate) async fn request_with_digits(
    tx: &mut Tx,
    terminal: TerminalId,
    digits: &str,
    now: UtcInstant,
) -> Result<Option<Request>, TerminalError> {
    let select = dialect::for_update(
        tx,
        "select * from adoption_request where terminal_id = $1 and digits = $2 and expire_us > $3
            order by since_us desc limit 1",
    );
    let row: Option<RequestRow> = on!(tx, connection => {
        sqlx::query_as(select)
            .bind(terminal.as_bytes())
            .bind(digits)
            .bind(now.micros())
            .fetch_optional(connection)
            .await
    })?;
    row.map(RequestRow::request).transpose()
}

/// Requests with digits that nobody has accepted, the oldest first.
pub(crate) async fn requests_to_show(tx: &mut Tx, now: UtcInstant) -> Result<Vec<Request>, TerminalError> {
    let rows: Vec<RequestRow> = on!(tx, connection => {
        sqlx::query_as(
            "select * from adoption_request where digits is not null and is_accepted = 0 and expire_us > $1
                order by since_us, request_id",
        )
        .bind(now.micros())
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(RequestRow::request).collect()
}

pub(crate) async fn put_digits(tx: &mut Tx, request_id: &[u8; 16], digits: &str) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update adoption_request set digits = $2 where request_id = $1")
            .bind(&request_id[..])
            .bind(digits)
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// The certificate that a request ends in, which is good to be fetched until `expires`.
pub(crate) async fn put_chain(
    tx: &mut Tx,
    request_id: &[u8; 16],
    chain: &[Vec<u8>],
    not_after: UtcInstant,
    by: &str,
    expires: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update adoption_request set chain = $2, not_after_us = $3, accepted_by = $4, expire_us = $5
                where request_id = $1",
        )
        .bind(&request_id[..])
        .bind(chain_bytes(chain))
        .bind(not_after.micros())
        .bind(by)
        .bind(expires.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

pub(crate) async fn put_accepted(tx: &mut Tx, request_id: &[u8; 16]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update adoption_request set is_accepted = 1 where request_id = $1")
            .bind(&request_id[..])
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// Tokens whose time is not over.
pub(crate) async fn count_tokens(tx: &mut Tx, now: UtcInstant) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from adoption_token where expire_us > $1")
            .bind(now.micros())
            .fetch_one(connection)
            .await
    })
}

pub(crate) async fn insert_token(tx: &mut Tx, token: &Token) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into adoption_token (secret_sha256, display_name, made_by, since_us, expire_us)
            values ($1, $2, $3, $4, $5)",
        )
        .bind(&token.secret_sha256[..])
        .bind(&token.display_name)
        .bind(&token.by)
        .bind(token.since.micros())
        .bind(token.expires.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// A token, which nobody else uses until this transaction ends.
pub(crate) async fn token(tx: &mut Tx, secret_sha256: &[u8; 32]) -> Result<Option<Token>, TerminalError> {
    let select = dialect::for_update(
        tx,
        "select display_name, made_by, since_us, expire_us, terminal_id, key_sha256, chain, not_after_us
            from adoption_token where secret_sha256 = $1",
    );
    let row: Option<TokenRow> = on!(tx, connection => {
        sqlx::query_as(select).bind(&secret_sha256[..]).fetch_optional(connection).await
    })?;
    row.map(|row| row.token(*secret_sha256)).transpose()
}

pub(crate) async fn put_used(tx: &mut Tx, secret_sha256: &[u8; 32], used: &Used) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update adoption_token set terminal_id = $2, key_sha256 = $3, chain = $4, not_after_us = $5
                where secret_sha256 = $1",
        )
        .bind(&secret_sha256[..])
        .bind(used.terminal.as_bytes())
        .bind(&used.key_sha256[..])
        .bind(chain_bytes(&used.chain))
        .bind(used.not_after.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// A terminal has shown a certificate of this authority.
pub(crate) async fn put_shown(
    tx: &mut Tx,
    terminal: TerminalId,
    authority: &[u8],
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into adoption_shown (terminal_id, authority_id, since_us) values ($1, $2, $3)
            on conflict (terminal_id) do update set authority_id = excluded.authority_id,
                since_us = excluded.since_us",
        )
        .bind(terminal.as_bytes())
        .bind(authority)
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Terminals whose certificate, as they last showed it, is of this authority.
pub(crate) async fn terminals_that_showed(
    tx: &mut Tx,
    authority: &[u8],
) -> Result<Vec<TerminalId>, TerminalError> {
    let rows: Vec<Vec<u8>> = on!(tx, connection => {
        sqlx::query_scalar("select terminal_id from adoption_shown where authority_id = $1")
            .bind(authority)
            .fetch_all(connection)
            .await
    })?;
    rows.iter().map(|id| terminal(id)).collect()
}
