//! Between the messages of the contract and the types of the machines. What comes in is checked here, once: a hash has 32
//! bytes, an id 16, numbers are such as a log can have.

use prost::Message as _;
use prost::bytes::Bytes;
use rollcall_attendance::{ChainHash, Quality, Reading, quality, quality_number};
use rollcall_core::{ErasureId, GalleryId, LogId, PersonId, SetHash, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_row::Change;
use rollcall_proto::v1::pull_gallery_response;

use crate::clock::Told;
use crate::contact::Pending;
use crate::gallery::{GalleryState, HistoryHash, Scope, row_hash};
use crate::intake::{Batch, Offered};
use crate::ledger::{LedgerState, Line};
use crate::replica::{Part, RowSummary};
use crate::uplink::{Acked, HeldLog, OwnLog};

/// A message of the other side with a field that is not as the contract says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Malformed {
    /// Its path in the message.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl Malformed {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// What a terminal says of itself, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which contact this is.
    pub pending: Pending,
    /// The board's serial number.
    pub hw_id: String,
    /// Its clocks.
    pub reading: Reading,
    /// Its program and version.
    pub software: String,
    /// SHA-256 of each network that it runs.
    pub model_hashes: Vec<[u8; 32]>,
    /// Its logs, at most [`limits::LOGS`].
    pub logs: Vec<Offered>,
    /// Its gallery.
    pub gallery: GalleryState,
    /// The lines of the ledger that it has applied and swept.
    pub ledger: LedgerState,
}

impl TryFrom<v1::Hello> for Hello {
    type Error = Malformed;

    fn try_from(hello: v1::Hello) -> Result<Self, Malformed> {
        let pending = hello.pending.ok_or_else(|| Malformed::new("pending", "is missing"))?;
        let stamp = hello.stamp.ok_or_else(|| Malformed::new("stamp", "is missing"))?;
        if hello.model_hashes.len() > limits::HELLO_MODELS {
            let problem = format!("has more than {} networks", limits::HELLO_MODELS);
            return Err(Malformed::new("model_hashes", problem));
        }
        if hello.logs.len() > limits::LOGS {
            return Err(Malformed::new("logs", format!("has more than {} logs", limits::LOGS)));
        }
        let model_hashes: Result<_, _> =
            hello.model_hashes.iter().map(|hash| fixed("model_hashes", hash)).collect();
        let logs: Result<Vec<Offered>, _> = hello.logs.iter().map(Offered::try_from).collect();
        Ok(Self {
            pending: Pending { contact: pending.contact, nonce: fixed("pending.nonce", &pending.nonce)? },
            hw_id: text("hw_id", hello.hw_id)?,
            reading: reading(&stamp)?,
            software: text("software", hello.software)?,
            model_hashes: model_hashes?,
            logs: logs?,
            gallery: hello.gallery.as_ref().map(GalleryState::try_from).transpose()?.unwrap_or_default(),
            ledger: hello.ledger.as_ref().map(LedgerState::try_from).transpose()?.unwrap_or_default(),
        })
    }
}

impl From<Pending> for v1::Contact {
    fn from(pending: Pending) -> Self {
        Self { contact: pending.contact, nonce: bytes(&pending.nonce) }
    }
}

/// A terminal's clocks as it sent them.
fn reading(stamp: &v1::ClockStamp) -> Result<Reading, Malformed> {
    Ok(Reading {
        boot_id: fixed("stamp.boot_id", &stamp.boot_id)?,
        boottime_us: stamp.boottime_us,
        wall_us: stamp.wall_us,
        quality: quality(stamp.wall_quality),
    })
}

/// A terminal's clocks, to be sent.
pub fn stamp(reading: &Reading) -> v1::ClockStamp {
    v1::ClockStamp {
        boot_id: bytes(&reading.boot_id),
        boottime_us: reading.boottime_us,
        wall_us: reading.wall_us,
        wall_quality: quality_number(reading.quality),
    }
}

/// The hub's time in a Welcome; `None` when it is not to be used.
pub fn told(welcome: &v1::Welcome) -> Option<Told> {
    let quality = quality(welcome.hub_wall_quality);
    (quality >= Quality::Rtc).then_some(Told { wall_us: welcome.hub_wall_us, quality })
}

