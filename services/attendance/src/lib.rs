//! The event log, registers and reports.
//!
//! Promises: an event that was acknowledged is on the disk and never changes; events, timetable and corrections alone
//! decide what a register says; nothing in the log names a person but by id.
//!
//! Not here: who a person is (the gallery), which door opened (the terminal), how events travel to a hub (sync).

mod attendance;
pub mod codes;
mod convert;
mod error;
mod grpc;
mod log;
mod people;
mod planning;
pub mod register;
mod registers;
pub mod report;
mod reports;
mod spreadsheet;
mod store;
mod table;
pub mod timetable;

pub use attendance::Attendance;
pub use error::AttendanceError;
pub use log::{Appended, Log, NewEvent};
pub use people::{Answer, Doors, Member, People};
pub use reports::{ReportRange, ReportRow, Subject};
pub use store::{LOG_MIGRATIONS, SITE_MIGRATIONS};
