//! The thread with scripted cameras: it runs on the test's own thread, on a clock of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jpeg_encoder::{ColorType, Encoder};
use rollcall_vision::decode::{FrameFormat, FrameLayout};
use tokio::sync::watch;

use super::clock::Clock;
use super::clock::fake::FakeClock;
use super::config::Ending;
use super::thread::Reader;
use super::*;

/// A picture whose red is of this strength.
pub(super) fn jpeg(width: u16, height: u16, red: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let rgb = [red, 90, 30].repeat(usize::from(width) * usize::from(height));
    Encoder::new(&mut bytes, 90).encode(&rgb, width, height, ColorType::Rgb).unwrap();
    bytes
}

const MJPEG: FrameLayout = FrameLayout { width: 64, height: 48, format: FrameFormat::Mjpeg, stride_bytes: 0 };
const YUYV: FrameLayout = FrameLayout { width: 64, height: 48, format: FrameFormat::Yuyv, stride_bytes: 0 };

/// What one call of a camera does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Frame,
    Torn,
    OtherSize,
    /// Raw, of so many bytes.
    Raw(usize),
    PassedOver(u64),
    Nothing,
    Fails,
    Panics,
    Ends,
}
use Step::*;

/// What one opening does.
enum Opening {
    Works(&'static str, Vec<Step>),
    /// And panics when it is dropped.
    DropsBadly(Vec<Step>),
    Fails,
    Panics,
}

struct Script {
    openings: VecDeque<Opening>,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    clock: Arc<FakeClock>,
    state: watch::Receiver<CameraState>,
    /// Each state, and when a call of the source or camera first saw it.
    seen: Arc<Mutex<Vec<(Duration, CameraState)>>>,
}

impl Shared {
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap();
        let state = self.state.borrow().clone();
        if seen.last().is_none_or(|(_, last)| *last != state) {
            seen.push((self.clock.elapsed(), state));
        }
    }
}

struct Scripted {
    name: &'static str,
    steps: VecDeque<Step>,
    drops_badly: bool,
    shared: Shared,
}

impl Source for Script {
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError> {
        self.shared.look();
        let camera = |name, steps: Vec<Step>, drops_badly| {
            let shared = self.shared.clone();
            Ok(Box::new(Scripted { name, steps: steps.into(), drops_badly, shared }) as Box<dyn Camera>)
        };
        match self.openings.pop_front() {
            Some(Opening::Works(name, steps)) => camera(name, steps, false),
            Some(Opening::DropsBadly(steps)) => camera("bad", steps, true),
            Some(Opening::Fails) => Err(CameraError::NotFound("nothing is plugged in".to_owned())),
            Some(Opening::Panics) => panic!("a driver's text is not UTF-8"),
            None => {
                self.shared.clock.stop();
                Err(CameraError::NotFound("the script is over".to_owned()))
            }
        }
    }
}

impl Camera for Scripted {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn rate(&self) -> Option<f64> {
        Some(15.0)
    }

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Grabbed, CameraError> {
        self.shared.look();
        let step = self.steps.pop_front().unwrap_or(Fails);
        let milliseconds = if matches!(step, Nothing) { rollcall_core::limits::CAMERA_POLL_MS } else { 66 };
        self.shared.clock.advance(Duration::from_millis(milliseconds));
        let mut passed_over = 0;
        let whole = jpeg(64, 48, 200);
        let (bytes, layout) = match step {
            Frame => (whole, MJPEG),
            Torn => (whole[..whole.len() / 2].to_vec(), MJPEG),
            OtherSize => (jpeg(32, 32, 200), MJPEG),
            Raw(size) => (vec![128; size], YUYV),
            PassedOver(count) => {
                passed_over = count;
                (whole, MJPEG)
            }
            Nothing => return Err(CameraError::TimedOut),
            Fails => {
                let source = io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error());
                let device = self.name.to_owned();
                return Err(CameraError::Device { device, action: "reading a frame", source });
            }
            Panics => panic!("a driver"),
            Ends => return Err(CameraError::Ended),
        };
        buffer.clear();
        buffer.extend(bytes);
        Ok(Grabbed { layout, passed_over })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.look();
        assert!(!self.drops_badly, "a stream that does not stop");
    }
}

struct Played {
    feed: CameraFeed,
    clock: Arc<FakeClock>,
    seen: Vec<(Duration, CameraState)>,
}

