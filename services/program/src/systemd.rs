//! What systemd is told, where it has started this program: that it is ready, that it stops, and that it is alive.
//!
//! Alive means that calls are answered and whatever else the program says of itself, such as that the thread which
//! recognises people goes round. A hang lets the watchdog end the program, and systemd starts it again.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// It serves.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// It was asked to stop.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Tells that the program is alive as long as `is_alive` says so, until `stop`.
pub fn keep_alive(
    tasks: &mut JoinSet<()>,
    stop: CancellationToken,
    is_alive: impl Fn() -> bool + Send + 'static,
) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| *patience >= Duration::from_secs(1))
    else {
        return;
    };
    tasks.spawn(async move {
        let mut ticks = interval(patience / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => if is_alive() {
                    tell(NotifyState::Watchdog);
                },
                () = stop.cancelled() => return,
            }
        }
    });
}

/// Without systemd nobody listens, which is fine.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
