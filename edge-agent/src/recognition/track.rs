//! Faces over frames: which face of this frame is which of the last. Pure: faces and times in, tracks out.
//!
//! Each track is expected where its speed brings it. The faces of a frame go to the tracks that expect them, nearest
//! first, within gates of distance and size. Where a face could as well be of another track, neither keeps it: both end
//! and the face begins a track of its own. So people who cross keep their tracks or lose them, and never exchange them.
//!
//! At most so many faces as told are followed, the largest.

use std::time::{Duration, Instant};

use rollcall_vision::{Face, Rect};

use super::TrackId;

/// A track ends when its face was not seen for this long: a nod or somebody walking past takes less.
pub const LOST_AFTER: Duration = Duration::from_millis(700);

/// How far from where it is expected a face may be, in its own size, a frame after it was seen. At a run past the door, 3
/// m/s, a face moves by 0.2 m, a little more than its size, in a fifteenth of a second; its speed is known by then.
const REACH: f32 = 0.5;

/// How much larger or smaller it may be than it was. Walking up to a door changes it by some 4 % a frame.
const GROWTH_MAX: f32 = 1.35;

/// A face whose two nearest tracks are within this of each other, in its size, could be of either.
const AMBIGUOUS: f32 = 0.2;

/// Two found faces that overlap more are one.
const SAME_IOU: f32 = 0.5;

/// A newcomer must be this much larger in area to take the place of the smallest track: two faces of about one size
/// would otherwise take turns.
const DISPLACES: f32 = 1.3;

/// Weight of the newest movement in a track's speed.
const SPEED_NEW: f32 = 0.5;

/// One face over frames.
#[derive(Clone, Debug)]
pub struct Track {
    /// Which.
    pub id: TrackId,
    /// As it was last seen.
    pub face: Face,
    /// When.
    pub seen_at: Instant,
    /// Of its centre, in pixels a second, to the right and down.
    speed: [f32; 2],
}

impl Track {
    /// Where it is expected.
    pub fn expected(&self, now: Instant) -> Rect {
        let seconds = now.saturating_duration_since(self.seen_at).as_secs_f32();
        let Rect { x0, y0, x1, y1 } = self.face.bounds;
        let [right, down] = self.speed.map(|speed| speed * seconds);
        Rect { x0: x0 + right, y0: y0 + down, x1: x1 + right, y1: y1 + down }
    }

    /// How far a face is from where the track is expected, in sizes of a face; `None` beyond the gates.
    fn distance(&self, face: &Face, now: Instant) -> Option<f32> {
        let expected = self.expected(now);
        let (was, is) = (size(&expected), size(&face.bounds));
        let growth = (is / was).max(was / is);
        let ([x, y], [u, v]) = (centre(&expected), centre(&face.bounds));
        let distance = (x - u).hypot(y - v) / was.max(is);
        (growth <= GROWTH_MAX && distance <= REACH).then_some(distance)
    }

    fn see(&mut self, face: Face, now: Instant) {
        let seconds = now.saturating_duration_since(self.seen_at).as_secs_f32();
        if seconds > 0.0 {
            let (from, to) = (centre(&self.face.bounds), centre(&face.bounds));
            for (axis, speed) in self.speed.iter_mut().enumerate() {
                *speed += SPEED_NEW * ((to[axis] - from[axis]) / seconds - *speed);
            }
        }
        self.face = face;
        self.seen_at = now;
    }
}

/// Where faces were looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// In the whole picture: whoever is new begins a track.
    Everywhere,
    /// Where tracks are expected.
    AtTracks,
}

/// All tracks.
#[derive(Debug)]
pub struct Tracker {
    tracks: Vec<Track>,
    faces_max: usize,
    last: u64,
    looked_at: Option<Instant>,
}

impl Tracker {
    /// Nobody is in view. At most `faces_max` faces will be followed.
    pub fn new(faces_max: usize) -> Self {
        Self { tracks: Vec::new(), faces_max, last: 0, looked_at: None }
    }

