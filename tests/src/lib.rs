//! Whole-system tests: the real programs, over TLS, as their users run them.
//!
//! [`Agent`] is a running `edge-agent` in a folder of its own, [`Hub`] a running `hub`. Nothing here sleeps: everything
//! waits for a condition, with a deadline after which the test fails.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod agent;
pub mod client;
pub mod ended;
pub mod hub;
pub mod pictures;
pub mod player;
mod program;
pub mod scene;
pub mod scripts;
pub mod terminal;
pub mod webhook;
pub mod wire;

pub use agent::Agent;
pub use client::Client;
pub use ended::{Ended, run};
pub use hub::Hub;
pub use terminal::Terminal;
pub use wire::Wire;

use std::path::{Path, PathBuf};

/// A path of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// `edge-agent`, as `cargo test --workspace` has just built it.
pub fn edge_agent() -> PathBuf {
    program_path("edge-agent")
}

/// A program under test.
fn program_path(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the place of this test");
    let program = this.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file());
    program.unwrap_or_else(|| panic!("there is no {name} beside this test: cargo build -p {name}"))
}
