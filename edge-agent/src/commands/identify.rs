//! `edge-agent identify`: who is in each picture, or that it is nobody known.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use rollcall_core::PersonId;
use rollcall_gallery::{Index, Match};
use rollcall_vision::{
    Calibration, Embedding, FaceReader, Models, RgbImage, SiteScores, Threshold, face_meant,
};
use serde::Serialize;

use super::{Progress, shown};
use crate::annotate::{GREY, TEAL, draw_face, side_by_side, write_png};
use crate::picture::read_picture;
use rollcall_program::shell::told;

/// Options of `edge-agent identify`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the people known: one folder for each, with their name, holding one or more portraits
    #[arg(long, value_name = "DIR")]
    gallery: PathBuf,
    /// Share of strangers that may be taken for somebody; the threshold follows from it
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    fpir: f64,
    /// Smallest face to look for, in pixels
    #[arg(long, value_name = "PX", default_value_t = 40, value_parser = clap::value_parser!(u32).range(12..=4000))]
    min_face: u32,
    /// Print one JSON object a picture
    #[arg(long)]
    json: bool,
    /// Write all pictures side by side, with the faces marked and named, as a PNG
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// JPEG, PNG or WebP files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

struct Gallery {
    names: BTreeMap<PersonId, String>,
    index: Index,
    threshold: Threshold,
}

#[derive(Serialize)]
struct Seen {
    image: String,
    threshold: f64,
    faces: Vec<SeenFace>,
}

#[derive(Serialize)]
struct SeenFace {
    #[serde(rename = "box")]
    bounds: [f32; 4],
    /// Absent for a stranger, of whom no nearest name is told.
    person: Option<String>,
    /// Cosine with the best reference.
    score: f32,
    /// How much it leads by; absent when only one person is known.
    margin: Option<f32>,
}

#[derive(Serialize)]
struct Failed {
    image: String,
    error: String,
}

/// Runs the command. Failure when a picture could not be read; the others are still done.
pub fn run(models: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let models = Models::open(models)?;
    let mut reader = FaceReader::load(&models)?;
    let gallery = Gallery::enrol(&models, &mut reader, args)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if !args.json {
        let (people, score) = (gallery.names.len(), gallery.threshold.score);
        writeln!(out, "{people} known; a name is given at a score of {score:.3} or more")?;
    }
    let (mut code, mut sheet) = (ExitCode::SUCCESS, Vec::new());
    let progress = Progress::new("looking at pictures", args.files.len());
    for file in &args.files {
        match gallery.look_at(&mut reader, args, file) {
            Ok((seen, image)) => {
                if args.json {
                    serde_json::to_writer(&mut out, &seen)?;
                    writeln!(out)?;
                } else {
                    write!(out, "{}", text(&seen))?;
                }
                sheet.push(image);
            }
            Err(error) => {
                code = ExitCode::FAILURE;
                let (image, error) = (shown(file), told(&error));
                if args.json {
                    serde_json::to_writer(&mut out, &Failed { image, error })?;
                    writeln!(out)?;
                } else {
                    eprintln!("edge-agent: {image}: {error}");
                }
            }
        }
        out.flush()?;
        progress.step_beside_lines();
    }
    if let Some(path) = args.sheet.as_ref().filter(|_| !sheet.is_empty()) {
        let cannot = || format!("cannot write {}", path.display());
        let to = BufWriter::new(File::create(path).with_context(cannot)?);
        write_png(&side_by_side(&sheet), to).with_context(cannot)?;
    }
    Ok(code)
}

impl Gallery {
    /// Enrols everybody in the gallery folder and solves the threshold for them.
    fn enrol(models: &Models, reader: &mut FaceReader, args: &Args) -> anyhow::Result<Self> {
        let cannot = || format!("cannot read the gallery {}", args.gallery.display());
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(&args.gallery).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        folders.sort();
        ensure!(!folders.is_empty(), "the gallery {} has no folder with portraits", args.gallery.display());
        let mut index = Index::new(models.embedder()?.length())?;
        let mut names = BTreeMap::new();
        let progress = Progress::new("enrolling people", folders.len());
        for (folder, number) in folders.iter().zip(1u128..) {
            let person = PersonId::from_bytes(number.to_be_bytes());
            index.insert(person, &templates(reader, args, folder)?)?;
            names.insert(person, folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
            progress.step();
        }
        drop(progress);
        let each = index.template_count() / names.len();
        let calibration = Calibration::new(&models.embedding()?.scores, each)?;
        let threshold = calibration.threshold(args.fpir, names.len(), &site_scores(&index))?;
        Ok(Self { names, index, threshold })
    }

    fn look_at(&self, reader: &mut FaceReader, args: &Args, file: &Path) -> anyhow::Result<(Seen, RgbImage)> {
        let mut image = read_picture(file)?;
        let mut faces = Vec::new();
        let found = reader.detect(&image, args.min_face, &mut |_| {})?;
        let mut marks = Vec::new();
        for face in &found {
            let Some((aligned, _)) = reader.look(&image, face) else { continue };
            let probe = reader.embed(&aligned)?;
            let Some(best) = self.index.best_match(&probe)? else { continue };
            let seen = self.decide(&best, face.bounds);
            marks.push((face, seen.person.clone()));
            faces.push(seen);
        }
        for (face, person) in marks {
            match person {
                Some(name) => draw_face(&mut image, face, TEAL, &name),
                None => draw_face(&mut image, face, GREY, "not known"),
            }
        }
        Ok((Seen { image: shown(file), threshold: self.threshold.score, faces }, image))
    }

    fn decide(&self, best: &Match, bounds: rollcall_vision::Rect) -> SeenFace {
        let known = f64::from(best.best.score) >= self.threshold.score;
        SeenFace {
            bounds: [bounds.x0, bounds.y0, bounds.x1, bounds.y1],
            person: self.names.get(&best.best.person).filter(|_| known).cloned(),
            score: best.best.score,
            margin: best.margin(),
        }
    }
}

/// One template of each portrait in `folder`, of the face that it is meant to show.
fn templates(reader: &mut FaceReader, args: &Args, folder: &Path) -> anyhow::Result<Vec<Embedding>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut files = std::fs::read_dir(folder)
        .with_context(cannot)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(cannot)?;
    files.sort_by_key(|f| f.path());
    let mut templates = Vec::new();
    for path in files.iter().map(|f| f.path()) {
        let image = read_picture(&path).with_context(|| format!("cannot enrol {}", path.display()))?;
        let faces = reader.detect(&image, args.min_face, &mut |_| {})?;
        let meant = face_meant(&faces, image.width(), image.height());
        let Some((aligned, _)) = meant.and_then(|face| reader.look(&image, face)) else {
            bail!("there is no face in {}; put another portrait there", path.display());
        };
        templates.push(reader.embed(&aligned)?);
    }
    ensure!(!templates.is_empty(), "{} holds no portrait", folder.display());
    Ok(templates)
}

/// What the enrolled score with each other.
pub fn site_scores(index: &Index) -> SiteScores {
    let mut site = SiteScores::new(index.len());
    index.for_each_cross_score(|place, _, scores| site.add(place, scores));
    site
}

fn text(seen: &Seen) -> String {
    let mut text = String::new();
    for face in &seen.faces {
        let who = face.person.as_deref().unwrap_or("not known");
        text += &format!("{}: {who} (score {:.3}", seen.image, face.score);
        text += &face.margin.map_or(")\n".into(), |m| format!(", ahead of the next by {m:.3})\n"));
    }
    if seen.faces.is_empty() {
        text = format!("{}: no face\n", seen.image);
    }
    text
}
