//! People from a CSV file: what its bytes say, and what is wrong with them.
//!
//! Columns by the names in the first row, capitals or not: `name`, and `external_id` and `groups` (separated by `;`)
//! where there are any. Any other column is refused: a misspelt `external_id` would add everybody a second time.
//! Separated by comma, semicolon or tab, whichever the first row has most of. UTF-8, or UTF-16 with its mark, or, when
//! it is neither, Windows-1252, as Excel writes it in the West.
//!
//! A file is held as it came, in pieces, and is read once, row by row; what a file can ask for is bounded by its size
//! ([`limits::IMPORT_SIZE_BYTES`]). Every mistake is found before anything is written; rows are numbered as lines of
//! the file, the header being row 1.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, DecoderResult, Encoding, UTF_8, WINDOWS_1252};
use prost::bytes::Bytes;
use rollcall_core::limits;

use crate::{GalleryError, group, person};

/// A CSV file as it arrives.
#[derive(Debug, Default)]
pub struct ImportFile {
    pieces: Vec<Bytes>,
    size_bytes: usize,
}

impl ImportFile {
    /// Takes in the next bytes.
    ///
    /// # Errors
    /// When the piece or the whole is too large.
    pub fn push(&mut self, piece: Bytes) -> Result<(), GalleryError> {
        if piece.len() > limits::IMPORT_CHUNK_SIZE_BYTES {
            let limit = limits::IMPORT_CHUNK_SIZE_BYTES;
            return Err(GalleryError::Limit { what: "bytes in one message of a file", limit });
        }
        self.size_bytes += piece.len();
        if self.size_bytes > limits::IMPORT_SIZE_BYTES {
            return Err(GalleryError::Limit {
                what: "bytes in a file of people",
                limit: limits::IMPORT_SIZE_BYTES,
            });
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// The bytes, piece by piece.
    pub(crate) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The first bytes.
    fn start(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.iter().copied()).take(3).collect()
    }

    fn encoding(&self) -> &'static Encoding {
        if let Some((encoding, _)) = Encoding::for_bom(&self.start()) {
            return encoding;
        }
        if self.is_utf8() { UTF_8 } else { WINDOWS_1252 }
    }

    fn is_utf8(&self) -> bool {
        let mut decoder = UTF_8.new_decoder_without_bom_handling();
        let mut text = [0; 8 << 10];
        for (at, piece) in self.pieces.iter().enumerate() {
            let mut rest: &[u8] = piece;
            loop {
                let last = at + 1 == self.pieces.len();
                let (result, read, _) = decoder.decode_to_utf8_without_replacement(rest, &mut text, last);
                rest = &rest[read..];
                match result {
                    DecoderResult::InputEmpty => break,
                    DecoderResult::OutputFull => {}
                    DecoderResult::Malformed(..) => return false,
                }
            }
        }
        true
    }
}

/// A row of the file, fit to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportRow {
    pub(crate) display_name: String,
    pub(crate) external_id: Option<String>,
    /// Names, each once; `None`: the file has no such column.
    pub(crate) groups: Option<Vec<String>>,
}

/// Mistakes in a file, by their rows.
#[derive(Debug, Default)]
pub struct Mistakes {
    by_problem: BTreeMap<String, Vec<u64>>,
    rows: Vec<u64>,
    more: usize,
}

impl Mistakes {
    fn add(&mut self, row: u64, problem: String) {
        if self.rows.len() == limits::IMPORT_MISTAKES {
            self.more += 1;
            return;
        }
        self.rows.push(row);
        self.by_problem.entry(problem).or_default().push(row);
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, in order, at most [`limits::IMPORT_MISTAKES`].
    pub fn rows(&self) -> String {
        self.rows.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }
}

/// By problem: a message of a hundred lines would not fit into the headers that carry it.
impl std::fmt::Display for Mistakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// Characters of the whole: headers have some 8 KiB, and a status carries its message twice.
        const CHARS: usize = 1_200;
        let mut left = CHARS;
        let mut untold = self.more;
        let mut separator = "";
        for (problem, rows) in &self.by_problem {
            let numbers = rows.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            let word = if rows.len() == 1 { "row" } else { "rows" };
            let told = format!("{separator}{word} {numbers}: {problem}");
            if told.len() > left {
                untold += rows.len();
                continue;
            }
            left -= told.len();
            f.write_str(&told)?;
            separator = "; ";
        }
        if untold > 0 { write!(f, "{separator}{untold} more mistakes") } else { Ok(()) }
    }
}

/// Reads a file whole, and finds every mistake that can be seen without the gallery.
///
/// # Errors
/// [`GalleryError::Import`] with the rows; [`GalleryError::Invalid`] when the first row is no header;
/// [`GalleryError::Limit`] for too many rows.
pub(crate) fn read(file: &ImportFile) -> Result<Vec<ImportRow>, GalleryError> {
    let text = || Text::new(file);
    let separator = separator(&first_line(text())?);
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text());
    let columns = Columns::of(reader.headers().map_err(unreadable)?)?;
    let mut rows = Vec::new();
    let mut mistakes = Mistakes::default();
    let mut ids: HashMap<String, u64> = HashMap::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        if rows.len() == limits::IMPORT_ROWS {
            return Err(GalleryError::Limit { what: "rows in a file of people", limit: limits::IMPORT_ROWS });
        }
        let number = record.position().map_or(0, csv::Position::line);
        match columns.row(&record) {
            Ok(row) => {
                if let Some(id) = &row.external_id
                    && let Some(first) = ids.insert(id.clone(), number)
                {
                    ids.insert(id.clone(), first);
                    mistakes.add(number, format!("the external_id is that of row {first}"));
                }
                rows.push(row);
            }
            Err(problem) => mistakes.add(number, problem),
        }
    }
    if mistakes.is_empty() { Ok(rows) } else { Err(GalleryError::Import(mistakes)) }
}

