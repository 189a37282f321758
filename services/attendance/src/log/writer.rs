//! The one task that appends to the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_core::{LogId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{Db, Engine, StoreError, Tx};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ballast::Ballast;
use super::head::HeadFile;
use super::{Appended, Ask, Shared, Stamped};
use crate::clock::Clock;
use crate::cursor::Feed;
use crate::kind::Derived;
use crate::store::log::{ChainRow, EventEntry, Tip};
use crate::time::{self, Anchor, Quality, Reading, Trust};
use crate::{AttendanceError, kind, store};

/// Tries to write when the database does not answer, each after twice the time of the one before.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// How far a time server's time may be off.
const NTP_ERROR_US: i64 = 1_000_000;

/// Makes the rows of events that were in a log before.
pub(crate) struct Rewriter {
    place: Place,
}

impl Rewriter {
    pub fn new(terminal_id: TerminalId) -> Self {
        Self { place: Place::new(LogId::from_bytes([0; 16]), terminal_id) }
    }

    /// The row of an event as number `tip.head` with the hash that it had.
    pub fn entry(&mut self, tip: &Tip, position: i64, bytes: &[u8], damage: i64) -> EventEntry {
        if self.place.log_id != tip.log_id {
            self.place = Place::new(tip.log_id, self.place.terminal_id);
        }
        let entry = entry(&mut self.place, tip, position, bytes, &kind::derive(bytes));
        EventEntry { damage, ..entry }
    }
}

impl Place {
    /// The beginning of a log.
    pub fn new(log_id: LogId, terminal_id: TerminalId) -> Self {
        let floor = UtcInstant::from_micros(0);
        Self { log_id, terminal_id, anchors: Vec::new(), anchor_seq: None, last: None, floor }
    }
}

/// Where the next event goes, and what its time is derived from.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub log_id: LogId,
    pub terminal_id: TerminalId,
    /// Anchors of the boot of `last`, and the number of the event of the newest.
    pub anchors: Vec<Anchor>,
    pub anchor_seq: Option<i64>,
    /// The newest event's reading and its corrected time.
    pub last: Option<(Reading, i64)>,
    /// The latest time that was known by an anchor.
    pub floor: UtcInstant,
}

/// What was committed.
pub(super) struct Written {
    pub appended: Vec<Appended>,
    pub feed: Feed,
    pub tip: Tip,
    /// Events that are new; the others were in the log already.
    pub fresh: i64,
}

pub(super) struct Writer {
    pub db: Db,
    pub place: Place,
    pub clock: Arc<dyn Clock>,
    pub queue: mpsc::Receiver<Ask>,
    pub shared: Arc<Shared>,
    pub stop: CancellationToken,
    pub head_file: Option<HeadFile>,
    pub ballast: Ballast,
}

