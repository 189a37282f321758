//! A hub: its database, which backups are copies of, and what is beside it on the machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rollcall_attendance::{ChainHash, Quality, Reading};
use rollcall_core::{
    ErasureId, EventId, GalleryId, GroupId, LogId, PersonId, SetHash, TerminalId, UtcInstant,
};
use rollcall_sync::clock::{self, Heard, HubClock, Told};
use rollcall_sync::contact::{self, Known, Pending, Verdict};
use rollcall_sync::gallery::{
    self, Decision, GalleryState, HistoryHash, NotTaken, OwnGallery, Present, RowHash, Scope,
};
use rollcall_sync::intake::{Batch, Held, Judgement, Offered, Overlap, judge};
use rollcall_sync::ledger::{LedgerState, Line, Lines};
use rollcall_sync::prune::{InBackup, prune_through};
use rollcall_sync::uplink::{Acked, Answer, HeldLog};
use sha2::{Digest as _, Sha256};

use super::log::Event;
use super::rng::Rng;
use super::rule::Rule;
use super::terminal::{DAY, SECOND};

/// Changes of the gallery that a hub keeps: few, so that terminals fall behind them.
const CHANGES_KEPT: usize = 24;

/// The key of the hub's codes of authenticity.
const KEY: &[u8] = b"the hub's key";

/// A person as a terminal has them, or that they are gone.
#[derive(Clone, Debug)]
pub struct Row {
    pub revision: u64,
    pub person: PersonId,
    pub content: Option<Content>,
    pub mac: [u8; 32],
}

/// What is in a row: whose it is in order of edits, which all runs of all hubs share, and the groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub edit: u64,
    pub groups: BTreeSet<GroupId>,
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        let groups = self.groups.iter().flat_map(|group| group.to_bytes());
        self.edit.to_be_bytes().into_iter().chain(groups).collect()
    }
}

impl Row {
    pub fn new(revision: u64, person: PersonId, content: Option<Content>) -> Self {
        let mac = Self::mac(revision, person, content.as_ref());
        Self { revision, person, content, mac }
    }

    fn mac(revision: u64, person: PersonId, content: Option<&Content>) -> [u8; 32] {
        let content = content.map(Content::bytes).unwrap_or_default();
        let hash = Sha256::new().chain_update(KEY).chain_update(revision.to_be_bytes());
        hash.chain_update(person.to_bytes()).chain_update(content).finalize().into()
    }

    pub fn is_authentic(&self) -> bool {
        self.mac == Self::mac(self.revision, self.person, self.content.as_ref())
    }

    pub fn hash(&self) -> Option<RowHash> {
        self.content.as_ref().map(|content| gallery::row_hash(self.person, &content.bytes()))
    }
}

/// A copy of a terminal's log.
#[derive(Clone, Default)]
pub struct Copy {
    /// From number 1 on; `None`: within a gap.
    pub events: Vec<Option<Arc<Event>>>,
    pub hashes: Vec<Option<ChainHash>>,
    pub gaps: Vec<RangeInclusive<u64>>,
}

impl Copy {
    pub fn have(&self) -> u64 {
        self.hashes.len() as u64
    }

    pub fn hash_at(&self, seq: u64) -> Option<ChainHash> {
        match seq.checked_sub(1) {
            None => Some(ChainHash::ZERO),
            Some(index) => self.hashes.get(index as usize).copied().flatten(),
        }
    }

    fn held(&self, without: Option<Rule>) -> Held<'_> {
        let gaps = if without == Some(Rule::GapsAreFilled) { &[][..] } else { &self.gaps };
        Held { have: self.have(), have_hash: self.hash_at(self.have()).unwrap_or(ChainHash::ZERO), gaps }
    }
}

/// What the hub's gallery has of a person.
#[derive(Clone)]
pub struct Person {
    pub revision: u64,
    pub content: Content,
    /// Unchanged since the present history began.
    former: Option<u64>,
}

/// The database.
#[derive(Clone)]
pub struct Database {
    pub logs: BTreeMap<(TerminalId, LogId), Copy>,
    /// Events that count, of each terminal.
    pub counted: HashMap<TerminalId, Vec<EventId>>,
    known: BTreeMap<TerminalId, Known>,
    pub gallery_id: GalleryId,
    former_ids: Vec<GalleryId>,
    pub revision: u64,
    history: HistoryHash,
    /// The latest changes: revision, the chain with it, who.
    changes: Vec<(u64, HistoryHash, PersonId)>,
    pub people: BTreeMap<PersonId, Person>,
    scopes: BTreeMap<TerminalId, BTreeSet<GroupId>>,
}

