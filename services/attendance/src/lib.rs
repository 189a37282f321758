//! The event log, registers and reports.
//!
//! Promises: an event that was acknowledged is on the disk and never changes; events, timetable and corrections alone
//! decide what a register says; nothing in the log names a person but by id.
//!
//! Not here: who a person is (the gallery), which door opened (the terminal), how events travel to a hub (sync).

mod aliases;
mod attendance;
mod chain;
mod clock;
pub mod codes;
mod convert;
mod cursor;
mod error;
mod events;
mod exports;
mod facts;
mod grpc;
mod kind;
mod log;
mod pages;
mod people;
mod place;
mod planning;
mod received;
mod record;
pub mod register;
mod registers;
pub mod report;
mod reports;
mod salvage;
mod spreadsheet;
mod store;
mod table;
mod time;
pub mod timetable;
mod watch;

pub use attendance::Attendance;
pub use chain::ChainHash;
pub use clock::{Clock, SystemClock};
pub use error::AttendanceError;
pub use facts::{facts, positions};
pub use grpc::service;
pub use kind::{quality, quality_number};
pub use log::{
    Appended, Findings, Identity, Log, LogHealth, LogState, Logged, NewEvent, OpenReason, Opened,
    unacknowledged, verify,
};
pub use people::{Answer, Doors, Member, People};
pub use planning::zone;
pub use received::{Coverage, Held, Position, Received, Receiving};
pub use record::forget;
pub use reports::{ReportRange, ReportRow, Subject};
pub use salvage::Salvaged;
pub use store::{LOG_MIGRATIONS, SITE_MIGRATIONS};
pub use time::{Anchor, Corrected, Quality, RATE_PPM, Reading, Trust, correct};
