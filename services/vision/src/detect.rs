//! MTCNN: faces and their five landmarks by a cascade of three networks.
//!
//! Zhang et al., "Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks", IEEE Signal
//! Processing Letters 2016. The details that the paper leaves open (rounding, overlap rules, resampling) follow
//! facenet-pytorch 2.6.0, so that boxes and landmarks agree with it to a fraction of a pixel:
//! `tests/accuracy.sh` measures that.

use rollcall_core::limits;

use crate::geometry::{Face, Landmarks, Rect};
use crate::image::RgbImage;
use crate::net::{Network, NetworkError};
use crate::resample::{Resampler, Window};

/// A cell of the first network sees 12 x 12 pixels and they lie 2 apart.
const CELL: usize = 12;
const STRIDE: usize = 2;

/// Each level of the pyramid is this much smaller than the last, about the square root of a half.
const PYRAMID_FACTOR: f64 = 0.709;

/// Probabilities from which the three stages pass a candidate on.
const PROPOSE_MIN: f32 = 0.6;
const REFINE_MIN: f32 = 0.7;
const OUTPUT_MIN: f32 = 0.7;

/// Overlaps from which the better of two candidates stays: in one level, between levels and after refining, at the
/// end (there of the smaller box).
const OVERLAP_LEVEL: f32 = 0.5;
const OVERLAP: f32 = 0.7;

/// Overlap from which a followed face counts as being where it was expected.
const PLACE_IOU_MIN: f32 = 0.85;

/// Pixels of a pyramid level that are run at once: what the activations of the first network need then stays in the
/// second-level cache, and its memory does not grow with the picture.
const BAND_PIXELS: usize = 1 << 16;

/// Candidates that go through a later stage at once.
const BATCH: usize = 64;

/// What the detector is doing, for whoever measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Shrinking the picture and proposing candidates (P-Net).
    Propose,
    /// Cutting candidates out and refining them (R-Net).
    Refine,
    /// Cutting candidates out and finding landmarks (O-Net).
    Output,
}

/// The cascade and its buffers: one for each thread that detects.
#[derive(Debug)]
pub struct Detector {
    propose: Network,
    refine: Network,
    output: Network,
    resampler: Resampler,
    input: Vec<f32>,
}

/// A box that may hold a face, with what else the stage said of it.
#[derive(Clone, Copy, Debug)]
struct Candidate<T> {
    bounds: Rect,
    score: f32,
    rest: T,
}

/// Offsets of the four sides in units of the box.
type Offsets = [f32; 4];

impl Detector {
    /// Takes the three networks: outputs `prob` (2), `reg` (4) and, of the last, `landmark` (10).
    pub fn new(propose: Network, refine: Network, output: Network) -> Self {
        Self { propose, refine, output, resampler: Resampler::default(), input: Vec::new() }
    }

    /// Finds the faces of at least `face_min_px` pixels (not less than 12) in `image`, by falling area, at most
    /// [`limits::FACES_PER_PICTURE`]. `observe` is told when each stage begins.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when a network is not the one that its role asks for.
    pub fn detect(
        &mut self,
        image: &RgbImage,
        face_min_px: u32,
        observe: &mut dyn FnMut(Stage),
    ) -> Result<Vec<Face>, NetworkError> {
        observe(Stage::Propose);
        let candidates = self.propose(image, face_min_px)?;
        observe(Stage::Refine);
        let candidates = self.refine(image, candidates)?;
        observe(Stage::Output);
        let mut faces = self.output(image, candidates)?;
        faces.sort_by(|a, b| b.bounds.area().total_cmp(&a.bounds.area()));
        faces.truncate(limits::FACES_PER_PICTURE);
        Ok(faces)
    }

    /// Looks for a face at each of these places and nowhere else, by the last stage alone: the way to follow faces from
    /// frame to frame. A place is about the bounds that the face had, or is expected to have; it may be off by a tenth
    /// of its size. One result for each place. Two places near one face give that face twice.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when a network is not the one that its role asks for.
    pub fn follow(&mut self, image: &RgbImage, places: &[Rect]) -> Result<Vec<Option<Face>>, NetworkError> {
        let mut faces = vec![None; places.len()];
        for (place, face) in places.iter().zip(&mut faces) {
            *face = self.face_at(image, place)?;
            // Far from where it was expected: seen askew. Once more, from where it is.
            if let Some(found) = face.filter(|found| found.bounds.iou(place) < PLACE_IOU_MIN) {
                *face = self.face_at(image, &found.bounds)?;
            }
        }
        Ok(faces)
    }