    /// The tracks there are, those whose face was not seen in the last frame too.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Takes the faces of one frame and returns the tracks that ended.
    pub fn update(&mut self, faces: &[Face], looked: Looked, now: Instant) -> Vec<TrackId> {
        let faces = distinct(faces);
        let owners = self.owners(&faces, now);
        let contested = owners.iter().filter_map(|owner| owner.contested());
        let mut ended: Vec<TrackId> = contested.flatten().collect();
        ended.sort_unstable();
        ended.dedup();
        let mut new = Vec::new();
        for (face, owner) in faces.into_iter().zip(&owners) {
            let of = |id: &TrackId| !ended.contains(id);
            match owner {
                Owner::One(id) if of(id) => {
                    self.tracks.iter_mut().filter(|t| t.id == *id).for_each(|t| t.see(face, now));
                }
                Owner::Contested(..) | Owner::One(_) => new.push(face),
                Owner::Nobody if looked == Looked::Everywhere => new.push(face),
                Owner::Nobody => {}
            }
        }
        self.tracks.retain(|track| !ended.contains(&track.id));
        ended.extend(self.expire(now));
        new.sort_by(|a, b| b.bounds.area().total_cmp(&a.bounds.area()));
        ended.extend(new.into_iter().map_while(|face| self.begin(face, now)).flatten());
        self.looked_at = Some(now);
        ended
    }

