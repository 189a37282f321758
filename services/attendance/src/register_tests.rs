//! The rules of registers: tables of cases, and what must hold for all of them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::civil::{date, time};
use proptest::prelude::*;
use rollcall_core::{GroupId, Hours, PeriodId, SiteZone, Weekdays};

use super::*;
use crate::timetable::{Override, Period};

const DOOR: TerminalId = TerminalId::from_bytes([1; 16]);
const OTHER: TerminalId = TerminalId::from_bytes([2; 16]);

/// 08:45 to 12:00, counted from 08:15, late from 08:50, too late from 09:15, early before 11:50.
fn period() -> Period {
    Period {
        id: PeriodId::from_bytes([1; 16]),
        display_name: "Morning".into(),
        group: GroupId::from_bytes([2; 16]),
        weekdays: Weekdays::from_iso(&[1, 2, 3, 4, 5, 6, 7]).unwrap(),
        hours: Hours { start: time(8, 45, 0, 0), end: time(12, 0, 0, 0) },
        early_minutes: 30,
        late_after_minutes: 5,
        closes_after_minutes: 30,
        leave_early_minutes: 10,
        first_day: date(2026, 1, 1),
        last_day: None,
        terminals: Vec::new(),
    }
}

fn session_of(period: &Period) -> Session {
    period.session(date(2026, 11, 24), None, &SiteZone::utc()).unwrap()
}

fn session() -> Session {
    session_of(&period())
}

/// A time of that day, "08:45" or "08:45:05".
fn at(text: &str) -> UtcInstant {
    let parts: Vec<i8> = text.split(':').map(|part| part.parse().unwrap()).collect();
    let second = parts.get(2).copied().unwrap_or(0);
    SiteZone::utc().instant(date(2026, 11, 24), time(parts[0], parts[1], second, 0))
}

/// Passages from "in 08:40, out 09:10:05", all at one door.
fn passages(text: &str) -> Vec<Passage> {
    let one = |(number, part): (usize, &str)| {
        let (way, time) = part.trim().split_once(' ').unwrap();
        let direction = if way == "in" { Direction::In } else { Direction::Out };
        let number = u8::try_from(number).unwrap();
        let event = EventId::from_bytes([number; 16]);
        Passage { time: at(time), event, position: i64::from(number) + 1, terminal: Some(DOOR), direction }
    };
    text.split(',').filter(|part| !part.trim().is_empty()).enumerate().map(one).collect()
}

fn known(until: &str) -> Known {
    Known { until: at(until), waiting_for: Vec::new() }
}

#[test]
fn marks_follow_from_passages() {
    #[rustfmt::skip]
    let cases = [
        // passages, known until, plain, DfE
        ("", "08:00", "unknown", "?"),
        ("", "09:14:59", "unknown", "?"),
        ("", "09:15", "absent", "N"),
        ("", "12:00", "absent", "N"),
        ("in 08:44", "12:00", "present", "/"),
        ("in 08:15", "12:00", "present", "/"),
        ("in 08:14:59", "12:00", "absent", "N"),
        ("in 08:45", "12:00", "present", "/"),
        ("in 08:49:59", "12:00", "present", "/"),
        ("in 08:50", "12:00", "late", "L"),
        ("in 09:14:59", "12:00", "late", "L"),
        ("in 09:15", "12:00", "absent", "U"),
        ("in 11:59:59", "12:00", "absent", "U"),
        ("in 12:00", "12:00", "absent", "N"),
        // In and out: first in, last out.
        ("in 08:40, out 12:00", "12:00", "present", "/"),
        ("in 08:40, out 11:50", "12:00", "present", "/"),
        ("in 08:40, out 11:49:59", "12:00", "left_early", "/"),
        ("in 08:40, out 10:00", "11:00", "present", "/"),
        ("in 08:40, out 10:00, in 10:20", "12:00", "present", "/"),
        ("in 08:40, out 10:00, in 10:20, out 11:00", "12:00", "left_early", "/"),
        ("in 09:00, out 11:00", "12:00", "late", "L"),
        // Gone before it began.
        ("in 08:30, out 08:40", "12:00", "absent", "N"),
        ("in 08:30, out 08:40, in 08:48", "12:00", "present", "/"),
        ("in 08:30, out 08:40, in 09:00", "12:00", "late", "L"),
        // Only seen to go.
        ("out 10:00", "12:00", "absent", "N"),
        // Two doors, one pupil, five seconds.
        ("in 08:40, in 08:40:05", "12:00", "present", "/"),
        ("in 08:40, out 08:40:05", "12:00", "present", "/"),
        ("in 08:50:00, out 08:50:10", "12:00", "late", "L"),
    ];
    for (text, until, plain, dfe) in cases {
        for (set, code) in [(CodeSet::Plain, plain), (CodeSet::Dfe, dfe)] {
            let proposal = propose(&session(), set, &passages(text), &known(until));
            assert_eq!(proposal.mark.code.code, code, "{text} known until {until}");
            assert_eq!(proposal.mark.provisional, until != "12:00", "{text} known until {until}");
        }
    }
}