/// The hub's time for a Welcome: a clock that is not to be used counts as never set.
pub fn tell(welcome: &mut v1::Welcome, wall_us: i64, told: Option<Told>) {
    welcome.hub_wall_us = told.map_or(wall_us, |told| told.wall_us);
    welcome.hub_wall_quality = quality_number(told.map_or(Quality::Unset, |told| told.quality));
}

impl TryFrom<&v1::OfferedLog> for Offered {
    type Error = Malformed;

    fn try_from(log: &v1::OfferedLog) -> Result<Self, Malformed> {
        const LAST: u64 = i64::MAX.unsigned_abs();
        if log.head >= LAST || log.first == 0 || log.first > log.head + 1 {
            let problem = "must be from 1 to one more than head, and head less than 2^63 - 1";
            return Err(Malformed::new("logs.first", problem));
        }
        Ok(Self {
            log_id: log_id("logs.log_id", &log.log_id)?,
            parent: match log.parent_log_id.is_empty() {
                true => None,
                false => Some(log_id("logs.parent_log_id", &log.parent_log_id)?),
            },
            first: log.first,
            head: log.head,
            head_hash: chain("logs.head_hash", &log.head_hash)?,
        })
    }
}

/// A log, to be offered. `parent`: the one before it.
pub fn offered(own: &OwnLog, parent: Option<LogId>) -> v1::OfferedLog {
    v1::OfferedLog {
        log_id: bytes(own.log_id.as_bytes()),
        parent_log_id: parent.map(|parent| bytes(parent.as_bytes())).unwrap_or_default(),
        first: own.first,
        head: own.head,
        head_hash: bytes(own.head_hash.as_bytes()),
    }
}

impl TryFrom<&v1::HeldLog> for HeldLog {
    type Error = Malformed;

    fn try_from(log: &v1::HeldLog) -> Result<Self, Malformed> {
        let optional = |field, hash: &Bytes| match hash.is_empty() {
            true => Ok(None),
            false => chain(field, hash).map(Some),
        };
        Ok(Self {
            log_id: log_id("logs.log_id", &log.log_id)?,
            have: log.have,
            have_hash: optional("logs.have_hash", &log.have_hash)?,
            at_head: optional("logs.at_head", &log.at_head)?,
        })
    }
}

impl From<HeldLog> for v1::HeldLog {
    fn from(log: HeldLog) -> Self {
        let optional = |hash: Option<ChainHash>| hash.map(|hash| bytes(hash.as_bytes())).unwrap_or_default();
        Self {
            log_id: bytes(log.log_id.as_bytes()),
            have: log.have,
            have_hash: optional(log.have_hash),
            at_head: optional(log.at_head),
        }
    }
}

/// The log that a push is for, and its events; they are not checked against their limits yet ([`Batch::check`]).
///
/// # Errors
/// A field that is not as the contract says.
pub fn batch(push: &v1::PushRequest) -> Result<(LogId, Batch<'_, Bytes>), Malformed> {
    let batch = Batch {
        first_seq: push.first_seq,
        prev_hash: chain("prev_hash", &push.prev_hash)?,
        gap: push.gap,
        events: &push.events,
    };
    Ok((log_id("log_id", &push.log_id)?, batch))
}

impl TryFrom<&v1::Ack> for Acked {
    type Error = Malformed;

    fn try_from(ack: &v1::Ack) -> Result<Self, Malformed> {
        Ok(Self {
            log_id: log_id("log_id", &ack.log_id)?,
            have: ack.have,
            have_hash: chain("have_hash", &ack.have_hash)?,
            prune_through: ack.prune_through,
        })
    }
}

impl From<Acked> for v1::Ack {
    fn from(ack: Acked) -> Self {
        Self {
            log_id: bytes(ack.log_id.as_bytes()),
            have: ack.have,
            have_hash: bytes(ack.have_hash.as_bytes()),
            prune_through: ack.prune_through,
        }
    }
}

impl TryFrom<&v1::GalleryState> for GalleryState {
    type Error = Malformed;

