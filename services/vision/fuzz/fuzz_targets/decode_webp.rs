//! WebP files: right or refused. The outer length is repaired first, so that mutations reach the decoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_vision_fuzz::decode::decode;

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    if file.len() < 20 {
        return;
    }
    let length = (file.len() - 8) as u32;
    file[..4].copy_from_slice(b"RIFF");
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file[8..12].copy_from_slice(b"WEBP");
    if let Ok(picture) = decode(&file) {
        assert_eq!(picture.data().len(), picture.width() * picture.height() * 3);
    }
});
