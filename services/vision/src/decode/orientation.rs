//! The EXIF orientation: how a camera was held, and the turn that undoes it.
//!
//! Only one tag is read, here and not with a library: it needs no memory whatever the EXIF block claims, and a
//! damaged maker note further on does not hide it. Anything unclear means "as stored", never an error.

use crate::RgbImage;

/// The eight ways of TIFF 6.0, tag 274, named for where row 0 and column 0 of the stored picture belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Orientation {
    /// 1: as stored.
    #[default]
    TopLeft,
    /// 2: mirrored left to right.
    TopRight,
    /// 3: upside down.
    BottomRight,
    /// 4: mirrored top to bottom.
    BottomLeft,
    /// 5: mirrored along the diagonal.
    LeftTop,
    /// 6: to be turned a quarter clockwise; a phone held upright.
    RightTop,
    /// 7: mirrored along the other diagonal.
    RightBottom,
    /// 8: to be turned a quarter anticlockwise.
    LeftBottom,
}

const ORIENTATION_TAG: u16 = 274;
const TYPE_SHORT: u16 = 3;

impl Orientation {
    /// Reads the tag from an EXIF block, which is a TIFF file without pixels, with or without `Exif\0\0` before it.
    pub(super) fn from_exif(exif: &[u8]) -> Self {
        Self::read(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)).unwrap_or_default()
    }

    fn read(tiff: &[u8]) -> Option<Self> {
        let little = match tiff.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let u16_at = |at: usize| {
            let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
            Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
        };
        let u32_at = |at: usize| {
            let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
            Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
        };
        // The first directory only: the second describes the thumbnail.
        let directory = u32_at(4)? as usize;
        let entries = u16_at(directory)?;
        for entry in 0..usize::from(entries) {
            let at = directory.checked_add(2 + 12 * entry)?;
            if u16_at(at)? == ORIENTATION_TAG {
                let sound = u16_at(at + 2)? == TYPE_SHORT && u32_at(at + 4)? == 1;
                return sound.then(|| u16_at(at + 8)).flatten().and_then(Self::from_tag);
            }
        }
        None
    }

    fn from_tag(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::TopLeft,
            2 => Self::TopRight,
            3 => Self::BottomRight,
            4 => Self::BottomLeft,
            5 => Self::LeftTop,
            6 => Self::RightTop,
            7 => Self::RightBottom,
            8 => Self::LeftBottom,
            _ => return None,
        })
    }

    /// Turns a stored picture upright. In place where width and height stay; otherwise with a second buffer.
    pub(super) fn upright(self, mut image: RgbImage) -> RgbImage {
        let (width, height) = (image.width(), image.height());
        match self {
            Self::TopLeft => image,
            Self::TopRight => {
                for row in image.data_mut().chunks_exact_mut(width * 3) {
                    reverse_pixels(row);
                }
                image
            }
            Self::BottomRight => {
                reverse_pixels(image.data_mut());
                image
            }
            Self::BottomLeft => {
                let (upper, lower) = image.data_mut().split_at_mut(height / 2 * width * 3);
                let rows = lower.chunks_exact_mut(width * 3).rev();
                for (upper, lower) in upper.chunks_exact_mut(width * 3).zip(rows) {
                    upper.swap_with_slice(lower);
                }
                image
            }
            Self::LeftTop => transposed(image, |x, y| (y, x)),
            Self::RightTop => transposed(image, |x, y| (y, height - 1 - x)),
            Self::RightBottom => transposed(image, |x, y| (width - 1 - y, height - 1 - x)),
            Self::LeftBottom => transposed(image, |x, y| (width - 1 - y, x)),
        }
    }
}

/// Reverses the order of pixels, not of bytes.
fn reverse_pixels(data: &mut [u8]) {
    data.reverse();
    for pixel in data.chunks_exact_mut(3) {
        pixel.reverse();
    }
}

/// The picture with width and height exchanged; `source` gives the stored (column, row) of an upright one.
fn transposed(image: RgbImage, source: impl Fn(usize, usize) -> (usize, usize)) -> RgbImage {
    let (width, height) = (image.height(), image.width());
    let stored = image.data();
    let mut data = Vec::with_capacity(stored.len());
    for y in 0..height {
        for x in 0..width {
            let (column, row) = source(x, y);
            data.extend_from_slice(&stored[(row * image.width() + column) * 3..][..3]);
        }
    }
    RgbImage::new(width, height, data).unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::pictures::exif;

    /// Letters as pixels, rows separated by spaces.
    fn letters(text: &str) -> RgbImage {
        let rows: Vec<&str> = text.split(' ').collect();
        let data = rows.concat().bytes().flat_map(|letter| [letter, letter + 100, 255 - letter]).collect();
        RgbImage::new(rows[0].len(), rows.len(), data).unwrap()
    }

    #[test]
    fn f085_each_of_the_eight_orientations_is_turned_upright_exactly() {
        // Upright: ABC / DEF. The stored pictures follow from the table of TIFF 6.0, page 36.
        let cases = [
            (1, "ABC DEF"),
            (2, "CBA FED"),
            (3, "FED CBA"),
            (4, "DEF ABC"),
            (5, "AD BE CF"),
            (6, "CF BE AD"),
            (7, "FC EB DA"),
            (8, "DA EB FC"),
        ];
        for (tag, stored) in cases {
            for little in [true, false] {
                let orientation = Orientation::from_exif(&exif(tag, little));
                assert_eq!(
                    orientation.upright(letters(stored)).data(),
                    letters("ABC DEF").data(),
                    "tag {tag}"
                );
            }
        }
    }

    #[test]
    fn the_middle_row_of_an_odd_height_stays_when_mirrored_top_to_bottom() {
        assert_eq!(Orientation::BottomLeft.upright(letters("AB CD EF")).data(), letters("EF CD AB").data());
    }

    #[test]
    fn f085_a_broken_exif_block_means_as_stored() {
        let good = exif(6, true);
        assert_eq!(Orientation::from_exif(&good), Orientation::RightTop);
        for cut in 0..good.len() - 6 {
            assert_eq!(Orientation::from_exif(&good[..cut]), Orientation::TopLeft, "cut at {cut}");
        }
        for tag in [0, 9, 255, 65_535] {
            assert_eq!(Orientation::from_exif(&exif(tag, true)), Orientation::TopLeft);
        }
        let bomb = [b"II*\0".as_slice(), &u32::MAX.to_le_bytes(), &[0xff; 64]].concat();
        assert_eq!(Orientation::from_exif(&bomb), Orientation::TopLeft);
    }

    #[test]
    fn the_prefix_that_some_writers_put_before_the_block_is_accepted() {
        let prefixed = [b"Exif\0\0".as_slice(), &exif(8, false)].concat();
        assert_eq!(Orientation::from_exif(&prefixed), Orientation::LeftBottom);
    }
}
