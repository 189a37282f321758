//! What really happened, which no device knows, and what must have come of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use rollcall_attendance::{Anchor, ChainHash, Reading, Trust, correct};
use rollcall_core::{EventId, PersonId, TerminalId, limits};
use rollcall_sync::invariants::{
    I6SameRevisionSameRows, Stored, Violation, all_are_there, i1_both_have_the_same,
    i1_the_hubs_copy_is_whole, i2_no_event_is_lost, i3_none_counts_twice, i4_no_false_alarm,
    i7_the_erased_are_gone, i8_a_corrected_time_is_true, i8_times_are_derived,
};

use super::World;
use super::hub::Copy;
use super::log::Event;

/// How far a corrected time may be off: as far as a hub may be from most terminals, and what a call takes.
const OFF_US: u64 = (limits::CLOCK_APART_SECONDS.unsigned_abs() + 60) * 1_000_000;

#[derive(Default)]
pub struct Truth {
    /// Events that terminals deleted, because the hub allowed it or because they lack a rule.
    pub deleted: HashSet<(TerminalId, EventId)>,
    /// Boots whose time a hub told that nobody could contradict.
    pub unwitnessed: HashSet<[u8; 16]>,
    pub galleries: I6SameRevisionSameRows,
    /// Every change that the hub's people made.
    pub edits: HashSet<u64>,
    /// Who was changed at a hub that had been restored: of two rows of different pasts the one with the higher number is
    /// taken, which need not be the later one.
    pub edited_since_restore: HashSet<PersonId>,
    /// Whoever was erased, though every ledger that had the line may be lost: they need not come back.
    pub ever_erased: HashSet<PersonId>,
    /// Who was erased, by the ledger of which device when everybody meets again; none: of the hub.
    erased: Vec<(Option<usize>, PersonId)>,
    /// By which change which device has whom then.
    rows: Vec<(usize, PersonId, u64)>,
}

/// Notes what must not be lost from now on.
pub fn remember(world: &mut World) {
    let truth = &mut world.truth;
    truth.erased.extend(world.hub.ledger.iter().map(|line| (None, line.person_id)));
    for (at, device) in world.devices.iter().enumerate() {
        truth.erased.extend(device.ledger.iter().map(|line| (Some(at), line.person_id)));
        for row in device.rows.values() {
            truth.rows.push((at, row.person, row.content.as_ref().map_or(0, |content| content.edit)));
        }
    }
}

/// Checks a world in which everybody has met the hub.
pub fn check(world: &mut World) -> Result<(), Violation> {
    let gaps = world.hub.db.logs.values().map(|copy| copy.gaps.len()).sum::<usize>();
    world.report.gaps += gaps;
    logs(world)?;
    counts(world)?;
    galleries(world)?;
    times(world)
}

fn logs(world: &World) -> Result<(), Violation> {
    for copy in world.hub.db.logs.values() {
        let stored = copy.events.iter().zip(&copy.hashes).zip(1_u64..);
        let stored = stored.filter_map(|((event, hash), seq)| {
            Some(Stored { seq, bytes: &event.as_ref()?.bytes, hash: hash.unwrap_or(ChainHash::ZERO) })
        });
        i1_the_hubs_copy_is_whole(stored, &gaps(copy), copy.have())?;
    }
    for device in &world.devices {
        for log in &device.logs {
            let copy = world.hub.db.logs.get(&(device.id, log.id));
            let at_hub = if log.head() == 0 {
                Some(ChainHash::ZERO)
            } else {
                copy.and_then(|copy| copy.hash_at(log.head()))
            };
            i1_both_have_the_same(log.head(), log.head_hash(), at_hub)?;
        }
    }
    Ok(())
}

fn gaps(copy: &Copy) -> Vec<(RangeInclusive<u64>, ChainHash)> {
    let after = |gap: &RangeInclusive<u64>| copy.hash_at(*gap.end()).unwrap_or(ChainHash::ZERO);
    copy.gaps.iter().map(|gap| (gap.clone(), after(gap))).collect()
}

