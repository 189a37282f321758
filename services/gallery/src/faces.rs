//! Everybody who can be recognised, in memory: the index with what a decision needs beside it.
//!
//! It follows the change feed of the database. Who has changed is read anew and put in their place, whoever changed them
//! and when: the start of the program, its own writes and those of another process go the same way. A read that is
//! older than what is here changes nothing.
//!
//! A person whose consent or last day has run out is not matched from that moment on, although their templates are still
//! here until somebody sweeps them away. Pure: no clock, no database, no lock.

use std::collections::{BTreeSet, HashMap};

use rollcall_core::{PersonId, TemplateId, UtcInstant};
use rollcall_vision::Embedding;

use crate::decide::{Best, Comparison, RunnerUp};
use crate::{Candidate, Index, IndexError};

/// What the database has of one person, as far as recognition needs it.
#[derive(Clone, Debug)]
pub(crate) struct PersonFaces {
    pub(crate) person: PersonId,
    /// The first moment at which their face may no longer be used.
    pub(crate) until: Option<UtcInstant>,
    /// Of the running network, oldest first. Without any the person cannot be recognised.
    pub(crate) templates: Vec<(TemplateId, Embedding)>,
    /// What they must reach because of reported mismatches.
    pub(crate) own_threshold: Option<f32>,
    /// For each report, who it was instead.
    pub(crate) taken_for_them: Vec<PersonId>,
}

/// Everybody who can be recognised.
pub(crate) struct Faces {
    index: Index,
    known: HashMap<PersonId, Known>,
    /// The moments at which somebody's face may no longer be used.
    ends: BTreeSet<(UtcInstant, PersonId)>,
    revision: Option<i64>,
}

/// What a decision needs of a person beside the index.
struct Known {
    until: Option<UtcInstant>,
    templates: Vec<TemplateId>,
    own_threshold: Option<f32>,
    taken_for_them: Vec<PersonId>,
}

impl Faces {
    /// Nobody yet, for embeddings of this length.
    pub(crate) fn new(embedding_length: usize) -> Result<Self, IndexError> {
        let index = Index::new(embedding_length)?;
        Ok(Self { index, known: HashMap::new(), ends: BTreeSet::new(), revision: None })
    }

