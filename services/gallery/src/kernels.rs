//! The four loops that touch every row, written so that the compiler vectorises them.
//!
//! Each loop is plain Rust over [`Lanes`]. On x86-64 it is compiled twice, for the baseline (SSE2) and for AVX2,
//! and chosen when it is called; on aarch64 NEON is the baseline.
//!
//! Promise: a score has the same bits on every machine. The order of the additions is the one written here, Rust
//! never reassociates or contracts floating-point operations, and fused multiply-add is deliberately not used (the
//! f32 scan waits for memory, so that it would gain nothing).

/// Values in one step of a loop over f32, and what rows are padded to with zeros: 4 AVX2 or 8 NEON registers.
pub(crate) const LANES: usize = 32;

/// Rows in one block of [`dots`] and [`upper_bounds`]: 128 values of i8 each are 8 KiB, a quarter of the first-level
/// cache of a Cortex-A72.
pub(crate) const BLOCK: usize = 64;

/// Consecutive values of a row. The alignment keeps a 32-byte load within a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Lanes([f32; LANES]);

/// `values` in lanes, the last one filled up with zeros, which change no score.
pub(crate) fn padded(values: &[f32]) -> Vec<Lanes> {
    let lanes = values.chunks(LANES).map(|chunk| {
        let mut lanes = [0.0; LANES];
        lanes[..chunk.len()].copy_from_slice(chunk);
        Lanes(lanes)
    });
    lanes.collect()
}

/// The first `length` values of a row.
pub(crate) fn unpadded(row: &[Lanes], length: usize) -> Vec<f32> {
    row.iter().flat_map(|lanes| lanes.0).take(length).collect()
}

/// Quantised rows: row `i` stands for `values[i] * scales[i]` and is off by at most `errors[i]` in norm.
#[derive(Clone, Copy)]
pub(crate) struct RowsI8<'a> {
    /// `scales.len()` rows of as many values as the probe has.
    pub(crate) values: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) errors: &'a [f32],
}

/// What [`upper_bounds`] needs of a probe; `quantised.rs` says how each number is got and why it suffices.
pub(crate) struct ProbeI16 {
    pub(crate) values: Vec<i16>,
    pub(crate) scale: f32,
    pub(crate) norm: f32,
    pub(crate) slack: f32,
}

/// Compiles the body for the baseline and for AVX2, and calls the widest that the processor has.
macro_rules! multiversion {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty = $body:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name($($arg: $type),*) -> $ret {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) -> $ret {
                    $body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: `avx2` is safe code that needs only the processor feature AVX2, and the line above
                    // has just seen that this processor has it.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*)
        }
    )*};
}

