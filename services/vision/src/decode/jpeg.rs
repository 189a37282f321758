//! JPEG files and MJPEG frames (ITU-T T.81).
//!
//! One walk over the segments comes first. It knows the size, the kind, the orientation and the end before memory
//! is taken, and refuses what zune-jpeg 0.5.15 would decode to noise without an error: sequential pictures with one
//! scan for each colour (it stops a scan early when it sees the next one), and sampling factors where a later
//! component is finer than the first (it computes strides from the first). zune-jpeg then decodes in strict mode;
//! its default returns Ok for frames cut at 30 %.
//!
//! Four components are CMYK or YCCK with inverted values, as Adobe writes them and every viewer assumes.

use rollcall_core::limits;
use turbojpeg::{Decompressor, Image, PixelFormat};

use super::error::{DecodeError, Measure, PictureFormat, Variant};
use super::jpeg_tables::STANDARD_TABLES;
use super::orientation::Orientation;
use super::{at_most, check_size, image};
use crate::RgbImage;

const JPEG: PictureFormat = PictureFormat::Jpeg;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// Reads a JPEG file and turns it upright.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let header = Header::read(bytes)?;
    let mut data = Vec::new();
    pixels(&header, bytes, &mut data)?;
    Ok(header.orientation.upright(image(JPEG, header.width, header.height, data)?))
}

/// Reads one frame of a camera that was set to a size. Orientation tags are ignored: cameras have none.
pub(super) fn decode_frame(
    width: u32,
    height: u32,
    bytes: &[u8],
    rgb: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let header = Header::read(bytes)?;
    let (got_width, got_height) = (header.width, header.height);
    if (got_width, got_height) != (width, height) {
        return Err(DecodeError::WrongFrameSize { width, height, got_width, got_height });
    }
    pixels(&header, bytes, rgb)
}

fn pixels(header: &Header, bytes: &[u8], rgb: &mut Vec<u8>) -> Result<(), DecodeError> {
    let bytes = &bytes[..header.end];
    if header.has_huffman_tables {
        return unpack(header, bytes, rgb);
    }
    let mut whole = Vec::with_capacity(bytes.len() + 1024);
    whole.extend_from_slice(&bytes[..2]);
    for table in STANDARD_TABLES {
        whole.extend_from_slice(table);
    }
    whole.extend_from_slice(&bytes[2..]);
    unpack(header, &whole, rgb)
}

fn unpack(header: &Header, bytes: &[u8], rgb: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut decoder = Decompressor::new().map_err(|error| DecodeError::codec(JPEG, error))?;
    let (width, height) = (header.width as usize, header.height as usize);
    // Cleared, so that a damaged frame can never show parts of the one before it: those may be another face.
    rgb.clear();
    rgb.resize(width * height * 3, 0);
    let output = Image { pixels: &mut rgb[..], width, height, pitch: width * 3, format: PixelFormat::RGB };
    decoder.decompress(bytes, output).map_err(|error| DecodeError::codec(JPEG, error))
}

