//! The passages of all tracks before one door: what the pipeline asks.
//!
//! A track has at most one verdict. A person who has just had one, or came in by other means, has none for the hold-off.
//! A track that breaks and comes back is known by time and place alone, because no embedding is kept after a verdict: a
//! face that comes into view within [`RETURN_WITHIN`] after one was lost, no further away than it is large, may be the
//! same. It is then not said once more that it is nobody, nor is the same person named once more.
//!
//! One person at a time is asked to turn the head, the one with the largest face of those who wait.
//!
//! Pure: time comes with the frames, chance with the seed, comparison by the caller. Of frames of one moment it does not
//! matter which face comes first, as long as no two show the same person.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rollcall_core::{PersonId, limits};
use rollcall_gallery::decide::Decision;
use rollcall_vision::{Embedding, Quality};

use super::attempts::{Attempts, HeldOff, Permission};
use super::challenge::{Challenge, Sides, Step, TurnFrame};
use super::liveness::{Assessment, Case, assess};
use super::passage::{About, Asked, Finding, Look, Named, Passage, Sight, Stage, Waiting};
use super::policy::Policy;
use super::{Liveness, Observation, Prompt, TrackId, Verdict};

/// A face that is lost and comes back within this time may be the same.
const RETURN_WITHIN: Duration = Duration::from_secs(3);

/// A face that was not seen for longer is gone, whether or not the pipeline has said so.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// How long a passage that has ended is remembered: until one that began after it has long been decided.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Whoever cannot be asked within this time is pointed to badge and PIN.
const ASK_WITHIN: Duration = Duration::from_secs(3);

/// A face that was not seen for longer does not wait to be asked.
const WAITING_AGE_MAX: Duration = Duration::from_secs(1);

/// Frames are judged so long after they were captured at most: an attempt is not ended by the clock before.
const FRAME_DELAY_MAX: Duration = Duration::from_secs(1);

/// Compares a probe with everybody: embedding, quality and the number of frames that it was fused of. It is asked at most
/// twice a frame: of the frame alone, and of all that count.
pub type Judge<'a> = dyn FnMut(&Embedding, Quality, usize) -> Decision + 'a;

/// Decides on every passage before one door.
#[derive(Debug)]
pub struct Decider {
    policy: Policy,
    sides: Sides,
    passages: BTreeMap<TrackId, Passage>,
    /// Passages that have ended, and what was known of them.
    ended: VecDeque<(Sight, About)>,
    held_off: HeldOff,
    attempts: Attempts,
    /// Who is turning the head.
    asked: Option<TrackId>,
    /// In which frame the last attempt ended.
    asked_until: Option<Instant>,
}

impl Decider {
    /// Nobody is in view. `seed` must be random: the sides of the challenges follow from it.
    pub fn new(policy: Policy, seed: [u8; 32]) -> Self {
        Self {
            policy,
            sides: Sides::new(seed),
            passages: BTreeMap::new(),
            ended: VecDeque::new(),
            held_off: HeldOff::default(),
            attempts: Attempts::default(),
            asked: None,
            asked_until: None,
        }
    }

    /// What one frame says of one face. Frames of a track come in the order of their capture. A verdict comes at most
    /// once for a track, and always from the frame that is given.
    pub fn observe(
        &mut self,
        track: TrackId,
        observation: Observation,
        judge: &mut Judge,
    ) -> Option<Verdict> {
        let mut passage = match self.passages.remove(&track) {
            Some(passage) => passage,
            None if self.passages.len() >= limits::PASSAGES => return None,
            None => Passage::begin(&observation),
        };
        self.attempts.settle(observation.at);
        let verdict = self.advance(track, &mut passage, &observation, judge);
        self.passages.insert(track, passage);
        verdict
    }

    /// Whether an embedding of this face is of any use: not once its passage is decided.
    pub fn needs_embedding(&self, track: TrackId) -> bool {
        self.passages.get(&track).is_none_or(|passage| !passage.is_decided())
    }

    /// The track is lost. It must not be observed again. Whoever was turning the head has failed; nobody is ever named.
    pub fn ended(&mut self, track: TrackId, now: Instant) -> Option<Verdict> {
        let mut passage = self.passages.remove(&track)?;
        let verdict = self.fail_asked(track, &mut passage, now);
        self.remember(&passage);
        verdict
    }

    /// To be called about once a second: ends what has run out of time, forgets what is over. Never names anybody.
    pub fn tick(&mut self, now: Instant) -> Vec<Verdict> {
        self.held_off.drop_before(now);
        self.ended.retain(|(sight, _)| now.saturating_duration_since(sight.at) < REMEMBERED);
        let idle = |passage: &Passage| now.saturating_duration_since(passage.seen.at) > IDLE_MAX;
        let gone: Vec<TrackId> =
            self.passages.iter().filter(|(_, passage)| idle(passage)).map(|(track, _)| *track).collect();
        let mut verdicts: Vec<Verdict> =
            gone.into_iter().filter_map(|track| self.ended(track, now)).collect();
        if let Some(track) = self.asked
            && let Some(mut passage) = self.passages.remove(&track)
        {
            let is_over = now.checked_sub(FRAME_DELAY_MAX).is_some_and(|then| match &passage.stage {
                Stage::Asked(asked) => asked.challenge.is_over(then),
                _ => false,
            });
            if is_over {
                verdicts.extend(self.fail_asked(track, &mut passage, now));
            }
            self.passages.insert(track, passage);
        }
        verdicts
    }

