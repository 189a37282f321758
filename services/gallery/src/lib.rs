//! People, their consent, what they are recognised by, and whom a face belongs to.
//!
//! [`Gallery`] is the people of a site; [`GalleryServer`] serves it over gRPC. Rules are pure functions over values and
//! `now`; `store.rs` has every statement, `convert.rs` what goes between the contract and the types here, `grpc.rs` the
//! calls.

pub mod bulk;
mod calibrate;
mod change;
mod consent;
mod convert;
mod credential;
pub mod decide;
pub mod enrol;
mod erasure;
mod error;
mod faces;
mod gallery;
mod group;
mod grpc;
mod import;
mod index;
mod kernels;
mod keys;
mod offered;
mod pairs;
mod person;
mod quantised;
mod ranking;
mod recognise;
mod recogniser;
mod recovery;
mod row;
mod scope;
mod seal;
mod set_hash;
mod set_hashes;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod text;

pub use calibrate::Thresholds;
pub use change::Change;
pub use consent::{Consent, ConsentState, Decision, GiverKind, Said, Standing};
pub use convert::faces::decision_trace;
pub use credential::{Credential, CredentialHolder, CredentialKind, CredentialState};
pub use erasure::{DeviceErasure, Erasure};
pub use error::GalleryError;
pub use gallery::{
    AliasFuture, Aliases, CameBack, CameBackAs, Changes, Counts, Elsewhere, EnrolOptions, Gallery,
    GalleryOptions, Holders, HoldersFuture, Imported, Moment, Proposal, Retry, Snapshot, TakenBack,
    in_chunks,
};
pub use group::Group;
pub use grpc::GalleryServer;
pub use import::{ImportFile, Mistakes};
pub use index::{Candidate, Index, IndexError, Match, Search, TemplateScore};
pub use keys::{KEY_SIZE_BYTES, Key, SEALED_KEY_SIZE_BYTES};
pub use pairs::{CrossScores, LookAlike};
pub use person::{Person, PersonChange, PersonFields};
pub use recognise::{Portrait, RecogniseError, SeenFace, SeenPicture, read_picture, read_portrait};
pub use recogniser::{FaceOptions, Recogniser};
pub use scope::Scope;
pub use seal::SealError;
pub use set_hash::SetHash;
