//! What the frames of one face say together: the fused probe, and how many of them agree on it.
//!
//! Frames count for one second: when a newer one comes, older ones are let go. A frame counts by how well the face is
//! seen in it. Embeddings are kept here alone, and [`Evidence::clear`] lets them go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rollcall_core::{PersonId, limits};
use rollcall_vision::{Embedding, Quality};

/// How long a frame counts. A door that opens on older evidence opens for somebody who is gone.
pub const WINDOW: Duration = Duration::from_secs(1);

/// From this cosine on a frame shows the same face as the others. A choice: of the scores between two people in
/// `models/manifest.toml` one in some 4,000 of LFW and one in 200 of the East Asian set reaches it; of those of one
/// person's pictures, which differ more than the frames of a second, 24 in 25 do.
pub const SAME_FACE_MIN: f32 = 0.5;

/// The least that a frame weighs, so that no frame counts more than ten times what another does.
const WEIGHT_MIN: f32 = 0.1;

/// One frame that can be compared.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it was captured.
    pub at: Instant,
    /// How well the face is seen.
    pub quality: Quality,
    /// The face.
    pub embedding: Embedding,
    /// Whom it alone would name.
    pub names: Option<PersonId>,
    /// The liveness network's score.
    pub liveness: Option<f32>,
}

/// The frames of the last second.
#[derive(Debug, Default)]
pub struct Evidence {
    frames: VecDeque<Frame>,
}

/// What they say together.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The weighted mean.
    pub probe: Embedding,
    /// Of the frame that weighs most.
    pub quality: Quality,
}

impl Evidence {
    /// Takes a frame in and lets go of those older than a second before it, and of the oldest when there are too many.
    pub fn add(&mut self, frame: Frame) {
        self.drop_before(frame.at);
        if self.frames.len() >= limits::EVIDENCE_FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
    }

    /// Lets go of the frames that are too old at `now`.
    pub fn drop_before(&mut self, now: Instant) {
        self.frames.retain(|frame| now.saturating_duration_since(frame.at) <= WINDOW);
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.frames.clear();
    }

    /// The fused probe; `None` without frames, or when they cancel out.
    pub fn fused(&self) -> Option<Fused> {
        let weighed = self.frames.iter().map(|frame| (&frame.embedding, weight(&frame.quality)));
        let probe = Embedding::weighted_mean(weighed.clone()).ok()?;
        let best = self.frames.iter().max_by(|a, b| weight(&a.quality).total_cmp(&weight(&b.quality)))?;
        Some(Fused { probe, quality: best.quality })
    }

    /// How many frames show the face of `probe` and name nobody but `person`.
    ///
    /// A frame need not name the person by itself: what one frame says is weak (TPIR 87 % with one template against 98 %
    /// fused, DESIGN.md), so asking that of each would keep people waiting whom the fused probe names safely. That it
    /// shows the same face, and nobody else's, is what one frame can say.
    pub fn agreeing(&self, probe: &Embedding, person: Option<PersonId>) -> usize {
        let agrees = |frame: &&Frame| {
            frame.embedding.cosine(probe) >= SAME_FACE_MIN
                && (person.is_none() || frame.names.is_none() || frame.names == person)
        };
        self.frames.iter().filter(agrees).count()
    }

    /// The median of the liveness network's scores, the lower of the two middle ones; `None` when no frame has one.
    pub fn liveness(&self) -> Option<f32> {
        let mut scores: Vec<f32> = self.frames.iter().filter_map(|frame| frame.liveness).collect();
        scores.sort_by(f32::total_cmp);
        scores.get(scores.len().checked_sub(1)? / 2).copied()
    }
}

