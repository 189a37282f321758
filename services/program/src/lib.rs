//! What the two programs, `edge-agent` and `hub`, have in common: how they are configured, started, told to stop and
//! spoken to from a shell, and how the services inside of one process know each other.
//!
//! Nothing here decides anything about people or events, and nothing knows which of the two it is in.

pub mod client;
pub mod config;
pub mod doctor;
pub mod folder;
pub mod health;
pub mod key;
pub mod log;
pub mod machine;
pub mod people;
pub mod run;
pub mod shell;
pub mod systemd;
pub mod ticks;
pub mod token;
