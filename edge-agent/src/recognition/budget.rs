//! Which faces of a frame are embedded: as many as the time for a frame allows, in turns. Pure.
//!
//! Embedding is what costs most and the one step that can wait for a later frame. Faces that had no turn yet come first,
//! the largest before the others, and then whoever waited longest; one face is embedded in every frame however slow the
//! machine is.

use std::time::Duration;

use super::TrackId;

/// Time for one frame: a fifteenth of a second, less what the camera's thread and the door need of the same processor.
const FRAME: Duration = Duration::from_millis(60);

/// Weight of the newest measurement in what an embedding is expected to cost.
const COST_NEW: f64 = 0.2;

/// Times and turns.
#[derive(Debug, Default)]
pub struct Budget {
    /// What one embedding costs, in seconds.
    cost: f64,
    /// The tracks that had a turn, those whose last one is longest ago first.
    turns: Vec<TrackId>,
}

impl Budget {
    /// Puts the faces that want to be embedded into the order of their turns; each with its area.
    pub fn order(&self, wanting: &mut [(TrackId, f32)]) {
        let turn = |id: TrackId| self.turns.iter().position(|of| *of == id);
        wanting.sort_by(|(a, a_area), (b, b_area)| turn(*a).cmp(&turn(*b)).then(b_area.total_cmp(a_area)));
    }

    /// Whether there is time for one more, so long after the frame was begun and after so many of it.
    pub fn allows(&self, spent: Duration, embedded: usize) -> bool {
        embedded == 0 || spent.as_secs_f64() + self.cost <= FRAME.as_secs_f64()
    }

    /// One was embedded.
    pub fn took(&mut self, track: TrackId, cost: Duration) {
        let cost = cost.as_secs_f64();
        self.cost += if self.cost > 0.0 { COST_NEW * (cost - self.cost) } else { cost };
        self.forget(track);
        self.turns.push(track);
    }

    /// The track is over.
    pub fn forget(&mut self, track: TrackId) {
        self.turns.retain(|id| *id != track);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of five faces is embedded in 20 frames when one embedding takes so long.
    fn turns(cost_ms: u64) -> [usize; 5] {
        let (mut budget, mut counts) = (Budget::default(), [0; 5]);
        for _ in 0..20 {
            let mut wanting: Vec<_> = (0..5).map(|n| (TrackId(n), 100.0 + n as f32)).collect();
            budget.order(&mut wanting);
            let (mut spent, mut embedded) = (Duration::from_millis(10), 0);
            for (id, _) in wanting {
                if !budget.allows(spent, embedded) {
                    break;
                }
                let cost = Duration::from_millis(cost_ms);
                spent += cost;
                embedded += 1;
                budget.took(id, cost);
                counts[id.0 as usize] += 1;
            }
        }
        counts
    }

    #[test]
    fn f088_all_faces_have_their_turn_and_no_frame_takes_longer_than_it_may() {
        assert_eq!(turns(5), [20; 5], "time for all");
        assert_eq!(turns(24), [8; 5], "two a frame, in turns");
        assert_eq!(turns(300), [4; 5], "one a frame however long it takes");
    }

    #[test]
    fn the_largest_come_first() {
        let mut wanting = [(TrackId(1), 10.0), (TrackId(2), 30.0), (TrackId(3), 20.0)];
        Budget::default().order(&mut wanting);
        assert_eq!(wanting.map(|(id, _)| id.0), [2, 3, 1]);
    }

    #[test]
    fn a_newcomer_comes_before_whoever_had_a_turn() {
        let mut budget = Budget::default();
        for id in [2, 1] {
            budget.took(TrackId(id), Duration::from_millis(5));
        }
        let mut wanting = [(TrackId(1), 30.0), (TrackId(2), 10.0), (TrackId(3), 5.0)];
        budget.order(&mut wanting);
        assert_eq!(wanting.map(|(id, _)| id.0), [3, 2, 1]);
    }
}
