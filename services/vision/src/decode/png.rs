//! PNG files (ISO/IEC 15948), row by row: beside the result there is never more than a few rows.
//!
//! One walk over the chunks comes first: it finds the size, the orientation and the end, so that a file that is cut
//! off is refused before memory is taken. Check sums of critical chunks must be right. Of an animated PNG the still
//! picture is read, as by viewers that know no animation.

use std::io::Cursor;

use png::{ColorType, InterlaceInfo, Transformations};
use rollcall_core::limits;

use super::error::{DecodeError, Measure, PictureFormat};
use super::orientation::Orientation;
use super::{at_most, check_size, image, over_white};
use crate::RgbImage;

const PNG: PictureFormat = PictureFormat::Png;

/// Reads a PNG file and turns it upright.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let header = Header::read(bytes)?;
    let data = pixels(&header, &bytes[..header.end])?;
    Ok(header.orientation.upright(image(PNG, header.width, header.height, data)?))
}

fn pixels(header: &Header, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let failed = |error| DecodeError::codec(PNG, error);
    // Beside the EXIF block, which was measured, the decoder keeps two rows of at most 8 bytes a pixel.
    let limit = 4 * limits::PICTURE_METADATA_SIZE_BYTES as usize;
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: limit });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(failed)?;

    let info = reader.info();
    let frame = info.frame_control.map_or(info.size(), |frame| (frame.width, frame.height));
    if info.size() != (header.width, header.height) || frame != info.size() {
        return Err(DecodeError::damaged(PNG, "it states two sizes"));
    }
    let (width, height) = (header.width as usize, header.height as usize);
    let colours = reader.output_color_type().0;
    let mut row = vec![0; width * colours.samples()];
    let mut rgb_row = vec![0; width * 3];
    let mut rgb = vec![0; width * height * 3];
    let mut lines = 0;
    while let Some(place) = reader.read_row(&mut row).map_err(failed)? {
        match place {
            InterlaceInfo::Null(_) => {
                let Some(target) = rgb.chunks_exact_mut(width * 3).nth(lines) else { break };
                rgb_from_row(colours, &row, target);
                lines += 1;
            }
            InterlaceInfo::Adam7(pass) => {
                rgb_from_row(colours, &row, &mut rgb_row);
                png::expand_interlaced_row(&mut rgb, width * 3, &rgb_row, &pass, 24);
            }
        }
    }
    reader.finish().map_err(failed)?;
    Ok(rgb)
}

/// Converts as many pixels as both rows hold.
fn rgb_from_row(colours: ColorType, row: &[u8], rgb: &mut [u8]) {
    let pixels = rgb.chunks_exact_mut(3);
    match colours {
        ColorType::Grayscale => pixels.zip(row).for_each(|(rgb, grey)| rgb.fill(*grey)),
        ColorType::GrayscaleAlpha => pixels.zip(row.chunks_exact(2)).for_each(|(rgb, grey)| {
            rgb.fill(over_white(grey[0], grey[1]));
        }),
        ColorType::Rgba => pixels.zip(row.chunks_exact(4)).for_each(|(rgb, rgba)| {
            for (colour, stored) in rgb.iter_mut().zip(rgba) {
                *colour = over_white(*stored, rgba[3]);
            }
        }),
        ColorType::Rgb | ColorType::Indexed => {
            pixels.zip(row.chunks_exact(3)).for_each(|(rgb, stored)| rgb.copy_from_slice(stored));
        }
    }
}

/// What the walk over the chunks finds.
struct Header {
    width: u32,
    height: u32,
    orientation: Orientation,
    /// Offset behind the last chunk.
    end: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut at = 8;
        let (name, data) = chunk(bytes, &mut at)?;
        let [w3, w2, w1, w0, h3, h2, h1, h0, _, _, _, _, _] = *data else {
            return Err(DecodeError::damaged(PNG, "its header has a wrong length"));
        };
        if name != b"IHDR" {
            return Err(DecodeError::damaged(PNG, "it does not begin with a header"));
        }
        let (width, height) = (u32::from_be_bytes([w3, w2, w1, w0]), u32::from_be_bytes([h3, h2, h1, h0]));
        check_size(PNG, width, height)?;

        let mut orientation = None;
        let mut has_pixels = false;
        loop {
            match chunk(bytes, &mut at)? {
                (b"IDAT", _) => has_pixels = true,
                // png 0.18.1 panics on a palette of broken or of more than 256 colours.
                (b"PLTE", data) if data.len() % 3 != 0 || !(3..=768).contains(&data.len()) => {
                    return Err(DecodeError::damaged(PNG, "its palette has a wrong length"));
                }
                (b"eXIf", data) => {
                    at_most(
                        PNG,
                        Measure::MetadataSizeBytes,
                        data.len() as u64,
                        limits::PICTURE_METADATA_SIZE_BYTES,
                    )?;
                    orientation.get_or_insert_with(|| Orientation::from_exif(data));
                }
                (b"IEND", _) => break,
                _ => {}
            }
        }
        if !has_pixels {
            return Err(DecodeError::damaged(PNG, "it has no picture data"));
        }
        Ok(Self { width, height, orientation: orientation.unwrap_or_default(), end: at })
    }
}

/// The name and the data of the chunk at an offset, which moves behind its check sum.
fn chunk<'a>(bytes: &'a [u8], at: &mut usize) -> Result<(&'a [u8; 4], &'a [u8]), DecodeError> {
    let cut = DecodeError::Truncated { format: PNG, size_bytes: bytes.len() };
    let Some((length, rest)) = bytes.get(*at..).and_then(<[u8]>::split_first_chunk::<4>) else {
        return Err(cut);
    };
    let Some((name, rest)) = rest.split_first_chunk::<4>() else { return Err(cut) };
    let length = u32::from_be_bytes(*length) as usize;
    if length.saturating_add(4) > rest.len() {
        return Err(cut);
    }
    *at += 12 + length;
    Ok((name, &rest[..length]))
}