/// The machine with the database.
pub struct Hub {
    pub db: Database,
    pub ledger: Lines,
    pub heard: HashMap<TerminalId, Heard>,
    boot_id: [u8; 16],
    booted_us: i64,
    /// How far its wall clock is from the true time.
    pub off_us: i64,
    build: UtcInstant,
    without: Option<Rule>,
}

/// What a terminal sends first.
pub struct Hello {
    pub terminal: TerminalId,
    pub pending: Pending,
    pub reading: Reading,
    pub logs: Vec<Offered>,
    pub gallery: GalleryState,
    pub ledger: LedgerState,
}

/// The answer.
pub struct Welcome {
    pub contact: u64,
    pub verdict: Verdict,
    pub logs: Vec<HeldLog>,
    pub gallery: GalleryState,
    pub ledger: LedgerState,
    pub told: Option<Told>,
    /// Whether anything could have contradicted the hub's clock.
    pub had_witnesses: bool,
    pub wants_offer: bool,
    pub began_history: bool,
    pub is_cloned: bool,
    /// The erasures that the Hello confirmed.
    pub confirmed: Vec<PersonId>,
}

/// The parts of an answer to PullGallery.
pub enum Pulled {
    Nothing,
    Delta(Vec<Row>, GalleryState),
    Snapshot(Vec<Row>, GalleryState),
    /// The hub stepped back: open again.
    Refused,
}

impl Hub {
    pub fn new(rng: &mut Rng, now_us: i64, build: UtcInstant, without: Option<Rule>) -> Self {
        let db = Database {
            logs: BTreeMap::new(),
            counted: HashMap::new(),
            known: BTreeMap::new(),
            gallery_id: GalleryId::from_bytes(rng.id()),
            former_ids: Vec::new(),
            revision: 0,
            history: HistoryHash::ZERO,
            changes: Vec::new(),
            people: BTreeMap::new(),
            scopes: BTreeMap::new(),
        };
        let off_us = rng.between(-60, 60) * SECOND;
        Self {
            db,
            ledger: Lines::default(),
            heard: HashMap::new(),
            boot_id: rng.id(),
            booted_us: now_us,
            off_us,
            build,
            without,
        }
    }

    /// The power comes back.
    pub fn boot(&mut self, rng: &mut Rng, now_us: i64) {
        self.boot_id = rng.id();
        self.booted_us = now_us;
    }

    /// The database is another one: a backup, or none. Whoever the ledger names is removed from it again.
    pub fn restore(&mut self, db: Database, rng: &mut Rng, now_us: i64) {
        self.db = db;
        self.boot(rng, now_us);
        self.apply_ledger();
    }

    fn apply_ledger(&mut self) {
        let erased: Vec<PersonId> = self.ledger.iter().map(|line| line.person_id).collect();
        for person in erased {
            if self.db.people.contains_key(&person) {
                self.db.change(person, None, None);
            }
        }
    }

    fn reading(&self, now_us: i64) -> Reading {
        Reading {
            boot_id: self.boot_id,
            boottime_us: now_us - self.booted_us,
            wall_us: now_us + self.off_us,
            quality: Quality::Rtc,
        }
    }

    /// Answers an Open.
    pub fn open(&mut self, hello: &Hello, now_us: i64, rng: &mut Rng) -> Welcome {
        let reading = self.reading(now_us);
        let now = UtcInstant::from_micros(now_us);
        let known = self.db.known.entry(hello.terminal).or_default();
        let (next, mut verdict) = contact::judge(known, &hello.pending, "board", now);
        if verdict == Verdict::HubSteppedBack && self.without == Some(Rule::HubsStepBack) {
            verdict = Verdict::Forked { cloned: false };
        }
        *known = next.clone();
        let (told, had_witnesses) = self.time_for(hello, &reading);
        let is_restored = verdict == Verdict::HubSteppedBack;
        let decision = self.decide(hello.terminal, &hello.gallery, is_restored);
        let began_history = decision == Decision::SteppedBack && !next.is_cloned;
        if began_history {
            self.db.begin_history(rng, hello.gallery.gallery_id);
        }
        Welcome {
            contact: next.contact,
            verdict,
            logs: hello.logs.iter().map(|offered| self.told_of(hello.terminal, offered)).collect(),
            gallery: self.db.state(hello.terminal),
            ledger: self.ledger.state(),
            told,
            had_witnesses,
            wants_offer: decision.wants_offer(),
            began_history,
            is_cloned: next.is_cloned,
            confirmed: self.ledger.confirmed_by(hello.ledger).iter().map(|line| line.person_id).collect(),
        }
    }

