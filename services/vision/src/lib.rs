//! Pixels to embeddings: decode, detect, align, judge, embed. Pure: no async, no clock, no tables; the only
//! files it opens are the networks named in a [`models`] manifest, and each only after its hash is checked.

mod align;
mod calibration;
pub mod decode;
mod detect;
mod embed;
mod embedding;
mod encode;
mod geometry;
mod image;
mod input;
mod liveness;
pub mod models;
pub mod net;
mod quality;
mod reader;
mod resample;

pub use align::{ALIGNED_SIDE_PX, Template, align};
pub use calibration::{
    Calibration, CalibrationError, PRIOR_PEOPLE, ScoreDistribution, Scores, SiteScores, Threshold,
};
pub use detect::{Detector, Stage};
pub use embed::{EmbedError, Embedder};
pub use embedding::{Embedding, EmbeddingError};
pub use encode::{EncodeError, encode_jpeg, encode_portrait};
pub use geometry::{Face, Landmarks, Rect, face_meant};
pub use image::RgbImage;
pub use input::{Colour, Input, Side};
pub use liveness::Liveness;
pub use models::{ModelError, Models};
pub use quality::{Quality, QualityIssue, QualityLimits};
pub use reader::FaceReader;
