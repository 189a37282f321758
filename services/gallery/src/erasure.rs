//! Erasures, and the ledger of them that no backup brings back.
//!
//! The ledger is a file beside the database and outside its backups. Whoever is in it is removed again whenever the
//! gallery is opened, so that a restored database brings nobody back. It has random ids and instants, nothing personal,
//! and is kept for ever.
//!
//! On disk: one line of JSON for each erasure, `{"n":1,"erasure_id":"..","person_id":"..","erased_at":..,"mac":".."}`;
//! `n` counts from 1, `erased_at` is in microseconds, `mac` is HMAC-SHA256 over the line and the `mac` before it, so that
//! no line can be changed, moved or taken out. A line that a hub sent has its code of authenticity too, `hub_mac`, so that
//! the hub can be given it back. A line is synced before the person is removed from the database. A last
//! line without its end is a crash before that: nothing was removed and nobody was told, and it is cut off. Lines that
//! are missing at the end are seen by the database, which knows the number of the last; then, and when a line is not
//! as it was written, the gallery does not open: it cannot know who must stay away.
//!
//! Several processes of one hub over one PostgreSQL have a file each. There lines are numbered by each file for itself,
//! and files and database are brought to the union of all: what one has is written into the other.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rollcall_core::{ErasureId, PersonId, UtcInstant};
use rollcall_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::keys::Key;
use crate::{GalleryError, SetHash};

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

impl Erasure {
    /// The same as devices tell each other, without a hub's code.
    pub(crate) fn removal(&self) -> Removal {
        Removal { erasure: self.id, person: self.person, erased: self.erased, hub_mac: None }
    }
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
    pub(crate) removal: Removal,
}

/// That somebody was removed, as devices tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) erasure: ErasureId,
    pub(crate) person: PersonId,
    pub(crate) erased: UtcInstant,
    /// The code of the hub that told it; `None`: of this device.
    pub(crate) hub_mac: Option<[u8; 32]>,
}

impl Removal {
    /// The same as a hub tells it.
    pub(crate) fn of_hub(self, key: &Key) -> Self {
        Self { hub_mac: Some(self.right_mac(key)), ..self }
    }

    /// Whether this hub made its code.
    pub(crate) fn is_of(&self, key: &Key) -> bool {
        self.hub_mac.is_some_and(|mac| bool::from(mac.ct_eq(&self.right_mac(key))))
    }

    fn right_mac(&self, key: &Key) -> [u8; 32] {
        let erased = self.erased.micros().to_be_bytes();
        key.mac(&[b"erasure", self.erasure.as_bytes(), self.person.as_bytes(), &erased])
    }

    /// What a line counts as in the hash of a ledger.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.erasure.as_bytes())
            .chain_update(self.person.as_bytes())
            .chain_update(self.erased.micros().to_be_bytes())
            .chain_update(self.hub_mac.unwrap_or_default())
            .finalize()
            .into()
    }

    /// As it is sent.
    pub(crate) fn line(&self) -> v1::LedgerLine {
        v1::LedgerLine {
            person_id: self.person.to_bytes().to_vec().into(),
            erased_us: self.erased.micros(),
            mac: self.hub_mac.unwrap_or_default().to_vec().into(),
            erasure_id: self.erasure.to_bytes().to_vec().into(),
        }
    }

    /// A line that came.
    ///
    /// # Errors
    /// [`GalleryError::Row`] for what is no line.
    pub(crate) fn read(line: &v1::LedgerLine) -> Result<Self, GalleryError> {
        let bad = |field: &str| GalleryError::Row {
            row: "a line of the erasure ledger".into(),
            problem: format!("has a {field} that cannot be"),
        };
        Ok(Self {
            erasure: ErasureId::try_from(&line.erasure_id[..]).map_err(|_| bad("erasure_id"))?,
            person: PersonId::try_from(&line.person_id[..]).map_err(|_| bad("person_id"))?,
            erased: UtcInstant::from_micros(line.erased_us),
            hub_mac: Some(line.mac[..].try_into().map_err(|_| bad("mac"))?),
        })
    }
}