fn play(openings: Vec<Opening>) -> Played {
    let clock = Arc::new(FakeClock::new());
    let (reader, feed) = Reader::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let seen = Arc::default();
    let shared = Shared { clock: Arc::clone(&clock), state: feed.state.clone(), seen: Arc::clone(&seen) };
    let script = Script { openings: openings.into(), shared: shared.clone() };
    reader.run(Box::new(script));
    shared.look();
    let seen = seen.lock().unwrap().clone();
    Played { feed, clock, seen }
}

impl Played {
    /// The states in their order, with the name of the camera or the reason.
    fn states(&self) -> Vec<(&'static str, &str)> {
        fn pair(state: &CameraState) -> (&'static str, &str) {
            match state {
                CameraState::Off => ("off", ""),
                CameraState::Opening => ("opening", ""),
                CameraState::Working { format } => ("working", format.as_str()),
                CameraState::Lost { reason } => ("lost", reason.as_str()),
                CameraState::Ended => ("ended", ""),
            }
        }
        self.seen.iter().map(|(_, state)| pair(state)).collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<&str> = self.states().into_iter().map(|(kind, _)| kind).collect();
        kinds.dedup();
        kinds
    }

    fn counts(&self) -> (u64, u64, u64) {
        let counters = &self.feed.counters;
        (counters.good(), counters.unusable(), counters.failures())
    }

    /// When a state like this was first seen.
    fn when(&self, kind: &str) -> Duration {
        let at = self.states().iter().position(|(name, _)| *name == kind).unwrap();
        self.seen[at].0
    }
}

#[test]
fn f087_an_unplugged_camera_is_told_at_once_and_comes_back_as_another_node() {
    let played = play(vec![
        Opening::Works("/dev/video0", vec![Frame, Frame, Frame]),
        Opening::Fails,
        Opening::Fails,
        Opening::Works("/dev/video2", vec![Frame, Frame]),
    ]);
    let states = played.states();
    let kinds: Vec<&str> = states.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["opening", "working", "lost", "lost", "working", "lost", "lost"], "{states:?}");
    assert_eq!(states[1].1, "/dev/video0: MJPEG 64x48, 15.0 frames/s");
    assert!(states[2].1.contains("/dev/video0 fails at reading a frame"), "{states:?}");
    assert!(states[2].1.ends_with("plug it in"), "{states:?}");
    assert!(states[4].1.starts_with("/dev/video2: "), "{states:?}");
    assert_eq!(played.counts(), (5, 0, 5));
    assert_eq!(played.feed.slot.take(Duration::ZERO).unwrap().number, 5);
}

#[test]
fn f087_a_camera_that_goes_silent_is_told_within_two_seconds_of_its_last_picture() {
    let played = play(vec![Opening::Works("a", [vec![Frame; 3], vec![Nothing; 20]].concat())]);
    assert_eq!(played.kinds(), ["opening", "working", "lost"]);
    let last = Duration::from_millis(3 * 66);
    assert!(played.when("lost") - last < Duration::from_secs(2), "{:?}", played.seen);
    assert!(played.states()[2].1.contains("no good picture"), "{:?}", played.seen);
}

#[test]
fn f087_a_camera_that_opens_and_gives_nothing_is_told_within_two_seconds_and_opened_again() {
    let opening = || Opening::Works("a", vec![Nothing; 100]);
    let played = play(vec![opening(), opening(), Opening::Works("a", vec![Frame])]);
    assert_eq!(played.kinds(), ["opening", "lost", "working", "lost"]);
    assert!(played.when("lost") < Duration::from_secs(2), "{:?}", played.seen);
    assert_eq!(played.feed.counters.failures(), 4);
}

#[test]
fn f087_a_camera_that_starts_slowly_is_waited_for() {
    let played = play(vec![Opening::Works("a", [vec![Nothing; 16], vec![Frame; 2]].concat())]);
    assert_eq!(played.kinds(), ["opening", "lost", "working", "lost"]);
    assert_eq!(played.feed.counters.failures(), 2);
}

#[test]
fn f087_time_outs_and_then_frames_change_nothing() {
    let steps = [Frame, Nothing, Nothing, Nothing, Nothing, Frame].repeat(50);
    let played = play(vec![Opening::Works("a", steps)]);
    assert_eq!(played.kinds(), ["opening", "working", "lost"]);
    assert_eq!(played.counts(), (100, 0, 2));
}

