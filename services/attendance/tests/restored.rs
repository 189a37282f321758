//! Terminals and hubs that come back with an older state, and what a terminal's log offers: FAULTS.md 31 and 33 to 37.
//!
//! Whatever was restored, the hub ends with the union of what every disk ever had.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/hub.rs"]
mod hub;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hub::Hub;
use rollcall_attendance::{ChainHash, Identity, Log, OpenReason, Quality, unacknowledged, verify};
use rollcall_core::LogId;
use rollcall_proto::v1;
use rollcall_store::{DataFolder, both_engines};
use support::*;
use tempfile::TempDir;

/// The card of a terminal at one moment.
struct Card(Vec<(String, Vec<u8>)>);

impl Card {
    fn of(folder: &Path) -> Self {
        let file = |name: &str| Some((name.to_owned(), fs::read(folder.join(name)).ok()?));
        Self(["log.db", "log.db-wal", "log.head"].into_iter().filter_map(file).collect())
    }

    /// Puts back these files, and leaves the others as they are.
    fn put(&self, folder: &Path, names: &[&str]) {
        for name in names {
            let _ = fs::remove_file(folder.join(name));
        }
        for (name, bytes) in self.0.iter().filter(|(name, _)| names.contains(&name.as_str())) {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }

    fn restore(&self, folder: &Path) {
        self.put(folder, &["log.db", "log.db-wal", "log.db-shm", "log.head"]);
    }

    fn clone_to_another(&self) -> TempDir {
        let folder = support::folder();
        self.restore(folder.path());
        folder
    }
}

async fn close(log: Log) {
    log.close(Duration::from_secs(10)).await;
}

/// Some events, and their ids into `expected`.
async fn append(log: &Log, count: usize, expected: &mut BTreeSet<String>) {
    for _ in 0..count {
        let appended = log.append(recognised(7)).await.unwrap();
        assert!(expected.insert(appended.event_id.name()));
    }
}

/// The ids of events of people at the hub; each must be there once.
async fn at_hub(hub: &Hub) -> BTreeSet<String> {
    let service = support::service_in(hub.log.clone()).await;
    let filter = v1::EventFilter { kinds: vec!["recognised".to_owned()], ..v1::EventFilter::default() };
    let events = all(&service, Some(filter)).await;
    service.stop().await;
    let names: BTreeSet<String> = events.iter().map(|event| event.name.clone()).collect();
    assert_eq!(names.len(), events.len(), "an event is there twice");
    let findings = verify(hub.log.db()).await.unwrap();
    assert!(findings.changed.is_empty());
    names
}

/// What each log of a terminal is called at the hub, for people.
async fn coverage(hub: &Hub) -> Vec<String> {
    let logs = hub.received.coverage(identity().terminal_id).await.unwrap();
    logs.iter().map(ToString::to_string).collect()
}

async fn prune_all(log: &Log, through: u64) {
    for state in log.states().await.unwrap() {
        log.prune(state.log_id, through).await.unwrap();
    }
}

both_engines! {
    migrations = MIGRATIONS;

    async fn f031_a_restored_card_never_overwrites_an_event(db: Db) {
        let hub = Hub::open(db).await;
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 100, &mut expected).await;
        close(log).await;
        let card = Card::of(folder.path());
        let log = open(folder.path()).await;
        append(&log, 50, &mut expected).await;
        hub.sync(&log).await;
        close(log).await;
        card.restore(folder.path());
        let log = open(folder.path()).await;
        assert_eq!(log.opened().reason, None, "nothing on the card shows it");
        append(&log, 100, &mut expected).await;
        let forked = log.log_id();
        hub.sync(&log).await;
        assert_eq!(expected.len(), 250);
        assert_eq!(at_hub(&hub).await, expected);
        assert_ne!(log.log_id(), forked, "it goes on in a log of its own");
        append(&log, 3, &mut expected).await;
        hub.sync(&log).await;
        assert_eq!(at_hub(&hub).await, expected);
        close(log).await;
    }

