//! The configuration: one TOML file, every key optional.
//!
//! `deploy/examples/hub.toml` lists every key with its default and range, and a test holds it to this file. How a file is
//! read, and the keys that a terminal has too, are in `rollcall_program::config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rollcall_core::limits;
use rollcall_program::config::{self, CodeSet, ConfigError, FileRead, Fpir, Log, Name, Server, Whole, Zone};
use serde::Deserialize;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Databases and keys.
    pub data_folder: Option<PathBuf>,
    /// The networks and their manifest.
    pub models: Option<PathBuf>,
    /// The site.
    pub site: Site,
    /// What others reach it by.
    pub server: Server,
    /// Where people and events are kept.
    pub store: Store,
    /// How people are enrolled.
    pub enrolment: Enrolment,
    /// Backups by the clock.
    pub backup: Backup,
    /// What terminals are told.
    pub sync: Sync,
    /// What this process does of a hub.
    pub hub: Hub,
    /// What it writes about itself.
    pub log: Log,
}

/// `[site]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// The school's or company's name.
    pub name: Option<Name>,
    /// IANA name.
    pub time_zone: Option<Zone>,
    /// Codes of marks.
    pub code_set: Option<CodeSet>,
}

/// `[store]`: without a URL, files in the data folder.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// A PostgreSQL database, without a password.
    pub url: Option<StoreUrl>,
    /// A file that only the hub can read, with the URL: for one with a password.
    pub url_file: Option<PathBuf>,
}

/// `[enrolment]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Enrolment {
    /// The false positive identification rate that warnings of look-alikes go by.
    pub fpir_target: Fpir,
    /// Keep enrolment pictures.
    pub keep_pictures: bool,
}

impl Default for Enrolment {
    fn default() -> Self {
        Self { fpir_target: Fpir(limits::FPIR_TARGET_DEFAULT), keep_pictures: false }
    }
}

/// Daily backups that are kept.
pub type Daily = Whole<{ *limits::BACKUPS_DAILY.start() }, { *limits::BACKUPS_DAILY.end() }>;
/// Weekly backups that are kept beside them.
pub type Weekly = Whole<{ *limits::BACKUPS_WEEKLY.start() }, { *limits::BACKUPS_WEEKLY.end() }>;
/// Days after which a terminal forgets.
pub type ForgetAfter = Whole<{ *limits::FORGET_AFTER_DAYS.start() }, { *limits::FORGET_AFTER_DAYS.end() }>;

/// `[backup]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// Where they go; none are made without it.
    pub folder: Option<PathBuf>,
    /// The hour of the site's day in which they are made.
    pub hour: Whole<0, 23>,
    /// How many of the newest days are kept.
    pub keep_daily: Daily,
    /// Of how many weeks before one is kept.
    pub keep_weekly: Weekly,
    /// A file that only the hub can read, with the passphrase that encrypts them.
    pub passphrase_file: Option<PathBuf>,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            folder: None,
            hour: Whole(2),
            keep_daily: Whole(7),
            keep_weekly: Whole(4),
            passphrase_file: None,
        }
    }
}

/// `[sync]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// Days without a word of the hub after which a terminal forgets the gallery; 0: never.
    pub forget_after_days: ForgetAfter,
}

impl Default for Sync {
    fn default() -> Self {
        Self { forget_after_days: Whole(90) }
    }
}

/// `[hub]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// What this process serves beside its health.
    pub services: Vec<Service>,
    /// Where terminals reach the hub, the best first; none: this machine's names.
    pub addresses: Addresses,
}

impl Default for Hub {
    fn default() -> Self {
        Self { services: Service::ALL.to_vec(), addresses: Addresses::default() }
    }
}

/// Each `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Addresses(pub Vec<String>);

impl TryFrom<Vec<String>> for Addresses {
    type Error = String;

    fn try_from(addresses: Vec<String>) -> Result<Self, String> {
        if addresses.len() > limits::HUB_ADDRESSES {
            return Err(format!("has {} addresses; give at most {}", addresses.len(), limits::HUB_ADDRESSES));
        }
        let is_address = |address: &String| {
            let parts = address.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            matches!(parts, Some((host, Ok(1..))) if !host.is_empty() && address.len() <= limits::ADDRESS_CHARS)
        };
        match addresses.iter().find(|address| !is_address(address)) {
            Some(wrong) => Err(format!("\"{}\" is not host:port", wrong.escape_debug())),
            None => Ok(Self(addresses)),
        }
    }
}

/// A service that a process may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Accounts and tokens.
    Accounts,
    /// People, consent and faces.
    Gallery,
    /// Events and registers.
    Attendance,
    /// The terminals: adoption, settings, and the sync.
    Terminals,
}

impl Service {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Accounts, Self::Gallery, Self::Attendance, Self::Terminals];
}

/// `postgres://HOST/DATABASE`, without a password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StoreUrl(pub String);

impl TryFrom<String> for StoreUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let Some(rest) = rest else {
            return Err("must begin with postgres://; leave it out for files in the data folder".to_owned());
        };
        let user = rest.split('/').next().and_then(|authority| authority.rsplit_once('@'));
        let has_password = user.is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=");
        if has_password {
            return Err(
                "has a password: put the URL into a file of mode 600, and name it in url_file".to_owned()
            );
        }
        Ok(Self(url))
    }
}

