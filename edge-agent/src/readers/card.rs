//! A USB card reader that types like a keyboard.
//!
//! A thread named `card-reader` opens the device and grabs it, so that its keys reach nobody else, above all not the
//! browser of the door's screen. When it is unplugged, or somebody else has grabbed it, it is opened again and again with
//! growing pauses, until the handle is dropped. What the keys mean is in `keys.rs`.
//!
//! A card that nobody has room for (the queue is full) is dropped: whoever shows it does so again.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evdev::{Device, EventSummary};
use rollcall_core::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::keys::Keys;
use super::{Presented, ReaderError};

/// So long a thread that waits for keys does not look whether it is to end.
const LOOK: Duration = Duration::from_millis(500);

/// A running reader; it ends when this is dropped.
pub struct CardReader {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CardReader {
    /// Reads from the device at `path`, which need not be there yet.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(path: PathBuf, to: mpsc::Sender<Presented>) -> Result<Self, ReaderError> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::Builder::new()
            .name("card-reader".into())
            .spawn(move || run(&path, &to, &over))
            .map_err(ReaderError::Thread)?;
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for CardReader {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It does not panic, and if it did there is nothing left to end.
            let _ = thread.join();
        }
    }
}

fn run(path: &Path, to: &mpsc::Sender<Presented>, is_over: &AtomicBool) {
    let mut pause_ms = limits::CARD_RETRY_MS;
    let mut is_told = false;
    while !is_over.load(Ordering::Acquire) {
        let failure = match open(path) {
            Ok(mut device) => {
                tracing::info!(device = %path.display(), "the card reader is there");
                (pause_ms, is_told) = (limits::CARD_RETRY_MS, false);
                match read(&mut device, to, is_over) {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if !is_told {
            tracing::warn!(device = %path.display(), error = %failure, "no card reader; it is looked for");
            is_told = true;
        }
        std::thread::park_timeout(Duration::from_millis(pause_ms));
        pause_ms = (pause_ms * 2).min(limits::CARD_RETRY_MS_MAX);
    }
}

fn open(path: &Path) -> std::io::Result<Device> {
    let mut device = Device::open(path)?;
    device.set_nonblocking(true)?;
    device.grab()?;
    Ok(device)
}

/// Reads until it is over, or the device fails.
fn read(device: &mut Device, to: &mpsc::Sender<Presented>, is_over: &AtomicBool) -> std::io::Result<()> {
    let mut keys = Keys::default();
    while !is_over.load(Ordering::Acquire) {
        let now = Instant::now();
        let wait = keys.ends().map_or(LOOK, |end| end.saturating_duration_since(now).min(LOOK));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let is_ready = match poll(&mut [PollFd::new(&device.as_fd(), PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        if is_ready {
            take(device, &mut keys, to)?;
        }
        hand_on(keys.pause(Instant::now()), to);
    }
    Ok(())
}

fn take(device: &mut Device, keys: &mut Keys, to: &mpsc::Sender<Presented>) -> std::io::Result<()> {
    let now = Instant::now();
    match device.fetch_events() {
        Ok(events) => {
            for event in events {
                if let EventSummary::Key(_, key, value) = event.destructure() {
                    hand_on(keys.key(key, value, now), to);
                }
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

fn hand_on(card: Option<String>, to: &mpsc::Sender<Presented>) {
    if let Some(card) = card
        && to.try_send(Presented::Card(card)).is_err()
    {
        tracing::warn!("a card was shown that nobody had time for");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_reader_that_is_not_there_is_waited_for_and_ends_when_it_is_told_to() {
        let (to, mut from) = mpsc::channel(limits::PRESENTED);
        let folder = tempfile::tempdir().unwrap();
        let reader = CardReader::spawn(folder.path().join("no-reader"), to).unwrap();
        drop(reader);
        assert_eq!(from.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn what_is_no_input_device_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path()).is_err());
        assert!(open(Path::new("/dev/null")).is_err());
    }
}
