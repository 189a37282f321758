//! `log.head`: how far the log was, outside of `log.db`, to notice when that file is rolled back or loses its end.
//!
//! On disk: two slots of 512 bytes that are written in turn, so that a torn write leaves the other. Each: magic (8
//! bytes), a counter, the log's id (16), its head, the head's hash (32), the latest trusted time in microseconds, SHA-256
//! of the hardware's id (32), then SHA-256 of all that (32); numbers are 8 bytes, little-endian; the rest is zero. The
//! valid slot with the higher counter counts.
//!
//! It is written after each commit and synced each [`limits::LOG_HEAD_SYNC_EVENTS`] events and at a clean stop. So it is
//! never ahead of a log that is whole; after a power cut it may be behind, which means nothing.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rollcall_core::{LogId, UtcInstant, limits};
use sha2::{Digest as _, Sha256};

use crate::AttendanceError;
use crate::chain::ChainHash;
use crate::store::log::Tip;

const NAME: &str = "log.head";
const MAGIC: &[u8; 8] = b"RCHEAD1\n";
const SLOT: usize = 512;
const CHECKED: usize = 8 + 8 + 16 + 8 + 32 + 8 + 32;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub tip: Tip,
    pub floor: UtcInstant,
    pub hw: [u8; 32],
    counter: u64,
}

/// The file, to be written.
pub(super) struct HeadFile {
    file: Arc<File>,
    hw: [u8; 32],
    counter: u64,
    unsynced: i64,
}

/// The hash of a hardware's id.
pub(super) fn hw_hash(hw_id: &str) -> [u8; 32] {
    Sha256::digest(hw_id.as_bytes()).into()
}

/// Reads the file; `None` when it is missing, empty or garbage.
pub(super) fn read(folder: &Path) -> Option<Head> {
    let file = File::open(folder.join(NAME)).ok()?;
    let slot = |index: u64| {
        let mut bytes = [0; SLOT];
        file.read_exact_at(&mut bytes, index * SLOT as u64).ok()?;
        Head::from_bytes(&bytes)
    };
    slot(0).into_iter().chain(slot(1)).max_by_key(|head| head.counter)
}

impl Head {
    fn from_bytes(bytes: &[u8; SLOT]) -> Option<Self> {
        let (checked, rest) = bytes.split_at(CHECKED);
        let sum: [u8; 32] = Sha256::digest(checked).into();
        if checked.get(..8)? != MAGIC || rest.get(..32)? != sum {
            return None;
        }
        let number = |at: usize| checked.get(at..at + 8)?.try_into().ok();
        Some(Self {
            counter: number(8).map(u64::from_le_bytes)?,
            tip: Tip {
                log_id: LogId::try_from(checked.get(16..32)?).ok()?,
                head: number(32).map(i64::from_le_bytes)?,
                hash: ChainHash::try_from(checked.get(40..72)?).ok()?,
            },
            floor: UtcInstant::from_micros(number(72).map(i64::from_le_bytes)?),
            hw: checked.get(80..112)?.try_into().ok()?,
        })
    }

    fn to_bytes(self) -> [u8; SLOT] {
        let mut bytes = Vec::with_capacity(SLOT);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.counter.to_le_bytes());
        bytes.extend_from_slice(self.tip.log_id.as_bytes());
        bytes.extend_from_slice(&self.tip.head.to_le_bytes());
        bytes.extend_from_slice(self.tip.hash.as_bytes());
        bytes.extend_from_slice(&self.floor.micros().to_le_bytes());
        bytes.extend_from_slice(&self.hw);
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        std::array::from_fn(|index| bytes.get(index).copied().unwrap_or(0))
    }
}

impl HeadFile {
    /// Opens the file, or makes it; `read` is what it said.
    pub fn open(folder: &Path, hw_id: &str, read: Option<&Head>) -> Result<Self, AttendanceError> {
        let path = folder.join(NAME);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|source| AttendanceError::File { doing: "open", path, source })?;
        Ok(Self {
            file: Arc::new(file),
            hw: hw_hash(hw_id),
            counter: read.map_or(0, |head| head.counter),
            unsynced: 0,
        })
    }

    /// Notes how far the log is, `events` further than before. A failure is told to the operator alone: the log is
    /// written, only its watchman sleeps.
    pub async fn write(&mut self, tip: &Tip, floor: UtcInstant, events: i64) {
        self.counter += 1;
        let head = Head { tip: *tip, floor, hw: self.hw, counter: self.counter };
        // 512 bytes into the page cache.
        let written = self.file.write_all_at(&head.to_bytes(), (self.counter % 2) * SLOT as u64);
        if let Err(error) = written {
            tracing::warn!(%error, "log.head could not be written");
        }
        self.unsynced += events;
        if self.unsynced >= limits::LOG_HEAD_SYNC_EVENTS {
            self.sync().await;
        }
    }

    /// Puts it on the disk.
    pub async fn sync(&mut self) {
        self.unsynced = 0;
        let file = Arc::clone(&self.file);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || file.sync_data()).await {
            tracing::warn!(%error, "log.head could not be synced");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn tip(head: i64) -> Tip {
        Tip { log_id: LogId::from_bytes([3; 16]), head, hash: ChainHash::ZERO.after(b"x") }
    }

    #[tokio::test]
    async fn it_says_what_was_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HeadFile::open(folder.path(), "board 7", None).unwrap();
        for head in 1..=130 {
            file.write(&tip(head), UtcInstant::from_micros(head), 1).await;
            let read = read(folder.path()).unwrap();
            assert_eq!((read.tip, read.floor.micros(), read.hw), (tip(head), head, hw_hash("board 7")));
        }
        let again = read(folder.path()).unwrap();
        let mut file = HeadFile::open(folder.path(), "board 7", Some(&again)).unwrap();
        file.write(&tip(131), UtcInstant::from_micros(0), 1).await;
        assert_eq!(read(folder.path()).unwrap().tip.head, 131);
    }

    #[tokio::test]
    async fn f021_a_torn_slot_leaves_the_other_and_garbage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None, "missing");
        let path = folder.path().join(NAME);
        let mut file = HeadFile::open(folder.path(), "board 7", None).unwrap();
        assert_eq!(read(folder.path()), None, "empty");
        file.write(&tip(1), UtcInstant::from_micros(0), 1).await;
        file.write(&tip(2), UtcInstant::from_micros(0), 1).await;
        let whole = std::fs::read(&path).unwrap();
        for byte in 0..CHECKED + 32 {
            let mut torn = whole.clone();
            torn[byte] ^= 0x40;
            std::fs::write(&path, torn).unwrap();
            assert_eq!(read(folder.path()).unwrap().tip.head, 1, "the second is in slot 0");
        }
        for garbage in [vec![], vec![0; 1024], vec![0xa5; 1024], b"RCHEAD1\n".to_vec()] {
            std::fs::write(&path, garbage).unwrap();
            assert_eq!(read(folder.path()), None);
        }
    }
}
