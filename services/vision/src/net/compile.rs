//! From an ONNX graph to the fused layers of [`DirectNet`].

use std::collections::HashMap;

use super::direct::{DepthwiseWeights, DirectNet, Gather, Head, Layer, Op, Value};
use super::kernels::{ConvWeights, LANES, Lanes};
use super::proto::{Graph, GraphError, Node, Pad, Step, Weights};

/// Compiles `graph`, or says why these kernels do not run it.
pub(super) fn compile(graph: &Graph) -> Result<DirectNet, GraphError> {
    let mut compiler = Compiler::new(graph);
    for step in &graph.steps {
        compiler.step(step)?;
    }
    compiler.finish()
}

/// Where a named value of the graph is found: some channels of a compiled value.
#[derive(Clone, Copy)]
struct Place {
    value: usize,
    first: usize,
    channels: usize,
    softmax: bool,
    flat: bool,
}

struct Compiler<'a> {
    graph: &'a Graph,
    layers: Vec<Layer>,
    values: Vec<Value>,
    gather: Option<Gather>,
    places: HashMap<&'a str, Place>,
}

impl<'a> Compiler<'a> {
    fn new(graph: &'a Graph) -> Self {
        let input = Value { channels: graph.channels, size: graph.size, border: 0, buffer: 0 };
        let place = Place { value: 0, first: 0, channels: graph.channels, softmax: false, flat: false };
        let places = HashMap::from([(graph.input.as_str(), place)]);
        Self { graph, layers: Vec::new(), values: vec![input], gather: None, places }
    }

    fn step(&mut self, step: &'a Step) -> Result<(), GraphError> {
        let Some(&from) = self.places.get(step.input.as_str()) else {
            return Err(GraphError::Damaged(format!(
                "{} reads {}, which nothing makes",
                step.name, step.input
            )));
        };
        let place = match &step.node {
            Node::Conv { weights, bias, stride, pad, group } => {
                self.picture_only(step, from)?;
                let op = convolution(step, from.channels, weights, bias, (*stride, *pad, *group))?;
                self.push(step, op, from.value)?
            }
            Node::MaxPool { kernel, pad_end } => {
                self.picture_only(step, from)?;
                self.push(step, Op::MaxPool { kernel: *kernel, pad_end: *pad_end }, from.value)?
            }
            Node::Gemm { weights, bias } => self.dense(step, from, weights, bias)?,
            Node::PRelu { slope } => self.fuse_slope(step, from, slope)?,
            Node::Add { other } => self.fuse_addition(step, from, other)?,
            Node::Flatten if from.softmax => return Err(unsupported(step, "flattens probabilities")),
            Node::Flatten => Place { flat: true, ..from },
            Node::Softmax => {
                let last = self.graph.outputs.contains(&step.output) && self.graph.readers(&step.output) == 1;
                if !last || self.graph.readers(&step.input) != 1 {
                    return Err(unsupported(step, "is not at the end of the graph"));
                }
                Place { softmax: true, ..from }
            }
        };
        self.places.insert(&step.output, place);
        Ok(())
    }

    /// Refuses a head's channels, flattened values and probabilities as the input of a further layer.
    fn picture_only(&self, step: &Step, from: Place) -> Result<(), GraphError> {
        let whole = from.channels == self.values[from.value].channels;
        if from.flat || from.softmax || !whole || self.gather.is_some() {
            return Err(unsupported(step, "does not read a picture"));
        }
        Ok(())
    }

    /// Appends a layer, or widens the last one when both are heads of the same value.
    fn push(&mut self, step: &Step, op: Op, from: usize) -> Result<Place, GraphError> {
        let channels = match &op {
            Op::Conv { weights, .. } => weights.outputs,
            Op::Depthwise { .. } | Op::MaxPool { .. } => self.values[from].channels,
        };
        let size = match self.values[from].size {
            None => None,
            Some(size) => Some(op.size(size).ok_or_else(|| {
                GraphError::Damaged(format!("{} has a window larger than its input", step.name))
            })?),
        };
        if let Some(place) = self.widen(step, &op, from) {
            return Ok(place);
        }
        let to = self.values.len();
        self.values.push(Value { channels, size, border: 0, buffer: 0 });
        self.layers.push(Layer { op, from, add: None, to });
        Ok(Place { value: to, first: 0, channels, softmax: false, flat: false })
    }

