//! A scene from a file: JPEGs joined end to end (`ffmpeg -f mjpeg`), or a folder of pictures in the order of their names.
//!
//! Frames come at a rate of their own, whoever takes them or not, as those of a camera do. A JPEG is handed on as it is
//! (its orientation is ignored, as of a frame); other pictures become YUYV once they are read. What is no picture is
//! counted as an unusable frame.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_core::limits;
use rollcall_vision::RgbImage;
use rollcall_vision::decode::{FrameFormat, FrameLayout, MjpegSplitter, decode};

use super::clock::Clock;
use super::config::Ending;
use super::{Camera, CameraError, Grabbed, Source};

/// See the module.
pub struct FileSource {
    path: PathBuf,
    rate: f64,
    ending: Ending,
    clock: Arc<dyn Clock>,
}

impl FileSource {
    /// The scene of a file or folder at so many frames a second.
    pub fn new(path: PathBuf, rate: f64, ending: Ending, clock: Arc<dyn Clock>) -> Self {
        Self { path, rate, ending, clock }
    }
}

impl Source for FileSource {
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError> {
        let scene = if self.path.is_dir() {
            Scene::Pictures { paths: pictures(&self.path)?, next: 0 }
        } else {
            let file = File::open(&self.path).map_err(|error| failed(&self.path, error))?;
            Scene::Mjpeg(Box::new(Mjpeg::new(file)))
        };
        Ok(Box::new(FileCamera {
            scene,
            path: self.path.clone(),
            rate: self.rate,
            ending: self.ending,
            is_empty: true,
            due: self.clock.now(),
            clock: Arc::clone(&self.clock),
        }))
    }
}

fn failed(path: &Path, problem: impl ToString) -> CameraError {
    CameraError::File { path: path.to_owned(), problem: problem.to_string() }
}

/// The files of a folder but hidden ones, by name.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, CameraError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let entry = entry.map_err(|error| failed(folder, error))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") || entry.path().is_dir() {
            continue;
        }
        if paths.len() == limits::CAMERA_PICTURES {
            return Err(failed(folder, format!("has more than {} pictures", limits::CAMERA_PICTURES)));
        }
        paths.push(entry.path());
    }
    paths.sort();
    Ok(paths)
}

struct FileCamera {
    scene: Scene,
    path: PathBuf,
    rate: f64,
    ending: Ending,
    /// Whether nothing came since the scene's beginning.
    is_empty: bool,
    /// When the next frame is.
    due: Instant,
    clock: Arc<dyn Clock>,
}

enum Scene {
    Mjpeg(Box<Mjpeg>),
    Pictures { paths: Vec<PathBuf>, next: usize },
}

impl Camera for FileCamera {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn rate(&self) -> Option<f64> {
        Some(self.rate)
    }

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Grabbed, CameraError> {
        let now = self.clock.now();
        self.clock.wait(self.due.saturating_duration_since(now));
        if self.clock.is_stopped() {
            return Err(CameraError::TimedOut);
        }
        // Who was held up goes on from here: frames that were missed are not played in a rush.
        self.due = self.due.max(now) + Duration::from_secs_f64(1.0 / self.rate);
        loop {
            let read = match &mut self.scene {
                Scene::Mjpeg(mjpeg) => mjpeg.read(buffer).map_err(|error| failed(&self.path, error))?,
                Scene::Pictures { paths, next } => {
                    let path = paths.get(*next);
                    *next += 1;
                    path.map(|path| read_picture(path, buffer))
                }
            };
            if let Some(layout) = read {
                self.is_empty = false;
                return Ok(Grabbed { layout: layout?, passed_over: 0 });
            }
            if self.is_empty {
                return Err(failed(&self.path, "has no pictures"));
            }
            if self.ending == Ending::Stop {
                return Err(CameraError::Ended);
            }
            self.is_empty = true;
            match &mut self.scene {
                Scene::Mjpeg(mjpeg) => mjpeg.rewind().map_err(|error| failed(&self.path, error))?,
                Scene::Pictures { next, .. } => *next = 0,
            }
        }
    }
}

