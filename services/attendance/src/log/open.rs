//! What happens before the first event: the file is checked, a damaged one salvaged, and it is decided whether the log
//! goes on or a new one begins.
//!
//! A new log begins after the old one's end when what is here cannot be what was here: another board (the card was moved
//! or copied), a log that is shorter than `log.head` says or another one (rolled back), a damaged file. Cursors that
//! were given out are void then.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rollcall_core::{LogId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{DataFolder, Db, SqliteOptions, StoreError, Tx, check_integrity};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ballast::Ballast;
use super::head::{self, Head, HeadFile};
use super::writer::{self, Writer};
use super::{Findings, Inner, Log, LogHealth, NewEvent, Shared, Stamped, check, random_id};
use crate::chain::ChainHash;
use crate::clock::Clock;
use crate::place::Place;
use crate::salvage::{self, Salvaged};
use crate::store::log::{LogEntry, Tip};
use crate::{AttendanceError, LOG_MIGRATIONS, store};

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// The board's serial number, or what else tells this machine from another.
    pub hw_id: String,
}

/// Why a log began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenReason {
    /// There was none.
    First,
    /// The log was written on another board.
    CardMoved,
    /// The log is not as long as it was.
    RolledBack,
    /// The file was damaged.
    Damaged,
    /// The hub has more of the log before it than there is here: it was rolled back, and nothing new was on it.
    Closed,
    /// Another device has gone on with the log before it, whose events were moved into this one.
    Forked,
}

impl OpenReason {
    /// As in `LogOpened`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "FIRST",
            Self::CardMoved => "CARD_MOVED",
            Self::RolledBack => "ROLLED_BACK",
            Self::Damaged => "DAMAGED",
            Self::Closed => "CLOSED",
            Self::Forked => "FORKED",
        }
    }
}

/// What was found when the log was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Whose log it is.
    pub terminal_id: TerminalId,
    /// Why a new log began; `None`: the one before goes on.
    pub reason: Option<OpenReason>,
    /// The board is another than the log's: keys that belong to the old one are to be destroyed.
    pub is_card_moved: bool,
    /// What was saved of a damaged file.
    pub salvaged: Option<Salvaged>,
    /// What the check found.
    pub findings: Findings,
}

impl Log {
    /// Opens `log.db` in the data folder.
    ///
    /// # Errors
    /// A disk that cannot be read or written, a file of a newer program. Damage is no error: what can be read is saved.
    pub async fn open(
        folder: &DataFolder,
        identity: Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AttendanceError> {
        let path = folder.file("log.db");
        salvage::finish(&path)?;
        let (db, salvaged, findings) = match open_checked(&path, identity.terminal_id).await {
            Ok((db, findings)) => (db, None, findings),
            Err(error) if is_damage(&error) => {
                tracing::error!(%error, "log.db is damaged");
                let salvaged = salvage::run(&path, &identity).await?;
                let (db, findings) = open_checked(&path, identity.terminal_id).await?;
                (db, Some(salvaged), findings)
            }
            Err(error) => return Err(error.into()),
        };
        Self::start(db, Some(folder.path()), identity, clock, salvaged, findings).await
    }

    /// The log in a database that somebody else looks after: a hub's. Several processes may open the same log over one
    /// PostgreSQL, with the same identity, and append to it: it is one log.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn open_in(db: Db, identity: Identity, clock: Arc<dyn Clock>) -> Result<Self, AttendanceError> {
        Self::start(db, None, identity, clock, None, Findings::default()).await
    }

