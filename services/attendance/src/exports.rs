//! Files of events, registers and reports: which columns, which rows, and how they flow.
//!
//! Rows are made some at a time and wait for the client: an export takes the memory of some pages, whatever its length.
//! When the client goes away, what made its rows stops. The order of columns is part of the API: new ones come last.

use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use rollcall_core::{EventId, PersonId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use crate::aliases::Aliases;
use crate::codes::{CodeSet, State};
use crate::events::EventView;
use crate::kind;
use crate::register::Amendment;
use crate::registers::{Line, Register};
use crate::reports::{ReportRange, ReportRow};
use crate::spreadsheet::{self, Part, Piece};
use crate::store::events::EventFilter;
use crate::store::timetable::Settings;
use crate::table::{Cell, CsvRows, Row, site_time, utc_time};
use crate::timetable::SessionName;
use crate::{Attendance, AttendanceError};

/// People of a report that are read at once.
const PEOPLE_AT_ONCE: usize = 200;

/// Rows that are given on at once.
const ROWS_AT_ONCE: usize = 1_000;

/// What to write.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Events, in the order in which they were stored.
    Events(EventFilter),
    /// The register of a session.
    Register(SessionName),
    /// A report.
    Report(ReportRange),
}

/// As which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// RFC 4180.
    Csv,
    /// Office Open XML.
    Xlsx,
}

/// Whether the free text of people goes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notes {
    /// With it.
    Shown,
    /// The column is not there.
    Hidden,
}

/// A file that is being made. Dropped, it is not made any further.
pub(crate) struct Export {
    pub(crate) file_name: String,
    pub(crate) content_type: &'static str,
    /// Pieces of at most [`limits::EXPORT_PIECE_SIZE_BYTES`].
    pub(crate) pieces: mpsc::Receiver<Piece>,
    _rows: JoinSet<()>,
}

/// Where rows go.
enum Sink {
    Csv { rows: Box<CsvRows>, waiting: Vec<u8>, pieces: mpsc::Sender<Piece> },
    Xlsx { parts: mpsc::Sender<Part>, count: usize },
}

impl Attendance {
    /// Begins to write a file.
    pub(crate) async fn export(
        &self,
        what: What,
        format: Format,
        notes: Notes,
        now: UtcInstant,
    ) -> Result<Export, AttendanceError> {
        let permit = Arc::clone(self.exports()).try_acquire_owned().map_err(|_| {
            let max = limits::EXPORTS;
            AttendanceError::Full(format!(
                "{max} exports run already, which is the most; ask again when one is done"
            ))
        })?;
        let permit = Arc::new(permit);
        let settings = self.settings().await?;
        // Before the answer begins, so that what is not there is an error and no empty file.
        let (file_name, columns) = match &what {
            What::Events(_) => (format!("events-{}", settings.zone.day(now)), event_columns(notes)),
            What::Register(name) => {
                self.found(*name).await?;
                (format!("register-{}", name.day), register_columns(notes))
            }
            What::Report(range) => {
                self.report(*range, 1, "", now).await?;
                (format!("report-{}-{}", range.first(), range.last()), report_columns(settings.code_set))
            }
        };
        let (pieces, to_client) = mpsc::channel(limits::EXPORT_PIECES);
        let sink = match format {
            Format::Csv => {
                let rows = Box::new(CsvRows::new(&columns));
                Sink::Csv { rows, waiting: Vec::new(), pieces: pieces.clone() }
            }
            Format::Xlsx => Sink::spreadsheet(self.tmp(), columns, pieces.clone(), Arc::clone(&permit))?,
        };
        let this = self.clone();
        let mut rows = JoinSet::new();
        rows.spawn(async move {
            let filled = this.fill(what, &settings, notes, now, sink).await;
            if let Err(error) = filled {
                drop(pieces.send(Err(error)).await);
            }
            drop(permit);
        });
        let (extension, content_type) = match format {
            Format::Csv => ("csv", "text/csv; charset=utf-8; header=present"),
            Format::Xlsx => ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        };
        let file_name = format!("{file_name}.{extension}");
        Ok(Export { file_name, content_type, pieces: to_client, _rows: rows })
    }

