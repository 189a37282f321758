//! Timetable, registers, amendments and settings, called as the server calls them, on both engines.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod site;

use std::sync::atomic::Ordering;

use rollcall_attendance::register::Watermark;
use rollcall_attendance::{Doors as _, LOG_MIGRATIONS, NewEvent, SITE_MIGRATIONS};
use rollcall_core::{PersonId, Role, TerminalId};
use rollcall_proto::v1;
use rollcall_proto::v1::Direction::{In, Out};
use rollcall_proto::v1::attendance_service_server::AttendanceService;
use rollcall_store::{both_engines, requests};

use site::{DAY, DOOR, Site, as_role, at, call, instant, reason, session};

const NEXT_DAY: v1::Date = v1::Date { year: 2026, month: 11, day: 25 };

fn override_request(
    session: &str,
    change: v1::override_session_request::Change,
) -> v1::OverrideSessionRequest {
    v1::OverrideSessionRequest { session: session.to_owned(), change: Some(change) }
}

fn time(hours: i32, minutes: i32) -> Option<v1::TimeOfDay> {
    Some(v1::TimeOfDay { hours, minutes, seconds: 0 })
}

both_engines! {
    migrations = &[LOG_MIGRATIONS, SITE_MIGRATIONS, requests::MIGRATIONS];

    async fn a_register_fills_closes_by_itself_and_then_changes_by_amendment_alone(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let [anna, ben, chi] = ["Anna", "Ben", "Chi"].map(|name| site.people.add(site.group, name));
        assert_eq!(site.codes(&session).await, ["Anna unknown?", "Ben unknown?", "Chi unknown?"]);
        site.pass("08:40", anna, In).await;
        site.pass("08:40:05", anna, In).await;
        site.pass("09:00", ben, v1::Direction::Unspecified).await;
        assert_eq!(site.codes(&session).await, ["Anna present?", "Ben late?", "Chi unknown?"]);
        site.set(at("09:15"));
        assert_eq!(site.codes(&session).await, ["Anna present?", "Ben late?", "Chi absent?"]);
        assert_eq!(site.service.close_due(at("09:15")).await.unwrap(), 0);
        site.pass("11:00", anna, Out).await;
        site.set(at("12:00"));
        assert_eq!(site.codes(&session).await, ["Anna left_early", "Ben late", "Chi absent"]);
        assert_eq!(site.service.close_due(at("12:00")).await.unwrap(), 1);
        assert_eq!(site.service.close_due(at("12:01")).await.unwrap(), 0);
        let closed = site.register(&session).await;
        assert_eq!((closed.provisional, closed.waiting_for.len()), (false, 0));
        assert!(closed.closed_time.is_some());

        // What arrives late, who joins, who leaves, another zone, other codes: it stays as it was closed.
        let late = v1::RecordManuallyRequest {
            person: chi.name(),
            direction: In.into(),
            time: Some(prost_types::Timestamp { seconds: at("08:44").micros() / 1_000_000, nanos: 0 }),
            ..v1::RecordManuallyRequest::default()
        };
        site.set(at("12:30"));
        site.service.record_manually(call(late)).await.unwrap();
        site.people.add(site.group, "Dung");
        site.people.erase(ben);
        site.use_dfe().await;
        let settings = v1::AttendanceSettings { time_zone: "Asia/Ho_Chi_Minh".into(), ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["time_zone".into()] });
        let request = v1::UpdateAttendanceSettingsRequest { settings: Some(settings), update_mask };
        site.service.update_attendance_settings(call(request)).await.unwrap();
        assert_eq!(site.codes(&session).await, [" late", "Anna left_early", "Chi absent"]);
        assert_eq!(site.register(&session).await.session, closed.session);

        let line = site.amend(&session, chi, "L").await.unwrap();
        assert_eq!(line.mark.unwrap().code, "L");
        let amendment = &line.amendments[0];
        assert_eq!(amendment.old_mark.as_ref().unwrap().code, "absent");
        assert_eq!(amendment.new_mark.as_ref().unwrap().state(), v1::MarkState::Late);
        assert_eq!((amendment.reason.as_str(), line.etag.as_str()), ("a phone call", "1"));
        assert!(amendment.amended_by.starts_with("accounts/"));
        let line = site.amend(&session, chi, "I").await.unwrap();
        let codes: Vec<&str> =
            line.amendments.iter().map(|a| a.old_mark.as_ref().unwrap().code.as_str()).collect();
        assert_eq!((codes, line.mark.unwrap().code.as_str()), (vec!["absent", "L"], "I"));
        assert_eq!(site.codes(&session).await, [" late", "Anna left_early", "Chi I"]);
    }

    async fn a_mark_that_a_human_set_is_not_overwritten_by_the_doors(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let anna = site.people.add(site.group, "Anna");
        site.amend(&session, anna, "excused").await.unwrap();
        site.pass("08:40", anna, In).await;
        assert_eq!(site.codes(&session).await, ["Anna excused"]);
        site.set(at("12:00"));
        site.service.close_due(at("12:00")).await.unwrap();
        assert_eq!(site.codes(&session).await, ["Anna excused"]);
        let line = &site.register(&session).await.lines[0];
        assert_eq!(line.arrive_time.unwrap().seconds, at("08:40").micros() / 1_000_000);
    }

    async fn an_amendment_says_what_was_read_or_is_refused(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let anna = site.people.add(site.group, "Anna");
        let request = v1::AmendMarkRequest {
            session: session.clone(),
            person: anna.name(),
            code: "late".into(),
            reason: "Quên thẻ".into(),
            etag: "0".into(),
            request_id: "0193a5c0-0000-7000-8000-000000000001".into(),
        };
        let first = site.amend_with(request.clone()).await.unwrap();
        let again = site.amend_with(request.clone()).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(again.amendments.len(), 1);
        let other = v1::AmendMarkRequest { code: "present".into(), ..request.clone() };
        assert_eq!(reason(site.amend_with(other).await), "REQUEST_ID_REUSED");
        let stale = v1::AmendMarkRequest { request_id: String::new(), ..request.clone() };
        assert_eq!(reason(site.amend_with(stale.clone()).await), "ETAG_MISMATCH");
        for (spoiled, why) in [
            (v1::AmendMarkRequest { etag: String::new(), code: "unknown".into(), ..stale.clone() }, "FIELD_INVALID"),
            (v1::AmendMarkRequest { etag: String::new(), code: "L".into(), ..stale.clone() }, "FIELD_INVALID"),
            (v1::AmendMarkRequest { reason: "  ".into(), ..stale.clone() }, "FIELD_INVALID"),
            (v1::AmendMarkRequest { reason: "x".repeat(1_001), ..stale.clone() }, "FIELD_INVALID"),
            (v1::AmendMarkRequest { person: PersonId::generate().name(), ..stale.clone() }, "NOT_FOUND"),
            (v1::AmendMarkRequest { session: session.replace("11-24", "11-23"), ..stale.clone() }, "NOT_FOUND"),
        ] {
            assert_eq!(reason(site.amend_with(spoiled.clone()).await), why, "{spoiled:?}");
        }
        assert_eq!(site.codes(&session).await, ["Anna late"]);
        assert_eq!(site.register(&session).await.lines[0].amendments.len(), 1, "what was refused left nothing");
    }

    async fn one_of_two_amendments_at_once_of_the_same_etag_is_refused(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let anna = site.people.add(site.group, "Anna");
        let request = |code: &str| v1::AmendMarkRequest {
            session: session.clone(),
            person: anna.name(),
            code: code.into(),
            reason: "a phone call".into(),
            etag: "0".into(),
            request_id: String::new(),
        };
        let (first, second) =
            tokio::join!(site.amend_with(request("late")), site.amend_with(request("excused")));
        let mut reasons = [reason(first), reason(second)];
        reasons.sort();
        assert_eq!(reasons, ["ETAG_MISMATCH", "OK"]);
    }

    async fn viewers_see_marks_and_no_reasons(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let anna = site.people.add(site.group, "Anna");
        site.amend(&session, anna, "excused").await.unwrap();
        let request = v1::GetRegisterRequest { session };
        for (role, shown) in [(Role::Viewer, ""), (Role::Teacher, "a phone call")] {
            let register = site.service.get_register(as_role(role, request.clone())).await.unwrap().into_inner();
            assert_eq!(register.lines[0].amendments[0].reason, shown);
        }
    }

    async fn a_register_waits_for_a_terminal_that_is_offline_until_a_human_closes_it(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let anna = site.people.add(site.group, "Anna");
        let silent = TerminalId::generate();
        site.doors.reported.lock().unwrap().insert(silent, Some(at("08:50")));
        site.set(at("20:00"));
        let register = site.register(&session).await;
        assert_eq!((register.provisional, register.waiting_for), (true, vec![silent.name()]));
        assert_eq!(site.codes(&session).await, ["Anna unknown?"]);
        assert_eq!(site.service.close_due(at("20:00")).await.unwrap(), 0);
        site.doors.reported.lock().unwrap().insert(silent, Some(at("12:00")));
        assert_eq!(site.codes(&session).await, ["Anna absent"]);
        site.doors.reported.lock().unwrap().insert(silent, None);
        site.doors.reported.lock().unwrap().insert(DOOR, Some(at("08:50")));
        let request = v1::CloseRegisterRequest { session: session.clone() };
        let closed = site.service.close_register(call(request.clone())).await.unwrap().into_inner();
        assert_eq!((closed.provisional, closed.lines.len()), (false, 1));
        let again = site.service.close_register(call(request)).await.unwrap().into_inner();
        assert_eq!(again.closed_time, closed.closed_time);
        site.amend(&session, anna, "present").await.unwrap();
        assert_eq!(site.codes(&session).await, ["Anna present"]);
    }

    async fn everybody_who_came_in_one_moment_is_in_the_register(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        // More than are read at once, of people and of events.
        let people: Vec<PersonId> = (0..2_100).map(|_| site.people.add(site.group, "Pupil")).collect();
        site.set(at("08:40"));
        let seen = people.iter().map(|person| {
            let seen = v1::Recognised { person: person.name(), direction: In.into(), trace: None };
            NewEvent::from(v1::event_kind::Kind::Recognised(seen))
        });
        for some in seen.collect::<Vec<_>>().chunks(250) {
            site.service.log().append_all(some.to_vec()).await.unwrap();
        }
        let codes = site.codes(&session).await;
        assert_eq!(codes.len(), people.len());
        assert!(codes.iter().all(|code| code == "Pupil present?"));
        site.set(at("12:00"));
        assert_eq!(site.service.close_due(at("12:00")).await.unwrap(), 1);
        let codes = site.codes(&session).await;
        assert_eq!(codes.len(), people.len());
        assert!(codes.iter().all(|code| code == "Pupil present"));
    }

    async fn a_lone_terminal_knows_what_it_saw_some_seconds_ago(db: Db) {
        let site = Site::open(db).await;
        let marks = site.service.log().watermarks().await.unwrap();
        assert_eq!(marks, [Watermark { terminal: DOOR, reported: at("07:59:55") }]);
    }

    async fn a_session_that_is_not_over_is_not_closed(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        site.set(at("11:59"));
        let request = v1::CloseRegisterRequest { session };
        assert_eq!(reason(site.service.close_register(call(request)).await), "STATE_FORBIDS");
    }

    async fn a_closing_that_broke_off_is_ended_with_what_was_there_when_it_began(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let [anna, ben] = ["Anna", "Ben"].map(|name| site.people.add(site.group, name));
        site.pass("08:40", anna, In).await;
        site.set(at("12:00"));
        site.people.is_away.store(true, Ordering::SeqCst);
        assert!(site.service.close_due(at("12:00")).await.is_err());
        site.people.is_away.store(false, Ordering::SeqCst);
        assert!(site.register(&session).await.closed_time.is_none());
        let recorded = v1::RecordManuallyRequest {
            person: ben.name(),
            direction: In.into(),
            time: Some(prost_types::Timestamp { seconds: at("08:44").micros() / 1_000_000, nanos: 0 }),
            ..v1::RecordManuallyRequest::default()
        };
        site.service.record_manually(call(recorded)).await.unwrap();
        assert_eq!(site.codes(&session).await, ["Anna present", "Ben present"]);
        assert_eq!(site.service.close_due(at("12:05")).await.unwrap(), 1);
        assert_eq!(site.codes(&session).await, ["Anna present", "Ben absent"]);
        let filter = v1::EventFilter { kinds: vec!["register_closed".into()], ..Default::default() };
        let request = v1::ListEventsRequest { filter: Some(filter), ..Default::default() };
        let events = site.service.list_events(call(request)).await.unwrap().into_inner().events;
        assert_eq!(events.len(), 1, "it was closed once");
    }

    async fn who_has_left_is_expected_no_more(db: Db) {
        let site = Site::open(db).await;
        let period = site.period().await;
        let anna = site.people.add(site.group, "Anna");
        site.people.leave(anna, "2026-11-24".parse().unwrap());
        assert_eq!(site.register(&session(&period)).await.lines.len(), 1);
        assert_eq!(site.register(&format!("{}/sessions/2026-11-25", period.name)).await.lines.len(), 0);
    }

    async fn sessions_are_cancelled_moved_and_restored_until_they_are_closed(db: Db) {
        use v1::override_session_request::Change;
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let anna = site.people.add(site.group, "Anna");
        let set = async |change| site.service.override_session(call(override_request(&session, change))).await;
        assert!(set(Change::Cancelled(true)).await.unwrap().into_inner().cancelled);
        site.pass("08:40", anna, In).await;
        assert_eq!(site.codes(&session).await, ["Anna not_required"]);
        let times = v1::SessionTimes { start: time(9, 30), end: time(10, 0) };
        let moved = set(Change::Times(times)).await.unwrap().into_inner();
        assert_eq!(moved.start_time.unwrap().seconds, at("09:30").micros() / 1_000_000);
        assert_eq!(site.codes(&session).await, ["Anna unknown?"], "08:40 is too early for 09:30");
        assert!(!set(Change::Restored(())).await.unwrap().into_inner().overridden);
        assert_eq!(site.codes(&session).await, ["Anna present?"]);
        let day = v1::ListSessionsRequest { day: None, group: site.group.name() };
        let sessions = site.service.list_sessions(call(day)).await.unwrap().into_inner().sessions;
        assert_eq!(sessions.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), [session.as_str()]);
        site.set(at("12:00"));
        site.service.close_due(at("12:00")).await.unwrap();
        assert_eq!(reason(set(Change::Cancelled(true)).await), "STATE_FORBIDS");
        assert_eq!(reason(set(Change::Cancelled(false)).await), "FIELD_INVALID");
        let nothing = v1::OverrideSessionRequest { session: session.clone(), change: None };
        assert_eq!(reason(site.service.override_session(call(nothing)).await), "FIELD_INVALID");
        let never = override_request(&session.replace("11-24", "11-01"), Change::Cancelled(true));
        assert_eq!(reason(site.service.override_session(call(never)).await), "NOT_FOUND");
    }

    async fn a_holiday_is_a_day_whose_sessions_are_all_cancelled_or_that_lies_between_terms(db: Db) {
        use v1::override_session_request::Change;
        let site = Site::open(db).await;
        let is_holiday = async |day: jiff::civil::Date| site.service.is_holiday(day).await.unwrap();
        let day = |month, day| jiff::civil::date(2026, month, day);
        assert!(!is_holiday(day(11, 24)).await, "there is no timetable");
        let period = async |first: v1::Date, last: Option<v1::Date>, weekdays: Vec<i32>| {
            let draft = v1::Period { start_date: Some(first), end_date: last, weekdays, ..site.draft() };
            let create = v1::CreatePeriodRequest { period: Some(draft), request_id: String::new() };
            site.service.create_period(call(create)).await.unwrap().into_inner()
        };
        let date = |month, day| v1::Date { year: 2026, month, day };
        let autumn = period(date(11, 2), Some(date(12, 18)), vec![1, 2, 3, 4, 5]).await;
        let tuesdays = period(date(11, 2), Some(date(12, 18)), vec![2]).await;
        assert!(!is_holiday(day(12, 25)).await, "no later term is known");
        period(date(12, 28), None, vec![1, 2, 3, 4, 5]).await;
        for (day, expected) in [
            (day(11, 1), false),
            (day(11, 24), false),
            (day(11, 28), false),
            (day(12, 18), false),
            (day(12, 19), true),
            (day(12, 27), true),
            (day(12, 28), false),
        ] {
            assert_eq!(is_holiday(day).await, expected, "{day}");
        }
        for (period, expected) in [(&autumn, false), (&tuesdays, true)] {
            let cancel = override_request(&session(period), Change::Cancelled(true));
            site.service.override_session(call(cancel)).await.unwrap();
            assert_eq!(is_holiday(day(11, 24)).await, expected);
        }
        let times = v1::SessionTimes { start: time(9, 30), end: time(10, 0) };
        let moved = override_request(&session(&tuesdays), Change::Times(times));
        site.service.override_session(call(moved)).await.unwrap();
        assert!(!is_holiday(day(11, 24)).await, "a session that was moved takes place");
    }

    async fn periods_are_made_once_listed_in_pages_and_ended(db: Db) {
        let site = Site::open(db).await;
        let request_id = "0193a5c0-0000-7000-8000-00000000000a".to_owned();
        let request = v1::CreatePeriodRequest { period: Some(site.draft()), request_id };
        let made = site.service.create_period(call(request.clone())).await.unwrap().into_inner();
        assert_eq!(site.service.create_period(call(request.clone())).await.unwrap().into_inner(), made);
        let draft = v1::Period { name: made.name.clone(), etag: made.etag.clone(), ..site.draft() };
        assert_eq!(made, draft);
        let other = v1::Period { display_name: "Other".into(), ..site.draft() };
        let reused = v1::CreatePeriodRequest { period: Some(other), ..request };
        assert_eq!(reason(site.service.create_period(call(reused)).await), "REQUEST_ID_REUSED");
        let mut names = vec![made.name.clone()];
        for _ in 0..4 {
            names.push(site.period().await.name);
        }
        let mut listed = Vec::new();
        let mut page_token = String::new();
        loop {
            let group = site.group.name();
            let request = v1::ListPeriodsRequest { page_size: 2, page_token, group };
            let page = site.service.list_periods(call(request)).await.unwrap().into_inner();
            assert!(page.periods.len() <= 2);
            listed.extend(page.periods.into_iter().map(|period| period.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, names);

        let end = |date, etag: &str| v1::EndPeriodRequest {
            name: made.name.clone(),
            end_date: Some(date),
            etag: etag.to_owned(),
        };
        assert_eq!(reason(site.service.end_period(call(end(DAY, "2"))).await), "ETAG_MISMATCH");
        site.set(instant("2026-11-25T12:00:00Z"));
        let request = v1::CloseRegisterRequest { session: format!("{}/sessions/2026-11-25", made.name) };
        site.service.close_register(call(request)).await.unwrap();
        assert_eq!(reason(site.service.end_period(call(end(DAY, "1"))).await), "FIELD_INVALID");
        let ended = site.service.end_period(call(end(NEXT_DAY, "1"))).await.unwrap().into_inner();
        assert_eq!((ended.end_date, ended.etag.as_str()), (Some(NEXT_DAY), "2"));
        let get = v1::GetRegisterRequest { session: format!("{}/sessions/2026-11-26", made.name) };
        assert_eq!(reason(site.service.get_register(call(get)).await), "NOT_FOUND");
    }

    async fn periods_that_make_no_sense_are_refused(db: Db) {
        let site = Site::open(db).await;
        let create = async |period: Option<v1::Period>| {
            reason(site.service.create_period(call(v1::CreatePeriodRequest { period, request_id: String::new() })).await)
        };
        assert_eq!(create(None).await, "FIELD_INVALID");
        let day = |month, day| Some(v1::Date { year: 2026, month, day });
        for spoiled in [
            v1::Period { display_name: String::new(), ..site.draft() },
            v1::Period { display_name: "a\0b".into(), ..site.draft() },
            v1::Period { group: "groups/1".into(), ..site.draft() },
            v1::Period { weekdays: vec![0], ..site.draft() },
            v1::Period { start: None, ..site.draft() },
            v1::Period { start: time(24, 0), ..site.draft() },
            v1::Period { late_after_minutes: -1, ..site.draft() },
            v1::Period { late_after_minutes: i32::MAX, ..site.draft() },
            v1::Period { start_date: day(2, 30), ..site.draft() },
            v1::Period { start_date: None, ..site.draft() },
            v1::Period { end_date: day(1, 1), ..site.draft() },
            v1::Period { terminals: vec!["terminals/x".into()], ..site.draft() },
        ] {
            assert_eq!(create(Some(spoiled.clone())).await, "FIELD_INVALID", "{spoiled:?}");
        }
        let nobody = v1::Period { group: "groups/0193a5c0-0000-7000-8000-000000000001".into(), ..site.draft() };
        assert_eq!(create(Some(nobody)).await, "NOT_FOUND");
    }

    async fn settings_change_by_mask_and_etag(db: Db) {
        let site = Site::open(db).await;
        let get = v1::GetAttendanceSettingsRequest {};
        let before = site.service.get_attendance_settings(call(get)).await.unwrap().into_inner();
        assert_eq!((before.time_zone.as_str(), before.code_set()), ("UTC", v1::CodeSet::Plain));
        assert_eq!(before.codes.len(), 9);
        let update = async |settings: v1::AttendanceSettings, paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            let request = v1::UpdateAttendanceSettingsRequest {
                settings: Some(settings),
                update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
            };
            site.service.update_attendance_settings(call(request)).await.map(tonic::Response::into_inner)
        };
        let london = v1::AttendanceSettings {
            time_zone: "Europe/London".into(),
            code_set: v1::CodeSet::Dfe.into(),
            etag: before.etag.clone(),
            codes: Vec::new(),
        };
        let zone_alone = update(london.clone(), &["time_zone"]).await.unwrap();
        assert_eq!((zone_alone.time_zone.as_str(), zone_alone.code_set()), ("Europe/London", v1::CodeSet::Plain));
        assert_eq!(reason(update(london.clone(), &[]).await), "ETAG_MISMATCH");
        let both = update(v1::AttendanceSettings { etag: zone_alone.etag, ..london.clone() }, &[]).await.unwrap();
        assert_eq!((both.code_set(), both.codes.len()), (v1::CodeSet::Dfe, 35));
        let any = v1::AttendanceSettings { etag: String::new(), ..london.clone() };
        assert_eq!(reason(update(any.clone(), &["codes"]).await), "UPDATE_MASK_INVALID");
        for time_zone in ["", "Mars/Olympus", "../../etc/passwd", "'; drop table attendance_settings; --"] {
            let wrong = v1::AttendanceSettings { time_zone: time_zone.into(), ..any.clone() };
            assert_eq!(reason(update(wrong, &["time_zone"]).await), "FIELD_INVALID", "{time_zone}");
        }
    }

    async fn f052_a_night_shift_over_a_clock_change_is_one_session_of_the_day_it_began(db: Db) {
        let site = Site::open(db).await;
        let settings = v1::AttendanceSettings { time_zone: "Europe/London".into(), ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["time_zone".into()] });
        let request = v1::UpdateAttendanceSettingsRequest { settings: Some(settings), update_mask };
        site.service.update_attendance_settings(call(request)).await.unwrap();
        let night = v1::Period { start: time(22, 0), end: time(6, 0), leave_early_minutes: 10, ..site.draft() };
        let request = v1::CreatePeriodRequest { period: Some(night), request_id: String::new() };
        let period = site.service.create_period(call(request)).await.unwrap().into_inner();
        let anna = site.people.add(site.group, "Anna");
        // The clocks go forward at 01:00 UTC on 28 March 2027: 06:00 is 05:00 UTC.
        let session = format!("{}/sessions/2027-03-27", period.name);
        let seen = |direction: v1::Direction| {
            let seen = v1::Recognised { person: anna.name(), direction: direction.into(), trace: None };
            v1::event_kind::Kind::Recognised(seen)
        };
        site.set(instant("2027-03-27T21:55:00Z"));
        site.service.log().append(seen(In)).await.unwrap();
        site.set(instant("2027-03-28T04:50:00Z"));
        site.service.log().append(seen(Out)).await.unwrap();
        site.set(instant("2027-03-28T05:00:00Z"));
        assert_eq!(site.codes(&session).await, ["Anna present"]);
        let next = format!("{}/sessions/2027-03-28", period.name);
        assert_eq!(site.codes(&next).await, ["Anna unknown?"]);
    }

    async fn f097_sql_in_a_string_is_a_string(db: Db) {
        let site = Site::open(db).await;
        let period = site.period().await;
        let session = session(&period);
        let anna = site.people.add(site.group, "Anna");
        for sql in [
            "'", "''", "\"", "`", ";", "--", "/*", "\\", "%", "_", "$1", "' or '1'='1", "'; drop table attendance_event; --",
            "1; select pg_sleep(10)", "') union select bytes from attendance_event --", "\u{0}", "\u{ffff}", "💣",
        ] {
            let text = || sql.to_owned();
            let mut answers = Vec::new();
            let create = |period| call(v1::CreatePeriodRequest { period: Some(period), request_id: String::new() });
            let named = v1::Period { display_name: text(), ..site.draft() };
            answers.push(reason(site.service.create_period(create(named)).await));
            answers.push(reason(site.service.create_period(create(v1::Period { group: text(), ..site.draft() })).await));
            answers.push(reason(site.service.create_period(create(v1::Period { terminals: vec![text()], ..site.draft() })).await));
            let repeated = v1::CreatePeriodRequest { period: Some(site.draft()), request_id: text() };
            answers.push(reason(site.service.create_period(call(repeated)).await));
            answers.push(reason(site.service.get_period(call(v1::GetPeriodRequest { name: text() })).await));
            let list = v1::ListPeriodsRequest { page_token: text(), ..Default::default() };
            answers.push(reason(site.service.list_periods(call(list)).await));
            let list = v1::ListPeriodsRequest { group: text(), ..Default::default() };
            answers.push(reason(site.service.list_periods(call(list)).await));
            let end = v1::EndPeriodRequest { name: period.name.clone(), end_date: Some(DAY), etag: text() };
            answers.push(reason(site.service.end_period(call(end)).await));
            let cancel = v1::override_session_request::Change::Cancelled(true);
            answers.push(reason(site.service.override_session(call(override_request(sql, cancel))).await));
            let day = v1::ListSessionsRequest { group: text(), day: None };
            answers.push(reason(site.service.list_sessions(call(day)).await));
            answers.push(reason(site.service.get_register(call(v1::GetRegisterRequest { session: text() })).await));
            answers.push(reason(site.service.close_register(call(v1::CloseRegisterRequest { session: text() })).await));
            let amend = v1::AmendMarkRequest {
                session: session.clone(),
                person: anna.name(),
                code: "late".into(),
                reason: text(),
                ..Default::default()
            };
            answers.push(reason(site.amend_with(amend.clone()).await));
            for spoiled in [
                v1::AmendMarkRequest { session: text(), ..amend.clone() },
                v1::AmendMarkRequest { person: text(), ..amend.clone() },
                v1::AmendMarkRequest { code: text(), reason: "why".into(), ..amend.clone() },
                v1::AmendMarkRequest { etag: text(), reason: "why".into(), ..amend.clone() },
                v1::AmendMarkRequest { request_id: text(), reason: "why".into(), ..amend.clone() },
            ] {
                answers.push(reason(site.amend_with(spoiled).await));
            }
            let report = v1::GetReportRequest { page_token: text(), ..site.report_request() };
            answers.push(reason(site.service.get_report(call(report)).await));
            let subject = Some(v1::get_report_request::Subject::Person(text()));
            let report = v1::GetReportRequest { subject, ..site.report_request() };
            answers.push(reason(site.service.get_report(call(report)).await));
            let known =
                ["OK", "FIELD_INVALID", "PAGE_TOKEN_INVALID", "ETAG_MISMATCH", "NOT_FOUND", "FILTER_INVALID"];
            for (index, answer) in answers.iter().enumerate() {
                assert!(known.contains(&answer.as_str()), "call {index} with {sql:?}: {answer}");
            }
        }
        let line = &site.register(&session).await.lines[0];
        assert!(line.amendments.iter().any(|amendment| amendment.reason == "'; drop table attendance_event; --"));
    }
}
