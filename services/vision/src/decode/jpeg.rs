//! JPEG files and MJPEG frames (ITU-T T.81).
//!
//! One walk over the segments comes first. It knows the size, the kind, the orientation and the end before memory
//! is taken, and bounds the work. libjpeg-turbo then makes the pixels: the networks were measured with its pixels,
//! and another decoder's rounding is enough to move the boxes of faces. It also supplies the Huffman tables that
//! USB cameras leave out (T.81, Annex K.3) to sequential pictures.
//!
//! libjpeg-turbo reports corrupt data as a warning and paints over it. Every warning is a refusal here, since half a
//! frame, or parts of two, must never be matched. Three that real devices cause in sound pictures are not:
//!
//! - Samsung phones and some cameras write wrong spectrum limits into sequential scans, which have no choice of
//!   them (libjpeg-turbo issue 778). They are corrected beforehand.
//! - ICC profiles may be damaged. Their segments are renamed beforehand, which also saves a copy of the profile.
//! - Cameras leave a few bytes behind the data of a picture or of a restart interval (libjpeg-turbo issue 157); see
//!   [`padding`](super::jpeg_padding).
//!
//! Four components are CMYK or YCCK with inverted values, as Adobe writes them and every viewer assumes.
//!
//! Arithmetic coding is refused although libjpeg-turbo knows it: no camera or phone writes it, and it has no least
//! number of bits a block, on which the check for missing data rests. So are more than 8 bits and lossless JPEG.

use std::borrow::Cow;

use rollcall_core::limits;
use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

use super::error::{DecodeError, Measure, PictureFormat, Variant};
use super::orientation::Orientation;
use super::{at_most, check_size, image, jpeg_padding};
use crate::RgbImage;

const JPEG: PictureFormat = PictureFormat::Jpeg;

const SOI: u8 = 0xd8;
pub(super) const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DRI: u8 = 0xdd;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
/// An application segment without a meaning.
const APP15: u8 = 0xef;

/// Ss, Se, Ah and Al of a sequential scan.
const WHOLE_SPECTRUM: [u8; 3] = [0, 63, 0];

/// Reads a JPEG file and turns it upright.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let header = Header::read(bytes)?;
    let mut data = Vec::new();
    pixels(&header, bytes, &mut data)?;
    Ok(header.orientation.upright(image(JPEG, header.frame.width, header.frame.height, data)?))
}

/// Reads one frame of a camera that was set to a size. Orientation tags are ignored: cameras have none.
pub(super) fn decode_frame(
    width: u32,
    height: u32,
    bytes: &[u8],
    rgb: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let header = header_of_size(width, height, bytes)?;
    pixels(&header, bytes, rgb)
}

/// What [`decode_frame`] would say of a frame before it makes pixels.
pub(super) fn check_frame(width: u32, height: u32, bytes: &[u8]) -> Result<(), DecodeError> {
    header_of_size(width, height, bytes).map(|_| ())
}

/// Columns and rows of a frame.
pub(super) fn frame_size(bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
    let frame = Header::read(bytes)?.frame;
    Ok((frame.width, frame.height))
}

fn header_of_size(width: u32, height: u32, bytes: &[u8]) -> Result<Header, DecodeError> {
    let header = Header::read(bytes)?;
    let (got_width, got_height) = (header.frame.width, header.frame.height);
    if (got_width, got_height) != (width, height) {
        return Err(DecodeError::WrongFrameSize { width, height, got_width, got_height });
    }
    Ok(header)
}

fn pixels(header: &Header, bytes: &[u8], rgb: &mut Vec<u8>) -> Result<(), DecodeError> {
    let bytes = header.corrected(bytes);
    let mut decoder = Decompressor::new().map_err(|error| DecodeError::codec(JPEG, error))?;
    let (width, height) = (header.frame.width as usize, header.frame.height as usize);
    let (format, channels) =
        if header.frame.components.len() == 4 { (PixelFormat::CMYK, 4) } else { (PixelFormat::RGB, 3) };
    // Cleared, so that a damaged frame can never show parts of the one before it: those may be another face.
    rgb.clear();
    rgb.resize(width * height * channels, 0);
    let output = Image { pixels: &mut rgb[..], width, height, pitch: width * channels, format };
    if let Err(error) = decoder.decompress(&bytes, output)
        && !jpeg_padding::is_all(&error, header, &bytes, &mut decoder)
    {
        return Err(DecodeError::codec(JPEG, error));
    }
    if format == PixelFormat::CMYK {
        rgb_from_inverted_cmyk(rgb);
    }
    Ok(())
}

