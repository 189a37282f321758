//! How a hub takes terminals in: [`Adoptions`].
//!
//! By digits: a terminal asks, its screen and the hub show the same six digits, an operator compares them and accepts.
//! By token: an operator makes a text that has the hub's pin and a secret; a terminal that shows the secret is taken in.
//! `proto/rollcall/v1/adoption.proto` has the steps.
//!
//! Promises, whatever crashes, and with several processes over one database: a request or a token ends in one
//! certificate or in none. It is signed and stored in one transaction; then the terminal is registered with its key;
//! only then is it told. Whoever repeats a step gets the same certificate, and the registry has one key of a terminal
//! in force. Times are the hub's alone. A secret is kept as its SHA-256.
//!
//! Here too, because whoever signs has to know: the renewal of certificates, and when an authority that was taken over
//! from can go ([`Adoptions::end_rotation`]).

mod digits;
mod join_token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::{Fault, Reason, TerminalId, UtcInstant, limits};
use rollcall_store::{Db, Writes};
use sha2::{Digest as _, Sha256};

use crate::TerminalError;
use crate::adopting::{Adopting, Answering, Asking, NewToken};
use crate::store::adoption as store;

pub use digits::{Sides, digits, spaced};
pub use join_token::{JoinToken, NoToken, SECRET_SIZE_BYTES};

/// What the program does for adoption.
pub trait AdoptingHub: Send + Sync + 'static {
    /// SHA-256 of the public key that a certificate signing request is for.
    ///
    /// # Errors
    /// `FIELD_INVALID`: it is none, or its key is not taken.
    fn requested_key(&self, csr: &[u8]) -> Result<[u8; 32], Fault>;

    /// Signs a terminal's certificate.
    ///
    /// # Errors
    /// As [`AdoptingHub::requested_key`]; the authority's files.
    fn sign(&self, csr: &[u8], terminal: TerminalId, now: UtcInstant) -> Result<SignedCertificate, Fault>;

    /// The authorities that the terminals are to trust: first the one whose certificate the hub shows.
    ///
    /// # Errors
    /// Their files.
    fn authorities(&self, now: UtcInstant) -> Result<Vec<TrustedAuthority>, Fault>;

    /// While another authority takes over: how certificates name it.
    ///
    /// # Errors
    /// Their files.
    fn next_authority(&self, now: UtcInstant) -> Result<Option<Vec<u8>>, Fault>;

    /// The old authority goes.
    ///
    /// # Errors
    /// Their files.
    fn end_rotation(&self, now: UtcInstant) -> Result<(), Fault>;

    /// What the site is called, and where terminals reach the hub, host:port, the best first.
    fn site(&self) -> Answering<'_, AdoptingSite>;
}

/// A terminal's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificate {
    /// The certificate, then its authority, DER.
    pub chain: Vec<Vec<u8>>,
    /// When it ends.
    pub not_after: UtcInstant,
}

/// An authority that certificates are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedAuthority {
    /// DER.
    pub der: Vec<u8>,
    /// SHA-256 of its public key, by which it is pinned.
    pub key_sha256: [u8; 32],
}

/// See [`AdoptingHub::site`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptingSite {
    /// The site's name.
    pub name: String,
    /// host:port, the best first.
    pub addresses: Vec<String>,
}

/// The table of the terminals that belong to the hub.
pub trait AdoptedTerminals: Send + Sync + 'static {
    /// Registers a terminal, again where it was before. From now on no other key of it is trusted. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// A value out of its range; the database.
    fn register(&self, newcomer: Newcomer, now: UtcInstant) -> Answering<'_, ()>;

    /// A terminal is to get another certificate for its key, until `not_after`.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID` when this is not the key in force.
    fn renewed(
        &self,
        terminal: TerminalId,
        key_sha256: [u8; 32],
        not_after: UtcInstant,
        now: UtcInstant,
    ) -> Answering<'_, ()>;

    /// Those that are not revoked.
    ///
    /// # Errors
    /// The database.
    fn in_force(&self) -> Answering<'_, Vec<TerminalId>>;
}

/// A terminal that was adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Who, as it says itself, but for the name, which the operator may have given.
    pub applicant: Applicant,
    /// Where it asked from.
    pub address: String,
    /// The one key in force from now on.
    pub key_sha256: [u8; 32],
    /// When its certificate ends.
    pub not_after: UtcInstant,
    /// Who adopted it, `accounts/ID` or `tokens/ID`.
    pub by: String,
}

