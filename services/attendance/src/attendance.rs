//! [`Attendance`]: the service, as its program holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollcall_core::limits;
use rollcall_store::{Db, Writes};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{AttendanceError, Doors, Log, People};

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
    doors: Arc<dyn Doors>,
    tmp: PathBuf,
    turn: Semaphore,
    exports: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Attendance {
    /// The service over an open log and the site's database (`site.db`, with [`crate::SITE_MIGRATIONS`] and
    /// `rollcall_store::requests::MIGRATIONS`). Spreadsheets in the making are in the folder `tmp`, without a name: they
    /// are gone when they are no longer needed, and when the program is killed. The site's time zone is one of its
    /// settings.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn open(
        log: Log,
        site: Db,
        writes: Writes,
        people: Arc<dyn People>,
        doors: Arc<dyn Doors>,
        tmp: PathBuf,
    ) -> Result<Self, AttendanceError> {
        let inner = Inner {
            log,
            site,
            writes,
            people,
            doors,
            tmp,
            turn: Semaphore::new(1),
            exports: Arc::new(Semaphore::new(limits::EXPORTS)),
            watchers: Arc::new(Semaphore::new(limits::EVENT_WATCHERS)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let attendance = Self { inner: Arc::new(inner) };
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

    /// How far the doors have reported.
    pub(crate) fn doors(&self) -> &dyn Doors {
        &*self.inner.doors
    }

    /// Where spreadsheets are made.
    pub(crate) fn tmp(&self) -> &Path {
        &self.inner.tmp
    }

    /// Whose turn it is to change a register: one at a time reads a mark, decides, and appends an event. Taken inside
    /// a write, which runs to its end.
    pub(crate) fn turn(&self) -> &Semaphore {
        &self.inner.turn
    }

    /// Exports that may run at once.
    pub(crate) fn exports(&self) -> &Arc<Semaphore> {
        &self.inner.exports
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
