//! When a backup is due and which are kept. Pure.

use std::collections::BTreeSet;

use rollcall_core::{SiteTime, SiteZone, UtcInstant};

/// When backups are made, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The hour of the site's day.
    pub hour: u8,
    /// Days of which the newest is kept.
    pub daily: usize,
    /// Weeks before these of which the newest is kept.
    pub weekly: usize,
}

/// These are kept whatever the calendar says: an event goes from its terminal only once both have it.
const NEWEST: usize = 2;

impl Calendar {
    /// Whether a backup is due that the newest, made then, is not: the hour has come since.
    pub fn is_due(self, newest: Option<UtcInstant>, zone: &SiteZone, now: UtcInstant) -> bool {
        let today = zone.day(now);
        let hour =
            SiteTime::midnight().saturating_add(std::time::Duration::from_secs(u64::from(self.hour) * 3_600));
        let of_today = zone.instant(today, hour);
        let latest = match of_today <= now {
            true => of_today,
            false => today.yesterday().map_or(of_today, |yesterday| zone.instant(yesterday, hour)),
        };
        newest.is_none_or(|made| made < latest)
    }

    /// Which of these backups are kept; they come newest first.
    pub fn kept(self, made: &[UtcInstant], zone: &SiteZone) -> Vec<bool> {
        let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
        let keep = |(place, made): (usize, &UtcInstant)| {
            let day = zone.day(*made);
            let week = day.iso_week_date();
            let week = (week.year(), week.week());
            let is_new_day = !days.contains(&day);
            if is_new_day && days.len() < self.daily {
                days.insert(day);
                // A week that has a daily backup needs none of its own, and does not count as one of those before.
                return true;
            }
            let is_of_daily_week = days.iter().any(|kept| {
                let kept = kept.iso_week_date();
                (kept.year(), kept.week()) == week
            });
            let is_new_week = !is_of_daily_week && !weeks.contains(&week);
            if is_new_day && is_new_week && weeks.len() < self.weekly {
                weeks.insert(week);
                return true;
            }
            place < NEWEST
        };
        made.iter().enumerate().map(keep).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;

    const CALENDAR: Calendar = Calendar { hour: 2, daily: 7, weekly: 4 };

    /// Monday, 2026-11-02 00:00 in Saigon.
    fn monday(hours: u64) -> UtcInstant {
        UtcInstant::from_micros(1_793_552_400_000_000).after(Duration::from_secs(hours * 3_600))
    }

    fn saigon() -> SiteZone {
        SiteZone::named("Asia/Ho_Chi_Minh").unwrap()
    }

    #[test]
    fn a_backup_is_due_once_its_hour_has_come_where_the_site_is() {
        let is_due = |newest: Option<u64>, now| CALENDAR.is_due(newest.map(monday), &saigon(), monday(now));
        assert!(is_due(None, 1), "the first, at once");
        assert!(!is_due(Some(3), 25), "an hour before the next");
        assert!(is_due(Some(3), 26));
        assert!(!is_due(Some(26), 49));
        assert!(is_due(Some(3), 100), "one that was missed is made at once");
        assert!(is_due(Some(1), 2), "one made by hand before the hour does not stand for it");
    }

    #[test]
    fn the_newest_of_each_day_and_then_of_each_week_is_kept() {
        // Two a day for 60 days, newest first.
        let made: Vec<UtcInstant> = (0..120).map(|half_days| monday(10_000 - half_days * 12)).collect();
        let kept = CALENDAR.kept(&made, &saigon());
        let kept: Vec<UtcInstant> =
            made.iter().zip(kept).filter(|(_, kept)| *kept).map(|(made, _)| *made).collect();
        let days: BTreeSet<_> = kept.iter().map(|made| saigon().day(*made)).collect();
        let more_of_newest_day = kept.len() - days.len();
        assert!(more_of_newest_day <= 1, "of a day one is kept, but the two newest always");
        assert_eq!(days.len(), 7 + 4);
        let weeks: BTreeSet<_> =
            kept.iter().skip(8).map(|made| saigon().day(*made).iso_week_date().week()).collect();
        assert!(weeks.len() >= 3, "the older ones are of different weeks: {weeks:?}");
    }

    #[test]
    fn the_two_newest_stay_although_they_are_of_one_day() {
        let made = [monday(20), monday(19), monday(18)];
        let calendar = Calendar { daily: 2, weekly: 0, ..CALENDAR };
        assert_eq!(calendar.kept(&made, &saigon()), [true, true, false]);
    }

    #[test]
    fn a_backup_a_day_for_a_year_leaves_a_week_and_a_month() {
        let mut there: Vec<UtcInstant> = Vec::new();
        for day in 0..365 {
            there.insert(0, monday(day * 24 + 2));
            let kept = CALENDAR.kept(&there, &saigon());
            there = there.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(made, _)| made).collect();
        }
        assert_eq!(there.len(), 7 + 4);
        let oldest = there[0].since(*there.last().unwrap());
        assert!(oldest >= Duration::from_secs(28 * 86_400), "four weeks back: {oldest:?}");
    }
}
