//! [`Attendance`]: the service, as its program holds it.

use std::sync::Arc;

use rollcall_store::{Db, Writes};

use crate::{Log, People};

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
}

impl Attendance {
    /// The service over an open log and the site's database (`site.db`, with [`crate::SITE_MIGRATIONS`]). The site's time zone is one
    /// of its settings.
    pub fn new(log: Log, site: Db, writes: Writes, people: Arc<dyn People>) -> Self {
        Self { inner: Arc::new(Inner { log, site, writes, people }) }
    }

    /// Events. `log().db()` reads them.
    pub(crate) fn log(&self) -> &Log {
        &self.inner.log
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
}
