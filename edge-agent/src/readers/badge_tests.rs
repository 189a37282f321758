#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use qrcode::{Color, EcLevel, QrCode};

use super::*;

/// As long as a badge of the gallery.
const BADGE: &str = "RC1.AZrq1Zl4cFG0WlB7m9bR3w8vQkq0m2uVJ6o1tYxZ5nA";

/// A picture of grey with a code on a white square, each module so many pixels wide, its corner at (x, y).
fn picture(text: &str, level: EcLevel, module: usize, size: (usize, usize), at: (usize, usize)) -> RgbImage {
    let code = QrCode::with_error_correction_level(text, level).unwrap();
    let (side, colors) = (code.width(), code.to_colors());
    let gray = |x: usize, y: usize| {
        let (Some(dx), Some(dy)) = (x.checked_sub(at.0), y.checked_sub(at.1)) else { return 96 };
        let (column, row) = (dx / module, dy / module);
        if column >= side + 8 || row >= side + 8 {
            return 96;
        }
        match (column.checked_sub(4), row.checked_sub(4)) {
            (Some(column), Some(row))
                if column < side && row < side && colors[row * side + column] == Color::Dark =>
            {
                20
            }
            _ => 230,
        }
    };
    let pixels = (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y)));
    RgbImage::new(size.0, size.1, pixels.flat_map(|(x, y)| [gray(x, y); 3]).collect()).unwrap()
}

fn read(picture: &RgbImage) -> Vec<String> {
    let mut gray = Gray::default();
    gray.gray_from_rgb(picture);
    badges(&gray)
}

fn noise(mut seed: u64) -> impl FnMut() -> u8 {
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 24) as u8
    }
}

#[test]
fn a_badge_of_any_error_correction_is_read_and_other_codes_are_not_handed_on() {
    for level in [EcLevel::L, EcLevel::M, EcLevel::Q, EcLevel::H] {
        assert_eq!(read(&picture(BADGE, level, 5, (640, 480), (100, 60))), [BADGE]);
    }
    for other in ["https://example.org/", "RC2.abc", "rc1.abc", "4711", "'; drop table people; --"] {
        assert!(read(&picture(other, EcLevel::M, 5, (640, 480), (100, 60))).is_empty(), "{other}");
    }
}

#[test]
fn a_badge_in_a_large_picture_is_read_after_it_was_made_smaller() {
    let large = picture(BADGE, EcLevel::M, 6, (1920, 1080), (900, 300));
    let mut gray = Gray::default();
    gray.gray_from_rgb(&large);
    assert_eq!((gray.width, gray.height, gray.pixels.len()), (960, 540, 960 * 540));
    assert_eq!(badges(&gray), [BADGE]);
}

#[test]
fn a_badge_of_two_pixels_a_module_is_read() {
    for module in [1, 2, 3, 4] {
        let is_read = read(&picture(BADGE, EcLevel::M, module, (640, 480), (200, 100))) == [BADGE];
        println!("{module} pixels a module, {} across: {is_read}", module * 33);
        assert!(is_read || module < 2);
    }
}

#[test]
fn a_code_larger_than_any_badge_is_not_read() {
    let long = format!("{BADGE}{}", "x".repeat(600));
    assert!(read(&picture(&long, EcLevel::M, 4, (640, 480), (10, 10))).is_empty());
}

#[test]
fn what_reading_costs_is_printed() {
    let empty = picture("x", EcLevel::L, 1, (640, 480), (639, 479));
    for (name, picture) in
        [("no code", empty), ("a badge", picture(BADGE, EcLevel::M, 5, (640, 480), (100, 60)))]
    {
        let mut gray = Gray::default();
        let start = Instant::now();
        gray.gray_from_rgb(&picture);
        let converted = start.elapsed();
        badges(&gray);
        println!("640 x 480, {name}: grey {converted:?}, read {:?}", start.elapsed() - converted);
    }
}

#[test]
fn f087_hostile_pictures_cost_themselves_alone() {
    let mut next = noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..60 {
        let whole = picture(BADGE, EcLevel::L, 4, (320, 240), (20, 20));
        let mut data = whole.data().to_vec();
        let one_in = 1 + round * 4;
        for pixel in data.chunks_exact_mut(3) {
            if usize::from(next()) % one_in == 0 {
                pixel.fill(next());
            }
        }
        let texts = read(&RgbImage::new(320, 240, data).unwrap());
        assert!(texts.iter().all(|text| text == BADGE), "a damaged badge is none");
    }
    for (width, height) in [(1, 1), (1, 480), (640, 1), (7, 7), (33, 2)] {
        let data = (0..width * height * 3).map(|_| next()).collect();
        assert!(read(&RgbImage::new(width, height, data).unwrap()).is_empty());
    }
}

#[test]
fn a_badge_that_is_held_up_counts_once_and_again_after_it_was_gone() {
    let (mut held, start) = (Held::default(), Instant::now());
    let at = |ms: u64| start + Duration::from_millis(ms);
    assert!(!held.is_seen(BADGE, at(0)));
    held.remember(BADGE.into(), at(0));
    for ms in [250, 3_000, 5_900, 8_800] {
        assert!(held.is_seen(BADGE, at(ms)), "{ms}");
    }
    assert!(!held.is_seen("RC1.other", at(9_000)), "another is another");
    assert!(!held.is_seen(BADGE, at(11_800)));
    for n in 0..100 {
        held.remember(format!("RC1.{n}"), at(12_000 + n));
    }
    assert_eq!(held.0.len(), limits::BADGES_AT_ONCE);
    assert!(held.is_seen("RC1.99", at(12_200)) && !held.is_seen("RC1.0", at(12_200)));
}

#[test]
fn the_thread_hands_a_badge_on_once_keeps_the_pace_and_ends() {
    let (to, mut from) = mpsc::channel(limits::PRESENTED);
    let badges = Badges::spawn(to).unwrap();
    let shown = picture(BADGE, EcLevel::M, 4, (320, 240), (20, 20));
    let start = Instant::now();
    assert!(badges.offer(&shown, start));
    assert!(!badges.offer(&shown, start + Duration::from_millis(249)), "too early, whether idle or not");
    assert_eq!(from.blocking_recv(), Some(Presented::Badge(BADGE.into())));
    drop(badges);
    assert_eq!(from.blocking_recv(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_picture_of_noise_is_a_badge(seed in 1_u64.., black in any::<u8>()) {
        let mut next = noise(seed);
        let data = (0..160 * 120).flat_map(|_| [if next() < black { 0 } else { 255 }; 3]).collect();
        prop_assert!(read(&RgbImage::new(160, 120, data).unwrap()).is_empty());
    }
}