#[test]
fn the_times_are_those_of_the_first_arrival_and_the_last_departure() {
    #[rustfmt::skip]
    let cases = [
        ("in 08:40, in 08:41, in 10:00", Some("08:40"), None),
        ("in 08:40, out 10:00, in 10:20, out 11:55", Some("08:40"), Some("11:55")),
        ("in 08:40, out 10:00, in 10:20", Some("08:40"), None),
        ("in 08:30, out 08:40, in 09:00", Some("09:00"), None),
        ("in 08:40, out 08:40:05", Some("08:40"), None),
        ("out 10:00", None, Some("10:00")),
        ("", None, None),
    ];
    for (text, arrive, leave) in cases {
        let visit = propose(&session(), CodeSet::Plain, &passages(text), &known("12:00")).visit;
        assert_eq!((visit.arrive, visit.leave), (arrive.map(at), leave.map(at)), "{text}");
    }
}

#[test]
fn leaving_is_judged_only_where_the_timetable_says_so() {
    let period = Period { leave_early_minutes: 0, ..period() };
    let proposal =
        propose(&session_of(&period), CodeSet::Plain, &passages("in 08:40, out 09:00"), &known("12:00"));
    assert_eq!(proposal.mark.code.code, "present");
    assert_eq!(proposal.visit.leave, Some(at("09:00")));
}

#[test]
fn a_human_who_saw_somebody_go_is_believed_at_once() {
    let mut seen = passages("in 08:40, out 08:40:05");
    seen[1].terminal = None;
    let proposal = propose(&session(), CodeSet::Plain, &seen, &known("12:00"));
    assert_eq!(proposal.mark.code.code, "absent");
}

#[test]
fn only_terminals_that_count_are_counted_and_what_humans_saw_counts_always() {
    let session = session_of(&Period { terminals: vec![OTHER], ..period() });
    let mut seen = passages("in 08:40");
    assert_eq!(propose(&session, CodeSet::Plain, &seen, &known("12:00")).mark.code.code, "absent");
    seen[0].terminal = None;
    assert_eq!(propose(&session, CodeSet::Plain, &seen, &known("12:00")).mark.code.code, "present");
}

#[test]
fn a_cancelled_session_asks_nobody() {
    let session = period().session(date(2026, 11, 24), Some(&Override::Cancelled), &SiteZone::utc()).unwrap();
    for (set, code) in [(CodeSet::Plain, "not_required"), (CodeSet::Dfe, "#")] {
        let proposal = propose(&session, set, &passages("in 09:30"), &known("08:00"));
        assert_eq!((proposal.mark.code.code, proposal.mark.provisional), (code, false));
    }
}

#[test]
fn a_session_over_midnight_is_one() {
    let hours = Hours { start: time(22, 0, 0, 0), end: time(6, 0, 0, 0) };
    let period = Period { hours, ..period() };
    let session = period.session(date(2026, 11, 23), None, &SiteZone::utc()).unwrap();
    let mut seen = passages("in 00:10, out 05:55");
    seen.push(Passage { time: at("00:00").before(Duration::from_secs(6_900)), ..seen[0] });
    let proposal = propose(&session, CodeSet::Plain, &seen, &known("06:00"));
    assert_eq!(proposal.mark.code.code, "late", "at 22:05 by the passage that comes last in the list");
    assert_eq!(proposal.visit.leave, Some(at("05:55")));
}

