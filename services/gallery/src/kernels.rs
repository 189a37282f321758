//! The four loops that touch every row, written so that the compiler vectorises them.
//!
//! Each loop is plain Rust over [`Lanes`]. On x86-64 it is compiled twice, for the baseline (SSE2) and for AVX2,
//! and chosen when it is called; on aarch64 NEON is the baseline.
//!
//! Promise: a score has the same bits on every machine. The order of the additions is the one written here, Rust
//! never reassociates or contracts floating-point operations, and fused multiply-add is deliberately not used (the
//! f32 scan waits for memory, so that it would gain nothing).

/// Values in one step of a loop, and what rows are padded to with zeros: 4 AVX2 or 8 NEON registers of f32.
pub(crate) const LANES: usize = 32;

/// Rows in one call of [`dots`] and [`upper_bounds`]: 128 values of i8 each are 8 KiB, a quarter of the first-level
/// cache of a Cortex-A72.
pub(crate) const BLOCK: usize = 64;

/// Consecutive values of a row. The alignment keeps a 32-byte load within a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Lanes<T>(pub(crate) [T; LANES]);

/// `values` in lanes, the last one filled up with zeros, which change no product.
pub(crate) fn padded<T: Copy + Default>(values: &[T]) -> Vec<Lanes<T>> {
    let lanes = values.chunks(LANES).map(|chunk| {
        let mut lanes = [T::default(); LANES];
        lanes[..chunk.len()].copy_from_slice(chunk);
        Lanes(lanes)
    });
    lanes.collect()
}

/// The first `length` values of a row.
pub(crate) fn unpadded(row: &[Lanes<f32>], length: usize) -> Vec<f32> {
    row.iter().flat_map(|lanes| lanes.0).take(length).collect()
}

/// Quantised rows: row `i` stands for `values[i] * scales[i]` and is off by at most `errors[i]` in norm.
#[derive(Clone, Copy)]
pub(crate) struct RowsI8<'a> {
    /// `scales.len()` rows of as many lanes as the probe has.
    pub(crate) values: &'a [Lanes<i8>],
    pub(crate) scales: &'a [f32],
    pub(crate) errors: &'a [f32],
}

/// What [`upper_bounds`] needs of a probe; `quantised.rs` says how each number is got and why it suffices.
pub(crate) struct ProbeI16 {
    pub(crate) values: Vec<Lanes<i16>>,
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
    fn dot(a: &[Lanes<f32>], b: &[Lanes<f32>]) -> f32 = dot_body;

    /// The scores of consecutive `rows` with `probe`, one for each place in `scores`.
    fn dots(rows: &[Lanes<f32>], probe: &[Lanes<f32>], scores: &mut [f32]) -> () = dots_body;

    /// Writes for each of at most [`BLOCK`] rows a number that its score with the probe does not exceed, and
    /// returns whether one of them reaches `floor`.
    fn upper_bounds(rows: RowsI8<'_>, probe: &ProbeI16, floor: f32, bounds: &mut [f32]) -> bool
        = upper_bounds_body;

    /// The sum of all values: the least that a pass over the same memory can cost.
    fn sum(rows: &[Lanes<f32>]) -> f32 = sum_body;
}

#[inline(always)]
fn dot_body(a: &[Lanes<f32>], b: &[Lanes<f32>]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (Lanes(a), Lanes(b)) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    folded(sums)
}

#[inline(always)]
fn dots_body(rows: &[Lanes<f32>], probe: &[Lanes<f32>], scores: &mut [f32]) {
    for (row, score) in rows.chunks_exact(probe.len()).zip(scores) {
        *score = dot_body(row, probe);
    }
}

#[inline(always)]
fn upper_bounds_body(rows: RowsI8<'_>, probe: &ProbeI16, floor: f32, bounds: &mut [f32]) -> bool {
    let mut products = [0i32; BLOCK];
    for (row, product) in rows.values.chunks_exact(probe.values.len()).zip(&mut products) {
        *product = dot_i8_i16(row, &probe.values);
    }
    let mut reached = 0u32;
    for (((bound, product), scale), error) in
        bounds.iter_mut().zip(products).zip(rows.scales).zip(rows.errors)
    {
        *bound = product as f32 * (scale * probe.scale) + (error * probe.norm + probe.slack);
        reached |= u32::from(*bound >= floor);
    }
    reached != 0
}

/// Integer additions may be reordered, so the compiler makes `pmaddwd` (x86-64) or `smlal` (aarch64) of this.
#[inline(always)]
fn dot_i8_i16(row: &[Lanes<i8>], probe: &[Lanes<i16>]) -> i32 {
    let mut sum = 0i32;
    for (Lanes(row), Lanes(probe)) in row.iter().zip(probe) {
        for i in 0..LANES {
            sum += i32::from(row[i]) * i32::from(probe[i]);
        }
    }
    sum
}

#[inline(always)]
fn sum_body(rows: &[Lanes<f32>]) -> f32 {
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

/// The sum of the lanes, halves first: 32 to 16 to 8 to 4 to 2 to 1.
#[inline(always)]
fn folded(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}
