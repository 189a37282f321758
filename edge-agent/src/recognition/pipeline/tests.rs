//! Frames through the pipeline, with a reader of faces that is told what it sees and time that is told how it goes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use rollcall_gallery::decide;
use rollcall_vision::Landmarks;
use rollcall_vision::decode::{FrameFormat, FrameLayout};
use tokio::sync::mpsc;

use super::super::capture::{Capture, Glimpse};
use super::super::deliberate::Mode;
use super::*;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// Sees the faces that it is told to.
#[derive(Clone, Default)]
struct Told {
    faces: Arc<Mutex<Vec<Face>>>,
    clock: Arc<Mutex<Option<Instant>>>,
    embedding_takes: Duration,
}

impl Told {
    fn see(&self, faces: &[(f32, f32)]) {
        *self.faces.lock().unwrap() = faces.iter().map(|(x, side)| face(*x, *side)).collect();
    }

    fn now(&self) -> Instant {
        *self.clock.lock().unwrap().get_or_insert_with(Instant::now)
    }

    fn wait(&self, time: Duration) {
        let now = self.now();
        *self.clock.lock().unwrap() = Some(now + time);
    }
}

impl Reading for Told {
    fn search(&mut self, _: &RgbImage, _: u32) -> Result<Vec<Face>, ReadError> {
        Ok(self.faces.lock().unwrap().clone())
    }

    fn follow(&mut self, _: &RgbImage, places: &[Rect]) -> Result<Vec<Face>, ReadError> {
        let faces = self.faces.lock().unwrap();
        let near = |face: &&Face| places.iter().any(|place| place.iou(&face.bounds) > 0.3);
        Ok(faces.iter().filter(near).copied().collect())
    }

    fn look(&mut self, _: &RgbImage, face: &Face) -> Option<(RgbImage, Quality)> {
        let quality = Quality {
            inter_ocular_px: face.landmarks.inter_ocular_px(),
            sharpness: 12.0,
            yaw_deg: 0.0,
            roll_deg: 0.0,
            nose_height: 0.5,
            brightness: 120.0,
            contrast: 50.0,
        };
        RgbImage::new(1, 1, vec![0; 3]).map(|image| (image, quality))
    }

    fn embed(&mut self, _: &RgbImage) -> Result<Option<Embedding>, ReadError> {
        self.wait(self.embedding_takes);
        Ok(Embedding::normalised(vec![1.0, 0.0]).ok())
    }

    fn liveness(&mut self, _: &RgbImage, _: &Face) -> Result<Option<f32>, ReadError> {
        Ok(None)
    }
}

fn face(x: f32, side: f32) -> Face {
    let bounds = Rect { x0: x, y0: 60.0, x1: x + side, y1: 60.0 + side };
    let points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)]
        .map(|(u, v)| [x + u * side, 60.0 + v * side]);
    Face { bounds, score: 0.99, landmarks: Landmarks { points } }
}

struct Scene {
    told: Told,
    pipeline: Pipeline,
    counters: Arc<Counters>,
    number: u64,
}

impl Scene {
    fn new(policy: Policy, embedding_takes: Duration) -> Self {
        let told = Told { embedding_takes, ..Told::default() };
        let counters = Arc::new(Counters::default());
        let judge =
            |_: &Embedding, quality: Quality, _: usize| decide::unusable(Some(quality), 1, &"test".into());
        let clock = Box::new({
            let told = told.clone();
            move || told.now()
        });
        let reading = Box::new(told.clone());
        let pipeline = Pipeline::new(reading, Box::new(judge), clock, policy, [7; 32], Arc::clone(&counters));
        Self { told, pipeline, counters, number: 0 }
    }

    /// So many frames, 15 a second, with noise.
    fn play(&mut self, frames: usize) {
        for _ in 0..frames {
            self.told.wait(Duration::from_millis(66));
            self.number += 1;
            let frame = self.frame(self.number);
            self.pipeline.frame(frame).unwrap();
        }
    }

    /// A room with a dark door, and noise of its own.
    fn frame(&self, number: u64) -> Frame {
        let noise = |at: usize| (at as u64 * 31 + number * 17).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
        let door = |at: usize| if (20..80).contains(&(at % WIDTH)) { 0 } else { 90 };
        let luma = (0..WIDTH * HEIGHT).map(|at| 60 + door(at) + noise(at) as u8);
        let bytes: Vec<u8> = luma.chain(vec![128; WIDTH * HEIGHT / 2]).collect();
        self.frame_of(bytes)
    }

    fn frame_of(&self, bytes: Vec<u8>) -> Frame {
        let (width, height) = (WIDTH as u32, HEIGHT as u32);
        let layout = FrameLayout { width, height, format: FrameFormat::Yuv420, stride_bytes: 0 };
        Frame { bytes, layout, captured: self.told.now(), number: self.number }
    }

    fn counts(&self) -> super::super::counters::Snapshot {
        self.counters.snapshot(0)
    }
}

#[test]
fn at_rest_one_frame_in_two_seconds_is_searched() {
    let mut scene = Scene::new(Policy::default(), Duration::ZERO);
    scene.play(150);
    let counts = scene.counts();
    assert!((4..=6).contains(&counts.searched), "{counts:?}");
    assert_eq!((counts.followed, counts.embedded, counts.rested), (0, 0, 150 - counts.searched));
}