/// What so many lines amount to.
pub(crate) fn state_of<'a>(removals: impl IntoIterator<Item = &'a Removal>) -> v1::LedgerState {
    let (mut count, mut hash) = (0, SetHash::default());
    for removal in removals {
        count += 1;
        hash = hash.with(&removal.hash());
    }
    v1::LedgerState { count, hash: hash.to_bytes().to_vec().into() }
}

/// How many of these lines, from the first on, amount to this state; `None` when no number of them does.
pub(crate) fn prefix_of(removals: &[Removal], state: &v1::LedgerState) -> Option<usize> {
    let count = usize::try_from(state.count).ok()?;
    let first = removals.get(..count)?;
    let same = state_of(first).hash == state.hash || (count == 0 && state.hash.is_empty());
    same.then_some(count)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    n: i64,
    erasure_id: String,
    person_id: String,
    erased_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hub_mac: Option<String>,
    mac: String,
}

/// The ledger, open.
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    key: Key,
    entries: Vec<Entry>,
    by_person: HashMap<PersonId, usize>,
    told: HashSet<ErasureId>,
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
        let (by_person, told) = (HashMap::new(), HashSet::new());
        let path = path.to_owned();
        let mut ledger = Self { path, file, key, entries: Vec::new(), by_person, told, last_mac, size_bytes };
        entries.into_iter().for_each(|entry| ledger.push(entry));
        Ok(ledger)
    }

    fn push(&mut self, entry: Entry) {
        // Somebody whom this device had erased already may be erased by a hub as well: the first counts.
        self.by_person.entry(entry.removal.person).or_insert(self.entries.len());
        self.told.extend(entry.removal.hub_mac.map(|_| entry.removal.erasure));
        self.entries.push(entry);
    }

    /// Every line, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The line of a person, written and synced now if there is none yet.
    pub(crate) fn append(&mut self, person: PersonId, now: UtcInstant) -> Result<Entry, GalleryError> {
        if !self.by_person.contains_key(&person) {
            let removal = Removal { erasure: ErasureId::generate(), person, erased: now, hub_mac: None };
            self.write(&[removal])?;
        }
        self.by_person.get(&person).map(|at| self.entries[*at]).ok_or(GalleryError::Damaged("an erasure"))
    }

    /// Writes and syncs those of these removals, told by a hub or found in the database, that are not in it yet, and
    /// gives their lines.
    pub(crate) fn take(&mut self, removals: &[Removal]) -> Result<Vec<Entry>, GalleryError> {
        let mut seen = HashSet::new();
        let new: Vec<Removal> = removals
            .iter()
            .filter(|removal| match removal.hub_mac {
                Some(_) => !self.told.contains(&removal.erasure) && seen.insert(removal.erasure),
                None => !self.by_person.contains_key(&removal.person) && seen.insert(removal.erasure),
            })
            .copied()
            .collect();
        let before = self.entries.len();
        self.write(&new)?;
        Ok(self.entries[before..].to_vec())
    }

    fn write(&mut self, removals: &[Removal]) -> Result<(), GalleryError> {
        let mut bytes = Vec::new();
        let mut entries = Vec::with_capacity(removals.len());
        let mut last_mac = self.last_mac;
        let first = i64::try_from(self.entries.len()).unwrap_or(i64::MAX).saturating_add(1);
        for (line, removal) in (first..).zip(removals) {
            let entry = Entry { line, removal: *removal };
            last_mac = entry.mac(&self.key, &last_mac);
            let text = EntryText {
                n: entry.line,
                erasure_id: removal.erasure.to_string(),
                person_id: removal.person.to_string(),
                erased_at: removal.erased.micros(),
                hub_mac: removal.hub_mac.map(hex::encode),
                mac: hex::encode(last_mac),
            };
            serde_json::to_writer(&mut bytes, &text).map_err(|error| self.failed("write", error.into()))?;
            bytes.push(b'\n');
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.file.write_all(&bytes).and_then(|()| self.file.sync_all()) {
            // What was written of them must not stand before the next line.
            let cut = self.file.set_len(self.size_bytes).and_then(|()| self.file.seek(SeekFrom::End(0)));
            return Err(self.failed("write", cut.err().unwrap_or(source)));
        }
        self.size_bytes += bytes.len() as u64;
        self.last_mac = last_mac;
        entries.into_iter().for_each(|entry| self.push(entry));
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> GalleryError {
        file_error(doing, &self.path, source)
    }
}

impl Entry {
    fn mac(&self, key: &Key, before: &[u8; 32]) -> [u8; 32] {
        let (line, erased) = (self.line.to_be_bytes(), self.removal.erased.micros().to_be_bytes());
        let (erasure, person) = (self.removal.erasure, self.removal.person);
        let mut parts = vec![&before[..], &line, erasure.as_bytes(), person.as_bytes(), &erased];
        parts.extend(self.removal.hub_mac.as_ref().map(|mac| &mac[..]));
        key.mac(&parts)
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
    let bytes_32 = |digits: &str| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
    };
    let hub_mac = match &text.hub_mac {
        Some(digits) => Some(bytes_32(digits)?),
        None => None,
    };
    let removal = Removal {
        erasure: text.erasure_id.parse().ok()?,
        person: text.person_id.parse().ok()?,
        erased: UtcInstant::from_micros(text.erased_at),
        hub_mac,
    };
    Some((Entry { line: text.n, removal }, bytes_32(&text.mac)?))
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
        assert_eq!(ledger.append(second.removal.person, UtcInstant::now()).unwrap(), second);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        ledger.append(PersonId::generate(), UtcInstant::now()).unwrap();
        let lines: Vec<i64> =
            Ledger::open(&path, key(), 4).unwrap().entries().iter().map(|e| e.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }

    #[test]
    fn a_line_that_a_hub_told_is_kept_with_the_hubs_code_and_taken_once() {
        let (_folder, path, _) = ledger_of_three();
        let told = |erasure: u8, person| Removal {
            erasure: ErasureId::from_bytes([erasure; 16]),
            person,
            erased: UtcInstant::from_micros(5),
            hub_mac: Some([erasure; 32]),
        };
        let mut ledger = Ledger::open(&path, key(), 3).unwrap();
        let own = ledger.entries()[0].removal.person;
        let removals = [told(1, PersonId::generate()), told(2, own), told(1, own)];
        assert_eq!(ledger.take(&removals).unwrap().len(), 2);
        assert_eq!(ledger.take(&removals).unwrap(), []);
        let reopened = Ledger::open(&path, key(), 5).unwrap();
        assert_eq!(reopened.entries(), ledger.entries());
        assert_eq!(reopened.entries()[3].removal, removals[0]);
    }

    #[test]
    fn the_state_of_a_ledger_says_which_lines_another_lacks_that_has_its_beginning() {
        let hub = Key::new([9; 32]);
        let removal = |n| Removal {
            erasure: ErasureId::from_bytes([n; 16]),
            person: PersonId::from_bytes([n; 16]),
            erased: UtcInstant::from_micros(5),
            hub_mac: None,
        };
        let all = [1, 2, 3].map(|n| removal(n).of_hub(&hub));
        assert!(all.iter().all(|one| one.is_of(&hub) && !one.is_of(&key()) && !removal(1).is_of(&hub)));
        let behind = |removals: &[Removal]| prefix_of(&all, &state_of(removals));
        assert_eq!((behind(&[]), behind(&all[..2]), behind(&all)), (Some(0), Some(2), Some(3)));
        assert_eq!((behind(&all[1..]), behind(&[all[0], all[2]])), (None, None));
        assert_eq!(state_of(&[all[0], all[1]]), state_of(&[all[1], all[0]]));
        assert_eq!(prefix_of(&all, &v1::LedgerState::default()), Some(0));
        assert_eq!(Removal::read(&all[0].line()).unwrap(), all[0]);
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
