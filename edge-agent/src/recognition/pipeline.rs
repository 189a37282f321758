//! One frame after another: what is done with each, and what follows.
//!
//! Adaptive. While nothing moves a frame is only looked at small and grey, five times a second, and searched whole every two
//! seconds in case somebody was missed. While something moves the whole picture is searched five times a second, and less
//! often once every face in it is followed well; faces that are known are looked for where they are expected, in every
//! frame. A face is embedded at most once a frame, only while its passage is undecided, and as [`Budget`] allows.
//!
//! While somebody is enrolled ([`Capture`]) faces are followed, and nothing is compared or decided.
//!
//! Not looked at for faces: frames older than a second, copies of the frame before, frames that cannot be read, pictures
//! that are black or covered. Of whoever is not to be read ([`Gate`]) nothing is measured but where the face is.
//!
//! No thread and no channel: frames and times in, verdicts out. Of a face's pixels and numbers nothing is kept here beyond
//! the frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_core::{PersonId, limits};
use rollcall_gallery::decide::Decision;
use rollcall_vision::decode::{Thumbnail, decode_frame, thumbnail};
use rollcall_vision::{Embedding, Face, Quality, QualityLimits, Rect, RgbImage};

use super::budget::Budget;
use super::capture::Capture;
use super::counters::{Counters, What};
use super::decider::Decider;
use super::deliberate::Gate;
use super::motion::{MOTION_MIN, Motion};
use super::picture::{Picture, Seen};
use super::policy::{LivenessPolicy, Policy};
use super::reading::{ReadError, Reading};
use super::track::{Looked, Track, Tracker};
use super::{FaceInView, Observation, PictureState, Prompt, TrackId, Verdict, View};
use crate::camera::Frame;
use crate::readers::badge::Badges;

/// Frames that are older are not looked at: what they show is over.
pub const STALE: Duration = Duration::from_secs(1);

/// Between two looks at a small grey picture.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Between two searches of the whole picture: something moves; all faces are followed well; nothing moves.
const SEARCH_MOVING: Duration = Duration::from_millis(200);
const SEARCH_FOLLOWING: Duration = Duration::from_millis(400);
const SEARCH_RESTING: Duration = Duration::from_secs(2);

/// For so long after the last movement somebody may stand still.
const MOVED_FOR: Duration = Duration::from_secs(2);

/// A face with a lower score of the detector is not followed well.
const FOLLOWED_SCORE_MIN: f32 = 0.9;

/// The smallest face that is looked for: the least that can be compared has some 45 pixels. In a larger picture an eighth
/// of its height, so that a search costs the same.
const FACE_MIN_PX: u32 = 60;
const FACE_MIN_OF_HEIGHT: u32 = 8;

/// Between two looks at what has run out of time.
const TICK_EVERY: Duration = Duration::from_millis(500);

/// Compares a probe with everybody.
pub type Judging = dyn FnMut(&Embedding, Quality, usize) -> Decision + Send;

/// Tells the time.
pub type Clock = dyn Fn() -> Instant + Send;

/// See the module.
pub struct Pipeline {
    reading: Box<dyn Reading>,
    judge: Box<Judging>,
    clock: Box<Clock>,
    counters: Arc<Counters>,
    policy: Policy,
    decider: Decider,
    tracker: Tracker,
    budget: Budget,
    gate: Gate,
    motion: Motion,
    picture: Picture,
    /// The frame before.
    before: Option<Frame>,
    grey: Option<Thumbnail>,
    rgb: Vec<u8>,
    looked_at: Option<Instant>,
    moved_at: Option<Instant>,
    searched_at: Option<Instant>,
    ticked_at: Option<Instant>,
    size: (u32, u32),
    badges: Option<Badges>,
    capture: Option<Capture>,
}

/// What one frame led to.
#[derive(Debug, Default)]
pub struct Step {
    /// Passages that were decided.
    pub verdicts: Vec<Verdict>,
    /// The bytes of an earlier frame, to be filled again.
    pub spent: Option<Vec<u8>>,
}

