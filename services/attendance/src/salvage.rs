//! A damaged `log.db`: what can be read is written into a new file under its old log, number and bytes; the old file is
//! kept to be looked at, as `log.db.damaged-SECONDS` and `log.db.damaged-SECONDS-wal`.
//!
//! Steps, each of which may be the last before a crash: (1) `log.db.salvage` is filled and closed; (2) it is renamed to
//! `log.db.salvaged`, and from then on it is the log; (3) the damaged files are renamed away; (4) it is renamed to
//! `log.db`. A start that finds `log.db.salvaged` goes on at (3); one that finds `log.db.salvage` begins anew.
//!
//! An event whose number, position or log is damaged is put where the hash chain says that it belongs. Events that cannot
//! be read leave a gap, which is marked; the chain shows for ever what was lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall_core::{LogId, TerminalId, UtcInstant, limits};
use rollcall_store::{Db, SqliteOptions, StoreError};

use crate::chain::ChainHash;
use crate::kind;
use crate::log::{AFTER_GAP, CHANGED, Identity, random_id};
use crate::pages::{Pages, Row, Value};
use crate::place::{NewRow, Place};
use crate::store::log::{LogEntry, Tip};
use crate::store::rows::EventEntry;
use crate::{AttendanceError, LOG_MIGRATIONS, store};

/// Events written at once.
const BATCH: usize = 1_000;

/// What was saved of a damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Events that are in the new file.
    pub events: i64,
    /// Gaps between them: places where one or more events could not be read.
    pub gaps: i64,
}

/// Where a row that may be an event is.
#[derive(Clone, Copy)]
struct Spot {
    page: u32,
    index: usize,
    log_id: LogId,
    seq: i64,
    position: i64,
}

struct Event {
    hash: ChainHash,
    bytes: Vec<u8>,
}

