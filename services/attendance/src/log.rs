//! [`Log`]: the event log. What it has acknowledged is on the disk.
//!
//! One task writes (`writer.rs`): it takes all events that wait and commits them at once, in the order in which they
//! came. A caller that goes away changes nothing: its event is written all the same.
//!
//! When the disk is full: a ballast file is given up and an alarm raised. When that does not do, [`Log::append`] refuses,
//! and what [`Log::append_patiently`] was given is kept in memory and written when there is room.
//!
//! When the disk fails, nobody knows what is on it: the log takes and acknowledges nothing more, and the program ends
//! ([`Log::failed`]); the next start reads what there is.
//!
//! On disk, in the data folder: `log.db` (`store.rs`), `log.head` (`head.rs`), `log.ballast` (`ballast.rs`), and
//! `log.db.damaged-*`, files that were found damaged (`open.rs`).

mod ballast;
mod check;
mod head;
mod offer;
mod open;
mod renewal;
mod verify;
mod writer;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use rollcall_core::{EventId, LogId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::Db;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::kind::{self, Derived};
use crate::received::Received;
use crate::{AttendanceError, store};

pub use check::Findings;
pub(crate) use check::{AFTER_GAP, CHANGED, CLASHES, UNREADABLE};
pub use offer::{LogState, unacknowledged};
pub use open::{Identity, OpenReason, Opened};
pub use verify::verify;

/// Something that happened, not yet in the log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its id, made before it is written, so that what is kept beside the log can be written first.
    pub event_id: EventId,
    /// What happened.
    pub kind: Kind,
}

impl From<Kind> for NewEvent {
    fn from(kind: Kind) -> Self {
        Self { event_id: EventId::generate(), kind }
    }
}

/// An event in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its id.
    pub event_id: EventId,
    /// Its number in its log.
    pub seq: i64,
    /// Where to read on after it.
    pub cursor: String,
    /// When it happened, as well as was known when it was written.
    pub at: UtcInstant,
}

/// What became of an event that somebody waits for at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// It is on the disk.
    Committed(Appended),
    /// Not yet: it is next in the queue, or kept in memory until there is room on the disk.
    Pending,
}

/// How the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHealth {
    /// Events in memory that wait for room on the disk.
    pub kept: usize,
    /// How long the latest commit took.
    pub commit: Duration,
    /// Whether the disk was full and its alarm is not over.
    pub is_disk_full: bool,
}

/// The terminal's log. A clone is another handle to the same.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    opened: Opened,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What the writer and its callers both see.
struct Shared {
    kept: Mutex<VecDeque<Stamped>>,
    wake: Notify,
    log_id: watch::Sender<LogId>,
    position: watch::Sender<i64>,
    failed: watch::Sender<Option<String>>,
    health: watch::Sender<LogHealth>,
}

/// An event with the time at which it happened, as bytes.
#[derive(Clone, Debug)]
struct Stamped {
    event_id: EventId,
    bytes: Vec<u8>,
    derived: Derived,
}

/// What the writer is asked to do. It does one after the other.
enum Job {
    Append(Ask),
    Renew(Renewal),
}

/// A new log is to begin while the program runs.
struct Renewal {
    what: Renew,
    reply: oneshot::Sender<Result<LogId, AttendanceError>>,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renew {
    /// After the current one, which stays as it is.
    Close,
    /// With the events of this one.
    Supersede(LogId),
}

/// Events that somebody waits for. All or none of them are written.
struct Ask {
    events: Vec<Stamped>,
    /// Keep them in memory when they cannot be written now.
    keep: bool,
    reply: oneshot::Sender<Result<Vec<Appended>, AttendanceError>>,
}

impl Log {
    /// The database with the logs and events, to read.
    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// The log that is written to now.
    pub fn log_id(&self) -> LogId {
        *self.inner.shared.log_id.borrow()
    }

    /// What was found when it was opened.
    pub fn opened(&self) -> &Opened {
        &self.inner.opened
    }

    /// How it is.
    pub fn health(&self) -> LogHealth {
        *self.inner.shared.health.borrow()
    }