    /// Joins a head to the one before it, so that both are computed in one pass.
    fn widen(&mut self, step: &Step, op: &Op, from: usize) -> Option<Place> {
        let last = self.layers.last_mut()?;
        let (Op::Conv { weights: a, stride, pad }, Op::Conv { weights: b, stride: stride_b, pad: pad_b }) =
            (&mut last.op, op)
        else {
            return None;
        };
        let alike = (a.kernel, a.inputs, *stride, *pad) == (b.kernel, b.inputs, *stride_b, *pad_b);
        let same_place = self.places.values().filter(|p| p.value == last.to);
        let heads = same_place.clone().count() > 0 && a.slope.is_none() && last.add.is_none();
        let ends = |name: &str| {
            let softmax = |s: &Step| s.input == name && matches!(s.node, Node::Softmax);
            let ending = self.graph.outputs.iter().filter(|o| *o == name).count();
            ending + self.graph.steps.iter().filter(|s| softmax(s)).count() == self.graph.readers(name)
        };
        let former = self.places.iter().filter(|(_, p)| p.value == last.to).all(|(name, _)| ends(name));
        if !(alike && heads && former && last.from == from && ends(&step.output)) {
            return None;
        }
        let first = a.outputs;
        *a = join(a, b);
        self.values[last.to].channels = a.outputs;
        Some(Place { value: last.to, first, channels: b.outputs, softmax: false, flat: false })
    }

    fn dense(
        &mut self,
        step: &Step,
        from: Place,
        weights: &Weights,
        bias: &[f32],
    ) -> Result<Place, GraphError> {
        let (outputs, inputs) = (weights.dims[0], weights.dims[1]);
        let from_value = match &self.gather {
            Some(gather) if from.value == gather.from => gather.to,
            Some(_) => from.value,
            None => self.gather_from(step, from)?,
        };
        let source = &self.values[from_value];
        if source.channels != inputs || from.softmax {
            let text = format!("{} takes {inputs} values and is given {}", step.name, source.channels);
            return Err(GraphError::Damaged(text));
        }
        let by_picture = self.gather.as_ref().filter(|g| g.to == from_value).map(|g| g.from);
        let (cells, channels) = match by_picture.map(|v| &self.values[v]) {
            Some(Value { channels, size: Some((height, width)), .. }) => (height * width, *channels),
            _ => (1, inputs),
        };
        // The graph flattens in C, H, W order, the kernels keep H, W, C.
        let weight = |o: usize, i: usize| {
            let (cell, channel) = (i / channels, i % channels);
            weights.values[o * inputs + channel * cells + cell]
        };
        let weights = pack(1, inputs, outputs, bias, weight);
        self.push(step, Op::Conv { weights, stride: 1, pad: Pad { begin: 0, end: 0 } }, from_value)
    }

    /// Turns from pictures to a batch of dense rows.
    fn gather_from(&mut self, step: &Step, from: Place) -> Result<usize, GraphError> {
        let value = &self.values[from.value];
        let (Some((height, width)), true) = (value.size, from.flat && from.channels == value.channels) else {
            return Err(unsupported(step, "reads something that is not a flattened picture of fixed size"));
        };
        let to = self.values.len();
        let channels = height * width * value.channels;
        self.values.push(Value { channels, size: None, border: 0, buffer: 0 });
        self.gather = Some(Gather { layer: self.layers.len(), from: from.value, to });
        Ok(to)
    }

    /// The last layer, if it made `place` and nothing else reads what it makes.
    fn sole_maker(&mut self, step: &Step, name: &str, place: Place) -> Result<&mut Layer, GraphError> {
        let whole = self.values[place.value].channels == place.channels && !place.flat && !place.softmax;
        let sole = self.graph.readers(name) == 1;
        match self.layers.iter_mut().find(|l| l.to == place.value) {
            Some(layer) if whole && sole => Ok(layer),
            _ => Err(unsupported(step, "does not follow a layer that it can be joined to")),
        }
    }

    fn fuse_slope(&mut self, step: &Step, from: Place, slope: &[f32]) -> Result<Place, GraphError> {
        let slope = match slope {
            [one] => vec![*one; from.channels],
            many if many.len() == from.channels => many.to_vec(),
            many => {
                let text = format!("{} has {} slopes for {} channels", step.name, many.len(), from.channels);
                return Err(GraphError::Damaged(text));
            }
        };
        let layer = self.sole_maker(step, &step.input, from)?;
        let slot = match &mut layer.op {
            Op::Conv { weights, .. } if layer.add.is_none() => &mut weights.slope,
            Op::Depthwise { weights, .. } => &mut weights.slope,
            _ => return Err(unsupported(step, "does not follow a convolution")),
        };
        if slot.is_some() {
            return Err(unsupported(step, "follows another PRelu"));
        }
        *slot = Some(lanes(&slope));
        Ok(from)
    }

