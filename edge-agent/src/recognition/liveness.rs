//! Whether somebody who was recognised has to show that they are alive, and why. Pure: one function of what is known.
//!
//! Without a network and without a turned head nobody is called alive: what is not asked is [`Liveness::NotChecked`].

use rollcall_gallery::decide::Trace;

use super::Liveness;
use super::policy::{LivenessConfig, LivenessPolicy};

/// A score so little above what it had to reach is in doubt. A choice: half a standard deviation of genuine scores
/// (`models/manifest.toml`).
const SCORE_CLOSE: f32 = 0.05;

/// The same for the lead over the runner-up.
const LEAD_CLOSE: f32 = 0.03;

/// What is known of somebody who was recognised.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Median of the liveness network's scores; `None` without a network.
    pub network: Option<f32>,
    /// Why they were recognised.
    pub trace: &'a Trace,
    /// Whether an attempt failed at this door, or with this face, not long ago.
    pub failed_lately: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Assessment {
    /// They may pass.
    Pass(Liveness),
    /// They must turn the head.
    Ask,
    /// The network takes them for a picture.
    Fail,
}

/// Why somebody is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The network's score is between `score_min` and `score_sure`.
    NetworkUnsure,
    /// No network, and the score hardly reaches its threshold: a picture of a picture scores lower than a face.
    ScoreClose,
    /// No network, and the lead over the runner-up hardly suffices.
    LeadClose,
    /// An attempt has failed: whoever tries again is looked at more closely.
    FailedLately,
}

/// Whether somebody may pass as they are.
pub fn assess(config: &LivenessConfig, case: &Case) -> Assessment {
    if config.policy == LivenessPolicy::Off {
        return Assessment::Pass(Liveness::NotChecked);
    }
    // A score that is no number does not reach the limit either.
    if case.network.is_some_and(|score| score.is_nan() || score < config.score_min.get()) {
        return Assessment::Fail;
    }
    match (config.policy, doubt(config, case)) {
        (LivenessPolicy::Doubt, None) => Assessment::Pass(match case.network {
            Some(_) => Liveness::NetworkPassed,
            None => Liveness::NotChecked,
        }),
        _ => Assessment::Ask,
    }
}

/// The first reason to doubt.
pub fn doubt(config: &LivenessConfig, case: &Case) -> Option<Doubt> {
    let closer = |lead: Option<f32>, close: f32| lead.is_some_and(|lead| lead < close);
    let trace = case.trace;
    let score_lead = trace.score.zip(trace.threshold).map(|(score, threshold)| score - threshold);
    let spare_lead = trace.margin().zip(trace.margin_needed).map(|(lead, needed)| lead - needed);
    let none = case.network.is_none();
    let reasons = [
        (case.failed_lately, Doubt::FailedLately),
        (case.network.is_some_and(|score| score < config.score_sure.get()), Doubt::NetworkUnsure),
        (none && closer(score_lead, SCORE_CLOSE), Doubt::ScoreClose),
        (none && closer(spare_lead, LEAD_CLOSE), Doubt::LeadClose),
    ];
    reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_gallery::decide::{Rule, Trace};

    use super::*;

    fn trace(score: f32, runner_up_score: f32) -> Trace {
        Trace {
            rule: Rule::Threshold,
            score: Some(score),
            threshold: Some(0.6),
            runner_up_score: Some(runner_up_score),
            margin_needed: Some(0.05),
            template: None,
            runner_up: None,
            quality: None,
            gallery_size: 2,
            frames: 3,
            model: "model".into(),
        }
    }

    #[test]
    fn each_policy_asks_whom_it_should() {
        use Assessment::{Ask, Fail, Pass};
        use LivenessPolicy::{Challenge, Doubt, Off};
        let (unchecked, network) = (Pass(Liveness::NotChecked), Pass(Liveness::NetworkPassed));
        for (policy, score, expected) in [
            (Off, None, unchecked),
            (Off, Some(0.1), unchecked),
            (Challenge, None, Ask),
            (Challenge, Some(0.99), Ask),
            (Challenge, Some(0.49), Fail),
            (Doubt, None, unchecked),
            (Doubt, Some(0.9), network),
            (Doubt, Some(0.89), Ask),
            (Doubt, Some(0.5), Ask),
            (Doubt, Some(0.49), Fail),
            (Doubt, Some(f32::NAN), Fail),
        ] {
            let config = LivenessConfig { policy, ..LivenessConfig::default() };
            let trace = trace(0.8, 0.2);
            let case = Case { network: score, trace: &trace, failed_lately: false };
            assert_eq!(assess(&config, &case), expected, "{policy:?} {score:?}");
        }
    }

    #[test]
    fn each_doubt_has_its_reason() {
        for (score, runner_up, network, failed_lately, expected) in [
            (0.8, 0.2, None, false, None),
            (0.64, 0.2, None, false, Some(Doubt::ScoreClose)),
            (0.8, 0.73, None, false, Some(Doubt::LeadClose)),
            (0.64, 0.2, Some(0.95), false, None),
            (0.8, 0.2, Some(0.6), false, Some(Doubt::NetworkUnsure)),
            (0.8, 0.2, Some(0.95), true, Some(Doubt::FailedLately)),
        ] {
            let trace = trace(score, runner_up);
            let case = Case { network, trace: &trace, failed_lately };
            assert_eq!(doubt(&LivenessConfig::default(), &case), expected, "{case:?}");
        }
    }
}
