//! Pictures for tests, made by other implementations or by hand; good ones, odd ones and bombs.
#![allow(dead_code, clippy::unwrap_used)]

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// RGB that is smooth enough for lossy formats: its red grows to the right, its green downwards.
pub(crate) fn rgb(width: usize, height: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            data.extend(
                [x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)].map(|v| v as u8),
            );
        }
    }
    data
}

/// A baseline JPEG of [`rgb`] without subsampling.
pub(crate) fn jpeg(width: u16, height: u16) -> Vec<u8> {
    jpeg_with(width, height, |_| {})
}

pub(crate) fn jpeg_with(width: u16, height: u16, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    jpeg_of(&rgb(width.into(), height.into()), width, height, ColorType::Rgb, set)
}

pub(crate) fn jpeg_of(
    data: &[u8],
    width: u16,
    height: u16,
    colours: ColorType,
    set: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    set(&mut encoder);
    encoder.encode(data, width, height, colours).unwrap();
    bytes
}

/// A marker segment.
pub(crate) fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker], length.as_slice(), data].concat()
}

/// A frame header with sampling factors such as 0x22, one for each component.
pub(crate) fn frame_header(marker: u8, width: u16, height: u16, sampling: &[u8]) -> Vec<u8> {
    let mut data = vec![8];
    data.extend(height.to_be_bytes());
    data.extend(width.to_be_bytes());
    data.push(sampling.len() as u8);
    for (id, factors) in (1..).zip(sampling) {
        data.extend([id, *factors, 0]);
    }
    segment(marker, &data)
}

/// A scan header over components 1 to `components`.
pub(crate) fn scan_header(components: u8, spectrum: (u8, u8)) -> Vec<u8> {
    let mut data = vec![components];
    for id in 1..=components {
        data.extend([id, 0]);
    }
    data.extend([spectrum.0, spectrum.1, 0]);
    segment(0xda, &data)
}

/// A JPEG of a claimed size with next to no data.
pub(crate) fn jpeg_claiming(marker: u8, width: u16, height: u16, sampling: &[u8]) -> Vec<u8> {
    let components = sampling.len() as u8;
    [
        vec![0xff, 0xd8],
        frame_header(marker, width, height, sampling),
        scan_header(components, (0, 63)),
        vec![0, 0xff, 0xd9],
    ]
    .concat()
}

/// A progressive grey JPEG with tables and as many scans as asked for, each as short as can be: of the mean values a
/// bit each, then of each frequency one code for 16,384 blocks. From the 65th on, scans repeat.
pub(crate) fn jpeg_with_scans(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let one_code = |class: u8, symbol: u8| [vec![class, 1], vec![0; 15], vec![symbol]].concat();
    let blocks = usize::from(width.div_ceil(8)) * usize::from(height.div_ceil(8));
    let mut bytes = vec![0xff, 0xd8];
    bytes.extend(segment(0xdb, &[vec![0], vec![1; 64]].concat()));
    bytes.extend(frame_header(0xc2, width, height, &[0x11]));
    bytes.extend(segment(0xc4, &[one_code(0, 0), one_code(0x10, 0xe0)].concat()));
    for scan in 0..scans {
        let frequency = (scan % 64) as u8;
        bytes.extend(scan_header(1, (frequency, frequency)));
        let bits = if scan == 0 { blocks } else { 15 * blocks.div_ceil(16_384) };
        bytes.extend(vec![0; bits.div_ceil(8)]);
    }
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// A sequential JPEG of [`rgb`] with one scan for each colour and any sampling factors that divide it, put together of grey ones.
pub(crate) fn jpeg_of_planes(width: u16, height: u16, sampling: [u8; 3]) -> Vec<u8> {
    let across_max = sampling.map(|factors| factors >> 4).into_iter().max().unwrap();
    let down_max = sampling.map(|factors| factors & 15).into_iter().max().unwrap();
    let weights = [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]];
    let (columns, data) = (usize::from(width), rgb(width.into(), height.into()));
    let mut bytes = vec![0xff, 0xd8];
    for (number, (factors, weights)) in sampling.into_iter().zip(weights).enumerate() {
        let (across, down) =
            (usize::from(across_max / (factors >> 4)), usize::from(down_max / (factors & 15)));
        let (plane_width, plane_height) = (width / across as u16, height / down as u16);
        let mut plane = Vec::new();
        for y in (0..usize::from(plane_height)).map(|y| y * down) {
            for x in (0..usize::from(plane_width)).map(|x| x * across) {
                let mut sum = 0.0;
                for at in (0..across * down).map(|n| (y + n / across) * columns + x + n % across) {
                    let pixel = &data[at * 3..at * 3 + 3];
                    sum += pixel.iter().zip(weights).map(|(v, weight)| f64::from(*v) * weight).sum::<f64>();
                }
                let zero = if number == 0 { 0.0 } else { 128.0 };
                plane.push((sum / (across * down) as f64 + zero).round() as u8);
            }
        }
        let grey = jpeg_of(&plane, plane_width, plane_height, ColorType::Luma, |_| {});
        let tables =
            |marker| segments(&grey).into_iter().filter(move |segment| segment[1] == marker).flatten();
        if number == 0 {
            bytes.extend(tables(0xdb));
            bytes.extend(frame_header(0xc0, width, height, &sampling));
        }
        bytes.extend(tables(0xc4));
        bytes.extend(segment(0xda, &[1, number as u8 + 1, 0, 0, 63, 0]));
        bytes.extend(&grey[scan_at(&grey)..grey.len() - 2]);
    }
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// The segments before the data of the first scan, its header being the last.
pub(crate) fn segments(jpeg: &[u8]) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    let mut at = 2;
    loop {
        let length = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        segments.push(jpeg[at..at + length].to_vec());
        if jpeg[at + 1] == 0xda {
            return segments;
        }
        at += length;
    }
}

