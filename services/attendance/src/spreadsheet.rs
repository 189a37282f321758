//! XLSX: one sheet, written row by row by a thread of its own.
//!
//! Rows go into an unnamed file in the data folder's `tmp` and from there, compressed, to the client: memory holds one
//! row and some pieces, and nothing is left behind when the client goes away or the program is killed. Texts are text
//! cells, whatever they look like; numbers are numbers; dates are texts, so that no spreadsheet reads them in another
//! zone.

use std::io;
use std::path::Path;

use rollcall_core::limits;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook};
use tokio::sync::mpsc;

use crate::AttendanceError;
use crate::table::{Cell, Row};

/// What goes to the thread.
pub(crate) enum Part {
    /// Some rows.
    Rows(Vec<Row>),
    /// There are no more. Without it the sheet is not finished: whoever made the rows has gone.
    End,
}

/// A piece of a file, or why there is none.
pub(crate) type Piece = Result<Vec<u8>, AttendanceError>;

/// Writes a sheet. Blocks: it has a thread of its own. Ends early when nobody takes its pieces any more.
pub(crate) fn write(
    tmp: &Path,
    columns: &[String],
    parts: mpsc::Receiver<Part>,
    pieces: &mpsc::Sender<Piece>,
) {
    match rows(tmp, columns, parts) {
        Ok(Some(mut workbook)) => {
            let mut out = Pieces { pieces, waiting: Vec::with_capacity(limits::EXPORT_PIECE_SIZE_BYTES) };
            let saved = workbook.save_to_writer(&mut out);
            match saved {
                Ok(()) => out.send(),
                // The channel is closed when the client has gone; then this goes nowhere.
                Err(error) => drop(pieces.blocking_send(Err(error.into()))),
            }
        }
        Ok(None) => {}
        Err(error) => drop(pieces.blocking_send(Err(error))),
    }
}

/// The workbook with all rows; `None` when they broke off.
fn rows(
    tmp: &Path,
    columns: &[String],
    mut parts: mpsc::Receiver<Part>,
) -> Result<Option<Workbook>, AttendanceError> {
    let mut workbook = Workbook::new();
    workbook.set_tempdir(tmp)?;
    // The same rows make the same file.
    workbook
        .set_properties(&DocProperties::new().set_creation_datetime(&ExcelDateTime::from_ymd(2000, 1, 1)?));
    let sheet = workbook.add_worksheet_with_constant_memory()?;
    sheet.set_freeze_panes(1, 0)?;
    let bold = Format::new().set_bold();
    for (column, name) in (0..).zip(columns) {
        sheet.set_column_width(column, 18)?;
        sheet.write_string_with_format(0, column, name, &bold)?;
    }
    let mut number = 1;
    while let Some(part) = parts.blocking_recv() {
        let Part::Rows(rows) = part else { return Ok(Some(workbook)) };
        let sheet = workbook.worksheet_from_index(0)?;
        for row in rows {
            for (column, cell) in (0..).zip(row) {
                match cell {
                    Cell::Text(text) => drop(sheet.write_string(number, column, text)?),
                    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
                    Cell::Number(value) => drop(sheet.write_number(number, column, value as f64)?),
                    Cell::Empty => {}
                }
            }
            number += 1;
        }
    }
    Ok(None)
}

/// Cuts what is written into pieces.
struct Pieces<'a> {
    pieces: &'a mpsc::Sender<Piece>,
    waiting: Vec<u8>,
}

impl Pieces<'_> {
    fn send(&mut self) {
        let piece = std::mem::take(&mut self.waiting);
        if !piece.is_empty() {
            drop(self.pieces.blocking_send(Ok(piece)));
        }
    }
}

impl io::Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = limits::EXPORT_PIECE_SIZE_BYTES - self.waiting.len();
        let taken = bytes.len().min(room);
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() == limits::EXPORT_PIECE_SIZE_BYTES {
            if self.pieces.is_closed() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.send();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Read as _;

    use super::*;
    use crate::table::tests::hostile_names;

    /// The file's bytes, in pieces of the right size.
    fn made(rows: Vec<Row>, end: bool) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let (parts, to_thread) = mpsc::channel(4);
        let (pieces, mut from_thread) = mpsc::channel(4);
        let tmp = folder.path().to_owned();
        let thread = std::thread::spawn(move || {
            write(&tmp, &["name".to_owned(), "count".to_owned()], to_thread, &pieces)
        });
        parts.blocking_send(Part::Rows(rows)).unwrap();
        if end {
            parts.blocking_send(Part::End).unwrap();
        }
        drop(parts);
        let mut bytes = Vec::new();
        while let Some(piece) = from_thread.blocking_recv() {
            let piece = piece.unwrap();
            assert!(piece.len() <= limits::EXPORT_PIECE_SIZE_BYTES);
            bytes.extend(piece);
        }
        thread.join().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        bytes
    }

    fn part(file: &[u8], name: &str) -> String {
        let mut archive = zip::ZipArchive::new(io::Cursor::new(file)).unwrap();
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn f096_names_that_are_formulas_are_text_cells() {
        let names = hostile_names();
        let rows = names.iter().map(|name| vec![Cell::from(name.as_str()), Cell::Number(-7)]).collect();
        let file = made(rows, true);
        let sheet = part(&file, "xl/worksheets/sheet1.xml");
        assert!(!sheet.contains("<f>") && !sheet.contains("<f "), "no formula");
        for (index, name) in names.iter().enumerate() {
            let number = index + 2;
            assert!(sheet.contains(&format!("<c r=\"B{number}\"><v>-7</v></c>")), "row {number}");
            let text = sheet.contains(&format!("<c r=\"A{number}\" t=\"inlineStr\"><is><t"));
            assert_eq!(text, !name.is_empty(), "{name}");
        }
        assert!(sheet.contains("=cmd|' /C calc'!A0</t>"));
        assert!(sheet.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;</t>"));
    }

    #[test]
    fn the_same_rows_make_the_same_file() {
        let rows = || vec![vec![Cell::from("Anna"), Cell::Number(1)]];
        assert_eq!(made(rows(), true), made(rows(), true));
    }

    #[test]
    fn a_sheet_whose_rows_break_off_is_no_file() {
        assert!(made(vec![vec![Cell::from("Anna"), Cell::Number(1)]], false).is_empty());
    }
}