    fn try_from(state: &v1::GalleryState) -> Result<Self, Malformed> {
        if state.gallery_id.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self {
            gallery_id: Some(GalleryId::from_bytes(fixed("gallery.gallery_id", &state.gallery_id)?)),
            revision: state.revision,
            set_hash: SetHash::from_bytes(fixed("gallery.set_hash", &state.set_hash)?),
            history_hash: HistoryHash::from_bytes(fixed("gallery.history_hash", &state.history_hash)?),
            scope: Scope::from_bytes(fixed("gallery.scope", &state.scope)?),
        })
    }
}

impl From<GalleryState> for v1::GalleryState {
    fn from(state: GalleryState) -> Self {
        let Some(gallery_id) = state.gallery_id else { return Self::default() };
        Self {
            gallery_id: bytes(gallery_id.as_bytes()),
            revision: state.revision,
            set_hash: bytes(state.set_hash.as_bytes()),
            history_hash: bytes(state.history_hash.as_bytes()),
            scope: bytes(state.scope.as_bytes()),
        }
    }
}

impl TryFrom<&v1::GalleryRow> for RowSummary {
    type Error = Malformed;

    fn try_from(row: &v1::GalleryRow) -> Result<Self, Malformed> {
        let person = PersonId::from_bytes(fixed("rows.person_id", &row.person_id)?);
        let hash = match &row.change {
            Some(Change::Upsert(content)) => Some(row_hash(person, content)),
            Some(Change::Erase(true)) => None,
            Some(Change::Erase(false)) | None => {
                return Err(Malformed::new("rows.change", "must be upsert, or erase with true"));
            }
        };
        Ok(Self { revision: row.revision, person, hash, size_bytes: row.encoded_len() })
    }
}

/// A part of an answer to PullGallery. `rows` is where the summaries of its rows are put.
///
/// # Errors
/// A field that is not as the contract says.
pub fn part<'a>(
    response: &v1::PullGalleryResponse,
    rows: &'a mut Vec<RowSummary>,
) -> Result<Part<'a>, Malformed> {
    use pull_gallery_response::Part as Sent;
    let mut summaries = |sent: &v1::GalleryRows| {
        rows.clear();
        for row in &sent.rows {
            rows.push(RowSummary::try_from(row)?);
        }
        Ok(())
    };
    match response.part.as_ref().ok_or_else(|| Malformed::new("part", "is missing"))? {
        Sent::Delta(sent) => {
            summaries(sent)?;
            Ok(Part::Delta(rows))
        }
        Sent::Snapshot(sent) => {
            summaries(sent)?;
            Ok(Part::Snapshot(rows))
        }
        Sent::End(state) => Ok(Part::End(state.try_into()?)),
        Sent::SnapshotEnd(state) => Ok(Part::SnapshotEnd(state.try_into()?)),
        Sent::SnapshotBegin(begin) => {
            let state = begin.state.as_ref().ok_or_else(|| Malformed::new("state", "is missing"))?;
            let row_count = u64::try_from(begin.row_count);
            let row_count = row_count.map_err(|_| Malformed::new("row_count", "must not be negative"))?;
            Ok(Part::SnapshotBegin { state: state.try_into()?, row_count })
        }
    }
}

impl TryFrom<&v1::LedgerState> for LedgerState {
    type Error = Malformed;

    fn try_from(state: &v1::LedgerState) -> Result<Self, Malformed> {
        if state.hash.is_empty() && state.count == 0 {
            return Ok(Self::default());
        }
        Ok(Self { count: state.count, hash: SetHash::from_bytes(fixed("ledger.hash", &state.hash)?) })
    }
}

impl From<LedgerState> for v1::LedgerState {
    fn from(state: LedgerState) -> Self {
        Self { count: state.count, hash: bytes(state.hash.as_bytes()) }
    }
}

impl TryFrom<&v1::LedgerLine> for Line {
    type Error = Malformed;

