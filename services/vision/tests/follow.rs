//! A face that is followed is the face that a full search finds, on the bundled portraits.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use rollcall_vision::decode::decode;
use rollcall_vision::{FaceReader, Models, Rect, RgbImage};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn reader() -> FaceReader {
    FaceReader::load(&Models::open(&root().join("models")).unwrap()).unwrap()
}

fn portraits() -> Vec<RgbImage> {
    let folder = root().join("deploy/demo/pictures");
    let pictures = ["astronaut.png", "biden.jpg", "obama3.jpg"].map(|name| std::fs::read(folder.join(name)));
    pictures.map(|bytes| decode(&bytes.unwrap()).unwrap()).into()
}

fn moved(bounds: Rect, right: f32, down: f32, larger: f32) -> Rect {
    let (w, h) = (bounds.width(), bounds.height());
    let (x, y) = (bounds.x0 + w * (0.5 + right), bounds.y0 + h * (0.5 + down));
    let (w, h) = (w * larger / 2.0, h * larger / 2.0);
    Rect { x0: x - w, y0: y - h, x1: x + w, y1: y + h }
}

#[test]
fn a_face_that_is_followed_is_the_one_that_a_full_search_finds() {
    let mut reader = reader();
    for image in portraits() {
        let faces = reader.detect(&image, 40, &mut |_| ()).unwrap();
        for face in &faces {
            let aligned = reader.look(&image, face).unwrap().0;
            let embedding = reader.embed(&aligned).unwrap();
            for (right, down, larger) in
                [(0.0, 0.0, 1.0), (0.1, 0.0, 1.0), (-0.1, 0.05, 1.0), (0.0, 0.1, 1.1), (0.0, -0.1, 0.9)]
            {
                let place = moved(face.bounds, right, down, larger);
                let followed = reader.follow(&image, &[place]).unwrap()[0].expect("the face");
                let apart = |(a, b): (&[f32; 2], &[f32; 2])| (a[0] - b[0]).hypot(a[1] - b[1]);
                let pairs = followed.landmarks.points.iter().zip(&face.landmarks.points);
                let worst = pairs.map(apart).fold(0.0, f32::max) / face.landmarks.inter_ocular_px();
                let iou = followed.bounds.iou(&face.bounds);
                let aligned = reader.look(&image, &followed).unwrap().0;
                let cosine = reader.embed(&aligned).unwrap().cosine(&embedding);
                // Measured: at least 0.89, at most 0.11, at least 0.973. The last stage sees another cut than after the second stage.
                assert!(iou > 0.85 && worst < 0.12 && cosine > 0.97, "{iou} {worst} {cosine}");
            }
        }
    }
}

#[test]
fn a_face_that_stands_still_stays_where_it_is_however_long_it_is_followed() {
    let mut reader = reader();
    for image in portraits() {
        for face in reader.detect(&image, 40, &mut |_| ()).unwrap() {
            let mut place = face.bounds;
            for _ in 0..50 {
                place = reader.follow(&image, &[place]).unwrap()[0].expect("the face").bounds;
            }
            assert!(place.iou(&face.bounds) > 0.85);
        }
    }
}

#[test]
fn where_no_face_is_none_is_followed() {
    let mut reader = reader();
    let image = RgbImage::new(200, 100, vec![90; 60_000]).unwrap();
    let places = [(20.0, 80.0), (-500.0, -400.0), (f32::NAN, 80.0), (90.0, 20.0)].map(|(x0, x1)| Rect {
        x0,
        y0: 10.0,
        x1,
        y1: 70.0,
    });
    assert_eq!(reader.follow(&image, &places).unwrap(), [None; 4]);
    assert_eq!(reader.follow(&image, &[]).unwrap(), []);
}
