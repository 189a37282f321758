//! A hub for the tests, and a terminal's way up in its plainest form. The real one is `rollcall_sync`, which this crate
//! does not know; here it is only as long as it takes to show that what is stored is right.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prost::Message as _;
use rollcall_attendance::{
    AttendanceError, ChainHash, Held, Identity, Log, LogState, Position, Quality, Received,
};
use rollcall_core::{EventId, LogId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::Db;
use tempfile::TempDir;

use super::support::{MIGRATIONS, MORNING_US, TestClock};

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Stored(Position),
    Forked,
    Rewind(u64),
}

/// Events that follow one another, as a terminal sends them.
#[derive(Clone, Debug)]
pub struct Batch {
    pub log_id: LogId,
    pub first_seq: u64,
    pub prev_hash: ChainHash,
    pub gap: bool,
    pub events: Vec<Vec<u8>>,
}

pub struct Hub {
    pub log: Log,
    pub received: Received,
    _folder: Option<TempDir>,
}

pub fn terminal(number: u8) -> TerminalId {
    TerminalId::from_bytes([number; 16])
}

pub fn log_id(number: u8) -> LogId {
    LogId::from_bytes([number; 16])
}

pub fn now() -> UtcInstant {
    UtcInstant::from_micros(MORNING_US)
}

impl Hub {
    pub async fn open(db: Db) -> Self {
        let identity = Identity { terminal_id: terminal(0xcc), hw_id: "the site".to_owned() };
        let log = Log::open_in(db, identity, TestClock::new(Quality::Saved)).await.unwrap();
        let received = log.received();
        Self { log, received, _folder: None }
    }

    /// A new one on the same engine.
    pub async fn beside(db: &Db) -> Self {
        match db {
            Db::Sqlite(_) => {
                let (db, folder) = rollcall_store::testing::sqlite(MIGRATIONS).await;
                Self { _folder: Some(folder), ..Self::open(db).await }
            }
            Db::Postgres(_) => Self::open(rollcall_store::testing::postgres(MIGRATIONS).await).await,
        }
    }

    /// Events of terminals, each counted once.
    pub async fn events(&self) -> u64 {
        // Its own log has the one that says that it began.
        self.log.events().await.unwrap() - 1
    }

    pub async fn push(&self, terminal_id: TerminalId, batch: &Batch) -> Result<Pushed, AttendanceError> {
        let mut part = self.received.lock(terminal_id, batch.log_id, now()).await?;
        let have = part.position().seq;
        if batch.first_seq > have.saturating_add(1) {
            if !batch.gap {
                return Ok(Pushed::Rewind(have));
            }
            part.record_gap(batch.first_seq - 1, batch.prev_hash).await?;
            part.append(&batch.events).await?;
            return Ok(Pushed::Stored(part.commit().await?));
        }
        let Some(before) = batch.first_seq.checked_sub(1) else { return Ok(Pushed::Rewind(have)) };
        if part.hash_at(before).await? != Some(batch.prev_hash) {
            return Ok(Pushed::Forked);
        }
        let known = part.hashes(batch.first_seq, have).await?;
        let (mut hash, mut skip) = (batch.prev_hash, 0);
        for (seq, event) in (batch.first_seq..=have).zip(&batch.events) {
            hash = hash.after(event);
            if known.get(&seq) != Some(&hash) {
                return Ok(Pushed::Forked);
            }
            skip += 1;
        }
        part.append(&batch.events[skip..]).await?;
        Ok(Pushed::Stored(part.commit().await?))
    }

    /// Brings all that a terminal has here, whatever happened before.
    pub async fn sync(&self, log: &Log) {
        for _ in 0..20 {
            if self.sync_once(log).await {
                return;
            }
        }
        panic!("20 contacts and no end");
    }

