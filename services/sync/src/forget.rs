//! When a terminal forgets the gallery because it has not heard from its hub: a device that was carried off keeps nobody's
//! face for ever.
//!
//! What counts is the longer of two times since the last Open that was answered: the hours that the device was powered,
//! which no clock can turn back, and the time by a wall clock that is trusted now and was then.

use std::time::Duration;

use rollcall_attendance::{Quality, Reading};

/// How long a terminal has not heard from its hub. To be stored each hour, and whenever it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    powered: Duration,
    boot_id: [u8; 16],
    boottime_us: i64,
    answered_us: Option<i64>,
}

impl Silence {
    /// From now on: an Open was answered.
    pub fn from(now: &Reading) -> Self {
        Self {
            powered: Duration::ZERO,
            boot_id: now.boot_id,
            boottime_us: now.boottime_us,
            answered_us: trusted(now),
        }
    }

    /// The silence as it was stored: the powered time up to the last count, where that was, and the trusted time of the last
    /// answer.
    pub fn stored(powered: Duration, boot_id: [u8; 16], boottime_us: i64, answered_us: Option<i64>) -> Self {
        Self { powered, boot_id, boottime_us, answered_us }
    }

    /// The powered time up to the last count.
    pub fn powered(&self) -> Duration {
        self.powered
    }

    /// The boot of the last count, to be stored.
    pub fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// Where in that boot it was, in microseconds.
    pub fn boottime_us(&self) -> i64 {
        self.boottime_us
    }

    /// The trusted time of the last answer.
    pub fn answered_us(&self) -> Option<i64> {
        self.answered_us
    }

    /// Counts the time since the last count. What a boot ran before its first count is since its beginning.
    #[must_use]
    pub fn counted(&self, now: &Reading) -> Self {
        let from = if now.boot_id == self.boot_id { self.boottime_us } else { 0 };
        let since = u64::try_from(now.boottime_us.saturating_sub(from)).unwrap_or(0);
        let powered = self.powered.saturating_add(Duration::from_micros(since));
        Self { powered, boot_id: now.boot_id, boottime_us: now.boottime_us, ..*self }
    }

    /// How long it has been.
    pub fn lasted(&self, now: &Reading) -> Duration {
        let by_wall = trusted(now).zip(self.answered_us).map(|(now, then)| now.saturating_sub(then));
        let by_wall = by_wall.and_then(|us| u64::try_from(us).ok()).map(Duration::from_micros);
        self.counted(now).powered.max(by_wall.unwrap_or_default())
    }

    /// Whether the gallery is to be forgotten; zero: never.
    pub fn is_over(&self, now: &Reading, forget_after: Duration) -> bool {
        !forget_after.is_zero() && self.lasted(now) >= forget_after
    }
}

/// The wall clock, when a time server or the hub set it.
fn trusted(now: &Reading) -> Option<i64> {
    (now.quality >= Quality::Ntp).then_some(now.wall_us)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const HOUR_US: i64 = 3_600_000_000;
    const NOW: i64 = 1_793_880_000_000_000;

    fn at(boot: u8, hours: i64, wall_us: i64, quality: Quality) -> Reading {
        Reading { boot_id: [boot; 16], boottime_us: hours * HOUR_US, wall_us, quality }
    }

    fn unset(boot: u8, hours: i64) -> Reading {
        at(boot, hours, 0, Quality::Unset)
    }

    #[test]
    fn powered_hours_add_up_over_boots() {
        let silence =
            Silence::from(&unset(1, 5)).counted(&unset(1, 8)).counted(&unset(2, 1)).counted(&unset(2, 2));
        assert_eq!(silence.lasted(&unset(2, 4)), 7 * HOUR, "3 of the first boot, 4 of the second");
        assert!(silence.is_over(&unset(2, 4), 7 * HOUR));
        assert!(!silence.is_over(&unset(2, 4), 8 * HOUR));
        assert_eq!(Silence::from(&unset(2, 9)).lasted(&unset(2, 9)), Duration::ZERO);
    }

    #[test]
    fn time_without_power_counts_by_a_trusted_clock_alone() {
        let silence = Silence::from(&at(1, 1, NOW, Quality::Hub));
        assert_eq!(silence.lasted(&at(2, 1, NOW + 100 * HOUR_US, Quality::Ntp)), 100 * HOUR);
        assert_eq!(silence.lasted(&at(2, 1, NOW + 100 * HOUR_US, Quality::Rtc)), HOUR);
        let unknown = Silence::from(&unset(1, 1));
        assert_eq!(unknown.lasted(&at(2, 1, NOW, Quality::Ntp)), HOUR, "nobody knows when the hub answered");
    }

    #[test]
    fn f054_a_clock_turned_back_each_night_does_not_help() {
        let mut silence = Silence::from(&at(0, 0, NOW, Quality::Ntp));
        for night in 1..=14 {
            silence = silence.counted(&at(night, 12, NOW - 100 * HOUR_US, Quality::Ntp));
        }
        assert!(silence.is_over(&at(15, 0, NOW, Quality::Ntp), 7 * 24 * HOUR));
    }

    #[test]
    fn it_is_never_over_where_nothing_is_to_be_forgotten() {
        let silence = Silence::from(&unset(1, 0));
        assert!(!silence.is_over(&unset(1, 1_000_000), Duration::ZERO));
    }

    proptest! {
        #[test]
        fn it_never_gets_shorter_whatever_the_wall_clock_says(
            steps in vec((any::<bool>(), 0..100_i64, any::<i64>()), 1..30),
        ) {
            let mut silence = Silence::from(&at(0, 0, NOW, Quality::Ntp));
            let (mut boot, mut hours) = (0, 0);
            for (reboots, runs, wall_us) in steps {
                (boot, hours) = if reboots { (boot + 1, runs) } else { (boot, hours + runs) };
                let now = at(boot, hours, wall_us, Quality::Rtc);
                let before = silence.powered();
                silence = silence.counted(&now);
                prop_assert!(silence.powered() >= before);
                prop_assert_eq!(silence.lasted(&now), silence.powered());
            }
        }
    }
}
