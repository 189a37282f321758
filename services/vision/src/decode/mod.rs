//! Pictures and camera frames to [`RgbImage`].
//!
//! [`decode`] reads a picture file: JPEG, PNG or WebP by content, turned upright by its EXIF orientation.
//! [`decode_frame`] reads a camera frame, [`thumbnail`] the same frame small and grey. [`MjpegFrames`] and
//! [`MjpegSplitter`] cut a stream of JPEGs into frames.
//!
//! Both promise: right or refused, never a panic; limits are enforced from the headers, before memory is taken in
//! proportion to what a header claims; a file that is cut off is refused. A whole picture at the limits takes, at
//! most: sequential JPEG in one scan and PNG the 3 bytes a pixel of the result, twice that when it is turned a
//! quarter; progressive JPEG and JPEG in several scans 9 bytes a pixel; JPEG with four colours 4 instead of 3, or 12
//! instead of 9; JPEG with a colour profile the size of the file besides; WebP 11, and up to 205 MiB more for the
//! Huffman tables of hostile lossless data, which image-webp 0.2.4 does not count.
//!
//! Not done: colour profiles are ignored, animations refused (of an animated PNG the still picture is read), and a
//! JPEG that was damaged in the middle of a scan so that its codes still fill the picture decodes with a damaged
//! region, as everywhere else: the format has no checksum.

mod error;
mod frame;
mod jpeg;
mod jpeg_padding;
mod kind;
mod mjpeg;
mod orientation;
#[cfg(test)]
pub(crate) mod pictures;
mod png;
#[cfg(test)]
mod tests;
mod thumbnail;
mod webp;

pub use error::{DecodeError, Lookalike, Measure, PictureFormat, Variant};
pub use frame::{FrameFormat, FrameLayout, decode_frame};
pub use mjpeg::{MjpegFrames, MjpegSplitter};
pub use thumbnail::{Thumbnail, thumbnail};

use rollcall_core::limits;

use crate::RgbImage;

/// Reads a picture file: JPEG, PNG or WebP, told by content. Bytes after the end of the picture are ignored.
///
/// Transparent pixels are laid over white, as file managers and browsers show them: what lies below full
/// transparency is whatever the editor left there, and a face cut out for a badge must look as it was seen.
///
/// # Errors
///
/// Every [`DecodeError`] but those of frames.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = kind::of(bytes).map_err(|found| DecodeError::NotAPicture { found })?;
    let max = limits::PICTURE_FILE_SIZE_BYTES;
    let within = &bytes[..bytes.len().min(usize::try_from(max).unwrap_or(usize::MAX))];
    let decoded = match format {
        PictureFormat::Png => png::decode(within),
        PictureFormat::WebP => webp::decode(within),
        _ => jpeg::decode(within),
    };
    match decoded {
        Err(DecodeError::Truncated { .. }) if within.len() < bytes.len() => {
            Err(DecodeError::TooLarge { format, measure: Measure::SizeBytes, value: bytes.len() as u64, max })
        }
        other => other,
    }
}

/// Checks claimed sides against the limits; the only place that does.
fn check_size(format: PictureFormat, width: u32, height: u32) -> Result<(), DecodeError> {
    let min = limits::PICTURE_SIDE_MIN_PX;
    if width < min || height < min {
        return Err(DecodeError::TooSmall { format, width, height, min });
    }
    let (width, height) = (u64::from(width), u64::from(height));
    for (measure, value, max) in [
        (Measure::Width, width, u64::from(limits::PICTURE_SIDE_PX)),
        (Measure::Height, height, u64::from(limits::PICTURE_SIDE_PX)),
        (Measure::Pixels, width * height, limits::PICTURE_PIXELS),
    ] {
        at_most(format, measure, value, max)?;
    }
    Ok(())
}

fn at_most(format: PictureFormat, measure: Measure, value: u64, max: u64) -> Result<(), DecodeError> {
    if value > max { Err(DecodeError::TooLarge { format, measure, value, max }) } else { Ok(()) }
}

/// The picture of checked sides and as many bytes.
fn image(format: PictureFormat, width: u32, height: u32, data: Vec<u8>) -> Result<RgbImage, DecodeError> {
    RgbImage::new(width as usize, height as usize, data)
        .ok_or(DecodeError::damaged(format, "its pixels do not fill its size"))
}

/// A colour of the given opacity over white, rounded.
fn over_white(colour: u8, alpha: u8) -> u8 {
    let (colour, alpha) = (u32::from(colour), u32::from(alpha));
    ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}
