//! Networks and manifests that are not what they should be.
#![allow(clippy::unwrap_used)]

mod harness;
#[path = "networks/onnx.rs"]
mod onnx;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use harness::{Finished, edge_agent, folder, repository, run, run_to_any_end, with_models};
use onnx::{Node, attribute_ints, convolution, external, model, node, relu, tensor, tensor_of};
use rustix::fs::{CWD, Mode, mkfifoat};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const NETWORKS: [&str; 4] =
    ["mtcnn_pnet.onnx", "mtcnn_rnet.onnx", "mtcnn_onet.onnx", "mobilefacenet_128.onnx"];

/// The networks and their manifest in a folder of their own.
fn models() -> TempDir {
    let folder = folder();
    for name in NETWORKS.iter().chain(&["manifest.toml"]) {
        fs::copy(repository("models").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Looks for faces in a picture that is not there: had the program come as far, it would print a line about it.
fn detect(models: &Path) -> Finished {
    run(with_models(models).args(["detect", "--json", "missing.jpg"]))
}

fn edit_manifest(models: &TempDir, edit: impl FnOnce(String) -> String) {
    let path = models.path().join("manifest.toml");
    fs::write(&path, edit(fs::read_to_string(&path).unwrap())).unwrap();
}

#[test]
fn f090_a_network_that_is_not_the_manifests_is_refused_with_both_hashes() {
    type Change = fn(&Path);
    let changes: &[(&str, Change)] = &[
        ("the first byte changed", |path| change_byte(path, |_| 0)),
        ("a byte in the middle changed", |path| change_byte(path, |length| length / 2)),
        ("the last byte changed", |path| change_byte(path, |length| length - 1)),
        ("cut off", |path| fs::write(path, &fs::read(path).unwrap()[..20_000]).unwrap()),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("a byte more", |path| fs::write(path, [fs::read(path).unwrap(), vec![0]].concat()).unwrap()),
        ("another network under its name", |path| {
            fs::copy(other(path), path).unwrap();
        }),
        ("a link to another network", |path| {
            fs::remove_file(path).unwrap();
            symlink(other(path), path).unwrap();
        }),
        ("a link out of the folder", |path| {
            fs::remove_file(path).unwrap();
            symlink("/etc/passwd", path).unwrap();
        }),
    ];
    for network in NETWORKS {
        for (what, change) in changes {
            let models = models();
            let path = models.path().join(network);
            let wanted = sha256(&fs::read(&path).unwrap());
            change(&path);
            let found = sha256(&fs::read(&path).unwrap());
            assert_ne!(found, wanted, "{what}");
            let name = network.trim_end_matches(".onnx").replace('_', "-");
            detect(models.path()).refused(&[&name, network, &wanted, &found]);
        }
    }
}

/// Another of the networks than that in `path`.
fn other(path: &Path) -> std::path::PathBuf {
    let rnet = path.with_file_name("mtcnn_rnet.onnx");
    if path == rnet { path.with_file_name("mtcnn_onet.onnx") } else { rnet }
}

fn change_byte(path: &Path, at: fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn f090_a_network_of_the_same_shape_with_other_weights_is_refused() {
    let models = models();
    let path = models.path().join("mobilefacenet_128.onnx");
    let mut bytes = fs::read(&path).unwrap();
    // Inside the weights, where every bit pattern of small floats is as good as another.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].rotate_left(4);
    fs::write(&path, &bytes).unwrap();
    detect(models.path()).refused(&["mobilefacenet-128", &sha256(&bytes)]);
    edit_manifest(&models, |text| {
        text.replace(
            &sha256(&fs::read(repository("models/mobilefacenet_128.onnx")).unwrap()),
            &sha256(&bytes),
        )
    });
    // It is a network of that shape: once the manifest means it, it runs.
    let mut command = with_models(models.path());
    command.args(["detect", "--json", "--embed"]).arg(harness::portrait("astronaut.png"));
    run(&mut command).good();
}

#[test]
fn f090_a_network_that_is_missing_or_no_file_is_refused_by_name() {
    type Change = fn(&Path);
    let changes: &[(Change, &str)] = &[
        (|_| (), "No such file"),
        (|path| fs::create_dir(path).unwrap(), "not a regular file"),
        (|path| mkfifoat(CWD, path, Mode::RWXU).unwrap(), "not a regular file"),
        (|path| symlink(path, path).unwrap(), "symbolic links"),
        (|path| symlink("/dev/zero", path).unwrap(), "not a regular file"),
        (|path| fs::File::create(path).unwrap().set_len(400 << 20).unwrap(), "more than"),
    ];
    for (change, why) in changes {
        let models = models();
        let path = models.path().join("mtcnn_onet.onnx");
        let wanted = sha256(&fs::read(&path).unwrap());
        fs::remove_file(&path).unwrap();
        change(&path);
        detect(models.path()).refused(&["mtcnn-onet", "mtcnn_onet.onnx", &wanted, why]);
    }
}

#[test]
fn f090_every_command_refuses_a_changed_network() {
    let models = models();
    change_byte(&models.path().join("mobilefacenet_128.onnx"), |length| length - 1);
    let gallery = repository("deploy/demo/gallery").display().to_string();
    let lists = folder();
    harness::put(&lists, "pairs.csv", "subset,fold,same,image1,image2\na,1,1,x.jpg,y.jpg\n");
    let root = lists.path().to_str().unwrap();
    let commands: &[&[&str]] = &[
        &["identify", "--gallery", &gallery, "missing.jpg"],
        &["evaluate", "verify", "--root", root],
        &["bench", "--rounds", "1"],
    ];
    for command in commands {
        run(with_models(models.path()).args(*command)).refused(&["mobilefacenet-128", "sha256"]);
    }
}

#[test]
fn a_manifest_that_is_not_usable_is_refused_by_what_is_wrong() {
    type Edit = fn(String) -> String;
    let cases: &[(Edit, &str)] = &[
        (|_| "\0\x07garbage".into(), "TOML parse error"),
        (|_| String::new(), "schema"),
        (|text| text.replacen("schema = 1", "schema = 2", 1), "its schema is 2"),
        (|text| text.replacen("schema = 1", "schema = 1\nsurprise = true", 1), "unknown field `surprise`"),
        (
            |text| text.replacen("version = \"1\"", "version = \"1\"\nsurprise = 1", 1),
            "unknown field `surprise`",
        ),
        (|text| text.replacen("detector-propose", "detector-invent", 1), "detector-invent"),
        (|text| text.replacen("detector-propose", "detector-refine", 1), "DetectorPropose"),
        (|text| text.replacen("detector-propose", "liveness", 1), "DetectorPropose"),
        (|text| text.replacen("\"mtcnn_pnet.onnx\"", "\"../mtcnn_pnet.onnx\"", 1), "no plain file name"),
        (|text| text.replacen("\"mtcnn_pnet.onnx\"", "\"/etc/passwd\"", 1), "no plain file name"),
        (|text| text.replacen("\"mtcnn_pnet.onnx\"", "\"a/b.onnx\"", 1), "no plain file name"),
        (|text| text.replacen("\"mtcnn_pnet.onnx\"", "\"..\"", 1), "no plain file name"),
        (|text| text.replacen("\"mtcnn_pnet.onnx\"", "\"\"", 1), "no plain file name"),
        (|text| text.replacen("\"4d9336bd", "\"4D9336BD", 1), "no sha256 in small letters"),
        (|text| text.replacen("\"4d9336bd", "\"d9336bd", 1), "no sha256 in small letters"),
        (|text| text.replacen("embedding_length = 128", "embedding_length = -1", 1), "embedding_length"),
        (|text| text + &"#".repeat(1 << 20), "more than 1048576 bytes"),
    ];
    for (edit, why) in cases {
        let models = models();
        edit_manifest(&models, edit);
        detect(models.path()).refused(&["manifest.toml", why]);
    }
}

#[test]
fn a_manifest_that_is_missing_is_named() {
    let empty = folder();
    detect(empty.path()).refused(&["manifest.toml", "No such file"]);
    detect(&empty.path().join("nowhere")).refused(&["manifest.toml", "No such file"]);
}

#[test]
fn a_manifest_that_contradicts_its_networks_is_refused() {
    type Edit = fn(String) -> String;
    let cases: &[(Edit, &[&str])] = &[
        (
            |text| text.replace("embedding_length = 128", "embedding_length = 512"),
            &["mobilefacenet-128", "512"],
        ),
        (|text| text.replace("\"embedding\", shape", "\"other\", shape"), &["mobilefacenet-128", "other"]),
    ];
    for (edit, words) in cases {
        let models = models();
        edit_manifest(&models, edit);
        let mut command = with_models(models.path());
        let run = run(command.args(["detect", "--json", "--embed"]).arg(harness::portrait("astronaut.png")));
        assert_ne!(run.code, Some(0));
        let said = run.stdout + &run.stderr;
        words.iter().for_each(|word| assert!(said.contains(word), "no {word:?} in {said}"));
    }
}

/// Puts `onnx` in the place of the embedding network, with its right hash, and embeds a face with it under a limit
/// of 4 GB of address space.
fn embed_with(onnx: &[u8]) -> Finished {
    let models = models();
    let file = models.path().join("mobilefacenet_128.onnx");
    let known = sha256(&fs::read(&file).unwrap());
    fs::write(&file, onnx).unwrap();
    edit_manifest(&models, |text| text.replace(&known, &sha256(onnx)));
    let agent = edge_agent();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 4000000; ulimit -c 0; exec \"$0\" \"$@\""]).arg(agent.get_program());
    command.arg("--models").arg(models.path());
    run_to_any_end(command.args(["detect", "--json", "--embed"]).arg(harness::portrait("astronaut.png")))
}

#[test]
fn f091_weights_outside_the_file_are_refused() {
    // Whoever opened this to read would wait for ever.
    let folder = folder();
    let pipe = folder.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    let places =
        ["../../etc/passwd", "/etc/passwd", "mtcnn_pnet.onnx", "/dev/zero", "", pipe.to_str().unwrap()];
    for place in places {
        for first in [Vec::new(), vec![node("Sigmoid", &["input"], &["a"], &[])]] {
            // Behind an operator that the direct kernels do not know, tract is asked.
            let from = if first.is_empty() { "input" } else { "a" };
            let nodes = [first, vec![convolution(from, "embedding", &["w"])]].concat();
            let onnx = model(&nodes, &[external("w", &[128, 3, 1, 1], place)], &[1, 3, 112, 112]);
            embed_with(&onnx).refused(&["mobilefacenet-128", "outside the file", "refused"]);
        }
    }
}

#[test]
fn f091_outside_data_in_an_attribute_is_refused() {
    let constant = node(
        "Constant",
        &[],
        &["c"],
        &[onnx::attribute_tensor("value", &external("c", &[1], "/etc/passwd"))],
    );
    let nodes = [constant, node("Add", &["input", "c"], &["embedding"], &[])];
    let run = embed_with(&model(&nodes, &[], &[1, 3, 112, 112]));
    run.refused(&["mobilefacenet-128", "outside the file", "refused"]);
}

/// Neither a hang nor an answer: an error that names the network, or a death that memory which the system refuses
/// brings about.
fn dies_cleanly(what: &str, onnx: &[u8]) {
    let Finished { code, signal, stdout, stderr, .. } = embed_with(onnx);
    let said = stdout + &stderr;
    let expected = match (code, signal) {
        (Some(1), None) => said.contains("mobilefacenet-128") && !said.contains("panicked"),
        // tract panics when it gets no memory, Rust's own collections abort.
        (Some(101), None) => said.contains("failed to allocate") && !said.contains("embedding\":"),
        (None, Some(libc::SIGABRT)) => said.contains("memory allocation"),
        _ => false,
    };
    assert!(expected, "{what}: status {code:?}, signal {signal:?}: {said}");
}

#[test]
fn f091_impossible_shapes_end_in_an_error() {
    let weights = |dims: &[i64]| tensor("w", dims, &[0.5; 6]);
    let network = |dims: &[i64]| {
        model(&[convolution("input", "embedding", &["w"])], &[weights(dims)], &[1, 3, 112, 112])
    };
    let tract = |dims: &[i64]| {
        let nodes = [node("Sigmoid", &["input"], &["a"], &[]), convolution("a", "embedding", &["w"])];
        model(&nodes, &[weights(dims)], &[1, 3, 112, 112])
    };
    for dims in [
        &[-2, -3, 1, 1][..],
        &[1 << 40, 3, 1, 1],
        &[1 << 32, 1 << 32, 1, 1],
        &[i64::MIN, 3, 1, 1],
        &[i64::MAX, i64::MAX, i64::MAX, i64::MAX],
        &[0, 3, 1, 1],
        &[2, 3],
        &[],
        &[1; 4096],
    ] {
        dies_cleanly(&format!("weights of {dims:.9?}"), &network(dims));
        dies_cleanly(&format!("tract, weights of {dims:.9?}"), &tract(dims));
    }
    for dims in [
        &[1, -3, 112, 112][..],
        &[1, 1 << 40, 112, 112],
        &[1, 16_384, 16_384, 16_384],
        &[1, 3, 1, 1 << 40],
        &[],
        &[1; 4096],
    ] {
        let weights = [tensor("w", &[2, 3, 1, 1], &[0.5; 6])];
        dies_cleanly(
            &format!("input of {dims:.9?}"),
            &model(&[convolution("input", "embedding", &["w"])], &weights, dims),
        );
        let nodes = [node("Sigmoid", &["input"], &["embedding"], &[])];
        dies_cleanly(&format!("tract, input of {dims:.9?}"), &model(&nodes, &[], dims));
    }
}

#[test]
fn f091_weights_without_their_values_end_in_an_error() {
    for dims in [&[1 << 40][..], &[1 << 20, 1 << 20], &[128, 3, 1, 1]] {
        let weights = tensor("w", dims, &[]);
        let plain = model(
            &[convolution("input", "embedding", &["w"])],
            std::slice::from_ref(&weights),
            &[1, 3, 112, 112],
        );
        dies_cleanly("no values", &plain);
        let nodes = [node("Sigmoid", &["input"], &["a"], &[]), node("Add", &["a", "w"], &["embedding"], &[])];
        dies_cleanly("tract, no values", &model(&nodes, &[weights], &[1, 3, 112, 112]));
    }
}

#[test]
fn f091_sizes_that_multiply_end_in_an_error() {
    let shape =
        tensor_of("s", &[4], onnx::INT64, &[1i64, 1 << 20, 1 << 20, 1].map(i64::to_le_bytes).concat());
    let nodes = [node("Expand", &["input", "s"], &["embedding"], &[])];
    dies_cleanly("expansion to 2^40", &model(&nodes, std::slice::from_ref(&shape), &[1, 1, 1, 1]));
    let nodes =
        [node("ConstantOfShape", &["s"], &["c"], &[]), node("Add", &["input", "c"], &["embedding"], &[])];
    dies_cleanly("constant of 2^40", &model(&nodes, &[shape], &[1, 1, 1, 1]));
    let weights = tensor("w", &[1, 3, 1, 1], &[0.5; 3]);
    let pads = attribute_ints("pads", &[1 << 40; 4]);
    let nodes = [node("Conv", &["input", "w"], &["embedding"], &[pads])];
    dies_cleanly("a border of 2^40", &model(&nodes, &[weights], &[1, 3, 112, 112]));
}

#[test]
fn f091_a_graph_that_is_none_ends_in_an_error() {
    let circle = [relu("b", "a"), relu("a", "b"), relu("a", "embedding")];
    let itself = [relu("embedding", "embedding")];
    let twice = [relu("input", "embedding"), relu("input", "embedding")];
    let nowhere = [relu("nothing", "embedding")];
    let unknown = [node("Surprise", &["input"], &["embedding"], &[])];
    let cases: &[(&str, &[Node])] = &[
        ("a circle", &circle),
        ("a node that feeds itself", &itself),
        ("two nodes with one output", &twice),
        ("a node that is fed by nobody", &nowhere),
        ("an operator that does not exist", &unknown),
        ("no nodes", &[]),
    ];
    for (what, nodes) in cases {
        dies_cleanly(what, &model(nodes, &[], &[1, 3, 112, 112]));
    }
}

#[test]
fn f091_names_of_10_mib_end_in_an_error() {
    let long = "n".repeat(10 << 20);
    dies_cleanly(
        "an operator",
        &model(&[node(&long, &["input"], &["embedding"], &[])], &[], &[1, 3, 112, 112]),
    );
    dies_cleanly("a value", &model(&[relu(&long, "embedding")], &[], &[1, 3, 112, 112]));
    let weights = tensor(&long, &[1, 3, 1, 1], &[0.5; 2]);
    dies_cleanly(
        "weights",
        &model(&[convolution("input", "embedding", &[&long])], &[weights], &[1, 3, 112, 112]),
    );
}

#[test]
fn f091_bytes_that_are_no_onnx_end_in_an_error() {
    let whole = fs::read(repository("models/mobilefacenet_128.onnx")).unwrap();
    for length in [0, 1, 7, 100, 4_096, whole.len() / 2, whole.len() - 1] {
        dies_cleanly(&format!("cut off after {length} bytes"), &whole[..length]);
    }
    dies_cleanly("zeros", &[0; 1_000]);
    dies_cleanly("a length of 2^63", &[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    // Groups within groups: a reader that calls itself for each runs out of stack (CVE-2024-7254 of protobuf-java).
    dies_cleanly("a million nested groups", &[0x0b; 1_000_000]);
}

#[test]
fn f091_a_graph_within_a_graph_within_a_graph_ends_in_an_error() {
    dies_cleanly("ten thousand graphs", &onnx::nested(10_000));
}
