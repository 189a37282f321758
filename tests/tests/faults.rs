//! The terminal against slow disks and clocks that jump: FAULTS.md 10 and 47 with the whole
//! program, its lock and somebody who types a PIN. The log alone: services/attendance/tests/faults.rs.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::Terminal;
use rollcall_tests::terminal::{OPEN_WITHIN_MS, PIN, entries_ms, events};

/// strace(1) that tampers with one system call of the program on its log.
fn tampered(terminal: &Terminal, call: &str, how: &str) -> Vec<String> {
    let log = terminal.agent.data().join("log.db-wal").to_str().unwrap().to_owned();
    ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("trace={call}"), "-e".into(), format!("inject={call}:{how}"), "-P".into(), log])
        .collect()
}

fn start_under(terminal: &mut Terminal, command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    terminal.agent.set_under(&words);
    let started = terminal.agent.try_restart().is_ok();
    terminal.agent.set_under(&[]);
    started
}

#[tokio::test(flavor = "multi_thread")]
async fn f010_with_a_disk_of_three_seconds_the_door_opens_in_time_and_the_event_follows() {
    let mut terminal = Terminal::start_with_a_pin().await;
    terminal.agent.stop();
    let before = terminal.pulses().len();
    // The first sync after a start is of the start itself.
    let under = tampered(&terminal, "fdatasync", "delay_enter=3000000:when=2+");
    assert!(start_under(&mut terminal, &under));
    assert!(terminal.type_pin(PIN));
    let mut client = terminal.agent.client().await;
    let kinds = vec!["credential_used".to_owned()];
    let filter = Some(v1::EventFilter { kinds, ..Default::default() });
    let request = v1::WatchEventsRequest { filter, ..Default::default() };
    let mut followed = client.attendance.watch_events(request).await.unwrap().into_inner();
    while followed.message().await.unwrap().expect("the event follows").events.is_empty() {}
    let entries = entries_ms(&mut client).await;
    let [entered] = entries[..] else { panic!("{entries:?}") };
    let pulses = terminal.pulses();
    assert_eq!(pulses.len(), before + 1);
    let waited = pulses[before].released_ms - entered;
    assert!(waited <= OPEN_WITHIN_MS, "the door waited for {waited} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn f047_a_clock_that_jumps_changes_no_order_and_nobody_is_forgotten() {
    let mut terminal = Terminal::start_with_a_pin().await;
    terminal.agent.stop();
    let rc = terminal.agent.folder().join("faketime");
    std::fs::write(&rc, "+0\n").unwrap();
    let under = [
        "env".to_owned(),
        format!("FAKETIME_TIMESTAMP_FILE={}", rc.display()),
        "FAKETIME_NO_CACHE=1".into(),
        "DONT_FAKE_MONOTONIC=1".into(),
        format!("LD_PRELOAD={}", faketime().display()),
    ];
    assert!(start_under(&mut terminal, &under));
    for jump in ["+0", "-3650d", "+3650d", "+0"] {
        std::fs::write(&rc, format!("{jump}\n")).unwrap();
        assert!(terminal.type_pin(PIN), "{jump}");
    }
    std::fs::write(&rc, "+0\n").unwrap();
    let mut client = terminal.agent.client().await;
    let entries = entries_ms(&mut client).await;
    assert_eq!(entries.len(), 4);
    assert!(entries.is_sorted(), "{entries:?}");
    let people = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap().into_inner();
    assert_eq!(people.people.len(), 1, "nobody was forgotten");
    let opened = events(&mut client, &["log_opened"]).await;
    assert!(matches!(&opened[..], [Kind::LogOpened(_)]), "one log throughout: {opened:?}");
}

/// The library that faketime(1) loads.
fn faketime() -> std::path::PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("tests/prepare.sh installs faketime")
}