    fn face_at(&mut self, image: &RgbImage, place: &Rect) -> Result<Option<Face>, NetworkError> {
        let seen = self.last_stage(image, &[place.squared()])?;
        Ok(seen.first().map(|c| Face { bounds: c.bounds, score: c.score, landmarks: c.rest }))
    }

    /// Stage 1: every cell of every level of the pyramid.
    fn propose(&mut self, image: &RgbImage, face_min_px: u32) -> Result<Vec<Rect>, NetworkError> {
        let mut scale = CELL as f64 / f64::from(face_min_px.max(CELL as u32));
        let mut side = image.width().min(image.height()) as f64 * scale;
        let mut all = Vec::new();
        while side >= CELL as f64 {
            let mut level = self.propose_level(image, scale)?;
            keep_best(&mut level);
            all.append(&mut suppress(level, OVERLAP_LEVEL, union));
            scale *= PYRAMID_FACTOR;
            side *= PYRAMID_FACTOR;
        }
        keep_best(&mut all);
        let kept = suppress(all, OVERLAP, union);
        Ok(kept.iter().map(|c| shift(&c.bounds, c.rest, 0.0).squared()).collect())
    }

    /// One level, in bands of rows. Cell row `r` sees the level's rows from `2 r` to `2 r + 12`.
    fn propose_level(
        &mut self,
        image: &RgbImage,
        scale: f64,
    ) -> Result<Vec<Candidate<Offsets>>, NetworkError> {
        let size = |side: usize| (side as f64 * scale + 1.0) as usize;
        let (width, height) = (size(image.width()), size(image.height()));
        let whole = Window { x: 0, y: 0, width: image.width(), height: image.height() };
        let cell_rows = (height - 1) / STRIDE - 4;
        let band = (BAND_PIXELS / width / STRIDE).max(2 * CELL);
        let mut found = Vec::new();
        for first in (0..cell_rows).step_by(band) {
            let end = if first + band < cell_rows { STRIDE * (first + band) + CELL - STRIDE } else { height };
            let rows = STRIDE * first..end;
            self.input.clear();
            self.resampler.rows(image, whole, (width, height), rows.clone(), &mut self.input);
            self.propose.run(1, rows.len(), width, &self.input)?;
            let (prob, offsets) = (self.propose.output("prob", 2)?, self.propose.output("reg", 4)?);
            for cell in 0..prob.rows() * prob.columns() {
                let score = prob.cell(cell)[1];
                if score >= PROPOSE_MIN {
                    let (row, column) = (first + cell / prob.columns(), cell % prob.columns());
                    let bounds = cell_bounds(row, column, scale as f32);
                    found.push(Candidate { bounds, score, rest: four(offsets.cell(cell)) });
                }
            }
        }
        Ok(found)
    }

    /// Stage 2: a closer look at each proposal, 24 x 24 pixels.
    fn refine(&mut self, image: &RgbImage, boxes: Vec<Rect>) -> Result<Vec<Rect>, NetworkError> {
        let mut passed = Vec::new();
        for boxes in boxes_inside(&boxes, image).chunks(BATCH) {
            self.fill(image, boxes, 24);
            self.refine.run(boxes.len(), 24, 24, &self.input)?;
            let (prob, offsets) = (self.refine.output("prob", 2)?, self.refine.output("reg", 4)?);
            passed.extend(boxes.iter().enumerate().filter_map(|(i, &(bounds, _))| {
                let score = prob.cell(i)[1];
                (score > REFINE_MIN).then(|| Candidate { bounds, score, rest: four(offsets.cell(i)) })
            }));
        }
        let kept = suppress(passed, OVERLAP, union);
        Ok(kept.iter().map(|c| shift(&c.bounds, c.rest, 1.0).squared()).collect())
    }

    /// Stage 3: the last word.
    fn output(&mut self, image: &RgbImage, boxes: Vec<Rect>) -> Result<Vec<Face>, NetworkError> {
        let kept = suppress(self.last_stage(image, &boxes)?, OVERLAP, smaller);
        Ok(kept.iter().map(|c| Face { bounds: c.bounds, score: c.score, landmarks: c.rest }).collect())
    }

