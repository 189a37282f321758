//! The best few of many scores: falling score, ties by rising key, never in the order of arrival.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A score and what it belongs to. The better one is the smaller one, so that sorting puts the best first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked<K> {
    pub(crate) score: f32,
    pub(crate) key: K,
}

impl<K: Ord> Ord for Ranked<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Sums that start at +0.0 are never -0.0, so total_cmp calls equal what is equal.
        other.score.total_cmp(&self.score).then_with(|| self.key.cmp(&other.key))
    }
}

impl<K: Ord> PartialOrd for Ranked<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord> PartialEq for Ranked<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord> Eq for Ranked<K> {}

/// The `count` best of what was offered with at least `score_min`.
pub(crate) struct Best<K> {
    count: usize,
    score_min: f32,
    kept: BinaryHeap<Ranked<K>>,
}

impl<K: Ord> Best<K> {
    pub(crate) fn new(count: usize, score_min: f32) -> Self {
        Self { count, score_min, kept: BinaryHeap::new() }
    }

    /// A score under this changes nothing any more; one that equals it may, by its key. Never falls.
    pub(crate) fn floor(&self) -> f32 {
        match self.kept.peek() {
            Some(worst) if self.kept.len() == self.count => worst.score,
            None if self.count == 0 => f32::INFINITY,
            _ => self.score_min,
        }
    }

    pub(crate) fn offer(&mut self, score: f32, key: K) {
        if score < self.floor() || self.count == 0 {
            return;
        }
        let new = Ranked { score, key };
        if self.kept.len() < self.count {
            self.kept.push(new);
        } else if let Some(mut worst) = self.kept.peek_mut()
            && new < *worst
        {
            *worst = new;
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Ranked<K>> {
        self.kept.into_sorted_vec()
    }
}