    async fn fill(
        &self,
        what: What,
        settings: &Settings,
        notes: Notes,
        now: UtcInstant,
        mut sink: Sink,
    ) -> Result<(), AttendanceError> {
        match what {
            What::Events(filter) => {
                let aliases = self.aliases().await?;
                let mut cursor = String::new();
                loop {
                    let page = self.list_events(&cursor, &filter, ROWS_AT_ONCE).await?;
                    sink.push(self.event_rows(page.events, &aliases, settings, notes).await?).await?;
                    if !page.more {
                        break;
                    }
                    cursor = page.next_cursor;
                }
            }
            What::Register(name) => {
                let register = self.register(name, now).await?;
                for lines in register.lines.chunks(ROWS_AT_ONCE) {
                    let rows = lines.iter().map(|line| register_row(&register, line, settings, notes));
                    sink.push(rows.collect()).await?;
                }
            }
            What::Report(range) => {
                let mut token = String::new();
                loop {
                    let (people, next) = self.report(range, PEOPLE_AT_ONCE, &token, now).await?;
                    sink.push(people.iter().map(|row| report_row(row, settings.code_set)).collect()).await?;
                    token = next;
                    if token.is_empty() {
                        break;
                    }
                }
            }
        }
        sink.end().await
    }
}

impl Attendance {
    async fn event_rows(
        &self,
        events: Vec<EventView>,
        aliases: &Aliases,
        settings: &Settings,
        notes: Notes,
    ) -> Result<Vec<Row>, AttendanceError> {
        let told: Vec<(EventView, Told)> = events
            .into_iter()
            .map(|event| {
                let told = Told::of(&event);
                (event, told)
            })
            .collect();
        let mut people: Vec<PersonId> =
            told.iter().filter_map(|(_, told)| told.person).map(|id| aliases.person(id)).collect();
        people.sort_unstable();
        people.dedup();
        let names = self.people().names(people).await?;
        let row = |(event, told): (EventView, Told)| {
            let name = told.person.and_then(|id| names.get(&aliases.person(id)));
            event_row(&event, told, name, settings, notes)
        };
        Ok(told.into_iter().map(row).collect())
    }
}

