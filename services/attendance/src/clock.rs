//! The clocks of this machine: which boot it is, how long it has run, what the wall clock says and how far that can be
//! trusted.
//!
//! Where the wall clock's time came from:
//!
//! - a time server: systemd-timesyncd has made `/run/systemd/timesync/synchronized`. (The kernel's own flag is told by
//!   adjtimex alone, which no safe interface has.)
//! - a real-time clock: `/sys/class/rtc/*/hctosys` is 1, the kernel set the time from it at boot.
//! - saved: neither, but it is not before the latest time that was ever trusted here (`clock.floor`).
//! - unset: it is before that, so whatever set it has lost the time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rollcall_core::UtcInstant;
use rustix::time::{ClockId, clock_gettime};

use crate::time::{Quality, Reading};

/// Gives the time; tests and the simulator give their own.
pub trait Clock: Send + Sync + 'static {
    /// What the clocks say now.
    fn read(&self) -> Reading;

    /// From now on a wall clock that shows an earlier time than this was not set.
    fn raise_floor(&self, floor: UtcInstant);
}

/// This machine's clocks.
pub struct SystemClock {
    boot_id: [u8; 16],
    floor_us: Arc<AtomicI64>,
}

impl SystemClock {
    /// The clocks, with the latest time that was trusted before.
    pub fn new(floor: UtcInstant) -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot_id = boot_id.and_then(|text| uuid::Uuid::try_parse(text.trim()).ok());
        Self {
            // Without /proc every start counts as a boot, which is safe: its times are corrected by themselves.
            boot_id: boot_id.unwrap_or_else(uuid::Uuid::now_v7).into_bytes(),
            floor_us: Arc::new(AtomicI64::new(floor.micros())),
        }
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        let since_boot = clock_gettime(ClockId::Boottime);
        let wall_us = UtcInstant::now().micros();
        let quality = if wall_us < self.floor_us.load(Ordering::Relaxed) {
            Quality::Unset
        } else if Path::new("/run/systemd/timesync/synchronized").exists() {
            Quality::Ntp
        } else if is_set_from_rtc() {
            Quality::Rtc
        } else {
            Quality::Saved
        };
        Reading {
            boot_id: self.boot_id,
            boottime_us: since_boot
                .tv_sec
                .saturating_mul(1_000_000)
                .saturating_add(since_boot.tv_nsec / 1_000),
            wall_us,
            quality,
        }
    }

    fn raise_floor(&self, floor: UtcInstant) {
        self.floor_us.fetch_max(floor.micros(), Ordering::Relaxed);
    }
}

fn is_set_from_rtc() -> bool {
    let clocks = std::fs::read_dir("/sys/class/rtc").into_iter().flatten().flatten();
    clocks
        .filter_map(|clock| std::fs::read(clock.path().join("hctosys")).ok())
        .any(|flag| flag.first() == Some(&b'1'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_since_boot_goes_on_and_the_boot_stays_the_same() {
        let clock = SystemClock::new(UtcInstant::from_micros(0));
        let (first, second) = (clock.read(), clock.read());
        assert!(first.boottime_us > 0 && second.boottime_us >= first.boottime_us);
        assert_eq!(first.boot_id, SystemClock::new(UtcInstant::from_micros(0)).read().boot_id);
    }

    #[test]
    fn a_clock_behind_the_latest_trusted_time_is_not_set() {
        let clock = SystemClock::new(UtcInstant::from_micros(0));
        assert_ne!(clock.read().quality, Quality::Unset);
        clock.raise_floor(UtcInstant::now().after(Duration::from_secs(3_600)));
        assert_eq!(clock.read().quality, Quality::Unset);
    }
}
