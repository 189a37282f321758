//! Random runs of terminals and a hub over the real machines: calls and answers that are lost, power cuts, cards that are
//! restored from images and cloned, hubs that are restored from backups, on new machines and from nothing, deletion, changes
//! of the gallery and of who is to have whom, erasures, rows that get lost, forged rows, clocks that are not set, terminals
//! that lie about the time and hubs that are wrong about it.
//!
//! One number is one run, the same each time. At the end of a run the network works, and everything must come out right.

mod hub;
mod log;
mod rng;
mod rule;
mod session;
mod terminal;
mod truth;

use std::collections::BTreeSet;
use std::fmt;

use rollcall_core::{GroupId, PersonId, UtcInstant};
use rollcall_sync::invariants::Violation;

use hub::{Content, Database, Hub};
use rng::Rng;
pub use rule::Rule;
use session::{Link, Session};
use terminal::{DAY, SECOND, Terminal};
use truth::Truth;

/// When runs begin.
const BEGIN_US: i64 = 1_793_880_000 * SECOND;

/// Devices at once, copies of cards included.
const DEVICES: usize = 4;

/// What happened in a run, or in many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub rollbacks: usize,
    pub clones: usize,
    pub restores: usize,
    pub forks: usize,
    pub gaps: usize,
    pub pruned: usize,
    pub histories: usize,
    pub taken_back: usize,
    pub forged: usize,
    pub erasures: usize,
    pub anchors: usize,
}

impl Report {
    pub fn add(&mut self, other: &Self) {
        self.rollbacks += other.rollbacks;
        self.clones += other.clones;
        self.restores += other.restores;
        self.forks += other.forks;
        self.gaps += other.gaps;
        self.pruned += other.pruned;
        self.histories += other.histories;
        self.taken_back += other.taken_back;
        self.forged += other.forged;
        self.erasures += other.erasures;
        self.anchors += other.anchors;
    }
}

/// A run that came out wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub violation: Violation,
    without: Option<Rule>,
}

/// What was violated, and how to see it again.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, violation, without } = self;
        write!(f, "seed {seed}: {violation}\n  cargo run -p rollcall-sync --example simulate -- 1 {seed}")?;
        without.map_or(Ok(()), |rule| write!(f, " --without {rule:?}"))
    }
}

/// Runs a seed.
///
/// # Errors
/// What was violated.
pub fn run(seed: u64, without: Option<Rule>) -> Result<Report, Failure> {
    let mut world = World::new(seed, without);
    world.run().map_err(|violation| Failure { seed, violation, without })?;
    Ok(world.report)
}

struct World {
    rng: Rng,
    without: Option<Rule>,
    report: Report,
    truth: Truth,
    now_us: i64,
    hub: Hub,
    /// Of the hub's database, the newest last.
    backups: Vec<Database>,
    devices: Vec<Terminal>,
    sessions: Vec<Option<Session>>,
    images: Vec<Terminal>,
    groups: Vec<GroupId>,
    edits: u64,
}

