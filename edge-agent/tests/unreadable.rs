//! `edge-agent detect` on files that are no pictures, on bombs, on what is no file, and on rare pictures that are
//! right. The files of one behaviour go into one run, as a user drops a whole folder on the program.
#![allow(clippy::unwrap_used)]

mod harness;
#[path = "../../services/vision/src/decode/pictures.rs"]
mod pictures;

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use harness::{
    Finished, edge_agent, faces, folder, keys, numbers, png_pixels, portrait, put, repository, run,
};
use jpeg_encoder::ColorType;
use png::BitDepth;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;

/// What bad pictures may take on top of a small good one.
const MEMORY_BYTES: u64 = 64 << 20;

/// The most memory that the program has for a small good picture.
fn usual_bytes() -> u64 {
    static USUAL: OnceLock<u64> = OnceLock::new();
    *USUAL.get_or_init(|| {
        run(edge_agent().args(["detect", "--json"]).arg(portrait("astronaut.png"))).good().peak_bytes
    })
}

/// Each file is refused with its words, the good picture behind them is done, and little memory is taken.
fn refused(cases: &[(PathBuf, &str)]) {
    let usual = usual_bytes();
    let mut command = edge_agent();
    command.args(["detect", "--json"]).args(cases.iter().map(|c| &c.0)).arg(portrait("astronaut.png"));
    let run = run(&mut command);
    told(&run, cases);
    let more = run.peak_bytes.saturating_sub(usual);
    assert!(more <= MEMORY_BYTES, "{} MiB on top of {} MiB", more >> 20, usual >> 20);
}

fn told(run: &Finished, cases: &[(PathBuf, &str)]) {
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    let lines = run.json();
    assert_eq!(lines.len(), cases.len() + 1);
    for (line, (file, why)) in lines.iter().zip(cases) {
        assert_eq!(keys(line), ["error", "image"], "{line}");
        assert_eq!(line["image"], file.to_str().unwrap());
        assert!(line["error"].as_str().unwrap().contains(why), "no {why:?} in {line}");
    }
    assert_eq!(lines[cases.len()]["faces"].as_array().unwrap().len(), 1);
}

/// Appends zeros that take no room on the disk.
fn with_tail(folder: &TempDir, name: &str, bytes: &[u8], tail_bytes: u64) -> PathBuf {
    let path = put(folder, name, bytes);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64 + tail_bytes).unwrap();
    path
}

/// A sound PNG of zeros, one bit a pixel; 30000 x 30000 of them have a hundred kilobytes.
fn png_of_zeros(folder: &TempDir, name: &str, side: u32) -> PathBuf {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    let mut pixels = writer.stream_writer().unwrap();
    let row = vec![0; side.div_ceil(8) as usize];
    (0..side).for_each(|_| pixels.write_all(&row).unwrap());
    pixels.finish().unwrap();
    writer.finish().unwrap();
    put(folder, name, bytes)
}

#[test]
fn f083_sizes_beyond_the_limits_are_refused_from_the_header() {
    let folder = folder();
    let put = |name: &str, bytes: Vec<u8>| put(&folder, name, bytes);
    refused(&[
        (
            put("65535.jpg", pictures::jpeg_claiming(0xc0, 65_535, 65_535, &[0x22, 0x11, 0x11])),
            "width in pixels 65535, at most 12000",
        ),
        (
            put("65535-progressive.jpg", pictures::jpeg_claiming(0xc2, 65_535, 65_535, &[0x11; 3])),
            "at most 12000",
        ),
        (png_of_zeros(&folder, "30000.png", 30_000), "width in pixels 30000, at most 12000"),
        (
            put("limit.png", pictures::png_claiming(12_000, 12_000)),
            "number of pixels 144000000, at most 25000000",
        ),
        (put("largest.png", pictures::png_claiming(u32::MAX, u32::MAX)), "PNG"),
        (put("1x60000.png", pictures::png_claiming(1, 60_000)), "1 x 60000 pixels"),
        (put("60000x1.png", pictures::png_claiming(60_000, 1)), "60000 x 1 pixels"),
        (put("1x60000.jpg", pictures::jpeg_claiming(0xc0, 1, 60_000, &[0x11])), "1 x 60000 pixels"),
        (put("0x0.png", pictures::png_claiming(0, 0)), "PNG"),
        (put("0x0.jpg", pictures::jpeg_claiming(0xc0, 0, 0, &[0x11])), "JPEG"),
        (put("large.webp", pictures::webp_file(&[pictures::webp_header(0, 16_000, 16_000)])), "WebP"),
    ]);
}

