//! The one task that appends to the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_core::{UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{Db, Engine, StoreError, Tx};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ballast::Ballast;
use super::head::HeadFile;
use super::open::Identity;
use super::renewal::{self, Renewed};
use super::{Appended, Ask, Job, Renew, Renewal, Shared, Stamped};
use crate::clock::Clock;
use crate::cursor::Feed;
use crate::place::{NewRow, Place, ready, write};
use crate::time::Quality;
use crate::{AttendanceError, kind, store};

/// Tries to write when the database does not answer, each after twice the time of the one before.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// How far a time server's time may be off.
const NTP_ERROR_US: i64 = 1_000_000;

/// What was committed.
pub(super) struct Written {
    pub appended: Vec<Appended>,
    pub feed: Feed,
    /// Events that are new; the others were in the log already.
    pub fresh: i64,
}

/// What the writer does next.
struct Turn {
    asks: Vec<Ask>,
    /// After them.
    renewal: Option<Renewal>,
}

pub(super) struct Writer {
    pub db: Db,
    pub identity: Identity,
    pub place: Place,
    pub clock: Arc<dyn Clock>,
    pub queue: mpsc::Receiver<Job>,
    pub shared: Arc<Shared>,
    pub stop: CancellationToken,
    pub head_file: Option<HeadFile>,
    pub ballast: Ballast,
}

impl Writer {
    pub async fn run(mut self) {
        while let Some(Turn { asks, renewal }) = self.next().await {
            if !self.write_kept().await || !self.write(asks).await {
                break;
            }
            if let Some(renewal) = renewal
                && !self.renew(renewal).await
            {
                break;
            }
            self.look_at_ballast();
        }
        self.queue.close();
        if self.shared.failed.borrow().is_none()
            && self.write_kept().await
            && let Some(head_file) = &mut self.head_file
        {
            head_file.sync().await;
        }
    }

    /// Waits for events; gives all that are there, or none when it is time to look at what is kept. `None`: stopped, and
    /// every event that was asked for is written or refused.
    async fn next(&mut self) -> Option<Turn> {
        let has_work = self.shared.health.borrow().kept > 0 || self.ballast.is_gone();
        let first = tokio::select! {
            () = self.stop.cancelled() => {
                self.queue.close();
                Some(self.queue.recv().await?)
            }
            job = self.queue.recv() => Some(job?),
            () = self.shared.wake.notified() => None,
            () = tokio::time::sleep(Duration::from_millis(limits::LOG_RETRY_MS)), if has_work => None,
        };
        let mut turn = Turn { asks: Vec::new(), renewal: None };
        let (mut next, mut events) = (first, 0);
        loop {
            match next {
                Some(Job::Append(ask)) => {
                    events += ask.events.len();
                    turn.asks.push(ask);
                }
                Some(Job::Renew(renewal)) => {
                    turn.renewal = Some(renewal);
                    return Some(turn);
                }
                None => return Some(turn),
            }
            next = if events < limits::LOG_BATCH_EVENTS { self.queue.try_recv().ok() } else { None };
        }
    }

    /// Writes what is kept in memory, before anything newer. Returns whether the log goes on.
    async fn write_kept(&mut self) -> bool {
        loop {
            let kept = self.shared.kept(limits::LOG_BATCH_EVENTS);
            if kept.is_empty() {
                return true;
            }
            match self.commit(&kept).await {
                Ok(_) => self.shared.drop_kept(kept.len()),
                Err(error) if is_passing(&error, self.db.engine()) => return true,
                Err(error) => return self.fail(&error),
            }
        }
    }

    /// Writes what was asked for and answers. Returns whether the log goes on.
    async fn write(&mut self, asks: Vec<Ask>) -> bool {
        if asks.is_empty() {
            return true;
        }
        let events: Vec<Stamped> = asks.iter().flat_map(|ask| ask.events.iter().cloned()).collect();
        match self.commit(&events).await {
            Ok(appended) => {
                let mut appended = appended.into_iter();
                for ask in asks {
                    let answer = appended.by_ref().take(ask.events.len()).collect();
                    // Whoever asked may be gone.
                    let _ = ask.reply.send(Ok(answer));
                }
                true
            }
            Err(error) if is_passing(&error, self.db.engine()) => {
                self.put_off(asks, &error);
                true
            }
            Err(error) => {
                // First, so that whoever is answered sees it.
                let goes_on = self.fail(&error);
                for ask in asks {
                    let _ = ask.reply.send(Err(AttendanceError::LogFailed(error.to_string())));
                }
                goes_on
            }
        }
    }