#[test]
fn an_afternoon_that_counts_from_the_morning_knows_who_left_at_noon() {
    let hours = Hours { start: time(13, 0, 0, 0), end: time(15, 0, 0, 0) };
    let session = session_of(&Period { hours, early_minutes: 300, ..period() });
    for (text, code) in [
        ("in 08:40", "\\"),
        ("in 08:40, out 12:00", "N"),
        ("in 08:40, out 12:00, in 12:55", "\\"),
        ("in 08:40, out 12:00, in 13:10", "L"),
    ] {
        let proposal = propose(&session, CodeSet::Dfe, &passages(text), &known("15:00"));
        assert_eq!(proposal.mark.code.code, code, "{text}");
    }
}

#[test]
fn what_is_known_is_what_the_slowest_terminal_that_counts_has_reported() {
    let mark = |terminal, reported| Watermark { terminal, reported: at(reported) };
    let both = [mark(DOOR, "12:00"), mark(OTHER, "09:00")];
    let all = Known::of(&session(), &both, at("12:30"));
    assert_eq!(all, Known { until: at("09:00"), waiting_for: vec![OTHER] });
    let one = session_of(&Period { terminals: vec![DOOR], ..period() });
    assert_eq!(Known::of(&one, &both, at("12:30")), Known { until: at("12:00"), waiting_for: vec![] });
    let silent = session_of(&Period { terminals: vec![DOOR, OTHER], ..period() });
    let known = Known::of(&silent, &both[..1], at("12:30"));
    assert!(known.until < at("00:00"));
    assert_eq!(known.waiting_for, [OTHER]);
    let early = Known::of(&session(), &[mark(DOOR, "23:00")], at("09:00"));
    assert_eq!(early.until, at("09:00"), "no terminal has reported what is to come");
}

#[test]
fn nobody_is_absent_while_a_terminal_is_offline() {
    let offline = Watermark { terminal: OTHER, reported: at("08:00") };
    let known = Known::of(&session(), &[offline], at("20:00"));
    let proposal = propose(&session(), CodeSet::Dfe, &[], &known);
    assert_eq!((proposal.mark.code.code, proposal.mark.provisional), ("?", true));
}

fn amendment(number: u8, time: &str, new_code: &str) -> Amendment {
    let (old_code, by) = (String::new(), "accounts/x".into());
    let event = EventId::from_bytes([number; 16]);
    Amendment { event, time: at(time), old_code, new_code: new_code.into(), by }
}

#[test]
fn a_mark_that_a_human_set_stands_above_the_doors() {
    let proposal = propose(&session(), CodeSet::Dfe, &passages("in 08:40"), &known("12:00"));
    let ill = amendment(1, "08:00", "I");
    let trip = amendment(2, "09:00", "V");
    assert_eq!(standing(&proposal, &[]).code.code, "/");
    assert_eq!(standing(&proposal, std::slice::from_ref(&ill)).code.code, "I");
    for order in [[ill.clone(), trip.clone()], [trip, ill]] {
        assert_eq!(standing(&proposal, &order).code.code, "V");
        assert_eq!(in_order(order.to_vec())[1].new_code, "V");
    }
}

fn any_passage() -> impl Strategy<Value = Passage> {
    let window = at("08:00").micros()..at("12:30").micros();
    (window, 0_u8..40, any::<bool>(), 0_u8..4, 1_i64..100).prop_map(
        |(time, event, out, terminal, position)| {
            let terminal = (terminal > 0).then(|| TerminalId::from_bytes([terminal; 16]));
            let direction = if out { Direction::Out } else { Direction::In };
            // Whole seconds, so that some fall together.
            let time = UtcInstant::from_micros(time / 1_000_000 * 1_000_000);
            Passage { time, event: EventId::from_bytes([event; 16]), position, terminal, direction }
        },
    )
}

fn any_known() -> impl Strategy<Value = Known> {
    (at("08:00").micros()..at("13:00").micros())
        .prop_map(|until| Known { until: UtcInstant::from_micros(until), waiting_for: Vec::new() })
}