    async fn a_cloned_card_loses_nothing_of_either(db: Db) {
        let hub = Hub::open(db).await;
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 30, &mut expected).await;
        close(log).await;
        let other = Card::of(folder.path()).clone_to_another();
        let (log, twin) = (open(folder.path()).await, open(other.path()).await);
        for _ in 0..3 {
            append(&log, 5, &mut expected).await;
            append(&twin, 5, &mut expected).await;
            hub.sync(&log).await;
            hub.sync(&twin).await;
            assert_eq!(at_hub(&hub).await, expected);
        }
        close(log).await;
        close(twin).await;
    }

    async fn f033_on_another_board_a_new_log_begins_and_the_old_one_is_offered_still(db: Db) {
        let hub = Hub::open(db).await;
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 10, &mut expected).await;
        let old = log.log_id();
        close(log).await;
        let data = DataFolder::open(folder.path()).unwrap();
        let moved = Identity { hw_id: "board 8".to_owned(), ..identity() };
        let log = Log::open(&data, moved, TestClock::new(Quality::Saved)).await.unwrap();
        assert_eq!(log.opened().reason, Some(OpenReason::CardMoved));
        append(&log, 10, &mut expected).await;
        let states = log.states().await.unwrap();
        assert_eq!(states.iter().map(|state| state.is_current).collect::<Vec<_>>(), [false, true]);
        assert_eq!((states[0].log_id, states[1].parent), (old, Some(old)));
        hub.sync(&log).await;
        assert_eq!(at_hub(&hub).await, expected);
        close(log).await;
    }

    async fn f034_a_log_that_alone_was_rolled_back_begins_anew_and_the_hub_keeps_what_it_had(db: Db) {
        let hub = Hub::open(db).await;
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 10, &mut expected).await;
        close(log).await;
        let card = Card::of(folder.path());
        let log = open(folder.path()).await;
        append(&log, 10, &mut expected).await;
        hub.sync(&log).await;
        close(log).await;
        card.put(folder.path(), &["log.db", "log.db-wal", "log.db-shm"]);
        let log = open(folder.path()).await;
        assert_eq!(log.opened().reason, Some(OpenReason::RolledBack), "before the first event");
        append(&log, 10, &mut expected).await;
        hub.sync(&log).await;
        assert_eq!(at_hub(&hub).await, expected);
        assert_eq!(coverage(&hub).await.len(), 2);
        close(log).await;
    }

    async fn a_card_that_was_rolled_back_and_has_nothing_new_closes_its_log(db: Db) {
        let hub = Hub::open(db).await;
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 10, &mut expected).await;
        close(log).await;
        let card = Card::of(folder.path());
        let log = open(folder.path()).await;
        append(&log, 10, &mut expected).await;
        hub.sync(&log).await;
        close(log).await;
        card.restore(folder.path());
        let log = open(folder.path()).await;
        let old = log.log_id();
        hub.sync(&log).await;
        let states = log.states().await.unwrap();
        assert_eq!((states.len(), states[0].log_id, states[1].parent), (2, old, Some(old)), "it is offered still");
        append(&log, 1, &mut expected).await;
        hub.sync(&log).await;
        assert_eq!(at_hub(&hub).await, expected);
        close(log).await;
        let log = open(folder.path()).await;
        assert_eq!((log.opened().reason, log.log_id()), (None, states[1].log_id), "the new one goes on");
        close(log).await;
    }

    async fn f035_a_hub_restored_to_before_its_answers_is_filled_again(db: Db) {
        let (hub, backup) = (Hub::open(db.clone()).await, Hub::beside(&db).await);
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 40, &mut expected).await;
        // A backup is another hub that has what this one had then.
        hub.sync(&log).await;
        backup.sync(&log).await;
        append(&log, 40, &mut expected).await;
        hub.sync(&log).await;
        assert_eq!(at_hub(&hub).await, expected);
        // What the backup has may go.
        prune_all(&log, 41).await;
        drop(hub);
        backup.sync(&log).await;
        assert_eq!(at_hub(&backup).await, expected);
        assert_eq!(coverage(&backup).await, ["1-81 received, none missing"]);
        close(log).await;
    }

    async fn f036_a_hub_restored_to_the_older_backup_twice_has_everything(db: Db) {
        let hub = Hub::open(db.clone()).await;
        let backups = [Hub::beside(&db).await, Hub::beside(&db).await, Hub::beside(&db).await];
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 20, &mut expected).await;
        hub.sync(&log).await;
        for backup in &backups {
            backup.sync(&log).await;
        }
        append(&log, 20, &mut expected).await;
        hub.sync(&log).await;
        prune_all(&log, 15).await;
        let [older, again, _newest] = backups;
        older.sync(&log).await;
        assert_eq!(at_hub(&older).await, expected);
        append(&log, 5, &mut expected).await;
        again.sync(&log).await;
        assert_eq!(at_hub(&again).await, expected);
        close(log).await;
    }

    async fn f037_an_empty_hub_gets_what_is_kept_and_records_what_is_not(db: Db) {
        let (hub, empty) = (Hub::open(db.clone()).await, Hub::beside(&db).await);
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 29, &mut expected).await;
        hub.sync(&log).await;
        prune_all(&log, 20).await;
        let closed = log.log_id();
        log.close_current().await.unwrap();
        append(&log, 5, &mut expected).await;
        let kept: BTreeSet<String> = {
            let (service, _site, _folder) = service_of(&log).await;
            let events = all(&service, None).await;
            service.stop().await;
            events.into_iter().map(|event| event.name).filter(|name| expected.contains(name)).collect()
        };
        assert_eq!(kept.len(), 15);
        empty.sync(&log).await;
        assert_eq!(at_hub(&empty).await, kept);
        assert_eq!(coverage(&empty).await, ["1-30 received, 1-20 missing", "1-6 received, none missing"]);
        // Of the closed one nothing is left: an empty hub is told so all the same.
        log.prune(closed, 1_000).await.unwrap();
        let another = Hub::beside(&db).await;
        another.sync(&log).await;
        assert_eq!(coverage(&another).await, ["1-30 received, 1-30 missing", "1-6 received, none missing"]);
        another.sync(&log).await;
        close(log).await;
    }

    async fn a_card_from_before_a_gap_fills_it(db: Db) {
        let (hub, empty) = (Hub::open(db.clone()).await, Hub::beside(&db).await);
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 10, &mut expected).await;
        close(log).await;
        let card = Card::of(folder.path());
        let log = open(folder.path()).await;
        append(&log, 10, &mut expected).await;
        hub.sync(&log).await;
        prune_all(&log, 15).await;
        empty.sync(&log).await;
        assert_eq!(at_hub(&empty).await.len(), 6);
        close(log).await;
        card.restore(folder.path());
        let log = open(folder.path()).await;
        empty.sync(&log).await;
        assert_eq!(at_hub(&empty).await.len(), 6 + 10, "whatever any card still has");
        close(log).await;
    }

    async fn damaged_bytes_are_sent_as_they_are_in_a_chain_that_is_whole(db: Db) {
        let hub = Hub::open(db).await;
        let folder = support::folder();
        let mut expected = BTreeSet::new();
        let log = open(folder.path()).await;
        append(&log, 15, &mut expected).await;
        expected.insert(log.append(recognised(9)).await.unwrap().event_id.name());
        append(&log, 15, &mut expected).await;
        close(log).await;
        let path = folder.path().join("log.db");
        let mut file = fs::read(&path).unwrap();
        // The person's id as text is in the event's bytes alone.
        let needle = person(9).name().into_bytes();
        let at = file.windows(needle.len()).position(|window| window == needle).unwrap();
        file[at + 10] ^= 1;
        fs::write(&path, file).unwrap();
        let log = open(folder.path()).await;
        assert_eq!(log.opened().findings.changed.len(), 1);
        assert!(!log.states().await.unwrap()[0].is_whole);
        hub.sync(&log).await;
        assert_eq!(at_hub(&hub).await, expected);
        assert!(log.states().await.unwrap().iter().all(|state| state.is_whole));
        assert!(log.verify().await.unwrap().changed.is_empty());
        let (service, _site, _site_folder) = service_of(&log).await;
        assert_eq!(all(&service, None).await.iter().filter(|event| event.damaged).count(), 1, "flagged still");
        service.stop().await;
        close(log).await;
    }

    async fn the_hub_derives_the_times_that_the_terminal_has(db: Db) {
        let hub = Hub::open(db).await;
        let folder = support::folder();
        let data = DataFolder::open(folder.path()).unwrap();
        let clock = TestClock::new(Quality::Unset);
        let log = Log::open(&data, identity(), Arc::clone(&clock) as _).await.unwrap();
        // Boots with and without a clock, seen by the hub at different points of each.
        for boot in 1..=6_u8 {
            clock.set(|reading| {
                reading.boot_id = [boot; 16];
                reading.boottime_us = 1_000_000;
                reading.wall_us = i64::from(boot) * 1_000_000;
                reading.quality = if boot == 3 { Quality::Saved } else { Quality::Unset };
            });
            append(&log, 4, &mut BTreeSet::new()).await;
            hub.sync(&log).await;
            append(&log, 4, &mut BTreeSet::new()).await;
            if boot % 2 == 0 {
                clock.set(|reading| {
                    reading.wall_us = MORNING_US + i64::from(boot) * 600_000_000;
                    reading.quality = Quality::Ntp;
                });
                append(&log, 3, &mut BTreeSet::new()).await;
            }
        }
        hub.sync(&log).await;
        let times = |events: Vec<v1::Event>| -> BTreeMap<String, (i64, i32)> {
            let time = |event: v1::Event| {
                let at = event.time.unwrap();
                (event.name, (at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000, event.time_trust))
            };
            events.into_iter().map(time).collect()
        };
        // All derived anew from the whole log.
        log.verify().await.unwrap();
        let (service, _site, _site_folder) = service_of(&log).await;
        let own = times(all(&service, None).await);
        service.stop().await;
        let service = support::service_in(hub.log.clone()).await;
        let of_terminal = v1::EventFilter { terminal: identity().terminal_id.name(), ..v1::EventFilter::default() };
        assert_eq!(times(all(&service, Some(of_terminal)).await), own);
        service.stop().await;
        close(log).await;
    }
}

