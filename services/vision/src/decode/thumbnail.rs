//! A frame small and grey, for whoever only asks whether something moves or the picture is black.
//!
//! It costs a fraction of the whole frame: of MJPEG only the mean of each block is made, of the raw formats only the
//! brightness is read.

use super::error::DecodeError;
use super::frame::{FrameFormat, FrameLayout, Planes};
use super::jpeg;

/// Pixels of a frame, across and down, that one pixel of a thumbnail is the mean of.
const BLOCK: usize = 8;

/// Brightness of a frame, an eighth of its width and height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// Columns: those of the frame by 8, rounded up.
    pub width: usize,
    /// Rows, likewise.
    pub height: usize,
    /// From the top left, 0 to 255 as the format has it: 16 to 235 in raw frames of limited range.
    pub data: Vec<u8>,
}

/// Reads one frame small and grey. Each pixel is the mean of a block of 8 x 8, at the right and lower edge of what is
/// left of it. The memory is that of `buffer`, as in [`decode_frame`](super::decode_frame).
///
/// # Errors
///
/// As [`decode_frame`](super::decode_frame), and for a JPEG of four colours.
pub fn thumbnail(layout: &FrameLayout, bytes: &[u8], buffer: &mut Vec<u8>) -> Result<Thumbnail, DecodeError> {
    let FrameLayout { width, height, format, .. } = *layout;
    layout.check_sizes(bytes)?;
    let columns = width as usize;
    match format {
        FrameFormat::Mjpeg => jpeg::eighth(width, height, bytes, buffer)?,
        FrameFormat::Yuyv => {
            let planes = Planes::cut(layout, bytes)?;
            means(planes.first, planes.first_stride as usize, columns, |row, at| row[2 * at], buffer);
        }
        FrameFormat::Nv12 | FrameFormat::Yuv420 => {
            let planes = Planes::cut(layout, bytes)?;
            means(planes.first, planes.first_stride as usize, columns, |row, at| row[at], buffer);
        }
    }
    let data = std::mem::take(buffer);
    Ok(Thumbnail { width: columns.div_ceil(BLOCK), height: (height as usize).div_ceil(BLOCK), data })
}

/// The mean of each block of a plane of whole rows of `stride` bytes, whose brightness `luma` finds.
fn means(plane: &[u8], stride: usize, columns: usize, luma: fn(&[u8], usize) -> u8, grey: &mut Vec<u8>) {
    grey.clear();
    let mut sums = vec![0u32; columns.div_ceil(BLOCK)];
    for rows in plane.chunks(stride * BLOCK) {
        sums.fill(0);
        for row in rows.chunks_exact(stride) {
            for (block, sum) in sums.iter_mut().enumerate() {
                let block = block * BLOCK..((block + 1) * BLOCK).min(columns);
                *sum += block.map(|at| u32::from(luma(row, at))).sum::<u32>();
            }
        }
        let height = rows.len() / stride;
        grey.extend(sums.iter().enumerate().map(|(block, sum)| {
            let pixels = BLOCK.min(columns - block * BLOCK) * height;
            (sum / pixels as u32) as u8
        }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::decode::{decode_frame, pictures};

    const FORMATS: [FrameFormat; 4] =
        [FrameFormat::Mjpeg, FrameFormat::Yuyv, FrameFormat::Nv12, FrameFormat::Yuv420];

    fn layout(width: u32, height: u32, format: FrameFormat, stride_bytes: u32) -> FrameLayout {
        FrameLayout { width, height, format, stride_bytes }
    }

    #[test]
    fn a_thumbnail_is_the_mean_brightness_of_blocks() {
        for (stride, format) in [(0, FrameFormat::Yuv420), (96, FrameFormat::Nv12), (0, FrameFormat::Yuyv)] {
            let layout = layout(20, 17, format, stride);
            let row = if stride > 0 { stride as usize } else { 20 };
            let pair = if format == FrameFormat::Yuyv { 2 } else { 1 };
            let mut bytes = vec![99; row * pair * 40];
            for y in 0..17 {
                (0..20).for_each(|x| bytes[(y * row + x) * pair] = (x / 8 * 50 + y / 8 * 20) as u8);
            }
            let grey = thumbnail(&layout, &bytes, &mut Vec::new()).unwrap();
            assert_eq!((grey.width, grey.height), (3, 3));
            assert_eq!(grey.data, [0, 50, 100, 20, 70, 120, 40, 90, 140], "{format:?}");
        }
    }

    #[test]
    fn that_of_a_jpeg_is_the_mean_of_its_pixels() {
        let jpeg = pictures::jpeg(64, 48);
        let layout = layout(64, 48, FrameFormat::Mjpeg, 0);
        let grey = thumbnail(&layout, &jpeg, &mut Vec::new()).unwrap();
        let whole = decode_frame(&layout, &jpeg, &mut Vec::new()).unwrap();
        for (at, got) in grey.data.iter().enumerate() {
            let (left, top) = (at % 8 * 8, at / 8 * 8);
            let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
            let block = (top..top + 8).flat_map(|y| whole.row(y)[left * 3..][..24].chunks_exact(3).map(luma));
            let want = block.sum::<f32>() / 64.0;
            assert!((f32::from(*got) - want).abs() < 4.0, "{at}: {got}, not {want}");
        }
    }

    #[test]
    fn f087_a_torn_frame_has_no_thumbnail() {
        let jpeg = pictures::jpeg(64, 48);
        for cut in 0..jpeg.len() - 1 {
            let torn = thumbnail(&layout(64, 48, FrameFormat::Mjpeg, 0), &jpeg[..cut], &mut Vec::new());
            assert!(torn.is_err(), "{cut}");
        }
        let other = thumbnail(&layout(48, 64, FrameFormat::Mjpeg, 0), &jpeg, &mut Vec::new());
        assert!(matches!(other, Err(DecodeError::WrongFrameSize { .. })));
    }

    proptest! {
        #[test]
        fn what_is_refused_as_a_frame_is_refused_as_a_thumbnail(
            (width, height) in (0..200_u32, 0..200_u32),
            format in proptest::sample::select(&FORMATS[..]),
            stride_bytes in prop_oneof![Just(0), 0..500_u32, any::<u32>()],
            length in 0..90_000_usize,
        ) {
            let (layout, bytes) = (layout(width, height, format, stride_bytes), vec![99; length]);
            let grey = thumbnail(&layout, &bytes, &mut Vec::new());
            prop_assert_eq!(grey.is_ok(), decode_frame(&layout, &bytes, &mut Vec::new()).is_ok());
            if let Ok(grey) = grey {
                prop_assert_eq!(grey.data.len(), grey.width * grey.height);
            }
        }
    }
}
