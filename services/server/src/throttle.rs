//! Wrong credentials, and calls of strangers, counted by address.
//!
//! An address may be wrong ten times at once and then once in six seconds (a leaky bucket: each wrong try fills it, time
//! empties it). Of the calls that need nobody, those that adopt terminals, it has so many a second, and after five wrong
//! guesses of a secret one in twelve seconds. A token cannot be guessed, so a right one is never refused on account of wrong ones from its address;
//! passwords can, so whoever checks one asks [`Throttle::check`] first. At most 4,096 addresses are kept; the one that
//! was wrong longest ago makes room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rollcall_core::{Fault, Reason, limits};
use tonic::Status;

use crate::refusal;

/// Who was wrong, and how often.
#[derive(Debug)]
pub struct Throttle {
    /// Tries at once.
    burst: u32,
    /// Between two tries after that.
    pause: Duration,
    /// What it counts, in words.
    what: &'static str,
    /// For each place the time at which its bucket is empty again.
    empty_at: Mutex<HashMap<IpAddr, Instant>>,
}

/// Too many wrong tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// How long to wait.
    pub delay: Duration,
    what: &'static str,
}

impl Throttled {
    /// What the caller is told.
    pub fn fault(&self) -> Fault {
        let seconds = self.delay.as_secs().max(1);
        let message = format!("too many {} from this address; wait {seconds} seconds", self.what);
        Fault::new(Reason::TooManyRequests, message).with("retry_delay_s", seconds)
    }
}

impl Default for Throttle {
    /// Counts wrong credentials.
    fn default() -> Self {
        let pause = Duration::from_millis(limits::WRONG_CREDENTIALS_PAUSE_MS);
        Self::counting("wrong credentials", limits::WRONG_CREDENTIALS, pause)
    }
}

impl Throttle {
    fn counting(what: &'static str, burst: u32, pause: Duration) -> Self {
        Self { burst, pause, what, empty_at: Mutex::default() }
    }

    /// Whether credentials from this address are looked at.
    ///
    /// # Errors
    /// When it was wrong too often.
    pub fn check(&self, address: IpAddr, now: Instant) -> Result<(), Throttled> {
        let empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        match empty_at.get(&place(address)) {
            Some(empty_at) => self.verdict(*empty_at, now),
            None => Ok(()),
        }
    }

    /// Counts a try.
    ///
    /// # Errors
    /// When it was one too many.
    pub fn count(&self, address: IpAddr, now: Instant) -> Result<(), Throttled> {
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        let place = place(address);
        if empty_at.len() >= limits::THROTTLED_ADDRESSES && !empty_at.contains_key(&place) {
            empty_at.retain(|_, empty| *empty > now);
            if empty_at.len() >= limits::THROTTLED_ADDRESSES
                && let Some(oldest) =
                    empty_at.iter().min_by_key(|(_, empty)| **empty).map(|(place, _)| *place)
            {
                empty_at.remove(&oldest);
            }
        }
        let before = empty_at.get(&place).copied().unwrap_or(now).max(now);
        self.verdict(before, now)?;
        empty_at.insert(place, before + self.pause);
        Ok(())
    }

    fn verdict(&self, empty_at: Instant, now: Instant) -> Result<(), Throttled> {
        let full = self.pause * (self.burst - 1);
        let filled = empty_at.saturating_duration_since(now);
        if filled <= full {
            return Ok(());
        }
        Err(Throttled { delay: filled.saturating_sub(full), what: self.what })
    }
}

/// Calls that need nobody.
#[derive(Debug)]
pub(crate) struct Strangers {
    calls: Throttle,
    guesses: Throttle,
}

impl Default for Strangers {
    fn default() -> Self {
        let pause = Duration::from_millis(limits::STRANGER_CALLS_PAUSE_MS);
        let calls = Throttle::counting("calls", limits::STRANGER_CALLS, pause);
        let pause = Duration::from_millis(limits::SECRET_GUESSES_PAUSE_MS);
        Self { calls, guesses: Throttle::counting("wrong secrets", limits::SECRET_GUESSES, pause) }
    }
}

impl Strangers {
    /// Whether a call from this address is answered. One that was wrong too often is not, right or wrong, so that it
    /// does not learn which it would have been.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), Status> {
        let admitted = self.guesses.check(address, now).and_then(|()| self.calls.count(address, now));
        admitted.map_err(|throttled| refusal::status_with_delay(&throttled.fault(), throttled.delay))
    }

    /// A call from this address had a wrong secret.
    pub(crate) fn guessed(&self, address: IpAddr, now: Instant) -> Result<(), Status> {
        let counted = self.guesses.count(address, now);
        counted.map_err(|throttled| refusal::status_with_delay(&throttled.fault(), throttled.delay))
    }
}

/// Addresses that one household or company has together: of IPv6 a /64.
pub(crate) fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::net::Ipv4Addr;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(limits::WRONG_CREDENTIALS_PAUSE_MS);
    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn ten_wrong_tries_are_free_and_then_one_in_six_seconds() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            throttle.count(ADDRESS, now).unwrap();
        }
        assert_eq!(throttle.count(ADDRESS, now).unwrap_err().delay, PAUSE);
        assert!(throttle.check(ADDRESS, now).is_err());
        throttle.count(ADDRESS, now + PAUSE).unwrap();
        assert!(throttle.count(ADDRESS, now + PAUSE).is_err());
        throttle.check("10.0.0.2".parse().unwrap(), now).unwrap();
        throttle.check("::ffff:10.0.0.1".parse().unwrap(), now).unwrap_err();
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_counted_together() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for host in 1..=10 {
            throttle.count(format!("2001:db8::{host}").parse().unwrap(), now).unwrap();
        }
        throttle.check("2001:db8::ffff".parse().unwrap(), now).unwrap_err();
        throttle.check("2001:db8:0:1::1".parse().unwrap(), now).unwrap();
    }

    #[test]
    fn f074_after_five_wrong_secrets_an_address_is_answered_five_times_a_minute() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for _ in 0..5 {
            strangers.admit(ADDRESS, now).unwrap();
            strangers.guessed(ADDRESS, now).unwrap();
        }
        let refused = strangers.admit(ADDRESS, now).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        strangers.admit(ADDRESS, now + Duration::from_secs(60 / 5)).unwrap();
        strangers.admit("10.0.0.2".parse().unwrap(), now).unwrap();
    }

    #[test]
    fn strangers_are_answered_120_times_at_once_and_then_ten_times_a_second() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for _ in 0..120 {
            strangers.admit(ADDRESS, now).unwrap();
        }
        strangers.admit(ADDRESS, now).unwrap_err();
        strangers.admit(ADDRESS, now + Duration::from_millis(100)).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for index in 0..limits::THROTTLED_ADDRESSES + 100 {
            let address = Ipv4Addr::from_bits(u32::try_from(index).unwrap());
            throttle.count(address.into(), now + Duration::from_millis(1)).unwrap();
        }
        assert_eq!(throttle.empty_at.lock().unwrap().len(), limits::THROTTLED_ADDRESSES);
    }
}
