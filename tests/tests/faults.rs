//! The terminal against kills, slow disks and clocks that jump or are not set: FAULTS.md 1, 10, 47 and 48 with the whole
//! program, its lock and somebody who types a PIN. The log alone: services/attendance/tests/faults.rs.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;

use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::Terminal;
use rollcall_tests::scene::Film;
use rollcall_tests::terminal::{
    OPEN_WITHIN_MS, PIN, assert_each_pulse_has_its_event, entries_ms, events, listed, passages,
};

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

/// How many people come in before the program is asked to stop.
const ENTRIES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn f001_killed_at_any_sync_of_the_log_each_opening_of_the_door_has_its_event() {
    let mut terminal = Terminal::start_with_a_pin().await;
    terminal.agent.stop();
    let (mut known, mut opened) = (0, 0);
    for nth in 1.. {
        // The lock's supervisor never syncs the log: it is not the one that is killed.
        let under = tampered(&terminal, "fdatasync", &format!("signal=SIGKILL:when={nth}"));
        let has_started = start_under(&mut terminal, &under);
        let answered = if has_started { come_in(&terminal, opened) } else { 0 };
        let was_killed = !has_started || terminal.agent.stop().signal.is_some();
        terminal.agent.restart();
        let context = format!("killed at sync {nth}");
        let mut client = terminal.agent.client().await;
        let entries = entries_ms(&mut client).await;
        assert!(entries.len() >= known + answered, "{context}: an event that was told of is lost");
        known = entries.len();
        let pulses = terminal.pulses();
        assert!(pulses.iter().all(|pulse| pulse.locked_ms.is_some()), "{context}: {pulses:?}");
        assert_each_pulse_has_its_event(&pulses, &entries, &context);
        opened = pulses.len();
        let seqs: Vec<i64> = listed(&mut client, &[]).await.iter().map(|event| event.seq).collect();
        assert!(seqs.iter().copied().eq(1..=seqs.len() as i64), "{context}: {seqs:?}");
        terminal.agent.stop();
        terminal.agent.run(&["verify-log"]).success();
        if !was_killed {
            assert!(nth > ENTRIES, "at least one sync an event");
            break;
        }
    }
    assert!(opened >= ENTRIES * (ENTRIES + 1) / 2, "killed at the sync of each entry: {opened} came in");
}

