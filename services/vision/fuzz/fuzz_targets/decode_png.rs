//! PNG files: right or refused. Check sums are repaired first, so that mutations reach the decoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_vision_fuzz::decode::decode;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

fuzz_target!(|bytes: &[u8]| {
    let mut file = [SIGNATURE, bytes.strip_prefix(SIGNATURE).unwrap_or(bytes)].concat();
    repair_check_sums(&mut file);
    if let Ok(picture) = decode(&file) {
        assert_eq!(picture.data().len(), picture.width() * picture.height() * 3);
    }
});

fn repair_check_sums(file: &mut [u8]) {
    let mut at = SIGNATURE.len();
    while let Some(length) = file.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let end = at + 8 + length;
        let Some(chunk) = file.get(at + 4..end) else { return };
        let sum = crc32(chunk).to_be_bytes();
        let Some(stored) = file.get_mut(end..end + 4) else { return };
        stored.copy_from_slice(&sum);
        at = end + 4;
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut sum, byte| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
        sum
    })
}
