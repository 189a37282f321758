//! Camera frames of every format: the first eight bytes are the layout.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_vision_fuzz::decode::{FrameFormat, FrameLayout, decode_frame};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, frame)) = bytes.split_first_chunk::<8>() else { return };
    let [format, w1, w0, h1, h0, s2, s1, s0] = *head;
    let layout = FrameLayout {
        width: u32::from_be_bytes([0, 0, w1, w0]),
        height: u32::from_be_bytes([0, 0, h1, h0]),
        format: match format % 4 {
            0 => FrameFormat::Mjpeg,
            1 => FrameFormat::Yuyv,
            2 => FrameFormat::Nv12,
            _ => FrameFormat::Yuv420,
        },
        stride_bytes: u32::from_be_bytes([0, s2, s1, s0]),
    };
    let mut buffer = vec![7; 100];
    if let Ok(picture) = decode_frame(&layout, frame, &mut buffer) {
        assert_eq!((picture.width() as u32, picture.height() as u32), (layout.width, layout.height));
        assert!(buffer.is_empty());
    }
});
