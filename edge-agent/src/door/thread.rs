//! The door's thread in the agent: keeps a supervisor running, passes orders on, tells what happened, plays the lights.
//!
//! It waits for nobody but its own inbox. Events that nobody takes are dropped and counted, because the door goes before
//! its log; the state always has the latest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rollcall_core::limits;
use tokio::sync::{mpsc, watch};

use super::config::DoorConfig;
use super::keeper::Keeping;
use super::link::{Heard, Link};
use super::lock::Opener;
use super::messages::{Order, Refusal, Report};
use super::pins::{Output, Pins};
use super::signals::{Lights, Player};
use super::{DoorEvent, DoorState, Signal};

/// It looks at least so often whether a lockdown was ordered.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A supervisor that lived so long was well; the next is started without waiting.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// Time for the supervisor to lock and end.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// What comes to the thread.
#[derive(Debug)]
pub enum Inbox {
    /// Open, asked at this time of the monotonic clock.
    Open(u64, Opener),
    /// Show and sound something.
    Signal(Signal),
    /// Look at what has changed.
    Look,
    /// From the supervisor of this number.
    Heard(u64, Heard),
    /// Lock and end.
    Stop,
}

/// What the thread works with.
pub struct Thread {
    pub config: DoorConfig,
    pub lights: Box<dyn Pins>,
    pub inbox: Receiver<Inbox>,
    /// For the threads that listen to supervisors.
    pub to_inbox: SyncSender<Inbox>,
    pub events: mpsc::Sender<DoorEvent>,
    pub state: watch::Sender<DoorState>,
    pub is_locked_down: Arc<AtomicBool>,
}

struct Running {
    with: Thread,
    link: Option<Link>,
    /// Of the current supervisor; those before are not listened to any more.
    number: u64,
    started: Instant,
    restart_at: Instant,
    failures: u32,
    told_locked_down: bool,
    player: Player,
    shown: Lights,
    is_faulty: bool,
}

impl Thread {
    /// Runs until it is told to stop.
    pub fn run(self) {
        let now = Instant::now();
        let mut running = Running {
            told_locked_down: false,
            with: self,
            link: None,
            number: 0,
            started: now,
            restart_at: now,
            failures: 0,
            player: Player::default(),
            shown: Lights::default(),
            is_faulty: false,
        };
        running.run();
        running.end();
    }
}

