//! Rows in a quarter of the memory, and the proof that skipping by them loses nobody.
//!
//! A search asks each row for an upper bound of its score, from 8-bit values, and computes the f32 score only of
//! rows whose bound reaches the k-th best score found so far. The result is the same as that of scoring every row,
//! whatever the data, because the bound is never too low:
//!
//! Let `q` be the probe and `t` a row, n values each, of norm at most 1 + 1e-5 (`Embedding` promises it). Let
//! `q' = scale_q * Q` with integers |Q| <= 16383, and `t' = scale_t * T` with |T| <= 127. Then
//!
//! ```text
//! q.t = q'.t' + (q - q').t + q'.(t - t')                            (expand the right side)
//!    <= q'.t' + ||q - q'|| ||t|| + ||q'|| ||t - t'||                (Cauchy-Schwarz, twice)
//! ```
//!
//! - `q'.t' = scale_q * scale_t * (Q.T)`, and `Q.T` is exact in i32: 1024 * 127 * 16383 < 2^31.
//! - `errors[i] >= ||t - t'||`, `norm >= ||q'||` and `slack >= ||q - q'|| (1 + 1e-4) + ...` are computed in f64,
//!   where each term is exact or rounded at 2^-53, and then raised by 1e-6, more than the rounding to f32 (2^-24).
//! - The compared score is itself a rounded number: products and at most n/32 + 5 additions in sequence, so it is
//!   within (n/32 + 7) * 2^-24 * 1.01 of `q.t`; underflow, here and below, less than n * 2^-149.
//! - The bound is also computed in f32: 3 roundings of `q'.t'`, 3 of the rest, 1 of their sum. No term exceeds 1.5
//!   (`||t - t'|| <= sqrt(n) / 254 <= 0.126`), so it is off by less than 12 * 2^-24.
//!
//! `slack` therefore holds (n + 16) * 2^-23 more, over twice what the last two need. At 128 values it is 1.7e-5.
//!
//! Now let c be the k-th best score found when a row was skipped: its bound, hence its score, was strictly less than
//! c. So k others have strictly higher scores; it is not among the k best, however ties are broken. QED
//!
//! The probe has 15 bits because it costs nothing (the products are 16 x 16 bits in any case) and halves the sum of
//! the errors: about 0.008 for 128 values is left, that of the row.

use crate::kernels::{ProbeI16, RowsI8};

/// Largest magnitude in a row.
const ROW_MAX: f32 = 127.0;
/// Largest magnitude in a probe: the largest for which 1,024 products cannot overflow an i32.
const PROBE_MAX: f32 = 16383.0;
const _: () = assert!(
    (rollcall_core::limits::EMBEDDING_LENGTH as i64) * (ROW_MAX as i64) * (PROBE_MAX as i64)
        <= i32::MAX as i64
);

/// Rows by slot, each with its scale and an upper bound of its error.
#[derive(Clone)]
pub(crate) struct Quantised {
    length: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
    errors: Vec<f32>,
}

impl Quantised {
    /// No rows yet, of `length` values each.
    pub(crate) fn new(length: usize) -> Self {
        Self { length, values: Vec::new(), scales: Vec::new(), errors: Vec::new() }
    }

    /// Overwrites the row at `slot`, or appends it when `slot` is the number of rows.
    pub(crate) fn set(&mut self, slot: usize, row: &[f32]) {
        let (scale, integers) = quantised(row, ROW_MAX);
        let integers: Vec<i8> = integers.map(|v| v as i8).collect();
        let (error, _) = error_and_norm(row, integers.iter().map(|&v| f64::from(v)), scale);
        if slot == self.scales.len() {
            self.values.extend(integers);
            self.scales.push(scale);
            self.errors.push(raised(error));
        } else {
            self.values[slot * self.length..][..self.length].copy_from_slice(&integers);
            self.scales[slot] = scale;
            self.errors[slot] = raised(error);
        }
    }

    /// Removes the row at `slot`; the last row takes its place.
    pub(crate) fn swap_remove(&mut self, slot: usize) {
        swap_remove_row(&mut self.values, self.length, slot);
        self.scales.swap_remove(slot);
        self.errors.swap_remove(slot);
    }

    /// The rows of these slots.
    pub(crate) fn rows(&self, slots: std::ops::Range<usize>) -> RowsI8<'_> {
        RowsI8 {
            values: &self.values[slots.start * self.length..slots.end * self.length],
            scales: &self.scales[slots.clone()],
            errors: &self.errors[slots],
        }
    }
}

