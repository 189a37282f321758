//! Draws what was found into a picture.

use std::io::Write;

use font8x8::UnicodeFonts;
use rollcall_vision::{Face, RgbImage};

/// Red, green, blue.
pub type Colour = [u8; 3];

/// For a face that was only found, or named.
pub const TEAL: Colour = [45, 212, 191];
/// For a face that nobody is named for.
pub const GREY: Colour = [203, 213, 225];
const INK: Colour = [15, 23, 42];

/// Draws the box, the landmarks and, above the box, `label`.
pub fn draw_face(image: &mut RgbImage, face: &Face, colour: Colour, label: &str) {
    let unit = (image.width().max(image.height()) / 280).max(1) as i64;
    let [x0, y0, x1, y1] =
        [face.bounds.x0, face.bounds.y0, face.bounds.x1, face.bounds.y1].map(|v| v.round() as i64);
    fill(image, (x0, y0), (x1, y0 + unit), colour);
    fill(image, (x0, y1 - unit), (x1, y1), colour);
    fill(image, (x0, y0), (x0 + unit, y1), colour);
    fill(image, (x1 - unit, y0), (x1, y1), colour);
    for [x, y] in face.landmarks.points {
        let (x, y) = (x.round() as i64, y.round() as i64);
        fill(image, (x - unit, y - unit), (x + unit, y + unit), colour);
    }
    if !label.is_empty() {
        let (width, height) = (8 * unit * label.chars().count() as i64 + 2 * unit, 10 * unit);
        let left = x0.clamp(0, (image.width() as i64 - width).max(0));
        let top = if y0 >= height { y0 - height } else { y1.min(image.height() as i64 - height) };
        fill(image, (left, top), (left + width, top + height), colour);
        draw_text(image, (left + unit, top + unit), unit, label);
    }
}

fn draw_text(image: &mut RgbImage, (x, y): (i64, i64), unit: i64, text: &str) {
    for (index, character) in text.chars().enumerate() {
        let glyph = font8x8::BASIC_FONTS.get(character).or_else(|| font8x8::LATIN_FONTS.get(character));
        let glyph = glyph.unwrap_or([0xff, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0xff]);
        for (row, bits) in glyph.iter().enumerate() {
            for column in (0..8).filter(|c| bits >> c & 1 == 1) {
                let at = (x + (8 * index as i64 + column) * unit, y + row as i64 * unit);
                fill(image, at, (at.0 + unit, at.1 + unit), INK);
            }
        }
    }
}

/// Fills the rectangle from `from` to before `to`, as far as it lies in the picture.
fn fill(image: &mut RgbImage, from: (i64, i64), to: (i64, i64), colour: Colour) {
    let (width, height) = (image.width(), image.height());
    let inside = |v: i64, side: usize| v.clamp(0, side as i64) as usize;
    let columns = inside(from.0, width)..inside(to.0, width);
    for y in inside(from.1, height)..inside(to.1, height) {
        for x in columns.clone() {
            image.data_mut()[(y * width + x) * 3..][..3].copy_from_slice(&colour);
        }
    }
}

/// Writes `image` as a PNG.
pub fn write_png(image: &RgbImage, to: impl Write) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(to, image.width() as u32, image.height() as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(image.data())
}

/// Height of the pictures of [`side_by_side`] in pixels.
const SHEET_HEIGHT: usize = 480;
const GAP: usize = 8;

/// All pictures in a row on white, brought to one height.
pub fn side_by_side(images: &[RgbImage]) -> RgbImage {
    let width = |i: &RgbImage| (i.width() * SHEET_HEIGHT / i.height()).max(1);
    let total = images.iter().map(|i| width(i) + GAP).sum::<usize>() + GAP;
    let (rows, mut left) = (SHEET_HEIGHT + 2 * GAP, GAP);
    let mut sheet = vec![255; total * rows * 3];
    for image in images {
        for y in 0..SHEET_HEIGHT {
            for x in 0..width(image) {
                let at = ((y + GAP) * total + left + x) * 3;
                sheet[at..at + 3].copy_from_slice(&mean_colour(image, (x, width(image)), (y, SHEET_HEIGHT)));
            }
        }
        left += width(image) + GAP;
    }
    RgbImage::new(total, rows, sheet).unwrap_or_else(|| unreachable!("the buffer was made for this size"))
}

/// The mean of the pixels under column `x` of so many and row `y` of so many.
fn mean_colour(image: &RgbImage, (x, columns): (usize, usize), (y, rows): (usize, usize)) -> Colour {
    let range = |i: usize, n: usize, size: usize| (i * size / n)..(((i + 1) * size).div_ceil(n));
    let (xs, ys) = (range(x, columns, image.width()), range(y, rows, image.height()));
    let count = (xs.len() * ys.len()) as u32;
    let mut sum = [0u32; 3];
    for y in ys {
        for pixel in image.row(y)[xs.start * 3..xs.end * 3].chunks_exact(3) {
            (0..3).for_each(|c| sum[c] += u32::from(pixel[c]));
        }
    }
    sum.map(|s| (s / count) as u8)
}
