#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rollcall_proto::v1::Direction;

use super::*;

const STAFF: GroupId = GroupId::from_bytes([1; 16]);
const PUPILS: GroupId = GroupId::from_bytes([2; 16]);
const WARDENS: GroupId = GroupId::from_bytes([3; 16]);

fn settings(groups: &[GroupId], access_rules: Vec<AccessRule>) -> Settings {
    Settings {
        display_name: "Gate A".into(),
        direction: Direction::In,
        groups: groups.to_vec(),
        fpir_target: 0.001,
        keep_pictures: false,
        access_rules,
        without_clock: WithoutClock::Allow,
    }
}

fn time(text: &str) -> SiteTime {
    text.parse().unwrap()
}

fn rule(groups: &[GroupId], weekdays: &[i32], start: &str, end: &str) -> AccessRule {
    AccessRule {
        groups: groups.to_vec(),
        weekdays: Weekdays::from_iso(weekdays).unwrap(),
        hours: Hours { start: time(start), end: time(end) },
        on_holidays: false,
    }
}

/// 2026-11-24 is a Tuesday.
fn moment(day: &str, at: &str) -> Moment {
    Moment { day: day.parse().unwrap(), time: time(at), is_holiday: false, follows_holiday: false }
}

fn open() -> Lockdown {
    Lockdown::default()
}

fn locked(exempt: &[GroupId]) -> Lockdown {
    Lockdown { is_on: true, exempt: exempt.to_vec(), ..Lockdown::default() }
}

#[test]
fn without_rules_and_groups_everybody_passes_at_any_time() {
    let settings = settings(&[], vec![]);
    for moment in [Some(moment("2026-11-24", "03:00")), None] {
        assert_eq!(decide(&settings, &open(), &[], moment.as_ref()), Ok(()));
    }
}

#[test]
fn groups_of_the_door_and_of_the_rules_say_who_and_hours_say_when() {
    use Refusal::{NotAllowedHere, NotNow};
    let here = settings(
        &[STAFF, PUPILS],
        vec![rule(&[], &[1, 2, 3, 4, 5], "08:00", "16:00"), rule(&[STAFF], &[2], "16:00", "22:00")],
    );
    let morning = moment("2026-11-24", "08:00");
    let evening = moment("2026-11-24", "21:59:59");
    for (person, moment, expected) in [
        (&[STAFF][..], morning, Ok(())),
        (&[PUPILS], morning, Ok(())),
        (&[PUPILS], evening, Err(NotNow)),
        (&[WARDENS, STAFF], evening, Ok(())),
        (&[WARDENS], morning, Err(NotAllowedHere)),
        (&[], morning, Err(NotAllowedHere)),
    ] {
        assert_eq!(decide(&here, &open(), person, Some(&moment)), expected, "{person:?} {moment:?}");
    }
    let staff_alone = settings(&[], vec![rule(&[STAFF], &[2], "08:00", "16:00")]);
    assert_eq!(decide(&staff_alone, &open(), &[PUPILS], Some(&morning)), Err(NotAllowedHere));
    assert_eq!(decide(&staff_alone, &open(), &[STAFF], Some(&evening)), Err(NotNow));
}