/// The brightness of one frame at an eighth of its size: the mean of each block of 8 x 8 pixels, which is what a JPEG
/// stores first of each. Refuses what [`decode_frame`] refuses, and four colours, which no camera sends.
pub(super) fn eighth(width: u32, height: u32, bytes: &[u8], grey: &mut Vec<u8>) -> Result<(), DecodeError> {
    let header = header_of_size(width, height, bytes)?;
    let bytes = header.corrected(bytes);
    let codec = |error| DecodeError::codec(JPEG, error);
    let mut decoder = Decompressor::new().map_err(codec)?;
    decoder.set_scaling_factor(ScalingFactor::ONE_EIGHTH).map_err(codec)?;
    let (width, height) = (width.div_ceil(8) as usize, height.div_ceil(8) as usize);
    grey.clear();
    grey.resize(width * height, 0);
    let output = Image { pixels: &mut grey[..], width, height, pitch: width, format: PixelFormat::GRAY };
    if let Err(error) = decoder.decompress(&bytes, output) {
        let mut whole_size = Decompressor::new().map_err(codec)?;
        if !jpeg_padding::is_all(&error, &header, &bytes, &mut whole_size) {
            return Err(codec(error));
        }
    }
    Ok(())
}

/// In place: the spare quarter stays with the picture. Converts as Pillow does: the inverse of ink is multiplied by
/// that of black and divided by 255, rounded.
fn rgb_from_inverted_cmyk(data: &mut Vec<u8>) {
    let pixels = data.len() / 4;
    for pixel in 0..pixels {
        let black = u32::from(data[pixel * 4 + 3]);
        for colour in 0..3 {
            let ink = 255 - u32::from(data[pixel * 4 + colour]);
            let product = ink * black + 128;
            data[pixel * 3 + colour] = (black - (((product >> 8) + product) >> 8)) as u8;
        }
    }
    data.truncate(pixels * 3);
}

/// What the walk over the segments finds.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) frame: Frame,
    orientation: Orientation,
    /// MCUs in one restart interval; 0 without restarts.
    pub(super) restart_mcus: u16,
    pub(super) scans: u32,
    /// Offset of the data of the first scan.
    pub(super) scan_at: usize,
    /// Offset behind the end marker.
    end: usize,
    /// Offsets of bytes to be replaced before libjpeg-turbo sees them.
    corrections: Vec<(usize, u8)>,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut segments = Segments::new(bytes)?;
        let mut frame: Option<Frame> = None;
        let mut orientation = None;
        let mut corrections = Vec::new();
        let (mut restart_mcus, mut scan_at) = (0, 0);
        let (mut count, mut scans, mut table_size_bytes) = (0, 0, 0);
        loop {
            let Segment { marker, data } = segments.next()?;
            let data_at = segments.at - data.len();
            count += 1;
            at_most(JPEG, Measure::Segments, count, u64::from(limits::JPEG_SEGMENTS))?;
            match marker {
                0xc0..=0xc2 if frame.is_some() => {
                    return Err(DecodeError::damaged(JPEG, "it has two frame headers"));
                }
                0xc0..=0xc2 => frame = Some(Frame::read(marker, data, data_at)?),
                0xc4 | 0xdb => {
                    table_size_bytes += data.len() as u64;
                    let max = limits::JPEG_TABLES_SIZE_BYTES;
                    at_most(JPEG, Measure::TablesSizeBytes, table_size_bytes, max)?;
                }
                DRI => {
                    if let [high, low] = data {
                        restart_mcus = u16::from_be_bytes([*high, *low]);
                    }
                }
                APP1 if orientation.is_none() && data.starts_with(b"Exif\0\0") => {
                    orientation = Some(Orientation::from_exif(data));
                }
                APP2 => corrections.push((data_at - 3, APP15)),
                SOS => {
                    let frame = frame
                        .as_mut()
                        .ok_or(DecodeError::damaged(JPEG, "a scan precedes its frame header"))?;
                    scans += 1;
                    frame.read_scan(scans, data)?;
                    if scans == 1 {
                        scan_at = segments.at;
                    }
                    if !frame.progressive && !data.ends_with(&WHOLE_SPECTRUM) {
                        corrections.extend((segments.at - 3..).zip(WHOLE_SPECTRUM));
                    }
                }
                EOI => break,
                _ => refuse_rare_kinds(marker)?,
            }
        }
        let Some(frame) = frame.filter(|_| scans > 0) else {
            return Err(DecodeError::damaged(JPEG, "it has no picture data"));
        };
        frame.check_data(segments.scan_size_bytes)?;
        let orientation = orientation.unwrap_or_default();
        Ok(Self { frame, orientation, restart_mcus, scans, scan_at, end: segments.at, corrections })
    }

    fn corrected<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut bytes = Cow::Borrowed(&bytes[..self.end]);
        for (at, byte) in &self.corrections {
            bytes.to_mut()[*at] = *byte;
        }
        bytes
    }
}

