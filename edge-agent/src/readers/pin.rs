//! How often wrong PINs, cards and badges may be tried at a door. Pure.
//!
//! Five wrong ones within a minute make the door wait: 30 seconds, the second time within an hour 2 minutes, then 10.
//! Beyond twelve wrong ones within an hour every further one makes it wait 10 minutes, so that nobody gains by being
//! slow. A right one forgives one wrong one, but each holder's only once an hour: a class in the morning mistypes and
//! goes on, and whoever guesses gains nothing by their own badge in between.
//!
//! The odds: somebody who does nothing else gets at most 18 guesses in any hour, and one more for each accomplice with a
//! credential. Random PINs are so long that a guess hits one of a thousand at most (`services/gallery`, credentials), so
//! an hour at the door opens it with 1.8 % at most; with 100 people and 6 digits it is 0.18 %. Every one is in the log.
//!
//! Not kept over a restart: who can restart the terminal stands inside.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rollcall_core::{PersonId, limits};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The door takes no credentials for so many seconds, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitSeconds(pub u32);

/// See the module.
#[derive(Debug, Default)]
pub struct Limiter {
    /// Wrong ones of the last hour that were not forgiven, the oldest first.
    wrong: VecDeque<Instant>,
    /// How many of them, at the end, came after the last wait began.
    since_wait: usize,
    /// Begins of the waits of the last hour.
    waits: VecDeque<Instant>,
    until: Option<Instant>,
    /// Whose right ones have forgiven, and when.
    forgivers: BTreeMap<PersonId, Instant>,
}

impl Limiter {
    /// Whether a credential may be looked at.
    ///
    /// # Errors
    /// How long not.
    pub fn may_try(&self, now: Instant) -> Result<(), WaitSeconds> {
        let left = self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if left.is_zero() {
            return Ok(());
        }
        Err(WaitSeconds(u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)))
    }

    /// A credential was not valid.
    pub fn wrong(&mut self, now: Instant) {
        self.forget(now);
        if self.wrong.len() > limits::DOOR_WRONG_AN_HOUR {
            self.wrong.pop_front();
        }
        self.wrong.push_back(now);
        self.since_wait = (self.since_wait + 1).min(self.wrong.len());
        let recent = self.wrong.iter().rev().take(self.since_wait);
        let in_minute = recent.take_while(|at| now.saturating_duration_since(**at) < MINUTE).count();
        let [first, second, longest] = limits::DOOR_WAIT_SECONDS;
        let wait = if self.wrong.len() >= limits::DOOR_WRONG_AN_HOUR {
            longest
        } else if in_minute >= limits::DOOR_WRONG_A_MINUTE {
            [first, second].get(self.waits.len()).copied().unwrap_or(longest)
        } else {
            return;
        };
        self.waits.push_back(now);
        self.since_wait = 0;
        self.until = Some(now + Duration::from_secs(wait));
    }

    /// A credential was valid. It ends no wait.
    pub fn right(&mut self, holder: PersonId, now: Instant) {
        self.forget(now);
        let may_forgive =
            self.forgivers.len() < limits::DOOR_FORGIVERS && !self.forgivers.contains_key(&holder);
        if may_forgive && self.wrong.pop_front().is_some() {
            self.forgivers.insert(holder, now);
            self.since_wait = self.since_wait.min(self.wrong.len());
        }
    }

    /// What is an hour old counts no longer.
    fn forget(&mut self, now: Instant) {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= HOUR;
        while self.wrong.front().is_some_and(is_old) {
            self.wrong.pop_front();
        }
        while self.waits.front().is_some_and(is_old) {
            self.waits.pop_front();
        }
        self.since_wait = self.since_wait.min(self.wrong.len());
        self.forgivers.retain(|_, at| !is_old(at));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn five_wrong_in_a_minute_wait_and_each_time_longer() {
        let (start, mut limiter) = (Instant::now(), Limiter::default());
        let mut now = start;
        for wait in [30, 120] {
            for _ in 0..5 {
                assert_eq!(limiter.may_try(now), Ok(()));
                limiter.wrong(now);
                now += seconds(1);
            }
            assert_eq!(limiter.may_try(now), Err(WaitSeconds(wait - 1)));
            now += seconds(u64::from(wait) - 1);
        }
        for _ in 0..2 {
            assert_eq!(limiter.may_try(now), Ok(()));
            limiter.wrong(now);
        }
        assert_eq!(limiter.may_try(now), Err(WaitSeconds(600)), "twelve within an hour");
        assert_eq!(limiter.may_try(now + seconds(599) + Duration::from_millis(1)), Err(WaitSeconds(1)));
        assert_eq!(limiter.may_try(now + seconds(600)), Ok(()));
    }

    #[test]
    fn a_few_mistakes_now_and_then_never_wait() {
        let (start, mut limiter) = (Instant::now(), Limiter::default());
        for n in 0..100 {
            let now = start + seconds(n * 360);
            limiter.wrong(now);
            assert_eq!(limiter.may_try(now), Ok(()));
        }
    }

    #[test]
    fn a_rush_in_which_everybody_mistypes_once_goes_on() {
        let (start, mut limiter) = (Instant::now(), Limiter::default());
        for n in 0..300 {
            let now = start + seconds(n * 3);
            assert_eq!(limiter.may_try(now), Ok(()), "{n}");
            limiter.wrong(now);
            limiter.right(PersonId::generate(), now + seconds(2));
        }
    }

    #[test]
    fn the_own_badge_in_between_forgives_once_an_hour_and_ends_no_wait() {
        let (now, mut limiter, own) = (Instant::now(), Limiter::default(), PersonId::generate());
        for _ in 0..6 {
            limiter.wrong(now);
            limiter.right(own, now);
        }
        assert_eq!(limiter.may_try(now), Err(WaitSeconds(30)));
        limiter.right(PersonId::generate(), now);
        assert_eq!(limiter.may_try(now), Err(WaitSeconds(30)));
    }

    proptest! {
        #[test]
        fn in_any_hour_nobody_gets_more_than_18_guesses(pauses in proptest::collection::vec(0_u64..400, 1..300)) {
            let (mut now, mut limiter, own) = (Instant::now(), Limiter::default(), PersonId::generate());
            let mut guesses: Vec<Instant> = Vec::new();
            for pause in pauses {
                now += seconds(pause);
                if let Err(WaitSeconds(wait)) = limiter.may_try(now) {
                    prop_assert!((1..=600).contains(&wait));
                    now += seconds(u64::from(wait));
                }
                prop_assert_eq!(limiter.may_try(now), Ok(()));
                limiter.wrong(now);
                guesses.push(now);
                limiter.right(own, now);
                let in_hour = guesses.iter().filter(|at| now.duration_since(**at) < HOUR).count();
                // One of them is forgiven for the own credential.
                prop_assert!(in_hour <= 19, "{}", in_hour);
            }
        }
    }
}
