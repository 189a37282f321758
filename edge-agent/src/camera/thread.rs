//! The camera's thread: open, read, and after any failure drop all and begin again.
//!
//! Time is an input ([`Clock`]). A driver that panics is taken for one that failed.

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rollcall_core::limits;
use rollcall_vision::decode::{FrameFormat, FrameLayout};
use tokio::sync::watch;

use super::clock::{Clock, SystemClock};
use super::{Camera, CameraError, CameraFeed, CameraState, Frame, Grabbed, Slot, Source};

const SILENCE: Duration = Duration::from_millis(limits::CAMERA_SILENCE_MS);
const START: Duration = Duration::from_millis(limits::CAMERA_START_MS);
const STEADY: Duration = Duration::from_millis(limits::CAMERA_STEADY_MS);
const RETRY: Duration = Duration::from_millis(limits::CAMERA_RETRY_MS);
const RETRY_MAX: Duration = Duration::from_millis(limits::CAMERA_RETRY_MAX_MS);

/// What the camera's thread counted since it was started.
#[derive(Debug, Default)]
pub struct Counters {
    good: AtomicU64,
    unusable: AtomicU64,
    passed_over: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    /// Frames that were put into the slot.
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// Frames that were torn, too short or of another size.
    pub fn unusable(&self) -> u64 {
        self.unusable.load(Ordering::Relaxed)
    }

    /// Frames that waited in the driver and were passed over for newer ones. Those that waited in the slot are counted
    /// there.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// Times that the camera could not be opened, or was given up.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub struct CameraThread {
    clock: Arc<SystemClock>,
    thread: Option<JoinHandle<()>>,
}

impl CameraThread {
    /// Ends the thread and waits for it: a wait for a frame is cut short, a call of a driver is not.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for CameraThread {
    fn drop(&mut self) {
        self.clock.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the camera's thread panicked");
        }
    }
}

/// Starts the thread; without a source there is none, and the feed is over.
pub(super) fn start(
    source: Option<Box<dyn Source>>,
    clock: Arc<SystemClock>,
) -> io::Result<(CameraThread, CameraFeed)> {
    let (reader, feed) = Reader::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let Some(source) = source else {
        reader.state.send_replace(CameraState::Off);
        reader.slot.close();
        return Ok((CameraThread { clock, thread: None }, feed));
    };
    let thread = std::thread::Builder::new().name("camera".to_owned()).spawn(move || reader.run(source))?;
    Ok((CameraThread { clock, thread: Some(thread) }, feed))
}

/// What the thread has.
pub(super) struct Reader {
    clock: Arc<dyn Clock>,
    slot: Arc<Slot>,
    state: watch::Sender<CameraState>,
    counters: Arc<Counters>,
    /// Of the latest frame.
    number: u64,
    /// Before the next try.
    pause: Duration,
}

impl Reader {
    pub(super) fn new(clock: Arc<dyn Clock>) -> (Self, CameraFeed) {
        let (state, receiver) = watch::channel(CameraState::Opening);
        let feed =
            CameraFeed { slot: Arc::default(), state: receiver, counters: Arc::new(Counters::default()) };
        let (slot, counters) = (Arc::clone(&feed.slot), Arc::clone(&feed.counters));
        (Self { clock, slot, state, counters, number: 0, pause: RETRY }, feed)
    }

