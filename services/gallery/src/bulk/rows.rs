//! The CSV of a batch.

use std::path::Path;

use rollcall_core::limits;

use super::{BulkError, PersonKey, too_large, unreadable};
use crate::import::separator;

/// A row about a picture.
pub(super) struct Row {
    /// Line in the file, from 1.
    pub(super) number: u64,
    pub(super) picture: String,
    pub(super) person: Option<PersonKey>,
    pub(super) display_name: Option<String>,
    pub(super) groups: Vec<String>,
}

/// Reads the file: UTF-8, UTF-16 with a byte order mark, or Windows-1252; separated by comma, semicolon or tab.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, BulkError> {
    let size_bytes = std::fs::metadata(path).map_err(|source| unreadable(path, source))?.len();
    if size_bytes > limits::BATCH_CSV_SIZE_BYTES {
        return Err(too_large(path, "bytes", size_bytes, limits::BATCH_CSV_SIZE_BYTES));
    }
    let bytes = std::fs::read(path).map_err(|source| unreadable(path, source))?;
    parse(path, &text(&bytes))
}

fn text(bytes: &[u8]) -> String {
    match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned(),
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
        },
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Row>, BulkError> {
    let refused = |row, why: String| BulkError::Csv { path: path.to_owned(), row, why };
    let heading = text.lines().next().unwrap_or_default();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator(heading))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let line = |error: &csv::Error| error.position().map_or(1, csv::Position::line);
    let headings = reader.headers().map_err(|error| refused(line(&error), error.to_string()))?.clone();
    let column = |name: &str| headings.iter().position(|heading| heading.eq_ignore_ascii_case(name));
    let (picture, id, name) = (column("picture"), column("external_id"), column("name"));
    let groups = column("groups");
    let Some(picture) = picture else {
        return Err(refused(1, "there is no column named picture".into()));
    };
    if id.is_none() && name.is_none() {
        return Err(refused(1, "there is no column named external_id or name".into()));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| refused(line(&error), error.to_string()))?;
        let number = record.position().map_or(0, csv::Position::line);
        if rows.len() == limits::BATCH_MEMBERS {
            let max = limits::BATCH_MEMBERS as u64;
            return Err(too_large(path, "rows", max + 1, max));
        }
        let cell = |column: Option<usize>| {
            column.and_then(|column| record.get(column)).filter(|cell| !cell.is_empty()).map(str::to_owned)
        };
        let person = cell(id).map(PersonKey::ExternalId).or_else(|| cell(name).map(PersonKey::Name));
        let groups = cell(groups).unwrap_or_default();
        let groups = groups.split(';').map(str::trim).filter(|group| !group.is_empty());
        rows.push(Row {
            number,
            picture: cell(Some(picture)).unwrap_or_default(),
            person,
            display_name: cell(name),
            groups: groups.map(str::to_owned).collect(),
        });
    }
    Ok(rows)
}
