//! When the lock is released: a state machine over time, without pins.
//!
//! It promises: without a fire, the lock is never released for longer than [`limits::LOCK_RELEASED_MAX_MS`] after
//! somebody began to open it or pressed the exit button, whatever is asked and however often; whether it is released is
//! a function of the time alone, so that nobody has to come round to lock it; in a lockdown only the exit button, the
//! fire input and those whom it does not hold up release it.
//!
//! It does not know who may pass: an order to open comes from whoever has decided that.

use std::time::{Duration, Instant};

use rollcall_core::limits;
use serde::{Deserialize, Serialize};

/// Who opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Opener {
    /// A face, badge, card or PIN at the outside.
    Credential,
    /// The same of somebody whom a lockdown does not hold up, or whoever opens from afar.
    Exempt,
    /// Somebody inside who pressed the exit button.
    Exit,
}

/// What became of an order to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The lock is released.
    Released,
    /// Not in a lockdown.
    LockedDown,
}

/// The lock.
#[derive(Clone, Debug)]
pub struct Lock {
    open: Duration,
    pulse: Option<Pulse>,
    is_locked_down: bool,
    is_fire: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pulse {
    opener: Opener,
    /// From when its maximum counts.
    began: Instant,
    until: Instant,
    /// Whether the door was opened since the last order.
    has_opened: bool,
}

impl Lock {
    /// A lock that is locked. `open` is the time of one opening, of which at most the maximum is taken.
    pub fn new(open: Duration, is_locked_down: bool) -> Self {
        Self { open: open.min(longest()), pulse: None, is_locked_down, is_fire: false }
    }

    /// Releases it for the time of one opening, or extends a pulse up to the maximum. The exit button begins a pulse
    /// anew: who stands inside is not kept in by those who came in before.
    pub fn open(&mut self, opener: Opener, now: Instant) -> Opening {
        if opener == Opener::Credential && self.is_locked_down {
            return Opening::LockedDown;
        }
        let running = self.pulse.filter(|pulse| now < pulse.until);
        let (opener, began) = match (opener, running) {
            (Opener::Credential | Opener::Exempt, Some(pulse)) => (pulse.opener, pulse.began),
            (opener, _) => (opener, now),
        };
        let until = (now + self.open).min(began + longest());
        self.pulse = Some(Pulse { opener, began, until, has_opened: false });
        Opening::Released
    }

    /// Begins or ends a lockdown. What a credential has released is locked at once.
    pub fn set_lockdown(&mut self, is_on: bool) {
        self.is_locked_down = is_on;
        if is_on {
            self.pulse = self.pulse.filter(|pulse| pulse.opener == Opener::Exit);
        }
    }

    /// The fire input: released while it is active, locked when it is over.
    pub fn set_fire(&mut self, is_on: bool) {
        self.is_fire = is_on;
    }

    /// The door was opened.
    pub fn opened(&mut self) {
        if let Some(pulse) = &mut self.pulse {
            pulse.has_opened = true;
        }
    }

    /// The door was closed. If it was opened since the last order, whoever that was for is through: it locks.
    pub fn closed(&mut self) {
        self.pulse = self.pulse.filter(|pulse| !pulse.has_opened);
    }

    /// Ends a pulse at once.
    pub fn end(&mut self) {
        self.pulse = None;
    }

    /// Whether it is released.
    pub fn is_released(&self, now: Instant) -> bool {
        self.is_fire || self.pulse.is_some_and(|pulse| now < pulse.until)
    }

    /// Whether the fire input holds it.
    pub fn is_fire(&self) -> bool {
        self.is_fire
    }

