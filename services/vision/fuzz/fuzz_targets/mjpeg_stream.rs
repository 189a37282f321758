//! Streams of JPEGs: frames are ordered parts of the stream, and each decodes or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_vision_fuzz::decode::{MjpegFrames, decode};

fuzz_target!(|bytes: &[u8]| {
    let mut length = 0;
    for frame in MjpegFrames::new(bytes) {
        assert!(frame.starts_with(b"\xff\xd8\xff"));
        length += frame.len();
        let _ = decode(frame);
    }
    assert!(length <= bytes.len());
});
