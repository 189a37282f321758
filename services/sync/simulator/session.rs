//! A terminal's session with its hub, one call at a time, so that anything may happen between two calls. Each call, and each
//! answer, may be lost; then the session is over, and what the terminal has stored is all that is left of it.

use std::collections::VecDeque;
use std::sync::Arc;

use rollcall_core::{GalleryId, LogId};
use rollcall_sync::contact::Verdict;
use rollcall_sync::gallery::{GalleryState, NotTaken};
use rollcall_sync::intake::{Batch, Offered};
use rollcall_sync::invariants::{
    Violation, f4_the_floor_rises_by_steps, i5_only_what_is_kept_elsewhere_is_deleted,
    i7_what_is_confirmed_is_done, i10_a_push_keeps_to_its_limits,
};
use rollcall_sync::ledger::Exchange;
use rollcall_sync::replica::{Action, Part, Refusal, Replica, RowSummary};
use rollcall_sync::uplink::{Answer, HeldLog, Next, Plan, Pushing, plan};

use super::World;
use super::hub::{Content, Hello, Pulled, Row, Welcome};
use super::log::{Event, Log};
use super::rule::Rule;
use super::terminal::{SECOND, Terminal};

/// What is left to do.
pub struct Session {
    tasks: VecDeque<Task>,
}

enum Task {
    Open,
    Exchange(Exchange),
    Offer,
    Pull { everything: bool, offered_to: Option<GalleryId> },
    Push(LogId, Pushing),
}

/// How the network is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Lossy,
    Perfect,
}

/// Whether the session goes on.
type Goes = Result<bool, Violation>;

impl Session {
    pub fn new() -> Self {
        Self { tasks: VecDeque::from([Task::Open]) }
    }

    /// Makes the next call of device `at`. False when the session is over.
    pub fn advance(&mut self, world: &mut World, at: usize, link: Link) -> Goes {
        let goes = match self.tasks.pop_front() {
            None => false,
            Some(Task::Open) => self.open(world, at, link)?,
            Some(Task::Exchange(exchange)) => self.exchange(world, at, link, exchange),
            Some(Task::Offer) => offer(world, at, link),
            Some(Task::Pull { everything, offered_to }) => {
                self.pull(world, at, link, everything, offered_to)?
            }
            Some(Task::Push(log_id, pushing)) => self.push(world, at, link, log_id, pushing)?,
        };
        Ok(goes && !self.tasks.is_empty())
    }

    fn open(&mut self, world: &mut World, at: usize, link: Link) -> Goes {
        let hello = hello(world, at);
        if world.loses(link) {
            return Ok(false);
        }
        world.now_us += world.rng.between(0, 7) * SECOND;
        let welcome = world.hub.open(&hello, world.now_us, &mut world.rng);
        world.now_us += world.rng.between(0, 7) * SECOND;
        world.report.forks += usize::from(matches!(welcome.verdict, Verdict::Forked { .. }));
        world.report.histories += usize::from(welcome.began_history);
        i7_what_is_confirmed_is_done(welcome.confirmed.iter().copied(), &world.devices[at].on_disk())?;
        if world.loses(link) {
            return Ok(false);
        }
        self.welcomed(world, at, &hello, &welcome)?;
        Ok(true)
    }

    fn welcomed(
        &mut self,
        world: &mut World,
        at: usize,
        hello: &Hello,
        welcome: &Welcome,
    ) -> Result<(), Violation> {
        let (without, now_us) = (world.without, world.now_us);
        let terminal = &mut world.devices[at];
        terminal.contacts.answered(welcome.contact);
        terminal.is_cloned = welcome.is_cloned;
        if let Some(told) = welcome.told {
            let floor = terminal.floor;
            let wrote = terminal.learn_time(told, &hello.reading, now_us, &mut world.rng, without);
            f4_the_floor_rises_by_steps(floor, terminal.floor)?;
            if wrote {
                world.report.anchors += 1;
                if !welcome.had_witnesses {
                    world.truth.unwitnessed.insert(terminal.boot_id);
                }
            }
        }
        let mut pushes = plan_logs(world, at, &welcome.logs);
        let mut down = VecDeque::new();
        let terminal = &world.devices[at];
        if !welcome.is_cloned {
            if without != Some(Rule::LedgerGoesDown) && welcome.ledger != terminal.ledger.state() {
                down.push_back(Task::Exchange(Exchange::with(welcome.ledger)));
            }
            let mut offered_to = None;
            if welcome.wants_offer {
                offered_to = welcome.gallery.gallery_id;
                if without != Some(Rule::OfferComesFirst) {
                    down.push_back(Task::Offer);
                }
            }
            if welcome.wants_offer || welcome.gallery != terminal.gallery_found() {
                down.push_back(Task::Pull { everything: false, offered_to });
            }
        }
        if world.rng.percent(50) {
            std::mem::swap(&mut pushes, &mut down);
        }
        self.tasks.extend(pushes.into_iter().chain(down));
        Ok(())
    }

