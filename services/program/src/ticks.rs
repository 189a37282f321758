//! What happens by itself: faces follow the gallery, consents end by their date, registers close.

use std::sync::Arc;
use std::time::Duration;

use rollcall_attendance::{Attendance, Clock as _, Quality, SystemClock};
use rollcall_core::{Fault, UtcInstant};
use rollcall_gallery::Gallery;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// A consent ends, and a register closes, so much later at most.
const TICK: Duration = Duration::from_secs(30);

/// Starts all of it, until `stop`.
pub fn start(
    gallery: &Gallery,
    attendance: &Attendance,
    clock: &Arc<SystemClock>,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (faces, stopped) = (gallery.clone(), stop.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = faces.follow_faces() => {}
            () = stopped.cancelled() => {}
        }
    });
    let (gallery, attendance, stopped) = (gallery.clone(), attendance.clone(), stop.clone());
    let clock = Arc::clone(clock);
    tasks.spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Nobody's consent ends by a clock that was not set.
                _ = ticks.tick() => if clock.read().quality != Quality::Unset {
                    tick(&gallery, &attendance).await;
                },
                () = stopped.cancelled() => return,
            }
        }
    });
    tasks
}

/// What fails is tried again with the next tick.
async fn tick(gallery: &Gallery, attendance: &Attendance) {
    let now = UtcInstant::now();
    if let Err(error) = gallery.expire(now).await {
        tracing::warn!(error = error.fault().reason.as_str(), "consents could not be ended by their date");
    }
    if let Err(error) = follow_zone(gallery, attendance, now).await {
        tracing::warn!(error = error.reason.as_str(), "the gallery could not follow the site's time zone");
    }
    if let Err(error) = attendance.close_due(now).await {
        tracing::warn!(error = error.fault().reason.as_str(), "registers could not be closed");
    }
}

/// The site's zone can be changed over the API; consents end by it.
async fn follow_zone(gallery: &Gallery, attendance: &Attendance, now: UtcInstant) -> Result<(), Fault> {
    let zone = attendance.zone().await.map_err(|error| error.fault())?;
    if zone != gallery.zone() {
        gallery.set_zone(zone, now).await.map_err(|error| error.fault())?;
    }
    Ok(())
}
