//! The event log over gRPC's types, on both engines.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use prost::Message as _;
use rollcall_attendance::{Log, Logged, NewEvent, Quality};
use rollcall_core::{EventId, PersonId};
use rollcall_proto::v1;
use rollcall_proto::v1::attendance_service_server::AttendanceService as _;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::both_engines;
use support::*;
use tokio_stream::StreamExt as _;

fn names(events: &[v1::Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

fn filter() -> v1::EventFilter {
    v1::EventFilter::default()
}

async fn watch(
    service: &rollcall_attendance::Attendance,
    cursor: &str,
) -> Result<
    std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<v1::WatchEventsResponse, tonic::Status>> + Send>,
    >,
    tonic::Status,
> {
    let cursor = cursor.to_owned();
    let answer = service.watch_events(request(v1::WatchEventsRequest { cursor, filter: None })).await;
    answer.map(tonic::Response::into_inner)
}

both_engines! {
    migrations = MIGRATIONS;

    async fn a_log_begins_with_the_event_that_says_so(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let events = all(&service, None).await;
        assert_eq!(events.len(), 1);
        let Some(v1::EventKind { kind: Some(Kind::LogOpened(opened)) }) = &events[0].kind else { panic!() };
        assert_eq!((opened.reason.as_str(), opened.parent.as_str(), events[0].seq), ("FIRST", "", 1));
        service.log().close(Duration::from_secs(5)).await;
    }

    async fn what_was_appended_is_listed_in_its_order_page_by_page(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let mut expected = Vec::new();
        for number in 1..=25 {
            let appended = service.log().append(recognised(number)).await.unwrap();
            assert_eq!(appended.seq, i64::from(number) + 1);
            expected.push(appended.event_id.name());
        }
        let mut cursor = String::new();
        let mut found = Vec::new();
        loop {
            let page = list(&service, &cursor, 7, None).await.unwrap();
            assert!(page.events.len() <= 7);
            found.extend(page.events);
            cursor = page.next_cursor;
            if !page.more {
                break;
            }
        }
        assert_eq!(names(&found[1..]), expected);
        assert!(found.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
        // Each event's cursor leads to the next.
        let next = list(&service, &found[10].cursor, 1, None).await.unwrap();
        assert_eq!(names(&next.events), [&found[11].name]);
        let one = service.get_event(request(v1::GetEventRequest { name: found[3].name.clone() })).await.unwrap();
        assert_eq!(one.into_inner(), found[3]);
    }

    async fn filters_hold_together(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        for number in [1, 2, 1, 3] {
            service.log().append(recognised(number)).await.unwrap();
        }
        service.log().append(door("OPENED")).await.unwrap();
        let every = all(&service, None).await;
        let of_one = all(&service, Some(v1::EventFilter { person: person(1).name(), ..filter() })).await;
        assert_eq!(names(&of_one), [&every[1].name, &every[3].name]);
        let doors = all(&service, Some(v1::EventFilter { kinds: vec!["door_changed".into()], ..filter() })).await;
        assert_eq!(names(&doors), [&every[5].name]);
        let none = v1::EventFilter { kinds: vec!["door_changed".into()], person: person(1).name(), ..filter() };
        assert!(all(&service, Some(none)).await.is_empty());
        let times = v1::EventFilter { start_time: every[2].time, end_time: every[4].time, ..filter() };
        assert_eq!(names(&all(&service, Some(times)).await), [&every[2].name, &every[3].name]);
        let terminal = v1::EventFilter { terminal: every[0].terminal.clone(), ..filter() };
        assert_eq!(all(&service, Some(terminal)).await.len(), 6);
        let other = v1::EventFilter { terminal: format!("terminals/{}", person(8)), ..filter() };
        assert!(all(&service, Some(other)).await.is_empty());
        for (filter, expected) in [
            (v1::EventFilter { kinds: vec!["door".into()], ..filter() }, "FILTER_INVALID"),
            (v1::EventFilter { kinds: vec!["' or 1=1 --".into()], ..filter() }, "FILTER_INVALID"),
            (v1::EventFilter { person: "people/x".into(), ..filter() }, "FIELD_INVALID"),
            (v1::EventFilter { terminal: person(1).name(), ..filter() }, "FIELD_INVALID"),
            (
                v1::EventFilter { start_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), ..filter() },
                "FIELD_INVALID",
            ),
            (
                v1::EventFilter { end_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }), ..filter() },
                "FIELD_INVALID",
            ),
        ] {
            assert_eq!(reason(&list(&service, "", 10, Some(filter)).await.unwrap_err()), expected);
        }
    }

    async fn a_cursor_of_another_feed_or_of_deleted_events_is_refused(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        for number in 1..=9 {
            service.log().append(recognised(number)).await.unwrap();
        }
        let events = all(&service, None).await;
        let (other, _folder) = rollcall_store::testing::sqlite(MIGRATIONS).await;
        let elsewhere = support::service(&other, TestClock::new(Quality::Saved)).await;
        let refused = list(&elsewhere, &events[0].cursor, 1, None).await.unwrap_err();
        assert_eq!(reason(&refused), "CURSOR_AHEAD");
        service.log().prune(service.log().log_id(), 5).await.unwrap();
        let refused = list(&service, &events[2].cursor, 1, None).await.unwrap_err();
        assert_eq!(reason(&refused), "CURSOR_EXPIRED");
        // The last event that is gone is where the rest begins.
        let rest = list(&service, &events[4].cursor, 100, None).await.unwrap();
        assert_eq!(names(&rest.events), names(&events[5..]));
        assert_eq!(names(&all(&service, None).await), names(&events[5..]));
        assert_eq!(service.log().verify().await.unwrap().events, 5, "the chain begins where it was cut");
        assert!(watch(&service, &events[2].cursor).await.is_err());
    }

    async fn an_event_is_written_once_however_often_it_is_appended(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let event = NewEvent { event_id: EventId::generate(), kind: recognised(1) };
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (log, event) = (service.log().clone(), event.clone());
                async move { log.append(event).await.unwrap() }
            })
            .collect();
        let mut set = tokio::task::JoinSet::new();
        for task in tasks {
            set.spawn(task);
        }
        let answers = set.join_all().await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(all(&service, None).await.len(), 2);
    }

    async fn events_of_many_callers_at_once_are_a_whole_chain(db: Db) {
        let service = service(&db, TestClock::new(Quality::Ntp)).await;
        let mut set = tokio::task::JoinSet::new();
        for caller in 0..20 {
            let log = service.log().clone();
            set.spawn(async move {
                for _ in 0..10 {
                    log.append(recognised(caller)).await.unwrap();
                }
            });
        }
        set.join_all().await;
        let events = all(&service, None).await;
        assert_eq!(events.iter().filter(|event| matches!(event.kind, Some(v1::EventKind { kind: Some(Kind::Recognised(_)) }))).count(), 200);
        assert!(events.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
        let findings = service.log().verify().await.unwrap();
        assert_eq!((findings.changed.len(), findings.rederived), (0, 0), "{findings:?}");
    }

    async fn a_caller_that_goes_away_loses_no_event(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        for number in 1..=30 {
            let log = service.log().clone();
            let mut append = Box::pin(async move { log.append(recognised(number)).await });
            // Polled once: the event is in the queue; then dropped.
            let waker = std::task::Waker::noop();
            let _ = append.as_mut().poll(&mut std::task::Context::from_waker(waker));
        }
        let last = service.log().append(door("OPENED")).await.unwrap();
        assert_eq!(last.seq, 32);
    }

    async fn nothing_is_lost_or_doubled_by_a_watcher_that_comes_again(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let writer = {
            let log = service.log().clone();
            tokio::task::spawn(async move {
                for round in 0..400_u32 {
                    let number = u8::try_from(round % 200 + 1).unwrap();
                    log.append(recognised(number)).await.unwrap();
                }
                log.append(door("CLOSED")).await.unwrap().event_id.name()
            })
        };
        let (mut seen, mut cursor, mut connections) = (Vec::new(), String::new(), 0_usize);
        'again: loop {
            let mut stream = watch(&service, &cursor).await.unwrap();
            connections += 1;
            // Breaks off after 1 to 5 messages, and within the events of the last: those are not handled.
            for message in 0..connections % 5 + 1 {
                let Some(Ok(answer)) = stream.next().await else { panic!("the stream ended") };
                let handled = if message == connections % 5 { answer.events.len() / 2 } else { answer.events.len() };
                for event in answer.events.iter().take(handled) {
                    seen.push(event.name.clone());
                    cursor.clone_from(&event.cursor);
                    if matches!(&event.kind, Some(v1::EventKind { kind: Some(Kind::DoorChanged(_)) })) {
                        break 'again;
                    }
                }
            }
            drop(stream);
            if writer.is_finished() {
                // All is stored: the rest in one go, so that halves of one do not go on for ever.
                let mut rest = watch(&service, &cursor).await.unwrap();
                while let Some(Ok(answer)) = rest.next().await {
                    seen.extend(answer.events.iter().map(|event| event.name.clone()));
                    if seen.len() >= 402 {
                        break 'again;
                    }
                }
            }
        }
        assert_eq!(seen.last(), Some(&writer.await.unwrap()));
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "doubled");
        assert_eq!(seen, names(&all(&service, None).await));
        assert!(connections > 3);
    }

    async fn a_watcher_from_now_sees_what_comes(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        service.log().append(recognised(1)).await.unwrap();
        let mut stream = watch(&service, "now").await.unwrap();
        let appended = service.log().append(recognised(2)).await.unwrap();
        let answer = stream.next().await.unwrap().unwrap();
        assert_eq!(names(&answer.events), [appended.event_id.name()]);
        service.stop().await;
        while let Some(answer) = stream.next().await {
            assert!(answer.unwrap().events.is_empty());
        }
    }

    async fn a_65th_watcher_is_refused_until_one_leaves(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let mut streams = Vec::new();
        for _ in 0..64 {
            streams.push(watch(&service, "now").await.unwrap());
        }
        let refused = watch(&service, "now").await.err().unwrap();
        assert_eq!(reason(&refused), "LIMIT_REACHED");
        streams.pop();
        while watch(&service, "now").await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    async fn events_before_an_anchor_are_corrected_when_it_comes(db: Db) {
        let clock = TestClock::new(Quality::Unset);
        clock.set(|reading| reading.wall_us = 7_000_000);
        let service = service(&db, clock.clone()).await;
        for number in 1..=50 {
            service.log().append(recognised(number)).await.unwrap();
        }
        let before = all(&service, None).await;
        assert!(before.iter().all(|event| event.time_trust == i32::from(v1::TimeTrust::Estimated)));
        assert!(before.iter().all(|event| event.time.unwrap().seconds < 100), "1970");
        // A time server is found; the log notes an anchor before the next event.
        clock.set(|reading| {
            reading.wall_us = MORNING_US;
            reading.quality = Quality::Ntp;
        });
        service.log().append(recognised(51)).await.unwrap();
        let after = all(&service, None).await;
        assert_eq!(after.len(), 53, "with the anchor");
        for (old, new) in before.iter().zip(&after) {
            assert_eq!(old.stamp, new.stamp, "raw never changes");
            assert_eq!(new.time_trust, i32::from(v1::TimeTrust::Corrected));
            let gap = MORNING_US / 1_000_000 - new.time.unwrap().seconds;
            assert!((0..=1).contains(&gap), "{gap} s before the anchor");
        }
        assert_eq!(after[52].time_trust, i32::from(v1::TimeTrust::Good));
        assert_eq!(service.log().verify().await.unwrap().rederived, 0);
    }

    async fn an_event_larger_than_a_log_takes_is_refused(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let error = service.log().append(door(&"x".repeat(17_000))).await.unwrap_err();
        assert_eq!(error.fault().reason.as_str(), "LIMIT_REACHED");
        service.log().append(door(&"x".repeat(16_000))).await.unwrap();
    }

    async fn a_human_records_who_came_and_the_note_is_beside_the_log(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let message = v1::RecordManuallyRequest {
            person: person(3).name(),
            direction: v1::Direction::In.into(),
            time: Some(prost_types::Timestamp { seconds: MORNING_US / 1_000_000 - 600, nanos: 0 }),
            note: "came by the side door".to_owned(),
            request_id: "0193a5c0-0000-7000-8000-000000000001".to_owned(),
        };
        let first = service.record_manually(request(message.clone())).await.unwrap().into_inner();
        assert_eq!(first.note, "came by the side door");
        assert_eq!(first.time, message.time, "when it was, not when it was written");
        let Some(v1::EventKind { kind: Some(Kind::RecordedManually(record)) }) = &first.kind else { panic!() };
        assert!(record.by.starts_with("tokens/"));
        // Again, at once, twenty times: the same event.
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (service, message) = (service.clone(), message.clone());
            set.spawn(async move { service.record_manually(request(message)).await.unwrap().into_inner() });
        }
        assert!(set.join_all().await.iter().all(|again| *again == first));
        assert_eq!(all(&service, None).await.len(), 2);
        let other = v1::RecordManuallyRequest { person: person(4).name(), ..message.clone() };
        assert_eq!(reason(&service.record_manually(request(other)).await.unwrap_err()), "REQUEST_ID_REUSED");
        // Erased: the event stays, its note does not.
        service.erase(person(3)).await.unwrap();
        let erased = service.get_event(request(v1::GetEventRequest { name: first.name.clone() })).await.unwrap();
        assert_eq!(erased.into_inner(), v1::Event { note: String::new(), ..first });
    }

    async fn a_record_of_nobody_or_of_another_time_is_refused(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let good = v1::RecordManuallyRequest {
            person: person(3).name(),
            direction: v1::Direction::Out.into(),
            ..v1::RecordManuallyRequest::default()
        };
        let at = |seconds| Some(prost_types::Timestamp { seconds: MORNING_US / 1_000_000 + seconds, nanos: 0 });
        for (wrong, expected) in [
            (v1::RecordManuallyRequest { person: PersonId::from_bytes([0; 16]).name(), ..good.clone() }, "NOT_FOUND"),
            (v1::RecordManuallyRequest { person: "Linh".into(), ..good.clone() }, "FIELD_INVALID"),
            (v1::RecordManuallyRequest { direction: 0, ..good.clone() }, "FIELD_INVALID"),
            (v1::RecordManuallyRequest { direction: 77, ..good.clone() }, "FIELD_INVALID"),
            (v1::RecordManuallyRequest { time: at(3_600), ..good.clone() }, "FIELD_INVALID"),
            (v1::RecordManuallyRequest { time: at(-32 * 86_400), ..good.clone() }, "FIELD_INVALID"),
            (v1::RecordManuallyRequest { note: "x".repeat(1_001), ..good.clone() }, "FIELD_INVALID"),
            (v1::RecordManuallyRequest { note: "a\0b".into(), ..good.clone() }, "FIELD_INVALID"),
            (v1::RecordManuallyRequest { request_id: "7".into(), ..good.clone() }, "FIELD_INVALID"),
        ] {
            let refused = service.record_manually(request(wrong.clone())).await.unwrap_err();
            assert_eq!(reason(&refused), expected, "{wrong:?}");
        }
        assert_eq!(all(&service, None).await.len(), 1, "nothing was written");
        service.record_manually(request(good)).await.unwrap();
    }

    async fn no_free_text_is_in_the_log(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let message = v1::RecordManuallyRequest {
            person: person(3).name(),
            direction: v1::Direction::In.into(),
            note: "Zwiebelfisch".to_owned(),
            ..v1::RecordManuallyRequest::default()
        };
        service.record_manually(request(message)).await.unwrap();
        let events = all(&service, None).await;
        let record = v1::EventRecord { kind: events[1].kind.clone(), ..v1::EventRecord::default() };
        assert!(!String::from_utf8_lossy(&record.encode_to_vec()).contains("Zwiebelfisch"));
    }

    async fn a_call_without_its_caller_is_our_fault(db: Db) {
        let service = service(&db, TestClock::new(Quality::Saved)).await;
        let refused = service.list_events(tonic::Request::new(v1::ListEventsRequest::default())).await.unwrap_err();
        assert_eq!(reason(&refused), "INTERNAL");
    }

    async fn the_log_goes_on_where_it_ended(db: Db) {
        let log = Log::open_in(db.clone(), identity(), TestClock::new(Quality::Saved)).await.unwrap();
        let first = log.append(recognised(1)).await.unwrap();
        let patient = log.append_patiently(recognised(2), Duration::from_secs(60)).await.unwrap();
        assert!(matches!(patient, Logged::Committed(appended) if appended.seq == first.seq + 1));
        let again = Log::open_in(db.clone(), identity(), TestClock::new(Quality::Saved)).await.unwrap();
        assert_eq!((again.opened().reason, again.log_id()), (None, log.log_id()));
        assert_eq!(again.append(recognised(3)).await.unwrap().seq, first.seq + 2);
        let moved = rollcall_attendance::Identity { hw_id: "board 8".to_owned(), ..identity() };
        let moved = Log::open_in(db.clone(), moved, TestClock::new(Quality::Saved)).await.unwrap();
        assert!(moved.opened().is_card_moved);
        assert_ne!(moved.log_id(), log.log_id());
    }
}
