//! Recall by the height of the face, and the error of the landmarks.

use std::collections::BTreeMap;
use std::path::Path;

use rollcall_vision::{Face, Landmarks, Models, Rect};
use serde::Serialize;

use super::faces::detect_all;
use super::rates::Rate;
use super::sets::{self, LabelledBox, LabelledLandmarks};
use super::{Detect, print};

/// Labelled and found boxes are the same face from this overlap, or when the found one's centre lies in the
/// labelled one: people draw boxes in different ways.
const OVERLAP_MIN: f32 = 0.35;

/// Upper ends of the classes of face height, in pixels.
const HEIGHTS: [f32; 5] = [20.0, 40.0, 60.0, 100.0, f32::INFINITY];

/// Landmark errors from which a point is in the wrong place, in inter-ocular distances.
const LARGE_ERROR: f64 = 0.1;

#[derive(Serialize)]
struct Report {
    images: usize,
    /// By label, then by height.
    recall: BTreeMap<String, BTreeMap<String, Rate>>,
    /// By list and split.
    landmarks: BTreeMap<String, LandmarkError>,
}

#[derive(Serialize)]
struct LandmarkError {
    faces: usize,
    found: Rate,
    /// Mean distance of the five points over the inter-ocular distance: mean, median and 90th percentile over faces.
    mean: f64,
    median: f64,
    p90: f64,
    /// Faces whose mean error is above a tenth.
    large: Rate,
}

pub fn run(models: &Path, args: &Detect) -> anyhow::Result<()> {
    let models = Models::open(models)?;
    let boxes: Vec<LabelledBox> = sets::read(&args.common.root, "detection/boxes.csv")?;
    let mut images: Vec<&str> = boxes.iter().map(|b| b.image.as_str()).collect();
    images.dedup();
    let found: BTreeMap<&str, Vec<Face>> =
        images.iter().copied().zip(detect_all(&models, &args.common, &images)?).collect();
    let mut counts: BTreeMap<&str, [(usize, usize); HEIGHTS.len()]> = BTreeMap::new();
    for labelled in boxes.iter().filter(|b| b.label != "ignore") {
        let bounds = Rect { x0: labelled.x1, y0: labelled.y1, x1: labelled.x2, y1: labelled.y2 };
        let class = HEIGHTS.iter().position(|top| bounds.height() <= *top).unwrap_or(HEIGHTS.len() - 1);
        let (hits, of) = &mut counts.entry(&labelled.label).or_default()[class];
        *hits += usize::from(matching(&found[labelled.image.as_str()], &bounds).is_some());
        *of += 1;
    }
    let recall = counts.into_iter().map(|(label, classes)| (label.to_owned(), by_height(&classes))).collect();
    let mut landmarks = BTreeMap::new();
    for list in ["lfw_landmarks", "dlib_landmarks"] {
        let lines: Vec<LabelledLandmarks> = sets::read(&args.common.root, &format!("detection/{list}.csv"))?;
        let mut splits: BTreeMap<String, Vec<&LabelledLandmarks>> = BTreeMap::new();
        for line in &lines {
            let name = format!("{list} {}", line.source_split);
            splits.entry(name.trim_end().to_owned()).or_default().push(line);
        }
        for (name, lines) in splits {
            landmarks.insert(name, landmark_error(&models, args, &lines)?);
        }
    }
    let report = Report { images: images.len(), recall, landmarks };
    print(&args.common, &report, &text(&report))
}

fn by_height(classes: &[(usize, usize); HEIGHTS.len()]) -> BTreeMap<String, Rate> {
    let from = [0.0].into_iter().chain(HEIGHTS);
    let name = |from: f32, to: f32| match to.is_finite() {
        true => format!("{from:03.0} to {to:03.0} px"),
        false => format!("{from:03.0} px and more"),
    };
    let named = from.zip(HEIGHTS).zip(classes).filter(|(_, (_, of))| *of > 0);
    named.map(|((from, to), &(hits, of))| (name(from, to), Rate::new(hits, of))).collect()
}

fn matching<'a>(faces: &'a [Face], bounds: &Rect) -> Option<&'a Face> {
    let matches = |face: &&Face| {
        let b = &face.bounds;
        let (x, y) = ((b.x0 + b.x1) / 2.0, (b.y0 + b.y1) / 2.0);
        let inside = (bounds.x0..=bounds.x1).contains(&x) && (bounds.y0..=bounds.y1).contains(&y);
        inside || b.iou(bounds) >= OVERLAP_MIN
    };
    faces.iter().filter(matches).max_by(|a, b| a.bounds.iou(bounds).total_cmp(&b.bounds.iou(bounds)))
}

fn landmark_error(
    models: &Models,
    args: &Detect,
    lines: &[&LabelledLandmarks],
) -> anyhow::Result<LandmarkError> {
    let images: Vec<&str> = lines.iter().map(|l| l.image.as_str()).collect();
    let faces = detect_all(models, &args.common, &images)?;
    let mut errors: Vec<f64> = Vec::new();
    for (line, faces) in lines.iter().zip(&faces) {
        let bounds = Rect { x0: line.x1, y0: line.y1, x1: line.x2, y1: line.y2 };
        let points = [
            [line.left_eye_x, line.left_eye_y],
            [line.right_eye_x, line.right_eye_y],
            [line.nose_x, line.nose_y],
            [line.left_mouth_x, line.left_mouth_y],
            [line.right_mouth_x, line.right_mouth_y],
        ];
        if let Some(face) = matching(faces, &bounds) {
            errors.push(mean_error(&face.landmarks, &Landmarks { points }));
        }
    }
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| errors.get((share * errors.len() as f64) as usize).copied().unwrap_or(f64::NAN);
    Ok(LandmarkError {
        faces: lines.len(),
        found: Rate::new(errors.len(), lines.len()),
        mean: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        median: at(0.5),
        p90: at(0.9),
        large: Rate::new(errors.iter().filter(|e| **e > LARGE_ERROR).count(), errors.len()),
    })
}

fn mean_error(found: &Landmarks, labelled: &Landmarks) -> f64 {
    let distances = found.points.iter().zip(&labelled.points).map(|(f, l)| (f[0] - l[0]).hypot(f[1] - l[1]));
    f64::from(distances.sum::<f32>() / 5.0 / labelled.inter_ocular_px())
}

fn text(report: &Report) -> String {
    let mut text = format!("{} pictures with labelled boxes\n", report.images);
    for (label, heights) in &report.recall {
        for (height, rate) in heights {
            text += &format!("  recall, {label:<5} {height:<16} {rate}\n");
        }
    }
    text += "landmark error in inter-ocular distances\n";
    for (list, e) in &report.landmarks {
        text += &format!(
            "  {list:<20} found {}, mean {:.4}, median {:.4}, 90 % below {:.4}, above 0.1: {}\n",
            e.found, e.mean, e.median, e.p90, e.large
        );
    }
    text
}
