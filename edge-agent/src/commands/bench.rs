//! `edge-agent bench`: what each step costs on this machine, on one thread.
//!
//! Times are medians over frames and rounds, in wall time and in processor time of the thread. Nothing here is a
//! test: a figure is compared with figures of the same machine, and `tests/peers` does that with other software.

mod pipeline;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use rollcall_core::PersonId;
use rollcall_gallery::Index;
use rollcall_vision::decode::{MjpegFrames, decode};
use rollcall_vision::net::Network;
use rollcall_vision::{Embedding, FaceReader, Models, Stage};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::Progress;
use crate::picture::read_file;

/// 640 x 480 with one face: a part of the portrait of Eileen Collins (NASA, public domain), which scikit-image ships.
pub(super) const FRAME: &[u8] = include_bytes!("bench/frame.jpg");

const GALLERY_SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// Options of `edge-agent bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Frames to measure with: a folder of pictures, or one file of JPEGs joined end to end [default: a built-in one]
    #[arg(long, value_name = "DIR|FILE.mjpeg")]
    frames: Option<PathBuf>,
    /// Smallest face to look for, in pixels
    #[arg(long, value_name = "PX", default_value_t = 60, value_parser = clap::value_parser!(u32).range(12..=4000))]
    min_face: u32,
    /// How often each frame is measured
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Play these scenes, MJPEG files, through the terminal's pipeline instead, --rounds times each
    #[arg(long, value_name = "FILE.mjpeg", num_args = 0.., conflicts_with_all = ["frames", "json"])]
    pipeline: Option<Vec<PathBuf>>,
    /// Only write the built-in frame into this file
    #[arg(long, value_name = "FILE.jpg")]
    write_frame: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    frames: usize,
    /// A frame, on average.
    faces: f64,
    min_face_px: u32,
    rounds: u32,
    stages: BTreeMap<&'static str, Cost>,
    /// The embedding network run by tract instead of our own kernels.
    embed_by_tract: Cost,
    r#match: BTreeMap<usize, MatchCost>,
    cold_start_ms: f64,
    first_frame_ms: f64,
    peak_memory_mib: f64,
}

/// Median milliseconds.
#[derive(Clone, Copy, Serialize)]
struct Cost {
    ms: f64,
    cpu_ms: f64,
}

/// Median milliseconds of processor time for the best two of a gallery.
#[derive(Serialize)]
struct MatchCost {
    /// Reading the same memory and adding it up.
    read_ms: f64,
    f32_ms: f64,
    int8_ms: f64,
}

/// A moment in wall time and in processor time of this thread.
#[derive(Clone, Copy)]
struct Moment {
    wall: Duration,
    cpu: Duration,
}

impl Moment {
    fn now() -> Self {
        let read = |clock| {
            let t = clock_gettime(clock);
            Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
        };
        Self { wall: read(ClockId::Monotonic), cpu: read(ClockId::ThreadCPUTime) }
    }

    fn until(self, end: Self) -> Cost {
        let ms = |from: Duration, to: Duration| (to - from).as_secs_f64() * 1e3;
        Cost { ms: ms(self.wall, end.wall), cpu_ms: ms(self.cpu, end.cpu) }
    }
}

