//! [`Attendance`]: the service, as its program holds it.

use std::sync::Arc;

use rollcall_core::limits;
use rollcall_store::{Db, Writes};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{AttendanceError, Log, People};

/// The service. A clone is another handle to the same.
#[derive(Clone)]
pub struct Attendance {
    inner: Arc<Inner>,
}

struct Inner {
    log: Log,
    site: Db,
    writes: Writes,
    people: Arc<dyn People>,
    watchers: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Attendance {
    /// The service over an open log and the site's database (`site.db`, with [`crate::SITE_MIGRATIONS`] and
    /// `rollcall_store::requests::MIGRATIONS`). The site's time zone is one of its settings.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn open(
        log: Log,
        site: Db,
        writes: Writes,
        people: Arc<dyn People>,
    ) -> Result<Self, AttendanceError> {
        let watchers = Arc::new(Semaphore::new(limits::EVENT_WATCHERS));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let attendance = Self { inner: Arc::new(Inner { log, site, writes, people, watchers, tasks, stop }) };
        attendance.sweep_notes().await?;
        Ok(attendance)
    }

    /// Events. `log().db()` reads them.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Ends every watcher and waits for them. Writes and the log are closed by whoever opened them.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Timetable, settings, notes.
    pub(crate) fn site(&self) -> &Db {
        &self.inner.site
    }

    /// Where every write runs.
    pub(crate) fn writes(&self) -> &Writes {
        &self.inner.writes
    }

    /// Who there is.
    pub(crate) fn people(&self) -> &dyn People {
        &*self.inner.people
    }

    /// One permit for each that watches.
    pub(crate) fn watchers(&self) -> &Arc<Semaphore> {
        &self.inner.watchers
    }

    /// Where watchers run.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// Cancelled when the service stops.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.inner.stop
    }
}
