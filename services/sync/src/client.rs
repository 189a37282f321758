//! The terminal's side of the wire: one task that keeps in touch with the hub.
//!
//! It connects, opens, brings both sides up to each other, and then follows: what the hub hints at is pulled, what is
//! appended to the log is pushed. A hint that is lost does no harm, for it opens again from time to time. Whatever goes
//! wrong ends the connection; the next attempt waits a little, longer each time, and not as long as other terminals
//! wait. Nothing here is waited for at the door.
//!
//! What was said to the hub and not answered is in a file of the data folder, `hub.contact`, beside the log so that a
//! log that was rolled back alone is not taken for another device.

mod contacts;
mod pull;
mod push;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use rollcall_attendance::{Anchor, Attendance, Clock, Log, LogState};
use rollcall_core::{Fault, LogId, Reason, SiteZone, UtcInstant, limits};
use rollcall_gallery::Gallery;
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_proto::v1::sync_service_client::SyncServiceClient;
use rollcall_terminals::{Device, Pulled, Site, Terminals};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::convert;
use crate::hub::PROTO;
use crate::uplink::OwnLog;
use contacts::ContactFile;
pub use contacts::forget as forget_contacts;

/// For an answer that is one message.
const CALL: Duration = Duration::from_secs(30);
/// Between two messages of a stream.
const MESSAGE: Duration = Duration::from_secs(30);
/// Between two reports.
const REPORT: Duration = Duration::from_secs(60);
/// So often it opens again although nothing was hinted at.
const OPEN: Duration = Duration::from_secs(600);
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A log that is closed or moved is followed by another Open: as many in a row as there can be logs, and some.
const OPENS_IN_A_ROW: usize = limits::LOGS + 4;

/// A connection that is being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Channel, Fault>> + Send + 'a>>;

/// Where the hub is, and what this terminal shows it.
pub trait Membership: Send + Sync + 'static {
    /// A connection to the hub, at the first of its addresses where it is.
    ///
    /// # Errors
    /// Nobody is there, or somebody else than the hub.
    fn connect(&self) -> Connecting<'_>;

    /// A certificate signing request, DER, for the key that this terminal has.
    ///
    /// # Errors
    /// The key's file.
    fn certificate_request(&self) -> Result<Vec<u8>, Fault>;

    /// The hub has signed another certificate: leaf first, DER.
    ///
    /// # Errors
    /// It is not for this terminal's key; its file.
    fn renewed(&self, chain: &[Vec<u8>]) -> Result<(), Fault>;

    /// Whether another certificate is to be asked for before the hub says so.
    fn needs_renewal(&self, now: UtcInstant) -> bool;

    /// Who the hub may be from now on, and where it is.
    ///
    /// # Errors
    /// The files.
    fn told(&self, site: &Site) -> Result<(), Fault>;

    /// The hub's time, which is authenticated: certificates that ended before it are not good any more.
    ///
    /// # Errors
    /// The files.
    fn told_time(&self, time: UtcInstant) -> Result<(), Fault>;
}

/// How it stands with the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Since when it is connected, and everything was exchanged.
    Connected {
        /// By this terminal's clock.
        since: UtcInstant,
    },
    /// Since when it is not, and why.
    Lost {
        /// By this terminal's clock.
        since: UtcInstant,
        /// For people.
        why: String,
    },
}

/// What the terminal's side is made of.
pub struct Client<D> {
    /// The terminal's log.
    pub log: Log,
    /// Its people.
    pub gallery: Gallery,
    /// Its settings.
    pub terminals: Terminals<D>,
    /// What goes by the site's time zone.
    pub attendance: Attendance,
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Where the hub is.
    pub membership: Arc<dyn Membership>,
    /// The data folder.
    pub folder: PathBuf,
    /// The program and its version.
    pub software: String,
    /// How it stands, for the screen and the status.
    pub link: watch::Sender<Option<Link>>,
    /// Up to which number the hub has each log, as it said since the program started.
    pub acknowledged: watch::Sender<BTreeMap<LogId, u64>>,
}

