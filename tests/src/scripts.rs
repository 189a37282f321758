//! The examples for scripts, run as their users run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Agent, repository, run};

/// An environment for the Python examples, made by their own script, once for all tests of a checkout.
fn environment() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let this = std::env::current_exe().expect("the place of this test");
        let folder = this.parent().expect("its folder").join("examples-client");
        let make = repository("deploy/examples/make_client.sh");
        run(Command::new(make).arg(&folder)).success();
        folder
    })
}

/// An example in Python with the server, its certificate and a token, not started.
pub fn python(agent: &Agent, example: &str, token: &Path) -> Command {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg(repository("deploy/examples").join(example));
    command.arg("--server").arg(agent.url()).arg("--ca").arg(agent.ca()).arg("--token-file").arg(token);
    command
}

/// An example for a shell, not started.
pub fn shell(agent: &Agent, example: &str, token: &Path) -> Command {
    let mut command = Command::new(repository("deploy/examples").join(example));
    command
        .env("ROLLCALL_SERVER", agent.url())
        .env("ROLLCALL_CA", agent.ca())
        .env("ROLLCALL_TOKEN_FILE", token);
    command
}