fn refuse_rare_kinds(marker: u8) -> Result<(), DecodeError> {
    let variant = match marker {
        0xc3 | 0xf7 => Variant::LosslessJpeg,
        0xc5..=0xc7 | 0xde | 0xdf => Variant::HierarchicalJpeg,
        0xc9..=0xcc => Variant::ArithmeticJpeg,
        0xc8 | 0xcd..=0xcf => Variant::HierarchicalJpeg,
        0xdc => Variant::LateHeightJpeg,
        _ => return Ok(()),
    };
    Err(DecodeError::Unsupported { variant })
}

/// A frame header (SOF0 to SOF2) within the limits.
#[derive(Debug)]
pub(super) struct Frame {
    /// Offset of the content of the segment.
    pub(super) at: usize,
    pub(super) progressive: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Vec<Component>,
}

#[derive(Debug)]
pub(super) struct Component {
    id: u8,
    across: u32,
    down: u32,
    /// Whether a scan gave it values, of a progressive picture the first bits of its mean values.
    begun: bool,
}

impl Frame {
    fn read(marker: u8, data: &[u8], at: usize) -> Result<Self, DecodeError> {
        let [precision, h1, h0, w1, w0, count, components @ ..] = data else {
            return Err(DecodeError::damaged(JPEG, "its frame header is too short"));
        };
        let width = u32::from(u16::from_be_bytes([*w1, *w0]));
        let height = u32::from(u16::from_be_bytes([*h1, *h0]));
        if *precision != 8 {
            return Err(DecodeError::Unsupported { variant: Variant::DeepJpeg });
        }
        if height == 0 && width > 0 {
            return Err(DecodeError::Unsupported { variant: Variant::LateHeightJpeg });
        }
        check_size(JPEG, width, height)?;
        if !matches!(count, 1 | 3 | 4) {
            return Err(DecodeError::Unsupported { variant: Variant::JpegComponents });
        }
        if components.len() != 3 * usize::from(*count) {
            return Err(DecodeError::damaged(JPEG, "its frame header has a wrong length"));
        }
        let components = components
            .chunks_exact(3)
            .map(|component| Component {
                id: component[0],
                across: u32::from(component[1] >> 4),
                down: u32::from(component[1] & 15),
                begun: false,
            })
            .collect();
        let frame = Self { at, progressive: marker == 0xc2, width, height, components };
        frame.check_sampling()?;
        Ok(frame)
    }

    /// Factors are 1 to 4 (T.81, B.2.2). libjpeg-turbo has no way to enlarge 2 samples to 3.
    fn check_sampling(&self) -> Result<(), DecodeError> {
        let (across_max, down_max) = self.sampling_max();
        for Component { across, down, .. } in &self.components {
            let allowed = (1..=4).contains(across) && (1..=4).contains(down);
            if !allowed || across_max % across != 0 || down_max % down != 0 {
                return Err(DecodeError::Unsupported { variant: Variant::JpegSampling });
            }
        }
        Ok(())
    }

    fn sampling_max(&self) -> (u32, u32) {
        self.components.iter().fold((0, 0), |(across, down), component| {
            (across.max(component.across), down.max(component.down))
        })
    }

    /// Columns and rows of one MCU in pixels. The factors of a single component mean nothing (T.81, A.2.2).
    pub(super) fn mcu_size(&self) -> (u32, u32) {
        let (across, down) = if self.components.len() == 1 { (1, 1) } else { self.sampling_max() };
        (8 * across, 8 * down)
    }

    fn read_scan(&mut self, scans: u32, data: &[u8]) -> Result<(), DecodeError> {
        at_most(JPEG, Measure::Scans, u64::from(scans), u64::from(limits::JPEG_SCANS))?;
        let pixels = u64::from(self.width) * u64::from(self.height);
        at_most(JPEG, Measure::ScanPixels, pixels * u64::from(scans), limits::JPEG_SCAN_PIXELS)?;
        let (Some(&count), [.., first, _, bits]) = (data.first(), data) else {
            return Err(DecodeError::damaged(JPEG, "a scan header is too short"));
        };
        let (all, progressive) = (usize::from(count) == self.components.len(), self.progressive);
        if data.len() != 4 + 2 * usize::from(count) {
            return Err(DecodeError::damaged(JPEG, "a scan header has a wrong length"));
        }
        for component in &mut self.components {
            // Where a scan has all components their names do not matter; there are pictures with equal names.
            if !all && !data[1..data.len() - 3].chunks_exact(2).any(|named| named[0] == component.id) {
                continue;
            }
            if component.begun && !progressive {
                return Err(DecodeError::damaged(JPEG, "its picture data comes twice"));
            }
            component.begun |= !progressive || (*first == 0 && bits >> 4 == 0);
        }
        Ok(())
    }

