//! [`Terminals`]: the terminals known here. On a terminal that is itself.
//!
//! Where it belongs to a hub, its settings are the hub's to change; `hub` has what becomes of that here.

mod hub;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_core::{Fault, GroupId, PersonId, TerminalId, UtcInstant};
use rollcall_proto::v1::{CameraState, ClockQuality, EnrolmentProgress};
use rollcall_store::{Db, Writes};
use tokio::sync::{Semaphore, watch};
use tokio_stream::Stream;

use crate::configured::{self, Configured};
use crate::lockdown::Origin;
use crate::{Identity, Lockdown, Machine, Revised, Settings, SettingsField, TerminalError, store};

/// What the rest of the program does for this service.
pub trait Device: Send + Sync + 'static {
    /// How the parts of the terminal are.
    ///
    /// # Errors
    /// When a part cannot tell.
    fn readings(&self) -> impl Future<Output = Result<Readings, Fault>> + Send;

    /// Opens the door for its usual time and writes down who asked, `accounts/ID` or `tokens/ID`.
    ///
    /// # Errors
    /// `HARDWARE_ABSENT` without a door.
    fn open_door(&self, by: &str) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Guides whoever stands before the camera through their enrolment as this person. The stream does the work as it is
    /// read; dropped, it ends.
    ///
    /// # Errors
    /// Before anybody is looked at: `CONSENT_MISSING`, `HARDWARE_ABSENT` without a camera, `STATE_FORBIDS` while somebody
    /// is being enrolled.
    fn enrol(&self, enrolment: Enrolment) -> impl Future<Output = Result<Enrolling, Fault>> + Send;

    /// Obeys settings and tells the event log of them. Called once for each revision, in their order, and again after
    /// a start that finds it undone.
    ///
    /// # Errors
    /// When they are not in the log, or not obeyed.
    fn obey(&self, settings: &Revised) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Tells the event log that the door is locked down or released, and who asked for it, and the door. Called once for
    /// each change, in their order, and again after a start that finds it undone. Whoever decides who passes has it from
    /// [`Terminals::watch_lockdown`] before.
    ///
    /// # Errors
    /// When it is not in the log, or the door was not told.
    fn lock_down(&self, lockdown: &Lockdown) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Who is to be enrolled at the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// As whom.
    pub person: PersonId,
    /// Whether a face that looks like somebody else's is enrolled all the same.
    pub accept_look_alike: bool,
}

/// How an enrolment goes. The last is the one with `templates_made`, or a fault.
pub type Enrolling = Pin<Box<dyn Stream<Item = Result<EnrolmentProgress, Fault>> + Send>>;

/// How the parts of a terminal are that this service does not know itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Readings {
    /// When somebody was last recognised since the program started.
    pub last_recognition: Option<UtcInstant>,
    /// Where the wall clock's time comes from.
    pub clock_quality: ClockQuality,
    /// The camera.
    pub camera: CameraState,
    /// Alarms that are not over, as in `AlarmRaised`.
    pub alarms: Vec<String>,
    /// Events in the log.
    pub events_in_log: u64,
    /// Events that the hub has not acknowledged.
    pub events_pending: u64,
    /// People in the gallery.
    pub people: usize,
    /// Templates in the gallery.
    pub templates: usize,
}

/// How a terminal is.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Which.
    pub terminal: TerminalId,
    /// When it was so.
    pub report: UtcInstant,
    /// How long the program runs.
    pub uptime: Duration,
    /// The machine.
    pub machine: Machine,
    /// The program's parts.
    pub readings: Readings,
    /// Whether the door is locked down.
    pub lockdown: Lockdown,
}

/// See the module. A clone is another handle to the same.
pub struct Terminals<D> {
    inner: Arc<Inner<D>>,
}

impl<D> Clone for Terminals<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<D> {
    identity: Identity,
    db: Db,
    writes: Writes,
    device: D,
    data_folder: PathBuf,
    started: Instant,
    /// One change at a time, so that they are obeyed in their order.
    turn: Semaphore,
    /// What is in force at the door.
    lockdown: watch::Sender<Lockdown>,
    /// Where the hub is reached that this terminal belongs to.
    hub: watch::Sender<Option<String>>,
}

