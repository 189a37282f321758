//! Whether something moves before the camera, from thumbnails alone. Pure: thumbnails in, a share out.
//!
//! The sensor's noise and light that changes slowly or everywhere at once (a cloud, the camera's own exposure) are not
//! motion: each thumbnail is compared with a background that follows it, and what changed alike in the whole picture is
//! taken out first. Whoever stands still becomes background after some seconds; what keeps them in view is their track.

use rollcall_vision::decode::Thumbnail;

/// Grey levels that one pixel of a thumbnail, the mean of 64, must differ by. The noise of a webcam in a dim room, some 8
/// grey levels a pixel, makes 1; a face before a wall of its own brightness differs by this much in places.
const CHANGE_MIN: f32 = 6.0;

/// The background takes this share of each thumbnail: at five a second it has followed a change after some seconds.
const LEARNING: f32 = 0.05;

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
        let everywhere = self.median_change(grey);
        let mut changed = 0;
        for (background, &now) in self.background.iter_mut().zip(&grey.data) {
            let change = f32::from(now) - *background;
            changed += usize::from((change - everywhere).abs() >= CHANGE_MIN);
            *background += LEARNING * change + (1.0 - LEARNING) * everywhere;
        }
        changed as f32 / grey.data.len().max(1) as f32
    }

    /// What the picture as a whole became brighter by: the change of most pixels, whatever some do.
    fn median_change(&self, grey: &Thumbnail) -> f32 {
        let changes = grey.data.iter().zip(&self.background).map(|(&now, before)| f32::from(now) - before);
        let mut counts = [0u32; 511];
        for change in changes {
            counts[(change.round() as i32 + 255).clamp(0, 510) as usize] += 1;
        }
        let half = grey.data.len() as u32 / 2;
        let mut below = 0;
        let middle = counts.iter().position(|count| {
            below += count;
            below > half
        });
        middle.map_or(0.0, |at| at as f32 - 255.0)
    }
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
