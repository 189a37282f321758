//! Erasures, and the ledger of them that no backup brings back.
//!
//! The ledger is a file beside the database and outside its backups. Whoever is in it is removed again whenever the
//! gallery is opened, so that a restored database brings nobody back. It has random ids and instants, nothing personal,
//! and is kept for ever.
//!
//! On disk: one line of JSON for each erasure, `{"n":1,"erasure_id":"..","person_id":"..","erased_at":..,"mac":".."}`;
//! `n` counts from 1, `erased_at` is in microseconds, `mac` is HMAC-SHA256 over the line and the `mac` before it, so that
//! no line can be changed, moved or taken out. A line is synced before the person is removed from the database. A last
//! line without its end is a crash before that: nothing was removed and nobody was told, and it is cut off. Lines that
//! are missing at the end are seen by the database, which knows the number of the last; then, and when a line is not
//! as it was written, the gallery does not open: it cannot know who must stay away.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rollcall_core::{ErasureId, PersonId, UtcInstant};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::GalleryError;
use crate::keys::Key;

/// The removal of a person, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Which.
    pub id: ErasureId,
    /// Who it was; the id names nobody any more.
    pub person: PersonId,
    /// When.
    pub erased: UtcInstant,
    /// Each device that had, or may have had, data of the person.
    pub devices: Vec<DeviceErasure>,
}

/// How far an erasure is on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceErasure {
    /// `terminals/ID`, or `hub`.
    pub device: String,
    /// When nothing of the person was left on it; `None`: pending.
    pub confirmed: Option<UtcInstant>,
}

/// A line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// From 1.
    pub(crate) line: i64,
    pub(crate) erasure: ErasureId,
    pub(crate) person: PersonId,
    pub(crate) erased: UtcInstant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    n: i64,
    erasure_id: String,
    person_id: String,
    erased_at: i64,
    mac: String,
}

/// The ledger, open.
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    key: Key,
    entries: Vec<Entry>,
    by_person: HashMap<PersonId, usize>,
    last_mac: [u8; 32],
    size_bytes: u64,
}

impl Ledger {
    /// Opens the file, makes it when it is not there, and checks every line. `known` is the number of the last line
    /// that the database has.
    ///
    /// # Errors
    /// [`GalleryError::Ledger`] when a line is not as it was written, or lines are missing.
    pub(crate) fn open(path: &Path, key: Key, known: i64) -> Result<Self, GalleryError> {
        let failed = |source| file_error("open", path, source);
        let fresh = !path.exists();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        if fresh {
            sync_folder(path).map_err(failed)?;
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|source| file_error("read", path, source))?;
        let (entries, last_mac) = read(&text, &key).map_err(|problem| damaged(path, problem))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let size_bytes = u64::try_from(whole).unwrap_or(u64::MAX);
        let have = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        if have < known {
            let problem =
                format!("has {have} lines and the database knows of {known}: lines are missing at its end");
            return Err(damaged(path, problem));
        }
        if whole < text.len() {
            tracing::warn!(
                line = have + 1,
                "the last line of the erasure ledger was torn by a crash and is cut off"
            );
            file.set_len(size_bytes)
                .and_then(|()| file.sync_all())
                .map_err(|source| file_error("cut", path, source))?;
        }
        let by_person = entries.iter().enumerate().map(|(at, entry)| (entry.person, at)).collect();
        Ok(Self { path: path.to_owned(), file, key, entries, by_person, last_mac, size_bytes })
    }

