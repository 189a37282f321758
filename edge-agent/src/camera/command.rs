//! A program whose standard output is the camera: `rpicam-vid` for camera modules, or any other that writes JPEGs or
//! raw frames joined end to end.
//!
//! It runs in a process group of its own, which is ended with it, politely at first. When this process is killed, the
//! pipes close, and the program's next frame ends it (SIGPIPE); one that writes nothing any more is left to systemd.
//! What it writes to its standard error is kept in a few lines and told when it fails.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rollcall_core::limits;
use rollcall_vision::decode::{FrameLayout, MjpegSplitter};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use super::config::Output;
use super::{Camera, CameraError, Grabbed, Source};

const POLL: Duration = Duration::from_millis(limits::CAMERA_POLL_MS);
const GRACE: Duration = Duration::from_millis(limits::CAMERA_COMMAND_GRACE_MS);

/// See the module.
pub struct CommandSource {
    argv: Vec<String>,
    output: Output,
}

impl CommandSource {
    /// The program and its arguments, and what it writes.
    pub fn new(argv: Vec<String>, output: Output) -> Self {
        Self { argv, output }
    }
}

impl Source for CommandSource {
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError> {
        let (program, arguments) = self.argv.split_first().map_or(("", &[][..]), |(p, rest)| (p, rest));
        let not_started = |source| CameraError::NotStarted { program: program.to_owned(), source };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(not_started)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let frames = match self.output {
            Output::Mjpeg => Frames::Mjpeg(MjpegSplitter::default()),
            Output::Raw(layout) => {
                Frames::Raw { layout, size_bytes: raw_size_bytes(&layout), begun: Vec::new() }
            }
        };
        Ok(Box::new(CommandCamera {
            program: program.to_owned(),
            child,
            stdout,
            stderr,
            said: Said::default(),
            frames,
            piece: vec![0; limits::CAMERA_PIECE_SIZE_BYTES],
            is_ended: false,
        }))
    }
}

/// Bytes of a frame of 4:2:0 in three planes without padding.
fn raw_size_bytes(layout: &FrameLayout) -> usize {
    let (width, height) = (layout.width as usize, layout.height as usize);
    width * height + 2 * width.div_ceil(2) * height.div_ceil(2)
}

struct CommandCamera {
    program: String,
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    said: Said,
    frames: Frames,
    piece: Vec<u8>,
    /// Whether its status was taken: its group may be another's by now.
    is_ended: bool,
}

enum Frames {
    Mjpeg(MjpegSplitter),
    Raw {
        layout: FrameLayout,
        size_bytes: usize,
        /// What came of the next frame.
        begun: Vec<u8>,
    },
}

impl Camera for CommandCamera {
    fn name(&self) -> String {
        self.program.clone()
    }

    fn rate(&self) -> Option<f64> {
        None
    }

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Grabbed, CameraError> {
        let end = Instant::now() + POLL;
        loop {
            if let Some(grabbed) = self.frames.newest(buffer)? {
                return Ok(grabbed);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CameraError::TimedOut);
            }
            self.read(left).map_err(|source| CameraError::Device {
                device: self.program.clone(),
                action: "reading its output",
                source,
            })?;
            if self.stdout.is_none() {
                return Err(self.exited());
            }
        }
    }
}

impl CommandCamera {
    /// Takes what the program wrote, waiting for it.
    fn read(&mut self, patience: Duration) -> io::Result<()> {
        let (output, errors) = ready(self.stdout.as_ref(), self.stderr.as_ref(), PollFlags::IN, patience)?;
        if errors {
            read_piece(&mut self.stderr, &mut self.piece, |bytes| self.said.push(bytes))?;
        }
        if output {
            let frames = &mut self.frames;
            read_piece(&mut self.stdout, &mut self.piece, |bytes| frames.push(bytes))?;
        }
        Ok(())
    }

    /// After the end of its output: how it ended, and what it said of it.
    fn exited(&mut self) -> CameraError {
        let status = self.end();
        while self.stderr.is_some() {
            match ready(None, self.stderr.as_ref(), PollFlags::IN, Duration::ZERO) {
                Ok((_, true)) => {}
                _ => break,
            }
            if read_piece(&mut self.stderr, &mut self.piece, |bytes| self.said.push(bytes)).is_err() {
                break;
            }
        }
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        CameraError::Exited { program: self.program.clone(), status, said: self.said.text() }
    }

