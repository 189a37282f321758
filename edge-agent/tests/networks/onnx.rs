//! A writer of ONNX files, just large enough for bad ones. Field numbers are those of onnx.proto (IR version 8).

/// ONNX's numbers for element types.
pub const FLOAT: u64 = 1;
pub const INT64: u64 = 7;

/// A node as bytes.
pub type Node = Vec<u8>;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A model from the float `input` of `shape` to the value `embedding`.
pub fn model(nodes: &[Node], weights: &[Vec<u8>], shape: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|d| bytes(1, number(1, *d as u64))).collect();
    let value = |name: &str, kind: Vec<u8>| [bytes(1, name), bytes(2, bytes(1, kind))].concat();
    let graph = [
        nodes.iter().flat_map(|n| bytes(1, n)).collect(),
        bytes(2, "graph"),
        weights.iter().flat_map(|w| bytes(5, w)).collect(),
        bytes(11, value("input", [number(1, FLOAT), bytes(2, dims)].concat())),
        bytes(12, value("embedding", number(1, FLOAT))),
    ];
    model_of(&graph.concat())
}

fn model_of(graph: &[u8]) -> Vec<u8> {
    [number(1, 8), bytes(7, graph), bytes(8, [bytes(1, ""), number(2, 13)].concat())].concat()
}

/// A node of kind `kind`.
pub fn node(kind: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Node {
    let parts = [
        inputs.iter().flat_map(|i| bytes(1, i)).collect(),
        outputs.iter().flat_map(|o| bytes(2, o)).collect(),
        bytes(3, "a node"),
        bytes(4, kind),
        attributes.iter().flat_map(|a| bytes(5, a)).collect::<Vec<u8>>(),
    ];
    parts.concat()
}

/// A convolution with the constants `weights`.
pub fn convolution(from: &str, to: &str, weights: &[&str]) -> Node {
    node("Conv", &[&[from], weights].concat(), &[to], &[])
}

/// A rectifier.
pub fn relu(from: &str, to: &str) -> Node {
    node("Relu", &[from], &[to], &[])
}

/// An attribute of numbers.
pub fn attribute_ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|v| number(8, *v as u64)).collect();
    [bytes(1, name), values, number(20, 7)].concat()
}

/// An attribute that holds a tensor.
pub fn attribute_tensor(name: &str, tensor: &[u8]) -> Vec<u8> {
    [bytes(1, name), bytes(5, tensor), number(20, 4)].concat()
}

fn header(name: &str, dims: &[i64], kind: u64) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|d| number(1, *d as u64)).collect();
    [dims, number(2, kind), bytes(8, name)].concat()
}

/// Floats that say to be of `dims`.
pub fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    tensor_of(name, dims, FLOAT, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

/// Elements of `kind` that say to be of `dims`.
pub fn tensor_of(name: &str, dims: &[i64], kind: u64, raw: &[u8]) -> Vec<u8> {
    [header(name, dims, kind), bytes(9, raw)].concat()
}

/// Floats that are said to lie in the file `place`.
pub fn external(name: &str, dims: &[i64], place: &str) -> Vec<u8> {
    let location = [bytes(1, "location"), bytes(2, place)].concat();
    [header(name, dims, FLOAT), bytes(13, location), number(14, 1)].concat()
}

/// A model whose graph holds a node that holds a graph, so many deep.
pub fn nested(depth: usize) -> Vec<u8> {
    // The lengths grow from the inside; prefixes are put before, so they are made inside out and joined in the end.
    let (mut prefixes, mut length) = (Vec::new(), 0);
    for _ in 0..depth {
        for field in [6, 5, 1] {
            let prefix = [varint(field << 3 | 2), varint(length as u64)].concat();
            length += prefix.len();
            prefixes.push(prefix);
        }
    }
    model_of(&prefixes.into_iter().rev().flatten().collect::<Vec<u8>>())
}
