//! What pictures are refused for enrolment, and with which words: by the shipped networks.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use rollcall_gallery::enrol::Verdict;
use rollcall_gallery::{Portrait, read_picture, read_portrait};
use rollcall_vision::decode::decode;
use rollcall_vision::{FaceReader, Models, RgbImage};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn reader() -> FaceReader {
    FaceReader::load(&Models::open(&root().join("models")).unwrap()).unwrap()
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(root().join("deploy/demo").join(name)).unwrap()
}

fn portrait() -> RgbImage {
    decode(&file("gallery/Barack Obama/obama.jpg")).unwrap()
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = (u32::try_from(image.width()).unwrap(), u32::try_from(image.height()).unwrap());
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(image.data()).unwrap();
    bytes
}

fn image(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> RgbImage {
    let data = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y));
    RgbImage::new(width, height, data.collect()).unwrap()
}

fn at(image: &RgbImage, x: usize, y: usize) -> [u8; 3] {
    let row = image.row(y);
    [row[x * 3], row[x * 3 + 1], row[x * 3 + 2]]
}

/// Each pixel the mean of its square of `side` pixels, at 1/`shrink` of the size.
fn averaged(from: &RgbImage, side: usize, shrink: usize) -> RgbImage {
    let (width, height) = (from.width() / shrink, from.height() / shrink);
    image(width, height, |x, y| {
        let columns = x * shrink..(x * shrink + side).min(from.width());
        let mut sum = [0usize; 3];
        let mut count = 0;
        for row in y * shrink..(y * shrink + side).min(from.height()) {
            for column in columns.clone() {
                let pixel = at(from, column, row);
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += usize::from(value));
                count += 1;
            }
        }
        sum.map(|sum| (sum / count) as u8)
    })
}

fn pasted(onto: &RgbImage, what: &RgbImage, left: usize, top: usize) -> RgbImage {
    image(onto.width(), onto.height(), |x, y| {
        let inside = (left..left + what.width()).contains(&x) && (top..top + what.height()).contains(&y);
        if inside { at(what, x - left, y - top) } else { at(onto, x, y) }
    })
}

fn beside(a: &RgbImage, b: &RgbImage) -> RgbImage {
    let grey = image(a.width() + b.width(), a.height().max(b.height()), |_, _| [128; 3]);
    pasted(&pasted(&grey, a, 0, 0), b, a.width(), 0)
}

fn cropped(from: &RgbImage, left: usize, top: usize, width: usize, height: usize) -> RgbImage {
    image(width, height, |x, y| at(from, left + x, top + y))
}

/// Whatever is complained of first.
const REFUSED: &[Verdict] = &[];

fn verdict(portrait: &Portrait) -> Verdict {
    portrait.embedding.as_ref().map_or_else(|refused| refused.verdict, |_| Verdict::Enrolled)
}

#[test]
fn f086_each_bad_picture_has_its_verdict_and_a_sentence() {
    let good = portrait();
    let face = reader().detect(&good, 40, &mut |_| {}).unwrap()[0].bounds;
    let (left, top) = (face.x0 as usize, face.y0 as usize);
    let (width, height) = (face.width() as usize, face.height() as usize);
    let shrink = |factor| averaged(&good, factor, factor);
    let cartoon = image(400, 400, |x, y| {
        let near = |cx: usize, cy: usize, r: usize| x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) < r * r;
        match () {
            () if near(150, 160, 20) || near(250, 160, 20) => [0, 0, 0],
            () if near(200, 290, 30) => [200, 0, 0],
            () if near(200, 200, 150) => [255, 220, 0],
            () => [255; 3],
        }
    });
    let dark = image(good.width(), good.height(), |x, y| at(&good, x, y).map(|v| v / 5));
    let bright = image(good.width(), good.height(), |x, y| at(&good, x, y).map(|v| 195 + v / 5));
    let cases: Vec<(&str, Vec<u8>, &[Verdict])> = vec![
        ("a good one", png(&good), &[Verdict::Enrolled]),
        ("as it was taken", file("gallery/Barack Obama/obama2.jpg"), &[Verdict::Enrolled]),
        ("nobody", png(&image(300, 300, |x, y| [x as u8, y as u8, 90])), &[Verdict::NoFace]),
        ("a cartoon", png(&cartoon), &[Verdict::NoFace]),
        (
            "two side by side",
            png(&beside(&good, &decode(&file("pictures/biden.jpg")).unwrap())),
            &[Verdict::SeveralFaces],
        ),
        // Where half a face is found at all, it does not pass as one.
        (
            "half a face",
            png(&cropped(&good, left + width / 2, 0, good.width() - left - width / 2, good.height())),
            REFUSED,
        ),
        ("20 pixels", png(&shrink(width / 20)), &[Verdict::NoFace, Verdict::TooSmall]),
        ("40 pixels", png(&shrink(width / 40)), &[Verdict::TooSmall]),
        ("blurred", png(&averaged(&good, width / 12, 1)), &[Verdict::Blurred]),
        ("dark", png(&dark), &[Verdict::TooDark]),
        ("bright", png(&bright), &[Verdict::TooBright]),
        ("no picture", b"%PDF-1.7".to_vec(), &[Verdict::Unreadable]),
        ("cut off", file("gallery/Barack Obama/obama.jpg")[..5_000].to_vec(), &[Verdict::Unreadable]),
        ("upper half of the face", png(&cropped(&good, 0, 0, good.width(), top + height * 2 / 5)), REFUSED),
    ];
    let mut reader = reader();
    for (name, bytes, expected) in cases {
        let portrait = read_portrait(&mut reader, &bytes).unwrap();
        let found = verdict(&portrait);
        let words =
            portrait.embedding.as_ref().map_or_else(|refused| refused.explanation.clone(), |_| String::new());
        println!("{name}: {found:?} {words}");
        let right = expected.contains(&found) || (expected == REFUSED && found != Verdict::Enrolled);
        assert!(right, "{name}: {found:?} {words} {:?}", portrait.quality);
        assert!(found == Verdict::Enrolled || words.ends_with('.') && words.len() > 20, "{name}: {words}");
    }
}

#[test]
fn f086_a_small_face_in_the_background_does_not_count() {
    let good = portrait();
    let small = averaged(&decode(&file("pictures/biden.jpg")).unwrap(), 8, 8);
    let with_small = pasted(&good, &small, 0, 0);
    let portrait = read_portrait(&mut reader(), &png(&with_small)).unwrap();
    assert_eq!(verdict(&portrait), Verdict::Enrolled);
}

#[test]
fn the_faces_of_a_picture_come_largest_first_and_those_seen_badly_have_no_embedding() {
    let good = portrait();
    let small = averaged(&decode(&file("pictures/biden.jpg")).unwrap(), 4, 4);
    let seen = read_picture(&mut reader(), &png(&beside(&small, &good))).unwrap();
    let widths: Vec<f32> = seen.faces.iter().map(|face| face.face.bounds.width()).collect();
    assert!(widths.is_sorted_by(|a, b| a >= b), "{widths:?}");
    assert_eq!(
        (seen.width_px, seen.height_px),
        (small.width() + good.width(), good.height().max(small.height()))
    );
    assert!(seen.faces[0].embedding.is_some());
    assert!(seen.faces.iter().all(|face| face.embedding.is_some() || face.quality.is_some()));
    assert!(read_picture(&mut reader(), b"no picture").is_err());
}
