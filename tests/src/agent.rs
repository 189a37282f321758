//! A running `edge-agent`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::ended::{self, Ended, end, kill, signal};
use crate::{Client, edge_agent, repository};

/// A start loads networks, in a debug build on a busy machine.
const READY: Duration = Duration::from_secs(120);

/// See the module. Dropped, it is killed.
pub struct Agent {
    child: Option<Child>,
    folder: TempDir,
    options: Vec<String>,
    /// The command that `edge-agent run` is an argument of: strace(1), faketime(1).
    under: Vec<String>,
    /// The command before that, which mounts what it alone sees.
    mounts: Vec<String>,
    models: PathBuf,
    url: String,
    screen: Option<SocketAddr>,
}

impl Agent {
    /// Starts one in a new folder, on a free port.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further options of `edge-agent run`.
    pub fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut agent = Self::of(folder, options);
        agent.restart();
        agent
    }

    /// One with a configuration, which may name what lies in the folder that it is told of. Not started.
    pub fn configured(configuration: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, configuration(folder.path())).unwrap();
        let options = vec!["--config".to_owned(), file.to_str().unwrap().to_owned()];
        Self::of(folder, options)
    }

    fn of(folder: TempDir, options: Vec<String>) -> Self {
        let (under, mounts, models) = (Vec::new(), Vec::new(), repository("models"));
        Self { child: None, folder, options, under, mounts, models, url: String::new(), screen: None }
    }

    /// Has it use the networks of this folder from now on.
    pub fn set_models(&mut self, models: &Path) {
        models.clone_into(&mut self.models);
    }

    /// Has it started from now on by another command, which becomes it: `strace -D ...`; by none when empty.
    pub fn set_under(&mut self, command: &[&str]) {
        self.under = command.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Has its data folder on a disk of this size in MiB, which it sees alone and which ends with it.
    pub fn set_own_disk(&mut self, size_mib: u32) {
        let data = self.data();
        std::fs::create_dir_all(&data).unwrap();
        self.set_mounts(&format!("mount -t tmpfs -o size={size_mib}m,mode=700 tmpfs {}", data.display()));
    }

    /// Has each start be in a boot of its own, in which no time server has left its mark yet.
    pub fn set_own_boots(&mut self) {
        let boot_id = "/proc/sys/kernel/random/boot_id";
        self.set_mounts(&format!(
            "mount -t tmpfs tmpfs /run && cat /proc/sys/kernel/random/uuid >/run/boot_id && \
             mount --bind /run/boot_id {boot_id}"
        ));
    }

    /// A time server has set the clock of its boot.
    pub fn mark_clock_as_set(&self) {
        let mark = self.seen(Path::new("/run/systemd/timesync/synchronized"));
        std::fs::create_dir_all(mark.parent().unwrap()).unwrap();
        std::fs::write(mark, "").unwrap();
    }

    fn set_mounts(&mut self, mounts: &str) {
        let script = format!(r#"{mounts} && exec "$@""#);
        let words = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
        self.mounts = words.map(str::to_owned).to_vec();
    }

    /// What it sees at this path.
    fn seen(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.pid(), path.display()))
    }

    /// Starts it again in the same folder, on another port.
    pub fn restart(&mut self) {
        if let Err(status) = self.try_restart() {
            panic!("edge-agent did not become ready: {status:?}, see its log");
        }
    }

    /// The same; how it ended when it did so before it was ready.
    ///
    /// # Errors
    /// Its status.
    pub fn try_restart(&mut self) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "it still runs");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.run_command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let line = first_line(child.stdout.take().unwrap());
        let Some(line) = line else {
            kill(child.id());
            return Err(child.wait().unwrap());
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["ready:", url, ca, token, ..] = words[..] else { panic!("no ready line: {line}") };
        assert!(ca.starts_with("ca=") && token.starts_with("token="), "{line}");
        let port = url.rsplit(':').next().unwrap();
        self.url = format!("https://127.0.0.1:{port}");
        let screen = words.iter().find_map(|word| word.strip_prefix("screen=http://"));
        self.screen = screen.map(|address| address.trim_end_matches('/').parse().unwrap());
        self.child = Some(child);
        Ok(())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// `edge-agent run` on its folder, not started.
    pub fn run_command(&self) -> Command {
        let program = edge_agent().into_os_string();
        let mut words = self.mounts.iter().chain(&self.under).map(OsString::from).chain([program]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command.env("PATH", self.search_path());
        command.arg("--models").arg(&self.models).arg("run").arg("--data").arg(self.data());
        command.args(["--address", "127.0.0.1:0", "--screen", "127.0.0.1:0"]).args(&self.options);
        command
    }

    /// Another command of the program, told of its data folder, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(edge_agent());
        command.args(arguments).env("ROLLCALL_DATA", self.data()).env("PATH", self.search_path());
        command
    }

    /// Makes a device of the machine with this secret in its one-time-programmable memory, or with none.
    pub fn set_device_secret(&self, secret: Option<&str>) {
        let tool = self.tools().join("rpi-otp-private-key");
        std::fs::create_dir_all(self.tools()).unwrap();
        let script = match secret {
            Some(secret) => format!("#!/bin/sh\n[ \"$1\" = -c ] || echo {secret}\n"),
            None => "#!/bin/sh\nexit 1\n".to_owned(),
        };
        std::fs::write(&tool, script).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn tools(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn search_path(&self) -> String {
        format!("{}:{}", self.tools().display(), std::env::var("PATH").unwrap())
    }

    /// Runs another command of the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended::run(&mut self.command(arguments))
    }

    /// Its data folder, where the test can read it.
    pub fn data(&self) -> PathBuf {
        let data = self.folder.path().join("data");
        if self.mounts.is_empty() || self.child.is_none() { data } else { self.seen(&data) }
    }

    /// What it wrote about itself. A test that fails prints it.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("agent.log")
    }

    /// A folder beside it for the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address, <https://127.0.0.1:PORT>.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its screen's page is.
    pub fn screen(&self) -> SocketAddr {
        self.screen.expect("it has a screen")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The certificate of its authority.
    pub fn ca(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// A file with a token that has these scopes, as a script has it.
    pub fn token(&self, role: &str, scopes: &str) -> PathBuf {
        self.token_for(role, scopes, "1h")
    }

    /// The same with a lifetime.
    pub fn token_for(&self, role: &str, scopes: &str, expires: &str) -> PathBuf {
        let file = self.folder().join(format!("{}.token", next_name()));
        let path = file.to_str().unwrap();
        self.run(&[
            "token",
            "create",
            "--name",
            "a test",
            "--role",
            role,
            "--scopes",
            scopes,
            "--expires",
            expires,
            "--out",
            path,
        ])
        .success();
        file
    }

    /// A client with the administrator's token.
    pub async fn client(&self) -> Client {
        self.client_with(&self.data().join("admin.token")).await
    }

    /// A client with the token in a file.
    pub async fn client_with(&self, token: &Path) -> Client {
        let token = std::fs::read_to_string(token).unwrap();
        Client::connect(&self.url, &std::fs::read(self.ca()).unwrap(), token.trim()).await
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        kill(child.id());
        child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> Ended {
        let child = self.child.take().unwrap();
        signal(child.id(), Signal::TERM);
        end(child, "edge-agent run after SIGTERM")
    }

    /// Waits until it ends by itself.
    pub fn end(&mut self) -> Ended {
        end(self.child.take().unwrap(), "edge-agent run")
    }
}

impl Drop for Agent {
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
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
