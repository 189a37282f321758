//! Whose faces are on a picture, and who looks like whom.

use std::collections::HashMap;
use std::sync::Arc;

use prost::bytes::Bytes;
use rollcall_core::{PersonId, UtcInstant};
use rollcall_vision::Face;

use super::Gallery;
use super::enrolment::demand_person;
use crate::decide::{self, Decision, LOOK_ALIKE_SCORE_MIN, Outcome};
use crate::recognise::{SeenFace, checked_size, read_picture};
use crate::recogniser::{Recogniser, off_runtime};
use crate::store::faces::display_name;
use crate::{GalleryError, LookAlike, RecogniseError};

/// The faces of a picture with what was decided of each, the largest first.
#[derive(Clone, Debug)]
pub(crate) struct Identified {
    pub(crate) width_px: usize,
    pub(crate) height_px: usize,
    pub(crate) faces: Vec<(Face, Decision)>,
    /// Of those who were recognised.
    pub(crate) display_names: HashMap<PersonId, String>,
}

/// Two people who look alike, and the margin that they need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlikePair {
    pub(crate) pair: LookAlike,
    pub(crate) margin_needed: f32,
}

impl Gallery {
    /// Decides whose each face of a picture is. Nothing is stored.
    pub(crate) async fn identify(&self, picture: Bytes, now: UtcInstant) -> Result<Identified, GalleryError> {
        checked_size(&picture)?;
        let recogniser = Arc::clone(self.current_faces().await?);
        let decider = Arc::clone(&recogniser);
        let read = recogniser.inference().run(move |reader| {
            let seen = read_picture(reader, &picture)?;
            let faces: Result<Vec<_>, RecogniseError> =
                seen.faces.iter().map(|face| Ok((face.face, decided(&decider, face, now)?))).collect();
            Ok::<_, RecogniseError>((seen.width_px, seen.height_px, faces?))
        });
        let (width_px, height_px, faces) = read.await?;
        let recognised = faces.iter().filter_map(|(_, decision)| match decision.outcome {
            Outcome::Recognised(person) => Some(person),
            _ => None,
        });
        let display_names = self.display_names(recognised.collect()).await?;
        Ok(Identified { width_px, height_px, faces, display_names })
    }

    /// What these people are called; whoever is not there is left out.
    pub(crate) async fn display_names(
        &self,
        people: Vec<PersonId>,
    ) -> Result<HashMap<PersonId, String>, GalleryError> {
        let mut names = HashMap::new();
        if !people.is_empty() {
            let mut tx = self.shared.db.read().await?;
            for person in people {
                if let Some(name) = display_name(&mut tx, person).await? {
                    names.insert(person, name);
                }
            }
        }
        Ok(names)
    }

    /// Decides whether the largest face on a picture is this person's.
    pub(crate) async fn verify(
        &self,
        person: PersonId,
        picture: Bytes,
        now: UtcInstant,
    ) -> Result<Decision, GalleryError> {
        checked_size(&picture)?;
        let recogniser = Arc::clone(self.current_faces().await?);
        let mut tx = self.shared.db.read().await?;
        demand_person(&mut tx, person).await?;
        drop(tx);
        if !recogniser.faces().matches(person, now) {
            let name = person.name();
            return Err(GalleryError::State(format!("{name} has no template; enrol a picture first")));
        }
        let decider = Arc::clone(&recogniser);
        let decision = recogniser.inference().run(move |reader| {
            let seen = read_picture(reader, &picture)?;
            let Some(SeenFace { quality: Some(quality), embedding: Some(probe), .. }) = seen.faces.first()
            else {
                let why =
                    "there is no face on the picture that is seen well enough to be compared; take another";
                return Err(RecogniseError::NoUsableFace(why.into()));
            };
            decider.verify(person, probe, *quality, now)
        });
        Ok(decision.await?)
    }

    /// Pairs of people who can be matched and look alike, most alike first; of `person` alone when given.
    pub(crate) async fn look_alikes(
        &self,
        person: Option<PersonId>,
        score_min: f32,
        now: UtcInstant,
    ) -> Result<Vec<AlikePair>, GalleryError> {
        let recogniser = Arc::clone(self.current_faces().await?);
        if let Some(person) = person {
            let mut tx = self.shared.db.read().await?;
            demand_person(&mut tx, person).await?;
        }
        let score_min = if score_min == 0.0 { LOOK_ALIKE_SCORE_MIN } else { score_min };
        Ok(off_runtime(move || alike_pairs(&recogniser, person, score_min, now)).await??)
    }
}

fn decided(recogniser: &Recogniser, seen: &SeenFace, now: UtcInstant) -> Result<Decision, RecogniseError> {
    match (&seen.embedding, seen.quality) {
        (Some(probe), Some(quality)) => recogniser.decide(probe, quality, 1, now),
        (_, quality) => Ok(recogniser.unusable(quality, now)),
    }
}

fn alike_pairs(
    recogniser: &Recogniser,
    person: Option<PersonId>,
    score_min: f32,
    now: UtcInstant,
) -> Result<Vec<AlikePair>, RecogniseError> {
    let pairs = match person {
        Some(person) => recogniser.faces().index().look_alikes_with(person, score_min)?,
        None => {
            // All against all takes a second for 20,000 people: nobody is kept from recognising meanwhile.
            let index = recogniser.faces().index().clone();
            index.look_alikes(score_min)
        }
    };
    let faces = recogniser.faces();
    let matched = pairs.into_iter().filter(|pair| faces.matches(pair.a, now) && faces.matches(pair.b, now));
    let with_margin = |pair: LookAlike| AlikePair {
        margin_needed: decide::margin_needed(pair.score, faces.reports(pair.a, pair.b)),
        pair,
    };
    Ok(matched.map(with_margin).collect())
}
