//! The words that every room of Rollcall shares: ids and limits.
//!
//! Knows no other crate of the workspace. Holds no I/O.

mod ids;
pub mod limits;

pub use ids::PersonId;
