//! Whether something moves before the camera, from thumbnails alone. Pure: thumbnails in, a share out.
//!
//! The sensor's noise and light that changes slowly or everywhere at once (a cloud, the camera's own exposure) are not
//! motion: each thumbnail is compared with a background that follows it, and what the light did to the whole picture is
//! taken out first ([`Light`]). Whoever stands still becomes background after some seconds; what keeps them in view is
//! their track.

use rollcall_vision::decode::Thumbnail;

/// Grey levels that one pixel of a thumbnail, the mean of 64, must differ by. The noise of a webcam in a dim room, some 8
/// grey levels a pixel, makes 1; a face before a wall of its own brightness differs by this much in places.
const CHANGE_MIN: f32 = 6.0;

/// The background takes this share of each thumbnail: at five a second it has followed a change after some seconds.
const LEARNING: f32 = 0.05;

/// Dark and bright pixels must be so many grey levels apart to tell what the light did to either: the noise of their
/// medians is a tenth of a level.
const LEVELS_APART_MIN: f32 = 8.0;

/// From this share of the picture on something moves: 24 of the 4,800 pixels of a thumbnail of 640 x 480. A face at two
/// metres has 60.
pub const MOTION_MIN: f32 = 0.005;

/// What the picture looks like when nothing moves.
#[derive(Debug, Default)]
pub struct Motion {
    background: Vec<f32>,
    size: (usize, usize),
}

impl Motion {
    /// The share of the picture that differs from the background, 0 to 1; the first thumbnail, and the first of another
    /// size, is background. [`MOTION_MIN`] says from where on something moves.
    pub fn share(&mut self, grey: &Thumbnail) -> f32 {
        if self.size != (grey.width, grey.height) || self.background.len() != grey.data.len() {
            self.size = (grey.width, grey.height);
            self.background = grey.data.iter().map(|&v| f32::from(v)).collect();
            return 0.0;
        }
        let light = Light::between(&self.background, &grey.data);
        let mut changed = 0;
        for (background, &now) in self.background.iter_mut().zip(&grey.data) {
            let expected = *background + light.added_to(*background);
            let change = f32::from(now) - expected;
            changed += usize::from(change.abs() >= CHANGE_MIN);
            *background = expected + LEARNING * change;
        }
        changed as f32 / grey.data.len().max(1) as f32
    }
}

/// What the light did between two pictures: more light adds more to what is bright. A line through what became of most
/// dark pixels and of most bright ones, whatever some do.
#[derive(Clone, Copy, Debug)]
struct Light {
    dark: f32,
    added_to_dark: f32,
    /// For each grey level above `dark`.
    added_a_level: f32,
}

impl Light {
    fn between(before: &[f32], now: &[u8]) -> Self {
        let middle = median(before.to_vec());
        let half = |is_bright: bool| {
            let pixels = before.iter().zip(now).filter(|(before, _)| (**before > middle) == is_bright);
            let (levels, added) = pixels.map(|(&before, &now)| (before, f32::from(now) - before)).unzip();
            (median(levels), median(added))
        };
        let ((dark, added_to_dark), (bright, added_to_bright)) = (half(false), half(true));
        let apart = bright - dark;
        let added_a_level =
            if apart >= LEVELS_APART_MIN { (added_to_bright - added_to_dark) / apart } else { 0.0 };
        Self { dark, added_to_dark, added_a_level }
    }

    fn added_to(&self, before: f32) -> f32 {
        self.added_to_dark + self.added_a_level * (before - self.dark)
    }
}

/// 0 for no values.
fn median(mut values: Vec<f32>) -> f32 {
    let half = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(half, f32::total_cmp).1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 80;
    const HEIGHT: usize = 60;

    /// A room: brighter to the right.
    fn room(change: impl Fn(usize, usize, u8) -> i32) -> Thumbnail {
        let value = |at: usize| {
            let (x, y) = (at % WIDTH, at / WIDTH);
            change(x, y, (40 + x) as u8).clamp(0, 255) as u8
        };
        Thumbnail { width: WIDTH, height: HEIGHT, data: (0..WIDTH * HEIGHT).map(value).collect() }
    }

    fn noise(at: usize, frame: usize) -> i32 {
        let hash = (at * 7_919 + frame * 104_729).wrapping_mul(2_654_435_761) >> 13;
        (hash % 5) as i32 - 2
    }

    #[test]
    fn noise_and_slow_light_are_no_motion() {
        let mut motion = Motion::default();
        for frame in 0..200 {
            let sunset = frame as i32 / 4;
            let grey = room(|x, y, v| i32::from(v) + noise(y * WIDTH + x, frame) + sunset);
            assert!(motion.share(&grey) < MOTION_MIN, "frame {frame}");
        }
    }

    #[test]
    fn a_lamp_that_goes_on_is_no_motion() {
        let mut motion = Motion::default();
        motion.share(&room(|_, _, v| v.into()));
        assert!(motion.share(&room(|_, _, v| i32::from(v) + 60)) < MOTION_MIN);
    }

    #[test]
    fn daylight_that_comes_and_goes_is_no_motion() {
        let mut motion = Motion::default();
        for frame in 0..200 {
            let light = 1.0 + 0.3 * (frame as f32 * 0.2).sin();
            let grey = room(|x, y, v| (f32::from(v) * light) as i32 + noise(y * WIDTH + x, frame));
            assert!(motion.share(&grey) < MOTION_MIN, "frame {frame}");
        }
    }

    #[test]
    fn a_face_that_comes_is_motion_and_one_that_stands_becomes_background() {
        let with_face = || {
            room(|x, y, v| {
                let inside = (20..28).contains(&x) && (20..28).contains(&y);
                if inside { 110 } else { v.into() }
            })
        };
        let mut motion = Motion::default();
        motion.share(&room(|_, _, v| v.into()));
        assert!(motion.share(&with_face()) >= MOTION_MIN);
        let left = (0..200).map(|_| motion.share(&with_face())).last();
        assert_eq!(left, Some(0.0));
        assert!(motion.share(&room(|_, _, v| v.into())) >= MOTION_MIN, "when it goes, something moves again");
    }

    #[test]
    fn a_picture_of_another_size_begins_anew() {
        let mut motion = Motion::default();
        motion.share(&room(|_, _, _| 20));
        let other = Thumbnail { width: 2, height: 2, data: vec![200; 4] };
        assert_eq!(motion.share(&other), 0.0);
    }

    proptest! {
        #[test]
        fn a_share_is_a_share(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 12), 1..20)) {
            let mut motion = Motion::default();
            for data in frames {
                let share = motion.share(&Thumbnail { width: 4, height: 3, data });
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }
    }
}
