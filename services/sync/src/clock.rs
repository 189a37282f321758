//! The time between a hub and its terminals: when a hub may tell it, what a terminal makes of it, and the earliest time that
//! a terminal believes when it checks certificates. How events' times are corrected is attendance's
//! (`rollcall_attendance::correct`).
//!
//! A hub's clock can be wrong for years (a dead battery), and so can a terminal's although a time server set it. So a hub
//! tells the time only when its clock is neither before the program's date nor before the latest time that it knew, and
//! within [`limits::CLOCK_APART_SECONDS`] of most terminals that know the time by themselves. A terminal that has it from
//! the hub is no witness for the hub.

use std::time::Duration;

use rollcall_attendance::{Anchor, Quality, Reading};
use rollcall_core::{TerminalId, UtcInstant, limits};

/// What a terminal said of the time when it last called, beside the hub's clock at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who.
    pub terminal_id: TerminalId,
    /// Its wall clock.
    pub wall_us: i64,
    /// Where that came from.
    pub quality: Quality,
    /// The boot of the hub in which it was heard.
    pub boot_id: [u8; 16],
    /// Microseconds since that boot, which never jump.
    pub boottime_us: i64,
}

impl Heard {
    /// What the time is now by this terminal; `None` when it does not know it by itself, or when it was heard in another
    /// boot or too long ago.
    fn now_us(&self, hub: &Reading) -> Option<i64> {
        let since = hub.boottime_us.checked_sub(self.boottime_us)?;
        let counts = self.quality == Quality::Ntp
            && self.boot_id == hub.boot_id
            && (0..=limits::CLOCK_WITNESS_HOURS * 3_600_000_000).contains(&since);
        counts.then(|| self.wall_us.saturating_add(since))
    }

    /// Whether it and the hub's wall clock are within [`limits::CLOCK_APART_SECONDS`]; `None` as for `now_us`.
    fn agrees(&self, hub: &Reading) -> Option<bool> {
        let now_us = self.now_us(hub)?;
        Some(now_us.abs_diff(hub.wall_us) <= limits::CLOCK_APART_SECONDS.unsigned_abs() * 1_000_000)
    }
}

/// Whether a hub's clock may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubClock {
    /// It may.
    Sane,
    /// It was never set, or nothing says where its time came from.
    Unset,
    /// It is before the program's date or before the latest time that was known.
    Past {
        /// What it cannot be before.
        floor: UtcInstant,
    },
    /// It is not with most of the terminals that know the time.
    Outvoted {
        /// How many are within five minutes of it.
        agree: usize,
        /// Of how many.
        of: usize,
    },
}

/// Judges the hub's clock. `floor`: the later of the program's date and the latest time that was trusted; `heard`: the last
/// word of each terminal.
pub fn judge(hub: &Reading, floor: UtcInstant, heard: &[Heard]) -> HubClock {
    if hub.quality < Quality::Rtc {
        return HubClock::Unset;
    }
    if hub.wall_us < floor.micros() {
        return HubClock::Past { floor };
    }
    let votes: Vec<bool> = heard.iter().filter_map(|one| one.agrees(hub)).collect();
    let agree = votes.iter().filter(|agrees| **agrees).count();
    if !votes.is_empty() && agree * 2 <= votes.len() {
        return HubClock::Outvoted { agree, of: votes.len() };
    }
    HubClock::Sane
}

/// The terminals whose clocks, although a time server set them, are not with the hub's; empty unless that is sane.
pub fn liars(hub: &Reading, floor: UtcInstant, heard: &[Heard]) -> Vec<TerminalId> {
    if judge(hub, floor, heard) != HubClock::Sane {
        return Vec::new();
    }
    heard.iter().filter(|one| one.agrees(hub) == Some(false)).map(|one| one.terminal_id).collect()
}

/// What a hub tells of its time: its wall clock, and `None` when that is not to be used.
pub fn told(hub: &Reading, clock: HubClock) -> Option<Told> {
    (clock == HubClock::Sane).then_some(Told { wall_us: hub.wall_us, quality: hub.quality })
}

/// A hub's time that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its wall clock when it answered.
    pub wall_us: i64,
    /// Where that came from.
    pub quality: Quality,
}