fn named(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> AttendanceError {
    AttendanceError::File { doing, path: path.to_owned(), source }
}

/// Ends a salvage that a crash interrupted after its second step.
pub(crate) fn finish(path: &Path) -> Result<(), AttendanceError> {
    let salvaged = named(path, ".salvaged");
    if !salvaged.exists() {
        return Ok(());
    }
    let seconds = UtcInstant::now().micros() / 1_000_000;
    let is_free = |copy: &PathBuf| !copy.exists() && !named(copy, "-wal").exists();
    let copy = (seconds..).map(|second| named(path, &format!(".damaged-{second}"))).find(is_free);
    let copy = copy.ok_or(AttendanceError::Internal("every name for a damaged log is taken"))?;
    for suffix in ["", "-wal"] {
        rename(&named(path, suffix), &named(&copy, suffix))?;
    }
    remove(&named(path, "-shm"))?;
    rename(&salvaged, path)?;
    sync_folder(path)?;
    drop_old_copies(path);
    Ok(())
}

/// Salvages what can be read of the file at `path`, which nobody has open.
pub(crate) async fn run(path: &Path, identity: &Identity) -> Result<Salvaged, AttendanceError> {
    wait_until_closed(path).await?;
    let unfinished = named(path, ".salvage");
    for suffix in ["", "-wal", "-shm"] {
        remove(&named(&unfinished, suffix))?;
    }
    let pages = Pages::open(path, &named(path, "-wal")).map_err(|error| file_error("read", path, error))?;
    let db = Db::open_sqlite(&unfinished, SqliteOptions::default(), &[LOG_MIGRATIONS]).await?;
    let salvaged = fill(&db, &pages, identity).await;
    db.close().await;
    let salvaged = salvaged?;
    wait_until_closed(&unfinished).await?;
    rename(&unfinished, &named(path, ".salvaged"))?;
    sync_folder(path)?;
    finish(path)?;
    tracing::error!(events = salvaged.events, gaps = salvaged.gaps, "the damaged log was salvaged");
    Ok(salvaged)
}

/// Two passes over the pages: where the rows are, then their bytes in the order of the logs.
async fn fill(db: &Db, pages: &Pages, identity: &Identity) -> Result<Salvaged, AttendanceError> {
    let (logs, spots) = find(pages);
    let mut by_position: HashMap<i64, Spot> = HashMap::with_capacity(spots.len());
    let mut by_log: HashMap<LogId, BTreeMap<i64, Spot>> = HashMap::new();
    for spot in spots {
        by_position.entry(spot.position).or_insert(spot);
        by_log.entry(spot.log_id).or_default().entry(spot.seq).or_insert(spot);
    }
    // The oldest first: by where its events are in the feed.
    let mut order: Vec<(i64, LogId)> = logs.iter().map(|log| (i64::MAX, log.tip.log_id)).collect();
    order.retain(|(_, log_id)| !by_log.contains_key(log_id));
    order.extend(by_log.iter().map(|(log_id, events)| {
        (events.values().map(|spot| spot.position).min().unwrap_or(i64::MAX), *log_id)
    }));
    order.sort_by_key(|(position, log_id)| (*position, log_id.to_bytes()));
    let mut filler = Filler {
        db,
        reader: Reader { pages, page: None },
        by_position,
        used: HashSet::new(),
        rewriter: Rewriter { place: None, terminal_id: identity.terminal_id },
        salvaged: Salvaged { events: 0, gaps: 0 },
    };
    for (_, log_id) in order {
        let log = logs.iter().find(|log| log.tip.log_id == log_id).cloned();
        let is_known = log.is_some();
        let log = log.unwrap_or_else(|| unknown_log(log_id, identity));
        let events = by_log.remove(&log_id).unwrap_or_default();
        filler.log(log, is_known, &events).await?;
    }
    let mut tx = db.write().await?;
    store::log::renew_feed(&mut tx, random_id()?).await?;
    tx.commit().await.map_err(AttendanceError::from)?;
    Ok(filler.salvaged)
}

/// The row of a log whose own was lost.
fn unknown_log(log_id: LogId, identity: &Identity) -> LogEntry {
    LogEntry {
        tip: Tip { log_id, head: 0, hash: ChainHash::ZERO },
        terminal_id: identity.terminal_id,
        hw_id: identity.hw_id.clone(),
        parent: None,
        first_seq: 1,
        before_hash: ChainHash::ZERO,
        is_current: false,
        opened_us: 0,
        reason: "UNKNOWN".to_owned(),
        is_superseded: false,
    }
}

/// Makes the rows of events that were in a log before.
struct Rewriter {
    place: Option<Place>,
    terminal_id: TerminalId,
}

impl Rewriter {
    /// The row of an event as number `tip.head` with the hash that it had. Its time is derived anew by the check of the
    /// new file.
    fn entry(&mut self, tip: &Tip, position: i64, bytes: Vec<u8>, damage: i64) -> EventEntry {
        let place = self.place.take().filter(|place| place.tip.log_id == tip.log_id);
        let mut place = place.unwrap_or_else(|| Place::new(*tip, self.terminal_id));
        let derived = kind::derive(&bytes);
        let entry = place.entry(position, &NewRow { bytes, derived, damage });
        self.place = Some(place);
        EventEntry { seq: tip.head, hash: tip.hash, ..entry }
    }
}

struct Reader<'a> {
    pages: &'a Pages,
    page: Option<(u32, Vec<Row>)>,
}

impl Reader<'_> {
    fn event(&mut self, spot: &Spot) -> Option<Event> {
        if self.page.as_ref().is_none_or(|(number, _)| *number != spot.page) {
            self.page = Some((spot.page, self.pages.rows(spot.page)));
        }
        let (_, rows) = self.page.as_ref()?;
        match rows.get(spot.index)?.values.get(3..5)? {
            [Value::Blob(hash), Value::Blob(bytes)] => {
                Some(Event { hash: ChainHash::try_from(&hash[..]).ok()?, bytes: bytes.clone() })
            }
            _ => None,
        }
    }
}

struct Filler<'a> {
    db: &'a Db,
    reader: Reader<'a>,
    by_position: HashMap<i64, Spot>,
    /// Positions that were put somewhere.
    used: HashSet<i64>,
    rewriter: Rewriter,
    salvaged: Salvaged,
}

