//! The small convolutional networks of this product, compiled from ONNX to a list of fused layers.
//!
//! Covers graphs of Conv (dense, or depth-wise with channels in sixteens; the same padding for rows and columns), PRelu,
//! MaxPool (stride 2), residual Add, Flatten, Gemm and a final Softmax: all of MTCNN and MobileFaceNet.
//! [`super::compile`] answers `Unsupported` for anything else, which then runs in tract.
//!
//! Fused at load: a PReLU and a residual Add into the convolution before them, sibling heads (probability and box
//! regression of one layer) into one, padding into a border of zeros that the buffers keep. ARCHITECTURE.md,
//! "Decisions", has what this gains over tract.

use super::kernels::{self, Conv, ConvWeights, Depthwise, Lanes, Plane};
use super::proto::Pad;

/// A compiled network and the buffers of the one thread that runs it.
#[derive(Debug)]
pub(super) struct DirectNet {
    pub(super) layers: Vec<Layer>,
    /// What lies between layers; 0 is the input.
    pub(super) values: Vec<Value>,
    /// Where the network turns from pictures to dense layers, if it does.
    pub(super) gather: Option<Gather>,
    pub(super) heads: Vec<Head>,
    buffers: Vec<Buffer>,
    starts: Starts,
}

/// A named output: `channels` of a value, from the channel `first`.
#[derive(Debug)]
pub(super) struct Head {
    pub name: String,
    pub value: usize,
    pub first: usize,
    pub channels: usize,
    pub softmax: bool,
}

/// An activation.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub channels: usize,
    /// Height and width: where the graph fixes them, and of the run under way.
    pub size: Option<(usize, usize)>,
    /// Pixels of zeros around it: the most that a reader pads.
    pub border: usize,
    pub buffer: usize,
}

/// Layers before `layer` run once for each picture of a batch; `from` of each picture becomes one row of `to`, and
/// the layers from there on run once for the batch.
#[derive(Debug)]
pub(super) struct Gather {
    pub layer: usize,
    pub from: usize,
    pub to: usize,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub op: Op,
    pub from: usize,
    pub add: Option<usize>,
    pub to: usize,
}

#[derive(Debug)]
pub(super) enum Op {
    /// A dense layer is one with a kernel of 1 over a row of pictures.
    Conv {
        weights: ConvWeights,
        stride: usize,
        pad: Pad,
    },
    Depthwise {
        weights: DepthwiseWeights,
        stride: usize,
        pad: Pad,
    },
    MaxPool {
        kernel: usize,
        pad_end: usize,
    },
}

#[derive(Debug)]
pub(super) struct DepthwiseWeights {
    pub kernel: usize,
    /// `[kernel row][kernel column][channel block]`.
    pub weights: Vec<Lanes>,
    pub bias: Vec<Lanes>,
    pub slope: Option<Vec<Lanes>>,
}

/// An output of the last run: `rows x columns` cells of `channels` values.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub data: &'a [f32],
    pub step: usize,
    pub first: usize,
    pub channels: usize,
    pub rows: usize,
    pub columns: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    plane: Plane,
    data: Vec<f32>,
}

/// Where each output pixel reads, writes and adds; kept between layers to be used again.
#[derive(Debug, Default)]
struct Starts {
    reads: Vec<usize>,
    writes: Vec<usize>,
    adds: Vec<usize>,
}

impl Buffer {
    /// Makes room for `plane`. Its border is zero afterwards; the inside is left to be written.
    fn shape(&mut self, plane: Plane) {
        if self.plane != plane {
            if plane.border > 0 {
                self.data.clear();
            }
            self.data.resize(plane.len(), 0.0);
            self.plane = plane;
        }
    }
}

impl Op {
    /// Height and width of what comes out of `height` x `width`; None when the window does not fit.
    pub(super) fn size(&self, (height, width): (usize, usize)) -> Option<(usize, usize)> {
        let (kernel, padding, stride) = match self {
            Op::Conv { weights, stride, pad } => (weights.kernel, pad.begin + pad.end, *stride),
            Op::Depthwise { weights, stride, pad } => (weights.kernel, pad.begin + pad.end, *stride),
            Op::MaxPool { kernel, pad_end } => (*kernel, *pad_end, 2),
        };
        let each = |side: usize| Some((side + padding).checked_sub(kernel)? / stride + 1);
        Some((each(height)?, each(width)?))
    }
}

impl Value {
    fn plane(&self) -> Plane {
        let (height, width) = self.size.unwrap_or_default();
        Plane { height, width, channels: self.channels, border: self.border }
    }
}

impl DirectNet {
    pub(super) fn new(
        layers: Vec<Layer>,
        values: Vec<Value>,
        gather: Option<Gather>,
        heads: Vec<Head>,
    ) -> Self {
        let count = values.iter().map(|v| v.buffer + 1).max().unwrap_or(0);
        let buffers = std::iter::repeat_with(Buffer::default).take(count).collect();
        Self { layers, values, gather, heads, buffers, starts: Starts::default() }
    }

