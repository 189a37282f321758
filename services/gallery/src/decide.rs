//! The decision: from what a face scored to a name, or to no name. Pure: values in, a decision and its reasons out.
//!
//! A name is given when the best person's score reaches the threshold of this gallery, and the higher one of their own
//! where a mismatch was reported, and leads the runner-up by the margin that the two need. Two people who look alike
//! need more, and more again when one was taken for the other before. Whoever is not named is told by numbers alone: a
//! trace of a stranger holds neither a person nor a template.
//!
//! Raising a threshold or a margin never turns somebody unnamed into somebody named.

use std::sync::Arc;

use rollcall_core::{PersonId, TemplateId};
use rollcall_vision::Quality;

use crate::Candidate;

/// The lead that any two people need. A choice, not measured: a genuine score of LFW has a standard deviation of 0.11
/// (`models/manifest.toml`), so a lead of much less says little.
pub const MARGIN: f32 = 0.05;

/// From this cosine of their references on, two people are look-alikes. Of the scores between two people that
/// `models/manifest.toml` has, one in some 3,000 to 4,000 of LFW reaches it and one in 200 of the East Asian set.
pub const LOOK_ALIKE_SCORE_MIN: f32 = 0.5;

/// How much more two people need whose references are the same, and in proportion those between. More would keep
/// look-alikes out for ever: somebody's own pictures lead a look-alike at 0.8 by some 0.15.
const LOOK_ALIKE_MARGIN: f32 = 0.05;

/// How much more two people need for each report that one was taken for the other.
const REPORTED_MARGIN: f32 = 0.05;

/// Reports of one pair that count: with fewer than these the margin is at [`MARGIN_MAX`].
const REPORTS_COUNTED: usize = 8;

/// No two people need more: with a larger one neither would ever be recognised.
pub const MARGIN_MAX: f32 = 0.2;

/// How far above a wrongly recognised face's score the person's own threshold is put, so that the same face a moment
/// later, in slightly other light, is not taken for them either.
const REPORTED_STEP: f32 = 0.03;

/// The highest threshold that reports lead to: with a higher one somebody would not be recognised by their own
/// pictures.
pub const REPORTED_THRESHOLD_MAX: f32 = 0.95;

/// What was decided of a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This person.
    Recognised(PersonId),
    /// Nobody who is enrolled, as far as can be told.
    Unknown,
    /// Somebody, but it cannot be told which of two.
    Ambiguous,
    /// The face cannot be judged.
    Unusable,
}

/// The rule that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The score reaches the threshold and nothing speaks against it, or it does not.
    Threshold,
    /// The lead over the runner-up is too small.
    Margin,
    /// The lead is too small for two people who look alike.
    LookAlikeMargin,
    /// A reported mismatch asks for more.
    MismatchReported,
    /// The face is not seen well enough.
    Quality,
    /// Nobody is enrolled.
    GalleryEmpty,
}

/// What a face scored in the gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The best person. `None` when nobody is enrolled.
    pub best: Option<Best>,
    /// The second best.
    pub runner_up: Option<RunnerUp>,
    /// How many people it was compared with.
    pub gallery_size: usize,
}

/// The best person and what is known of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Who, and the score.
    pub candidate: Candidate,
    /// Their template that fits best, and its score.
    pub template: (TemplateId, f32),
    /// What they must reach because of reported mismatches.
    pub own_threshold: Option<f32>,
}

/// The second best person beside the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunnerUp {
    /// Who, and the score.
    pub candidate: Candidate,
    /// Cosine of the references of the two.
    pub likeness: f32,
    /// How often one was reported to have been taken for the other.
    pub reports: usize,
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What was decided.
    pub outcome: Outcome,
    /// The two between whom it cannot be told, the better one first. `None` unless it is [`Outcome::Ambiguous`]. For
    /// asking the person in front, never for a log.
    pub between: Option<(PersonId, PersonId)>,
    /// Why.
    pub trace: Trace,
}

/// Why a decision came out as it did. Scores are cosines.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The rule that decided.
    pub rule: Rule,
    /// Score of the best candidate.
    pub score: Option<f32>,
    /// What it had to reach.
    pub threshold: Option<f32>,
    /// Score of the second best person.
    pub runner_up_score: Option<f32>,
    /// What the lead over them had to be.
    pub margin_needed: Option<f32>,
    /// The recognised person's template that fits best, and its score. `None` unless somebody was recognised.
    pub template: Option<(TemplateId, f32)>,
    /// The second best person. `None` unless somebody was recognised.
    pub runner_up: Option<PersonId>,
    /// How well the face was seen; `None` when its landmarks make no face.
    pub quality: Option<Quality>,
    /// People that it was compared with.
    pub gallery_size: usize,
    /// Frames whose evidence was fused.
    pub frames: usize,
    /// The network: name and the first 12 hex digits of its hash.
    pub model: Arc<str>,
}

impl Trace {
    /// The lead over the runner-up.
    pub fn margin(&self) -> Option<f32> {
        Some(self.score? - self.runner_up_score?)
    }
}

