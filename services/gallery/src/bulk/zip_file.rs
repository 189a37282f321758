//! A ZIP as a batch. Only its list is kept in memory; a picture is unpacked when it is asked for, into memory, and never
//! further than the list says.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rollcall_core::limits;
use zip::read::{Config, OwnedZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;
use zip::{CompressionMethod, ZipReadOptions};

use super::{BulkError, Member, Problem, ProblemKind, admit, problem, shown, too_large, unreadable};

pub(super) struct ZipFile {
    path: PathBuf,
    file: Mutex<BufReader<File>>,
    members: Vec<Member>,
    entries: Vec<OwnedZipFileEntry>,
}

impl ZipFile {
    pub(super) fn list(path: &Path, problems: &mut Vec<Problem>) -> Result<Self, BulkError> {
        let open = || File::open(path).map(BufReader::new).map_err(|source| unreadable(path, source));
        let damaged = |error: ZipError| match error {
            ZipError::Io(source) => unreadable(path, source),
            error => BulkError::Zip { path: path.to_owned(), why: error.to_string() },
        };
        let archive = ZipIterable::try_new(open()?, Config::default());
        let mut archive = archive
            .map_err(|_| BulkError::NotABatch { path: path.to_owned() })?
            .enforce_header_consistency(true);
        if archive.len() > limits::BATCH_MEMBERS {
            let (value, max) = (archive.len() as u64, limits::BATCH_MEMBERS as u64);
            return Err(too_large(path, "files", value, max));
        }
        let mut listed = Vec::new();
        for entry in archive.files().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let name = match (entry.name_raw().len() <= limits::BATCH_NAME_SIZE_BYTES, entry.name()) {
                (true, Ok(name)) => name.into_owned(),
                _ => {
                    let shown = shown(&String::from_utf8_lossy(entry.name_raw()));
                    problems.push(Problem { row: None, member: shown, kind: ProblemKind::UnsafeName });
                    continue;
                }
            };
            if entry.is_dir() {
                continue;
            }
            if !is_plain_file(entry.unix_mode()) {
                problems.push(problem(&name, ProblemKind::NotAFile));
            } else if admit(&name, entry.size(), problems) {
                let usual = [CompressionMethod::Stored, CompressionMethod::Deflated];
                if entry.encrypted() || !usual.contains(&entry.compression()) {
                    problems.push(problem(&name, ProblemKind::Packed));
                    continue;
                }
                listed.push((Member { name, size_bytes: entry.size() }, OwnedZipFileEntry::from(entry)));
            }
        }
        listed.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        if let Some([(twice, _), _]) = listed.array_windows().find(|[(a, _), (b, _)]| a.name == b.name) {
            let why = format!("it has two files named {}", shown(&twice.name));
            return Err(BulkError::Zip { path: path.to_owned(), why });
        }
        let (members, entries) = listed.into_iter().unzip();
        Ok(Self { path: path.to_owned(), file: Mutex::new(open()?), members, entries })
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn read(&self, member: usize) -> Result<Vec<u8>, BulkError> {
        let deceives = || BulkError::Deceives { member: shown(&self.members[member].name) };
        // A panic while it was held leaves nothing behind but a position, and every read seeks first.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entries[member].as_ref();
        let size_bytes = entry.size();
        let mut reader =
            entry.with_reader(&mut *file, ZipReadOptions::new()).map_err(|error| match error {
                ZipError::Io(source) => unreadable(&self.path, source),
                _ => deceives(),
            })?;
        let mut bytes = Vec::new();
        // One byte more than it says, to notice; the checksum is compared at the end.
        reader.by_ref().take(size_bytes + 1).read_to_end(&mut bytes).map_err(|_| deceives())?;
        match bytes.len() as u64 == size_bytes {
            true => Ok(bytes),
            false => Err(deceives()),
        }
    }
}

/// The upper bits of a Unix mode say what a file is; archives of other systems have none.
fn is_plain_file(mode: Option<u32>) -> bool {
    const KIND: u32 = 0o170_000;
    const REGULAR: u32 = 0o100_000;
    mode.is_none_or(|mode| [0, REGULAR].contains(&(mode & KIND)))
}
