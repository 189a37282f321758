//! Reads the rows of a SQLite file that SQLite does not open any more.
//!
//! Every page that looks like a leaf of a table is read by itself (sqlite.org/fileformat2.html, sections 1.6, 2.1 and
//! 4), wherever the tree that led to it has gone; pages in the write-ahead log that were committed count before those of
//! the file. A row that cannot be read is left out. What a row means, and whether it is still meant, is for the caller
//! to say: pages that were freed keep their old rows.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes of a page where neither header can be read: SQLite's default.
const PAGE_SIZE: usize = 4_096;

/// Bytes of the longest row that is read: an event of 16 KiB and what is derived of it.
const ROW_SIZE_BYTES: usize = 32 << 10;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Real,
    Text(String),
    Blob(Vec<u8>),
}

/// A row of some table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub rowid: i64,
    pub values: Vec<Value>,
}

/// The pages of a database file and its write-ahead log.
pub(crate) struct Pages {
    file: File,
    page_size: usize,
    count: u32,
    wal: Option<File>,
    /// Where the log has the latest committed version of a page.
    committed: HashMap<u32, u64>,
}

impl Pages {
    /// Opens both files, of which the log may be missing.
    pub fn open(path: &Path, wal: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; 18];
        let from_file = file.read_exact_at(&mut header, 0).ok().and_then(|()| {
            let size = usize::from(u16::from_be_bytes([header[16], header[17]]));
            valid_size(if size == 1 { 65_536 } else { size })
        });
        let mut pages = Self {
            file,
            page_size: from_file.unwrap_or(PAGE_SIZE),
            count: 0,
            wal: None,
            committed: HashMap::new(),
        };
        if let Ok(wal) = File::open(wal) {
            pages.read_wal(&wal);
            pages.wal = Some(wal);
        }
        let in_file = pages.file.metadata()?.len().div_ceil(pages.page_size as u64);
        let in_wal = pages.committed.keys().copied().max().unwrap_or(0);
        pages.count = u32::try_from(in_file).unwrap_or(u32::MAX).max(in_wal);
        Ok(pages)
    }

    /// The numbers of all pages.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.count
    }

    /// The rows of a page; none when it is no leaf of a table.
    pub fn rows(&self, number: u32) -> Vec<Row> {
        let Some(page) = self.page(number) else { return Vec::new() };
        let start = if number == 1 { 100 } else { 0 };
        let Some(header) = page.get(start..start + 8) else { return Vec::new() };
        const LEAF_OF_TABLE: u8 = 13;
        if header[0] != LEAF_OF_TABLE {
            return Vec::new();
        }
        let cells = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let offsets = page.get(start + 8..).unwrap_or_default().chunks_exact(2).take(cells);
        let offsets = offsets.map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
        offsets.filter_map(|offset| self.row(page.get(offset..)?)).collect()
    }

    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; self.page_size];
        match (self.committed.get(&number), &self.wal) {
            (Some(offset), Some(wal)) => wal.read_exact_at(&mut page, *offset).ok()?,
            _ => {
                let offset = u64::from(number.checked_sub(1)?) * self.page_size as u64;
                self.file.read_exact_at(&mut page, offset).ok()?;
            }
        }
        Some(page)
    }

    fn row(&self, cell: &[u8]) -> Option<Row> {
        let (length, cell) = varint(cell)?;
        let (rowid, cell) = varint(cell)?;
        let payload = self.payload(cell, usize::try_from(length).ok()?)?;
        Some(Row { rowid, values: values(&payload)? })
    }

    /// A row's bytes: in its page, and what does not fit in a chain of overflow pages.
    fn payload(&self, cell: &[u8], length: usize) -> Option<Vec<u8>> {
        if length > ROW_SIZE_BYTES {
            return None;
        }
        let most = self.page_size - 35;
        if length <= most {
            return cell.get(..length).map(<[u8]>::to_vec);
        }
        let least = (self.page_size - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (self.page_size - 4);
        let local = if fitting <= most { fitting } else { least };
        let mut payload = cell.get(..local)?.to_vec();
        let mut next = u32::from_be_bytes(cell.get(local..local + 4)?.try_into().ok()?);
        while payload.len() < length {
            let page = self.page(next)?;
            next = u32::from_be_bytes(page.get(..4)?.try_into().ok()?);
            let wanted = (length - payload.len()).min(self.page_size - 4);
            payload.extend_from_slice(page.get(4..4 + wanted)?);
        }
        Some(payload)
    }

    /// Finds the pages of committed transactions. The log ends at the first frame whose salt or sum is wrong.
    fn read_wal(&mut self, wal: &File) {
        let mut header = [0; 32];
        if wal.read_exact_at(&mut header, 0).is_err() {
            return;
        }
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
        };
        let is_big = match word(&header, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return,
        };
        let Some(size) = usize::try_from(word(&header, 8)).ok().and_then(valid_size) else { return };
        let mut sum = checksum((0, 0), &header[..24], is_big);
        if sum != (word(&header, 24), word(&header, 28)) {
            return;
        }
        self.page_size = size;
        let mut frame = vec![0; 24 + size];
        let mut offset = 32;
        let mut uncommitted = HashMap::new();
        while wal.read_exact_at(&mut frame, offset).is_ok() {
            sum = checksum(checksum(sum, &frame[..8], is_big), &frame[24..], is_big);
            if frame[8..16] != header[16..24] || sum != (word(&frame, 16), word(&frame, 20)) {
                break;
            }
            uncommitted.insert(word(&frame, 0), offset + 24);
            let is_commit = word(&frame, 4) != 0;
            if is_commit {
                self.committed.extend(uncommitted.drain());
            }
            offset += frame.len() as u64;
        }
    }
}

fn valid_size(size: usize) -> Option<usize> {
    (size.is_power_of_two() && (512..=65_536).contains(&size)).then_some(size)
}

fn checksum((mut first, mut second): (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap_or_default();
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(word(&pair[..4])).wrapping_add(second);
        second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
    }
    (first, second)
}

/// A number of 1 to 9 bytes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value: u64 = 0;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            value = value << 8 | u64::from(*byte);
        } else {
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
        }
        return Some((value.cast_signed(), &bytes[index + 1..]));
    }
    None
}

/// The values of a record: their types first, then their bytes.
fn values(record: &[u8]) -> Option<Vec<Value>> {
    let (header_size, rest) = varint(record)?;
    let header_size = usize::try_from(header_size).ok()?;
    let mut types = rest.get(..header_size.checked_sub(record.len() - rest.len())?)?;
    let mut body = record.get(header_size..)?;
    let mut values = Vec::new();
    while !types.is_empty() {
        let (kind, after) = varint(types)?;
        types = after;
        let (value, after) = value(kind, body)?;
        body = after;
        values.push(value);
    }
    Some(values)
}

fn value(kind: i64, body: &[u8]) -> Option<(Value, &[u8])> {
    let size = match kind {
        0 | 8 | 9 => 0,
        1..=4 => usize::try_from(kind).ok()?,
        5 => 6,
        6 | 7 => 8,
        12.. => usize::try_from((kind - 12) / 2).ok()?,
        _ => return None,
    };
    let (bytes, rest) = body.split_at_checked(size)?;
    let value = match kind {
        0 => Value::Null,
        1..=6 => {
            let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
            Value::Int(bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte)))
        }
        7 => Value::Real,
        8 => Value::Int(0),
        9 => Value::Int(1),
        kind if kind % 2 == 0 => Value::Blob(bytes.to_vec()),
        _ => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
    };
    Some((value, rest))
}
