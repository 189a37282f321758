//! The devices at the doors: which one this is, how it is, and what it is told.
//!
//! A terminal knows one: itself ([`Terminals`]). Its identity is made once and kept with its settings; every change of
//! these is a revision, and the event log is told of each. [`access`] says who may pass when; a [`Lockdown`] is kept
//! beside the settings and survives a restart. Where it belongs to a hub, the hub says what its settings are.
//!
//! A hub takes terminals in ([`adoption::Adoptions`]) and knows all that it adopted ([`Fleet`]): whom it trusts, what each
//! is to be, what each last said, and how to reach it at once.
//!
//! Not here: cameras, doors and the event log. The program gives them as a [`Device`]. Nor what goes over the wire
//! between the two: that is `services/sync`.

pub mod access;
mod adopting;
pub mod adoption;
mod command;
pub mod configured;
mod contact;
mod convert;
mod error;
mod fleet;
mod grpc;
mod identity;
mod joining;
mod lockdown;
mod machine;
pub mod nearby;
mod pulled;
mod registered;
mod settings;
mod store;
mod terminals;

pub use access::{AccessRule, Moment, Refusal, WithoutClock};
pub use adopting::{Adopting, Answering, Asking, NewToken};
pub use command::{Answer, Command, What};
pub use contact::{ClockReading, Contact, HeldGallery, Opened, Received};
pub use error::TerminalError;
pub use fleet::{Fleet, Hint, Hints, Summary};
pub use grpc::{AdoptionGrpc, FleetGrpc, Grpc, adoption_service, fleet_service, service};
pub use identity::{Identity, hardware_id};
pub use joining::{HowToJoin, JoinStep, JoinSteps, Joining};
pub use lockdown::Lockdown;
pub use machine::Machine;
pub use pulled::{Pulled, Report, Site};
pub use registered::{Adopted, KeyHash, Registered, Trust};
pub use settings::{Revised, Settings, SettingsField};
pub use store::MIGRATIONS;
pub use store::adoption::ADOPTION_MIGRATIONS;
pub use store::fleet::FLEET_MIGRATIONS;
pub use terminals::{Device, Enrolling, Enrolment, Readings, Status, Terminals};
