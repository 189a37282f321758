//! The loops that nearly all time is spent in: convolution, depth-wise convolution, max pooling.
//!
//! Everything is in NHWC order, so that the channels of one pixel are neighbours and one SIMD register holds
//! channels. A convolution computes [`PIXELS`] pixels times [`LANES`] output channels at once: one weight vector
//! and one broadcast input value for each multiply-add, all sums in registers. The plain Rust below is written so
//! that the compiler vectorises it: for AVX-512, or AVX2 with FMA, where the processor has it, else for the baseline of the
//! target (SSE2; NEON, which has fused multiply-add, on aarch64). Hence loops and no closures in the hot parts: a
//! closure is a function of its own, compiled for the baseline unless it happens to be inlined, and `mul_add` is
//! then a library call.
//!
//! Every output value is summed in one fixed order (bias, then kernel row, kernel column, input channel),
//! whatever the tile, the batch or the thread, so results depend on the processor only by fused rounding.

/// Output channels computed together: two AVX2 or four NEON registers.
pub(super) const LANES: usize = 16;

/// Pixels computed together. 6 x 2 AVX2 accumulators leave room for weights and broadcasts in 16 registers.
const PIXELS: usize = 6;

/// The same for AVX-512, whose 32 registers hold all [`LANES`] each.
#[cfg(target_arch = "x86_64")]
const PIXELS_AVX512: usize = 12;

/// One vector of output channels.
pub(super) type Lanes = [f32; LANES];

/// Where the pixels of an activation lie in its buffer: `height x width x channels` with a border of zeros on all
/// sides, which is how padding costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Plane {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub border: usize,
}

impl Plane {
    /// Floats from one row to the next.
    pub(super) fn row_step(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Floats in the buffer, border included.
    pub(super) fn len(&self) -> usize {
        (self.height + 2 * self.border) * self.row_step()
    }

    /// Index of the first channel of pixel (`y`, `x`), counted without the border.
    pub(super) fn at(&self, y: usize, x: usize) -> usize {
        (y + self.border) * self.row_step() + (x + self.border) * self.channels
    }

    /// The start of each pixel, row by row, into `to`.
    pub(super) fn starts(&self, to: &mut Vec<usize>) {
        to.clear();
        for y in 0..self.height {
            let row = self.at(y, 0);
            to.extend((0..self.width).map(|x| row + x * self.channels));
        }
    }
}

/// Weights of a convolution, packed for [`conv`].
#[derive(Debug)]
pub(super) struct ConvWeights {
    pub kernel: usize,
    pub inputs: usize,
    pub outputs: usize,
    /// `[output block][kernel row][kernel column][input channel]` vectors of output channels, zero-filled at the end.
    pub weights: Vec<Lanes>,
    pub bias: Vec<Lanes>,
    /// Slope for negative values, one for each output channel (PReLU, He et al. 2015), which may be negative.
    pub slope: Option<Vec<Lanes>>,
}

/// What a convolution reads and writes. `reads[i]` is the start of the window of output pixel `i`, `writes[i]` its
/// place in `out`, `adds[i]` that of the value to add.
pub(super) struct Conv<'a> {
    pub weights: &'a ConvWeights,
    pub src: &'a [f32],
    /// Floats from one row of `src` to the next.
    pub row_step: usize,
    pub reads: &'a [usize],
    pub add: Option<(&'a [f32], &'a [usize])>,
    pub writes: &'a [usize],
    pub out: &'a mut [f32],
}

/// A depth-wise convolution: each channel by itself. Channels are a multiple of [`LANES`].
pub(super) struct Depthwise<'a> {
    pub kernel: usize,
    /// `[kernel row][kernel column][channel block]`.
    pub weights: &'a [Lanes],
    pub bias: &'a [Lanes],
    pub slope: Option<&'a [Lanes]>,
    pub src: &'a [f32],
    pub row_step: usize,
    pub reads: &'a [usize],
    pub writes: &'a [usize],
    pub out: &'a mut [f32],
}