impl Identity {
    /// Who the terminal of this database is. The first time an id is made, and `settings` become its first.
    ///
    /// # Errors
    /// The database; settings out of their range.
    pub async fn open(db: &Db, hardware: &str, settings: &Settings) -> Result<Self, TerminalError> {
        let mut tx = db.write().await?;
        if let Some((terminal, made_on)) = store::identity(&mut tx).await? {
            let moved = !made_on.is_empty() && !hardware.is_empty() && made_on != hardware;
            return Ok(Self { terminal, hardware: hardware.to_owned(), moved });
        }
        settings.check()?;
        let terminal = TerminalId::generate();
        let now = UtcInstant::now();
        store::insert_identity(&mut tx, terminal, hardware, now).await?;
        let first = Revised { settings: settings.clone(), revision: 1 };
        store::put_settings(&mut tx, terminal, &first, "", now).await?;
        tx.commit().await?;
        Ok(Self { terminal, hardware: hardware.to_owned(), moved: false })
    }

    /// The settings in force.
    ///
    /// # Errors
    /// The database.
    pub async fn settings(&self, db: &Db) -> Result<Revised, TerminalError> {
        Ok(stored(db, self.terminal).await?.revised)
    }
}

impl<D: Device> Terminals<D> {
    /// The service, with the lockdown that an earlier run was told of in force from the first moment. `data_folder` is
    /// where the disk is looked at.
    ///
    /// # Errors
    /// The database.
    pub async fn open(
        identity: Identity,
        db: Db,
        writes: Writes,
        device: D,
        data_folder: PathBuf,
    ) -> Result<Self, TerminalError> {
        let started = Instant::now();
        let turn = Semaphore::new(1);
        let stored = store::lockdown(&mut db.read().await?, identity.terminal).await?;
        let (lockdown, hub) = (watch::Sender::new(stored.lockdown), watch::Sender::new(None));
        let inner = Inner { identity, db, writes, device, data_folder, started, turn, lockdown, hub };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Which terminal this is.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Settings in force.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn settings(&self, terminal: TerminalId) -> Result<Revised, TerminalError> {
        self.known(terminal)?;
        self.inner.identity.settings(&self.inner.db).await
    }

    /// How a terminal is now.
    ///
    /// # Errors
    /// `NOT_FOUND`; a part that cannot tell.
    pub async fn status(&self, terminal: TerminalId) -> Result<Status, TerminalError> {
        self.known(terminal)?;
        let readings = self.inner.device.readings().await.map_err(TerminalError::Refused)?;
        Ok(Status {
            terminal,
            report: UtcInstant::now(),
            uptime: self.inner.started.elapsed(),
            machine: Machine::read(&self.inner.data_folder),
            readings,
            lockdown: self.lockdown(),
        })
    }

    /// Opens the door.
    ///
    /// # Errors
    /// `NOT_FOUND`, `HARDWARE_ABSENT`.
    pub async fn open_door(&self, terminal: TerminalId, by: String) -> Result<(), TerminalError> {
        self.known(terminal)?;
        let this = self.clone();
        let opening = async move { this.inner.device.open_door(&by).await.map_err(TerminalError::Refused) };
        self.inner.writes.run(opening).await
    }

    /// Enrols somebody at the camera.
    ///
    /// # Errors
    /// `NOT_FOUND`; those of [`Device::enrol`].
    pub async fn enrol(
        &self,
        terminal: TerminalId,
        enrolment: Enrolment,
    ) -> Result<Enrolling, TerminalError> {
        self.known(terminal)?;
        self.inner.device.enrol(enrolment).await.map_err(TerminalError::Refused)
    }

    /// The lockdown in force.
    pub fn lockdown(&self) -> Lockdown {
        self.inner.lockdown.borrow().clone()
    }

    /// The lockdown in force, and each change of it.
    pub fn watch_lockdown(&self) -> watch::Receiver<Lockdown> {
        self.inner.lockdown.subscribe()
    }

    /// Locks the door down, or ends that. Asking for what is there changes nothing. The door is locked down before it is
    /// stored, and released only after.
    ///
    /// It is an emergency, so it works the same at a terminal that belongs to a hub, with its network down too. The hub
    /// is told ([`Terminals::report`]), and takes it over as its own word where nothing else was said there meanwhile;
    /// [`Terminals::take`] says what becomes of two who spoke without knowing of each other.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FIELD_INVALID`. When it could not be stored, the database's: a lockdown is in force then until the
    /// next start, a release is not. When the device could not be told, its fault; the next start tells it.
    pub async fn set_lockdown(
        &self,
        terminal: TerminalId,
        is_on: bool,
        exempt: Vec<GroupId>,
        by: String,
    ) -> Result<Lockdown, TerminalError> {
        self.known(terminal)?;
        let asked = Lockdown::asked(is_on, exempt, by, UtcInstant::now())?;
        let this = self.clone();
        self.inner.writes.run(async move { this.inner.lock_down(asked).await }).await
    }

    /// Changes the settings that `mask` names, obeys them and tells the event log.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ETAG_MISMATCH`, `FIELD_INVALID`; `TERMINAL_ADOPTED`: its hub says what they are. When they are
    /// stored and could not be obeyed, the device's fault; the next start obeys them.
    pub async fn update(
        &self,
        terminal: TerminalId,
        wanted: Settings,
        mask: Vec<SettingsField>,
        etag: String,
        by: String,
    ) -> Result<Revised, TerminalError> {
        self.known(terminal)?;
        if let Some(hub) = self.hub() {
            return Err(TerminalError::Adopted { hub });
        }
        let this = self.clone();
        self.inner.writes.run(async move { this.inner.change(&wanted, &mask, &etag, &by).await }).await
    }

    /// Obeys settings and a lockdown that an earlier run stored and did not tell the log of.
    ///
    /// # Errors
    /// The device's fault; the database.
    pub async fn catch_up(&self) -> Result<(), TerminalError> {
        let this = self.clone();
        let announce = async move {
            let _turn = this.inner.turn.acquire().await;
            this.inner.announce_lockdown().await?;
            this.inner.announce().await.map(|_| ())
        };
        self.inner.writes.run(announce).await
    }

    /// The keys of the configuration file whose values are others than when [`Terminals::remember`] was last called:
    /// these the file may set, all others were last set over the API.
    ///
    /// # Errors
    /// The database.
    pub async fn news(&self, said: &Configured) -> Result<Vec<String>, TerminalError> {
        Ok(configured::news_to(&self.inner.db, said).await?)
    }

    /// Remembers what the file says, once it was obeyed.
    ///
    /// # Errors
    /// The database.
    pub async fn remember(&self, said: Configured) -> Result<(), TerminalError> {
        Ok(configured::remember(&self.inner.db, &self.inner.writes, said).await?)
    }

    fn known(&self, terminal: TerminalId) -> Result<(), TerminalError> {
        let known = terminal == self.inner.identity.terminal;
        known.then_some(()).ok_or_else(|| TerminalError::NotFound(terminal.name()))
    }
}

impl<D: Device> Inner<D> {
    async fn change(
        &self,
        wanted: &Settings,
        mask: &[SettingsField],
        etag: &str,
        by: &str,
    ) -> Result<Revised, TerminalError> {
        let _turn = self.turn.acquire().await;
        self.store_settings(wanted, mask, etag, by).await?;
        self.announce().await
    }