/// How much a frame says, 0.1 to 1: the product of how large, how sharp and how frontal the face is.
///
/// The network sees 35 px between the eyes, so more pixels than about 40 add nothing, and 18 are the least that is
/// compared; a face out of focus has a sharpness of about 4, a sharp one 8 and more; up to a turn of 10 degrees a face is
/// as good as frontal, and at 45 half of it is out of sight. Light is not weighed: a face is compared or it is too dark.
pub fn weight(quality: &Quality) -> f32 {
    let ramp = |value: f32, from: f32, to: f32| ((value - from) / (to - from)).clamp(0.0, 1.0);
    let size = 0.4 + 0.6 * ramp(quality.inter_ocular_px, 18.0, 40.0);
    let sharpness = 0.3 + 0.7 * ramp(quality.sharpness, 3.0, 9.0);
    let frontal = 1.0 - 0.7 * ramp(quality.yaw_deg.abs(), 10.0, 45.0);
    // `max` of a NaN and a number is the number.
    (size * sharpness * frontal).max(WEIGHT_MIN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const GOOD: Quality = Quality {
        inter_ocular_px: 60.0,
        sharpness: 12.0,
        yaw_deg: 0.0,
        roll_deg: 0.0,
        nose_height: 0.5,
        brightness: 120.0,
        contrast: 50.0,
    };

    fn frame(at: Instant, x: f32, y: f32) -> Frame {
        let embedding = Embedding::normalised(vec![x, y]).unwrap();
        Frame { at, quality: GOOD, embedding, names: None, liveness: None }
    }

    #[test]
    fn a_frame_weighs_more_the_better_the_face_is_seen() {
        assert_eq!(weight(&GOOD), 1.0);
        for worse in [
            Quality { inter_ocular_px: 25.0, ..GOOD },
            Quality { sharpness: 5.0, ..GOOD },
            Quality { yaw_deg: -30.0, ..GOOD },
        ] {
            assert!(weight(&worse) < 0.8 && weight(&worse) > WEIGHT_MIN, "{worse:?}");
        }
        let worst = Quality { inter_ocular_px: 0.0, sharpness: 0.0, yaw_deg: 90.0, ..GOOD };
        assert_eq!(weight(&worst), WEIGHT_MIN);
        assert_eq!(weight(&Quality { sharpness: f32::NAN, ..GOOD }), WEIGHT_MIN);
    }

    #[test]
    fn what_is_older_than_a_second_or_one_too_many_is_let_go() {
        let start = Instant::now();
        let mut evidence = Evidence::default();
        assert!(evidence.fused().is_none());
        for ms in [0, 400, 1_000, 1_001] {
            evidence.add(frame(start + Duration::from_millis(ms), 1.0, 0.0));
        }
        assert_eq!(evidence.frames.len(), 3);
        for ms in 1_001..1_101 {
            evidence.add(frame(start + Duration::from_millis(ms), 1.0, 0.0));
        }
        assert_eq!(evidence.frames.len(), limits::EVIDENCE_FRAMES);
    }

    #[test]
    fn only_frames_of_the_same_face_that_name_nobody_else_agree() {
        let (now, person, other) =
            (Instant::now(), PersonId::from_bytes([1; 16]), PersonId::from_bytes([2; 16]));
        let mut evidence = Evidence::default();
        for names in [None, Some(person), Some(other)] {
            evidence.add(Frame { names, ..frame(now, 1.0, 0.1) });
        }
        evidence.add(frame(now, -0.2, 1.0));
        let probe = Embedding::normalised(vec![1.0, 0.0]).unwrap();
        assert_eq!(evidence.agreeing(&probe, None), 3);
        assert_eq!(evidence.agreeing(&probe, Some(person)), 2);
    }

    #[test]
    fn liveness_is_the_lower_median() {
        let now = Instant::now();
        let mut evidence = Evidence::default();
        assert_eq!(evidence.liveness(), None);
        for score in [0.9, 0.1, 0.8, 0.2] {
            evidence.add(Frame { liveness: Some(score), ..frame(now, 1.0, 0.0) });
        }
        evidence.add(frame(now, 1.0, 0.0));
        assert_eq!(evidence.liveness(), Some(0.2));
    }
}
