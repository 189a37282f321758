//! What the configurations of both programs have in common: how a file is read, and the keys that mean the same.
//!
//! A key that is not known is refused, because it is a misspelt one; so is a value out of its range. What is wrong is
//! named by file, line and key.
//!
//! A file edited on Windows is fine: a byte order mark is skipped, and lines may end in CR LF. Its size is limited
//! before it is read.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rollcall_attendance::codes;
use rollcall_core::{SiteZone, limits};
use rollcall_server::{Reflection, ServerConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Where the data are when nothing says otherwise.
pub const DATA_FOLDER: &str = "/var/lib/rollcall";

/// Where the server listens when nothing says otherwise: scripts are elsewhere on the LAN, and nobody is answered
/// without TLS and a token.
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7443);

/// A configuration and the text that it was read from.
pub struct FileRead<T> {
    /// What it says.
    pub config: T,
    /// As it lies on the disk.
    pub bytes: Vec<u8>,
}

/// Reads a file.
///
/// # Errors
/// What is wrong, and on which line.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<FileRead<T>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limits::CONFIG_SIZE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limits::CONFIG_SIZE_BYTES {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    Ok(FileRead { config: parse(path, &bytes)?, bytes })
}

/// The configuration that this text is; `path` is for messages.
///
/// # Errors
/// What is wrong, and on which line.
pub fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, ConfigError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| ConfigError::NotText {
        path: path.to_owned(),
        line: line_at(bytes, error.valid_up_to()),
    })?;
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        ConfigError::Wrong {
            path: path.to_owned(),
            line: line_at(text.as_bytes(), at),
            key: key_at(text, at),
            problem: error.message().trim().replace('\n', "; "),
        }
    })
}

/// `[server]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it listens.
    pub address: Option<SocketAddr>,
    /// Further names and addresses that its certificate is for.
    #[serde(default)]
    pub names: HostNames,
    /// Where Prometheus may read; nowhere when absent.
    pub metrics_address: Option<SocketAddr>,
    /// Whether it describes its services to whoever may call it.
    #[serde(default)]
    pub reflection: bool,
}

impl Server {
    /// What the server is told, once it is known where it listens.
    pub fn at(&self, address: SocketAddr) -> ServerConfig {
        ServerConfig {
            metrics_listen: self.metrics_address,
            reflection: if self.reflection { Reflection::On } else { Reflection::Off },
            ..ServerConfig::at(address)
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Absent: text on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// The least important that is written.
    #[serde(default)]
    pub level: LogLevel,
}

/// Codes of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeSet {
    /// present, late, absent, ...
    #[default]
    Plain,
    /// Of the Department for Education, England.
    Dfe,
}

impl From<CodeSet> for codes::CodeSet {
    fn from(set: CodeSet) -> Self {
        match set {
            CodeSet::Plain => Self::Plain,
            CodeSet::Dfe => Self::Dfe,
        }
    }
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And how.
    Debug,
    /// And everything.
    Trace,
}

/// A name of one line, 1 to 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(pub String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let chars = name.chars().count();
        if chars == 0 || chars > limits::TERMINAL_NAME_CHARS || name.chars().any(char::is_control) {
            return Err(format!("must be one line of 1 to {} characters", limits::TERMINAL_NAME_CHARS));
        }
        Ok(Self(name))
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(pub SiteZone);

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        SiteZone::named(&name).map(Self).map_err(|error| error.to_string())
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Whole<const LEAST: u32, const MOST: u32>(pub u32);

impl<const LEAST: u32, const MOST: u32> Whole<LEAST, MOST> {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<const LEAST: u32, const MOST: u32> TryFrom<i64> for Whole<LEAST, MOST> {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(whole) if (LEAST..=MOST).contains(&whole) => Ok(Self(whole)),
            _ => Err(format!("is {number}; give {LEAST} to {MOST}")),
        }
    }
}

/// A false positive identification rate.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Fpir(pub f64);

impl TryFrom<f64> for Fpir {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if !limits::FPIR_TARGET.contains(&rate) {
            let (least, most) = (limits::FPIR_TARGET.start(), limits::FPIR_TARGET.end());
            return Err(format!("is {rate}; give {least} to {most}"));
        }
        Ok(Self(rate))
    }
}