/// Removes the row at `slot`; the last row takes its place.
pub(crate) fn swap_remove_row<T: Copy>(values: &mut Vec<T>, row_length: usize, slot: usize) {
    let last = values.len() - row_length;
    values.copy_within(last.., slot * row_length);
    values.truncate(last);
}

impl ProbeI16 {
    /// `probe` has 1 to 1,024 finite values of norm 1.
    pub(crate) fn new(probe: &[f32]) -> Self {
        let (scale, integers) = quantised(probe, PROBE_MAX);
        let integers: Vec<i16> = integers.map(|v| v as i16).collect();
        let (error, norm) = error_and_norm(probe, integers.iter().map(|&v| f64::from(v)), scale);
        let rounding = (probe.len() + 16) as f64 * f64::from(f32::EPSILON);
        let slack = error * (1.0 + 1e-4) + rounding;
        Self { values: integers, scale, norm: raised(norm), slack: raised(slack) }
    }
}

/// A scale, and integers of at most `max` that `values` are near to when multiplied by it.
fn quantised(values: &[f32], max: f32) -> (f32, impl Iterator<Item = f32>) {
    // Never zero: a value of a unit vector of n is at least 1/sqrt(n).
    let scale = values.iter().fold(0.0f32, |max, v| max.max(v.abs())) / max;
    (scale, values.iter().map(move |v| (v / scale).round().clamp(-max, max)))
}

/// The norms of `values - scale * integers` and of `scale * integers`.
fn error_and_norm(values: &[f32], integers: impl Iterator<Item = f64>, scale: f32) -> (f64, f64) {
    let (mut error, mut norm) = (0.0, 0.0);
    for (&value, integer) in values.iter().zip(integers) {
        let near = integer * f64::from(scale);
        error += (f64::from(value) - near).powi(2);
        norm += near.powi(2);
    }
    (error.sqrt(), norm.sqrt())
}

/// An f32 that is not less than `value`, for values of at least 0.
fn raised(value: f64) -> f32 {
    (value * (1.0 + 1e-6)) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollcall_vision::Embedding;

    use super::*;
    use crate::kernels::{BLOCK, dot, padded, upper_bounds};

    /// Directions that quantise badly as well as usual ones: one spike among values that round to zero or a half.
    fn unit(length: usize) -> impl Strategy<Value = Embedding> {
        let value = prop_oneof![
            4 => -1.0f32..1.0,
            2 => Just(0.0f32),
            1 => (-20i32..1).prop_map(|e| 2f32.powi(e)),
            1 => Just(1e-30f32),
            1 => (-300i32..300).prop_map(|n| (n as f32 + 0.5) / 127.0),
        ];
        prop::collection::vec(value, length)
            .prop_filter_map("no direction", |values| Embedding::normalised(values).ok())
    }

    proptest! {
        #[test]
        fn no_score_exceeds_its_bound_and_the_bound_is_near(
            (probe, rows) in (1usize..200).prop_flat_map(|n| (unit(n), prop::collection::vec(unit(n), 1..BLOCK)))
        ) {
            let n = probe.len();
            let mut quantised = Quantised::new(n);
            rows.iter().enumerate().for_each(|(slot, row)| quantised.set(slot, row.values()));
            let mut bounds = [0.0; BLOCK];
            let bounds = &mut bounds[..rows.len()];
            upper_bounds(quantised.rows(0..rows.len()), &ProbeI16::new(probe.values()), 0.0, bounds);
            for (row, &mut bound) in rows.iter().zip(bounds) {
                let score = dot(&padded(row.values()), &padded(probe.values()));
                prop_assert!(score <= bound, "score {score}, bound {bound}");
                // A row is off by at most half a step of max/127 in each value, and once more in the bound.
                let near = 2.0 * (n as f32).sqrt() / 254.0 * 1.02 + 1e-4;
                prop_assert!(bound - score <= near, "score {score}, bound {bound}");
            }
        }
    }

    #[test]
    fn the_longest_embedding_does_not_overflow() {
        let length = rollcall_core::limits::EMBEDDING_LENGTH;
        let row = Embedding::normalised(vec![1.0; length]).unwrap();
        let opposite: Vec<f32> = row.values().iter().map(|v| -v).collect();
        let mut quantised = Quantised::new(length);
        quantised.set(0, row.values());
        quantised.set(1, &opposite);
        let mut bounds = [0.0; 2];
        upper_bounds(quantised.rows(0..2), &ProbeI16::new(row.values()), 0.0, &mut bounds);
        // Every value is the largest, so quantising loses nothing: what is left is the slack, under 3e-4.
        assert!((bounds[0] - 1.0).abs() < 3e-4 && (bounds[1] + 1.0).abs() < 3e-4, "{bounds:?}");
    }
}
