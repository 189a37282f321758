//! Moving scenes as a door's camera sees them, made from the portraits of the demonstration: the same seed gives the
//! same bytes. They stand in for a camera in the whole-system tests, in `deploy/demo.sh` and in
//! `edge-agent bench --pipeline`.
//!
//! A scene is written as MJPEG: JPEG frames end to end. Every frame has the sensor's noise, so that no two are equal;
//! only [`Scene::Frozen`] repeats one, as a camera that hangs does. `script` says who is where and when, `draw` and
//! `head` put them on a [`canvas`], and `lens` does what a real lens and sensor do to it.
//!
//! What the detector and the recogniser make of each scene is held by `tests/tests/scenes.rs`.

mod canvas;
mod draw;
mod head;
mod lens;
mod people;
mod script;
mod texture;

use std::io::Write;
use std::time::Duration;

use rollcall_vision::RgbImage;

pub use people::{FIRST, SECOND, STRANGER};
pub use script::{FREEZES_AT_S, TURNS_AT_S};

/// Quality of the JPEGs, as cameras have it.
const JPEG_QUALITY: u8 = 85;

/// What happens before the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scene {
    /// The first enrolled person comes up, stands, and leaves.
    WalkUp,
    /// The same by somebody who is not enrolled.
    Stranger,
    /// Both enrolled people come from either side, stop, cross, stop, and leave.
    Crossing,
    /// The first enrolled person comes up with next to no light on them.
    Dark,
    /// The first enrolled person runs past: smeared in every frame.
    Blurred,
    /// Next to everything is white.
    Overexposed,
    /// No light at all.
    Black,
    /// A hand on the lens.
    Covered,
    /// The first enrolled person comes near, and from then on the camera sends the same frame.
    Frozen,
    /// Nobody, and daylight that changes slowly.
    Nobody,
    /// A photograph of the first enrolled person, turned to either side before the camera.
    Photograph,
    /// The first enrolled person looks ahead, turns the head to the left of the picture, and looks ahead again.
    HeadLeft,
    /// The same to the right of the picture.
    HeadRight,
    /// Five people stand before the camera, the first enrolled one among them.
    Five,
    /// The first enrolled person passes at the picture's edge and looks elsewhere.
    PasserBy,
    /// Somebody far away holds a QR badge to the camera.
    Badge,
    /// The two enrolled people come in turn, again and again, each for a second and a half.
    Passages,
    /// The first enrolled person looks ahead, turns the head a little to the right of the picture, a little to the left of
    /// it, and looks ahead again, as somebody who is being enrolled.
    Portraits,
}

impl Scene {
    /// Every scene.
    pub const ALL: [Self; 18] = [
        Self::WalkUp,
        Self::Stranger,
        Self::Crossing,
        Self::Dark,
        Self::Blurred,
        Self::Overexposed,
        Self::Black,
        Self::Covered,
        Self::Frozen,
        Self::Nobody,
        Self::Photograph,
        Self::HeadLeft,
        Self::HeadRight,
        Self::Five,
        Self::PasserBy,
        Self::Badge,
        Self::Passages,
        Self::Portraits,
    ];

    /// As a command names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::WalkUp => "walk-up",
            Self::Stranger => "stranger",
            Self::Crossing => "crossing",
            Self::Dark => "dark",
            Self::Blurred => "blurred",
            Self::Overexposed => "overexposed",
            Self::Black => "black",
            Self::Covered => "covered",
            Self::Frozen => "frozen",
            Self::Nobody => "nobody",
            Self::Photograph => "photograph",
            Self::HeadLeft => "head-left",
            Self::HeadRight => "head-right",
            Self::Five => "five",
            Self::PasserBy => "passer-by",
            Self::Badge => "badge",
            Self::Passages => "passages",
            Self::Portraits => "portraits",
        }
    }

    /// The scene of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scene| scene.name() == name)
    }

    /// How long it lasts.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f32(script::seconds(self))
    }
}

/// How a scene is filmed.
#[derive(Clone, Debug)]
pub struct Film {
    /// Frames a second.
    pub fps: u32,
    /// Of the noise.
    pub seed: u64,
    /// The text of the QR code in [`Scene::Badge`].
    pub badge: String,
}

impl Default for Film {
    fn default() -> Self {
        Self { fps: 15, seed: 1, badge: "rollcall".to_owned() }
    }
}

/// Width of a frame in pixels.
pub const WIDTH: usize = 640;
/// Height of a frame in pixels.
pub const HEIGHT: usize = 480;

impl Film {
    /// The frames of a scene, before they are encoded.
    pub fn frames(&self, scene: Scene) -> impl Iterator<Item = RgbImage> {
        let fps = self.fps;
        let count = (script::seconds(scene) * fps as f32).round() as u32;
        let mut camera = lens::Camera::new(self.seed ^ (scene as u64) << 32, &self.badge);
        let mut held: Option<RgbImage> = None;
        (0..count).map(move |number| {
            let seconds = number as f32 / fps as f32;
            if scene == Scene::Frozen && seconds >= script::FREEZES_AT_S {
                return held.clone().expect("it freezes later than at the first frame");
            }
            let frame = camera.take(|at| script::moment(scene, at), seconds, 1.0 / fps as f32);
            held = (scene == Scene::Frozen).then(|| frame.clone());
            frame
        })
    }

    /// Writes a scene as MJPEG.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, scene: Scene, mut to: impl Write) -> std::io::Result<()> {
        self.frames(scene).try_for_each(|frame| to.write_all(&jpeg(&frame)))
    }

    /// A scene as MJPEG.
    pub fn mjpeg(&self, scene: Scene) -> Vec<u8> {
        self.frames(scene).flat_map(|frame| jpeg(&frame)).collect()
    }
}

/// A picture as JPEG.
pub fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = |side| u16::try_from(side).expect("frames are small");
    jpeg_encoder::Encoder::new(&mut bytes, JPEG_QUALITY)
        .encode(picture.data(), size(picture.width()), size(picture.height()), jpeg_encoder::ColorType::Rgb)
        .expect("memory takes every byte");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_has_a_name_of_its_own_and_lasts_three_to_eight_seconds() {
        for scene in Scene::ALL {
            assert_eq!(Scene::named(scene.name()), Some(scene));
            let seconds = scene.duration().as_secs_f32();
            assert!((3.0..=8.0).contains(&seconds), "{}: {seconds}", scene.name());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_no_frame_equals_the_one_before() {
        let film = Film { fps: 3, ..Film::default() };
        for scene in [Scene::WalkUp, Scene::Black, Scene::Nobody] {
            let frames: Vec<RgbImage> = film.frames(scene).collect();
            assert!(film.frames(scene).zip(&frames).all(|(again, frame)| again.data() == frame.data()));
            assert!(frames.windows(2).all(|pair| pair[0].data() != pair[1].data()), "{}", scene.name());
        }
    }

    #[test]
    fn a_frozen_camera_sends_one_frame_again_and_again() {
        let film = Film::default();
        let frames: Vec<RgbImage> = film.frames(Scene::Frozen).collect();
        let first = (script::FREEZES_AT_S * film.fps as f32) as usize;
        assert!(frames[first..].iter().all(|frame| frame.data() == frames[first - 1].data()));
        assert!(frames[..first].windows(2).all(|pair| pair[0].data() != pair[1].data()));
    }
}
