//! A hub's copies of terminals' logs, on both engines: FAULTS.md 25 to 30, 40, 48 and 49, and what counts once.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/hub.rs"]
mod hub;
mod support;

use std::time::Duration;

use hub::{Batch, Hub, Pushed, chain, event, log_id, now, record, stamp, terminal, whole};
use rollcall_attendance::{
    AttendanceError, ChainHash, Identity, Log, Position, Quality, facts, positions, verify,
};
use rollcall_core::{EventId, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::both_engines;
use support::*;

fn seen(count: u8) -> Vec<Vec<u8>> {
    (1..=count).map(|number| event(number, recognised(number))).collect()
}

/// Events as a service over the hub's database lists them, without those of the hub's own log.
async fn listed(hub: &Hub) -> Vec<v1::Event> {
    let service = support::service_in(hub.log.clone()).await;
    let mut events = all(&service, None).await;
    let own = hub.log.opened().terminal_id.name();
    events.retain(|event| event.terminal != own);
    service.stop().await;
    events
}

fn reason_of<T: std::fmt::Debug>(answer: Result<T, AttendanceError>) -> &'static str {
    answer.unwrap_err().fault().reason.as_str()
}

both_engines! {
    migrations = MIGRATIONS;

    async fn a_push_is_stored_as_it_came_and_listed_with_its_terminal(db: Db) {
        let hub = Hub::open(db).await;
        let events = seen(9);
        let stored = hub.push(terminal(1), &whole(log_id(1), events.clone())).await.unwrap();
        assert_eq!(stored, Pushed::Stored(Position { seq: 9, hash: chain(&events) }));
        let found = listed(&hub).await;
        assert_eq!(found.len(), 9);
        assert!((1..).zip(&found).all(|(seq, event)| event.seq == seq));
        assert!(found.iter().all(|event| event.terminal == terminal(1).name() && event.log == log_id(1).name()));
        assert!(found.iter().all(|event| event.time_trust == i32::from(v1::TimeTrust::Good)));
        let held = hub.received.held(terminal(1), &[(log_id(1), 4), (log_id(2), 7), (log_id(1), 20)]).await.unwrap();
        assert_eq!((held[0].have.seq, held[0].have.hash), (9, chain(&events)));
        assert_eq!(held[0].at_head, Some(chain(&events[..4])));
        assert_eq!((held[1].have.seq, held[1].have.hash, held[1].at_head), (0, ChainHash::ZERO, None));
        assert_eq!(held[2].at_head, None, "further than the hub has it");
        assert_eq!(verify(hub.log.db()).await.unwrap().changed, []);
    }

    async fn f025_the_same_batch_a_thousand_times_and_fifty_at_once_is_stored_once(db: Db) {
        let hub = std::sync::Arc::new(Hub::open(db).await);
        let batch = whole(log_id(1), seen(20));
        let expected = Pushed::Stored(Position { seq: 20, hash: chain(&batch.events) });
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (hub, batch) = (std::sync::Arc::clone(&hub), batch.clone());
            set.spawn(async move { hub.push(terminal(1), &batch).await.unwrap() });
        }
        assert!(set.join_all().await.iter().all(|answer| *answer == expected));
        for _ in 0..1_000 {
            assert_eq!(hub.push(terminal(1), &batch).await.unwrap(), expected);
        }
        assert_eq!(hub.events().await, 20);
        assert_eq!(listed(&hub).await.len(), 20);
    }

    async fn f026_an_overlap_of_which_a_byte_differs_is_seen_and_nothing_is_stored(db: Db) {
        let hub = Hub::open(db).await;
        let events = seen(20);
        hub.push(terminal(1), &whole(log_id(1), events[..10].to_vec())).await.unwrap();
        for at in 0..10 {
            let mut other = events.clone();
            let byte = other[at].len() / 2;
            other[at][byte] ^= 1;
            assert_eq!(hub.push(terminal(1), &whole(log_id(1), other)).await.unwrap(), Pushed::Forked);
        }
        assert_eq!(hub.events().await, 10);
        let stored = hub.push(terminal(1), &whole(log_id(1), events.clone())).await.unwrap();
        assert_eq!(stored, Pushed::Stored(Position { seq: 20, hash: chain(&events) }), "the overlap is skipped");
    }

    async fn f027_no_number_overflows(db: Db) {
        let hub = Hub::open(db).await;
        let batch = whole(log_id(1), seen(3));
        hub.push(terminal(1), &batch).await.unwrap();
        for first_seq in [0, 5, 1 << 63, u64::MAX] {
            let answer = hub.push(terminal(1), &Batch { first_seq, ..batch.clone() }).await.unwrap();
            assert_eq!(answer, Pushed::Rewind(3), "{first_seq}");
        }
        for through in [i64::MAX as u64, 1 << 63, u64::MAX, 0, 3] {
            let mut part = hub.received.lock(terminal(1), log_id(1), now()).await.unwrap();
            assert_eq!(reason_of(part.record_gap(through, ChainHash::ZERO).await), "FIELD_INVALID", "{through}");
            assert_eq!(part.hash_at(u64::MAX).await.unwrap(), None);
            assert!(part.hashes(u64::MAX, u64::MAX).await.unwrap().is_empty());
            assert!(part.hashes(1 << 63, u64::MAX).await.unwrap().is_empty());
            assert_eq!(part.hashes(0, u64::MAX).await.unwrap().len(), 3);
        }
        let mut part = hub.received.lock(terminal(1), log_id(1), now()).await.unwrap();
        part.record_gap(i64::MAX as u64 - 1, ChainHash::ZERO).await.unwrap();
        assert_eq!(reason_of(part.append(&seen(2)).await), "FIELD_INVALID", "there is room for one more");
        part.append(&seen(1)).await.unwrap();
        assert_eq!(reason_of(part.append(&seen(1)).await), "FIELD_INVALID");
        assert_eq!(hub.received.held(terminal(1), &[(log_id(1), u64::MAX)]).await.unwrap()[0].at_head, None);
    }

    async fn f028_more_or_larger_events_than_a_push_has_are_refused(db: Db) {
        let hub = Hub::open(db).await;
        let sized = |count: usize, size_bytes: usize| vec![vec![0xff; size_bytes]; count];
        for (events, is_taken) in [
            (sized(limits::PUSH_EVENTS, 10), true),
            (sized(limits::PUSH_EVENTS + 1, 10), false),
            (sized(1, limits::EVENT_SIZE_BYTES), true),
            (sized(1, limits::EVENT_SIZE_BYTES + 1), false),
            (sized(limits::PUSH_SIZE_BYTES / 1_024, 1_024), false),
            (sized(limits::PUSH_SIZE_BYTES / limits::EVENT_SIZE_BYTES, limits::EVENT_SIZE_BYTES), true),
            (sized(0, 0), true),
        ] {
            let mut part = hub.received.lock(terminal(1), log_id(1), now()).await.unwrap();
            let answer = part.append(&events).await;
            assert_eq!(answer.is_ok(), is_taken, "{} events: {answer:?}", events.len());
            if !is_taken {
                assert_eq!(reason_of(answer), "FIELD_INVALID");
                assert_eq!(part.commit().await.unwrap().seq, 0, "nothing of it is there");
            }
        }
    }

    async fn f029_ten_thousand_events_are_exact_although_a_third_of_the_answers_is_lost(db: Db) {
        let hub = Hub::open(db).await;
        let clock = v1::ClockQuality::Ntp;
        let events: Vec<Vec<u8>> = (0..10_000)
            .map(|number| record(EventId::generate(), stamp(1, number, MORNING_US, clock), door("OPENED")))
            .collect();
        // A fixed sequence (Knuth's MMIX generator), so that a failure can be repeated.
        let mut state: u64 = 29;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (mut have, mut hash, mut lost) = (0_usize, ChainHash::ZERO, 0);
        while have < events.len() {
            let to = (have + 1 + usize::try_from(next(300)).unwrap()).min(events.len());
            let batch = Batch {
                log_id: log_id(1),
                first_seq: have as u64 + 1,
                prev_hash: hash,
                gap: false,
                events: events[have..to].to_vec(),
            };
            let answer = hub.push(terminal(1), &batch).await.unwrap();
            if next(10) < 3 {
                // Committed, and nobody was told: what was sent is sent again.
                lost += 1;
                continue;
            }
            let Pushed::Stored(position) = answer else { panic!("{answer:?}") };
            have = usize::try_from(position.seq).unwrap();
            hash = position.hash;
        }
        assert!(lost > 10);
        assert_eq!(hub.events().await, 10_000);
        assert_eq!(hash, chain(&events));
        assert_eq!(verify(hub.log.db()).await.unwrap().changed, []);
    }

    async fn f030_a_push_that_is_cut_before_its_commit_leaves_nothing(db: Db) {
        let hub = Hub::open(db).await;
        let events = seen(5);
        for step in 0..3 {
            let mut part = hub.received.lock(terminal(1), log_id(1), now()).await.unwrap();
            if step > 0 {
                part.append(&events).await.unwrap();
            }
            if step > 1 {
                part.record_gap(50, ChainHash::ZERO).await.unwrap();
            }
            drop(part);
        }
        assert_eq!(hub.events().await, 0);
        assert!(hub.received.coverage(terminal(1)).await.unwrap().is_empty());
        hub.push(terminal(1), &whole(log_id(1), events)).await.unwrap();
        assert_eq!(hub.events().await, 5);
    }

    async fn f040_nobody_writes_to_the_log_of_another_or_shadows_its_events(db: Db) {
        let hub = Hub::open(db).await;
        let events = seen(5);
        // The other one is first with the ids.
        hub.push(terminal(2), &whole(log_id(2), events.clone())).await.unwrap();
        hub.push(terminal(1), &whole(log_id(1), events.clone())).await.unwrap();
        let lock = hub.received.lock(terminal(2), log_id(1), now()).await;
        assert_eq!(lock.err().unwrap().fault().reason.code().grpc(), 7, "PERMISSION_DENIED");
        assert_eq!(reason_of(hub.received.held(terminal(2), &[(log_id(1), 5)]).await), "LOG_OF_ANOTHER");
        assert_eq!(hub.events().await, 10, "each terminal's own");
        let found = listed(&hub).await;
        assert_eq!(found.iter().filter(|event| event.terminal == terminal(1).name()).count(), 5);
        let coverage = hub.received.coverage(terminal(1)).await.unwrap();
        assert_eq!((coverage.len(), coverage[0].have, coverage[0].repeats, coverage[0].clashes), (1, 5, 0, 0));
    }

    async fn f048_fifty_events_of_1970_are_corrected_by_one_anchor_in_a_later_push(db: Db) {
        let hub = Hub::open(db).await;
        let unset = v1::ClockQuality::Unset;
        let mut events: Vec<Vec<u8>> = (0..50)
            .map(|number| record(EventId::generate(), stamp(1, 10 + i64::from(number), 0, unset), recognised(number + 1)))
            .collect();
        for some in events.chunks(20) {
            let before = hub.received.held(terminal(1), &[(log_id(1), 0)]).await.unwrap()[0].have;
            let batch = Batch {
                log_id: log_id(1),
                first_seq: before.seq + 1,
                prev_hash: before.hash,
                gap: false,
                events: some.to_vec(),
            };
            hub.push(terminal(1), &batch).await.unwrap();
        }
        let flagged = listed(&hub).await;
        assert!(flagged.iter().all(|event| event.time_trust == i32::from(v1::TimeTrust::Estimated)));
        let anchor = Kind::ClockAnchor(v1::ClockAnchor {
            boot_id: vec![1; 16].into(),
            boottime_us: 100_000_000,
            true_us: MORNING_US,
            source: v1::ClockQuality::Hub.into(),
            error_us: 1_000_000,
        });
        events.push(record(EventId::generate(), stamp(1, 100, MORNING_US - 100_000_000, v1::ClockQuality::Hub), anchor));
        hub.push(terminal(1), &whole(log_id(1), events)).await.unwrap();
        let found = listed(&hub).await;
        for (event, seconds) in found[..50].iter().zip(10..) {
            assert_eq!(event.time.unwrap().seconds, MORNING_US / 1_000_000 - 100 + seconds);
            assert_eq!(event.time_trust, i32::from(v1::TimeTrust::Corrected));
        }
        assert_eq!(found[50].time_trust, i32::from(v1::TimeTrust::Good));
    }

    async fn f049_boots_without_an_anchor_lie_between_their_neighbours(db: Db) {
        let hub = Hub::open(db).await;
        let unset = v1::ClockQuality::Unset;
        let at = |boot, seconds| record(EventId::generate(), stamp(boot, seconds, 0, unset), recognised(boot));
        let anchor = |boot: u8, true_s: i64| {
            let anchor = v1::ClockAnchor {
                boot_id: vec![boot; 16].into(),
                boottime_us: 0,
                true_us: MORNING_US + true_s * 1_000_000,
                source: v1::ClockQuality::Hub.into(),
                error_us: 1_000_000,
            };
            record(EventId::generate(), stamp(boot, 0, 0, unset), Kind::ClockAnchor(anchor))
        };
        let events =
            [anchor(1, 0), at(2, 5), at(2, 25), at(3, 7), at(3, 17), anchor(4, 120)];
        // Whatever the pushes: one event each, or all at once in another log.
        for length in 1..=events.len() {
            let log_id = log_id(u8::try_from(length).unwrap());
            let terminal = terminal(u8::try_from(length).unwrap());
            for (first_seq, some) in (1..).step_by(length).zip(events.chunks(length)) {
                let prev_hash = chain(&events[..usize::try_from(first_seq).unwrap() - 1]);
                let batch = Batch { log_id, first_seq, prev_hash, gap: false, events: some.to_vec() };
                hub.push(terminal, &batch).await.unwrap();
            }
            let mut found = listed(&hub).await;
            found.retain(|event| event.terminal == terminal.name());
            let seconds: Vec<i64> =
                found.iter().map(|event| event.time.unwrap().seconds - MORNING_US / 1_000_000).collect();
            // 120 seconds, 30 of them known to be within the boots: three gaps of 30.
            assert_eq!(seconds, [0, 30, 50, 80, 90, 120], "pushes of {length}");
        }
    }

    async fn a_repeated_event_is_stored_and_counted_once_everywhere(db: Db) {
        let hub = Hub::open(db).await;
        let events = seen(6);
        hub.push(terminal(1), &whole(log_id(1), events[..4].to_vec())).await.unwrap();
        // After a fork: all again in a new log, with two that are new, and one twice in the same push.
        let again = [&events[..], &events[5..]].concat();
        hub.push(terminal(1), &whole(log_id(2), again)).await.unwrap();
        assert_eq!(hub.events().await, 6);
        let found = listed(&hub).await;
        assert_eq!(found.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(found[4].log, log_id(2).name());
        let of_person = v1::EventFilter { person: person(2).name(), ..v1::EventFilter::default() };
        let service = support::service_in(hub.log.clone()).await;
        assert_eq!(all(&service, Some(of_person)).await.len(), 1);
        service.stop().await;
        let coverage = hub.received.coverage(terminal(1)).await.unwrap();
        assert_eq!(coverage.iter().map(|log| (log.have, log.repeats)).collect::<Vec<_>>(), [(4, 0), (7, 5)]);
        assert_eq!(verify(hub.log.db()).await.unwrap().changed, []);
    }

    async fn an_event_with_the_id_of_another_is_kept_beside_it_and_flagged(db: Db) {
        let hub = Hub::open(db).await;
        let id = EventId::generate();
        let stamp = stamp(1, 1, MORNING_US, v1::ClockQuality::Ntp);
        let first = record(id, stamp.clone(), recognised(1));
        let other = record(id, stamp, recognised(2));
        hub.push(terminal(1), &whole(log_id(1), vec![first.clone(), other.clone(), other])).await.unwrap();
        hub.push(terminal(1), &whole(log_id(2), vec![first])).await.unwrap();
        let found = listed(&hub).await;
        assert_eq!(found.iter().map(|event| event.damaged).collect::<Vec<_>>(), [false, true]);
        assert_eq!(found[0].name, found[1].name);
        let coverage = hub.received.coverage(terminal(1)).await.unwrap();
        assert_eq!((coverage[0].clashes, coverage[0].repeats, coverage[1].repeats), (1, 1, 1));
    }

    async fn what_cannot_be_read_is_stored_hashed_and_flagged_and_unknown_kinds_are_passed_on(db: Db) {
        let hub = Hub::open(db).await;
        let id = EventId::generate();
        let stamp = Some(stamp(1, 1, MORNING_US, v1::ClockQuality::Ntp));
        let mut unknown = prost::Message::encode_to_vec(&v1::EventRecord {
            event_id: id.to_bytes().to_vec().into(),
            stamp,
            kind: None,
        });
        // A kind of the year after next, field 900.
        unknown.extend([0x1a, 0x05, 0xa2, 0x38, 0x02, 0x08, 0x01]);
        let events = vec![vec![0xff; 40], unknown, Vec::new()];
        let stored = hub.push(terminal(1), &whole(log_id(1), events.clone())).await.unwrap();
        assert_eq!(stored, Pushed::Stored(Position { seq: 3, hash: chain(&events) }));
        let found = listed(&hub).await;
        assert_eq!(found.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["", &id.name(), ""]);
        assert!(found.iter().all(|event| event.kind.as_ref().is_none_or(|kind| kind.kind.is_none())));
        let coverage = hub.received.coverage(terminal(1)).await.unwrap();
        assert_eq!(coverage[0].unreadable, 2);
        assert_eq!(verify(hub.log.db()).await.unwrap().events, 3 + 1);
    }

    async fn a_gap_is_recorded_for_ever_and_listed(db: Db) {
        let hub = Hub::open(db).await;
        let events = seen(30);
        let from = |first: usize, to: usize, gap| Batch {
            log_id: log_id(1),
            first_seq: first as u64,
            prev_hash: chain(&events[..first - 1]),
            gap,
            events: events[first - 1..to].to_vec(),
        };
        hub.push(terminal(1), &from(1, 5, false)).await.unwrap();
        assert_eq!(hub.push(terminal(1), &from(11, 15, false)).await.unwrap(), Pushed::Rewind(5));
        hub.push(terminal(1), &from(11, 15, true)).await.unwrap();
        // A log of which nothing is left has its gap without an event.
        hub.push(terminal(1), &from(21, 20, true)).await.unwrap();
        let held = hub.received.held(terminal(1), &[(log_id(1), 8), (log_id(1), 10), (log_id(1), 20)]).await.unwrap();
        assert_eq!(held[0].have, Position { seq: 20, hash: chain(&events[..20]) });
        assert_eq!(held[0].missing, [6..=10, 16..=20]);
        assert_eq!(held.iter().map(|held| held.at_head).collect::<Vec<_>>(),
            [None, Some(chain(&events[..10])), Some(chain(&events[..20]))]);
        assert_eq!(verify(hub.log.db()).await.unwrap().changed, [], "a gap is no damage");
        hub.push(terminal(1), &from(21, 30, false)).await.unwrap();
        let coverage = hub.received.coverage(terminal(1)).await.unwrap();
        assert_eq!(coverage[0].to_string(), "1-30 received, 6-10, 16-20 missing");
        assert_eq!(hub.events().await, 20);
        assert_eq!(verify(hub.log.db()).await.unwrap().changed, []);
    }

    async fn a_terminal_has_no_more_logs_than_may_be(db: Db) {
        let hub = Hub::open(db).await;
        for number in 0..limits::RECEIVED_LOGS {
            let mut id = [7; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let id = rollcall_core::LogId::from_bytes(id);
            hub.received.lock(terminal(1), id, now()).await.unwrap().commit().await.unwrap();
        }
        let refused = hub.received.lock(terminal(1), log_id(1), now()).await;
        assert_eq!(refused.err().unwrap().fault().reason.as_str(), "LIMIT_REACHED");
        hub.received.lock(terminal(2), log_id(1), now()).await.unwrap();
    }

    async fn what_was_here_for_days_is_known_by_its_notes(db: Db) {
        let hub = Hub::open(db).await;
        let events = seen(40);
        let day = Duration::from_secs(86_400);
        for number in 0..40_u32 {
            let at = now().after(day * number);
            let mut part = hub.received.lock(terminal(1), log_id(1), at).await.unwrap();
            part.append(&events[number as usize..=number as usize]).await.unwrap();
            part.commit().await.unwrap();
        }
        let mut part = hub.received.lock(terminal(1), log_id(1), now().after(day * 39)).await.unwrap();
        assert_eq!(part.arrived_by(now().after(day * 9)).await.unwrap(), 10, "30 days ago");
        assert_eq!(part.arrived_by(now().after(day * 39)).await.unwrap(), 40);
        assert_eq!(part.arrived_by(now().after(day * 2)).await.unwrap(), 0, "no rule asks for that");
        drop(part);
        // After a silence of two months what came before it is still known to have been here.
        let late = now().after(day * 100);
        let mut part = hub.received.lock(terminal(1), log_id(1), late).await.unwrap();
        part.append(&seen(1)).await.unwrap();
        part.commit().await.unwrap();
        let mut part = hub.received.lock(terminal(1), log_id(1), late).await.unwrap();
        assert_eq!(part.arrived_by(late.before(day * 30)).await.unwrap(), 40);
    }

    async fn the_positions_of_all_logs_are_read_from_a_database(db: Db) {
        let hub = Hub::open(db.clone()).await;
        let events = seen(5);
        hub.push(terminal(1), &whole(log_id(1), events.clone())).await.unwrap();
        hub.push(terminal(2), &whole(log_id(2), events[..2].to_vec())).await.unwrap();
        let mut tx = db.read().await.unwrap();
        let found = positions(&facts(&mut tx).await.unwrap());
        assert_eq!(found.len(), 3, "with the hub's own");
        assert_eq!(found[&log_id(1)], Position { seq: 5, hash: chain(&events) });
        assert_eq!(found[&log_id(2)].seq, 2);
        assert!(found.contains_key(&hub.log.log_id()));
    }

    async fn processes_that_take_in_logs_side_by_side_make_one_feed_without_a_hole(db: Db) {
        let mut set = tokio::task::JoinSet::new();
        let first = Hub::open(db.clone()).await;
        for process in 1..=4_u8 {
            let hub = Hub::open(db.clone()).await;
            set.spawn(async move {
                let events = seen(40);
                for (first_seq, some) in (1..).step_by(8).zip(events.chunks(8)) {
                    let prev_hash = chain(&events[..usize::try_from(first_seq).unwrap() - 1]);
                    let batch = Batch { log_id: log_id(process), first_seq, prev_hash, gap: false, events: some.to_vec() };
                    hub.push(terminal(process), &batch).await.unwrap();
                    // The same events of one terminal in two logs at once are counted once.
                    let twin = Batch { log_id: log_id(100 + process), ..batch };
                    hub.push(terminal(process), &twin).await.unwrap();
                    hub.log.append(recognised(process)).await.unwrap();
                }
            });
        }
        set.join_all().await;
        // 4 terminals with 40 each; the hub's own log has its opening, and 5 events of each process.
        assert_eq!(first.log.events().await.unwrap(), 160 + 1 + 20);
        assert_eq!(listed(&first).await.len(), 160);
        let findings = verify(&db).await.unwrap();
        assert_eq!((findings.events, findings.changed.len()), (320 + 1 + 20, 0));
    }

    async fn processes_that_begin_the_first_log_at_once_begin_one(db: Db) {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let db = db.clone();
            set.spawn(async move {
                let hub = Hub::open(db).await;
                hub.log.append(door("OPENED")).await.unwrap();
                hub.log.log_id()
            });
        }
        let logs = set.join_all().await;
        assert!(logs.iter().all(|log_id| *log_id == logs[0]), "{logs:?}");
        let identity = Identity { terminal_id: terminal(0xcc), hw_id: "the site".to_owned() };
        let log = Log::open_in(db, identity, TestClock::new(Quality::Saved)).await.unwrap();
        assert_eq!(log.verify().await.unwrap().changed, []);
        assert_eq!(log.states().await.unwrap().len(), 1);
    }
}
