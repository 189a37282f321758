//! What the real networks make of the scenes: faces are found and compared as each scene means it. A scene that fails
//! here would make the whole-system tests say something about the scene and not about the program.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use rollcall_tests::pictures;
use rollcall_tests::repository;
use rollcall_tests::scene::{Film, Scene, TURNS_AT_S, jpeg};
use rollcall_vision::decode::decode;
use rollcall_vision::{Embedding, FaceReader, Models, Quality, QualityLimits, Rect};

struct Seen {
    at_s: f32,
    bounds: Rect,
    quality: Quality,
    nose_offset: f32,
    first: f32,
    second: f32,
}

struct Watcher {
    reader: FaceReader,
    first: Embedding,
    second: Embedding,
}

impl Watcher {
    fn new() -> Self {
        let mut reader = FaceReader::load(&Models::open(&repository("models")).unwrap()).unwrap();
        let mut learn = |names: &[&str]| {
            let each: Vec<Embedding> = names
                .iter()
                .map(|name| {
                    let picture = decode(&pictures::portrait(name)).unwrap();
                    let faces = reader.detect(&picture, 40, &mut |_| ()).unwrap();
                    let (aligned, _) = reader.look(&picture, &faces[0]).unwrap();
                    reader.embed(&aligned).unwrap()
                })
                .collect();
            Embedding::mean(&each).unwrap()
        };
        let (first, second) = (learn(&["obama.jpg", "obama2.jpg"]), learn(&["astronaut.png"]));
        Self { reader, first, second }
    }

    fn watch(&mut self, scene: Scene, fps: u32) -> Vec<Vec<Seen>> {
        let film = Film { fps, ..Film::default() };
        film.frames(scene)
            .enumerate()
            .map(|(number, frame)| {
                let frame = decode(&jpeg(&frame)).unwrap();
                let faces = self.reader.detect(&frame, 40, &mut |_| ()).unwrap();
                faces
                    .iter()
                    .filter_map(|face| {
                        let (aligned, quality) = self.reader.look(&frame, face)?;
                        let embedding = self.reader.embed(&aligned).unwrap();
                        Some(Seen {
                            at_s: number as f32 / fps as f32,
                            bounds: face.bounds,
                            quality,
                            nose_offset: quality.yaw_deg.to_radians().tan() * 0.5,
                            first: embedding.cosine(&self.first),
                            second: embedding.cosine(&self.second),
                        })
                    })
                    .collect()
            })
            .collect()
    }
}

/// Faces that count: seen well enough to be compared.
fn usable(frames: &[Vec<Seen>]) -> Vec<&Seen> {
    let limits = QualityLimits::RECOGNISE;
    frames.iter().flatten().filter(|seen| seen.quality.issues(&limits).is_empty()).collect()
}

/// A face that is whole in the picture.
fn is_whole(seen: &Seen) -> bool {
    seen.bounds.x0 > 0.0 && seen.bounds.y0 > 0.0 && seen.bounds.x1 < 640.0 && seen.bounds.y1 < 480.0
}

/// Somebody's score here is theirs, by far: thresholds are about 0.5.
const SAME: f32 = 0.7;
/// And here nobody's.
const OTHER: f32 = 0.4;

#[test]
fn whoever_comes_up_is_found_and_compares_as_who_they_are() {
    let mut watcher = Watcher::new();
    let seen = watcher.watch(Scene::WalkUp, 5);
    let whole: Vec<&Seen> = usable(&seen).into_iter().filter(|seen| is_whole(seen)).collect();
    assert!(whole.len() >= 20, "{}", whole.len());
    assert!(whole.iter().all(|seen| seen.first > SAME && seen.second < OTHER));
    let seen = watcher.watch(Scene::Stranger, 5);
    assert!(usable(&seen).len() >= 20);
    assert!(usable(&seen).iter().all(|seen| seen.first < OTHER && seen.second < OTHER));
    let seen = watcher.watch(Scene::Crossing, 5);
    let whole: Vec<&Seen> = usable(&seen).into_iter().filter(|seen| is_whole(seen)).collect();
    assert!(whole.iter().filter(|seen| seen.first > SAME).count() >= 25);
    assert!(whole.iter().filter(|seen| seen.second > SAME).count() >= 25);
    let seen = watcher.watch(Scene::Passages, 5);
    assert!(usable(&seen).iter().filter(|seen| seen.first > SAME).count() >= 12);
    assert!(usable(&seen).iter().filter(|seen| seen.second > SAME).count() >= 12);
}