/// Why a session ended.
enum End {
    /// The hub asked for another Open, or it is time for one.
    OpenAgain,
    /// Something failed.
    Failed(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// A conversation with the hub, over one connection.
struct Session<'a, D> {
    parts: &'a Client<D>,
    contacts: &'a mut ContactFile,
    hub: SyncServiceClient<Channel>,
    /// The last anchor that this process wrote.
    anchor: &'a mut Option<Anchor>,
}

impl<D: Device> Client<D> {
    /// Keeps in touch until it is dropped.
    ///
    /// # Errors
    /// When `hub.contact` cannot be read or written: what was said to the hub has to be known.
    pub async fn run(self) -> Result<std::convert::Infallible, Fault> {
        let mut contacts = ContactFile::open(&self.folder)?;
        let mut anchor = None;
        loop {
            let waits = ExponentialBuilder::default()
                .with_min_delay(WAIT_MIN)
                .with_max_delay(WAIT_MAX)
                .with_jitter()
                .without_max_times();
            for wait in waits.build() {
                self.forget_in_time(&mut contacts).await?;
                let began = Instant::now();
                let fault = self.converse(&mut contacts, &mut anchor).await;
                self.lost(&fault);
                tokio::time::sleep(wait).await;
                if began.elapsed() > WAIT_MAX {
                    // It went well for a while: the next attempt comes soon.
                    break;
                }
            }
        }
    }

    /// Forgets the gallery when too long was nothing heard from the hub.
    async fn forget_in_time(&self, contacts: &mut ContactFile) -> Result<(), Fault> {
        let now = self.clock.read();
        contacts.count(&now)?;
        if !contacts.is_forgotten(&now) {
            return Ok(());
        }
        let has_people = self.gallery.replica_state().await.is_ok_and(|state| !state.gallery_id.is_empty());
        if has_people {
            tracing::warn!("nothing was heard from the hub for too long: its people are forgotten");
            self.gallery.forget(UtcInstant::now()).await.map_err(|error| error.fault())?;
        }
        Ok(())
    }

    /// Says so once for each reason: a hub that is away for a week would fill the card otherwise.
    fn lost(&self, fault: &Fault) {
        let is_news = self.link.send_if_modified(|link| {
            let (since, is_news) = match link {
                Some(Link::Lost { since, why }) => (*since, *why != fault.message),
                _ => (UtcInstant::now(), true),
            };
            *link = Some(Link::Lost { since, why: fault.message.clone() });
            is_news
        });
        if is_news {
            tracing::warn!(reason = fault.reason.as_str(), why = fault.message, "no contact with the hub");
        }
    }

