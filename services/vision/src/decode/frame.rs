//! Camera frames to RGB.
//!
//! YUV is taken as BT.601 with limited range. That is what UVC says for cameras that state nothing (UVC 1.5, color
//! matching descriptor: SMPTE 170M) and what V4L2 drivers of the Pi report below HD. A camera that means BT.709
//! shows faces a shade greener or redder, far less than a lamp does.

use rollcall_core::limits;
use yuv::{
    YuvBiPlanarImage, YuvConversionMode, YuvError, YuvPackedImage, YuvPlanarImage, YuvRange,
    YuvStandardMatrix,
};

use super::error::{DecodeError, Measure, PictureFormat};
use super::{at_most, check_size, image, jpeg};
use crate::RgbImage;

/// How a camera lays out its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFormat {
    /// One JPEG a frame; Huffman tables may be missing.
    Mjpeg,
    /// 4:2:2, bytes Y0 U Y1 V for two pixels (V4L2 `YUYV`).
    Yuyv,
    /// 4:2:0, all Y, then rows of U V (V4L2 `NV12`).
    Nv12,
    /// 4:2:0, all Y, then all U, then all V (V4L2 `YU12`).
    Yuv420,
}

/// What the camera agreed to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayout {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Order of the bytes.
    pub format: FrameFormat,
    /// Bytes from one row of the first plane to the next; 0 for no padding, and for MJPEG. Later planes follow
    /// V4L2: the same for the U V rows of NV12, half of it for the U and V rows of YUV420.
    pub stride_bytes: u32,
}

/// Reads one frame. MJPEG frames must have the size of the layout; of raw frames, bytes beyond the layout are
/// ignored (drivers round buffers up to pages).
///
/// The memory of the picture is that of `buffer` when it is large enough. Keep one buffer for all frames:
///
/// ```
/// # use rollcall_vision::decode::{FrameFormat, FrameLayout, decode_frame};
/// let layout = FrameLayout { width: 16, height: 16, format: FrameFormat::Yuyv, stride_bytes: 0 };
/// let mut buffer = Vec::new();
/// for frame in [[16, 128].repeat(256), [235, 128].repeat(256)] {
///     let picture = decode_frame(&layout, &frame, &mut buffer)?;
///     buffer = picture.into_data();
/// }
/// assert_eq!(buffer[..3], [255, 255, 255]);
/// # Ok::<(), rollcall_vision::decode::DecodeError>(())
/// ```
///
/// # Errors
///
/// [`DecodeError`]; the buffer then stays with the caller, its content unspecified.
pub fn decode_frame(
    layout: &FrameLayout,
    bytes: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<RgbImage, DecodeError> {
    let FrameLayout { width, height, format, .. } = *layout;
    let picture_format = format.picture_format();
    layout.check_sizes(bytes)?;
    if format == FrameFormat::Mjpeg {
        jpeg::decode_frame(width, height, bytes, buffer)?;
    } else {
        let planes = Planes::cut(layout, bytes)?;
        buffer.resize(width as usize * height as usize * 3, 0);
        convert(layout, &planes, buffer).map_err(|error| DecodeError::codec(picture_format, error))?;
    }
    image(picture_format, width, height, std::mem::take(buffer))
}

impl FrameLayout {
    /// The layout of a MJPEG frame whose size nothing else tells.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn of_mjpeg(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (width, height) = jpeg::frame_size(bytes)?;
        Ok(Self { width, height, format: FrameFormat::Mjpeg, stride_bytes: 0 })
    }

    /// What can be told of a frame without making its pixels: it is not too short, not too long, and a MJPEG frame has
    /// the layout's size and both its ends. Such a frame may still be damaged inside.
    ///
    /// # Errors
    ///
    /// What [`decode_frame`] would say.
    pub fn check(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.check_sizes(bytes)?;
        match self.format {
            FrameFormat::Mjpeg => jpeg::check_frame(self.width, self.height, bytes),
            _ => Planes::cut(self, bytes).map(|_| ()),
        }
    }

    pub(super) fn check_sizes(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        let format = self.format.picture_format();
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        check_size(format, self.width, self.height)?;
        at_most(format, Measure::SizeBytes, bytes.len() as u64, limits::FRAME_SIZE_BYTES as u64)
    }
}

impl FrameFormat {
    fn picture_format(self) -> PictureFormat {
        match self {
            Self::Mjpeg => PictureFormat::Jpeg,
            Self::Yuyv => PictureFormat::Yuyv,
            Self::Nv12 => PictureFormat::Nv12,
            Self::Yuv420 => PictureFormat::Yuv420,
        }
    }
}