    fn fuse_addition(&mut self, step: &Step, from: Place, other: &str) -> Result<Place, GraphError> {
        let Some(&other_place) = self.places.get(other) else {
            return Err(GraphError::Damaged(format!("{} reads {other}, which nothing makes", step.name)));
        };
        let alike = from.channels == other_place.channels && !other_place.flat && !other_place.softmax;
        let same_size = self.values[from.value].size == self.values[other_place.value].size;
        if !(alike && same_size && self.values[from.value].size.is_some()) {
            return Err(unsupported(step, "adds values of unlike or open shape"));
        }
        // Whichever of the two was made last takes the other in.
        let (name, last, first) = if from.value > other_place.value {
            (step.input.as_str(), from, other_place)
        } else {
            (other, other_place, from)
        };
        let layer = self.sole_maker(step, name, last)?;
        if !matches!(layer.op, Op::Conv { .. }) || layer.add.is_some() || last.value == first.value {
            return Err(unsupported(step, "does not add to a convolution"));
        }
        layer.add = Some(first.value);
        Ok(last)
    }

    fn finish(mut self) -> Result<DirectNet, GraphError> {
        let mut heads = Vec::new();
        for name in &self.graph.outputs {
            let Some(&Place { value, first, channels, softmax, flat }) = self.places.get(name.as_str())
            else {
                return Err(GraphError::Damaged(format!("nothing makes the output {name}")));
            };
            let batched = self.gather.as_ref().is_none_or(|g| value > g.to);
            let cells = self.values[value].size;
            if !batched || (flat && self.gather.is_none() && cells != Some((1, 1))) {
                return Err(GraphError::Unsupported(format!("the output {name} is not at the end")));
            }
            heads.push(Head { name: name.clone(), value, first, channels, softmax });
        }
        for layer in &self.layers {
            if let Op::Conv { pad, .. } | Op::Depthwise { pad, .. } = layer.op {
                let border = &mut self.values[layer.from].border;
                *border = pad.begin.max(pad.end).max(*border);
            }
        }
        if heads.iter().any(|head| self.values[head.value].border > 0) {
            return Err(GraphError::Unsupported("an output is also read by a padded layer".into()));
        }
        self.assign_buffers(&heads);
        Ok(DirectNet::new(self.layers, self.values, self.gather, heads))
    }

    /// Lets values share a buffer when the one is read for the last time before the other is made. A bordered one
    /// is shared only by values of the same shape, whose border stays zero.
    fn assign_buffers(&mut self, heads: &[Head]) {
        let mut last_read = vec![0; self.values.len()];
        for (index, layer) in self.layers.iter().enumerate() {
            [Some(layer.from), layer.add].into_iter().flatten().for_each(|v| last_read[v] = index);
        }
        for kept in heads.iter().map(|h| h.value).chain(self.gather.iter().flat_map(|g| [g.from, g.to])) {
            last_read[kept] = usize::MAX;
        }
        let shape = |v: &Value| (v.border > 0).then_some((v.channels, v.size, v.border));
        let mut owners: Vec<usize> = vec![0];
        let mut make = |values: &mut Vec<Value>, value: usize, now: usize| {
            let free = owners
                .iter()
                .position(|&owner| last_read[owner] < now && shape(&values[owner]) == shape(&values[value]));
            let buffer = free.unwrap_or(owners.len());
            if free.is_some() {
                owners[buffer] = value;
            } else {
                owners.push(value);
            }
            values[value].buffer = buffer;
        };
        if let Some(gather) = &self.gather {
            make(&mut self.values, gather.to, 0);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            make(&mut self.values, layer.to, index);
        }
    }
}

fn unsupported(step: &Step, why: &str) -> GraphError {
    GraphError::Unsupported(format!("{} {why}", step.name))
}

fn convolution(
    step: &Step,
    inputs: usize,
    weights: &Weights,
    bias: &[f32],
    (stride, pad, group): (usize, Pad, usize),
) -> Result<Op, GraphError> {
    let &[outputs, group_inputs, kernel, _] = weights.dims.as_slice() else {
        return Err(unsupported(step, "has weights of another shape"));
    };
    let values = &weights.values;
    if group == 1 && group_inputs == inputs {
        let weights = pack(kernel, inputs, outputs, bias, |o, i| {
            let (tap, channel) = (i / inputs, i % inputs);
            values[(o * inputs + channel) * kernel * kernel + tap]
        });
        return Ok(Op::Conv { weights, stride, pad });
    }
    if group == inputs && outputs == inputs && group_inputs == 1 && inputs.is_multiple_of(LANES) {
        let taps = (0..kernel * kernel).flat_map(|tap| (0..inputs).map(move |c| (tap, c)));
        let weights: Vec<f32> = taps.map(|(tap, c)| values[c * kernel * kernel + tap]).collect();
        let weights = DepthwiseWeights { kernel, weights: lanes(&weights), bias: lanes(bias), slope: None };
        return Ok(Op::Depthwise { weights, stride, pad });
    }
    Err(unsupported(step, &format!("has {group} groups over {inputs} channels")))
}

