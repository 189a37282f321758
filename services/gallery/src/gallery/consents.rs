//! Consent, and what ends with it.

use rollcall_core::{ConsentId, PersonId, UtcInstant, limits};
use rollcall_store::{Engine, Tx};

use super::{Gallery, Retry, retry};
use crate::consent::{Consent, Said};
use crate::store::{changes, consents, id, people, rows, templates};
use crate::{ConsentState, GalleryError};

/// People whose standing is looked at in one transaction.
const BATCH: i64 = 200;

impl Gallery {
    /// Adds a line to a person's ledger. If consent is no longer in force by it, templates and kept pictures are gone
    /// when it returns.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`], [`GalleryError::Erased`], a line that cannot be, a full ledger.
    pub async fn record_consent(
        &self,
        person: PersonId,
        said: Said,
        recorded_by: String,
        retry: Option<Retry>,
        now: UtcInstant,
    ) -> Result<Consent, GalleryError> {
        let said = said.checked()?;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            if let Some(known) = retry::recall(&mut tx, retry.as_ref()).await? {
                let consent = consents::get(&mut tx, id(&known, "a request")?).await?;
                // Only the removal of a person takes a line away.
                return consent.ok_or(GalleryError::Erased(person));
            }
            people::leave_day(&mut tx, person).await?;
            let line = consents::last_line(&mut tx, person).await? + 1;
            if usize::try_from(line).unwrap_or(usize::MAX) > limits::CONSENT_LINES {
                let limit = limits::CONSENT_LINES;
                return Err(GalleryError::Limit { what: "lines in one consent ledger", limit });
            }
            let consent = Consent { id: ConsentId::generate(), said, recorded: now, recorded_by };
            consents::insert(&mut tx, person, line, &consent).await?;
            retry::remember(&mut tx, retry.as_ref(), consent.id.as_bytes(), now).await?;
            gallery.settle(&mut tx, person, now).await?;
            changes::record(&mut tx, person, false, now).await?;
            gallery.commit(tx).await?;
            Ok(consent)
        };
        self.shared.writes.run(write).await
    }

    /// At most `limit` lines of a person's ledger after the one with this number, with their numbers, and what the
    /// whole ledger amounts to.
    pub(crate) async fn consents(
        &self,
        person: PersonId,
        after: i64,
        limit: usize,
        now: UtcInstant,
    ) -> Result<(Vec<(i64, Consent)>, ConsentState), GalleryError> {
        let mut tx = self.shared.db.read().await?;
        let standing = consents::face_until(&mut tx, person, &self.zone(), now).await.map_err(hidden)?;
        Ok((consents::page(&mut tx, person, after, limit).await?, standing.state))
    }

    /// Ends what has ended by its date: templates and kept pictures of people whose consent or last day is over. To be
    /// called at least every minute, with a clock that is known to be right. Removes also what an erasure could not
    /// remove when it was made.
    ///
    /// # Errors
    /// When the database does not answer; then the next call goes on.
    pub async fn expire(&self, now: UtcInstant) -> Result<(), GalleryError> {
        loop {
            let gallery = self.clone();
            let write = async move {
                let mut tx = gallery.begin_upkeep().await?;
                let ended = consents::ended(&mut tx, now, BATCH).await?;
                for person in &ended {
                    gallery.settle(&mut tx, *person, now).await?;
                    changes::record(&mut tx, *person, false, now).await?;
                }
                gallery.commit(tx).await?;
                Ok::<_, GalleryError>(ended.is_empty())
            };
            if self.shared.writes.run(write).await? {
                break;
            }
        }
        if self.shared.db.engine() == Engine::Postgres {
            // Another process may have erased somebody.
            self.keep_away(now).await?;
        }
        self.sweep(now).await
    }

    /// Brings what hangs on a person's consent in line with it: no templates without it, and when to look again. In the
    /// transaction of whatever may have changed it; the caller notes the change. Whether anything is other than before.
    pub(super) async fn settle(
        &self,
        tx: &mut Tx,
        person: PersonId,
        now: UtcInstant,
    ) -> Result<bool, GalleryError> {
        let standing = consents::face_until(tx, person, &self.zone(), now).await?;
        let removed = if standing.allows_face() { 0 } else { templates::delete_of(tx, person).await? };
        if removed > 0 && !self.is_hub() {
            // What a hub told of them has the templates too. At a hub the row is made anew at the commit.
            rows::blank(tx, person).await?;
        }
        let moved = consents::set_standing(tx, person, standing.until).await?;
        Ok(moved || removed > 0)
    }

    /// Settles everybody with a ledger, when the zone is not the one that was reckoned in before.
    pub(super) async fn reckon_in(&self, zone: String, now: UtcInstant) -> Result<(), GalleryError> {
        let mut tx = self.begin_upkeep().await?;
        let before = changes::set_zone(&mut tx, &zone).await?;
        if before.as_ref() == Some(&zone) {
            return Ok(());
        }
        let mut last = None;
        loop {
            let people = consents::with_ledger(&mut tx, last, BATCH).await?;
            let Some(newest) = people.last() else { break };
            last = Some(*newest);
            for person in people {
                if self.settle(&mut tx, person, now).await? {
                    changes::record(&mut tx, person, false, now).await?;
                }
            }
        }
        if self.is_hub() {
            // Their last day ends at another moment, which their terminals are to be told.
            let leaving = rows::leaving(&mut tx).await?;
            changes::record_many(&mut tx, &leaving, false, now).await?;
        }
        self.commit(tx).await
    }
}

/// Who only reads is not told that somebody was erased.
fn hidden(error: GalleryError) -> GalleryError {
    match error {
        GalleryError::Erased(person) => GalleryError::NotFound { name: person.name() },
        error => error,
    }
}
