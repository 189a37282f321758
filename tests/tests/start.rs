//! Starting and stopping: configuration, one process a folder, failures said in one line.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rollcall_proto::v1;
use rollcall_tests::{Agent, edge_agent, repository, run};

#[tokio::test]
async fn a_first_start_needs_nothing_but_a_folder() {
    let mut agent = Agent::start();
    let mut client = agent.client().await;
    let caller = client.accounts.get_caller(v1::GetCallerRequest {}).await.unwrap().into_inner();
    assert_eq!(caller.role(), v1::Role::Admin);
    let list = client.terminals.list_terminals(v1::ListTerminalsRequest::default()).await.unwrap();
    let [terminal] = &list.get_ref().terminals[..] else { panic!("{list:?}") };
    let status = v1::GetTerminalStatusRequest { name: terminal.name.clone() };
    let status = client.terminals.get_terminal_status(status).await.unwrap().into_inner();
    assert!(status.disk_size_bytes > 0 && status.memory_bytes > 0 && status.events_in_log > 0, "{status:?}");
    let health = client.health.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner();
    assert_eq!(health.program, "edge-agent");
    assert!(health.parts.iter().any(|part| part.part == "log"), "{health:?}");
    for (name, mode) in [("", 0o700), ("admin.token", 0o600), ("gallery.key", 0o600), ("ca.key", 0o600)] {
        let path = agent.data().join(name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{}", path.display());
    }
    assert_eq!(agent.stop().code, Some(0));
    let before = terminal.name.clone();
    agent.restart();
    let mut client = agent.client().await;
    let list = client.terminals.list_terminals(v1::ListTerminalsRequest::default()).await.unwrap();
    assert_eq!(list.get_ref().terminals[0].name, before, "it is the same terminal after a restart");
}

#[test]
fn f015_a_second_process_on_a_data_folder_names_the_first_and_touches_nothing() {
    let agent = Agent::start();
    let refusal = run(&mut agent.run_command()).refusal();
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    assert!(refusal.contains(&format!("process {}", agent.pid())), "{refusal}");
    assert!(agent.run(&["token", "list"]).code == Some(0), "the first goes on");
}

#[test]
fn f022_a_wrong_configuration_is_named_by_file_line_and_key_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    for (text, place) in [
        ("[server]\nadress = \"x\"\n", "line 2, server.adress: "),
        ("data_folder = 5\n", "line 1, data_folder: "),
        ("[terminal]\nfpir_target = 0\n", "line 2, terminal.fpir_target: "),
        ("[terminal]\nfpir_target = -1\n", "line 2, terminal.fpir_target: "),
        ("[terminal]\nfpir_target = 999999999999999999999\n", "line 2, terminal.fpir_target: "),
        ("\u{feff}[log]\r\nlevel = \"loud\"\r\n", "line 2, log.level: "),
        ("[log]\nlevel = \"info\"\nlevel = \"info\"\n", "line 3, log.level: "),
    ] {
        fs::write(&file, text).unwrap();
        for check in [true, false] {
            let data = folder.path().join("data");
            let mut command = Command::new(edge_agent());
            command.arg("run").arg("--config").arg(&file).arg("--data").arg(&data);
            command.args(check.then_some("--check-config"));
            let ended = run(&mut command);
            assert_eq!(ended.code, Some(2), "{text}");
            let refusal = ended.refusal();
            assert!(refusal.contains(&format!("{}: {place}", file.display())), "{text}: {refusal}");
            assert_eq!(refusal.lines().count(), 1, "{refusal}");
            assert!(!data.exists(), "nothing was begun");
        }
    }
    fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    let mut command = Command::new(edge_agent());
    command.arg("run").arg("--config").arg(&file).arg("--check-config");
    assert_eq!(run(&mut command).code, Some(2));
}

#[test]
fn the_example_configuration_is_right() {
    let mut command = Command::new(edge_agent());
    let example = repository("deploy/examples/edge-agent.toml");
    command.arg("run").arg("--config").arg(example).arg("--check-config");
    assert_eq!(run(&mut command).success(), "nothing is wrong\n");
}