#[tokio::test]
async fn a_log_is_read_in_order_within_the_limits_that_are_asked_for() {
    let folder = support::folder();
    let log = open(folder.path()).await;
    append(&log, 20, &mut BTreeSet::new()).await;
    let id = log.log_id();
    let state = log.states().await.unwrap().pop().unwrap();
    assert_eq!(
        (state.log_id, state.first, state.head, state.is_current, state.is_whole),
        (id, 1, 21, true, true)
    );
    let every = log.read(id, 0, 500, 512 << 10).await.unwrap();
    let chain = every.iter().fold(ChainHash::ZERO, |hash, event| hash.after(event));
    assert_eq!((every.len(), chain), (21, state.head_hash));
    assert_eq!(log.read(id, 5, 3, 512 << 10).await.unwrap(), every[5..8]);
    let size = every[5].len() + every[6].len();
    assert_eq!(log.read(id, 5, 500, size).await.unwrap(), every[5..7]);
    assert_eq!(log.read(id, 5, 500, 1).await.unwrap(), every[5..6], "one in any case");
    assert!(log.read(id, 21, 500, 512 << 10).await.unwrap().is_empty());
    assert!(log.read(id, u64::MAX, 500, 512 << 10).await.unwrap().is_empty());
    assert_eq!(log.hash_at(id, 21).await.unwrap(), Some(state.head_hash));
    assert_eq!(log.hash_at(id, 0).await.unwrap(), Some(ChainHash::ZERO));
    for unknown in [22, u64::MAX] {
        assert_eq!(log.hash_at(id, unknown).await.unwrap(), None);
    }
    log.prune(id, 10).await.unwrap();
    assert!(log.read(id, 5, 500, 512 << 10).await.unwrap().is_empty(), "the next one is not kept");
    assert_eq!(log.read(id, 10, 500, 512 << 10).await.unwrap(), every[10..]);
    assert_eq!(log.hash_at(id, 9).await.unwrap(), None);
    let before = every[..10].iter().fold(ChainHash::ZERO, |hash, event| hash.after(event));
    assert_eq!(log.hash_at(id, 10).await.unwrap(), Some(before));
    close(log).await;
}

