//! People and whom a face belongs to. So far: the index that a probe is matched against.

pub mod bulk;
mod calibrate;
pub mod decide;
pub mod enrol;
mod faces;
mod index;
mod kernels;
mod pairs;
mod quantised;
mod ranking;
mod recognise;
mod seal;

pub use calibrate::Thresholds;
pub use index::{Candidate, Index, IndexError, Match, Search, TemplateScore};
pub use pairs::{CrossScores, LookAlike};
pub use recognise::{Portrait, RecogniseError, SeenFace, SeenPicture, read_picture, read_portrait};
pub use seal::SealError;