impl Sink {
    /// With a thread that ends when this is dropped, or when nobody takes the pieces any more.
    fn spreadsheet(
        tmp: &Path,
        columns: Vec<String>,
        pieces: mpsc::Sender<Piece>,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Result<Self, AttendanceError> {
        let (parts, to_thread) = mpsc::channel(2);
        let place = tmp.to_owned();
        let write = move || {
            spreadsheet::write(&place, &columns, to_thread, &pieces);
            drop(permit);
        };
        let thread = std::thread::Builder::new().name("spreadsheet".to_owned()).spawn(write);
        match thread {
            Ok(_) => Ok(Self::Xlsx { parts, count: 0 }),
            Err(source) => Err(AttendanceError::File {
                doing: "start a thread that writes into",
                path: tmp.to_owned(),
                source,
            }),
        }
    }

    async fn push(&mut self, rows: Vec<Row>) -> Result<(), AttendanceError> {
        match self {
            Self::Csv { rows: csv, waiting, pieces } => {
                rows.iter().for_each(|row| csv.push(row));
                waiting.extend(csv.take());
                while waiting.len() >= limits::EXPORT_PIECE_SIZE_BYTES {
                    let rest = waiting.split_off(limits::EXPORT_PIECE_SIZE_BYTES);
                    let piece = std::mem::replace(waiting, rest);
                    pieces.send(Ok(piece)).await.map_err(|_| StoreError::Stopping)?;
                }
                Ok(())
            }
            Self::Xlsx { parts, count } => {
                *count += rows.len();
                if *count > limits::SPREADSHEET_ROWS {
                    let max = limits::SPREADSHEET_ROWS;
                    return Err(AttendanceError::Full(format!(
                        "a spreadsheet has at most {max} rows; ask for CSV"
                    )));
                }
                Ok(parts.send(Part::Rows(rows)).await.map_err(|_| StoreError::Stopping)?)
            }
        }
    }

    async fn end(self) -> Result<(), AttendanceError> {
        match self {
            Self::Csv { mut rows, mut waiting, pieces } => {
                waiting.extend(rows.take());
                for piece in waiting.chunks(limits::EXPORT_PIECE_SIZE_BYTES) {
                    pieces.send(Ok(piece.to_vec())).await.map_err(|_| StoreError::Stopping)?;
                }
                Ok(())
            }
            Self::Xlsx { parts, .. } => Ok(parts.send(Part::End).await.map_err(|_| StoreError::Stopping)?),
        }
    }
}

/// What a file says of an event's kind.
#[derive(Clone, Debug, Default)]
struct Told {
    kind: &'static str,
    person: Option<PersonId>,
    direction: &'static str,
    session: String,
    code: String,
    by: String,
    /// The reason, the state, the code before; of what a human recorded, when it was.
    detail: String,
}

impl Told {
    fn of(event: &EventView) -> Self {
        let record = v1::EventRecord::decode(&event.stored.bytes[..]).unwrap_or_default();
        let Some(kind) = record.kind.and_then(|kind| kind.kind) else { return Self::default() };
        let told = Self { kind: kind::name_of(&kind), ..Self::default() };
        let person = |name: &str| PersonId::from_name(name).ok();
        match kind {
            Kind::Recognised(seen) => {
                Self { person: person(&seen.person), direction: direction(seen.direction), ..told }
            }
            Kind::CredentialUsed(used) => {
                Self { person: person(&used.person), direction: direction(used.direction), ..told }
            }
            Kind::EntryRefused(refused) => {
                Self { person: person(&refused.person), detail: refused.reason, ..told }
            }
            Kind::DoorChanged(door) => Self { by: door.by, detail: door.state, ..told },
            Kind::RecordedManually(recorded) => Self {
                person: person(&recorded.person),
                direction: direction(recorded.direction),
                detail: match recorded.at_us {
                    0 => String::new(),
                    at_us => UtcInstant::from_micros(at_us).to_string(),
                },
                by: recorded.by,
                ..told
            },
            Kind::MarkAmended(amended) => Self {
                person: person(&amended.person),
                session: amended.session,
                code: amended.new_code,
                detail: amended.old_code,
                by: amended.by,
                ..told
            },
            Kind::RegisterClosed(closed) => Self { session: closed.session, by: closed.by, ..told },
            Kind::AlarmRaised(alarm) => Self { detail: alarm.alarm, ..told },
            Kind::LogOpened(opened) => Self { detail: opened.reason, ..told },
            Kind::UnknownFace(_) | Kind::ClockAnchor(_) | Kind::SettingsApplied(_) => told,
        }
    }
}

fn direction(direction: i32) -> &'static str {
    match v1::Direction::try_from(direction) {
        Ok(v1::Direction::In) => "in",
        Ok(v1::Direction::Out) => "out",
        Ok(v1::Direction::Unspecified) | Err(_) => "",
    }
}

fn event_columns(notes: Notes) -> Vec<String> {
    let mut columns = vec![
        "time",
        "time_utc",
        "time_trust",
        "terminal",
        "log",
        "seq",
        "event",
        "kind",
        "person",
        "name",
        "direction",
        "session",
        "code",
        "detail",
        "by",
    ];
    if notes == Notes::Shown {
        columns.push("note");
    }
    columns.into_iter().map(str::to_owned).collect()
}

fn event_row(event: &EventView, told: Told, name: Option<&String>, settings: &Settings, notes: Notes) -> Row {
    let stored = &event.stored;
    let at = UtcInstant::from_micros(stored.at_us);
    let trust =
        match i32::try_from(stored.time_trust).ok().and_then(|trust| v1::TimeTrust::try_from(trust).ok()) {
            Some(v1::TimeTrust::Good) => "good",
            Some(v1::TimeTrust::Corrected) => "corrected",
            Some(v1::TimeTrust::Estimated) => "estimated",
            Some(v1::TimeTrust::Unspecified) | None => "",
        };
    let mut row = vec![
        site_time(&settings.zone, Some(at)),
        utc_time(at),
        Cell::from(trust),
        Cell::from(stored.terminal_id.name()),
        Cell::from(stored.log_id.name()),
        Cell::Number(stored.seq),
        stored.event_id.map_or(Cell::Empty, |event| Cell::Text(event.name())),
        Cell::from(told.kind),
        person(told.person),
        name.map_or(Cell::Empty, |name| Cell::from(name.as_str())),
        Cell::from(told.direction),
        Cell::from(told.session),
        Cell::from(told.code),
        Cell::from(told.detail),
        Cell::from(told.by),
    ];
    if notes == Notes::Shown {
        row.push(Cell::from(event.note.as_str()));
    }
    row
}