/// Packs weights for [`super::kernels::conv`]; `weight(output, i)` with `i` over kernel rows, columns, inputs.
fn pack(
    kernel: usize,
    inputs: usize,
    outputs: usize,
    bias: &[f32],
    weight: impl Fn(usize, usize) -> f32,
) -> ConvWeights {
    let run = kernel * kernel * inputs;
    let blocks = (0..outputs.div_ceil(LANES)).flat_map(|block| (0..run).map(move |i| (block, i)));
    let lane = |block: usize, i: usize, l: usize| {
        let output = block * LANES + l;
        if output < outputs { weight(output, i) } else { 0.0 }
    };
    let weights = blocks.map(|(block, i)| std::array::from_fn(|l| lane(block, i, l))).collect();
    ConvWeights { kernel, inputs, outputs, weights, bias: lanes(bias), slope: None }
}

/// Two convolutions of the same input as one, the outputs of `a` first.
fn join(a: &ConvWeights, b: &ConvWeights) -> ConvWeights {
    let run = a.kernel * a.kernel * a.inputs;
    let of = |w: &ConvWeights, o: usize, i: usize| w.weights[o / LANES * run + i][o % LANES];
    let bias = [(a, a.outputs), (b, b.outputs)];
    let bias = bias.iter().flat_map(|(w, n)| w.bias.as_flattened()[..*n].iter().copied());
    let bias: Vec<f32> = bias.collect();
    pack(a.kernel, a.inputs, a.outputs + b.outputs, &bias, |o, i| {
        if o < a.outputs { of(a, o, i) } else { of(b, o - a.outputs, i) }
    })
}

