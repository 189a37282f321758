//! The devices at the doors: which one this is, how it is, and what it is told.
//!
//! A terminal that stands alone knows one: itself. Its identity is made once and kept with its settings; every change
//! of these is a revision, and the event log is told of each. [`access`] says who may pass when; a [`Lockdown`] is kept
//! beside the settings and survives a restart.
//!
//! A hub takes terminals in by [`adoption::Adoptions`].
//!
//! Not here: cameras, doors and the event log. The program gives them as a [`Device`].

pub mod access;
pub mod adopting;
pub mod adoption;
mod configured;
mod convert;
mod error;
mod grpc;
mod identity;
mod joining;
mod lockdown;
mod machine;
pub mod nearby;
mod settings;
mod store;
mod terminals;

pub use access::{AccessRule, Moment, Refusal, WithoutClock};
pub use error::TerminalError;
pub use grpc::{AdoptionGrpc, Grpc, adoption_service, service};
pub use identity::{Identity, hardware_id};
pub use joining::{HowToJoin, JoinStep, JoinSteps, Joining};
pub use lockdown::Lockdown;
pub use machine::Machine;
pub use settings::{Revised, Settings, SettingsField};
pub use store::MIGRATIONS;
pub use store::adoption::ADOPTION_MIGRATIONS;
pub use terminals::{Device, Enrolling, Enrolment, Readings, Status, Terminals};
