//! "That was not this person": reports of wrong recognitions, which change the next decision.

use rollcall_core::{MismatchId, PersonId, UtcInstant};
use rollcall_store::Tx;
use rollcall_store::requests::{self, RequestId};

use super::Gallery;
use super::enrolment::demand_person;
use crate::GalleryError;
use crate::decide::{Outcome, REPORTED_THRESHOLD_MAX, reported_threshold};
use crate::store::mismatches::{self, Mismatch};
use crate::store::{self, changes};

/// The method that request ids belong to.
const METHOD: &str = "ReportMismatch";

/// What a report rests on.
#[derive(Clone, Debug)]
pub(crate) enum Evidence {
    /// The score in the trace of the wrong recognition.
    Score(f32),
    /// A picture on which the person is recognised wrongly.
    Picture(Vec<u8>),
}

/// A report before its evidence was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) person: PersonId,
    pub(crate) actual: Option<PersonId>,
    pub(crate) evidence: Evidence,
    pub(crate) reported_by: String,
}

/// The request id of a report, and the digest that tells requests apart.
pub(crate) type RequestKey = (RequestId, [u8; 32]);

impl Gallery {
    /// Takes a report in: from its commit on a face that fits no better is not taken for that person.
    pub(crate) async fn report_mismatch(
        &self,
        report: Report,
        request_id: Option<RequestId>,
        now: UtcInstant,
    ) -> Result<Mismatch, GalleryError> {
        let request = request_id.map(|id| (id, self.digest(&report)));
        if let Some(known) = self.known_report(request).await? {
            return Ok(known);
        }
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
        self.shared.writes.run(async move { gallery.store_mismatch(mismatch, request, now).await }).await
    }

    async fn store_mismatch(
        &self,
        mismatch: Mismatch,
        request: Option<RequestKey>,
        now: UtcInstant,
    ) -> Result<Mismatch, GalleryError> {
        let mut tx = self.begin().await?;
        if let Some(known) = recall(&mut tx, request).await? {
            return Ok(known);
        }
        demand_person(&mut tx, mismatch.person).await?;
        if let Some(actual) = mismatch.actual {
            demand_person(&mut tx, actual).await?;
        }
        mismatches::insert(&mut tx, &mismatch).await?;
        changes::record(&mut tx, mismatch.person, false, now).await?;
        if let Some((id, digest)) = request {
            requests::remember(&mut tx, METHOD, id, &digest, mismatch.mismatch.as_bytes(), now).await?;
        }
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
        picture: Vec<u8>,
        now: UtcInstant,
    ) -> Result<f32, GalleryError> {
        let seen = self.identify(picture, now).await?;
        let taken = seen.faces.iter().filter(|(_, decision)| decision.outcome == Outcome::Recognised(person));
        let score = taken.filter_map(|(_, decision)| decision.trace.score).reduce(f32::max);
        let name = person.name();
        score.ok_or_else(|| GalleryError::State(format!("nobody on the picture is taken for {name}")))
    }

    /// The report that was made with this request id.
    async fn known_report(&self, request: Option<RequestKey>) -> Result<Option<Mismatch>, GalleryError> {
        match request {
            Some(_) => {
                let mut tx = self.shared.db.read().await?;
                recall(&mut tx, request).await
            }
            None => Ok(None),
        }
    }

    /// Keyed, because a picture is personal data.
    fn digest(&self, report: &Report) -> [u8; 32] {
        let actual = report.actual.map(PersonId::to_bytes).unwrap_or_default();
        let evidence = match &report.evidence {
            Evidence::Score(score) => score.to_le_bytes().to_vec(),
            Evidence::Picture(picture) => picture.clone(),
        };
        self.shared.keys.requests.mac(&[report.person.as_bytes(), &actual, &evidence])
    }
}

async fn recall(tx: &mut Tx, request: Option<RequestKey>) -> Result<Option<Mismatch>, GalleryError> {
    let Some((id, digest)) = request else { return Ok(None) };
    let Some(response) = requests::recall(tx, METHOD, id, &digest).await? else { return Ok(None) };
    let mismatch: MismatchId = store::id(&response, "a request")?;
    let known = mismatches::get(tx, mismatch).await?;
    // It was taken back meanwhile, or its person erased.
    known.map(Some).ok_or_else(|| GalleryError::NotFound { name: mismatch.name() })
}