    async fn store_settings(
        &self,
        wanted: &Settings,
        mask: &[SettingsField],
        etag: &str,
        by: &str,
    ) -> Result<(), TerminalError> {
        let terminal = self.identity.terminal;
        let mut tx = self.db.write().await?;
        store::lock_settings(&mut tx, terminal).await?;
        let before = store::settings(&mut tx, terminal).await?.ok_or(NO_SETTINGS)?;
        let after = before.revised.updated(wanted, mask, etag)?;
        if after.revision != before.revised.revision {
            store::put_settings(&mut tx, terminal, &after, by, UtcInstant::now()).await?;
            tx.commit().await?;
            tracing::info!(revision = after.revision, by, "settings changed");
        }
        Ok(())
    }

    async fn lock_down(&self, asked: Lockdown) -> Result<Lockdown, TerminalError> {
        let _turn = self.turn.acquire().await;
        self.enforce(asked, None).await
    }

    /// Puts a lockdown in force, stores it and tells the device. `of_hub` is the hash of the hub's word where it is the
    /// hub's.
    async fn enforce(&self, wanted: Lockdown, of_hub: Option<[u8; 32]>) -> Result<Lockdown, TerminalError> {
        let is_news = wanted.is_on && self.put_in_force(&wanted);
        let stored = self.store_lockdown(&wanted, of_hub).await;
        if stored.is_err() && is_news {
            // The log has room of its own: it is told although the site's database cannot be.
            self.device.lock_down(&wanted).await.map_err(TerminalError::Refused)?;
        }
        let lockdown = stored?;
        self.put_in_force(&lockdown);
        self.announce_lockdown().await?;
        Ok(lockdown)
    }

