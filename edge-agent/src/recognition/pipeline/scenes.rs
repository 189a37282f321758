//! The scenes of `tests/src/scene` through the pipeline, with the shipped networks, two people enrolled from other
//! portraits, and the site's own rule of decision. Time is that of the scene: a frame takes none.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Mutex;

use rollcall_core::TemplateId;
use rollcall_gallery::Index;
use rollcall_gallery::decide::{self, Best, Comparison, Outcome, RunnerUp};
use rollcall_tests::pictures;
use rollcall_tests::scene::{FREEZES_AT_S, Film, Scene, jpeg};
use rollcall_vision::decode::{FrameLayout, decode};
use rollcall_vision::{Calibration, FaceReader, Models, SiteScores};

use super::super::Liveness;
use super::super::challenge::{Side, Sides};
use super::super::counters::Snapshot;
use super::super::policy::{LivenessConfig, Whole};
use super::*;

const FIRST: PersonId = PersonId::from_bytes([1; 16]);
const SECOND: PersonId = PersonId::from_bytes([2; 16]);

/// A door of a site where two people are enrolled.
struct Door {
    models: Models,
    index: Arc<Index>,
    threshold: f32,
}

/// What became of a scene. Times are seconds since its beginning.
#[derive(Debug)]
struct Played {
    verdicts: Vec<(f32, Verdict)>,
    /// The state of the picture, each time that it changed.
    states: Vec<(f32, PictureState)>,
    prompts: Vec<Prompt>,
    counts: Snapshot,
}

impl Door {
    fn new() -> Self {
        let models = Models::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")).unwrap();
        let mut reader = FaceReader::load(&models).unwrap();
        let mut learn = |name: &&str| {
            let picture = decode(&pictures::portrait(name)).unwrap();
            let faces = reader.detect(&picture, 40, &mut |_| ()).unwrap();
            let (aligned, _) = reader.look(&picture, &faces[0]).unwrap();
            reader.embed(&aligned).unwrap()
        };
        let mut index = Index::new(models.embedder().unwrap().length()).unwrap();
        for (person, names) in [(FIRST, &["obama.jpg", "obama2.jpg"][..]), (SECOND, &["astronaut.png"])] {
            index.insert(person, &names.iter().map(&mut learn).collect::<Vec<_>>()).unwrap();
        }
        let calibration = Calibration::new(&models.embedding().unwrap().scores, 3).unwrap();
        let threshold = calibration.threshold(0.01, index.len(), &SiteScores::new(0)).unwrap().score;
        Self { models, index: Arc::new(index), threshold: threshold as f32 }
    }

    /// The site's rule, without what it knows of mismatches.
    fn judge(&self) -> Box<Judging> {
        let (index, threshold) = (Arc::clone(&self.index), self.threshold);
        Box::new(move |probe: &Embedding, quality: Quality, frames: usize| {
            let found = index.best_match(probe).unwrap();
            let best = found.map(|found| {
                let score = index.best_template(found.best.person, probe).unwrap().unwrap().score;
                let template = (TemplateId::from_bytes([9; 16]), score);
                Best { candidate: found.best, template, own_threshold: None }
            });
            let runner_up = found.and_then(|found| {
                let candidate = found.runner_up?;
                let likeness = index.likeness(found.best.person, candidate.person)?;
                Some(RunnerUp { candidate, likeness, reports: 0 })
            });
            let comparison = Comparison { best, runner_up, gallery_size: index.len() };
            decide::decide(&comparison, threshold, quality, frames, &"test".into())
        })
    }

    fn play(&self, scene: Scene, policy: &Policy) -> Played {
        let film = Film::default();
        let frames: Vec<Vec<u8>> = film.frames(scene).map(|frame| jpeg(&frame)).collect();
        self.watch(&frames, film.fps, policy, 7)
    }

