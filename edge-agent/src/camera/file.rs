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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_vision::decode::decode_frame;

    use super::super::clock::fake::FakeClock;
    use super::super::tests::jpeg;
    use super::*;

    fn open(path: &Path, rate: f64, ending: Ending) -> (Box<dyn Camera>, Arc<FakeClock>) {
        let clock = Arc::new(FakeClock::new());
        let mut source = FileSource::new(path.to_owned(), rate, ending, Arc::clone(&clock) as Arc<dyn Clock>);
        (source.open().unwrap(), clock)
    }

    /// Frames until the end, at most so many; `None` for one of no use.
    fn frames(camera: &mut dyn Camera, most: usize) -> Vec<Option<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut buffer = Vec::new();
        while frames.len() < most {
            match camera.next(&mut buffer) {
                Ok(Grabbed { layout, .. }) => {
                    layout.check(&buffer).unwrap();
                    frames.push(Some(buffer.clone()));
                }
                Err(CameraError::Unusable(_)) => frames.push(None),
                Err(CameraError::Ended) => break,
                Err(error) => panic!("{error}"),
            }
        }
        frames
    }

    fn write(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_mjpeg_file_is_played_once_frame_by_frame_at_its_rate() {
        let pictures: Vec<Vec<u8>> = (0..40).map(|n| jpeg(320, 240, n * 6)).collect();
        let file = write(&pictures.concat());
        let (mut camera, clock) = open(file.path(), 10.0, Ending::Stop);
        let expected: Vec<_> = pictures.into_iter().map(Some).collect();
        assert!(frames(camera.as_mut(), 100) == expected);
        // The 40th comes after 39 intervals, the end is noticed when the 41st would come.
        assert_eq!(clock.elapsed(), Duration::from_secs(4));
        assert!(matches!(camera.next(&mut Vec::new()), Err(CameraError::Ended)));
    }

    #[test]
    fn a_scene_that_repeats_begins_again() {
        let pictures = [jpeg(64, 48, 0), jpeg(64, 48, 100), jpeg(64, 48, 200)];
        let file = write(&pictures.concat());
        let (mut camera, _) = open(file.path(), 15.0, Ending::Repeat);
        let expected: Vec<_> = pictures.iter().cycle().take(10).cloned().map(Some).collect();
        assert!(frames(camera.as_mut(), 10) == expected);
    }

    #[test]
    fn a_reader_that_was_held_up_is_not_given_missed_frames_in_a_rush() {
        let file = write(&jpeg(64, 48, 0));
        let (mut camera, clock) = open(file.path(), 10.0, Ending::Repeat);
        frames(camera.as_mut(), 2);
        clock.advance(Duration::from_secs(100));
        let before = clock.elapsed();
        frames(camera.as_mut(), 6);
        assert_eq!(clock.elapsed() - before, Duration::from_millis(500));
    }

    #[test]
    fn f087_a_torn_frame_in_a_file_is_of_no_use_and_the_others_come() {
        let picture = jpeg(64, 48, 0);
        let torn = &picture[..picture.len() - 20];
        let file = write(&[&picture[..], torn, &picture, torn].concat());
        let (mut camera, _) = open(file.path(), 10.0, Ending::Stop);
        let whole = Some(picture.clone());
        assert!(frames(camera.as_mut(), 10) == [whole.clone(), None, whole, None]);
    }

    #[test]
    fn a_folder_is_played_in_the_order_of_names_and_what_is_no_picture_is_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("002.jpg"), jpeg(64, 48, 2)).unwrap();
        std::fs::write(folder.path().join("010.jpg"), jpeg(32, 32, 10)).unwrap();
        std::fs::write(folder.path().join("001.jpg"), jpeg(64, 48, 1)).unwrap();
        std::fs::write(folder.path().join("003.txt"), "no picture").unwrap();
        std::fs::write(folder.path().join(".hidden"), "x").unwrap();
        let (mut camera, _) = open(folder.path(), 10.0, Ending::Stop);
        let expected = [Some(jpeg(64, 48, 1)), Some(jpeg(64, 48, 2)), None, Some(jpeg(32, 32, 10))];
        assert!(frames(camera.as_mut(), 10) == expected);
    }

    #[test]
    fn a_png_becomes_a_frame_of_the_same_colours() {
        let folder = tempfile::tempdir().unwrap();
        let (width, height) = (33, 17);
        let rgb: Vec<u8> = (0..height).flat_map(|y| [200, 40 + 5 * y as u8, 60].repeat(width)).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&rgb).unwrap();
        std::fs::write(folder.path().join("a.png"), bytes).unwrap();
        let (mut camera, _) = open(folder.path(), 10.0, Ending::Stop);
        let mut buffer = Vec::new();
        let Grabbed { layout, .. } = camera.next(&mut buffer).unwrap();
        let picture = decode_frame(&layout, &buffer, &mut Vec::new()).unwrap();
        assert_eq!((picture.width(), picture.height()), (width, height));
        for (got, expected) in picture.data().iter().zip(&rgb) {
            // Twice a rounding to 8 bits, and the reader's 6 bits of fraction.
            assert!(got.abs_diff(*expected) <= 4, "{got} {expected}");
        }
    }

    #[test]
    fn a_file_without_pictures_and_one_that_is_not_there_are_named() {
        let empty = write(b"no pictures");
        let (mut camera, _) = open(empty.path(), 10.0, Ending::Repeat);
        let error = camera.next(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("has no pictures; correct camera.file"), "{error}");
        let clock = Arc::new(FakeClock::new());
        let error =
            FileSource::new("/nowhere/a.mjpeg".into(), 10.0, Ending::Stop, clock).open().err().unwrap();
        assert!(error.to_string().starts_with("/nowhere/a.mjpeg: No such file"), "{error}");
    }
}
