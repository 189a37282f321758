//! Events that humans record, and the notes beside them.
//!
//! A note is written before its event, in another database; so a crash between the two leaves a note without an event,
//! never an event that lost its note. Orphans are swept when the service opens.

use rollcall_core::{Caller, EventId, PersonId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::Db;
use rollcall_store::requests::{self, RequestId};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use crate::events::EventView;
use crate::{Attendance, AttendanceError, NewEvent, store};

/// That a person came or went, seen by a human.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ManualRecord {
    pub person_id: PersonId,
    pub direction: v1::Direction,
    /// `None`: now.
    pub at: Option<UtcInstant>,
    pub note: String,
    pub request_id: Option<RequestId>,
}

/// Whether somebody may say at `now` that it was at `at`.
fn check_time(at: UtcInstant, now: UtcInstant) -> Result<(), AttendanceError> {
    let problem = if at > now {
        "is in the future"
    } else if at < now.before(Duration::from_secs(limits::RECORD_BACK_DAYS * 86_400)) {
        "is more than 31 days ago"
    } else {
        return Ok(());
    };
    Err(AttendanceError::Field { field: "time", problem: problem.to_owned() })
}

impl ManualRecord {
    /// Tells requests apart. Without the note: a digest of free text could be guessed, and outlives its erasure.
    fn digest(&self, caller: &Caller) -> [u8; 32] {
        let at = self.at.map_or(i64::MIN, UtcInstant::micros);
        Sha256::new()
            .chain_update(caller.name())
            .chain_update(self.person_id.as_bytes())
            .chain_update(i32::from(self.direction).to_le_bytes())
            .chain_update(at.to_le_bytes())
            .finalize()
            .into()
    }
}

impl Attendance {
    /// Records that a person came or went.
    pub(crate) async fn record_manually(
        &self,
        caller: Caller,
        record: ManualRecord,
    ) -> Result<EventView, AttendanceError> {
        if let Some(at) = record.at {
            check_time(at, self.log().now())?;
        }
        if !self.people().exists(record.person_id).await.map_err(AttendanceError::Elsewhere)? {
            return Err(AttendanceError::NotFound(record.person_id.name()));
        }
        let this = self.clone();
        self.writes().run(async move { this.record(caller, record).await }).await
    }

    async fn record(&self, caller: Caller, record: ManualRecord) -> Result<EventView, AttendanceError> {
        let event_id = self.reserve(&caller, &record).await?;
        let kind = Kind::RecordedManually(v1::RecordedManually {
            person: record.person_id.name(),
            direction: record.direction.into(),
            at_us: record.at.map_or(0, UtcInstant::micros),
            by: caller.name(),
        });
        // A repeated request has the id of the first: the log writes it once.
        let has_note = !record.note.is_empty();
        match self.log().append(NewEvent { event_id, kind }).await {
            Ok(_) if has_note => self.settle_note(event_id).await?,
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        self.event(event_id).await
    }

    /// The id for the event, the same one for the same request, with the note under it.
    async fn reserve(&self, caller: &Caller, record: &ManualRecord) -> Result<EventId, AttendanceError> {
        const METHOD: &str = "RecordManually";
        let event_id = EventId::generate();
        let mut tx = self.site().write().await?;
        if let Some(request_id) = record.request_id {
            let digest = record.digest(caller);
            if let Some(known) = requests::recall(&mut tx, METHOD, request_id, &digest).await? {
                let known = EventId::try_from(&known[..]);
                return known.map_err(|_| AttendanceError::Internal("a remembered event has no id"));
            }
            let now = self.log().now();
            requests::remember(&mut tx, METHOD, request_id, &digest, event_id.as_bytes(), now).await?;
        }
        if !record.note.is_empty() {
            store::notes::insert(&mut tx, event_id, record.person_id, &record.note).await?;
        }
        tx.commit().await?;
        Ok(event_id)
    }

    /// Says that the event of a note is in the log.
    pub(crate) async fn settle_note(&self, event_id: EventId) -> Result<(), AttendanceError> {
        let mut tx = self.site().write().await?;
        store::notes::settle(&mut tx, event_id).await?;
        Ok(tx.commit().await?)
    }

    /// Removes notes whose events were never written. Called before anything else writes.
    pub(crate) async fn sweep_notes(&self) -> Result<(), AttendanceError> {
        const AT_ONCE: i64 = 1_000;
        loop {
            let mut site = self.site().write().await?;
            let unsettled = store::notes::unsettled(&mut site, AT_ONCE).await?;
            if unsettled.is_empty() {
                return Ok(());
            }
            let terminal_id = self.log().opened().terminal_id;
            let mut log = self.log().db().read().await?;
            for event_id in unsettled {
                let Ok(event_id) = EventId::try_from(&event_id[..]) else { continue };
                match store::events::find_of(&mut log, terminal_id, event_id).await? {
                    Some(_) => store::notes::settle(&mut site, event_id).await?,
                    None => store::notes::delete(&mut site, event_id).await?,
                }
            }
            site.commit().await?;
        }
    }
}

impl Attendance {
    /// Removes what this service knows of a person beside the id in the log: the notes, and other ids.
    ///
    /// # Errors
    /// As [`forget`].
    pub async fn erase(&self, person_id: PersonId) -> Result<(), AttendanceError> {
        let site = self.site().clone();
        self.writes().run(async move { forget(&site, person_id).await }).await
    }
}

/// Removes what this service knows of a person beside the id in the log: the notes, and by which other ids they were
/// known. `site` is its database.
///
/// # Errors
/// A database that does not answer; then nothing was removed.
pub async fn forget(site: &Db, person_id: PersonId) -> Result<(), AttendanceError> {
    let mut tx = site.write().await?;
    store::notes::erase(&mut tx, person_id).await?;
    store::aliases::erase(&mut tx, person_id).await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lies_at_most_a_month_back_and_never_ahead() {
        let now = UtcInstant::from_micros(1_793_552_399_000_000);
        let day = Duration::from_secs(86_400);
        assert!(check_time(now, now).is_ok());
        assert!(check_time(now.before(31 * day), now).is_ok());
        assert!(check_time(now.before(31 * day + Duration::from_micros(1)), now).is_err());
        assert!(check_time(now.after(Duration::from_micros(1)), now).is_err());
    }
}