    fn exchange(&mut self, world: &mut World, at: usize, link: Link, mut exchange: Exchange) -> bool {
        let terminal = &world.devices[at];
        let Some(sent) = exchange.request(&terminal.ledger) else { return true };
        let state = terminal.ledger.state();
        if world.loses(link) {
            return false;
        }
        let (hub, lines) = world.hub.exchange(state, &sent);
        if world.loses(link) {
            return false;
        }
        let terminal = &mut world.devices[at];
        let fresh = exchange.answered(&terminal.ledger, sent, hub, lines);
        terminal.take_lines(fresh);
        if world.rng.percent(70) {
            world.devices[at].sweep();
        }
        self.tasks.push_front(Task::Exchange(exchange));
        true
    }

    fn pull(
        &mut self,
        world: &mut World,
        at: usize,
        link: Link,
        everything: bool,
        offered_to: Option<GalleryId>,
    ) -> Goes {
        let terminal = &world.devices[at];
        let own = terminal.gallery_found();
        let have = if everything { own.anew() } else { own };
        if world.loses(link) {
            return Ok(false);
        }
        let (pulled, began_history) = world.hub.pull(world.devices[at].id, &have, &mut world.rng);
        world.report.histories += usize::from(began_history);
        let (parts, state) = match pulled {
            Pulled::Nothing => return Ok(true),
            Pulled::Refused => return Ok(false),
            Pulled::Delta(rows, state) => (chunks(rows, false), state),
            Pulled::Snapshot(rows, state) => (chunks(rows, true), state),
        };
        world.truth.galleries.observe(&state, state.set_hash)?;
        let offered_to = match world.without {
            Some(Rule::OfferIsToThisHistory) => state.gallery_id,
            _ => offered_to,
        };
        let fed = feed(world, at, link, Replica::new(own, offered_to), parts, state);
        let terminal = &world.devices[at];
        // A row that got lost is found at the next Open; until then its gallery is not one.
        if terminal.gallery == terminal.gallery_found() {
            world.truth.galleries.observe(&terminal.gallery, terminal.rows_hash())?;
        }
        match fed {
            Fed::Whole => Ok(true),
            Fed::Refused(Refusal::SetHash) if !everything => {
                self.tasks.push_front(Task::Pull { everything: true, offered_to });
                Ok(true)
            }
            Fed::Cut | Fed::Refused(_) => Ok(false),
        }
    }

