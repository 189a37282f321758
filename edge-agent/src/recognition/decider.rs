//! The passages of all tracks: what the pipeline asks.

use std::time::Instant;

use rollcall_core::PersonId;
use rollcall_gallery::decide::Decision;
use rollcall_vision::{Embedding, Quality};

use super::policy::Policy;
use super::{Observation, Prompt, TrackId, Verdict};

/// Compares a probe with everybody: embedding, quality and the number of frames that it was fused of.
pub type Judge<'a> = dyn FnMut(&Embedding, Quality, usize) -> Decision + 'a;

/// Decides on every passage before one door.
#[derive(Debug)]
pub struct Decider {
    policy: Policy,
}

impl Decider {
    /// Nobody is in view. `seed` must be random: the sides of the challenges follow from it.
    pub fn new(policy: Policy, _seed: [u8; 32]) -> Self {
        Self { policy }
    }

    /// What one frame says of one face. A verdict comes at most once for a track.
    pub fn observe(&mut self, _track: TrackId, _seen: Observation, _judge: &mut Judge) -> Option<Verdict> {
        None
    }

    /// Whether an embedding of this face is of any use: not once its passage is decided. A track that was never observed
    /// is of use.
    pub fn needs_embedding(&self, _track: TrackId) -> bool {
        true
    }

    /// The track is lost. It must not be observed again.
    pub fn ended(&mut self, _track: TrackId, _now: Instant) -> Option<Verdict> {
        None
    }

    /// To be called at least once a second: ends what has run out of time. Never names anybody.
    pub fn tick(&mut self, _now: Instant) -> Vec<Verdict> {
        Vec::new()
    }

    /// What this face is told.
    pub fn prompt(&self, _track: TrackId, _now: Instant) -> Prompt {
        Prompt::Wait
    }

    /// Somebody came in by badge, card or PIN: their face is held off too.
    pub fn passed(&mut self, _person: PersonId, _now: Instant) {}

    /// What counts from the next frame on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }
}
