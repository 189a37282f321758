#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use rollcall_core::TemplateId;
use rollcall_gallery::Candidate;
use rollcall_gallery::decide::{self, Best, Comparison, Outcome, RunnerUp};
use rollcall_vision::Rect;

use super::*;
use crate::recognition::policy::{LivenessConfig, LivenessPolicy, RecognitionConfig};

const LENGTH: usize = 32;
/// Faces from this number on are not enrolled.
const STRANGERS: usize = 8;

const QUALITY: Quality = Quality {
    inter_ocular_px: 60.0,
    sharpness: 12.0,
    yaw_deg: 0.0,
    roll_deg: 0.0,
    nose_height: 0.5,
    brightness: 120.0,
    contrast: 50.0,
};

fn person(face: usize) -> PersonId {
    PersonId::from_bytes([face as u8 + 1; 16])
}

/// A picture of a face: its own direction, and noise that differs from picture to picture. Two pictures of one have a
/// cosine of about 0.9.
fn picture(face: usize, number: u64) -> Embedding {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ face as u64;
    let mut values: Vec<f32> = (0..LENGTH)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.2
        })
        .collect();
    values[face] += 1.0;
    Embedding::normalised(values).unwrap()
}

/// Everybody's references are their directions.
fn decided(threshold: f32, probe: &Embedding, quality: Quality, frames: usize) -> Decision {
    let mut scores: Vec<(usize, f32)> = probe.values()[..STRANGERS].iter().copied().enumerate().collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let candidate = |(face, score)| Candidate { person: person(face), score };
    let best = Best {
        candidate: candidate(scores[0]),
        template: (TemplateId::from_bytes([9; 16]), scores[0].1),
        own_threshold: None,
    };
    let runner_up = RunnerUp { candidate: candidate(scores[1]), likeness: 0.0, reports: 0 };
    let comparison = Comparison { best: Some(best), runner_up: Some(runner_up), gallery_size: STRANGERS };
    decide::decide(&comparison, threshold, quality, frames, &Arc::from("model"))
}

struct Scene {
    decider: Decider,
    start: Instant,
    threshold: f32,
    pictures: u64,
    verdicts: Vec<Verdict>,
}

impl Scene {
    fn new(policy: LivenessPolicy) -> Self {
        let liveness = LivenessConfig { policy, ..LivenessConfig::default() };
        Self::with(Policy { liveness, ..Policy::default() })
    }

