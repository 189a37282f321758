//! The scores of a population, in the form in which the manifest keeps them.

use std::io::Write;
use std::path::Path;

use anyhow::ensure;
use rollcall_vision::{Models, ScoreDistribution, Scores as Distribution};

use super::faces::Faces;
use super::identify::Searches;
use super::sets::{self, Sample};
use super::{Scores, print};

/// Shares of the tail that are kept, as far as at least [`LEAST`] scores lie beyond.
const SHARES: [f64; 13] = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5];
const LEAST: f64 = 5.0;

pub fn run(models: &Path, args: &Scores) -> anyhow::Result<()> {
    let models = Models::open(models)?;
    let samples: Vec<Sample> = sets::read(&args.common.root, "identification.csv")?;
    sets::subsets(&samples, |s| &s.subset, Some(&args.subset))?;
    let samples: Vec<&Sample> = samples.iter().filter(|s| s.subset == args.subset).collect();
    let faces = Faces::read(&models, &args.common, samples.iter().map(|s| s.image.as_str()))?;
    let searches = Searches::run(&models, &samples, &faces, args.enrol)?;
    let genuine: Vec<f32> = searches.probes.iter().map(|p| p.0).filter(|s| *s > -1.0).collect();
    ensure!(genuine.len() >= 10 && searches.impostors.len() >= 100, "too few pictures of {}", args.subset);
    let distribution = ScoreDistribution {
        population: args.subset.clone(),
        measured: format!(
            "edge-agent evaluate scores --subset {} --enrol {}: {} people enrolled, {} probes, {} strangers",
            args.subset,
            args.enrol,
            searches.index.len(),
            searches.probes.len(),
            searches.strangers.len()
        ),
        templates: args.enrol as usize,
        impostor: distribution(searches.impostors, Side::High),
        genuine: distribution(genuine, Side::Low),
    };
    print(&args.common, &distribution, &toml(&distribution))?;
    Ok(std::io::stdout().flush()?)
}

/// Which end of the scores is told in detail.
#[derive(PartialEq)]
enum Side {
    High,
    Low,
}

fn distribution(mut scores: Vec<f32>, side: Side) -> Distribution {
    scores.sort_by(|a, b| if side == Side::High { b.total_cmp(a) } else { a.total_cmp(b) });
    let n = scores.len() as f64;
    let mean = scores.iter().copied().map(f64::from).sum::<f64>() / n;
    let variance = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>() / n;
    let shares = SHARES.iter().filter(|share| **share * n >= LEAST);
    let round = |v: f64| (v * 1e4).round() / 1e4;
    let tail = shares.map(|&share| (share, round(scores[(share * n) as usize].into())));
    Distribution {
        count: scores.len() as u64,
        mean: round(mean),
        deviation: round(variance.sqrt()),
        tail: tail.collect(),
    }
}

fn toml(d: &ScoreDistribution) -> String {
    let scores = |s: &Distribution| {
        let tail: Vec<String> =
            s.tail.iter().map(|(share, score)| format!("[{share:?}, {score:?}]")).collect();
        let (count, mean, deviation) = (s.count, s.mean, s.deviation);
        format!("count = {count}\nmean = {mean:?}\ndeviation = {deviation:?}\ntail = [{}]", tail.join(", "))
    };
    format!(
        "[[network.scores]]\npopulation = {:?}\nmeasured = {:?}\ntemplates = {}\n\n[network.scores.impostor]\n{}\n\n\
         [network.scores.genuine]\n{}\n",
        d.population,
        d.measured,
        d.templates,
        scores(&d.impostor),
        scores(&d.genuine)
    )
}
