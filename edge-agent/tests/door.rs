//! The door with real processes and a recorded lock: whatever is killed, stopped or hangs, the lock is where it must be
//! within a pulse and a second.
//!
//! Times are those of the record, which the process that drives the lock wrote.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{edge_agent, wait};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const PULSE_MS: u64 = 1_000;

/// A pulse and a second, and what a busy machine adds to a process that is started anew.
const SAFE_WITHIN_MS: u64 = PULSE_MS + 1_000;

/// For so long a condition is waited for. It comes within milliseconds unless the machine is very busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A recorded door in a folder, and the process that uses it.
struct Door {
    folder: TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    said: Said,
}

type Said = std::io::Lines<BufReader<ChildStdout>>;

#[derive(Clone, Debug)]
struct Entry {
    mono_ms: u64,
    pid: i32,
    line: String,
    level: String,
}

impl Door {
    /// The agent's end and the supervisor, by `door-try`.
    fn agent(more: &str) -> Self {
        let folder = configured(more);
        let mut command = edge_agent();
        command.arg("door-try").arg("--config").arg(folder.path().join("agent.toml"));
        let mut door = Self::spawn(folder, command);
        door.says("ready");
        door
    }

    /// The supervisor alone, with this test as its agent.
    fn supervisor(fail: &str) -> Self {
        let mut command = edge_agent();
        command.arg("door-supervisor");
        let folder = configured("");
        let mut door = Self::spawn(folder, command);
        let (record, inputs) = (door.record_file(), door.inputs_file());
        door.order(&json!({"start": {"is_locked_down": false, "config": {
            "driver": "recorded", "fail": fail, "open_ms": PULSE_MS, "record": record, "inputs": inputs,
        }}}));
        door.wait_for("the first level", |entries| !entries.is_empty());
        door
    }

    fn spawn(folder: TempDir, mut command: Command) -> Self {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { folder, stdin: child.stdin.take(), said, child }
    }

    /// Waits for a line with `words`.
    fn says(&mut self, words: &str) -> String {
        self.said.by_ref().map(Result::unwrap).find(|line| line.contains(words)).unwrap()
    }

