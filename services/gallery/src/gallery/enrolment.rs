//! Enrolment: from a picture to a template, or to a refusal that is remembered.
//!
//! The picture is read before the transaction, judged in it. There consent is asked for again, the faces are brought up
//! to date, and template, kept picture, verdict and change are written as one: a crash leaves all or nothing, and of two
//! who offer the same face under two names at once the second is told of the first.

use std::sync::Arc;

use prost::bytes::Bytes;
use rollcall_core::{PersonId, TemplateId, UtcInstant, limits};
use rollcall_store::Tx;
use rollcall_vision::{Embedding, Quality};
use sha2::{Digest as _, Sha256};

use super::Gallery;
use crate::enrol::{self, Judgement, Likeness, Verdict};
use crate::recognise::{Portrait, checked_size, read_portrait};
use crate::recogniser::{PICTURE_TABLE, Recogniser, TEMPLATE_TABLE, off_runtime};
use crate::store::enrolments::{self, Enrolment};
use crate::store::templates::{self, NewTemplate, Template};
use crate::store::{changes, consents, people};
use crate::{GalleryError, RecogniseError};

/// How a picture is enrolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnrolOptions {
    /// Judge only: store nothing.
    pub validate_only: bool,
    /// Enrol although the face looks like somebody else's.
    pub accept_look_alike: bool,
}

/// What became of a picture, and the template when one was made.
#[derive(Clone, Debug)]
pub(crate) struct Enrolled {
    pub(crate) enrolment: Enrolment,
    pub(crate) template: Option<Template>,
}

/// A picture that was read.
struct Offer {
    person: PersonId,
    picture: Bytes,
    picture_sha256: [u8; 32],
    portrait: Portrait,
    accept_look_alike: bool,
}

impl Gallery {
    /// Whether templates of this person may be made at `now`: to be asked before they are looked at.
    ///
    /// # Errors
    /// [`GalleryError::ConsentMissing`]; no such person; the database.
    pub async fn may_enrol(&self, person: PersonId, now: UtcInstant) -> Result<(), GalleryError> {
        let mut tx = self.read_to_change().await?;
        self.demand_consent(&mut tx, person, now).await
    }

    /// Makes a template of the one face on a picture, if there is consent and the face is good enough.
    pub(crate) async fn enrol_picture(
        &self,
        person: PersonId,
        picture: Bytes,
        options: EnrolOptions,
        now: UtcInstant,
    ) -> Result<Enrolled, GalleryError> {
        let recogniser = Arc::clone(self.recogniser()?);
        checked_size(&picture)?;
        let hashed = picture.clone();
        let picture_sha256 = off_runtime(move || Sha256::digest(&hashed).into()).await?;
        let mut tx = self.read_to_change().await?;
        self.demand_consent(&mut tx, person, now).await?;
        let remembered = recall(&mut tx, &recogniser, person, &picture_sha256, options.accept_look_alike);
        if let Some(remembered) = remembered.await?.filter(|_| !options.validate_only) {
            return Ok(remembered);
        }
        drop(tx);
        let bytes = picture.clone();
        let portrait = recogniser.inference().run(move |reader| read_portrait(reader, &bytes)).await?;
        let accept_look_alike = options.accept_look_alike;
        let offer = Offer { person, picture, picture_sha256, portrait, accept_look_alike };
        if options.validate_only {
            let mut tx = self.shared.db.read().await?;
            recogniser.catch_up(&mut tx).await?;
            let judgement = judge(&recogniser, &offer, now).await?;
            return Ok(Enrolled { enrolment: offer.enrolment(judgement, None, now), template: None });
        }
        let gallery = self.clone();
        self.shared.writes.run(async move { gallery.store(&recogniser, offer, now).await }).await
    }

    async fn store(
        &self,
        recogniser: &Arc<Recogniser>,
        offer: Offer,
        now: UtcInstant,
    ) -> Result<Enrolled, GalleryError> {
        let mut tx = self.begin().await?;
        self.demand_consent(&mut tx, offer.person, now).await?;
        let remembered =
            recall(&mut tx, recogniser, offer.person, &offer.picture_sha256, offer.accept_look_alike);
        if let Some(remembered) = remembered.await? {
            return Ok(remembered);
        }
        recogniser.catch_up(&mut tx).await?;
        let judgement = judge(recogniser, &offer, now).await?;
        let made = match (&offer.portrait.embedding, offer.portrait.quality) {
            (Ok(embedding), Some(quality)) if judgement.verdict == Verdict::Enrolled => {
                Some(make(&mut tx, recogniser, &offer, embedding, quality, now).await?)
            }
            _ => None,
        };
        let template = made.as_ref().map(|template| template.template);
        let enrolment = offer.enrolment(judgement, template, now);
        enrolments::put(&mut tx, offer.person, recogniser.model_hash(), &enrolment).await?;
        if made.is_some() {
            changes::record(&mut tx, offer.person, false, now).await?;
        }
        self.commit(tx).await?;
        Ok(Enrolled { enrolment, template: made })
    }