    /// Up to which revision it follows the database; `None` before the first load.
    pub(crate) fn revision(&self) -> Option<i64> {
        self.revision
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Puts people in their place as they were at `revision`; nothing when it has followed further already. Returns how
    /// many could not be taken in, because their templates contradict each other or the index is full.
    pub(crate) fn apply(&mut self, people: Vec<PersonFaces>, revision: i64) -> usize {
        if self.revision.is_some_and(|followed| followed >= revision) {
            return 0;
        }
        self.revision = Some(revision);
        people.into_iter().map(|person| usize::from(!self.put(person))).sum()
    }

    /// Forgets everybody, for a load from the beginning.
    pub(crate) fn clear(&mut self) {
        let everybody: Vec<PersonId> = self.known.keys().copied().collect();
        everybody.into_iter().for_each(|person| self.remove(person));
        self.revision = None;
    }

    fn put(&mut self, faces: PersonFaces) -> bool {
        let person = faces.person;
        self.remove(person);
        if faces.templates.is_empty() {
            return true;
        }
        let (templates, embeddings): (Vec<_>, Vec<_>) = faces.templates.into_iter().unzip();
        if self.index.insert(person, &embeddings).is_err() {
            return false;
        }
        self.ends.extend(faces.until.map(|until| (until, person)));
        let (until, own_threshold) = (faces.until, faces.own_threshold);
        self.known
            .insert(person, Known { until, templates, own_threshold, taken_for_them: faces.taken_for_them });
        true
    }

    fn remove(&mut self, person: PersonId) {
        self.index.remove(person);
        if let Some(Known { until: Some(until), .. }) = self.known.remove(&person) {
            self.ends.remove(&(until, person));
        }
    }

    /// How many people can be matched at `now`.
    pub(crate) fn len(&self, now: UtcInstant) -> usize {
        self.index.len() - self.ended(now)
    }

    /// Whether this person can be matched at `now`.
    pub(crate) fn matches(&self, person: PersonId, now: UtcInstant) -> bool {
        self.known.get(&person).is_some_and(|known| known.until.is_none_or(|until| now < until))
    }

    /// What this person must reach because of reported mismatches.
    pub(crate) fn own_threshold(&self, person: PersonId) -> Option<f32> {
        self.known.get(&person)?.own_threshold
    }

    /// How often one of two was reported to have been taken for the other.
    pub(crate) fn reports(&self, a: PersonId, b: PersonId) -> usize {
        let taken = |one: PersonId, other: PersonId| {
            let known = self.known.get(&one).into_iter().flat_map(|known| &known.taken_for_them);
            known.filter(|actual| **actual == other).count()
        };
        taken(a, b) + taken(b, a)
    }

    /// The person's template that fits best, and its score.
    pub(crate) fn best_template(
        &self,
        person: PersonId,
        probe: &Embedding,
    ) -> Result<Option<(TemplateId, f32)>, IndexError> {
        let best = self.index.best_template(person, probe)?;
        let known = self.known.get(&person);
        Ok(best.zip(known).map(|(best, known)| (known.templates[best.template], best.score)))
    }

    /// What a face scores with everybody who can be matched at `now`, `except` one.
    pub(crate) fn compare(
        &self,
        probe: &Embedding,
        except: Option<PersonId>,
        now: UtcInstant,
    ) -> Result<Comparison, IndexError> {
        let except = except.filter(|person| self.matches(*person, now));
        let gallery_size = self.len(now) - usize::from(except.is_some());
        // So many that two are left when everybody who does not count is taken away.
        let candidates = self.index.search(probe, 2 + self.ended(now) + usize::from(except.is_some()))?;
        let mut counting = candidates
            .into_iter()
            .filter(|candidate| Some(candidate.person) != except && self.matches(candidate.person, now));
        let (first, second) = (counting.next(), counting.next());
        let best = match first {
            Some(candidate) => self.best(candidate, probe)?,
            None => None,
        };
        let runner_up = first.zip(second).map(|(first, second)| RunnerUp {
            candidate: second,
            likeness: self.index.likeness(first.person, second.person).unwrap_or(1.0),
            reports: self.reports(first.person, second.person),
        });
        Ok(Comparison { best, runner_up, gallery_size })
    }

    fn best(&self, candidate: Candidate, probe: &Embedding) -> Result<Option<Best>, IndexError> {
        let template = self.best_template(candidate.person, probe)?;
        let own_threshold = self.own_threshold(candidate.person);
        Ok(template.map(|template| Best { candidate, template, own_threshold }))
    }

    /// How many are here whose face may no longer be used.
    fn ended(&self, now: UtcInstant) -> usize {
        self.ends.range(..=(now, PersonId::from_bytes([0xff; 16]))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> UtcInstant {
        UtcInstant::from_micros(1_000)
    }

    fn person(n: u8) -> PersonId {
        PersonId::from_bytes([n; 16])
    }

    fn unit(values: &[f32]) -> Embedding {
        Embedding::normalised(values.to_vec()).unwrap()
    }

    fn faces_of(n: u8, values: &[f32], until: Option<i64>) -> PersonFaces {
        PersonFaces {
            person: person(n),
            until: until.map(UtcInstant::from_micros),
            templates: vec![(TemplateId::from_bytes([n; 16]), unit(values))],
            own_threshold: None,
            taken_for_them: Vec::new(),
        }
    }

    fn gallery() -> Faces {
        let mut faces = Faces::new(2).unwrap();
        let people = vec![
            faces_of(1, &[1.0, 0.0], None),
            faces_of(2, &[0.9, 0.1], Some(2_000)),
            faces_of(3, &[0.0, 1.0], None),
        ];
        assert_eq!(faces.apply(people, 5), 0);
        faces
    }

    fn best(faces: &Faces, now: i64) -> (Option<PersonId>, Option<PersonId>, usize) {
        let compared = faces.compare(&unit(&[0.95, 0.08]), None, UtcInstant::from_micros(now)).unwrap();
        let person = |candidate: Candidate| candidate.person;
        (
            compared.best.map(|best| person(best.candidate)),
            compared.runner_up.map(|runner_up| person(runner_up.candidate)),
            compared.gallery_size,
        )
    }

    #[test]
    fn who_has_ended_is_not_matched_from_that_moment_on() {
        let faces = gallery();
        assert_eq!(best(&faces, 1_999), (Some(person(2)), Some(person(1)), 3));
        assert_eq!(best(&faces, 2_000), (Some(person(1)), Some(person(3)), 2));
    }

    #[test]
    fn one_can_be_left_out() {
        let compared = gallery().compare(&unit(&[1.0, 0.0]), Some(person(1)), now()).unwrap();
        assert_eq!(compared.best.unwrap().candidate.person, person(2));
        assert_eq!(compared.gallery_size, 2);
    }

    #[test]
    fn an_older_read_changes_nothing() {
        let mut faces = gallery();
        let gone = PersonFaces { templates: Vec::new(), ..faces_of(1, &[1.0, 0.0], None) };
        faces.apply(vec![gone.clone()], 4);
        assert!(faces.matches(person(1), now()));
        faces.apply(vec![gone], 6);
        assert!(!faces.matches(person(1), now()));
        assert_eq!(best(&faces, 1_000).2, 2);
    }

    #[test]
    fn a_new_end_takes_the_place_of_the_old_one() {
        let mut faces = gallery();
        faces.apply(vec![faces_of(2, &[0.9, 0.1], None)], 6);
        assert_eq!(best(&faces, 3_000), (Some(person(2)), Some(person(1)), 3));
    }

    #[test]
    fn who_cannot_be_taken_in_is_counted_and_the_others_are_there() {
        let mut faces = gallery();
        let mut contradicting = faces_of(4, &[1.0, 0.0], None);
        contradicting.templates.push((TemplateId::from_bytes([5; 16]), unit(&[-1.0, 0.0])));
        assert_eq!(faces.apply(vec![contradicting, faces_of(5, &[0.5, 0.5], None)], 6), 1);
        assert!(!faces.matches(person(4), now()) && faces.matches(person(5), now()));
    }

    #[test]
    fn reports_count_for_both_of_a_pair() {
        let mut faces = gallery();
        let reported = PersonFaces { taken_for_them: vec![person(3)], ..faces_of(1, &[1.0, 0.0], None) };
        faces.apply(vec![reported], 6);
        assert_eq!((faces.reports(person(1), person(3)), faces.reports(person(3), person(1))), (1, 1));
        assert_eq!(faces.reports(person(1), person(2)), 0);
    }

    #[test]
    fn a_cleared_gallery_is_empty_and_loads_again() {
        let mut faces = gallery();
        faces.clear();
        assert_eq!((faces.len(now()), faces.revision()), (0, None));
        faces.apply(vec![faces_of(1, &[1.0, 0.0], None)], 1);
        assert_eq!(faces.len(now()), 1);
    }
}
