//! The timetable: periods, and the sessions that they make of the site's days.
//!
//! A session is a period on a day. Its instants follow from the site's time zone, so that a session on a day with a
//! clock change begins when the clocks on the wall say so. A session that runs over midnight belongs to the day on
//! which it begins.
//!
//! Promises: a session ends after it begins, whatever the clocks do; every session has one name, and every name is
//! read in one spelling.
//!
//! Not here: who is expected and what became of them (`register.rs`), and what is stored (`store/`).

use std::fmt;
use std::time::Duration;

use jiff::ToSpan as _;
use rollcall_core::{
    BadName, GroupId, Hours, PeriodId, SiteDay, SiteTime, SiteZone, TerminalId, UtcInstant, Weekdays, limits,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A recurring entry of the timetable. Only its last day ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its id.
    pub id: PeriodId,
    /// "Morning registration", 1 to [`limits::PERIOD_NAME_CHARS`] characters.
    pub display_name: String,
    /// Who is expected.
    pub group: GroupId,
    /// On which days.
    pub weekdays: Weekdays,
    /// From when to when.
    pub hours: Hours,
    /// How long before the start somebody who comes is counted to it.
    pub early_minutes: u32,
    /// From how long after the start somebody is late.
    pub late_after_minutes: u32,
    /// From how long after the start it is too late to be late; 0: at the end.
    pub closes_after_minutes: u32,
    /// Who leaves more than this before the end leaves early; 0: not judged.
    pub leave_early_minutes: u32,
    /// The first day that may have a session.
    pub first_day: SiteDay,
    /// The last; `None`: there is none.
    pub last_day: Option<SiteDay>,
    /// Terminals that count; empty: all.
    pub terminals: Vec<TerminalId>,
}

/// Why a period cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct BadPeriod {
    /// The field, as the contract calls it.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl Period {
    /// Whether its fields go together.
    ///
    /// # Errors
    /// Names the first field that does not.
    pub fn check(&self) -> Result<(), BadPeriod> {
        let bad = |field, problem: String| Err(BadPeriod { field, problem });
        let chars = self.display_name.chars().count();
        if !(1..=limits::PERIOD_NAME_CHARS).contains(&chars) {
            let max = limits::PERIOD_NAME_CHARS;
            return bad("display_name", format!("has {chars} characters; give 1 to {max}"));
        }
        let length = u32::try_from(self.hours.length().as_secs() / 60).unwrap_or(u32::MAX);
        if self.early_minutes > limits::SESSION_EARLY_MINUTES {
            let (given, max) = (self.early_minutes, limits::SESSION_EARLY_MINUTES);
            return bad("early_minutes", format!("is {given}; give 0 to {max}"));
        }
        let within = [
            ("late_after_minutes", self.late_after_minutes),
            ("closes_after_minutes", self.closes_after_minutes),
            ("leave_early_minutes", self.leave_early_minutes),
        ];
        if let Some((field, given)) = within.into_iter().find(|(_, minutes)| *minutes > length) {
            return bad(field, format!("is {given}, longer than the session; give 0 to {length}"));
        }
        if self.closes_after_minutes != 0 && self.closes_after_minutes < self.late_after_minutes {
            let late = self.late_after_minutes;
            return bad(
                "closes_after_minutes",
                format!("is before late_after_minutes; give 0, or {late} or more"),
            );
        }
        if self.last_day.is_some_and(|last| last < self.first_day) {
            return bad("end_date", "is before start_date; give a later day, or none".to_owned());
        }
        if self.terminals.len() > limits::PERIOD_TERMINALS {
            let (given, max) = (self.terminals.len(), limits::PERIOD_TERMINALS);
            return bad("terminals", format!("has {given}; give at most {max}, or none for all"));
        }
        Ok(())
    }

    /// Whether the timetable has it on `day`.
    pub fn is_on(&self, day: SiteDay) -> bool {
        self.weekdays.has(day) && day >= self.first_day && self.last_day.is_none_or(|last| day <= last)
    }

    /// Its session on `day`; `None` when it is not on.
    pub fn session(&self, day: SiteDay, change: Option<&Override>, zone: &SiteZone) -> Option<Session> {
        if !self.is_on(day) {
            return None;
        }
        let hours = match change {
            Some(Override::Moved(hours)) => *hours,
            _ => self.hours,
        };
        let end_day = if hours.ends_next_day() { day.checked_add(1.day()).ok()? } else { day };
        let start = zone.instant(day, hours.start);
        // Where the clocks skip the start but not the end, the start comes later than the clock on the wall has it.
        let end = zone.instant(end_day, hours.end);
        let end = if end > start { end } else { start.after(hours.length()) };
        let after_start = |minutes: u32| start.after(MINUTE * minutes).min(end);
        let close = if self.closes_after_minutes == 0 { end } else { after_start(self.closes_after_minutes) };
        let judged = self.leave_early_minutes != 0;
        Some(Session {
            name: SessionName { period: self.id, day },
            display_name: self.display_name.clone(),
            group: self.group,
            open: start.before(MINUTE * self.early_minutes),
            start,
            late: after_start(self.late_after_minutes).min(close),
            close,
            leave: judged.then(|| end.before(MINUTE * self.leave_early_minutes).max(start)),
            end,
            half: if hours.start < SiteTime::constant(12, 0, 0, 0) { Half::Morning } else { Half::Afternoon },
            cancelled: matches!(change, Some(Override::Cancelled)),
            overridden: change.is_some(),
            terminals: self.terminals.clone(),
        })
    }
}