#[test]
fn f084_other_formats_and_endless_pictures_are_refused_by_type() {
    let folder = folder();
    let put = |name: &str, bytes: &[u8]| put(&folder, name, bytes);
    refused(&[
        (put("scans.jpg", &pictures::jpeg_with_scans(2_000, 2_000, 10_000)), "at most 64 allowed"),
        (put("animated.webp", &pictures::webp_animated(64, 64, 100)), "an animated WebP"),
        (put("animated.gif", b"GIF89a\x40\0\x40\0\x80\0\0\0\0\0\xff\xff\xff"), "a GIF"),
        (put("gif.jpg", b"GIF87a\x40\0\x40\0"), "a GIF"),
        (put("drawing.svg", b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>"), "an SVG"),
        (put("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "an HEIC photo"),
        (put("pdf.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"), "a PDF document"),
        (put("text.jpg", b"This is no picture.\n"), "a text file"),
        (put("empty.jpg", b""), "is empty"),
    ]);
}

#[test]
fn f085_a_picture_cut_off_anywhere_is_refused() {
    let folder = folder();
    let (_, _, pixels) = png_pixels(&portrait("astronaut.png"));
    let face: Vec<u8> = (40..200).flat_map(|y| pixels[(y * 512 + 160) * 3..][..160 * 3].to_vec()).collect();
    let jpeg = |progressive: bool| {
        pictures::jpeg_of(&face, 160, 160, ColorType::Rgb, |encoder| encoder.set_progressive(progressive))
    };
    let png = pictures::png_of(&face, 160, 160, png::ColorType::Rgb, BitDepth::Eight, |_| {});
    let webp = pictures::webp_of(&face, 160, 160, image_webp::ColorType::Rgb8);
    let wholes =
        [("baseline.jpg", jpeg(false)), ("progressive.jpg", jpeg(true)), ("a.png", png), ("a.webp", webp)];
    let mut cases = Vec::new();
    for (name, whole) in &wholes {
        for length in (0..whole.len()).step_by(100) {
            let why = if length == 0 { "is empty" } else { "" };
            cases.push((put(&folder, &format!("{length}-{name}"), &whole[..length]), why));
        }
    }
    assert!(cases.len() > 500, "{}", cases.len());
    refused(&cases);
}

#[test]
fn f085_bytes_that_are_no_picture_are_refused() {
    let folder = folder();
    let random = |seed: u64, length: u64| -> Vec<u8> {
        let hash = |i: u64| {
            (i ^ seed << 32)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        (0..length).map(|i| (hash(i) >> 40) as u8).collect()
    };
    let mut cases = Vec::new();
    for seed in 1..20u64 {
        cases.push((put(&folder, &format!("{seed}"), random(seed, 1 << seed)), "a file of an unknown kind"));
        for (name, start) in [
            ("jpg", &b"\xff\xd8\xff"[..]),
            ("png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
            ("webp", b"RIFF\0\0\x10\0WEBPVP8 "),
        ] {
            let bytes = [start, &random(seed, 5_000)].concat();
            cases.push((put(&folder, &format!("{seed}.{name}"), bytes), "damaged"));
        }
    }
    // Random bytes have more than one way of being wrong.
    for (file, why) in &mut cases {
        if file.extension().is_some() || file.file_name().is_some_and(|n| n.len() < 2) {
            *why = "";
        }
    }
    refused(&cases);
}

#[test]
fn f085_what_follows_a_picture_does_not_change_it() {
    let folder = folder();
    let whole = fs::read(portrait("obama.jpg")).unwrap();
    let with = with_tail(&folder, "tail.jpg", &whole, 20 << 20);
    assert_eq!(faces(&with), faces(&portrait("obama.jpg")));
    refused(&[(with_tail(&folder, "long-tail.jpg", &whole, 50 << 20), "at most 33554432 are read")]);
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = folder();
    let place = |name: &str| folder.path().join(name);
    mkfifoat(CWD, place("pipe"), Mode::RWXU).unwrap();
    fs::create_dir(place("folder.jpg")).unwrap();
    symlink("loop-b", place("loop-a")).unwrap();
    symlink("loop-a", place("loop-b")).unwrap();
    symlink("nowhere", place("dangling")).unwrap();
    refused(&[
        (place("pipe"), "it is a pipe or device, not a file"),
        ("/dev/zero".into(), "it is a pipe or device, not a file"),
        (place("folder.jpg"), "it is a folder, not a file"),
        (place("loop-a"), "symbolic links"),
        (place("dangling"), "No such file"),
        (place("missing.jpg"), "No such file"),
        (place(&"n".repeat(300)), "name too long"),
        (portrait("astronaut.png").join("below"), "Not a directory"),
    ]);
}

#[test]
fn a_file_without_permission_to_read_is_refused() {
    let folder = folder();
    let copy = |from: &Path, name: &str| put(&folder, name, fs::read(from).unwrap());
    let secret = copy(&portrait("obama.jpg"), "secret.jpg");
    let good = copy(&portrait("astronaut.png"), "good.png");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    for entry in fs::read_dir(repository("models")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            copy(&entry.path(), &format!("models/{}", entry.file_name().to_str().unwrap()));
        }
    }
    // Nobody may not be let through the folders above the program.
    let (built, program) = (env!("CARGO_BIN_EXE_edge-agent"), folder.path().join("edge-agent"));
    fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["detect", "--json"]).arg(&secret).arg(&good);
    if geteuid().is_root() {
        // Nobody: root reads everything.
        command.gid(65_534).uid(65_534);
    }
    told(&run(&mut command), &[(secret, "Permission denied")]);
}

/// The part of the bundled portrait with the face, wider than high: width, height, RGB.
fn face() -> (usize, usize, Vec<u8>) {
    let (width, _, pixels) = png_pixels(&portrait("astronaut.png"));
    (400, 300, (0..300).flat_map(|y| pixels[(y * width + 40) * 3..][..400 * 3].to_vec()).collect())
}

/// The one face in a picture file of these bytes.
fn face_in(name: &str, bytes: &[u8]) -> Vec<f64> {
    let folder = folder();
    let found = faces(&put(&folder, name, bytes));
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    let points = found[0]["landmarks"].as_array().unwrap().iter().flat_map(numbers);
    numbers(&found[0]["box"]).into_iter().chain(points).collect()
}

fn assert_near(name: &str, found: &[f64], expected: &[f64], tolerance_px: f64) {
    let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(far <= tolerance_px, "{name}: {far} pixels off");
}

/// The colours of a 16-bit PNG, a palette, ink and of grey, to within what the format loses: the face is 90 pixels
/// wide and stays where it is to within a few.
#[test]
fn f085_rare_pictures_show_the_same_face() {
    let (width, height, rgb) = face();
    let (w, h) = (width as u32, height as u32);
    let png = |data: &[u8], colours, depth| pictures::png_of(data, w, h, colours, depth, |_| {});
    let expected = face_in("plain.png", &png(&rgb, png::ColorType::Rgb, BitDepth::Eight));
    let deep: Vec<u8> = rgb.iter().flat_map(|&v| [v, v]).collect();
    let light = |p: &[u8]| ((u32::from(p[0]) * 77 + u32::from(p[1]) * 150 + u32::from(p[2]) * 29) >> 8) as u8;
    let grey: Vec<u8> = rgb.chunks_exact(3).map(light).collect();
    // Six levels of each colour.
    let palette: Vec<u8> =
        (0..216u8).flat_map(|i| [i / 36, i / 6 % 6, i % 6]).map(|level| level * 51).collect();
    let level = |v: u8| ((u32::from(v) + 25) / 51) as u8;
    let places: Vec<u8> =
        rgb.chunks_exact(3).map(|p| level(p[0]) * 36 + level(p[1]) * 6 + level(p[2])).collect();
    let with_palette = pictures::png_of(&places, w, h, png::ColorType::Indexed, BitDepth::Eight, |encoder| {
        encoder.set_palette(palette);
    });
    let opaque: Vec<u8> = rgb.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    let ink: Vec<u8> = rgb.chunks_exact(3).flat_map(|p| [255 - p[0], 255 - p[1], 255 - p[2], 0]).collect();
    let jpeg = |data: &[u8], colours, progressive| {
        pictures::jpeg_of(data, w as u16, h as u16, colours, |encoder| encoder.set_progressive(progressive))
    };
    let cases = [
        ("deep.png", png(&deep, png::ColorType::Rgb, BitDepth::Sixteen), 0.0),
        ("opaque.png", png(&opaque, png::ColorType::Rgba, BitDepth::Eight), 0.0),
        ("lossless.webp", pictures::webp_of(&rgb, w, h, image_webp::ColorType::Rgb8), 0.0),
        ("grey.png", png(&grey, png::ColorType::Grayscale, BitDepth::Eight), 6.0),
        ("palette.png", with_palette, 6.0),
        ("rgb.jpg", jpeg(&rgb, ColorType::Rgb, false), 2.0),
        ("progressive.jpg", jpeg(&rgb, ColorType::Rgb, true), 2.0),
        ("grey.jpg", jpeg(&grey, ColorType::Luma, false), 6.0),
        ("cmyk.jpg", jpeg(&ink, ColorType::Cmyk, false), 2.0),
        ("ycck.jpg", jpeg(&ink, ColorType::CmykAsYcck, false), 2.0),
    ];
    for (name, bytes, tolerance_px) in cases {
        assert_near(name, &face_in(name, &bytes), &expected, tolerance_px);
    }
}

#[test]
fn f085_exif_orientations_1_to_8_show_the_same_upright_face() {
    let (width, height, rgb) = face();
    let (w, h) = (width as u32, height as u32);
    let plain = pictures::png_of(&rgb, w, h, png::ColorType::Rgb, BitDepth::Eight, |_| {});
    let expected = face_in("plain.png", &plain);
    for orientation in 1..=8u16 {
        // Where the upright picture's pixel lies in the stored one (EXIF 2.32, 4.6.4, tag 274).
        let stored = |x: usize, y: usize| match orientation {
            1 => (x, y),
            2 => (width - 1 - x, y),
            3 => (width - 1 - x, height - 1 - y),
            4 => (x, height - 1 - y),
            5 => (y, x),
            6 => (y, width - 1 - x),
            7 => (height - 1 - y, width - 1 - x),
            _ => (height - 1 - y, x),
        };
        let (columns, rows) = if orientation < 5 { (width, height) } else { (height, width) };
        let mut turned = vec![0; rgb.len()];
        for y in 0..height {
            for x in 0..width {
                let (column, row) = stored(x, y);
                turned[(row * columns + column) * 3..][..3].copy_from_slice(&rgb[(y * width + x) * 3..][..3]);
            }
        }
        let (c, r) = (columns as u32, rows as u32);
        let exif = pictures::exif(orientation, orientation % 2 == 0);
        let png = pictures::png_of(&turned, c, r, png::ColorType::Rgb, BitDepth::Eight, |_| {});
        let png = pictures::png_after_header(&png, &pictures::png_chunk(b"eXIf", &exif));
        assert_eq!(face_in("turned.png", &png), expected, "{orientation}");
        let jpeg = pictures::jpeg_of(&turned, c as u16, r as u16, ColorType::Rgb, |_| {});
        let jpeg = pictures::jpeg_after_start(&jpeg, &pictures::exif_segment(&exif));
        // The blocks of 8 x 8 lie otherwise in each.
        assert_near(&format!("{orientation}"), &face_in("turned.jpg", &jpeg), &expected, 2.0);
    }
}

#[test]
fn without_json_what_is_wrong_goes_to_stderr() {
    let folder = folder();
    let file = put(&folder, "text.jpg", "no picture");
    let run = run(edge_agent().arg("detect").arg(&file).arg(portrait("astronaut.png")));
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with(&format!("edge-agent: {}: this is a text file", file.display())),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("1 face"));
}

#[test]
fn an_error_is_one_line_of_text_that_says_nothing_twice() {
    let folder = folder();
    let files = [
        put(&folder, "a\nb.jpg", ""),
        folder.path().join("missing"),
        put(&folder, "cut.png", &pictures::png(64, 64)[..60]),
    ];
    let lines: Vec<Value> = run(edge_agent().args(["detect", "--json"]).args(&files)).json();
    assert_eq!(lines.len(), files.len());
    for line in lines {
        let error = line["error"].as_str().unwrap();
        assert!(!error.contains('\n'), "{error}");
        let parts: Vec<&str> = error.split(": ").collect();
        assert!(parts.iter().enumerate().all(|(i, part)| !parts[..i].contains(part)), "{error}");
    }
}
