//! The scenes of `tests/src/scene` through the pipeline, with the shipped networks, two people enrolled from other
//! portraits, and the site's own rule of decision. Time is that of the scene: a frame takes none.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Mutex;

use rollcall_core::TemplateId;
use rollcall_gallery::Index;
use rollcall_gallery::decide::{self, Best, Comparison, Outcome, RunnerUp};
use rollcall_tests::pictures;
use rollcall_tests::scene::{FREEZES_AT_S, Film, Scene, jpeg};
use rollcall_vision::decode::{FrameLayout, decode};
use rollcall_vision::{Calibration, FaceReader, Models, SiteScores};

use super::super::counters::Snapshot;
use super::super::policy::RecognitionConfig;
use super::super::{Liveness, policy::LivenessConfig};
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
        self.film(&Film::default(), scene, policy, 7)
    }

    fn film(&self, film: &Film, scene: Scene, policy: &Policy, seed: u8) -> Played {
        let frames = film.frames(scene).map(|frame| jpeg(&frame));
        self.watch(frames, film.fps, policy, seed)
    }

    /// JPEGs, so many a second.
    fn watch(&self, frames: impl Iterator<Item = Vec<u8>>, fps: u32, policy: &Policy, seed: u8) -> Played {
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
            let layout = FrameLayout::of_mjpeg(&bytes).unwrap();
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

#[test]
fn explore() {
    let door = Door::new();
    println!("threshold {}", door.threshold);
    for scene in Scene::ALL {
        for kind in [LivenessPolicy::Off, LivenessPolicy::Doubt, LivenessPolicy::Challenge] {
            let from = std::time::Instant::now();
            let played = door.play(scene, &policy(kind));
            println!("{} {kind:?} {:?} {:?} {:?}", scene.name(), played.counts, played.states, played.prompts);
            for (at, v) in &played.verdicts {
                println!("   {at:.2} track {} {:?} {:?} refused {:?} {:?} {:?} frames {} good {:.2}", v.track.0, v.outcome, v.liveness, v.refused.is_some(), v.trace.score, v.trace.runner_up_score, v.trace.frames, (v.evidence_at - v.first_good_at).as_secs_f32());
            }
            println!("   took {:?}", from.elapsed());
        }
    }
}
