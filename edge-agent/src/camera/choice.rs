//! Which format, size and rate a camera is asked for.
//!
//! The size nearest to what is wanted decides first, then the rate, then the format: raw frames cost least to read, so
//! MJPEG is taken where raw frames would come too slowly, as they do from USB 2 cameras at 1280 x 720.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use rollcall_vision::decode::FrameFormat;

/// Slower, a camera is of no use at a door, whatever its size.
const RATE_MIN: f64 = 5.0;

/// What is wanted of a camera.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second.
    pub rate: f64,
    /// Nothing else is taken.
    pub format: Option<FrameFormat>,
}

/// A format that a device offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// As the driver names it: four characters.
    pub code: String,
    /// `None`: it cannot be decoded.
    pub format: Option<FrameFormat>,
    /// Its sizes; empty when the driver does not say.
    pub sizes: Vec<OfferedSize>,
}

/// A size, or sizes in steps, of one format.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedSize {
    /// Columns.
    pub width: RangeInclusive<u32>,
    /// Rows.
    pub height: RangeInclusive<u32>,
    /// Steps of both.
    pub step: (u32, u32),
    /// Frames a second, of the nearest of these sizes; empty when the driver does not say.
    pub rates: Vec<RangeInclusive<f64>>,
}

impl OfferedSize {
    /// Columns and rows of the nearest of these sizes.
    pub fn nearest(&self, wanted: &Wanted) -> (u32, u32) {
        let side = |range: &RangeInclusive<u32>, step: u32, wanted: u32| {
            let (least, most) = (*range.start(), *range.end());
            let within = wanted.clamp(least, most.max(least)) - least;
            least + within / step.max(1) * step.max(1)
        };
        (side(&self.width, self.step.0, wanted.width), side(&self.height, self.step.1, wanted.height))
    }

    /// The slowest rate that is fast enough, else the fastest; `None` when the driver does not say.
    fn rate(&self, wanted: f64) -> Option<f64> {
        let nearest =
            |range: &RangeInclusive<f64>| wanted.clamp(*range.start(), range.end().max(*range.start()));
        self.rates
            .iter()
            .map(nearest)
            .min_by(|a, b| shortfall(*a, wanted).total_cmp(&shortfall(*b, wanted)).then(a.total_cmp(b)))
    }
}

/// What a device is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The format.
    pub format: FrameFormat,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second.
    pub rate: f64,
}

/// All that can be asked for, the best first: a device may refuse what it offers.
pub fn choices(offers: &[Offer], wanted: &Wanted) -> Vec<Choice> {
    let mut choices = Vec::new();
    for offer in offers {
        let Some(format) = offer.format.filter(|format| wanted.format.is_none_or(|only| only == *format))
        else {
            continue;
        };
        if offer.sizes.is_empty() {
            choices.push(Choice { format, width: wanted.width, height: wanted.height, rate: wanted.rate });
        }
        for size in &offer.sizes {
            let (width, height) = size.nearest(wanted);
            let rate = size.rate(wanted.rate).unwrap_or(wanted.rate);
            choices.push(Choice { format, width, height, rate });
        }
    }
    choices.sort_by(|a, b| order(a, b, wanted));
    choices
}

fn order(a: &Choice, b: &Choice, wanted: &Wanted) -> Ordering {
    let too_slow = |choice: &Choice| choice.rate < RATE_MIN.min(wanted.rate);
    let distance = |choice: &Choice| {
        u64::from(choice.width.abs_diff(wanted.width)) + u64::from(choice.height.abs_diff(wanted.height))
    };
    too_slow(a)
        .cmp(&too_slow(b))
        .then(distance(a).cmp(&distance(b)))
        .then(shortfall(a.rate, wanted.rate).total_cmp(&shortfall(b.rate, wanted.rate)))
        .then(cost(a.format).cmp(&cost(b.format)))
}

fn shortfall(rate: f64, wanted: f64) -> f64 {
    (wanted - rate).max(0.0)
}

