//! A network that makes its engine panic, put into the liveness slot with the right hash: FAULTS.md 94 with the whole
//! program. The thread alone, and frames that are lost one by one: `edge-agent/src/recognition/thread/tests.rs`.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use rollcall_tests::scene::{Film, Scene};
use rollcall_tests::{Agent, repository};
use sha2::{Digest as _, Sha256};

#[test]
fn f094_the_third_frame_that_a_panic_costs_ends_the_program_with_an_error() {
    let mut agent = Agent::configured(|folder| {
        let scene = folder.join("scene.mjpeg");
        std::fs::write(&scene, Film { fps: 5, ..Film::default() }.mjpeg(Scene::Five)).unwrap();
        format!(
            "[camera]\nsource = \"file\"\nframes_per_second = 5\nfile = \"{}\"\nrepeat = true\n",
            scene.display()
        )
    });
    let models = agent.folder().join("models");
    std::fs::create_dir(&models).unwrap();
    put_in(&models);
    agent.set_models(&models);
    agent.restart();
    assert_eq!(agent.end().code, Some(1));
    let log = agent.log();
    assert_eq!(log.matches("a frame was lost").count(), 3, "{log}");
    assert!(log.contains("the third lost frame within a minute"), "{log}");
}

/// The shipped networks and the hostile one.
fn put_in(models: &Path) {
    for entry in std::fs::read_dir(repository("models")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, models.join(path.file_name().unwrap())).unwrap();
        }
    }
    let network = network();
    std::fs::write(models.join("hostile.onnx"), &network).unwrap();
    let sha256: String = Sha256::digest(&network).iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = std::fs::read_to_string(models.join("manifest.toml")).unwrap();
    let entry = format!(
        "\n[[network]]\nname = \"hostile\"\nrole = \"liveness\"\nversion = \"1\"\nfile = \"hostile.onnx\"\n\
         sha256 = \"{sha256}\"\nlicence = \"MIT\"\norigin = \"a test\"\ncard = \"cards/liveness.md\"\nenlarge = 2.7\n\
         input = {{ name = \"input\", shape = [\"N\", 3, 80, 80], colour = \"BGR\", mean = 0.0, scale = 1.0 }}\n\
         outputs = [{{ name = \"prob\", shape = [\"N\", 3] }}]\n"
    );
    std::fs::write(models.join("manifest.toml"), manifest + &entry).unwrap();
}

/// ONNX: every value of the picture is the place in a table that has one place only.
fn network() -> Vec<u8> {
    const FLOAT: u64 = 1;
    const INT64: u64 = 7;
    const ATTRIBUTE_OF_INT: u64 = 2;
    let to = [text(1, "to"), number(3, INT64), number(20, ATTRIBUTE_OF_INT)].concat();
    let cast = [text(1, "input"), text(2, "places"), text(4, "Cast"), bytes(5, &to)].concat();
    let gather = [text(1, "table"), text(1, "places"), text(2, "prob"), text(4, "Gather")].concat();
    let table = [number(1, 1), number(2, FLOAT), text(8, "table"), bytes(9, &1.0_f32.to_le_bytes())].concat();
    let value = |name: &str| {
        let sides = [1, 3, 80, 80].map(|side| bytes(1, &number(1, side))).concat();
        let tensor = [number(1, FLOAT), bytes(2, &sides)].concat();
        [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
    };
    let graph = [
        bytes(1, &cast),
        bytes(1, &gather),
        text(2, "hostile"),
        bytes(5, &table),
        bytes(11, &value("input")),
        bytes(12, &value("prob")),
    ];
    [number(1, 8), bytes(7, &graph.concat()), bytes(8, &number(2, 13))].concat()
}

/// Fields of Protocol Buffers, by their number: <https://protobuf.dev/programming-guides/encoding/>.
fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint((field << 3) | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