multiversion! {
    /// The score of two rows of the same number of lanes.
    fn dot(a: &[Lanes], b: &[Lanes]) -> f32 = dot_body;

    /// The scores of consecutive `rows` with `probe`, into the first as many places of `scores`.
    fn dots(rows: &[Lanes], probe: &[Lanes], scores: &mut [f32]) -> () = dots_body;

    /// Writes for each of at most [`BLOCK`] rows a number that its score with the probe does not exceed, and
    /// returns whether one of them reaches `floor`. There are as many `bounds` as rows.
    fn upper_bounds(rows: RowsI8<'_>, probe: &ProbeI16, floor: f32, bounds: &mut [f32]) -> bool
        = upper_bounds_body;

    /// The sum of all values: the least that a pass over the same memory can cost.
    fn sum(rows: &[Lanes]) -> f32 = sum_body;
}

#[inline(always)]
fn dot_body(a: &[Lanes], b: &[Lanes]) -> f32 {
    total(partial_dot(a, b))
}

/// Two loops, because the second does not vectorise and would spoil the first.
///
/// The first takes a row of each half of the block at a time: the processor then fetches two pages ahead instead of
/// one, which was 1.03 against 1.25 times a plain read of 100,000 rows.
#[inline(always)]
fn dots_body(rows: &[Lanes], probe: &[Lanes], scores: &mut [f32]) {
    let n = probe.len();
    let mut partials = [[0.0; 4]; BLOCK];
    for (rows, scores) in rows.chunks(BLOCK * n).zip(scores.chunks_mut(BLOCK)) {
        let count = rows.len() / n;
        let half = count / 2;
        let (first, second) = rows.split_at(half * n);
        let (first_partials, second_partials) = partials.split_at_mut(half);
        let outputs = first_partials.iter_mut().zip(second_partials);
        for ((a, b), (partial_a, partial_b)) in first.chunks_exact(n).zip(second.chunks_exact(n)).zip(outputs)
        {
            let (mut sums_a, mut sums_b) = ([0.0f32; LANES], [0.0f32; LANES]);
            for ((Lanes(a), Lanes(b)), Lanes(probe)) in a.iter().zip(b).zip(probe) {
                for i in 0..LANES {
                    sums_a[i] += a[i] * probe[i];
                    sums_b[i] += b[i] * probe[i];
                }
            }
            *partial_a = folded(&sums_a);
            *partial_b = folded(&sums_b);
        }
        if count % 2 == 1 {
            partials[2 * half] = partial_dot(&second[half * n..], probe);
        }
        for (partial, score) in partials[..count].iter().zip(scores) {
            *score = total(*partial);
        }
    }
}

/// Sums of every fourth product.
#[inline(always)]
fn partial_dot(a: &[Lanes], b: &[Lanes]) -> [f32; 4] {
    let mut sums = [0.0f32; LANES];
    for (Lanes(a), Lanes(b)) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    folded(&sums)
}

#[inline(always)]
fn folded(sums: &[f32; LANES]) -> [f32; 4] {
    let mut eighths = [0.0; 8];
    for i in 0..8 {
        eighths[i] = (sums[i] + sums[i + 16]) + (sums[i + 8] + sums[i + 24]);
    }
    let mut partial = [0.0; 4];
    for i in 0..4 {
        partial[i] = eighths[i] + eighths[i + 4];
    }
    partial
}

#[inline(always)]
fn total(p: [f32; 4]) -> f32 {
    (p[0] + p[2]) + (p[1] + p[3])
}

#[inline(always)]
fn upper_bounds_body(rows: RowsI8<'_>, probe: &ProbeI16, floor: f32, bounds: &mut [f32]) -> bool {
    let mut products = [0i32; BLOCK];
    match probe.values.as_slice() {
        // The shipped network's: a known length is unrolled, which was 0.70 against 0.98 ms for 100,000 rows.
        probe if probe.len() == 128 => dots_i8_i16(rows.values, &probe[..128], &mut products),
        probe => dots_i8_i16(rows.values, probe, &mut products),
    }
    // Slices of one length: the compiler vectorises a loop over indices, not one over four iterators.
    let count = bounds.len();
    let (products, scales, errors) = (&products[..count], &rows.scales[..count], &rows.errors[..count]);
    let mut reached = 0u32;
    for i in 0..count {
        bounds[i] = products[i] as f32 * (scales[i] * probe.scale) + (errors[i] * probe.norm + probe.slack);
        reached |= u32::from(bounds[i] >= floor);
    }
    reached != 0
}

/// A row of each half at a time, as in [`dots`]. Integer additions may be reordered, so the compiler makes `pmaddwd`
/// (x86-64) or `smlal` (aarch64) of this.
#[inline(always)]
fn dots_i8_i16(rows: &[i8], probe: &[i16], products: &mut [i32; BLOCK]) {
    let n = probe.len();
    let half = rows.len() / n / 2;
    let (first, second) = rows.split_at(half * n);
    let (first_products, second_products) = products.split_at_mut(half);
    let outputs = first_products.iter_mut().zip(second_products);
    for ((a, b), (product_a, product_b)) in first.chunks_exact(n).zip(second.chunks_exact(n)).zip(outputs) {
        let (mut sum_a, mut sum_b) = (0i32, 0i32);
        for ((&a, &b), &probe) in a.iter().zip(b).zip(probe) {
            sum_a += i32::from(a) * i32::from(probe);
            sum_b += i32::from(b) * i32::from(probe);
        }
        *product_a = sum_a;
        *product_b = sum_b;
    }
    let odd = &second[half * n..];
    if !odd.is_empty() {
        products[2 * half] = odd.iter().zip(probe).map(|(&v, &probe)| i32::from(v) * i32::from(probe)).sum();
    }
}

#[inline(always)]
fn sum_body(rows: &[Lanes]) -> f32 {
    let mut sums = [0.0f32; 2 * LANES];
    let (pairs, rest) = rows.as_chunks::<2>();
    for [Lanes(a), Lanes(b)] in pairs {
        for i in 0..LANES {
            sums[i] += a[i];
            sums[LANES + i] += b[i];
        }
    }
    let rest: f32 = rest.iter().flat_map(|lanes| lanes.0).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u32, length: usize) -> Vec<f32> {
        let mixed = (0..length as u32).map(|i| (i + seed).wrapping_mul(2_654_435_761) >> 8);
        mixed.map(|v| v as f32 / 8_388_608.0 - 1.0).collect()
    }

    /// On a machine without AVX2 both sides are the same code.
    #[test]
    fn a_score_has_the_same_bits_in_every_version_and_in_blocks() {
        for length in [1, 7, 31, 32, 33, 128, 500, 1024] {
            let rows: Vec<_> = (0..150).flat_map(|seed| padded(&values(seed, length))).collect();
            let probe = padded(&values(999, length));
            let mut scores = [0.0; 150];
            dots(&rows, &probe, &mut scores);
            for (row, score) in rows.chunks(probe.len()).zip(scores) {
                assert_eq!(score.to_bits(), dot(row, &probe).to_bits());
                assert_eq!(score.to_bits(), dot_body(row, &probe).to_bits());
                assert_eq!(score.to_bits(), dot(&probe, row).to_bits());
            }
        }
    }
}