    async fn start(
        db: Db,
        folder: Option<&Path>,
        identity: Identity,
        clock: Arc<dyn Clock>,
        salvaged: Option<Salvaged>,
        findings: Findings,
    ) -> Result<Self, AttendanceError> {
        let said = folder.and_then(head::read);
        if let Some(said) = &said {
            clock.raise_floor(said.floor);
        }
        let mut found = look(&db, &identity, said).await?;
        let mut reason = decide(&found, &identity, salvaged.is_some());
        let is_card_moved = is_card_moved(&found, &identity);
        let mut alarms = Vec::new();
        if let Some(first) = findings.changed.first() {
            alarms.push(alarm("LOG_DAMAGED", first.1));
        }
        let place = loop {
            let begun = match (reason, found.current()) {
                (None, Some(current)) => break place(&db, current).await?,
                (why, _) => {
                    let why = why.unwrap_or(OpenReason::First);
                    begin(&db, &identity, &*clock, &found, why, salvaged.as_ref()).await
                }
            };
            match begun {
                // Another process has begun the log at the same moment: it is this one's too.
                Err(AttendanceError::Store(StoreError::Conflict { .. }))
                    if reason == Some(OpenReason::First) =>
                {
                    found = look(&db, &identity, said).await?;
                    reason = decide(&found, &identity, false);
                }
                begun => break begun?,
            }
        };
        let mut head_file = match folder {
            Some(folder) => Some(HeadFile::open(folder, &identity.hw_id, said.as_ref())?),
            None => None,
        };
        if let Some(head_file) = &mut head_file {
            head_file.write(&place.tip, place.floor, 0).await;
            head_file.sync().await;
        }
        let opened = Opened { terminal_id: identity.terminal_id, reason, is_card_moved, salvaged, findings };
        let log = Self::spawn(db, folder, identity, place, clock, head_file, opened).await?;
        for alarm in alarms {
            log.append(alarm).await?;
        }
        Ok(log)
    }

    async fn spawn(
        db: Db,
        folder: Option<&Path>,
        identity: Identity,
        place: Place,
        clock: Arc<dyn Clock>,
        head_file: Option<HeadFile>,
        opened: Opened,
    ) -> Result<Self, AttendanceError> {
        let mut tx = db.read().await?;
        let position = store::log::feed(&mut tx).await?.map_or(0, |feed| feed.position);
        drop(tx);
        let (queue, asks) = mpsc::channel(limits::LOG_QUEUE);
        let shared = Arc::new(Shared {
            kept: Mutex::new(VecDeque::new()),
            wake: Notify::new(),
            log_id: watch::Sender::new(place.tip.log_id),
            position: watch::Sender::new(position),
            failed: watch::Sender::new(None),
            health: watch::Sender::new(LogHealth::default()),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let writer = Writer {
            db: db.clone(),
            identity,
            place,
            clock: Arc::clone(&clock),
            queue: asks,
            shared: Arc::clone(&shared),
            stop: stop.clone(),
            head_file,
            ballast: Ballast::open(folder),
        };
        tasks.spawn(writer.run());
        Ok(Self { inner: Arc::new(Inner { db, opened, clock, queue, shared, tasks, stop }) })
    }
}

/// Whether an error of opening and checking a file means that the file is damaged. Every statement there is known to be
/// right, so one that fails met a schema or a value that is not.
fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. }
        | StoreError::Statement { .. }
        | StoreError::MigrationChanged { .. }
        | StoreError::MigrationFailed { .. } => true,
        // A newer program's migration, or one of ours with a flipped bit in its name.
        StoreError::Newer { migration, .. } => LOG_MIGRATIONS.iter().any(|known| {
            let bits =
                known.name.bytes().zip(migration.bytes()).map(|(ours, theirs)| (ours ^ theirs).count_ones());
            known.name.len() == migration.len() && bits.sum::<u32>() == 1
        }),
        _ => false,
    }
}

/// Opens the file and checks it: all of it, or the newest events of a large one.
async fn open_checked(path: &Path, terminal_id: TerminalId) -> Result<(Db, Findings), StoreError> {
    let db = Db::open_sqlite(path, SqliteOptions::default(), &[LOG_MIGRATIONS]).await?;
    let checked = async {
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        if size <= limits::LOG_CHECK_AT_START_SIZE_BYTES {
            check_integrity(&db).await?;
            return check::all(&db, terminal_id).await;
        }
        let mut tx = db.read().await?;
        let logs = store::log::logs(&mut tx, &db, terminal_id).await?;
        drop(tx);
        match logs.iter().find(|log| log.is_current) {
            Some(current) => check::tail(&db, current, limits::LOG_TAIL_EVENTS).await,
            None => Ok(Findings::default()),
        }
    };
    match checked.await {
        Ok(findings) => Ok((db, findings)),
        Err(error) => {
            db.close().await;
            Err(error)
        }
    }
}