    fn with(policy: Policy) -> Self {
        let decider = Decider::new(policy, [7; 32]);
        Self { decider, start: Instant::now(), threshold: 0.6, pictures: 0, verdicts: Vec::new() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn observation(&mut self, ms: u64, face: Option<usize>) -> Observation {
        self.pictures += 1;
        Observation {
            at: self.at(ms),
            bounds: Rect { x0: 0.4, y0: 0.4, x1: 0.5, y1: 0.6 },
            quality: QUALITY,
            embedding: face.map(|face| picture(face, self.pictures)),
            nose_offset: 0.0,
            liveness: None,
        }
    }

    fn observe(&mut self, track: u64, observation: Observation) -> Option<Verdict> {
        let threshold = self.threshold;
        let mut judge =
            |probe: &Embedding, quality: Quality, frames: usize| decided(threshold, probe, quality, frames);
        let verdict = self.decider.observe(TrackId(track), observation, &mut judge);
        self.verdicts.extend(verdict.clone());
        verdict
    }

    /// One frame of a face that is seen frontally.
    fn frame(&mut self, ms: u64, track: u64, face: usize) -> Option<Verdict> {
        let observation = self.observation(ms, Some(face));
        self.observe(track, observation)
    }

    /// Ten frames a second from `from` up to `to`.
    fn frames(&mut self, from: u64, to: u64, track: u64, face: usize) -> Vec<Verdict> {
        (from..to).step_by(100).filter_map(|ms| self.frame(ms, track, face)).collect()
    }

    fn turned(&mut self, ms: u64, track: u64, face: usize, nose_offset: f32) -> Option<Verdict> {
        let mut observation = self.observation(ms, Some(face));
        observation.nose_offset = nose_offset;
        self.observe(track, observation)
    }

    fn prompt(&self, ms: u64, track: u64) -> Prompt {
        self.decider.prompt(TrackId(track), self.at(ms))
    }

    fn end(&mut self, ms: u64, track: u64) -> Option<Verdict> {
        let now = self.at(ms);
        self.decider.ended(TrackId(track), now)
    }

    /// Frames until the head is to be turned; the time then, and the sign of the side.
    fn until_asked(&mut self, from: u64, track: u64, face: usize) -> (u64, f32) {
        for ms in (from..from + 5_000).step_by(100) {
            assert!(self.frame(ms, track, face).is_none());
            match self.prompt(ms, track) {
                Prompt::TurnLeft => return (ms, 1.0),
                Prompt::TurnRight => return (ms, -1.0),
                _ => {}
            }
        }
        panic!("nobody was asked");
    }

    /// A head that turns as it is asked, for as often as it is asked, and back.
    fn do_as_asked(&mut self, from: u64, track: u64, face: usize) -> Option<Verdict> {
        let mut offset = 0.0f32;
        for ms in (from..from + 15_000).step_by(100) {
            let goal = match self.prompt(ms - 100, track) {
                Prompt::TurnLeft => 0.35,
                Prompt::TurnRight => -0.35,
                _ => 0.0,
            };
            offset += (goal - offset).clamp(-0.1, 0.1);
            if let Some(verdict) = self.turned(ms, track, face, offset) {
                return Some(verdict);
            }
        }
        None
    }
}

fn named(verdict: &Verdict) -> Option<PersonId> {
    match verdict.outcome {
        Outcome::Recognised(person) => Some(person),
        _ => None,
    }
}

#[test]
fn a_good_face_is_named_at_the_third_frame() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    assert!(scene.frame(0, 1, 2).is_none());
    assert_eq!(scene.prompt(0, 1), Prompt::HoldStill);
    assert!(scene.frame(100, 1, 2).is_none());
    let verdict = scene.frame(200, 1, 2).unwrap();
    assert_eq!((verdict.outcome, verdict.liveness), (Outcome::Recognised(person(2)), Liveness::NotChecked));
    assert_eq!((verdict.trace.frames, verdict.trace.gallery_size), (3, STRANGERS));
    assert_eq!((verdict.first_good_at, verdict.evidence_at), (scene.at(0), scene.at(200)));
    assert_eq!(scene.prompt(200, 1), Prompt::Done);
    assert!(!scene.decider.needs_embedding(TrackId(1)));
    assert!(scene.frames(300, 30_000, 1, 2).is_empty());
}

#[test]
fn a_stranger_is_told_so_once_and_without_a_name() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    let verdicts = scene.frames(0, 20_000, 1, STRANGERS);
    assert_eq!(verdicts.len(), 1);
    let verdict = &verdicts[0];
    assert_eq!((verdict.outcome, verdict.evidence_at), (Outcome::Unknown, scene.at(1_200)));
    assert_eq!((verdict.trace.template, verdict.trace.runner_up, verdict.between), (None, None, None));
}

#[test]
fn a_stranger_before_a_slow_camera_is_told_within_three_seconds() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    let told = (0..3_000).step_by(400).find_map(|ms| scene.frame(ms, 1, STRANGERS));
    assert_eq!(told.unwrap().outcome, Outcome::Unknown);
}

#[test]
fn between_two_it_is_said_which_two() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    let both = Embedding::mean([&picture(1, 1), &picture(2, 1)]).unwrap();
    let told = (0..3_000).step_by(100).find_map(|ms| {
        let mut observation = scene.observation(ms, None);
        observation.embedding = Some(both.clone());
        scene.observe(1, observation)
    });
    let verdict = told.unwrap();
    assert_eq!(verdict.outcome, Outcome::Ambiguous);
    let (a, b) = verdict.between.unwrap();
    assert_eq!((a.min(b), a.max(b)), (person(1), person(2)));
    assert_eq!((verdict.trace.template, verdict.trace.runner_up), (None, None));
}

#[test]
fn a_passer_by_who_is_never_seen_well_changes_nothing() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    for ms in (0..10_000).step_by(100) {
        let mut observation = scene.observation(ms, None);
        observation.quality.inter_ocular_px = 10.0;
        assert!(scene.observe(1, observation).is_none());
        assert_eq!(scene.prompt(ms, 1), Prompt::ComeCloser);
    }
    assert!(scene.end(10_000, 1).is_none());
}

#[test]
fn another_face_on_a_track_begins_it_anew() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    assert!(scene.frames(0, 200, 1, 2).is_empty());
    assert!(scene.frames(200, 400, 1, 3).is_empty());
    let verdict = scene.frame(400, 1, 3).unwrap();
    assert_eq!((named(&verdict), verdict.first_good_at), (Some(person(3)), scene.at(200)));
}

