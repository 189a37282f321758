//! Pictures to JPEG: for a screen, which shows and compares nothing, and for an enrolment.

use turbojpeg::{Image, PixelFormat, Subsamp};

use crate::RgbImage;

/// Of 100: what a live picture needs, a tenth of the size of the pixels or less.
const QUALITY: i32 = 75;

/// Of 100, with colours at full resolution: what a template is made of loses nothing that can be measured.
const PORTRAIT_QUALITY: i32 = 95;

/// Why there is no JPEG.
#[derive(Debug, thiserror::Error)]
#[error("a picture of {width} x {height} pixels cannot be written as JPEG: {why}")]
pub struct EncodeError {
    width: usize,
    height: usize,
    why: String,
}

/// Writes `image` as a JPEG of middling quality.
///
/// # Errors
/// When a side has more than 65,500 pixels, or memory has run out.
pub fn encode_jpeg(image: &RgbImage) -> Result<Vec<u8>, EncodeError> {
    encode(image, QUALITY, Subsamp::Sub2x2)
}

/// Writes `image` as a JPEG that a template can be made of.
///
/// # Errors
/// As [`encode_jpeg`].
pub fn encode_portrait(image: &RgbImage) -> Result<Vec<u8>, EncodeError> {
    encode(image, PORTRAIT_QUALITY, Subsamp::None)
}

fn encode(image: &RgbImage, quality: i32, colours: Subsamp) -> Result<Vec<u8>, EncodeError> {
    let (width, height) = (image.width(), image.height());
    let picture = Image { pixels: image.data(), width, height, pitch: width * 3, format: PixelFormat::RGB };
    let jpeg = turbojpeg::compress(picture, quality, colours);
    jpeg.map(|jpeg| jpeg.to_vec()).map_err(|error| EncodeError { width, height, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::decode::decode;

    #[test]
    fn what_is_written_can_be_read_and_looks_the_same() {
        let pixels = (0..61 * 47).flat_map(|i| [(i % 61 * 4) as u8, (i / 61 * 5) as u8, 90]).collect();
        let image = RgbImage::new(61, 47, pixels).unwrap();
        let read = decode(&encode_jpeg(&image).unwrap()).unwrap();
        assert_eq!((read.width(), read.height()), (61, 47));
        let differences = read.data().iter().zip(image.data()).map(|(a, b)| u32::from(a.abs_diff(*b)));
        assert!(differences.sum::<u32>() < 61 * 47 * 3 * 4);
    }

    #[test]
    fn a_picture_that_jpeg_cannot_hold_is_refused() {
        let image = RgbImage::new(70_000, 1, vec![0; 210_000]).unwrap();
        assert!(encode_jpeg(&image).unwrap_err().to_string().starts_with("a picture of 70000 x 1 pixels"));
    }
}
