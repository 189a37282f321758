//! What a door asks of a face: the tables `[recognition]` and `[liveness]` of the configuration.
//!
//! Every value is within its range once it is read; `deploy/LIVENESS.md` says what each liveness policy stops.

use std::time::Duration;

use rollcall_vision::Models;
use rollcall_vision::models::Role;
use serde::Deserialize;

use super::deliberate::DeliberateConfig;

pub use super::deliberate::Mode;
pub use rollcall_program::config::Whole;

/// Everything that decides how a passage is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// How a person is recognised.
    pub recognition: RecognitionConfig,
    /// Whether they must be shown to be alive.
    pub liveness: LivenessConfig,
}

/// `[recognition]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecognitionConfig {
    /// Frames within one second that must agree on a person.
    pub frames_needed: Whole<1, 10>,
    /// For how long after a passage the same face has no further one.
    pub hold_off_s: Whole<1, 300>,
    /// When a face is read at all.
    pub mode: Mode,
    /// What counts as a deliberate act.
    pub deliberate: DeliberateConfig,
}

impl Default for RecognitionConfig {
    fn default() -> Self {
        Self {
            frames_needed: Whole(3),
            hold_off_s: Whole(10),
            mode: Mode::default(),
            deliberate: DeliberateConfig::default(),
        }
    }
}

impl RecognitionConfig {
    /// The frames that must agree.
    pub fn frames(&self) -> usize {
        self.frames_needed.0 as usize
    }

    /// The hold-off.
    pub fn hold_off(&self) -> Duration {
        Duration::from_secs(self.hold_off_s.0.into())
    }
}

/// `[liveness]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LivenessConfig {
    /// Who is asked.
    pub policy: LivenessPolicy,
    /// Time for each turn of the head that is asked for.
    pub challenge_seconds: Whole<3, 15>,
    /// From this score of the liveness network on a face is not refused.
    pub score_min: Share,
    /// From this score on the network is sure; between the two it is in doubt.
    pub score_sure: Share,
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self {
            policy: LivenessPolicy::default(),
            challenge_seconds: Whole(6),
            score_min: Share(0.5),
            score_sure: Share(0.9),
        }
    }
}

impl LivenessConfig {
    /// Whether nothing keeps a good photograph of somebody from being taken for them.
    pub fn passes_pictures(&self, models: &Models) -> bool {
        let has_network = models.entries().iter().any(|entry| entry.role == Role::Liveness);
        match self.policy {
            LivenessPolicy::Off => true,
            LivenessPolicy::Doubt => !has_network,
            LivenessPolicy::Challenge => false,
        }
    }

    /// Time for each turn of the head.
    pub fn time_for_a_turn(&self) -> Duration {
        Duration::from_secs(self.challenge_seconds.0.into())
    }
}

/// Who has to show that they are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LivenessPolicy {
    /// Nobody, and the network is not asked.
    Off,
    /// Everybody turns the head.
    Challenge,
    /// Whoever is in doubt turns the head.
    #[default]
    Doubt,
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f32")]
pub struct Share(f32);

impl Share {
    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl TryFrom<f32> for Share {
    type Error = String;

    fn try_from(number: f32) -> Result<Self, String> {
        if (0.0..=1.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(format!("is {number}; give 0 to 1"))
        }
    }
}