fn counts(world: &World) -> Result<(), Violation> {
    let mut at_hub: HashMap<TerminalId, HashSet<EventId>> = HashMap::new();
    for ((terminal, _), copy) in &world.hub.db.logs {
        at_hub.entry(*terminal).or_default().extend(copy.events.iter().flatten().map(|event| event.id));
    }
    let nothing = HashSet::new();
    for device in &world.devices {
        let kept = device.logs.iter().flat_map(|log| log.from(log.first)).map(|event| event.id);
        i2_no_event_is_lost(kept, at_hub.get(&device.id).unwrap_or(&nothing))?;
    }
    for (terminal, event) in &world.truth.deleted {
        i2_no_event_is_lost([*event], at_hub.get(terminal).unwrap_or(&nothing))?;
    }
    for (terminal, counted) in &world.hub.db.counted {
        i3_none_counts_twice(counted.iter().copied())?;
        let counted = counted.iter().copied().collect();
        all_are_there("I3", at_hub.get(terminal).unwrap_or(&nothing).iter().copied(), &counted)?;
    }
    i4_no_false_alarm(world.report.forks, world.report.rollbacks + world.report.clones > 0)
}

fn galleries(world: &mut World) -> Result<(), Violation> {
    let hub = &world.hub;
    // Nobody takes anything but events from a device that counts as a copy.
    let is_heard = |at: usize| !world.devices[at].is_cloned;
    let erased =
        world.truth.erased.iter().filter(|(at, _)| at.is_none_or(is_heard)).map(|(_, person)| *person);
    let erased: HashSet<PersonId> = hub.ledger.iter().map(|line| line.person_id).chain(erased).collect();
    let mut newest: BTreeMap<PersonId, u64> = BTreeMap::new();
    for (_, person, edit) in world.truth.rows.iter().filter(|(at, ..)| is_heard(*at)) {
        let newest = newest.entry(*person).or_default();
        *newest = (*newest).max(*edit);
    }
    i7_the_erased_are_gone(hub.db.people.keys().copied(), &erased)?;
    for device in world.devices.iter().filter(|device| !device.is_cloned) {
        i7_the_erased_are_gone(device.on_disk(), &erased)?;
        let state = hub.db.state(device.id);
        world.truth.galleries.observe(&state, device.rows_hash())?;
        all_are_there("I6", [device.gallery], &HashSet::from([state]))?;
        all_are_there("I7", [device.swept.state()], &HashSet::from([hub.ledger.state()]))?;
    }
    let people: HashSet<PersonId> = hub.db.people.keys().copied().collect();
    let wanted = newest.keys().filter(|person| !world.truth.ever_erased.contains(person)).copied();
    all_are_there("D7", wanted, &people)?;
    for (person, known) in &hub.db.people {
        all_are_there("D7", [known.content.edit], &world.truth.edits)?;
        let newest = newest.get(person).copied().unwrap_or(0);
        if known.content.edit < newest && !world.truth.edited_since_restore.contains(person) {
            let what = format!("{person} is as change {} made them, {newest} is lost", known.content.edit);
            return Err(Violation { invariant: "D7", what });
        }
    }
    Ok(())
}

fn times(world: &World) -> Result<(), Violation> {
    for copy in world.hub.db.logs.values() {
        let events: Vec<&Event> = copy.events.iter().flatten().map(AsRef::as_ref).collect();
        let readings: Vec<Reading> = events.iter().map(|event| event.reading).collect();
        let anchors: Vec<Anchor> = events.iter().filter_map(|event| event.anchor).collect();
        let times = correct(&readings, &anchors, None);
        i8_times_are_derived(&readings, &anchors, &times)?;
        for (event, time) in events.iter().zip(&times) {
            let is_excused = event.is_of_liar
                || time.trust == Trust::Estimated
                || world.truth.unwitnessed.contains(&event.reading.boot_id);
            if !is_excused {
                i8_a_corrected_time_is_true(time.us, event.true_us, OFF_US)?;
            }
        }
    }
    Ok(())
}