#[test]
fn a_rule_holds_from_its_start_to_just_before_its_end_and_over_midnight() {
    for (weekdays, start, end, day, at, holds) in [
        (&[2][..], "08:00", "16:00", "2026-11-24", "07:59:59", false),
        (&[2], "08:00", "16:00", "2026-11-24", "08:00", true),
        (&[2], "08:00", "16:00", "2026-11-24", "15:59:59", true),
        (&[2], "08:00", "16:00", "2026-11-24", "16:00", false),
        (&[2], "08:00", "16:00", "2026-11-25", "12:00", false),
        // Over midnight it belongs to the day on which it begins.
        (&[2], "22:00", "06:00", "2026-11-24", "05:59", false),
        (&[2], "22:00", "06:00", "2026-11-24", "22:00", true),
        (&[2], "22:00", "06:00", "2026-11-25", "05:59:59", true),
        (&[2], "22:00", "06:00", "2026-11-25", "06:00", false),
        (&[2], "22:00", "06:00", "2026-11-25", "22:00", false),
        (&[7], "22:00", "06:00", "2026-11-23", "01:00", true),
        // To midnight, and the whole day.
        (&[2], "20:00", "00:00", "2026-11-24", "23:59:59", true),
        (&[2], "20:00", "00:00", "2026-11-25", "00:00", false),
        (&[2], "00:00", "00:00", "2026-11-24", "00:00", true),
        (&[2], "00:00", "00:00", "2026-11-25", "00:00", false),
        (&[2], "09:00", "09:00", "2026-11-25", "08:59", true),
    ] {
        let rule = rule(&[], weekdays, start, end);
        assert_eq!(rule.holds(&moment(day, at)), holds, "{start}-{end} on {day} at {at}");
    }
}

#[test]
fn on_holidays_only_rules_that_say_so_begin_to_hold() {
    let night = rule(&[], &[2], "22:00", "06:00");
    let always = AccessRule { on_holidays: true, ..night.clone() };
    let evening = Moment { is_holiday: true, ..moment("2026-11-24", "23:00") };
    let after = Moment { follows_holiday: true, ..moment("2026-11-25", "05:00") };
    let before = Moment { is_holiday: true, ..moment("2026-11-25", "05:00") };
    for (moment, holds) in [(evening, false), (after, false), (before, true)] {
        assert_eq!(night.holds(&moment), holds, "{moment:?}");
        assert!(always.holds(&moment), "{moment:?}");
    }
}

#[test]
fn f052_on_the_days_of_a_clock_change_the_clock_on_the_wall_counts() {
    let london = SiteZone::named("Europe/London").unwrap();
    let holds = |rule: &AccessRule, utc_s: i64| {
        rule.holds(&Moment::new(&london, UtcInstant::from_micros(utc_s * 1_000_000), false, false))
    };
    // 2026-03-29, a Sunday: 01:00 becomes 02:00. 2026-10-25, a Sunday: 02:00 becomes 01:00.
    let (spring, autumn) = (1_774_742_400, 1_792_886_400);
    let hour = rule(&[], &[7], "01:15", "01:45");
    assert!((0..24 * 4).all(|quarter| !holds(&hour, spring + quarter * 900)), "01:15 never comes");
    let times: Vec<i64> = (-4..24 * 4).filter(|quarter| holds(&hour, autumn + quarter * 900)).collect();
    assert_eq!(times, [1, 2, 5, 6], "01:15 and 01:30 come twice");
    let morning = rule(&[], &[7], "08:00", "09:00");
    assert!(holds(&morning, spring + 7 * 3_600) && !holds(&morning, spring + 8 * 3_600));
    assert!(holds(&morning, autumn + 8 * 3_600) && !holds(&morning, autumn + 7 * 3_600));
}

#[test]
fn a_lockdown_refuses_all_but_the_exempt_and_gives_those_nothing() {
    use Refusal::{LockedDown, NotAllowedHere, NotNow};
    let free = settings(&[], vec![]);
    let noon = moment("2026-11-24", "12:00");
    for (exempt, person, expected) in [
        (&[][..], &[STAFF][..], Err(LockedDown)),
        (&[], &[], Err(LockedDown)),
        (&[WARDENS], &[STAFF, WARDENS], Ok(())),
        (&[WARDENS], &[STAFF], Err(LockedDown)),
    ] {
        assert_eq!(decide(&free, &locked(exempt), person, Some(&noon)), expected);
        assert_eq!(decide(&free, &locked(exempt), person, None), expected);
    }
    let staff = settings(&[STAFF], vec![rule(&[], &[1], "08:00", "16:00")]);
    assert_eq!(decide(&staff, &locked(&[WARDENS]), &[WARDENS], Some(&noon)), Err(NotAllowedHere));
    assert_eq!(decide(&staff, &locked(&[WARDENS]), &[WARDENS, STAFF], Some(&noon)), Err(NotNow));
}

