//! Rates and how far to trust them.

use serde::Serialize;

/// A share of `of` cases with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// 0 to 1.
    pub rate: f64,
    /// In how many cases.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// Where the true rate lies with 95 % confidence (Wilson score interval, 1927).
    pub interval: [f64; 2],
}

impl Rate {
    /// `count` of `of` cases.
    pub fn new(count: usize, of: usize) -> Self {
        const Z: f64 = 1.959_963_984_540_054;
        if of == 0 {
            return Self { rate: 0.0, count, of, interval: [0.0, 1.0] };
        }
        let n = of as f64;
        let rate = count as f64 / n;
        let centre = rate + Z * Z / (2.0 * n);
        let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        let interval = [((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0)];
        Self { rate, count, of, interval }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [low, high] = self.interval.map(|v| 100.0 * v);
        write!(f, "{:6.2} % ({}/{}, 95 %: {low:.2} to {high:.2})", 100.0 * self.rate, self.count, self.of)
    }
}

/// The score that at most `rate` of `scores` exceed: accept above it. `scores` in falling order.
pub fn score_exceeded_by(scores: &[f32], rate: f64) -> f32 {
    let exceeding = (rate * scores.len() as f64).floor() as usize;
    scores.get(exceeding).copied().unwrap_or(-1.0)
}

/// The most of `cases` that a true rate of `rate` produces in 95 of 100 such samples: the 95 % quantile of the
/// binomial distribution.
pub fn most_expected(rate: f64, cases: usize) -> usize {
    let (mut probability, mut total) = ((1.0 - rate).powi(cases as i32), 0.0);
    for count in 0..cases {
        total += probability;
        if total >= 0.95 {
            return count;
        }
        probability *= (cases - count) as f64 / (count + 1) as f64 * rate / (1.0 - rate);
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // Worked by hand: 1 of 10.
        let rate = Rate::new(1, 10);
        assert!((rate.interval[0] - 0.0178762).abs() < 1e-6 && (rate.interval[1] - 0.4041500).abs() < 1e-6);
        assert_eq!(Rate::new(0, 0).interval, [0.0, 1.0]);
    }

    #[test]
    fn at_most_the_stated_share_exceeds_the_score() {
        let scores = [0.9, 0.8, 0.7, 0.6];
        assert_eq!(score_exceeded_by(&scores, 0.25), 0.8);
        assert_eq!(score_exceeded_by(&scores, 0.24), 0.9);
        assert_eq!(score_exceeded_by(&scores, 1.0), -1.0);
    }

    #[test]
    fn most_expected_is_the_binomial_quantile() {
        assert_eq!(most_expected(0.01, 387), 7);
        // 0.99^37 + 37 * 0.01 * 0.99^36 is 0.947: one is not enough.
        assert_eq!(most_expected(0.01, 37), 2);
        assert_eq!(most_expected(0.5, 1), 1);
    }
}
