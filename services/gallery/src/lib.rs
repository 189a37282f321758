//! People, their consent, what they are recognised by, and whom a face belongs to.
//!
//! [`Gallery`] is the people of a site; [`GalleryServer`] serves it over gRPC. Rules are pure functions over values and
//! `now`; `store.rs` has every statement, `convert.rs` what goes between the contract and the types here, `grpc.rs` the
//! calls.

pub mod bulk;
mod calibrate;
mod consent;
mod convert;
pub mod decide;
pub mod enrol;
mod error;
mod faces;
mod gallery;
mod grpc;
mod index;
mod kernels;
mod keys;
mod pairs;
mod quantised;
mod ranking;
mod recognise;
mod recogniser;
mod seal;
mod store;
mod text;

pub use calibrate::Thresholds;
pub use consent::{ConsentState, Standing};
pub use error::GalleryError;
pub use gallery::{EnrolOptions, Gallery, GalleryOptions};
pub use grpc::GalleryServer;
pub use index::{Candidate, Index, IndexError, Match, Search, TemplateScore};
pub use keys::{KEY_SIZE_BYTES, Key};
pub use pairs::{CrossScores, LookAlike};
pub use recognise::{Portrait, RecogniseError, SeenFace, SeenPicture, read_picture, read_portrait};
pub use recogniser::{FaceOptions, Recogniser};
pub use seal::SealError;
