//! The hub's side: what it answers its terminals. The rules are in the machines beside this; here they meet what is stored.
//!
//! Nothing that one call knows is needed by another: several processes may answer the same terminal. What is stored is
//! stored although the terminal has gone.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rollcall_attendance::{Clock, Received};
use rollcall_core::{GalleryId, LogId, TerminalId, UtcInstant, limits};
use rollcall_gallery::{Gallery, Moment, Scope, Snapshot, in_chunks};
use rollcall_proto::v1;
use rollcall_store::{Db, Writes};
use rollcall_terminals::adoption::Adoptions;
use rollcall_terminals::{Answer, Contact, Fleet, HeldGallery, Hint, Hints, Opened};

use crate::contact::{self, Known, Pending, Verdict};
use crate::convert::{self, Hello};
use crate::gallery::{Decision, GalleryState, HistoryHash, OwnGallery, decide};
use crate::intake::{self, Held, Judgement, Overlap};
use crate::prune::{InBackup, prune_through};
use crate::uplink::Acked;
use crate::{SyncError, clock};

/// The versions of the protocol that this program speaks, the first and the last.
pub const PROTO: (i32, i32) = (1, 1);

/// So long before its end a certificate is made anew.
const RENEWAL: Duration = Duration::from_secs(30 * 86_400);

/// An answer that is being made.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, SyncError>> + Send + 'a>>;

/// Where each log is in backups of the hub that were read back after they were made.
pub trait Backups: Send + Sync + 'static {
    /// The last number of a log, and the chain there, in each of the two newest, the newest first; 0 where it has none.
    ///
    /// # Errors
    /// When that cannot be told.
    fn newest(&self, log_id: LogId) -> Answering<'_, Vec<rollcall_attendance::Position>>;
}

/// What the hub's side is made of.
pub struct HubParts {
    /// The database of the fleet.
    pub db: Db,
    /// The writes of the program.
    pub writes: Writes,
    /// The terminals' logs.
    pub received: Received,
    /// The people.
    pub gallery: Gallery,
    /// The terminals.
    pub fleet: Fleet,
    /// Their certificates.
    pub adoptions: Adoptions,
    /// The hub's clock.
    pub clock: Arc<dyn Clock>,
    /// When the program was made: its clock cannot be before that.
    pub program_made: UtcInstant,
    /// What is in backups.
    pub backups: Arc<dyn Backups>,
}

/// See the module. A clone is another handle to the same.
#[derive(Clone)]
pub struct Hub {
    parts: Arc<HubParts>,
}

/// What is sent of the gallery.
pub enum Pulled {
    /// Changes, and where they lead.
    Delta(Vec<v1::GalleryRows>, v1::GalleryState),
    /// Everything.
    Snapshot(Snapshot),
}

/// News for a terminal.
pub struct News {
    gallery: tokio::sync::watch::Receiver<i64>,
    hints: Hints,
}

