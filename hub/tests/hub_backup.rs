//! Backups of hubs, and hubs made of backups.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rollcall_proto::v1;
use rollcall_proto::v1::consent::Decision;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::testing::postgres_url;
use rollcall_tests::client::reason;
use rollcall_tests::pictures::portrait;
use rollcall_tests::{Client, Hub};

/// What is waited for comes within this time, or never.
const DEADLINE: Duration = Duration::from_secs(60);

fn passphrase(hub: &Hub) -> String {
    let file = hub.folder().join("passphrase");
    fs::write(&file, "six words that nobody can guess\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file.to_str().unwrap().to_owned()
}

fn backup(hub: &Hub, name: &str) -> PathBuf {
    let out = hub.folder().join(name);
    hub.run(&["backup", "--passphrase-file", &passphrase(hub), out.to_str().unwrap()]).success();
    out
}

async fn enrol(client: &mut Client, name: &str) -> v1::Person {
    let person = client.create_person(name, name).await;
    client.record_consent(&person.name, Decision::Given).await;
    for picture in ["obama.jpg", "obama2.jpg"] {
        client.enrol(&person.name, portrait(picture)).await.unwrap();
    }
    person
}

async fn get(client: &mut Client, person: &str) -> Result<v1::Person, String> {
    let got = client.gallery.get_person(v1::GetPersonRequest { name: person.to_owned() }).await;
    got.map(tonic::Response::into_inner).map_err(|status| reason(&status))
}

async fn record(client: &mut Client, person: &str) {
    let request = v1::RecordManuallyRequest {
        person: person.to_owned(),
        direction: v1::Direction::In.into(),
        ..Default::default()
    };
    client.attendance.record_manually(request).await.unwrap();
}

async fn recorded(client: &mut Client) -> usize {
    let filter = v1::EventFilter { kinds: vec!["recorded_manually".to_owned()], ..Default::default() };
    let list = v1::ListEventsRequest { filter: Some(filter), page_size: 1_000, ..Default::default() };
    client.attendance.list_events(list).await.unwrap().into_inner().events.len()
}

#[tokio::test]
async fn f116_a_backup_made_while_events_are_written_is_of_a_moment_that_existed() {
    let mut hub = Hub::start();
    let mut client = hub.client().await;
    let person = enrol(&mut client, "Ada").await;
    let out = hub.folder().join("hub.backup");
    let mut command = hub.command(&["backup", "--passphrase-file", &passphrase(&hub)]);
    command.arg(&out);
    let making = tokio::task::spawn_blocking(move || rollcall_tests::run(&mut command));
    let mut written = 0;
    while !making.is_finished() {
        record(&mut client, &person.name).await;
        written += 1;
    }
    making.await.unwrap().success();
    hub.stop();
    let restored =
        hub.run(&["restore", "--replace", "--passphrase-file", &passphrase(&hub), out.to_str().unwrap()]);
    restored.success();
    hub.restart();
    let mut client = hub.client().await;
    let seen = client.identify(portrait("obama3.jpg")).await;
    assert_eq!(seen.faces[0].person, person.name, "the key came with the backup");
    assert!(recorded(&mut client).await <= written);
    assert!(hub.run(&["verify-log"]).success().contains("none is damaged"));
}

#[tokio::test]
async fn a_hub_on_postgresql_comes_back_from_its_backup_in_an_empty_database() {
    let mut hub = Hub::start_on(&postgres_url().await);
    let mut client = hub.client().await;
    let person = enrol(&mut client, "Ada").await;
    record(&mut client, &person.name).await;
    let out = backup(&hub, "hub.backup");
    record(&mut client, &person.name).await;
    hub.stop();
    let restore = ["restore", "--replace", "--passphrase-file", &passphrase(&hub), out.to_str().unwrap()];
    let refusal = hub.run(&restore).refusal();
    assert!(refusal.contains("restore to an empty database"), "{refusal}");
    hub.configure(&format!("[store]\nurl = \"{}\"\n", postgres_url().await));
    hub.run(&restore).success();
    hub.restart();
    let mut client = hub.client().await;
    let seen = client.identify(portrait("obama3.jpg")).await;
    assert_eq!(seen.faces[0].person, person.name);
    assert_eq!(recorded(&mut client).await, 1, "as it was when the backup was made");
    assert!(hub.run(&["verify-log"]).success().contains("none is damaged"));
}

#[tokio::test]
async fn f113_whoever_was_erased_after_the_backup_stays_erased_on_the_same_machine() {
    let mut hub = Hub::start();
    let mut client = hub.client().await;
    let (ada, bela) = (client.create_person("Ada", "A1").await, client.create_person("Bela", "B1").await);
    record(&mut client, &ada.name).await;
    let out = backup(&hub, "hub.backup");
    client.gallery.erase_person(v1::ErasePersonRequest { name: ada.name.clone() }).await.unwrap();
    hub.stop();
    hub.run(&["restore", "--replace", "--passphrase-file", &passphrase(&hub), out.to_str().unwrap()])
        .success();
    hub.restart();
    let mut client = hub.client().await;
    let gone = get(&mut client, &ada.name).await.unwrap_err();
    assert!(["NOT_FOUND", "PERSON_ERASED"].contains(&gone.as_str()), "{gone}");
    get(&mut client, &bela.name).await.unwrap();
    assert_eq!(recorded(&mut client).await, 1, "events stay, nameless");
}

/// Waits for what `hub doctor` says.
fn doctor_says(hub: &Hub, words: &str) -> String {
    let until = Instant::now() + DEADLINE;
    loop {
        let said = hub.run(&["doctor"]).stdout;
        if said.contains(words) {
            return said;
        }
        assert!(Instant::now() < until, "no \"{words}\" in {said}");
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

async fn assert_makes_backups_by_the_clock(store: &str) {
    let mut hub = Hub::configured("");
    let folder = hub.folder().join("backups");
    fs::create_dir(&folder).unwrap();
    let passphrase = passphrase(&hub);
    hub.configure(&format!(
        "{store}[backup]\nfolder = \"{}\"\npassphrase_file = \"{passphrase}\"\n",
        folder.display()
    ));
    hub.restart();
    let said = doctor_says(&hub, "1 were read back");
    assert!(said.contains("until there is a second one"), "{said}");
    assert_eq!(files(&folder), 1, "there is nothing unfinished beside it");
    // One a day: the next start makes none.
    hub.stop();
    fs::write(folder.join("rollcall-20260101-000000.backup.partial"), "what a crash has left").unwrap();
    hub.restart();
    let health = hub.client().await.health.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner();
    let part = health.parts.iter().find(|part| part.part == "backup").unwrap();
    assert_eq!(part.state(), v1::health::State::Well, "{part:?}");
    assert_eq!(doctor_says(&hub, "1 were read back").matches("WRONG").count(), 0);
    assert_eq!(files(&folder), 2);
}

#[tokio::test]
async fn a_hub_makes_a_backup_a_day_by_itself() {
    assert_makes_backups_by_the_clock("").await;
}

#[tokio::test]
async fn a_hub_on_postgresql_makes_a_backup_a_day_by_itself() {
    assert_makes_backups_by_the_clock(&format!("[store]\nurl = \"{}\"\n", postgres_url().await)).await;
}

#[tokio::test]
async fn a_backup_that_fails_is_an_alarm_in_log_and_health() {
    let mut hub = Hub::configured("[backup]\nfolder = \"not-mounted\"\n");
    hub.restart();
    let mut client = hub.client().await;
    let filter = v1::EventFilter { kinds: vec!["alarm_raised".to_owned()], ..Default::default() };
    let request = v1::WatchEventsRequest { filter: Some(filter), ..Default::default() };
    let mut watched = client.attendance.watch_events(request).await.unwrap().into_inner();
    let event = loop {
        let page =
            tokio::time::timeout(DEADLINE, watched.message()).await.expect("an alarm").unwrap().unwrap();
        if let Some(event) = page.events.into_iter().next() {
            break event;
        }
    };
    let Some(Kind::AlarmRaised(alarm)) = event.kind.and_then(|kind| kind.kind) else {
        panic!("another event")
    };
    assert_eq!((alarm.alarm.as_str(), alarm.cleared), ("BACKUP_FAILED", false));
    let said = doctor_says(&hub, "not-mounted is not there");
    assert!(said.contains("WRONG backups"), "{said}");
}

#[tokio::test]
async fn f024_a_backup_is_refused_before_anything_is_touched() {
    let hub = Hub::start();
    let out = hub.folder().join("hub.backup");
    let ended = hub.run(&["backup", out.to_str().unwrap()]);
    assert!(ended.stderr.contains("gallery.key"), "it says what is not in it: {}", ended.stderr);
    ended.success();
    let mut bytes = fs::read(&out).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let changed = hub.folder().join("changed.backup");
    fs::write(&changed, bytes).unwrap();
    let into = hub.folder().join("restored");
    let refusal = |arguments: &[&str]| {
        let mut command = hub.command(arguments);
        rollcall_tests::run(command.arg("--data").arg(&into)).refusal()
    };
    refusal(&["restore", changed.to_str().unwrap()]);
    assert!(!into.exists());
    let running = hub.run(&["restore", "--replace", out.to_str().unwrap()]).refusal();
    assert!(running.contains(&format!("process {}", hub.pid())), "{running}");
    hub.configure(&format!("[store]\nurl = \"{}\"\n", postgres_url().await));
    let other_engine = refusal(&["restore", out.to_str().unwrap()]);
    assert!(other_engine.contains("is of a hub on SQLite files"), "{other_engine}");
    assert!(!into.exists());
}
