//! Events, and the logs that a terminal keeps of them.

use std::sync::Arc;

use rollcall_attendance::{Anchor, ChainHash, Reading};
use rollcall_core::{EventId, LogId};
use rollcall_sync::uplink::OwnLog;

/// An event, with what nobody but the simulator knows of it.
pub struct Event {
    pub id: EventId,
    pub bytes: Vec<u8>,
    pub reading: Reading,
    pub anchor: Option<Anchor>,
    /// When it really was.
    pub true_us: i64,
    /// Whether the device believed a wrong time server then.
    pub is_of_liar: bool,
}

impl Event {
    pub fn new(
        id: [u8; 16],
        reading: Reading,
        anchor: Option<Anchor>,
        true_us: i64,
        is_of_liar: bool,
    ) -> Arc<Self> {
        let mut bytes = id.to_vec();
        bytes.extend_from_slice(&reading.boottime_us.to_be_bytes());
        bytes.extend_from_slice(&anchor.map_or(0, |anchor| anchor.true_us).to_be_bytes());
        Arc::new(Self { id: EventId::from_bytes(id), bytes, reading, anchor, true_us, is_of_liar })
    }
}

/// A log on a terminal's disk. The last of its logs is the current one.
#[derive(Clone)]
pub struct Log {
    pub id: LogId,
    pub first: u64,
    before_first: ChainHash,
    events: Vec<(Arc<Event>, ChainHash)>,
}

impl Log {
    pub fn new(id: [u8; 16]) -> Self {
        Self { id: LogId::from_bytes(id), first: 1, before_first: ChainHash::ZERO, events: Vec::new() }
    }

    pub fn head(&self) -> u64 {
        self.first - 1 + self.events.len() as u64
    }

    /// The chain at a number, where it is known still.
    pub fn hash_at(&self, seq: u64) -> Option<ChainHash> {
        match seq.checked_sub(self.first) {
            None => (seq + 1 == self.first).then_some(self.before_first),
            Some(index) => self.events.get(index as usize).map(|(_, hash)| *hash),
        }
    }

    pub fn head_hash(&self) -> ChainHash {
        self.events.last().map_or(self.before_first, |(_, hash)| *hash)
    }

    pub fn append(&mut self, event: Arc<Event>) {
        let hash = self.head_hash().after(&event.bytes);
        self.events.push((event, hash));
    }

    /// The kept events from a number on.
    pub fn from(&self, seq: u64) -> impl Iterator<Item = &Arc<Event>> {
        let skip = seq.saturating_sub(self.first) as usize;
        self.events.iter().skip(skip).map(|(event, _)| event)
    }

    /// Deletes up to a number, at most up to the head. Returns what was deleted.
    pub fn prune(&mut self, through: u64) -> Vec<Arc<Event>> {
        let through = through.min(self.head());
        let count = (through + 1).saturating_sub(self.first) as usize;
        if let Some(hash) = self.hash_at(through).filter(|_| count > 0) {
            self.before_first = hash;
            self.first = through + 1;
        }
        self.events.drain(..count).map(|(event, _)| event).collect()
    }

    pub fn own(&self, is_current: bool) -> OwnLog {
        OwnLog {
            log_id: self.id,
            first: self.first,
            head: self.head(),
            head_hash: self.head_hash(),
            is_current,
        }
    }
}
