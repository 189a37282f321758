//! Area resampling: each output pixel is the mean of the input pixels under it.
//!
//! This is adaptive average pooling as in torch's `interpolate(mode="area")`, which facenet-pytorch uses: bin `i`
//! of `n` over `size` pixels covers `floor(i * size / n)` up to `ceil((i + 1) * size / n)`. Other resamplers move
//! the detector's boxes by pixels. Sums are whole numbers, so the mean is exact up to its last rounding.

use std::ops::Range;

use crate::RgbImage;

/// Maps bytes to the networks' input: (x - 127.5) / 128.
const MEAN: f32 = 127.5;
const SCALE: f32 = 1.0 / 128.0;

/// A rectangle of whole pixels, inside its picture and not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// Shrinks or enlarges parts of pictures; keeps its buffers between calls.
#[derive(Debug, Default)]
pub(crate) struct Resampler {
    narrow: Vec<u16>,
    wide: Vec<u32>,
    columns: Vec<Range<usize>>,
}

impl Resampler {
    /// Appends rows `rows` of `window` of `image`, resampled to `width` x `height`, to `out`: NHWC, normalised.
    pub(crate) fn rows(
        &mut self,
        image: &RgbImage,
        window: Window,
        (width, height): (usize, usize),
        rows: Range<usize>,
        out: &mut Vec<f32>,
    ) {
        self.columns.clear();
        self.columns.extend((0..width).map(|x| bin(x, width, window.width)));
        for y in rows {
            let sources = bin(y, height, window.height);
            let count = sources.len();
            let sources = sources.map(|sy| &image.row(window.y + sy)[window.x * 3..][..window.width * 3]);
            // 257 rows of 255 just fit 16 bits, which sum twice as fast.
            if count <= 257 {
                sum_rows(sources, &mut self.narrow);
                average(&self.narrow, &self.columns, count, out);
            } else {
                sum_rows(sources, &mut self.wide);
                average(&self.wide, &self.columns, count, out);
            }
        }
    }
}

fn bin(index: usize, bins: usize, size: usize) -> Range<usize> {
    index * size / bins..((index + 1) * size).div_ceil(bins)
}

fn sum_rows<'a, T>(rows: impl Iterator<Item = &'a [u8]>, sums: &mut Vec<T>)
where
    T: Copy + std::ops::AddAssign + From<u8>,
{
    for (i, row) in rows.enumerate() {
        if i == 0 {
            sums.clear();
            sums.extend(row.iter().map(|&v| T::from(v)));
        } else {
            sums.iter_mut().zip(row).for_each(|(s, &v)| *s += T::from(v));
        }
    }
}

fn average<T: Copy + Into<u32>>(sums: &[T], columns: &[Range<usize>], rows: usize, out: &mut Vec<f32>) {
    let (pixels, _) = sums.as_chunks::<3>();
    out.extend(columns.iter().flat_map(|column| {
        let mut sum = [0u32; 3];
        for pixel in &pixels[column.clone()] {
            (0..3).for_each(|c| sum[c] += pixel[c].into());
        }
        let count = (rows * column.len()) as f32;
        sum.map(|s| (s as f32 / count - MEAN) * SCALE)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampled(width: usize, height: usize, to: (usize, usize)) -> Vec<f32> {
        let pixels = (0..width * height).flat_map(|i| [(i % 256) as u8, (2 * i % 256) as u8, 255]).collect();
        let image = RgbImage::new(width, height, pixels).unwrap();
        let mut out = Vec::new();
        let window = Window { x: 0, y: 0, width, height };
        Resampler::default().rows(&image, window, to, 0..to.1, &mut out);
        out.iter().map(|v| v / SCALE + MEAN).collect()
    }

    #[test]
    fn every_output_pixel_is_the_mean_of_the_pixels_that_its_bin_touches() {
        // 3 columns to 2: bins 0..2 and 1..3, which share the middle one.
        assert_eq!(resampled(3, 1, (2, 1)), [0.5, 1.0, 255.0, 1.5, 3.0, 255.0]);
        assert_eq!(resampled(2, 2, (1, 1)), [1.5, 3.0, 255.0]);
    }

    #[test]
    fn enlarging_repeats_pixels() {
        assert_eq!(resampled(2, 1, (4, 1))[..6], [0.0, 0.0, 255.0, 0.0, 0.0, 255.0]);
    }

    #[test]
    fn sums_of_many_rows_do_not_overflow() {
        assert_eq!(resampled(1, 256, (1, 1))[2], 255.0);
        let (rows, white) = (1_000, vec![255; 3_000]);
        let image = RgbImage::new(1, rows, white).unwrap();
        let mut out = Vec::new();
        let window = Window { x: 0, y: 0, width: 1, height: rows };
        Resampler::default().rows(&image, window, (1, 1), 0..1, &mut out);
        assert_eq!(out, [(255.0 - MEAN) * SCALE; 3]);
    }
}