/// Order of what a frame costs to read.
fn cost(format: FrameFormat) -> u8 {
    match format {
        FrameFormat::Nv12 | FrameFormat::Yuv420 => 0,
        FrameFormat::Yuyv => 1,
        FrameFormat::Mjpeg => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32, rates: &[f64]) -> OfferedSize {
        let rates = rates.iter().map(|rate| *rate..=*rate).collect();
        OfferedSize { width: width..=width, height: height..=height, step: (1, 1), rates }
    }

    fn offer(format: Option<FrameFormat>, sizes: Vec<OfferedSize>) -> Offer {
        Offer { code: "ABCD".to_owned(), format, sizes }
    }

    fn webcam() -> Vec<Offer> {
        vec![
            offer(
                Some(FrameFormat::Yuyv),
                vec![size(640, 480, &[30.0, 15.0]), size(1280, 720, &[10.0, 5.0])],
            ),
            offer(None, vec![size(640, 480, &[30.0])]),
            offer(
                Some(FrameFormat::Mjpeg),
                vec![size(640, 480, &[30.0]), size(1280, 720, &[30.0, 24.0, 15.0])],
            ),
        ]
    }

    fn best(offers: &[Offer], wanted: (u32, u32, f64)) -> Option<(FrameFormat, u32, u32, f64)> {
        let wanted = Wanted { width: wanted.0, height: wanted.1, rate: wanted.2, format: None };
        choices(offers, &wanted).first().map(|c| (c.format, c.width, c.height, c.rate))
    }

    #[test]
    fn raw_frames_are_taken_where_they_come_fast_enough() {
        assert_eq!(best(&webcam(), (640, 480, 15.0)), Some((FrameFormat::Yuyv, 640, 480, 15.0)));
        assert_eq!(best(&webcam(), (640, 480, 20.0)), Some((FrameFormat::Yuyv, 640, 480, 30.0)));
    }

    #[test]
    fn mjpeg_is_taken_where_raw_frames_come_too_slowly() {
        assert_eq!(best(&webcam(), (1280, 720, 15.0)), Some((FrameFormat::Mjpeg, 1280, 720, 15.0)));
        assert_eq!(best(&webcam(), (1920, 1080, 15.0)), Some((FrameFormat::Mjpeg, 1280, 720, 15.0)));
        assert_eq!(best(&webcam(), (1280, 720, 10.0)), Some((FrameFormat::Yuyv, 1280, 720, 10.0)));
    }

    #[test]
    fn a_size_that_comes_at_two_frames_a_second_is_the_last_choice() {
        let offers = [offer(Some(FrameFormat::Yuyv), vec![size(1280, 720, &[2.0]), size(320, 240, &[30.0])])];
        assert_eq!(best(&offers, (1280, 720, 15.0)), Some((FrameFormat::Yuyv, 320, 240, 30.0)));
    }

    #[test]
    fn what_a_driver_does_not_say_is_asked_for_as_wanted() {
        let offers = [offer(Some(FrameFormat::Nv12), Vec::new())];
        assert_eq!(best(&offers, (800, 600, 15.0)), Some((FrameFormat::Nv12, 800, 600, 15.0)));
        let offers = [offer(Some(FrameFormat::Mjpeg), vec![size(320, 240, &[])])];
        assert_eq!(best(&offers, (640, 480, 15.0)), Some((FrameFormat::Mjpeg, 320, 240, 15.0)));
    }

    #[test]
    fn sizes_in_steps_are_met_as_near_as_they_go() {
        let steps =
            OfferedSize { width: 48..=1_000, height: 32..=700, step: (16, 2), rates: vec![1.0..=60.0] };
        let offers = [offer(Some(FrameFormat::Yuyv), vec![steps])];
        assert_eq!(best(&offers, (650, 481, 15.0)), Some((FrameFormat::Yuyv, 640, 480, 15.0)));
        assert_eq!(best(&offers, (4_000, 4_000, 99.0)), Some((FrameFormat::Yuyv, 992, 700, 60.0)));
        assert_eq!(best(&offers, (10, 10, 0.5)), Some((FrameFormat::Yuyv, 48, 32, 1.0)));
    }

    #[test]
    fn a_driver_that_offers_nonsense_is_survived() {
        let reversed = |from, to| RangeInclusive::new(from, to);
        let wrong = OfferedSize {
            width: reversed(640, 0),
            height: reversed(480, 0),
            step: (0, 0),
            rates: vec![RangeInclusive::new(30.0, 0.0), 0.0..=0.0],
        };
        let offers = [offer(Some(FrameFormat::Yuyv), vec![wrong])];
        assert_eq!(best(&offers, (1, 1, 15.0)), Some((FrameFormat::Yuyv, 640, 480, 30.0)));
    }

    #[test]
    fn only_the_format_that_is_set_is_taken_and_none_that_cannot_be_decoded() {
        let wanted = Wanted { width: 640, height: 480, rate: 15.0, format: Some(FrameFormat::Mjpeg) };
        assert!(choices(&webcam(), &wanted).iter().all(|choice| choice.format == FrameFormat::Mjpeg));
        assert_eq!(choices(&webcam()[1..2], &wanted), []);
        assert_eq!(best(&webcam()[1..2], (640, 480, 15.0)), None);
    }
}