/// What the walk over the segments finds.
#[derive(Debug)]
struct Header {
    width: u32,
    height: u32,
    orientation: Orientation,
    has_huffman_tables: bool,
    /// Offset behind the end marker.
    end: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut segments = Segments::new(bytes)?;
        let mut frame: Option<Frame> = None;
        let mut orientation = None;
        let mut has_huffman_tables = false;
        let (mut count, mut scans, mut table_size_bytes) = (0, 0, 0);
        loop {
            let Segment { marker, data } = segments.next()?;
            count += 1;
            at_most(JPEG, Measure::Segments, count, u64::from(limits::JPEG_SEGMENTS))?;
            match marker {
                0xc0..=0xc2 if frame.is_some() => {
                    return Err(DecodeError::damaged(JPEG, "it has two frame headers"));
                }
                0xc0..=0xc2 => frame = Some(Frame::read(marker, data)?),
                0xc4 | 0xdb => {
                    has_huffman_tables |= marker == 0xc4;
                    table_size_bytes += data.len() as u64;
                    at_most(
                        JPEG,
                        Measure::TablesSizeBytes,
                        table_size_bytes,
                        limits::JPEG_TABLES_SIZE_BYTES,
                    )?;
                }
                0xe1 if orientation.is_none() && data.starts_with(b"Exif\0\0") => {
                    orientation = Some(Orientation::from_exif(data));
                }
                SOS => {
                    let frame = frame
                        .as_ref()
                        .ok_or(DecodeError::damaged(JPEG, "a scan precedes its frame header"))?;
                    scans += 1;
                    frame.check_scan(scans, data, has_huffman_tables)?;
                }
                EOI => break,
                _ => refuse_rare_kinds(marker)?,
            }
        }
        let Some(frame) = frame.filter(|_| scans > 0) else {
            return Err(DecodeError::damaged(JPEG, "it has no picture data"));
        };
        frame.check_scan_size(segments.scan_size_bytes)?;
        let Frame { width, height, .. } = frame;
        let orientation = orientation.unwrap_or_default();
        Ok(Self { width, height, orientation, has_huffman_tables, end: segments.at })
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
struct Frame {
    progressive: bool,
    width: u32,
    height: u32,
    components: u8,
    /// Blocks of 8 x 8 samples in all components together.
    blocks: u64,
}

impl Frame {
    fn read(marker: u8, data: &[u8]) -> Result<Self, DecodeError> {
        let [precision, h1, h0, w1, w0, components, factors @ ..] = data else {
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
        if !matches!(components, 1 | 3 | 4) {
            return Err(DecodeError::Unsupported { variant: Variant::JpegComponents });
        }
        if factors.len() != 3 * usize::from(*components) {
            return Err(DecodeError::damaged(JPEG, "its frame header has a wrong length"));
        }
        let blocks = check_sampling(width, height, factors)?;
        Ok(Self { progressive: marker == 0xc2, width, height, components: *components, blocks })
    }

    /// A block costs a bit for its first coefficient and, in a sequential scan, another for the end of the rest:
    /// a few bytes cannot be 25 million pixels.
    fn check_scan_size(&self, scan_size_bytes: usize) -> Result<(), DecodeError> {
        let bits = if self.progressive { self.blocks } else { 2 * self.blocks };
        if (scan_size_bytes as u64) < bits / 8 {
            return Err(DecodeError::damaged(JPEG, "most of its picture data is missing"));
        }
        Ok(())
    }

    fn check_scan(&self, scans: u32, data: &[u8], has_huffman_tables: bool) -> Result<(), DecodeError> {
        at_most(JPEG, Measure::Scans, u64::from(scans), u64::from(limits::JPEG_SCANS))?;
        let pixels = u64::from(self.width) * u64::from(self.height);
        at_most(JPEG, Measure::ScanPixels, pixels * u64::from(scans), limits::JPEG_SCAN_PIXELS)?;
        if self.progressive && !has_huffman_tables {
            return Err(DecodeError::damaged(JPEG, "its Huffman tables are missing"));
        }
        if !self.progressive && data.first() != Some(&self.components) {
            return Err(DecodeError::Unsupported { variant: Variant::SplitJpeg });
        }
        if !self.progressive && scans > 1 {
            return Err(DecodeError::damaged(JPEG, "its picture data comes twice"));
        }
        Ok(())
    }
}

/// The number of blocks, where sampling factors are powers of two, none finer than the first, and at most 10 blocks
/// together (T.81, B.2.3).
fn check_sampling(width: u32, height: u32, factors: &[u8]) -> Result<u64, DecodeError> {
    let (across_max, down_max) = (factors[1] >> 4, factors[1] & 15);
    let mut blocks = 0;
    for component in factors.chunks_exact(3) {
        let (across, down) = (component[1] >> 4, component[1] & 15);
        let plain = matches!(across, 1 | 2 | 4) && matches!(down, 1 | 2 | 4);
        if !plain || across > across_max || down > down_max {
            return Err(DecodeError::Unsupported { variant: Variant::JpegSampling });
        }
        blocks += u64::from(across * down);
    }
    let units = |across: u8, down: u8| {
        u64::from(width.div_ceil(8 * u32::from(across))) * u64::from(height.div_ceil(8 * u32::from(down)))
    };
    // The factors of a single component mean nothing (T.81, A.2.2): grey pictures with 4 x 4 exist.
    if factors.len() == 3 {
        return Ok(units(1, 1));
    }
    if blocks > 10 {
        return Err(DecodeError::Unsupported { variant: Variant::JpegSampling });
    }
    Ok(units(across_max, down_max) * blocks)
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