#[tokio::test]
async fn what_is_pruned_to_the_end_leaves_a_log_that_goes_on() {
    let folder = support::folder();
    let log = open(folder.path()).await;
    append(&log, 9, &mut BTreeSet::new()).await;
    let id = log.log_id();
    log.prune(id, u64::MAX).await.unwrap();
    let state = log.states().await.unwrap().pop().unwrap();
    assert_eq!((state.first, state.head), (11, 10));
    assert_eq!(unacknowledged(&[state], &BTreeMap::new()), 0);
    close(log).await;
    let log = open(folder.path()).await;
    assert_eq!((log.opened().reason, log.log_id()), (None, id), "log.head agrees");
    assert_eq!(log.append(recognised(1)).await.unwrap().seq, 11);
    let states = log.states().await.unwrap();
    assert_eq!(unacknowledged(&states, &BTreeMap::new()), 1);
    assert_eq!(unacknowledged(&states, &BTreeMap::from([(id, 11)])), 0);
    assert!(log.verify().await.unwrap().changed.is_empty());
    close(log).await;
}

#[tokio::test]
async fn moved_events_keep_their_ids_bytes_and_places_in_the_feed() {
    let folder = support::folder();
    let log = open(folder.path()).await;
    append(&log, 30, &mut BTreeSet::new()).await;
    let old = log.log_id();
    log.prune(old, 4).await.unwrap();
    let (service, _site, _site_folder) = service_of(&log).await;
    let before = all(&service, None).await;
    let bytes = log.read(old, 4, 500, 512 << 10).await.unwrap();
    let new = log.supersede(old).await.unwrap();
    assert_ne!(new, old);
    assert_eq!(log.log_id(), new);
    assert_eq!(log.supersede(old).await.unwrap(), new, "repeated it changes nothing");
    let after = all(&service, None).await;
    assert_eq!(after.len(), before.len() + 1, "with the event that says so");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.name, &before.kind, &before.cursor), (&after.name, &after.kind, &after.cursor));
        assert_eq!((before.time, before.time_trust, &after.log), (after.time, after.time_trust, &new.name()));
    }
    assert_eq!(log.read(new, 0, before.len(), 512 << 10).await.unwrap(), bytes);
    assert!(log.read(old, 0, 500, 512 << 10).await.unwrap().is_empty());
    let states = log.states().await.unwrap();
    assert_eq!(
        states.iter().map(|state| (state.log_id, state.parent)).collect::<Vec<_>>(),
        [(new, Some(old))]
    );
    service.stop().await;
    append(&log, 2, &mut BTreeSet::new()).await;
    close(log).await;
    let log = open(folder.path()).await;
    assert_eq!((log.opened().reason, log.log_id()), (None, new));
    assert!(log.verify().await.unwrap().changed.is_empty());
    let unknown = log.supersede(LogId::from_bytes([3; 16])).await.unwrap_err();
    assert_eq!(unknown.fault().reason.as_str(), "NOT_FOUND");
    append(&log, 1, &mut BTreeSet::new()).await;
    close(log).await;
}

