//! Replication between a terminal and its hub: events up, gallery down.
//!
//! The rules are pure state machines; the simulator runs them against each other. Around them is a thin layer that reads
//! and writes what attendance, gallery and terminals keep: [`client`] at a terminal, [`hub`] at a hub.
//!
//! | | terminal | hub |
//! | --- | --- | --- |
//! | a contact | [`contact::Contacts`] | [`contact::judge`] |
//! | events | [`uplink`] | [`intake`], [`prune`] |
//! | the gallery | [`replica`] | [`gallery`] |
//! | the time | [`clock`], [`forget`] | [`clock`] |
//!
//! [`ledger`] and [`gallery::take_back`] are run by the simulator alone: the gallery applies these rules to what it stores.

pub mod client;
pub mod clock;
pub mod contact;
pub mod convert;
mod error;
pub mod forget;
pub mod gallery;
mod grpc;
pub mod hub;
pub mod intake;
pub mod invariants;
pub mod ledger;
pub mod prune;
pub mod replica;
pub mod uplink;

pub use error::SyncError;
pub use grpc::service;
