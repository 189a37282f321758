//! The log against damaged, torn, lost and strange files: FAULTS.md 11, 12, 16 to 18, 21 and 34.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rollcall_attendance::{Log, OpenReason};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use support::*;
use tempfile::TempDir;

const EVENTS: u8 = 90;

/// The files of a log at one moment, as a kill or a restored card leaves them.
struct Image(Vec<(String, Vec<u8>)>);

impl Image {
    fn of(folder: &Path) -> Self {
        let file = |name: &str| Some((name.to_owned(), fs::read(folder.join(name)).ok()?));
        Self(["log.db", "log.db-wal", "log.head"].into_iter().filter_map(file).collect())
    }

    fn put(&self) -> TempDir {
        let folder = support::folder();
        for (name, bytes) in &self.0 {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut files = self.0.clone();
        change(&mut files.iter_mut().find(|(file, _)| file == name).unwrap().1);
        Self(files)
    }

    fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(file, _)| file != name).cloned().collect())
    }

    fn size(&self, name: &str) -> usize {
        self.0.iter().find(|(file, _)| file == name).unwrap().1.len()
    }
}

async fn append(log: &Log, count: u8) {
    for number in 1..=count {
        log.append(recognised(number)).await.unwrap();
    }
}

/// A closed log with some events.
async fn closed() -> (Image, Vec<v1::Event>) {
    let folder = support::folder();
    let log = open(folder.path()).await;
    append(&log, EVENTS).await;
    let events = events(&log).await;
    log.close(Duration::from_secs(10)).await;
    let image = Image::of(folder.path());
    assert!(image.0.iter().all(|(name, _)| name != "log.db-wal"), "closed");
    (image, events)
}

async fn events(log: &Log) -> Vec<v1::Event> {
    let (service, _site, _folder) = service_of(log).await;
    let events = all(&service, None).await;
    service.stop().await;
    events
}

async fn close(log: Log) {
    log.close(Duration::from_secs(10)).await;
}

/// What an event says, without its place in the feed and what was derived of its time.
fn said(event: &v1::Event) -> v1::Event {
    v1::Event { cursor: String::new(), time: None, time_trust: 0, ..event.clone() }
}

fn alarm<'a>(events: &'a [v1::Event], name: &str) -> Option<&'a v1::AlarmRaised> {
    events.iter().rev().find_map(|event| match event.kind.as_ref()?.kind.as_ref()? {
        Kind::AlarmRaised(alarm) if alarm.alarm == name => Some(alarm),
        _ => None,
    })
}

fn opening(events: &[v1::Event]) -> &v1::LogOpened {
    let opened = events.iter().rev().find_map(|event| match event.kind.as_ref()?.kind.as_ref()? {
        Kind::LogOpened(opened) => Some(opened),
        _ => None,
    });
    opened.unwrap()
}

#[tokio::test]
async fn f011_a_torn_log_loses_only_its_end_and_says_so() {
    let folder = support::folder();
    close(open(folder.path()).await).await;
    let log = open(folder.path()).await;
    append(&log, 5).await;
    let whole = events(&log).await;
    let image = Image::of(folder.path());
    close(log).await;
    let mut lengths = [0; 7];
    let full = image.size("log.db-wal");
    for size in (0..full).step_by(1_024).chain([full]) {
        let torn = image.with("log.db-wal", |wal| wal.truncate(size)).put();
        let log = open(torn.path()).await;
        let found = events(&log).await;
        let kept = found.iter().filter(|event| event.log == whole[0].log).count();
        lengths[kept] += 1;
        assert!(found.iter().zip(&whole).take(kept).all(|(a, b)| said(a) == said(b)), "cut at {size}");
        let lost = i64::try_from(whole.len() - kept).unwrap();
        if lost == 0 {
            assert_eq!(log.opened().reason, None, "cut at {size}");
        } else {
            assert_eq!(log.opened().reason, Some(OpenReason::RolledBack), "cut at {size}");
            assert_eq!(alarm(&found, "LOG_ROLLED_BACK").unwrap().value, lost);
            assert_eq!(opening(&found).parent_head, i64::try_from(kept).unwrap());
        }
        log.append(door("OPENED")).await.unwrap();
        close(log).await;
    }
    assert!(lengths[1..].iter().all(|count| *count > 0), "each length of the log was seen: {lengths:?}");
}

