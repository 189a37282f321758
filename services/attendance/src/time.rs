//! When events happened: raw clock readings made into corrected times.
//!
//! A terminal without a real-time clock begins each boot in 1970 and learns the time later. What it wrote until then is
//! placed by the time since boot, which never jumps: an anchor tells the true time of one moment of a boot.
//!
//! - A boot with anchors: between two, linear; before the first and after the last, by the time since boot. Anchors that
//!   no clock could both be right about (their rates differ by more than [`RATE_PPM`]) are not joined by a line: the
//!   nearer one counts.
//! - A boot without: an event whose wall clock was set by a time server or the hub is an anchor itself.
//! - Otherwise the boot lies between the events before and after it. Where its wall clock was at least set from
//!   something, and fits in between, it is believed; else the boots share what time there is evenly. They never overlap.
//!
//! Corrected times are derived, from readings and anchors alone; the readings never change.

use std::collections::HashMap;

/// Where a wall clock's time came from, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// Never set.
    Unset,
    /// Not before the latest time that was known, and no more is known of it.
    Saved,
    /// From a real-time clock.
    Rtc,
    /// From a time server.
    Ntp,
    /// From the hub.
    Hub,
}

/// What a machine's clocks said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The kernel's id of this boot.
    pub boot_id: [u8; 16],
    /// Microseconds since boot, suspended time included.
    pub boottime_us: i64,
    /// The wall clock, microseconds since 1970.
    pub wall_us: i64,
    /// How far it could be trusted.
    pub quality: Quality,
}

/// The true time of a moment of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Which boot.
    pub boot_id: [u8; 16],
    /// Which moment, microseconds since boot.
    pub boottime_us: i64,
    /// The time then, microseconds since 1970.
    pub true_us: i64,
    /// How far it may be off.
    pub error_us: i64,
}

/// How far a corrected time can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The clock was right by itself.
    Good,
    /// The clock was not known then; an anchor told it.
    Corrected,
    /// No anchor; between its neighbours.
    Estimated,
}

impl Trust {
    /// As stored, and as in `TimeTrust`.
    pub fn number(self) -> i64 {
        match self {
            Self::Good => 1,
            Self::Corrected => 2,
            Self::Estimated => 3,
        }
    }
}

/// A corrected time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// Microseconds since 1970.
    pub us: i64,
    /// How far it can be trusted.
    pub trust: Trust,
}

/// A quartz that is off by more than this is broken; the kernel steers by at most 500 (adjtimex(2)).
pub const RATE_PPM: i64 = 1_000;

/// A wall clock from a time server that is further than this from the corrected time was not right by itself.
const GOOD_WITHIN_US: i64 = 2_000_000;

/// Corrects the times of events that follow one another in a log.
///
/// `before`: the corrected time of the event before the first, where there is one.
pub fn correct(readings: &[Reading], anchors: &[Anchor], before: Option<i64>) -> Vec<Corrected> {
    let anchors = by_boot(readings, anchors);
    let of = |reading: &Reading| anchors.get(&reading.boot_id).map_or(&[][..], Vec::as_slice);
    let mut corrected: Vec<Option<Corrected>> =
        readings.iter().map(|reading| anchored(reading, of(reading))).collect();
    let mut from = 0;
    while let Some(start) = corrected[from..].iter().position(Option::is_none).map(|offset| from + offset) {
        let end = corrected[start..].iter().position(Option::is_some).map_or(corrected.len(), |n| start + n);
        let lower = match start {
            0 => before,
            start => corrected[start - 1].map(|known| known.us),
        };
        let upper = corrected.get(end).copied().flatten().map(|known| known.us);
        for (slot, us) in corrected[start..end].iter_mut().zip(between(&readings[start..end], lower, upper)) {
            *slot = Some(Corrected { us, trust: Trust::Estimated });
        }
        from = end;
    }
    corrected.into_iter().flatten().collect()
}

/// The anchors of each boot, by time since boot.
fn by_boot(readings: &[Reading], anchors: &[Anchor]) -> HashMap<[u8; 16], Vec<Anchor>> {
    let mut told: HashMap<[u8; 16], Vec<Anchor>> = HashMap::new();
    for anchor in anchors {
        told.entry(anchor.boot_id).or_default().push(*anchor);
    }
    let mut seen: HashMap<[u8; 16], Vec<Anchor>> = HashMap::new();
    for one in readings.iter().filter(|one| is_trusted(one) && !told.contains_key(&one.boot_id)) {
        seen.entry(one.boot_id).or_default().push(Anchor {
            boot_id: one.boot_id,
            boottime_us: one.boottime_us,
            true_us: one.wall_us,
            error_us: GOOD_WITHIN_US,
        });
    }
    told.extend(seen);
    for own in told.values_mut() {
        own.sort_by_key(|anchor| anchor.boottime_us);
    }
    told
}

