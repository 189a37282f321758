//! One face from when it comes into view until it is gone: what its frames say, and how far its passage has come.
//!
//! Somebody is named as soon as enough frames agree. That it is nobody, or cannot be told, is said later, so that
//! whoever walks up has a fair chance; of a face that is never seen well it is not said at all. A frame that shows
//! another face begins the passage anew. Once it is decided no embedding of it is left.

use std::time::{Duration, Instant};

use rollcall_core::PersonId;
use rollcall_gallery::decide::{Decision, Outcome, Trace};
use rollcall_vision::{Embedding, QualityIssue, QualityLimits, Rect};

use super::challenge::Challenge;
use super::decider::Judge;
use super::evidence::{Evidence, Frame, SAME_FACE_MIN};
use super::{Liveness, Observation, Prompt, TrackId, Verdict};

/// Nobody is called unknown before so many good frames,
const NOBODY_FRAMES: usize = 8;

/// and so long after the first.
const NOBODY_AFTER: Duration = Duration::from_millis(1_200);

/// However few frames a slow camera gives: within three seconds whoever is not recognised is pointed to badge and PIN.
const NOBODY_AT_LAST: Duration = Duration::from_millis(2_500);

/// After so long without a frame a face is told nothing.
const PROMPT_AGE_MAX: Duration = Duration::from_secs(1);

/// How far a passage has come.
#[derive(Debug)]
pub enum Stage {
    /// Its frames do not say enough yet.
    Gathering,
    /// It is somebody whose face is held off.
    HeldOff,
    /// It is somebody who has to turn the head, and cannot be asked yet.
    Waiting(Waiting),
    /// They were asked.
    Asked(Box<Asked>),
    /// It is over.
    Decided(About),
}

/// Somebody who waits to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Who.
    pub person: PersonId,
    /// Since which frame.
    pub since: Instant,
    /// Pixels between the eyes in that frame.
    pub inter_ocular_px: f32,
}

/// Somebody who was asked to turn the head.
#[derive(Debug)]
pub struct Asked {
    /// The attempt.
    pub challenge: Challenge,
    /// Why they were recognised before.
    pub trace: Trace,
}

/// Of whom a passage was, and since when that is known.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// `None`: nobody who was named.
    pub person: Option<PersonId>,
    /// When it was decided first; tracks of the same face after it have it from the former.
    pub since: Instant,
}

/// When and where a face was seen.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// When.
    pub at: Instant,
    /// Where, in parts of the picture.
    pub bounds: Rect,
}

impl Sight {
    /// Whether a face that was seen here may be the one of `before`: soon after, and not further away than it is large.
    pub fn may_follow(&self, before: &Sight, within: Duration) -> bool {
        let (here, there) = (&self.bounds, &before.bounds);
        let width = here.width().max(there.width());
        let height = here.height().max(there.height());
        let (dx, dy) = (here.x0 + here.x1 - there.x0 - there.x1, here.y0 + here.y1 - there.y0 - there.y1);
        self.at > before.at
            && self.at.saturating_duration_since(before.at) <= within
            && dx.abs() / 2.0 <= width
            && dy.abs() / 2.0 <= height
    }
}

/// One face in view.
#[derive(Debug)]
pub struct Passage {
    /// How far it has come.
    pub stage: Stage,
    /// Where it came into view.
    pub began: Sight,
    /// Where it was seen last.
    pub seen: Sight,
    /// Pixels between the eyes there.
    pub inter_ocular_px: f32,
    /// Whether whoever stands there came in by other means: then it is not said that it is nobody.
    pub is_excused: bool,
    hint: Prompt,
    evidence: Evidence,
    good_frames: usize,
    first_good_at: Option<Instant>,
    newest_good_at: Option<Instant>,
}

/// What a frame added.
#[derive(Debug)]
pub struct Look {
    /// Whom the frame alone would name.
    pub names: Option<PersonId>,
    /// What all frames say.
    pub finding: Finding,
}

/// What the frames of a passage say.
#[derive(Debug)]
pub enum Finding {
    /// Not enough yet.
    Open,
    /// Who it is.
    Person(Box<Named>),
    /// That it is nobody, or cannot be told.
    Nobody(Box<Decision>),
}

/// Somebody whom enough frames name.
#[derive(Debug)]
pub struct Named {
    /// Who.
    pub person: PersonId,
    /// Why.
    pub trace: Trace,
    /// The fused probe.
    pub probe: Embedding,
    /// The median of the liveness network's scores.
    pub network: Option<f32>,
}

impl Passage {
    /// A face comes into view.
    pub fn begin(observation: &Observation) -> Self {
        let began = Sight { at: observation.at, bounds: observation.bounds };
        Self {
            stage: Stage::Gathering,
            began,
            seen: began,
            inter_ocular_px: observation.quality.inter_ocular_px,
            is_excused: false,
            hint: Prompt::Wait,
            evidence: Evidence::default(),
            good_frames: 0,
            first_good_at: None,
            newest_good_at: None,
        }
    }

    /// Takes a frame that needs no comparison: the face was there.
    pub fn see(&mut self, observation: &Observation) {
        self.seen = Sight { at: observation.at, bounds: observation.bounds };
        self.inter_ocular_px = observation.quality.inter_ocular_px;
        self.hint = hint(observation);
    }