#[test]
fn f047_without_a_clock_rules_fail_to_what_the_door_is_set_to() {
    let daily = rule(&[STAFF], &[1, 2, 3, 4, 5, 6, 7], "00:00", "00:00");
    let timeless = AccessRule { on_holidays: true, ..daily.clone() };
    let rules = |rule: &AccessRule| vec![rule.clone(), self::rule(&[PUPILS], &[1], "08:00", "09:00")];
    for (without_clock, one, person, expected) in [
        (WithoutClock::Allow, &daily, STAFF, Ok(())),
        (WithoutClock::Allow, &daily, PUPILS, Ok(())),
        (WithoutClock::Allow, &daily, WARDENS, Err(Refusal::NotAllowedHere)),
        (WithoutClock::Refuse, &daily, STAFF, Err(Refusal::NotNow)),
        (WithoutClock::Refuse, &timeless, STAFF, Ok(())),
        (WithoutClock::Refuse, &timeless, PUPILS, Err(Refusal::NotNow)),
    ] {
        let settings = Settings { without_clock, ..settings(&[], rules(one)) };
        assert_eq!(decide(&settings, &open(), &[person], None), expected, "{without_clock:?}");
    }
}

fn groups() -> impl Strategy<Value = Vec<GroupId>> {
    proptest::sample::subsequence(vec![STAFF, PUPILS, WARDENS], 0..=3)
}

prop_compose! {
    fn rules()(groups in groups(), days in 1_i64..128, start in 0_i64..86_400, end in 0_i64..86_400,
        on_holidays in any::<bool>()) -> AccessRule {
        let weekdays = Weekdays::from_bits(days).unwrap();
        AccessRule { groups, weekdays, hours: Hours::from_seconds(start, end).unwrap(), on_holidays }
    }
}

prop_compose! {
    fn moments()(days in 0_i64..800, second in 0_i64..86_400, is_holiday in any::<bool>(),
        follows_holiday in any::<bool>()) -> Moment {
        let utc = UtcInstant::from_micros((1_700_000_000 + days * 86_400 + second) * 1_000_000);
        Moment::new(&SiteZone::utc(), utc, is_holiday, follows_holiday)
    }
}

proptest! {
    #[test]
    fn what_takes_away_never_gives(
        door in groups(), mine in groups(), exempt in groups(), rules in proptest::collection::vec(rules(), 0..4),
        moment in proptest::option::of(moments()), refuse in any::<bool>(),
    ) {
        let without_clock = if refuse { WithoutClock::Refuse } else { WithoutClock::Allow };
        let settings = Settings { without_clock, ..settings(&door, rules) };
        let free = decide(&settings, &open(), &mine, moment.as_ref());
        let shut = decide(&settings, &locked(&exempt), &mine, moment.as_ref());
        prop_assert!(free != Err(Refusal::LockedDown));
        prop_assert!(shut == free || shut == Err(Refusal::LockedDown));
        let ungated = Settings { access_rules: Vec::new(), ..settings.clone() };
        if free.is_ok() {
            prop_assert_eq!(decide(&ungated, &open(), &mine, moment.as_ref()), Ok(()));
        }
        let strict = Settings { without_clock: WithoutClock::Refuse, ..settings };
        if decide(&strict, &open(), &mine, None).is_ok() {
            prop_assert_eq!(free, Ok(()), "what needs no clock passes at any time");
        }
    }

    #[test]
    fn a_rule_of_all_days_and_its_complement_hold_at_any_time_one_of_them(
        start in 0_i64..86_400, end in 0_i64..86_400, moment in moments(),
    ) {
        prop_assume!(start != end);
        let rule = |start, end| AccessRule {
            groups: Vec::new(),
            weekdays: Weekdays::ALL,
            hours: Hours::from_seconds(start, end).unwrap(),
            on_holidays: true,
        };
        prop_assert_ne!(rule(start, end).holds(&moment), rule(end, start).holds(&moment));
        prop_assert!(rule(start, start).holds(&moment));
    }
}
