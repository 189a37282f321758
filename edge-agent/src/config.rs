//! The configuration: one TOML file, every key optional.
//!
//! `deploy/examples/edge-agent.toml` lists every key with its default and range, and a test holds it to this file. How a
//! file is read, and the keys that a hub has too, are in `rollcall_program::config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rollcall_program::config::{self, CodeSet, FileRead, Fpir, Log, Server, Zone};
use serde::Deserialize;

use crate::camera;
use crate::door::config::DoorConfig;
use crate::kiosk::KioskConfig;
use crate::readers::ReadersConfig;
use crate::recognition::policy::{LivenessConfig, RecognitionConfig};

pub use rollcall_program::config::{ADDRESS, ConfigError, DATA_FOLDER, Name};

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Databases and keys.
    pub data_folder: Option<PathBuf>,
    /// The networks and their manifest.
    pub models: Option<PathBuf>,
    /// The site.
    #[serde(default)]
    pub site: Site,
    /// This terminal.
    #[serde(default)]
    pub terminal: Terminal,
    /// How people are recognised.
    #[serde(default)]
    pub recognition: RecognitionConfig,
    /// Whether they must be shown to be alive.
    #[serde(default)]
    pub liveness: LivenessConfig,
    /// What others reach it by.
    #[serde(default)]
    pub server: Server,
    /// Where it sees people.
    #[serde(default)]
    pub camera: camera::Config,
    /// Other ways in than a face.
    #[serde(default)]
    pub readers: ReadersConfig,
    /// What it writes about itself.
    #[serde(default)]
    pub log: Log,
    /// Lock, lights and inputs.
    #[serde(default, deserialize_with = "crate::door::config::checked")]
    pub door: DoorConfig,
    /// The screen at the door.
    #[serde(default)]
    pub kiosk: KioskConfig,
}

/// `[site]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// IANA name.
    pub time_zone: Option<Zone>,
    /// Codes of marks.
    pub code_set: Option<CodeSet>,
}

/// `[terminal]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// The door's name.
    pub name: Option<Name>,
    /// Which way people pass it.
    pub direction: Option<Direction>,
    /// The false positive identification rate accepted.
    pub fpir_target: Option<Fpir>,
    /// Keep enrolment pictures.
    pub keep_pictures: Option<bool>,
}

