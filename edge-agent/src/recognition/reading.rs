//! The chain that reads faces, as the pipeline uses it.
//!
//! A trait, so that tests can have one that is slow, or panics.

use rollcall_vision::{Embedding, Face, FaceReader, Quality, Rect, RgbImage};

/// Why a frame could not be read; in words for a log line.
#[derive(Debug, thiserror::Error)]
#[error("{0}; check the models folder with --check-config")]
pub struct ReadError(String);

/// Finds, follows, judges and embeds faces.
pub trait Reading: Send {
    /// The faces of at least so many pixels, by falling area.
    ///
    /// # Errors
    /// When a network is not what it should be.
    fn search(&mut self, image: &RgbImage, face_min_px: u32) -> Result<Vec<Face>, ReadError>;

    /// The faces at these places; those that are none are left out.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn follow(&mut self, image: &RgbImage, places: &[Rect]) -> Result<Vec<Face>, ReadError>;

    /// The aligned face and its quality; `None` when the landmarks make no face.
    fn look(&mut self, image: &RgbImage, face: &Face) -> Option<(RgbImage, Quality)>;

    /// The embedding of an aligned face; `None` when it has no direction.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn embed(&mut self, aligned: &RgbImage) -> Result<Option<Embedding>, ReadError>;

    /// What the liveness network says; `None` without one.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn liveness(&mut self, image: &RgbImage, face: &Face) -> Result<Option<f32>, ReadError>;
}

impl Reading for FaceReader {
    fn search(&mut self, image: &RgbImage, face_min_px: u32) -> Result<Vec<Face>, ReadError> {
        self.detect(image, face_min_px, &mut |_| ()).map_err(told)
    }

    fn follow(&mut self, image: &RgbImage, places: &[Rect]) -> Result<Vec<Face>, ReadError> {
        let faces = FaceReader::follow(self, image, places).map_err(told)?;
        Ok(faces.into_iter().flatten().collect())
    }

    fn look(&mut self, image: &RgbImage, face: &Face) -> Option<(RgbImage, Quality)> {
        FaceReader::look(self, image, face)
    }

    fn embed(&mut self, aligned: &RgbImage) -> Result<Option<Embedding>, ReadError> {
        match FaceReader::embed(self, aligned) {
            Ok(embedding) => Ok(Some(embedding)),
            Err(rollcall_vision::EmbedError::Embedding(_)) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    fn liveness(&mut self, image: &RgbImage, face: &Face) -> Result<Option<f32>, ReadError> {
        FaceReader::liveness(self, image, face).map_err(told)
    }
}

fn told(error: impl std::error::Error) -> ReadError {
    ReadError(error.to_string())
}
