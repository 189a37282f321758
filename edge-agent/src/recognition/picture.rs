//! How the picture is: black, overexposed, covered, frozen. Pure: thumbnails and times in, a state out.
//!
//! What lasts for [`AFTER`] is a state; a hand that passes the lens is none. Its end is noticed with the first frame. A
//! real sensor's frames always differ by noise: one whose bytes are those of the frame before is a copy, which is never to
//! be looked at for faces, from the first on ([`Seen::Copy`]).

use std::time::{Duration, Instant};

use rollcall_vision::decode::Thumbnail;

use super::PictureState;

/// How long something must last to be told.
const AFTER: Duration = Duration::from_secs(2);

/// Black: all but a hundredth of the picture at most this bright. Limited range has its black at 16.
const BLACK_MAX: u8 = 30;

/// Overexposed: half of the picture at least this bright (235 is white in limited range).
const WHITE_MIN: u8 = 232;

/// Covered: the brightness of the whole picture, its gradient taken out, deviates by no more than this, in grey levels. A
/// white wall in even light has 3 or more, with corners and shadows.
const STRUCTURE_MAX: f32 = 2.0;

/// What one frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A picture of its own.
    New,
    /// The bytes of the frame before again.
    Copy,
}

/// What the last frames were like.
#[derive(Debug, Default)]
pub struct Picture {
    /// What the frames look like, and since when.
    looks: Option<(PictureState, Instant)>,
    /// The last frame that was new.
    new_at: Option<Instant>,
    state: PictureState,
}

impl Picture {
    /// Takes one frame: how it looks, and whether it is a copy of the one before.
    pub fn see(&mut self, grey: &Thumbnail, seen: Seen, now: Instant) -> PictureState {
        if seen == Seen::New || self.new_at.is_none() {
            self.new_at = Some(now);
        }
        let look = look(grey);
        let since = match self.looks {
            Some((before, since)) if before == look => since,
            _ => now,
        };
        self.looks = Some((look, since));
        let lasts = |since: Instant| now.saturating_duration_since(since) >= AFTER;
        self.state = if self.new_at.is_some_and(lasts) {
            PictureState::Frozen
        } else if look == PictureState::Fine || lasts(since) || self.state == look {
            look
        } else {
            PictureState::Fine
        };
        self.state
    }

    /// How the picture is, after the last frame.
    pub fn state(&self) -> PictureState {
        self.state
    }
}

/// What one picture looks like, for itself.
fn look(grey: &Thumbnail) -> PictureState {
    let mut sorted = grey.data.clone();
    sorted.sort_unstable();
    let at = |share: f32| {
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f32 * share) as usize).copied().unwrap_or_default()
    };
    if at(0.99) <= BLACK_MAX {
        PictureState::Black
    } else if at(0.5) >= WHITE_MIN {
        PictureState::Overexposed
    } else if structure(grey) <= STRUCTURE_MAX {
        PictureState::Covered
    } else {
        PictureState::Fine
    }
}

