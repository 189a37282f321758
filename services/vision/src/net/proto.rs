//! The part of an ONNX file that [`super::direct`] understands, checked field by field: the file is hostile until
//! shown otherwise, even though its hash was asked for by the manifest.

use std::collections::HashMap;

use tract_onnx::pb::{self, attribute_proto::AttributeType, tensor_proto::DataLocation};

/// Why a graph is not compiled.
#[derive(Debug)]
pub(super) enum GraphError {
    /// Well formed for all that is known, but not of the kind that the direct kernels run.
    Unsupported(String),
    /// Contradicts itself.
    Damaged(String),
}

impl std::fmt::Display for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Unsupported(why) | Self::Damaged(why)) = self;
        f.write_str(why)
    }
}

/// A constant tensor: `values.len()` is the product of `dims`.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub dims: Vec<usize>,
    pub values: Vec<f32>,
}

/// Zeros before and after the rows and the columns of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pad {
    pub begin: usize,
    pub end: usize,
}

/// One operator with its constants taken out of the graph.
#[derive(Debug)]
pub(super) enum Node {
    Conv { weights: Weights, bias: Vec<f32>, stride: usize, pad: Pad, group: usize },
    PRelu { slope: Vec<f32> },
    MaxPool { kernel: usize, pad_end: usize },
    Add { other: String },
    Flatten,
    Gemm { weights: Weights, bias: Vec<f32> },
    Softmax,
}

/// A node between two named values.
#[derive(Debug)]
pub(super) struct Step {
    pub name: String,
    pub input: String,
    pub output: String,
    pub node: Node,
}

/// A graph with one input and named outputs.
#[derive(Debug)]
pub(super) struct Graph {
    pub input: String,
    /// Channels, and height and width where they are fixed.
    pub channels: usize,
    pub size: Option<(usize, usize)>,
    pub outputs: Vec<String>,
    pub steps: Vec<Step>,
}

fn unsupported(what: impl Into<String>) -> GraphError {
    GraphError::Unsupported(what.into())
}

fn damaged(what: impl Into<String>) -> GraphError {
    GraphError::Damaged(what.into())
}

impl Graph {
    /// Reads the graph of a decoded ONNX model.
    pub(super) fn read(model: &pb::ModelProto) -> Result<Self, GraphError> {
        let graph = model.graph.as_ref().ok_or_else(|| damaged("the file holds no graph"))?;
        refuse_outside_data(graph)?;
        let mut constants = HashMap::new();
        for tensor in &graph.initializer {
            constants.insert(tensor.name.as_str(), tensor);
        }
        let input = sole_input(graph)?;
        let (channels, size) = input_shape(input)?;
        let steps = graph.node.iter().map(|n| read_step(n, &constants)).collect::<Result<_, _>>()?;
        let outputs = graph.output.iter().map(|o| o.name.clone()).collect();
        Ok(Self { input: input.name.clone(), channels, size, outputs, steps })
    }

    /// How many steps read the value `name`, counting a graph output as one.
    pub(super) fn readers(&self, name: &str) -> usize {
        let adds = |s: &Step| matches!(&s.node, Node::Add { other } if other == name);
        let steps = self.steps.iter().map(|s| usize::from(s.input == name) + usize::from(adds(s)));
        steps.sum::<usize>() + self.outputs.iter().filter(|o| *o == name).count()
    }
}

/// Channels of the pictures that the network takes, and their height and width where they are fixed.
pub(super) fn input_of(model: &pb::ModelProto) -> Result<(usize, Option<(usize, usize)>), GraphError> {
    let graph = model.graph.as_ref().ok_or_else(|| damaged("the file holds no graph"))?;
    input_shape(sole_input(graph)?)
}

