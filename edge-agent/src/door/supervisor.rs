//! `edge-agent door-supervisor`: the process that has the lock's line and the inputs, and nothing else to do.
//!
//! The agent starts it with a pipe to its standard input and one from its standard output and speaks as `messages` says.
//! It promises, whatever becomes of the agent:
//!
//! - A pulse ends by this process' own clock. The agent may hang or be stopped.
//! - When the pipe closes, as it does when the agent is killed, the lock goes to the state that it falls to without
//!   power, and this process ends. Only in a fire it stays and holds the door until the fire is over.
//! - An order to open that is older than a second is not obeyed: it was for somebody else.
//! - SIGTERM, SIGINT and SIGHUP end a pulse at once and not the process: who stops a whole group at once stops the agent
//!   too, and then the pipe closes. The exit button works until then.
//! - It never waits for the agent: reports that nobody reads are dropped once there are too many.
//! - At its end, also by a panic, the relay is off. Only SIGKILL prevents that. Then the next supervisor turns it off
//!   when it opens the line, or `edge-agent door-safe` where there is none.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rollcall_core::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::config::DoorConfig;
use super::keeper::Keeper;
use super::lock::Opening;
use super::messages::{Lines, Order, Refusal, Report, line, mono_ms};
use super::pins::{Output, Part, PinError, Pins, open};

/// The agent sends the first order at once; who starts this by hand sees it end.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Inputs that cannot wake us are read so often: two readings within the time that a contact must last.
const READ_EVERY: Duration = Duration::from_millis(15);

/// Inputs that can wake us are read so often nevertheless.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs until the agent has gone.
pub fn run() -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        if signal_hook::flag::register(signal, Arc::clone(&interrupted)).is_err() {
            return ExitCode::FAILURE;
        }
    }
    let Some(mut agent) = Agent::new() else { return ExitCode::FAILURE };
    let Some((config, is_locked_down)) = agent.start() else { return ExitCode::FAILURE };
    let kept =
        Relay::open(&config).and_then(|relay| keep(&config, is_locked_down, relay, &mut agent, &interrupted));
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let is_busy = matches!(error, PinError::Busy(_));
            agent.report(&Report::Failed { problem: error.to_string(), is_busy });
            ExitCode::FAILURE
        }
    }
}

/// Takes the lock to the state that it falls to without power, unless there is a fire, and ends.
///
/// # Errors
/// The driver's; a line that a supervisor has is busy.
pub fn make_safe(config: &DoorConfig) -> Result<(), PinError> {
    // Opening it is enough: every output is opened inactive, and a relay that is off is what the lock falls to.
    Relay::open(config).map(drop)
}

fn keep(
    config: &DoorConfig,
    is_locked_down: bool,
    mut relay: Relay,
    agent: &mut Agent,
    interrupted: &AtomicBool,
) -> Result<(), PinError> {
    let mut keeper = Keeper::new(config, is_locked_down);
    let mut told = None;
    let mut is_ready = false;
    loop {
        let inputs = relay.pins.inputs()?;
        let now = Instant::now();
        if interrupted.swap(false, Ordering::Relaxed) {
            keeper.lock();
        }
        for event in keeper.read(inputs, now) {
            agent.report(&Report::Event(event));
        }
        if agent.has_gone {
            keeper.lock();
            if !keeper.is_fire() {
                return Ok(());
            }
        }
        relay.set_released(keeper.is_released(now))?;
        if !is_ready {
            is_ready = true;
            agent.report(&Report::Ready);
        }
        let (keeping, locks_at) = (keeper.keeping(now), keeper.locks_at(now));
        let tells = (keeping.is_released, keeping.is_open, keeping.is_fire, locks_at);
        if told.replace(tells) != Some(tells) {
            agent.report(&Report::State(keeping));
        }
        agent.wait(&relay, keeper.due(now).map(|at| at.saturating_duration_since(now)));
        obey(&mut keeper, agent);
    }
}