fn register_columns(notes: Notes) -> Vec<String> {
    let mut columns = vec![
        "session",
        "day",
        "person",
        "name",
        "code",
        "state",
        "provisional",
        "arrived",
        "arrived_utc",
        "left",
        "left_utc",
        "original_code",
        "amendments",
        "amended",
        "amended_utc",
        "amended_by",
    ];
    if notes == Notes::Shown {
        columns.push("reason");
    }
    columns.into_iter().map(str::to_owned).collect()
}

fn register_row(register: &Register, line: &Line, settings: &Settings, notes: Notes) -> Row {
    let zone = &settings.zone;
    let utc = |time: Option<UtcInstant>| time.map_or(Cell::Empty, utc_time);
    let newest: Option<&Amendment> = line.amendments.last();
    let original = line.amendments.first().map_or(line.mark.code.code, |first| &first.old_code);
    let amended = newest.map(|amendment| amendment.time);
    let mut row = vec![
        Cell::from(register.session.display_name.as_str()),
        Cell::from(register.session.name.day.to_string()),
        person(Some(line.person)),
        Cell::from(line.display_name.as_str()),
        Cell::from(line.mark.code.code),
        Cell::from(state_word(line.mark.code.state)),
        Cell::from(if line.mark.provisional { "yes" } else { "no" }),
        site_time(zone, line.visit.arrive),
        utc(line.visit.arrive),
        site_time(zone, line.visit.leave),
        utc(line.visit.leave),
        Cell::from(original),
        Cell::Number(i64::try_from(line.amendments.len()).unwrap_or(i64::MAX)),
        site_time(zone, amended),
        utc(amended),
        newest.map_or(Cell::Empty, |amendment| Cell::from(amendment.by.as_str())),
    ];
    if notes == Notes::Shown {
        let reason = |event: EventId| line.reasons.get(&event).map(String::as_str);
        row.push(newest.and_then(|newest| reason(newest.event)).map_or(Cell::Empty, Cell::from));
    }
    row
}

fn person(person: Option<PersonId>) -> Cell {
    person.map_or(Cell::Empty, |person| Cell::Text(person.name()))
}

fn report_columns(set: CodeSet) -> Vec<String> {
    let fixed = [
        "person",
        "name",
        "possible",
        "present",
        "late",
        "left_early",
        "absent",
        "authorised_absence",
        "unauthorised_absence",
        "elsewhere",
        "not_yet_known",
    ];
    let codes = set.all().iter().map(|code| format!("code {}", code.code));
    let other = "codes of an earlier set".to_owned();
    fixed.into_iter().map(str::to_owned).chain(codes).chain([other]).collect()
}

fn report_row(row: &ReportRow, set: CodeSet) -> Row {
    const STATES: [State; 8] = [
        State::Present,
        State::Late,
        State::LeftEarly,
        State::Absent,
        State::AuthorisedAbsence,
        State::UnauthorisedAbsence,
        State::Elsewhere,
        State::NotYetKnown,
    ];
    let counts = &row.counts;
    let mut cells = vec![person(Some(row.person)), Cell::from(row.display_name.as_str())];
    cells.push(Cell::from(counts.possible()));
    cells.extend(STATES.map(|state| Cell::from(counts.of(state))));
    let by_code = counts.by_code(set);
    let (known, other) = by_code.split_at(set.all().len());
    cells.extend(known.iter().map(|(_, count)| Cell::from(*count)));
    cells.push(Cell::from(other.iter().map(|(_, count)| count).sum::<u32>()));
    cells
}

/// The state in a word, as the plain set has it.
fn state_word(state: State) -> &'static str {
    match state {
        State::Present => "present",
        State::Late => "late",
        State::Absent => "absent",
        State::LeftEarly => "left_early",
        State::AuthorisedAbsence => "authorised_absence",
        State::UnauthorisedAbsence => "unauthorised_absence",
        State::Elsewhere => "elsewhere",
        State::NotRequired => "not_required",
        State::NotYetKnown => "not_yet_known",
    }
}
