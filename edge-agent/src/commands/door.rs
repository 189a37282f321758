//! `edge-agent door-safe` and `edge-agent door-try`: the door without the rest of the program.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::door::{Door, DoorState, Opener, Signal, supervisor};

/// Lines typed ahead.
const TYPED: usize = 8;

/// Options of `edge-agent door-safe`.
#[derive(clap::Args)]
pub struct SafeArgs {
    /// Configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Options of `edge-agent door-try`.
#[derive(clap::Args)]
pub struct TryArgs {
    /// Configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Begin locked down
    #[arg(long)]
    lockdown: bool,
}

/// Puts the lock into the state that it falls to without power.
pub fn make_safe(args: &SafeArgs) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.config)?;
    supervisor::make_safe(&config.door).context("the lock is not made safe")?;
    Ok(ExitCode::SUCCESS)
}

/// Takes orders from standard input, one a line, and says what happens, until the input ends.
pub fn try_out(args: &TryArgs) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.config)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let Some((door, events)) = Door::start(&config.door, args.lockdown)? else {
        anyhow::bail!("{}: there is no door in it; give [door] a driver", args.config.display());
    };
    let tried = runtime.block_on(follow(&door, events));
    door.stop();
    tried.map(|()| ExitCode::SUCCESS)
}

async fn follow(door: &Door, mut events: mpsc::Receiver<crate::door::DoorEvent>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let (typed, mut orders) = mpsc::channel(TYPED);
    // It ends with the input, or with the program.
    std::thread::Builder::new().name("door-orders".into()).spawn(move || {
        let lines = std::io::stdin().lock().lines();
        lines.map_while(Result::ok).all(|line| typed.blocking_send(line).is_ok())
    })?;
    let mut state = door.state();
    say("ready: open, welcome, another, lockdown, over or quit")?;
    say(&told(&state.borrow_and_update()))?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            order = orders.recv() => match order.as_deref().map(str::trim) {
                None | Some("quit") => return Ok(()),
                Some("open") => match door.open(Opener::Credential) {
                    Ok(()) => door.signal(Signal::Welcome),
                    Err(error) => say(&format!("not opened: {error}"))?,
                },
                Some("welcome") => door.signal(Signal::Welcome),
                Some("another") => door.signal(Signal::UseAnother),
                Some("lockdown") => door.set_lockdown(true),
                Some("over") => door.set_lockdown(false),
                Some(_) => say("not known: give open, welcome, another, lockdown, over or quit")?,
            },
            Some(event) = events.recv() => say(&format!("event: {event:?}"))?,
            Ok(()) = state.changed() => {
                let line = told(&state.borrow_and_update());
                say(&line)?;
            }
        }
    }
}

fn told(state: &DoorState) -> String {
    let keeping = state.keeping;
    let door = keeping.is_open.map_or("no contact", |is_open| if is_open { "open" } else { "closed" });
    let mut words = vec![if keeping.is_released { "released" } else { "locked" }, door];
    words.extend(keeping.is_fire.then_some("fire"));
    words.extend(state.is_locked_down.then_some("locked down"));
    let problem = state.problem.as_deref().filter(|_| !state.is_kept);
    let mut line = format!("door: {}", words.join(", "));
    if let Some(problem) = problem {
        line += &format!("; {problem}");
    }
    line
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
