//! The thread `recognition`: takes frames, sends verdicts, tells the screen.
//!
//! A frame in which something panics is lost, and so is one that a network cannot read; the third within a minute ends
//! the thread, and [`Handle::failed`] says why. What a panic may have left half done is of that frame alone: tracks and
//! evidence change by whole steps.
//!
//! Verdicts go into a bounded channel. When it is full the new one is lost, counted and logged as an error: whoever does
//! not take verdicts for so long opens nothing with them anyway, and an old verdict opens nothing by itself.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rollcall_core::{PersonId, UtcInstant, limits};
use rollcall_gallery::Recogniser;
use rollcall_vision::decode::{FrameFormat, decode_frame};
use rollcall_vision::encode_jpeg;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use super::capture::{Capture, Glimpse};
#[cfg(test)]
use super::counters::Snapshot;
use super::counters::{Counters, What};
use super::pipeline::{Judging, Pipeline, Step};
use super::policy::Policy;
use super::reading::{ReadError, Reading};
use super::{LivePicture, Preview, Verdict, View};
use crate::camera::{Frame, Slot};
use crate::readers::badge::Badges;

/// How long it waits for a frame before it looks whether it shall end.
const WAIT: Duration = Duration::from_millis(200);

/// Between two views, and between two pictures, for the screen.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// So many lost frames within this time end the thread.
const LOST_FRAMES: usize = 3;
const LOST_WITHIN: Duration = Duration::from_secs(60);

/// What the thread works with.
pub struct Setup {
    /// Where frames come from.
    pub slot: Arc<Slot>,
    /// The networks.
    pub reading: Box<dyn Reading>,
    /// Who compares; [`judge`] makes one.
    pub judge: Box<Judging>,
    /// What counts.
    pub policy: Policy,
    /// Who looks for badges in the same pictures.
    pub badges: Option<Badges>,
    /// Where verdicts go.
    pub verdicts: mpsc::Sender<Verdict>,
}

/// What others ask of the thread and learn from it.
pub struct Handle {
    view: watch::Receiver<View>,
    preview: LivePicture,
    failure: watch::Receiver<Option<Arc<str>>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    slot: Arc<Slot>,
    counters: Arc<Counters>,
    asked: Mutex<Asked>,
    is_ending: AtomicBool,
    /// When it went round last.
    turned: Mutex<Instant>,
}

/// What was asked of the thread since it last looked.
#[derive(Default)]
struct Asked {
    is_pressed: bool,
    capture: Option<Capture>,
    passed: VecDeque<PersonId>,
}

/// The judge that asks everybody's faces.
pub fn judge(recogniser: Arc<Recogniser>) -> Box<Judging> {
    Box::new(move |probe, quality, frames| {
        let now = UtcInstant::now();
        recogniser.decide(probe, quality, frames, now).unwrap_or_else(|error| {
            tracing::error!(%error, "a face could not be compared");
            recogniser.unusable(Some(quality), now)
        })
    })
}

/// Starts the thread. It ends when the slot is closed, when the handle is dropped, or when it fails.
///
/// # Errors
/// When the system has no thread or no random numbers to give.
pub fn start(setup: Setup) -> io::Result<Handle> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let counters = Arc::new(Counters::default());
    let shared = Arc::new(Shared {
        slot: setup.slot,
        counters: Arc::clone(&counters),
        asked: Mutex::default(),
        is_ending: AtomicBool::new(false),
        turned: Mutex::new(Instant::now()),
    });
    let mut pipeline =
        Pipeline::new(setup.reading, setup.judge, Box::new(Instant::now), setup.policy, seed, counters);
    if let Some(badges) = setup.badges {
        pipeline.look_for(badges);
    }
    let (view, view_of) = watch::channel(View::default());
    let preview = LivePicture::default();
    let (failure, failure_of) = watch::channel(None);
    let mut work = Work {
        shared: Arc::clone(&shared),
        pipeline,
        verdicts: setup.verdicts,
        view,
        preview: preview.clone(),
        failure,
        lost: VecDeque::new(),
        viewed_at: None,
        pictured_at: None,
        rgb: Vec::new(),
    };
    let thread = std::thread::Builder::new().name("recognition".into()).spawn(move || work.run())?;
    Ok(Handle { view: view_of, preview, failure: failure_of, shared, thread: Mutex::new(Some(thread)) })
}

impl Handle {
    /// What the screen shows; changes at most ten times a second.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// The live picture as JPEG, at most ten a second.
    pub fn preview(&self) -> LivePicture {
        self.preview.clone()
    }

    /// What was done so far.
    #[cfg(test)]
    pub fn counters(&self) -> Snapshot {
        self.shared.counters.snapshot(self.shared.slot.dropped())
    }

    /// The button on the screen was pressed: the largest face of the next seconds may be read.
    pub fn press_button(&self) {
        self.asked(|asked| asked.is_pressed = true);
    }

    /// Hands frames over instead of deciding, until `until` or until nobody takes them. A capture that was there is over.
    pub fn capture(&self, until: Instant) -> mpsc::Receiver<Glimpse> {
        let (to, glimpses) = mpsc::channel(limits::GLIMPSES_WAITING);
        self.asked(|asked| asked.capture = Some(Capture::new(to, until)));
        glimpses
    }

    /// Somebody came in by badge, card or PIN. Of more than [`limits::PASSED_WAITING`] between two frames the oldest are
    /// forgotten.
    pub fn passed(&self, person: PersonId) {
        self.asked(|asked| {
            asked.passed.push_back(person);
            if asked.passed.len() > limits::PASSED_WAITING {
                asked.passed.pop_front();
            }
        });
    }