    fn push(
        &mut self,
        world: &mut World,
        at: usize,
        link: Link,
        log_id: LogId,
        mut pushing: Pushing,
    ) -> Goes {
        let terminal = &mut world.devices[at];
        let Some((log, is_current)) = terminal.log(log_id) else { return Ok(true) };
        let Some(request) = pushing.request(&log.own(is_current)) else { return Ok(true) };
        let count = 1 + world.rng.below(5);
        let events: Vec<Arc<Event>> = log.from(request.first_seq).take(count).cloned().collect();
        let prev_hash = log.hash_at(request.first_seq - 1).unwrap_or_else(|| log.head_hash());
        let bytes: Vec<Vec<u8>> = events.iter().map(|event| event.bytes.clone()).collect();
        let gap = request.gap && world.without != Some(Rule::GapsAreFlagged);
        let batch = Batch { first_seq: request.first_seq, prev_hash, gap, events: &bytes };
        if gap == request.gap {
            i10_a_push_keeps_to_its_limits(&batch)?;
        }
        let terminal_id = terminal.id;
        if world.loses(link) {
            return Ok(false);
        }
        let answer = world.hub.push(terminal_id, log_id, &batch, &events, &world.backups);
        if world.loses(link) {
            return Ok(false);
        }
        let terminal = &mut world.devices[at];
        let Some((log, is_current)) = terminal.log(log_id) else { return Ok(true) };
        let mut own_hash = match answer {
            Answer::Ack(ack) => log.hash_at(ack.have),
            _ => None,
        };
        if let (Answer::Ack(ack), Some(Rule::HashesAreCompared)) = (answer, world.without) {
            own_hash = Some(ack.have_hash);
        }
        let next = pushing.answered(answer, &log.own(is_current), own_hash);
        if let Answer::Ack(ack) = answer {
            terminal.acknowledged.insert(log_id, (ack.have, ack.have_hash));
            prune(world, at, log_id, ack.prune_through, next)?;
        }
        match next {
            Next::Send => self.tasks.push_front(Task::Push(log_id, pushing)),
            Next::Done => {}
            Next::Move => {
                move_log(world, at, log_id);
                return Ok(false);
            }
            Next::OpenAgain => return Ok(false),
        }
        Ok(true)
    }
}

fn hello(world: &mut World, at: usize) -> Hello {
    let nonce = world.rng.id();
    let (without, now_us) = (world.without, world.now_us);
    let terminal = &mut world.devices[at];
    let offered = |log: &Log| Offered {
        log_id: log.id,
        parent: None,
        first: log.first,
        head: log.head(),
        head_hash: log.head_hash(),
    };
    let confirmed =
        if without == Some(Rule::SweptBeforeConfirmed) { &terminal.ledger } else { &terminal.swept };
    let ledger = confirmed.state();
    Hello {
        terminal: terminal.id,
        pending: terminal.call(nonce, without),
        reading: terminal.reading(now_us),
        logs: terminal.logs.iter().map(offered).collect(),
        gallery: terminal.gallery_found(),
        ledger,
    }
}

/// Does with each log what its plan says, and returns the pushes.
fn plan_logs(world: &mut World, at: usize, held: &[HeldLog]) -> VecDeque<Task> {
    let without = world.without;
    let mut pushes = VecDeque::new();
    for held in held {
        let terminal = &mut world.devices[at];
        let remembered = terminal.acknowledged.get(&held.log_id).copied();
        let Some((log, is_current)) = terminal.log(held.log_id) else { continue };
        let (own, mut held) = (log.own(is_current), *held);
        if let (Some(Rule::ReceiverTellsThePosition), Some((have, hash))) = (without, remembered) {
            held = HeldLog { have, have_hash: Some(hash), ..held };
            if have >= own.head {
                continue;
            }
        }
        let mut own_hash = log.hash_at(held.have);
        if without == Some(Rule::HashesAreCompared) {
            own_hash = held.have_hash;
            held.at_head = Some(own.head_hash);
        }
        match plan(&own, &held, own_hash) {
            Plan::Nothing => {}
            Plan::Push(pushing) => pushes.push_back(Task::Push(held.log_id, pushing)),
            Plan::Close => {
                terminal.open_log(&mut world.rng);
                if without == Some(Rule::ClosedLogsAreOffered)
                    && let Some(at) = terminal.logs.iter().position(|log| log.id == held.log_id)
                {
                    let closed = terminal.logs.remove(at);
                    let kept = closed.from(closed.first).map(|event| (terminal.id, event.id));
                    world.truth.deleted.extend(kept);
                }
            }
            Plan::Move => move_log(world, at, held.log_id),
        }
    }
    pushes
}

/// Moves a log's events. What is dropped instead must not be lost.
fn move_log(world: &mut World, at: usize, log_id: LogId) {
    let terminal = &mut world.devices[at];
    let dropped = terminal.move_log(log_id, &mut world.rng, world.without);
    let terminal_id = terminal.id;
    world.truth.deleted.extend(dropped.iter().map(|event| (terminal_id, event.id)));
}

