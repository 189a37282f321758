//! [`Place`]: where the next event of a log goes, and what its time is derived from; and how events get there.
//!
//! The writer of this program's own log and the intake of other logs append by [`ready`] and [`write`], so that an event has the same
//! derived values wherever it is stored.
//!
//! A place is a cache of what the database says. It is right as long as its tip is the log's; [`Place::read`] makes it
//! anew from three short reads, so nobody needs to keep one.

use rollcall_core::{TerminalId, UtcInstant};
use rollcall_store::{StoreError, Tx};

use crate::kind::{self, Derived};
use crate::store;
use crate::store::log::Tip;
use crate::store::rows::{EventEntry, TimeRow};
use crate::time::{self, Anchor, Corrected, Reading, Trust};

/// Anchors that are kept of one boot: two make a line for what comes after them.
const ANCHORS_OF_BOOT: usize = 2;

/// Anchors that are kept of all boots. Boots follow one another, and only a moved log has some of them twice.
const ANCHORS: usize = 16;

/// Rows read at once.
const PAGE: i64 = 1_000;

/// Where the next event goes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The last entry.
    pub tip: Tip,
    pub terminal_id: TerminalId,
    /// The latest time that was known by an anchor.
    pub floor: UtcInstant,
    /// The newest anchors with the numbers of their events, the newest last.
    anchors: Vec<(i64, Anchor)>,
    /// The newest event's reading and its corrected time.
    last: Option<(Reading, i64)>,
}

/// An event that is to be put at the end of a log.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub bytes: Vec<u8>,
    pub derived: Derived,
    /// As `attendance_event.damage`.
    pub damage: i64,
}

/// An event whose time may change by an anchor after it.
struct Old {
    row: TimeRow,
    reading: Reading,
    stated_us: Option<i64>,
}

impl Place {
    /// The beginning of a log, or a place in one that has no events to derive from.
    pub fn new(tip: Tip, terminal_id: TerminalId) -> Self {
        let floor = UtcInstant::from_micros(0);
        Self { tip, terminal_id, floor, anchors: Vec::new(), last: None }
    }

    /// The end of a log, as the database has it.
    pub async fn read(tx: &mut Tx, tip: Tip, terminal_id: TerminalId) -> Result<Self, StoreError> {
        let mut place = Self::new(tip, terminal_id);
        for (seq, bytes) in store::rows::newest_anchors(tx, tip.log_id, ANCHORS).await?.iter().rev() {
            if let Some(anchor) = kind::derive(bytes).anchor {
                place.note(*seq, anchor);
            }
        }
        if let Some(row) = store::rows::last_row(tx, tip.log_id).await? {
            place.last = Some((kind::derive(&row.bytes).reading, row.stamped_us));
        }
        Ok(place)
    }

    /// The same with a time that was known to have come.
    #[must_use]
    pub fn with_floor(self, floor: UtcInstant) -> Self {
        Self { floor, ..self }
    }

    /// The newest anchor of a boot, and the number of its event.
    pub fn anchor_of(&self, boot_id: &[u8; 16]) -> Option<(i64, Anchor)> {
        self.anchors.iter().rfind(|(_, anchor)| anchor.boot_id == *boot_id).copied()
    }

    /// The row of an event after the last one, with the time that is known without any later anchor.
    pub fn entry(&mut self, position: i64, row: &NewRow) -> EventEntry {
        let (derived, seq) = (&row.derived, self.tip.head + 1);
        self.tip = Tip { head: seq, hash: self.tip.hash.after(&row.bytes), ..self.tip };
        let corrected = self.take(seq, derived);
        EventEntry {
            position,
            log_id: self.tip.log_id,
            seq,
            hash: self.tip.hash,
            bytes: row.bytes.clone(),
            event_id: derived.event_id,
            kind: derived.kind,
            person_id: derived.person_id,
            terminal_id: self.terminal_id,
            boot_id: derived.reading.boot_id,
            boottime_us: derived.reading.boottime_us,
            wall_us: derived.reading.wall_us,
            stamped_us: corrected.us,
            time_trust: corrected.trust.number(),
            at_us: derived.stated_us.unwrap_or(corrected.us),
            damage: row.damage,
            repeat_of: None,
        }
    }

    fn take(&mut self, seq: i64, derived: &Derived) -> Corrected {
        if let Some(anchor) = derived.anchor {
            self.note(seq, anchor);
        }
        let of_boot: Vec<Anchor> = self
            .anchors
            .iter()
            .map(|(_, anchor)| *anchor)
            .filter(|anchor| anchor.boot_id == derived.reading.boot_id)
            .collect();
        let corrected = time::at_the_end(&derived.reading, &of_boot, self.last);
        self.last = Some((derived.reading, corrected.us));
        self.raise_floor(corrected);
        corrected
    }

    fn note(&mut self, seq: i64, anchor: Anchor) {
        let of_boot = |(_, known): &&(i64, Anchor)| known.boot_id == anchor.boot_id;
        let oldest = match self.anchors.iter().filter(of_boot).count() {
            ANCHORS_OF_BOOT => self.anchors.iter().position(|known| of_boot(&known)),
            _ if self.anchors.len() == ANCHORS => Some(0),
            _ => None,
        };
        if let Some(oldest) = oldest {
            self.anchors.remove(oldest);
        }
        self.anchors.push((seq, anchor));
    }

