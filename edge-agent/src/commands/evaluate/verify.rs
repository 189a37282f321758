//! 1:1: accuracy by folds, and the true acceptance rate at stated false acceptance rates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::ensure;
use rollcall_vision::Models;
use serde::Serialize;

use super::faces::Faces;
use super::rates::{Rate, score_exceeded_by};
use super::sets::{self, Pair, Same};
use super::{Verify, print};

const FALSE_ACCEPTANCE: [f64; 2] = [0.01, 0.001];

#[derive(Serialize)]
struct Report {
    subset: String,
    pairs: usize,
    /// Pairs with a picture in which no face was found.
    left_out: usize,
    no_face: Vec<String>,
    /// Each fold judged with the threshold that is best for the others.
    accuracy: Rate,
    /// Standard deviation over the folds.
    accuracy_sd: f64,
    tar_at_far: BTreeMap<String, AtFar>,
    genuine_mean: f64,
    impostor_mean: f64,
}

#[derive(Serialize)]
struct AtFar {
    /// Accepted above it.
    threshold: f32,
    tar: Rate,
}

#[derive(Clone, Copy)]
struct Scored {
    fold: u32,
    same: bool,
    score: f32,
}

pub fn run(models: &Path, args: &Verify) -> anyhow::Result<()> {
    let models = Models::open(models)?;
    let pairs: Vec<Pair> = sets::read(&args.common.root, "pairs.csv")?;
    for subset in sets::subsets(&pairs, |p| &p.subset, args.subset.as_deref())? {
        let pairs: Vec<&Pair> = pairs.iter().filter(|p| p.subset == subset).collect();
        let images = pairs.iter().flat_map(|p| [p.image1.as_str(), p.image2.as_str()]);
        let faces = Faces::read(&models, &args.common, images)?;
        let report = report(subset, &pairs, faces)?;
        print(&args.common, &report, &text(&report))?;
    }
    Ok(())
}

fn report(subset: String, pairs: &[&Pair], faces: Faces) -> anyhow::Result<Report> {
    let score = |pair: &&Pair| {
        let score = faces.of(&pair.image1)?.cosine(faces.of(&pair.image2)?);
        Some(Scored { fold: pair.fold, same: pair.same == Same::Yes, score })
    };
    let scored: Vec<Scored> = pairs.iter().filter_map(score).collect();
    let folds: BTreeSet<u32> = scored.iter().map(|s| s.fold).collect();
    ensure!(folds.len() >= 2, "the subset {subset} has fewer than two folds with faces");
    let right = |threshold: f32, s: &&Scored| (s.score > threshold) == s.same;
    let mut correct = 0;
    let mut accuracies = Vec::new();
    for fold in folds {
        let (held, others): (Vec<Scored>, Vec<Scored>) = scored.iter().partition(|s| s.fold == fold);
        let threshold = best_threshold(&others);
        let count = held.iter().filter(|s| right(threshold, s)).count();
        correct += count;
        accuracies.push(count as f64 / held.len() as f64);
    }
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    let variance = accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / accuracies.len() as f64;
    let of = |same: bool| {
        let mut scores: Vec<f32> = scored.iter().filter(|s| s.same == same).map(|s| s.score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        scores
    };
    let (genuine, impostor) = (of(true), of(false));
    let tar_at_far = FALSE_ACCEPTANCE.map(|far| {
        let threshold = score_exceeded_by(&impostor, far);
        let accepted = genuine.iter().filter(|s| **s > threshold).count();
        (far.to_string(), AtFar { threshold, tar: Rate::new(accepted, genuine.len()) })
    });
    let average =
        |scores: &[f32]| scores.iter().copied().map(f64::from).sum::<f64>() / scores.len().max(1) as f64;
    Ok(Report {
        subset,
        pairs: scored.len(),
        left_out: pairs.len() - scored.len(),
        accuracy: Rate::new(correct, scored.len()),
        accuracy_sd: variance.sqrt(),
        tar_at_far: tar_at_far.into(),
        genuine_mean: average(&genuine),
        impostor_mean: average(&impostor),
        no_face: faces.no_face,
    })
}

/// The threshold with the most right answers, accepting above it; the lowest of equals.
fn best_threshold(scored: &[Scored]) -> f32 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.score.total_cmp(&b.score));
    let mut right = sorted.iter().filter(|s| s.same).count();
    let (mut best, mut threshold) = (right, -1.0);
    for s in &sorted {
        if s.same {
            right -= 1
        } else {
            right += 1
        }
        if right > best {
            (best, threshold) = (right, s.score);
        }
    }
    threshold
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{}: {} pairs ({} left out: no face found)\n  accuracy        {}, sd over folds {:.2} points\n",
        report.subset,
        report.pairs,
        report.left_out,
        report.accuracy,
        100.0 * report.accuracy_sd
    );
    for (far, at) in &report.tar_at_far {
        text += &format!("  TAR at FAR {far:<5}{}, above {:.4}\n", at.tar, at.threshold);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_threshold_parts_the_same_from_the_different() {
        let best = |scored: &[(bool, f32)]| {
            let scored = scored.iter().map(|&(same, score)| Scored { fold: 1, same, score });
            best_threshold(&scored.collect::<Vec<_>>())
        };
        assert_eq!(best(&[(true, 0.8), (true, 0.5), (false, 0.4), (false, 0.1)]), 0.4);
        // Above 0.1 four answers are right, and above 0.4 too.
        assert_eq!(best(&[(true, 0.8), (true, 0.5), (false, 0.4), (false, 0.1), (true, 0.2)]), 0.1);
    }
}