    /// The boxes that hold a face, moved onto it, with its landmarks: 48 x 48 pixels.
    fn last_stage(
        &mut self,
        image: &RgbImage,
        boxes: &[Rect],
    ) -> Result<Vec<Candidate<Landmarks>>, NetworkError> {
        let mut passed = Vec::new();
        for boxes in boxes_inside(boxes, image).chunks(BATCH) {
            self.fill(image, boxes, 48);
            self.output.run(boxes.len(), 48, 48, &self.input)?;
            let (prob, offsets) = (self.output.output("prob", 2)?, self.output.output("reg", 4)?);
            let points = self.output.output("landmark", 10)?;
            for (i, &(bounds, _)) in boxes.iter().enumerate() {
                let score = prob.cell(i)[1];
                if score > OUTPUT_MIN {
                    let rest = place(&bounds, points.cell(i));
                    let bounds = shift(&bounds, four(offsets.cell(i)), 1.0);
                    passed.push(Candidate { bounds, score, rest });
                }
            }
        }
        Ok(passed)
    }

    /// Cuts the windows out and brings them to `side` x `side`.
    fn fill(&mut self, image: &RgbImage, boxes: &[(Rect, Window)], side: usize) {
        self.input.clear();
        for &(_, window) in boxes {
            self.resampler.rows(image, window, (side, side), 0..side, &mut self.input);
        }
    }
}

/// The part of the picture that a cell of a level sees.
fn cell_bounds(row: usize, column: usize, scale: f32) -> Rect {
    let from = |at: usize| ((STRIDE * at + 1) as f32 / scale).floor();
    let to = |at: usize| ((STRIDE * at + CELL) as f32 / scale).floor();
    Rect { x0: from(column), y0: from(row), x1: to(column), y1: to(row) }
}

/// Moves the sides by `offsets`, in units of the box, whose sides count `extra` pixels more.
fn shift(bounds: &Rect, offsets: Offsets, extra: f32) -> Rect {
    let (w, h) = (bounds.width() + extra, bounds.height() + extra);
    let [x0, y0, x1, y1] = offsets;
    Rect { x0: bounds.x0 + x0 * w, y0: bounds.y0 + y0 * h, x1: bounds.x1 + x1 * w, y1: bounds.y1 + y1 * h }
}

/// Landmarks from units of the box: five x, then five y.
fn place(bounds: &Rect, units: &[f32]) -> Landmarks {
    let (w, h) = (bounds.width() + 1.0, bounds.height() + 1.0);
    let point = |i: usize| [w * units[i] + bounds.x0 - 1.0, h * units[5 + i] + bounds.y0 - 1.0];
    Landmarks { points: std::array::from_fn(point) }
}

fn four(values: &[f32]) -> Offsets {
    std::array::from_fn(|i| values[i])
}

/// The boxes that share pixels with the picture, each with the window to cut out.
fn boxes_inside(boxes: &[Rect], image: &RgbImage) -> Vec<(Rect, Window)> {
    let inside = boxes.iter().filter_map(|bounds| {
        // From the pixel before the truncated corner (the reference counts from 1), not beyond the picture.
        let from = |v: f32| (v.trunc().max(1.0) - 1.0) as usize;
        let to = |v: f32, size: usize| (v.trunc().max(0.0) as usize).min(size);
        let (x, y) = (from(bounds.x0), from(bounds.y0));
        let (x1, y1) = (to(bounds.x1, image.width()), to(bounds.y1, image.height()));
        (x1 > x && y1 > y).then(|| (*bounds, Window { x, y, width: x1 - x, height: y1 - y }))
    });
    inside.collect()
}

/// Drops the weakest candidates beyond [`limits::CANDIDATES_PER_STAGE`].
fn keep_best<T>(candidates: &mut Vec<Candidate<T>>) {
    if candidates.len() > limits::CANDIDATES_PER_STAGE {
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        candidates.truncate(limits::CANDIDATES_PER_STAGE);
    }
}

/// Non-maximum suppression: of two candidates that overlap by more than `limit` the better one stays, of two equal
/// ones the first.
fn suppress<T>(
    mut candidates: Vec<Candidate<T>>,
    limit: f32,
    overlap: fn(&Rect, &Rect) -> f32,
) -> Vec<Candidate<T>> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Candidate<T>> = Vec::new();
    for candidate in candidates {
        if kept.iter().all(|k| overlap(&k.bounds, &candidate.bounds) <= limit) {
            kept.push(candidate);
        }
    }
    kept
}

fn union(a: &Rect, b: &Rect) -> f32 {
    a.iou(b)
}

/// The shared part of the smaller box, sides counted in whole pixels.
fn smaller(a: &Rect, b: &Rect) -> f32 {
    let area = |r: &Rect| (r.width() + 1.0) * (r.height() + 1.0);
    let width = (a.x1.min(b.x1) - a.x0.max(b.x0) + 1.0).max(0.0);
    let height = (a.y1.min(b.y1) - a.y0.max(b.y0) + 1.0).max(0.0);
    width * height / area(a).min(area(b))
}