    /// How many events there are, of this log and of all others here, each counted once.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn events(&self) -> Result<u64, AttendanceError> {
        let mut tx = self.inner.db.read().await?;
        Ok(u64::try_from(store::rows::count(&mut tx).await?).unwrap_or(0))
    }

    /// The time by this log's clock, and the wall clock's alone.
    pub fn now(&self) -> UtcInstant {
        UtcInstant::from_micros(self.inner.clock.read().wall_us)
    }

    /// Writes an event. When this returns it is on the disk. An event whose id is in the log already is not written
    /// again: its first writing is the answer.
    ///
    /// # Errors
    /// When it was not written, and will not be.
    pub async fn append(&self, event: impl Into<NewEvent>) -> Result<Appended, AttendanceError> {
        let mut appended = self.append_all(vec![event.into()]).await?;
        appended.pop().ok_or(AttendanceError::Internal("an event was written without an answer"))
    }

    /// Writes some events, all or none, at most [`limits::LOG_BATCH_EVENTS`].
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn append_all(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, AttendanceError> {
        let stamped: Result<Vec<Stamped>, _> = events.into_iter().map(|event| self.stamp(event)).collect();
        let (reply, answer) = oneshot::channel();
        let ask = Ask { events: stamped?, keep: false, reply };
        if self.inner.queue.send(Job::Append(ask)).await.is_err() {
            return Err(self.why_closed());
        }
        answer.await.unwrap_or_else(|_| Err(self.why_closed()))
    }

    /// Writes an event for somebody who waits at most `patience` ([`limits::LOG_PATIENCE_MS`] at a door). It is written
    /// later when that is too short or the disk is full.
    ///
    /// # Errors
    /// When it will not be written: the disk failed, or as many wait as may.
    pub async fn append_patiently(
        &self,
        event: impl Into<NewEvent>,
        patience: Duration,
    ) -> Result<Logged, AttendanceError> {
        let stamped = self.stamp(event.into())?;
        let (reply, answer) = oneshot::channel();
        // Held until it is known to be in the queue, so that a full one does not lose it.
        let place = match self.inner.queue.try_reserve() {
            Ok(place) => place,
            Err(mpsc::error::TrySendError::Full(())) => {
                self.inner.shared.keep(stamped)?;
                return Ok(Logged::Pending);
            }
            Err(mpsc::error::TrySendError::Closed(())) => return Err(self.why_closed()),
        };
        place.send(Job::Append(Ask { events: vec![stamped], keep: true, reply }));
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Ok(appended))) => {
                Ok(appended.into_iter().next().map_or(Logged::Pending, Logged::Committed))
            }
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) if self.inner.shared.failed.borrow().is_some() => Err(self.why_closed()),
            Ok(Err(_)) | Err(_) => Ok(Logged::Pending),
        }
    }

    /// Returns when the log's disk has failed, with the reason. The program then ends with an error, so that nothing is
    /// believed to be logged which is not.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.shared.failed.subscribe();
        let reason = failed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// The position of the newest event that this process wrote, whenever there is another.
    pub fn positions(&self) -> watch::Receiver<i64> {
        self.inner.shared.position.subscribe()
    }

    /// The logs of other devices that are received into the same database.
    pub fn received(&self) -> Received {
        let shared = Arc::clone(&self.inner.shared);
        Received::new(self.inner.db.clone(), move |position| shared.told(position))
    }

    /// Deletes the events of a log up to number `through`, or to its end, which are kept elsewhere.
    ///
    /// # Errors
    /// When they could not be deleted; then there are all of them.
    pub async fn prune(&self, log_id: LogId, through: u64) -> Result<(), AttendanceError> {
        let db = &self.inner.db;
        let mut tx = db.write().await?;
        let tip = store::log::lock_tip(&mut tx, db, log_id).await?;
        let through = i64::try_from(through).unwrap_or(i64::MAX).min(tip.head);
        store::log::prune(&mut tx, log_id, through).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the current log and begins a new one after it. Returns the new one. What the old one has stays.
    ///
    /// # Errors
    /// When none was begun; the old one goes on.
    pub async fn close_current(&self) -> Result<LogId, AttendanceError> {
        self.renew(Renew::Close).await
    }

    /// Moves the events of a log that another device has gone on with into a new log of their own, with the same ids and
    /// bytes, in one transaction; their places in the feed stay. The old log is empty and never offered again. When it
    /// was the current one, the new one is. Returns the log that is written to then. Repeating it changes nothing.
    ///
    /// # Errors
    /// When nothing was moved: there is no such log, or the disk does not take it.
    pub async fn supersede(&self, log_id: LogId) -> Result<LogId, AttendanceError> {
        self.renew(Renew::Supersede(log_id)).await
    }

    async fn renew(&self, what: Renew) -> Result<LogId, AttendanceError> {
        let (reply, answer) = oneshot::channel();
        if self.inner.queue.send(Job::Renew(Renewal { what, reply })).await.is_err() {
            return Err(self.why_closed());
        }
        answer.await.unwrap_or_else(|_| Err(self.why_closed()))
    }

    /// Checks every event of every log of this terminal against its chain, marks those that were changed, and derives
    /// anew what tables say of them. Takes as long as reading the file. An event that is appended meanwhile looks like
    /// damage: [`verify`] checks a log that is in use.
    ///
    /// # Errors
    /// A database that cannot be read.
    pub async fn verify(&self) -> Result<Findings, AttendanceError> {
        Ok(check::all(&self.inner.db, self.inner.opened.terminal_id).await?)
    }

    /// Writes what waits, and closes: nothing more is taken. At most `patience`.
    pub async fn close(&self, patience: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(patience, self.inner.tasks.wait()).await.is_err() {
            tracing::error!("the log's writer did not end in time");
        }
        self.inner.db.close().await;
    }

    fn stamp(&self, event: NewEvent) -> Result<Stamped, AttendanceError> {
        Stamped::new(event, &*self.inner.clock)
    }

    fn why_closed(&self) -> AttendanceError {
        match &*self.inner.shared.failed.borrow() {
            Some(reason) => AttendanceError::LogFailed(reason.clone()),
            None => AttendanceError::Stopping,
        }
    }
}

