//! The terminal against full and failing disks: FAULTS.md 6 to 9 with the whole program, its lock and somebody who types
//! a PIN. tests/drills/full_disk.sh does 8 with 500 events.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::scene::Film;
use rollcall_tests::terminal::{
    PIN, alarms, assert_each_entry_has_its_pulse, entries_ms, listed, wait_for_event,
};
use rollcall_tests::{Client, Terminal};

/// Networks are not in the data folder; 16 MiB of it are the log's ballast.
const DISK_MIB: u32 = 48;

/// How many people come in while the disk is full.
const WAITING: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn f007_f008_on_a_full_disk_the_door_opens_and_the_events_follow_in_order() {
    let waiting = std::env::var("ROLLCALL_WAITING_EVENTS").map_or(WAITING, |count| count.parse().unwrap());
    let mut terminal = Terminal::unstarted(Film::default(), "");
    terminal.agent.set_own_disk(DISK_MIB);
    terminal.agent.restart();
    terminal.add_pin("Somebody").await;
    let mut client = terminal.agent.client().await;
    let data = terminal.agent.data();

    fill(&data.join("photographs"));
    // A commit goes into pages that the log has already, until it needs one that is not there.
    let mut entered = 0;
    while data.join("log.ballast").exists() {
        assert!(terminal.type_pin(PIN));
        entered += 1;
        assert!(entered < 1_000, "the log grows");
    }
    assert_eq!(entries_ms(&mut client).await.len(), entered, "the ballast's room is the log's");
    wait_for_event(&mut client, "alarm_raised", |kind| *kind == disk_full(false)).await;

    fill(&data.join("more"));
    let mut known = entries_ms(&mut client).await.len();
    let mut kept = 0;
    while kept < waiting {
        assert!(terminal.type_pin(PIN), "the door opens on a full disk");
        entered += 1;
        let now = entries_ms(&mut client).await.len();
        kept = if now > known { 0 } else { kept + 1 };
        known = now;
    }
    assert_eq!(known, entered - waiting, "nothing is there before it is committed");

    std::fs::remove_file(data.join("photographs")).unwrap();
    std::fs::remove_file(data.join("more")).unwrap();
    wait_for_event(&mut client, "alarm_raised", |kind| *kind == disk_full(true)).await;
    let entries = entries_ms(&mut client).await;
    assert_eq!(entries.len(), entered, "all arrive");
    assert!(entries.is_sorted(), "in order: {entries:?}");
    assert_each_entry_has_its_pulse(&terminal.pulses_once_locked(), &entries, "on a full disk");
    assert!(data.join("log.ballast").exists(), "there is a ballast again");
    let full = |is_over| ("DISK_FULL".to_owned(), is_over);
    assert_eq!(alarms(&mut client).await, [full(false), full(true)]);
    let seqs: Vec<i64> = listed(&mut client, &[]).await.iter().map(|event| event.seq).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as i64), "{seqs:?}");
    println!("{entered} came in, {waiting} of them while the disk was full");
}

fn disk_full(cleared: bool) -> Kind {
    Kind::AlarmRaised(rollcall_proto::v1::AlarmRaised { alarm: "DISK_FULL".into(), cleared, value: 0 })
}

/// Writes a file until there is no room for another byte.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f006_a_failed_sync_of_the_log_opens_nothing_and_ends_the_program() {
    nobody_comes_in_when("fdatasync", "error=EIO").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f009_a_disk_that_became_read_only_opens_nothing_and_ends_the_program() {
    nobody_comes_in_when("pwrite64", "error=EROFS").await;
}

/// From some moment on each of these calls on the log fails.
async fn nobody_comes_in_when(call: &str, fails: &str) {
    let mut terminal = Terminal::start_with_a_pin().await;
    assert!(terminal.type_pin(PIN));
    terminal.wait_for_pulses(1);
    let mut strace = tamper(&terminal, call, fails);
    let answer = terminal.pin_answer(PIN);
    let ended = terminal.agent.end();
    strace.wait().unwrap();
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert_eq!(terminal.pulses().len(), 1, "nobody comes in whom the log does not take: {answer:?}");
    terminal.agent.restart();
    let left = entries(&terminal).await;
    // What was written and not synced may be there nevertheless.
    assert!((1..=2).contains(&left), "{left}");
    assert!(terminal.type_pin(PIN), "it goes on");
    assert_eq!(entries(&terminal).await, left + 1);
    terminal.wait_for_pulses(2);
    terminal.agent.stop();
    terminal.agent.run(&["verify-log"]).success();
}

async fn entries(terminal: &Terminal) -> usize {
    let mut client: Client = terminal.agent.client().await;
    entries_ms(&mut client).await.len()
}

/// strace(1), attached to the running program: from when this returns the calls on its log fail.
fn tamper(terminal: &Terminal, call: &str, fails: &str) -> Child {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace
        .args(["-e", &format!("inject={call}:{fails}"), "-P"])
        .arg(terminal.agent.data().join("log.db-wal"));
    strace.args(["-p", &terminal.agent.pid().to_string()]);
    let mut child = strace.stderr(Stdio::piped()).spawn().expect("tests/prepare.sh installs strace");
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("attached")), "strace could not attach");
    // What else it says is of no interest, and must not make it wait.
    std::thread::spawn(move || told.for_each(drop));
    child
}