impl World {
    fn new(seed: u64, without: Option<Rule>) -> Self {
        let mut rng = Rng::new(seed);
        let build = UtcInstant::from_micros(BEGIN_US - 30 * DAY);
        let hub = Hub::new(&mut rng, BEGIN_US, build, without);
        let count = 1 + rng.below(3);
        let mut devices: Vec<Terminal> =
            (0..count).map(|_| Terminal::new(&mut rng, BEGIN_US, build)).collect();
        // One wrong time server at most: two that agree are a majority that nobody can tell from a right one.
        let liars = devices.iter_mut().filter(|device| device.knows == terminal::Knows::WrongTime).skip(1);
        liars.for_each(|device| device.knows = terminal::Knows::Time);
        let groups = (0..3).map(|_| GroupId::from_bytes(rng.id())).collect();
        let sessions = devices.iter().map(|_| None).collect();
        Self {
            rng,
            without,
            report: Report::default(),
            truth: Truth::default(),
            now_us: BEGIN_US,
            hub,
            backups: Vec::new(),
            devices,
            sessions,
            images: Vec::new(),
            groups,
            edits: 0,
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..20 + self.rng.below(100) {
            self.now_us += self.rng.between(1, 3 * 3_600) * SECOND;
            self.step()?;
        }
        self.settle()?;
        truth::check(self)
    }

    fn step(&mut self) -> Result<(), Violation> {
        let at = self.rng.below(self.devices.len());
        match self.rng.below(100) {
            0..24 => {
                for _ in 0..=self.rng.below(4) {
                    self.devices[at].append(&mut self.rng, self.now_us);
                }
            }
            24..62 => {
                let calls = 1 + self.rng.below(12);
                self.session(at, calls, Link::Lossy)?;
            }
            62..66 => self.images.push(self.devices[at].clone()),
            66..69 => self.roll_back(at),
            69 => self.clone_card(),
            70..74 => self.back_up(),
            74..77 => self.restore_hub(),
            77..80 => self.boot(at),
            80..89 => self.edit(),
            89..91 => self.erase(),
            91 => self.change_scope(at),
            92..94 => self.disturb_hubs_clock(),
            94 => self.lose_a_row(at),
            95..97 => self.devices[at].sweep(),
            _ => self.sessions[at] = None,
        }
        Ok(())
    }

    /// Makes some calls of a device's session, of a new one if there is none.
    fn session(&mut self, at: usize, calls: usize, link: Link) -> Result<(), Violation> {
        let mut session = self.sessions[at].take().unwrap_or_else(Session::new);
        for _ in 0..calls {
            self.now_us += self.rng.between(0, SECOND);
            if !session.advance(self, at, link)? {
                return Ok(());
            }
        }
        self.sessions[at] = Some(session);
        Ok(())
    }

    /// Whether a call or an answer is lost.
    fn loses(&mut self, link: Link) -> bool {
        link == Link::Lossy && self.rng.percent(7)
    }

    /// A card is restored from an image of it: whole, or the log's file alone.
    fn roll_back(&mut self, at: usize) {
        let id = self.devices[at].id;
        let own: Vec<usize> = (0..self.images.len()).filter(|image| self.images[*image].id == id).collect();
        if own.is_empty() {
            return;
        }
        let image = &self.images[own[self.rng.below(own.len())]];
        if self.rng.percent(60) {
            let is_beside = self.rng.percent(30).then_some(self.devices[at].side);
            self.devices[at] = image.clone();
            self.devices[at].side = is_beside.unwrap_or(self.devices[at].side);
        } else {
            self.devices[at].logs = image.logs.clone();
        }
        self.boot(at);
        self.report.rollbacks += 1;
    }

    /// A second device runs from an image of a card.
    fn clone_card(&mut self) {
        if self.images.is_empty() || self.devices.len() >= DEVICES {
            return;
        }
        let image = self.images[self.rng.below(self.images.len())].clone();
        self.devices.push(image);
        self.sessions.push(None);
        self.boot(self.devices.len() - 1);
        self.report.clones += 1;
    }

    fn boot(&mut self, at: usize) {
        self.sessions[at] = None;
        self.devices[at].boot(&mut self.rng, self.now_us);
    }

    fn back_up(&mut self) {
        self.backups.push(self.hub.db.clone());
        let excess = self.backups.len().saturating_sub(3);
        self.backups.drain(..excess);
    }

    /// The hub is restored from one of its two newest backups: by its command, which begins a new history at once, or as a
    /// disk image, which nobody tells it of; on the same machine, or on one without the ledger's file. Or it is replaced by
    /// one that has nothing.
    fn restore_hub(&mut self) {
        self.report.restores += 1;
        // A session is one connection, which does not outlive the hub's program: rows that were offered to the lost database
        // are offered again before any are taken.
        self.sessions.iter_mut().for_each(|session| *session = None);
        if self.rng.percent(8) {
            let empty = Hub::new(&mut self.rng, self.now_us, UtcInstant::from_micros(BEGIN_US), None).db;
            self.hub.ledger = Default::default();
            self.hub.heard.clear();
            self.hub.restore(empty, &mut self.rng, self.now_us);
            self.backups.clear();
            self.truth.deleted.clear();
            return;
        }
        let count = self.backups.len().min(2);
        if count == 0 {
            return;
        }
        let backup = self.backups[self.backups.len() - 1 - self.rng.below(count)].clone();
        if self.rng.percent(25) {
            self.hub.ledger = Default::default();
            self.hub.heard.clear();
        }
        self.hub.restore(backup, &mut self.rng, self.now_us);
        if self.rng.percent(40) {
            self.hub.db.begin_history(&mut self.rng, None);
            self.report.histories += 1;
        }
    }

    /// Somebody is enrolled, or changed.
    fn edit(&mut self) {
        self.edits += 1;
        let known: Vec<PersonId> = self.hub.db.people.keys().copied().collect();
        let person = match known.is_empty() || self.rng.percent(50) {
            true => PersonId::from_bytes(self.rng.id()),
            false => known[self.rng.below(known.len())],
        };
        let groups = self.some_groups();
        let content = Content { edit: self.edits, groups };
        self.truth.edits.insert(self.edits);
        if self.report.restores > 0 {
            self.truth.edited_since_restore.insert(person);
        }
        self.hub.db.change(person, Some(content), None);
    }

    fn some_groups(&mut self) -> BTreeSet<GroupId> {
        let groups = self.groups.clone();
        groups.into_iter().filter(|_| self.rng.percent(40)).collect()
    }

    fn erase(&mut self) {
        let known: Vec<PersonId> = self.hub.db.people.keys().copied().collect();
        if known.is_empty() {
            return;
        }
        let person = known[self.rng.below(known.len())];
        self.truth.ever_erased.insert(person);
        self.hub.erase(person, &mut self.rng, self.now_us);
        self.report.erasures += 1;
    }

    fn change_scope(&mut self, at: usize) {
        let groups = self.some_groups();
        self.hub.db.set_scope(self.devices[at].id, groups);
    }

    /// The hub's clock is set wrong, or right again: the battery is empty, or somebody set it.
    fn disturb_hubs_clock(&mut self) {
        self.hub.off_us = match self.rng.below(4) {
            0 => {
                self.hub.boot(&mut self.rng, self.now_us);
                -3_650 * DAY
            }
            1 => 3_650 * DAY,
            2 => 3_600 * SECOND,
            _ => self.rng.between(-60, 60) * SECOND,
        };
    }

    /// A row is gone from a terminal's gallery, and the program starts again.
    fn lose_a_row(&mut self, at: usize) {
        let rows: Vec<PersonId> = self.devices[at].rows.keys().copied().collect();
        if !rows.is_empty() {
            let lost = rows[self.rng.below(rows.len())];
            self.devices[at].rows.remove(&lost);
        }
        self.boot(at);
    }

    /// The network works, and everybody meets the hub until nothing changes any more.
    fn settle(&mut self) -> Result<(), Violation> {
        const ROUNDS: usize = 12;
        const CALLS: usize = 400;
        for device in &mut self.devices {
            device.sweep();
        }
        truth::remember(self);
        for _ in 0..ROUNDS {
            for at in 0..self.devices.len() {
                self.now_us += SECOND;
                self.session(at, CALLS, Link::Perfect)?;
                self.sessions[at] = None;
                self.devices[at].sweep();
            }
        }
        Ok(())
    }
}