    fn raise_floor(&mut self, corrected: Corrected) {
        if corrected.trust != Trust::Estimated {
            self.floor = self.floor.max(UtcInstant::from_micros(corrected.us));
        }
    }
}

/// Events that are ready to be written at the end of a log, but for their positions in the feed: made before the feed is
/// locked, so that others write meanwhile.
pub(crate) struct Ready {
    /// At positions from 0.
    pub entries: Vec<EventEntry>,
    /// Older rows whose times change.
    changed: Vec<TimeRow>,
}

/// Chains and dates events after the last one of a log, and finds the times that anchors among them tell, of these and of
/// older ones. The log's row is locked (`store::log::lock_tip`), and is what `place` says. `place` moves on; it is right
/// only once the transaction is committed.
pub(crate) async fn ready(tx: &mut Tx, place: &mut Place, rows: &[NewRow]) -> Result<Ready, StoreError> {
    let before = place.clone();
    let mut entries: Vec<EventEntry> =
        (0..).zip(rows).map(|(position, row)| place.entry(position, row)).collect();
    let changed = retime(tx, &before, place, &mut entries, rows).await?;
    Ok(Ready { entries, changed })
}

/// Writes them, the first at `first_position` of the feed.
pub(crate) async fn write(
    tx: &mut Tx,
    place: &Place,
    first_position: i64,
    ready: Ready,
) -> Result<Vec<EventEntry>, StoreError> {
    let Ready { mut entries, changed } = ready;
    for entry in &mut entries {
        entry.position += first_position;
    }
    store::rows::insert_events(tx, &entries).await?;
    for row in &changed {
        store::rows::set_time(tx, place.tip.log_id, row).await?;
    }
    store::log::set_tip(tx, &place.tip).await?;
    Ok(entries)
}

/// Corrects the times of new rows that are not written yet by the anchors among them. Returns the older rows whose times
/// change: back to the anchor before of the same boot, or to the last event of an earlier boot whose time is known.
async fn retime(
    tx: &mut Tx,
    before: &Place,
    place: &mut Place,
    entries: &mut [EventEntry],
    rows: &[NewRow],
) -> Result<Vec<TimeRow>, StoreError> {
    let mut boots: Vec<[u8; 16]> =
        rows.iter().filter_map(|row| row.derived.anchor).map(|anchor| anchor.boot_id).collect();
    boots.dedup();
    let Some((after, lower)) = beginning(tx, before, &boots).await? else { return Ok(Vec::new()) };
    let (older, mut anchors) = old_rows(tx, before, after).await?;
    anchors.extend(rows.iter().filter_map(|row| row.derived.anchor));
    let readings: Vec<Reading> =
        older.iter().map(|old| old.reading).chain(rows.iter().map(|row| row.derived.reading)).collect();
    let corrected = time::correct(&readings, &anchors, lower);
    let (of_older, of_new) = corrected.split_at(older.len());
    for ((entry, row), corrected) in entries.iter_mut().zip(rows).zip(of_new) {
        entry.stamped_us = corrected.us;
        entry.time_trust = corrected.trust.number();
        entry.at_us = row.derived.stated_us.unwrap_or(corrected.us);
        place.raise_floor(*corrected);
    }
    if let Some((last, us)) = place.last.as_mut().zip(of_new.last()) {
        last.1 = us.us;
    }
    let changed = older.into_iter().zip(of_older).filter_map(|(old, corrected)| {
        let row = TimeRow {
            seq: old.row.seq,
            stamped_us: corrected.us,
            time_trust: corrected.trust.number(),
            at_us: old.stated_us.unwrap_or(corrected.us),
        };
        (row != old.row).then_some(row)
    });
    Ok(changed.collect())
}

/// The number after which times may change by new anchors of these boots, and the known time there. `None`: none do.
async fn beginning(
    tx: &mut Tx,
    before: &Place,
    boots: &[[u8; 16]],
) -> Result<Option<(i64, Option<i64>)>, StoreError> {
    let mut first: Option<(i64, Option<i64>)> = None;
    for boot_id in boots {
        let begins = match before.anchor_of(boot_id) {
            Some((seq, _)) => (seq - 1, None),
            None => match store::rows::last_known_before_boot(tx, before.tip.log_id, boot_id).await? {
                Some((seq, us)) => (seq, Some(us)),
                None => (0, None),
            },
        };
        first = Some(first.map_or(begins, |first| if begins.0 < first.0 { begins } else { first }));
    }
    Ok(first)
}

/// The rows of a log after a number, and the anchors that tell of their times.
async fn old_rows(tx: &mut Tx, before: &Place, after: i64) -> Result<(Vec<Old>, Vec<Anchor>), StoreError> {
    let known = before.anchors.iter().filter(|(seq, _)| *seq <= after).map(|(_, anchor)| *anchor);
    let (mut rows, mut anchors, mut after) = (Vec::new(), known.collect::<Vec<_>>(), after);
    loop {
        let page = store::rows::chain_rows(tx, before.tip.log_id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok((rows, anchors)) };
        after = last.seq;
        for row in page {
            let derived = kind::derive(&row.bytes);
            anchors.extend(derived.anchor);
            let times = TimeRow {
                seq: row.seq,
                stamped_us: row.stamped_us,
                time_trust: row.time_trust,
                at_us: row.at_us,
            };
            rows.push(Old { row: times, reading: derived.reading, stated_us: derived.stated_us });
        }
    }
}
