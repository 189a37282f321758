//! The rules of the door as one machine: orders, readings and the time in; what happened and the lock's level out.
//!
//! This is what the supervisor runs. The exit button and the fire input end here, so they work whatever became of the
//! rest of the program.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::DoorEvent;
use super::config::DoorConfig;
use super::contact::{Around, Contact, Debounced, ExitButton};
use super::lock::{Lock, Opener, Opening};
use super::pins::Inputs;

/// What the door is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Keeping {
    /// Whether the lock is released.
    pub is_released: bool,
    /// Milliseconds until it locks by itself; none while it is locked or a fire holds it.
    pub locks_in_ms: Option<u64>,
    /// Whether the door is open; none: there is no contact.
    pub is_open: Option<bool>,
    /// Whether there is a fire.
    pub is_fire: bool,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Keeper {
    has_lock: bool,
    lock: Lock,
    contact: Contact,
    exit: ExitButton,
    fire: Debounced,
}

impl Keeper {
    /// A door that is locked.
    pub fn new(config: &DoorConfig, is_locked_down: bool) -> Self {
        Self {
            has_lock: config.has_lock(),
            lock: Lock::new(config.open(), is_locked_down),
            contact: Contact::new(config.held_open()),
            exit: ExitButton::default(),
            fire: Debounced::default(),
        }
    }

    /// An order to open for somebody who may come in.
    pub fn open(&mut self, opener: Opener, now: Instant) -> Opening {
        self.lock.open(opener, now)
    }

    /// Begins or ends a lockdown.
    pub fn set_lockdown(&mut self, is_on: bool) {
        self.lock.set_lockdown(is_on);
    }

    /// Locks, unless there is a fire.
    pub fn lock(&mut self) {
        self.lock.end();
    }

    /// Takes readings and gives what happened, in this order: fire, exit button, contact.
    pub fn read(&mut self, inputs: Inputs, now: Instant) -> Vec<DoorEvent> {
        let mut happened = Vec::new();
        let is_first = self.fire.level().is_none();
        if let Some(is_fire) = inputs.is_fire.and_then(|is_fire| self.fire.read(is_fire, now)) {
            self.lock.set_fire(is_fire);
            if is_fire || !is_first {
                happened.push(if is_fire { DoorEvent::FireOn } else { DoorEvent::FireOff });
            }
        }
        if inputs.is_exit.is_some_and(|is_pressed| self.exit.read(is_pressed, now)) {
            self.lock.open(Opener::Exit, now);
            happened.push(DoorEvent::ExitPressed);
        }
        let around = Around {
            is_released: self.lock.is_released(now),
            is_fire: self.lock.is_fire(),
            can_be_forced: self.has_lock && inputs.is_exit.is_some(),
        };
        let event = self.contact.read(inputs, around, now);
        match event {
            Some(DoorEvent::Opened) => self.lock.opened(),
            Some(DoorEvent::Closed) => self.lock.closed(),
            _ => {}
        }
        happened.extend(event);
        happened
    }

    /// Whether the lock is released.
    pub fn is_released(&self, now: Instant) -> bool {
        self.lock.is_released(now)
    }

    /// Whether there is a fire.
    pub fn is_fire(&self) -> bool {
        self.lock.is_fire()
    }

    /// What the door is.
    pub fn keeping(&self, now: Instant) -> Keeping {
        let left = self.lock.locks_at(now).map(|at| at.saturating_duration_since(now));
        Keeping {
            is_released: self.has_lock && self.lock.is_released(now),
            locks_in_ms: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            is_open: self.contact.is_open(),
            is_fire: self.lock.is_fire(),
        }
    }

    /// When the lock locks by itself, which is the same however often it is asked.
    pub fn locks_at(&self, now: Instant) -> Option<Instant> {
        self.lock.locks_at(now)
    }

    /// When to look again although nothing has changed.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let dues = [self.lock.locks_at(now), self.contact.due(), self.exit.due(), self.fire.due()];
        dues.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::config::{Driver, Fail};
    use super::*;

    fn keeper(is_locked_down: bool) -> Keeper {
        let config =
            DoorConfig { driver: Driver::Recorded, fail: Some(Fail::Secure), ..DoorConfig::default() };
        Keeper::new(&config, is_locked_down)
    }

    fn inputs(open: bool, exit: bool, fire: bool) -> Inputs {
        Inputs { is_open: Some(open), is_exit: Some(exit), is_fire: Some(fire) }
    }

    /// Reads the same for 50 ms, so that it counts.
    fn settle(keeper: &mut Keeper, inputs: Inputs, now: &mut Instant) -> Vec<DoorEvent> {
        let mut happened = keeper.read(inputs, *now);
        *now += Duration::from_millis(50);
        happened.extend(keeper.read(inputs, *now));
        happened
    }

    #[test]
    fn the_exit_button_opens_in_a_lockdown_and_a_face_does_not() {
        let (mut keeper, mut now) = (keeper(true), Instant::now());
        settle(&mut keeper, inputs(false, false, false), &mut now);
        assert_eq!(keeper.open(Opener::Credential, now), Opening::LockedDown);
        assert!(!keeper.is_released(now));
        assert_eq!(settle(&mut keeper, inputs(false, true, false), &mut now), [DoorEvent::ExitPressed]);
        assert!(keeper.is_released(now));
        assert_eq!(settle(&mut keeper, inputs(true, false, false), &mut now), [DoorEvent::Opened]);
        assert_eq!(settle(&mut keeper, inputs(false, false, false), &mut now), [DoorEvent::Closed]);
        assert!(!keeper.is_released(now), "who pressed it is through");
    }

    #[test]
    fn a_fire_holds_the_lock_until_it_is_over_and_is_told_at_the_start_too() {
        let (mut keeper, mut now) = (keeper(true), Instant::now());
        assert_eq!(settle(&mut keeper, inputs(false, false, true), &mut now), [DoorEvent::FireOn]);
        keeper.lock();
        now += Duration::from_secs(3_600);
        assert_eq!(settle(&mut keeper, inputs(true, false, true), &mut now), [DoorEvent::Opened]);
        assert!(keeper.keeping(now).is_released && keeper.keeping(now).locks_in_ms.is_none());
        assert_eq!(settle(&mut keeper, inputs(true, false, false), &mut now), [DoorEvent::FireOff]);
        assert!(!keeper.is_released(now));
    }

    #[test]
    fn forced_is_opened_while_locked() {
        let (mut keeper, mut now) = (keeper(false), Instant::now());
        settle(&mut keeper, inputs(false, false, false), &mut now);
        assert_eq!(settle(&mut keeper, inputs(true, false, false), &mut now), [DoorEvent::Forced]);
    }
}