/// Who asks to be adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// Which.
    pub terminal: TerminalId,
    /// What its machine is known by, as [`crate::hardware_id`] has it.
    pub hardware: String,
    /// The door's name.
    pub display_name: String,
    /// Version of its software.
    pub software: String,
    /// Its certificate signing request, DER.
    pub csr: Vec<u8>,
    /// People that it would bring.
    pub people: i64,
    /// Events that it would bring.
    pub events: i64,
}

impl Applicant {
    fn check(&self) -> Result<(), TerminalError> {
        let texts = [
            ("applicant.hw_id", &self.hardware, limits::APPLICANT_TEXT_CHARS),
            ("applicant.display_name", &self.display_name, limits::TERMINAL_NAME_CHARS),
            ("applicant.software", &self.software, limits::APPLICANT_TEXT_CHARS),
        ];
        texts.into_iter().try_for_each(|(field, text, chars)| check_line(field, text, chars))?;
        let counts = [("applicant.people", self.people), ("applicant.events", self.events)];
        match counts.into_iter().find(|(_, count)| *count < 0) {
            Some((field, _)) => Err(wrong(field, "is less than none")),
            None => Ok(()),
        }
    }
}

/// A request was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// For the next steps; a secret between the two.
    pub request_id: [u8; 16],
    /// The hub's part of the digits.
    pub hub_nonce: [u8; 32],
}

/// A terminal belongs to the hub: what it has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its certificate, then the authority of that, DER.
    pub chain: Vec<Vec<u8>>,
    /// Whom to take for the hub, DER.
    pub authorities: Vec<Vec<u8>>,
    /// The site.
    pub site: AdoptingSite,
}

/// How long a request or a token is good for.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Takes terminals in. A clone is another handle to the same.
#[derive(Clone)]
pub struct Adoptions {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    writes: Writes,
    hub: Arc<dyn AdoptingHub>,
    terminals: Arc<dyn AdoptedTerminals>,
    /// The authorities that terminals are known to have shown, so that only a change is written.
    shown: Mutex<HashMap<TerminalId, Vec<u8>>>,
}

impl Adoptions {
    /// The requests and tokens in `db`, whose schema has [`crate::ADOPTION_MIGRATIONS`].
    pub fn new(
        db: Db,
        writes: Writes,
        hub: Arc<dyn AdoptingHub>,
        terminals: Arc<dyn AdoptedTerminals>,
    ) -> Self {
        let shown = Mutex::default();
        Self { inner: Arc::new(Inner { db, writes, hub, terminals, shown }) }
    }

    /// A terminal asks to be adopted. Its earlier request with the same key is forgotten.
    ///
    /// # Errors
    /// `FIELD_INVALID`; `LIMIT_REACHED` when too many ask.
    pub async fn begin(
        &self,
        applicant: Applicant,
        commitment: [u8; 32],
        address: IpAddr,
        now: UtcInstant,
    ) -> Result<Begun, TerminalError> {
        applicant.check()?;
        let key_sha256 = self.inner.hub.requested_key(&applicant.csr).map_err(TerminalError::Refused)?;
        let begun = Begun { request_id: random()?, hub_nonce: random()? };
        let request = store::Request {
            request_id: begun.request_id,
            applicant,
            key_sha256,
            commitment,
            hub_nonce: begun.hub_nonce,
            digits: None,
            address: address.to_string(),
            since: now,
            expires: now.after(PATIENCE),
            chain: None,
            not_after: None,
            is_accepted: false,
        };
        let inner = Arc::clone(&self.inner);
        let write = async move {
            let mut tx = inner.db.write().await?;
            store::forget_expired(&mut tx, now).await?;
            store::forget_request_of(&mut tx, request.applicant.terminal, &request.key_sha256).await?;
            let all = store::count_requests(&mut tx, None).await?;
            let of_address = store::count_requests(&mut tx, Some(&request.address)).await?;
            if all >= limits::ADOPTION_REQUESTS || of_address >= limits::ADOPTION_REQUESTS_PER_ADDRESS {
                let message =
                    "too many terminals ask to be adopted; accept those that should, or wait 15 minutes";
                return Err(refused(Reason::LimitReached, message));
            }
            store::insert_request(&mut tx, &request).await?;
            Ok(tx.commit().await?)
        };
        self.inner.writes.run(write).await?;
        Ok(begun)
    }