impl Config {
    /// Reads a file. Folders in it are relative to the file's own.
    ///
    /// # Errors
    /// What is wrong, and on which line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let FileRead::<Self> { mut config, bytes } = config::read(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let places = [
            &mut config.data_folder,
            &mut config.models,
            &mut config.store.url_file,
            &mut config.backup.folder,
            &mut config.backup.passphrase_file,
        ];
        for place in places.into_iter().flatten() {
            *place = folder.join(&*place);
        }
        if config.store.url.is_some() && config.store.url_file.is_some() {
            return Err(ConfigError::Wrong {
                path: path.to_owned(),
                line: config::line_of(&bytes, "store", "url_file"),
                key: "store.url_file".to_owned(),
                problem: "stands beside url; take one of them out".to_owned(),
            });
        }
        Ok(config)
    }

    /// What the file says of settings that the API can change too, by key. Only the keys that it has.
    pub fn changeable(&self) -> BTreeMap<String, String> {
        let said = [
            ("site.time_zone", self.site.time_zone.as_ref().map(|zone| zone.0.name().to_owned())),
            ("site.code_set", self.site.code_set.map(|set| format!("{set:?}"))),
        ];
        said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

/// The example, which is also what `hub config` prints.
pub const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/hub.toml"));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_program::config::{ADDRESS, DATA_FOLDER, LogLevel, example};

    use super::*;

    fn parse(text: impl AsRef<[u8]>) -> Result<Config, String> {
        config::parse(Path::new("a.toml"), text.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_as_it_is_says_nothing_but_defaults() {
        assert_eq!(parse(EXAMPLE).unwrap(), Config::default());
        let whole = parse(example::whole(EXAMPLE)).unwrap();
        assert_eq!((whole.server.address, whole.server.reflection), (Some(ADDRESS), false));
        assert_eq!(whole.data_folder, Some(DATA_FOLDER.into()));
        assert_eq!(whole.site.code_set, Some(CodeSet::default()));
        assert_eq!(whole.log.level, LogLevel::default());
        assert_eq!(whole.enrolment, Enrolment::default());
        assert_eq!(Backup { folder: None, passphrase_file: None, ..whole.backup }, Backup::default());
        assert_eq!(whole.sync, Sync::default());
        assert_eq!(Hub { addresses: Addresses::default(), ..whole.hub }, Hub::default());
    }

    #[test]
    fn the_example_has_every_key() {
        let tables = ["", "site", "server", "store", "enrolment", "backup", "sync", "hub", "log"];
        example::assert_has_every_key(EXAMPLE, &tables, |text| parse(text).unwrap_err());
    }

    #[test]
    fn f022_a_wrong_line_is_named_with_its_key() {
        for (text, line, key, words) in [
            ("\n[server]\nadress = \"x\"", 3, "server.adress", "unknown field"),
            ("[site]\nname = \"\"", 2, "site.name", "1 to 100 characters"),
            ("[store]\nurl = \"mysql://x\"", 2, "store.url", "must begin with postgres://"),
            ("[store]\nurl = \"postgres://a:b@c/d\"", 2, "store.url", "has a password"),
            ("[store]\nurl = \"postgres://c/d?password=b\"", 2, "store.url", "has a password"),
            ("[backup]\nhour = 24", 2, "backup.hour", "is 24; give 0 to 23"),
            ("[backup]\nkeep_daily = 1", 2, "backup.keep_daily", "is 1; give 2 to 366"),
            ("[backup]\nkeep_weekly = -1", 2, "backup.keep_weekly", "is -1; give 0 to 260"),
            ("[sync]\nforget_after_days = 366", 2, "sync.forget_after_days", "is 366; give 0 to 365"),
            ("[hub]\nservices = [\"door\"]", 2, "hub.services", "expected one of `accounts`"),
            ("[enrolment]\nfpir_target = 0", 2, "enrolment.fpir_target", "is 0; give 0.00001 to 0.1"),
        ] {
            let refusal = parse(text).unwrap_err();
            let (place, problem) = refusal.split_once(": ").unwrap();
            assert_eq!(place, "a.toml", "{text:?}");
            assert!(problem.starts_with(&format!("line {line}, {key}: ")), "{text:?}: {refusal}");
            assert!(problem.contains(words), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn a_url_without_a_password_may_stand_in_the_file() {
        let url = "postgres://rollcall@localhost/rollcall?host=/run/postgresql";
        let config = parse(format!("[store]\nurl = \"{url}\"")).unwrap();
        assert_eq!(config.store.url, Some(StoreUrl(url.to_owned())));
    }

    #[test]
    fn a_url_comes_from_one_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[store]\nurl = \"postgres://a/b\"\nurl_file = \"c\"").unwrap();
        let Err(ConfigError::Wrong { line, key, .. }) = Config::read(file.path()) else {
            panic!("it was read")
        };
        assert_eq!((line, key.as_str()), (3, "store.url_file"));
    }
}