/// Offset of the data of the first scan.
pub(crate) fn scan_at(jpeg: &[u8]) -> usize {
    2 + segments(jpeg).concat().len()
}

/// Offsets of the markers in the data of a JPEG of one scan: those of restarts, and of the end.
pub(crate) fn markers_in_scan(jpeg: &[u8]) -> Vec<usize> {
    (scan_at(jpeg)..jpeg.len() - 1).filter(|at| jpeg[*at] == 0xff && jpeg[at + 1] != 0).collect()
}

/// The JPEG with segments put behind its start marker.
pub(crate) fn jpeg_after_start(jpeg: &[u8], segments: &[u8]) -> Vec<u8> {
    [&jpeg[..2], segments, &jpeg[2..]].concat()
}

/// The JPEG without its Huffman tables, as USB cameras send it.
pub(crate) fn jpeg_without_tables(jpeg: &[u8]) -> Vec<u8> {
    let kept: Vec<_> = segments(jpeg).into_iter().filter(|segment| segment[1] != 0xc4).collect();
    [&jpeg[..2], &kept.concat(), &jpeg[scan_at(jpeg)..]].concat()
}

/// An EXIF block with an orientation among other tags.
pub(crate) fn exif(orientation: u16, little: bool) -> Vec<u8> {
    let u16_bytes = |value: u16| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let u32_bytes = |value: u32| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let mut bytes = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    bytes.extend(u32_bytes(8));
    bytes.extend(u16_bytes(2));
    for (tag, value) in [(256, 99), (274, orientation)] {
        bytes.extend(u16_bytes(tag));
        bytes.extend(u16_bytes(3));
        bytes.extend(u32_bytes(1));
        bytes.extend(u16_bytes(value));
        bytes.extend([0; 2]);
    }
    bytes.extend(u32_bytes(0));
    bytes
}

/// The EXIF block as a JPEG segment.
pub(crate) fn exif_segment(exif: &[u8]) -> Vec<u8> {
    segment(0xe1, &[b"Exif\0\0", exif].concat())
}

/// A PNG of 8-bit RGB.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    png_of(
        &rgb(width as usize, height as usize),
        width,
        height,
        png::ColorType::Rgb,
        png::BitDepth::Eight,
        |_| {},
    )
}

pub(crate) fn png_of(
    data: &[u8],
    width: u32,
    height: u32,
    colours: png::ColorType,
    depth: png::BitDepth,
    set: impl FnOnce(&mut png::Encoder<'_, &mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colours);
    encoder.set_depth(depth);
    set(&mut encoder);
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

/// A PNG chunk with its check sum.
pub(crate) fn png_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(name);
    bytes.extend(data);
    let sum = crc32(&bytes[4..]);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// The PNG with chunks put behind its header chunk.
pub(crate) fn png_after_header(png: &[u8], chunks: &[u8]) -> Vec<u8> {
    [&png[..33], chunks, &png[33..]].concat()
}

/// A PNG of a claimed size, its pixels zeros compressed well.
pub(crate) fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let zeros = png_of(&[0; 64 * 64 * 3], 64, 64, png::ColorType::Rgb, png::BitDepth::Eight, |_| {});
    let header = png_chunk(b"IHDR", &[header.as_slice(), &[8, 2, 0, 0, 0]].concat());
    [&zeros[..8], &header, &zeros[33..]].concat()
}

/// Adam7 by hand, since the encoder has none: 8-bit RGB, stored without compression.
pub(crate) fn png_interlaced(width: usize, height: usize) -> Vec<u8> {
    let data = rgb(width, height);
    let mut raw = Vec::new();
    for (x0, y0, dx, dy) in
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    {
        if x0 >= width {
            continue;
        }
        for y in (y0..height).step_by(dy) {
            raw.push(0);
            for x in (x0..width).step_by(dx) {
                raw.extend(&data[(y * width + x) * 3..][..3]);
            }
        }
    }
    let mut header = [(width as u32).to_be_bytes(), (height as u32).to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 1]);
    let chunks = [png_chunk(b"IHDR", &header), png_chunk(b"IDAT", &stored(&raw)), png_chunk(b"IEND", &[])];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

/// A zlib stream without compression (RFC 1950, RFC 1951).
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x01];
    let mut blocks = raw.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        bytes.push(u8::from(blocks.peek().is_none()));
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in raw {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    bytes.extend((b << 16 | a).to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut sum, byte| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
        sum
    })
}

