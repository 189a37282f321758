//! `edge-agent enrol`: many photographs, killed and begun again.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rollcall_proto::v1;
use rollcall_tests::ended::kill;
use rollcall_tests::pictures::{portrait, variant};
use rollcall_tests::{Agent, run};
use serde_json::Value;
use zip::write::SimpleFileOptions;

/// Pictures of each of two people.
const EACH: u32 = 20;

#[tokio::test]
async fn a_batch_that_is_killed_twice_ends_complete_with_nothing_done_twice() {
    let mut agent = Agent::start();
    let (batch, csv) = batch(agent.folder());
    let enrol = |agent: &Agent| {
        let mut command =
            agent.command(&["enrol", "--json", "--consent-form", "Form A", "--groups", "Staff"]);
        command.arg(&batch).arg("--csv").arg(&csv);
        command
    };
    let mut printed: BTreeMap<String, String> = BTreeMap::new();
    for lines in [7, 16] {
        let mut client = enrol(&agent).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(client.stdout.take().unwrap());
        for line in output.lines().take(lines) {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let (picture, verdict) = (text(&line, "picture"), text(&line, "verdict"));
            let before = printed.insert(picture, verdict.clone());
            assert!(before.is_none_or(|before| before == verdict), "{line}");
        }
        agent.kill();
        kill(client.id());
        client.wait().unwrap();
        agent.restart();
    }
    assert_eq!(printed.len(), 16, "the second run began with what the first had done");
    let last = run(&mut enrol(&agent));
    let lines: Vec<Value> = last.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2 * EACH as usize + 1, "{}", last.stderr);
    for line in &lines {
        if let Some(verdict) = printed.get(&text(line, "picture")) {
            assert_eq!((&text(line, "verdict"), line["earlier"].as_bool()), (verdict, Some(true)), "{line}");
        }
    }
    let enrolled = lines.iter().filter(|line| line["verdict"] == "ENROLLED").count();
    let mut client = agent.client().await;
    let people =
        client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap().into_inner().people;
    assert_eq!(people.len(), 3, "{people:?}");
    let templates: i32 = people.iter().map(|person| person.template_count).sum();
    assert_eq!(templates as usize, enrolled);
    for person in &people {
        assert_eq!((person.consent_state(), person.groups.len()), (v1::ConsentState::Valid, 1), "{person:?}");
        let consents = v1::ListConsentsRequest { person: person.name.clone(), ..Default::default() };
        let consents = client.gallery.list_consents(consents).await.unwrap().into_inner().consents;
        assert_eq!(consents.len(), 1, "consent was recorded once");
        let enrolments =
            v1::ListEnrolmentsRequest { person: person.name.clone(), page_size: 1_000, ..Default::default() };
        let enrolments = client.gallery.list_enrolments(enrolments).await.unwrap().into_inner().enrolments;
        let made = enrolments.iter().filter(|one| one.verdict() == v1::Verdict::Enrolled).count();
        assert_eq!(made, person.template_count as usize, "each template has its verdict");
    }
    let again = run(&mut enrol(&agent));
    assert_eq!(again.code, Some(0), "everything has its verdict: {}", again.stderr);
    let verdicts = |text: &str| -> Vec<(Value, Value)> {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["picture"].clone(), line["verdict"].clone())).collect()
    };
    assert_eq!(verdicts(&again.stdout), verdicts(&last.stdout));
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_without_consent_nobody_is_enrolled() {
    let agent = Agent::start();
    let (batch, csv) = batch(agent.folder());
    let mut command = agent.command(&["enrol", "--dry-run"]);
    let dry = run(command.arg(&batch).arg("--csv").arg(&csv));
    assert_eq!(dry.code, Some(1));
    assert!(dry.stdout.lines().all(|line| line.contains("NOT_YET_KNOWN")), "{}", dry.stdout);
    let mut client = agent.client().await;
    let people =
        client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap().into_inner().people;
    assert!(people.is_empty());
    let mut command = agent.command(&["enrol"]);
    let refused = run(command.arg(&batch).arg("--csv").arg(&csv));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stdout.lines().all(|line| line.contains("CONSENT_MISSING")), "{}", refused.stdout);
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_else(|| panic!("{line} has no {key}")).to_owned()
}

/// A ZIP of 41 pictures of three people, and the CSV that says whose they are.
fn batch(folder: &Path) -> (PathBuf, PathBuf) {
    let (zip, csv) = (folder.join("batch.zip"), folder.join("batch.csv"));
    let mut archive = zip::ZipWriter::new(File::create(&zip).unwrap());
    let mut rows = String::from("picture,external_id\n");
    let mut add = |name: String, person: &str, bytes: Vec<u8>| {
        archive.start_file(&name, SimpleFileOptions::default()).unwrap();
        archive.write_all(&bytes).unwrap();
        rows += &format!("{name},{person}\n");
    };
    for number in 0..EACH {
        let picture = ["obama.jpg", "obama2.jpg", "obama3.jpg"][number as usize % 3];
        add(format!("a{number:02}.jpg"), "44", variant(picture, number));
        add(format!("b{number:02}.jpg"), "46", variant("biden.jpg", number));
    }
    add("c.png".into(), "7", portrait("astronaut.png"));
    archive.finish().unwrap();
    fs::write(&csv, rows).unwrap();
    (zip, csv)
}