fn any_set() -> impl Strategy<Value = CodeSet> {
    prop::sample::select(vec![CodeSet::Plain, CodeSet::Dfe])
}

proptest! {
    #[test]
    fn the_order_of_arrival_changes_nothing(
        (given, shuffled) in prop::collection::vec(any_passage(), 0..12)
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        set in any_set(), known in any_known(), repeated in any::<prop::sample::Index>(),
    ) {
        let mut shuffled = shuffled;
        if !given.is_empty() {
            shuffled.push(given[repeated.index(given.len())]);
        }
        let first = propose(&session(), set, &given, &known);
        prop_assert_eq!(first, propose(&session(), set, &shuffled, &known));
        prop_assert_eq!(first, propose(&session(), set, &given, &known));
    }

    #[test]
    fn one_more_arrival_never_makes_somebody_absent(
        given in prop::collection::vec(any_passage(), 0..12),
        more in any_passage(), set in any_set(), known in any_known(),
    ) {
        let before = propose(&session(), set, &given, &known);
        let arrival = Passage { direction: Direction::In, ..more };
        let after = propose(&session(), set, &[&given[..], &[arrival]].concat(), &known);
        if attended(before.mark.code.state) {
            prop_assert!(attended(after.mark.code.state), "{before:?} became {after:?}");
        }
        if let (Some(then), Some(now)) = (before.visit.arrive, after.visit.arrive) {
            prop_assert!(now <= then);
        }
    }

    #[test]
    fn without_a_passage_out_nobody_has_left(
        given in prop::collection::vec(any_passage(), 0..12), set in any_set(), known in any_known(),
    ) {
        let entrances: Vec<Passage> =
            given.into_iter().filter(|passage| passage.direction == Direction::In).collect();
        let proposal = propose(&session(), set, &entrances, &known);
        prop_assert_eq!(proposal.visit.leave, None);
        prop_assert_ne!(proposal.mark.code.state, State::LeftEarly);
    }

    #[test]
    fn knowing_more_never_takes_back_that_somebody_came(
        given in prop::collection::vec(any_passage(), 0..12), set in any_set(), known in any_known(),
    ) {
        let now = propose(&session(), set, &given, &known);
        let later = propose(&session(), set, &given, &Known::all(&session()));
        if attended(now.mark.code.state) {
            prop_assert!(attended(later.mark.code.state));
        }
        prop_assert_ne!(later.mark.code.state, State::NotYetKnown);
        prop_assert!(!later.mark.provisional);
    }

    #[test]
    fn a_closed_register_is_unchanged_by_later_passages(
        given in prop::collection::vec(any_passage(), 0..12),
        late in prop::collection::vec(any_passage(), 0..6),
        set in any_set(), position in 1_i64..100,
    ) {
        let known = Known::all(&session());
        let late = late.into_iter().map(|passage| Passage { position: passage.position + position, ..passage });
        let all: Vec<Passage> = given.iter().copied().chain(late).collect();
        prop_assert_eq!(
            propose(&session(), set, &before_closing(&given, position), &known),
            propose(&session(), set, &before_closing(&all, position), &known),
        );
    }

    #[test]
    fn the_newest_amendment_stands_whatever_the_order(
        numbers in prop::collection::vec((0_u8..20, 0_usize..30), 1..10).prop_flat_map(|list| {
            (Just(list.clone()), Just(list).prop_shuffle())
        }),
    ) {
        let codes = CodeSet::Dfe.all();
        let make = |list: &[(u8, usize)]| -> Vec<Amendment> {
            list.iter().map(|(number, code)| {
                // One event has one code: the lowest of those that the list gives it.
                let code = list.iter().filter(|(n, _)| n == number).map(|(_, c)| *c).min().unwrap_or(*code);
                amendment(*number, &format!("09:{:02}", number / 2), codes[code % codes.len()].code)
            }).collect()
        };
        let proposal = propose(&session(), CodeSet::Dfe, &[], &known("12:00"));
        let (first, second) = (make(&numbers.0), make(&numbers.1));
        prop_assert_eq!(standing(&proposal, &first), standing(&proposal, &second));
        prop_assert_eq!(in_order(first), in_order(second));
    }
}
