//! The examples for scripts, against the real program, with tokens that may do just what they need.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rollcall_proto::v1;
use rollcall_proto::v1::consent::Decision;
use rollcall_tests::ended::kill;
use rollcall_tests::pictures::path;
use rollcall_tests::scripts::{python, shell};
use rollcall_tests::webhook::Webhook;
use rollcall_tests::{Agent, Client, run};

#[tokio::test]
async fn people_come_from_a_csv_all_or_none_and_the_same_file_again_changes_nothing() {
    let agent = Agent::start();
    let token = agent.token("office", "gallery.write");
    let csv = agent.folder().join("people.csv");
    fs::write(&csv, "name,external_id,groups\nLinh,1,Class 1\nMinh,2,\"Class 1;Choir\"\n").unwrap();
    let people = |options: &[&str]| {
        let mut command = python(&agent, "people.py", &token);
        run(command.args(options).arg(&csv))
    };
    assert_eq!(
        people(&["--check"]).success(),
        "2 would be created, 0 would be updated, 0 unchanged, 2 groups would be created\n"
    );
    let created = "2 created, 0 updated, 0 unchanged, 2 groups created\n";
    assert_eq!(people(&[]).success(), created);
    assert_eq!(people(&[]).success(), created, "the same request has the same answer");
    assert_eq!(
        people(&["--check"]).success(),
        "0 would be created, 0 would be updated, 2 unchanged, 0 groups would be created\n"
    );
    fs::write(&csv, "name,external_id\nNgoc,3\n,4\n").unwrap();
    let refusal = people(&[]).refusal();
    assert!(refusal.contains("row 3") && refusal.contains("FIELD_INVALID"), "{refusal}");
    let mut client = agent.client().await;
    let list = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.people.len(), 2, "one bad row and nobody was added");
}

#[tokio::test]
async fn a_folder_is_enrolled_with_a_verdict_for_each_picture() {
    let agent = Agent::start();
    let mut client = agent.client().await;
    let person = client.create_person("Barack Obama", "44").await;
    client.record_consent(&person.name, Decision::Given).await;
    client.create_person("Joe Biden", "46").await;
    let folder = agent.folder().join("pictures");
    fs::create_dir(&folder).unwrap();
    for (name, picture) in [
        ("44.jpg", "obama.jpg"),
        ("44_2.jpg", "obama2.jpg"),
        ("46.jpg", "biden.jpg"),
        ("7.png", "astronaut.png"),
    ] {
        fs::copy(path(picture), folder.join(name)).unwrap();
    }
    let token = agent.token("office", "gallery.read,gallery.write");
    let enrol = || run(python(&agent, "enrol_folder.py", &token).arg(&folder));
    let first = enrol();
    assert_eq!(first.code, Some(1), "{}", first.stderr);
    let lines: Vec<&str> = first.stdout.lines().collect();
    let [one, two, without_consent, nobody] = lines[..] else { panic!("{lines:?}") };
    assert!(one.starts_with("44.jpg: ENROLLED") && two.starts_with("44_2.jpg: ENROLLED"), "{lines:?}");
    assert!(without_consent.starts_with("46.jpg: CONSENT_MISSING"), "{without_consent}");
    assert!(nobody.starts_with("7.png: NOT_FOUND"), "{nobody}");
    assert_eq!(enrol().stdout, first.stdout);
    let templates = v1::ListTemplatesRequest { person: person.name };
    assert_eq!(client.gallery.list_templates(templates).await.unwrap().into_inner().templates.len(), 2);
}

#[tokio::test]
async fn events_reach_a_webhook_once_each_over_kills_restarts_and_refusals() {
    let mut agent = Agent::start();
    let mut client = agent.client().await;
    let person = client.create_person("Linh", "1").await.name;
    let token = agent.token("viewer", "attendance.read");
    let webhook = Webhook::start();
    let cursor = agent.folder().join("cursor");
    let watch = |agent: &Agent, stop_after: &str| {
        let mut command = python(agent, "watch_to_webhook.py", &token);
        command.arg(webhook.url()).arg("--cursor").arg(&cursor);
        command.args(["--kinds", "recorded_manually", "--stop-after", stop_after]);
        command
    };
    let first = record(&mut client, &person).await;
    run(&mut watch(&agent, "1")).success();
    let call = webhook.next();
    assert_eq!((&call.key, call.status), (&first, 204));
    let body: serde_json::Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(body["kind"]["recorded_manually"]["person"], person.as_str());
    let second = record(&mut client, &person).await;
    webhook.refuse(2);
    let mut watcher = watch(&agent, "-1").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for status in [503, 503, 204] {
        let call = webhook.next();
        assert_eq!((&call.key, call.status), (&second, status), "refused events come again");
    }
    // The program goes and comes back; the watcher has the old address, so it is killed too and started again.
    agent.kill();
    kill(watcher.id());
    watcher.wait().unwrap();
    agent.restart();
    let mut client = agent.client().await;
    let third = record(&mut client, &person).await;
    run(&mut watch(&agent, "1")).success();
    let call = webhook.next();
    // Killed between the answer and the cursor, it sends the second again under its key.
    let call = if call.key == second {
        run(&mut watch(&agent, "1")).success();
        webhook.next()
    } else {
        call
    };
    assert_eq!(call.key, third);
    assert!(webhook.is_quiet());
}

