//! Other processes for the tests: this test program again, told to do one thing.

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

/// Runs `child` under strace, which kills it as one of its threads enters this system call for the `nth` time. `true`
/// when it ended by itself: there were fewer calls.
pub fn killed_at(child: &Command, call: &str, nth: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    strace.arg("-e").arg(format!("inject={call}:signal=SIGKILL:when={nth}"));
    strace.arg(child.get_program()).args(child.get_args());
    strace.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Output { status, stdout, .. } = strace.output().expect("strace (is there none? install strace)");
    assert!(status.success() || status.code().is_none() || status.code() == Some(137), "{status:?}");
    status.success() && String::from_utf8_lossy(&stdout).contains("1 passed")
}
