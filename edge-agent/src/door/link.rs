//! The agent's end of the supervisor: starts the process, speaks to it, notices when it is silent.
//!
//! The process is this program once more, started anew and not forked: other threads may hold any lock. Whoever replaces
//! the program's file while it runs still gets the same program, by `/proc/self/exe`.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use super::config::DoorConfig;
use super::keeper::Keeping;
use super::messages::{Lines, Order, Report, line};

/// The hidden command that the process is started with.
pub const SUPERVISOR: &str = "door-supervisor";

/// Between two pings.
const PING_EVERY: Duration = Duration::from_millis(250);

/// So many pings in a row without an answer: it hangs. Two seconds, since a busy machine may keep it waiting.
const UNANSWERED: u32 = 8;

/// So many when the lock should have locked by now.
const UNANSWERED_OVERDUE: u32 = 2;

/// After this time beyond its end a pulse must have ended.
const OVERDUE: Duration = Duration::from_millis(250);

/// It answers, and does not lock: after so long it is not to be trusted.
const OVERDUE_LONG: Duration = Duration::from_secs(2);

/// What comes from the process.
#[derive(Debug)]
pub enum Heard {
    /// A report.
    Report(Report),
    /// It has ended, or said what is no message.
    Gone,
}

/// A running supervisor.
pub struct Link {
    child: Child,
    /// None once it was told to end.
    stdin: Option<ChildStdin>,
    /// Whether it keeps up.
    pub health: Health,
    pings: u64,
}

impl Link {
    /// Starts the process and gives it its first order. What it says goes to `inbox`, as `wrap` makes it.
    ///
    /// # Errors
    /// The system's.
    pub fn start<T: Send + 'static>(
        config: &DoorConfig,
        is_locked_down: bool,
        now: Instant,
        inbox: SyncSender<T>,
        wrap: impl Fn(Heard) -> T + Send + 'static,
    ) -> io::Result<Self> {
        // A group of its own: Ctrl-C at the agent's terminal is for the agent alone. Its standard error goes nowhere: a
        // full pipe there could stop it.
        let mut child = Command::new("/proc/self/exe")
            .arg0("edge-agent")
            .arg(SUPERVISOR)
            .env_clear()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut link = Self { child, stdin, health: Health::new(now), pings: 0 };
        let listening = stdout.ok_or(io::ErrorKind::BrokenPipe.into()).and_then(|stdout| {
            let listen = move || listen(stdout, |heard| inbox.send(wrap(heard)).is_ok());
            thread::Builder::new().name("door-reports".into()).spawn(listen)
        });
        if let Err(error) = listening {
            link.kill();
            let _ = link.child.wait();
            return Err(error);
        }
        link.order(&Order::Start { config: Box::new(config.clone()), is_locked_down });
        Ok(link)
    }

    /// Sends an order. The pipe holds thousands, and a process that does not read is killed long before; that it has
    /// ended is heard from the other pipe.
    pub fn order(&mut self, order: &Order) {
        if let (Some(stdin), Ok(line)) = (&mut self.stdin, line(order)) {
            let _ = stdin.write_all(&line);
        }
    }

    /// Sends a ping when one is due.
    pub fn ping(&mut self, now: Instant) {
        if self.health.ping_is_due(now) {
            self.pings += 1;
            self.order(&Order::Ping(self.pings));
        }
    }

    /// Tells it to lock and end.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.stdin = None;
        // It may have ended already.
        let _ = self.child.kill();
    }

    /// How it ended. Call it once it has gone; it is killed if it only has closed its pipe.
    pub fn ended(mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

fn listen(mut stdout: ChildStdout, tell: impl Fn(Heard) -> bool) {
    let (mut lines, mut bytes) = (Lines::default(), [0; 4096]);
    loop {
        let count = match stdout.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        let reports = match lines.take(bytes.get(..count).unwrap_or_default()) {
            Ok(reports) if count > 0 => reports,
            _ => {
                tell(Heard::Gone);
                return;
            }
        };
        if !reports.into_iter().all(|report| tell(Heard::Report(report))) {
            return;
        }
    }
}

/// Whether a supervisor keeps up: pings that it has not answered, and a pulse that it should have ended.
///
/// Pings are counted and not timed, so that an agent that was stopped for an hour does not blame the supervisor.
#[derive(Clone, Debug)]
pub struct Health {
    next_ping: Instant,
    unanswered: u32,
    locks_at: Option<Instant>,
}

impl Health {
    fn new(now: Instant) -> Self {
        Self { next_ping: now, unanswered: 0, locks_at: None }
    }

    fn ping_is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next_ping <= now;
        if is_due {
            self.next_ping = now + PING_EVERY;
            self.unanswered += 1;
        }
        is_due
    }

    /// It has answered a ping.
    pub fn pong(&mut self) {
        self.unanswered = 0;
    }

    /// It has told what it keeps.
    pub fn told(&mut self, keeping: Keeping, now: Instant) {
        self.locks_at = keeping.locks_in_ms.map(|left| now + Duration::from_millis(left));
    }

    /// What is wrong with it.
    pub fn problem(&self, now: Instant) -> Option<&'static str> {
        let is_overdue = |time| self.locks_at.is_some_and(|at| at + time <= now);
        match self.unanswered {
            UNANSWERED.. => Some("it does not answer"),
            UNANSWERED_OVERDUE.. if is_overdue(OVERDUE) => {
                Some("it does not answer and has not locked in time")
            }
            _ if is_overdue(OVERDUE_LONG) => Some("it has not locked in time"),
            _ => None,
        }
    }

    /// When to look again.
    pub fn due(&self) -> Instant {
        self.next_ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASED: Keeping =
        Keeping { is_released: true, locks_in_ms: Some(500), is_open: None, is_fire: false };

    /// Milliseconds until something is wrong, looking every 10 ms. It answers pings until `silent_from`.
    fn wrong_after(told: Option<Keeping>, silent_from: u64) -> Option<u64> {
        let zero = Instant::now();
        let mut health = Health::new(zero);
        told.into_iter().for_each(|keeping| health.told(keeping, zero));
        (0..20_000).step_by(10).find(|ms| {
            let now = zero + Duration::from_millis(*ms);
            if health.ping_is_due(now) && *ms < silent_from {
                health.pong();
            }
            health.problem(now).is_some()
        })
    }

    #[test]
    fn f095_a_silent_supervisor_is_noticed_within_two_seconds() {
        assert_eq!(wrong_after(None, u64::MAX), None);
        assert_eq!(wrong_after(None, 0), Some(1_750));
    }

    #[test]
    fn f095_one_that_is_silent_with_the_lock_released_is_noticed_in_time() {
        for silent_from in [0, 100, 300, 499] {
            let noticed = wrong_after(Some(RELEASED), silent_from);
            assert!(noticed.is_some_and(|ms| ms <= 500 + 250), "{silent_from}: {noticed:?}");
        }
        assert_eq!(wrong_after(Some(RELEASED), u64::MAX), Some(2_500), "it answers and does not lock");
        let locked = Keeping { is_released: false, locks_in_ms: None, ..RELEASED };
        assert_eq!(wrong_after(Some(locked), u64::MAX), None);
    }

    #[test]
    fn an_agent_that_was_stopped_for_an_hour_does_not_blame_the_supervisor() {
        let zero = Instant::now();
        let mut health = Health::new(zero);
        health.ping_is_due(zero);
        let later = zero + Duration::from_secs(3_600);
        health.ping_is_due(later);
        assert_eq!(health.problem(later), None);
    }
}