/// The planes of a raw frame, each of whole rows; unused ones are empty.
pub(super) struct Planes<'a> {
    pub(super) first: &'a [u8],
    second: &'a [u8],
    third: &'a [u8],
    pub(super) first_stride: u32,
    chroma_stride: u32,
}

impl<'a> Planes<'a> {
    pub(super) fn cut(layout: &FrameLayout, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let FrameLayout { width, height, format, stride_bytes } = *layout;
        // Two pixels share their colour: an odd column or row has one of its own.
        let even_width = width.next_multiple_of(2);
        let (tight, min_bytes) = match format {
            FrameFormat::Yuyv => (even_width * 2, even_width * 2),
            FrameFormat::Nv12 => (width, even_width),
            FrameFormat::Yuv420 | FrameFormat::Mjpeg => (width, width),
        };
        if stride_bytes != 0 && stride_bytes < min_bytes {
            let format = format.picture_format();
            return Err(DecodeError::WrongStride { format, width, stride_bytes, min_bytes });
        }
        let first_stride = if stride_bytes == 0 { tight } else { stride_bytes };
        let chroma_stride = match format {
            FrameFormat::Nv12 => first_stride.max(even_width),
            _ => first_stride.div_ceil(2),
        };
        let first = u64::from(first_stride) * u64::from(height);
        let chroma = u64::from(chroma_stride) * u64::from(height.div_ceil(2));
        let (second, third) = match format {
            FrameFormat::Nv12 => (chroma, 0),
            FrameFormat::Yuv420 => (chroma, chroma),
            FrameFormat::Yuyv | FrameFormat::Mjpeg => (0, 0),
        };
        let expected = first + second + third;
        let got = bytes.len();
        if (got as u64) < expected {
            let format = format.picture_format();
            return Err(DecodeError::WrongFrameLength { format, width, height, expected, got });
        }
        // Each is at most the length of the bytes, so it fits.
        let (first, rest) = bytes.split_at(first as usize);
        let (second, rest) = rest.split_at(second as usize);
        Ok(Self { first, second, third: &rest[..third as usize], first_stride, chroma_stride })
    }
}