impl Running {
    fn run(&mut self) {
        loop {
            self.supervise(Instant::now());
            let due = self.play(Instant::now());
            let now = Instant::now();
            let wait = due.map_or(LOOK_EVERY, |at| at.saturating_duration_since(now).min(LOOK_EVERY));
            let mut next = self.with.inbox.recv_timeout(wait);
            // All that has come: whether a supervisor is silent is judged after it was listened to.
            loop {
                match next {
                    Ok(Inbox::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => break,
                    Ok(message) => self.take(message, Instant::now()),
                }
                next = self.with.inbox.try_recv().map_err(|_| RecvTimeoutError::Timeout);
            }
        }
    }

    fn take(&mut self, message: Inbox, now: Instant) {
        match message {
            Inbox::Open(asked_ms, opener) => match &mut self.link {
                Some(link) => link.order(&Order::Open { asked_ms, opener }),
                None => tracing::warn!("the door was not opened: nothing keeps its lock"),
            },
            Inbox::Signal(signal) => self.player.play(signal, now),
            Inbox::Heard(number, _) if number != self.number => {}
            Inbox::Heard(_, Heard::Report(report)) => self.heard(report, now),
            Inbox::Heard(_, Heard::Gone) => self.lost(now),
            Inbox::Look | Inbox::Stop => {}
        }
    }

    fn heard(&mut self, report: Report, now: Instant) {
        match report {
            Report::Ready => {
                self.with.state.send_modify(|state| {
                    state.is_kept = true;
                    state.is_busy = false;
                    state.problem = None;
                });
                // After the state: whoever hears it may open at once.
                if std::mem::take(&mut self.is_faulty) {
                    tracing::info!("the lock is kept again");
                    self.tell(DoorEvent::FaultOver);
                }
            }
            Report::Failed { problem, is_busy } => self.with.state.send_modify(|state| {
                state.problem = Some(problem);
                state.is_busy = is_busy;
            }),
            Report::Pong(_) => self.link.iter_mut().for_each(|link| link.health.pong()),
            Report::Event(event) => self.happened(event, now),
            Report::Refused(Refusal::LockedDown) => {
                tracing::info!("the door was not opened: it is locked down")
            }
            Report::Refused(Refusal::Old) => {
                tracing::warn!("the door was not opened: the order came too late")
            }
            Report::State(keeping) => {
                self.link.iter_mut().for_each(|link| link.health.told(keeping, now));
                self.with.state.send_modify(|state| state.keeping = keeping);
            }
        }
    }

    fn happened(&mut self, event: DoorEvent, now: Instant) {
        match event {
            DoorEvent::HeldOpen | DoorEvent::Forced => self.player.play(Signal::Alarm, now),
            DoorEvent::Closed | DoorEvent::FireOn => self.player.end_alarm(),
            _ => {}
        }
        self.tell(event);
    }

    fn tell(&mut self, event: DoorEvent) {
        if self.with.events.try_send(event).is_err() {
            self.with.state.send_modify(|state| state.events_lost += 1);
            tracing::warn!(?event, "an event of the door was dropped: nobody takes them");
        }
    }

    /// Starts a supervisor when there is none, and ends one that does not keep up.
    fn supervise(&mut self, now: Instant) {
        let is_locked_down = self.with.is_locked_down.load(Ordering::Acquire);
        if std::mem::replace(&mut self.told_locked_down, is_locked_down) != is_locked_down {
            self.link.iter_mut().for_each(|link| link.order(&Order::Lockdown(is_locked_down)));
            self.with.state.send_modify(|state| state.is_locked_down = is_locked_down);
        }
        let Some(link) = &mut self.link else {
            if self.restart_at <= now {
                self.start(is_locked_down, now);
            }
            return;
        };
        if let Some(problem) = link.health.problem(now) {
            self.with
                .state
                .send_modify(|state| state.problem = Some(format!("the lock's supervisor: {problem}")));
            // The kernel ends it also when it is stopped; the next one finds the line free and turns the relay off.
            link.kill();
            self.lost(now);
            return;
        }
        link.ping(now);
    }

    fn start(&mut self, is_locked_down: bool, now: Instant) {
        self.number += 1;
        self.started = now;
        let number = self.number;
        let wrap = move |heard| Inbox::Heard(number, heard);
        match Link::start(&self.with.config, is_locked_down, now, self.with.to_inbox.clone(), wrap) {
            Ok(link) => self.link = Some(link),
            Err(error) => {
                let problem = format!("cannot start the process that keeps the lock: {error}");
                self.with.state.send_modify(|state| state.problem = Some(problem));
                self.lost(now);
            }
        }
    }

    /// The supervisor has gone or cannot be started: says so once, and sets when to try again.
    fn lost(&mut self, now: Instant) {
        let status = self.link.take().and_then(Link::ended).map(|status| status.to_string());
        if now >= self.started + WELL_AFTER {
            self.failures = 0;
        }
        let (first, most) = (*limits::DOOR_RESTART_MS.start(), *limits::DOOR_RESTART_MS.end());
        let pause_ms = self.failures.checked_sub(1).map_or(0, |again| first << again.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        self.restart_at = now + Duration::from_millis(pause_ms);
        let status = status.as_deref().unwrap_or("not started");
        self.with.state.send_modify(|state| {
            state.is_kept = false;
            state.keeping = Keeping::default();
            let _ = state.problem.get_or_insert_with(|| format!("the lock's supervisor ended: {status}"));
        });
        let problem = self.with.state.borrow().problem.clone().unwrap_or_default();
        tracing::error!(problem, status, pause_ms, "nothing keeps the lock; starting another supervisor");
        if !std::mem::replace(&mut self.is_faulty, true) {
            self.tell(DoorEvent::Fault);
        }
    }

    /// Sets the lights, and gives when to do so again.
    fn play(&mut self, now: Instant) -> Option<Instant> {
        self.player.set_red(self.told_locked_down || self.is_faulty);
        let (lights, changes_at) = self.player.lights(now);
        let before = std::mem::replace(&mut self.shown, lights);
        for (output, was_on, is_on) in [
            (Output::Green, before.green, lights.green),
            (Output::Red, before.red, lights.red),
            (Output::Buzzer, before.buzzer, lights.buzzer),
        ] {
            if was_on != is_on
                && let Err(error) = self.with.lights.set(output, is_on)
            {
                tracing::warn!(%error, "a light of the door is not set");
            }
        }
        let next = self.link.as_ref().map_or(self.restart_at, |link| link.health.due());
        Some(changes_at.map_or(next, |at| at.min(next)))
    }

    /// Locks: the supervisor does so when its pipe closes.
    fn end(mut self) {
        for output in [Output::Green, Output::Red, Output::Buzzer] {
            let _ = self.with.lights.set(output, false);
        }
        let Some(link) = &mut self.link else { return };
        link.close();
        let deadline = Instant::now() + END_PATIENCE;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.with.inbox.recv_timeout(left) {
                Ok(Inbox::Heard(number, Heard::Gone)) if number == self.number => break,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // In a fire it stays until that is over, and is not ours to end.
        if !self.with.state.borrow().keeping.is_fire {
            self.link.take().map(Link::ended);
        }
    }
}