impl Writer {
    pub async fn run(mut self) {
        while let Some(asks) = self.next().await {
            if !self.write_kept().await || !self.write(asks).await {
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
    async fn next(&mut self) -> Option<Vec<Ask>> {
        let has_work = self.shared.health.borrow().kept > 0 || self.ballast.is_gone();
        let first = tokio::select! {
            () = self.stop.cancelled() => {
                self.queue.close();
                Some(self.queue.recv().await?)
            }
            ask = self.queue.recv() => Some(ask?),
            () = self.shared.wake.notified() => None,
            () = tokio::time::sleep(Duration::from_millis(limits::LOG_RETRY_MS)), if has_work => None,
        };
        let mut asks: Vec<Ask> = first.into_iter().collect();
        let mut events: usize = asks.iter().map(|ask| ask.events.len()).sum();
        while events < limits::LOG_BATCH_EVENTS
            && let Ok(ask) = self.queue.try_recv()
        {
            events += ask.events.len();
            asks.push(ask);
        }
        Some(asks)
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
            head_file.write(&written.tip, self.place.floor, written.fresh).await;
        }
        self.shared.position.send_replace(written.feed.position);
        Ok(written.appended.into_iter().skip(usize::from(anchor.is_some())).collect())
    }

    /// An anchor, when the wall clock is right and this boot has had none for [`limits::CLOCK_ANCHOR_SECONDS`].
    fn due_anchor(&self) -> Option<Stamped> {
        let reading = self.clock.read();
        let latest = self.place.anchors.iter().rfind(|anchor| anchor.boot_id == reading.boot_id);
        let is_due = latest.is_none_or(|anchor| {
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
    let mut tip = store::log::lock_tip(tx, db, place.log_id).await?;
    let mut known = Vec::with_capacity(events.len());
    let mut fresh: Vec<&Stamped> = Vec::with_capacity(events.len());
    for event in events {
        known.push(store::events::find(tx, event.event_id).await?);
        if known.last().is_some_and(Option::is_none) && fresh.iter().all(|one| one.event_id != event.event_id)
        {
            fresh.push(event);
        }
    }
    let count = i64::try_from(fresh.len()).unwrap_or(i64::MAX);
    let feed = store::log::take_positions(tx, db, count).await?;
    let mut entries = Vec::with_capacity(fresh.len());
    for (position, event) in (feed.position - count + 1..).zip(fresh) {
        tip = Tip { head: tip.head + 1, hash: tip.hash.after(&event.bytes), ..tip };
        let entry = entry(place, &tip, position, &event.bytes, &event.derived);
        store::log::insert_event(tx, &entry).await?;
        entries.push(entry);
    }
    store::log::set_tip(tx, &tip).await?;
    let had_anchor = place.anchor_seq;
    if let Some(anchor) = entries.iter().find(|entry| kind::derive(&entry.bytes).anchor.is_some()) {
        retime(tx, place, had_anchor.filter(|seq| *seq < anchor.seq), &anchor.boot_id).await?;
        place.anchor_seq = entries.iter().rfind(|one| one.kind == anchor.kind).map(|one| one.seq);
    }
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
    Ok(Written { appended, feed, tip, fresh: count })
}

/// The row of an event at the end of the log; `place` moves on.
fn entry(place: &mut Place, tip: &Tip, position: i64, bytes: &[u8], derived: &Derived) -> EventEntry {
    if place.last.is_none_or(|(last, _)| last.boot_id != derived.reading.boot_id) {
        place.anchors.clear();
        place.anchor_seq = None;
    }
    if let Some(anchor) = derived.anchor.filter(|anchor| anchor.boot_id == derived.reading.boot_id) {
        // Two are enough for what comes after them.
        if place.anchors.len() == 2 {
            place.anchors.remove(0);
        }
        place.anchors.push(anchor);
    }
    let corrected = time::at_the_end(&derived.reading, &place.anchors, place.last);
    place.last = Some((derived.reading, corrected.us));
    if corrected.trust != Trust::Estimated {
        place.floor = place.floor.max(UtcInstant::from_micros(corrected.us));
    }
    EventEntry {
        position,
        log_id: place.log_id,
        seq: tip.head,
        hash: tip.hash,
        bytes: bytes.to_vec(),
        event_id: derived.event_id,
        kind: derived.kind,
        person_id: derived.person_id,
        terminal_id: place.terminal_id,
        boot_id: derived.reading.boot_id,
        boottime_us: derived.reading.boottime_us,
        wall_us: derived.reading.wall_us,
        stamped_us: corrected.us,
        time_trust: corrected.trust.number(),
        at_us: derived.stated_us.unwrap_or(corrected.us),
        damage: 0,
    }
}

/// Corrects the times that a new anchor of this boot tells: back to the anchor before it, or to the last event of an
/// earlier boot whose time is known.
async fn retime(
    tx: &mut Tx,
    place: &Place,
    anchor_seq: Option<i64>,
    boot_id: &[u8; 16],
) -> Result<(), StoreError> {
    /// Rows read at once.
    const PAGE: i64 = 1_000;
    let (mut after, before) = match anchor_seq {
        Some(seq) => (seq - 1, None),
        None => match store::log::last_known_before_boot(tx, place.log_id, boot_id).await? {
            Some((seq, us)) => (seq, Some(us)),
            None => (0, None),
        },
    };
    let mut rows: Vec<ChainRow> = Vec::new();
    loop {
        let page = store::log::chain_rows(tx, place.log_id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        rows.extend(page);
    }
    let derived: Vec<_> = rows.iter().map(|row| kind::derive(&row.bytes)).collect();
    let readings: Vec<Reading> = derived.iter().map(|one| one.reading).collect();
    let anchors: Vec<Anchor> = derived.iter().filter_map(|one| one.anchor).collect();
    let corrected = time::correct(&readings, &anchors, before);
    for ((row, derived), corrected) in rows.into_iter().zip(&derived).zip(corrected) {
        let new = ChainRow {
            stamped_us: corrected.us,
            time_trust: corrected.trust.number(),
            at_us: derived.stated_us.unwrap_or(corrected.us),
            ..row.clone()
        };
        if new != row {
            store::log::set_derived(tx, place.log_id, &new).await?;
        }
    }
    Ok(())
}