#[test]
fn f087_torn_pictures_and_pictures_of_another_size_are_skipped_and_counted() {
    let steps = [Frame, Torn, Torn, OtherSize, Frame].repeat(20);
    let played = play(vec![Opening::Works("a", steps)]);
    assert_eq!(played.kinds(), ["opening", "working", "lost"]);
    assert_eq!(played.counts(), (40, 60, 2));
    let frame = played.feed.slot.take(Duration::ZERO).unwrap();
    assert_eq!((frame.number, frame.layout), (100, MJPEG));
    frame.layout.check(&frame.bytes).unwrap();
}

#[test]
fn f087_a_camera_that_gives_only_torn_pictures_is_lost_and_it_is_said_why() {
    for (bad, words) in [(Torn, "cut off"), (OtherSize, "32")] {
        let steps = [vec![Frame], vec![bad; 40], vec![Frame]].concat();
        let played = play(vec![Opening::Works("a", steps)]);
        assert_eq!(played.kinds(), ["opening", "working", "lost"]);
        assert!(played.when("lost") < Duration::from_secs(2), "{:?}", played.seen);
        let reason = played.states()[2].1;
        assert!(reason.contains("the latest: ") && reason.contains(words), "{reason}");
    }
}

#[test]
fn f089_frames_shorter_than_their_layout_are_skipped_and_counted() {
    let whole = 64 * 48 * 2;
    let steps = vec![Raw(whole), Raw(whole - 1), Raw(0), Raw(whole + 4096), Raw(1)];
    let played = play(vec![Opening::Works("a", steps)]);
    assert_eq!(played.counts(), (2, 3, 2));
    assert_eq!(played.feed.slot.take(Duration::ZERO).unwrap().bytes.len(), whole + 4096);
}

#[test]
fn f087_a_driver_that_panics_is_a_camera_that_failed() {
    let played = play(vec![
        Opening::Panics,
        Opening::Works("a", vec![Frame, Panics]),
        Opening::DropsBadly(vec![Frame, Fails]),
        Opening::DropsBadly(vec![Panics]),
        Opening::Works("b", vec![Frame]),
    ]);
    assert_eq!(played.kinds(), ["opening", "lost", "working", "lost", "working", "lost", "working", "lost"]);
    assert!(played.states()[1].1.contains("failed unexpectedly at opening"), "{:?}", played.seen);
    assert_eq!(played.counts(), (3, 0, 6));
}

#[test]
fn f088_frames_that_nobody_takes_are_dropped_and_counted_and_numbered() {
    let steps = [vec![Frame; 30], vec![PassedOver(3)], vec![Frame; 9]].concat();
    let played = play(vec![Opening::Works("a", steps)]);
    let slot = &played.feed.slot;
    assert_eq!(
        (played.feed.counters.good(), played.feed.counters.passed_over(), slot.dropped()),
        (40, 3, 39)
    );
    assert_eq!(slot.take(Duration::ZERO).unwrap().number, 43);
    assert!(slot.is_over());
}

#[test]
fn it_is_tried_again_and_again_with_pauses_that_grow_to_a_limit() {
    let played = play((0..30).map(|_| Opening::Fails).collect());
    let waits = played.clock.waits.lock().unwrap();
    assert_eq!(waits.len(), 31);
    let milliseconds: Vec<u128> = waits.iter().map(Duration::as_millis).collect();
    for (n, got) in milliseconds.iter().enumerate() {
        let most = (250_u128 << n.min(10)).min(4_000);
        assert!((most / 2..=most).contains(got), "wait {n}: {milliseconds:?}");
    }
}

#[test]
fn only_a_camera_that_worked_for_a_while_is_tried_again_at_once() {
    let fails = || (0..6).map(|_| Opening::Fails).collect::<Vec<_>>();
    for (frames, first_pause_ms) in [(10, 2_000..=4_000), (200, 125..=250)] {
        let mut openings = fails();
        openings.push(Opening::Works("a", vec![Frame; frames]));
        let played = play(openings);
        let waits = played.clock.waits.lock().unwrap();
        assert!(first_pause_ms.contains(&waits[6].as_millis()), "{frames}: {waits:?}");
    }
}

#[test]
fn a_scene_that_is_over_is_told_and_not_opened_again() {
    let played = play(vec![Opening::Works("a", vec![Frame, Ends]), Opening::Works("b", vec![Frame])]);
    assert_eq!(played.kinds(), ["opening", "working", "ended"]);
    assert_eq!(played.counts(), (1, 0, 0));
    let slot = &played.feed.slot;
    assert!(!slot.is_over());
    assert!(slot.take(Duration::MAX).is_some());
    assert!(slot.is_over() && slot.take(Duration::MAX).is_none());
}