    pub(super) fn run(mut self, mut source: Box<dyn Source>) {
        while !self.clock.is_stopped() {
            let failure = match guarded("opening", || source.open()) {
                Ok(camera) => self.read(camera),
                Err(error) => Some(error),
            };
            match failure {
                None => break,
                Some(CameraError::Ended) => {
                    tracing::info!("the camera's scene is over");
                    self.state.send_replace(CameraState::Ended);
                    break;
                }
                Some(error) => {
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    self.lost(error.to_string());
                    self.clock.wait(jittered(self.pause));
                    self.pause = (self.pause * 2).min(RETRY_MAX);
                }
            }
        }
        self.slot.close();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(source)));
    }

    /// Reads until the camera fails, and says how; `None`: the thread is to stop.
    fn read(&mut self, mut camera: Box<dyn Camera>) -> Option<CameraError> {
        let mut patience = Patience::new(self.clock.now());
        let mut why = String::new();
        let failure = loop {
            if self.clock.is_stopped() {
                break None;
            }
            let mut bytes = self.slot.buffer();
            let grabbed = guarded("reading", || camera.next(&mut bytes));
            let now = self.clock.now();
            match self.look(camera.as_ref(), grabbed, bytes, now) {
                Ok(()) => {
                    if patience.good(now) {
                        self.pause = RETRY;
                    }
                    why.clear();
                    continue;
                }
                Err(CameraError::TimedOut) => {}
                Err(CameraError::Unusable(problem)) => why = format!("; the latest: {problem}"),
                Err(error) => break Some(error),
            }
            let silence = patience.nothing(now);
            if silence == Silence::Short {
                continue;
            }
            let error = CameraError::Silent { camera: camera.name(), why: why.clone() };
            if silence == Silence::TooLong {
                break Some(error);
            }
            self.lost(error.to_string());
        };
        // Said before the camera is dropped, which may take its time.
        if let Some(error) = failure.as_ref().filter(|error| !matches!(error, CameraError::Ended)) {
            self.lost(error.to_string());
        }
        let _ = guarded("closing", || {
            drop(camera);
            Ok(())
        });
        failure
    }

    /// Hands a frame on if it is good.
    fn look(
        &mut self,
        camera: &dyn Camera,
        grabbed: Result<Grabbed, CameraError>,
        bytes: Vec<u8>,
        now: Instant,
    ) -> Result<(), CameraError> {
        let checked = match grabbed {
            Ok(Grabbed { layout, passed_over }) => {
                self.number += 1 + passed_over;
                self.counters.passed_over.fetch_add(passed_over, Ordering::Relaxed);
                layout
                    .check(&bytes)
                    .map(|()| layout)
                    .map_err(|error| CameraError::Unusable(error.to_string()))
            }
            Err(error) => {
                self.number += u64::from(matches!(error, CameraError::Unusable(_)));
                Err(error)
            }
        };
        match checked {
            Ok(layout) => {
                self.counters.good.fetch_add(1, Ordering::Relaxed);
                self.slot.put(Frame { bytes, layout, captured: now, number: self.number });
                self.working(camera, &layout);
                Ok(())
            }
            Err(error) => {
                if matches!(error, CameraError::Unusable(_)) {
                    self.counters.unusable.fetch_add(1, Ordering::Relaxed);
                }
                self.slot.give_back(bytes);
                Err(error)
            }
        }
    }

    fn working(&self, camera: &dyn Camera, layout: &FrameLayout) {
        if matches!(*self.state.borrow(), CameraState::Working { .. }) {
            return;
        }
        let rate = camera.rate().map_or(String::new(), |rate| format!(", {rate:.1} frames/s"));
        let FrameLayout { width, height, format, .. } = layout;
        let format = format!("{}: {} {width}x{height}{rate}", camera.name(), format_name(*format));
        tracing::info!(%format, "the camera works");
        self.state.send_replace(CameraState::Working { format });
    }

    /// A line in the log when it was not lost before; the reason may change with each try.
    fn lost(&self, reason: String) {
        let lost = CameraState::Lost { reason };
        self.state.send_if_modified(|state| {
            if *state == lost {
                return false;
            }
            if let (false, CameraState::Lost { reason }) = (matches!(state, CameraState::Lost { .. }), &lost)
            {
                tracing::warn!(%reason, "the camera is lost; it is looked for again and again");
            }
            *state = lost;
            true
        });
    }
}

/// When silence of an open camera is noticed, and when it is given up.
#[derive(Debug)]
struct Patience {
    opened: Instant,
    last_good: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    Short,
    /// To be told, while the camera may still be starting.
    Noticed,
    /// It is to be opened anew.
    TooLong,
}

impl Patience {
    fn new(opened: Instant) -> Self {
        Self { opened, last_good: None }
    }

    /// A good frame came; true when the camera has been working long enough to be trusted.
    fn good(&mut self, now: Instant) -> bool {
        self.last_good = Some(now);
        now.saturating_duration_since(self.opened) >= STEADY
    }

    /// None came.
    fn nothing(&self, now: Instant) -> Silence {
        let silent = now.saturating_duration_since(self.last_good.unwrap_or(self.opened));
        match silent {
            _ if silent < SILENCE => Silence::Short,
            _ if self.last_good.is_none() && silent < START => Silence::Noticed,
            _ => Silence::TooLong,
        }
    }
}

/// What a driver's wrapper does, with its panic as an error.
pub(super) fn guarded<T>(
    action: &'static str,
    call: impl FnOnce() -> Result<T, CameraError>,
) -> Result<T, CameraError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic: Box<dyn Any + Send>| {
        // What was thrown may panic when it is dropped.
        std::mem::forget(panic);
        Err(CameraError::Panicked(action))
    })
}

/// Between half of it and all of it: several cameras of one hub do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + f64::from(RandomState::new().hash_one(0_u8) as u16) / 131_072.0)
}

/// As people call it.
pub(super) fn format_name(format: FrameFormat) -> &'static str {
    match format {
        FrameFormat::Mjpeg => "MJPEG",
        FrameFormat::Yuyv => "YUYV",
        FrameFormat::Nv12 => "NV12",
        FrameFormat::Yuv420 => "YUV420",
    }
}
