//! What the pipeline has done since it began, as a snapshot and as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::counter;

/// What a frame was, or what was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Taken from the camera's slot.
    Taken,
    /// Older than a second when it was taken, and not looked at.
    Stale,
    /// A copy of the one before, and not looked at.
    Copy,
    /// Damaged, and not looked at.
    Unreadable,
    /// Not looked at because nothing moves.
    Rested,
    /// Searched whole.
    Searched,
    /// Looked at where faces were.
    Followed,
    /// Lost to a panic.
    Panicked,
    /// Looked at for an enrolment.
    Captured,
}

impl What {
    const ALL: [Self; 9] = [
        Self::Taken,
        Self::Stale,
        Self::Copy,
        Self::Unreadable,
        Self::Rested,
        Self::Searched,
        Self::Followed,
        Self::Panicked,
        Self::Captured,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Stale => "stale",
            Self::Copy => "copy",
            Self::Unreadable => "unreadable",
            Self::Rested => "rested",
            Self::Searched => "searched",
            Self::Followed => "followed",
            Self::Panicked => "panicked",
            Self::Captured => "captured",
        }
    }
}

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Counters {
    frames: [AtomicU64; What::ALL.len()],
    embeddings: AtomicU64,
    verdicts_lost: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Frames taken.
    pub taken: u64,
    /// Frames that the camera gave and nobody took.
    pub dropped: u64,
    /// Frames that were too old.
    pub stale: u64,
    /// Frames that were copies.
    pub copies: u64,
    /// Frames that could not be read.
    pub unreadable: u64,
    /// Frames passed over at rest.
    pub rested: u64,
    /// Whole pictures searched.
    pub searched: u64,
    /// Pictures in which faces were followed.
    pub followed: u64,
    /// Embeddings made.
    pub embedded: u64,
    /// Panics.
    pub panics: u64,
    /// Verdicts that nobody took in time.
    pub verdicts_lost: u64,
}

/// Says what the metrics are; once, when the recorder is there.
pub fn describe() {
    metrics::describe_counter!("rollcall_frames_total", "Camera frames, by what was done with them.");
    metrics::describe_counter!("rollcall_embeddings_total", "Embeddings made of faces before the camera.");
    metrics::describe_counter!("rollcall_verdicts_lost_total", "Verdicts that nobody took in time.");
}

impl Counters {
    /// One more frame.
    pub fn frame(&self, what: What) {
        self.frames[what as usize].fetch_add(1, Ordering::Relaxed);
        counter!("rollcall_frames_total", "what" => what.name()).increment(1);
    }

    /// One more embedding.
    pub fn embedding(&self) {
        self.embeddings.fetch_add(1, Ordering::Relaxed);
        counter!("rollcall_embeddings_total").increment(1);
    }

    /// One more verdict that nobody took.
    pub fn verdict_lost(&self) {
        self.verdicts_lost.fetch_add(1, Ordering::Relaxed);
        counter!("rollcall_verdicts_lost_total").increment(1);
    }

    /// All of them, with what the slot has dropped.
    pub fn snapshot(&self, dropped: u64) -> Snapshot {
        let of = |what: What| self.frames[what as usize].load(Ordering::Relaxed);
        Snapshot {
            taken: of(What::Taken),
            dropped,
            stale: of(What::Stale),
            copies: of(What::Copy),
            unreadable: of(What::Unreadable),
            rested: of(What::Rested),
            searched: of(What::Searched),
            followed: of(What::Followed),
            embedded: self.embeddings.load(Ordering::Relaxed),
            panics: of(What::Panicked),
            verdicts_lost: self.verdicts_lost.load(Ordering::Relaxed),
        }
    }
}