/// ONNX lets a tensor name a file that holds its values, any file. Whichever engine runs: all is in the one file whose
/// hash was checked, or nothing is read.
fn refuse_outside_data(graph: &pb::GraphProto) -> Result<(), GraphError> {
    let attributes = || graph.node.iter().flat_map(|n| &n.attribute);
    let sparse = graph
        .sparse_initializer
        .iter()
        .chain(attributes().flat_map(|a| a.sparse_tensor.iter().chain(&a.sparse_tensors)));
    let tensors = graph.initializer.iter().chain(attributes().flat_map(|a| a.t.iter().chain(&a.tensors)));
    for tensor in tensors.chain(sparse.flat_map(|s| s.values.iter().chain(&s.indices))) {
        if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
            let name = &tensor.name;
            return Err(damaged(format!("the weights {name} are kept outside the file, which is refused")));
        }
    }
    // Not deep: the protobuf reader stops at 100 messages within each other.
    attributes().flat_map(|a| a.g.iter().chain(&a.graphs)).try_for_each(refuse_outside_data)
}

fn sole_input(graph: &pb::GraphProto) -> Result<&pb::ValueInfoProto, GraphError> {
    let is_constant = |name: &str| graph.initializer.iter().any(|t| t.name == name);
    let mut inputs = graph.input.iter().filter(|i| !is_constant(&i.name));
    match (inputs.next(), inputs.next()) {
        (Some(input), None) => Ok(input),
        _ => Err(unsupported("the graph does not have exactly one input")),
    }
}

/// `[N, channels, height, width]`.
fn input_shape(input: &pb::ValueInfoProto) -> Result<(usize, Option<(usize, usize)>), GraphError> {
    use pb::{tensor_shape_proto::dimension::Value::DimValue, type_proto::Value::TensorType};
    let shape = match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TensorType(tensor)) => tensor.shape.as_ref(),
        _ => None,
    };
    let dims = shape.map_or(&[][..], |s| &s.dim);
    let fixed = |i: usize| match dims.get(i).and_then(|d| d.value.as_ref()) {
        Some(&DimValue(n)) => usize::try_from(n).ok().filter(|n| (1..=1 << 14).contains(n)),
        _ => None,
    };
    match (dims.len(), fixed(1)) {
        (4, Some(channels)) => Ok((channels, fixed(2).zip(fixed(3)))),
        _ => Err(unsupported(format!("the input {} is not of shape N, channels, height, width", input.name))),
    }
}