    /// JPEGs, so many a second.
    fn watch(&self, frames: &[Vec<u8>], fps: u32, policy: &Policy, seed: u8) -> Played {
        let start = Instant::now();
        let now = Arc::new(Mutex::new(start));
        let clock = Box::new({
            let now = Arc::clone(&now);
            move || *now.lock().unwrap()
        });
        let counters = Arc::new(Counters::default());
        let reading = Box::new(FaceReader::load(&self.models).unwrap());
        let policy = policy.clone();
        let mut pipeline =
            Pipeline::new(reading, self.judge(), clock, policy, [seed; 32], Arc::clone(&counters));
        let (mut verdicts, mut states, mut prompts) = (Vec::new(), Vec::new(), Vec::new());
        for (number, bytes) in (0u32..).zip(frames) {
            let captured = start + Duration::from_secs(1) * number / fps;
            *now.lock().unwrap() = captured;
            let layout = FrameLayout::of_mjpeg(bytes).unwrap();
            let bytes = bytes.clone();
            let step = pipeline.frame(Frame { bytes, layout, captured, number: number.into() }).unwrap();
            let at = number as f32 / fps as f32;
            verdicts.extend(step.verdicts.into_iter().map(|verdict| (at, verdict)));
            let view = pipeline.view();
            if states.last().is_none_or(|(_, state)| *state != view.picture) {
                states.push((at, view.picture));
            }
            prompts.extend(view.faces.iter().map(|face| face.prompt));
        }
        prompts.dedup();
        Played { verdicts, states, prompts, counts: counters.snapshot(0) }
    }
}

fn policy(policy: LivenessPolicy) -> Policy {
    Policy { liveness: LivenessConfig { policy, ..LivenessConfig::default() }, ..Policy::default() }
}

impl Played {
    /// Who was recognised, in order.
    fn named(&self) -> Vec<PersonId> {
        let who = |(_, verdict): &(f32, Verdict)| match verdict.outcome {
            Outcome::Recognised(person) => Some(person),
            _ => None,
        };
        self.verdicts.iter().filter_map(who).collect()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.verdicts.iter().map(|(_, verdict)| verdict.outcome).collect()
    }
}

/// A door that asks everybody to turn the head has little time.
fn everybody() -> Policy {
    let mut policy = policy(LivenessPolicy::Challenge);
    policy.liveness.challenge_seconds = Whole::try_from(4).unwrap();
    policy
}

/// A seed with which this side is asked for first.
fn seed_for(side: Side) -> u8 {
    (0..).find(|seed| Sides::new([*seed; 32]).next_side() == side).unwrap()
}

#[test]
fn whoever_walks_up_is_recognised_once_and_soon() {
    let played = Door::new().play(Scene::WalkUp, &Policy::default());
    assert_eq!(played.named(), [FIRST]);
    let [(_, verdict)] = &played.verdicts[..] else { panic!("{played:?}") };
    let soon = verdict.evidence_at - verdict.first_good_at;
    assert!(soon <= Duration::from_millis(200), "{soon:?} after the first good frame");
    assert_eq!(played.counts.embedded, 3, "and no embedding is made of them after that");
}

#[test]
fn a_stranger_is_told_unknown_once_and_never_by_a_name() {
    let played = Door::new().play(Scene::Stranger, &Policy::default());
    let [(_, verdict)] = &played.verdicts[..] else { panic!("{played:?}") };
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert_eq!((verdict.refused, verdict.between), (None, None));
    assert_eq!((verdict.trace.template, verdict.trace.runner_up), (None, None));
}

#[test]
fn of_two_who_cross_each_is_recognised_once() {
    let played = Door::new().play(Scene::Crossing, &Policy::default());
    let mut named = played.named();
    named.sort();
    assert_eq!(named, [FIRST, SECOND]);
    assert_eq!(played.verdicts.len(), 2, "{played:?}");
}

#[test]
fn of_five_two_are_recognised_and_three_are_not_each_once() {
    let played = Door::new().play(Scene::Five, &Policy::default());
    let mut named = played.named();
    named.sort();
    assert_eq!(named, [FIRST, SECOND]);
    let unknown = played.outcomes().iter().filter(|outcome| **outcome == Outcome::Unknown).count();
    assert_eq!((unknown, played.verdicts.len()), (3, 5), "{played:?}");
}

