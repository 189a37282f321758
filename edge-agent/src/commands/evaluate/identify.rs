//! 1:N, open set: is the right person first, how many strangers get in, and does the calibrated threshold keep its
//! word?

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::ensure;
use rollcall_core::PersonId;
use rollcall_gallery::{Candidate, Index};
use rollcall_vision::{Calibration, Embedding, Models, SiteScores, Threshold};
use serde::Serialize;

use super::faces::Faces;
use super::rates::{Rate, most_expected, score_exceeded_by};
use super::sets::{self, Role, Sample};
use super::{Identify, print};
use crate::commands::identify::site_scores;

const FALSE_POSITIVE: [f64; 2] = [0.01, 0.003];
const FIXED_THRESHOLDS: [f32; 3] = [0.4, 0.5, 0.6];

#[derive(Serialize)]
struct Report {
    subset: String,
    /// Pictures enrolled of each person.
    enrol: u32,
    gallery: usize,
    no_face: Vec<String>,
    rank1: Rate,
    /// At the threshold that just this sample's strangers ask for.
    tpir_at_fpir: BTreeMap<String, At>,
    /// At thresholds that know nothing of the site.
    at_threshold: BTreeMap<String, At>,
    calibrated: Calibrated,
    /// What each population would have let in, had the threshold been solved from it alone.
    calibrated_on: BTreeMap<String, At>,
}

#[derive(Serialize)]
struct At {
    threshold: f64,
    tpir: Rate,
    fpir: Rate,
}

#[derive(Serialize)]
struct Calibrated {
    target_fpir: f64,
    #[serde(flatten)]
    at: At,
    solved: Threshold,
    /// What this site's own scores ask for by themselves.
    site_alone: Option<At>,
    /// Strangers that a true rate of the target would let in, in 95 of 100 such samples at most.
    strangers_expected_at_most: usize,
    within: bool,
}

/// The scores of a subset with its gallery.
pub(super) struct Searches {
    pub index: Index,
    /// For each probe, what it scores with the right person, and whether that is the first.
    pub probes: Vec<(f32, bool)>,
    /// For each stranger, the best candidate; None when no face was found.
    pub strangers: Vec<Option<Candidate>>,
    /// Scores of all probes and strangers with everybody that they are not.
    pub impostors: Vec<f32>,
}

pub fn run(models: &Path, args: &Identify) -> anyhow::Result<()> {
    let models = Models::open(models)?;
    let samples: Vec<Sample> = sets::read(&args.common.root, "identification.csv")?;
    for subset in sets::subsets(&samples, |s| &s.subset, args.subset.as_deref())? {
        let samples: Vec<&Sample> = samples.iter().filter(|s| s.subset == subset).collect();
        let most = samples.iter().filter_map(|s| s.enrol_index).max().unwrap_or(1);
        let enrol = args.enrol.unwrap_or(most).min(most);
        let faces = Faces::read(&models, &args.common, samples.iter().map(|s| s.image.as_str()))?;
        let searches = Searches::run(&models, &samples, &faces, enrol)?;
        let calibration = Calibration::new(&models.embedding()?.scores, enrol as usize)?;
        let report = report(subset, enrol, searches, faces, &calibration, args.fpir)?;
        print(&args.common, &report, &text(&report))?;
    }
    Ok(())
}

impl Searches {
    /// Enrols the first `enrol` pictures of everybody in the gallery and searches for everybody else.
    pub fn run(models: &Models, samples: &[&Sample], faces: &Faces, enrol: u32) -> anyhow::Result<Self> {
        let mut people: BTreeMap<&str, Vec<Embedding>> = BTreeMap::new();
        for sample in
            samples.iter().filter(|s| s.role == Role::Gallery && s.enrol_index.is_some_and(|i| i <= enrol))
        {
            let templates = people.entry(&sample.person).or_default();
            templates.extend(faces.of(&sample.image).cloned());
        }
        people.retain(|_, templates| !templates.is_empty());
        ensure!(!people.is_empty(), "nobody could be enrolled");
        let ids: BTreeMap<&str, PersonId> = people
            .keys()
            .zip(1u128..)
            .map(|(name, id)| (*name, PersonId::from_bytes(id.to_be_bytes())))
            .collect();
        let mut index = Index::new(models.embedder()?.length())?;
        for (name, templates) in &people {
            index.insert(ids[name], templates)?;
        }
        let mut searches = Self { index, probes: Vec::new(), strangers: Vec::new(), impostors: Vec::new() };
        for sample in samples {
            let own = ids.get(sample.person.as_str());
            let found = match faces.of(&sample.image) {
                Some(probe) => searches.index.search(probe, people.len())?,
                None => Vec::new(),
            };
            match (sample.role, own) {
                (Role::Probe, Some(own)) => {
                    let score = found.iter().find(|c| c.person == *own).map_or(-1.0, |c| c.score);
                    searches.probes.push((score, found.first().is_some_and(|c| c.person == *own)));
                }
                (Role::Probe, None) => searches.probes.push((-1.0, false)),
                (Role::Unknown, _) => searches.strangers.push(found.first().copied()),
                (Role::Gallery, _) => continue,
            }
            searches.impostors.extend(found.iter().filter(|c| Some(&c.person) != own).map(|c| c.score));
        }
        Ok(searches)
    }