    /// Missing components would be painted grey without a word. A block costs a bit for its first coefficient and,
    /// in a sequential scan, another for the end of the rest: a few bytes cannot be 25 million pixels.
    fn check_data(&self, scan_size_bytes: usize) -> Result<(), DecodeError> {
        if !self.components.iter().all(|component| component.begun) {
            return Err(DecodeError::damaged(JPEG, "a colour is missing"));
        }
        let bits = if self.progressive { self.blocks() } else { 2 * self.blocks() };
        if (scan_size_bytes as u64) < bits / 8 {
            return Err(DecodeError::damaged(JPEG, "most of its picture data is missing"));
        }
        Ok(())
    }

    /// The number of blocks of 8 x 8 samples that the picture has at least.
    fn blocks(&self) -> u64 {
        let (across_max, down_max) = self.sampling_max();
        let blocks = |side: u32, factor: u32, max: u32| u64::from((side * factor).div_ceil(8 * max));
        self.components
            .iter()
            .map(|component| {
                blocks(self.width, component.across, across_max)
                    * blocks(self.height, component.down, down_max)
            })
            .sum()
    }
}

/// One marker and what belongs to it; for a scan its header only.
pub(super) struct Segment<'a> {
    marker: u8,
    data: &'a [u8],
}

impl Segment<'_> {
    pub(super) fn is_end(&self) -> bool {
        self.marker == EOI
    }
}

/// The segments of a JPEG, with the compressed data of scans skipped. Pictures inside segments are not entered.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    /// Offset of the next segment, or of the data of the scan just returned.
    pub(super) at: usize,
    in_scan: bool,
    /// Bytes of compressed data in all scans so far.
    scan_size_bytes: usize,
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if !bytes.starts_with(&[0xff, SOI]) {
            return Err(DecodeError::damaged(JPEG, "it does not begin with a start marker"));
        }
        Ok(Self { bytes, at: 2, in_scan: false, scan_size_bytes: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Segment<'a>, DecodeError> {
        if self.in_scan {
            let start = self.at;
            self.skip_scan()?;
            self.scan_size_bytes += self.at - start;
        }
        let marker = self.marker()?;
        self.in_scan = marker == SOS;
        match marker {
            EOI => Ok(Segment { marker, data: &[] }),
            0 | 1 | 0xd0..=SOI => Err(DecodeError::damaged(JPEG, "it has a marker where none may be")),
            _ => {
                let length = self.bytes.get(self.at..self.at + 2).ok_or(self.cut())?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                if length < 2 {
                    return Err(DecodeError::damaged(JPEG, "it has a segment of impossible length"));
                }
                let data = self.bytes.get(self.at + 2..self.at + length).ok_or(self.cut())?;
                self.at += length;
                Ok(Segment { marker, data })
            }
        }
    }

    /// Reads `FF`, any fill bytes `FF`, and the marker.
    fn marker(&mut self) -> Result<u8, DecodeError> {
        if *self.bytes.get(self.at).ok_or(self.cut())? != 0xff {
            return Err(DecodeError::damaged(JPEG, "it has bytes between its segments"));
        }
        let fill = self.bytes[self.at..].iter().take_while(|byte| **byte == 0xff).count();
        let marker = *self.bytes.get(self.at + fill).ok_or(self.cut())?;
        self.at += fill + 1;
        Ok(marker)
    }

    /// Moves to the first marker that is no restart.
    fn skip_scan(&mut self) -> Result<(), DecodeError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += rest.iter().position(|byte| *byte == 0xff).ok_or(self.cut())?;
            match self.bytes.get(self.at + 1).ok_or(self.cut())? {
                0xff => self.at += 1,
                0 | 0xd0..=0xd7 => self.at += 2,
                _ => return Ok(()),
            }
        }
    }

    fn cut(&self) -> DecodeError {
        DecodeError::Truncated { format: JPEG, size_bytes: self.bytes.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `Image.convert("RGB")` of Pillow 13.0.
    #[test]
    fn f085_inverted_cmyk_becomes_the_rgb_of_pillow() {
        let mut data = [
            [0, 0, 0, 0],
            [255, 255, 255, 255],
            [255, 0, 128, 255],
            [1, 2, 3, 254],
            [200, 100, 50, 77],
            [127, 129, 254, 128],
        ]
        .concat();
        rgb_from_inverted_cmyk(&mut data);
        assert_eq!(
            data,
            [[0, 0, 0], [255, 255, 255], [255, 0, 128], [1, 2, 3], [60, 30, 15], [64, 65, 127]].concat()
        );
    }
}
