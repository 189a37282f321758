//! The screen at the door: a page for a kiosk browser on this machine, served on loopback alone.

#![allow(dead_code, reason = "taken in use by the terminal's wiring, which comes next")]
