//! The log against failing disks and kills: FAULTS.md 1, 6, 7, 9, 10 and 15, with real processes under strace.
//!
//! A child appends events and says of each that it was acknowledged. Whatever becomes of the child, the next start must
//! have every event that it said so of, in an unbroken chain.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/child.rs"]
mod child;
mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use child::{child, said, tampered, told};
use rollcall_attendance::{Log, Logged, Quality};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::DataFolder;
use support::*;

const EVENTS: u8 = 5;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn child_log(folder: &str) -> (DataFolder, Log) {
    let folder = DataFolder::open(Path::new(folder)).unwrap();
    let log = Log::open(&folder, identity(), TestClock::new(Quality::Saved)).await;
    // As a program ends that cannot open its log.
    let log = log.unwrap_or_else(|error| {
        println!("unopened {error}");
        std::process::exit(3)
    });
    (folder, log)
}

/// In the child: appends and tells. In the parent: nothing.
#[test]
fn child_appends() {
    let Some(folder) = told() else { return };
    runtime().block_on(async {
        let (_folder, log) = child_log(&folder).await;
        for number in 1..=EVENTS {
            match log.append(recognised(number)).await {
                Ok(appended) => println!("acked {} {}", appended.seq, appended.event_id.name()),
                Err(error) => println!("refused {error}"),
            }
        }
        let failed = tokio::time::timeout(Duration::ZERO, log.failed()).await;
        if let Ok(reason) = failed {
            println!("failed {reason}");
            std::process::exit(3);
        }
        log.close(Duration::from_secs(10)).await;
    });
}

/// In the child: a door that waits a quarter of a second for each event.
#[test]
fn child_is_a_door() {
    let Some(folder) = told() else { return };
    runtime().block_on(async {
        let (_folder, log) = child_log(&folder).await;
        for number in 1..=EVENTS {
            match log.append_patiently(recognised(number), Duration::from_millis(250)).await.unwrap() {
                Logged::Committed(appended) => {
                    println!("acked {} {}", appended.seq, appended.event_id.name())
                }
                Logged::Pending => println!("pending {number}"),
            }
        }
        log.close(Duration::from_secs(60)).await;
    });
}

/// In the child: appends, and moves its events into a new log.
#[test]
fn child_moves_its_log() {
    let Some(folder) = told() else { return };
    runtime().block_on(async {
        let (_folder, log) = child_log(&folder).await;
        for number in 1..=EVENTS {
            if let Ok(appended) = log.append(recognised(number)).await {
                println!("acked {} {}", appended.seq, appended.event_id.name());
            }
        }
        let moved = log.supersede(log.log_id()).await;
        println!("moved {}", moved.is_ok());
        log.close(Duration::from_secs(10)).await;
    });
}

/// In the child: takes the folder, or says who has it.
#[test]
fn child_takes_the_folder() {
    let Some(folder) = told() else { return };
    match DataFolder::open(Path::new(&folder)) {
        Ok(_) => println!("taken"),
        Err(error) => println!("refused {error}"),
    }
}

/// After whatever happened: every event of which the child said that it was acknowledged is there, and the log goes on.
async fn check(folder: &Path, output: &Output, context: &str) -> Vec<v1::Event> {
    let log = open(folder).await;
    assert_eq!(log.opened().salvaged, None, "{context}");
    assert!(log.opened().findings.changed.is_empty(), "{context}");
    let reason = log.opened().reason.map(rollcall_attendance::OpenReason::as_str);
    assert!(matches!(reason, None | Some("FIRST")), "{context}: a new log for {reason:?}");
    let (service, _site, _site_folder) = service_of(&log).await;
    let events = all(&service, None).await;
    assert!((1..).zip(&events).all(|(seq, event)| event.seq == seq), "{context}: numbers");
    for acked in said(output, "acked ") {
        let (seq, name) = acked.split_once(' ').unwrap();
        let seq: usize = seq.parse().unwrap();
        assert_eq!(events[seq - 1].name, name, "{context}: an acknowledged event is gone");
    }
    log.append(door("OPENED")).await.unwrap();
    assert!(log.verify().await.unwrap().changed.is_empty(), "{context}");
    service.stop().await;
    log.close(Duration::from_secs(10)).await;
    events
}

fn acked(output: &Output) -> usize {
    said(output, "acked ").len()
}