/// Which way people pass a door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the building.
    #[default]
    In,
    /// Out of it.
    Out,
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
            &mut config.door.record,
            &mut config.door.inputs,
            &mut config.camera.file,
        ];
        for place in places.into_iter().flatten() {
            *place = folder.join(&*place);
        }
        if let Err(misplaced) = config.camera.settings() {
            return Err(ConfigError::Wrong {
                path: path.to_owned(),
                line: config::line_of(&bytes, "camera", misplaced.key),
                key: format!("camera.{}", misplaced.key),
                problem: misplaced.problem,
            });
        }
        Ok(config)
    }

    /// What the file says of settings that the API can change too, by key. Only the keys that it has.
    pub fn changeable(&self) -> BTreeMap<String, String> {
        let said = [
            ("site.time_zone", self.site.time_zone.as_ref().map(|zone| zone.0.name().to_owned())),
            ("site.code_set", self.site.code_set.map(|set| format!("{set:?}"))),
            ("terminal.name", self.terminal.name.as_ref().map(|name| name.0.clone())),
            ("terminal.direction", self.terminal.direction.map(|direction| format!("{direction:?}"))),
            ("terminal.fpir_target", self.terminal.fpir_target.map(|rate| rate.0.to_string())),
            ("terminal.keep_pictures", self.terminal.keep_pictures.map(|keep| keep.to_string())),
        ];
        said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_core::limits;
    use rollcall_program::config::{LogLevel, example};

    use super::*;

    const EXAMPLE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/edge-agent.toml"));

    fn parse(text: impl AsRef<[u8]>) -> Result<Config, String> {
        config::parse(Path::new("a.toml"), text.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_as_it_is_says_nothing_but_defaults() {
        assert_eq!(parse(EXAMPLE).unwrap(), Config::default());
        let whole = parse(example::whole(EXAMPLE)).unwrap();
        assert_eq!(whole.server.address, Some(ADDRESS));
        assert_eq!(whole.data_folder, Some(DATA_FOLDER.into()));
        assert_eq!(whole.terminal.direction, Some(Direction::default()));
        assert_eq!(whole.site.code_set, Some(CodeSet::default()));
        assert_eq!(whole.log.level, LogLevel::default());
        assert_eq!(ReadersConfig { card: None, ..whole.readers.clone() }, ReadersConfig::default());
        assert_eq!(whole.terminal.fpir_target, Some(Fpir(limits::FPIR_TARGET_DEFAULT)));
        assert_eq!((whole.terminal.keep_pictures, whole.server.reflection), (Some(false), false));
        assert_eq!(whole.recognition, RecognitionConfig::default());
        assert_eq!(whole.liveness, LivenessConfig::default());
        assert_eq!(whole.camera, camera::Config::example());
        let door = DoorConfig::default();
        assert_eq!(
            (whole.door.driver, whole.door.open_ms, whole.door.held_open_s),
            (door.driver, door.open_ms, door.held_open_s)
        );
        assert_eq!(whole.kiosk, KioskConfig::default());
    }

    #[test]
    fn the_example_has_every_key() {
        let tables = [
            "",
            "site",
            "terminal",
            "camera",
            "recognition",
            "recognition.deliberate",
            "liveness",
            "readers",
            "door",
            "kiosk",
            "server",
            "log",
        ];
        example::assert_has_every_key(EXAMPLE, &tables, |text| parse(text).unwrap_err());
    }

    #[test]
    fn f022_a_wrong_line_is_named_with_its_key() {
        for (text, line, key, words) in [
            ("\n[server]\nadress = \"x\"", 3, "server.adress", "unknown field"),
            ("datafolder = \"x\"", 1, "datafolder", "unknown field"),
            ("[sever]\n", 1, "[sever]", "unknown field"),
            ("[terminal]\nname = 5", 2, "terminal.name", "invalid type: integer `5`"),
            ("[terminal]\nname = \"\"", 2, "terminal.name", "1 to 100 characters"),
            ("[terminal]\nkeep_pictures = \"yes\"", 2, "terminal.keep_pictures", "expected a boolean"),
            ("[terminal]\ndirection = \"up\"", 2, "terminal.direction", "expected `in` or `out`"),
            ("[terminal]\nfpir_target = 0", 2, "terminal.fpir_target", "is 0; give 0.00001 to 0.1"),
            ("[terminal]\nfpir_target = -1", 2, "terminal.fpir_target", "is -1; give"),
            ("[terminal]\nfpir_target = nan", 2, "terminal.fpir_target", "is NaN; give"),
            ("[terminal]\nfpir_target = 99999999999999999999999", 2, "terminal.fpir_target", ""),
            ("[terminal]\nfpir_target = 1e400", 2, "terminal.fpir_target", ""),
            ("[site]\r\ntime_zone = \"Mars/Olympus\"\r\n", 2, "site.time_zone", "no time zone"),
            ("[recognition]\nframes_needed = 0", 2, "recognition.frames_needed", "is 0; give 1 to 10"),
            ("[recognition]\nhold_off_s = 301", 2, "recognition.hold_off_s", "is 301; give 1 to 300"),
            ("[recognition]\nmode = \"always\"", 2, "recognition.mode", "expected `passing` or `deliberate`"),
            (
                "[recognition.deliberate]\nzone = [1.0, 0.0, 0.5, 1.0]",
                2,
                "recognition.deliberate.zone",
                "is empty",
            ),
            ("[liveness]\npolicy = \"on\"", 2, "liveness.policy", "expected one of"),
            ("[liveness]\nchallenge_seconds = -1", 2, "liveness.challenge_seconds", "is -1; give 3 to 15"),
            ("[liveness]\nscore_min = 1.5", 2, "liveness.score_min", "is 1.5; give 0 to 1"),
            ("[liveness]\nscore_sure = nan", 2, "liveness.score_sure", "is NaN; give 0 to 1"),
            ("[server]\naddress = \"everywhere\"", 2, "server.address", "socket address"),
            ("[server]\naddress = \"1.2.3.4\"", 2, "server.address", "socket address"),
            ("[server]\nnames = [\"a b\"]", 2, "server.names", "neither a host name nor an address"),
            ("[camera]\nwidth = 10", 2, "camera.width", "is 10; give 48 to 4096"),
            ("[camera]\ndevice = \"video0\"", 2, "camera.device", "or its path"),
            ("[camera]\nsource = \"usb\"", 2, "camera.source", "expected one of `auto`"),
            ("[camera]\nrotate = 90", 2, "camera.rotate", "unknown field"),
            ("[log]\nlevel = \"info\"\nlevel = \"warn\"", 3, "log.level", "duplicate key"),
            ("[log]\n[log]", 2, "[log]", "duplicate key"),
            ("[log]\nlevel = info", 2, "log.level", ""),
            ("[kiosk]\naddress = \"0.0.0.0:7080\"", 2, "kiosk.address", "can be reached from elsewhere"),
            ("[kiosk]\nlanguage = \"fr\"", 2, "kiosk.language", "expected `en` or `vi`"),
            ("[log", 1, "[log", ""),
            ("[door]\ndriver = \"relay\"", 2, "door.driver", "unknown variant"),
            ("[door]\nlock = { pin = 1 }", 2, "door.lock", "unknown field"),
            ("\n[door]\nopen_ms = 5", 2, "[door]", "open_ms is 5; give 500 to 30000"),
            ("[door]\ndriver = \"recorded\"\nrecord = \"a\"", 1, "[door]", "has no \"fail\""),
            ("\u{0}", 1, "\\0", ""),
        ] {
            let refusal = parse(text).unwrap_err();
            let (place, problem) = refusal.split_once(": ").unwrap();
            assert_eq!(place, "a.toml", "{text:?}");
            assert!(problem.starts_with(&format!("line {line}, {key}: ")), "{text:?}: {refusal}");
            assert!(problem.contains(words), "{text:?}: {refusal}");
            assert!(!refusal.contains('\n'), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn f022_a_file_from_windows_is_read() {
        let expected = Config {
            models: Some("models".into()),
            server: Server { reflection: true, ..Server::default() },
            ..Config::default()
        };
        let text = "\u{feff}models = \"models\"\r\n[server]\r\nreflection = true\r\n";
        assert_eq!(parse(text), Ok(expected));
        let utf16: Vec<u8> = "[log]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with_mark = [&[0xff, 0xfe], &utf16[..]].concat();
        assert_eq!(parse(with_mark).unwrap_err(), "a.toml: line 1: is not UTF-8 text; save it as UTF-8");
    }

    #[test]
    fn f022_a_file_of_100_mib_is_refused_unread() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(100 << 20).unwrap();
        assert!(matches!(Config::read(file.path()), Err(ConfigError::TooLarge(_))));
        assert!(matches!(Config::read(Path::new("/dev/zero")), Err(ConfigError::TooLarge(_))));
    }

    #[test]
    fn f022_a_key_that_does_nothing_with_the_source_of_the_camera_is_named_with_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, line, key) in [
            ("[camera]\nsource = \"file\"\nfile = \"a\"\n\n width = 640", 5, "camera.width"),
            ("[log]\n[ camera ]\nsource = \"v4l\"\n[site]\n", 2, "camera.device"),
            ("camera = { source = \"file\" }", 1, "camera.file"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let Err(ConfigError::Wrong { line: at, key: named, .. }) = Config::read(file.path()) else {
                panic!("{text}")
            };
            assert_eq!((at, named.as_str()), (line, key), "{text}");
        }
    }

    #[test]
    fn folders_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let text = "data_folder = \"data\"\nmodels = \"/srv/models\"\n[door]\nrecord = \"door.jsonl\"\n\
                    [camera]\nsource = \"file\"\nfile = \"a\"";
        std::fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        assert_eq!(config.door.record, Some(folder.path().join("door.jsonl")));
        assert_eq!(config.data_folder, Some(folder.path().join("data")));
        assert_eq!(config.models, Some("/srv/models".into()));
        assert_eq!(config.camera.file, Some(folder.path().join("a")));
    }

    #[test]
    fn only_what_the_file_says_can_be_news() {
        assert!(Config::default().changeable().is_empty());
        let said =
            parse("[terminal]\nname = \"Gate\"\n[site]\ntime_zone = \"Europe/London\"").unwrap().changeable();
        assert_eq!(said["terminal.name"], "Gate");
        assert_eq!(said["site.time_zone"], "Europe/London");
        assert_eq!(said.len(), 2);
    }
}
