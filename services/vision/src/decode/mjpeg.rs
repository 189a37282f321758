//! Frames out of a stream of JPEGs joined end to end, as `ffmpeg -f mjpeg` and many cameras write it.

use rollcall_core::limits;

use super::error::DecodeError;
use super::jpeg::Segments;

/// The frames of a stream, each a slice of it.
///
/// Bytes before, between and after frames are skipped. A torn frame is given as far as it goes, up to the start of
/// the next; [`decode_frame`](super::decode_frame) refuses it. Pictures inside the segments of a whole frame, such as
/// thumbnails, are part of that frame.
#[derive(Debug, Clone)]
pub struct MjpegFrames<'a> {
    rest: &'a [u8],
}

const START: &[u8] = b"\xff\xd8\xff";

impl<'a> MjpegFrames<'a> {
    /// The frames of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for MjpegFrames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = find_start(self.rest)?;
        let rest = &self.rest[start..];
        let end = match end_of_frame(rest) {
            End::Whole(end) => end,
            End::Broken | End::Later => next_start(rest).unwrap_or(rest.len()),
        };
        let (frame, rest) = rest.split_at(end);
        self.rest = rest;
        Some(frame)
    }
}

/// The same frames out of a stream that comes in pieces.
///
/// ```
/// # use rollcall_vision::decode::MjpegSplitter;
/// let mut splitter = MjpegSplitter::default();
/// let mut frames = Vec::new();
/// for piece in [b"\xff\xd8\xff".as_slice(), b"\xd9\xff\xd8\xff\xd9"] {
///     splitter.push(piece);
///     while let Some(frame) = splitter.next_frame() {
///         frames.push(frame.to_vec());
///     }
/// }
/// assert_eq!(frames, [b"\xff\xd8\xff\xd9"; 2]);
/// ```
///
/// It holds at most [`FRAME_SIZE_BYTES`](limits::FRAME_SIZE_BYTES) and the latest piece: what is longer without an end is
/// given as a torn frame of that size. Its memory is kept for the next frames.
#[derive(Debug, Default)]
pub struct MjpegSplitter {
    bytes: Vec<u8>,
    /// What was given, or skipped.
    at: usize,
    /// Up to here nothing is that ends the frame at `at`.
    looked: usize,
}

impl MjpegSplitter {
    /// Takes the next piece. Take all frames before.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.at);
        self.looked = self.looked.saturating_sub(self.at);
        self.at = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next frame; `None`: push more.
    pub fn next_frame(&mut self) -> Option<&[u8]> {
        let Some(start) = find_start(&self.bytes[self.at..]) else {
            self.at = self.at.max(self.bytes.len().saturating_sub(START.len() - 1));
            return None;
        };
        self.at += start;
        let rest = &self.bytes[self.at..];
        let unseen = self.looked.saturating_sub(START.len() - 1).max(self.at + START.len() - 1) - self.at;
        self.looked = self.bytes.len();
        let is_full = rest.len() >= limits::FRAME_SIZE_BYTES;
        if !is_full && !rest[unseen..].windows(2).any(|window| matches!(window, [0xff, 0xd8 | 0xd9])) {
            return None;
        }
        let end = match end_of_frame(rest) {
            End::Whole(end) => Some(end),
            End::Broken => next_start(rest),
            End::Later => None,
        };
        let cut = || next_start(rest).unwrap_or(rest.len()).min(limits::FRAME_SIZE_BYTES);
        let end = end.or_else(|| is_full.then(cut))?;
        self.at += end;
        self.looked = self.at;
        Some(&self.bytes[self.at - end..self.at])
    }

    /// What is left when the stream has ended.
    pub fn rest(&self) -> MjpegFrames<'_> {
        MjpegFrames::new(&self.bytes[self.at..])
    }
}

fn find_start(bytes: &[u8]) -> Option<usize> {
    bytes.windows(START.len()).position(|window| window == START)
}

/// Where the frame after the one at the start of the bytes begins.
fn next_start(bytes: &[u8]) -> Option<usize> {
    find_start(&bytes[START.len()..]).map(|next| START.len() + next)
}

/// Where a frame ends.
enum End {
    /// It is whole, and so long.
    Whole(usize),
    /// It is torn.
    Broken,
    /// Not in these bytes.
    Later,
}

