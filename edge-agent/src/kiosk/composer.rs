//! One task that follows what the terminal knows and makes of it the text that every viewer gets: at most ten a second,
//! and none while nothing changes.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::{SiteZone, UtcInstant, limits};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::state::{Moment, State};
use super::texts::Texts;
use crate::enrolment::Guiding;
use crate::entrance::{Announcement, Status};
use crate::recognition::View;

/// What it follows.
pub(super) struct Watched {
    pub view: watch::Receiver<View>,
    pub announcement: watch::Receiver<Option<Announcement>>,
    pub status: watch::Receiver<Status>,
    pub zone: watch::Receiver<SiteZone>,
    pub enrolment: watch::Receiver<Option<Guiding>>,
}

/// So often it looks at the clock.
const TICK: Duration = Duration::from_millis(500);

/// Runs until one of what it follows is gone: the program ends.
pub(super) async fn run(mut watched: Watched, texts: Arc<Texts>, page: String, out: watch::Sender<Arc<str>>) {
    let mut news = News::default();
    loop {
        let latest = watched.announcement.borrow_and_update().clone();
        let age = news.age(latest.as_ref(), Instant::now());
        let text = {
            let (view, status, zone, enrolment) = (
                watched.view.borrow_and_update(),
                watched.status.borrow_and_update(),
                watched.zone.borrow_and_update(),
                watched.enrolment.borrow_and_update(),
            );
            let moment = Moment {
                now: UtcInstant::now(),
                zone: &zone,
                view: &view,
                announcement: latest.as_ref().map(|announcement| (announcement, age)),
                status: &status,
                enrolment: enrolment.as_ref(),
            };
            serde_json::to_string(&State::compose(&moment, &texts, &page))
        };
        match text {
            Ok(text) => {
                out.send_if_modified(|sent| {
                    let is_new = **sent != *text;
                    if is_new {
                        *sent = text.into();
                    }
                    is_new
                });
            }
            Err(error) => tracing::error!(%error, "the screen's state could not be written"),
        }
        sleep(Duration::from_millis(limits::KIOSK_STATE_INTERVAL_MS)).await;
        let changed = tokio::select! {
            changed = watched.view.changed() => changed,
            changed = watched.announcement.changed() => changed,
            changed = watched.status.changed() => changed,
            changed = watched.zone.changed() => changed,
            changed = watched.enrolment.changed() => changed,
            () = sleep(TICK) => Ok(()),
        };
        if changed.is_err() {
            return;
        }
    }
}

/// For how long the latest announcement has been there, by the monotonic clock: the wall clock may jump.
#[derive(Default)]
struct News {
    seen: Option<(u64, Instant)>,
}

impl News {
    fn age(&mut self, latest: Option<&Announcement>, now: Instant) -> Duration {
        let number = latest.map(|announcement| announcement.number);
        if self.seen.map(|(number, _)| number) != number {
            self.seen = number.map(|number| (number, now));
        }
        self.seen.map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(at))
    }
}