/// A file of JPEGs, read in pieces.
struct Mjpeg {
    file: File,
    piece: Vec<u8>,
    splitter: MjpegSplitter,
    /// Torn frames behind the last whole one, once the file's end was reached.
    rest: Option<VecDeque<Vec<u8>>>,
}

impl Mjpeg {
    fn new(file: File) -> Self {
        let piece = vec![0; limits::CAMERA_PIECE_SIZE_BYTES];
        Self { file, piece, splitter: MjpegSplitter::default(), rest: None }
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.file.rewind()?;
        self.splitter = MjpegSplitter::default();
        self.rest = None;
        Ok(())
    }

    /// The next frame; `None` at the end.
    fn read(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<Option<Result<FrameLayout, CameraError>>> {
        buffer.clear();
        while self.rest.is_none() {
            if let Some(frame) = self.splitter.next_frame() {
                buffer.extend_from_slice(frame);
                return Ok(Some(layout_of(buffer)));
            }
            match self.file.read(&mut self.piece)? {
                0 => self.rest = Some(self.splitter.rest().map(<[u8]>::to_vec).collect()),
                size => self.splitter.push(&self.piece[..size]),
            }
        }
        let Some(frame) = self.rest.as_mut().and_then(VecDeque::pop_front) else { return Ok(None) };
        buffer.extend_from_slice(&frame);
        Ok(Some(layout_of(buffer)))
    }
}

fn layout_of(jpeg: &[u8]) -> Result<FrameLayout, CameraError> {
    FrameLayout::of_mjpeg(jpeg).map_err(|error| CameraError::Unusable(error.to_string()))
}

fn read_picture(path: &Path, buffer: &mut Vec<u8>) -> Result<FrameLayout, CameraError> {
    let unusable =
        |error: &dyn std::fmt::Display| CameraError::Unusable(format!("{}: {error}", path.display()));
    buffer.clear();
    let file = File::open(path).map_err(|error| unusable(&error))?;
    let most = limits::FRAME_SIZE_BYTES as u64 + 1;
    file.take(most).read_to_end(buffer).map_err(|error| unusable(&error))?;
    if buffer.starts_with(b"\xff\xd8") {
        return FrameLayout::of_mjpeg(buffer).map_err(|error| unusable(&error));
    }
    let picture = decode(buffer).map_err(|error| unusable(&error))?;
    Ok(yuyv_from_rgb(&picture, buffer))
}

/// BT.601 with limited range, as frames are read; the colour of two pixels is their mean.
fn yuyv_from_rgb(picture: &RgbImage, yuyv: &mut Vec<u8>) -> FrameLayout {
    yuyv.clear();
    for y in 0..picture.height() {
        for pair in picture.row(y).chunks(6) {
            let first = [pair[0], pair[1], pair[2]].map(f32::from);
            let second = pair.get(3..6).map_or(first, |rgb| [rgb[0], rgb[1], rgb[2]].map(f32::from));
            let luma = |[r, g, b]: [f32; 3]| 16.0 + 0.256_788 * r + 0.504_129 * g + 0.097_906 * b;
            let mean = |channel: usize| (first[channel] + second[channel]) / 2.0;
            let (r, g, b) = (mean(0), mean(1), mean(2));
            let u = 128.0 - 0.148_223 * r - 0.290_993 * g + 0.439_216 * b;
            let v = 128.0 + 0.439_216 * r - 0.367_788 * g - 0.071_427 * b;
            yuyv.extend([luma(first), u, luma(second), v].map(|value| value.round() as u8));
        }
    }
    // No picture that was read is wider than its limit.
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    FrameLayout { width, height, format: FrameFormat::Yuyv, stride_bytes: width.next_multiple_of(2) * 2 }
}