#[test]
fn f078_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let mut agent = Agent::start();
    agent.stop();
    let key = agent.data().join("gallery.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refusal = run(&mut agent.run_command()).refusal();
    assert!(refusal.contains("chmod 600"), "{refusal}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    agent.restart();
}

#[test]
fn f079_a_stolen_card_cannot_be_read_on_another_device_and_an_encrypted_backup_can() {
    let mut agent = Agent::start();
    agent.stop();
    let key = agent.data().join("gallery.key");
    let plain = fs::read(&key).unwrap();
    agent.set_device_secret(Some(&"5a".repeat(32)));
    agent.restart();
    let sealed = fs::read(&key).unwrap();
    assert!(!sealed.windows(8).any(|part| plain.windows(8).any(|plain| plain == part)), "the key lies there");
    let (file, passphrase) = (agent.folder().join("site.backup"), agent.folder().join("passphrase"));
    fs::write(&passphrase, "twelve words or so").unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let (file, passphrase) = (file.to_str().unwrap(), passphrase.to_str().unwrap());
    agent.run(&["backup", file, "--passphrase-file", passphrase]).success();
    agent.stop();
    agent.restart();
    agent.stop();
    for elsewhere in [None, Some("a5".repeat(32))] {
        agent.set_device_secret(elsewhere.as_deref());
        let refusal = run(&mut agent.run_command()).refusal();
        assert!(refusal.contains("gallery.key is sealed for"), "{refusal}");
        assert!(refusal.contains("restore an encrypted backup"), "{refusal}");
    }
    fs::remove_dir_all(agent.data()).unwrap();
    agent.run(&["restore", file, "--passphrase-file", passphrase]).success();
    assert_eq!(fs::read(&key).unwrap(), plain);
    agent.restart();
    assert_ne!(fs::read(&key).unwrap(), plain, "sealed for the new device");
}

#[test]
fn an_address_that_is_taken_and_missing_networks_are_said_in_one_line() {
    let agent = Agent::start();
    let other = tempfile::tempdir().unwrap();
    let mut command = Command::new(edge_agent());
    command.arg("--models").arg(repository("models")).arg("run").arg("--data").arg(other.path().join("data"));
    command.arg("--address").arg(agent.url().trim_start_matches("https://"));
    let refusal = run(&mut command).refusal();
    let last = refusal.lines().last().unwrap();
    assert!(last.starts_with("edge-agent: cannot listen on"), "{refusal}");
    let mut command = Command::new(edge_agent());
    command.arg("--models").arg(other.path()).arg("run").arg("--data").arg(other.path().join("data"));
    let refusal = run(&mut command).refusal();
    assert!(refusal.contains("manifest.toml"), "{refusal}");
}

#[tokio::test]
async fn the_file_changes_settings_when_it_was_edited_and_the_api_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    fs::write(&file, "[terminal]\nname = \"Gate A\"\n[site]\ntime_zone = \"Asia/Ho_Chi_Minh\"\n").unwrap();
    let mut agent = Agent::start_with(&["--config", file.to_str().unwrap()]);
    let name = async |agent: &Agent| {
        let mut client = agent.client().await;
        let list = client.terminals.list_terminals(v1::ListTerminalsRequest::default()).await.unwrap();
        list.into_inner().terminals.remove(0)
    };
    let terminal = name(&agent).await;
    assert_eq!(terminal.display_name, "Gate A");
    let mut client = agent.client().await;
    let settings =
        client.attendance.get_attendance_settings(v1::GetAttendanceSettingsRequest {}).await.unwrap();
    assert_eq!(settings.get_ref().time_zone, "Asia/Ho_Chi_Minh");
    let update = v1::UpdateTerminalSettingsRequest {
        terminal: terminal.name.clone(),
        settings: Some(v1::TerminalSettings {
            display_name: "Gate B".into(),
            direction: v1::Direction::Out.into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".into()] }),
    };
    let updated = client.terminals.update_terminal_settings(update).await.unwrap().into_inner();
    let events = v1::ListEventsRequest {
        filter: Some(v1::EventFilter { kinds: vec!["settings_applied".into()], ..Default::default() }),
        ..Default::default()
    };
    let events = client.attendance.list_events(events).await.unwrap().into_inner().events;
    let last = events.last().and_then(|event| event.kind.clone()?.kind);
    let Some(v1::event_kind::Kind::SettingsApplied(applied)) = last else { panic!("{events:?}") };
    assert_eq!(applied.revision, updated.revision);
    agent.kill();
    agent.restart();
    assert_eq!(name(&agent).await.display_name, "Gate B", "the file has not changed");
    agent.stop();
    fs::write(&file, "[terminal]\nname = \"Gate C\"\n").unwrap();
    agent.restart();
    assert_eq!(name(&agent).await.display_name, "Gate C", "the file has changed");
}

#[test]
fn systemd_is_told_of_the_start_of_life_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut told = [0; 256];
    let mut hear = || {
        let length = socket.recv(&mut told).unwrap();
        String::from_utf8(told[..length].to_vec()).unwrap().trim().to_owned()
    };
    let watchdog = "WATCHDOG_USEC=3000000";
    let notify = format!("NOTIFY_SOCKET={}", path.display());
    let mut agent = Agent::configured(|_| String::new());
    agent.set_under(&["env", &notify, watchdog]);
    agent.restart();
    let mut first = [hear(), hear(), hear()];
    first.sort();
    assert_eq!(first, ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    agent.stop();
    let last = std::iter::repeat_with(hear).find(|word| word != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}
