//! Other processes for the tests: this test program again, told to do one thing.

#![allow(dead_code, reason = "each test program uses what it needs")]

pub mod site;

use std::path::Path;
use std::process::{Command, Output};

/// The variable that tells a child what it works on.
pub const CHILD: &str = "ROLLCALL_STORE_TEST_CHILD";

/// What the parent told this process to work on; `None` in the parent.
pub fn told() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// This program again, to run the test `name` alone, which finds `subject` with [`told`].
pub fn child(name: &str, subject: &str) -> Command {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, subject);
    command
}

/// `child` under strace, which does something to this system call of its threads, on this file alone when one is given.
pub fn strace(child: &Command, call: &str, what: &str, path: Option<&Path>) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    strace.arg("-e").arg(format!("inject={call}:{what}"));
    if let Some(path) = path {
        strace.arg("-P").arg(path);
    }
    strace.arg(child.get_program()).args(child.get_args());
    strace.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace
}

/// Runs `child` and kills it as one of its threads enters this system call for the `nth` time. `true` when it ended by
/// itself: there were fewer calls.
pub fn killed_at(child: &Command, call: &str, nth: usize) -> bool {
    let mut strace = strace(child, call, &format!("signal=SIGKILL:when={nth}"), None);
    let Output { status, stdout, .. } = strace.output().expect("strace (is there none? install strace)");
    let killed = status.code().is_none_or(|code| code == 137);
    assert!(status.success() || killed, "{status:?}: {}", String::from_utf8_lossy(&stdout));
    status.success()
}
