//! The decode module of rollcall-vision, compiled from its source.

#[path = "../../src/decode/mod.rs"]
pub mod decode;
#[path = "../../src/image.rs"]
mod image;

pub use image::RgbImage;
