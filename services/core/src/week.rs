//! Days of the week, and hours of a day, by the clocks of the site.

use std::time::Duration;

use crate::{SiteDay, SiteTime};

const SECONDS_A_DAY: u32 = 24 * 60 * 60;

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekdays(u8);

impl Weekdays {
    /// Every day.
    pub const ALL: Self = Self(127);

    /// The days with these ISO numbers, 1 Monday to 7 Sunday. `None` when one is out of range, there twice, or when
    /// there is none.
    pub fn from_iso(days: &[i32]) -> Option<Self> {
        let mut bits = 0_u8;
        for day in days {
            let bit =
                u32::try_from(*day).ok().filter(|day| (1..=7).contains(day)).map(|day| 1 << (day - 1))?;
            if bits & bit != 0 {
                return None;
            }
            bits |= bit;
        }
        (bits != 0).then_some(Self(bits))
    }

    /// The day of the week that `day` is.
    pub fn of(day: SiteDay) -> Self {
        Self(1 << day.weekday().to_monday_zero_offset())
    }

    /// The days with these bits, Monday the lowest, as stored.
    pub fn from_bits(bits: i64) -> Option<Self> {
        u8::try_from(bits).ok().filter(|bits| (1..128).contains(bits)).map(Self)
    }

    /// As stored.
    pub const fn bits(self) -> i64 {
        self.0 as i64
    }

    /// The ISO numbers, rising.
    pub fn iso(self) -> Vec<i32> {
        (1..=7).filter(|day| self.0 & (1 << (day - 1)) != 0).collect()
    }

    /// Whether `day` is one of them.
    pub fn has(self, day: SiteDay) -> bool {
        self.0 & Self::of(day).0 != 0
    }
}

/// From when to when on the site's clocks. An end at or before the start is on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// When it starts.
    pub start: SiteTime,
    /// When it ends.
    pub end: SiteTime,
}

impl Hours {
    /// Those with these seconds since midnight, as stored. `None` when one is out of range.
    pub fn from_seconds(start: i64, end: i64) -> Option<Self> {
        Some(Self { start: time_of(start)?, end: time_of(end)? })
    }

    /// Seconds since midnight of start and end, as stored.
    pub fn seconds(self) -> (i64, i64) {
        (i64::from(seconds(self.start)), i64::from(seconds(self.end)))
    }

    /// As long as the clocks on the wall say, more than 0 and at most 24 hours.
    pub fn length(self) -> Duration {
        let start = seconds(self.start);
        let end = seconds(self.end);
        let length = if end > start { end - start } else { end + SECONDS_A_DAY - start };
        Duration::from_secs(u64::from(length))
    }

    /// Whether they go over midnight, or end at it.
    pub fn ends_next_day(self) -> bool {
        self.end <= self.start
    }
}

/// Seconds since midnight on a day without a clock change.
fn seconds(time: SiteTime) -> u32 {
    let part = |value: i8| u32::try_from(value).unwrap_or(0);
    part(time.hour()) * 3_600 + part(time.minute()) * 60 + part(time.second())
}

fn time_of(seconds: i64) -> Option<SiteTime> {
    let part = |value: i64| i8::try_from(value).ok();
    SiteTime::new(part(seconds / 3_600)?, part(seconds / 60 % 60)?, part(seconds % 60)?, 0).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::civil::date;

    use super::*;

    #[test]
    fn weekdays_are_each_named_once_and_monday_is_the_first() {
        for wrong in [&[][..], &[0], &[8], &[-1], &[1, 1], &[i32::MAX]] {
            assert_eq!(Weekdays::from_iso(wrong), None, "{wrong:?}");
        }
        assert_eq!(Weekdays::from_iso(&[7, 1]).unwrap().iso(), [1, 7]);
        assert_eq!(Weekdays::ALL.iso(), [1, 2, 3, 4, 5, 6, 7]);
        let tuesday = date(2026, 11, 24);
        assert_eq!(Weekdays::of(tuesday).iso(), [2]);
        assert!(Weekdays::ALL.has(tuesday) && !Weekdays::from_iso(&[1, 3]).unwrap().has(tuesday));
    }

    #[test]
    fn hours_are_stored_as_seconds_and_read_again() {
        for stored in [(0, 0), (0, 86_399), (79_200, 21_600), (31_501, 43_259)] {
            assert_eq!(Hours::from_seconds(stored.0, stored.1).unwrap().seconds(), stored);
        }
        for wrong in [(-1, 0), (86_400, 0), (0, -3_600), (0, i64::MAX)] {
            assert_eq!(Hours::from_seconds(wrong.0, wrong.1), None, "{wrong:?}");
        }
        let night = Hours::from_seconds(79_200, 21_600).unwrap();
        assert!(night.ends_next_day());
        assert_eq!(night.length(), Duration::from_secs(8 * 3_600));
        assert_eq!(Hours::from_seconds(0, 0).unwrap().length(), Duration::from_secs(86_400));
    }
}