/// One after the other comes in, each once the lock has locked again, until the program is killed. How many were told so.
fn come_in(terminal: &Terminal, opened: usize) -> usize {
    for entry in 0..ENTRIES {
        if !terminal.type_pin(PIN) {
            return entry;
        }
        terminal.wait_for_pulses(opened + entry + 1);
    }
    ENTRIES
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
    assert_eq!(terminal.metric("rollcall_log_pending_total"), 1.0);
    assert_eq!(terminal.metric("rollcall_door_openings_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f047_a_clock_that_jumps_changes_no_order_and_nobody_is_forgotten() {
    let mut terminal = Terminal::start_with_a_pin().await;
    terminal.agent.stop();
    assert!(start_with_clock(&mut terminal, "+0"));
    for jump in ["+0", "-3650d", "+3650d", "+0"] {
        set_clock(&terminal, jump);
        assert!(terminal.type_pin(PIN), "{jump}");
    }
    set_clock(&terminal, "+0");
    let mut client = terminal.agent.client().await;
    let entries = entries_ms(&mut client).await;
    assert_eq!(entries.len(), 4);
    assert!(entries.is_sorted(), "{entries:?}");
    let people = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap().into_inner();
    assert_eq!(people.people.len(), 1, "nobody was forgotten");
    let opened = events(&mut client, &["log_opened"]).await;
    assert!(matches!(&opened[..], [Kind::LogOpened(_)]), "one log throughout: {opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f048_whoever_comes_in_before_the_clock_is_set_is_dated_by_one_anchor_once_it_is() {
    let mut terminal = Terminal::unstarted(Film::default(), "");
    terminal.agent.set_own_boots();
    terminal.agent.restart();
    terminal.agent.mark_clock_as_set();
    let person = terminal.add_pin("Somebody").await;
    assert!(terminal.type_pin(PIN));
    terminal.agent.stop();

    assert!(start_with_clock(&mut terminal, IN_1971));
    for _ in 0..50 {
        assert!(terminal.type_pin(PIN));
    }
    let mut client = terminal.agent.client().await;
    for event in &listed(&mut client, &["credential_used"]).await[1..] {
        assert_eq!(event.stamp.as_ref().unwrap().wall_quality(), v1::ClockQuality::Unset);
        assert_eq!(event.time_trust(), v1::TimeTrust::Estimated, "flagged");
    }
    let group = client.create_group("On no day that is known").await;
    client.put_into(&person, &group).await;
    for rule in [v1::WithoutClock::Refuse, v1::WithoutClock::Allow] {
        client.set_rule(&group, &[1], rule).await;
        assert!(terminal.type_pin(PIN));
        let is_refused = matches!(passages(&mut client).await.pop(), Some(Kind::EntryRefused(_)));
        assert_eq!(is_refused, rule == v1::WithoutClock::Refuse, "the door's own rule holds");
    }

    set_clock(&terminal, "+0");
    terminal.agent.mark_clock_as_set();
    client.set_rule(&group, &[1, 2, 3, 4, 5, 6, 7], v1::WithoutClock::Allow).await;
    assert!(terminal.type_pin(PIN));
    assert!(matches!(&events(&mut client, &["clock_anchor"]).await[..], [_, _]), "one anchor a boot");
    let entries = listed(&mut client, &["credential_used"]).await;
    assert_eq!(entries.len(), 1 + 50 + 1 + 1);
    let times: Vec<i64> = entries.iter().map(|event| event.time.unwrap().seconds).collect();
    assert!(times.is_sorted() && times[times.len() - 1] - times[0] < 600, "{times:?}");
    let (last, before) = entries[1..].split_last().unwrap();
    assert_eq!(last.time_trust(), v1::TimeTrust::Good);
    for event in before {
        assert_eq!(event.time_trust(), v1::TimeTrust::Corrected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f048_a_clock_that_shows_a_time_before_the_program_was_made_was_never_set() {
    let mut terminal = Terminal::unstarted(Film::default(), "");
    terminal.agent.set_own_boots();
    terminal.agent.restart();
    let quality = async |terminal: &Terminal| {
        let mut client = terminal.agent.client().await;
        let status = v1::GetTerminalStatusRequest { name: client.this_terminal().await };
        client.terminals.get_terminal_status(status).await.unwrap().into_inner().clock_quality()
    };
    assert_ne!(quality(&terminal).await, v1::ClockQuality::Unset);
    terminal.agent.stop();
    assert!(start_with_clock(&mut terminal, IN_1971));
    assert_eq!(quality(&terminal).await, v1::ClockQuality::Unset);
}

/// For faketime(1): where a clock without a battery may begin.
const IN_1971: &str = "-20000d";

/// Starts it with a clock that is off by so much, and that [`set_clock`] sets.
fn start_with_clock(terminal: &mut Terminal, off_by: &str) -> bool {
    set_clock(terminal, off_by);
    let under = [
        "env".to_owned(),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock_file(terminal).display()),
        "FAKETIME_NO_CACHE=1".into(),
        "DONT_FAKE_MONOTONIC=1".into(),
        "NO_FAKE_STAT=1".into(),
        format!("LD_PRELOAD={}", faketime().display()),
    ];
    start_under(terminal, &under)
}

fn set_clock(terminal: &Terminal, off_by: &str) {
    std::fs::write(clock_file(terminal), format!("{off_by}\n")).unwrap();
}

fn clock_file(terminal: &Terminal) -> PathBuf {
    terminal.agent.folder().join("faketime")
}

/// The library that faketime(1) loads.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("tests/prepare.sh installs faketime")
}