    /// What this face is told.
    pub fn prompt(&self, track: TrackId, now: Instant) -> Prompt {
        self.passages.get(&track).map_or(Prompt::Wait, |passage| passage.prompt(now))
    }

    /// Somebody came in by badge, card or PIN: their face is held off, and failed attempts with it are forgotten. The
    /// largest face in view is taken to be theirs, whether or not it is enrolled: it is not said to be nobody.
    pub fn passed(&mut self, person: PersonId, now: Instant) {
        self.held_off.hold(person, now + self.policy.recognition.hold_off());
        self.attempts.forget(person);
        let in_view = self.passages.values_mut().filter(|passage| {
            !passage.is_decided() && now.saturating_duration_since(passage.seen.at) <= WAITING_AGE_MAX
        });
        if let Some(largest) = in_view.max_by(|a, b| a.inter_ocular_px.total_cmp(&b.inter_ocular_px)) {
            largest.is_excused = true;
        }
    }

    fn advance(
        &mut self,
        track: TrackId,
        passage: &mut Passage,
        observation: &Observation,
        judge: &mut Judge,
    ) -> Option<Verdict> {
        if passage.is_decided() {
            passage.see(observation);
            return None;
        }
        let look = passage.look(observation, self.policy.recognition.frames(), judge);
        if let Stage::Asked(_) = passage.stage {
            return self.turning(track, passage, observation, look);
        }
        match look.finding {
            Finding::Open => None,
            Finding::Person(named) => self.person(track, passage, *named, observation),
            Finding::Nobody(decision) => self.nobody(track, passage, *decision, observation.at),
        }
    }

    fn person(
        &mut self,
        track: TrackId,
        passage: &mut Passage,
        named: Named,
        observation: &Observation,
    ) -> Option<Verdict> {
        let (person, at) = (named.person, observation.at);
        let before = self.before(passage).find(|about| about.person == Some(person));
        if let Some(about) = before {
            passage.decide(about);
            return None;
        }
        if self.held_off.holds(person, at) {
            passage.stage = Stage::HeldOff;
            return None;
        }
        match self.assess(&named, at) {
            Assessment::Pass(liveness) => Some(self.recognised(track, passage, named, liveness)),
            Assessment::Fail => Some(self.fail_network(track, passage, named, at)),
            Assessment::Ask => self.ask(track, passage, named, observation),
        }
    }

    fn recognised(
        &mut self,
        track: TrackId,
        passage: &mut Passage,
        named: Named,
        liveness: Liveness,
    ) -> Verdict {
        let verdict = passage.recognised(track, named.person, liveness, named.trace);
        self.held_off.hold(named.person, verdict.evidence_at + self.policy.recognition.hold_off());
        verdict
    }

    fn nobody(
        &mut self,
        track: TrackId,
        passage: &mut Passage,
        decision: Decision,
        at: Instant,
    ) -> Option<Verdict> {
        let hold_off = self.policy.recognition.hold_off();
        let before: Vec<About> = self.before(passage).collect();
        if let Some(about) = before.iter().find(|about| about.person.is_none() && at < about.since + hold_off)
        {
            passage.decide(*about);
            return None;
        }
        // Somebody who was named and is now seen badly; or the next one. It shows with time.
        if before.iter().any(|about| at < about.since + hold_off) {
            return None;
        }
        if passage.is_excused {
            passage.decide(About { person: None, since: at });
            return None;
        }
        Some(passage.nobody(track, decision))
    }

    /// Asks somebody to turn the head, as soon as they can be asked. A face waits from one frame to a later one, so that
    /// all faces of a frame are known by then.
    fn ask(
        &mut self,
        track: TrackId,
        passage: &mut Passage,
        named: Named,
        observation: &Observation,
    ) -> Option<Verdict> {
        let (person, at) = (named.person, observation.at);
        let inter_ocular_px = observation.quality.inter_ocular_px;
        let waiting = match passage.stage {
            Stage::Waiting(waiting) if waiting.person == person => waiting,
            _ => Waiting { person, since: at, inter_ocular_px },
        };
        passage.stage = Stage::Waiting(waiting);
        match self.attempts.permission(person, at) {
            Permission::Closed => Some(passage.refused(track, person, Liveness::TooManyFailed, named.trace)),
            Permission::From(from) if from > waiting.since + ASK_WITHIN => {
                Some(passage.refused(track, person, Liveness::TooManyFailed, named.trace))
            }
            Permission::From(_) => None,
            Permission::Now(turns) => {
                if self.is_next(track, &waiting, at) {
                    let sides = (0..turns).map(|_| self.sides.next_side()).collect();
                    let from = (at, observation.nose_offset);
                    let time = self.policy.liveness.time_for_a_turn();
                    let challenge = Challenge::ask(person, named.probe, sides, from, time);
                    passage.stage = Stage::Asked(Box::new(Asked { challenge, trace: named.trace }));
                    self.asked = Some(track);
                }
                None
            }
        }
    }