#[tokio::test]
async fn a_shell_calls_too_and_sends_events_on() {
    let agent = Agent::start();
    let token = agent.token("office", "gallery.read,gallery.write,attendance.read,attendance.write");
    let call =
        |method: &str, request: &str| run(shell(&agent, "rollcall.sh", &token).args([method, request]));
    let made = call("GalleryService/CreatePerson", r#"person { display_name: "Linh" external_id: "1042" }"#)
        .success();
    let name =
        made.lines().find_map(|line| line.strip_prefix("name: ")).unwrap().trim_matches('"').to_owned();
    let list = call("GalleryService/ListPeople", "page_size: 10").success();
    assert!(list.contains(&name), "{list}");
    let again = call("GalleryService/CreatePerson", r#"person { display_name: "x" external_id: "1042" }"#);
    let refusal = again.refusal();
    assert!(refusal.starts_with("rollcall: ") && refusal.contains("external_id"), "{refusal}");
    call("AttendanceService/RecordManually", &format!("person: \"{name}\" direction: DIRECTION_IN"))
        .success();
    let webhook = Webhook::start();
    let cursor = agent.folder().join("cursor");
    let watch =
        || run(shell(&agent, "watch_to_webhook.sh", &token).arg(webhook.url()).arg(&cursor).arg("--once"));
    watch().success();
    let keys: Vec<String> = std::iter::from_fn(|| webhook.waiting()).map(|call| call.key).collect();
    let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert!(keys.len() > 1 && distinct.len() == keys.len(), "{keys:?}");
    watch().success();
    assert!(webhook.is_quiet(), "nothing comes twice");
}

#[tokio::test]
async fn a_wrong_token_scope_certificate_and_an_expired_token_are_told_apart() {
    let agent = Agent::start();
    let good = agent.token("office", "gallery.write");
    let read_only = agent.token("office", "gallery.read");
    let viewer = agent.token("viewer", "gallery.read");
    let expired = agent.token_for("office", "gallery.write", "1s");
    let revoked = agent.token("office", "gallery.write");
    let listed = agent.run(&["token", "list"]).success();
    let newest = listed.lines().next().unwrap().split_whitespace().next().unwrap();
    agent.run(&["token", "revoke", newest]).success();
    let unknown = agent.folder().join("unknown.token");
    fs::write(&unknown, "rollcall_0000000000000000000000000000000000000000000000000000000000\n").unwrap();
    let csv = agent.folder().join("people.csv");
    fs::write(&csv, "name\nLinh\n").unwrap();
    let people = |token: &Path| run(python(&agent, "people.py", token).arg(&csv));
    let shell_call = |token: &Path| {
        let mut command = shell(&agent, "rollcall.sh", token);
        run(command.args(["GalleryService/CreatePerson", r#"person { display_name: "x" }"#]))
    };
    wait_until_expired(&agent, &expired).await;
    for (token, reason) in [
        (&unknown, "CREDENTIALS_INVALID"),
        (&read_only, "SCOPE_MISSING"),
        (&viewer, "ROLE_FORBIDS"),
        (&expired, "TOKEN_EXPIRED"),
        (&revoked, "TOKEN_REVOKED"),
    ] {
        let refusal = people(token).refusal();
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
        assert!(refusal.starts_with("people.py: ") && refusal.ends_with(&format!("({reason})")), "{refusal}");
        let by_shell = shell_call(token).refusal();
        assert!(by_shell.starts_with("rollcall: "), "{by_shell}");
    }
    people(&good).success();
    let other = Agent::start();
    let mut command = python(&agent, "people.py", &good);
    command.arg("--ca").arg(other.ca()).arg(&csv);
    let refusal = run(&mut command).refusal();
    assert!(refusal.contains("did not prove that it is the server of this authority"), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    let mut command: Command = agent.command(&["token", "list", "--ca"]);
    let refusal = run(command.arg(other.ca())).refusal();
    assert!(refusal.contains("another authority"), "{refusal}");
    let refusal = run(agent.command(&["token", "list", "--token-file"]).arg(&read_only)).refusal();
    assert!(refusal.ends_with("(ROLE_FORBIDS)"), "{refusal}");
}

/// Calls until the token's second is over.
async fn wait_until_expired(agent: &Agent, token: &Path) {
    let mut client = agent.client_with(token).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while client.accounts.get_caller(v1::GetCallerRequest {}).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "the token does not expire");
        tokio::task::yield_now().await;
    }
}

async fn record(client: &mut Client, person: &str) -> String {
    let request = v1::RecordManuallyRequest {
        person: person.to_owned(),
        direction: v1::Direction::In.into(),
        ..Default::default()
    };
    client.attendance.record_manually(request).await.unwrap().into_inner().name
}
