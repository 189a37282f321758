//! `edge-agent bench --pipeline`: what following people costs, and how soon they are decided on.
//!
//! Scenes go through the pipeline of the terminal, badges included, at the rate of a camera, in made-up time: each frame
//! comes when a camera would have sent it, or is dropped when the one before is not done yet, and the pipeline takes the
//! processor time that it really took. So a minute before a door is measured in seconds, and what else the machine does
//! changes little. Whoever comes is enrolled on sight; comparing with a large gallery is measured by the other half of this
//! command.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rollcall_core::PersonId;
use rollcall_gallery::decide::{self, Decision, Outcome};
use rollcall_vision::decode::{FrameLayout, MjpegFrames};
use rollcall_vision::{Embedding, FaceReader, Models, Quality};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use super::Moment;
use crate::camera::Frame;
use crate::readers::badge::Badges;
use crate::recognition::counters::Counters;
use crate::recognition::pipeline::{Judging, Pipeline};
use crate::recognition::policy::Policy;

/// From this cosine on a face is somebody's who was seen before; about the threshold of a small gallery.
const SAME_MIN: f32 = 0.5;

/// A camera's frame, at 15 a second.
const BETWEEN: Duration = Duration::from_nanos(1_000_000_000 / 15);

/// What one scene cost.
struct Measured {
    seconds: f64,
    /// Processor time of the thread that recognises.
    thread: Duration,
    /// The same of the whole process.
    process: Duration,
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
        "{:<16}{:>8}{:>11}{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>8}\n",
        "a second of",
        "seconds",
        "thread ms",
        "process ms",
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
            thread: self.thread + other.thread,
            process: self.process + other.process,
            embedded: self.embedded + other.embedded,
            dropped: self.dropped + other.dropped,
            searched: self.searched + other.searched,
            followed: self.followed + other.followed,
            decisions: self.decisions,
        }
    }

    fn tell(mut self, name: &str, text: &mut String) -> std::fmt::Result {
        let seconds = self.seconds;
        let each = |count: u64| count as f64 / seconds;
        let ms = |time: Duration| time.as_secs_f64() * 1e3 / seconds;
        let (thread, process) = (ms(self.thread), ms(self.process));
        let counts = [self.searched, self.followed, self.embedded, self.dropped].map(each);
        write!(text, "{name:<16}{seconds:>8.0}{thread:>11.1}{process:>11.1}")?;
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
        writeln!(text, "{:>9}{frames:>8}{p50:>8}{p95:>8}", self.decisions.len())
    }
}

/// Made-up time, in which only the pipeline's own work takes any.
#[derive(Clone)]
struct Clock(Arc<Mutex<(Instant, Duration)>>);

impl Clock {
    fn set(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (now, Moment::now().cpu);
    }

    fn now(&self) -> Instant {
        let (set, cpu) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set + (Moment::now().cpu - cpu)
    }
}

/// Knows whoever it has seen before.
fn on_sight() -> Box<Judging> {
    let mut known: Vec<(PersonId, Embedding)> = Vec::new();
    Box::new(move |probe: &Embedding, quality: Quality, frames: usize| {
        let same = known.iter().find(|(_, seen)| seen.cosine(probe) >= SAME_MIN);
        let person = same.map_or_else(PersonId::generate, |(person, _)| *person);
        if same.is_none() {
            known.push((person, probe.clone()));
        }
        let unusable = decide::unusable(Some(quality), known.len(), &"bench".into());
        let trace = decide::Trace { frames, ..unusable.trace };
        Decision { outcome: Outcome::Recognised(person), between: None, trace }
    })
}

/// One scene through a pipeline of its own.
fn play(models: &Models, frames: &[&[u8]]) -> anyhow::Result<Measured> {
    let start = Instant::now();
    let clock = Clock(Arc::new(Mutex::new((start, Moment::now().cpu))));
    let counters = Arc::new(Counters::default());
    let reading = Box::new(FaceReader::load(models)?);
    let tell = Box::new({
        let clock = clock.clone();
        move || clock.now()
    });
    let mut pipeline =
        Pipeline::new(reading, on_sight(), tell, Policy::default(), [1; 32], Arc::clone(&counters));
    let (presented, _presented) = mpsc::channel(1);
    pipeline.look_for(Badges::spawn(presented)?);
    let (mut free_at, mut dropped, mut decisions) = (start, 0, Vec::new());
    let begun = (Moment::now().cpu, process_cpu());
    for (number, bytes) in (0u32..).zip(frames) {
        let captured = start + BETWEEN * number;
        if captured < free_at {
            dropped += 1;
            continue;
        }
        clock.set(captured);
        let layout = FrameLayout::of_mjpeg(bytes)?;
        let frame = Frame { bytes: bytes.to_vec(), layout, captured, number: number.into() };
        let step = pipeline.frame(frame)?;
        free_at = clock.now();
        decisions.extend(
            step.verdicts.iter().map(|verdict| {
                (verdict.trace.frames, free_at.saturating_duration_since(verdict.first_good_at))
            }),
        );
    }
    let (thread, process) = (Moment::now().cpu - begun.0, process_cpu() - begun.1);
    let counts = counters.snapshot(dropped);
    Ok(Measured {
        seconds: (BETWEEN * frames.len() as u32).as_secs_f64(),
        thread,
        process,
        embedded: counts.embedded,
        dropped,
        searched: counts.searched,
        followed: counts.followed,
        decisions,
    })
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