#[test]
fn frames_that_are_too_far_apart_never_agree() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    for ms in (0..60_000).step_by(600) {
        assert!(scene.frame(ms, 1, 2).is_none());
    }
}

#[test]
fn the_same_face_on_another_track_waits_for_the_hold_off() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    assert_eq!(scene.frames(0, 500, 1, 2).len(), 1);
    scene.end(500, 1);
    assert!(scene.frames(5_000, 10_200, 2, 2).is_empty());
    assert_eq!(scene.prompt(10_100, 2), Prompt::Done);
    assert_eq!(scene.frames(10_200, 11_000, 2, 2).len(), 1);
}

#[test]
fn a_track_that_breaks_and_comes_back_is_no_new_passage() {
    for (face, at) in [(2, 1_000), (STRANGERS, 2_000)] {
        let mut scene = Scene::new(LivenessPolicy::Off);
        assert_eq!(scene.frames(0, at, 1, face).len(), 1);
        scene.end(at, 1);
        assert!(scene.frames(at + 500, at + 700, 2, face).is_empty());
        scene.end(at + 700, 2);
        assert!(scene.frames(at + 2_000, at + 30_000, 3, face).is_empty(), "{face}");
    }
}

#[test]
fn whoever_comes_after_a_stranger_is_named_at_once() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    assert_eq!(scene.frames(0, 2_000, 1, STRANGERS).len(), 1);
    scene.end(2_000, 1);
    assert_eq!(scene.frames(2_500, 2_800, 2, 4).first().and_then(named), Some(person(4)));
}

#[test]
fn a_stranger_elsewhere_in_the_picture_is_another_one() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    assert_eq!(scene.frames(0, 2_000, 1, STRANGERS).len(), 1);
    scene.end(2_000, 1);
    let mut told = 0;
    for ms in (2_100..5_000).step_by(100) {
        let mut observation = scene.observation(ms, Some(STRANGERS + 1));
        observation.bounds = Rect { x0: 0.8, y0: 0.4, x1: 0.9, y1: 0.6 };
        told += usize::from(scene.observe(2, observation).is_some());
    }
    assert_eq!(told, 1);
}

#[test]
fn whoever_came_in_by_badge_is_neither_named_nor_called_unknown() {
    for face in [2, STRANGERS] {
        let mut scene = Scene::new(LivenessPolicy::Off);
        scene.frame(0, 1, face);
        let now = scene.at(50);
        scene.decider.passed(person(2), now);
        assert!(scene.frames(100, 8_000, 1, face).is_empty());
    }
}

#[test]
fn whoever_turns_as_asked_passes() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    let (ms, _) = scene.until_asked(0, 1, 2);
    assert!(ms <= 500);
    let verdict = scene.do_as_asked(ms + 100, 1, 2).unwrap();
    assert_eq!((named(&verdict), verdict.liveness), (Some(person(2)), Liveness::ChallengePassed));
    assert!(verdict.trace.frames >= 3);
    assert!(verdict.evidence_at <= scene.at(ms + 1_000));
}

#[test]
fn whoever_does_not_turn_is_refused_and_not_named() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    let (ms, _) = scene.until_asked(0, 1, 2);
    let verdicts = scene.frames(ms + 100, ms + 10_000, 1, 2);
    assert_eq!(verdicts.len(), 1);
    let verdict = &verdicts[0];
    assert_eq!((verdict.outcome, verdict.liveness), (Outcome::Unknown, Liveness::ChallengeFailed));
    assert_eq!(
        (verdict.refused, verdict.trace.template, verdict.trace.runner_up),
        (Some(person(2)), None, None)
    );
}

#[test]
fn the_wrong_side_another_face_and_going_away_fail() {
    type Turn = fn(&mut Scene, u64, f32) -> Option<Verdict>;
    let turns: [Turn; 3] = [
        |scene, ms, sign| (1..8).find_map(|n| scene.turned(ms + n * 100, 1, 2, -sign * 0.06 * n as f32)),
        |scene, ms, sign| (1..8).find_map(|n| scene.turned(ms + n * 100, 1, 3, sign * 0.06 * n as f32)),
        |scene, ms, _| scene.end(ms + 500, 1),
    ];
    for turn in turns {
        let mut scene = Scene::new(LivenessPolicy::Challenge);
        let (ms, sign) = scene.until_asked(0, 1, 2);
        let verdict = turn(&mut scene, ms, sign).unwrap();
        assert_eq!((named(&verdict), verdict.liveness), (None, Liveness::ChallengeFailed));
        assert_eq!(verdict.refused, Some(person(2)));
    }
}