    /// Ends the program and all that it started, and takes its status.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        let end = Instant::now() + GRACE;
        // The pipe hangs up when the last of them is gone.
        while self.stdout.is_some() {
            let left = end.saturating_duration_since(Instant::now());
            match ready(self.stdout.as_ref(), None, PollFlags::empty(), left) {
                Ok((true, _)) | Err(_) => break,
                Ok((false, _)) if left.is_zero() => break,
                Ok((false, _)) => {}
            }
        }
        self.signal(Signal::KILL);
        self.is_ended = true;
        self.child.wait()
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone already is what is wanted.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

impl Drop for CommandCamera {
    fn drop(&mut self) {
        if !self.is_ended
            && let Err(error) = self.end()
        {
            tracing::warn!(%error, "the camera's program cannot be waited for");
        }
    }
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Mjpeg(splitter) => splitter.push(bytes),
            Self::Raw { begun, .. } => begun.extend_from_slice(bytes),
        }
    }

    /// The newest of the frames that came whole.
    fn newest(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Grabbed>, CameraError> {
        let mut count = 0;
        match self {
            Self::Mjpeg(splitter) => {
                while let Some(frame) = splitter.next_frame() {
                    buffer.clear();
                    buffer.extend_from_slice(frame);
                    count += 1;
                }
                if count == 0 {
                    return Ok(None);
                }
                let layout = FrameLayout::of_mjpeg(buffer);
                let layout = layout.map_err(|error| CameraError::Unusable(error.to_string()))?;
                Ok(Some(Grabbed { layout, passed_over: count - 1 }))
            }
            Self::Raw { layout, size_bytes, begun } => {
                while begun.len() >= *size_bytes {
                    buffer.clear();
                    buffer.extend_from_slice(&begun[..*size_bytes]);
                    begun.drain(..*size_bytes);
                    count += 1;
                }
                Ok((count > 0).then(|| Grabbed { layout: *layout, passed_over: count - 1 }))
            }
        }
    }
}

/// Which of two pipes has something, or has hung up, within this time; neither when a signal came.
fn ready(
    output: Option<&ChildStdout>,
    errors: Option<&ChildStderr>,
    flags: PollFlags,
    patience: Duration,
) -> io::Result<(bool, bool)> {
    let mut fds = Vec::with_capacity(2);
    fds.extend(output.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), flags)));
    fds.extend(errors.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), flags)));
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => return Ok((false, false)),
        polled => polled?,
    };
    let has = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
    let behind = usize::from(output.is_some());
    Ok((output.is_some() && has(0), errors.is_some() && has(behind)))
}

