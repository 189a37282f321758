//! Replication between a terminal and its hub: events up, gallery down.
//!
//! The rules are pure state machines; the simulator runs them against each other. Around them is a thin layer that reads
//! and writes what attendance, gallery and terminals keep.
//!
//! | | terminal | hub |
//! | --- | --- | --- |
//! | a contact | [`contact::Contacts`] | [`contact::judge`] |
//! | events | [`uplink`] | [`intake`], [`prune`] |
//! | the gallery | [`replica`] | [`gallery`] |
//! | erasures | [`ledger`] | [`ledger`] |
//! | the time | [`clock`], [`forget`] | [`clock`] |

pub mod clock;
pub mod contact;
pub mod convert;
pub mod forget;
pub mod gallery;
pub mod intake;
pub mod invariants;
pub mod ledger;
pub mod prune;
pub mod replica;
pub mod uplink;
