//! A running program of ours in a folder of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::Client;
use crate::ended::{self, Ended, end, kill, signal};

/// A start loads networks, in a debug build on a busy machine.
const READY: Duration = Duration::from_secs(120);

/// See the module. Dropped, it is killed.
pub(crate) struct Program {
    path: PathBuf,
    child: Option<Child>,
    folder: TempDir,
    url: String,
}

impl Program {
    /// One that is not started.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, child: None, folder: tempfile::tempdir().unwrap(), url: String::new() }
    }

    /// Starts it by this command, and waits until it is ready. The words of its ready line after the address; how it ended
    /// when it did so before.
    ///
    /// # Errors
    /// Its status.
    pub(crate) fn start(&mut self, mut command: Command) -> Result<Vec<String>, ExitStatus> {
        assert!(self.child.is_none(), "it still runs");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let Some(line) = first_line(child.stdout.take().unwrap()) else {
            kill(child.id());
            return Err(child.wait().unwrap());
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["ready:", url, ca, token, ..] = words[..] else { panic!("no ready line: {line}") };
        assert!(ca.starts_with("ca=") && token.starts_with("token="), "{line}");
        let port = url.rsplit(':').next().unwrap();
        self.url = format!("https://127.0.0.1:{port}");
        self.child = Some(child);
        Ok(words[2..].iter().map(|word| (*word).to_owned()).collect())
    }

    /// Whether it runs, as far as is known.
    pub(crate) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// Another command of the program, told of a data folder, not started.
    pub(crate) fn command(&self, arguments: &[&str], data: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments).env("ROLLCALL_DATA", data);
        command
    }

    /// What it wrote about itself.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("program.log")
    }

    /// A folder for it and for the test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address, <https://127.0.0.1:PORT>.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A file with a token that has these scopes, made by `command`, which is `token create`.
    pub(crate) fn token(&self, mut command: Command, role: &str, scopes: &str, expires: &str) -> PathBuf {
        let file = self.folder().join(format!("{}.token", next_name()));
        command.args(["--name", "a test", "--role", role, "--scopes", scopes, "--expires", expires, "--out"]);
        ended::run(command.arg(&file)).success();
        file
    }

    /// A client with the token in a file, which trusts this authority.
    pub(crate) async fn client(&self, token: &Path, ca: &Path) -> Client {
        let token = std::fs::read_to_string(token).unwrap();
        Client::connect(&self.url, &std::fs::read(ca).unwrap(), token.trim()).await
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        kill(child.id());
        child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> Ended {
        let child = self.child.take().unwrap();
        signal(child.id(), Signal::TERM);
        end(child, &format!("{} after SIGTERM", self.path.display()))
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(&mut self) -> Ended {
        end(self.child.take().unwrap(), &self.path.display().to_string())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(child.id());
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The first line of an output, within the deadline; the rest is read and dropped.
fn first_line(stdout: ChildStdout) -> Option<String> {
    let (send, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        if let Some(Ok(line)) = lines.next() {
            let _ = send.send(line);
        }
        lines.for_each(drop);
    });
    line.recv_timeout(READY).ok()
}

/// A name that no other file of this test has.
fn next_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
