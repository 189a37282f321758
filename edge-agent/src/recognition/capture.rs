//! Frames handed over for an enrolment, instead of being decided on.
//!
//! While it lasts no face is compared with anybody and no passage is decided. Each frame that is read gives one
//! [`Glimpse`]: who is there, how well the face is seen and, where it is good enough for a template and at most three
//! times a second, its picture: cut out round the face, so that nobody who stands behind is on it. Who takes the
//! glimpses gets those that come while there is room; the others are lost.
//!
//! It is over when nobody takes them any more, and at the latest at the time that was said: a caller that hangs does not
//! keep the door from anybody.

use std::time::{Duration, Instant};

use rollcall_vision::{Quality, QualityLimits, Rect, RgbImage, encode_portrait};
use tokio::sync::mpsc;

use super::track::Track;

/// Between two pictures.
const PICTURE_EVERY: Duration = Duration::from_millis(333);

/// A second face this wide, in parts of the largest face's width, may be the one that is meant; as in enrolment.
const SECOND_FACE_WIDTH: f32 = 0.5;

/// How far the picture reaches beyond the face on each side, in parts of its longer side.
const MARGIN: f32 = 0.6;

/// What one frame shows.
#[derive(Debug)]
pub enum Glimpse {
    /// No face.
    Nobody,
    /// Two or more of about one size.
    Several,
    /// One that is meant.
    Face {
        /// How well it is seen.
        quality: Quality,
        /// Whether all of it is in the picture.
        is_whole: bool,
        /// A JPEG of it, where it is good enough for a template and one is due.
        picture: Option<Vec<u8>>,
    },
}

/// Where glimpses go.
#[derive(Debug)]
pub struct Capture {
    to: mpsc::Sender<Glimpse>,
    until: Instant,
    pictured_at: Option<Instant>,
}

impl Capture {
    /// Hands over to `to` until `until` at the latest.
    pub fn new(to: mpsc::Sender<Glimpse>, until: Instant) -> Self {
        Self { to, until, pictured_at: None }
    }

    /// Whether nobody wants glimpses any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.to.is_closed() || now >= self.until
    }

    /// Looks at the one face of a frame that is meant, with `look` to judge it.
    pub fn see(
        &mut self,
        image: &RgbImage,
        tracks: &[Track],
        at: Instant,
        look: impl FnOnce(&Track) -> Option<Quality>,
    ) {
        let Ok(room) = self.to.clone().try_reserve_owned() else { return };
        let glimpse = match meant(tracks, at) {
            Meant::Nobody => Glimpse::Nobody,
            Meant::Several => Glimpse::Several,
            Meant::One(track) => match look(track) {
                Some(quality) => self.face(image, &track.face.bounds, quality, at),
                None => Glimpse::Nobody,
            },
        };
        room.send(glimpse);
    }

    fn face(&mut self, image: &RgbImage, bounds: &Rect, quality: Quality, at: Instant) -> Glimpse {
        let is_whole = bounds.x0 >= 0.0
            && bounds.y0 >= 0.0
            && bounds.x1 <= image.width() as f32
            && bounds.y1 <= image.height() as f32;
        let is_due = self.pictured_at.is_none_or(|last| at.saturating_duration_since(last) >= PICTURE_EVERY);
        let is_good = is_whole && quality.issues(&QualityLimits::ENROL).is_empty();
        let picture = (is_due && is_good).then(|| cut_out(image, bounds)).flatten();
        if picture.is_some() {
            self.pictured_at = Some(at);
        }
        Glimpse::Face { quality, is_whole, picture }
    }
}

enum Meant<'a> {
    Nobody,
    Several,
    One(&'a Track),
}

/// The largest face, if it is seen in this frame and no other is nearly as large.
fn meant(tracks: &[Track], at: Instant) -> Meant<'_> {
    let width = |track: &Track| track.face.bounds.width();
    let Some(largest) = tracks.iter().max_by(|a, b| width(a).total_cmp(&width(b))) else {
        return Meant::Nobody;
    };
    let is_beside =
        |track: &&Track| track.id != largest.id && width(track) >= SECOND_FACE_WIDTH * width(largest);
    if tracks.iter().any(|track| is_beside(&track)) {
        return Meant::Several;
    }
    if largest.seen_at == at { Meant::One(largest) } else { Meant::Nobody }
}