#[test]
fn whoever_comes_again_within_the_hold_off_has_no_further_verdict() {
    let played = Door::new().play(Scene::Passages, &Policy::default());
    assert_eq!(played.named(), [FIRST, SECOND]);
    assert_eq!(played.verdicts.len(), 2, "{played:?}");
}

#[test]
fn whoever_only_passes_by_or_holds_up_a_badge_has_no_verdict() {
    let door = Door::new();
    for scene in [Scene::PasserBy, Scene::Badge] {
        let played = door.play(scene, &Policy::default());
        assert!(played.verdicts.is_empty(), "{}: {played:?}", scene.name());
    }
}

#[test]
fn nobody_before_the_camera_is_next_to_no_work() {
    let played = Door::new().play(Scene::Nobody, &Policy::default());
    let counts = played.counts;
    assert!(counts.searched <= 4, "one search in two seconds: {counts:?}");
    assert_eq!((counts.followed, counts.embedded), (0, 0));
    assert_eq!(counts.rested, counts.taken - counts.searched);
    assert!(played.verdicts.is_empty() && played.states.len() == 1, "{played:?}");
}

#[test]
fn f087_a_picture_that_shows_nothing_is_told_within_three_seconds_and_names_nobody() {
    let door = Door::new();
    for (scene, state, from) in [
        (Scene::Dark, PictureState::Black, 0.0),
        (Scene::Black, PictureState::Black, 0.0),
        (Scene::Covered, PictureState::Covered, 0.0),
        (Scene::Overexposed, PictureState::Overexposed, 0.0),
        (Scene::Frozen, PictureState::Frozen, FREEZES_AT_S),
    ] {
        let played = door.play(scene, &Policy::default());
        let name = scene.name();
        let told = played.states.iter().find(|(_, told)| *told == state);
        assert!(told.is_some_and(|(at, _)| *at <= from + 3.0), "{name}: {:?}", played.states);
        assert_eq!(played.states.last().map(|(_, last)| *last), Some(state), "{name}: to the end");
        assert!(played.verdicts.is_empty(), "{name}: {played:?}");
    }
}

#[test]
fn a_photograph_never_passes_where_everybody_is_asked_whichever_way_it_is_turned() {
    let door = Door::new();
    let frames: Vec<Vec<u8>> = Film::default().frames(Scene::Photograph).map(|frame| jpeg(&frame)).collect();
    for side in [Side::Left, Side::Right] {
        let played = door.watch(&frames, 15, &everybody(), seed_for(side));
        assert!(played.named().is_empty(), "{side:?}: {played:?}");
        let refused = |(_, verdict): &(f32, Verdict)| (verdict.liveness, verdict.refused);
        let refused: Vec<_> = played.verdicts.iter().map(refused).collect();
        assert_eq!(refused, [(Liveness::ChallengeFailed, Some(FIRST))], "{side:?}");
    }
}

#[test]
fn a_head_turned_to_the_side_that_was_asked_passes_and_to_the_other_fails() {
    let door = Door::new();
    for fps in [15, 10] {
        let film = Film { fps, ..Film::default() };
        // The nose goes to the left of the camera's picture, which is the right of the mirrored one.
        for (scene, shown) in [(Scene::HeadLeft, Side::Right), (Scene::HeadRight, Side::Left)] {
            let frames: Vec<Vec<u8>> = film.frames(scene).map(|frame| jpeg(&frame)).collect();
            for asked in [Side::Left, Side::Right] {
                let played = door.watch(&frames, fps, &everybody(), seed_for(asked));
                let told = if asked == Side::Left { Prompt::TurnLeft } else { Prompt::TurnRight };
                assert!(played.prompts.contains(&told), "{:?}", played.prompts);
                let [(_, verdict)] = &played.verdicts[..] else { panic!("{played:?}") };
                let expected = match asked == shown {
                    true => (Outcome::Recognised(FIRST), Liveness::ChallengePassed, None),
                    false => (Outcome::Unknown, Liveness::ChallengeFailed, Some(FIRST)),
                };
                let happened = (verdict.outcome, verdict.liveness, verdict.refused);
                assert_eq!(happened, expected, "{}, {asked:?}, {fps} a second", scene.name());
            }
        }
    }
}