#[test]
fn a_turned_picture_in_place_of_a_frontal_one_does_not_pass() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    let (ms, sign) = scene.until_asked(0, 1, 2);
    for n in 1..60 {
        let offset = if n % 6 < 3 { 0.0 } else { sign * 0.4 };
        let verdict = scene.turned(ms + n * 100, 1, 2, offset);
        assert!(verdict.is_none_or(|verdict| named(&verdict).is_none()));
    }
}

#[test]
fn after_three_failures_a_face_is_closed_until_its_person_came_in_otherwise() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    let mut from = 0;
    for track in 1..=10 {
        let verdicts = scene.frames(from, from + 25_000, track, 2);
        assert_eq!(verdicts.len(), 1, "{track}");
        let failed = if track <= 3 { Liveness::ChallengeFailed } else { Liveness::TooManyFailed };
        assert_eq!((named(&verdicts[0]), verdicts[0].liveness), (None, failed), "{track}");
        scene.end(from + 25_000, track);
        from += 100_000;
    }
    let now = scene.at(from);
    scene.decider.passed(person(2), now);
    let (ms, _) = scene.until_asked(from + 20_000, 20, 2);
    assert!(scene.do_as_asked(ms + 100, 20, 2).is_some_and(|verdict| named(&verdict).is_some()));
}

#[test]
fn right_after_a_failure_nobody_is_asked() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    let (ms, _) = scene.until_asked(0, 1, 2);
    assert!(scene.end(ms, 1).is_some());
    let (asked, _) = scene.until_asked(ms + 2_500, 2, 3);
    assert!(asked >= ms + 5_000, "{asked} {ms}");
    // Two turns now, whoever it is.
    assert!(scene.do_as_asked(asked + 100, 2, 3).is_some_and(|verdict| named(&verdict) == Some(person(3))));
}

#[test]
fn one_at_a_time_is_asked_the_largest_face_first() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    for ms in (0..1_000).step_by(100) {
        for (track, face, px) in [(1, 1, 40.0), (2, 2, 80.0), (3, 3, 60.0)] {
            let mut observation = scene.observation(ms, Some(face));
            observation.quality.inter_ocular_px = px;
            observation.bounds.x0 = 0.3 * track as f32;
            assert!(scene.observe(track, observation).is_none());
        }
    }
    assert!(matches!(scene.prompt(900, 2), Prompt::TurnLeft | Prompt::TurnRight));
    assert_eq!((scene.prompt(900, 1), scene.prompt(900, 3)), (Prompt::Wait, Prompt::Wait));
}

#[test]
fn the_network_passes_refuses_or_is_in_doubt() {
    for (score, expected) in [
        (0.95, Some((Some(person(2)), Liveness::NetworkPassed))),
        (0.3, Some((None, Liveness::NetworkFailed))),
        (f32::NAN, Some((None, Liveness::NetworkFailed))),
        (0.7, None),
    ] {
        let mut scene = Scene::new(LivenessPolicy::Doubt);
        let verdict = (0..600).step_by(100).find_map(|ms| {
            let mut observation = scene.observation(ms, Some(2));
            observation.liveness = Some(score);
            scene.observe(1, observation)
        });
        assert_eq!(verdict.as_ref().map(|verdict| (named(verdict), verdict.liveness)), expected, "{score}");
        let is_asked = matches!(scene.prompt(500, 1), Prompt::TurnLeft | Prompt::TurnRight);
        assert_eq!(is_asked, expected.is_none(), "{score}");
    }
}

#[test]
fn an_attempt_without_frames_runs_out() {
    let mut scene = Scene::new(LivenessPolicy::Challenge);
    let (ms, _) = scene.until_asked(0, 1, 2);
    let now = scene.at(ms + 6_000);
    assert!(scene.decider.tick(now).is_empty());
    let now = scene.at(ms + 8_000);
    let verdicts = scene.decider.tick(now);
    assert_eq!(verdicts.len(), 1);
    assert_eq!((named(&verdicts[0]), verdicts[0].liveness), (None, Liveness::ChallengeFailed));
    assert!(scene.frames(ms + 8_000, ms + 20_000, 1, 2).is_empty());
}

