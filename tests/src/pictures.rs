//! Pictures to enrol and to recognise: the portraits that come with the demonstration.

use std::path::PathBuf;

use crate::repository;

/// The file of a portrait: obama.jpg and obama2.jpg, obama3.jpg, biden.jpg, astronaut.png.
pub fn path(name: &str) -> PathBuf {
    let folder = if matches!(name, "obama.jpg" | "obama2.jpg") { "gallery/Barack Obama" } else { "pictures" };
    repository("deploy/demo").join(folder).join(name)
}

/// Its bytes.
pub fn portrait(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// The same picture as another file: a JPEG with a comment of its own (ISO/IEC 10918-1, B.2.4.5).
pub fn variant(name: &str, number: u32) -> Vec<u8> {
    let jpeg = portrait(name);
    assert_eq!(&jpeg[..2], [0xff, 0xd8], "{name} is no JPEG");
    let text = format!("copy {number:06}");
    let length = u16::try_from(text.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xfe], &length, text.as_bytes(), &jpeg[2..]].concat()
}
