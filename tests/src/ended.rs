//! Commands that run to their end.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A command that has not ended after so long hangs.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit status; `None`: by a signal.
    pub code: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Ended {
    /// What it printed; it must have succeeded.
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What it said; it must have failed, with one line.
    pub fn refusal(self) -> String {
        assert_ne!(self.code, Some(0), "it succeeded: {}", self.stdout);
        assert_eq!(self.signal, None, "{}", self.stderr);
        self.stderr.trim_end().to_owned()
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    end(child, &format!("{command:?}"))
}

/// Waits for the end of a command whose output is piped.
pub fn end(mut child: Child, what: &str) -> Ended {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let pid = child.id();
    let (send, ended) = mpsc::channel();
    std::thread::scope(|threads| {
        let stderr = threads.spawn(move || {
            let mut text = Vec::new();
            stderr.as_mut().map(|pipe| pipe.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        let stdout = threads.spawn(move || {
            let mut text = Vec::new();
            stdout.as_mut().map(|pipe| pipe.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        threads.spawn(move || send.send(child.wait()));
        let status = ended.recv_timeout(DEADLINE);
        if status.is_err() {
            kill(pid);
        }
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let Ok(status) = status else { panic!("{what} has not ended in time: {stdout}{stderr}") };
        let status = status.unwrap();
        Ended { code: status.code(), signal: status.signal(), stdout, stderr }
    })
}

/// kill -9.
pub fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// Sends a signal to a process that we started.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // One that has ended meanwhile needs no signal.
    let _ = rustix::process::kill_process(pid, signal);
}
