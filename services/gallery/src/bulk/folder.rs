//! A folder as a batch. Links are not followed; what is no regular file is not opened.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rollcall_core::limits;
use rustix::fs::OFlags;

use super::{BulkError, Member, Problem, ProblemKind, admit, problem, shown, too_large, unreadable};

pub(super) struct Folder {
    path: PathBuf,
    members: Vec<Member>,
}

impl Folder {
    pub(super) fn list(path: &Path, problems: &mut Vec<Problem>) -> Result<Self, BulkError> {
        let mut walk = Walk { top: path, seen: 0, members: Vec::new(), problems };
        walk.folder("", 0)?;
        let mut members = walk.members;
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { path: path.to_owned(), members })
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn read(&self, member: usize) -> Result<Vec<u8>, BulkError> {
        let path = self.path.join(&self.members[member].name);
        let file = open(&path).map_err(|source| unreadable(&path, source))?;
        let limit = limits::REQUEST_PICTURE_SIZE_BYTES as u64;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| unreadable(&path, source))?;
        match bytes.len() as u64 {
            size if size > limit => Err(too_large(&path, "bytes", size, limit)),
            _ => Ok(bytes),
        }
    }
}

/// Opens a regular file. Never waits for the other end of a pipe; a link that took the file's place is refused.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("it is no regular file")),
    }
}

struct Walk<'a> {
    top: &'a Path,
    seen: usize,
    members: Vec<Member>,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn folder(&mut self, below: &str, depth: usize) -> Result<(), BulkError> {
        let path = self.top.join(below);
        let cannot = |source| unreadable(&path, source);
        for entry in std::fs::read_dir(&path).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            self.seen += 1;
            if self.seen > limits::BATCH_MEMBERS {
                let (value, max) = (self.seen as u64, limits::BATCH_MEMBERS as u64);
                return Err(too_large(self.top, "files", value, max));
            }
            let Ok(name) = entry.file_name().into_string() else {
                let member = shown(&entry.file_name().to_string_lossy());
                self.problems.push(Problem { row: None, member, kind: ProblemKind::UnsafeName });
                continue;
            };
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            let kind = entry.file_type().map_err(cannot)?;
            if kind.is_dir() && depth < limits::BATCH_DEPTH {
                self.folder(&name, depth + 1)?;
            } else if kind.is_file() {
                let size_bytes = entry.metadata().map_err(cannot)?.len();
                if admit(&name, size_bytes, self.problems) {
                    self.members.push(Member { name, size_bytes });
                }
            } else {
                self.problems.push(problem(&name, ProblemKind::NotAFile));
            }
        }
        Ok(())
    }
}