#[test]
fn the_log_has_a_line_for_each_change_and_none_for_each_try() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut openings: Vec<Opening> = (0..20).map(|_| Opening::Fails).collect();
        openings.push(Opening::Works("a", vec![Frame; 40]));
        openings.extend((0..20).map(|_| Opening::Fails));
        play(openings);
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let words: Vec<bool> = text.lines().map(|line| line.contains("the camera works")).collect();
    assert_eq!(words, [false, true, false], "{text}");
}

#[test]
fn a_program_that_ends_is_started_again_and_its_end_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jpeg(64, 48, 10)).unwrap();
    let script = format!("cat {}; exit 3", file.path().display());
    let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let clock = Arc::new(FakeClock::new());
    let (reader, feed) = Reader::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let source = Box::new(command::CommandSource::new(argv, config::Output::Mjpeg));
    let thread = std::thread::spawn(move || reader.run(source));
    for _ in 0..3 {
        assert!(feed.slot.take(Duration::from_secs(60)).is_some());
    }
    clock.stop();
    thread.join().unwrap();
    assert!(feed.counters.failures() >= 2);
    let state = feed.state.borrow().clone();
    assert!(
        !matches!(&state, CameraState::Lost { reason } if !reason.contains("exit status: 3")),
        "{state:?}"
    );
}

#[test]
fn f087_what_is_no_camera_is_an_error_and_not_a_panic() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let wanted = choice::Wanted { width: 640, height: 480, rate: 15.0, format: None };
    for (path, words) in [
        ("/dev/video-none".into(), "fails at opening it: No such file or directory (os error 2); plug it in"),
        (file.path().to_owned(), "fails at asking what it is: "),
        ("/dev/null".into(), "fails at asking what it is: "),
        ("/".into(), "fails at opening it: "),
    ] {
        let opened = super::thread::guarded("opening", || v4l::V4lSource::new(Some(path), wanted).open());
        let error = opened.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_camera_is_measured_over_two_seconds_of_good_frames() {
    let played = |steps: Vec<Step>| {
        let clock = Arc::new(FakeClock::new());
        let (_, feed) = Reader::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let shared = Shared { clock: Arc::clone(&clock), state: feed.state, seen: Arc::default() };
        let mut script = Script { openings: vec![Opening::Works("a", steps)].into(), shared };
        inspect::measure_source(&mut script, clock.as_ref())
    };
    let measured = played([vec![Nothing; 4], vec![Torn; 3], vec![Frame; 60]].concat()).unwrap();
    assert_eq!((measured.format.as_str(), measured.unusable), ("MJPEG 64x48", 3));
    assert!((15.0..15.3).contains(&measured.rate), "{measured:?}");
    let half = played([Frame, Torn].repeat(40)).unwrap();
    assert!((7.0..8.0).contains(&half.rate) && half.unusable >= 14, "{half:?}");
    let dead = played([vec![Frame], vec![Nothing; 40]].concat()).unwrap();
    assert_eq!(dead.rate, 0.0);
    for steps in [vec![Nothing; 100], vec![OtherSize; 100]] {
        assert!(matches!(played(steps), Err(CameraError::Silent { .. })));
    }
    assert!(matches!(played(vec![Frame, Panics]), Err(CameraError::Panicked(_))));
}

#[test]
fn without_a_camera_the_feed_is_over() {
    let (thread, feed) = start(Settings::Off).unwrap();
    assert_eq!(*feed.state.borrow(), CameraState::Off);
    assert!(feed.slot.is_over());
    thread.stop();
}

#[test]
fn a_scene_is_played_by_a_thread_that_ends_when_it_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jpeg(64, 48, 10).repeat(3)).unwrap();
    let path = file.path().to_owned();
    let (thread, feed) = start(Settings::File { path, rate: 120.0, ending: Ending::Repeat }).unwrap();
    let numbers: Vec<u64> = (0..8)
        .map(|_| {
            let frame = feed.slot.take(Duration::from_secs(60)).unwrap();
            feed.slot.give_back(frame.bytes);
            frame.number
        })
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    thread.stop();
    while feed.slot.take(Duration::ZERO).is_some() {}
    assert!(feed.slot.is_over());
}