    /// The person's templates, oldest first.
    pub(crate) async fn templates(&self, person: PersonId) -> Result<Vec<Template>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        demand_person(&mut tx, person).await?;
        templates::list(&mut tx, person).await
    }

    /// Removes one template, the picture kept with it, and the verdicts that rest on it: the same picture may be
    /// offered again.
    pub(crate) async fn delete_template(
        &self,
        person: PersonId,
        template: TemplateId,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let gallery = self.clone();
        let delete = async move {
            let mut tx = gallery.begin().await?;
            let unlike_others = enrolments::number(Verdict::UnlikeOthers);
            if !templates::delete(&mut tx, person, template, unlike_others).await? {
                return Err(GalleryError::NotFound {
                    name: format!("{}/{}", person.name(), template.name()),
                });
            }
            changes::record(&mut tx, person, false, now).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(delete).await
    }

    /// The verdicts on a person's pictures after the one with this key, oldest first.
    pub(crate) async fn enrolments(
        &self,
        person: PersonId,
        after: (i64, &[u8]),
        count: i64,
    ) -> Result<Vec<Enrolment>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        demand_person(&mut tx, person).await?;
        enrolments::page(&mut tx, person, after, count).await
    }

    async fn demand_consent(
        &self,
        tx: &mut Tx,
        person: PersonId,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let standing = consents::face_until(tx, person, &self.zone(), now).await?;
        match standing.allows_face() {
            true => Ok(()),
            false => Err(GalleryError::ConsentMissing { person, state: standing.state.word() }),
        }
    }
}

impl Offer {
    fn enrolment(&self, judgement: Judgement, template: Option<TemplateId>, now: UtcInstant) -> Enrolment {
        Enrolment {
            picture_sha256: self.picture_sha256,
            judgement,
            bounds: self.portrait.face.map(|face| face.bounds),
            quality: self.portrait.quality,
            template,
            recorded: now,
        }
    }
}

/// The person, or why there is none.
pub(super) async fn demand_person(tx: &mut Tx, person: PersonId) -> Result<(), GalleryError> {
    people::leave_day(tx, person).await.map(|_| ())
}

/// What became of the picture when it was offered before, if that still answers.
async fn recall(
    tx: &mut Tx,
    recogniser: &Recogniser,
    person: PersonId,
    picture_sha256: &[u8; 32],
    accept_look_alike: bool,
) -> Result<Option<Enrolled>, GalleryError> {
    let remembered = enrolments::recall(tx, person, picture_sha256, recogniser.model_hash()).await?;
    let answers =
        |enrolment: &Enrolment| enrol::still_answers(enrolment.judgement.verdict, accept_look_alike);
    let Some(enrolment) = remembered.filter(answers) else { return Ok(None) };
    let template = match enrolment.template {
        Some(made) => templates::list(tx, person).await?.into_iter().find(|one| one.template == made),
        None => None,
    };
    Ok(Some(Enrolled { enrolment, template }))
}

async fn judge(
    recogniser: &Arc<Recogniser>,
    offer: &Offer,
    now: UtcInstant,
) -> Result<Judgement, GalleryError> {
    let embedding = match &offer.portrait.embedding {
        Ok(embedding) => embedding.clone(),
        Err(judgement) => return Ok(judgement.clone()),
    };
    let (recogniser, person) = (Arc::clone(recogniser), offer.person);
    let accept_look_alike = offer.accept_look_alike;
    let judged = off_runtime(move || {
        let thresholds = recogniser.thresholds();
        let others = recogniser.compare(&embedding, Some(person), now)?;
        let own = recogniser.faces().index().score(person, &embedding)?;
        Ok::<_, RecogniseError>(enrol::judge(&Likeness {
            other: others.best.map(|best| best.candidate),
            own,
            duplicate: thresholds.duplicate,
            unlike: thresholds.unlike,
            accept_look_alike,
        }))
    });
    Ok(judged.await??)
}

/// Writes the template and, where the site keeps them, the picture.
async fn make(
    tx: &mut Tx,
    recogniser: &Arc<Recogniser>,
    offer: &Offer,
    embedding: &Embedding,
    quality: Quality,
    now: UtcInstant,
) -> Result<Template, GalleryError> {
    demand_room(tx, recogniser, offer.person).await?;
    let template = TemplateId::generate();
    let place = recogniser.place(TEMPLATE_TABLE, offer.person, template.as_bytes());
    let sealed = recogniser.seal().seal_embedding(place, embedding).map_err(RecogniseError::from)?;
    let new = NewTemplate {
        template,
        person: offer.person,
        model_hash: recogniser.model_hash(),
        model: recogniser.model(),
        sealed: &sealed,
        quality,
        created: now,
    };
    templates::insert(tx, &new).await?;
    let picture_kept = recogniser.options().keep_pictures;
    if picture_kept {
        let (sealing, person, picture) = (Arc::clone(recogniser), offer.person, offer.picture.clone());
        let sealed = off_runtime(move || {
            let place = sealing.place(PICTURE_TABLE, person, template.as_bytes());
            sealing.seal().seal(place, &picture)
        });
        let sealed = sealed.await?.map_err(RecogniseError::from)?;
        templates::keep_picture(tx, template, &sealed).await?;
    }
    let model = recogniser.model().to_string();
    Ok(Template { template, model, quality, created: now, picture_kept })
}

async fn demand_room(tx: &mut Tx, recogniser: &Recogniser, person: PersonId) -> Result<(), GalleryError> {
    let own = templates::count(tx, person).await?;
    if own >= limits::TEMPLATES_PER_PERSON as i64 {
        return Err(GalleryError::Limit {
            what: "templates of one person",
            limit: limits::TEMPLATES_PER_PERSON,
        });
    }
    match recogniser.faces().index().template_count() < limits::GALLERY_TEMPLATES {
        true => Ok(()),
        false => Err(GalleryError::Limit { what: "templates", limit: limits::GALLERY_TEMPLATES }),
    }
}
