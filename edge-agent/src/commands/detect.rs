//! `edge-agent detect`: the faces of each picture, one JSON object or one line of text a picture.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use rollcall_vision::{Face, FaceReader, Models, Quality, QualityLimits, RgbImage};
use serde::Serialize;

use super::{Progress, shown};
use crate::annotate::{TEAL, draw_face, write_png};
use crate::picture::read_picture;
use rollcall_program::shell::told;

/// Options of `edge-agent detect`.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object a picture
    #[arg(long)]
    json: bool,
    /// Add the embedding of each face (needs --json)
    #[arg(long, requires = "json")]
    embed: bool,
    /// Smallest face to look for, in pixels
    #[arg(long, value_name = "PX", default_value_t = 40, value_parser = clap::value_parser!(u32).range(12..=4000))]
    min_face: u32,
    /// Write each picture with its faces marked into this folder, as PNG
    #[arg(long, value_name = "DIR")]
    annotate: Option<PathBuf>,
    /// JPEG, PNG or WebP files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// One picture of the output.
#[derive(Serialize)]
struct Found {
    image: String,
    width: usize,
    height: usize,
    faces: Vec<FoundFace>,
}

/// A picture that could not be read.
#[derive(Serialize)]
struct Failed {
    image: String,
    error: String,
}

#[derive(Serialize)]
struct FoundFace {
    #[serde(rename = "box")]
    bounds: [f32; 4],
    score: f32,
    landmarks: [[f32; 2]; 5],
    quality: FoundQuality,
    /// Only where the site has put a liveness network in.
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Vec<f32>>,
}

#[derive(Serialize)]
struct FoundQuality {
    inter_ocular_px: f32,
    sharpness: f32,
    yaw_deg: f32,
    roll_deg: f32,
    nose_height: f32,
    brightness: f32,
    contrast: f32,
    issues: Vec<String>,
}

impl FoundFace {
    fn new(face: &Face, quality: &Quality, liveness: Option<f32>, embedding: Option<Vec<f32>>) -> Self {
        let b = &face.bounds;
        let issues = quality.issues(&QualityLimits::ENROL);
        Self {
            bounds: [b.x0, b.y0, b.x1, b.y1],
            score: face.score,
            landmarks: face.landmarks.points,
            quality: FoundQuality {
                inter_ocular_px: quality.inter_ocular_px,
                sharpness: quality.sharpness,
                yaw_deg: quality.yaw_deg,
                roll_deg: quality.roll_deg,
                nose_height: quality.nose_height,
                brightness: quality.brightness,
                contrast: quality.contrast,
                issues: issues.iter().map(ToString::to_string).collect(),
            },
            liveness,
            embedding,
        }
    }
}

/// Runs the command. Failure when a picture could not be read; the others are still done.
pub fn run(models: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let mut reader = FaceReader::load(&Models::open(models)?)?;
    if let Some(folder) = &args.annotate {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut code = ExitCode::SUCCESS;
    let progress = Progress::new("finding faces", args.files.len());
    for (index, file) in args.files.iter().enumerate() {
        progress.step_beside_lines();
        match detect(&mut reader, args, file, index) {
            Ok(found) if args.json => serde_json::to_writer(&mut out, &found)?,
            Ok(found) => write!(out, "{}", text(&found))?,
            Err(error) => {
                code = ExitCode::FAILURE;
                let (image, error) = (shown(file), told(&error));
                if args.json {
                    serde_json::to_writer(&mut out, &Failed { image, error })?;
                } else {
                    eprintln!("edge-agent: {image}: {error}");
                    continue;
                }
            }
        }
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(code)
}

fn detect(reader: &mut FaceReader, args: &Args, file: &Path, index: usize) -> anyhow::Result<Found> {
    let mut image = read_picture(file)?;
    let faces = reader.detect(&image, args.min_face, &mut |_| {})?;
    let mut found = Vec::new();
    for face in &faces {
        if let Some((aligned, quality)) = reader.look(&image, face) {
            let embedding = if args.embed { Some(reader.embed(&aligned)?.values().to_vec()) } else { None };
            let liveness = reader.liveness(&image, face)?;
            found.push(FoundFace::new(face, &quality, liveness, embedding));
        }
    }
    let (width, height) = (image.width(), image.height());
    if let Some(folder) = &args.annotate {
        annotate(&mut image, &faces, folder, file, index)?;
    }
    Ok(Found { image: shown(file), width, height, faces: found })
}

/// Into `folder` as NUMBER-NAME.png: two pictures of one name do not overwrite each other.
fn annotate(
    image: &mut RgbImage,
    faces: &[Face],
    folder: &Path,
    file: &Path,
    index: usize,
) -> anyhow::Result<()> {
    faces.iter().for_each(|f| draw_face(image, f, TEAL, &format!("{:.2}", f.score)));
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let path = folder.join(format!("{:03}-{stem}.png", index + 1));
    let cannot = || format!("cannot write {}", path.display());
    write_png(image, BufWriter::new(File::create(&path).with_context(cannot)?)).with_context(cannot)
}

fn text(found: &Found) -> String {
    let count = match found.faces.len() {
        1 => "1 face".to_owned(),
        n => format!("{n} faces"),
    };
    let mut text = format!("{} ({} x {}): {count}", found.image, found.width, found.height);
    for face in &found.faces {
        let [x0, y0, x1, y1] = face.bounds;
        text += &format!("\n  ({x0:.0}, {y0:.0}) to ({x1:.0}, {y1:.0}), score {:.3}", face.score);
        for issue in &face.quality.issues {
            text += &format!("; {issue}");
        }
    }
    text
}
