//! Pixels to embeddings: decode, detect, align, judge, embed. Pure: no async, no clock, no tables; the only
//! files it opens are the networks named in a [`models`] manifest, and each only after its hash is checked.

mod embedding;
mod image;
pub mod net;

pub use embedding::{Embedding, EmbeddingError};
pub use image::RgbImage;
