//! What commands share: how an error is told, where the networks are, secrets in files.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use rollcall_core::{UtcInstant, limits};
use rollcall_store::{BackupReport, Db, Manifest, SecretString, read_private};

use crate::config::ConfigError;

/// Exit status when the configuration is wrong.
const CONFIGURATION: u8 = 2;

/// How a program ends: an error is told in one line, after the program's name.
pub fn ended(program: &str, done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        // Whoever reads our output has gone, for example `| head`: nothing is wrong.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {}", told(&error));
            let is_configuration = error.is::<ConfigError>();
            if is_configuration { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

/// Where packages put the networks.
const INSTALLED: &str = "/usr/share/rollcall/models";

/// The folder with the networks: as asked for, else the nearest `models` beside or above the program, else where
/// packages put it.
///
/// # Errors
/// When there is none.
pub fn models_folder(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = asked {
        return Ok(folder);
    }
    let program = std::env::current_exe().context("the place of this program is not known")?;
    let above = program.ancestors().skip(1).map(|folder| folder.join("models"));
    let mut folders = above.chain([PathBuf::from(INSTALLED)]);
    folders.find(|f| f.join("manifest.toml").is_file()).context(
        "no models folder beside or above this program or in /usr/share/rollcall; name it with --models DIR",
    )
}

/// Whether `error` is about nobody reading our output any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |kind: ErrorKind| kind == ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().is_some_and(|e| broken(e.kind()));
        let json = cause.downcast_ref::<serde_json::Error>();
        io || json.and_then(serde_json::Error::io_error_kind).is_some_and(broken)
    })
}

/// What went wrong and why, once: an error often cites its cause, and the cause is then listed again.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|c| !c.is_empty()) {
        match text.is_empty() {
            true => text = cause,
            false if text.contains(&cause) => {}
            false => text += &format!(": {cause}"),
        }
    }
    text
}

/// Runs what a command asks of a running program.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")
}

/// The first line of a file that nobody else can read.
///
/// # Errors
/// A file that others can read, or that is no text.
pub fn passphrase(path: &Path) -> anyhow::Result<SecretString> {
    let bytes = read_private(path, limits::CONFIG_SIZE_BYTES)?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is not text", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned().into())
}

/// Says that a backup was made, and what is not in it.
pub fn tell_backup(program: &str, report: &BackupReport) {
    println!("{}: {} bytes, made and read back", report.path.display(), report.size_bytes);
    if !report.keys_left_out.is_empty() {
        eprintln!(
            "{program}: it is not encrypted, so it is without {}: keep these elsewhere, or what they encrypt is lost \
             (--passphrase-file puts them in)",
            report.keys_left_out.join(" and ")
        );
    }
}

/// Says that a backup was restored.
pub fn tell_restored(data: &Path, manifest: &Manifest) {
    println!("{}: restored as it was at {}", data.display(), UtcInstant::from_micros(manifest.made_at_us));
}

/// Checks every event in a database of logs against its chain, and says what was found. Status 0 when every event is what
/// was written.
///
/// # Errors
/// A database that cannot be read, events that are missing.
pub async fn verify_log(log: Db) -> anyhow::Result<ExitCode> {
    let findings = rollcall_attendance::verify(&log).await.with_context(|| log.place().to_owned())?;
    for (log, seq) in &findings.changed {
        println!("{}: event {seq} is not what was written", log.name());
    }
    let damaged = match findings.changed.len() {
        0 => "none is damaged".to_owned(),
        damaged => format!("{damaged} are damaged"),
    };
    println!("{} events, {damaged}", findings.events);
    Ok(if findings.changed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
