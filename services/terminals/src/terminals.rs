//! [`Terminals`]: the terminals known here. On a terminal that stands alone that is itself.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_core::{Fault, TerminalId, UtcInstant};
use rollcall_proto::v1::{CameraState, ClockQuality};
use rollcall_store::{Db, StoreError, Writes};
use tokio::sync::Semaphore;

use crate::configured::{self, Configured};
use crate::{Identity, Machine, Revised, Settings, SettingsField, TerminalError, store};

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

    /// Obeys settings and tells the event log of them. Called once for each revision, in their order, and again after
    /// a start that finds it undone.
    ///
    /// # Errors
    /// When they are not in the log, or not obeyed.
    fn obey(&self, settings: &Revised) -> impl Future<Output = Result<(), Fault>> + Send;
}

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
    /// The service. `data_folder` is where the disk is looked at.
    pub fn new(identity: Identity, db: Db, writes: Writes, device: D, data_folder: PathBuf) -> Self {
        let started = Instant::now();
        let turn = Semaphore::new(1);
        Self { inner: Arc::new(Inner { identity, db, writes, device, data_folder, started, turn }) }
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

    /// Changes the settings that `mask` names, obeys them and tells the event log.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ETAG_MISMATCH`, `FIELD_INVALID`. When they are stored and could not be obeyed, the device's
    /// fault; the next start obeys them.
    pub async fn update(
        &self,
        terminal: TerminalId,
        wanted: Settings,
        mask: Vec<SettingsField>,
        etag: String,
        by: String,
    ) -> Result<Revised, TerminalError> {
        self.known(terminal)?;
        let this = self.clone();
        self.inner.writes.run(async move { this.inner.change(&wanted, &mask, &etag, &by).await }).await
    }

    /// Obeys settings that an earlier run stored and did not tell the log of.
    ///
    /// # Errors
    /// The device's fault; the database.
    pub async fn catch_up(&self) -> Result<(), TerminalError> {
        let this = self.clone();
        let announce = async move {
            let _turn = this.inner.turn.acquire().await;
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
        let mut tx = self.inner.db.read().await?;
        Ok(configured::news(&store::configured(&mut tx).await?, said))
    }

    /// Remembers what the file says, once it was obeyed.
    ///
    /// # Errors
    /// The database.
    pub async fn remember(&self, said: Configured) -> Result<(), TerminalError> {
        let db = self.inner.db.clone();
        let remember = async move {
            let mut tx = db.write().await?;
            store::put_configured(&mut tx, &said).await?;
            tx.commit().await
        };
        Ok(self.inner.writes.run::<(), StoreError, _>(remember).await?)
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
        self.announce().await
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
