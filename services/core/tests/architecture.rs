//! Who may know whom. ARCHITECTURE.md says it in words; this says it with teeth.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every crate of the workspace, its folder, and the crates of the workspace that it may use.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("rollcall-core", "services/core", &[]),
    ("rollcall-proto", "proto", &[]),
    ("rollcall-store", "services/store", &["rollcall-core"]),
    ("rollcall-vision", "services/vision", &["rollcall-core"]),
    (
        "rollcall-gallery",
        "services/gallery",
        &["rollcall-core", "rollcall-proto", "rollcall-store", "rollcall-vision"],
    ),
    ("rollcall-attendance", "services/attendance", &["rollcall-core", "rollcall-proto", "rollcall-store"]),
    ("rollcall-terminals", "services/terminals", &["rollcall-core", "rollcall-proto", "rollcall-store"]),
    ("rollcall-accounts", "services/accounts", &["rollcall-core", "rollcall-proto", "rollcall-store"]),
    (
        "rollcall-server",
        "services/server",
        &["rollcall-accounts", "rollcall-core", "rollcall-proto", "rollcall-store"],
    ),
    (
        "rollcall-program",
        "services/program",
        &[
            "rollcall-attendance",
            "rollcall-core",
            "rollcall-gallery",
            "rollcall-proto",
            "rollcall-server",
            "rollcall-store",
            "rollcall-terminals",
        ],
    ),
    (
        "rollcall-sync",
        "services/sync",
        &[
            "rollcall-attendance",
            "rollcall-core",
            "rollcall-gallery",
            "rollcall-proto",
            "rollcall-store",
            "rollcall-terminals",
        ],
    ),
    (
        "hub",
        "hub",
        &[
            "rollcall-accounts",
            "rollcall-attendance",
            "rollcall-core",
            "rollcall-gallery",
            "rollcall-program",
            "rollcall-proto",
            "rollcall-server",
            "rollcall-store",
            "rollcall-sync",
            "rollcall-terminals",
        ],
    ),
    (
        "edge-agent",
        "edge-agent",
        &[
            "rollcall-accounts",
            "rollcall-attendance",
            "rollcall-core",
            "rollcall-gallery",
            "rollcall-program",
            "rollcall-proto",
            "rollcall-server",
            "rollcall-store",
            "rollcall-sync",
            "rollcall-terminals",
            "rollcall-vision",
        ],
    ),
    ("rollcall-tests", "tests", &["rollcall-proto", "rollcall-vision"]),
];

/// Crates that only one crate of the workspace may use.
const OWNED: &[(&str, &str)] = &[
    ("image-webp", "rollcall-vision"),
    ("tract-onnx", "rollcall-vision"),
    ("turbojpeg", "rollcall-vision"),
    ("v4l", "edge-agent"),
    ("yuv", "rollcall-vision"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    std::fs::read_to_string(&path).expect("the manifest").parse().expect("TOML")
}

fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = manifest(folder);
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flat_map(|t| t.keys().cloned()).collect()
}

#[test]
fn crates_use_only_the_crates_that_the_arrows_allow() {
    for (name, folder, allowed) in ARROWS {
        let names: Vec<&str> = ARROWS.iter().map(|(name, ..)| *name).collect();
        let used = dependencies(folder);
        let used: BTreeSet<&str> = used.iter().map(String::as_str).filter(|d| names.contains(d)).collect();
        assert_eq!(used, allowed.iter().copied().collect(), "what {name} uses");
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_arrows() {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().expect("members");
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(members, listed);
}

#[test]
fn foreign_crates_stay_behind_the_crate_that_owns_them() {
    for (foreign, owner) in OWNED {
        for (name, folder, _) in ARROWS {
            // The tests play the other side: a camera to the camera, for one.
            let uses = *name != "rollcall-tests" && dependencies(folder).contains(*foreign);
            assert_eq!(uses, name == owner, "{name} and {foreign}");
        }
    }
}

/// Source files of the services, without those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            _ if name == "tests" || name.ends_with("_tests") => {}
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// Files of services with `text` that are neither named `name` nor in a folder of that name.
fn outside(text: &str, name: &str, besides: &[&str]) -> Vec<PathBuf> {
    outside_in("services/", text, name, besides)
}

/// The same of the crates whose folders begin so.
fn outside_in(under: &str, text: &str, name: &str, besides: &[&str]) -> Vec<PathBuf> {
    let folders = ARROWS.iter().map(|(_, folder, _)| *folder).filter(|folder| folder.starts_with(under));
    let mut files = Vec::new();
    for folder in folders.filter(|folder| !besides.contains(folder)) {
        sources(&root().join(folder).join("src"), &mut files);
    }
    assert!(
        files.iter().any(|file| std::fs::read_to_string(file).unwrap().contains(text)),
        "nobody uses {text}"
    );
    let named = |file: &Path| {
        file.components().any(|part| Path::new(part.as_os_str()).file_stem().is_some_and(|stem| stem == name))
    };
    files.retain(|file| !named(file) && std::fs::read_to_string(file).unwrap().contains(text));
    files
}

#[test]
fn statements_stand_in_the_store_of_each_service_alone() {
    assert_eq!(outside("sqlx::query", "store", &["services/store"]), Vec::<PathBuf>::new());
}

#[test]
fn only_the_calls_of_a_service_the_server_and_clients_name_tonic() {
    let besides = ["services/server", "services/program", "services/sync"];
    assert_eq!(outside("tonic::", "grpc", &besides), Vec::<PathBuf>::new());
}

#[test]
fn only_the_camera_names_v4l() {
    assert_eq!(outside_in("edge-agent", "use v4l::", "camera", &[]), Vec::<PathBuf>::new());
}

#[test]
fn only_the_drivers_of_the_door_name_gpiocdev_and_rppal() {
    let mut files = Vec::new();
    sources(&root().join("edge-agent/src"), &mut files);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    for name in ["gpiocdev", "rppal"] {
        // Paths of the crate, not of our module of the same name.
        let uses = |file: &PathBuf| {
            let text = std::fs::read_to_string(file).unwrap();
            text.contains(&format!("use {name}::")) || text.contains(&format!(" {name}::Error"))
        };
        let found: Vec<&PathBuf> = files.iter().filter(|file| uses(file)).collect();
        assert_eq!(found, [&root().join(format!("edge-agent/src/door/{name}.rs"))]);
    }
}