/// Runs one convolution, its PReLU and its residual addition.
pub(super) fn conv(job: Conv<'_>) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the line above has found both features on this processor.
            return unsafe { conv_avx512(job) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the line above has found both features on this processor.
            return unsafe { conv_avx2(job) };
        }
    }
    conv_body::<{ cfg!(target_arch = "aarch64") }, PIXELS>(job);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn conv_avx512(job: Conv<'_>) {
    conv_body::<true, PIXELS_AVX512>(job);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn conv_avx2(job: Conv<'_>) {
    conv_body::<true, PIXELS>(job);
}

/// Runs one depth-wise convolution and its PReLU.
pub(super) fn depthwise(job: Depthwise<'_>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the line above has found both features on this processor.
        return unsafe { depthwise_avx2(job) };
    }
    depthwise_body::<{ cfg!(target_arch = "aarch64") }>(job);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn depthwise_avx2(job: Depthwise<'_>) {
    depthwise_body::<true>(job);
}

/// `a * b + c`, fused where that is one instruction (elsewhere `mul_add` would be a slow library call).
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn conv_body<const FUSED: bool, const MOST: usize>(mut job: Conv<'_>) {
    match job.reads.len() {
        0 => {}
        1 => conv_tiles::<FUSED, 1>(&mut job),
        2 => conv_tiles::<FUSED, 2>(&mut job),
        3 => conv_tiles::<FUSED, 3>(&mut job),
        4 | 5 => conv_tiles::<FUSED, 4>(&mut job),
        count if count < MOST => conv_tiles::<FUSED, PIXELS>(&mut job),
        _ => conv_tiles::<FUSED, MOST>(&mut job),
    }
}

/// All output blocks over all pixels, `P` at a time; the last tile goes back to end with the last pixel, computing
/// some of them twice, which is cheaper than a tail of single pixels.
#[inline(always)]
fn conv_tiles<const FUSED: bool, const P: usize>(job: &mut Conv<'_>) {
    let w = job.weights;
    let run = w.kernel * w.inputs;
    let count = job.reads.len();
    for (block, weights) in w.weights.chunks_exact(w.kernel * run).enumerate() {
        let first = block * LANES;
        let valid = LANES.min(w.outputs - first);
        let slope = w.slope.as_ref().map(|slope| &slope[block]);
        let mut start = 0;
        while start < count {
            let at = start.min(count - P);
            let mut sums = [w.bias[block]; P];
            let mut reads = [0; P];
            reads.copy_from_slice(&job.reads[at..at + P]);
            for row in weights.chunks_exact(run) {
                multiply_row::<FUSED, P>(job.src, &reads, row, &mut sums);
                for read in &mut reads {
                    *read += job.row_step;
                }
            }
            for (p, sum) in sums.iter().enumerate() {
                let mut value = activate::<FUSED>(sum, slope);
                if let Some((src, adds)) = job.add {
                    let add = &src[adds[at + p] + first..][..valid];
                    for (v, a) in value.iter_mut().zip(add) {
                        *v += a;
                    }
                }
                store(&value, &mut job.out[job.writes[at + p] + first..][..valid]);
            }
            start += P;
        }
    }
}

/// Writes as many lanes as `out` has. In pieces of known size: a copy of unknown size is a call.
#[inline(always)]
fn store(value: &Lanes, out: &mut [f32]) {
    const HALF: usize = LANES / 2;
    if let Ok(whole) = <&mut Lanes>::try_from(&mut *out) {
        *whole = *value;
        return;
    }
    let mut done = 0;
    if let Some(half) = out.first_chunk_mut::<HALF>() {
        half.copy_from_slice(&value[..HALF]);
        done = HALF;
    }
    for (o, v) in out[done..].iter_mut().zip(&value[done..]) {
        *o = *v;
    }
}

/// Adds one kernel row: for each pixel a run of neighbouring inputs, each times its weight vector.
#[inline(always)]
fn multiply_row<const FUSED: bool, const P: usize>(
    src: &[f32],
    reads: &[usize; P],
    weights: &[Lanes],
    sums: &mut [Lanes; P],
) {
    let run = weights.len();
    let mut inputs = [&src[..0]; P];
    for p in 0..P {
        inputs[p] = &src[reads[p]..][..run];
    }
    let mut acc = *sums;
    for j in 0..run {
        let weight = &weights[j];
        for p in 0..P {
            let x = inputs[p][j];
            for l in 0..LANES {
                acc[p][l] = multiply_add::<FUSED>(x, weight[l], acc[p][l]);
            }
        }
    }
    *sums = acc;
}

#[inline(always)]
fn activate<const FUSED: bool>(sum: &Lanes, slope: Option<&Lanes>) -> Lanes {
    let Some(slope) = slope else { return *sum };
    let mut value = [0.0; LANES];
    for l in 0..LANES {
        let positive = if sum[l] > 0.0 { sum[l] } else { 0.0 };
        let negative = if sum[l] < 0.0 { sum[l] } else { 0.0 };
        value[l] = multiply_add::<FUSED>(negative, slope[l], positive);
    }
    value
}

#[inline(always)]
fn depthwise_body<const FUSED: bool>(job: Depthwise<'_>) {
    let blocks = job.bias.len();
    let channels = blocks * LANES;
    for (&read, &write) in job.reads.iter().zip(job.writes) {
        let out = &mut job.out[write..][..channels];
        for (block, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sum = job.bias[block];
            for ky in 0..job.kernel {
                let row = &job.src[read + ky * job.row_step + block * LANES..];
                for kx in 0..job.kernel {
                    let weight = &job.weights[(ky * job.kernel + kx) * blocks + block];
                    let Some(values) = row[kx * channels..].first_chunk::<LANES>() else { return };
                    for l in 0..LANES {
                        sum[l] = multiply_add::<FUSED>(values[l], weight[l], sum[l]);
                    }
                }
            }
            let slope = job.slope.map(|slope| &slope[block]);
            *out = activate::<FUSED>(&sum, slope);
        }
    }
}

/// Max pooling with stride 2. Windows that reach past the end of `from` take what is there (ceil mode).
pub(super) fn max_pool(kernel: usize, from: &Plane, src: &[f32], to: &Plane, out: &mut [f32]) {
    let channels = from.channels;
    for y in 0..to.height {
        for x in 0..to.width {
            let out = &mut out[to.at(y, x)..][..channels];
            out.fill(f32::NEG_INFINITY);
            for sy in 2 * y..(2 * y + kernel).min(from.height) {
                let row = &src[from.at(sy, 2 * x)..];
                let columns = kernel.min(from.width - 2 * x);
                for values in row[..columns * channels].chunks_exact(channels) {
                    out.iter_mut().zip(values).for_each(|(o, &v)| *o = if v > *o { v } else { *o });
                }
            }
        }
    }
}

/// Turns `values` into probabilities that sum to 1.
pub(super) fn softmax(values: &mut [f32]) {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for v in values.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    for v in values.iter_mut() {
        *v /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `run` makes of a convolution of 5 to 20 channels, 3 x 3, over so many pixels, values of all magnitudes.
    fn outputs(pixels: usize, run: impl Fn(Conv<'_>)) -> Vec<f32> {
        let value =
            |i: usize| ((i * 2_654_435_761 % 1_000_003) as f32 / 500_001.5 - 1.0) * 1.7f32.powi(i as i32 % 9);
        let lanes =
            |count: usize| (0..count).map(|i| std::array::from_fn(|l| value(i * LANES + l))).collect();
        let weights = ConvWeights {
            kernel: 3,
            inputs: 5,
            outputs: 20,
            weights: lanes(2 * 45),
            bias: lanes(2),
            slope: Some(lanes(2)),
        };
        let plane = Plane { height: 3, width: pixels + 2, channels: 5, border: 0 };
        let src: Vec<f32> = (0..plane.len()).map(value).collect();
        let (reads, writes): (Vec<usize>, Vec<usize>) = (0..pixels).map(|i| (i * 5, i * 20)).unzip();
        let mut out = vec![0.0; pixels * 20];
        let row_step = plane.row_step();
        run(Conv {
            weights: &weights,
            src: &src,
            row_step,
            reads: &reads,
            add: None,
            writes: &writes,
            out: &mut out,
        });
        out
    }

    #[test]
    fn every_tile_and_instruction_set_gives_the_same_bits() {
        for pixels in 0..40 {
            let want = outputs(pixels, conv_body::<true, 1>);
            assert_eq!(outputs(pixels, conv_body::<true, PIXELS>), want, "{pixels} pixels");
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("fma") {
                assert_eq!(
                    outputs(pixels, conv),
                    want,
                    "{pixels} pixels by the best that this processor has"
                );
            }
        }
    }
}
