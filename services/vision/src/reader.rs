//! The whole chain on a decoded picture: detect, align, judge, embed.

use crate::align::{Template, align};
use crate::detect::{Detector, Stage};
use crate::embed::{EmbedError, Embedder};
use crate::embedding::Embedding;
use crate::geometry::{Face, Rect};
use crate::image::RgbImage;
use crate::liveness::Liveness;
use crate::models::{ModelError, Models};
use crate::net::NetworkError;
use crate::quality::Quality;

/// The networks that read faces, for one thread.
#[derive(Debug)]
pub struct FaceReader {
    detector: Detector,
    embedder: Embedder,
    template: Template,
    liveness: Option<Liveness>,
}

impl FaceReader {
    /// Loads the detector, the embedding network and the liveness networks, if there are any.
    ///
    /// # Errors
    /// When a file is missing, is not the one that the manifest means, or is no such network.
    pub fn load(models: &Models) -> Result<Self, ModelError> {
        Ok(Self {
            detector: models.detector()?,
            embedder: models.embedder()?,
            template: models.template()?,
            liveness: models.liveness()?,
        })
    }

    /// The faces of at least `face_min_px` pixels, by falling area. `observe` is told when each stage begins.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when a network is not the one that its role asks for.
    pub fn detect(
        &mut self,
        image: &RgbImage,
        face_min_px: u32,
        observe: &mut dyn FnMut(Stage),
    ) -> Result<Vec<Face>, NetworkError> {
        self.detector.detect(image, face_min_px, observe)
    }

    /// The faces at these places, as [`Detector::follow`] finds them.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when a network is not the one that its role asks for.
    pub fn follow(&mut self, image: &RgbImage, places: &[Rect]) -> Result<Vec<Option<Face>>, NetworkError> {
        self.detector.follow(image, places)
    }

    /// The aligned face and its quality. None when the landmarks do not make a face.
    pub fn look(&self, image: &RgbImage, face: &Face) -> Option<(RgbImage, Quality)> {
        let aligned = align(image, &face.landmarks, &self.template)?;
        let quality = Quality::measure(&face.landmarks, &aligned);
        Some((aligned, quality))
    }

    /// Probability that `face` is a live one, 0 to 1. None without a liveness network, which says nothing about it.
    ///
    /// # Errors
    /// [`NetworkError::Misfit`] when a network does not fit its manifest entry.
    pub fn liveness(&mut self, image: &RgbImage, face: &Face) -> Result<Option<f32>, NetworkError> {
        self.liveness.as_mut().map(|networks| networks.score(image, &face.bounds)).transpose()
    }

    /// The embedding of an aligned face.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn embed(&mut self, aligned: &RgbImage) -> Result<Embedding, EmbedError> {
        self.embedder.embed(aligned)
    }
}