/// Runs the command.
pub fn run(models: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.write_frame {
        std::fs::write(path, FRAME).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(scenes) = &args.pipeline {
        let report = pipeline::run(&Models::open(models)?, scenes, args.rounds)?;
        writeln!(std::io::stdout(), "{}", report.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let frames = frames(args)?;
    let start = Moment::now();
    let models = Models::open(models)?;
    let mut reader = FaceReader::load(&models)?;
    let loaded = Moment::now();
    let first = measure(&mut reader, &frames[0], args.min_face)?;
    let mut costs: BTreeMap<&'static str, Vec<Cost>> = BTreeMap::new();
    let mut faces = 0;
    let progress = Progress::new("measuring", args.rounds as usize * frames.len());
    for _ in 0..args.rounds {
        for frame in &frames {
            let measured = measure(&mut reader, frame, args.min_face)?;
            faces += measured.faces;
            measured.stages.into_iter().for_each(|(stage, cost)| costs.entry(stage).or_default().push(cost));
            progress.step();
        }
    }
    drop(progress);
    let peak_memory_mib = peak_memory_mib()?;
    let report = Report {
        frames: frames.len(),
        faces: faces as f64 / (args.rounds as usize * frames.len()) as f64,
        min_face_px: args.min_face,
        rounds: args.rounds,
        stages: costs.into_iter().map(|(stage, costs)| (stage, median(&costs))).collect(),
        embed_by_tract: embed_by_tract(&models, args.rounds)?,
        r#match: GALLERY_SIZES
            .into_iter()
            .map(|size| Ok((size, match_cost(size)?)))
            .collect::<anyhow::Result<_>>()?,
        cold_start_ms: start.until(loaded).ms,
        first_frame_ms: first.stages["whole"].ms,
        peak_memory_mib,
    };
    let out = if args.json { serde_json::to_string(&report)? } else { text(&report) };
    writeln!(std::io::stdout(), "{}", out.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn frames(args: &Args) -> anyhow::Result<Vec<Vec<u8>>> {
    let Some(path) = &args.frames else { return Ok(vec![FRAME.to_vec()]) };
    let cannot = || format!("cannot read {}", path.display());
    let frames = if path.is_dir() {
        let entries = std::fs::read_dir(path)
            .with_context(cannot)?
            .collect::<Result<Vec<_>, _>>()
            .with_context(cannot)?;
        let mut files: Vec<PathBuf> = entries.into_iter().map(|e| e.path()).filter(|p| p.is_file()).collect();
        files.sort();
        files.iter().map(|f| read_file(f).with_context(cannot)).collect::<anyhow::Result<Vec<_>>>()?
    } else {
        let bytes = std::fs::read(path).with_context(cannot)?;
        MjpegFrames::new(&bytes).map(<[u8]>::to_vec).collect()
    };
    ensure!(!frames.is_empty(), "{} holds no frame", path.display());
    Ok(frames)
}

struct Measured {
    stages: BTreeMap<&'static str, Cost>,
    faces: usize,
}

/// One frame through the whole chain.
fn measure(reader: &mut FaceReader, frame: &[u8], min_face: u32) -> anyhow::Result<Measured> {
    let start = Moment::now();
    let image = decode(frame)?;
    let mut begun: Vec<(&'static str, Moment)> = vec![("decode", start)];
    let faces = reader.detect(&image, min_face, &mut |stage| {
        let name = match stage {
            Stage::Propose => "propose",
            Stage::Refine => "refine",
            Stage::Output => "output",
        };
        begun.push((name, Moment::now()));
    })?;
    begun.push(("align", Moment::now()));
    let aligned: Vec<_> = faces.iter().filter_map(|face| reader.look(&image, face)).collect();
    begun.push(("embed", Moment::now()));
    for (face, _) in &aligned {
        reader.embed(face)?;
    }
    let end = Moment::now();
    let ends = begun.iter().skip(1).map(|(_, at)| *at).chain([end]);
    let mut stages: BTreeMap<_, _> =
        begun.iter().zip(ends).map(|((name, from), to)| (*name, from.until(to))).collect();
    stages.insert("whole", start.until(end));
    Ok(Measured { stages, faces: faces.len() })
}

fn embed_by_tract(models: &Models, rounds: u32) -> anyhow::Result<Cost> {
    let entry = models.embedding()?;
    let mut network = Network::from_onnx_by_tract(&entry.name, &models.read(entry)?)?;
    let input = vec![0.1; 112 * 112 * 3];
    let mut costs = Vec::new();
    for _ in 0..rounds {
        let start = Moment::now();
        network.run(1, 112, 112, &input)?;
        costs.push(start.until(Moment::now()));
    }
    Ok(median(&costs))
}

/// Cost of the best two among `size` people with made-up embeddings of 128 values.
fn match_cost(size: usize) -> anyhow::Result<MatchCost> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut embedding = || {
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        Embedding::normalised((0..128).map(|_| uniform() + uniform() + uniform()).collect())
    };
    let mut index = Index::new(128)?;
    for id in 0..size as u128 {
        index.insert(PersonId::from_bytes(id.to_be_bytes()), &[embedding()?])?;
    }
    let probe = embedding()?;
    let (mut reads, mut f32s, mut int8s) = (Vec::new(), Vec::new(), Vec::new());
    let timed = |costs: &mut Vec<Cost>, work: &mut dyn FnMut() -> anyhow::Result<()>| {
        let start = Moment::now();
        work()?;
        costs.push(start.until(Moment::now()));
        anyhow::Ok(())
    };
    for _ in 0..41 {
        timed(&mut reads, &mut || {
            std::hint::black_box(index.read_references());
            Ok(())
        })?;
        timed(&mut f32s, &mut || {
            std::hint::black_box(index.search_f32(&probe, 2)?);
            Ok(())
        })?;
        timed(&mut int8s, &mut || {
            std::hint::black_box(index.search(&probe, 2)?);
            Ok(())
        })?;
    }
    let cpu = |costs: &[Cost]| median(costs).cpu_ms;
    Ok(MatchCost { read_ms: cpu(&reads), f32_ms: cpu(&f32s), int8_ms: cpu(&int8s) })
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    Cost { ms: middle(|c| c.ms), cpu_ms: middle(|c| c.cpu_ms) }
}

/// The most memory that this process has held so far.
fn peak_memory_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("the kernel does not tell VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmHWM is not a number")?;
    Ok(kib / 1024.0)
}

fn text(report: &Report) -> String {
    let Report { frames, faces, min_face_px, rounds, .. } = report;
    let mut text =
        format!("{frames} frames, {faces:.1} faces each, faces from {min_face_px} px, {rounds} rounds\n");
    text += &format!("{:<22}{:>10}{:>10}\n", "step, a frame", "ms", "CPU ms");
    let mut row =
        |name: &str, cost: &Cost| text += &format!("{name:<22}{:>10.3}{:>10.3}\n", cost.ms, cost.cpu_ms);
    let names = [
        ("decode", "decode"),
        ("propose", "propose (P-Net)"),
        ("refine", "refine (R-Net)"),
        ("output", "output (O-Net)"),
        ("align", "align and judge"),
        ("embed", "embed"),
        ("whole", "whole"),
    ];
    names.iter().for_each(|(key, name)| row(name, &report.stages[key]));
    row("(embed by tract)", &report.embed_by_tract);
    text += &format!("{:<22}{:>10}{:>10}{:>10}\n", "match, CPU ms", "read", "f32", "int8");
    for (size, cost) in &report.r#match {
        text += &format!(
            "{:<22}{:>10.3}{:>10.3}{:>10.3}\n",
            format!("{size} people"),
            cost.read_ms,
            cost.f32_ms,
            cost.int8_ms
        );
    }
    let (cold, first, peak) = (report.cold_start_ms, report.first_frame_ms, report.peak_memory_mib);
    text + &format!(
        "networks loaded in {cold:.0} ms, first frame {first:.1} ms, peak memory {peak:.0} MiB before matching\n"
    )
}