fn read_step(node: &pb::NodeProto, constants: &HashMap<&str, &pb::TensorProto>) -> Result<Step, GraphError> {
    let name = if node.name.is_empty() { node.op_type.clone() } else { node.name.clone() };
    let input = |i: usize| node.input.get(i).map(String::as_str).filter(|s| !s.is_empty());
    let constant = |i: usize| match input(i) {
        None => Ok(None),
        Some(key) => match constants.get(key) {
            Some(tensor) => read_weights(tensor).map(Some),
            None => Err(unsupported(format!("input {i} of {name} is computed, not constant"))),
        },
    };
    let need = |i: usize| constant(i)?.ok_or_else(|| damaged(format!("{name} lacks its input {i}")));
    let (Some(from), [to]) = (input(0), node.output.as_slice()) else {
        return Err(damaged(format!("{name} does not have one input and one output")));
    };
    let step = |node: Node| Ok(Step { name: name.clone(), input: from.into(), output: to.clone(), node });
    let attributes = Attributes(node);
    match node.op_type.as_str() {
        "Conv" => {
            let (weights, bias) = (need(1)?, constant(2)?.map(|b| b.values));
            let &[outputs, _, kernel, width] = weights.dims.as_slice() else {
                return Err(unsupported(format!("{name} is not a convolution over rows and columns")));
            };
            let pads = attributes.ints("pads", 4, 0)?;
            let strides = attributes.ints("strides", 2, 1)?;
            let plain = kernel == width
                && pads[0] == pads[1]
                && pads[2] == pads[3]
                && pads.iter().all(|p| *p < kernel)
                && strides[0] == strides[1]
                && (1..=4).contains(&strides[0])
                && attributes.ints("dilations", 2, 1)?.iter().all(|d| *d == 1)
                && attributes.text("auto_pad").is_none_or(|p| p == "NOTSET");
            if !plain {
                return Err(unsupported(format!(
                    "{name} is not square, or dilated, or padded unlike in rows and columns"
                )));
            }
            let bias = bias.unwrap_or_else(|| vec![0.0; outputs]);
            if bias.len() != outputs {
                return Err(damaged(format!("{name} has {outputs} outputs and {} biases", bias.len())));
            }
            let group = attributes.ints("group", 1, 1)?[0];
            step(Node::Conv {
                weights,
                bias,
                stride: strides[0],
                pad: Pad { begin: pads[0], end: pads[2] },
                group,
            })
        }
        "PRelu" => step(Node::PRelu { slope: need(1)?.values }),
        "MaxPool" => {
            let kernel = attributes.ints("kernel_shape", 2, 0)?;
            let pads = attributes.ints("pads", 4, 0)?;
            let plain = kernel[0] == kernel[1]
                && pads[..2] == [0, 0]
                && pads[2] == pads[3]
                && pads[2] < kernel[0]
                && attributes.ints("strides", 2, 1)? == [2, 2]
                && attributes.ints("ceil_mode", 1, 0)? == [0];
            if !plain {
                return Err(unsupported(format!("{name} is not a square pooling with stride 2")));
            }
            step(Node::MaxPool { kernel: kernel[0], pad_end: pads[2] })
        }
        "Add" => match input(1) {
            Some(other) if !constants.contains_key(other) => step(Node::Add { other: other.into() }),
            _ => Err(unsupported(format!("{name} adds a constant"))),
        },
        "Flatten" if attributes.ints("axis", 1, 1)? == [1] => step(Node::Flatten),
        "Gemm" => {
            let (weights, bias) = (need(1)?, constant(2)?.map(|b| b.values));
            let plain = attributes.ints("transB", 1, 0)? == [1] && attributes.ints("transA", 1, 0)? == [0];
            if !plain || weights.dims.len() != 2 || attributes.has("alpha") || attributes.has("beta") {
                return Err(unsupported(format!("{name} is not of the form x * transposed weights + bias")));
            }
            let bias = bias.unwrap_or_else(|| vec![0.0; weights.dims[0]]);
            if bias.len() != weights.dims[0] {
                return Err(damaged(format!(
                    "{name} has {} outputs and {} biases",
                    weights.dims[0],
                    bias.len()
                )));
            }
            step(Node::Gemm { weights, bias })
        }
        "Softmax" if attributes.ints("axis", 1, 1)? == [1] => step(Node::Softmax),
        other => Err(unsupported(format!("{name} is a {other}"))),
    }
}

struct Attributes<'a>(&'a pb::NodeProto);

impl Attributes<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.attribute.iter().any(|a| a.name == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let attribute = self.0.attribute.iter().find(|a| a.name == name)?;
        std::str::from_utf8(&attribute.s).ok()
    }

    /// `count` non-negative integers (one may stand alone), or `default` for each where there is no such attribute.
    fn ints(&self, name: &str, count: usize, default: usize) -> Result<Vec<usize>, GraphError> {
        let Some(attribute) = self.0.attribute.iter().find(|a| a.name == name) else {
            return Ok(vec![default; count]);
        };
        let single = [attribute.i];
        let values =
            if attribute.r#type == AttributeType::Int as i32 { &single[..] } else { &attribute.ints };
        let values = values.iter().map(|&v| usize::try_from(v).ok().filter(|v| *v <= 1 << 14));
        match values.collect::<Option<Vec<_>>>() {
            Some(values) if values.len() == count => Ok(values),
            _ => Err(damaged(format!("{name} of {} is not {count} small numbers", self.0.name))),
        }
    }
}

fn read_weights(tensor: &pb::TensorProto) -> Result<Weights, GraphError> {
    let name = &tensor.name;
    if tensor.data_type != pb::tensor_proto::DataType::Float as i32 {
        return Err(unsupported(format!("the weights {name} are not 32-bit floats")));
    }
    let values: Vec<f32> = if tensor.raw_data.is_empty() {
        tensor.float_data.clone()
    } else {
        tensor.raw_data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let count = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match dims {
        Some(dims) if count(&dims) == Some(values.len()) && !values.is_empty() => {
            if values.iter().all(|v| v.is_finite()) {
                Ok(Weights { dims, values })
            } else {
                Err(damaged(format!("the weights {name} hold values that are not finite")))
            }
        }
        _ => {
            Err(damaged(format!("the weights {name} say {:?} and hold {} values", tensor.dims, values.len())))
        }
    }
}
