//! People and whom a face belongs to. So far: the index that a probe is matched against.

mod index;
mod kernels;
mod pairs;
mod quantised;
mod ranking;

pub use index::{Candidate, Index, IndexError, Match, Search, TemplateScore};
pub use pairs::LookAlike;
