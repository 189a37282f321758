//! `[camera]`: where the frames come from.
//!
//! Which keys have a meaning depends on `source`. A key without one is refused by name, because whoever wrote it expects
//! it to do something.

use std::path::{Path, PathBuf};

use rollcall_core::limits;
use rollcall_vision::decode::{FrameFormat, FrameLayout};
use serde::Deserialize;

use super::choice::Wanted;

/// Columns when nothing says otherwise: a face a metre and a half away has some 90 of them.
pub const WIDTH: u32 = 640;
/// Rows when nothing says otherwise.
pub const HEIGHT: u32 = 480;
/// Frames a second when nothing says otherwise: what a Raspberry Pi 4 follows several people at.
pub const FRAMES_PER_SECOND: f64 = 15.0;

/// `[camera]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the frames come from.
    #[serde(default)]
    pub source: SourceKind,
    /// Which V4L2 device.
    pub device: Option<Device>,
    /// Columns that are asked for.
    pub width: Option<Side>,
    /// Rows that are asked for.
    pub height: Option<Side>,
    /// Frames a second that are asked for.
    pub frames_per_second: Option<Rate>,
    /// How the frames come; absent: the best that the camera has.
    pub format: Option<Format>,
    /// The program and its arguments.
    pub command: Option<Argv>,
    /// The scene: an MJPEG file, or a folder of pictures.
    pub file: Option<PathBuf>,
    /// Whether the scene begins again at its end.
    pub repeat: Option<bool>,
}

/// What kind of camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The first V4L2 device that can be used.
    #[default]
    Auto,
    /// A V4L2 device.
    V4l,
    /// A program that writes frames to its standard output.
    Command,
    /// A file or folder.
    File,
    /// None.
    None,
}

/// How the frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JPEGs.
    Mjpeg,
    /// 4:2:2, packed.
    Yuyv,
    /// 4:2:0, two planes.
    Nv12,
    /// 4:2:0, three planes.
    Yuv420,
}

impl From<Format> for FrameFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Mjpeg => Self::Mjpeg,
            Format::Yuyv => Self::Yuyv,
            Format::Nv12 => Self::Nv12,
            Format::Yuv420 => Self::Yuv420,
        }
    }
}

/// A device: its number or its path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Device(pub PathBuf);

impl TryFrom<toml::Value> for Device {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match &value {
            toml::Value::Integer(number @ 0..=255) => return Ok(Self(format!("/dev/video{number}").into())),
            toml::Value::String(path) if Path::new(path).is_absolute() && !path.contains('\0') => {
                return Ok(Self(path.into()));
            }
            _ => {}
        }
        Err("give the device's number (0 for /dev/video0) or its path (/dev/v4l/by-id/...)".to_owned())
    }
}

/// A side of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Side(pub u32);

impl TryFrom<i64> for Side {
    type Error = String;

    fn try_from(side: i64) -> Result<Self, String> {
        let (least, most) = (limits::CAMERA_SIDE_PX.start(), limits::CAMERA_SIDE_PX.end());
        match u32::try_from(side) {
            Ok(side) if limits::CAMERA_SIDE_PX.contains(&side) => Ok(Self(side)),
            _ => Err(format!("is {side}; give {least} to {most}")),
        }
    }
}

/// Frames a second.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(pub f64);

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        let (least, most) = (limits::CAMERA_RATE.start(), limits::CAMERA_RATE.end());
        if limits::CAMERA_RATE.contains(&rate) {
            Ok(Self(rate))
        } else {
            Err(format!("is {rate}; give {least} to {most}"))
        }
    }
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Argv(pub Vec<String>);

impl TryFrom<Vec<String>> for Argv {
    type Error = String;

    fn try_from(argv: Vec<String>) -> Result<Self, String> {
        if argv.first().is_none_or(String::is_empty) {
            return Err("give the program, then its arguments, each a text of its own".to_owned());
        }
        if argv.len() > limits::CAMERA_ARGUMENTS {
            return Err(format!("has {} parts; give at most {}", argv.len(), limits::CAMERA_ARGUMENTS));
        }
        if argv.iter().any(|argument| argument.contains('\0')) {
            return Err("has a zero byte in it".to_owned());
        }
        Ok(Self(argv))
    }
}

