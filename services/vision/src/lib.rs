//! Pixels to embeddings: decode, detect, align, judge, embed. Pure: no async, no clock, no tables; the only
//! files it opens are the networks named in a [`models`] manifest, and each only after its hash is checked.

pub mod decode;
mod embedding;
mod image;

pub use embedding::{Embedding, EmbeddingError};
pub use image::RgbImage;
