//! The event log, registers and reports.
