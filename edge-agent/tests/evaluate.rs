//! `edge-agent evaluate` over small lists made of the bundled portraits.
#![allow(clippy::unwrap_used)]

mod harness;

use std::fs;
use std::process::Command;

use harness::{edge_agent, folder, portrait, put, run};
use serde_json::Value;
use tempfile::TempDir;

const PICTURES: [&str; 5] = ["obama.jpg", "obama2.jpg", "obama3.jpg", "biden.jpg", "astronaut.png"];

/// Both folds have the same strangers, so that the threshold of either is right for the other.
const PAIRS: &str = "subset,fold,same,image1,image2
all,1,1,obama.jpg,obama2.jpg
all,1,0,obama.jpg,biden.jpg
all,1,0,obama.jpg,astronaut.png
all,2,1,obama2.jpg,obama3.jpg
all,2,0,obama.jpg,biden.jpg
all,2,0,obama.jpg,astronaut.png
";

const IDENTIFICATION: &str = "subset,role,person,enrol_index,image
all,gallery,Obama,1,obama.jpg
all,gallery,Obama,2,obama2.jpg
all,gallery,Biden,1,biden.jpg
all,probe,Obama,,obama3.jpg
all,unknown,Collins,,astronaut.png
";

/// A folder with the portraits and these lists.
fn root(pairs: &str, identification: &str) -> TempDir {
    let folder = folder();
    PICTURES.iter().for_each(|name| drop(put(&folder, name, fs::read(portrait(name)).unwrap())));
    put(&folder, "pairs.csv", pairs);
    put(&folder, "identification.csv", identification);
    folder
}

fn evaluate(root: &TempDir, arguments: &[&str]) -> Command {
    let mut command = edge_agent();
    command.args(["evaluate", arguments[0], "--json", "--root"]).arg(root.path()).args(&arguments[1..]);
    command
}

/// No number is missing: JSON writes what is not finite as null.
fn all_finite(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(values) => values.iter().all(all_finite),
        Value::Object(values) => values.values().all(all_finite),
        _ => true,
    }
}

#[test]
fn verify_counts_trivially_right_pairs_as_right() {
    let report = &run(&mut evaluate(&root(PAIRS, IDENTIFICATION), &["verify"])).good().json()[0];
    assert!(all_finite(report), "{report}");
    assert_eq!(
        (&report["subset"], &report["pairs"], &report["left_out"]),
        (&"all".into(), &6.into(), &0.into())
    );
    assert_eq!(report["no_face"], Value::Array(Vec::new()));
    let accuracy = &report["accuracy"];
    assert_eq!((&accuracy["rate"], &accuracy["count"], &accuracy["of"]), (&1.0.into(), &6.into(), &6.into()));
    // Wilson's interval of 6 of 6, by hand: 6 / (6 + 1.95996^2).
    assert!((accuracy["interval"][0].as_f64().unwrap() - 0.609_666).abs() < 1e-5, "{accuracy}");
    assert_eq!(accuracy["interval"][1], 1.0);
    assert_eq!(report["accuracy_sd"], 0.0);
    for far in ["0.01", "0.001"] {
        assert_eq!(report["tar_at_far"][far]["tar"]["rate"], 1.0, "{report}");
    }
    assert!(
        report["genuine_mean"].as_f64() > Some(0.6) && report["impostor_mean"].as_f64() < Some(0.4),
        "{report}"
    );
}

#[test]
fn identify_finds_the_right_person_first_and_no_stranger() {
    let report = &run(&mut evaluate(&root(PAIRS, IDENTIFICATION), &["identify"])).good().json()[0];
    assert_eq!((&report["gallery"], &report["enrol"]), (&2.into(), &2.into()));
    assert_eq!((&report["rank1"]["rate"], &report["rank1"]["of"]), (&1.0.into(), &1.into()));
    let calibrated = &report["calibrated"];
    assert_eq!((&calibrated["tpir"]["count"], &calibrated["fpir"]["count"]), (&1.into(), &0.into()));
    assert_eq!((&calibrated["target_fpir"], &calibrated["within"]), (&0.01.into(), &true.into()));
    let threshold = calibrated["threshold"].as_f64().unwrap();
    assert!((0.2..0.9).contains(&threshold), "{threshold}");
    for at in report["at_threshold"].as_object().unwrap().values() {
        assert!(all_finite(at), "{at}");
        assert_eq!((&at["tpir"]["of"], &at["fpir"]["of"]), (&1.into(), &1.into()));
    }
}