    fn time_for(&mut self, hello: &Hello, reading: &Reading) -> (Option<Told>, bool) {
        let heard = Heard {
            terminal_id: hello.terminal,
            wall_us: hello.reading.wall_us,
            quality: hello.reading.quality,
            boot_id: reading.boot_id,
            boottime_us: reading.boottime_us,
        };
        self.heard.insert(hello.terminal, heard);
        let all: Vec<Heard> = self.heard.values().copied().collect();
        // A clock ten years ahead is contradicted by everybody who counts.
        let ahead = Reading { wall_us: reading.wall_us.saturating_add(3_650 * DAY), ..*reading };
        let had_witnesses =
            reading.wall_us < self.build.micros() || clock::judge(&ahead, self.build, &all) != HubClock::Sane;
        let floor = match self.without {
            Some(Rule::ClockIsNotBeforeTheBuild) => UtcInstant::from_micros(0),
            _ => self.build,
        };
        let voters = if self.without == Some(Rule::MajorityOfClocks) { &[][..] } else { &all };
        (clock::told(reading, clock::judge(reading, floor, voters)), had_witnesses)
    }

    fn told_of(&self, terminal: TerminalId, offered: &Offered) -> HeldLog {
        let none = Copy::default();
        let copy = self.db.logs.get(&(terminal, offered.log_id)).unwrap_or(&none);
        copy.held(self.without).told(offered, copy.hash_at(offered.head))
    }

    /// Answers a Push of one of the terminal's logs.
    pub fn push(
        &mut self,
        terminal: TerminalId,
        log_id: LogId,
        batch: &Batch<'_, Vec<u8>>,
        events: &[Arc<Event>],
        backups: &[Database],
    ) -> Answer {
        let copy = self.db.logs.entry((terminal, log_id)).or_default();
        let held = copy.held(self.without);
        let compared = batch.compared(&held);
        let at = |seq: Option<u64>| seq.and_then(|seq| copy.hash_at(seq));
        let overlap = Overlap { before: at(compared.before), end: at(compared.end) };
        let judgement = match self.without {
            Some(Rule::HashesAreCompared) => judged_by_numbers(&held, batch),
            _ => judge(&held, batch, overlap),
        };
        let skip = match judgement {
            Judgement::Append { skip } => skip,
            Judgement::Nothing => events.len(),
            Judgement::Gap { from, to } => {
                copy.gaps.push(from..=to);
                copy.events.resize(to as usize, None);
                copy.hashes.resize(to as usize - 1, None);
                copy.hashes.push(Some(batch.prev_hash));
                0
            }
            Judgement::Forked => return Answer::Forked,
            Judgement::Rewind { have } => return Answer::PositionUnknown { have },
        };
        let counted = self.db.counted.entry(terminal).or_default();
        for event in events.iter().skip(skip) {
            let hash = copy.hash_at(copy.have()).unwrap_or(ChainHash::ZERO).after(&event.bytes);
            copy.hashes.push(Some(hash));
            copy.events.push(Some(Arc::clone(event)));
            let is_repeat = counted.contains(&event.id) && self.without != Some(Rule::RepeatsCountOnce);
            if !is_repeat {
                counted.push(event.id);
            }
        }
        let (have, have_hash) = (copy.have(), copy.hash_at(copy.have()).unwrap_or(ChainHash::ZERO));
        let prune_through = self.prune_through(terminal, log_id, backups);
        Answer::Ack(Acked { log_id, have, have_hash, prune_through })
    }