/// Names and addresses of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct HostNames(pub Vec<String>);

impl TryFrom<Vec<String>> for HostNames {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        if names.len() > limits::CERTIFICATE_NAMES {
            return Err(format!("has {} names; give at most {}", names.len(), limits::CERTIFICATE_NAMES));
        }
        match names.iter().find(|name| !is_host(name)) {
            Some(wrong) => Err(format!("\"{}\" is neither a host name nor an address", wrong.escape_debug())),
            None => Ok(Self(names)),
        }
    }
}

/// An address, or labels of letters, digits and hyphens with dots between them (RFC 1123, 2.1).
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.parse::<std::net::IpAddr>().is_ok() || name.len() <= 253 && name.split('.').all(is_label)
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no configuration.
    #[error("{}: has more than {} bytes; is it the right file?", .0.display(), limits::CONFIG_SIZE_BYTES)]
    TooLarge(PathBuf),
    /// It is no text.
    #[error("{}: line {line}: is not UTF-8 text; save it as UTF-8", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that is none.
        line: usize,
    },
    /// A key or a value is wrong.
    #[error("{}: line {line}, {key}: {problem}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// With its table: `server.address`.
        key: String,
        /// In words.
        problem: String,
    },
}

fn line_at(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|byte| **byte == b'\n').count()
}

/// The line of a key, else of its table.
pub fn line_of(text: &[u8], table: &str, key: &str) -> usize {
    let text = String::from_utf8_lossy(text);
    let mut lines = (1..).zip(text.lines().map(str::trim)).skip_while(|(_, line)| {
        line.strip_prefix('[').and_then(|line| line.split(']').next()).map(str::trim) != Some(table)
    });
    let header = lines.next().map_or(1, |(number, _)| number);
    let mut own = lines.take_while(|(_, line)| !line.starts_with('['));
    own.find(|(_, line)| line.split('=').next().is_some_and(|name| name.trim() == key))
        .map_or(header, |(number, _)| number)
}

/// The key of the line that `at` is on, with the table that it belongs to; the line itself where it has none.
fn key_at(text: &str, at: usize) -> String {
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default().trim();
    let tables = text.get(..start).unwrap_or_default().lines().map(str::trim);
    let table = tables.filter_map(|line| Some(line.strip_prefix('[')?.split(']').next()?.trim())).next_back();
    let key = match line.split_once('=') {
        Some((key, _)) if !line.starts_with('[') => key.trim(),
        _ => return shortened(line),
    };
    shortened(&table.map_or(key.to_owned(), |table| format!("{table}.{key}")))
}

/// At most so much of a line is repeated in a message.
fn shortened(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Holds an example file to its configuration.
#[cfg(feature = "testing")]
pub mod example {
    #![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

    /// The example with the lines of all keys taken in.
    pub fn whole(example: &str) -> String {
        let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
        example.lines().map(|line| if is_key(line) { &line[1..] } else { line }.to_owned() + "\n").collect()
    }

    /// Fails unless the example has every key that these tables may have ("" is the file itself). `refusal` is what is
    /// said of a text with a key that is not known.
    pub fn assert_has_every_key(example: &str, tables: &[&str], refusal: impl Fn(&str) -> String) {
        let whole: toml::Table = whole(example).parse().expect("TOML");
        for header in tables {
            let mut parts = header.split('.').filter(|part| !part.is_empty());
            let table = parts.try_fold(&whole, |table, part| table.get(part)?.as_table());
            let table = table.unwrap_or_else(|| panic!("[{header}] is not in the example"));
            let unknown = if header.is_empty() { "x = 1".to_owned() } else { format!("[{header}]\nx = 1") };
            let refusal = refusal(&unknown);
            let expected = refusal.split("expected").nth(1).expect("the keys that are known");
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            assert!(!known.is_empty(), "{refusal}");
            for key in known {
                assert!(table.contains_key(key), "{header} {key} is not in the example");
            }
        }
    }
}
