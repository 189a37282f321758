//! Frames out of a stream of JPEGs joined end to end, as `ffmpeg -f mjpeg` and many cameras write it.

use rollcall_core::limits;

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
        let end = end_of_frame(rest).unwrap_or_else(|| {
            find_start(&rest[START.len()..]).map_or(rest.len(), |next| START.len() + next)
        });
        let (frame, rest) = rest.split_at(end);
        self.rest = rest;
        Some(frame)
    }
}

fn find_start(bytes: &[u8]) -> Option<usize> {
    bytes.windows(START.len()).position(|window| window == START)
}

/// The length of a whole frame at the start of the bytes.
fn end_of_frame(bytes: &[u8]) -> Option<usize> {
    let mut segments = Segments::new(&bytes[..bytes.len().min(limits::FRAME_SIZE_BYTES)]).ok()?;
    for _ in 0..limits::JPEG_SEGMENTS {
        if segments.next().ok()?.is_end() {
            return Some(segments.at);
        }
    }
    None
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

    proptest! {
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
