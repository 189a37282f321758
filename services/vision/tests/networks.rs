//! The shipped networks against onnxruntime (`data/golden.json`, made by `models/make/golden.py`), and our direct
//! kernels against tract.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use rollcall_vision::net::Network;

#[derive(serde::Deserialize)]
struct Golden {
    networks: Vec<GoldenNetwork>,
}

#[derive(serde::Deserialize)]
struct GoldenNetwork {
    file: String,
    input_shape: [usize; 4],
    outputs: BTreeMap<String, GoldenOutput>,
}

#[derive(serde::Deserialize)]
struct GoldenOutput {
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn golden() -> Vec<GoldenNetwork> {
    let text = include_str!("data/golden.json");
    serde_json::from_str::<Golden>(text).expect("golden.json is well formed").networks
}

fn model(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(file))
        .expect("the network file")
}

/// The synthetic input of golden.py in NHWC order.
fn synthetic([count, channels, height, width]: [usize; 4]) -> Vec<f32> {
    let value = |index: u64| {
        let hash = (index * 2_654_435_761) & 0xffff_ffff;
        let hash = hash ^ (hash >> 15);
        (-1.0 + 2.0 * (hash as f64 / 4_294_967_296.0)) as f32
    };
    let mut input = Vec::new();
    for n in 0..count {
        for cell in 0..height * width {
            input.extend((0..channels).map(|c| value(((n * channels + c) * height * width + cell) as u64)));
        }
    }
    input
}

/// The worst difference between an output and the golden one, which is in NCHW order.
fn worst(network: &Network, name: &str, golden: &GoldenOutput) -> f32 {
    let (channels, cells) = (golden.shape[1], golden.shape[2..].iter().product::<usize>());
    let output = network.output(name, channels).expect("the output");
    assert_eq!(output.rows() * output.columns(), golden.values.len() / channels);
    let differences = golden.values.iter().enumerate().map(|(at, want)| {
        let (picture, channel, cell) = (at / (channels * cells), at / cells % channels, at % cells);
        (output.cell(picture * cells + cell)[channel] - want).abs()
    });
    differences.fold(0.0, f32::max)
}

/// Runs the golden input through `network` and holds every output against the golden one.
fn agrees(network: &mut Network, golden: &GoldenNetwork) {
    let [count, _, height, width] = golden.input_shape;
    network.run(count, height, width, &synthetic(golden.input_shape)).unwrap();
    for (name, output) in &golden.outputs {
        let largest = output.values.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let worst = worst(network, name, output);
        // Sums of up to 2,304 products in another order: 2e-5 of the largest value leaves a factor of ten.
        assert!(worst <= 2e-5 * largest, "{} {name}: {worst}", golden.file);
    }
}

#[test]
fn every_shipped_network_agrees_with_onnxruntime() {
    for golden in golden() {
        let mut network = Network::from_onnx(&golden.file, &model(&golden.file)).unwrap();
        assert!(network.is_direct(), "{} runs on the direct kernels", golden.file);
        agrees(&mut network, &golden);
    }
}

#[test]
fn tract_agrees_with_onnxruntime_too_so_either_engine_will_do() {
    for golden in golden() {
        let mut network = Network::from_onnx_by_tract(&golden.file, &model(&golden.file)).unwrap();
        agrees(&mut network, &golden);
    }
}

#[test]
fn a_picture_gives_the_same_result_alone_and_in_a_batch() {
    for (file, side, name, channels) in
        [("mtcnn_rnet.onnx", 24, "reg", 4), ("mtcnn_onet.onnx", 48, "landmark", 10)]
    {
        let mut network = Network::from_onnx(file, &model(file)).unwrap();
        let batch = synthetic([7, 3, side, side]);
        network.run(7, side, side, &batch).unwrap();
        let output = network.output(name, channels).unwrap();
        let together: Vec<Vec<f32>> = (0..7).map(|i| output.cell(i).to_vec()).collect();
        for (picture, want) in batch.chunks_exact(side * side * 3).zip(together) {
            network.run(1, side, side, picture).unwrap();
            assert_eq!(network.output(name, channels).unwrap().cell(0), want);
        }
    }
}
