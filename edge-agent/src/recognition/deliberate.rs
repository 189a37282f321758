//! When a face may be read at all. Pure.
//!
//! In passing, everybody who comes near is compared. By a deliberate act, nobody is, until their face is near enough and
//! in the zone, or they pressed the button on the screen: whoever only walks past has no embedding made of them.

use std::time::{Duration, Instant};

use rollcall_vision::{Face, Rect};
use serde::Deserialize;

use super::TrackId;
use super::policy::{Share, Whole};

/// When a face is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As soon as it is seen well enough.
    #[default]
    Passing,
    /// After an act that says so.
    Deliberate,
}

/// `[recognition.deliberate]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliberateConfig {
    /// Pixels between the eyes from which on a face is near enough.
    pub inter_ocular_min_px: Whole<18, 500>,
    /// Where the middle of the face must be, in parts of the picture: left, top, right, bottom.
    pub zone: Zone,
    /// For how long the button counts.
    pub button_seconds: Whole<1, 30>,
}

impl Default for DeliberateConfig {
    fn default() -> Self {
        Self { inter_ocular_min_px: Whole(60), zone: Zone([0.25, 0.0, 0.75, 1.0]), button_seconds: Whole(5) }
    }
}

/// A part of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "[Share; 4]")]
pub struct Zone([f32; 4]);

impl TryFrom<[Share; 4]> for Zone {
    type Error = String;

    fn try_from(sides: [Share; 4]) -> Result<Self, String> {
        let [left, top, right, bottom] = sides.map(Share::get);
        if left >= right || top >= bottom {
            return Err("is empty; give left, top, right, bottom, each 0 to 1".into());
        }
        Ok(Self([left, top, right, bottom]))
    }
}

/// Who has done the act.
#[derive(Debug, Default)]
pub struct Gate {
    button_until: Option<Instant>,
    open: Vec<TrackId>,
}

impl Gate {
    /// The button was pressed.
    pub fn press(&mut self, config: &DeliberateConfig, now: Instant) {
        self.button_until = Some(now + Duration::from_secs(config.button_seconds.get().into()));
    }

    /// Lets in those of the faces in view, each with its place in parts of the picture, who have done the act. Whoever
    /// was let in stays so until their track ends. The button lets in the largest face alone.
    pub fn see(&mut self, config: &DeliberateConfig, faces: &[(TrackId, Face, Rect)], now: Instant) {
        let [left, top, right, bottom] = config.zone.0;
        let near = faces.iter().filter(|(_, face, place)| {
            let (x, y) = ((place.x0 + place.x1) / 2.0, (place.y0 + place.y1) / 2.0);
            let in_zone = (left..=right).contains(&x) && (top..=bottom).contains(&y);
            in_zone && face.landmarks.inter_ocular_px() >= config.inter_ocular_min_px.get() as f32
        });
        let mut acted: Vec<TrackId> = near.map(|(id, ..)| *id).collect();
        if self.button_until.is_some_and(|until| now <= until) {
            let area = |(_, face, _): &&(TrackId, Face, Rect)| face.bounds.area();
            let largest = faces.iter().max_by(|a, b| area(a).total_cmp(&area(b)));
            if let Some((id, ..)) = largest {
                acted.push(*id);
                self.button_until = None;
            }
        }
        for id in acted {
            if !self.open.contains(&id) {
                self.open.push(id);
            }
        }
    }

    /// Whether this face may be read.
    pub fn is_open(&self, mode: Mode, track: TrackId) -> bool {
        mode == Mode::Passing || self.open.contains(&track)
    }

    /// The track is over.
    pub fn forget(&mut self, track: TrackId) {
        self.open.retain(|id| *id != track);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_vision::Landmarks;

    use super::*;

    fn face(id: u64, x: f32, inter_ocular_px: f32) -> (TrackId, Face, Rect) {
        let half = inter_ocular_px / 2.0;
        let (cx, cy) = (x * 640.0, 240.0);
        let bounds =
            Rect { x0: cx - 2.0 * half, y0: cy - 2.0 * half, x1: cx + 2.0 * half, y1: cy + 2.0 * half };
        let points = [(-half, 0.0), (half, 0.0), (0.0, half), (-half, half), (half, half)]
            .map(|(u, v)| [cx + u, cy + v]);
        let place = Rect { x0: bounds.x0 / 640.0, y0: 0.4, x1: bounds.x1 / 640.0, y1: 0.6 };
        (TrackId(id), Face { bounds, score: 0.99, landmarks: Landmarks { points } }, place)
    }

    fn open(gate: &Gate, ids: std::ops::Range<u64>) -> Vec<u64> {
        ids.filter(|id| gate.is_open(Mode::Deliberate, TrackId(*id))).collect()
    }

    #[test]
    fn only_who_is_near_and_in_the_zone_is_read_and_stays_so() {
        let (config, now) = (DeliberateConfig::default(), Instant::now());
        let mut gate = Gate::default();
        gate.see(&config, &[face(1, 0.5, 59.0), face(2, 0.1, 90.0), face(3, 0.5, 61.0)], now);
        assert_eq!(open(&gate, 0..9), [3]);
        gate.see(&config, &[face(1, 0.9, 80.0), face(3, 0.9, 20.0)], now);
        assert_eq!(open(&gate, 0..9), [3]);
        gate.forget(TrackId(3));
        assert!(open(&gate, 0..9).is_empty());
        assert!(gate.is_open(Mode::Passing, TrackId(1)));
    }

    #[test]
    fn the_button_lets_in_the_largest_face_once_and_not_for_long() {
        let (config, now) = (DeliberateConfig::default(), Instant::now());
        let faces = [face(1, 0.1, 30.0), face(2, 0.9, 40.0)];
        let mut gate = Gate::default();
        gate.press(&config, now);
        gate.see(&config, &[], now);
        gate.see(&config, &faces, now + Duration::from_secs(5));
        assert_eq!(open(&gate, 0..9), [2]);
        gate.see(&config, &[face(4, 0.1, 50.0)], now + Duration::from_secs(5));
        assert_eq!(open(&gate, 0..9), [2], "one press, one face");
        gate.press(&config, now);
        gate.see(&config, &[face(5, 0.1, 50.0)], now + Duration::from_millis(5_001));
        assert_eq!(open(&gate, 0..9), [2]);
    }

    #[test]
    fn a_zone_without_inside_is_refused() {
        let config =
            |text: &str| toml::from_str::<DeliberateConfig>(text).map_err(|error| error.message().to_owned());
        assert_eq!(config("").unwrap(), DeliberateConfig::default());
        assert!(config("zone = [0.5, 0.0, 0.5, 1.0]").unwrap_err().contains("is empty"));
        assert!(config("zone = [0.0, 0.0, 1.5, 1.0]").unwrap_err().contains("1.5"));
        assert!(config("inter_ocular_min_px = 5").unwrap_err().contains("18 to 500"));
    }
}