/// A key that is missing, or has no meaning for the source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("camera.{key}: {problem}")]
pub struct Misplaced {
    /// Which.
    pub key: &'static str,
    /// In words.
    pub problem: String,
}

/// What the table says, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Settings {
    /// No camera.
    Off,
    /// A V4L2 device, or the first that can be used.
    V4l {
        /// Which.
        device: Option<PathBuf>,
        /// How.
        wanted: Wanted,
    },
    /// A program.
    Command {
        /// It and its arguments.
        argv: Vec<String>,
        /// What it writes.
        output: Output,
    },
    /// A scene.
    File {
        /// MJPEG file or folder.
        path: PathBuf,
        /// Frames a second.
        rate: f64,
        /// What follows its last frame.
        ending: Ending,
    },
}

/// What a program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// JPEGs joined end to end; they say their size themselves.
    Mjpeg,
    /// Frames of this layout joined end to end.
    Raw(FrameLayout),
}

/// What follows the last frame of a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its first.
    Repeat,
    /// Nothing.
    Stop,
}

impl Config {
    /// What the example configuration shows: the defaults, and something for each key that has none.
    #[cfg(test)]
    pub fn example() -> Self {
        let argv = rpicam_vid(WIDTH, HEIGHT, FRAMES_PER_SECOND, Output::Mjpeg);
        Self {
            source: SourceKind::default(),
            device: Some(Device("/dev/video0".into())),
            width: Some(Side(WIDTH)),
            height: Some(Side(HEIGHT)),
            frames_per_second: Some(Rate(FRAMES_PER_SECOND)),
            format: Some(Format::Mjpeg),
            command: Some(Argv(argv)),
            file: Some("scene.mjpeg".into()),
            repeat: Some(true),
        }
    }

    /// What it says, if every key has a meaning and none is missing.
    ///
    /// # Errors
    /// The first key that has none, or is missing.
    pub fn settings(&self) -> Result<Settings, Misplaced> {
        match self.source {
            SourceKind::Auto => {
                let instead = "of the first camera found; take it away, or set source = \"v4l\"";
                self.refuse(&[("device", instead)])?;
                self.refuse_others(&["width", "height", "frames_per_second", "format"])?;
                Ok(Settings::V4l { device: None, wanted: self.wanted() })
            }
            SourceKind::V4l => {
                self.refuse_others(&["device", "width", "height", "frames_per_second", "format"])?;
                let device =
                    self.device.as_ref().ok_or_else(|| missing("device", "is not set; say which"))?;
                Ok(Settings::V4l { device: Some(device.0.clone()), wanted: self.wanted() })
            }
            SourceKind::Command => self.command(),
            SourceKind::File => {
                self.refuse_others(&["file", "frames_per_second", "repeat"])?;
                let path = self.file.clone();
                let path =
                    path.ok_or_else(|| missing("file", "is not set; name a MJPEG file or a folder"))?;
                let ending = if self.repeat.unwrap_or(true) { Ending::Repeat } else { Ending::Stop };
                Ok(Settings::File { path, rate: self.rate(), ending })
            }
            SourceKind::None => {
                self.refuse_others(&[])?;
                Ok(Settings::Off)
            }
        }
    }

