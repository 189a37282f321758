//! The door: lock, lights, buzzer, contact, exit button, fire input.
//!
//! [`pins::Pins`] is what a driver does (`gpiocdev`, `rppal`, `recorded`); everything else is state machines over it, with time
//! as an input. The lock's pulse is kept by a process of its own (`supervisor`), so that it ends although this one hangs,
//! is stopped or killed.
//!
//! Without a door in the configuration there is none, and everything else works as with one.

pub mod config;
mod contact;
mod gpiocdev;
pub mod inspect;
mod keeper;
mod link;
mod lock;
mod messages;
mod pins;
mod recorded;
mod rppal;
mod signals;
pub mod supervisor;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rollcall_core::limits;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use config::{DoorConfig, Driver};
pub use keeper::Keeping;
pub use link::SUPERVISOR;
pub use lock::Opener;
use thread::{Inbox, Thread};

/// For so long the start waits until the lock is kept: a supervisor of a run before may still have its line.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// What the door tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// Nothing keeps the lock: the process that does has died or hangs. The lock is in the state that it falls to.
    Fault,
    /// The lock is kept again.
    FaultOver,
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

/// What the door is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorState {
    /// Lock, contact and fire, as far as is known.
    pub keeping: Keeping,
    /// Whether the door is locked down.
    pub is_locked_down: bool,
    /// Whether the process that keeps the lock is there and well.
    pub is_kept: bool,
    /// Whether another process has the lock's line: a supervisor of a run before that holds the door in a fire.
    pub is_busy: bool,
    /// What is wrong, for those who look after the door.
    pub problem: Option<String>,
    /// Events that were dropped because nobody took them.
    pub events_lost: u64,
}

/// Why the door cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Its lines cannot be had.
    #[error("the door: {0}")]
    Lines(#[from] pins::PinError),
    /// Nothing keeps its lock.
    #[error("the door: {0}")]
    NotKept(String),
    /// Its thread takes no orders; it is busy or has ended.
    #[error("the door takes no orders; see its state")]
    Busy,
}

/// The door. Dropped, it locks.
pub struct Door {
    inbox: SyncSender<Inbox>,
    state: watch::Receiver<DoorState>,
    is_locked_down: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Takes the door in use; `None` when there is none. Blocks until its lock is kept, at most five seconds.
    ///
    /// Of the events at most [`limits::DOOR_EVENTS`] wait. Further ones are dropped and counted in the state: the door
    /// does not wait for its log.
    ///
    /// A lock's line that another process has is no error: that is a supervisor of a run before which holds the door in a
    /// fire, and a terminal that starts then is needed. The state says so until the line is free.
    ///
    /// # Errors
    /// The lines cannot be had, or the lock is not kept in time.
    pub fn start(
        config: &DoorConfig,
        is_locked_down: bool,
    ) -> Result<Option<(Self, mpsc::Receiver<DoorEvent>)>, DoorError> {
        if config.driver == Driver::None {
            return Ok(None);
        }
        let (to_inbox, inbox) = sync_channel(limits::DOOR_ORDERS);
        let (events, to_take) = mpsc::channel(limits::DOOR_EVENTS);
        let (state, watched) = watch::channel(DoorState { is_locked_down, ..DoorState::default() });
        let is_locked_down = Arc::new(AtomicBool::new(is_locked_down));
        let thread = Thread {
            config: config.clone(),
            lights: pins::open(config, pins::Part::Lights)?,
            inbox,
            to_inbox: to_inbox.clone(),
            events,
            state,
            is_locked_down: Arc::clone(&is_locked_down),
        };
        let started = std::thread::Builder::new().name("door".into()).spawn(|| thread.run());
        let thread = Some(started.map_err(|error| DoorError::NotKept(error.to_string()))?);
        let door = Self { inbox: to_inbox, state: watched, is_locked_down, thread };
        door.wait_until_kept()?;
        Ok(Some((door, to_take)))
    }

    fn wait_until_kept(&self) -> Result<(), DoorError> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let state = self.state.borrow().clone();
            if state.is_kept {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(DoorError::NotKept(
                    state.problem.unwrap_or("its lock is not kept in time".into()),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Releases the lock for one opening, unless the door is locked down and this is not for somebody exempt. Does not wait; what comes of it is in the state
    /// within milliseconds.
    ///
    /// # Errors
    /// Nothing keeps the lock, or the thread is busy: the door stays as it is.
    pub fn open(&self, opener: Opener) -> Result<(), DoorError> {
        if let Some(problem) = Some(self.state.borrow()).filter(|state| !state.is_kept) {
            return Err(DoorError::NotKept(problem.problem.clone().unwrap_or_default()));
        }
        self.inbox.try_send(Inbox::Open(messages::mono_ms(), opener)).map_err(|_| DoorError::Busy)
    }

    /// Shows and sounds something. One that does not fit in is left out.
    pub fn signal(&self, signal: Signal) {
        let _ = self.inbox.try_send(Inbox::Signal(signal));
    }

    /// Begins or ends a lockdown. Never lost; it counts within a quarter of a second at the latest.
    pub fn set_lockdown(&self, is_on: bool) {
        self.is_locked_down.store(is_on, Ordering::Release);
        let _ = self.inbox.try_send(Inbox::Look);
    }

    /// What the door is, now and whenever that changes.
    pub fn state(&self) -> watch::Receiver<DoorState> {
        self.state.clone()
    }

    /// Locks, and waits until that is done: about a second at most.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // It takes orders within milliseconds; should it not, it has ended or hangs and is not waited for.
        let deadline = Instant::now() + Duration::from_secs(1);
        while let Err(std::sync::mpsc::TrySendError::Full(_)) = self.inbox.try_send(Inbox::Stop) {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