    /// Whether that is a change.
    fn put_in_force(&self, lockdown: &Lockdown) -> bool {
        self.lockdown.send_if_modified(|current| {
            let differs = !current.is_same(lockdown);
            if differs {
                current.clone_from(lockdown);
            }
            differs
        })
    }

    /// What is stored then: `wanted`, or what was there where it comes to the same.
    async fn store_lockdown(
        &self,
        wanted: &Lockdown,
        of_hub: Option<[u8; 32]>,
    ) -> Result<Lockdown, TerminalError> {
        let terminal = self.identity.terminal;
        let mut tx = self.db.write().await?;
        let before = store::lockdown(&mut tx, terminal).await?.lockdown;
        let is_same = before.is_same(wanted);
        if !is_same {
            let origin = if of_hub.is_some() { Origin::Hub } else { Origin::Here };
            store::put_lockdown(&mut tx, terminal, wanted, origin).await?;
        }
        if let Some(word) = &of_hub {
            store::put_hub_lockdown(&mut tx, word).await?;
            if let (true, Some(since)) = (is_same, wanted.since) {
                store::put_lockdown_of_hub(&mut tx, terminal, since).await?;
            }
        }
        tx.commit().await?;
        if is_same {
            return Ok(before);
        }
        tracing::warn!(is_on = wanted.is_on, by = wanted.by, "lockdown changed");
        Ok(wanted.clone())
    }

    /// Tells the device of the lockdown, unless that was done.
    async fn announce_lockdown(&self) -> Result<(), TerminalError> {
        let terminal = self.identity.terminal;
        let stored = store::lockdown(&mut self.db.read().await?, terminal).await?;
        if !stored.is_announced {
            self.device.lock_down(&stored.lockdown).await.map_err(TerminalError::Refused)?;
            let mut tx = self.db.write().await?;
            store::put_lockdown_announced(&mut tx, terminal).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Obeys the settings in force and tells the log of them, unless that was done.
    async fn announce(&self) -> Result<Revised, TerminalError> {
        let stored = stored(&self.db, self.identity.terminal).await?;
        if stored.announced_revision < stored.revised.revision {
            self.device.obey(&stored.revised).await.map_err(TerminalError::Refused)?;
            let mut tx = self.db.write().await?;
            store::put_announced(&mut tx, self.identity.terminal, stored.revised.revision).await?;
            tx.commit().await?;
        }
        Ok(stored.revised)
    }
}

const NO_SETTINGS: TerminalError = TerminalError::Unreadable("there are none");

async fn stored(db: &Db, terminal: TerminalId) -> Result<store::Stored, TerminalError> {
    let mut tx = db.read().await?;
    store::settings(&mut tx, terminal).await?.ok_or(NO_SETTINGS)
}