/// Kills the child at every call of one kind on the write-ahead log, one after the other, until a run ends by itself.
fn sweep(call: &str) -> usize {
    for nth in 1..500 {
        let folder = support::folder();
        let output = tampered("child_appends", folder.path(), call, &format!("signal=SIGKILL:when={nth}"));
        let context = format!("killed at {call} {nth}");
        runtime().block_on(check(folder.path(), &output, &context));
        if output.status.success() {
            assert_eq!(acked(&output), usize::from(EVENTS), "{context}");
            return nth;
        }
    }
    panic!("500 calls of {call} and no end");
}

#[test]
fn f001_killed_at_any_sync_the_log_has_every_acknowledged_event() {
    assert!(sweep("fdatasync") > usize::from(EVENTS), "at least one sync an event");
}

#[test]
fn f001_killed_at_any_write_the_log_has_every_acknowledged_event() {
    assert!(sweep("pwrite64") > usize::from(EVENTS), "at least one write an event");
}

#[test]
fn killed_at_any_sync_or_write_of_a_move_every_event_is_there_once() {
    for call in ["fdatasync", "pwrite64"] {
        let mut moved = 0;
        for nth in 1.. {
            let folder = support::folder();
            let output =
                tampered("child_moves_its_log", folder.path(), call, &format!("signal=SIGKILL:when={nth}"));
            runtime().block_on(check_moved(folder.path(), &output, &format!("killed at {call} {nth}")));
            moved += said(&output, "moved ").len();
            if output.status.success() {
                break;
            }
            assert!(nth < 500, "500 calls of {call} and no end");
        }
        assert!(moved > 0, "the move was reached");
    }
}

/// Each event of which the child said that it was acknowledged is there once, in a log that goes on.
async fn check_moved(folder: &Path, output: &Output, context: &str) {
    let log = open(folder).await;
    assert!(log.opened().findings.changed.is_empty(), "{context}");
    assert!(matches!(log.opened().reason, None | Some(rollcall_attendance::OpenReason::First)), "{context}");
    assert_eq!(log.states().await.unwrap().len(), 1, "{context}: one log is offered, the old one or the new");
    let (service, _site, _site_folder) = service_of(&log).await;
    let events = all(&service, None).await;
    for acked in said(output, "acked ") {
        let (_, name) = acked.split_once(' ').unwrap();
        assert_eq!(events.iter().filter(|event| event.name == name).count(), 1, "{context}");
    }
    log.append(door("OPENED")).await.unwrap();
    assert!(log.verify().await.unwrap().changed.is_empty(), "{context}");
    service.stop().await;
    log.close(Duration::from_secs(10)).await;
}

#[test]
fn f006_a_failed_sync_ends_the_program_and_acknowledges_nothing_more() {
    for nth in 1..500 {
        let folder = support::folder();
        let output = tampered("child_appends", folder.path(), "fdatasync", &format!("error=EIO:when={nth}"));
        let context = format!("EIO at sync {nth}: {output:?}");
        if output.status.success() {
            assert!(nth > usize::from(EVENTS), "{context}");
            return;
        }
        assert_eq!(output.status.code(), Some(3), "{context}");
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        let after = words.split_once("refused").map_or("", |(_, after)| after);
        assert!(!after.contains("acked"), "{context}");
        runtime().block_on(check(folder.path(), &output, &context));
    }
    panic!("no end");
}

/// In the child: fills the disk that its folder is on, and goes on as a door.
#[test]
fn child_fills_the_disk() {
    let Some(folder) = told() else { return };
    runtime().block_on(fill_the_disk(&folder));
}