    fn order(&mut self, order: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    fn type_in(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn record_file(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    fn inputs_file(&self) -> PathBuf {
        self.folder.path().join("inputs")
    }

    fn input(&self, line: &str) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.inputs_file()).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    /// Changes of the lock so far.
    fn lock(&self) -> Vec<Entry> {
        self.all().into_iter().filter(|entry| entry.line == "lock").collect()
    }

    fn all(&self) -> Vec<Entry> {
        let text = fs::read_to_string(self.record_file()).unwrap_or_default();
        let entry = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap();
            Entry {
                mono_ms: value["mono_ms"].as_u64().unwrap(),
                pid: value["pid"].as_i64().unwrap().try_into().unwrap(),
                line: value["line"].as_str().unwrap().to_owned(),
                level: value["level"].as_str().unwrap().to_owned(),
            }
        };
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(entry).collect()
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entries = self.lock();
            if is_so(&entries) {
                return entries;
            }
            assert!(Instant::now() < deadline, "no {what}: {entries:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until the lock is released, and gives that change.
    fn released(&self) -> Entry {
        let is_released = |entries: &[Entry]| entries.last().is_some_and(|entry| entry.level == "released");
        self.wait_for("released", is_released).pop().unwrap()
    }

    /// Waits until the lock goes to `level` after `change`, and gives that.
    fn after(&self, change: &Entry, level: &str) -> Entry {
        let comes = |entries: &[Entry]| {
            let later = entries.iter().skip_while(|entry| entry.mono_ms < change.mono_ms).skip(1);
            later.into_iter().find(|entry| entry.level == level).cloned()
        };
        comes(&self.wait_for(level, |entries| comes(entries).is_some())).unwrap()
    }

    /// It locks in time after it was released so.
    fn locks_in_time_after(&self, released: &Entry) -> Entry {
        let locked = self.after(released, "locked");
        let took_ms = locked.mono_ms - released.mono_ms;
        assert!(took_ms <= SAFE_WITHIN_MS, "locked after {took_ms} ms");
        locked
    }

    fn agent_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn has_ended(pid: Pid) {
        let deadline = Instant::now() + PATIENCE;
        while test_kill_process(pid).is_ok() {
            assert!(Instant::now() < deadline, "{pid:?} has not ended");
            std::thread::yield_now();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with the configuration of a recorded door.
fn configured(more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[door]\ndriver = \"recorded\"\nopen_ms = {PULSE_MS}\nrecord = \"record\"\ninputs = \"inputs\"\n{more}"
    );
    fs::write(folder.path().join("agent.toml"), config).unwrap();
    folder
}

fn pid(entry: &Entry) -> Pid {
    Pid::from_raw(entry.pid).unwrap()
}

fn open_order(asked_ms: u64) -> Value {
    json!({"open": {"asked_ms": asked_ms, "opener": "credential"}})
}

fn mono_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000 + u64::try_from(time.tv_nsec).unwrap() / 1_000_000
}

const SECURE: &str = "fail = \"secure\"";

#[test]
fn a_pulse_ends_by_itself_and_the_end_of_the_program_leaves_it_locked() {
    let mut door = Door::agent(SECURE);
    door.type_in("open");
    let released = door.released();
    let locked = door.locks_in_time_after(&released);
    assert!(locked.mono_ms - released.mono_ms >= PULSE_MS, "{released:?} {locked:?}");
    door.type_in("open");
    let again = door.after(&locked, "released");
    drop(door.stdin.take());
    let ended = door.after(&again, "locked");
    assert!(ended.mono_ms - again.mono_ms < PULSE_MS, "it does not wait for the pulse");
    Door::has_ended(pid(&ended));
    let green = door.all().into_iter().filter(|entry| entry.line == "green" && entry.level == "on");
    assert_eq!(green.count(), 1, "the second welcome came while the first still shone");
}

#[test]
fn f095_kill_9_of_the_agent_with_the_relay_on_locks() {
    let mut door = Door::agent(SECURE);
    door.type_in("open");
    let released = door.released();
    kill_process(door.agent_pid(), Signal::KILL).unwrap();
    let locked = door.locks_in_time_after(&released);
    assert_eq!(locked.pid, released.pid, "by the supervisor itself");
    Door::has_ended(pid(&locked));
}

#[test]
fn f095_sigstop_of_the_agent_with_the_relay_on_locks() {
    let mut door = Door::agent(SECURE);
    door.type_in("open");
    let released = door.released();
    kill_process(door.agent_pid(), Signal::STOP).unwrap();
    let locked = door.locks_in_time_after(&released);
    // The exit button works although the agent does not, and a continued agent finds its supervisor well.
    door.input("exit=pressed");
    let exit = door.after(&locked, "released");
    let locked = door.locks_in_time_after(&exit);
    kill_process(door.agent_pid(), Signal::CONT).unwrap();
    door.type_in("open");
    assert_eq!(door.after(&locked, "released").pid, released.pid);
}

#[test]
fn f095_sigstop_of_the_supervisor_with_the_relay_on_locks() {
    let mut door = Door::agent(SECURE);
    door.type_in("open");
    let released = door.released();
    kill_process(pid(&released), Signal::STOP).unwrap();
    let locked = door.locks_in_time_after(&released);
    assert_ne!(locked.pid, released.pid, "by another one");
    Door::has_ended(pid(&released));
    door.says("event: FaultOver");
    door.type_in("open");
    door.locks_in_time_after(&door.after(&locked, "released"));
}

#[test]
fn f095_kill_9_of_the_supervisor_with_the_relay_on_locks_and_another_one_keeps_the_door() {
    let mut door = Door::agent(SECURE);
    let round = |door: &mut Door, before: &Entry| {
        door.type_in("open");
        let released = door.after(before, "released");
        kill_process(pid(&released), Signal::KILL).unwrap();
        let locked = door.locks_in_time_after(&released);
        assert_ne!(locked.pid, released.pid);
        assert_eq!(door.says("event: "), "event: Fault");
        assert_eq!(door.says("event: "), "event: FaultOver");
        locked
    };
    let first = door.lock().pop().unwrap();
    let second = round(&mut door, &first);
    round(&mut door, &second);
    let red = door.all().into_iter().filter(|entry| entry.line == "red" && entry.level == "on");
    assert_eq!(red.count(), 2, "the red light says that nothing keeps the lock");
}

#[test]
fn f095_an_agent_that_hangs_does_not_keep_the_lock_released() {
    let mut door = Door::supervisor("secure");
    door.order(&open_order(mono_ms()));
    let released = door.released();
    // Nothing more is said, the pipe stays open, and nobody reads.
    let locked = door.locks_in_time_after(&released);
    assert!(locked.mono_ms - released.mono_ms >= PULSE_MS);
}

#[test]
fn f095_a_supervisor_whose_reports_nobody_reads_keeps_the_time() {
    let mut door = Door::supervisor("secure");
    for number in 0..20_000 {
        door.order(&json!({"ping": number}));
    }
    door.order(&open_order(mono_ms()));
    door.locks_in_time_after(&door.released());
}

#[test]
fn f095_an_old_order_is_not_obeyed() {
    let mut door = Door::supervisor("secure");
    kill_process(door.agent_pid(), Signal::STOP).unwrap();
    door.order(&open_order(mono_ms().saturating_sub(1_500)));
    kill_process(door.agent_pid(), Signal::CONT).unwrap();
    assert_eq!(door.says("refused"), r#"{"refused":"old"}"#);
    assert_eq!(door.lock().len(), 1, "it was never released");
}

#[test]
fn f095_what_is_no_order_ends_the_supervisor_locked() {
    for line in ["open sesame", "{\"open\":{}}", "{\"start\":{\"config\":{},\"is_locked_down\":false}}"] {
        let mut door = Door::supervisor("secure");
        door.order(&open_order(mono_ms()));
        let released = door.released();
        door.type_in(line);
        door.locks_in_time_after(&released);
        let child = std::mem::replace(&mut door.child, Command::new("true").spawn().unwrap());
        let (status, _) = wait(child, &Command::new(line));
        assert_eq!(status.code(), Some(0), "{line}");
    }
}

#[test]
fn f095_ctrl_c_of_the_whole_group_does_not_end_the_supervisor_before_it_has_locked() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut door = Door::agent(SECURE);
        door.type_in("open");
        let released = door.released();
        // systemd sends its signal to both, a terminal to the group.
        kill_process(pid(&released), signal).unwrap();
        kill_process_group(door.agent_pid(), signal).unwrap();
        let locked = door.locks_in_time_after(&released);
        assert_eq!(locked.pid, released.pid, "{signal:?}");
        Door::has_ended(pid(&locked));
    }
}

#[test]
fn f095_a_signal_ends_the_pulse_and_the_exit_button_works_on() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut door = Door::supervisor("secure");
        door.order(&open_order(mono_ms()));
        let released = door.released();
        kill_process(pid(&released), signal).unwrap();
        let locked = door.locks_in_time_after(&released);
        door.input("exit=pressed");
        door.after(&locked, "released");
    }
}

#[test]
fn f095_a_fail_safe_lock_is_released_when_nothing_keeps_it() {
    let mut door = Door::agent("fail = \"safe\"");
    let levels: Vec<String> = door.lock().into_iter().map(|entry| entry.level).collect();
    assert_eq!(levels, ["released", "locked"], "the relay is off at first");
    door.type_in("open");
    let released = door.after(&door.lock().pop().unwrap(), "released");
    let locked = door.locks_in_time_after(&released);
    kill_process(door.agent_pid(), Signal::KILL).unwrap();
    door.after(&locked, "released");
    Door::has_ended(pid(&locked));
}

#[test]
fn f095_door_safe_turns_the_relay_off_after_both_were_killed() {
    for (fail, level) in [("secure", "locked"), ("safe", "released")] {
        let mut door = Door::agent(&format!("fail = \"{fail}\""));
        door.type_in("open");
        let last = door.wait_for("pulse", |entries| entries.len() >= 2).pop().unwrap();
        // Neither may do anything between the two signals.
        kill_process(pid(&last), Signal::STOP).unwrap();
        kill_process(door.agent_pid(), Signal::STOP).unwrap();
        kill_process(pid(&last), Signal::KILL).unwrap();
        kill_process(door.agent_pid(), Signal::KILL).unwrap();
        let before = door.lock().len();
        harness::run(
            edge_agent().arg("door-safe").arg("--config").arg(door.folder.path().join("agent.toml")),
        )
        .good();
        let entries = door.lock();
        assert_eq!((entries.len(), entries.last().unwrap().level.as_str()), (before + 1, level));
    }
}

#[test]
fn a_lockdown_refuses_to_open_and_lets_out() {
    let mut door = Door::agent(SECURE);
    door.type_in("lockdown");
    let red = |entries: &[Entry]| entries.iter().any(|entry| entry.line == "red" && entry.level == "on");
    let deadline = Instant::now() + PATIENCE;
    while !red(&door.all()) {
        assert!(Instant::now() < deadline, "the red light does not say it");
        std::thread::yield_now();
    }
    let locked = door.lock().pop().unwrap();
    // A supervisor that is started anew is locked down too.
    kill_process(pid(&locked), Signal::KILL).unwrap();
    let locked = door
        .wait_for("another supervisor", |entries| entries.last().unwrap().pid != locked.pid)
        .pop()
        .unwrap();
    for line in ["open", "open"] {
        door.type_in(line);
    }
    door.input("exit=pressed");
    let exit = door.after(&locked, "released");
    let since = door.lock().into_iter().filter(|entry| entry.mono_ms >= locked.mono_ms).count();
    assert_eq!(since, 2, "only the exit button has released it");
    door.locks_in_time_after(&exit);
}

#[test]
fn a_fire_holds_the_door_although_the_agent_is_killed() {
    let mut door = Door::agent(SECURE);
    let locked = door.lock().pop().unwrap();
    door.input("fire=on");
    let released = door.after(&locked, "released");
    door.child.kill().unwrap();
    door.child.wait().unwrap();
    // The end of the pipe wakes it at once; the input counts only after it was debounced.
    let over_ms = mono_ms();
    door.input("fire=off");
    let over = door.after(&released, "locked");
    assert_eq!(over.pid, released.pid);
    assert!(over.mono_ms > over_ms, "it locked before the fire was over");
    Door::has_ended(pid(&over));
}

#[test]
fn a_lock_without_its_fail_state_is_refused_with_words() {
    let folder = configured("");
    let refused =
        harness::run(edge_agent().arg("door-try").arg("--config").arg(folder.path().join("agent.toml")));
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("There is no default"), "{}", refused.stderr);
    assert!(!folder.path().join("record").exists());
}