/// What an operator has decided for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// It does not take place.
    Cancelled,
    /// It takes place at other times of its day.
    Moved(Hours),
}

/// Which half of the day a session is in, by its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Before 12:00 on the site's clocks.
    Morning,
    /// At or after 12:00.
    Afternoon,
}

/// A period on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Period and day.
    pub name: SessionName,
    /// The period's.
    pub display_name: String,
    /// Who is expected.
    pub group: GroupId,
    /// From here on who comes is counted to it.
    pub open: UtcInstant,
    /// When it starts.
    pub start: UtcInstant,
    /// From here on who comes is late.
    pub late: UtcInstant,
    /// From here on it is too late to be late.
    pub close: UtcInstant,
    /// Who leaves before this, and does not come back, leaves early. `None`: not judged.
    pub leave: Option<UtcInstant>,
    /// When it ends; what happens from here on is not its.
    pub end: UtcInstant,
    /// Which half of the day.
    pub half: Half,
    /// It does not take place.
    pub cancelled: bool,
    /// An operator has changed it.
    pub overridden: bool,
    /// Terminals that count; empty: all.
    pub terminals: Vec<TerminalId>,
}

impl Session {
    /// Whether what this terminal reports counts.
    pub fn counts(&self, terminal: TerminalId) -> bool {
        self.terminals.is_empty() || self.terminals.contains(&terminal)
    }
}

/// Which session: `periods/ID/sessions/YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionName {
    /// The entry of the timetable.
    pub period: PeriodId,
    /// The day on which it starts.
    pub day: SiteDay,
}

impl SessionName {
    /// The session of this name.
    ///
    /// # Errors
    /// When it is no name of a session, or not as this program writes it.
    pub fn from_name(name: &str) -> Result<Self, BadName> {
        let bad = || BadName { collection: "periods/ID/sessions", given: name.chars().take(80).collect() };
        let (period, day) = name.split_once("/sessions/").ok_or_else(bad)?;
        let period = PeriodId::from_name(period).map_err(|_| bad())?;
        Ok(Self { period, day: day_from_text(day).ok_or_else(bad)? })
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/sessions/{}", self.period.name(), self.day)
    }
}