#[tokio::test]
async fn a_log_that_is_not_the_current_one_is_moved_beside_it() {
    let folder = support::folder();
    let log = open(folder.path()).await;
    append(&log, 5, &mut BTreeSet::new()).await;
    let first = log.log_id();
    let current = log.close_current().await.unwrap();
    assert_eq!(log.supersede(first).await.unwrap(), current);
    let states = log.states().await.unwrap();
    assert_eq!(states.len(), 2);
    let moved = states.iter().find(|state| !state.is_current).unwrap();
    assert_eq!((moved.parent, moved.head), (Some(first), 7), "six events, and the one that says so");
    assert!(log.verify().await.unwrap().changed.is_empty());
    close(log).await;
}

#[tokio::test]
async fn moved_and_pruned_logs_are_forgotten_when_there_are_as_many_as_may_be() {
    let folder = support::folder();
    let log = open(folder.path()).await;
    for round in 0..40_u8 {
        append(&log, 2, &mut BTreeSet::new()).await;
        let old = log.log_id();
        match round % 2 {
            0 => log.supersede(old).await.unwrap(),
            _ => {
                log.prune(old, u64::MAX).await.unwrap();
                log.close_current().await.unwrap()
            }
        };
        assert!(log.states().await.unwrap().len() <= rollcall_core::limits::LOGS);
    }
    let logs = verify(log.db()).await.unwrap();
    assert!(logs.changed.is_empty());
    close(log).await;
}