    /// The terminal shows the nonce that it committed to: from now on operators see it. A wrong one ends the request, so
    /// that nobody tries two.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CREDENTIALS_INVALID`.
    pub async fn reveal(
        &self,
        request_id: [u8; 16],
        nonce: [u8; 32],
        now: UtcInstant,
    ) -> Result<(), TerminalError> {
        let authority = self.inner.shown_authority(now)?;
        let inner = Arc::clone(&self.inner);
        let write = async move {
            let mut tx = inner.db.write().await?;
            let request = store::request(&mut tx, &request_id, now).await?.ok_or_else(gone)?;
            if <[u8; 32]>::from(Sha256::digest(nonce)) != request.commitment {
                store::forget_request(&mut tx, &request_id).await?;
                tx.commit().await?;
                let message = "this is not the nonce that was committed to; begin anew";
                return Err(refused(Reason::CredentialsInvalid, message));
            }
            let sides = Sides {
                authority_sha256: authority.key_sha256,
                terminal_key_sha256: request.key_sha256,
                hub_nonce: request.hub_nonce,
                terminal_nonce: nonce,
            };
            store::put_digits(&mut tx, &request_id, &digits(&sides)).await?;
            Ok(tx.commit().await?)
        };
        self.inner.writes.run(write).await
    }

    /// Whether an operator has accepted; `None`: not yet.
    ///
    /// # Errors
    /// `NOT_FOUND`: its time is over, or it took its own place.
    pub async fn wait(
        &self,
        request_id: [u8; 16],
        now: UtcInstant,
    ) -> Result<Option<Granted>, TerminalError> {
        let request = store::request(&mut self.inner.db.read().await?, &request_id, now).await?;
        match request.ok_or_else(gone)? {
            store::Request { is_accepted: true, chain: Some(chain), .. } => {
                self.inner.granted(chain, now).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A terminal shows the secret of a token. With the same key it gets the same answer, as long as the token lives.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID`: there is no such token, or another terminal used it; `TOKEN_EXPIRED`; `FIELD_INVALID`.
    pub async fn redeem(
        &self,
        secret: &str,
        applicant: Applicant,
        address: IpAddr,
        now: UtcInstant,
    ) -> Result<Granted, TerminalError> {
        applicant.check()?;
        let key_sha256 = self.inner.hub.requested_key(&applicant.csr).map_err(TerminalError::Refused)?;
        let secret_sha256 = Sha256::digest(secret).into();
        let inner = Arc::clone(&self.inner);
        let write = async move {
            let used = inner.use_token(secret_sha256, applicant, key_sha256, now).await;
            let (token, mut applicant, signed) = used.inspect_err(|error| {
                tracing::warn!(%address, reason = error.fault().reason.as_str(), "an adoption token was refused");
            })?;
            if !token.display_name.is_empty() {
                applicant.display_name = token.display_name;
            }
            let (terminal, chain) = (applicant.terminal, signed.chain.clone());
            inner
                .register(applicant, address.to_string(), key_sha256, &signed, token.by.clone(), now)
                .await?;
            tracing::info!(terminal = %terminal, by = token.by, %address, "a terminal was adopted by a token");
            inner.granted(chain, now).await
        };
        self.inner.writes.run(write).await
    }

    /// Signs another certificate for the key that a terminal has.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID` for another key; `FIELD_INVALID`; the authority's files.
    pub async fn renew(
        &self,
        terminal: TerminalId,
        csr: &[u8],
        now: UtcInstant,
    ) -> Result<Vec<Vec<u8>>, TerminalError> {
        let key = self.inner.hub.requested_key(csr).map_err(TerminalError::Refused)?;
        let signed = self.inner.hub.sign(csr, terminal, now).map_err(TerminalError::Refused)?;
        self.inner.terminals.renewed(terminal, key, signed.not_after, now).await?;
        Ok(signed.chain)
    }

    /// A terminal showed a certificate of this authority: it has it, and knows the authority too.
    ///
    /// # Errors
    /// The database.
    pub async fn shown(
        &self,
        terminal: TerminalId,
        authority: &[u8],
        now: UtcInstant,
    ) -> Result<(), TerminalError> {
        if self.inner.known_shown().get(&terminal).is_some_and(|known| known == authority) {
            return Ok(());
        }
        let (inner, authority) = (Arc::clone(&self.inner), authority.to_vec());
        let write = async move {
            let mut tx = inner.db.write().await?;
            store::put_shown(&mut tx, terminal, &authority, now).await?;
            tx.commit().await?;
            inner.known_shown().insert(terminal, authority);
            Ok(())
        };
        self.inner.writes.run(write).await
    }

    /// While another authority takes over: lets the old one go when every terminal that is not revoked has shown a
    /// certificate of the new one, and else returns those that have not. To be called from time to time.
    ///
    /// # Errors
    /// The database, the authority's files.
    pub async fn end_rotation(&self, now: UtcInstant) -> Result<Vec<TerminalId>, TerminalError> {
        let next = self.inner.hub.next_authority(now).map_err(TerminalError::Refused)?;
        let Some(next) = next else { return Ok(Vec::new()) };
        let mut waiting = self.inner.terminals.in_force().await?;
        let renewed = store::terminals_that_showed(&mut self.inner.db.read().await?, &next).await?;
        waiting.retain(|terminal| !renewed.contains(terminal));
        if waiting.is_empty() {
            self.inner.hub.end_rotation(now).map_err(TerminalError::Refused)?;
        }
        Ok(waiting)
    }
}

impl Adopting for Adoptions {
    fn list(&self, now: UtcInstant) -> Answering<'_, Vec<Asking>> {
        Box::pin(async move {
            let requests = store::requests_to_show(&mut self.inner.db.read().await?, now).await?;
            Ok(requests.into_iter().filter_map(asking).collect())
        })
    }

    fn adopt(
        &self,
        terminal: TerminalId,
        display_name: String,
        digits: String,
        by: String,
        now: UtcInstant,
    ) -> Answering<'_, ()> {
        let inner = Arc::clone(&self.inner);
        let write = async move { inner.adopt(terminal, display_name, &digits, by, now).await };
        Box::pin(self.inner.writes.run(write))
    }

    fn create_token(&self, display_name: String, by: String, now: UtcInstant) -> Answering<'_, NewToken> {
        let inner = Arc::clone(&self.inner);
        let write = async move { inner.create_token(display_name, by, now).await };
        Box::pin(self.inner.writes.run(write))
    }
}