fn lanes(values: &[f32]) -> Vec<Lanes> {
    let lane = |chunk: &[f32]| std::array::from_fn(|l| chunk.get(l).copied().unwrap_or(0.0));
    values.chunks(LANES).map(lane).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Small whole numbers: sums of their products are exact in f32, so results can be compared for equality.
    fn numbers(seed: usize, count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 2_654_435_761 + seed * 40_503) >> 7) % 7).map(|v| v as f32 - 3.0).collect()
    }

    fn step(input: &str, output: &str, node: Node) -> Step {
        Step { name: output.into(), input: input.into(), output: output.into(), node }
    }

    fn graph(channels: usize, size: (usize, usize), steps: Vec<Step>, outputs: &[&str]) -> Graph {
        let outputs = outputs.iter().map(|o| (*o).to_owned()).collect();
        Graph { input: "in".into(), channels, size: Some(size), outputs, steps }
    }

    fn conv(channels: usize, outputs: usize, kernel: usize, stride: usize, pad: Pad) -> Node {
        let values = numbers(1, outputs * channels * kernel * kernel);
        let weights = Weights { dims: vec![outputs, channels, kernel, kernel], values };
        Node::Conv { weights, bias: numbers(2, outputs), stride, pad, group: 1 }
    }

    /// What a convolution stands for: height, width and NHWC values.
    fn naive(node: &Node, input: &[f32], (height, width): (usize, usize)) -> (usize, usize, Vec<f32>) {
        let Node::Conv { weights, bias, stride, pad, .. } = node else { panic!("not a convolution") };
        let [outputs, channels, kernel, _] = weights.dims[..] else { panic!("not a convolution") };
        let size = |side: usize| (side + pad.begin + pad.end - kernel) / stride + 1;
        let mut out = Vec::new();
        for (y, x, o) in (0..size(height))
            .flat_map(|y| (0..size(width)).flat_map(move |x| (0..outputs).map(move |o| (y, x, o))))
        {
            let mut sum = bias[o];
            for (ky, kx, c) in (0..kernel)
                .flat_map(|ky| (0..kernel).flat_map(move |kx| (0..channels).map(move |c| (ky, kx, c))))
            {
                let (sy, sx) = (y * stride + ky, x * stride + kx);
                let inside = (pad.begin..pad.begin + height).contains(&sy)
                    && (pad.begin..pad.begin + width).contains(&sx);
                if inside {
                    let value = input[((sy - pad.begin) * width + sx - pad.begin) * channels + c];
                    sum += value * weights.values[((o * channels + c) * kernel + ky) * kernel + kx];
                }
            }
            out.push(sum);
        }
        (size(height), size(width), out)
    }

    /// All values of the output, cell by cell.
    fn output(net: &DirectNet, name: &str) -> Vec<f32> {
        let view = net.output(name).unwrap();
        let cells = 0..view.rows * view.columns;
        cells.flat_map(|c| view.data[c * view.step + view.first..][..view.channels].to_vec()).collect()
    }

    proptest! {
        #[test]
        fn a_convolution_of_any_shape_is_the_sum_that_it_stands_for(
            (channels, outputs) in (1usize..20, 1usize..40),
            (kernel, stride) in (1usize..4, 1usize..3),
            (begin, end) in (0usize..3, 0usize..3),
            (height, width) in (3usize..12, 3usize..12),
            slope in prop::option::of(-2i8..3),
        ) {
            let pad = Pad { begin: begin.min(kernel - 1), end: end.min(kernel - 1) };
            let node = conv(channels, outputs, kernel, stride, pad);
            let input = numbers(3, height * width * channels);
            let (_, _, mut want) = naive(&node, &input, (height, width));
            let mut steps = vec![step("in", "conv", node)];
            if let Some(slope) = slope {
                let slope = f32::from(slope) / 2.0;
                want.iter_mut().filter(|v| **v < 0.0).for_each(|v| *v *= slope);
                steps.push(step("conv", "out", Node::PRelu { slope: vec![slope; outputs] }));
            }
            let name = if slope.is_some() { "out" } else { "conv" };
            let mut net = compile(&graph(channels, (height, width), steps, &[name])).unwrap();
            prop_assert!(net.run(1, height, width, &input));
            prop_assert_eq!(output(&net, name), want);
        }
    }

    #[test]
    fn a_residual_is_added_after_the_convolution_and_heads_share_one_pass() {
        let pad = Pad { begin: 1, end: 1 };
        let steps = vec![
            step("in", "a", conv(4, 4, 3, 1, pad)),
            step("in", "sum", Node::Add { other: "a".into() }),
            step("sum", "left", conv(4, 2, 1, 1, Pad { begin: 0, end: 0 })),
            step("sum", "right", conv(4, 4, 1, 1, Pad { begin: 0, end: 0 })),
        ];
        let graph = graph(4, (5, 6), steps, &["left", "right"]);
        let mut net = compile(&graph).unwrap();
        assert_eq!(net.layers.len(), 2);
        let input = numbers(5, 5 * 6 * 4);
        assert!(net.run(1, 5, 6, &input));
        let (_, _, a) = naive(&graph.steps[0].node, &input, (5, 6));
        let sum: Vec<f32> = a.iter().zip(&input).map(|(a, b)| a + b).collect();
        assert_eq!(output(&net, "left"), naive(&graph.steps[2].node, &sum, (5, 6)).2);
        assert_eq!(output(&net, "right"), naive(&graph.steps[3].node, &sum, (5, 6)).2);
    }

    #[test]
    fn what_the_kernels_cannot_do_is_left_to_tract() {
        let pad = Pad { begin: 0, end: 0 };
        let grouped = || match conv(4, 4, 1, 1, pad) {
            Node::Conv { weights, bias, stride, pad, .. } => {
                Node::Conv { weights, bias, stride, pad, group: 2 }
            }
            other => other,
        };
        let softmax_inside = vec![step("in", "a", Node::Softmax), step("a", "b", conv(4, 4, 1, 1, pad))];
        let both = vec![step("in", "a", conv(4, 4, 1, 1, pad)), step("a", "b", Node::Softmax)];
        for (steps, outputs) in
            [(vec![step("in", "a", grouped())], &["a"][..]), (softmax_inside, &["b"]), (both, &["a", "b"])]
        {
            let refused = compile(&graph(4, (4, 4), steps, outputs));
            assert!(matches!(refused, Err(GraphError::Unsupported(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_graph_that_contradicts_itself_is_damaged() {
        let steps = vec![step("nowhere", "a", Node::Flatten)];
        assert!(matches!(compile(&graph(4, (4, 4), steps, &["a"])), Err(GraphError::Damaged(_))));
        let large = conv(4, 4, 3, 1, Pad { begin: 0, end: 0 });
        let steps = vec![step("in", "a", large)];
        assert!(matches!(compile(&graph(4, (2, 2), steps, &["a"])), Err(GraphError::Damaged(_))));
    }
}