    /// When it locks by itself.
    pub fn locks_at(&self, now: Instant) -> Option<Instant> {
        self.pulse.filter(|pulse| !self.is_fire && now < pulse.until).map(|pulse| pulse.until)
    }
}

fn longest() -> Duration {
    Duration::from_millis(limits::LOCK_RELEASED_MAX_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN_MS: u64 = 5_000;

    #[derive(Clone, Copy, Debug)]
    enum Does {
        Face,
        Exit,
        Lockdown(bool),
        Fire(bool),
        Opens,
        Closes,
        End,
    }

    fn does(lock: &mut Lock, what: Does, now: Instant) -> Option<Opening> {
        match what {
            Does::Face => return Some(lock.open(Opener::Credential, now)),
            Does::Exit => return Some(lock.open(Opener::Exit, now)),
            Does::Lockdown(is_on) => lock.set_lockdown(is_on),
            Does::Fire(is_on) => lock.set_fire(is_on),
            Does::Opens => lock.opened(),
            Does::Closes => lock.closed(),
            Does::End => lock.end(),
        }
        None
    }

    /// What happens when, and the times at which the lock is looked at with what is seen.
    type Case<'a> = (&'a str, &'a [(u64, Does)], &'a [(u64, bool)]);

    #[test]
    fn the_lock_is_released_as_the_table_says() {
        use Does::*;
        let every_4_s: Vec<(u64, Does)> = (0..10).map(|n| (n * 4_000, Face)).collect();
        let cases: &[Case] = &[
            ("nobody", &[], &[(0, false), (60_000, false)]),
            ("one pulse", &[(0, Face)], &[(0, true), (4_999, true), (5_000, false)]),
            ("two extend", &[(0, Face), (3_000, Face)], &[(7_999, true), (8_000, false)]),
            ("not beyond the maximum", &every_4_s[..8], &[(29_999, true), (30_000, false)]),
            ("a new one after the maximum", &every_4_s, &[(30_000, false), (32_000, true), (41_000, false)]),
            (
                "through and closed",
                &[(0, Face), (900, Opens), (2_000, Closes)],
                &[(1_999, true), (2_000, false)],
            ),
            ("closed, never opened", &[(0, Face), (2_000, Closes)], &[(2_000, true), (5_000, false)]),
            (
                "the next one came while the first went through",
                &[(0, Face), (900, Opens), (1_000, Face), (2_000, Closes)],
                &[(2_000, true), (5_999, true), (6_000, false)],
            ),
            ("lockdown refuses a face", &[(0, Lockdown(true)), (1, Face)], &[(1, false)]),
            ("lockdown ends a pulse", &[(0, Face), (1_000, Lockdown(true))], &[(999, true), (1_000, false)]),
            (
                "lockdown lets out",
                &[(0, Lockdown(true)), (1, Exit)],
                &[(1, true), (5_000, true), (5_001, false)],
            ),
            ("lockdown leaves an exit", &[(0, Exit), (1, Face), (2, Lockdown(true))], &[(3, true)]),
            ("lockdown over", &[(0, Lockdown(true)), (1, Lockdown(false)), (2, Face)], &[(2, true)]),
            ("fire", &[(0, Fire(true))], &[(0, true), (900_000, true)]),
            (
                "fire over",
                &[(0, Face), (1, Fire(true)), (9_000, Fire(false))],
                &[(8_999, true), (9_000, false)],
            ),
            ("fire in a lockdown", &[(0, Lockdown(true)), (1, Fire(true))], &[(0, false), (1, true)]),
            ("closing does not lock in a fire", &[(0, Fire(true)), (1, Opens), (2, Closes)], &[(3, true)]),
            (
                "an exit has its time at the maximum",
                &[(0, Face), (4_000, Face), (4_500, Exit)],
                &[(9_499, true)],
            ),
            ("ended", &[(0, Exit), (10, End)], &[(9, true), (10, false)]),
        ];
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        for (name, happens, seen) in cases {
            for (look, is_released) in *seen {
                let mut lock = Lock::new(Duration::from_millis(OPEN_MS), false);
                for (ms, what) in happens.iter().filter(|(ms, _)| ms <= look) {
                    does(&mut lock, *what, at(*ms));
                }
                assert_eq!(lock.is_released(at(*look)), *is_released, "{name} at {look} ms");
            }
        }
    }

    fn any_does() -> impl Strategy<Value = Does> {
        prop_oneof![
            4 => Just(Does::Face),
            1 => Just(Does::Exit),
            1 => any::<bool>().prop_map(Does::Lockdown),
            1 => any::<bool>().prop_map(Does::Fire),
            1 => Just(Does::Opens),
            1 => Just(Does::Closes),
            1 => Just(Does::End),
        ]
    }

    #[test]
    fn a_lockdown_does_not_hold_up_whom_it_exempts_and_locks_behind_them_when_it_begins() {
        let (mut lock, now) = (Lock::new(Duration::from_secs(5), true), Instant::now());
        assert_eq!(lock.open(Opener::Credential, now), Opening::LockedDown);
        assert_eq!(lock.open(Opener::Exempt, now), Opening::Released);
        assert!(lock.is_released(now) && !lock.is_released(now + Duration::from_secs(5)));
        lock.set_lockdown(false);
        lock.open(Opener::Credential, now + Duration::from_secs(10));
        lock.set_lockdown(true);
        assert!(!lock.is_released(now + Duration::from_secs(10)));
    }

    proptest! {
        #[test]
        fn f095_it_is_never_released_longer_than_the_maximum(
            open_ms in 0_u64..100_000,
            happens in prop::collection::vec((0_u64..7_000, any_does()), 0..200),
        ) {
            let mut lock = Lock::new(Duration::from_millis(open_ms), false);
            let mut now = Instant::now();
            // When it was released after being locked, or the exit button was pressed; and the last order obeyed.
            let (mut began, mut ordered) = (None, None);
            let (mut is_locked_down, mut exit) = (false, None);
            for (pause_ms, what) in happens {
                now += Duration::from_millis(pause_ms);
                let was_released = lock.is_released(now) && !lock.is_fire();
                let obeyed = does(&mut lock, what, now) == Some(Opening::Released);
                if obeyed {
                    ordered = Some(now);
                    if matches!(what, Does::Exit) {
                        exit = Some(now);
                    }
                    if !was_released || exit == Some(now) {
                        began = Some(now);
                    }
                }
                if let Does::Lockdown(is_on) = what {
                    is_locked_down = is_on;
                }
                prop_assert!(lock.locks_at(now).is_none_or(|at| at <= now + longest()));
                if lock.is_fire() {
                    prop_assert!(lock.is_released(now));
                    began = None;
                    continue;
                }
                if lock.is_released(now) {
                    let since_order = ordered.map(|at| now - at);
                    prop_assert!(since_order.is_some_and(|time| time < longest().min(Duration::from_millis(open_ms.max(1)))));
                    prop_assert!(began.is_none_or(|at| now - at < longest()));
                    prop_assert!(!is_locked_down || exit.is_some_and(|at| now - at < longest()));
                    prop_assert!(!lock.is_released(now + longest()));
                }
            }
        }
    }
}