/// What there is before it is decided how to go on.
struct Found {
    logs: Vec<LogEntry>,
    said: Option<Head>,
    said_holds: bool,
}

impl Found {
    fn current(&self) -> Option<&LogEntry> {
        self.logs.iter().find(|log| log.is_current)
    }
}

async fn look(db: &Db, identity: &Identity, said: Option<Head>) -> Result<Found, AttendanceError> {
    let mut tx = db.read().await?;
    let logs = store::log::logs(&mut tx, db, identity.terminal_id).await?;
    let mut said_holds = said.is_none();
    if let Some(Head { tip, .. }) = said
        && let Some(log) = logs.iter().find(|log| log.tip.log_id == tip.log_id)
    {
        let hash = match tip.head - log.first_seq {
            // What was pruned was there.
            ..-1 => Some(tip.hash.as_bytes().to_vec()),
            -1 => Some(log.before_hash.as_bytes().to_vec()),
            _ => store::rows::hash_at(&mut tx, tip.log_id, tip.head).await?,
        };
        said_holds = tip.head <= log.tip.head && hash.as_deref() == Some(tip.hash.as_bytes());
    }
    Ok(Found { logs, said, said_holds })
}

fn is_card_moved(found: &Found, identity: &Identity) -> bool {
    let of_log = found.current().is_some_and(|log| log.hw_id != identity.hw_id);
    of_log || found.said.is_some_and(|said| said.hw != head::hw_hash(&identity.hw_id))
}

/// Whether a new log begins, and why.
fn decide(found: &Found, identity: &Identity, is_salvaged: bool) -> Option<OpenReason> {
    if is_salvaged {
        return Some(OpenReason::Damaged);
    }
    if is_card_moved(found, identity) {
        return Some(OpenReason::CardMoved);
    }
    if !found.said_holds {
        return Some(OpenReason::RolledBack);
    }
    if found.current().is_none() {
        return Some(OpenReason::First);
    }
    None
}

fn alarm(alarm: &str, value: i64) -> Kind {
    Kind::AlarmRaised(v1::AlarmRaised { alarm: alarm.to_owned(), cleared: false, value })
}

/// Begins a new log with the event that says why.
async fn begin(
    db: &Db,
    identity: &Identity,
    clock: &dyn Clock,
    found: &Found,
    reason: OpenReason,
    salvaged: Option<&Salvaged>,
) -> Result<Place, AttendanceError> {
    let parent = parent(found);
    let log = new_log(identity, clock, &found.logs, parent, reason)?;
    let mut kinds = vec![opening(parent, reason)];
    match reason {
        OpenReason::RolledBack => kinds.push(alarm("LOG_ROLLED_BACK", missing(found))),
        OpenReason::Damaged => {
            kinds.push(alarm("LOG_DAMAGED", salvaged.map_or(0, |salvaged| salvaged.events)));
        }
        OpenReason::First | OpenReason::CardMoved | OpenReason::Closed | OpenReason::Forked => {}
    }
    let events: Result<Vec<Stamped>, _> =
        kinds.into_iter().map(|kind| Stamped::new(NewEvent::from(kind), clock)).collect();
    let mut tx = db.write().await?;
    forget_pruned(&mut tx, &found.logs).await?;
    if reason != OpenReason::First {
        store::log::retire_current(&mut tx, identity.terminal_id).await?;
    }
    store::log::insert_log(&mut tx, &log).await?;
    match reason {
        OpenReason::First => store::log::ensure_feed(&mut tx, random_id()?).await?,
        _ => store::log::renew_feed(&mut tx, random_id()?).await?,
    }
    let mut place = Place::new(log.tip, identity.terminal_id);
    if let Some(said) = &found.said {
        place.floor = said.floor;
    }
    writer::append(&mut tx, db, &mut place, &events?).await?;
    tx.commit().await?;
    match reason {
        OpenReason::First => tracing::info!("the log begins"),
        _ => tracing::warn!(reason = reason.as_str(), "a new log begins"),
    }
    Ok(place)
}