#[test]
fn what_is_kept_is_bounded() {
    let mut scene = Scene::new(LivenessPolicy::Off);
    for track in 1..1_000 {
        scene.frame(track, track, STRANGERS);
    }
    assert_eq!(scene.decider.passages.len(), limits::PASSAGES);
    let now = scene.at(60_000);
    assert!(scene.decider.tick(now).is_empty());
    assert!(scene.decider.passages.is_empty());
    for track in 1_000..2_000 {
        let from = 70_000 + track * 2_000;
        scene.frames(from, from + 1_500, track, STRANGERS);
        scene.end(from + 1_500, track);
    }
    assert!(scene.decider.ended.len() <= limits::PASSAGES_REMEMBERED);
}

/// What may happen in one frame to one of three tracks.
#[derive(Clone, Copy, Debug)]
struct Event {
    track: u64,
    face: Option<usize>,
    nose_offset: f32,
    liveness: Option<f32>,
}

fn any_frame(faces: std::ops::Range<usize>) -> impl Strategy<Value = Event> {
    let face = prop_oneof![8 => faces.prop_map(Some), 1 => Just(None)];
    let offset = prop_oneof![3 => -0.1f32..0.1, 2 => -0.5f32..0.5];
    let liveness =
        prop_oneof![2 => Just(None), 2 => (0.8f32..1.0).prop_map(Some), 1 => (0.0f32..1.0).prop_map(Some)];
    (1u64..4, face, offset, liveness).prop_map(|(track, face, nose_offset, liveness)| Event {
        track,
        face,
        nose_offset,
        liveness,
    })
}

/// Runs of frames, so that there is something to decide: how many, how far apart, and what is seen.
fn any_run() -> impl Strategy<Value = Vec<(usize, u64, Event)>> {
    prop::collection::vec((1usize..12, 20u64..400, any_frame(0..STRANGERS + 2)), 1..25)
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let liveness =
        prop_oneof![Just(LivenessPolicy::Off), Just(LivenessPolicy::Doubt), Just(LivenessPolicy::Challenge)];
    (1i64..=10, liveness).prop_map(|(frames, policy)| Policy {
        recognition: RecognitionConfig {
            frames_needed: frames.try_into().unwrap(),
            ..RecognitionConfig::default()
        },
        liveness: LivenessConfig { policy, ..LivenessConfig::default() },
    })
}

fn play(policy: Policy, threshold: f32, runs: &[(usize, u64, Event)]) -> (Scene, Vec<(u64, Event)>) {
    let mut scene = Scene::with(policy);
    scene.threshold = threshold;
    let mut ms = 0;
    let mut shown = Vec::new();
    for (count, step, event) in runs {
        for _ in 0..*count {
            ms += step;
            let mut observation = scene.observation(ms, event.face);
            observation.nose_offset = event.nose_offset;
            observation.liveness = event.liveness;
            observation.bounds.x0 = 0.3 * event.track as f32;
            scene.observe(event.track, observation);
            shown.push((ms, *event));
        }
    }
    (scene, shown)
}

