//! A running `edge-agent`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::ended::{self, Ended};
use crate::program::Program;
use crate::{Client, edge_agent, repository};

/// See the module. Dropped, it is killed.
pub struct Agent {
    program: Program,
    options: Vec<String>,
    /// The command that `edge-agent run` is an argument of: strace(1), faketime(1).
    under: Vec<String>,
    /// The command before that, which mounts what it alone sees.
    mounts: Vec<String>,
    models: PathBuf,
    screen: Option<SocketAddr>,
}

impl Agent {
    /// Starts one in a new folder, on a free port.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further options of `edge-agent run`.
    pub fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut agent = Self::of(Program::new(edge_agent()), options);
        agent.restart();
        agent
    }

    /// One with a configuration, which may name what lies in the folder that it is told of. Not started.
    pub fn configured(configuration: impl FnOnce(&Path) -> String) -> Self {
        let program = Program::new(edge_agent());
        let file = program.folder().join("agent.toml");
        std::fs::write(&file, configuration(program.folder())).unwrap();
        let options = vec!["--config".to_owned(), file.to_str().unwrap().to_owned()];
        Self::of(program, options)
    }

    fn of(program: Program, options: Vec<String>) -> Self {
        let (under, mounts, models) = (Vec::new(), Vec::new(), repository("models"));
        Self { program, options, under, mounts, models, screen: None }
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
        let words = self.program.start(self.run_command())?;
        let screen = words.iter().find_map(|word| word.strip_prefix("screen=http://"));
        self.screen = screen.map(|address| address.trim_end_matches('/').parse().unwrap());
        Ok(())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.program.has_ended()
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
        let mut command = self.program.command(arguments, &self.data());
        command.env("PATH", self.search_path());
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
        self.folder().join("bin")
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
        let data = self.folder().join("data");
        if self.mounts.is_empty() || !self.program.is_started() { data } else { self.seen(&data) }
    }

    /// What it wrote about itself. A test that fails prints it.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// A folder beside it for the test.
    pub fn folder(&self) -> &Path {
        self.program.folder()
    }

    /// Its address, <https://127.0.0.1:PORT>.
    pub fn url(&self) -> &str {
        self.program.url()
    }

    /// Where its screen's page is.
    pub fn screen(&self) -> SocketAddr {
        self.screen.expect("it has a screen")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.program.pid()
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
        self.program.token(self.command(&["token", "create"]), role, scopes, expires)
    }

    /// A client with the administrator's token.
    pub async fn client(&self) -> Client {
        self.client_with(&self.data().join("admin.token")).await
    }

    /// A client with the token in a file.
    pub async fn client_with(&self, token: &Path) -> Client {
        self.program.client(token, &self.ca()).await
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> Ended {
        self.program.stop()
    }

    /// Waits until it ends by itself.
    pub fn end(&mut self) -> Ended {
        self.program.end()
    }
}