#[test]
fn fewer_pictures_are_enrolled_when_asked() {
    let report =
        &run(&mut evaluate(&root(PAIRS, IDENTIFICATION), &["identify", "--enrol=1"])).good().json()[0];
    assert_eq!((&report["enrol"], &report["rank1"]["rate"]), (&1.into(), &1.0.into()));
}

#[test]
fn a_picture_without_a_face_is_left_out_and_told() {
    let root = root(&(PAIRS.to_owned() + "all,2,1,obama.jpg,plain.png\n"), IDENTIFICATION);
    let mut plain = Vec::new();
    let mut encoder = png::Encoder::new(&mut plain, 100, 100);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&[99; 10_000]).unwrap();
    put(&root, "plain.png", plain);
    let report = &run(&mut evaluate(&root, &["verify"])).good().json()[0];
    assert_eq!((&report["pairs"], &report["left_out"]), (&6.into(), &1.into()));
    assert_eq!(report["no_face"], Value::from(vec!["plain.png"]));
}

#[test]
fn a_list_that_is_no_such_list_is_refused_by_file_and_line() {
    let cases: &[(&str, String, &[&str])] = &[
        ("verify", PAIRS.replace("all,2,1,", "all,2,"), &["pairs.csv", "line: 5"]),
        ("verify", PAIRS.replace("all,2,1,", "all,two,1,"), &["pairs.csv", "line: 5", "field 1"]),
        ("verify", PAIRS.replace("all,2,1,", "all,2,7,"), &["pairs.csv", "line: 5", "`7`"]),
        ("verify", PAIRS.replace(",same,", ",equal,"), &["pairs.csv", "line: 2", "missing field `same`"]),
        ("verify", PAIRS.lines().next().unwrap().to_owned(), &["pairs.csv", "has no lines"]),
        ("verify", String::new(), &["pairs.csv", "has no lines"]),
        ("verify", PAIRS.replace("all,2,", "all,1,"), &["all", "fewer than two folds"]),
        ("identify", IDENTIFICATION.replace("probe", "guest"), &["identification.csv", "line: 5", "guest"]),
        ("identify", IDENTIFICATION.replace("gallery", "unknown"), &["nobody could be enrolled"]),
    ];
    for (command, list, words) in cases {
        let root = root(PAIRS, IDENTIFICATION);
        put(&root, if *command == "verify" { "pairs.csv" } else { "identification.csv" }, list);
        run(&mut evaluate(&root, &[command])).refused(words);
    }
}

#[test]
fn a_list_or_picture_that_is_missing_is_named() {
    let root = root(PAIRS, IDENTIFICATION);
    fs::remove_file(root.path().join("biden.jpg")).unwrap();
    run(&mut evaluate(&root, &["verify"])).refused(&["biden.jpg", "No such file"]);
    fs::remove_file(root.path().join("pairs.csv")).unwrap();
    run(&mut evaluate(&root, &["verify"])).refused(&["pairs.csv", "No such file"]);
}

#[test]
fn a_subset_that_is_not_in_the_list_is_refused_with_those_that_are() {
    let root = root(PAIRS, IDENTIFICATION);
    let commands: &[&[&str]] = &[
        &["verify", "--subset=women"],
        &["identify", "--subset=women"],
        &["scores", "--subset=women", "--enrol=1"],
    ];
    for command in commands {
        run(&mut evaluate(&root, command)).refused(&["there is no subset women, only all"]);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let root = root(PAIRS, IDENTIFICATION);
    let allowed = fs::read_to_string("/proc/self/status").unwrap();
    let first = allowed.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = first.trim().split([',', '-']).next().unwrap();
    for arguments in ["verify", "identify"] {
        let all = evaluate(&root, &[arguments]);
        let mut one = Command::new("taskset");
        one.args(["-c", first]).arg(all.get_program()).args(all.get_args());
        for (key, value) in all.get_envs() {
            one.env(key, value.unwrap());
        }
        let mut all = evaluate(&root, &[arguments]);
        assert_eq!(run(&mut one).good().stdout, run(&mut all).good().stdout);
    }
}