impl Pipeline {
    /// Nobody is in view. `seed` must be random.
    pub fn new(
        reading: Box<dyn Reading>,
        judge: Box<Judging>,
        clock: Box<Clock>,
        policy: Policy,
        seed: [u8; 32],
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            reading,
            judge,
            clock,
            counters,
            decider: Decider::new(policy.clone(), seed),
            policy,
            tracker: Tracker::new(limits::FACES_FOLLOWED),
            budget: Budget::default(),
            gate: Gate::default(),
            motion: Motion::default(),
            picture: Picture::default(),
            before: None,
            grey: None,
            rgb: Vec::new(),
            looked_at: None,
            moved_at: None,
            searched_at: None,
            ticked_at: None,
            size: (1, 1),
            badges: None,
            capture: None,
        }
    }

    /// Takes one frame.
    ///
    /// # Errors
    /// When a network is not what it should be. The frame is lost, and the next may be taken.
    pub fn frame(&mut self, frame: Frame) -> Result<Step, ReadError> {
        let begun = (self.clock)();
        self.counters.frame(What::Taken);
        let mut step = Step::default();
        if begun.saturating_duration_since(frame.captured) > STALE {
            self.counters.frame(What::Stale);
            step.spent = Some(frame.bytes);
            step.verdicts = self.idle();
            return Ok(step);
        }
        let at = frame.captured;
        self.size = (frame.layout.width, frame.layout.height);
        if self.is_worth_reading(&frame, at) {
            step.verdicts = self.read(&frame, begun)?;
        }
        step.spent = self.before.replace(frame).map(|before| before.bytes);
        step.verdicts.extend(self.run_out(at));
        Ok(step)
    }

    /// From now on badges are looked for in the pictures that are read.
    pub fn look_for(&mut self, badges: Badges) {
        self.badges = Some(badges);
    }

    /// Hands frames over from now on, and decides no passage; whoever is in view begins a new one afterwards.
    pub fn capture(&mut self, capture: Capture) -> Vec<Verdict> {
        self.capture = Some(capture);
        self.end_tracks()
    }

    /// No frame has come for a while, or none that was looked at.
    pub fn idle(&mut self) -> Vec<Verdict> {
        self.run_out((self.clock)())
    }

    /// The button on the screen was pressed.
    pub fn press_button(&mut self) {
        self.gate.press(&self.policy.recognition.deliberate, (self.clock)());
    }

    /// Somebody came in by badge, card or PIN.
    pub fn passed(&mut self, person: PersonId) {
        self.decider.passed(person, (self.clock)());
    }

    /// What the screen shows.
    pub fn view(&self) -> View {
        let now = (self.clock)();
        let prompt = |track| if self.capture.is_some() { Prompt::Wait } else { self.prompt(track, now) };
        let faces = self.tracker.tracks().iter().map(|track| FaceInView {
            track: track.id,
            bounds: self.in_parts(&track.face.bounds),
            prompt: prompt(track.id),
        });
        View { faces: faces.collect(), picture: self.picture.state() }
    }

    fn prompt(&self, track: TrackId, now: Instant) -> Prompt {
        if self.gate.is_open(self.policy.recognition.mode, track) {
            self.decider.prompt(track, now)
        } else {
            Prompt::ComeCloser
        }
    }

    /// Whether the frame is one of its own, can be read, and shows something.
    fn is_worth_reading(&mut self, frame: &Frame, at: Instant) -> bool {
        let seen = match &self.before {
            Some(before) if before.layout == frame.layout && before.bytes == frame.bytes => Seen::Copy,
            _ => Seen::New,
        };
        let is_due = self.looked_at.is_none_or(|last| at.saturating_duration_since(last) >= LOOK_EVERY);
        if seen == Seen::New && is_due {
            let mut buffer = self.grey.take().map(|grey| grey.data).unwrap_or_default();
            let Ok(grey) = thumbnail(&frame.layout, &frame.bytes, &mut buffer) else {
                self.counters.frame(What::Unreadable);
                return false;
            };
            if self.motion.share(&grey) >= MOTION_MIN {
                self.moved_at = Some(at);
            }
            self.looked_at = Some(at);
            self.grey = Some(grey);
        }
        if let Some(grey) = &self.grey
            && (is_due || seen == Seen::Copy)
        {
            self.picture.see(grey, seen, at);
        }
        if seen == Seen::Copy {
            self.counters.frame(What::Copy);
            return false;
        }
        let shows_nothing = matches!(self.picture.state(), PictureState::Black | PictureState::Covered);
        if shows_nothing {
            self.counters.frame(What::Rested);
        }
        !shows_nothing
    }

    /// Searches or follows, if it is time to, and asks for verdicts.
    fn read(&mut self, frame: &Frame, begun: Instant) -> Result<Vec<Verdict>, ReadError> {
        let at = frame.captured;
        let looked = if self.is_search_due(at) { Looked::Everywhere } else { Looked::AtTracks };
        if looked == Looked::AtTracks && self.tracker.tracks().is_empty() {
            self.counters.frame(What::Rested);
            return Ok(Vec::new());
        }
        let Ok(image) = decode_frame(&frame.layout, &frame.bytes, &mut self.rgb) else {
            self.counters.frame(What::Unreadable);
            return Ok(Vec::new());
        };
        if let Some(badges) = &self.badges {
            badges.offer(&image, at);
        }
        let faces = self.faces(&image, looked, at)?;
        let ended = self.tracker.update(&faces, looked, at);
        let mut verdicts: Vec<Verdict> = ended.into_iter().filter_map(|track| self.end(track, at)).collect();
        match &mut self.capture {
            Some(capture) => {
                self.counters.frame(What::Captured);
                let look = |track: &Track| self.reading.look(&image, &track.face).map(|(_, quality)| quality);
                capture.see(&image, self.tracker.tracks(), at, look);
            }
            None => verdicts.extend(self.observe(&image, at, begun)?),
        }
        self.rgb = image.into_data();
        Ok(verdicts)
    }

    fn is_search_due(&self, at: Instant) -> bool {
        let tracks = self.tracker.tracks();
        let well = |score: f32, seen_at: Instant| {
            score >= FOLLOWED_SCORE_MIN && at.saturating_duration_since(seen_at) < SEARCH_MOVING
        };
        let moved = self.moved_at.is_some_and(|moved| at.saturating_duration_since(moved) < MOVED_FOR);
        let pace = match tracks {
            [] if !moved => SEARCH_RESTING,
            [] => SEARCH_MOVING,
            _ if tracks.iter().all(|track| well(track.face.score, track.seen_at)) => SEARCH_FOLLOWING,
            _ => SEARCH_MOVING,
        };
        self.searched_at.is_none_or(|last| at.saturating_duration_since(last) >= pace)
    }

    /// The faces of this frame. A track that the search has missed is looked for where it is expected.
    fn faces(&mut self, image: &RgbImage, looked: Looked, at: Instant) -> Result<Vec<Face>, ReadError> {
        let mut faces = Vec::new();
        if looked == Looked::Everywhere {
            self.counters.frame(What::Searched);
            self.searched_at = Some(at);
            let face_min_px = FACE_MIN_PX.max(image.height() as u32 / FACE_MIN_OF_HEIGHT);
            faces = self.reading.search(image, face_min_px)?;
            faces.truncate(limits::FACES_LOOKED_AT);
        } else {
            self.counters.frame(What::Followed);
        }
        let expected = self.tracker.tracks().iter().map(|track| track.expected(at));
        let missed = |place: &Rect| faces.iter().all(|face| face.bounds.iou(place) == 0.0);
        let places: Vec<Rect> = expected.filter(missed).collect();
        if !places.is_empty() {
            faces.extend(self.reading.follow(image, &places)?);
        }
        Ok(faces)
    }

    /// Says of each face in this frame that may be read what it shows.
    fn observe(&mut self, image: &RgbImage, at: Instant, begun: Instant) -> Result<Vec<Verdict>, ReadError> {
        let tracks = self.tracker.tracks().iter().filter(|track| track.seen_at == at);
        let seen: Vec<(TrackId, Face, Rect)> =
            tracks.map(|track| (track.id, track.face, self.in_parts(&track.face.bounds))).collect();
        self.gate.see(&self.policy.recognition.deliberate, &seen, at);
        let mode = self.policy.recognition.mode;
        let mut looks: Vec<Look> = Vec::new();
        for (track, face, bounds) in seen {
            if self.gate.is_open(mode, track)
                && let Some((aligned, quality)) = self.reading.look(image, &face)
            {
                looks.push(Look { track, face, bounds, aligned, quality, embedding: None, liveness: None });
            }
        }
        self.embed(image, &mut looks, begun)?;
        let mut verdicts = Vec::new();
        for look in looks {
            let track = look.track;
            verdicts.extend(self.decider.observe(track, look.observation(at), &mut *self.judge));
        }
        Ok(verdicts)
    }

    /// Embeds those whose turn it is.
    fn embed(&mut self, image: &RgbImage, looks: &mut [Look], begun: Instant) -> Result<(), ReadError> {
        let wants = |look: &&Look| {
            look.quality.issues(&QualityLimits::RECOGNISE).is_empty()
                && self.decider.needs_embedding(look.track)
        };
        let mut turns: Vec<(TrackId, f32)> =
            looks.iter().filter(wants).map(|look| (look.track, look.face.bounds.area())).collect();
        self.budget.order(&mut turns);
        let asks_liveness = self.policy.liveness.policy != LivenessPolicy::Off;
        for (embedded, (track, _)) in turns.into_iter().enumerate() {
            let from = (self.clock)();
            if !self.budget.allows(from.saturating_duration_since(begun), embedded) {
                break;
            }
            let Some(look) = looks.iter_mut().find(|look| look.track == track) else { continue };
            look.embedding = self.reading.embed(&look.aligned)?;
            self.counters.embedding();
            if asks_liveness {
                look.liveness = self.reading.liveness(image, &look.face)?;
            }
            let now = (self.clock)();
            self.budget.took(track, now.saturating_duration_since(from));
        }
        Ok(())
    }

    /// Ends what has run out of time.
    fn run_out(&mut self, now: Instant) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if self.capture.as_ref().is_some_and(|capture| capture.is_over(now)) {
            self.capture = None;
            verdicts = self.end_tracks();
        }
        let lost = self.tracker.expire(now);
        verdicts.extend(lost.into_iter().filter_map(|track| self.end(track, now)));
        if self.ticked_at.is_none_or(|last| now.saturating_duration_since(last) >= TICK_EVERY) {
            self.ticked_at = Some(now);
            verdicts.extend(self.decider.tick(now));
        }
        verdicts
    }

    fn end_tracks(&mut self) -> Vec<Verdict> {
        let now = (self.clock)();
        self.searched_at = None;
        let ended = self.tracker.end_all();
        ended.into_iter().filter_map(|track| self.end(track, now)).collect()
    }

    fn end(&mut self, track: TrackId, now: Instant) -> Option<Verdict> {
        self.budget.forget(track);
        self.gate.forget(track);
        self.decider.ended(track, now)
    }

    fn in_parts(&self, bounds: &Rect) -> Rect {
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        let part = |at: f32, of: f32| (at / of).clamp(0.0, 1.0);
        Rect {
            x0: part(bounds.x0, width),
            y0: part(bounds.y0, height),
            x1: part(bounds.x1, width),
            y1: part(bounds.y1, height),
        }
    }
}

/// One face in one frame.
struct Look {
    track: TrackId,
    face: Face,
    bounds: Rect,
    aligned: RgbImage,
    quality: Quality,
    embedding: Option<Embedding>,
    liveness: Option<f32>,
}

impl Look {
    fn observation(self, at: Instant) -> Observation {
        let Self { bounds, quality, embedding, liveness, .. } = self;
        // Quality takes the nose to stand out by half the distance between the eyes.
        let nose_offset = quality.yaw_deg.to_radians().tan() * 0.5;
        Observation { at, bounds, quality, embedding, nose_offset, liveness }
    }
}

#[cfg(test)]
mod scenes;
#[cfg(test)]
mod tests;
