//! `edge-agent detect` on the bundled portraits, against what the reference implementation finds in them.
#![allow(clippy::unwrap_used)]

#[path = "../../services/vision/src/decode/pictures.rs"]
mod pictures;

mod harness;

use std::fs;

use harness::{edge_agent, faces, folder, keys, numbers, png_pixels, portrait, put, repository, run};
use serde_json::Value;

/// Boxes and landmarks: half a pixel of a face of hundreds. The reference blends pixels of a scaled picture in
/// another order and rounds, and each stage multiplies the differences of the one before.
const PLACE_PX: f64 = 0.5;

/// Embeddings: half a pixel of a landmark moves the aligned face by a tenth of one; and OpenCV blends with 5 bits.
const COSINE_MIN: f64 = 0.999;

/// Of tests/golden/make.py.
fn golden() -> Vec<Value> {
    let text = fs::read_to_string(repository("edge-agent/tests/golden/portraits.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["pictures"].as_array().unwrap().clone()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn faces_landmarks_and_embeddings_are_those_of_the_reference_implementation() {
    for picture in golden() {
        let file = picture["file"].as_str().unwrap();
        let mut command = edge_agent();
        command.args(["detect", "--json", "--embed"]).arg(repository("deploy/demo").join(file));
        let found = &run(&mut command).good().json()[0];
        assert_eq!((&found["width"], &found["height"]), (&picture["width"], &picture["height"]), "{file}");
        let (found, expected) = (found["faces"].as_array().unwrap(), picture["faces"].as_array().unwrap());
        assert_eq!(found.len(), expected.len(), "{file}");
        for (found, expected) in found.iter().zip(expected) {
            let near = |a: &Value, b: &Value| {
                let far = numbers(a).iter().zip(numbers(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(far <= PLACE_PX, "{file}: {a} is {far} from {b}");
            };
            near(&found["box"], &expected["box"]);
            (0..5).for_each(|i| near(&found["landmarks"][i], &expected["landmarks"][i]));
            let alike = cosine(&numbers(&found["embedding"]), &numbers(&expected["embedding"]));
            assert!(alike >= COSINE_MIN, "{file}: the embeddings have a cosine of {alike}");
        }
    }
}

#[test]
fn json_has_one_object_a_line_with_exactly_the_documented_keys() {
    let mut command = edge_agent();
    command.args(["detect", "--json"]).arg(portrait("astronaut.png")).arg(portrait("obama.jpg"));
    let run = run(&mut command).good();
    assert_eq!(run.stderr, "");
    let lines = run.json();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(keys(line), ["faces", "height", "image", "width"]);
        for face in line["faces"].as_array().unwrap() {
            assert_eq!(keys(face), ["box", "landmarks", "quality", "score"]);
            assert_eq!(numbers(&face["box"]).len(), 4);
            assert_eq!(face["landmarks"].as_array().unwrap().len(), 5);
            face["landmarks"].as_array().unwrap().iter().for_each(|p| assert_eq!(numbers(p).len(), 2));
            assert!((0.7..=1.0).contains(&face["score"].as_f64().unwrap()));
            let quality = [
                "brightness",
                "contrast",
                "inter_ocular_px",
                "issues",
                "nose_height",
                "roll_deg",
                "sharpness",
                "yaw_deg",
            ];
            assert_eq!(keys(&face["quality"]), quality);
        }
    }
    assert_eq!(lines[0]["image"], portrait("astronaut.png").to_str().unwrap());
}

#[test]
fn faces_come_by_falling_area() {
    // Three faces of different sizes in one picture, the largest in the middle.
    let (width, height, pixels) = png_pixels(&portrait("astronaut.png"));
    let mut sheet = vec![90u8; 3 * 1024 * 512];
    for (divisor, left) in [(2, 0), (1, 256), (3, 768)] {
        for y in 0..height / divisor {
            for x in 0..width / divisor {
                let from = (y * divisor * width + x * divisor) * 3;
                let to = (y * 1024 + left + x) * 3;
                if left + x < 1024 {
                    sheet[to..to + 3].copy_from_slice(&pixels[from..from + 3]);
                }
            }
        }
    }
    let bytes = pictures::png_of(&sheet, 1024, 512, png::ColorType::Rgb, png::BitDepth::Eight, |_| {});
    let folder = folder();
    let areas: Vec<f64> = faces(&put(&folder, "sheet.png", bytes))
        .iter()
        .map(|face| numbers(&face["box"]))
        .map(|b| (b[2] - b[0]) * (b[3] - b[1]))
        .collect();
    assert!(areas.len() >= 3, "{areas:?}");
    assert!(areas.is_sorted_by(|a, b| a >= b), "{areas:?}");
}

#[test]
fn an_embedding_has_128_values_and_length_1() {
    let mut command = edge_agent();
    command.args(["detect", "--json", "--embed"]).arg(portrait("astronaut.png"));
    let embedding = numbers(&run(&mut command).good().json()[0]["faces"][0]["embedding"]);
    assert_eq!(embedding.len(), 128);
    let length = embedding.iter().map(|v| v * v).sum::<f64>().sqrt();
    // Single precision: 128 roundings of 2^-24.
    assert!((length - 1.0).abs() < 1e-5, "{length}");
}

#[test]
fn without_json_a_line_for_people_tells_the_picture_and_its_faces() {
    let (file, mut command) = (portrait("astronaut.png"), edge_agent());
    let run = run(command.arg("detect").arg(&file)).good();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], format!("{} (512 x 512): 1 face", file.display()));
    assert!(lines[1].contains(" to (") && lines[1].contains("score 0.") || lines[1].contains("score 1.000"));
}

#[test]
fn pictures_without_a_face_give_no_faces() {
    let folder = folder();
    let plain = |name: &str, pixel: &dyn Fn(usize, usize) -> [u8; 3]| {
        let pixels: Vec<u8> = (0..200 * 300).flat_map(|i| pixel(i % 300, i / 300)).collect();
        let (colours, depth) = (png::ColorType::Rgb, png::BitDepth::Eight);
        put(&folder, name, pictures::png_of(&pixels, 300, 200, colours, depth, |_| {}))
    };
    let noise = |x: usize, y: usize| ((x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 13) as u8;
    let files = [
        plain("black.png", &|_, _| [0; 3]),
        plain("white.png", &|_, _| [255; 3]),
        plain("board.png", &|x, y| [if (x / 20 + y / 20) % 2 == 0 { 230 } else { 30 }; 3]),
        plain("noise.png", &|x, y| [noise(x, y), noise(x + 300, y), noise(x, y + 200)]),
        put(&folder, "ramp.jpg", pictures::jpeg(320, 240)),
        put(&folder, "smallest.png", pictures::png(12, 12)),
    ];
    for line in run(edge_agent().args(["detect", "--json"]).args(&files)).good().json() {
        assert_eq!(line["faces"], Value::Array(Vec::new()), "{line}");
    }
}

#[test]
fn annotate_writes_each_picture_with_its_faces_marked() {
    let (folder, file) = (folder(), portrait("astronaut.png"));
    let mut command = edge_agent();
    command.arg("detect").arg("--annotate").arg(folder.path().join("new/marked")).arg(&file).arg(&file);
    run(&mut command).good();
    for name in ["001-astronaut.png", "002-astronaut.png"] {
        let (width, height, pixels) = png_pixels(&folder.path().join("new/marked").join(name));
        assert_eq!((width, height), (512, 512));
        assert_ne!(pixels, png_pixels(&file).2);
    }
}