/// A lossless WebP of [`rgb`].
pub(crate) fn webp(width: u32, height: u32) -> Vec<u8> {
    webp_of(&rgb(width as usize, height as usize), width, height, image_webp::ColorType::Rgb8)
}

pub(crate) fn webp_of(data: &[u8], width: u32, height: u32, colours: image_webp::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    image_webp::WebPEncoder::new(&mut bytes).encode(data, width, height, colours).unwrap();
    bytes
}

/// A RIFF chunk.
pub(crate) fn webp_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes.extend(vec![0; data.len() % 2]);
    bytes
}

/// A WebP file of these chunks.
pub(crate) fn webp_file(chunks: &[Vec<u8>]) -> Vec<u8> {
    webp_chunk(b"RIFF", &[b"WEBP".to_vec(), chunks.concat()].concat())
}

/// The header chunk of an extended WebP.
pub(crate) fn webp_header(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let mut data = vec![flags, 0, 0, 0];
    data.extend(&(width - 1).to_le_bytes()[..3]);
    data.extend(&(height - 1).to_le_bytes()[..3]);
    webp_chunk(b"VP8X", &data)
}

/// An animated WebP with as many frames.
pub(crate) fn webp_animated(width: u32, height: u32, frames: usize) -> Vec<u8> {
    let picture = webp(width, height)[12..].to_vec();
    let mut frame = vec![0; 6];
    frame.extend(&(width - 1).to_le_bytes()[..3]);
    frame.extend(&(height - 1).to_le_bytes()[..3]);
    frame.extend([100, 0, 0, 0]);
    frame.extend(picture);
    let mut chunks = vec![webp_header(0x02, width, height), webp_chunk(b"ANIM", &[0; 6])];
    chunks.extend(vec![webp_chunk(b"ANMF", &frame); frames]);
    webp_file(&chunks)
}

/// 16 x 16 pixels of about (200, 100, 50), lossy, written by libwebp 1.6.
#[rustfmt::skip]
pub(crate) const LOSSY_WEBP: &[u8] = &[
    0x52, 0x49, 0x46, 0x46, 0x3a, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56, 0x50, 0x38, 0x20, 0x2e,
    0x00, 0x00, 0x00, 0xf0, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00, 0x01, 0x40, 0x26, 0x25,
    0xa0, 0x02, 0x74, 0xba, 0x01, 0xf8, 0x00, 0x04, 0xc8, 0x00, 0x00, 0xfe, 0xae, 0x17, 0xff, 0x36, 0x04,
    0x0c, 0xd0, 0xfa, 0x60, 0xff, 0xd2, 0x6c, 0xf1, 0x36, 0x78, 0x9b, 0x3e, 0x39, 0x80, 0x00,
];

/// The same with its right half fully transparent.
#[rustfmt::skip]
pub(crate) const LOSSY_WEBP_WITH_ALPHA: &[u8] = &[
    0x52, 0x49, 0x46, 0x46, 0x64, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56, 0x50, 0x38, 0x58, 0x0a,
    0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x0f, 0x00, 0x00, 0x0f, 0x00, 0x00, 0x41, 0x4c, 0x50, 0x48,
    0x0f, 0x00, 0x00, 0x00, 0x01, 0x10, 0x12, 0x10, 0xfe, 0x9f, 0x96, 0x64, 0x35, 0x22, 0x26, 0xc0, 0x24,
    0x7f, 0x01, 0x00, 0x56, 0x50, 0x38, 0x20, 0x2e, 0x00, 0x00, 0x00, 0xf0, 0x01, 0x00, 0x9d, 0x01, 0x2a,
    0x10, 0x00, 0x10, 0x00, 0x01, 0x40, 0x26, 0x25, 0xa0, 0x02, 0x74, 0xba, 0x01, 0xf8, 0x00, 0x04, 0xc8,
    0x00, 0x00, 0xfe, 0xae, 0x17, 0xff, 0x36, 0x04, 0x0c, 0xd0, 0xfa, 0x60, 0xff, 0xd2, 0x6c, 0xf1, 0x36,
    0x78, 0x9b, 0x3e, 0x39, 0x80, 0x00,
];
