//! The one place between the camera's thread and whoever looks at its frames.
//!
//! It holds one frame. A newer one replaces it, and what was replaced is counted as dropped: whoever is slow sees the
//! latest picture, never an old one. The memory of a frame goes round: who took a frame gives its bytes back when it is
//! done with them, and the camera fills them again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Frame;

/// Buffers that wait to be filled: one that the camera fills next, one that came back meanwhile.
const SPARE_BUFFERS: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub struct Slot {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    frame: Option<Frame>,
    spare: Vec<Vec<u8>>,
    dropped: u64,
    is_closed: bool,
}

impl Slot {
    /// Puts a frame in the place of the one that nobody took.
    pub fn put(&self, frame: Frame) {
        let mut inner = self.lock();
        if inner.is_closed {
            return;
        }
        if let Some(replaced) = inner.frame.replace(frame) {
            inner.dropped += 1;
            metrics::counter!("rollcall_frames_total", "what" => "dropped").increment(1);
            inner.keep(replaced.bytes);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// An empty buffer, with the memory of an earlier frame where one came back.
    pub fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.lock().spare.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// The latest frame, as soon as there is one; `None` when none came in this time, or none will come.
    pub fn take(&self, timeout: Duration) -> Option<Frame> {
        let waits = |inner: &mut Inner| inner.frame.is_none() && !inner.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.frame.take()
    }

    /// Gives the bytes of a frame back.
    pub fn give_back(&self, bytes: Vec<u8>) {
        self.lock().keep(bytes);
    }

    /// Nothing more comes; what is there can still be taken.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Whether nothing is there and nothing more comes.
    pub fn is_over(&self) -> bool {
        let inner = self.lock();
        inner.is_closed && inner.frame.is_none()
    }

    /// Frames that were replaced before somebody took them.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Nothing inside can be left half changed by a panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, bytes: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::time::Instant;

    use rollcall_vision::decode::{FrameFormat, FrameLayout};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn frame(number: u64, bytes: Vec<u8>) -> Frame {
        let layout = FrameLayout { width: 16, height: 16, format: FrameFormat::Yuyv, stride_bytes: 0 };
        Frame { bytes, layout, captured: Instant::now(), number }
    }

    #[test]
    fn f088_the_latest_frame_wins_and_the_others_are_counted() {
        let slot = Slot::default();
        assert!(slot.take(Duration::ZERO).is_none());
        for number in 1..=6 {
            slot.put(frame(number, Vec::new()));
        }
        assert_eq!(slot.take(Duration::ZERO).unwrap().number, 6);
        assert!(slot.take(Duration::ZERO).is_none());
        assert_eq!(slot.dropped(), 5);
    }

    #[test]
    fn f088_memory_goes_round() {
        let slot = Slot::default();
        let mut known = Vec::new();
        for number in 1..=100 {
            let mut buffer = slot.buffer();
            assert!(buffer.is_empty());
            buffer.resize(1_000, 7);
            if !known.contains(&buffer.as_ptr()) {
                known.push(buffer.as_ptr());
            }
            slot.put(frame(number, buffer));
            if number % 3 == 0 {
                slot.give_back(slot.take(Duration::ZERO).unwrap().bytes);
            }
        }
        assert!(known.len() <= 3, "{known:?}");
    }

    #[test]
    fn f088_buffers_that_come_back_do_not_pile_up() {
        let slot = Slot::default();
        for _ in 0..10 {
            slot.give_back(Vec::with_capacity(10));
        }
        assert_eq!(slot.lock().spare.len(), SPARE_BUFFERS);
    }

    #[test]
    fn who_waits_gets_the_frame_when_it_comes_and_nothing_once_it_is_over() {
        let slot = Arc::new(Slot::default());
        let taker = std::thread::spawn({
            let slot = Arc::clone(&slot);
            move || (slot.take(LONG).map(|frame| frame.number), slot.take(LONG).map(|frame| frame.number))
        });
        slot.put(frame(1, Vec::new()));
        while slot.lock().frame.is_some() {
            std::thread::yield_now();
        }
        slot.close();
        assert_eq!(taker.join().unwrap(), (Some(1), None));
    }

    #[test]
    fn the_last_frame_can_be_taken_after_the_end() {
        let slot = Slot::default();
        slot.put(frame(1, Vec::new()));
        slot.close();
        assert!(!slot.is_over());
        slot.put(frame(2, Vec::new()));
        assert_eq!(slot.take(LONG).unwrap().number, 1);
        assert!(slot.is_over() && slot.take(LONG).is_none());
    }
}