    /// Begins a new log and answers. Returns whether the log goes on.
    async fn renew(&mut self, Renewal { what, reply }: Renewal) -> bool {
        let renewed = match what {
            Renew::Close => renewal::close(&self.db, &self.identity, &*self.clock, &self.place).await,
            Renew::Supersede(log_id) => {
                renewal::supersede(&self.db, &self.identity, &*self.clock, &self.place, log_id).await
            }
        };
        let (answer, goes_on) = match renewed {
            Ok(Renewed { place, position }) => {
                self.place = place;
                self.shared.log_id.send_replace(self.place.tip.log_id);
                if let Some(head_file) = &mut self.head_file {
                    head_file.write(&self.place.tip, self.place.floor, 0).await;
                    head_file.sync().await;
                }
                self.shared.told(position);
                (Ok(self.place.tip.log_id), true)
            }
            Err(AttendanceError::Store(error)) if !is_passing(&error, self.db.engine()) => {
                let goes_on = self.fail(&error);
                (Err(AttendanceError::LogFailed(error.to_string())), goes_on)
            }
            Err(error) => (Err(error), true),
        };
        // Whoever asked may be gone.
        let _ = reply.send(answer);
        goes_on
    }

    /// Keeps in memory what may be kept, and refuses the rest.
    fn put_off(&self, asks: Vec<Ask>, error: &StoreError) {
        tracing::warn!(%error, "events could not be written now");
        for ask in asks {
            if !ask.keep {
                let _ = ask.reply.send(Err(again(error, self.db.place()).into()));
                continue;
            }
            for event in ask.events {
                if let Err(error) = self.shared.keep(event) {
                    tracing::error!(%error, "an event is lost");
                }
            }
        }
    }

    /// The log ends here: what is on the disk is not known any more.
    fn fail(&self, error: &StoreError) -> bool {
        tracing::error!(%error, "the log could not be written and is not used any more");
        self.shared.failed.send_replace(Some(error.to_string()));
        false
    }