/// Deletes what may be deleted, or a part of it, or nothing.
fn prune(world: &mut World, at: usize, log_id: LogId, allowed: u64, next: Next) -> Result<(), Violation> {
    if next == Next::Move || next == Next::OpenAgain {
        return Ok(());
    }
    let through = match world.rng.below(4) {
        0 => 0,
        1 => world.rng.below(allowed as usize + 1) as u64,
        _ => allowed,
    };
    let terminal = &mut world.devices[at];
    let terminal_id = terminal.id;
    let Some((log, _)) = terminal.log(log_id) else { return Ok(()) };
    if through < log.first {
        return Ok(());
    }
    let deleted = log.prune(through);
    i5_only_what_is_kept_elsewhere_is_deleted(log.first, allowed)?;
    world.report.pruned += deleted.len();
    world.truth.deleted.extend(deleted.iter().map(|event| (terminal_id, event.id)));
    Ok(())
}

/// Offers every row, as it was received.
fn offer(world: &mut World, at: usize, link: Link) -> bool {
    let terminal = &world.devices[at];
    let mut rows: Vec<Row> = terminal.rows.values().cloned().collect();
    if terminal.forges {
        let person = rollcall_core::PersonId::from_bytes(world.rng.id());
        let content = Content { edit: u64::MAX, groups: Default::default() };
        rows.push(Row { mac: [0; 32], ..Row::new(1_000, person, Some(content)) });
    }
    if world.loses(link) {
        return false;
    }
    let answers = world.hub.offer(&rows);
    world.report.taken_back += answers.iter().filter(|answer| answer.is_ok()).count();
    world.report.forged += answers.iter().filter(|answer| **answer == Err(NotTaken::Forged)).count();
    !world.loses(link)
}

/// An answer to PullGallery in pieces, as its two kinds have them.
fn chunks(rows: Vec<Row>, is_snapshot: bool) -> (Vec<Vec<Row>>, bool) {
    (rows.chunks(2).map(<[Row]>::to_vec).collect(), is_snapshot)
}

enum Fed {
    Whole,
    Cut,
    Refused(Refusal),
}

fn feed(
    world: &mut World,
    at: usize,
    link: Link,
    mut replica: Replica,
    (pieces, is_snapshot): (Vec<Vec<Row>>, bool),
    state: GalleryState,
) -> Fed {
    let row_count = pieces.iter().map(Vec::len).sum::<usize>() as u64;
    let mut staged: Vec<Row> = Vec::new();
    if is_snapshot {
        let begin = Part::SnapshotBegin { state, row_count };
        if let Err(refusal) = replica.take(begin, |_| None) {
            return Fed::Refused(refusal);
        }
    }
    for piece in pieces {
        if world.loses(link) {
            return Fed::Cut;
        }
        let summaries: Vec<RowSummary> = piece.iter().map(summary).collect();
        let part = if is_snapshot { Part::Snapshot(&summaries) } else { Part::Delta(&summaries) };
        let terminal = &mut world.devices[at];
        let taken = replica.take(part, |person| terminal.row_hash(person));
        match (taken, world.without) {
            (Ok(_), Some(Rule::StagedUntilTheEnd)) => {
                terminal.apply(piece.clone());
                // The revision goes with the rows that have come.
                terminal.gallery = GalleryState { set_hash: terminal.rows_hash(), ..state };
                staged.extend(piece);
            }
            (Ok(_), _) => staged.extend(piece),
            (Err(refusal), _) => return Fed::Refused(refusal),
        }
    }
    if world.loses(link) {
        return Fed::Cut;
    }
    let end = if is_snapshot { Part::SnapshotEnd(state) } else { Part::End(state) };
    let terminal: &mut Terminal = &mut world.devices[at];
    match replica.take(end, |person| terminal.row_hash(person)) {
        Ok(Action::Commit(state)) => {
            terminal.apply(staged);
            terminal.gallery = state;
        }
        Ok(Action::Swap(state)) => {
            terminal.swap(staged);
            terminal.gallery = state;
        }
        Ok(Action::Stage | Action::StageAnew) => return Fed::Cut,
        Err(refusal) => return Fed::Refused(refusal),
    }
    Fed::Whole
}

fn summary(row: &Row) -> RowSummary {
    RowSummary { revision: row.revision, person: row.person, hash: row.hash(), size_bytes: 100 }
}