    fn try_from(line: &v1::LedgerLine) -> Result<Self, Malformed> {
        let erased = UtcInstant::from_micros(line.erased_us);
        if erased.micros() != line.erased_us {
            return Err(Malformed::new("lines.erased_us", "is no instant of the calendar"));
        }
        Ok(Self {
            erasure_id: ErasureId::from_bytes(fixed("lines.erasure_id", &line.erasure_id)?),
            person_id: PersonId::from_bytes(fixed("lines.person_id", &line.person_id)?),
            erased,
            mac: fixed("lines.mac", &line.mac)?,
        })
    }
}

impl From<Line> for v1::LedgerLine {
    fn from(line: Line) -> Self {
        Self {
            person_id: bytes(line.person_id.as_bytes()),
            erased_us: line.erased.micros(),
            mac: bytes(&line.mac),
            erasure_id: bytes(line.erasure_id.as_bytes()),
        }
    }
}

fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn fixed<const SIZE: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; SIZE], Malformed> {
    bytes
        .try_into()
        .map_err(|_| Malformed::new(field, format!("has {} bytes and must have {SIZE}", bytes.len())))
}

fn log_id(field: &'static str, bytes: &[u8]) -> Result<LogId, Malformed> {
    fixed(field, bytes).map(LogId::from_bytes)
}

fn chain(field: &'static str, bytes: &[u8]) -> Result<ChainHash, Malformed> {
    fixed(field, bytes).map(ChainHash::from_bytes)
}

