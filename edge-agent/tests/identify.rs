//! `edge-agent identify` on the bundled gallery: one person known, two strangers.
#![allow(clippy::unwrap_used)]

mod harness;

use std::fs;
use std::path::Path;

use harness::{edge_agent, folder, keys, numbers, png_pixels, portrait, put, repository, run};
use serde_json::Value;

fn identify(gallery: &Path, arguments: &[&str], files: &[&str]) -> harness::Finished {
    let mut command = edge_agent();
    command.arg("identify").arg("--gallery").arg(gallery).args(arguments);
    run(command.args(files.iter().map(|f| portrait(f))))
}

#[test]
fn who_is_enrolled_is_named() {
    let run = identify(&repository("deploy/demo/gallery"), &["--json"], &["obama3.jpg"]).good();
    let line = &run.json()[0];
    assert_eq!(keys(line), ["faces", "image", "threshold"]);
    let face = &line["faces"][0];
    assert_eq!(keys(face), ["box", "margin", "person", "score"]);
    assert_eq!(numbers(&face["box"]).len(), 4);
    assert_eq!(face["person"], "Barack Obama");
    assert!(face["score"].as_f64() >= line["threshold"].as_f64());
}

#[test]
fn a_stranger_is_refused_without_the_nearest_name() {
    let gallery = repository("deploy/demo/gallery");
    let strangers = ["biden.jpg", "astronaut.png"];
    let json = identify(&gallery, &["--json"], &strangers).good();
    for line in json.json() {
        let faces = line["faces"].as_array().unwrap().clone();
        assert!(!faces.is_empty(), "{line}");
        for face in faces {
            assert_eq!(face["person"], Value::Null);
            assert!(face["score"].as_f64() < line["threshold"].as_f64());
        }
    }
    let text = identify(&gallery, &[], &strangers).good();
    assert_eq!(text.stdout.matches(": not known (score ").count(), 2, "{}", text.stdout);
    assert!(!text.stdout.contains("Obama") && !json.stdout.contains("Obama"));
}

#[test]
fn of_a_gallery_of_one_no_margin_is_told() {
    let folder = folder();
    put(&folder, "Zoë Müller/1.jpg", fs::read(portrait("obama.jpg")).unwrap());
    let run = identify(folder.path(), &["--json"], &["obama2.jpg", "biden.jpg"]).good();
    let lines = run.json();
    assert_eq!(lines[0]["faces"][0]["person"], "Zoë Müller");
    assert_eq!(lines[0]["faces"][0]["margin"], Value::Null);
    assert_eq!(lines[1]["faces"][0]["person"], Value::Null);
}

#[test]
fn the_sheet_is_a_png_of_all_pictures() {
    let folder = folder();
    let sheet = folder.path().join("sheet.png");
    let arguments = ["--sheet", sheet.to_str().unwrap()];
    identify(&repository("deploy/demo/gallery"), &arguments, &["astronaut.png", "astronaut.png"]).good();
    let (width, height, _) = png_pixels(&sheet);
    // Two squares of 480 pixels and gaps of 8.
    assert_eq!((width, height), (2 * 480 + 3 * 8, 480 + 2 * 8));
}

#[test]
fn a_picture_that_cannot_be_read_does_not_stop_the_others() {
    let folder = folder();
    let broken = put(&folder, "broken.jpg", "no picture");
    let mut command = edge_agent();
    command.args(["identify", "--json", "--gallery"]).arg(repository("deploy/demo/gallery"));
    let run = run(command.arg(&broken).arg(portrait("obama3.jpg")));
    assert_eq!(run.code, Some(1));
    let lines = run.json();
    assert_eq!(keys(&lines[0]), ["error", "image"]);
    assert_eq!(lines[1]["faces"][0]["person"], "Barack Obama");
}

#[test]
fn a_gallery_that_cannot_be_used_is_refused_by_what_is_wrong() {
    let (empty, no_portrait, no_face, broken) = (folder(), folder(), folder(), folder());
    fs::create_dir(no_portrait.path().join("Ada")).unwrap();
    put(&no_face, "Ada/plain.png", plain_png());
    put(&broken, "Ada/cut.jpg", &fs::read(portrait("biden.jpg")).unwrap()[..9_000]);
    let missing = empty.path().join("missing");
    let path = |folder: &tempfile::TempDir, name: &str| folder.path().join(name).display().to_string();
    let cases: &[(&Path, String, &str)] = &[
        (empty.path(), path(&empty, ""), "has no folder with portraits"),
        (no_portrait.path(), path(&no_portrait, "Ada"), "holds no portrait"),
        (no_face.path(), path(&no_face, "Ada/plain.png"), "there is no face"),
        (broken.path(), path(&broken, "Ada/cut.jpg"), "cut off after 9000 bytes"),
        (&missing, missing.display().to_string(), "No such file"),
    ];
    for (gallery, place, why) in cases {
        identify(gallery, &[], &["obama3.jpg"]).refused(&[place.trim_end_matches('/'), why]);
    }
}

#[test]
fn a_share_of_strangers_that_is_no_share_is_refused() {
    let gallery = repository("deploy/demo/gallery");
    for rate in ["0", "-0.1", "0.9", "1", "NaN", "inf"] {
        let rate = format!("--fpir={rate}");
        identify(&gallery, &[&rate], &["obama3.jpg"]).refused(&["false positive identification rate"]);
    }
}

fn plain_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 200, 200);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&[128; 200 * 200]).unwrap();
    bytes
}