fn obey(keeper: &mut Keeper, agent: &mut Agent) {
    for order in agent.orders() {
        match order {
            Order::Open { asked_ms, opener } => {
                let age_ms = mono_ms().saturating_sub(asked_ms);
                let refusal = match age_ms > limits::LOCK_ORDER_AGE_MS {
                    true => Some(Refusal::Old),
                    false => (keeper.open(opener, Instant::now()) == Opening::LockedDown)
                        .then_some(Refusal::LockedDown),
                };
                if let Some(refusal) = refusal {
                    agent.report(&Report::Refused(refusal));
                }
            }
            Order::Lockdown(is_on) => keeper.set_lockdown(is_on),
            Order::Ping(number) => agent.report(&Report::Pong(number)),
            // There is one door.
            Order::Start { .. } => agent.has_gone = true,
        }
    }
}

/// The lock's relay with the inputs. Off when it is opened and when it is dropped.
struct Relay {
    pins: Box<dyn Pins>,
    config: DoorConfig,
}

impl Relay {
    fn open(config: &DoorConfig) -> Result<Self, PinError> {
        Ok(Self { pins: open(config, Part::Lock)?, config: config.clone() })
    }

    fn set_released(&mut self, is_released: bool) -> Result<(), PinError> {
        self.pins.set(Output::Lock, self.config.is_energised(is_released))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Nothing is left to do about an error: whoever opens the line next turns it off.
        let _ = self.pins.set(Output::Lock, false);
    }
}

/// The agent at the other end of the pipes.
struct Agent {
    stdin: File,
    stdout: File,
    lines: Lines,
    orders: Vec<Order>,
    /// Bytes of reports that it has not taken yet.
    unsent: Vec<u8>,
    has_gone: bool,
}

impl Agent {
    /// `None` when the pipes cannot be made not to block.
    fn new() -> Option<Self> {
        let stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
        let stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned().ok()?);
        fcntl_setfl(&stdin, OFlags::NONBLOCK).ok()?;
        fcntl_setfl(&stdout, OFlags::NONBLOCK).ok()?;
        let (lines, orders, unsent) = (Lines::default(), Vec::new(), Vec::new());
        Some(Self { stdin, stdout, lines, orders, unsent, has_gone: false })
    }

    /// Waits for the first order. `None` when it does not come or is another.
    fn start(&mut self) -> Option<(DoorConfig, bool)> {
        let deadline = Instant::now() + START_PATIENCE;
        while self.orders.is_empty() {
            let left = deadline.checked_duration_since(Instant::now()).filter(|_| !self.has_gone)?;
            let timeout = Timespec::try_from(left).ok()?;
            let _ = poll(&mut [PollFd::new(&self.stdin, PollFlags::IN)], Some(&timeout));
            self.receive();
        }
        match self.orders.remove(0) {
            Order::Start { config, is_locked_down } => Some((*config, is_locked_down)),
            _ => None,
        }
    }

    /// Waits for an order, a changed input, a signal, or the time.
    fn wait(&mut self, relay: &Relay, due: Option<Duration>) {
        let changes = relay.pins.changes();
        let most = if changes.is_some() { LOOK_EVERY } else { READ_EVERY };
        let timeout = Timespec::try_from(due.map_or(most, |due| due.min(most))).unwrap_or_default();
        let mut fds: Vec<PollFd> =
            changes.iter().map(|changes| PollFd::from_borrowed_fd(*changes, PollFlags::IN)).collect();
        if !self.has_gone {
            fds.push(PollFd::new(&self.stdin, PollFlags::IN));
        }
        // An error is a signal, which is looked at next.
        let _ = poll(&mut fds, Some(&timeout));
        drop(fds);
        self.receive();
        self.send();
    }

    fn orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    fn receive(&mut self) {
        let mut bytes = [0; 4096];
        while !self.has_gone {
            match self.stdin.read(&mut bytes) {
                Ok(0) => self.has_gone = true,
                Ok(count) => match self.lines.take(bytes.get(..count).unwrap_or_default()) {
                    Ok(orders) => self.orders.extend(orders),
                    Err(_) => self.has_gone = true,
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.has_gone = true,
            }
        }
    }

    fn report(&mut self, report: &Report) {
        let Ok(line) = line(report) else { return };
        if self.unsent.len() + line.len() <= limits::DOOR_REPORTS_BYTES {
            self.unsent.extend_from_slice(&line);
        }
        self.send();
    }

    fn send(&mut self) {
        while !self.unsent.is_empty() && !self.has_gone {
            match self.stdout.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.has_gone = true,
            }
        }
    }
}
