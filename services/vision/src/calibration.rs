//! Thresholds from measured scores.

use serde::Deserialize;

/// Scores measured on one population.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreDistribution {
    /// Who.
    pub population: String,
}