/// The day that is written YYYY-MM-DD, and in no other way.
pub(crate) fn day_from_text(text: &str) -> Option<SiteDay> {
    text.parse::<SiteDay>().ok().filter(|day| day.year() >= 1 && day.to_string() == text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::civil::{date, time};
    use proptest::prelude::*;

    use super::*;

    fn period(start: SiteTime, end: SiteTime) -> Period {
        Period {
            id: PeriodId::from_bytes([1; 16]),
            display_name: "Morning registration".into(),
            group: GroupId::from_bytes([2; 16]),
            weekdays: Weekdays::from_iso(&[1, 2, 3, 4, 5, 6, 7]).unwrap(),
            hours: Hours { start, end },
            early_minutes: 30,
            late_after_minutes: 0,
            closes_after_minutes: 0,
            leave_early_minutes: 0,
            first_day: date(2020, 1, 1),
            last_day: None,
            terminals: Vec::new(),
        }
    }

    fn zone(name: &str) -> SiteZone {
        SiteZone::named(name).unwrap()
    }

    fn utc(text: &str) -> UtcInstant {
        UtcInstant::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    /// Zone, day, from, to on the wall; from, to in UTC.
    type Case = (&'static str, SiteDay, (i8, i8), (i8, i8), &'static str, &'static str);

    #[rustfmt::skip]
    const CASES: &[Case] = &[
        // London, a leap year: winter, leap day, and the days before, of and after both changes.
        ("Europe/London", date(2024, 2, 29), (8, 45), (9, 15), "2024-02-29T08:45:00Z", "2024-02-29T09:15:00Z"),
        ("Europe/London", date(2024, 2, 29), (22, 0), (6, 0), "2024-02-29T22:00:00Z", "2024-03-01T06:00:00Z"),
        ("Europe/London", date(2024, 3, 30), (8, 45), (9, 15), "2024-03-30T08:45:00Z", "2024-03-30T09:15:00Z"),
        ("Europe/London", date(2024, 3, 31), (8, 45), (9, 15), "2024-03-31T07:45:00Z", "2024-03-31T08:15:00Z"),
        ("Europe/London", date(2024, 3, 30), (22, 0), (6, 0), "2024-03-30T22:00:00Z", "2024-03-31T05:00:00Z"),
        ("Europe/London", date(2024, 10, 26), (22, 0), (6, 0), "2024-10-26T21:00:00Z", "2024-10-27T06:00:00Z"),
        ("Europe/London", date(2024, 10, 27), (8, 45), (9, 15), "2024-10-27T08:45:00Z", "2024-10-27T09:15:00Z"),
        // Wholly, or with its start or end, in the hour that the clocks skip.
        ("Europe/London", date(2024, 3, 31), (1, 15), (1, 45), "2024-03-31T01:15:00Z", "2024-03-31T01:45:00Z"),
        ("Europe/London", date(2024, 3, 31), (1, 30), (2, 15), "2024-03-31T01:30:00Z", "2024-03-31T02:15:00Z"),
        ("Europe/London", date(2024, 3, 31), (0, 30), (1, 30), "2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z"),
        // In the hour that the clocks show twice: the first time.
        ("Europe/London", date(2024, 10, 27), (1, 0), (1, 30), "2024-10-27T00:00:00Z", "2024-10-27T00:30:00Z"),
        ("Europe/London", date(2024, 10, 27), (1, 30), (2, 30), "2024-10-27T00:30:00Z", "2024-10-27T02:30:00Z"),
        // The year after next, with changes on other days.
        ("Europe/London", date(2026, 3, 29), (8, 45), (9, 15), "2026-03-29T07:45:00Z", "2026-03-29T08:15:00Z"),
        ("Europe/London", date(2026, 3, 28), (20, 0), (4, 0), "2026-03-28T20:00:00Z", "2026-03-29T03:00:00Z"),
        ("Europe/London", date(2026, 10, 25), (8, 45), (9, 15), "2026-10-25T08:45:00Z", "2026-10-25T09:15:00Z"),
        ("Europe/London", date(2026, 10, 24), (20, 0), (4, 0), "2026-10-24T19:00:00Z", "2026-10-25T04:00:00Z"),
        ("Europe/London", date(2026, 12, 31), (23, 30), (0, 30), "2026-12-31T23:30:00Z", "2027-01-01T00:30:00Z"),
        // Clocks that change by half an hour, at the other end of the year.
        ("Australia/Lord_Howe", date(2024, 2, 29), (8, 45), (9, 15), "2024-02-28T21:45:00Z", "2024-02-28T22:15:00Z"),
        ("Australia/Lord_Howe", date(2024, 4, 6), (22, 0), (6, 0), "2024-04-06T11:00:00Z", "2024-04-06T19:30:00Z"),
        ("Australia/Lord_Howe", date(2024, 4, 7), (8, 45), (9, 15), "2024-04-06T22:15:00Z", "2024-04-06T22:45:00Z"),
        ("Australia/Lord_Howe", date(2024, 10, 5), (22, 0), (6, 0), "2024-10-05T11:30:00Z", "2024-10-05T19:00:00Z"),
        ("Australia/Lord_Howe", date(2026, 10, 4), (2, 10), (2, 20), "2026-10-03T15:40:00Z", "2026-10-03T15:50:00Z"),
        ("Australia/Lord_Howe", date(2026, 4, 5), (1, 40), (2, 10), "2026-04-04T14:40:00Z", "2026-04-04T15:40:00Z"),
        // No changes at all.
        ("Asia/Ho_Chi_Minh", date(2024, 2, 29), (7, 0), (11, 30), "2024-02-29T00:00:00Z", "2024-02-29T04:30:00Z"),
        ("Asia/Ho_Chi_Minh", date(2026, 3, 29), (22, 0), (6, 0), "2026-03-29T15:00:00Z", "2026-03-29T23:00:00Z"),
        ("Asia/Ho_Chi_Minh", date(2026, 10, 25), (0, 0), (0, 0), "2026-10-24T17:00:00Z", "2026-10-25T17:00:00Z"),
    ];

    #[test]
    fn f052_sessions_are_where_the_clocks_of_the_site_have_them() {
        for (name, day, start, end, from, to) in CASES {
            let period = period(time(start.0, start.1, 0, 0), time(end.0, end.1, 0, 0));
            let session = period.session(*day, None, &zone(name)).unwrap();
            assert_eq!((session.start, session.end), (utc(from), utc(to)), "{name} {day} {start:?}");
            assert_eq!(session.name.day, *day);
        }
    }

    #[test]
    fn f052_every_day_of_a_common_and_a_leap_year_has_its_session_in_order_and_on_its_day() {
        for name in ["Europe/London", "Asia/Ho_Chi_Minh", "Australia/Lord_Howe", "America/New_York"] {
            let zone = zone(name);
            for (year, days) in [(2024, 366), (2026, 365)] {
                let period = period(time(8, 45, 0, 0), time(15, 15, 0, 0));
                let from = date(year, 1, 1);
                let sessions: Vec<Session> = from
                    .series(1.day())
                    .take_while(|day| day.year() == year)
                    .filter_map(|day| period.session(day, None, &zone))
                    .collect();
                assert_eq!(sessions.len(), days, "{name} {year}");
                assert!(sessions.is_sorted_by(|a, b| a.end < b.start), "{name} {year}");
                for session in &sessions {
                    assert_eq!(zone.day(session.start), session.name.day);
                    assert_eq!(zone.time(session.start), time(8, 45, 0, 0));
                    assert_eq!(zone.time(session.end), time(15, 15, 0, 0));
                    assert_eq!(session.end.since(session.start), Duration::from_secs(390 * 60));
                }
            }
        }
    }

    #[test]
    fn f052_another_zone_moves_instants_and_no_names() {
        let period = period(time(8, 45, 0, 0), time(9, 15, 0, 0));
        let here = period.session(date(2026, 6, 1), None, &zone("Europe/London")).unwrap();
        let there = period.session(date(2026, 6, 1), None, &zone("Asia/Ho_Chi_Minh")).unwrap();
        assert_eq!(here.name, there.name);
        assert_eq!(here.start.since(there.start), Duration::from_secs(6 * 3_600));
    }

    #[test]
    fn a_session_has_its_instants_from_its_minutes() {
        let mut period = period(time(8, 45, 0, 0), time(12, 0, 0, 0));
        (period.late_after_minutes, period.closes_after_minutes, period.leave_early_minutes) = (5, 30, 10);
        let session = period.session(date(2026, 11, 24), None, &SiteZone::utc()).unwrap();
        assert_eq!(session.open, utc("2026-11-24T08:15:00Z"));
        assert_eq!(session.late, utc("2026-11-24T08:50:00Z"));
        assert_eq!(session.close, utc("2026-11-24T09:15:00Z"));
        assert_eq!(session.leave, Some(utc("2026-11-24T11:50:00Z")));
        assert_eq!(session.half, Half::Morning);
        period.closes_after_minutes = 0;
        period.leave_early_minutes = 0;
        let session = period.session(date(2026, 11, 24), None, &SiteZone::utc()).unwrap();
        assert_eq!((session.close, session.leave), (session.end, None));
    }

    #[test]
    fn a_moved_session_keeps_its_name_and_a_cancelled_one_its_times() {
        let period = period(time(8, 45, 0, 0), time(12, 0, 0, 0));
        let day = date(2026, 11, 24);
        let hours = Hours { start: time(13, 0, 0, 0), end: time(14, 0, 0, 0) };
        let moved = period.session(day, Some(&Override::Moved(hours)), &SiteZone::utc()).unwrap();
        assert_eq!((moved.start, moved.end), (utc("2026-11-24T13:00:00Z"), utc("2026-11-24T14:00:00Z")));
        assert_eq!((moved.half, moved.overridden, moved.cancelled), (Half::Afternoon, true, false));
        let cancelled = period.session(day, Some(&Override::Cancelled), &SiteZone::utc()).unwrap();
        assert_eq!(cancelled.start, utc("2026-11-24T08:45:00Z"));
        assert!(cancelled.cancelled && cancelled.overridden);
    }

    #[test]
    fn a_period_is_on_its_weekdays_from_its_first_to_its_last_day() {
        let mut period = period(time(8, 45, 0, 0), time(12, 0, 0, 0));
        period.weekdays = Weekdays::from_iso(&[1, 5]).unwrap();
        (period.first_day, period.last_day) = (date(2024, 2, 26), Some(date(2024, 3, 4)));
        let on: Vec<SiteDay> =
            date(2024, 2, 1).series(1.day()).take(60).filter(|day| period.is_on(*day)).collect();
        assert_eq!(on, [date(2024, 2, 26), date(2024, 3, 1), date(2024, 3, 4)]);
    }

    type Spoil = fn(&mut Period);

    #[test]
    fn fields_that_do_not_go_together_are_refused_by_name() {
        let good = period(time(8, 45, 0, 0), time(9, 15, 0, 0));
        assert_eq!(good.check(), Ok(()));
        let cases: &[(&str, Spoil)] = &[
            ("display_name", |period| period.display_name.clear()),
            ("display_name", |period| period.display_name = "漢".repeat(101)),
            ("early_minutes", |period| period.early_minutes = 721),
            ("late_after_minutes", |period| period.late_after_minutes = 31),
            ("closes_after_minutes", |period| period.closes_after_minutes = u32::MAX),
            ("closes_after_minutes", |period| {
                (period.late_after_minutes, period.closes_after_minutes) = (10, 9);
            }),
            ("leave_early_minutes", |period| period.leave_early_minutes = 31),
            ("end_date", |period| period.last_day = Some(date(2019, 12, 31))),
            ("terminals", |period| period.terminals = vec![TerminalId::from_bytes([0; 16]); 101]),
        ];
        for (field, spoil) in cases {
            let mut period = good.clone();
            spoil(&mut period);
            assert_eq!(period.check().unwrap_err().field, *field);
        }
    }

    #[test]
    fn a_session_has_one_name() {
        let name = SessionName { period: PeriodId::generate(), day: date(2024, 2, 29) };
        assert_eq!(SessionName::from_name(&name.to_string()), Ok(name));
        let period = name.period.name();
        for wrong in [
            format!("{period}/sessions/2023-02-29"),
            format!("{period}/sessions/20240229"),
            format!("{period}/sessions/2024-2-29"),
            format!("{period}/sessions/+002024-02-29"),
            format!("{period}/sessions/-000001-02-28"),
            format!("{period}/sessions/2024-02-29/"),
            format!("{period}/sessions/"),
            format!("{period}/2024-02-29"),
            "' or 1=1 --/sessions/2024-02-29".into(),
            "x".repeat(100_000),
        ] {
            assert!(SessionName::from_name(&wrong).unwrap_err().given.len() <= 80, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_instants_of_a_session_are_in_order(
            zone in prop::sample::select(vec!["Europe/London", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]),
            day in 0_i64..40_000,
            start in 0_i8..24, start_minute in 0_i8..60, end in 0_i8..24, end_minute in 0_i8..60,
            early in 0_u32..=720, minutes in prop::array::uniform3(0_u32..1_440),
        ) {
            let mut period = period(time(start, start_minute, 0, 0), time(end, end_minute, 0, 0));
            period.first_day = SiteDay::MIN;
            [period.late_after_minutes, period.closes_after_minutes, period.leave_early_minutes] = minutes;
            period.early_minutes = early;
            let day = date(1950, 1, 1).checked_add(day.days()).unwrap();
            let session = period.session(day, None, &self::zone(zone)).unwrap();
            prop_assert!(session.open <= session.start && session.start < session.end);
            prop_assert!(session.start <= session.late && session.late <= session.close);
            prop_assert!(session.close <= session.end);
            prop_assert!(session.leave.is_none_or(|leave| (session.start..=session.end).contains(&leave)));
        }
    }
}
