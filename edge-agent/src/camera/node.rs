//! What a V4L2 device is, and whether frames can be had from it.

use std::path::PathBuf;

use super::choice::Offer;

/// A device `/dev/videoN`.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `/dev/videoN`.
    pub path: PathBuf,
    /// Paths that stay the same when it is plugged in again.
    pub links: Vec<PathBuf>,
    /// What it calls itself.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    /// Its formats. Empty where it captures nothing.
    pub offers: Vec<Offer>,
    /// Whether it can be used.
    pub usability: Usability,
}

/// Whether frames can be had from a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usability {
    /// They can.
    Camera,
    /// A camera module's raw sensor: its frames are raw Bayer, and need the program of Raspberry Pi OS.
    RawSensor,
    /// A part of the processor that works on pictures, not a camera.
    Processor,
    /// It captures no video: a camera's second device for metadata, an output, a radio.
    NoCapture,
    /// It captures in none of our formats.
    NoFormat,
}

/// What a driver says of a device.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Single-planar video capture.
    pub captures: bool,
    /// Buffers that are mapped.
    pub streams: bool,
    /// It turns pictures that are given to it into others.
    pub converts: bool,
}

/// Drivers of the receivers of camera modules: Raspberry Pi 4 and before, Raspberry Pi 5.
const RAW_SENSORS: [&str; 2] = ["unicam", "rp1-cfe"];

/// Drivers of a Raspberry Pi's image processors and codecs. Some offer our formats and never give a frame.
const PROCESSORS: [&str; 5] = ["bcm2835-isp", "bcm2835-codec", "pispbe", "rpivid", "rpi-hevc-dec"];

/// Judges a device.
pub fn judge(driver: &str, abilities: Abilities, offers: &[Offer]) -> Usability {
    if RAW_SENSORS.contains(&driver) {
        Usability::RawSensor
    } else if PROCESSORS.contains(&driver) || abilities.converts {
        Usability::Processor
    } else if !abilities.captures || !abilities.streams {
        Usability::NoCapture
    } else if offers.iter().all(|offer| offer.format.is_none()) {
        Usability::NoFormat
    } else {
        Usability::Camera
    }
}

impl Usability {
    /// What it is, and what to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Camera => "a camera that can be used",
            Self::RawSensor => {
                "a camera module's raw sensor: set source = \"command\", which runs rpicam-vid (package rpicam-apps)"
            }
            Self::Processor => "a part of the processor, not a camera: nothing to do",
            Self::NoCapture => "captures no video: nothing to do",
            Self::NoFormat => {
                "captures in no format that can be read (MJPEG, YUYV, NV12, YU12): use another camera"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_vision::decode::FrameFormat;

    use super::*;

    fn offer(code: &str, format: Option<FrameFormat>) -> Vec<Offer> {
        vec![Offer { code: code.to_owned(), format, sizes: Vec::new() }]
    }

    #[test]
    fn a_raspberry_pis_own_devices_are_told_from_cameras() {
        let captures = Abilities { captures: true, streams: true, converts: false };
        let nothing = Abilities { captures: false, streams: true, converts: false };
        let converts = Abilities { captures: false, streams: true, converts: true };
        let yuyv = offer("YUYV", Some(FrameFormat::Yuyv));
        for (driver, abilities, offers, expected) in [
            ("uvcvideo", captures, yuyv.clone(), Usability::Camera),
            ("uvcvideo", nothing, Vec::new(), Usability::NoCapture),
            ("uvcvideo", captures, offer("H264", None), Usability::NoFormat),
            ("uvcvideo", captures, Vec::new(), Usability::NoFormat),
            ("unicam", captures, offer("pRAA", None), Usability::RawSensor),
            ("unicam", captures, yuyv.clone(), Usability::RawSensor),
            ("rp1-cfe", nothing, Vec::new(), Usability::RawSensor),
            ("bcm2835-isp", captures, yuyv.clone(), Usability::Processor),
            ("bcm2835-codec", converts, Vec::new(), Usability::Processor),
            ("pispbe", nothing, Vec::new(), Usability::Processor),
            ("rpivid", converts, Vec::new(), Usability::Processor),
            ("hantro-vpu", converts, yuyv.clone(), Usability::Processor),
            ("v4l2 loopback", captures, offer("MJPG", Some(FrameFormat::Mjpeg)), Usability::Camera),
            ("v4l2 loopback", captures, Vec::new(), Usability::NoFormat),
        ] {
            assert_eq!(judge(driver, abilities, &offers), expected, "{driver} {offers:?}");
        }
    }

    #[test]
    fn a_raw_sensor_is_told_what_to_do() {
        assert!(Usability::RawSensor.advice().contains("source = \"command\""));
    }
}
