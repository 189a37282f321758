//! A terminal: what is on its card, its clock, and what it does by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rollcall_attendance::{Anchor, ChainHash, Quality, Reading};
use rollcall_core::{LogId, PersonId, SetHash, TerminalId, UtcInstant, limits};
use rollcall_sync::clock::{self, Told};
use rollcall_sync::contact::{Contacts, Nonce};
use rollcall_sync::gallery::{GalleryState, RowHash};
use rollcall_sync::ledger::Lines;

use super::hub::Row;
use super::log::{Event, Log};
use super::rng::Rng;
use super::rule::Rule;

pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;

/// How a device learns the time by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Knows {
    /// Not at all: each boot begins in 1970.
    Nothing,
    /// From a time server.
    Time,
    /// From a time server that is wrong.
    WrongTime,
}

/// A device with its card. A clone is an image of the card.
#[derive(Clone)]
pub struct Terminal {
    pub id: TerminalId,
    pub knows: Knows,
    /// Makes up rows when it is asked for its own.
    pub forges: bool,
    pub logs: Vec<Log>,
    /// Kept beside the logs: how far the current one was.
    pub side: Option<(LogId, u64)>,
    pub contacts: Contacts,
    pub gallery: GalleryState,
    pub rows: BTreeMap<PersonId, Row>,
    /// The hashes of rows of erased people, who are not kept.
    pub dropped: BTreeMap<PersonId, RowHash>,
    /// Who is not in a table any more and still somewhere in the file.
    pub residue: BTreeSet<PersonId>,
    pub ledger: Lines,
    pub swept: Lines,
    /// What the hub said about being a copy.
    pub is_cloned: bool,
    pub floor: UtcInstant,
    /// What was acknowledged, for a terminal that goes by its memory.
    pub acknowledged: HashMap<LogId, (u64, ChainHash)>,
    pub boot_id: [u8; 16],
    booted_us: i64,
    last_anchor: Option<Anchor>,
}

impl Terminal {
    pub fn new(rng: &mut Rng, now_us: i64, floor: UtcInstant) -> Self {
        let knows = match rng.below(10) {
            0..5 => Knows::Time,
            5 => Knows::WrongTime,
            _ => Knows::Nothing,
        };
        Self {
            id: TerminalId::from_bytes(rng.id()),
            knows,
            forges: rng.percent(10),
            logs: vec![Log::new(rng.id())],
            side: None,
            contacts: Contacts::default(),
            gallery: GalleryState::default(),
            rows: BTreeMap::new(),
            dropped: BTreeMap::new(),
            residue: BTreeSet::new(),
            ledger: Lines::default(),
            swept: Lines::default(),
            is_cloned: false,
            floor,
            acknowledged: HashMap::new(),
            boot_id: rng.id(),
            booted_us: now_us,
            last_anchor: None,
        }
    }

    /// What its clocks say.
    pub fn reading(&self, now_us: i64) -> Reading {
        let boottime_us = now_us - self.booted_us;
        let (wall_us, quality) = match self.knows {
            Knows::Nothing => (boottime_us, Quality::Unset),
            Knows::Time => (now_us + SECOND / 2, Quality::Ntp),
            Knows::WrongTime => (now_us - 3 * DAY, Quality::Ntp),
        };
        Reading { boot_id: self.boot_id, boottime_us, wall_us, quality }
    }

    /// Appends an event.
    pub fn append(&mut self, rng: &mut Rng, now_us: i64) {
        let event = Event::new(rng.id(), self.reading(now_us), None, now_us, self.knows == Knows::WrongTime);
        self.write(event);
    }

    fn write(&mut self, event: Arc<Event>) {
        let Some(current) = self.logs.last_mut() else { return };
        current.append(event);
        if current.head().is_multiple_of(4) {
            self.side = Some((current.id, current.head()));
        }
    }

    /// The power comes back: what only memory had is gone. A log that is behind what is kept beside it is closed.
    pub fn boot(&mut self, rng: &mut Rng, now_us: i64) {
        self.boot_id = rng.id();
        self.booted_us = now_us;
        let is_behind = match (self.side, self.logs.last()) {
            (Some((log_id, head)), Some(current)) => log_id == current.id && head > current.head(),
            _ => false,
        };
        if is_behind {
            self.open_log(rng);
        }
    }

    /// Opens a new log; the oldest that is fully deleted makes room.
    pub fn open_log(&mut self, rng: &mut Rng) {
        if self.logs.len() >= limits::LOGS
            && let Some(oldest) = self.logs.iter().position(|log| log.first > log.head())
        {
            self.logs.remove(oldest);
        }
        self.logs.push(Log::new(rng.id()));
    }