/// Standard deviation of the brightness from the plane that fits it best: a hand before the lens is brighter on one side,
/// and has nothing else.
fn structure(grey: &Thumbnail) -> f32 {
    let (width, height) = (grey.width as f64, grey.height as f64);
    let count = (width * height).max(1.0);
    let centred = |at: usize| {
        let (x, y) = (at % grey.width.max(1), at / grey.width.max(1));
        (x as f64 - (width - 1.0) / 2.0, y as f64 - (height - 1.0) / 2.0)
    };
    let (mut sum, mut squares, mut along_x, mut along_y) = (0.0, 0.0, 0.0, 0.0);
    for (at, &value) in grey.data.iter().enumerate() {
        let ((x, y), value) = (centred(at), f64::from(value));
        sum += value;
        squares += value * value;
        along_x += x * value;
        along_y += y * value;
    }
    // Sums of squares of centred whole numbers: n (n² - 1) / 12.
    let spread = |n: f64, others: f64| (others * n * (n * n - 1.0) / 12.0).max(1.0);
    let explained = along_x * along_x / spread(width, height) + along_y * along_y / spread(height, width);
    ((squares - sum * sum / count - explained).max(0.0) / count).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grey(value: impl Fn(usize, usize) -> u8) -> Thumbnail {
        let data = (0..80 * 60).map(|at| value(at % 80, at / 80)).collect();
        Thumbnail { width: 80, height: 60, data }
    }

    fn room() -> Thumbnail {
        grey(|x, y| if x > 30 && x < 50 && y > 20 { 60 } else { 120 + (y / 2) as u8 })
    }

    fn states(frames: &[(u64, Thumbnail, Seen)]) -> Vec<PictureState> {
        let (mut picture, start) = (Picture::default(), Instant::now());
        let at = |ms: &u64| start + Duration::from_millis(*ms);
        frames.iter().map(|(ms, grey, seen)| picture.see(grey, *seen, at(ms))).collect()
    }

    #[test]
    fn f087_each_state_is_told_after_two_seconds_and_over_with_the_first_good_frame() {
        for (name, bad, state) in [
            ("lens cap", grey(|x, _| 16 + (x % 3) as u8), PictureState::Black),
            ("stars", grey(|x, y| if (x, y) == (3, 3) { 255 } else { 12 }), PictureState::Black),
            ("sun", grey(|x, _| if x < 70 { 255 } else { 200 }), PictureState::Overexposed),
            ("hand", grey(|x, y| (70 + x / 3 + y / 4) as u8), PictureState::Covered),
            ("tape", grey(|x, _| 120 + (x % 2) as u8), PictureState::Covered),
        ] {
            let frames =
                [(0, room()), (200, bad.clone()), (1_200, bad.clone()), (2_300, bad.clone()), (2_500, bad)];
            let frames = frames.into_iter().chain([(2_600, room())]);
            let frames: Vec<_> = frames.map(|(ms, grey)| (ms, grey, Seen::New)).collect();
            let fine = PictureState::Fine;
            assert_eq!(states(&frames), [fine, fine, fine, state, state, fine], "{name}");
        }
    }

    #[test]
    fn f087_a_picture_that_stands_still_is_frozen_after_two_seconds() {
        let frames: Vec<_> = [(0, Seen::New), (500, Seen::Copy), (1_900, Seen::Copy), (2_100, Seen::Copy)]
            .into_iter()
            .chain([(2_200, Seen::New), (2_300, Seen::Copy), (4_250, Seen::Copy)])
            .map(|(ms, seen)| (ms, room(), seen))
            .collect();
        let (fine, frozen) = (PictureState::Fine, PictureState::Frozen);
        assert_eq!(states(&frames), [fine, fine, fine, frozen, fine, fine, frozen]);
    }

    #[test]
    fn a_dim_room_and_a_white_wall_are_fine() {
        for (name, grey) in [
            ("dim", grey(|x, y| if x > 40 { 24 } else { 34 + (y / 10) as u8 })),
            ("wall with a shadow", grey(|x, _| if x < 60 { 200 } else { 190 })),
            ("window in a corner", grey(|x, y| if x > 50 && y < 30 { 255 } else { 90 })),
        ] {
            assert_eq!(look(&grey), PictureState::Fine, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_state_needs_two_seconds_of_it(steps in proptest::collection::vec((0..700_u64, 0..4_usize), 1..40)) {
            let kinds = [room(), grey(|_, _| 0), grey(|_, _| 255), grey(|_, _| 100)];
            let (mut picture, mut now) = (Picture::default(), Instant::now());
            let mut since = now;
            let mut before = usize::MAX;
            for (ms, kind) in steps {
                now += Duration::from_millis(ms);
                if kind != before {
                    since = now;
                }
                before = kind;
                let state = picture.see(&kinds[kind], Seen::New, now);
                prop_assert_eq!(state != PictureState::Fine, kind != 0 && now - since >= AFTER);
            }
        }
    }
}