    fn prune_through(&self, terminal: TerminalId, log_id: LogId, backups: &[Database]) -> u64 {
        let Some(copy) = self.db.logs.get(&(terminal, log_id)) else { return 0 };
        let mut newest: Vec<InBackup> = backups
            .iter()
            .rev()
            .take(2)
            .map(|backup| {
                let kept = backup.logs.get(&(terminal, log_id));
                let seq = kept.map_or(0, Copy::have);
                let hash = kept.and_then(|kept| kept.hash_at(seq)).unwrap_or(ChainHash::ZERO);
                let hash_at_hub = match self.without {
                    Some(Rule::BackupsAreCompared) => Some(hash),
                    _ => copy.hash_at(seq),
                };
                InBackup { seq, hash, hash_at_hub }
            })
            .collect();
        if self.without == Some(Rule::TwoBackups)
            && let Some(first) = newest.first().copied()
        {
            newest = vec![first, first];
        }
        prune_through(copy.have(), 0, &newest)
    }

    fn decide(&self, terminal: TerminalId, theirs: &GalleryState, is_restored: bool) -> Decision {
        let now = self.db.state(terminal);
        let mut theirs = *theirs;
        let mut history_hash_then = self.db.history_at(theirs.revision);
        if self.without == Some(Rule::HistoriesAreCompared) {
            history_hash_then = history_hash_then.map(|_| theirs.history_hash);
        }
        if self.without == Some(Rule::RowsAreSummed) {
            theirs.set_hash = now.set_hash;
        }
        let is_former = self.without == Some(Rule::LostHistoriesAreNoticed)
            || theirs.gallery_id.is_some_and(|id| self.db.former_ids.contains(&id));
        gallery::decide(&theirs, &OwnGallery { now, is_former, history_hash_then, is_restored })
    }

    /// Answers a Pull.
    pub fn pull(&mut self, terminal: TerminalId, have: &GalleryState, rng: &mut Rng) -> (Pulled, bool) {
        let state = self.db.state(terminal);
        match self.decide(terminal, have, false) {
            Decision::Nothing => (Pulled::Nothing, false),
            Decision::Delta { after } => (Pulled::Delta(self.db.rows_after(after, terminal), state), false),
            Decision::Snapshot | Decision::OfferThenSnapshot => {
                (Pulled::Snapshot(self.db.rows(terminal), state), false)
            }
            Decision::SteppedBack => {
                self.db.begin_history(rng, have.gallery_id);
                (Pulled::Refused, true)
            }
        }
    }

    /// Takes back what it lacks of a terminal's rows.
    pub fn offer(&mut self, rows: &[Row]) -> Vec<Result<(), NotTaken>> {
        let erased: HashSet<PersonId> = self.ledger.iter().map(|line| line.person_id).collect();
        let mut answers = Vec::new();
        for row in rows {
            let present = match self.db.people.get(&row.person) {
                None => Present::Lacking,
                Some(Person { former: Some(revision), .. })
                    if self.without != Some(Rule::NewerRowsAreTaken) =>
                {
                    Present::Former { revision: *revision }
                }
                Some(_) => Present::Changed,
            };
            let is_authentic = row.is_authentic() || self.without == Some(Rule::CodesAreChecked);
            let is_erased = erased.contains(&row.person) && self.without != Some(Rule::LedgerHoldsAtOffer);
            let answer = gallery::take_back(is_authentic, is_erased, present, row.revision);
            if answer.is_ok() {
                self.db.change(row.person, row.content.clone(), Some(row.revision));
            }
            answers.push(answer);
        }
        answers
    }

    /// Answers an exchange of the ledger's lines.
    pub fn exchange(&mut self, theirs: LedgerState, lines: &[Line]) -> (LedgerState, Vec<Line>) {
        let shown: Lines = lines.iter().copied().collect();
        if self.without != Some(Rule::LedgerGoesUp) {
            for line in lines {
                self.ledger.insert(*line);
            }
            self.apply_ledger();
        }
        let lacked = self.ledger.lacked_by(theirs, &shown, usize::MAX);
        (self.ledger.state(), lacked)
    }

    /// Somebody is removed for ever.
    pub fn erase(&mut self, person: PersonId, rng: &mut Rng, now_us: i64) {
        let erased = UtcInstant::from_micros(now_us);
        // As in a UUIDv7, the time comes first.
        let mut id = rng.id();
        id[..8].copy_from_slice(&now_us.to_be_bytes());
        let erasure_id = ErasureId::from_bytes(id);
        let mac = Sha256::new().chain_update(KEY).chain_update(erasure_id.to_bytes()).finalize().into();
        self.ledger.insert(Line { erasure_id, person_id: person, erased, mac });
        self.apply_ledger();
    }
}