impl Hub {
    /// The hub's side of these.
    pub fn new(parts: HubParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// A terminal calls.
    ///
    /// # Errors
    /// [`SyncError::Version`], [`SyncError::Malformed`]; what is stored does not answer.
    pub async fn open(
        &self,
        terminal: TerminalId,
        hello: v1::Hello,
        address: String,
    ) -> Result<v1::Welcome, SyncError> {
        let proto = spoken(hello.proto_min, hello.proto_max)?;
        let hello = Hello::try_from(hello)?;
        let this = self.clone();
        let contact = async move {
            let (known, verdict) = this.contact(terminal, &hello, address).await?;
            let welcome = v1::Welcome { proto, contact: known.contact, ..Default::default() };
            this.welcome(terminal, &hello, known.is_cloned, verdict, welcome).await
        };
        self.parts.writes.run(contact).await
    }

    async fn contact(
        &self,
        terminal: TerminalId,
        hello: &Hello,
        address: String,
    ) -> Result<(Known, Verdict), SyncError> {
        let now = UtcInstant::now();
        let mut tx = self.parts.db.write().await?;
        let known = known(Fleet::contact(&mut tx, terminal).await?, &hello.pending);
        let (known, verdict) = contact::judge(&known, &hello.pending, &hello.hw_id, now);
        Fleet::put_contact(&mut tx, terminal, &stored(&known, now)).await?;
        Fleet::opened(&mut tx, terminal, &opened(hello, address), now).await?;
        tx.commit().await?;
        match verdict {
            Verdict::Accepted | Verdict::Retry => {}
            Verdict::HubSteppedBack => tracing::warn!(
                terminal = %terminal,
                "a terminal has met this hub more often than the hub knows: it was restored from a backup"
            ),
            Verdict::Forked { cloned } => tracing::warn!(
                terminal = %terminal,
                cloned,
                "a terminal came back with an older state: its card was restored or copied"
            ),
        }
        Ok((known, verdict))
    }

    async fn welcome(
        &self,
        terminal: TerminalId,
        hello: &Hello,
        is_cloned: bool,
        verdict: Verdict,
        mut welcome: v1::Welcome,
    ) -> Result<v1::Welcome, SyncError> {
        let parts = &self.parts;
        let now = UtcInstant::now();
        let offered: Vec<(LogId, u64)> = hello.logs.iter().map(|log| (log.log_id, log.head)).collect();
        let held = parts.received.held(terminal, &offered).await?;
        let told = hello.logs.iter().zip(&held).map(|(offered, held)| {
            let own = Held { have: held.have.seq, have_hash: held.have.hash, gaps: &held.missing };
            own.told(offered, held.at_head).into()
        });
        welcome.logs = told.collect();
        let reading = parts.clock.read();
        let heard = self.heard(&reading, now).await?;
        let clock = clock::judge(&reading, parts.program_made, &heard);
        convert::tell(&mut welcome, reading.wall_us, clock::told(&reading, clock));
        let expires = parts.fleet.get(terminal).await?.certificate_expires;
        welcome.renew_certificate = expires < now.after(RENEWAL);
        if is_cloned {
            welcome.cloned = true;
            return Ok(welcome);
        }
        let ledger = hello.ledger.into();
        parts.gallery.confirm_erasures(terminal, &ledger, now).await?;
        welcome.ledger = Some(parts.gallery.ledger_state().await?);
        welcome.settings_revision = parts.fleet.pulled(terminal).await?.revision();
        welcome.offer_people = true;
        let scope = self.scope(terminal).await?;
        let (mut state, decision) =
            self.decide(&scope, &hello.gallery, verdict == Verdict::HubSteppedBack).await?;
        if decision == Decision::SteppedBack {
            let former = state.gallery_id;
            if let Some(former) = former {
                tracing::warn!("the gallery is older than what a terminal was told: a new history begins");
                parts.gallery.new_history(former, now).await?;
            }
            state = self.state(&mut parts.gallery.moment().await?, &scope).await?;
        }
        welcome.offer_gallery = decision.wants_offer();
        welcome.gallery = Some(state.into());
        Ok(welcome)
    }

    /// What a terminal is to be sent, and the gallery as it is for it.
    async fn decide(
        &self,
        scope: &Scope,
        theirs: &GalleryState,
        is_restored: bool,
    ) -> Result<(GalleryState, Decision), SyncError> {
        let mut moment = self.parts.gallery.moment().await?;
        let now = self.state(&mut moment, scope).await?;
        let then = moment.history_hash_at(theirs.revision).await?.map(HistoryHash::from_bytes);
        let is_former = match theirs.gallery_id {
            Some(id) => moment.is_former(id).await?,
            None => false,
        };
        let own = OwnGallery { now, is_former, history_hash_then: then, is_restored };
        Ok((now, decide(theirs, &own)))
    }

    async fn state(&self, moment: &mut Moment, scope: &Scope) -> Result<GalleryState, SyncError> {
        let state = moment.state(scope).await?;
        Ok(GalleryState::try_from(&state)?)
    }

    /// Whose people a terminal may have.
    async fn scope(&self, terminal: TerminalId) -> Result<Scope, SyncError> {
        Ok(Scope::of(self.parts.fleet.settings(terminal).await?.settings.groups))
    }

    /// What the terminals' clocks said, by the hub's clock that does not jump.
    async fn heard(
        &self,
        hub: &rollcall_attendance::Reading,
        now: UtcInstant,
    ) -> Result<Vec<clock::Heard>, SyncError> {
        let clocks = self.parts.fleet.clocks(now).await?;
        let heard = clocks.into_iter().map(|one| clock::Heard {
            terminal_id: one.terminal,
            wall_us: one.said.micros(),
            quality: rollcall_attendance::quality(one.quality.into()),
            boot_id: hub.boot_id,
            boottime_us: hub.boottime_us.saturating_sub(now.micros().saturating_sub(one.at.micros())),
        });
        Ok(heard.collect())
    }

    /// Events of one log come in.
    ///
    /// # Errors
    /// [`SyncError::Forked`], [`SyncError::Position`]; a batch beyond its limits; a log of another terminal.
    pub async fn push(&self, terminal: TerminalId, push: v1::PushRequest) -> Result<v1::Ack, SyncError> {
        let this = self.clone();
        self.parts.writes.run(async move { this.take_in(terminal, &push).await }).await
    }

    async fn take_in(&self, terminal: TerminalId, push: &v1::PushRequest) -> Result<v1::Ack, SyncError> {
        let (log_id, batch) = convert::batch(push)?;
        batch.check()?;
        let now = UtcInstant::now();
        // Before the log is locked: with the log's transaction open, a second connection would have to be waited for.
        let backups = self.parts.backups.newest(log_id).await?;
        let mut receiving = self.parts.received.lock(terminal, log_id, now).await?;
        let position = receiving.position();
        let missing = receiving.missing().await?;
        let held = Held { have: position.seq, have_hash: position.hash, gaps: &missing };
        let compared = batch.compared(&held);
        let mut overlap = Overlap::default();
        if let Some(before) = compared.before {
            overlap.before = receiving.hash_at(before).await?;
        }
        if let Some(end) = compared.end {
            overlap.end = receiving.hash_at(end).await?;
        }
        match intake::judge(&held, &batch, overlap) {
            Judgement::Append { skip } => receiving.append(&batch.events[skip..]).await?,
            Judgement::Nothing => {}
            Judgement::Gap { from, to } => {
                tracing::error!(
                    terminal = %terminal,
                    from,
                    to,
                    "events are missing for ever: the terminal has deleted them, and this hub has lost them"
                );
                receiving.record_gap(to, batch.prev_hash).await?;
                receiving.append(batch.events).await?;
            }
            Judgement::Forked => return Err(SyncError::Forked),
            Judgement::Rewind { have } => return Err(SyncError::Position { have }),
        }
        let aged = now.before(Duration::from_secs(limits::PRUNE_WITHOUT_BACKUP_DAYS * 86_400));
        let aged = receiving.arrived_by(aged).await?;
        let mut in_backups = Vec::new();
        for backup in backups {
            let hash_at_hub = receiving.hash_at(backup.seq).await?;
            in_backups.push(InBackup { seq: backup.seq, hash: backup.hash, hash_at_hub });
        }
        let position = receiving.commit().await?;
        let prune_through = prune_through(position.seq, aged, &in_backups);
        Ok(Acked { log_id, have: position.seq, have_hash: position.hash, prune_through }.into())
    }

    /// The gallery for a terminal that has this.
    ///
    /// # Errors
    /// [`SyncError::OpenAgain`] when this hub was restored after the terminal has called.
    pub async fn pull_gallery(
        &self,
        terminal: TerminalId,
        have: Option<v1::GalleryState>,
    ) -> Result<Pulled, SyncError> {
        self.refuse_clone(terminal).await?;
        let theirs = have.as_ref().map(GalleryState::try_from).transpose()?.unwrap_or_default();
        let scope = self.scope(terminal).await?;
        let (state, decision) = self.decide(&scope, &theirs, false).await?;
        match decision {
            Decision::SteppedBack => Err(SyncError::OpenAgain),
            Decision::Nothing => Ok(Pulled::Delta(Vec::new(), state.into())),
            Decision::Delta { after } => self.delta(after, &scope).await,
            Decision::Snapshot | Decision::OfferThenSnapshot => self.snapshot(&scope).await,
        }
    }

    async fn delta(&self, after: u64, scope: &Scope) -> Result<Pulled, SyncError> {
        let mut moment = self.parts.gallery.moment().await?;
        match moment.rows_after(after, scope).await? {
            Some(rows) => Ok(Pulled::Delta(in_chunks(rows), moment.state(scope).await?)),
            None => {
                drop(moment);
                self.snapshot(scope).await
            }
        }
    }

    async fn snapshot(&self, scope: &Scope) -> Result<Pulled, SyncError> {
        Ok(Pulled::Snapshot(self.parts.gallery.snapshot(scope).await?))
    }

    /// A terminal offers rows that this hub may have lost; `history` is the one that it was told.
    ///
    /// # Errors
    /// [`SyncError::Malformed`]; what is stored does not answer. Rows that are not taken are counted.
    pub async fn take_back(
        &self,
        terminal: TerminalId,
        offer: v1::OfferGalleryRequest,
    ) -> Result<v1::OfferGalleryResponse, SyncError> {
        self.refuse_clone(terminal).await?;
        let history =
            GalleryId::try_from(&offer.gallery_id[..]).map_err(|_| SyncError::field("gallery_id"))?;
        let rows = offer.rows.unwrap_or_default().rows;
        let taken = self.parts.gallery.take_back(history, rows, UtcInstant::now()).await?;
        if taken.refused > 0 {
            tracing::warn!(terminal = %terminal, refused = taken.refused, "rows that a terminal offered were not taken");
        }
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(v1::OfferGalleryResponse { taken: number(taken.taken), refused: number(taken.refused) })
    }

    /// A terminal's people of before it was adopted.
    ///
    /// # Errors
    /// What no terminal offers; what is stored does not answer.
    pub async fn propose(
        &self,
        terminal: TerminalId,
        people: Vec<v1::OfferPeopleRequest>,
    ) -> Result<i64, SyncError> {
        self.refuse_clone(terminal).await?;
        let new = self.parts.gallery.propose(terminal, people, UtcInstant::now()).await?;
        Ok(i64::try_from(new).unwrap_or(i64::MAX))
    }

    /// The ledger, both ways.
    ///
    /// # Errors
    /// A line that this hub did not make; what is stored does not answer.
    pub async fn exchange_ledger(
        &self,
        terminal: TerminalId,
        request: v1::ExchangeLedgerRequest,
    ) -> Result<v1::ExchangeLedgerResponse, SyncError> {
        self.refuse_clone(terminal).await?;
        let gallery = &self.parts.gallery;
        let new = gallery.take_ledger(&request.lines, UtcInstant::now()).await?;
        if new > 0 {
            tracing::warn!(terminal = %terminal, new, "a terminal knew of erasures that this hub had lost");
        }
        let theirs = request.have.unwrap_or_default();
        let lines = gallery.ledger_lines_lacking(&theirs, &request.lines).await?;
        Ok(v1::ExchangeLedgerResponse { have: Some(gallery.ledger_state().await?), lines })
    }

    /// News for a terminal from now on.
    ///
    /// # Errors
    /// What is stored does not answer.
    pub async fn news(&self, terminal: TerminalId) -> Result<News, SyncError> {
        self.refuse_clone(terminal).await?;
        let revision = self.parts.fleet.pulled(terminal).await?.revision();
        let hints = self.parts.fleet.hints(terminal, revision).await?;
        let mut gallery = self.parts.gallery.revisions();
        // What there is now is hinted at once: it may be newer than the Welcome.
        gallery.mark_changed();
        Ok(News { gallery, hints })
    }

    /// All that a terminal is told besides people.
    ///
    /// # Errors
    /// What is stored does not answer.
    pub async fn settings(&self, terminal: TerminalId) -> Result<v1::PullSettingsResponse, SyncError> {
        self.refuse_clone(terminal).await?;
        Ok(self.parts.fleet.pulled(terminal).await?.into())
    }

    /// How a terminal is.
    ///
    /// # Errors
    /// A report that is none; what is stored does not answer.
    pub async fn report(
        &self,
        terminal: TerminalId,
        request: v1::ReportStatusRequest,
    ) -> Result<(), SyncError> {
        let report = request.try_into()?;
        Ok(self.parts.fleet.reported(terminal, report, UtcInstant::now()).await?)
    }

    /// What became of a command.
    ///
    /// # Errors
    /// A command that this terminal was not given; what is stored does not answer.
    pub async fn answered(
        &self,
        terminal: TerminalId,
        request: &v1::AnswerCommandRequest,
    ) -> Result<(), SyncError> {
        let command = rollcall_core::CommandId::try_from(&request.command_id[..])
            .map_err(|_| SyncError::field("command_id"))?;
        let answer = Answer::from_proto(request);
        Ok(self.parts.fleet.answer(terminal, command, answer).await?)
    }

    /// Another certificate for the key that a terminal has.
    ///
    /// # Errors
    /// Another key; what is no request.
    pub async fn renew(&self, terminal: TerminalId, csr: &[u8]) -> Result<Vec<Vec<u8>>, SyncError> {
        Ok(self.parts.adoptions.renew(terminal, csr, UtcInstant::now()).await?)
    }

    /// Nothing comes down to two devices with one certificate.
    async fn refuse_clone(&self, terminal: TerminalId) -> Result<(), SyncError> {
        let mut tx = self.parts.db.read().await?;
        let contact = Fleet::contact(&mut tx, terminal).await?;
        match contact.is_some_and(|contact| contact.cloned.is_some()) {
            true => Err(SyncError::Cloned),
            false => Ok(()),
        }
    }
}

impl News {
    /// The next; `None` when the terminal has a newer connection or is revoked.
    ///
    /// # Errors
    /// What is stored does not answer.
    pub async fn next(&mut self) -> Result<Option<v1::Hint>, SyncError> {
        loop {
            tokio::select! {
                changed = self.gallery.changed() => {
                    // The sender lives as long as the gallery.
                    let _ = changed;
                    let revision = self.gallery.borrow_and_update().unsigned_abs();
                    return Ok(Some(v1::Hint { gallery_revision: revision, ..Default::default() }));
                }
                hint = self.hints.next() => match hint? {
                    None => return Ok(None),
                    Some(Hint::Settings(revision)) => {
                        return Ok(Some(v1::Hint { settings_revision: revision, ..Default::default() }));
                    }
                    Some(Hint::Command(command)) => {
                        if let Some(command) = command.to_proto(UtcInstant::now()) {
                            return Ok(Some(v1::Hint { command: Some(command), ..Default::default() }));
                        }
                    }
                },
            }
        }
    }
}

/// The version to be spoken with a terminal that speaks these.
fn spoken(min: i32, max: i32) -> Result<i32, SyncError> {
    let newest = max.min(PROTO.1);
    match newest >= min.max(PROTO.0) {
        true => Ok(newest),
        false if max < PROTO.0 => Err(SyncError::Version { older: "terminal", theirs: max, ours: PROTO.0 }),
        false => Err(SyncError::Version { older: "hub", theirs: min, ours: PROTO.1 }),
    }
}

/// What the machine needs of a stored contact. A terminal that was just adopted begins with whatever it says.
fn known(contact: Option<Contact>, pending: &Pending) -> Known {
    match contact {
        None => Known { contact: pending.contact.saturating_sub(1), ..Known::default() },
        Some(contact) => Known {
            contact: contact.number,
            nonce: <[u8; 16]>::try_from(&contact.nonce[..]).ok(),
            boards: contact.hardware,
            forks: contact.forks,
            is_cloned: contact.cloned.is_some(),
        },
    }
}

fn stored(known: &Known, now: UtcInstant) -> Contact {
    Contact {
        number: known.contact,
        nonce: known.nonce.map(|nonce| nonce.to_vec()).unwrap_or_default(),
        forks: known.forks.clone(),
        hardware: known.boards.clone(),
        cloned: known.is_cloned.then_some(now),
    }
}

fn opened(hello: &Hello, address: String) -> Opened {
    let gallery = &hello.gallery;
    Opened {
        gallery: gallery.gallery_id.map(|id| HeldGallery {
            gallery: id,
            revision: gallery.revision,
            set_hash: gallery.set_hash.to_bytes(),
        }),
        ledger_count: hello.ledger.count,
        ledger_hash: hello.ledger.hash.to_bytes(),
        clock: (
            UtcInstant::from_micros(hello.reading.wall_us),
            v1::ClockQuality::try_from(rollcall_attendance::quality_number(hello.reading.quality))
                .unwrap_or_default(),
        ),
        software: hello.software.clone(),
        address,
    }
}