#[tokio::test]
async fn f012_a_lost_write_ahead_log_or_one_of_another_day_is_no_silent_loss() {
    let folder = support::folder();
    close(open(folder.path()).await).await;
    let log = open(folder.path()).await;
    append(&log, 3).await;
    let monday = Image::of(folder.path());
    close(log).await;
    let log = open(folder.path()).await;
    append(&log, 3).await;
    let tuesday = Image::of(folder.path());
    close(log).await;
    let mondays = monday.0.iter().find(|(name, _)| name == "log.db-wal").unwrap().1.clone();
    let cases = [tuesday.without("log.db-wal"), tuesday.with("log.db-wal", |wal| *wal = mondays)];
    for (case, image) in cases.into_iter().enumerate() {
        let folder = image.put();
        let log = open(folder.path()).await;
        assert!(log.opened().reason.is_some(), "case {case}");
        let found = events(&log).await;
        let alarm = alarm(&found, "LOG_ROLLED_BACK").or(alarm(&found, "LOG_DAMAGED"));
        assert!(alarm.is_some(), "case {case}");
        log.append(door("OPENED")).await.unwrap();
        close(log).await;
        let log = open(folder.path()).await;
        assert_eq!(log.opened().reason, None, "case {case}: once");
        close(log).await;
    }
}

/// After damage: opens, works, and tells; every event of the old log is there and unchanged, or it is told that it is
/// not. Returns whether anything was told.
async fn check_damaged(image: &Image, whole: &[v1::Event], context: &str) -> bool {
    let folder = image.put();
    let log = open(folder.path()).await;
    let opened = log.opened().clone();
    let found = events(&log).await;
    let by_seq: HashMap<i64, &v1::Event> =
        found.iter().filter(|event| event.log == whole[0].log).map(|event| (event.seq, event)).collect();
    let differing = whole
        .iter()
        .filter(|event| by_seq.get(&event.seq).is_none_or(|one| said(one) != said(event)))
        .count();
    let told_changed = opened.findings.changed.len();
    match &opened.salvaged {
        Some(salvaged) => {
            assert_eq!(opened.reason, Some(OpenReason::Damaged), "{context}");
            assert_eq!(alarm(&found, "LOG_DAMAGED").unwrap().value, salvaged.events, "{context}");
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let copies = names.filter(|name| name.to_string_lossy().starts_with("log.db.damaged-"));
            assert!(copies.count() > 0, "{context}: a copy of the damaged file");
        }
        None => assert!(differing <= told_changed, "{context}: {differing} events differ and nobody says so"),
    }
    log.append(door("OPENED")).await.unwrap();
    assert!(log.verify().await.is_ok(), "{context}");
    close(log).await;
    let log = open(folder.path()).await;
    assert_eq!((&log.opened().salvaged, log.opened().reason), (&None, None), "{context}: once");
    close(log).await;
    opened.salvaged.is_some() || told_changed > 0 || opened.findings.rederived > 0
}

#[tokio::test]
async fn f016_any_flipped_bit_is_harmless_or_reported_and_the_log_goes_on() {
    let (image, whole) = closed().await;
    let bits = image.size("log.db") * 8;
    // A fixed sequence (Knuth's MMIX generator), so that a failure can be repeated.
    let mut state: u64 = 1;
    let mut told = 0;
    for round in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = usize::try_from(state >> 20).unwrap() % bits;
        let flipped = image.with("log.db", |file| file[bit / 8] ^= 1 << (bit % 8));
        told += usize::from(check_damaged(&flipped, &whole, &format!("round {round}, bit {bit}")).await);
    }
    assert!(told > 40, "{told} of 200 flips were told of");
}

#[tokio::test]
async fn f017_a_zeroed_page_is_reported_and_all_other_pages_are_salvaged() {
    let (image, whole) = closed().await;
    let pages = image.size("log.db") / 4_096;
    for page in 0..pages {
        let zeroed = image.with("log.db", |file| file[page * 4_096..(page + 1) * 4_096].fill(0));
        let folder = zeroed.put();
        let log = open(folder.path()).await;
        if let Some(salvaged) = &log.opened().salvaged {
            // A page of this log has at most 15 events.
            assert!(salvaged.events + 16 >= i64::try_from(whole.len()).unwrap(), "page {page}: {salvaged:?}");
        }
        close(log).await;
        let told = check_damaged(&zeroed, &whole, &format!("page {page}")).await;
        assert!(told, "page {page} is zero and nobody says so");
    }
}