    /// Whether the thread has gone round within the last [`limits::RECOGNITION_TURN_MS`]: a frame takes a fraction of it.
    pub fn goes_round(&self) -> bool {
        let turned = *self.shared.turned.lock().unwrap_or_else(PoisonError::into_inner);
        turned.elapsed() < Duration::from_millis(limits::RECOGNITION_TURN_MS)
    }

    /// Waits until the thread has failed, and says why. The program must end then. Never returns otherwise.
    pub async fn failed(&self) -> Arc<str> {
        let mut failure = self.failure.clone();
        loop {
            if let Some(why) = failure.borrow_and_update().clone() {
                return why;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the thread and waits for it, at most for one frame. Not to be called on a thread of the runtime.
    pub fn end(&self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // What a panic in it was is in the log.
            let _ended = thread.join();
        }
    }

    fn asked(&self, ask: impl FnOnce(&mut Asked)) {
        ask(&mut self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
    }
}

struct Work {
    shared: Arc<Shared>,
    pipeline: Pipeline,
    verdicts: mpsc::Sender<Verdict>,
    view: watch::Sender<View>,
    preview: LivePicture,
    failure: watch::Sender<Option<Arc<str>>>,
    /// When frames were lost.
    lost: VecDeque<Instant>,
    viewed_at: Option<Instant>,
    pictured_at: Option<Instant>,
    rgb: Vec<u8>,
}

impl Work {
    fn run(&mut self) {
        while !self.shared.is_ending.load(Ordering::Relaxed) {
            *self.shared.turned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            self.hear();
            let frame = self.shared.slot.take(WAIT);
            if frame.is_none() && self.shared.slot.is_over() {
                return;
            }
            // Nothing of the pipeline is used between its steps; see the module.
            let step = catch_unwind(AssertUnwindSafe(|| self.step(frame)));
            let why: Arc<str> = match step {
                Ok(Ok(step)) => {
                    self.hand_on(step);
                    continue;
                }
                Ok(Err(error)) => error.to_string().into(),
                Err(_) => "a frame could not be read because of a mistake in this program".into(),
            };
            if self.lose(why) {
                return;
            }
        }
    }

    /// Does what was asked.
    fn hear(&mut self) {
        let asked = std::mem::take(&mut *self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner));
        if asked.is_pressed {
            self.pipeline.press_button();
        }
        asked.passed.into_iter().for_each(|person| self.pipeline.passed(person));
        if let Some(capture) = asked.capture {
            let verdicts = self.pipeline.capture(capture);
            self.hand_on(Step { verdicts, spent: None });
        }
    }

    fn step(&mut self, frame: Option<Frame>) -> Result<Step, ReadError> {
        let Some(frame) = frame else {
            return Ok(Step { verdicts: self.pipeline.idle(), spent: None });
        };
        self.show_picture(&frame);
        self.pipeline.frame(frame)
    }

    fn hand_on(&mut self, step: Step) {
        for verdict in step.verdicts {
            if let Err(TrySendError::Full(_)) = self.verdicts.try_send(verdict) {
                self.shared.counters.verdict_lost();
                tracing::error!("a verdict was lost because nobody takes them");
            }
        }
        if let Some(bytes) = step.spent {
            self.shared.slot.give_back(bytes);
        }
        let now = Instant::now();
        if is_due(self.viewed_at, now) {
            let view = self.pipeline.view();
            let changed = self.view.send_if_modified(|shown| {
                let changes = *shown != view;
                *shown = view;
                changes
            });
            if changed {
                self.viewed_at = Some(now);
            }
        }
    }

    /// Makes the live picture, if somebody watches.
    fn show_picture(&mut self, frame: &Frame) {
        let now = Instant::now();
        if self.preview.receiver_count() == 0 || !is_due(self.pictured_at, now) {
            return;
        }
        self.pictured_at = Some(now);
        let jpeg = match frame.layout.format {
            FrameFormat::Mjpeg => Some(frame.bytes.clone()),
            _ => decode_frame(&frame.layout, &frame.bytes, &mut self.rgb).ok().and_then(|image| {
                let jpeg = encode_jpeg(&image).ok();
                self.rgb = image.into_data();
                jpeg
            }),
        };
        if let Some(jpeg) = jpeg {
            let (number, captured) = (frame.number, frame.captured);
            self.preview.send_replace(Some(Preview { jpeg: jpeg.into(), number, captured }));
        }
    }

    /// A frame is lost; whether that is the end.
    fn lose(&mut self, why: Arc<str>) -> bool {
        self.shared.counters.frame(What::Panicked);
        tracing::error!(reason = %why, "a frame was lost");
        let is_last = too_many(&mut self.lost, Instant::now());
        if is_last {
            tracing::error!("recognition ends: the third lost frame within a minute");
            self.failure.send_replace(Some(why));
        }
        is_last
    }
}

fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= SHOW_EVERY)
}

/// Counts one more lost frame; whether those of the last minute are too many.
fn too_many(lost: &mut VecDeque<Instant>, now: Instant) -> bool {
    lost.push_back(now);
    while lost.front().is_some_and(|first| now.saturating_duration_since(*first) > LOST_WITHIN) {
        lost.pop_front();
    }
    lost.len() >= LOST_FRAMES
}

#[cfg(test)]
mod tests;
