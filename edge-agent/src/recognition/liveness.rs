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
    if case.network.is_some_and(|score| !(score >= config.score_min.get())) {
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