fn text(field: &'static str, text: String) -> Result<String, Malformed> {
    let count = text.chars().count();
    if count == 0 || count > limits::HELLO_TEXT_CHARS || text.chars().any(char::is_control) {
        let problem = format!("must have 1 to {} characters on one line", limits::HELLO_TEXT_CHARS);
        return Err(Malformed::new(field, problem));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn hello() -> v1::Hello {
        let log = OwnLog {
            log_id: LogId::from_bytes([1; 16]),
            first: 3,
            head: 9,
            head_hash: ChainHash::ZERO.after(b"x"),
            is_current: true,
        };
        let now = Reading { boot_id: [2; 16], boottime_us: 5, wall_us: 6, quality: Quality::Saved };
        v1::Hello {
            proto_min: 1,
            proto_max: 1,
            pending: Some(Pending { contact: 4, nonce: [3; 16] }.into()),
            hw_id: "10000000a1b2c3d4".to_owned(),
            stamp: Some(stamp(&now)),
            software: "edge-agent 0.1.0".to_owned(),
            model_hashes: vec![bytes(&[7; 32])],
            logs: vec![offered(&log, Some(LogId::from_bytes([8; 16])))],
            gallery: Some(state().into()),
            ledger: Some(LedgerState { count: 2, hash: SetHash::from_bytes([5; 32]) }.into()),
        }
    }

    fn state() -> GalleryState {
        GalleryState {
            gallery_id: Some(GalleryId::from_bytes([1; 16])),
            revision: 12,
            set_hash: SetHash::from_bytes([2; 32]),
            history_hash: HistoryHash::from_bytes([3; 32]),
            scope: Scope::from_bytes([4; 32]),
        }
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let read = Hello::try_from(hello()).unwrap();
        assert_eq!((read.pending, read.gallery), (Pending { contact: 4, nonce: [3; 16] }, state()));
        assert_eq!(read.reading.quality, Quality::Saved);
        assert_eq!((read.logs[0].first, read.logs[0].head), (3, 9));
        assert_eq!(read.logs[0].parent, Some(LogId::from_bytes([8; 16])));
        let held = HeldLog {
            log_id: LogId::from_bytes([1; 16]),
            have: 7,
            have_hash: Some(ChainHash::ZERO),
            at_head: None,
        };
        assert_eq!(HeldLog::try_from(&v1::HeldLog::from(held)), Ok(held));
        let ack = Acked { log_id: held.log_id, have: 7, have_hash: ChainHash::ZERO, prune_through: 5 };
        assert_eq!(Acked::try_from(&v1::Ack::from(ack)), Ok(ack));
        let line = Line {
            erasure_id: ErasureId::from_bytes([1; 16]),
            person_id: PersonId::from_bytes([2; 16]),
            erased: UtcInstant::from_micros(3),
            mac: [4; 32],
        };
        assert_eq!(Line::try_from(&v1::LedgerLine::from(line)), Ok(line));
        assert_eq!(GalleryState::try_from(&GalleryState::default().into()), Ok(GalleryState::default()));
    }

    #[test]
    fn a_field_that_is_wrong_is_named() {
        type Spoil = fn(&mut v1::Hello);
        let cases: &[(Spoil, &str)] = &[
            (|hello| hello.pending = None, "pending"),
            (|hello| hello.pending.as_mut().unwrap().nonce = bytes(&[1; 15]), "pending.nonce"),
            (|hello| hello.stamp = None, "stamp"),
            (|hello| hello.stamp.as_mut().unwrap().boot_id = Bytes::new(), "stamp.boot_id"),
            (|hello| hello.hw_id = String::new(), "hw_id"),
            (|hello| hello.hw_id = "x".repeat(201), "hw_id"),
            (|hello| hello.software = "one\ntwo".to_owned(), "software"),
            (|hello| hello.model_hashes[0] = bytes(&[1; 33]), "model_hashes"),
            (|hello| hello.model_hashes = vec![bytes(&[1; 32]); 9], "model_hashes"),
            (|hello| hello.logs = vec![hello.logs[0].clone(); 17], "logs"),
            (|hello| hello.logs[0].log_id = bytes(&[1; 17]), "logs.log_id"),
            (|hello| hello.logs[0].parent_log_id = bytes(&[1]), "logs.parent_log_id"),
            (|hello| hello.logs[0].head_hash = Bytes::new(), "logs.head_hash"),
            (|hello| hello.logs[0].first = 0, "logs.first"),
            (|hello| hello.logs[0].first = 11, "logs.first"),
            (|hello| hello.logs[0].head = u64::MAX, "logs.first"),
            (|hello| hello.gallery.as_mut().unwrap().gallery_id = bytes(&[1]), "gallery.gallery_id"),
            (|hello| hello.gallery.as_mut().unwrap().set_hash = Bytes::new(), "gallery.set_hash"),
            (|hello| hello.ledger.as_mut().unwrap().hash = Bytes::new(), "ledger.hash"),
        ];
        for (change, field) in cases {
            let mut wrong = hello();
            change(&mut wrong);
            assert_eq!(Hello::try_from(wrong).unwrap_err().field, *field);
        }
    }

    #[test]
    fn rows_are_put_together_with_the_hash_of_their_content() {
        let person = PersonId::from_bytes([1; 16]);
        let row = |change| v1::GalleryRow {
            revision: 5,
            person_id: bytes(person.as_bytes()),
            change,
            ..Default::default()
        };
        let content = Bytes::from_static(b"who it is");
        let delta = |change| v1::PullGalleryResponse {
            part: Some(pull_gallery_response::Part::Delta(v1::GalleryRows { rows: vec![row(change)] })),
        };
        let mut rows = Vec::new();
        let Part::Delta([upsert]) = part(&delta(Some(Change::Upsert(content))), &mut rows).unwrap() else {
            panic!("no delta of one row")
        };
        assert_eq!(upsert.hash, Some(row_hash(person, b"who it is")));
        assert!(upsert.size_bytes > 16 + 9);
        let Part::Delta([gone]) = part(&delta(Some(Change::Erase(true))), &mut rows).unwrap() else {
            panic!("no delta of one row")
        };
        assert_eq!(gone.hash, None);
        for wrong in [None, Some(Change::Erase(false))] {
            assert_eq!(part(&delta(wrong), &mut rows).unwrap_err().field, "rows.change");
        }
        assert_eq!(part(&v1::PullGalleryResponse { part: None }, &mut rows).unwrap_err().field, "part");
    }

    #[test]
    fn a_hub_whose_clock_is_not_to_be_used_says_so() {
        let mut welcome = v1::Welcome::default();
        assert_eq!(told(&welcome), None);
        tell(&mut welcome, 77, None);
        assert_eq!((welcome.hub_wall_us, told(&welcome)), (77, None));
        let time = Told { wall_us: 88, quality: Quality::Ntp };
        tell(&mut welcome, 77, Some(time));
        assert_eq!(told(&welcome), Some(time));
    }
}
