//! The thread itself, with the shipped networks and with readers that panic or are slow.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Condvar;

use rollcall_gallery::decide::{self, Outcome};
use rollcall_vision::decode::{FrameLayout, decode};
use rollcall_vision::{Embedding, Face, FaceReader, Models, Quality, Rect, RgbImage};

use super::*;

/// A gate that a test opens for one search at a time.
#[derive(Default)]
struct Turnstile {
    state: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Turnstile {
    /// Waits to be let through.
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        let _state = self.changed.wait_while(state, |(open, passed)| *open < *passed).unwrap();
    }

    fn open(&self, count: u64) {
        self.state.lock().unwrap().0 += count;
        self.changed.notify_all();
    }

    /// Until somebody has come so often.
    fn until(&self, passed: u64) {
        let state = self.state.lock().unwrap();
        let _state = self.changed.wait_while(state, |(_, came)| *came < passed).unwrap();
    }
}

/// Searches when it is let, and panics if told to.
struct Held {
    turnstile: Arc<Turnstile>,
    panics: bool,
}

impl Reading for Held {
    fn search(&mut self, _: &RgbImage, _: u32) -> Result<Vec<Face>, ReadError> {
        self.turnstile.pass();
        assert!(!self.panics, "injected");
        Ok(Vec::new())
    }

    fn follow(&mut self, _: &RgbImage, _: &[Rect]) -> Result<Vec<Face>, ReadError> {
        Ok(Vec::new())
    }

    fn look(&mut self, _: &RgbImage, _: &Face) -> Option<(RgbImage, Quality)> {
        None
    }

    fn embed(&mut self, _: &RgbImage) -> Result<Option<Embedding>, ReadError> {
        Ok(None)
    }

    fn liveness(&mut self, _: &RgbImage, _: &Face) -> Result<Option<f32>, ReadError> {
        Ok(None)
    }
}

fn unusable() -> Box<Judging> {
    Box::new(|_: &Embedding, quality: Quality, _: usize| decide::unusable(Some(quality), 1, &"test".into()))
}

fn started(reading: Box<dyn Reading>, judge: Box<Judging>) -> (Handle, Arc<Slot>, mpsc::Receiver<Verdict>) {
    let slot = Arc::new(Slot::default());
    let (verdicts, of) = mpsc::channel(limits::VERDICTS_WAITING);
    let policy = Policy::default();
    let setup = Setup { slot: Arc::clone(&slot), reading, judge, policy, badges: None, verdicts };
    (start(setup).unwrap(), slot, of)
}

/// A frame of noise, seconds after the one before, so that each is searched.
fn noise(number: u64) -> Frame {
    let value = |at: u64| ((at * 31 + number * 7_919).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) as u8;
    let door = |at: u64| if at % 64 < 32 { 20 } else { 90 };
    let bytes = (0..32 * 32 * 2).map(|at| door(at) + value(at)).collect();
    let layout = FrameLayout { width: 32, height: 32, format: FrameFormat::Yuyv, stride_bytes: 0 };
    Frame { bytes, layout, captured: Instant::now() + Duration::from_secs(3) * number as u32, number }
}

#[tokio::test]
async fn f094_a_panic_loses_its_frame_and_the_third_within_a_minute_ends_the_thread() {
    let turnstile = Arc::new(Turnstile::default());
    turnstile.open(10);
    let (handle, slot, _verdicts) =
        started(Box::new(Held { turnstile: Arc::clone(&turnstile), panics: true }), unusable());
    for number in 1..=2 {
        slot.put(noise(number));
        turnstile.until(number);
        assert!(handle.failure.borrow().is_none(), "it lives on");
    }
    while handle.counters().panics < 2 {
        tokio::task::yield_now().await;
    }
    slot.put(noise(3));
    let why = handle.failed().await;
    assert!(why.contains("mistake in this program"), "{why}");
    assert_eq!(handle.counters().panics, 3);
    handle.end();
}

