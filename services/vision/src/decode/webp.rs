//! WebP files (RFC 9649): lossy, lossless, with transparency; not animated.
//!
//! One walk over the chunks comes first. It checks what image-webp 0.2.4 checks too late or never: that the file is
//! whole, that the picture inside has the size of its canvas (the decoder takes memory for the inner size first),
//! and that lossless data is no longer than the pixels and than a limit (a Huffman table of 20 bytes in it becomes
//! 4 KiB).

use std::io::Cursor;

use image_webp::WebPDecoder;
use rollcall_core::limits;

use super::error::{DecodeError, Measure, PictureFormat, Variant};
use super::orientation::Orientation;
use super::{at_most, check_size, image, over_white};
use crate::RgbImage;

const WEBP: PictureFormat = PictureFormat::WebP;

/// Bit of the VP8X header that announces frames.
const ANIMATION: u8 = 0x02;

/// Lossless data (pixels or transparency) may be this much longer than 4 bytes a pixel: the tables of small pictures.
const LOSSLESS_SLACK_BYTES: u64 = 16 << 10;

/// Reads a WebP file and turns it upright.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let header = Header::read(bytes)?;
    let data = pixels(&header, &bytes[..header.end])?;
    Ok(header.orientation.upright(image(WEBP, header.width, header.height, data)?))
}

fn pixels(header: &Header, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let failed = |error| DecodeError::codec(WEBP, error);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
    decoder.set_memory_limit(bytes.len());
    if decoder.dimensions() != (header.width, header.height) || decoder.is_animated() {
        return Err(DecodeError::damaged(WEBP, "it states two sizes"));
    }
    let samples = if decoder.has_alpha() { 4 } else { 3 };
    let pixels = header.width as usize * header.height as usize;
    let mut data = vec![0; pixels * samples];
    decoder.read_image(&mut data).map_err(failed)?;
    if samples == 4 {
        // In place: the target never overtakes the source.
        for pixel in 0..pixels {
            let alpha = data[pixel * 4 + 3];
            for colour in 0..3 {
                data[pixel * 3 + colour] = over_white(data[pixel * 4 + colour], alpha);
            }
        }
        data.truncate(pixels * 3);
        data.shrink_to_fit();
    }
    Ok(data)
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
        let size = bytes.get(4..8).and_then(|size| size.try_into().ok()).map_or(0, u32::from_le_bytes);
        let end = (size as usize).saturating_add(8);
        let within =
            bytes.get(..end).ok_or(DecodeError::Truncated { format: WEBP, size_bytes: bytes.len() })?;

        let mut canvas = None;
        let mut picture = None;
        let mut orientation = None;
        let mut lossless_size_bytes = 0;
        let mut at = 12;
        while at < within.len() {
            let (name, data) = chunk(within, &mut at)?;
            match name {
                b"VP8X" if canvas.is_none() && picture.is_none() => {
                    let [flags, _, _, _, w0, w1, w2, h0, h1, h2, ..] = *data else {
                        return Err(DecodeError::damaged(WEBP, "its header has a wrong length"));
                    };
                    if flags & ANIMATION != 0 {
                        return Err(DecodeError::Unsupported { variant: Variant::AnimatedWebP });
                    }
                    let side = |bytes| u32::from_le_bytes(bytes) + 1;
                    canvas = Some((side([w0, w1, w2, 0]), side([h0, h1, h2, 0])));
                }
                b"ANIM" | b"ANMF" => return Err(DecodeError::Unsupported { variant: Variant::AnimatedWebP }),
                b"VP8 " | b"VP8L" if picture.is_some() => {
                    return Err(DecodeError::damaged(WEBP, "it has two pictures"));
                }
                b"VP8 " => picture = Some(lossy_size(data)?),
                b"VP8L" => picture = Some(lossless_size(data)?),
                b"EXIF" if orientation.is_none() => orientation = Some(Orientation::from_exif(data)),
                _ => {}
            }
            if matches!(name, b"VP8L" | b"ALPH") {
                lossless_size_bytes += data.len() as u64;
            }
        }
        let Some((width, height)) = picture else {
            return Err(DecodeError::damaged(WEBP, "it has no picture data"));
        };
        check_size(WEBP, width, height)?;
        if canvas.is_some_and(|canvas| canvas != (width, height)) {
            return Err(DecodeError::damaged(WEBP, "its picture does not fill its canvas"));
        }
        let max = u64::from(width) * u64::from(height) * 4 + LOSSLESS_SLACK_BYTES;
        let max = max.min(limits::WEBP_LOSSLESS_SIZE_BYTES);
        at_most(WEBP, Measure::LosslessSizeBytes, lossless_size_bytes, max)?;
        Ok(Self { width, height, orientation: orientation.unwrap_or_default(), end })
    }
}

/// The name and the data of the chunk at an offset, which moves behind its padding.
fn chunk<'a>(bytes: &'a [u8], at: &mut usize) -> Result<(&'a [u8; 4], &'a [u8]), DecodeError> {
    let broken = DecodeError::damaged(WEBP, "a part of it is longer than the whole");
    let Some((name, rest)) = bytes.get(*at..).and_then(<[u8]>::split_first_chunk::<4>) else {
        return Err(broken);
    };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Err(broken) };
    let length = u32::from_le_bytes(*length) as usize;
    let Some(data) = rest.get(..length) else { return Err(broken) };
    *at += 8 + length + length % 2;
    Ok((name, data))
}

/// The size in the header of a VP8 key frame (RFC 6386, 9.1).
fn lossy_size(data: &[u8]) -> Result<(u32, u32), DecodeError> {
    match *data {
        [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] => {
            let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
            Ok((side([w0, w1]), side([h0, h1])))
        }
        _ => Err(DecodeError::damaged(WEBP, "its picture does not begin with a key frame")),
    }
}

/// The size in the header of a VP8L picture (RFC 9649, 3.4).
fn lossless_size(data: &[u8]) -> Result<(u32, u32), DecodeError> {
    match *data {
        [0x2f, b0, b1, b2, b3, ..] => {
            let bits = u32::from_le_bytes([b0, b1, b2, b3]);
            Ok(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        _ => Err(DecodeError::damaged(WEBP, "its lossless picture has a wrong signature")),
    }
}