#[tokio::test]
async fn f018_a_flipped_bit_in_an_event_is_named_and_the_event_is_passed_on() {
    let (image, whole) = closed().await;
    // The person's id as text is in the event's bytes alone.
    let victim = &whole[30];
    let Some(v1::EventKind { kind: Some(Kind::Recognised(recognised)) }) = &victim.kind else { panic!() };
    let needle = recognised.person.as_bytes();
    let flipped = image.with("log.db", |file| {
        let at = file.windows(needle.len()).position(|window| window == needle).unwrap();
        file[at + 10] ^= 1;
    });
    let folder = flipped.put();
    let log = open(folder.path()).await;
    let changed = log.opened().findings.changed.clone();
    assert_eq!(changed, [(log.log_id(), victim.seq)]);
    assert_eq!(log.opened().reason, None, "the log goes on");
    let found = events(&log).await;
    assert_eq!(found[30].name, victim.name, "it is listed");
    assert_ne!(found[30].kind, victim.kind, "as it is now");
    let flagged: Vec<i64> = found.iter().filter(|event| event.damaged).map(|event| event.seq).collect();
    assert_eq!(flagged, [victim.seq], "and flagged, alone");
    assert_eq!(alarm(&found, "LOG_DAMAGED").unwrap().value, victim.seq);
    close(log).await;
    let log = open(folder.path()).await;
    assert!(log.opened().findings.changed.is_empty(), "told once");
    close(log).await;
}

#[tokio::test]
async fn f021_a_side_file_that_is_lost_torn_or_old_is_made_anew() {
    let folder = support::folder();
    let log = open(folder.path()).await;
    append(&log, 2).await;
    let old = fs::read(folder.path().join("log.head")).unwrap();
    append(&log, 2).await;
    close(log).await;
    let image = Image::of(folder.path());
    let cases = [
        image.without("log.head"),
        image.with("log.head", Vec::clear),
        image.with("log.head", |head| head.fill(0xa5)),
        image.with("log.head", |head| *head = old),
    ];
    for (case, image) in cases.into_iter().enumerate() {
        let folder = image.put();
        let log = open(folder.path()).await;
        assert_eq!(log.opened().reason, None, "case {case}");
        append(&log, 1).await;
        let mended = Image::of(folder.path());
        close(log).await;
        // It works again: a log without its newest event is noticed.
        let without = mended.without("log.db-wal").put();
        let log = open(without.path()).await;
        assert_eq!(log.opened().reason, Some(OpenReason::RolledBack), "case {case}");
        close(log).await;
    }
}

#[tokio::test]
async fn f034_a_log_that_was_rolled_back_is_noticed_before_its_first_event() {
    let folder = support::folder();
    let log = open(folder.path()).await;
    append(&log, 10).await;
    let old_log = log.log_id();
    close(log).await;
    let old = fs::read(folder.path().join("log.db")).unwrap();
    let log = open(folder.path()).await;
    append(&log, 10).await;
    let cursor = events(&log).await.pop().unwrap().cursor;
    close(log).await;
    fs::write(folder.path().join("log.db"), old).unwrap();
    let log = open(folder.path()).await;
    assert_eq!(log.opened().reason, Some(OpenReason::RolledBack));
    assert_ne!(log.log_id(), old_log);
    let found = events(&log).await;
    assert_eq!(alarm(&found, "LOG_ROLLED_BACK").unwrap().value, 10);
    assert_eq!(opening(&found).parent, old_log.name());
    // What is written now must not be taken for what was there: a reader from before is told to begin anew.
    append(&log, 20).await;
    let (service, _site, _folder) = service_of(&log).await;
    assert_eq!(reason(&list(&service, &cursor, 1, None).await.unwrap_err()), "CURSOR_AHEAD");
    service.stop().await;
    close(log).await;
    // The whole log is gone.
    fs::remove_file(folder.path().join("log.db")).unwrap();
    let log = open(folder.path()).await;
    assert_eq!(log.opened().reason, Some(OpenReason::RolledBack));
    close(log).await;
}