/// As `judge`, by numbers alone.
fn judged_by_numbers(held: &Held<'_>, batch: &Batch<'_, Vec<u8>>) -> Judgement {
    let before = batch.first_seq - 1;
    if before > held.have {
        return match batch.gap {
            true => Judgement::Gap { from: held.have + 1, to: before },
            false => Judgement::Rewind { have: held.have },
        };
    }
    Judgement::Append { skip: batch.events.len().min((held.have - before) as usize) }
}

impl Database {
    /// A change: the row of a person, or that they are gone. `former`: the revision of the row that was taken back.
    pub fn change(&mut self, person: PersonId, content: Option<Content>, former: Option<u64>) {
        self.revision += 1;
        let revision = self.revision;
        let row = Row::new(revision, person, content.clone());
        self.history = self.history.after(revision, person, row.hash());
        self.changes.push((revision, self.history, person));
        let excess = self.changes.len().saturating_sub(CHANGES_KEPT);
        self.changes.drain(..excess);
        match content {
            Some(content) => {
                self.people.insert(person, Person { revision, content, former });
            }
            None => {
                self.people.remove(&person);
            }
        }
    }

    /// Begins a new history. `theirs`: the history of the terminal that showed it to be needed.
    pub fn begin_history(&mut self, rng: &mut Rng, theirs: Option<GalleryId>) {
        self.former_ids.push(self.gallery_id);
        self.former_ids.extend(theirs);
        self.gallery_id = GalleryId::from_bytes(rng.id());
        for person in self.people.values_mut() {
            person.former = Some(person.former.unwrap_or(person.revision));
        }
    }

    pub fn set_scope(&mut self, terminal: TerminalId, groups: BTreeSet<GroupId>) {
        self.scopes.insert(terminal, groups);
    }

    fn is_in_scope(&self, terminal: TerminalId, content: &Content) -> bool {
        let scope = self.scopes.get(&terminal).filter(|scope| !scope.is_empty());
        scope.is_none_or(|scope| !scope.is_disjoint(&content.groups))
    }

    /// The rows of everybody in a terminal's scope, by id.
    pub fn rows(&self, terminal: TerminalId) -> Vec<Row> {
        let people = self.people.iter().filter(|(_, person)| self.is_in_scope(terminal, &person.content));
        people.map(|(id, person)| Row::new(person.revision, *id, Some(person.content.clone()))).collect()
    }

    /// What has changed since, by revision.
    fn rows_after(&self, after: u64, terminal: TerminalId) -> Vec<Row> {
        let mut latest: BTreeMap<PersonId, u64> = BTreeMap::new();
        for (revision, _, person) in self.changes.iter().filter(|(revision, ..)| *revision > after) {
            latest.insert(*person, *revision);
        }
        let mut rows: Vec<Row> = latest
            .into_iter()
            .map(|(id, revision)| {
                let person = self.people.get(&id);
                let content = person.map(|person| &person.content);
                let content = content.filter(|content| self.is_in_scope(terminal, content));
                Row::new(revision, id, content.cloned())
            })
            .collect();
        rows.sort_by_key(|row| row.revision);
        rows
    }

    /// The state of a terminal that has everything.
    pub fn state(&self, terminal: TerminalId) -> GalleryState {
        let rows: SetHash = self.rows(terminal).iter().filter_map(Row::hash).collect();
        let nobody = BTreeSet::new();
        GalleryState {
            gallery_id: Some(self.gallery_id),
            revision: self.revision,
            set_hash: rows,
            history_hash: self.history,
            scope: Scope::of(self.scopes.get(&terminal).unwrap_or(&nobody)),
        }
    }

    fn history_at(&self, revision: u64) -> Option<HistoryHash> {
        if revision == 0 && self.changes.first().is_none_or(|(first, ..)| *first == 1) {
            return Some(HistoryHash::ZERO);
        }
        self.changes.iter().find(|(known, ..)| *known == revision).map(|(_, hash, _)| *hash)
    }
}