impl Inner {
    async fn adopt(
        &self,
        terminal: TerminalId,
        display_name: String,
        digits: &str,
        by: String,
        now: UtcInstant,
    ) -> Result<(), TerminalError> {
        check_line("display_name", &display_name, limits::TERMINAL_NAME_CHARS)?;
        let mut tx = self.db.write().await?;
        let digits: String = digits.chars().filter(|c| !c.is_whitespace()).collect();
        let found = store::request_with_digits(&mut tx, terminal, &digits, now).await?;
        let Some(mut request) = found else {
            let message = format!(
                "{} does not ask to be adopted with these digits; look at its screen again",
                terminal.name()
            );
            return Err(refused(Reason::NotFound, message));
        };
        if request.is_accepted {
            return Ok(());
        }
        if !display_name.is_empty() {
            request.applicant.display_name = display_name;
        }
        let signed = match (request.chain.take(), request.not_after) {
            (Some(chain), Some(not_after)) => SignedCertificate { chain, not_after },
            _ => {
                let signed = self.hub.sign(&request.applicant.csr, terminal, now);
                let signed = signed.map_err(TerminalError::Refused)?;
                let (chain, not_after) = (&signed.chain, signed.not_after);
                let expires = now.after(PATIENCE);
                store::put_chain(&mut tx, &request.request_id, chain, not_after, &by, expires).await?;
                signed
            }
        };
        tx.commit().await?;
        self.register(request.applicant, request.address, request.key_sha256, &signed, by.clone(), now)
            .await?;
        let mut tx = self.db.write().await?;
        store::put_accepted(&mut tx, &request.request_id).await?;
        tx.commit().await?;
        tracing::info!(terminal = %terminal, by, "a terminal was adopted by its digits");
        Ok(())
    }

    async fn create_token(
        &self,
        display_name: String,
        by: String,
        now: UtcInstant,
    ) -> Result<NewToken, TerminalError> {
        check_line("display_name", &display_name, limits::TERMINAL_NAME_CHARS)?;
        let pin = self.shown_authority(now)?.key_sha256;
        let addresses = self.hub.site().await?.addresses;
        let token = JoinToken { secret: random()?, pin, addresses };
        let stored = store::Token {
            secret_sha256: Sha256::digest(token.secret_text()).into(),
            display_name,
            by,
            since: now,
            expires: now.after(PATIENCE),
            used: None,
        };
        let mut tx = self.db.write().await?;
        store::forget_expired(&mut tx, now).await?;
        if store::count_tokens(&mut tx, now).await? >= limits::ADOPTION_TOKENS {
            let message =
                "there are as many adoption tokens as there may be; the oldest ends within 15 minutes";
            return Err(refused(Reason::LimitReached, message));
        }
        store::insert_token(&mut tx, &stored).await?;
        tx.commit().await?;
        tracing::info!(by = stored.by, "an adoption token was made");
        Ok(NewToken { text: token.to_text(), expires: stored.expires })
    }