#[test]
fn f094_three_lost_frames_in_more_than_a_minute_are_no_failure() {
    let (mut lost, start) = (VecDeque::new(), Instant::now());
    let verdicts = [0, 30, 61, 89, 92, 200].map(|s| too_many(&mut lost, start + Duration::from_secs(s)));
    assert_eq!(verdicts, [false, false, false, true, true, false]);
}

#[test]
fn f088_whoever_is_slow_sees_the_latest_frame_and_the_others_are_counted() {
    let turnstile = Arc::new(Turnstile::default());
    let (handle, slot, _verdicts) =
        started(Box::new(Held { turnstile: Arc::clone(&turnstile), panics: false }), unusable());
    slot.put(noise(1));
    turnstile.until(1);
    // While the first is searched thirty more come.
    (2..=31).for_each(|number| slot.put(noise(number)));
    turnstile.open(2);
    turnstile.until(2);
    let counters = handle.counters();
    assert_eq!((counters.taken, counters.dropped), (2, 29), "{counters:?}");
    handle.end();
}

#[test]
fn the_live_picture_is_made_only_while_somebody_watches() {
    let turnstile = Arc::new(Turnstile::default());
    turnstile.open(10);
    let reading = Held { turnstile: Arc::clone(&turnstile), panics: false };
    let (handle, slot, _verdicts) = started(Box::new(reading), unusable());
    slot.put(noise(1));
    turnstile.until(1);
    let screen = handle.preview();
    assert!(screen.borrow().is_none(), "a screen that shows nothing does not count");
    let watcher = screen.subscribe();
    slot.put(noise(2));
    turnstile.until(2);
    let picture = watcher.borrow().clone().unwrap();
    assert_eq!((decode(&picture.jpeg).unwrap().width(), picture.number), (32, 2));
    drop(watcher);
    slot.put(noise(3));
    turnstile.until(3);
    assert_eq!(screen.borrow().as_ref().map(|picture| picture.number), Some(2));
    handle.end();
}

/// The portrait with noise of its own, as a camera that is not quite still would see it.
fn portrait(number: u64) -> Frame {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/bench/frame.jpg");
    let mut image = decode(&std::fs::read(path).unwrap()).unwrap();
    for (at, value) in (0..).zip(image.data_mut()) {
        let noise: u64 = (((at + number * 7_919) * 0x9e37_79b9) >> 11) & 3;
        *value = value.saturating_add(noise as u8);
    }
    let layout = FrameLayout {
        width: image.width() as u32,
        height: image.height() as u32,
        format: FrameFormat::Mjpeg,
        stride_bytes: 0,
    };
    Frame { bytes: encode_jpeg(&image).unwrap(), layout, captured: Instant::now(), number }
}

#[tokio::test]
async fn somebody_before_the_camera_is_decided_on_once_by_the_shipped_networks() {
    let models = Models::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")).unwrap();
    let reading = Box::new(FaceReader::load(&models).unwrap());
    let nobody = Box::new(|_: &Embedding, quality: Quality, frames: usize| {
        let decision = decide::unusable(Some(quality), 1, &"test".into());
        let trace = decide::Trace { frames, ..decision.trace };
        decide::Decision { outcome: Outcome::Unknown, trace, between: None }
    });
    let (handle, slot, mut verdicts) = started(reading, nobody);
    let mut number = 0;
    let verdict = loop {
        number += 1;
        assert!(number < 500, "no verdict: {:?}", handle.counters());
        slot.put(portrait(number));
        while handle.counters().taken < number {
            tokio::task::yield_now().await;
        }
        if let Ok(verdict) = verdicts.try_recv() {
            break verdict;
        }
    };
    assert_eq!((verdict.track, verdict.outcome), (super::super::TrackId(1), Outcome::Unknown));
    let view = handle.view().borrow().clone();
    assert_eq!(view.faces.len(), 1, "{view:?}");
    let counters = handle.counters();
    assert!(counters.followed > 0 && counters.searched > 0 && counters.embedded > 1, "{counters:?}");
    handle.end();
}
