//! Runs the real `edge-agent` as a user would, with a deadline, and tells how it ended, what it said and the most
//! memory that it had.
#![allow(dead_code)]

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use tempfile::TempDir;

/// A run that has not ended after so long hangs. The longest takes seconds on an idle machine.
const DEADLINE_S: i64 = 300;

/// A run that has ended.
pub struct Finished {
    /// Exit status; None when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The most memory that it had, in bytes; at least what this test process had when it started it.
    pub peak_bytes: u64,
}

/// The program with the networks of this repository.
pub fn edge_agent() -> Command {
    with_models(&repository("models"))
}

/// The program with the networks in `models`.
pub fn with_models(models: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    command.env("ROLLCALL_MODELS", models);
    command
}

/// A path of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A bundled portrait.
pub fn portrait(name: &str) -> PathBuf {
    let folder = if matches!(name, "obama.jpg" | "obama2.jpg") { "gallery/Barack Obama" } else { "pictures" };
    let path = repository("deploy/demo").join(folder).join(name);
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// A folder that other users may read too.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Writes `bytes` as `name` into `folder`.
pub fn put(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Runs to the end. A panic of the program, and a run without an end, are failures of the test.
pub fn run(command: &mut Command) -> Finished {
    let finished = run_to_any_end(command);
    assert!(!finished.stderr.contains("panicked"), "{command:?}: {}", finished.stderr);
    finished
}

/// As [`run`], for programs that may panic.
pub fn run_to_any_end(command: &mut Command) -> Finished {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let child = command.spawn().unwrap();
    let (status, peak_bytes) = wait(child, command);
    Finished {
        code: status.code(),
        signal: status.signal(),
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
        peak_bytes,
    }
}

/// Waits for the end of `child`, and tells the most memory that it had.
pub fn wait(mut child: Child, command: &Command) -> (ExitStatus, u64) {
    let pid = Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let deadline = Timespec { tv_sec: DEADLINE_S, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&deadline)).unwrap() == 0 {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{command:?} has not ended after {DEADLINE_S} seconds");
    }
    let mut status = 0;
    // SAFETY: all zeros are a value of this structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types. The child is ours and nobody else waits for it:
    // `child` is dropped unwaited.
    let waited = unsafe { libc::wait4(pid.as_raw_nonzero().get(), &mut status, 0, &mut usage) };
    assert_eq!(waited, pid.as_raw_nonzero().get());
    (ExitStatus::from_raw(status), u64::try_from(usage.ru_maxrss).unwrap() * 1024)
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

impl Finished {
    /// One JSON object a line.
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// It ended well.
    pub fn good(self) -> Self {
        assert_eq!((self.code, self.signal), (Some(0), None), "{}{}", self.stdout, self.stderr);
        self
    }

    /// It said on stderr what is wrong, in words that hold each of `words`, printed nothing else and ended with 1.
    pub fn refused(&self, words: &[&str]) {
        assert_eq!((self.code, self.signal), (Some(1), None), "{}", self.stderr);
        assert!(self.stderr.starts_with("edge-agent: "), "{}", self.stderr);
        assert_eq!(self.stdout, "", "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
    }
}

/// The keys of a JSON object, in the order of the alphabet.
pub fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// A JSON array of numbers.
pub fn numbers(array: &Value) -> Vec<f64> {
    array.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The detected faces in `file`.
pub fn faces(file: &Path) -> Vec<Value> {
    let run = run(edge_agent().args(["detect", "--json"]).arg(file)).good();
    run.json()[0]["faces"].as_array().unwrap().clone()
}

/// The pixels of an 8-bit RGB PNG: width, height, bytes.
pub fn png_pixels(path: &Path) -> (usize, usize, Vec<u8>) {
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let mut bytes = vec![0; width * height * 3];
    let frame = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((frame.color_type, frame.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    (width, height, bytes)
}
