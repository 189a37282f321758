//! JPEG files: right or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_vision_fuzz::decode::decode;

fuzz_target!(|bytes: &[u8]| {
    let file = [b"\xff\xd8\xff", bytes.strip_prefix(b"\xff\xd8\xff").unwrap_or(bytes)].concat();
    if let Ok(picture) = decode(&file) {
        assert_eq!(picture.data().len(), picture.width() * picture.height() * 3);
    }
});