/// The face with some room around it, as JPEG.
fn cut_out(image: &RgbImage, bounds: &Rect) -> Option<Vec<u8>> {
    let room = MARGIN * bounds.width().max(bounds.height());
    let within = |at: f32, side: usize| at.round().clamp(0.0, side as f32) as usize;
    let (x0, x1) = (within(bounds.x0 - room, image.width()), within(bounds.x1 + room, image.width()));
    let (y0, y1) = (within(bounds.y0 - room, image.height()), within(bounds.y1 + room, image.height()));
    let pixels = (y0..y1).flat_map(|y| &image.row(y)[x0 * 3..x1.max(x0) * 3]).copied().collect();
    let face = RgbImage::new(x1.saturating_sub(x0), y1.saturating_sub(y0), pixels)?;
    match encode_portrait(&face) {
        Ok(jpeg) => Some(jpeg),
        Err(error) => {
            tracing::error!(%error, "a face could not be cut out for an enrolment");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_vision::decode::decode;
    use rollcall_vision::{Face, Landmarks};

    use super::super::track::{Looked, Tracker};
    use super::*;

    const SIDE: usize = 200;

    fn face(x0: f32, side: f32) -> Face {
        let bounds = Rect { x0, y0: 60.0, x1: x0 + side, y1: 60.0 + side };
        Face { bounds, score: 0.99, landmarks: Landmarks { points: [[0.0; 2]; 5] } }
    }

    fn good() -> Quality {
        Quality {
            inter_ocular_px: 40.0,
            sharpness: 12.0,
            yaw_deg: 0.0,
            roll_deg: 0.0,
            nose_height: 0.5,
            brightness: 120.0,
            contrast: 50.0,
        }
    }

    struct Booth {
        capture: Capture,
        glimpses: mpsc::Receiver<Glimpse>,
        tracker: Tracker,
        now: Instant,
    }

    impl Booth {
        fn new() -> Self {
            let (to, glimpses) = mpsc::channel(2);
            let now = Instant::now();
            let capture = Capture::new(to, now + Duration::from_secs(30));
            Self { capture, glimpses, tracker: Tracker::new(8), now }
        }

        fn see(&mut self, faces: &[Face], quality: Quality) -> Option<Glimpse> {
            self.now += Duration::from_millis(100);
            self.tracker.update(faces, Looked::Everywhere, self.now);
            let image = RgbImage::new(SIDE, SIDE, vec![120; SIDE * SIDE * 3]).unwrap();
            self.capture.see(&image, self.tracker.tracks(), self.now, |_| Some(quality));
            self.glimpses.try_recv().ok()
        }
    }

    #[test]
    fn a_good_face_gives_three_pictures_a_second_cut_out_round_it() {
        let mut booth = Booth::new();
        let mut pictures = Vec::new();
        for _ in 0..12 {
            match booth.see(&[face(70.0, 50.0)], good()) {
                Some(Glimpse::Face { is_whole: true, picture, .. }) => pictures.extend(picture),
                seen => panic!("{seen:?}"),
            }
        }
        assert_eq!(pictures.len(), 3);
        let picture = decode(&pictures[0]).unwrap();
        assert_eq!((picture.width(), picture.height()), (110, 110));
    }

    #[test]
    fn what_is_not_good_enough_for_a_template_gives_no_picture() {
        for (faces, quality) in [
            (vec![face(70.0, 50.0)], Quality { sharpness: 4.0, ..good() }),
            (vec![face(70.0, 50.0)], Quality { yaw_deg: 26.0, ..good() }),
            (vec![face(170.0, 50.0)], good()),
        ] {
            let seen = Booth::new().see(&faces, quality);
            assert!(matches!(seen, Some(Glimpse::Face { picture: None, .. })), "{seen:?}");
        }
    }

    #[test]
    fn a_second_face_counts_when_it_is_half_as_wide() {
        let mut booth = Booth::new();
        assert!(matches!(booth.see(&[], good()), Some(Glimpse::Nobody)));
        let small_beside = [face(20.0, 60.0), face(150.0, 25.0)];
        assert!(matches!(booth.see(&small_beside, good()), Some(Glimpse::Face { .. })));
        let mut booth = Booth::new();
        let beside = [face(20.0, 60.0), face(150.0, 31.0)];
        assert!(matches!(booth.see(&beside, good()), Some(Glimpse::Several)));
        // Who is out of sight for a moment is still there.
        assert!(matches!(booth.see(&beside[..1], good()), Some(Glimpse::Several)));
    }

    #[test]
    fn it_is_over_in_time_and_when_nobody_takes_anything() {
        let mut booth = Booth::new();
        assert!(!booth.capture.is_over(booth.now));
        assert!(booth.capture.is_over(booth.now + Duration::from_secs(30)));
        for _ in 0..3 {
            booth.now += Duration::from_millis(400);
            booth.tracker.update(&[face(70.0, 50.0)], Looked::Everywhere, booth.now);
            let image = RgbImage::new(SIDE, SIDE, vec![120; SIDE * SIDE * 3]).unwrap();
            booth.capture.see(&image, booth.tracker.tracks(), booth.now, |_| Some(good()));
        }
        assert_eq!(booth.glimpses.len(), 2, "what has no room is lost");
        booth.glimpses.close();
        assert!(booth.capture.is_over(booth.now));
    }
}
