//! The PostgreSQL of the tests goes when its test process goes.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rollcall_store::testing::postgres_url;
use support::{child, told};

/// What the child of the next test runs: starts a server, says where, and never ends.
#[tokio::test]
async fn a_child_starts_a_server() {
    if told().is_none() {
        return;
    }
    println!("\nurl {}", postgres_url().await);
    std::future::pending::<()>().await;
}

#[test]
fn the_server_and_its_folder_are_gone_after_the_test_process_is_killed() {
    let mut process = child("a_child_starts_a_server", "x").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.into_iter().find_map(|line| line.strip_prefix("url ").map(str::to_owned)).unwrap();
    let folder = Path::new(url.split_once("?host=").unwrap().1);
    let pid = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let server = Path::new("/proc").join(pid.lines().next().unwrap());
    assert!(server.exists() && folder.exists());
    process.kill().unwrap();
    process.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // A server that nobody waits for stays as a zombie, which has no open files.
    let alive = || std::fs::read_link(server.join("exe")).is_ok();
    while (alive() || folder.exists()) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(!alive() && !folder.exists(), "the server or its folder is left");
}