    /// One contact. Returns whether nothing is left to do.
    async fn sync_once(&self, log: &Log) -> bool {
        let states = log.states().await.unwrap();
        if let Some(broken) = states.iter().find(|state| !state.is_whole) {
            log.supersede(broken.log_id).await.unwrap();
            return false;
        }
        let offered: Vec<(LogId, u64)> = states.iter().map(|state| (state.log_id, state.head)).collect();
        let held = self.received.held(log.opened().terminal_id, &offered).await.unwrap();
        for (state, held) in states.iter().zip(&held) {
            if !self.sync_log(log, state, held).await {
                return false;
            }
        }
        true
    }

    /// Returns whether the log is as it should be; else it was closed or moved.
    async fn sync_log(&self, log: &Log, state: &LogState, held: &Held) -> bool {
        let id = state.log_id;
        let both = state.first..=state.head.min(held.have.seq);
        let lacks = |gap: &std::ops::RangeInclusive<u64>| {
            !both.is_empty() && gap.start() <= both.end() && both.start() <= gap.end()
        };
        if held.have.seq + 1 < state.first {
            return self.push_from(log, id, state.first, true).await;
        }
        if held.missing.iter().any(lacks) {
            log.supersede(id).await.unwrap();
            return false;
        }
        if held.have.seq > state.head {
            match held.at_head == Some(state.head_hash) {
                true if state.is_current => log.close_current().await.unwrap(),
                true => return true,
                false => log.supersede(id).await.unwrap(),
            };
            return false;
        }
        if log.hash_at(id, held.have.seq).await.unwrap() != Some(held.have.hash) {
            log.supersede(id).await.unwrap();
            return false;
        }
        held.have.seq == state.head || self.push_from(log, id, held.have.seq + 1, false).await
    }

    async fn push_from(&self, log: &Log, id: LogId, first: u64, gap: bool) -> bool {
        let (mut first_seq, mut gap) = (first, gap);
        loop {
            let events =
                log.read(id, first_seq - 1, limits::PUSH_EVENTS, limits::PUSH_SIZE_BYTES).await.unwrap();
            if events.is_empty() && !gap {
                return true;
            }
            let prev_hash = log.hash_at(id, first_seq - 1).await.unwrap().unwrap();
            let batch = Batch { log_id: id, first_seq, prev_hash, gap, events };
            match self.push(log.opened().terminal_id, &batch).await.unwrap() {
                Pushed::Stored(position) => first_seq = position.seq + 1,
                other => panic!("{other:?}"),
            }
            gap = false;
        }
    }
}

/// The bytes of an event.
pub fn record(event_id: EventId, stamp: v1::ClockStamp, kind: Kind) -> Vec<u8> {
    let record = v1::EventRecord {
        event_id: event_id.to_bytes().to_vec().into(),
        stamp: Some(stamp),
        kind: Some(v1::EventKind { kind: Some(kind) }),
    };
    record.encode_to_vec()
}

/// What clocks said `seconds` after a boot, with the wall clock that many seconds after `wall_us`.
pub fn stamp(boot: u8, seconds: i64, wall_us: i64, quality: v1::ClockQuality) -> v1::ClockStamp {
    v1::ClockStamp {
        boot_id: vec![boot; 16].into(),
        boottime_us: seconds * 1_000_000,
        wall_us: wall_us + seconds * 1_000_000,
        wall_quality: quality.into(),
    }
}

/// An event of a terminal whose clock is right, the `number`th second of a morning.
pub fn event(number: u8, kind: Kind) -> Vec<u8> {
    record(EventId::generate(), stamp(1, i64::from(number), MORNING_US, v1::ClockQuality::Ntp), kind)
}

/// A log from its beginning, in one batch.
pub fn whole(log_id: LogId, events: Vec<Vec<u8>>) -> Batch {
    Batch { log_id, first_seq: 1, prev_hash: ChainHash::ZERO, gap: false, events }
}

/// The chain over events from the beginning of a log.
pub fn chain(events: &[Vec<u8>]) -> ChainHash {
    events.iter().fold(ChainHash::ZERO, |hash, event| hash.after(event))
}
