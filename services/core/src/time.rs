//! Instants and the days of a site.
//!
//! An instant is UTC microseconds since 1970. Days, sessions and reports are in the site's time zone, whose rules come
//! from the time zone database that is compiled in: a terminal without a network and without `/usr/share/zoneinfo` has
//! them too.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A moment: microseconds since 1970-01-01 00:00:00 UTC, leap seconds not counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcInstant(i64);

impl UtcInstant {
    /// What this machine's clock says now.
    pub fn now() -> Self {
        Self(Timestamp::now().as_microsecond())
    }

    /// The instant with these microseconds since 1970, as stored. Values out of the years -9999 to 9999 become the
    /// nearest that is in.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond()))
    }

    /// Microseconds since 1970, as stored.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::from_micros(
            self.0.saturating_add_unsigned(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// This much earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self::from_micros(
            self.0.saturating_sub_unsigned(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// RFC 3339 in UTC.
impl fmt::Display for UtcInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

impl fmt::Debug for UtcInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A day on the site's calendar.
pub type SiteDay = Date;

/// A time of day on the site's clocks.
pub type SiteTime = Time;

/// The time zone that a site lives in.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteZone(TimeZone);

/// A name that the time zone database does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no time zone \"{0}\"; write it as the IANA database does, for example Asia/Ho_Chi_Minh or Europe/London"
)]
pub struct UnknownZone(pub String);

impl SiteZone {
    /// The zone of this IANA name.
    ///
    /// # Errors
    /// When the database has none.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        jiff::tz::db().get(name).map(Self).map_err(|_| UnknownZone(name.chars().take(80).collect()))
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The day that it is here at `instant`.
    pub fn day(&self, instant: UtcInstant) -> SiteDay {
        instant.timestamp().to_zoned_datetime(self.0.clone()).date()
    }

    /// The time of day that the clocks show here at `instant`.
    pub fn time(&self, instant: UtcInstant) -> SiteTime {
        instant.timestamp().to_zoned_datetime(self.0.clone()).time()
    }

    /// When the clocks here show `time` on `day`. Where they show it twice (clocks went back), the first; where they
    /// never do (clocks went forward), as long after the change as `time` is into the gap (RFC 5545, "compatible").
    pub fn instant(&self, day: SiteDay, time: SiteTime) -> UtcInstant {
        let zoned = self.0.to_ambiguous_zoned_datetime(day.to_datetime(time)).compatible();
        zoned
            .map_or(UtcInstant::from_micros(i64::MAX), |zoned| UtcInstant(zoned.timestamp().as_microsecond()))
    }

    /// From the first moment of `day` to the first of the next: 23, 24 or 25 hours.
    pub fn span(&self, day: SiteDay) -> Range<UtcInstant> {
        let next = day.checked_add(1.day()).unwrap_or(Date::MAX);
        self.instant(day, Time::midnight())..self.instant(next, Time::midnight())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::civil::{date, time};

    use super::*;

    #[test]
    fn the_two_clock_change_days_have_23_and_25_hours() {
        let london = SiteZone::named("Europe/London").unwrap();
        for (day, hours) in [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 24), 24)] {
            let span = london.span(day);
            assert_eq!(span.end.since(span.start), Duration::from_secs(hours * 3_600), "{day}");
        }
    }

    #[test]
    fn a_time_that_is_shown_twice_is_the_first_and_one_never_shown_comes_after_the_gap() {
        let london = SiteZone::named("Europe/London").unwrap();
        let twice = london.instant(date(2026, 10, 25), time(1, 30, 0, 0));
        assert_eq!(twice.to_string(), "2026-10-25T00:30:00Z");
        let never = london.instant(date(2026, 3, 29), time(1, 30, 0, 0));
        assert_eq!(never.to_string(), "2026-03-29T01:30:00Z");
        assert_eq!(london.time(never), time(2, 30, 0, 0));
    }

    #[test]
    fn a_day_begins_where_the_site_is() {
        let saigon = SiteZone::named("Asia/Ho_Chi_Minh").unwrap();
        let evening = UtcInstant::from_micros(1_793_552_399_000_000);
        assert_eq!(evening.to_string(), "2026-11-01T16:59:59Z");
        assert_eq!(saigon.day(evening), date(2026, 11, 1));
        assert_eq!(saigon.day(evening.after(Duration::from_secs(1))), date(2026, 11, 2));
    }

    #[test]
    fn unknown_zones_are_refused_by_name() {
        let error = SiteZone::named("Mars/Olympus").unwrap_err();
        assert!(error.to_string().contains("Mars/Olympus"));
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_the_calendar() {
        assert_eq!(UtcInstant::from_micros(i64::MAX).after(Duration::MAX), UtcInstant::from_micros(i64::MAX));
        assert_eq!(
            UtcInstant::from_micros(i64::MIN).before(Duration::MAX),
            UtcInstant::from_micros(i64::MIN)
        );
    }
}