#[test]
fn a_known_face_is_looked_for_in_every_frame_and_the_picture_searched_now_and_then() {
    let mut scene = Scene::new(Policy::default(), Duration::ZERO);
    scene.told.see(&[(100.0, 80.0)]);
    scene.play(150);
    let counts = scene.counts();
    assert_eq!(counts.searched + counts.followed, 150, "{counts:?}");
    assert!((20..=30).contains(&counts.searched), "{counts:?}");
    assert_eq!(scene.pipeline.view().faces.len(), 1);
}

#[test]
fn f087_a_frozen_picture_is_not_looked_at_from_the_first_copy_on() {
    let mut scene = Scene::new(Policy::default(), Duration::ZERO);
    scene.told.see(&[(100.0, 80.0)]);
    scene.play(10);
    let before = scene.counts();
    let still = scene.frame(scene.number).bytes;
    for n in 0..45 {
        scene.told.wait(Duration::from_millis(66));
        let frame = scene.frame_of(still.clone());
        scene.pipeline.frame(frame).unwrap();
        let is_frozen = scene.pipeline.view().picture == PictureState::Frozen;
        assert!(n < 35 || is_frozen, "copy {n}");
    }
    let after = scene.counts();
    assert_eq!(after.embedded, before.embedded);
    assert_eq!(after.searched + after.followed, before.searched + before.followed);
    assert_eq!(after.copies, 45);
    assert!(scene.pipeline.view().faces.is_empty(), "whoever was in it is gone");
    scene.play(1);
    assert_eq!(scene.pipeline.view().picture, PictureState::Fine);
}

#[test]
fn f087_torn_frames_old_frames_and_black_ones_are_not_looked_at() {
    let mut scene = Scene::new(Policy::default(), Duration::ZERO);
    scene.told.see(&[(100.0, 80.0)]);
    let torn = scene.frame_of(vec![90; 100]);
    scene.pipeline.frame(torn).unwrap();
    let old = scene.frame(1);
    scene.told.wait(Duration::from_millis(1_001));
    scene.pipeline.frame(old).unwrap();
    assert_eq!((scene.counts().unreadable, scene.counts().stale, scene.counts().searched), (1, 1, 0));
    for n in 0..50u8 {
        scene.told.wait(Duration::from_millis(66));
        let black = scene.frame_of(vec![16 + n % 2; WIDTH * HEIGHT * 3 / 2]);
        scene.pipeline.frame(black).unwrap();
    }
    assert_eq!(scene.pipeline.view().picture, PictureState::Black);
}

#[test]
fn f088_of_a_crowd_the_largest_are_followed_and_each_is_embedded_in_turn() {
    let mut scene = Scene::new(Policy::default(), Duration::from_millis(40));
    let crowd: Vec<(f32, f32)> =
        (0..1_000).map(|n| (400.0 * n as f32, 60.0 + n as f32 / 10.0)).rev().collect();
    scene.told.see(&crowd);
    scene.play(40);
    let counts = scene.counts();
    assert_eq!(scene.pipeline.view().faces.len(), limits::FACES_FOLLOWED);
    assert_eq!(counts.embedded, 40, "one a frame is all that there is time for: {counts:?}");
}

#[test]
fn while_somebody_is_enrolled_no_face_is_compared_and_afterwards_everybody_is_new() {
    let mut scene = Scene::new(Policy::default(), Duration::ZERO);
    scene.told.see(&[(100.0, 80.0)]);
    scene.play(5);
    let (before, track) = (scene.counts().embedded, scene.pipeline.view().faces[0].track);
    assert!(before > 0);
    let (to, mut glimpses) = mpsc::channel(100);
    scene.pipeline.capture(Capture::new(to, scene.told.now() + Duration::from_secs(30)));
    scene.play(30);
    assert_eq!(scene.counts().embedded, before);
    assert_eq!(scene.pipeline.view().faces[0].prompt, Prompt::Wait);
    let mut pictures = 0;
    while let Ok(glimpse) = glimpses.try_recv() {
        let Glimpse::Face { is_whole: true, picture, .. } = &glimpse else { panic!("{glimpse:?}") };
        pictures += usize::from(picture.is_some());
    }
    assert!((5..=6).contains(&pictures), "of two seconds: {pictures}");
    drop(glimpses);
    scene.play(10);
    assert!(scene.counts().embedded > before);
    assert!(scene.pipeline.view().faces[0].track > track);
}

#[test]
fn by_a_deliberate_act_nobody_else_has_an_embedding_made() {
    let mut policy = Policy::default();
    policy.recognition.mode = Mode::Deliberate;
    let mut scene = Scene::new(policy, Duration::ZERO);
    scene.told.see(&[(100.0, 80.0), (240.0, 70.0)]);
    scene.play(30);
    assert_eq!(scene.counts().embedded, 0, "32 px between the eyes are not near");
    assert!(scene.pipeline.view().faces.iter().all(|face| face.prompt == Prompt::ComeCloser));
    scene.pipeline.press_button();
    scene.play(1);
    assert_eq!(scene.counts().embedded, 1, "the largest alone");
}