/// Takes one piece of a pipe that has something; a pipe at its end is dropped.
fn read_piece<P: Read>(pipe: &mut Option<P>, piece: &mut [u8], take: impl FnOnce(&[u8])) -> io::Result<()> {
    let Some(open) = pipe else { return Ok(()) };
    match open.read(piece) {
        Ok(0) => *pipe = None,
        Ok(size) => take(&piece[..size]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The last lines of a program's standard error.
#[derive(Debug, Default)]
struct Said {
    lines: VecDeque<String>,
    begun: Vec<u8>,
}

impl Said {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => self.end_line(),
                _ if self.begun.len() < limits::CAMERA_COMMAND_LINE_SIZE_BYTES => self.begun.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.begun).trim().to_owned();
        self.begun.clear();
        if line.is_empty() {
            return;
        }
        if self.lines.len() == limits::CAMERA_COMMAND_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// In one line, with what leads to it.
    fn text(&mut self) -> String {
        self.end_line();
        if self.lines.is_empty() {
            return " and said nothing".to_owned();
        }
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        format!(" and said \"{}\"", lines.join(" / ").escape_debug())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;

    use rollcall_vision::decode::FrameFormat;

    use super::super::tests::jpeg;
    use super::*;

    fn open(script: &str, folder: &Path, output: Output) -> Box<dyn Camera> {
        let argv = ["sh", "-c", script, "sh"].map(str::to_owned).into_iter();
        let argv = argv.chain([folder.to_str().unwrap().to_owned()]).collect();
        CommandSource::new(argv, output).open().unwrap()
    }

    /// A folder with two frames.
    fn frames() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), jpeg(64, 48, 0)).unwrap();
        std::fs::write(folder.path().join("b"), jpeg(320, 240, 200)).unwrap();
        folder
    }

    /// The next frame or failure, however long it takes.
    fn next(camera: &mut dyn Camera, buffer: &mut Vec<u8>) -> Result<Grabbed, CameraError> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match camera.next(buffer) {
                Err(CameraError::TimedOut) if Instant::now() < end => {}
                done => return done,
            }
        }
    }

    fn is_gone(pid: i32) -> bool {
        rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_err()
    }

    /// Waits until a file has a line, and gives its number.
    fn number_in(path: &Path) -> i32 {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text.trim().parse().unwrap(),
                _ => assert!(Instant::now() < end, "{} was not written", path.display()),
            }
            std::thread::yield_now();
        }
    }

    fn assert_goes(pid: i32) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_gone(pid) {
            assert!(Instant::now() < end, "{pid} lives");
            std::thread::yield_now();
        }
    }

    #[test]
    fn jpegs_that_a_program_writes_are_frames_of_the_size_that_they_say() {
        let folder = frames();
        let script = "cat $1/a; echo noise; read x < $1/fifo; cat $1/b; exec sleep 600";
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let mut camera = open(script, folder.path(), Output::Mjpeg);
        let mut buffer = Vec::new();
        let first = next(camera.as_mut(), &mut buffer).unwrap();
        assert_eq!((first.layout.width, first.layout.height, first.passed_over), (64, 48, 0));
        assert_eq!(buffer, jpeg(64, 48, 0));
        std::fs::write(fifo, "go\n").unwrap();
        let second = next(camera.as_mut(), &mut buffer).unwrap();
        assert_eq!((second.layout.width, second.layout.height), (320, 240));
        assert_eq!(buffer, jpeg(320, 240, 200));
        assert!(matches!(camera.next(&mut buffer), Err(CameraError::TimedOut)));
    }

    #[test]
    fn of_frames_that_wait_the_newest_is_given() {
        let mut frames = Frames::Mjpeg(MjpegSplitter::default());
        frames.push(&[jpeg(64, 48, 0), jpeg(64, 48, 100), jpeg(64, 48, 200)].concat());
        let mut buffer = Vec::new();
        assert_eq!(frames.newest(&mut buffer).unwrap().unwrap().passed_over, 2);
        assert_eq!(buffer, jpeg(64, 48, 200));
        assert!(frames.newest(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn f089_raw_frames_are_cut_by_their_size_wherever_the_pieces_end() {
        for (width, height) in [(64, 48), (33, 17)] {
            let layout = FrameLayout { width, height, format: FrameFormat::Yuv420, stride_bytes: 0 };
            let size = raw_size_bytes(&layout);
            let stream: Vec<u8> = (1..=20).flat_map(|n| vec![n; size]).collect();
            let mut frames = Frames::Raw { layout, size_bytes: size, begun: Vec::new() };
            let mut buffer = Vec::new();
            let mut given = Vec::new();
            for piece in stream.chunks(997) {
                frames.push(piece);
                while let Some(grabbed) = frames.newest(&mut buffer).unwrap() {
                    assert_eq!(grabbed.layout, layout);
                    layout.check(&buffer).unwrap();
                    assert!(layout.check(&buffer[1..]).is_err());
                    assert!(buffer.iter().all(|byte| *byte == buffer[0]));
                    given.push((buffer[0], grabbed.passed_over));
                }
            }
            let numbers: u64 = given.iter().map(|(_, passed_over)| 1 + passed_over).sum();
            assert_eq!((numbers, given.last().unwrap().0), (20, 20));
        }
    }

    #[test]
    fn a_program_that_ends_is_told_with_its_last_lines() {
        let folder = frames();
        let script = "cat $1/a; echo one >&2; echo two >&2; printf 'three\\nno camera\\t\\n' >&2; exit 255";
        let mut camera = open(script, folder.path(), Output::Mjpeg);
        let mut buffer = Vec::new();
        let first = next(camera.as_mut(), &mut buffer);
        let error = match first {
            Ok(_) => next(camera.as_mut(), &mut buffer).unwrap_err().to_string(),
            Err(error) => panic!("{error}"),
        };
        assert!(error.contains("\"sh\" ended (exit status: 255)"), "{error}");
        assert!(error.contains("and said \"two / three / no camera\"; run it by hand"), "{error}");
    }

    #[test]
    fn a_program_that_says_megabytes_of_errors_holds_nothing_up() {
        let folder = frames();
        let script = "head -c 3000000 /dev/zero | tr '\\0' e >&2; cat $1/a; exec sleep 600";
        let mut camera = open(script, folder.path(), Output::Mjpeg);
        assert!(next(camera.as_mut(), &mut Vec::new()).is_ok());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut source = CommandSource::new(vec!["/nowhere/rpicam-vid".to_owned()], Output::Mjpeg);
        let error = source.open().err().unwrap().to_string();
        assert!(error.contains("\"/nowhere/rpicam-vid\" does not start: No such file"), "{error}");
    }

    #[test]
    fn the_program_and_what_it_started_end_with_the_camera() {
        let folder = frames();
        let script = "sleep 600 & echo $! > $1/child; echo $$ > $1/own; cat $1/a; wait";
        let mut camera = open(script, folder.path(), Output::Mjpeg);
        next(camera.as_mut(), &mut Vec::new()).unwrap();
        let (own, child) = (number_in(&folder.path().join("own")), number_in(&folder.path().join("child")));
        assert!(!is_gone(own) && !is_gone(child));
        drop(camera);
        assert!(is_gone(own));
        assert_goes(child);
    }

    #[test]
    fn a_program_that_will_not_end_is_ended_by_force() {
        let folder = frames();
        let script = "trap '' TERM; echo $$ > $1/own; cat $1/a; while :; do sleep 600; done";
        let mut camera = open(script, folder.path(), Output::Mjpeg);
        next(camera.as_mut(), &mut Vec::new()).unwrap();
        drop(camera);
        assert!(is_gone(number_in(&folder.path().join("own"))));
    }

    #[test]
    fn a_program_that_writes_ends_by_itself_once_nobody_reads() {
        let folder = frames();
        let script = "echo $$ > $1/own; while :; do cat $1/b || exit; done";
        let argv = ["-c", script, "sh"];
        let mut child = Command::new("sh")
            .args(argv)
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        number_in(&folder.path().join("own"));
        drop(child.stdout.take());
        assert!(child.wait().is_ok());
    }
}