/// Which column is what.
struct Columns {
    name: usize,
    external_id: Option<usize>,
    groups: Option<usize>,
    count: usize,
}

impl Columns {
    fn of(header: &csv::StringRecord) -> Result<Self, GalleryError> {
        let wrong = |problem: String| GalleryError::Invalid { field: "data", problem };
        let (mut name, mut external_id, mut groups) = (None, None, None);
        for (at, title) in header.iter().enumerate() {
            let column = match title.trim().to_lowercase().replace([' ', '-'], "_").as_str() {
                "name" => &mut name,
                "external_id" => &mut external_id,
                "groups" => &mut groups,
                _ => {
                    let given: String = title.chars().filter(|c| !c.is_control()).take(40).collect();
                    return Err(wrong(format!(
                        "has a column \"{given}\" in row 1; there can be name, external_id and groups"
                    )));
                }
            };
            if column.replace(at).is_some() {
                return Err(wrong(format!("has the column {} twice in row 1", title.trim())));
            }
        }
        let name = name.ok_or_else(|| wrong("has no column \"name\" in row 1".to_owned()))?;
        Ok(Self { name, external_id, groups, count: header.len() })
    }

    fn row(&self, record: &csv::StringRecord) -> Result<ImportRow, String> {
        if record.len() != self.count {
            return Err(format!("there are not {} columns", self.count));
        }
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let display_name = person::display_name(cell(self.name)).map_err(|error| in_row(&error))?;
        let external_id = self.external_id.map(cell).unwrap_or_default();
        let external_id = person::external_id(external_id.trim()).map_err(|error| in_row(&error))?;
        let groups = self.groups.map(|column| group_names(cell(column))).transpose()?;
        Ok(ImportRow { display_name, external_id, groups })
    }
}

fn group_names(cell: &str) -> Result<Vec<String>, String> {
    let names = cell.split(';').map(str::trim).filter(|name| !name.is_empty());
    let names =
        names.map(|name| group::display_name(name).map_err(|_| "a group's name is too long or not one line"));
    let mut names: Vec<String> = names.collect::<Result<_, _>>()?;
    names.sort_unstable();
    names.dedup();
    if names.len() > limits::PERSON_GROUPS {
        return Err(format!("there are more than {} groups", limits::PERSON_GROUPS));
    }
    Ok(names)
}

fn in_row(error: &GalleryError) -> String {
    match error {
        GalleryError::Invalid { field: "display_name", problem } => format!("the name {problem}"),
        GalleryError::Invalid { field, problem } => format!("the {field} {problem}"),
        error => error.to_string(),
    }
}

fn unreadable(error: csv::Error) -> GalleryError {
    let row = error.position().map_or(1, csv::Position::line);
    GalleryError::invalid("data", format!("is no CSV file as of row {row}"))
}

/// The first line that is not empty, at most so much of it as a header can have.
fn first_line(text: Text<'_>) -> Result<String, GalleryError> {
    const CHARS: u64 = 4_096;
    let mut start = Vec::new();
    text.take(CHARS).read_to_end(&mut start).map_err(|error| unreadable(error.into()))?;
    let start = String::from_utf8_lossy(&start);
    Ok(start.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned())
}

/// The separator that the first line has most of, outside quotes.
pub(crate) fn separator(first_line: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in first_line.bytes() {
        quoted ^= byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(separator, _)| *separator == byte && !quoted) {
            *count += 1;
        }
    }
    // Of equals, the first.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(separator, _)| *separator)
}

/// The text of a file in UTF-8, without its mark.
struct Text<'a> {
    pieces: std::slice::Iter<'a, Bytes>,
    rest: &'a [u8],
    decoder: Decoder,
    decoded: Vec<u8>,
    told: usize,
    ended: bool,
}

impl<'a> Text<'a> {
    const SIZE_BYTES: usize = 16 << 10;

    fn new(file: &'a ImportFile) -> Self {
        Self {
            pieces: file.pieces.iter(),
            rest: &[],
            decoder: file.encoding().new_decoder_with_bom_removal(),
            decoded: Vec::new(),
            told: 0,
            ended: false,
        }
    }

    /// Decodes some more.
    fn decode(&mut self) {
        if self.rest.is_empty() {
            self.rest = self.pieces.next().map_or(&[], |piece| piece);
        }
        let last = self.pieces.len() == 0;
        self.decoded.resize(Self::SIZE_BYTES, 0);
        let (result, read, written, _) = self.decoder.decode_to_utf8(self.rest, &mut self.decoded, last);
        self.rest = &self.rest[read..];
        self.decoded.truncate(written);
        self.told = 0;
        self.ended = last && result == CoderResult::InputEmpty;
    }
}

impl Read for Text<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.told == self.decoded.len() && !self.ended {
            self.decode();
        }
        let count = out.len().min(self.decoded.len() - self.told);
        out[..count].copy_from_slice(&self.decoded[self.told..self.told + count]);
        self.told += count;
        Ok(count)
    }
}