    /// Ends the tracks whose face was not seen for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<TrackId> {
        let lost = |track: &Track| now.saturating_duration_since(track.seen_at) >= LOST_AFTER;
        let ended = self.tracks.iter().filter(|track| lost(track)).map(|track| track.id).collect();
        self.tracks.retain(|track| !lost(track));
        ended
    }

    /// Ends every track: whoever is in view begins a new one.
    pub fn end_all(&mut self) -> Vec<TrackId> {
        self.tracks.drain(..).map(|track| track.id).collect()
    }

    /// Begins a track; `None` when there is no place for it, else the one whose place it took.
    fn begin(&mut self, face: Face, now: Instant) -> Option<Option<TrackId>> {
        let mut displaced = None;
        if self.tracks.len() >= self.faces_max {
            let area = |track: &Track| track.face.bounds.area();
            let (at, smallest) =
                (0..).zip(&self.tracks).min_by(|(_, a), (_, b)| area(a).total_cmp(&area(b)))?;
            if face.bounds.area() < DISPLACES * area(smallest) {
                return None;
            }
            displaced = Some(self.tracks.swap_remove(at).id);
        }
        self.last += 1;
        self.tracks.push(Track { id: TrackId(self.last), face, seen_at: now, speed: [0.0; 2] });
        Some(displaced)
    }

    /// Whose each face is, nearest pairs first.
    fn owners(&self, faces: &[Face], now: Instant) -> Vec<Owner> {
        let mut pairs: Vec<(f32, usize, &Track)> = Vec::new();
        for (at, face) in faces.iter().enumerate() {
            let near = self.tracks.iter().filter_map(|track| Some((track.distance(face, now)?, at, track)));
            pairs.extend(near);
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut owners = vec![Owner::Nobody; faces.len()];
        let mut placed: Vec<TrackId> = Vec::new();
        for &(distance, at, track) in &pairs {
            if owners[at] != Owner::Nobody || placed.contains(&track.id) {
                continue;
            }
            placed.push(track.id);
            // Whoever was not seen in the last frame cannot claim the face of somebody who was.
            let rival = pairs.iter().find(|(other_distance, other_at, other)| {
                let claims = self.was_seen(other) || !self.was_seen(track);
                *other_at == at && other.id != track.id && claims && other_distance - distance < AMBIGUOUS
            });
            owners[at] = match rival {
                Some((_, _, rival)) => Owner::Contested(track.id, rival.id),
                None => Owner::One(track.id),
            };
        }
        owners
    }

    fn was_seen(&self, track: &Track) -> bool {
        self.looked_at.is_none_or(|at| track.seen_at >= at)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    One(TrackId),
    Contested(TrackId, TrackId),
}

impl Owner {
    fn contested(self) -> Option<[TrackId; 2]> {
        match self {
            Self::Contested(a, b) => Some([a, b]),
            Self::Nobody | Self::One(_) => None,
        }
    }
}

/// Each face once, of two that are one the surer.
fn distinct(faces: &[Face]) -> Vec<Face> {
    let mut sorted = faces.to_vec();
    sorted.retain(|face| {
        face.bounds.area() > 0.0 && face.landmarks.points.as_flattened().iter().all(|v| v.is_finite())
    });
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Face> = Vec::new();
    for face in sorted {
        if kept.iter().all(|other| other.bounds.iou(&face.bounds) <= SAME_IOU) {
            kept.push(face);
        }
    }
    kept
}

fn size(bounds: &Rect) -> f32 {
    bounds.area().max(1.0).sqrt()
}

fn centre(bounds: &Rect) -> [f32; 2] {
    [(bounds.x0 + bounds.x1) / 2.0, (bounds.y0 + bounds.y1) / 2.0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollcall_vision::Landmarks;

    use super::*;

    fn face(x: f32, y: f32, side: f32) -> Face {
        let bounds = Rect { x0: x - side / 2.0, y0: y - side / 2.0, x1: x + side / 2.0, y1: y + side / 2.0 };
        let points = [(-0.2, -0.1), (0.2, -0.1), (0.0, 0.05), (-0.15, 0.25), (0.15, 0.25)]
            .map(|(u, v)| [x + u * side, y + v * side]);
        Face { bounds, score: 0.99, landmarks: Landmarks { points } }
    }

    /// Plays frames a fifteenth of a second apart. Of each the ids by x, of those seen in it.
    fn play(tracker: &mut Tracker, frames: impl IntoIterator<Item = Vec<Face>>) -> Vec<Vec<(u64, i32)>> {
        let start = Instant::now();
        let mut all = Vec::new();
        for (number, faces) in frames.into_iter().enumerate() {
            let now = start + Duration::from_millis(66) * number as u32;
            let looked = if number % 3 == 0 { Looked::Everywhere } else { Looked::AtTracks };
            tracker.update(&faces, looked, now);
            let seen = tracker.tracks().iter().filter(|track| track.seen_at == now);
            all.push(seen.map(|t| (t.id.0, centre(&t.face.bounds)[0].round() as i32)).collect());
        }
        all
    }

    #[test]
    fn somebody_who_walks_by_keeps_one_track() {
        let mut tracker = Tracker::new(10);
        let walk = (0..30).map(|n| vec![face(50.0 + 18.0 * n as f32, 200.0, 80.0 + n as f32)]);
        let seen = play(&mut tracker, walk);
        assert!(seen.iter().all(|seen| seen.len() == 1 && seen[0].0 == 1), "{seen:?}");
    }

    #[test]
    fn a_face_that_is_lost_for_a_moment_keeps_its_track_and_later_none() {
        for (missed, id) in [(3, 1), (9, 1), (11, 2), (30, 2)] {
            let frames = (0..60)
                .map(|n| if (10..10 + missed).contains(&n) { vec![] } else { vec![face(99.0, 99.0, 60.0)] });
            let seen = play(&mut Tracker::new(10), frames);
            assert_eq!(seen.last().map(|seen| seen[0].0), Some(id), "{missed} frames missed");
        }
    }

    #[test]
    fn two_who_cross_never_exchange_their_tracks() {
        for (offset, speed) in [(0.0, 6.0), (0.0, 14.0), (15.0, 6.0), (30.0, 10.0), (60.0, 8.0)] {
            let at = |n: usize| (100.0 + speed * n as f32, 400.0 - speed * n as f32);
            let frames = (0..40).map(|n| {
                let (a, b) = (face(at(n).0, 200.0, 90.0), face(at(n).1, 200.0 + offset, 84.0));
                // The one behind cannot be seen while they overlap.
                if a.bounds.iou(&b.bounds) > 0.2 { vec![a] } else { vec![a, b] }
            });
            let mut tracker = Tracker::new(10);
            for (n, seen) in play(&mut tracker, frames).iter().enumerate() {
                for &(id, x) in seen {
                    let (a, b) = at(n);
                    let of_a = (x as f32 - a).abs() <= 1.0;
                    let of_b = (x as f32 - b).abs() <= 1.0;
                    let is_its_own = match id {
                        1 => of_a,
                        2 => of_b,
                        _ => true,
                    };
                    assert!(is_its_own, "{offset} {speed}: frame {n}, {seen:?}");
                }
            }
        }
    }

    #[test]
    fn somebody_else_in_the_same_place_of_another_size_is_another_track() {
        let frames = (0..20).map(|n| vec![face(200.0, 200.0, if n < 10 { 60.0 } else { 120.0 })]);
        let seen = play(&mut Tracker::new(10), frames);
        assert_eq!((seen[9][0].0, seen[19][0].0), (1, 2));
    }

    #[test]
    fn f088_of_a_thousand_faces_the_largest_are_followed() {
        let crowd: Vec<Face> = (0..1_000)
            .map(|n| face(100.0 * (n % 40) as f32, 100.0 * (n / 40) as f32, 40.0 + n as f32 / 50.0))
            .collect();
        let mut tracker = Tracker::new(8);
        tracker.update(&crowd, Looked::Everywhere, Instant::now());
        let mut sizes: Vec<f32> = tracker.tracks().iter().map(|t| size(&t.face.bounds)).collect();
        sizes.sort_by(f32::total_cmp);
        assert_eq!(sizes.len(), 8);
        assert!(sizes[0] > 59.8, "{sizes:?}");
    }

    #[test]
    fn a_larger_face_takes_the_place_of_the_smallest() {
        let mut tracker = Tracker::new(2);
        let now = Instant::now();
        tracker.update(&[face(100.0, 100.0, 50.0), face(300.0, 100.0, 80.0)], Looked::Everywhere, now);
        let all = [face(100.0, 100.0, 50.0), face(300.0, 100.0, 80.0), face(500.0, 100.0, 53.0)];
        assert_eq!(tracker.update(&all, Looked::Everywhere, now), []);
        let all = [face(100.0, 100.0, 50.0), face(300.0, 100.0, 80.0), face(500.0, 100.0, 70.0)];
        assert_eq!(tracker.update(&all, Looked::Everywhere, now), [TrackId(2)]);
    }

    #[test]
    fn a_face_found_twice_is_one() {
        let mut tracker = Tracker::new(9);
        tracker.update(
            &[face(99.0, 99.0, 50.0), face(104.0, 99.0, 52.0)],
            Looked::Everywhere,
            Instant::now(),
        );
        assert_eq!(tracker.tracks().len(), 1);
    }

    proptest! {
        #[test]
        fn tracks_are_distinct_bounded_and_end_once(
            frames in proptest::collection::vec(
                (proptest::collection::vec((0.0..640.0f32, 0.0..480.0f32, 30.0..200.0f32), 0..12), 0..500u64, any::<bool>()),
                1..40,
            ),
        ) {
            let mut tracker = Tracker::new(5);
            let (mut now, mut ended, mut known) = (Instant::now(), Vec::new(), Vec::new());
            for (faces, ms, everywhere) in frames {
                now += Duration::from_millis(ms);
                let faces: Vec<Face> = faces.into_iter().map(|(x, y, side)| face(x, y, side)).collect();
                let looked = if everywhere { Looked::Everywhere } else { Looked::AtTracks };
                ended.extend(tracker.update(&faces, looked, now));
                let ids: Vec<TrackId> = tracker.tracks().iter().map(|track| track.id).collect();
                prop_assert!(ids.len() <= 5);
                for id in &ids {
                    prop_assert!(!ended.contains(id), "{id:?} was over");
                    prop_assert_eq!(ids.iter().filter(|other| *other == id).count(), 1);
                }
                known.extend(ids);
                prop_assert!(tracker.tracks().iter().all(|track| now - track.seen_at < LOST_AFTER));
            }
            let mut once = ended.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), ended.len());
        }
    }
}
