//! `edge-agent bench --pipeline`: what following people costs, and how soon they are decided on.
//!
//! Scenes go through the pipeline of the terminal at the rate of a camera, in made-up time: each frame comes when a camera
//! would have sent it, or is dropped when the one before is not done yet, and the time that the pipeline takes is what it
//! really took. So an hour of an idle door is measured in seconds. The judge says that everybody is the first person of a
//! gallery of one, because comparing is measured elsewhere.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rollcall_core::PersonId;
use rollcall_gallery::decide::{self, Decision, Outcome};
use rollcall_vision::decode::{FrameLayout, MjpegFrames};
use rollcall_vision::{Embedding, FaceReader, Models, Quality};

use super::Moment;
use crate::camera::Frame;
use crate::recognition::counters::Counters;
use crate::recognition::pipeline::Pipeline;
use crate::recognition::policy::Policy;

/// A camera's frame, at 15 a second.
const BETWEEN: Duration = Duration::from_nanos(1_000_000_000 / 15);

/// What one scene cost.
struct Measured {
    seconds: f64,
    cpu: Duration,
    embedded: u64,
    dropped: u64,
    searched: u64,
    followed: u64,
    /// Of each decision: frames of its evidence, and the time from the first good frame to the verdict.
    decisions: Vec<(usize, Duration)>,
}

/// Plays each file so often and tells what it cost.
pub fn run(models: &Models, scenes: &[PathBuf], rounds: u32) -> anyhow::Result<String> {
    ensure!(!scenes.is_empty(), "give one MJPEG file or more to play: --pipeline FILE.mjpeg");
    let mut text = format!(
        "{:<16}{:>8}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>9}{:>9}\n",
        "scene, a second",
        "seconds",
        "CPU ms",
        "searched",
        "followed",
        "embedded",
        "dropped",
        "verdicts",
        "frames",
        "p50 ms",
        "p95 ms"
    );
    for path in scenes {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let frames: Vec<&[u8]> = MjpegFrames::new(&bytes).collect();
        ensure!(!frames.is_empty(), "{} holds no frame", path.display());
        let mut all: Option<Measured> = None;
        for round in 0..rounds {
            // Each round begins a little later, so that searches fall on other frames.
            let skipped = round as usize % 7 % frames.len();
            let measured = play(models, &frames[skipped..])?;
            all = Some(match all {
                None => measured,
                Some(sum) => sum.and(measured),
            });
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(all) = all {
            all.tell(&name, &mut text)?;
        }
    }
    Ok(text)
}

impl Measured {
    fn and(mut self, other: Self) -> Self {
        self.decisions.extend(other.decisions);
        Self {
            seconds: self.seconds + other.seconds,
            cpu: self.cpu + other.cpu,
            embedded: self.embedded + other.embedded,
            dropped: self.dropped + other.dropped,
            searched: self.searched + other.searched,
            followed: self.followed + other.followed,
            decisions: self.decisions,
        }
    }

    fn tell(mut self, name: &str, text: &mut String) -> std::fmt::Result {
        let each = |count: u64| count as f64 / self.seconds;
        let (cpu, seconds) = (self.cpu.as_secs_f64() * 1e3 / self.seconds, self.seconds);
        let counts = [self.searched, self.followed, self.embedded, self.dropped].map(each);
        write!(text, "{name:<16}{seconds:>8.0}{cpu:>10.1}")?;
        counts.iter().try_for_each(|count| write!(text, "{count:>9.1}"))?;
        self.decisions.sort_by_key(|(_, latency)| *latency);
        let latency_ms = |share: f64| {
            let at = ((self.decisions.len().saturating_sub(1)) as f64 * share).round() as usize;
            self.decisions
                .get(at)
                .map_or("-".into(), |(_, latency)| format!("{:.0}", latency.as_secs_f64() * 1e3))
        };
        let (p50, p95) = (latency_ms(0.5), latency_ms(0.95));
        let mut frames: Vec<usize> = self.decisions.iter().map(|(frames, _)| *frames).collect();
        frames.sort_unstable();
        let frames = frames.get(frames.len() / 2).map_or("-".into(), ToString::to_string);
        writeln!(text, "{:>8}{frames:>8}{p50:>9}{p95:>9}", self.decisions.len())
    }
}

/// One scene through a pipeline of its own.
fn play(models: &Models, frames: &[&[u8]]) -> anyhow::Result<Measured> {
    let clock = Arc::new(Mutex::new((Instant::now(), Instant::now())));
    let tell = {
        let clock = Arc::clone(&clock);
        move || {
            let (made_up, real) = *clock.lock().unwrap_or_else(PoisonError::into_inner);
            made_up + real.elapsed()
        }
    };
    let counters = Arc::new(Counters::default());
    let reading = Box::new(FaceReader::load(models)?);
    let person = PersonId::generate();
    let judge = Box::new(move |_: &Embedding, quality: Quality, frames: usize| {
        let unusable = decide::unusable(Some(quality), 1, &"bench".into());
        let trace = decide::Trace { frames, ..unusable.trace };
        Decision { outcome: Outcome::Recognised(person), between: None, trace }
    });
    let mut pipeline = Pipeline::new(
        reading,
        judge,
        Box::new(tell.clone()),
        Policy::default(),
        [1; 32],
        Arc::clone(&counters),
    );
    let start = Instant::now();
    let (mut free_at, mut dropped, mut decisions) = (start, 0, Vec::new());
    let begun = Moment::now();
    for (number, bytes) in (0u32..).zip(frames) {
        let captured = start + BETWEEN * number;
        if captured < free_at {
            dropped += 1;
            continue;
        }
        *clock.lock().unwrap_or_else(PoisonError::into_inner) = (captured, Instant::now());
        let layout = FrameLayout::of_mjpeg(bytes)?;
        let frame = Frame { bytes: bytes.to_vec(), layout, captured, number: number.into() };
        let step = pipeline.frame(frame)?;
        free_at = tell();
        decisions.extend(
            step.verdicts.iter().map(|verdict| {
                (verdict.trace.frames, free_at.saturating_duration_since(verdict.first_good_at))
            }),
        );
    }
    let cpu = Moment::now().cpu - begun.cpu;
    let counts = counters.snapshot(dropped);
    Ok(Measured {
        seconds: (BETWEEN * frames.len() as u32).as_secs_f64(),
        cpu,
        embedded: counts.embedded,
        dropped,
        searched: counts.searched,
        followed: counts.followed,
        decisions,
    })
}