    /// Takes a frame, and says what it and all that count say.
    pub fn look(&mut self, observation: &Observation, frames_needed: usize, judge: &mut Judge) -> Look {
        self.see(observation);
        let Observation { at, quality, liveness, .. } = *observation;
        let Some(embedding) = observation.embedding.clone() else {
            return Look { names: None, finding: Finding::Open };
        };
        let names = match judge(&embedding, quality, 1).outcome {
            Outcome::Recognised(person) => Some(person),
            _ => None,
        };
        self.evidence.drop_before(at);
        // A turned head differs, too; whether it is another one is then the challenge's to say.
        let is_asked = matches!(self.stage, Stage::Asked(_));
        let differs = |probe: &Embedding| probe.cosine(&embedding) < SAME_FACE_MIN;
        if !is_asked && self.evidence.fused().is_some_and(|fused| differs(&fused.probe)) {
            self.begin_anew();
        }
        self.evidence.add(Frame { at, quality, embedding, names, liveness });
        self.good_frames += 1;
        self.first_good_at.get_or_insert(at);
        self.newest_good_at = Some(at);
        Look { names, finding: self.find(at, frames_needed, judge).unwrap_or(Finding::Open) }
    }

    /// What the person is told at `now`.
    pub fn prompt(&self, now: Instant) -> Prompt {
        if now.saturating_duration_since(self.seen.at) > PROMPT_AGE_MAX {
            return Prompt::Wait;
        }
        match &self.stage {
            Stage::Gathering => self.hint,
            Stage::Waiting(_) => Prompt::Wait,
            Stage::Asked(asked) => asked.challenge.prompt(),
            Stage::HeldOff | Stage::Decided(_) => Prompt::Done,
        }
    }

    /// The passage is over.
    pub fn decide(&mut self, about: About) {
        self.stage = Stage::Decided(about);
        self.evidence.clear();
    }

    /// Whether it is over.
    pub fn is_decided(&self) -> bool {
        matches!(self.stage, Stage::Decided(_))
    }

    /// It is this person, who may pass. Ends the passage.
    pub fn recognised(
        &mut self,
        track: TrackId,
        person: PersonId,
        liveness: Liveness,
        trace: Trace,
    ) -> Verdict {
        let verdict = self.verdict(track, Outcome::Recognised(person), liveness, trace);
        self.decide(About { person: Some(person), since: verdict.evidence_at });
        verdict
    }

    /// It is this person, who is not shown to be alive, or may not be asked. Ends the passage.
    pub fn refused(&mut self, track: TrackId, person: PersonId, liveness: Liveness, trace: Trace) -> Verdict {
        let trace = Trace { template: None, runner_up: None, ..trace };
        let mut verdict = self.verdict(track, Outcome::Unknown, liveness, trace);
        verdict.refused = Some(person);
        self.decide(About { person: Some(person), since: verdict.evidence_at });
        verdict
    }

    /// It is nobody, or cannot be told. Ends the passage.
    pub fn nobody(&mut self, track: TrackId, decision: Decision) -> Verdict {
        let mut verdict = self.verdict(track, decision.outcome, Liveness::NotChecked, decision.trace);
        verdict.between = decision.between;
        self.decide(About { person: None, since: verdict.evidence_at });
        verdict
    }

    fn verdict(&self, track: TrackId, outcome: Outcome, liveness: Liveness, trace: Trace) -> Verdict {
        Verdict {
            track,
            outcome,
            liveness,
            refused: None,
            between: None,
            trace,
            evidence_at: self.newest_good_at.unwrap_or(self.seen.at),
            first_good_at: self.first_good_at.unwrap_or(self.seen.at),
        }
    }

    fn find(&self, at: Instant, frames_needed: usize, judge: &mut Judge) -> Option<Finding> {
        let fused = self.evidence.fused()?;
        let alike = self.evidence.agreeing(&fused.probe, None);
        if alike < frames_needed {
            return None;
        }
        let mut decision = judge(&fused.probe, fused.quality, alike);
        match decision.outcome {
            Outcome::Recognised(person) => {
                decision.trace.frames = self.evidence.agreeing(&fused.probe, Some(person));
                (decision.trace.frames >= frames_needed).then(|| {
                    let network = self.evidence.liveness();
                    let named = Named { person, trace: decision.trace, probe: fused.probe, network };
                    Finding::Person(Box::new(named))
                })
            }
            Outcome::Unknown | Outcome::Ambiguous => {
                self.is_time_for_nobody(at).then(|| Finding::Nobody(Box::new(decision)))
            }
            Outcome::Unusable => None,
        }
    }

    fn is_time_for_nobody(&self, at: Instant) -> bool {
        let waited = at.saturating_duration_since(self.first_good_at.unwrap_or(at));
        waited >= NOBODY_AT_LAST || waited >= NOBODY_AFTER && self.good_frames >= NOBODY_FRAMES
    }

    fn begin_anew(&mut self) {
        self.evidence.clear();
        self.stage = Stage::Gathering;
        self.good_frames = 0;
        self.first_good_at = None;
        self.is_excused = false;
    }
}

fn hint(observation: &Observation) -> Prompt {
    if observation.embedding.is_some() {
        return Prompt::HoldStill;
    }
    let issues = observation.quality.issues(&QualityLimits::RECOGNISE);
    if issues.iter().any(|issue| matches!(issue, QualityIssue::Small { .. })) {
        Prompt::ComeCloser
    } else if issues.iter().any(|issue| matches!(issue, QualityIssue::Dark { .. })) {
        Prompt::MoreLight
    } else {
        Prompt::Wait
    }
}
