//! A few bytes that cameras leave behind compressed data, told from corrupt data.
//!
//! The turbojpeg crate gives the words of the first warning and no others. If these are extra bytes before the end
//! marker, the last thing in a picture, all before them was sound. If they are extra bytes before a restart marker,
//! later warnings are unknown; each restart interval is then decoded as a picture of its own. That costs a second
//! decode, only of frames that have such bytes.
//!
//! More than a few bytes are refused: where a frame is torn and its gap is filled, what remains when all blocks are
//! found is long.

use rollcall_core::limits;
use turbojpeg::{Decompressor, Error, Image, PixelFormat};

use super::jpeg::{EOI, Header};

/// Whether the error is only about padding, and the picture whole. The bytes are what the decoder was given.
pub(super) fn is_all(error: &Error, header: &Header, bytes: &[u8], decoder: &mut Decompressor) -> bool {
    match padding_before(error) {
        Some(EOI) => true,
        Some(0xd0..=0xd7) => intervals_are_whole(header, bytes, decoder).unwrap_or(false),
        _ => false,
    }
}

/// The marker before which few bytes were too many.
fn padding_before(error: &Error) -> Option<u8> {
    let Error::TurboJpegError(words) = error else { return None };
    let rest = words.strip_prefix("Corrupt JPEG data: ")?;
    let (size_bytes, marker) = rest.split_once(" extraneous bytes before marker 0x")?;
    let few = size_bytes.parse::<u32>().ok()? <= limits::JPEG_PADDING_SIZE_BYTES;
    few.then(|| u8::from_str_radix(marker, 16).ok()).flatten()
}

/// None where the picture cannot be checked.
fn intervals_are_whole(header: &Header, bytes: &[u8], decoder: &mut Decompressor) -> Option<bool> {
    let frame = &header.frame;
    if frame.progressive || header.scans > 1 || header.restart_mcus == 0 {
        return None;
    }
    let (mcu_width, mcu_height) = frame.mcu_size();
    let mut mcus_left = frame.width.div_ceil(mcu_width) * frame.height.div_ceil(mcu_height);
    let interval = u32::from(header.restart_mcus).min(mcus_left);
    let side_max_px = 65_500;
    if mcus_left.div_ceil(interval) > limits::JPEG_RESTARTS || interval * mcu_width > side_max_px {
        return None;
    }
    let mut strip = bytes[..header.scan_at].to_vec();
    let mut pixels = vec![0; (interval * mcu_width * mcu_height * 3) as usize];
    let mut data = &bytes[header.scan_at..bytes.len() - 2];
    for restart in (0xd0..=0xd7).cycle() {
        let mcus = interval.min(mcus_left);
        let (width, height) = (mcus * mcu_width, mcu_height);
        strip.truncate(header.scan_at);
        let [h1, h0] = u16::try_from(height).ok()?.to_be_bytes();
        let [w1, w0] = u16::try_from(width).ok()?.to_be_bytes();
        strip[frame.at + 1..frame.at + 5].copy_from_slice(&[h1, h0, w1, w0]);
        let end = data.windows(2).position(|pair| pair[0] == 0xff && matches!(pair[1], 0xd0..=0xd7));
        strip.extend_from_slice(&data[..end.unwrap_or(data.len())]);
        strip.extend_from_slice(&[0xff, EOI]);
        let (width, height) = (width as usize, height as usize);
        let output =
            Image { pixels: &mut pixels[..], width, height, pitch: width * 3, format: PixelFormat::RGB };
        if let Err(error) = decoder.decompress(&strip, output)
            && padding_before(&error) != Some(EOI)
        {
            return Some(false);
        }
        mcus_left -= mcus;
        let Some(end) = end else { break };
        if mcus_left == 0 || data[end + 1] != restart {
            return Some(false);
        }
        data = &data[end + 2..];
    }
    Some(mcus_left == 0)
}