/// The end of the frame at the start of the bytes.
fn end_of_frame(bytes: &[u8]) -> End {
    let Ok(mut segments) = Segments::new(&bytes[..bytes.len().min(limits::FRAME_SIZE_BYTES)]) else {
        return End::Broken;
    };
    for _ in 0..limits::JPEG_SEGMENTS {
        match segments.next() {
            Ok(segment) if segment.is_end() => return End::Whole(segments.at),
            Ok(_) => {}
            Err(DecodeError::Truncated { .. }) => return End::Later,
            Err(_) => return End::Broken,
        }
    }
    End::Broken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::{decode, pictures};

    #[test]
    fn joined_frames_come_out_one_by_one() {
        let frames = [pictures::jpeg(64, 48), pictures::jpeg(32, 32), pictures::jpeg(48, 64)];
        assert!(MjpegFrames::new(&frames.concat()).eq(&frames));
        assert_eq!(MjpegFrames::new(b"").count(), 0);
        assert_eq!(MjpegFrames::new(b"no frames at all").count(), 0);
    }

    #[test]
    fn bytes_between_frames_are_skipped() {
        let frame = pictures::jpeg(64, 48);
        let stream =
            [b"--boundary\r\n", frame.as_slice(), &[0; 100], b"\xff\xd9\xff", &frame, b"\xff\xd8"].concat();
        assert!(MjpegFrames::new(&stream).eq([&frame, &frame]));
    }

    #[test]
    fn a_torn_frame_ends_where_the_next_begins_and_does_not_decode() {
        let frame = pictures::jpeg(64, 48);
        let scan = frame.len() - 100;
        let stream = [&frame[..scan], &frame].concat();
        assert!(MjpegFrames::new(&stream).eq([&frame[..scan], &frame]));
        assert!(decode(&frame[..scan]).is_err());
    }

    #[test]
    fn wherever_a_frame_is_torn_nothing_false_is_seen_and_the_frame_after_the_next_is_whole() {
        let frame = pictures::jpeg(64, 48);
        let whole = decode(&frame).unwrap();
        for cut in 3..frame.len() - 1 {
            let stream = [&frame[..cut], &frame, &frame].concat();
            let frames: Vec<&[u8]> = MjpegFrames::new(&stream).collect();
            // A cut inside a segment can swallow the start of the next frame, which then is lost or complete.
            for frame in &frames {
                assert!(
                    decode(frame).is_ok_and(|picture| picture == whole) || decode(frame).is_err(),
                    "cut at {cut}"
                );
            }
            assert_eq!(frames.last(), Some(&frame.as_slice()), "cut at {cut}");
        }
    }

    #[test]
    fn a_thumbnail_belongs_to_its_frame() {
        let thumbnail = pictures::segment(0xe1, &pictures::jpeg(16, 16));
        let frame = pictures::jpeg_after_start(&pictures::jpeg(64, 48), &thumbnail);
        assert!(MjpegFrames::new(&frame.repeat(2)).eq([&frame, &frame]));
    }

    /// The frames of a stream that comes in pieces of these sizes, in turn.
    fn split(stream: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
        let mut splitter = MjpegSplitter::default();
        let mut frames = Vec::new();
        let mut rest = stream;
        for size in sizes.iter().cycle() {
            let (piece, behind) = rest.split_at((*size).clamp(1, rest.len()));
            splitter.push(piece);
            while let Some(frame) = splitter.next_frame() {
                frames.push(frame.to_vec());
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        frames.extend(splitter.rest().map(<[u8]>::to_vec));
        frames
    }

    #[test]
    fn a_frame_is_given_with_its_last_byte() {
        let frame = pictures::jpeg(64, 48);
        let mut splitter = MjpegSplitter::default();
        for _ in 0..3 {
            for byte in &frame[..frame.len() - 1] {
                splitter.push(&[*byte]);
                assert_eq!(splitter.next_frame(), None);
            }
            splitter.push(&frame[frame.len() - 1..]);
            assert_eq!(splitter.next_frame(), Some(frame.as_slice()));
            assert_eq!(splitter.next_frame(), None);
        }
        assert_eq!(splitter.rest().count(), 0);
    }

    #[test]
    fn a_stream_without_an_end_holds_no_more_than_the_limit() {
        let mut splitter = MjpegSplitter::default();
        let header = &pictures::jpeg(64, 48)[..400];
        splitter.push(header);
        let piece = vec![0x55; 1 << 20];
        let mut given = Vec::new();
        for _ in 0..70 {
            splitter.push(&piece);
            while let Some(frame) = splitter.next_frame() {
                given.push(frame.len());
            }
            assert!(splitter.bytes.len() <= limits::FRAME_SIZE_BYTES + piece.len());
        }
        assert_eq!(given, [limits::FRAME_SIZE_BYTES]);
        let frame = pictures::jpeg(64, 48);
        splitter.push(&frame);
        assert_eq!(splitter.next_frame(), Some(frame.as_slice()));
    }

    proptest! {
        #[test]
        fn f087_in_whatever_pieces_a_stream_comes_its_frames_are_the_same(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(vec![0xff, 0xd8, 0xff]),
                    Just(vec![0xff, 0xd9]),
                    Just(vec![0xff, 0xda, 0, 2]),
                    Just(pictures::jpeg(16, 16)),
                    (1..700_usize).prop_map(|cut| {
                        let frame = pictures::jpeg(16, 16);
                        frame[..cut.min(frame.len())].to_vec()
                    }),
                    prop::collection::vec(any::<u8>(), 0..20),
                ],
                1..20,
            ),
            sizes in prop::collection::vec(1..1_000_usize, 1..5),
        ) {
            let stream = parts.concat();
            prop_assume!(!stream.is_empty());
            let expected: Vec<Vec<u8>> = MjpegFrames::new(&stream).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(split(&stream, &sizes), expected);
        }

        #[test]
        fn any_bytes_give_frames_that_are_ordered_parts_of_them(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(vec![0xff, 0xd8, 0xff]),
                    Just(vec![0xff, 0xd9]),
                    Just(vec![0xff, 0xda, 0, 2]),
                    prop::collection::vec(any::<u8>(), 0..20),
                ],
                0..40,
            ),
        ) {
            let stream = parts.concat();
            let mut at = stream.as_ptr() as usize;
            for frame in MjpegFrames::new(&stream) {
                prop_assert!(frame.starts_with(START) && frame.as_ptr() as usize >= at);
                at = frame.as_ptr() as usize + frame.len();
            }
            prop_assert!(at <= stream.as_ptr() as usize + stream.len());
        }
    }
}