fn is_trusted(reading: &Reading) -> bool {
    reading.quality >= Quality::Ntp
}

/// The time of a reading by the anchors of its boot, sorted; `None` when there are none.
fn anchored(reading: &Reading, anchors: &[Anchor]) -> Option<Corrected> {
    let after = anchors.partition_point(|anchor| anchor.boottime_us <= reading.boottime_us);
    let (left, right) = (after.checked_sub(1).and_then(|index| anchors.get(index)), anchors.get(after));
    let us = match (left, right) {
        (Some(left), Some(right)) => joined(reading.boottime_us, left, right),
        (Some(one), None) | (None, Some(one)) => by(reading.boottime_us, one),
        (None, None) => return None,
    };
    let is_good = is_trusted(reading) && us.abs_diff(reading.wall_us) <= GOOD_WITHIN_US.unsigned_abs();
    Some(Corrected { us, trust: if is_good { Trust::Good } else { Trust::Corrected } })
}

/// By one anchor.
fn by(boottime_us: i64, anchor: &Anchor) -> i64 {
    anchor.true_us.saturating_add(boottime_us.saturating_sub(anchor.boottime_us))
}

/// On the line between two anchors, or by the nearer one where they disagree.
fn joined(boottime_us: i64, left: &Anchor, right: &Anchor) -> i64 {
    let span = i128::from(right.boottime_us) - i128::from(left.boottime_us);
    let true_span = i128::from(right.true_us) - i128::from(left.true_us);
    let allowed =
        span * i128::from(RATE_PPM) / 1_000_000 + i128::from(left.error_us) + i128::from(right.error_us);
    let into = i128::from(boottime_us) - i128::from(left.boottime_us);
    if span <= 0 || (true_span - span).abs() > allowed {
        return by(boottime_us, if into * 2 <= span { left } else { right });
    }
    // Readings that no clock gives, 2^63 us apart, have a product that no i128 holds.
    let moved = into.checked_mul(true_span).map(|product| product / span);
    let us = moved.and_then(|moved| i64::try_from(i128::from(left.true_us) + moved).ok());
    us.unwrap_or(left.true_us)
}

/// Places for events of boots without an anchor, after `lower` and before `upper`.
fn between(readings: &[Reading], lower: Option<i64>, upper: Option<i64>) -> Vec<i64> {
    let boots: Vec<&[Reading]> = readings.chunk_by(|a, b| a.boot_id == b.boot_id).collect();
    let mut to_come: i64 = boots.iter().map(|boot| span(boot)).fold(0, i64::saturating_add);
    let mut placed = Vec::with_capacity(readings.len());
    let mut lower = lower;
    for (index, boot) in boots.iter().enumerate() {
        let latest = upper.map(|upper| upper.saturating_sub(to_come));
        let begin = match (believed(boot), lower, latest) {
            (Some(wall), lower, latest) => {
                let wall = lower.map_or(wall, |lower| wall.max(lower));
                latest.map_or(wall, |latest| wall.min(latest))
            }
            (None, Some(lower), Some(latest)) => {
                let boots_left = i64::try_from(boots.len() - index).unwrap_or(i64::MAX - 1);
                lower.saturating_add(latest.saturating_sub(lower).max(0) / (boots_left + 1))
            }
            (None, None, Some(latest)) => latest,
            (None, Some(lower), None) => lower,
            (None, None, None) => boot.first().map_or(0, |reading| reading.wall_us),
        };
        // Where more time has gone by since boot than there is between the neighbours, order is all that is left.
        let begin = lower.map_or(begin, |lower| begin.max(lower));
        let first = boot.iter().map(|reading| reading.boottime_us).min().unwrap_or(0);
        for reading in *boot {
            let us = begin.saturating_add(reading.boottime_us.saturating_sub(first));
            placed.push(upper.map_or(us, |upper| us.min(upper.max(begin))));
        }
        to_come = to_come.saturating_sub(span(boot));
        lower = placed.iter().rev().take(boot.len()).copied().max().or(lower);
    }
    placed
}

/// Time from the first to the last event of a boot.
fn span(boot: &[Reading]) -> i64 {
    let times = || boot.iter().map(|reading| reading.boottime_us);
    times().max().unwrap_or(0).saturating_sub(times().min().unwrap_or(0))
}

/// When a boot's first event was by its best wall clock, the latest of equals (somebody may have set it meanwhile);
/// `None` when it was never set.
fn believed(boot: &[Reading]) -> Option<i64> {
    let best =
        boot.iter().filter(|reading| reading.quality > Quality::Unset).max_by_key(|one| one.quality)?;
    let first = boot.iter().map(|reading| reading.boottime_us).min()?;
    Some(best.wall_us.saturating_sub(best.boottime_us.saturating_sub(first)))
}