/// The row of a log that begins now, as the current one, after the others that there are: logs are in the order of their
/// opening, whatever the clock says.
pub(super) fn new_log(
    identity: &Identity,
    clock: &dyn Clock,
    others: &[LogEntry],
    parent: Option<Tip>,
    reason: OpenReason,
) -> Result<LogEntry, AttendanceError> {
    let newest_us = others.iter().map(|log| log.opened_us).max().unwrap_or(i64::MIN);
    Ok(LogEntry {
        tip: Tip { log_id: LogId::from_bytes(random_id()?), head: 0, hash: ChainHash::ZERO },
        terminal_id: identity.terminal_id,
        hw_id: identity.hw_id.clone(),
        parent,
        first_seq: 1,
        before_hash: ChainHash::ZERO,
        is_current: true,
        opened_us: clock.read().wall_us.max(newest_us.saturating_add(1)),
        reason: reason.as_str().to_owned(),
        is_superseded: false,
    })
}

/// The event that says why a log began.
pub(super) fn opening(parent: Option<Tip>, reason: OpenReason) -> Kind {
    Kind::LogOpened(v1::LogOpened {
        parent: parent.map(|parent| parent.log_id.name()).unwrap_or_default(),
        parent_head: parent.map_or(0, |parent| parent.head),
        parent_hash: parent.map(|parent| parent.hash.as_bytes().to_vec()).unwrap_or_default().into(),
        reason: reason.as_str().to_owned(),
    })
}

/// What the new log begins after: what was told to be there last, where that is gone.
fn parent(found: &Found) -> Option<Tip> {
    let said = found.said.map(|said| said.tip);
    let known = said.filter(|said| found.logs.iter().any(|log| log.tip.log_id == said.log_id));
    match (found.current(), known, said) {
        (Some(current), Some(_), _) | (Some(current), None, None) => Some(current.tip),
        (_, None, said) => said,
        (None, known, _) => known,
    }
}

/// How many events were told to be written and are gone.
fn missing(found: &Found) -> i64 {
    let Some(said) = found.said else { return 0 };
    let here = found.logs.iter().find(|log| log.tip.log_id == said.tip.log_id).map_or(0, |log| log.tip.head);
    (said.tip.head - here).max(0)
}

/// Makes room for one more log: the oldest without events goes.
pub(super) async fn forget_pruned(tx: &mut Tx, logs: &[LogEntry]) -> Result<(), StoreError> {
    if logs.len() < limits::LOGS {
        return Ok(());
    }
    let is_pruned = |log: &&LogEntry| !log.is_current && log.first_seq > log.tip.head;
    match logs.iter().find(is_pruned) {
        Some(oldest) => store::log::delete_log(tx, oldest.tip.log_id).await,
        None => {
            tracing::error!(logs = logs.len(), "too many logs have events that no hub has");
            Ok(())
        }
    }
}

/// Where a log that goes on goes on.
async fn place(db: &Db, log: &LogEntry) -> Result<Place, AttendanceError> {
    /// Newest events that are looked through for one whose time is known.
    const LOOK_BACK: i64 = 10_000;
    let mut tx = db.read().await?;
    let mut place = Place::read(&mut tx, log.tip, log.terminal_id).await?;
    let known = store::rows::latest_known(&mut tx, log.tip.log_id, log.tip.head - LOOK_BACK).await?;
    if let Some(us) = known {
        place.floor = UtcInstant::from_micros(us);
    }
    Ok(place)
}
