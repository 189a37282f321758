//! Backups of a running program, and what a restored folder knows.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rollcall_proto::v1;
use rollcall_proto::v1::consent::Decision;
use rollcall_tests::Agent;
use rollcall_tests::pictures::portrait;

#[tokio::test]
async fn f116_a_backup_made_while_people_and_events_are_added_is_of_a_moment_that_was() {
    let mut agent = Agent::start();
    let mut client = agent.client().await;
    let person = client.create_person("Barack Obama", "44").await;
    client.record_consent(&person.name, Decision::Given).await;
    client.enrol(&person.name, portrait("obama.jpg")).await.unwrap();
    let passphrase = agent.folder().join("passphrase");
    fs::write(&passphrase, "six words that nobody can guess\n").unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let out = agent.folder().join("site.backup");
    let mut command = agent.command(&["backup", "--passphrase-file"]);
    command.arg(&passphrase).arg(&out);
    let making = tokio::task::spawn_blocking(move || rollcall_tests::run(&mut command));
    let mut recorded = 0;
    while !making.is_finished() {
        let request = v1::RecordManuallyRequest {
            person: person.name.clone(),
            direction: v1::Direction::In.into(),
            ..Default::default()
        };
        client.attendance.record_manually(request).await.unwrap();
        recorded += 1;
    }
    making.await.unwrap().success();
    assert!(recorded > 0);
    agent.stop();
    let restored = agent.data().with_file_name("restored");
    let mut command = agent.command(&["restore", "--passphrase-file"]);
    command.arg(&passphrase).arg(&out).arg("--data").arg(&restored);
    rollcall_tests::run(&mut command).success();
    fs::remove_dir_all(agent.data()).unwrap();
    fs::rename(&restored, agent.data()).unwrap();
    agent.restart();
    let mut client = agent.client().await;
    let seen = client.identify(portrait("obama3.jpg")).await;
    assert_eq!(seen.faces[0].person, person.name, "the key came with the backup");
    let filter = v1::EventFilter { kinds: vec!["recorded_manually".into()], ..Default::default() };
    let list = v1::ListEventsRequest { filter: Some(filter), page_size: 1_000, ..Default::default() };
    let events = client.attendance.list_events(list).await.unwrap().into_inner().events;
    assert!(events.len() <= recorded, "{} of {recorded}", events.len());
    assert!(agent.run(&["verify-log"]).success().contains("none is damaged"));
}

#[test]
fn f024_a_backup_that_was_changed_is_refused_before_anything_is_touched() {
    let agent = Agent::start();
    let out = agent.folder().join("site.backup");
    let ended = agent.run(&["backup", out.to_str().unwrap()]);
    assert!(ended.stderr.contains("gallery.key"), "it says what is not in it: {}", ended.stderr);
    ended.success();
    let mut bytes = fs::read(&out).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let changed = agent.folder().join("changed.backup");
    fs::write(&changed, bytes).unwrap();
    let into = agent.folder().join("restored");
    let restore = |file: &std::path::Path| {
        let mut command = agent.command(&["restore"]);
        rollcall_tests::run(command.arg(file).arg("--data").arg(&into))
    };
    let refusal = restore(&changed).refusal();
    assert!(refusal.starts_with("edge-agent: ") && refusal.lines().count() == 1, "{refusal}");
    assert!(!into.exists());
    let mut command = agent.command(&["restore"]);
    let refusal = rollcall_tests::run(command.arg(&out)).refusal();
    assert!(refusal.contains("process"), "the folder of a running program is left alone: {refusal}");
    restore(&out).success();
}