/// The time of one more event at the end of a log, before any later anchor is known. `last`: the event before it with
/// its corrected time; `anchors`: those of the event's boot.
pub fn at_the_end(reading: &Reading, anchors: &[Anchor], last: Option<(Reading, i64)>) -> Corrected {
    if let Some((last, us)) = last
        && last.boot_id == reading.boot_id
        && anchors.is_empty()
        && reading.quality == Quality::Unset
    {
        let us = us.saturating_add(reading.boottime_us.saturating_sub(last.boottime_us));
        return Corrected { us, trust: Trust::Estimated };
    }
    let one = correct(&[*reading], anchors, last.map(|(_, us)| us)).into_iter().next();
    one.unwrap_or(Corrected { us: reading.wall_us, trust: Trust::Estimated })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const YEAR_2026: i64 = 1_767_225_600 * SECOND;

    fn reading(boot: u8, seconds: i64, wall_us: i64, quality: Quality) -> Reading {
        Reading { boot_id: [boot; 16], boottime_us: seconds * SECOND, wall_us, quality }
    }

    fn unset(boot: u8, seconds: i64) -> Reading {
        reading(boot, seconds, seconds * SECOND, Quality::Unset)
    }

    fn anchor(boot: u8, seconds: i64, true_us: i64) -> Anchor {
        Anchor { boot_id: [boot; 16], boottime_us: seconds * SECOND, true_us, error_us: SECOND }
    }

    fn seconds(corrected: &[Corrected]) -> Vec<(i64, Trust)> {
        corrected.iter().map(|one| ((one.us - YEAR_2026) / SECOND, one.trust)).collect()
    }

    #[test]
    fn f048_a_boot_in_1970_is_corrected_by_one_anchor() {
        let events: Vec<Reading> = (0..50).map(|n| unset(1, 10 + n)).collect();
        let before = correct(&events, &[], None);
        assert!(before.iter().all(|one| one.trust == Trust::Estimated), "flagged before");
        let after = correct(&events, &[anchor(1, 100, YEAR_2026 + 100 * SECOND)], None);
        let expected: Vec<_> = (0..50).map(|n| (10 + n, Trust::Corrected)).collect();
        assert_eq!(seconds(&after), expected);
    }

    #[test]
    fn f049_boots_without_an_anchor_lie_between_their_neighbours_and_never_overlap() {
        let events = [unset(1, 0), unset(2, 5), unset(2, 25), unset(3, 7), unset(3, 17), unset(4, 0)];
        let anchors = [anchor(1, 0, YEAR_2026), anchor(4, 0, YEAR_2026 + 120 * SECOND)];
        let corrected = seconds(&correct(&events, &anchors, None));
        // 120 seconds, 30 of them known to be within the boots: three gaps of 30.
        let trust = Trust::Estimated;
        let middle = [(30, trust), (50, trust), (80, trust), (90, trust)];
        assert_eq!(corrected[1..5], middle);
        assert_eq!(corrected[0], (0, Trust::Corrected));
        assert_eq!(corrected[5], (120, Trust::Corrected));
    }

    #[test]
    fn the_time_between_two_anchors_is_linear() {
        // The crystal runs 100 ppm fast: 10,000 s of it are 9,999 true ones.
        let anchors = [anchor(1, 0, YEAR_2026), anchor(1, 10_000, YEAR_2026 + 9_999 * SECOND)];
        let corrected = correct(&[unset(1, 5_000)], &anchors, None);
        assert_eq!(corrected[0].us, YEAR_2026 + 9_999 * SECOND / 2);
    }

    #[test]
    fn anchors_that_disagree_are_not_joined() {
        // Ten years between two anchors a hundred seconds apart.
        let anchors = [anchor(1, 0, YEAR_2026), anchor(1, 100, YEAR_2026 + 315_360_000 * SECOND)];
        let corrected = correct(&[unset(1, 10), unset(1, 90)], &anchors, None);
        assert_eq!(seconds(&corrected)[0], (10, Trust::Corrected));
        assert_eq!(seconds(&corrected)[1], (315_360_000 - 10, Trust::Corrected));
    }

    #[test]
    fn f047_a_wall_clock_that_jumps_changes_no_corrected_time() {
        let ten_years = 315_360_000 * SECOND;
        let events = [
            reading(1, 10, YEAR_2026 + 10 * SECOND, Quality::Ntp),
            reading(1, 20, YEAR_2026 + 20 * SECOND - ten_years, Quality::Ntp),
            reading(1, 30, YEAR_2026 + 30 * SECOND + ten_years, Quality::Saved),
            reading(1, 40, YEAR_2026 + 40 * SECOND, Quality::Ntp),
        ];
        let corrected = correct(&events, &[anchor(1, 9, YEAR_2026 + 9 * SECOND)], None);
        let expected = [(10, Trust::Good), (20, Trust::Corrected), (30, Trust::Corrected), (40, Trust::Good)];
        assert_eq!(seconds(&corrected), expected);
    }

    #[test]
    fn a_clock_that_somebody_set_is_believed_where_it_fits() {
        let day = 86_400;
        // Alone, offline, never an anchor: the real-time clock is all there is.
        let rtc = |boot, at: i64, since| reading(boot, since, YEAR_2026 + at * SECOND, Quality::Rtc);
        let events = [rtc(1, 100, 5), rtc(1, 200, 105), rtc(2, day, 9)];
        let corrected = seconds(&correct(&events, &[], None));
        assert_eq!(corrected, [(100, Trust::Estimated), (200, Trust::Estimated), (day, Trust::Estimated)]);
        // Set by hand after the first event: the later reading counts for both.
        let events =
            [reading(1, 5, 0, Quality::Saved), reading(1, 15, YEAR_2026 + 15 * SECOND, Quality::Saved)];
        assert_eq!(seconds(&correct(&events, &[], None))[0].0, 5);
        // Ahead of what is known to come after it: it cannot be right.
        let events = [rtc(1, 900, 0), unset(2, 0)];
        let corrected = seconds(&correct(&events, &[anchor(2, 0, YEAR_2026 + 300 * SECOND)], None));
        assert_eq!(corrected[0], (300, Trust::Estimated));
    }

    #[test]
    fn an_event_at_the_end_is_placed_as_the_whole_log_would_place_it() {
        let anchors = [anchor(1, 0, YEAR_2026)];
        let last = Some((unset(1, 10), YEAR_2026 + 10 * SECOND));
        let end = |reading: &Reading, anchors: &[Anchor]| seconds(&[at_the_end(reading, anchors, last)])[0];
        assert_eq!(end(&unset(1, 20), &anchors), (20, Trust::Corrected));
        assert_eq!(end(&unset(1, 20), &[]), (20, Trust::Estimated));
        assert_eq!(end(&unset(2, 20), &[]), (10, Trust::Estimated));
        assert_eq!(end(&reading(2, 0, YEAR_2026 + 90 * SECOND, Quality::Rtc), &[]), (90, Trust::Estimated));
        assert_eq!(end(&reading(2, 0, YEAR_2026 + 90 * SECOND, Quality::Ntp), &[]), (90, Trust::Good));
    }

    fn qualities() -> impl Strategy<Value = Quality> {
        prop::sample::select(vec![Quality::Unset, Quality::Saved, Quality::Rtc, Quality::Ntp, Quality::Hub])
    }

    proptest! {
        #[test]
        fn no_reading_breaks_it(
            events in vec((0..4_u8, any::<i64>(), any::<i64>(), qualities()), 0..20),
            anchors in vec((0..4_u8, any::<i64>(), any::<i64>(), 0..i64::MAX), 0..5),
            before in any::<Option<i64>>(),
        ) {
            let events: Vec<Reading> = events
                .into_iter()
                .map(|(boot, boottime_us, wall_us, quality)| Reading { boot_id: [boot; 16], boottime_us, wall_us, quality })
                .collect();
            let anchors: Vec<Anchor> = anchors
                .into_iter()
                .map(|(boot, boottime_us, true_us, error_us)| Anchor { boot_id: [boot; 16], boottime_us, true_us, error_us })
                .collect();
            let first = correct(&events, &anchors, before);
            prop_assert_eq!(first.len(), events.len());
            prop_assert_eq!(first, correct(&events, &anchors, before));
        }

        #[test]
        fn estimates_keep_the_order_of_the_log(
            boots in vec(vec(0..1_000_i64, 1..5), 1..6), gap in 0..100_000_i64, quality in qualities(),
        ) {
            let mut events = vec![unset(0, 0)];
            for (index, steps) in boots.iter().enumerate() {
                let mut since = 0;
                for step in steps {
                    since += step;
                    let boot = u8::try_from(index).unwrap_or(0) + 1;
                    events.push(reading(boot, since, YEAR_2026 + since, quality.min(Quality::Rtc)));
                }
            }
            events.push(unset(99, 0));
            let anchors = [anchor(0, 0, YEAR_2026), anchor(99, 0, YEAR_2026 + gap * SECOND)];
            let corrected: Vec<i64> = correct(&events, &anchors, None).iter().map(|one| one.us).collect();
            prop_assert!(corrected.is_sorted(), "{corrected:?}");
        }
    }
}