    fn command(&self) -> Result<Settings, Misplaced> {
        let raw = match self.format {
            None | Some(Format::Mjpeg) => false,
            Some(Format::Yuv420) => true,
            Some(_) => return Err(missing("format", "of a command is \"mjpeg\" or \"yuv420\"")),
        };
        let Wanted { width, height, .. } = self.wanted();
        let output = if raw {
            Output::Raw(FrameLayout { width, height, format: FrameFormat::Yuv420, stride_bytes: 0 })
        } else {
            Output::Mjpeg
        };
        let Some(argv) = &self.command else {
            self.refuse_others(&["width", "height", "frames_per_second", "format"])?;
            return Ok(Settings::Command { argv: rpicam_vid(width, height, self.rate(), output), output });
        };
        if raw {
            self.refuse_others(&["command", "format", "width", "height"])?;
            for (key, value) in [("width", self.width), ("height", self.height)] {
                value.ok_or_else(|| missing(key, "is not set; raw frames do not say their size"))?;
            }
        } else {
            self.refuse_others(&["command", "format"])?;
        }
        Ok(Settings::Command { argv: argv.0.clone(), output })
    }

    /// The size, rate and format that are asked for.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            width: self.width.map_or(WIDTH, |side| side.0),
            height: self.height.map_or(HEIGHT, |side| side.0),
            rate: self.rate(),
            format: self.format.map(FrameFormat::from),
        }
    }

    fn rate(&self) -> f64 {
        self.frames_per_second.map_or(FRAMES_PER_SECOND, |rate| rate.0)
    }

    fn is_set(&self, key: &str) -> bool {
        match key {
            "device" => self.device.is_some(),
            "width" => self.width.is_some(),
            "height" => self.height.is_some(),
            "frames_per_second" => self.frames_per_second.is_some(),
            "format" => self.format.is_some(),
            "command" => self.command.is_some(),
            "file" => self.file.is_some(),
            _ => self.repeat.is_some(),
        }
    }

    fn refuse(&self, keys: &[(&'static str, &str)]) -> Result<(), Misplaced> {
        match keys.iter().find(|(key, _)| self.is_set(key)) {
            Some((key, problem)) => Err(missing(key, problem)),
            None => Ok(()),
        }
    }

    fn refuse_others(&self, known: &[&str]) -> Result<(), Misplaced> {
        let keys = ["device", "width", "height", "frames_per_second", "format", "command", "file", "repeat"];
        let other = keys.into_iter().find(|key| self.is_set(key) && !known.contains(key));
        other.map_or(Ok(()), |key| {
            let source = format!("{:?}", self.source).to_lowercase();
            let own = if self.source == SourceKind::Command && self.command.is_some() {
                " with a command of its own, whose arguments say it"
            } else {
                ""
            };
            Err(missing(key, &format!("means nothing with source = \"{source}\"{own}; take it away")))
        })
    }
}

fn missing(key: &'static str, problem: &str) -> Misplaced {
    Misplaced { key, problem: problem.to_owned() }
}

/// The program of Raspberry Pi OS for camera modules.
fn rpicam_vid(width: u32, height: u32, rate: f64, output: Output) -> Vec<String> {
    let codec = match output {
        Output::Mjpeg => "mjpeg",
        Output::Raw(_) => "yuv420",
    };
    let (width, height, rate) = (width.to_string(), height.to_string(), rate.to_string());
    let options = [("--timeout", "0"), ("--codec", codec), ("--width", &width), ("--height", &height)];
    let more = [("--framerate", rate.as_str()), ("--output", "-")];
    let words = options.iter().chain(&more).flat_map(|(option, value)| [*option, value]);
    ["rpicam-vid", "--nopreview", "--flush"].into_iter().chain(words).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        config.settings().map_err(|misplaced| misplaced.to_string())
    }

    fn wanted(format: Option<FrameFormat>) -> Wanted {
        Wanted { width: 640, height: 480, rate: 15.0, format }
    }

    #[test]
    fn without_a_word_the_first_camera_is_taken() {
        assert_eq!(settings(""), Ok(Settings::V4l { device: None, wanted: wanted(None) }));
        assert_eq!(settings("source = \"none\""), Ok(Settings::Off));
    }

    #[test]
    fn a_device_is_a_number_or_a_path() {
        for (text, path) in [
            ("0", "/dev/video0"),
            ("\"/dev/v4l/by-id/usb-x\"", "/dev/v4l/by-id/usb-x"),
            ("17", "/dev/video17"),
        ] {
            let text = format!("source = \"v4l\"\ndevice = {text}\nformat = \"mjpeg\"");
            let wanted = wanted(Some(FrameFormat::Mjpeg));
            assert_eq!(settings(&text), Ok(Settings::V4l { device: Some(path.into()), wanted }));
        }
        for text in ["-1", "256", "\"video0\"", "\"\"", "true", "1.5"] {
            let refusal = settings(&format!("source = \"v4l\"\ndevice = {text}")).unwrap_err();
            assert!(refusal.contains("or its path"), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_command_without_words_is_the_one_of_raspberry_pi_os() {
        let text = "source = \"command\"\nwidth = 1280\nheight = 720\nframes_per_second = 30";
        let Ok(Settings::Command { argv, output: Output::Mjpeg }) = settings(text) else { panic!() };
        let words = "rpicam-vid --nopreview --flush --timeout 0 --codec mjpeg --width 1280 --height 720 \
                     --framerate 30 --output -";
        assert_eq!(argv.join(" "), words);
    }

    #[test]
    fn raw_frames_of_a_command_have_the_size_that_is_set() {
        let text =
            "source = \"command\"\ncommand = [\"x\", \"-o\"]\nformat = \"yuv420\"\nwidth = 64\nheight = 48";
        let layout = FrameLayout { width: 64, height: 48, format: FrameFormat::Yuv420, stride_bytes: 0 };
        let argv = vec!["x".to_owned(), "-o".to_owned()];
        assert_eq!(settings(text), Ok(Settings::Command { argv, output: Output::Raw(layout) }));
    }

    #[test]
    fn a_scene_has_a_rate_and_begins_again_unless_told() {
        let file = |rate, ending| Settings::File { path: "a.mjpeg".into(), rate, ending };
        let text = "source = \"file\"\nfile = \"a.mjpeg\"\n";
        assert_eq!(settings(text), Ok(file(15.0, Ending::Repeat)));
        let text = format!("{text}frames_per_second = 7.5\nrepeat = false");
        assert_eq!(settings(&text), Ok(file(7.5, Ending::Stop)));
    }

    #[test]
    fn f022_a_key_that_does_nothing_or_is_missing_is_named() {
        for (text, key, words) in [
            ("device = 0", "device", "source = \\\"v4l\\\""),
            ("repeat = true", "repeat", "means nothing with source = \"auto\""),
            ("command = [\"x\"]", "command", "means nothing"),
            ("source = \"v4l\"", "device", "is not set"),
            ("source = \"v4l\"\ndevice = 0\nfile = \"x\"", "file", "means nothing"),
            ("source = \"none\"\nwidth = 640", "width", "means nothing"),
            ("source = \"file\"", "file", "is not set"),
            ("source = \"file\"\nfile = \"x\"\nformat = \"mjpeg\"", "format", "means nothing"),
            ("source = \"command\"\ncommand = [\"x\"]\nwidth = 640", "width", "whose arguments say it"),
            ("source = \"command\"\ncommand = [\"x\"]\nformat = \"yuv420\"", "width", "is not set"),
            ("source = \"command\"\nformat = \"yuyv\"", "format", "\"yuv420\""),
            ("source = \"command\"\ndevice = 3", "device", "means nothing"),
        ] {
            let refusal = settings(text).unwrap_err();
            assert!(refusal.starts_with(&format!("camera.{key}: ")), "{text}: {refusal}");
            assert!(refusal.contains(&words.replace('\\', "")), "{text}: {refusal}");
        }
    }

    #[test]
    fn f022_values_out_of_their_range_are_refused() {
        for text in [
            "width = 0",
            "width = 1.5",
            "height = 100000",
            "frames_per_second = 0",
            "frames_per_second = nan",
            "frames_per_second = 1000",
            "source = \"usb\"",
            "format = \"h264\"",
            "command = []",
            "command = [\"\"]",
            "command = \"rpicam-vid\"",
            "kamera = 1",
        ] {
            assert!(settings(text).is_err(), "{text}");
        }
    }
}