impl Filler<'_> {
    async fn log(
        &mut self,
        mut log: LogEntry,
        is_known: bool,
        events: &BTreeMap<i64, Spot>,
    ) -> Result<(), AttendanceError> {
        let mut tx = self.db.write().await?;
        let before = Tip { log_id: log.tip.log_id, head: log.first_seq - 1, hash: log.before_hash };
        log.tip = before;
        if log.is_current {
            // Where a flipped bit says so of two, the newer one is.
            store::log::retire_current(&mut tx, log.terminal_id).await?;
        }
        store::log::insert_log(&mut tx, &log).await?;
        let mut tip = before;
        let mut last_position = None;
        let mut in_batch = 0;
        let mut waiting = events.range(log.first_seq..).peekable();
        while let Some((seq, spot)) = waiting.peek().map(|(seq, spot)| (**seq, **spot)) {
            let is_next = seq == tip.head + 1;
            let strayed = if is_next { None } else { self.strayed(last_position, &tip) };
            let (seq, spot, event) = match strayed {
                Some((spot, event)) => (tip.head + 1, spot, event),
                None => {
                    waiting.next();
                    if self.used.contains(&spot.position) {
                        continue;
                    }
                    let Some(event) = self.reader.event(&spot) else { continue };
                    (seq, spot, event)
                }
            };
            let damage = match seq == tip.head + 1 {
                false => AFTER_GAP,
                true if tip.hash.after(&event.bytes) == event.hash => 0,
                true => CHANGED,
            };
            if damage == CHANGED
                && let Some((stray, event)) = self.strayed(last_position, &tip)
                && stray.position != spot.position
            {
                // The number belongs to another row, which the chain proves.
                tip = self.put(&mut tx, &tip, tip.head + 1, &stray, event, 0).await?;
                last_position = Some(stray.position);
                continue;
            }
            tip = self.put(&mut tx, &tip, seq, &spot, event, damage).await?;
            last_position = Some(spot.position);
            in_batch += 1;
            if in_batch == BATCH {
                store::log::set_tip(&mut tx, &tip).await?;
                tx.commit().await?;
                tx = self.db.write().await?;
                in_batch = 0;
            }
        }
        // The rows after the last whose numbers are right may have strayed as well.
        while let Some((spot, event)) = self.strayed(last_position, &tip) {
            tip = self.put(&mut tx, &tip, tip.head + 1, &spot, event, 0).await?;
            last_position = Some(spot.position);
        }
        if tip == before && !is_known {
            store::log::delete_log(&mut tx, tip.log_id).await?;
        } else {
            store::log::set_tip(&mut tx, &tip).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The event that was written after the last one, if the chain proves that it follows: its number or its log is
    /// damaged then.
    fn strayed(&mut self, last_position: Option<i64>, tip: &Tip) -> Option<(Spot, Event)> {
        let position = last_position.map_or(1, |position| position + 1);
        if self.used.contains(&position) {
            return None;
        }
        let spot = *self.by_position.get(&position)?;
        let event = self.reader.event(&spot)?;
        (tip.hash.after(&event.bytes) == event.hash).then_some((spot, event))
    }

    async fn put(
        &mut self,
        tx: &mut rollcall_store::Tx,
        tip: &Tip,
        seq: i64,
        spot: &Spot,
        event: Event,
        damage: i64,
    ) -> Result<Tip, AttendanceError> {
        self.used.insert(spot.position);
        self.salvaged.events += 1;
        self.salvaged.gaps += i64::from(damage == AFTER_GAP);
        let tip = Tip { log_id: tip.log_id, head: seq, hash: event.hash };
        let entry = self.rewriter.entry(&tip, self.salvaged.events, event.bytes, damage);
        store::rows::insert_events(tx, &[entry]).await?;
        Ok(tip)
    }
}

/// Every row that looks like a log or an event.
fn find(pages: &Pages) -> (Vec<LogEntry>, Vec<Spot>) {
    let mut logs: Vec<LogEntry> = Vec::new();
    let mut spots = Vec::new();
    for page in pages.numbers() {
        for (index, row) in pages.rows(page).into_iter().enumerate() {
            if let Some((log_id, seq)) = event_key(&row) {
                spots.push(Spot { page, index, log_id, seq, position: row.rowid });
            } else if let Some(log) = log_entry(&row) {
                // An older version of the row may be in a freed page.
                match logs.iter_mut().find(|known| known.tip.log_id == log.tip.log_id) {
                    Some(known)
                        if (known.tip.head, known.is_superseded) < (log.tip.head, log.is_superseded) =>
                    {
                        *known = log;
                    }
                    Some(_) => {}
                    None => logs.push(log),
                }
            }
        }
    }
    (logs, spots)
}

/// Columns of `attendance_event` in the order of its migrations; the first has all that is needed.
fn event_key(row: &Row) -> Option<(LogId, i64)> {
    match &row.values[..] {
        [
            Value::Null,
            Value::Blob(log_id),
            Value::Int(seq),
            Value::Blob(hash),
            Value::Blob(bytes),
            rest @ ..,
        ] if rest.len() >= 11 && hash.len() == 32 && bytes.len() <= limits::EVENT_SIZE_BYTES && *seq > 0 => {
            Some((LogId::try_from(&log_id[..]).ok()?, *seq))
        }
        _ => None,
    }
}

/// Columns of `attendance_log` in the order of its migrations.
fn log_entry(row: &Row) -> Option<LogEntry> {
    let [
        Value::Blob(log_id),
        Value::Blob(terminal_id),
        Value::Text(hw_id),
        parent_log_id,
        parent_head,
        parent_hash,
        Value::Int(first_seq),
        Value::Blob(before_hash),
        Value::Int(head),
        Value::Blob(head_hash),
        Value::Int(is_current),
        Value::Int(opened_us),
        Value::Text(reason),
        later @ ..,
    ] = &row.values[..]
    else {
        return None;
    };
    let parent = match (parent_log_id, parent_head, parent_hash) {
        (Value::Blob(log_id), Value::Int(head), Value::Blob(hash)) => Some(Tip {
            log_id: LogId::try_from(&log_id[..]).ok()?,
            head: *head,
            hash: ChainHash::try_from(&hash[..]).ok()?,
        }),
        _ => None,
    };
    Some(LogEntry {
        tip: Tip {
            log_id: LogId::try_from(&log_id[..]).ok()?,
            head: *head,
            hash: ChainHash::try_from(&head_hash[..]).ok()?,
        },
        terminal_id: TerminalId::try_from(&terminal_id[..]).ok()?,
        hw_id: hw_id.clone(),
        parent,
        first_seq: (*first_seq).max(1),
        before_hash: ChainHash::try_from(&before_hash[..]).ok()?,
        is_current: *is_current == 1,
        opened_us: *opened_us,
        reason: reason.clone(),
        is_superseded: matches!(later.first(), Some(Value::Int(1))),
    })
}

/// Waits until this process has no descriptor of the database's files: the connections of a pool that was dropped close
/// in their own time, and the last one deletes the write-ahead log by its name.
async fn wait_until_closed(path: &Path) -> Result<(), AttendanceError> {
    let name = path.as_os_str().as_encoded_bytes();
    let is_open = || {
        let descriptors = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| target.as_os_str().as_encoded_bytes().starts_with(name))
    };
    let until = tokio::time::Instant::now() + Duration::from_millis(limits::DATABASE_PATIENCE_MS);
    while is_open() {
        if tokio::time::Instant::now() > until {
            let place = path.display().to_string();
            return Err(
                StoreError::Unavailable { place, source: rollcall_store::sqlx::Error::PoolTimedOut }.into()
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), AttendanceError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.map_err(|error| file_error("rename", from, error)),
    }
}

fn remove(path: &Path) -> Result<(), AttendanceError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| file_error("remove", path, error)),
    }
}

fn sync_folder(path: &Path) -> Result<(), AttendanceError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| file_error("sync", folder, error))
}

/// Keeps the newest [`limits::LOG_DAMAGED_COPIES`].
fn drop_old_copies(path: &Path) {
    let Some(folder) = path.parent() else { return };
    let prefix = named(path, ".damaged-");
    let copies = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut copies: Vec<PathBuf> = copies
        .filter(|copy| copy.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes()))
        .filter(|copy| !copy.as_os_str().as_encoded_bytes().ends_with(b"-wal"))
        .collect();
    copies.sort();
    let excess = copies.len().saturating_sub(limits::LOG_DAMAGED_COPIES);
    for copy in copies.into_iter().take(excess) {
        for suffix in ["", "-wal"] {
            if let Err(error) = remove(&named(&copy, suffix)) {
                tracing::warn!(%error, "an old damaged log could not be removed");
            }
        }
    }
}