/// The anchor that a terminal writes into its log from a hub's answer: `asked` and `answered` are its own clocks at both
/// ends of the call. `None` when the call took too long to tell the time, or the device was restarted meanwhile.
pub fn anchor(told: &Told, asked: &Reading, answered: &Reading) -> Option<Anchor> {
    let took = answered.boottime_us.checked_sub(asked.boottime_us)?;
    let is_short = (0..=limits::CLOCK_ROUND_TRIP_MS * 1_000).contains(&took);
    (is_short && asked.boot_id == answered.boot_id).then(|| Anchor {
        boot_id: asked.boot_id,
        boottime_us: asked.boottime_us + took / 2,
        true_us: told.wall_us,
        // Half of the call at most, rounded up, and a second for a hub whose clock a time server is slewing.
        error_us: took / 2 + 1 + 1_000_000,
    })
}

/// Whether that anchor says anything new: the first of a boot, one an hour after the last, and one that the wall clock's own
/// idea of the time contradicts.
pub fn is_wanted(anchor: &Anchor, last: Option<&Anchor>) -> bool {
    let Some(last) = last.filter(|last| last.boot_id == anchor.boot_id) else { return true };
    let since = anchor.boottime_us.saturating_sub(last.boottime_us);
    let drift = anchor.true_us.saturating_sub(last.true_us).abs_diff(since);
    let allowed = last.error_us.saturating_add(anchor.error_us).unsigned_abs();
    since >= limits::CLOCK_ANCHOR_SECONDS * 1_000_000 || drift > allowed
}

/// The time by which certificates are judged: never before the program was built or the latest time that was known.
pub fn tls_time(system: UtcInstant, floor: UtcInstant, build: UtcInstant) -> UtcInstant {
    system.max(floor).max(build)
}

