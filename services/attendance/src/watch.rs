//! Watching events: what is stored, then what is being stored.
//!
//! A watcher reads pages from the database, like a list, until there is nothing new; then it waits for the log's writer
//! to tell of more, or for [`limits::WATCH_POLL_MS`] where another process may have written. So nothing is passed from
//! memory, and whatever a watcher missed is still there when it comes again with its cursor.

use std::time::Duration;

use rollcall_core::limits;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::events::{EventList, EventView, feed};
use crate::store::events::EventFilter;
use crate::{Attendance, AttendanceError};

/// Events, and where to read on after them.
#[derive(Debug)]
pub(crate) struct Watched {
    pub events: Vec<EventView>,
    pub cursor: String,
}

type Sender = mpsc::Sender<Result<Watched, AttendanceError>>;

impl Attendance {
    /// Begins to watch the events after a cursor. "now" is after the newest.
    pub(crate) async fn watch_events(
        &self,
        cursor: &str,
        filter: EventFilter,
    ) -> Result<mpsc::Receiver<Result<Watched, AttendanceError>>, AttendanceError> {
        let place = self.watchers().clone().try_acquire_owned().map_err(|_| AttendanceError::WatchersFull)?;
        let cursor = self.checked(cursor).await?;
        // One message waits while the next is read: a slow reader holds no more than these.
        let (sender, receiver) = mpsc::channel(1);
        let this = self.clone();
        self.tasks().spawn(async move {
            let _place = place;
            let stop = this.stopping().clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = this.watch(cursor, filter, &sender) => {}
            }
        });
        Ok(receiver)
    }

    /// The cursor, if it is one of this feed.
    async fn checked(&self, cursor: &str) -> Result<String, AttendanceError> {
        let mut tx = self.log().db().read().await?;
        let feed = feed(&mut tx).await?;
        let position = if cursor == "now" { feed.position } else { feed.position_of(cursor)? };
        Ok(feed.cursor(position))
    }

    async fn watch(&self, mut cursor: String, filter: EventFilter, sender: &Sender) {
        let mut positions = self.log().positions();
        let mut spoke = Instant::now();
        loop {
            positions.mark_unchanged();
            let list = match self.list_events(&cursor, &filter, limits::WATCH_PAGE).await {
                Ok(list) => list,
                Err(error) => {
                    send(sender, Err(error)).await;
                    return;
                }
            };
            let EventList { events, next_cursor, more } = list;
            cursor = next_cursor;
            let is_silent = spoke.elapsed() >= Duration::from_secs(limits::WATCH_HEARTBEAT_SECONDS);
            if !events.is_empty() || is_silent {
                if !send(sender, Ok(Watched { events, cursor: cursor.clone() })).await {
                    return;
                }
                spoke = Instant::now();
            }
            if !more && !wait(&mut positions, sender).await {
                return;
            }
        }
    }
}

/// Gives a message to the reader. Returns whether there still is one, which reads fast enough.
async fn send(sender: &Sender, message: Result<Watched, AttendanceError>) -> bool {
    let patience = Duration::from_secs(limits::WATCH_SEND_PATIENCE_SECONDS);
    matches!(timeout(patience, sender.send(message)).await, Ok(Ok(())))
}

/// Waits until there may be more. Returns whether the reader is still there.
async fn wait(positions: &mut watch::Receiver<i64>, sender: &Sender) -> bool {
    tokio::select! {
        () = sender.closed() => false,
        changed = positions.changed() => changed.is_ok(),
        () = tokio::time::sleep(Duration::from_millis(limits::WATCH_POLL_MS)) => true,
    }
}