    /// Every line, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The line of a person, written and synced now if there is none yet.
    pub(crate) fn append(&mut self, person: PersonId, now: UtcInstant) -> Result<Entry, GalleryError> {
        if let Some(at) = self.by_person.get(&person) {
            return Ok(self.entries[*at]);
        }
        let line = i64::try_from(self.entries.len()).unwrap_or(i64::MAX).saturating_add(1);
        let entry = Entry { line, erasure: ErasureId::generate(), person, erased: now };
        let mac = entry.mac(&self.key, &self.last_mac);
        let text = EntryText {
            n: entry.line,
            erasure_id: entry.erasure.to_string(),
            person_id: entry.person.to_string(),
            erased_at: entry.erased.micros(),
            mac: hex::encode(mac),
        };
        let mut bytes = serde_json::to_vec(&text).map_err(|error| self.failed("write", error.into()))?;
        bytes.push(b'\n');
        if let Err(source) = self.file.write_all(&bytes).and_then(|()| self.file.sync_all()) {
            // What was written of it must not stand before the next line.
            let cut = self.file.set_len(self.size_bytes).and_then(|()| self.file.seek(SeekFrom::End(0)));
            return Err(self.failed("write", cut.err().unwrap_or(source)));
        }
        self.size_bytes += bytes.len() as u64;
        self.last_mac = mac;
        self.by_person.insert(person, self.entries.len());
        self.entries.push(entry);
        Ok(entry)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> GalleryError {
        file_error(doing, &self.path, source)
    }
}

impl Entry {
    fn mac(&self, key: &Key, before: &[u8; 32]) -> [u8; 32] {
        key.mac(&[
            before,
            &self.line.to_be_bytes(),
            self.erasure.as_bytes(),
            self.person.as_bytes(),
            &self.erased.micros().to_be_bytes(),
        ])
    }
}

/// Every whole line, and the last `mac`; what is wrong and where when a line is not as it was written.
fn read(text: &[u8], key: &Key) -> Result<(Vec<Entry>, [u8; 32]), String> {
    let mut entries = Vec::new();
    let mut last_mac = [0; 32];
    for (line, bytes) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let Some(bytes) = bytes.strip_suffix(b"\n") else { break };
        let (entry, mac) = read_line(bytes).ok_or_else(|| format!("cannot be read in line {line}"))?;
        let right = entry.mac(key, &last_mac);
        if entry.line != line || !bool::from(mac.ct_eq(&right)) {
            return Err(format!(
                "was changed in line {line}, or a line before it is missing, or it belongs to another key"
            ));
        }
        last_mac = right;
        entries.push(entry);
    }
    Ok((entries, last_mac))
}

fn read_line(bytes: &[u8]) -> Option<(Entry, [u8; 32])> {
    let text: EntryText = serde_json::from_slice(bytes).ok()?;
    let mut mac = [0; 32];
    hex::decode_to_slice(&text.mac, &mut mac).ok()?;
    let entry = Entry {
        line: text.n,
        erasure: text.erasure_id.parse().ok()?,
        person: text.person_id.parse().ok()?,
        erased: UtcInstant::from_micros(text.erased_at),
    };
    Some((entry, mac))
}

/// A new file's name survives a power cut once its folder is synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn damaged(path: &Path, problem: String) -> GalleryError {
    GalleryError::Ledger { place: path.display().to_string(), problem }
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> GalleryError {
    GalleryError::LedgerFile { doing, place: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn key() -> Key {
        Key::new([7; 32])
    }

    /// A ledger of three, its path and its bytes.
    fn ledger_of_three() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erasures.ledger");
        let mut ledger = Ledger::open(&path, key(), 0).unwrap();
        for _ in 0..3 {
            ledger.append(PersonId::generate(), UtcInstant::now()).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        (folder, path, bytes)
    }

    #[test]
    fn a_ledger_reads_back_as_written_and_a_person_is_in_it_once() {
        let (_folder, path, bytes) = ledger_of_three();
        let mut ledger = Ledger::open(&path, key(), 3).unwrap();
        let second = ledger.entries()[1];
        assert_eq!(ledger.append(second.person, UtcInstant::now()).unwrap(), second);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        ledger.append(PersonId::generate(), UtcInstant::now()).unwrap();
        let lines: Vec<i64> =
            Ledger::open(&path, key(), 4).unwrap().entries().iter().map(|e| e.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }

    #[test]
    fn f023_a_ledger_that_was_changed_or_cut_is_refused_with_words() {
        let (_folder, path, bytes) = ledger_of_three();
        let refused = |bytes: &[u8], known: i64| {
            std::fs::write(&path, bytes).unwrap();
            let error = Ledger::open(&path, key(), known).err();
            let error = error.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(bytes)));
            assert!(error.to_string().contains("untouched copy"), "{error}");
        };
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            refused(&changed, 3);
            refused(&bytes[..at], 3);
        }
        refused(&[lines[0], lines[2]].concat(), 0);
        refused(&[lines[1], lines[0], lines[2]].concat(), 0);
        refused(&[lines[0], lines[1], lines[1]].concat(), 0);
        refused(&[lines[0], b"\n", lines[1]].concat(), 0);
        refused(b"", 3);
        std::fs::write(&path, &bytes).unwrap();
        let error = Ledger::open(&path, Key::new([8; 32]), 3).err().unwrap();
        assert!(error.to_string().contains("another key"), "{error}");
    }

    #[test]
    fn a_line_torn_by_a_crash_is_cut_off_and_the_next_stands_in_its_place() {
        let (_folder, path, bytes) = ledger_of_three();
        let two = bytes.split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum::<usize>();
        for cut in [two + 1, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let mut ledger = Ledger::open(&path, key(), 2).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), &bytes[..two]);
            ledger.append(PersonId::generate(), UtcInstant::now()).unwrap();
            assert_eq!(Ledger::open(&path, key(), 3).unwrap().entries().len(), 3);
        }
    }
}
