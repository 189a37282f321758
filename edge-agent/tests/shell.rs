//! `edge-agent` among the other programs of a shell.
#![allow(clippy::unwrap_used)]

mod harness;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{edge_agent, portrait, repository, run, wait};

fn detect(json: &str) -> Command {
    let mut command = edge_agent();
    command.args(["detect", json]).arg(portrait("astronaut.png"));
    command
}

fn identify() -> Command {
    let mut command = edge_agent();
    command.arg("identify").arg("--gallery").arg(repository("deploy/demo/gallery"));
    command.arg(portrait("astronaut.png"));
    command
}

#[test]
fn it_ends_quietly_when_nobody_reads_its_output_any_more() {
    let mut help = edge_agent();
    help.arg("--help");
    for mut command in [detect("--json"), detect("--min-face=40"), identify(), help] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let stderr = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(writer).stderr(stderr.reopen().unwrap());
        let child = command.spawn().unwrap();
        let (status, _) = wait(child, &command);
        assert_eq!((status.code(), std::fs::read_to_string(stderr.path()).unwrap()), (Some(0), "".into()));
    }
}

#[test]
fn it_ends_quietly_after_head_took_one_line() {
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let mut command = detect("--json");
    command.args([portrait("obama.jpg"), portrait("obama2.jpg")]);
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(writer).stderr(stderr.reopen().unwrap());
    let child = command.spawn().unwrap();
    command.stdout(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    drop(reader);
    assert!(line.starts_with("{\"image\":") && line.ends_with("}\n"));
    let (status, _) = wait(child, &command);
    assert_eq!((status.code(), std::fs::read_to_string(stderr.path()).unwrap()), (Some(0), "".into()));
}

#[test]
fn a_full_disk_is_told() {
    for mut command in [detect("--json"), identify()] {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        command.stdin(Stdio::null()).stdout(full).stderr(stderr.reopen().unwrap());
        let child = command.spawn().unwrap();
        let (status, _) = wait(child, &command);
        let said = std::fs::read_to_string(stderr.path()).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("No space left"), "{said}");
    }
}

#[test]
fn every_command_has_help() {
    let commands: &[&[&str]] = &[
        &[],
        &["detect"],
        &["identify"],
        &["evaluate"],
        &["evaluate", "verify"],
        &["evaluate", "identify"],
        &["evaluate", "detect"],
        &["evaluate", "scores"],
        &["bench"],
    ];
    for command in commands {
        let run = run(edge_agent().args(*command).arg("--help")).good();
        assert!(run.stdout.contains("Usage: edge-agent") && run.stderr.is_empty(), "{command:?}");
    }
    assert!(run(edge_agent().arg("--version")).good().stdout.starts_with("edge-agent "));
}

#[test]
fn what_is_not_understood_ends_with_2() {
    let cases: &[&[&str]] = &[
        &[],
        &["dance"],
        &["--quick"],
        &["detect"],
        &["detect", "--quick", "a.jpg"],
        &["detect", "--embed", "a.jpg"],
        &["detect", "--min-face", "11", "a.jpg"],
        &["detect", "--min-face", "big", "a.jpg"],
        &["identify", "a.jpg"],
        &["identify", "--gallery", "g"],
        &["evaluate"],
        &["evaluate", "verify"],
        &["evaluate", "identify", "--root", ".", "--enrol", "0"],
        &["evaluate", "scores", "--root", "."],
        &["bench", "--rounds", "0"],
    ];
    for arguments in cases {
        let run = run(edge_agent().args(*arguments));
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains("--help"), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn names_of_files_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = harness::folder();
    let name = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9 \"1\"\n.png"));
    std::fs::copy(portrait("astronaut.png"), folder.path().join(name)).unwrap();
    let lines = run(edge_agent().args(["detect", "--json"]).arg(folder.path().join(name))).good().json();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["faces"].as_array().unwrap().len(), 1);
}