fn convert(layout: &FrameLayout, planes: &Planes<'_>, rgb: &mut [u8]) -> Result<(), YuvError> {
    let FrameLayout { width, height, .. } = *layout;
    let (range, matrix, mode) = (YuvRange::Limited, YuvStandardMatrix::Bt601, YuvConversionMode::Balanced);
    match layout.format {
        FrameFormat::Yuyv => {
            let frame = YuvPackedImage { yuy: planes.first, yuy_stride: planes.first_stride, width, height };
            yuv::yuyv422_to_rgb(&frame, rgb, width * 3, range, matrix)
        }
        FrameFormat::Nv12 => {
            let frame = YuvBiPlanarImage {
                y_plane: planes.first,
                y_stride: planes.first_stride,
                uv_plane: planes.second,
                uv_stride: planes.chroma_stride,
                width,
                height,
            };
            yuv::yuv_nv12_to_rgb(&frame, rgb, width * 3, range, matrix, mode)
        }
        FrameFormat::Yuv420 | FrameFormat::Mjpeg => {
            let frame = YuvPlanarImage {
                y_plane: planes.first,
                y_stride: planes.first_stride,
                u_plane: planes.second,
                u_stride: planes.chroma_stride,
                v_plane: planes.third,
                v_stride: planes.chroma_stride,
                width,
                height,
            };
            yuv::yuv420_to_rgb(&frame, rgb, width * 3, range, matrix)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::pictures;

    const RAW: [FrameFormat; 3] = [FrameFormat::Yuyv, FrameFormat::Nv12, FrameFormat::Yuv420];

    fn layout(width: u32, height: u32, format: FrameFormat, stride_bytes: u32) -> FrameLayout {
        FrameLayout { width, height, format, stride_bytes }
    }

    /// Bytes that a layout needs, counted another way: up to the last byte that [`sample`] touches, in whole rows.
    fn frame_size(layout: &FrameLayout) -> usize {
        let (stride, chroma_stride) = strides(layout);
        let (rows, chroma_rows) = (layout.height as usize, layout.height.div_ceil(2) as usize);
        match layout.format {
            FrameFormat::Yuyv => stride * rows,
            FrameFormat::Nv12 => stride * rows + chroma_stride * chroma_rows,
            _ => stride * rows + 2 * chroma_stride * chroma_rows,
        }
    }

    fn strides(layout: &FrameLayout) -> (usize, usize) {
        let width = layout.width as usize;
        let stride = layout.stride_bytes as usize;
        match layout.format {
            FrameFormat::Yuyv if stride == 0 => (width.div_ceil(2) * 4, 0),
            FrameFormat::Yuyv => (stride, 0),
            FrameFormat::Nv12 if stride == 0 => (width, width.div_ceil(2) * 2),
            FrameFormat::Nv12 => (stride, stride),
            _ if stride == 0 => (width, width.div_ceil(2)),
            _ => (stride, stride.div_ceil(2)),
        }
    }

    /// Y, U and V of one pixel, by the definition of each format.
    fn sample(layout: &FrameLayout, bytes: &[u8], x: usize, y: usize) -> [u8; 3] {
        let (stride, chroma_stride) = strides(layout);
        let rows = layout.height as usize;
        let chroma = stride * rows + y / 2 * chroma_stride;
        match layout.format {
            FrameFormat::Yuyv => {
                let pair = y * stride + x / 2 * 4;
                [bytes[pair + x % 2 * 2], bytes[pair + 1], bytes[pair + 3]]
            }
            FrameFormat::Nv12 => {
                let pair = chroma + x / 2 * 2;
                [bytes[y * stride + x], bytes[pair], bytes[pair + 1]]
            }
            _ => {
                let plane = chroma_stride * rows.div_ceil(2);
                [bytes[y * stride + x], bytes[chroma + x / 2], bytes[chroma + plane + x / 2]]
            }
        }
    }

    /// BT.601, limited range, in floating point.
    fn rgb_from_yuv([y, u, v]: [u8; 3]) -> [f64; 3] {
        let y = 1.164_383 * (f64::from(y) - 16.0);
        let (u, v) = (f64::from(u) - 128.0, f64::from(v) - 128.0);
        [y + 1.596_027 * v, y - 0.391_762 * u - 0.812_968 * v, y + 2.017_232 * u].map(|c| c.clamp(0.0, 255.0))
    }

    /// Values that limited range allows. Outside it vector code takes Y below 16 for 16, scalar code does not.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            16 + ((state >> 24) % 220) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn f089_every_size_and_stride_is_converted_as_the_formats_are_defined() {
        for format in RAW {
            for (width, height) in [(12, 12), (13, 12), (12, 13), (15, 17), (33, 14), (64, 48), (101, 37)] {
                for extra in [None, Some(0), Some(2), Some(64)] {
                    let tight = if format == FrameFormat::Yuyv { 4 } else { 2 } * u32::div_ceil(width, 2);
                    let layout = layout(width, height, format, extra.map_or(0, |extra| tight + extra));
                    let bytes = noise(frame_size(&layout));
                    let picture = decode_frame(&layout, &bytes, &mut Vec::new()).unwrap();
                    for y in 0..height as usize {
                        for x in 0..width as usize {
                            let expected = rgb_from_yuv(sample(&layout, &bytes, x, y));
                            for (got, expected) in picture.row(y)[x * 3..].iter().zip(expected) {
                                // The yuv crate converts YUYV with 6 bits of fraction.
                                let difference = (f64::from(*got) - expected).abs();
                                assert!(difference < 3.0, "{layout:?} at {x}, {y}: {got} {expected}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn f089_a_frame_one_byte_short_is_refused_and_a_longer_one_is_read() {
        for format in RAW {
            for (width, height) in [(16, 16), (15, 13)] {
                let layout = layout(width, height, format, 0);
                let size = frame_size(&layout);
                let bytes = noise(size + 4096);
                match decode_frame(&layout, &bytes[..size - 1], &mut Vec::new()) {
                    Err(DecodeError::WrongFrameLength { expected, got, .. }) => {
                        assert_eq!((expected, got), (size as u64, size - 1));
                    }
                    other => panic!("{other:?}"),
                }
                let exact = decode_frame(&layout, &bytes[..size], &mut Vec::new()).unwrap();
                assert!(decode_frame(&layout, &bytes, &mut Vec::new()).unwrap() == exact);
            }
        }
    }

    #[test]
    fn f089_a_stride_shorter_than_a_row_is_refused() {
        for (format, stride_bytes) in [
            (FrameFormat::Yuyv, 31),
            (FrameFormat::Nv12, 15),
            (FrameFormat::Yuv420, 15),
            (FrameFormat::Yuv420, 1),
        ] {
            let frame = decode_frame(&layout(16, 16, format, stride_bytes), &noise(1024), &mut Vec::new());
            assert!(matches!(frame, Err(DecodeError::WrongStride { .. })), "{frame:?}");
        }
    }

    #[test]
    fn f089_claimed_sizes_are_checked_before_memory_is_taken() {
        for format in [FrameFormat::Yuyv, FrameFormat::Nv12, FrameFormat::Yuv420, FrameFormat::Mjpeg] {
            for (width, height) in [(0, 0), (u32::MAX, u32::MAX), (12_000, 12_000), (16, 0)] {
                assert!(decode_frame(&layout(width, height, format, 0), &[1], &mut Vec::new()).is_err());
                assert!(
                    decode_frame(&layout(width, height, format, u32::MAX), &[1], &mut Vec::new()).is_err()
                );
            }
        }
        let huge = vec![0; limits::FRAME_SIZE_BYTES + 1];
        let frame = decode_frame(&layout(16, 16, FrameFormat::Yuyv, 0), &huge, &mut Vec::new());
        assert!(matches!(frame, Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn a_mjpeg_frame_is_read_with_and_without_its_huffman_tables() {
        let whole = pictures::jpeg(64, 48);
        let layout = layout(64, 48, FrameFormat::Mjpeg, 0);
        let picture = decode_frame(&layout, &whole, &mut Vec::new()).unwrap();
        let bare = pictures::jpeg_without_tables(&whole);
        assert!(decode_frame(&layout, &bare, &mut Vec::new()).unwrap() == picture);
    }

    #[test]
    fn a_mjpeg_frame_of_another_size_is_refused() {
        let layout = layout(640, 480, FrameFormat::Mjpeg, 0);
        let frame = decode_frame(&layout, &pictures::jpeg(64, 48), &mut Vec::new());
        assert!(matches!(frame, Err(DecodeError::WrongFrameSize { got_width: 64, got_height: 48, .. })));
    }

    #[test]
    fn f087_torn_frames_and_those_of_another_size_are_found_without_making_pixels() {
        let whole = pictures::jpeg(64, 48);
        let layout = layout(64, 48, FrameFormat::Mjpeg, 0);
        assert_eq!(FrameLayout::of_mjpeg(&whole).unwrap(), layout);
        layout.check(&whole).unwrap();
        let padded = [whole.as_slice(), &[0; 4096]].concat();
        layout.check(&padded).unwrap();
        for cut in 0..whole.len() - 1 {
            assert!(layout.check(&whole[..cut]).is_err(), "{cut}");
            assert!(FrameLayout::of_mjpeg(&whole[..cut]).is_err(), "{cut}");
        }
        let joined = [&whole[..whole.len() / 2], &whole].concat();
        assert!(layout.check(&joined).is_err());
        let other = layout.check(&pictures::jpeg(48, 64));
        assert!(matches!(other, Err(DecodeError::WrongFrameSize { got_width: 48, got_height: 64, .. })));
    }

    #[test]
    fn the_memory_of_one_frame_serves_the_next() {
        let jpeg = pictures::jpeg(64, 48);
        for (format, bytes) in [
            (FrameFormat::Mjpeg, jpeg),
            (FrameFormat::Yuyv, noise(64 * 48 * 2)),
            (FrameFormat::Nv12, noise(64 * 48 * 2)),
            (FrameFormat::Yuv420, noise(64 * 48 * 2)),
        ] {
            let mut buffer = Vec::with_capacity(64 * 48 * 3);
            let before = buffer.as_ptr();
            let layout = layout(64, 48, format, 0);
            assert!(decode_frame(&layout, &bytes[..100], &mut buffer).is_err());
            let picture = decode_frame(&layout, &bytes, &mut buffer).unwrap();
            assert_eq!(picture.data().as_ptr(), before, "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn f089_any_layout_and_any_bytes_give_a_whole_picture_or_an_error(
            width in 0..200_u32,
            height in 0..200_u32,
            stride_bytes in prop_oneof![Just(0), 0..500_u32, any::<u32>()],
            format in prop::sample::select(
                vec![FrameFormat::Mjpeg, FrameFormat::Yuyv, FrameFormat::Nv12, FrameFormat::Yuv420],
            ),
            length in 0..90_000_usize,
        ) {
            let layout = layout(width, height, format, stride_bytes);
            let decoded = decode_frame(&layout, &vec![99; length], &mut Vec::new());
            prop_assert_eq!(layout.check(&vec![99; length]).is_ok(), decoded.is_ok());
            if let Ok(picture) = decoded {
                prop_assert_eq!(picture.data().len(), (width * height * 3) as usize);
                prop_assert!(length >= frame_size(&layout));
            }
        }
    }
}