    /// Commits events, with an anchor before them when one is due. Gives up the ballast when the disk is full, and tries
    /// again where that may help.
    async fn commit(&mut self, events: &[Stamped]) -> Result<Vec<Appended>, StoreError> {
        let anchor = self.due_anchor();
        let with_anchor: Vec<Stamped> = anchor.iter().chain(events).cloned().collect();
        let mut wait = FIRST_WAIT;
        let mut tries = 1;
        let written = loop {
            let started = Instant::now();
            let mut place = self.place.clone();
            match commit(&self.db, &mut place, &with_anchor).await {
                Ok(written) => {
                    self.place = place;
                    let commit = started.elapsed();
                    self.shared.health.send_modify(|health| health.commit = commit);
                    break written;
                }
                Err(StoreError::Full { .. }) if self.ballast.give_up() => self.raise_disk_full(false),
                Err(error @ StoreError::Full { .. }) => return Err(error),
                Err(error) if is_passing(&error, self.db.engine()) && tries < TRIES => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        };
        self.clock.raise_floor(self.place.floor);
        if let Some(head_file) = &mut self.head_file {
            head_file.write(&self.place.tip, self.place.floor, written.fresh).await;
        }
        self.shared.told(written.feed.position);
        Ok(written.appended.into_iter().skip(usize::from(anchor.is_some())).collect())
    }

    /// An anchor, when the wall clock is right and this boot has had none for [`limits::CLOCK_ANCHOR_SECONDS`].
    fn due_anchor(&self) -> Option<Stamped> {
        let reading = self.clock.read();
        let latest = self.place.anchor_of(&reading.boot_id);
        let is_due = latest.is_none_or(|(_, anchor)| {
            reading.boottime_us.saturating_sub(anchor.boottime_us) > limits::CLOCK_ANCHOR_SECONDS * 1_000_000
        });
        if reading.quality < Quality::Ntp || !is_due {
            return None;
        }
        let anchor = Kind::ClockAnchor(v1::ClockAnchor {
            boot_id: reading.boot_id.to_vec().into(),
            boottime_us: reading.boottime_us,
            true_us: reading.wall_us,
            source: kind::quality_number(reading.quality),
            error_us: NTP_ERROR_US,
        });
        Stamped::new(anchor.into(), &*self.clock).ok()
    }

    /// Makes the ballast again once there is room, and says that the alarm is over.
    fn look_at_ballast(&mut self) {
        if self.ballast.is_gone() && self.shared.health.borrow().kept == 0 && self.ballast.make() {
            self.raise_disk_full(true);
        }
    }

    fn raise_disk_full(&self, cleared: bool) {
        self.shared.health.send_modify(|health| health.is_disk_full = !cleared);
        let alarm = v1::AlarmRaised { alarm: "DISK_FULL".to_owned(), cleared, value: 0 };
        let kept = Stamped::new(Kind::AlarmRaised(alarm).into(), &*self.clock)
            .and_then(|event| self.shared.keep(event));
        if let Err(error) = kept {
            tracing::error!(%error, "an alarm is lost");
        }
    }
}

/// Whether it may be written later. Of a connection that broke during a commit PostgreSQL knows how it ended, and asking
/// again finds out; a file of this machine is a failed disk then.
fn is_passing(error: &StoreError, engine: Engine) -> bool {
    match error {
        StoreError::Full { .. } | StoreError::Unavailable { .. } => true,
        StoreError::Unsure { .. } => engine == Engine::Postgres,
        _ => false,
    }
}

/// The same error for one more caller.
fn again(error: &StoreError, place: &str) -> StoreError {
    let place = place.to_owned();
    match error {
        StoreError::Full { .. } => StoreError::Full { place },
        StoreError::Unsure { .. } => {
            StoreError::Unsure { place, source: rollcall_store::sqlx::Error::WorkerCrashed }
        }
        _ => StoreError::Unavailable { place, source: rollcall_store::sqlx::Error::PoolTimedOut },
    }
}

async fn commit(db: &Db, place: &mut Place, events: &[Stamped]) -> Result<Written, StoreError> {
    let mut tx = db.write().await?;
    let written = append(&mut tx, db, place, events).await?;
    tx.commit().await?;
    Ok(written)
}

/// Writes events whose ids are not in the log yet at its end. `place` is right only once the transaction is committed.
pub(super) async fn append(
    tx: &mut Tx,
    db: &Db,
    place: &mut Place,
    events: &[Stamped],
) -> Result<Written, StoreError> {
    let tip = store::log::lock_tip(tx, db, place.tip.log_id).await?;
    if tip != place.tip {
        // Another process has written to the log.
        *place = Place::read(tx, tip, place.terminal_id).await?.with_floor(place.floor);
    }
    let mut known = Vec::with_capacity(events.len());
    let mut fresh: Vec<&Stamped> = Vec::with_capacity(events.len());
    for event in events {
        known.push(store::events::find_of(tx, place.terminal_id, event.event_id).await?);
        if known.last().is_some_and(Option::is_none) && fresh.iter().all(|one| one.event_id != event.event_id)
        {
            fresh.push(event);
        }
    }
    let count = i64::try_from(fresh.len()).unwrap_or(i64::MAX);
    let row =
        |event: &Stamped| NewRow { bytes: event.bytes.clone(), derived: event.derived.clone(), damage: 0 };
    let rows: Vec<NewRow> = fresh.into_iter().map(row).collect();
    let ready = ready(tx, place, &rows).await?;
    let feed = store::log::take_positions(tx, db, count).await?;
    let entries = write(tx, place, feed.position - count + 1, ready).await?;
    let appended = known.into_iter().zip(events).filter_map(|(known, event)| match known {
        Some(known) => Some(Appended {
            event_id: event.event_id,
            seq: known.seq,
            cursor: feed.cursor(known.position),
            at: UtcInstant::from_micros(known.at_us),
        }),
        None => entries.iter().find(|entry| entry.event_id == Some(event.event_id)).map(|entry| Appended {
            event_id: event.event_id,
            seq: entry.seq,
            cursor: feed.cursor(entry.position),
            at: UtcInstant::from_micros(entry.at_us),
        }),
    });
    let appended = appended.collect();
    Ok(Written { appended, feed, fresh: count })
}