/// The lead by which one of two people must lead the other: by how much they look alike, and how often one was taken
/// for the other.
pub fn margin_needed(likeness: f32, reports: usize) -> f32 {
    let alike = ((likeness - LOOK_ALIKE_SCORE_MIN) / (1.0 - LOOK_ALIKE_SCORE_MIN)).clamp(0.0, 1.0);
    (MARGIN + LOOK_ALIKE_MARGIN * alike + margin_of_reports(reports)).min(MARGIN_MAX)
}

/// What so many reports add to a margin, as terminals are told it.
pub(crate) fn margin_of_reports(reports: usize) -> f32 {
    REPORTED_MARGIN * reports.min(REPORTS_COUNTED) as f32
}

/// How many reports ask for this margin; `None` when it is none that reports ask for.
pub(crate) fn reports_of_margin(margin: f32) -> Option<usize> {
    (0..=REPORTS_COUNTED).find(|reports| (margin_of_reports(*reports) - margin).abs() < REPORTED_MARGIN / 2.0)
}

/// The threshold of a person for whom a face with this score was taken wrongly.
pub fn reported_threshold(score: f32) -> f32 {
    (score + REPORTED_STEP).min(REPORTED_THRESHOLD_MAX)
}

/// Decides whose face it is. `threshold` is the gallery's.
pub fn decide(
    comparison: &Comparison,
    threshold: f32,
    quality: Quality,
    frames: usize,
    model: &Arc<str>,
) -> Decision {
    let mut trace = Trace {
        rule: Rule::GalleryEmpty,
        score: None,
        threshold: None,
        runner_up_score: None,
        margin_needed: None,
        template: None,
        runner_up: None,
        quality: Some(quality),
        gallery_size: comparison.gallery_size,
        frames,
        model: Arc::clone(model),
    };
    let Some(best) = comparison.best else {
        return Decision { outcome: Outcome::Unknown, between: None, trace };
    };
    let runner_up = comparison.runner_up;
    let needed = best.own_threshold.map_or(threshold, |own| own.max(threshold));
    trace.score = Some(best.candidate.score);
    trace.threshold = Some(needed);
    trace.runner_up_score = runner_up.map(|runner_up| runner_up.candidate.score);
    trace.margin_needed = runner_up.map(|runner_up| margin_needed(runner_up.likeness, runner_up.reports));
    let (outcome, rule) = judge(&best, runner_up.as_ref(), threshold, needed);
    if let Outcome::Recognised(_) = outcome {
        trace.template = Some(best.template);
        trace.runner_up = runner_up.map(|runner_up| runner_up.candidate.person);
    }
    trace.rule = rule;
    let between = runner_up
        .filter(|_| outcome == Outcome::Ambiguous)
        .map(|runner_up| (best.candidate.person, runner_up.candidate.person));
    Decision { outcome, between, trace }
}

fn judge(best: &Best, runner_up: Option<&RunnerUp>, threshold: f32, needed: f32) -> (Outcome, Rule) {
    if best.candidate.score < threshold {
        return (Outcome::Unknown, Rule::Threshold);
    }
    if best.candidate.score < needed {
        return (Outcome::Unknown, Rule::MismatchReported);
    }
    if let Some(runner_up) = runner_up {
        let margin = best.candidate.score - runner_up.candidate.score;
        if margin < MARGIN {
            return (Outcome::Ambiguous, Rule::Margin);
        }
        if margin < margin_needed(runner_up.likeness, 0) {
            return (Outcome::Ambiguous, Rule::LookAlikeMargin);
        }
        if margin < margin_needed(runner_up.likeness, runner_up.reports) {
            return (Outcome::Ambiguous, Rule::MismatchReported);
        }
    }
    (Outcome::Recognised(best.candidate.person), Rule::Threshold)
}