    /// One connection; why it ended.
    async fn converse(&self, contacts: &mut ContactFile, anchor: &mut Option<Anchor>) -> Fault {
        let channel = match self.membership.connect().await {
            Ok(channel) => channel,
            Err(fault) => return fault,
        };
        let hub = SyncServiceClient::new(channel).max_decoding_message_size(limits::SYNC_MESSAGE_SIZE_BYTES);
        let mut session = Session { parts: self, contacts, hub, anchor };
        let mut in_a_row = 0;
        loop {
            let began = Instant::now();
            match session.meet().await {
                End::Failed(fault) => return fault,
                End::OpenAgain if began.elapsed() > MESSAGE => in_a_row = 0,
                End::OpenAgain => in_a_row += 1,
            }
            if in_a_row > OPENS_IN_A_ROW {
                let words =
                    "the hub and this terminal do not agree on what they have; it is tried again later";
                return Fault::new(Reason::OpenAgain, words);
            }
        }
    }
}

impl<D: Device> Session<'_, D> {
    /// Opens, brings both sides up to each other, and follows.
    async fn meet(&mut self) -> End {
        match self.try_meet().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn try_meet(&mut self) -> Result<std::convert::Infallible, End> {
        let (welcome, offered) = self.open().await?;
        if welcome.renew_certificate || self.parts.membership.needs_renewal(UtcInstant::now()) {
            self.renew().await?;
        }
        if welcome.cloned {
            self.push_all(&welcome, &offered).await?;
            let words =
                "two devices have this terminal's certificate: adopt this one anew, or switch the other off";
            return Err(Fault::new(Reason::TerminalCloned, words).into());
        }
        if self.exchange_ledger(welcome.ledger.clone().unwrap_or_default()).await? {
            // What was erased here now is told by the next Open, and confirmed by it.
            return Err(End::OpenAgain);
        }
        let news = self.subscribe().await?;
        let pushing = self.push_all(&welcome, &offered).await?;
        self.pull_all(&welcome).await?;
        if welcome.settings_revision != self.settings_revision().await? {
            self.pull_settings().await?;
        }
        self.report().await?;
        self.parts.link.send_if_modified(|link| {
            let is_news = !matches!(link, Some(Link::Connected { .. }));
            if is_news {
                *link = Some(Link::Connected { since: UtcInstant::now() });
            }
            is_news
        });
        self.follow(news, pushing).await
    }

    /// Says what is here and hears what the hub has.
    async fn open(&mut self) -> Result<(v1::Welcome, Vec<LogState>), End> {
        let logs = self.whole_logs().await?;
        let pending = self.contacts.call()?;
        let asked = self.parts.clock.read();
        let hello = v1::Hello {
            proto_min: PROTO.0,
            proto_max: PROTO.1,
            pending: Some(pending.into()),
            hw_id: self.parts.terminals.identity().hardware.clone(),
            stamp: Some(convert::stamp(&asked)),
            software: self.parts.software.clone(),
            model_hashes: Vec::new(),
            logs: logs.iter().map(|log| convert::offered(&own(log), log.parent)).collect(),
            gallery: Some(self.parts.gallery.replica_state().await.map_err(|error| error.fault())?),
            ledger: Some(self.parts.gallery.ledger_state().await.map_err(|error| error.fault())?),
        };
        let welcome = call(self.hub.open(hello)).await?;
        let answered = self.parts.clock.read();
        self.contacts.answered(welcome.contact, &answered)?;
        if let Some(told) = convert::told(&welcome) {
            let anchor = crate::clock::anchor(&told, &asked, &answered);
            if let Some(anchor) =
                anchor.filter(|anchor| crate::clock::is_wanted(anchor, self.anchor.as_ref()))
            {
                self.write_anchor(&anchor).await?;
            }
            self.parts.membership.told_time(UtcInstant::from_micros(told.wall_us))?;
        }
        Ok((welcome, logs))
    }

    /// The logs to offer. One whose bytes were damaged cannot be followed by the hub: its events go into another.
    async fn whole_logs(&self) -> Result<Vec<LogState>, Fault> {
        let log = &self.parts.log;
        let logs = log.states().await.map_err(|error| error.fault())?;
        if logs.iter().all(|log| log.is_whole) {
            return Ok(logs);
        }
        for damaged in logs.iter().filter(|log| !log.is_whole) {
            log.supersede(damaged.log_id).await.map_err(|error| error.fault())?;
        }
        log.states().await.map_err(|error| error.fault())
    }

    async fn write_anchor(&mut self, anchor: &Anchor) -> Result<(), Fault> {
        let event = Kind::ClockAnchor(v1::ClockAnchor {
            boot_id: anchor.boot_id.to_vec().into(),
            boottime_us: anchor.boottime_us,
            true_us: anchor.true_us,
            source: v1::ClockQuality::Hub.into(),
            error_us: anchor.error_us,
        });
        self.parts.log.append(event).await.map_err(|error| error.fault())?;
        *self.anchor = Some(*anchor);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Fault> {
        let csr = self.parts.membership.certificate_request()?.into();
        let answer = call(self.hub.renew_certificate(v1::RenewCertificateRequest { csr })).await?;
        let chain: Vec<Vec<u8>> = answer.chain.iter().map(|der| der.to_vec()).collect();
        self.parts.membership.renewed(&chain)?;
        tracing::info!("the hub has renewed this terminal's certificate");
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<Streaming<v1::Hint>, Fault> {
        call(self.hub.notify(v1::NotifyRequest {})).await
    }

    async fn settings_revision(&self) -> Result<i64, Fault> {
        self.parts.terminals.settings_revision().await.map_err(|error| error.fault())
    }

    async fn pull_settings(&mut self) -> Result<(), Fault> {
        let revision = self.settings_revision().await?;
        let pulled = call(self.hub.pull_settings(v1::PullSettingsRequest { revision })).await?;
        let pulled = Pulled::from(pulled);
        let site = pulled.site().map_err(|error| error.fault())?;
        self.parts.membership.told(&site)?;
        let key = rollcall_gallery::Key::new(*site.credential_key);
        let address = site.addresses.first().cloned().unwrap_or_default();
        self.parts.gallery.belong_to(&address, Some(key)).await.map_err(|error| error.fault())?;
        self.contacts.set_forget_after(Duration::from_secs(u64::from(site.forget_after_hours) * 3_600))?;
        self.take_zone(&site.time_zone).await?;
        self.parts.terminals.take(pulled).await.map_err(|error| error.fault())
    }

    /// Access rules and registers go by the site's days.
    async fn take_zone(&self, name: &str) -> Result<(), Fault> {
        let attendance = &self.parts.attendance;
        match SiteZone::named(name) {
            Ok(zone) if zone == attendance.zone().await.map_err(|error| error.fault())? => Ok(()),
            Ok(zone) => attendance.configure(Some(zone), None).await.map_err(|error| error.fault()),
            Err(error) => {
                tracing::warn!(%error, "the site's time zone is not known here; update this terminal");
                Ok(())
            }
        }
    }

    async fn report(&mut self) -> Result<(), Fault> {
        let report = self.parts.terminals.report().await.map_err(|error| error.fault())?;
        call(self.hub.report_status(v1::ReportStatusRequest::from(report))).await.map(|_| ())
    }

    async fn follow(
        &mut self,
        mut news: Streaming<v1::Hint>,
        mut pushing: push::Current,
    ) -> Result<std::convert::Infallible, End> {
        let mut reports = interval(REPORT);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reports.reset();
        let mut appended = self.parts.log.positions();
        appended.mark_changed();
        let open_again = tokio::time::sleep(OPEN);
        tokio::pin!(open_again);
        let mut commands = JoinSet::new();
        loop {
            tokio::select! {
                hint = news.message() => match hint.map_err(|status| fault(&status))? {
                    Some(hint) => self.obey(hint, &mut commands).await?,
                    None => return Err(Fault::new(Reason::Unavailable, "the hub has ended the connection").into()),
                },
                changed = appended.changed() => {
                    changed.map_err(|_| Fault::new(Reason::Unavailable, "the log is closed"))?;
                    self.push_current(&mut pushing).await?;
                }
                _ = reports.tick() => {
                    self.contacts.count(&self.parts.clock.read())?;
                    self.report().await?;
                }
                Some(_) = commands.join_next(), if !commands.is_empty() => {}
                () = &mut open_again => return Err(End::OpenAgain),
            }
        }
    }

    async fn obey(&mut self, hint: v1::Hint, commands: &mut JoinSet<()>) -> Result<(), End> {
        if let Some(command) = hint.command {
            let (terminals, mut hub, received) =
                (self.parts.terminals.clone(), self.hub.clone(), Instant::now());
            // Beside a gallery that is being pulled: somebody stands at a door.
            commands.spawn(async move {
                if let Ok(answer) = terminals.perform(command, received).await
                    && let Err(fault) = call(hub.answer_command(answer)).await
                {
                    tracing::warn!(
                        reason = fault.reason.as_str(),
                        "the hub was not told what became of its order"
                    );
                }
            });
        }
        let mut is_gallery_old = false;
        if hint.settings_revision != 0 && hint.settings_revision != self.settings_revision().await? {
            self.pull_settings().await?;
            // Its groups may be others now.
            is_gallery_old = true;
        }
        if hint.gallery_revision != 0 {
            is_gallery_old |= hint.gallery_revision != self.replica_state().await?.revision;
        }
        if is_gallery_old && self.pull_gallery(None).await? {
            // Whoever went may have been erased, which the ledger tells.
            return Err(End::OpenAgain);
        }
        Ok(())
    }
}

/// A log as the machine knows it.
fn own(log: &LogState) -> OwnLog {
    OwnLog {
        log_id: log.log_id,
        first: log.first,
        head: log.head,
        head_hash: log.head_hash,
        is_current: log.is_current,
    }
}

/// Waits for an answer, and no longer than it may take.
async fn call<T>(answer: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Fault> {
    match timeout(CALL, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(fault(&status)),
        Err(_) => Err(silent()),
    }
}

fn silent() -> Fault {
    Fault::new(Reason::DeadlineExceeded, "the hub does not answer")
}

/// What the hub said.
fn fault(status: &Status) -> Fault {
    let reason = rollcall_proto::reason(status);
    let known = Reason::ALL.iter().find(|known| Some(known.as_str()) == reason.as_deref()).copied();
    Fault::new(known.unwrap_or(Reason::Unavailable), status.message())
}
