//! "That was not this person": reports of wrong recognitions, which change the next decision.

use prost::bytes::Bytes;
use rollcall_core::{MismatchId, PersonId, UtcInstant};
use rollcall_store::Tx;

use super::Gallery;
use super::enrolment::demand_person;
use super::retry::{self, Retry};
use crate::GalleryError;
use crate::decide::{Outcome, REPORTED_THRESHOLD_MAX, reported_threshold};
use crate::store::mismatches::{self, Mismatch};
use crate::store::{self, changes};

/// What a report rests on.
#[derive(Clone, Debug)]
pub(crate) enum Evidence {
    /// The score in the trace of the wrong recognition.
    Score(f32),
    /// A picture on which the person is recognised wrongly.
    Picture(Bytes),
}

/// A report before its evidence was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) person: PersonId,
    pub(crate) actual: Option<PersonId>,
    pub(crate) evidence: Evidence,
    pub(crate) reported_by: String,
}

impl Gallery {
    /// Takes a report in: from its commit on a face that fits no better is not taken for that person.
    pub(crate) async fn report_mismatch(
        &self,
        report: Report,
        retry: Option<Retry>,
        now: UtcInstant,
    ) -> Result<Mismatch, GalleryError> {
        let mut tx = self.read_to_change().await?;
        if retry.is_some()
            && let Some(known) = recall(&mut tx, retry.as_ref()).await?
        {
            return Ok(known);
        }
        drop(tx);
        let score = match report.evidence {
            Evidence::Score(score) => score,
            Evidence::Picture(picture) => self.wrong_score(report.person, picture, now).await?,
        };
        if score >= REPORTED_THRESHOLD_MAX && report.actual.is_none() {
            return Err(GalleryError::State(format!(
                "a face that scores {score:.2} is as good as the person's own; was a picture of somebody else \
                 enrolled? Delete that template, or say who it was"
            )));
        }
        let mismatch = Mismatch {
            mismatch: MismatchId::generate(),
            person: report.person,
            actual: report.actual,
            score,
            threshold: reported_threshold(score),
            reported: now,
            reported_by: report.reported_by,
        };
        let gallery = self.clone();
        self.shared
            .writes
            .run(async move { gallery.store_mismatch(mismatch, retry.as_ref(), now).await })
            .await
    }

    async fn store_mismatch(
        &self,
        mismatch: Mismatch,
        retry: Option<&Retry>,
        now: UtcInstant,
    ) -> Result<Mismatch, GalleryError> {
        let mut tx = self.begin().await?;
        if let Some(known) = recall(&mut tx, retry).await? {
            return Ok(known);
        }
        demand_person(&mut tx, mismatch.person).await?;
        if let Some(actual) = mismatch.actual {
            demand_person(&mut tx, actual).await?;
        }
        mismatches::insert(&mut tx, &mismatch).await?;
        changes::record(&mut tx, mismatch.person, false, now).await?;
        retry::remember(&mut tx, retry, mismatch.mismatch.as_bytes(), now).await?;
        self.commit(tx).await?;
        Ok(mismatch)
    }

    /// The reports before the one with this key, newest first.
    pub(crate) async fn mismatches(
        &self,
        before: (i64, &[u8]),
        count: i64,
    ) -> Result<Vec<Mismatch>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        mismatches::page(&mut tx, before, count).await
    }

    /// Takes a report back.
    pub(crate) async fn delete_mismatch(
        &self,
        mismatch: MismatchId,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let gallery = self.clone();
        let delete = async move {
            let mut tx = gallery.begin().await?;
            let Some(reported) = mismatches::get(&mut tx, mismatch).await? else {
                return Err(GalleryError::NotFound { name: mismatch.name() });
            };
            mismatches::delete(&mut tx, mismatch).await?;
            changes::record(&mut tx, reported.person, false, now).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(delete).await
    }

    /// What a face on the picture scores that is taken for this person.
    async fn wrong_score(
        &self,
        person: PersonId,
        picture: Bytes,
        now: UtcInstant,
    ) -> Result<f32, GalleryError> {
        let seen = self.identify(picture, now).await?;
        let taken = seen.faces.iter().filter(|(_, decision)| decision.outcome == Outcome::Recognised(person));
        let score = taken.filter_map(|(_, decision)| decision.trace.score).reduce(f32::max);
        let name = person.name();
        score.ok_or_else(|| GalleryError::State(format!("nobody on the picture is taken for {name}")))
    }
}

async fn recall(tx: &mut Tx, retry: Option<&Retry>) -> Result<Option<Mismatch>, GalleryError> {
    let Some(response) = retry::recall(tx, retry).await? else { return Ok(None) };
    let mismatch: MismatchId = store::id(&response, "a request")?;
    let known = mismatches::get(tx, mismatch).await?;
    // It was taken back meanwhile, or its person erased.
    known.map(Some).ok_or_else(|| GalleryError::NotFound { name: mismatch.name() })
}