/// The name of a log or a feed: 16 random bytes. A time in it would tell nothing, for the clock may be wrong.
pub(crate) fn random_id() -> Result<[u8; 16], AttendanceError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| AttendanceError::Internal("the system gives no random bytes"))?;
    Ok(id)
}

impl Shared {
    /// Tells those who watch that there are events up to a position.
    fn told(&self, position: i64) {
        self.position.send_if_modified(|newest| {
            let is_newer = position > *newest;
            *newest = position.max(*newest);
            is_newer
        });
    }

    /// Keeps an event in memory until it can be written.
    fn keep(&self, event: Stamped) -> Result<(), AttendanceError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= limits::LOG_KEPT_EVENTS {
            return Err(AttendanceError::LogFull);
        }
        kept.push_back(event);
        self.health.send_modify(|health| health.kept = kept.len());
        drop(kept);
        self.wake.notify_one();
        Ok(())
    }

    /// The oldest kept events, at most `count`, which stay until [`Shared::drop_kept`].
    fn kept(&self, count: usize) -> Vec<Stamped> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().take(count).cloned().collect()
    }

    /// The oldest kept events were written.
    fn drop_kept(&self, count: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(kept.len());
        kept.drain(..count);
        self.health.send_modify(|health| health.kept = kept.len());
    }
}

impl Stamped {
    fn new(event: NewEvent, clock: &dyn Clock) -> Result<Self, AttendanceError> {
        let reading = clock.read();
        let record = v1::EventRecord {
            event_id: event.event_id.to_bytes().to_vec().into(),
            stamp: Some(v1::ClockStamp {
                boot_id: reading.boot_id.to_vec().into(),
                boottime_us: reading.boottime_us,
                wall_us: reading.wall_us,
                wall_quality: kind::quality_number(reading.quality),
            }),
            kind: Some(v1::EventKind { kind: Some(event.kind) }),
        };
        let bytes = record.encode_to_vec();
        if bytes.len() > limits::EVENT_SIZE_BYTES {
            return Err(AttendanceError::EventTooLarge { size_bytes: bytes.len() });
        }
        let derived = kind::derive(&bytes);
        Ok(Self { event_id: event.event_id, bytes, derived })
    }
}
