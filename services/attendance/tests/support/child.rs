//! Other processes for the tests: this test program again, told to do one thing, under strace.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

/// The variable that tells a child which folder it works on.
const CHILD: &str = "ROLLCALL_ATTENDANCE_TEST_CHILD";

/// What the parent told this process to work on; `None` in the parent.
pub fn told() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// This program again, to run the test `name` alone.
pub fn child(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, folder);
    command
}

/// Runs a child whose system calls of one kind on the log's write-ahead log are tampered with (strace(1), inject).
pub fn tampered(name: &str, folder: &Path, call: &str, how: &str) -> Output {
    let child = child(name, folder);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    strace.arg("-e").arg(format!("inject={call}:{how}"));
    strace.arg("-P").arg(folder.join("log.db-wal")).arg(child.get_program()).args(child.get_args());
    strace.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.output().expect("install strace")
}

/// What the child said after `word`, line by line.
pub fn said(output: &Output, word: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| Some(line.split_once(word)?.1.trim().to_owned())).collect()
}