/// The decision of a face that cannot be judged, of which nothing was compared.
pub fn unusable(quality: Option<Quality>, gallery_size: usize, model: &Arc<str>) -> Decision {
    let trace = Trace {
        rule: Rule::Quality,
        score: None,
        threshold: None,
        runner_up_score: None,
        margin_needed: None,
        template: None,
        runner_up: None,
        quality,
        gallery_size,
        frames: 1,
        model: Arc::clone(model),
    };
    Decision { outcome: Outcome::Unusable, between: None, trace }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUALITY: Quality = Quality {
        inter_ocular_px: 60.0,
        sharpness: 12.0,
        yaw_deg: 0.0,
        roll_deg: 0.0,
        nose_height: 0.5,
        brightness: 120.0,
        contrast: 50.0,
    };

    fn person(n: u8) -> PersonId {
        PersonId::from_bytes([n; 16])
    }

    fn comparison(score: f32, runner_up: Option<(f32, f32, usize)>, own: Option<f32>) -> Comparison {
        let candidate = |n, score| Candidate { person: person(n), score };
        let template = (TemplateId::from_bytes([9; 16]), score);
        Comparison {
            best: Some(Best { candidate: candidate(1, score), template, own_threshold: own }),
            runner_up: runner_up.map(|(score, likeness, reports)| RunnerUp {
                candidate: candidate(2, score),
                likeness,
                reports,
            }),
            gallery_size: 2,
        }
    }

    fn decided(comparison: &Comparison, threshold: f32) -> (Outcome, Rule) {
        let decision = decide(comparison, threshold, QUALITY, 1, &"model".into());
        (decision.outcome, decision.trace.rule)
    }

    #[test]
    fn each_rule_decides_where_it_should() {
        let recognised = Outcome::Recognised(person(1));
        let empty = Comparison { best: None, runner_up: None, gallery_size: 0 };
        let cases = [
            (empty, Outcome::Unknown, Rule::GalleryEmpty),
            (comparison(0.7, None, None), recognised, Rule::Threshold),
            (comparison(0.6, None, None), recognised, Rule::Threshold),
            (comparison(0.599, None, None), Outcome::Unknown, Rule::Threshold),
            (comparison(0.7, Some((0.3, 0.1, 0)), None), recognised, Rule::Threshold),
            (comparison(0.7, Some((0.66, 0.1, 0)), None), Outcome::Ambiguous, Rule::Margin),
            (comparison(0.7, Some((0.64, 0.9, 0)), None), Outcome::Ambiguous, Rule::LookAlikeMargin),
            (comparison(0.7, Some((0.64, 0.1, 0)), None), recognised, Rule::Threshold),
            (comparison(0.7, Some((0.64, 0.1, 1)), None), Outcome::Ambiguous, Rule::MismatchReported),
            (comparison(0.7, None, Some(0.72)), Outcome::Unknown, Rule::MismatchReported),
            (comparison(0.7, None, Some(0.5)), recognised, Rule::Threshold),
            (comparison(0.5, None, Some(0.72)), Outcome::Unknown, Rule::Threshold),
        ];
        for (comparison, outcome, rule) in cases {
            assert_eq!(decided(&comparison, 0.6), (outcome, rule), "{comparison:?}");
        }
    }

    #[test]
    fn a_margin_grows_with_likeness_and_reports_up_to_a_limit() {
        assert_eq!(margin_needed(0.2, 0), MARGIN);
        assert_eq!(margin_needed(LOOK_ALIKE_SCORE_MIN, 0), MARGIN);
        assert!(margin_needed(0.75, 0) > MARGIN && margin_needed(0.75, 0) < margin_needed(1.0, 0));
        assert!(margin_needed(0.2, 1) > margin_needed(0.2, 0));
        assert_eq!(margin_needed(1.0, usize::MAX), MARGIN_MAX);
    }

    prop_compose! {
        fn any_comparison()(
            score in -1.0f32..=1.0,
            behind in prop::option::of(0.0f32..=1.0),
            likeness in -1.0f32..=1.0,
            reports in 0usize..5,
            own in prop::option::of(0.0f32..=REPORTED_THRESHOLD_MAX),
        ) -> Comparison {
            comparison(score, behind.map(|behind| (score - behind, likeness, reports)), own)
        }
    }

    fn is_named(outcome: Outcome) -> bool {
        matches!(outcome, Outcome::Recognised(_))
    }

    proptest! {
        #[test]
        fn raising_a_threshold_never_names_anybody_more(
            comparison in any_comparison(),
            threshold in 0.0f32..=1.0,
            step in 0.0f32..=1.0,
        ) {
            let higher = decided(&comparison, threshold + step).0;
            prop_assert!(!is_named(higher) || decided(&comparison, threshold).0 == higher);
            let mut stricter = comparison;
            if let Some(best) = &mut stricter.best {
                best.own_threshold = Some(best.own_threshold.unwrap_or(0.0) + step);
            }
            prop_assert!(!is_named(decided(&stricter, threshold).0) || is_named(decided(&comparison, threshold).0));
        }

        #[test]
        fn after_a_report_the_same_probe_never_names_that_person_again(
            comparison in any_comparison(),
            threshold in 0.0f32..=1.0,
        ) {
            let mut reported = comparison;
            if let Some(best) = &mut reported.best && best.candidate.score < REPORTED_THRESHOLD_MAX {
                let own = reported_threshold(best.candidate.score);
                best.own_threshold = Some(best.own_threshold.map_or(own, |before| before.max(own)));
                prop_assert!(!is_named(decided(&reported, threshold).0));
            }
        }

        #[test]
        fn one_more_report_of_a_pair_never_names_anybody_more(
            comparison in any_comparison(),
            threshold in 0.0f32..=1.0,
        ) {
            let mut reported = comparison;
            if let Some(runner_up) = &mut reported.runner_up {
                runner_up.reports += 1;
            }
            prop_assert!(!is_named(decided(&reported, threshold).0) || is_named(decided(&comparison, threshold).0));
        }

        #[test]
        fn who_is_not_recognised_is_in_no_trace(comparison in any_comparison(), threshold in 0.0f32..=1.0) {
            let decision = decide(&comparison, threshold, QUALITY, 1, &"model".into());
            let named = is_named(decision.outcome);
            prop_assert_eq!(decision.trace.template.is_some(), named);
            prop_assert_eq!(decision.trace.runner_up.is_some(), named && comparison.runner_up.is_some());
            prop_assert_eq!(decision.between.is_some(), decision.outcome == Outcome::Ambiguous);
        }
    }
}