proptest! {
    #[test]
    fn nobody_is_named_without_enough_frames_of_theirs_in_the_last_second(
        policy in any_policy(),
        runs in any_run(),
    ) {
        let needed = policy.recognition.frames();
        let (scene, shown) = play(policy, 0.6, &runs);
        for verdict in &scene.verdicts {
            let Some(named) = named(verdict) else { continue };
            let counted = shown.iter().filter(|(ms, event)| {
                let at = scene.at(*ms);
                event.track == verdict.track.0
                    && event.face.is_some_and(|face| person(face) == named)
                    && at <= verdict.evidence_at
                    && verdict.evidence_at - at <= Duration::from_secs(1)
            });
            let counted = counted.count();
            prop_assert!(counted >= needed && verdict.trace.frames >= needed);
            prop_assert!(verdict.trace.frames <= counted);
        }
    }

    #[test]
    fn no_track_has_two_verdicts_and_no_person_two_within_the_hold_off(
        policy in any_policy(),
        runs in any_run(),
    ) {
        let hold_off = policy.recognition.hold_off();
        let (scene, _) = play(policy, 0.6, &runs);
        for (n, a) in scene.verdicts.iter().enumerate() {
            for b in &scene.verdicts[..n] {
                prop_assert_ne!(a.track, b.track);
                let soon = a.evidence_at - b.evidence_at < hold_off;
                prop_assert!(named(a).is_none() || named(a) != named(b) || !soon);
            }
        }
    }

    #[test]
    fn nobody_is_named_whose_liveness_is_required_and_not_shown(runs in any_run(), policy in any_policy()) {
        let liveness = policy.liveness.clone();
        let (scene, shown) = play(policy, 0.6, &runs);
        for verdict in &scene.verdicts {
            let is_named = named(verdict).is_some();
            prop_assert!(!is_named || verdict.refused.is_none());
            prop_assert!(is_named || verdict.trace.template.is_none() && verdict.trace.runner_up.is_none());
            prop_assert_eq!(verdict.between.is_some(), verdict.outcome == Outcome::Ambiguous);
            if !is_named {
                continue;
            }
            match (liveness.policy, verdict.liveness) {
                (LivenessPolicy::Off, Liveness::NotChecked)
                | (LivenessPolicy::Challenge | LivenessPolicy::Doubt, Liveness::ChallengePassed) => {}
                (LivenessPolicy::Doubt, Liveness::NetworkPassed | Liveness::NotChecked) => {
                    let has_network = shown.iter().any(|(ms, event)| {
                        event.track == verdict.track.0
                            && event.liveness.is_some()
                            && scene.at(*ms) <= verdict.evidence_at
                    });
                    prop_assert!(has_network || verdict.liveness == Liveness::NotChecked);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn a_higher_threshold_names_nobody_more(
        mut runs in any_run(),
        faces in prop::collection::vec(0..STRANGERS + 2, 3),
        threshold in 0.3f32..0.9,
        step in 0.0f32..0.3,
    ) {
        let policy = Policy {
            liveness: LivenessConfig { policy: LivenessPolicy::Off, ..LivenessConfig::default() },
            ..Policy::default()
        };
        // Each track shows one face, lest a later one be named for want of the first.
        for (_, _, event) in &mut runs {
            event.face = event.face.map(|_| faces[event.track as usize - 1]);
        }
        let named_by = |threshold| -> Vec<(TrackId, PersonId)> {
            let (scene, _) = play(policy.clone(), threshold, &runs);
            scene.verdicts.iter().filter_map(|v| Some((v.track, named(v)?))).collect()
        };
        let lower = named_by(threshold);
        let higher = named_by(threshold + step);
        prop_assert!(higher.iter().all(|(_, person)| lower.iter().any(|(_, known)| known == person)));
    }

    #[test]
    fn the_order_of_the_faces_in_a_frame_changes_no_verdict(
        policy in any_policy(),
        offsets in prop::collection::vec(prop::collection::vec(-0.15f32..0.45, 3), 1..60),
        sizes in prop::collection::vec(30.0f32..90.0, 3),
        orders in prop::collection::vec(Just([0usize, 1, 2]).prop_shuffle(), 60),
    ) {
        let verdicts = |is_shuffled: bool| {
            let mut scene = Scene::with(policy.clone());
            for (n, offsets) in offsets.iter().enumerate() {
                for face in if is_shuffled { orders[n] } else { [0, 1, 2] } {
                    let mut observation = scene.observation(n as u64 * 100, None);
                    observation.embedding = Some(picture(face, n as u64));
                    observation.nose_offset = offsets[face];
                    observation.quality.inter_ocular_px = sizes[face];
                    observation.bounds.x0 = 0.3 * face as f32;
                    scene.observe(face as u64 + 1, observation);
                }
            }
            let mut said: Vec<_> = scene
                .verdicts
                .iter()
                .map(|v| (v.track, v.evidence_at - scene.start, named(v), v.refused, format!("{:?}", v.liveness)))
                .collect();
            said.sort();
            said
        };
        prop_assert_eq!(verdicts(false), verdicts(true));
    }

    #[test]
    fn an_attempt_with_offsets_of_a_print_never_passes(
        offsets in prop::collection::vec(-0.25f32..0.25, 1..200),
        step in 20u64..200,
    ) {
        let mut scene = Scene::new(LivenessPolicy::Challenge);
        for (n, offset) in offsets.iter().enumerate() {
            scene.turned(n as u64 * step, 1, 2, *offset);
        }
        prop_assert!(scene.verdicts.iter().all(|verdict| named(verdict).is_none()));
    }

    #[test]
    fn time_without_frames_names_nobody(
        policy in any_policy(),
        runs in any_run(),
        waits in prop::collection::vec(0u64..20_000, 1..10),
    ) {
        let (mut scene, shown) = play(policy, 0.6, &runs);
        let mut ms = shown.last().unwrap().0;
        let mut later = Vec::new();
        for wait in waits {
            ms += wait;
            let now = scene.at(ms);
            later.extend(scene.decider.tick(now));
        }
        later.extend((1..4).filter_map(|track| scene.end(ms, track)));
        prop_assert!(later.iter().all(|verdict| named(verdict).is_none()));
    }
}