#[test]
fn of_five_people_five_faces_are_found_and_two_are_of_enrolled_people() {
    for frame in Watcher::new().watch(Scene::Five, 2) {
        assert_eq!(frame.len(), 5);
        for score in [|seen: &Seen| seen.first, |seen: &Seen| seen.second] {
            let mut scores: Vec<f32> = frame.iter().map(score).collect();
            scores.sort_by(f32::total_cmp);
            assert!(scores[4] > SAME && scores[3] < OTHER, "{scores:?}");
        }
    }
}

#[test]
fn a_turned_head_moves_its_nose_beyond_the_limit_and_stays_who_it_is() {
    let mut watcher = Watcher::new();
    for (scene, side) in [(Scene::HeadLeft, -1.0), (Scene::HeadRight, 1.0)] {
        let name = scene.name();
        let seen = watcher.watch(scene, 15);
        assert!(seen.iter().all(|frame| frame.len() == 1), "{name}");
        let faces: Vec<(&Seen, f32)> =
            seen.iter().flatten().map(|seen| (seen, seen.nose_offset * side)).collect();
        let beyond = faces.iter().filter(|(_, offset)| *offset >= 0.27).count();
        let furthest = faces.iter().map(|(_, offset)| *offset).fold(0.0, f32::max);
        println!("{name}: furthest {furthest:.2}, beyond the limit on {beyond} frames");
        assert!(beyond >= 12 && furthest > 0.3, "{name}: {beyond}, {furthest}");
        assert!(faces.iter().all(|(seen, offset)| *offset > -0.12 && seen.first > 0.45), "{name}");
        let mut ahead = faces.iter().filter(|(seen, _)| seen.at_s < TURNS_AT_S);
        assert!(ahead.all(|(seen, offset)| offset.abs() < 0.12 && seen.first > SAME), "{name}");
        let leap = faces.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs()).fold(0.0, f32::max);
        assert!(leap < 0.2, "{name}: {leap}");
    }
}

#[test]
fn whoever_sits_for_portraits_can_be_enrolled_from_ahead_and_from_both_sides() {
    let seen = Watcher::new().watch(Scene::Portraits, 5);
    assert!(seen.iter().all(|frame| frame.len() == 1));
    let good: Vec<&Seen> =
        seen.iter().flatten().filter(|seen| seen.quality.issues(&QualityLimits::ENROL).is_empty()).collect();
    let yaws = |from: f32, to: f32| -> Vec<f32> {
        good.iter().filter(|s| (from..to).contains(&s.at_s)).map(|s| s.quality.yaw_deg).collect()
    };
    let (ahead, right, left) = (yaws(0.0, 2.5), yaws(3.0, 4.5), yaws(5.5, 7.0));
    println!("ahead {ahead:?}, right {right:?}, left {left:?}");
    let mean = ahead.iter().sum::<f32>() / ahead.len() as f32;
    assert!(ahead.len() >= 10 && ahead.iter().all(|yaw| yaw.abs() < 14.0), "{ahead:?}");
    assert!(right.len() >= 5 && right.iter().all(|yaw| yaw - mean > 8.0), "{right:?}");
    assert!(left.len() >= 5 && left.iter().all(|yaw| mean - yaw > 8.0), "{left:?}");
    assert!(good.iter().all(|seen| seen.first > SAME));
}

#[test]
fn a_turned_photograph_keeps_its_nose_between_its_eyes() {
    let seen = Watcher::new().watch(Scene::Photograph, 15);
    let faces = usable(&seen);
    assert!(faces.len() >= 80, "{}", faces.len());
    let furthest = faces.iter().map(|seen| seen.nose_offset.abs()).fold(0.0, f32::max);
    println!("furthest {furthest:.2}");
    // At 0.27 a head counts as turned.
    assert!(furthest <= 0.15, "{furthest}");
    assert!(faces.iter().all(|seen| seen.first > SAME));
}

#[test]
fn what_cannot_be_judged_is_not() {
    let mut watcher = Watcher::new();
    for (scene, found_min) in
        [(Scene::Dark, 10), (Scene::Blurred, 0), (Scene::PasserBy, 4), (Scene::Badge, 10)]
    {
        let seen = watcher.watch(scene, 5);
        assert!(seen.iter().flatten().count() >= found_min, "{}", scene.name());
        let whole = usable(&seen).into_iter().filter(|seen| is_whole(seen)).count();
        assert_eq!(whole, 0, "{}", scene.name());
    }
    for scene in [Scene::Overexposed, Scene::Black, Scene::Covered, Scene::Nobody] {
        assert!(watcher.watch(scene, 5).iter().all(Vec::is_empty), "{}", scene.name());
    }
}