async fn fill_the_disk(path: &str) {
    let (_folder, log) = child_log(path).await;
    let (service, _site, _site_folder) = service_of(&log).await;
    let log_path = Path::new(path);
    log.append(recognised(1)).await.unwrap();
    fill(&log_path.join("photographs"));
    log.append(recognised(2)).await.unwrap();
    assert!(!log_path.join("log.ballast").exists(), "the ballast was given up");
    assert!(log.health().is_disk_full);
    while alarms(&all(&service, None).await) != ["DISK_FULL"] {
        tokio::task::yield_now().await;
    }

    fill(&log_path.join("more"));
    let refused = log.append(recognised(3)).await.unwrap_err();
    assert_eq!(refused.fault().reason.as_str(), "UNAVAILABLE", "{refused}");
    for number in 4..=100 {
        let logged = log.append_patiently(recognised(number), Duration::from_secs(60)).await.unwrap();
        assert_eq!(logged, Logged::Pending, "not yet logged");
    }
    assert_eq!(log.health().kept, 97);
    assert_eq!(people(&all(&service, None).await).len(), 2, "nothing is there before it is committed");

    std::fs::remove_file(log_path.join("photographs")).unwrap();
    std::fs::remove_file(log_path.join("more")).unwrap();
    while log.health().kept > 0 || log.health().is_disk_full {
        tokio::task::yield_now().await;
    }
    assert!(log_path.join("log.ballast").exists(), "there is a ballast again");
    let last = log.append(recognised(101)).await.unwrap();
    let found = all(&service, None).await;
    let expected: Vec<String> =
        [1, 2].into_iter().chain(4..=101).map(|number| person(number).name()).collect();
    assert_eq!(people(&found), expected, "all that was not refused, in its order");
    assert_eq!(found.last().unwrap().name, last.event_id.name());
    let over = found.iter().any(|event| match event.kind.as_ref().and_then(|kind| kind.kind.as_ref()) {
        Some(Kind::AlarmRaised(alarm)) => alarm.alarm == "DISK_FULL" && alarm.cleared,
        _ => false,
    });
    assert!(over, "the alarm is over");
    assert!(log.verify().await.unwrap().changed.is_empty());
    service.stop().await;
    log.close(Duration::from_secs(10)).await;
    println!("survived");
}

/// Writes a file until there is no room for another byte.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn people(events: &[v1::Event]) -> Vec<String> {
    let person = |event: &v1::Event| match event.kind.as_ref()?.kind.as_ref()? {
        Kind::Recognised(recognised) => Some(recognised.person.clone()),
        _ => None,
    };
    events.iter().filter_map(person).collect()
}

#[test]
fn f007_a_full_disk_costs_the_ballast_and_an_alarm_and_what_was_kept_in_memory_is_written_later() {
    let folder = support::folder();
    let child = child("child_fills_the_disk", &folder.path().join("data"));
    // A disk of 40 MiB that only the child sees: the ballast takes 16.
    let script = r#"mount -t tmpfs -o size=40m,mode=700 tmpfs "$0" && exec "$@""#;
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(folder.path());
    unshare.arg(child.get_program()).args(child.get_args());
    unshare.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = unshare.output().expect("install util-linux");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("survived"), "{output:?}");
}

#[test]
fn f009_a_disk_that_became_read_only_ends_the_program_and_acknowledges_nothing() {
    let folder = support::folder();
    prepare(folder.path());
    let output = tampered("child_appends", folder.path(), "pwrite64", "error=EROFS:when=1+");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(acked(&output), 0, "{output:?}");
    runtime().block_on(check(folder.path(), &output, "read-only"));
}

#[test]
fn f010_a_door_does_not_wait_for_a_slow_disk_and_its_event_follows() {
    let folder = support::folder();
    prepare(folder.path());
    let output = tampered("child_is_a_door", folder.path(), "fdatasync", "delay_enter=2000000:when=1");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output, "pending ").first().map(String::as_str), Some("1"), "{output:?}");
    let events = runtime().block_on(check(folder.path(), &output, "slow"));
    assert_eq!(people(&events).len(), usize::from(EVENTS));
}

#[test]
fn f015_a_second_process_is_told_who_has_the_folder() {
    let folder = support::folder();
    let held = DataFolder::open(folder.path()).unwrap();
    let output = child("child_takes_the_folder", folder.path()).output().unwrap();
    let refused = said(&output, "refused ");
    assert!(refused[0].contains(&format!("process {}", std::process::id())), "{refused:?}");
    drop(held);
    let output = child("child_takes_the_folder", folder.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("taken"));
}

/// A log that was opened and closed, so that the next start writes nothing before its first event.
fn prepare(folder: &Path) {
    runtime().block_on(async {
        open(folder).await.close(Duration::from_secs(10)).await;
    });
}

fn alarms(events: &[v1::Event]) -> Vec<String> {
    let alarm = |event: &v1::Event| match event.kind.as_ref()?.kind.as_ref()? {
        Kind::AlarmRaised(alarm) if !alarm.cleared => Some(alarm.alarm.clone()),
        _ => None,
    };
    events.iter().filter_map(alarm).collect()
}
