//! `log.ballast`: room on the disk that is kept for the log. When the disk is full the file is deleted, and the log goes
//! on for [`limits::LOG_BALLAST_SIZE_BYTES`] while somebody clears up.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rollcall_core::limits;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The file, where the log's database is a file too.
pub(super) struct Ballast {
    path: Option<PathBuf>,
    is_there: bool,
}

impl Ballast {
    /// Finds the file, or makes it if there is room.
    pub fn open(folder: Option<&std::path::Path>) -> Self {
        let path = folder.map(|folder| folder.join("log.ballast"));
        let size = path.as_ref().and_then(|path| Some(path.metadata().ok()?.len()));
        let mut ballast = Self { path, is_there: size == Some(limits::LOG_BALLAST_SIZE_BYTES) };
        if ballast.is_gone() {
            ballast.make();
        }
        ballast
    }

    /// Whether it was given up and should be made again.
    pub fn is_gone(&self) -> bool {
        self.path.is_some() && !self.is_there
    }

    /// Deletes it. Returns whether there was one, so that there is room now.
    pub fn give_up(&mut self) -> bool {
        let was_there = std::mem::take(&mut self.is_there);
        match &self.path {
            Some(path) if was_there => std::fs::remove_file(path).is_ok(),
            _ => false,
        }
    }

    /// Makes it again when as much is free twice over. Returns whether it is there.
    pub fn make(&mut self) -> bool {
        let Some(path) = &self.path else { return false };
        let free = path
            .parent()
            .and_then(|folder| statvfs(folder).ok())
            .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if free < 2 * limits::LOG_BALLAST_SIZE_BYTES {
            return false;
        }
        let made =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).and_then(
                |file| {
                    fallocate(&file, FallocateFlags::empty(), 0, limits::LOG_BALLAST_SIZE_BYTES)?;
                    file.sync_all()
                },
            );
        if let Err(error) = &made {
            tracing::warn!(%error, "the ballast could not be made");
            // Half of it would only be in the way.
            let _ = std::fs::remove_file(path);
        }
        self.is_there = made.is_ok();
        self.is_there
    }
}