    /// Whether nobody is being asked, nor waits with a larger face.
    fn is_next(&self, track: TrackId, waiting: &Waiting, at: Instant) -> bool {
        let is_free = self.asked.is_none() && self.asked_until.is_none_or(|until| until < at);
        let others = self.passages.iter().filter_map(|(other, passage)| match &passage.stage {
            Stage::Waiting(waiting)
                if waiting.since < at && at.saturating_duration_since(passage.seen.at) <= WAITING_AGE_MAX =>
            {
                Some((waiting.inter_ocular_px, *other))
            }
            _ => None,
        });
        let goes_before = |(px, other): (f32, TrackId)| {
            px.total_cmp(&waiting.inter_ocular_px).then(track.cmp(&other)).is_gt()
        };
        is_free && waiting.since < at && !others.into_iter().any(goes_before)
    }

    /// A frame of somebody who is turning the head.
    fn turning(
        &mut self,
        track: TrackId,
        passage: &mut Passage,
        observation: &Observation,
        look: Look,
    ) -> Option<Verdict> {
        let Stage::Asked(asked) = &mut passage.stage else { return None };
        let at = observation.at;
        let frame = TurnFrame {
            at,
            nose_offset: observation.nose_offset,
            embedding: observation.embedding.as_ref(),
            names: look.names,
        };
        let person = asked.challenge.person;
        if self.held_off.holds(person, at) {
            self.free(at);
            passage.decide(About { person: Some(person), since: at });
            return None;
        }
        match (asked.challenge.step(&frame), look.finding) {
            (Step::Failed(why), _) => {
                tracing::debug!(?why, "an attempt to turn the head has failed");
                self.fail_asked(track, passage, at)
            }
            (Step::Turned, Finding::Person(named)) if named.person != person => {
                self.fail_asked(track, passage, at)
            }
            // The turn is over, and the frames of the last second name them still.
            (Step::Turned, Finding::Person(named)) => {
                self.free(at);
                if self.assess(&named, at) == Assessment::Fail {
                    return Some(self.fail_network(track, passage, *named, at));
                }
                self.attempts.succeeded(person);
                Some(self.recognised(track, passage, *named, Liveness::ChallengePassed))
            }
            (Step::Turned | Step::Going, _) => None,
        }
    }

    /// The network takes the face for a picture.
    fn fail_network(&mut self, track: TrackId, passage: &mut Passage, named: Named, at: Instant) -> Verdict {
        self.attempts.failed(named.person, at);
        passage.refused(track, named.person, Liveness::NetworkFailed, named.trace)
    }

    /// Ends the attempt of whoever was asked.
    fn fail_asked(&mut self, track: TrackId, passage: &mut Passage, now: Instant) -> Option<Verdict> {
        let Stage::Asked(asked) = &passage.stage else { return None };
        let (person, trace) = (asked.challenge.person, asked.trace.clone());
        self.free(now);
        self.attempts.failed(person, now);
        Some(passage.refused(track, person, Liveness::ChallengeFailed, trace))
    }

    fn free(&mut self, at: Instant) {
        self.asked = None;
        self.asked_until = Some(at);
    }

    fn assess(&self, named: &Named, at: Instant) -> Assessment {
        let failed_lately = self.attempts.has_failed_lately(named.person, at);
        let case = Case { network: named.network, trace: &named.trace, failed_lately };
        assess(&self.policy.liveness, &case)
    }

    /// What is known of passages of which this one may be the rest.
    fn before<'a>(&'a self, passage: &'a Passage) -> impl Iterator<Item = About> + 'a {
        let in_view = self.passages.values().filter_map(|other| match other.stage {
            Stage::Decided(about) => Some((other.seen, about)),
            _ => None,
        });
        let may_follow = |sight: &Sight| passage.began.may_follow(sight, RETURN_WITHIN);
        self.ended
            .iter()
            .copied()
            .chain(in_view)
            .filter(move |(sight, _)| may_follow(sight))
            .map(|(_, about)| about)
    }

    /// Keeps when and where a passage ended, of whom it was, and of whom the one was of which it may be the rest.
    fn remember(&mut self, passage: &Passage) {
        let about: Vec<About> = match passage.stage {
            Stage::Decided(about) => vec![about],
            _ => self.before(passage).collect(),
        };
        for about in about.into_iter().take(2) {
            if self.ended.len() >= limits::PASSAGES_REMEMBERED {
                self.ended.pop_front();
            }
            self.ended.push_back((passage.seen, about));
        }
    }
}

#[cfg(test)]
mod tests;