    /// The token, and the certificate that it was used for, now or before.
    async fn use_token(
        &self,
        secret_sha256: [u8; 32],
        applicant: Applicant,
        key_sha256: [u8; 32],
        now: UtcInstant,
    ) -> Result<(store::Token, Applicant, SignedCertificate), TerminalError> {
        let mut tx = self.db.write().await?;
        let Some(token) = store::token(&mut tx, &secret_sha256).await? else {
            let message = "there is no such adoption token; make one at the hub";
            return Err(refused(Reason::CredentialsInvalid, message));
        };
        if now >= token.expires {
            let message = format!("the adoption token ended at {}; make another at the hub", token.expires);
            return Err(refused(Reason::TokenExpired, message));
        }
        if let Some(used) = &token.used {
            if (used.terminal, used.key_sha256) != (applicant.terminal, key_sha256) {
                let message = "the adoption token was used by another terminal; make another at the hub";
                return Err(refused(Reason::CredentialsInvalid, message));
            }
            let signed = SignedCertificate { chain: used.chain.clone(), not_after: used.not_after };
            return Ok((token, applicant, signed));
        }
        let signed =
            self.hub.sign(&applicant.csr, applicant.terminal, now).map_err(TerminalError::Refused)?;
        let used = store::Used {
            terminal: applicant.terminal,
            key_sha256,
            chain: signed.chain.clone(),
            not_after: signed.not_after,
        };
        store::put_used(&mut tx, &secret_sha256, &used).await?;
        tx.commit().await?;
        Ok((token, applicant, signed))
    }

    async fn register(
        &self,
        applicant: Applicant,
        address: String,
        key_sha256: [u8; 32],
        signed: &SignedCertificate,
        by: String,
        now: UtcInstant,
    ) -> Result<(), TerminalError> {
        let not_after = signed.not_after;
        self.terminals.register(Newcomer { applicant, address, key_sha256, not_after, by }, now).await
    }

    async fn granted(&self, chain: Vec<Vec<u8>>, now: UtcInstant) -> Result<Granted, TerminalError> {
        let authorities = self.hub.authorities(now).map_err(TerminalError::Refused)?;
        let authorities = authorities.into_iter().map(|authority| authority.der).collect();
        Ok(Granted { chain, authorities, site: self.hub.site().await? })
    }

    /// The authority of the certificate that the hub shows.
    fn shown_authority(&self, now: UtcInstant) -> Result<TrustedAuthority, TerminalError> {
        let authorities = self.hub.authorities(now).map_err(TerminalError::Refused)?;
        let missing = || refused(Reason::Internal, "the hub has no certificate authority");
        authorities.into_iter().next().ok_or_else(missing)
    }

    fn known_shown(&self) -> std::sync::MutexGuard<'_, HashMap<TerminalId, Vec<u8>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asking(request: store::Request) -> Option<Asking> {
    let applicant = request.applicant;
    Some(Asking {
        terminal: applicant.terminal,
        digits: request.digits?,
        address: request.address,
        since: request.since,
        display_name: applicant.display_name,
        software: applicant.software,
        people: u64::try_from(applicant.people).unwrap_or(0),
        events: u64::try_from(applicant.events).unwrap_or(0),
    })
}

fn check_line(field: &'static str, text: &str, chars: usize) -> Result<(), TerminalError> {
    if text.chars().any(char::is_control) {
        return Err(wrong(field, "has control characters; leave them out"));
    }
    match text.chars().count() {
        count if count > chars => Err(wrong(field, &format!("has {count} characters; give at most {chars}"))),
        _ => Ok(()),
    }
}

fn wrong(field: &'static str, problem: &str) -> TerminalError {
    TerminalError::Field { field, problem: problem.to_owned() }
}

fn refused(reason: Reason, message: impl ToString) -> TerminalError {
    TerminalError::Refused(Fault::new(reason, message))
}

fn gone() -> TerminalError {
    refused(Reason::NotFound, "there is no such request to be adopted any more; begin anew")
}

fn random<const N: usize>() -> Result<[u8; N], TerminalError> {
    let mut bytes = [0; N];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|_| refused(Reason::Internal, "the system gives no random bytes"))?;
    Ok(bytes)
}