    /// The rates when `accept` decides.
    fn rates(&self, threshold: f64, accept: impl Fn(f32) -> bool) -> At {
        let right = self.probes.iter().filter(|(score, first)| *first && accept(*score)).count();
        let wrong = self.strangers.iter().flatten().filter(|c| accept(c.score)).count();
        At {
            threshold,
            tpir: Rate::new(right, self.probes.len()),
            fpir: Rate::new(wrong, self.strangers.len()),
        }
    }

    fn from(&self, threshold: f64) -> At {
        self.rates(threshold, |score| f64::from(score) >= threshold)
    }
}

fn report(
    subset: String,
    enrol: u32,
    searches: Searches,
    faces: Faces,
    calibration: &Calibration,
    target_fpir: f64,
) -> anyhow::Result<Report> {
    let gallery = searches.index.len();
    let mut best: Vec<f32> = searches.strangers.iter().map(|c| c.map_or(-1.0, |c| c.score)).collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let tpir_at_fpir = FALSE_POSITIVE.map(|fpir| {
        let threshold = score_exceeded_by(&best, fpir);
        (fpir.to_string(), searches.rates(threshold.into(), |score| score > threshold))
    });
    let at_threshold =
        FIXED_THRESHOLDS.map(|t| (t.to_string(), searches.rates(t.into(), |score| score >= t)));
    let solved = calibration.threshold(target_fpir, gallery, &site_scores(&searches.index))?;
    let mut calibrated_on = BTreeMap::new();
    for (name, only) in calibration.populations().filter_map(|name| Some((name, calibration.only(name)?))) {
        let threshold = only.threshold(target_fpir, gallery, &SiteScores::new(0))?.score;
        calibrated_on.insert(name.to_owned(), searches.from(threshold));
    }
    let at = searches.from(solved.score);
    let strangers_expected_at_most = most_expected(target_fpir, searches.strangers.len());
    let calibrated = Calibrated {
        target_fpir,
        within: at.fpir.count <= strangers_expected_at_most,
        at,
        solved,
        site_alone: solved.site_asks.map(|t| searches.from(t)),
        strangers_expected_at_most,
    };
    let first = searches.probes.iter().filter(|(_, first)| *first).count();
    Ok(Report {
        subset,
        enrol,
        gallery,
        rank1: Rate::new(first, searches.probes.len()),
        tpir_at_fpir: tpir_at_fpir.into(),
        at_threshold: at_threshold.into(),
        calibrated,
        calibrated_on,
        no_face: faces.no_face,
    })
}

fn text(report: &Report) -> String {
    let Report { subset, enrol, gallery, rank1, .. } = report;
    let mut text =
        format!("{subset}: {gallery} people enrolled with {enrol} pictures each\n  rank-1 {rank1}\n");
    text += &format!("  {:<34}{:>9}  {:<44}{}\n", "threshold", "", "right person named", "strangers let in");
    let mut row = |name: &str, at: &At| {
        text += &format!("  {name:<34}{:>9.4}  {:<44}{}\n", at.threshold, at.tpir.to_string(), at.fpir);
    };
    for (fpir, at) in &report.tpir_at_fpir {
        row(&format!("hindsight: this sample's FPIR {fpir}"), at);
    }
    for (threshold, at) in &report.at_threshold {
        row(&format!("fixed {threshold}"), at);
    }
    let calibrated = &report.calibrated;
    row(&format!("calibrated for FPIR {}", calibrated.target_fpir), &calibrated.at);
    if let Some(at) = &calibrated.site_alone {
        row("  from the site's scores alone", at);
    }
    for (population, at) in &report.calibrated_on {
        row(&format!("  from {population} alone"), at);
    }
    let (let_in, most) = (calibrated.at.fpir.count, calibrated.strangers_expected_at_most);
    let error = calibrated.solved.standard_error.map_or("unknown".into(), |e| format!("{e:.3}"));
    text += &format!(
        "  the calibrated threshold let in {let_in} strangers; a rate of exactly {} lets in at most {most} (95 %): {}; \
         standard error of the threshold {error}\n",
        calibrated.target_fpir,
        if calibrated.within { "kept" } else { "NOT KEPT" },
    );
    text
}
