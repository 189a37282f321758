//! Badges: QR codes that are shown to the camera.
//!
//! A thread named `badges` has one place for a grey picture. Whoever has a frame offers it; it is taken only when the
//! thread is idle and the pace allows, so that a busy thread costs a look at a lock. Only texts that begin as our badges
//! do are handed on; whether one is genuine is for the gallery. A badge that is held up counts once, and again only
//! after it was gone for some seconds.
//!
//! Codes come from strangers: only small ones are read, a few in a picture, and a panic of the reader costs that picture.
//!
//! A badge that nobody has room for (the queue is full) is not remembered, and counts with the next picture.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rollcall_core::limits;
use rollcall_vision::RgbImage;
use rqrr::{BitGrid as _, PreparedImage};
use tokio::sync::mpsc;

use super::{Presented, ReaderError};

/// What a badge of any site begins with (`services/gallery`, credentials).
const PREFIX: &str = "RC1.";

const PACE: Duration = Duration::from_millis(1_000 / limits::BADGE_PICTURES_A_SECOND as u64);
const GONE: Duration = Duration::from_millis(limits::BADGE_GONE_MS);

/// The running thread; it ends when this is dropped.
pub struct Badges {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    place: Mutex<Place>,
    is_filled: Condvar,
}

/// The place for one picture.
#[derive(Default)]
struct Place {
    picture: Gray,
    state: State,
    taken: Option<Instant>,
    is_over: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// A picture may be put in.
    #[default]
    Free,
    /// There is one.
    Filled,
    /// It is being read.
    Busy,
}

/// A grey picture, its buffer used again and again.
#[derive(Default)]
struct Gray {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Badges {
    /// Starts the thread, which sends what it reads to `to`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(to: mpsc::Sender<Presented>) -> Result<Self, ReaderError> {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("badges".into())
            .spawn(move || run(&its, &to))
            .map_err(ReaderError::Thread)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has a look at a picture taken at `now`, if there is time for it. Says whether there is. Takes well under a
    /// millisecond for 640 x 480.
    pub fn offer(&self, picture: &RgbImage, now: Instant) -> bool {
        let mut place = self.shared.place();
        let is_early = place.taken.is_some_and(|taken| now.saturating_duration_since(taken) < PACE);
        if place.state != State::Free || is_early {
            return false;
        }
        place.picture.gray_from_rgb(picture);
        place.state = State::Filled;
        place.taken = Some(now);
        self.shared.is_filled.notify_one();
        true
    }
}

impl Drop for Badges {
    fn drop(&mut self) {
        self.shared.place().is_over = true;
        self.shared.is_filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its panics are caught; if one was not, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Nobody leaves it half changed, so a panic elsewhere does not matter.
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a picture; `None` when it is over.
    fn next(&self) -> Option<(Gray, Instant)> {
        let waits = |place: &mut Place| place.state != State::Filled && !place.is_over;
        let place = self.is_filled.wait_while(self.place(), waits);
        let mut place = place.unwrap_or_else(PoisonError::into_inner);
        let taken = place.taken.filter(|_| !place.is_over)?;
        place.state = State::Busy;
        Some((std::mem::take(&mut place.picture), taken))
    }

    fn give_back(&self, picture: Gray) {
        let mut place = self.place();
        place.picture = picture;
        place.state = State::Free;
    }
}

fn run(shared: &Shared, to: &mpsc::Sender<Presented>) {
    let mut held = Held::default();
    while let Some((picture, taken)) = shared.next() {
        for text in badges(&picture) {
            if !held.is_seen(&text, taken) && to.try_send(Presented::Badge(text.clone())).is_ok() {
                held.remember(text, taken);
            }
        }
        shared.give_back(picture);
    }
}

/// The badges in a picture. A panic of the reader, which a hostile code may cause, makes it none.
fn badges(picture: &Gray) -> Vec<String> {
    let read = catch_unwind(AssertUnwindSafe(|| codes(picture)));
    let mut texts = read.unwrap_or_else(|_| {
        tracing::warn!("a picture of a QR code could not be read");
        Vec::new()
    });
    texts.retain(|text| text.starts_with(PREFIX));
    texts
}

fn codes(picture: &Gray) -> Vec<String> {
    let Gray { width, height, pixels } = picture;
    let at = |x: usize, y: usize| pixels.get(y * width + x).copied().unwrap_or(u8::MAX);
    let mut prepared = PreparedImage::prepare_from_greyscale(*width, *height, at);
    let grids = prepared.detect_grids();
    let small = grids.iter().filter(|grid| grid.grid.size() <= limits::BADGE_MODULES);
    small.take(limits::BADGES_AT_ONCE).filter_map(|grid| Some(grid.decode().ok()?.1)).collect()
}

impl Gray {
    /// Luma (BT.601), a picture that is too large made smaller by averaging squares.
    fn gray_from_rgb(&mut self, picture: &RgbImage) {
        let (width, height) = (picture.width(), picture.height());
        let step = width.max(height).div_ceil(limits::BADGE_PICTURE_PIXELS);
        (self.width, self.height) = (width / step, height / step);
        self.pixels.clear();
        if step == 1 {
            self.pixels.extend(picture.data().chunks_exact(3).map(|pixel| luma_of(pixel) as u8));
            return;
        }
        let area = (step * step) as u32;
        for y in 0..self.height {
            for x in 0..self.width {
                let rows = (y * step..(y + 1) * step).map(|row| (row * width + x * step) * 3);
                let squares = rows.filter_map(|start| picture.data().get(start..start + step * 3));
                let sum: u32 = squares.flat_map(|row| row.chunks_exact(3)).map(luma_of).sum();
                self.pixels.push((sum / area) as u8);
            }
        }
    }
}

/// 0 to 255.
fn luma_of(pixel: &[u8]) -> u32 {
    let part = |at: usize| u32::from(pixel.get(at).copied().unwrap_or(0));
    (77 * part(0) + 150 * part(1) + 29 * part(2)) >> 8
}

/// Badges that are held up, or were just now.
#[derive(Default)]
struct Held(Vec<(String, Instant)>);

impl Held {
    /// Whether it was seen already and not gone for long enough since.
    fn is_seen(&mut self, text: &str, now: Instant) -> bool {
        self.0.retain(|(_, seen)| now.saturating_duration_since(*seen) < GONE);
        let known = self.0.iter_mut().find(|(known, _)| known == text);
        known.map(|(_, seen)| *seen = now).is_some()
    }

    /// The one that was seen the longest ago goes where there are too many.
    fn remember(&mut self, text: String, now: Instant) {
        if self.0.len() >= limits::BADGES_AT_ONCE {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, (_, seen))| *seen);
            oldest.map(|(at, _)| at).map(|at| self.0.swap_remove(at));
        }
        self.0.push((text, now));
    }
}

#[cfg(test)]
#[path = "badge_tests.rs"]
mod tests;
