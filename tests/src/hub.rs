//! A running `hub`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::ended::{self, Ended};
use crate::program::Program;
use crate::{Client, program_path, repository};

/// See the module. Dropped, it is killed.
pub struct Hub {
    program: Program,
    options: Vec<String>,
}

/// What hubs over one database have in common.
const SHARED: [&str; 3] = ["gallery.key", "ca.pem", "ca.key"];

impl Hub {
    /// Starts one on SQLite in a new folder, on a free port.
    pub fn start() -> Self {
        let mut hub = Self::configured("");
        hub.restart();
        hub
    }

    /// Starts one on an empty PostgreSQL database.
    pub fn start_on(url: &str) -> Self {
        let mut hub = Self::configured(&on(url));
        hub.restart();
        hub
    }

    /// Starts another on the same PostgreSQL database, with copies of the keys of this one.
    pub fn start_beside(&self, url: &str) -> Self {
        let mut hub = Self::configured(&on(url));
        std::fs::create_dir(hub.data()).unwrap();
        std::fs::set_permissions(hub.data(), std::fs::Permissions::from_mode(0o700)).unwrap();
        for file in SHARED {
            std::fs::copy(self.data().join(file), hub.data().join(file)).unwrap();
        }
        hub.restart();
        hub
    }

    /// One with a configuration, not started.
    pub fn configured(configuration: &str) -> Self {
        let program = Program::new(program_path("hub"));
        let file = program.folder().join("hub.toml");
        std::fs::write(&file, configuration).unwrap();
        let options = vec!["--config".to_owned(), file.to_str().unwrap().to_owned()];
        Self { program, options }
    }

    /// Gives it another configuration, from its next start on.
    pub fn configure(&self, configuration: &str) {
        std::fs::write(self.folder().join("hub.toml"), configuration).unwrap();
    }

    /// Starts it again in the same folder, on another port.
    pub fn restart(&mut self) {
        if let Err(status) = self.try_restart() {
            panic!("hub did not become ready: {status:?}, see its log");
        }
    }

    /// The same; how it ended when it did so before it was ready.
    ///
    /// # Errors
    /// Its status.
    pub fn try_restart(&mut self) -> Result<(), ExitStatus> {
        let mut command = self.command(&["run", "--address", "127.0.0.1:0"]);
        command.arg("--models").arg(repository("models"));
        self.program.start(command).map(|_| ())
    }

    /// A command of the program, told of its data folder and, where it takes one, of its configuration, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program.command(arguments, &self.data());
        if !["token", "config"].contains(&arguments[0]) {
            command.args(&self.options);
        }
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended::run(&mut self.command(arguments))
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
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
        self.program.token(self.command(&["token", "create"]), role, scopes, "1h")
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
}

fn on(url: &str) -> String {
    format!("[store]\nurl = \"{url}\"\n")
}
