//! The door: lock, lights, buzzer, contact, exit button, fire input.
//!
//! [`Pins`] is what a driver does (`gpiocdev`, `rppal`, `recorded`); everything else is state machines over it, with time
//! as an input. The lock's pulse is kept by a process of its own (`supervisor`), so that it ends although this one hangs,
//! is stopped or killed.

#![allow(dead_code, reason = "taken in use by the terminal's wiring, which comes next")]

/// What the door tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorEvent {
    /// The contact opened after the lock was released.
    Opened,
    /// The contact closed.
    Closed,
    /// It stayed open for longer than it may.
    HeldOpen,
    /// The contact opened although the lock was not released.
    Forced,
    /// The exit button was pressed; the lock was released.
    ExitPressed,
    /// The fire input became active: the lock is released until it is over.
    FireOn,
    /// It is over.
    FireOff,
}

/// What people at the door see and hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Come in: green light, one short tone.
    Welcome,
    /// Please use your badge or PIN: no light, two soft tones. Never red, never a buzzer of shame.
    UseAnother,
    /// The door is held open or was forced: the alarm's pattern, until the door is closed.
    Alarm,
}