/// The floor after an authenticated hub or a time server has told the time: it rises to that, by at most
/// [`limits::CLOCK_FLOOR_STEP_DAYS`] at once, and never falls.
pub fn raised_floor(floor: UtcInstant, told: UtcInstant) -> UtcInstant {
    let highest = floor.after(Duration::from_secs(limits::CLOCK_FLOOR_STEP_DAYS * 86_400));
    told.min(highest).max(floor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const NOW: i64 = 1_793_880_000 * SECOND;
    const YEAR: i64 = 365 * 86_400 * SECOND;

    fn hub(wall_us: i64) -> Reading {
        Reading { boot_id: [1; 16], boottime_us: 5_000 * SECOND, wall_us, quality: Quality::Rtc }
    }

    fn floor() -> UtcInstant {
        UtcInstant::from_micros(NOW - YEAR)
    }

    /// Terminals that were heard 1,000 seconds ago, off by so many seconds.
    fn heard(off: &[i64]) -> Vec<Heard> {
        let one = |(number, off): (u8, &i64)| Heard {
            terminal_id: TerminalId::from_bytes([number; 16]),
            wall_us: NOW - 1_000 * SECOND + off * SECOND,
            quality: Quality::Ntp,
            boot_id: [1; 16],
            boottime_us: 4_000 * SECOND,
        };
        (0..).zip(off).map(one).collect()
    }

    #[test]
    fn a_clock_that_most_terminals_agree_with_is_told() {
        for off in [&[][..], &[0], &[299, -299], &[0, 0, 9_999]] {
            assert_eq!(judge(&hub(NOW), floor(), &heard(off)), HubClock::Sane, "{off:?}");
        }
        assert_eq!(told(&hub(NOW), HubClock::Sane), Some(Told { wall_us: NOW, quality: Quality::Rtc }));
    }

    #[test]
    fn f050_a_hub_that_is_ten_years_wrong_tells_no_time() {
        let battery = judge(&hub(NOW - 10 * YEAR), floor(), &[]);
        assert_eq!(battery, HubClock::Past { floor: floor() });
        let ahead = judge(&hub(NOW + 10 * YEAR), floor(), &heard(&[0, 1, 2]));
        assert_eq!(ahead, HubClock::Outvoted { agree: 0, of: 3 });
        assert_eq!(told(&hub(NOW), battery), None);
        let unset = Reading { quality: Quality::Saved, ..hub(NOW) };
        assert_eq!(judge(&unset, floor(), &[]), HubClock::Unset);
    }

    #[test]
    fn f051_one_terminal_with_a_wrong_time_outvotes_nobody_and_is_named() {
        let heard = heard(&[0, 86_400, 5]);
        assert_eq!(judge(&hub(NOW), floor(), &heard), HubClock::Sane);
        assert_eq!(liars(&hub(NOW), floor(), &heard), [TerminalId::from_bytes([1; 16])]);
    }

    #[test]
    fn a_tie_is_no_majority() {
        let clock = judge(&hub(NOW), floor(), &heard(&[0, 86_400]));
        assert_eq!(clock, HubClock::Outvoted { agree: 1, of: 2 });
        assert_eq!(liars(&hub(NOW), floor(), &heard(&[0, 86_400])), [], "who is wrong is not known");
    }

    #[test]
    fn only_who_knows_the_time_by_itself_and_was_heard_lately_is_a_witness() {
        let ahead = hub(NOW + YEAR);
        for change in [
            (|one: &mut Heard| one.quality = Quality::Hub) as fn(&mut Heard),
            |one| one.quality = Quality::Rtc,
            |one| one.boot_id = [2; 16],
            |one| one.boottime_us -= 25 * 3_600 * SECOND,
            |one| one.boottime_us = i64::MIN,
            |one| one.boottime_us = i64::MAX,
        ] {
            let mut heard = heard(&[0]);
            heard.iter_mut().for_each(change);
            assert_eq!(judge(&ahead, floor(), &heard), HubClock::Sane);
        }
    }

    #[test]
    fn a_hub_whose_clock_jumped_is_outvoted_by_what_it_heard_before() {
        let jumped = hub(NOW + YEAR);
        assert_eq!(judge(&jumped, floor(), &heard(&[0, 0])), HubClock::Outvoted { agree: 0, of: 2 });
    }

    #[test]
    fn f048_an_answer_is_an_anchor_in_the_middle_of_the_call() {
        let at = |boottime_us| Reading { boot_id: [5; 16], boottime_us, wall_us: 0, quality: Quality::Unset };
        let told = Told { wall_us: NOW, quality: Quality::Ntp };
        let anchor = |from, to| super::anchor(&told, &at(from), &at(to));
        let expected = Anchor { boot_id: [5; 16], boottime_us: 200, true_us: NOW, error_us: 1_000_101 };
        assert_eq!(anchor(100, 300), Some(expected));
        assert_eq!(anchor(0, 10 * SECOND + 1), None, "too long ago to say when");
        assert_eq!(anchor(300, 100), None);
        assert_eq!(anchor(i64::MIN, i64::MAX), None);
        let rebooted = Reading { boot_id: [6; 16], ..at(300) };
        assert_eq!(super::anchor(&told, &at(100), &rebooted), None);
    }

    #[test]
    fn an_anchor_is_written_when_it_says_something_new() {
        let anchor = |boot, seconds: i64, true_us| Anchor {
            boot_id: [boot; 16],
            boottime_us: seconds * SECOND,
            true_us,
            error_us: SECOND,
        };
        let first = anchor(1, 0, NOW);
        assert!(is_wanted(&first, None));
        assert!(is_wanted(&anchor(2, 60, NOW + 60 * SECOND), Some(&first)), "another boot");
        assert!(!is_wanted(&anchor(1, 60, NOW + 61 * SECOND), Some(&first)));
        assert!(is_wanted(&anchor(1, 60, NOW + 63 * SECOND), Some(&first)), "it contradicts the last");
        assert!(is_wanted(&anchor(1, 3_600, NOW + 3_600 * SECOND), Some(&first)));
    }

    #[test]
    fn f047_the_floor_rises_by_steps_and_never_falls() {
        let day = |days: i64| UtcInstant::from_micros(NOW + days * 86_400 * SECOND);
        assert_eq!(raised_floor(day(0), day(30)), day(30));
        assert_eq!(raised_floor(day(0), day(3_650)), day(400));
        assert_eq!(raised_floor(day(0), day(-3_650)), day(0));
        assert_eq!(tls_time(day(-3_650), day(0), day(-30)), day(0));
        assert_eq!(tls_time(day(3), day(0), day(9)), day(9));
    }

    proptest! {
        #[test]
        fn no_time_breaks_the_rules(
            wall in any::<i64>(), boottime in any::<i64>(), heard_wall in any::<i64>(), heard_at in any::<i64>(),
            floor in any::<i64>(), from in any::<i64>(), to in any::<i64>(),
        ) {
            let hub = Reading { boottime_us: boottime, ..hub(wall) };
            let one = Heard { wall_us: heard_wall, boottime_us: heard_at, ..heard(&[0])[0] };
            let floor = UtcInstant::from_micros(floor);
            judge(&hub, floor, &[one]);
            let at = |boottime_us| Reading { boottime_us, ..hub };
            if let Some(anchor) = anchor(&Told { wall_us: wall, quality: Quality::Rtc }, &at(from), &at(to)) {
                prop_assert!(anchor.error_us >= 0);
                is_wanted(&anchor, Some(&Anchor { true_us: heard_wall, boottime_us: heard_at, ..anchor }));
            }
            prop_assert!(raised_floor(floor, UtcInstant::from_micros(wall)) >= floor);
        }
    }
}