    /// Runs `count` pictures of `height` x `width`, `input` in NHWC order. False, with nothing run, when the picture
    /// is smaller than the network's windows, and for more than one picture where no dense layers take a batch.
    pub(super) fn run(&mut self, count: usize, height: usize, width: usize, input: &[f32]) -> bool {
        let row = width * self.values[0].channels;
        debug_assert_eq!(input.len(), count * height * row);
        if (count > 1 && self.gather.is_none()) || !self.set_sizes(count, height, width) {
            return false;
        }
        let spatial = self.gather.as_ref().map_or(self.layers.len(), |g| g.layer);
        for (picture, pixels) in input.chunks_exact(height * row).enumerate() {
            let (plane, buffer) = self.shaped(0);
            for (y, pixels) in pixels.chunks_exact(row).enumerate() {
                buffer[plane.at(y, 0)..][..row].copy_from_slice(pixels);
            }
            (0..spatial).for_each(|layer| self.run_layer(layer));
            if let Some(Gather { from, to, .. }) = self.gather {
                self.shaped(to);
                let [from, to] = [from, to].map(|v| self.values[v].buffer);
                if let Ok([from, to]) = self.buffers.get_disjoint_mut([from, to]) {
                    let length = to.plane.channels;
                    to.data[picture * length..][..length].copy_from_slice(&from.data[..length]);
                }
            }
        }
        (spatial..self.layers.len()).for_each(|layer| self.run_layer(layer));
        for index in 0..self.heads.len() {
            let Head { value, first, channels, softmax, .. } = self.heads[index];
            if softmax {
                let (plane, data) = self.shaped(value);
                data.chunks_exact_mut(plane.channels)
                    .for_each(|cell| kernels::softmax(&mut cell[first..][..channels]));
            }
        }
        true
    }

    /// The output `name` of the last run.
    pub(super) fn output(&self, name: &str) -> Option<View<'_>> {
        let head = self.heads.iter().find(|h| h.name == name)?;
        let Buffer { plane, data } = &self.buffers[self.values[head.value].buffer];
        let Head { first, channels, .. } = *head;
        Some(View { data, step: plane.channels, first, channels, rows: plane.height, columns: plane.width })
    }

    /// Height and width of every value in this run. False when a window does not fit.
    fn set_sizes(&mut self, count: usize, height: usize, width: usize) -> bool {
        self.values[0].size = Some((height, width));
        if let Some(gather) = &self.gather {
            self.values[gather.to].size = Some((1, count));
        }
        for layer in &self.layers {
            let size = self.values[layer.from].size.and_then(|size| layer.op.size(size));
            if size.is_none() {
                return false;
            }
            self.values[layer.to].size = size;
        }
        true
    }

    /// The layout of a value and its buffer, made to fit.
    fn shaped(&mut self, value: usize) -> (Plane, &mut [f32]) {
        let plane = self.values[value].plane();
        let buffer = &mut self.buffers[self.values[value].buffer];
        buffer.shape(plane);
        (plane, &mut buffer.data)
    }

    fn run_layer(&mut self, index: usize) {
        let Self { layers, values, buffers, starts, .. } = self;
        let Layer { op, from, add, to } = &layers[index];
        let mut out = std::mem::take(&mut buffers[values[*to].buffer]);
        let (from, from_plane) = (&buffers[values[*from].buffer], values[*from].plane());
        out.shape(values[*to].plane());
        match op {
            Op::MaxPool { kernel, .. } => {
                kernels::max_pool(*kernel, &from_plane, &from.data, &out.plane, &mut out.data)
            }
            Op::Conv { weights, stride, pad } => {
                starts.windows(&from_plane, *stride, *pad, &out.plane);
                if let Some(add) = add {
                    values[*add].plane().starts(&mut starts.adds);
                }
                kernels::conv(Conv {
                    weights,
                    src: &from.data,
                    row_step: from_plane.row_step(),
                    reads: &starts.reads,
                    add: add.map(|add| (&buffers[values[add].buffer].data[..], &starts.adds[..])),
                    writes: &starts.writes,
                    out: &mut out.data,
                });
            }
            Op::Depthwise { weights, stride, pad } => {
                starts.windows(&from_plane, *stride, *pad, &out.plane);
                kernels::depthwise(Depthwise {
                    kernel: weights.kernel,
                    weights: &weights.weights,
                    bias: &weights.bias,
                    slope: weights.slope.as_deref(),
                    src: &from.data,
                    row_step: from_plane.row_step(),
                    reads: &starts.reads,
                    writes: &starts.writes,
                    out: &mut out.data,
                });
            }
        }
        buffers[values[*to].buffer] = out;
    }
}

impl Starts {
    /// Where the window of each pixel of `to` begins in `from`, and where the pixel itself lies.
    fn windows(&mut self, from: &Plane, stride: usize, pad: Pad, to: &Plane) {
        to.starts(&mut self.writes);
        self.reads.clear();
        let inset = from.border - pad.begin;
        for y in 0..to.height {
            let row = (y * stride + inset) * from.row_step() + inset * from.channels;
            self.reads.extend((0..to.width).map(|x| row + x * stride * from.channels));
        }
    }
}