    /// Moves what is kept of a log to the end of the current one, and forgets the log. Returns what was dropped instead.
    pub fn move_log(&mut self, log_id: LogId, rng: &mut Rng, without: Option<Rule>) -> Vec<Arc<Event>> {
        if self.logs.last().is_some_and(|current| current.id == log_id) {
            self.logs.push(Log::new(rng.id()));
        }
        let Some(at) = self.logs.iter().position(|log| log.id == log_id) else { return Vec::new() };
        let forked = self.logs.remove(at);
        let kept: Vec<Arc<Event>> = forked.from(forked.first).cloned().collect();
        if without == Some(Rule::ForksAreMoved) {
            return kept;
        }
        for event in kept {
            self.write(event);
        }
        Vec::new()
    }

    pub fn log(&mut self, log_id: LogId) -> Option<(&mut Log, bool)> {
        let last = self.logs.len().saturating_sub(1);
        let found = self.logs.iter_mut().enumerate().find(|(_, log)| log.id == log_id);
        found.map(|(at, log)| (log, at == last))
    }

    /// Its gallery as it finds it: the sum is over the rows that are really there.
    pub fn gallery_found(&self) -> GalleryState {
        GalleryState { set_hash: self.rows_hash(), ..self.gallery }
    }

    pub fn rows_hash(&self) -> SetHash {
        let rows = self.rows.values().filter_map(Row::hash);
        rows.chain(self.dropped.values().copied()).collect()
    }

    /// The hash of a person's row, whether it is kept or not.
    pub fn row_hash(&self, person: PersonId) -> Option<RowHash> {
        self.rows.get(&person).and_then(Row::hash).or_else(|| self.dropped.get(&person).copied())
    }

    fn erased(&self) -> HashSet<PersonId> {
        self.ledger.iter().map(|line| line.person_id).collect()
    }

    /// Applies changes.
    pub fn apply(&mut self, rows: Vec<Row>) {
        let erased = self.erased();
        for row in rows {
            self.dropped.remove(&row.person);
            if self.rows.remove(&row.person).is_some() {
                self.residue.insert(row.person);
            }
            match row.hash() {
                Some(hash) if erased.contains(&row.person) => {
                    self.dropped.insert(row.person, hash);
                }
                Some(_) => {
                    self.rows.insert(row.person, row);
                }
                None => {}
            }
        }
    }

    /// Puts these rows in the place of all.
    pub fn swap(&mut self, rows: Vec<Row>) {
        self.residue.extend(self.rows.keys());
        self.rows.clear();
        self.dropped.clear();
        self.apply(rows);
    }

    /// Takes lines of the ledger: whoever they name is removed, and waits to be swept.
    pub fn take_lines(&mut self, lines: impl IntoIterator<Item = rollcall_sync::ledger::Line>) {
        for line in lines {
            self.ledger.insert(line);
            if let Some(row) = self.rows.remove(&line.person_id) {
                self.dropped.extend(row.hash().map(|hash| (line.person_id, hash)));
                self.residue.insert(line.person_id);
            }
        }
    }

    /// Overwrites what is left of removed people.
    pub fn sweep(&mut self) {
        self.residue.clear();
        self.swept = self.ledger.clone();
    }

    /// Everybody of whom something is on the disk.
    pub fn on_disk(&self) -> HashSet<PersonId> {
        self.rows.keys().chain(&self.residue).copied().collect()
    }

    pub fn call(&mut self, nonce: Nonce, without: Option<Rule>) -> rollcall_sync::contact::Pending {
        if without == Some(Rule::PendingIsKept) {
            self.contacts.pending = None;
        }
        self.contacts.call(nonce)
    }

    /// Learns the time from an answer: an anchor in the log when it says something new, and a later floor. Returns whether an
    /// anchor was written.
    pub fn learn_time(
        &mut self,
        told: Told,
        asked: &Reading,
        now_us: i64,
        rng: &mut Rng,
        without: Option<Rule>,
    ) -> bool {
        let time = UtcInstant::from_micros(told.wall_us);
        self.floor = match without {
            Some(Rule::FloorRisesBySteps) => time.max(self.floor),
            _ => clock::raised_floor(self.floor, time),
        };
        let answered = self.reading(now_us);
        let anchor = clock::anchor(&told, asked, &answered);
        let anchor = anchor.filter(|anchor| clock::is_wanted(anchor, self.last_anchor.as_ref()));
        let Some(anchor) = anchor else { return false };
        self.last_anchor = Some(anchor);
        let is_of_liar = self.knows == Knows::WrongTime;
        self.write(Event::new(rng.id(), answered, Some(anchor), now_us, is_of_liar));
        true
    }
}
