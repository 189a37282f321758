//! From an aligned face to its embedding.

use crate::align::ALIGNED_SIDE_PX;
use crate::embedding::{Embedding, EmbeddingError};
use crate::image::RgbImage;
use crate::input::Input;
use crate::net::{Network, NetworkError};

/// An embedding network and its buffers: one for each thread.
#[derive(Debug)]
pub struct Embedder {
    network: Network,
    input: Input,
    output: String,
    length: usize,
    values: Vec<f32>,
}

/// Why there is no embedding.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The network does not fit.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// What came out is no direction.
    #[error("the network gave no usable embedding: {0}")]
    Embedding(#[from] EmbeddingError),
    /// Not an aligned face.
    #[error("an aligned face has {side} x {side} pixels, this one {width} x {height}", side = ALIGNED_SIDE_PX)]
    Size {
        /// Columns given.
        width: usize,
        /// Rows given.
        height: usize,
    },
}

impl Embedder {
    /// Takes a network that turns 112 x 112 faces, fed as `input` says, into `length` values named `output`.
    pub fn new(network: Network, input: Input, output: String, length: usize) -> Self {
        Self { network, input, output, length, values: Vec::new() }
    }

    /// Values in an embedding.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Embeds one aligned face. One by one: batches of this network are no faster on one thread.
    ///
    /// # Errors
    /// When `aligned` is not [`ALIGNED_SIDE_PX`] square, when the network does not fit its manifest entry, and when
    /// what comes out has no direction.
    pub fn embed(&mut self, aligned: &RgbImage) -> Result<Embedding, EmbedError> {
        let (width, height) = (aligned.width(), aligned.height());
        if (width, height) != (ALIGNED_SIDE_PX, ALIGNED_SIDE_PX) {
            return Err(EmbedError::Size { width, height });
        }
        self.input.fill(aligned.data(), &mut self.values);
        self.network.run(1, height, width, &self.values)?;
        let values = self.network.output(&self.output, self.length)?.cell(0).to_vec();
        Ok(Embedding::normalised(values)?)
    }
}
