//! Replication between a terminal and its hub: events up, gallery down.
//!
//! The rules are pure state machines; the simulator runs them against each other. Around them is a thin layer that reads
//! and writes what attendance, gallery and terminals keep.
