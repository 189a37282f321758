//! The people whom a probe is matched against, in memory.
//!
//! A person has one or more templates; their *reference* is the renormalised mean of these, and a probe's score
//! with a person is its cosine with the reference. References lie row after row in two forms: f32, which decides,
//! and 8-bit integers with a proven error, which says whose f32 need not be read (`quantised.rs` has the proof).
//!
//! Promises: a search is exact; equal scores are ordered by id; a score has the same bits on every machine; no
//! result depends on the order in which people were inserted, replaced or removed. A call that fails has changed
//! nothing. NaN cannot be stored or asked for, because [`Embedding`] refuses it.
//!
//! Not here: which model the templates are of (one index holds those of one), thresholds, storage, locks.
//!
//! Memory for each value of a template's 128: 4 bytes, and for each of a reference's 5 more. 20,000 people with
//! five templates each take 64 MB.

use std::collections::HashMap;

use rollcall_core::{PersonId, limits};
use rollcall_vision::{Embedding, EmbeddingError};

use crate::kernels::{self, BLOCK, LANES, Lanes, ProbeI16, padded};
use crate::quantised::{Quantised, swap_remove_row};
use crate::ranking::Best;

/// The enrolled people and their templates.
#[derive(Clone)]
pub struct Index {
    pub(crate) length: usize,
    pub(crate) row_lanes: usize,
    slots: HashMap<PersonId, usize>,
    pub(crate) people: Vec<Enrolled>,
    pub(crate) references: Vec<Lanes>,
    pub(crate) quantised: Quantised,
    template_count: usize,
}

/// Who is in a slot.
#[derive(Clone)]
pub(crate) struct Enrolled {
    pub(crate) person: PersonId,
    pub(crate) templates: Vec<Embedding>,
}

/// Somebody whom the probe may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Who.
    pub person: PersonId,
    /// Cosine of the probe and the person's reference, -1 to 1 within 1e-4 of rounding.
    pub score: f32,
}

/// The best candidate and the one after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The highest score of the gallery.
    pub best: Candidate,
    /// The highest of the others; `None` when only one person is enrolled.
    pub runner_up: Option<Candidate>,
}

impl Match {
    /// How much the best leads by, at least 0. `None` when only one person is enrolled: there is nobody to confuse
    /// them with, so a decision has the threshold alone to go by.
    pub fn margin(&self) -> Option<f32> {
        self.runner_up.map(|runner_up| self.best.score - runner_up.score)
    }
}

/// One of a person's templates and how well a probe fits it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TemplateScore {
    /// Which of the templates that were inserted, from 0.
    pub template: usize,
    /// Cosine of the probe and this template, -1 to 1 within 1e-4 of rounding.
    pub score: f32,
}

/// The answer to a search, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Falling score, equal ones by rising id.
    pub candidates: Vec<Candidate>,
    /// References whose f32 values were read.
    pub rescored: usize,
}

/// Why an index cannot do what was asked; it is unchanged then.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IndexError {
    /// No index for embeddings of such a length.
    #[error("an index holds embeddings of 1 to {max} values, not of {length}", max = limits::EMBEDDING_LENGTH)]
    NoSuchLength {
        /// What was asked for.
        length: usize,
    },
    /// Of another model than the gallery's.
    #[error(
        "the embedding has {given} values, this gallery's have {expected}; was it made by another model?"
    )]
    Length {
        /// Values in each of this index's embeddings.
        expected: usize,
        /// Values in the one that was given.
        given: usize,
    },
    /// A person without templates cannot be recognised.
    #[error("person {person} has no template; give at least one, or remove the person")]
    NoTemplates {
        /// Whose insertion was refused.
        person: PersonId,
    },
    /// The limit of one terminal.
    #[error("the gallery would hold {templates} templates, the limit is {max}", max = limits::GALLERY_TEMPLATES)]
    Full {
        /// How many there would be.
        templates: usize,
    },
    /// The templates point in opposite directions: they are not of one face.
    #[error("the templates of person {person} have no mean: {source}")]
    Reference {
        /// Whose insertion was refused.
        person: PersonId,
        /// What is wrong with the mean.
        source: EmbeddingError,
    },
}

impl Index {
    /// An empty index for embeddings of `embedding_length` values.
    ///
    /// # Errors
    /// When the length is not 1 to [`limits::EMBEDDING_LENGTH`].
    pub fn new(embedding_length: usize) -> Result<Self, IndexError> {
        if !(1..=limits::EMBEDDING_LENGTH).contains(&embedding_length) {
            return Err(IndexError::NoSuchLength { length: embedding_length });
        }
        let row_lanes = embedding_length.div_ceil(LANES);
        Ok(Self {
            length: embedding_length,
            row_lanes,
            slots: HashMap::new(),
            people: Vec::new(),
            references: Vec::new(),
            quantised: Quantised::new(embedding_length),
            template_count: 0,
        })
    }

    /// Enrols `person`; templates that they had are replaced.
    ///
    /// # Errors
    /// When there is no template, one has another length than the index, they cancel each other out, or the index
    /// would have more than [`limits::GALLERY_TEMPLATES`].
    pub fn insert(&mut self, person: PersonId, templates: &[Embedding]) -> Result<(), IndexError> {
        if templates.is_empty() {
            return Err(IndexError::NoTemplates { person });
        }
        templates.iter().try_for_each(|template| self.check_length(template))?;
        let former = self.templates(person).map_or(0, <[_]>::len);
        let template_count = self.template_count - former + templates.len();
        if template_count > limits::GALLERY_TEMPLATES {
            return Err(IndexError::Full { templates: template_count });
        }
        let reference =
            Embedding::mean(templates).map_err(|source| IndexError::Reference { person, source })?;

        self.template_count = template_count;
        let enrolled = Enrolled { person, templates: templates.to_vec() };
        let row = padded(reference.values());
        let slot = *self.slots.entry(person).or_insert(self.people.len());
        self.quantised.set(slot, reference.values());
        if slot == self.people.len() {
            self.people.push(enrolled);
            self.references.extend(row);
        } else {
            self.people[slot] = enrolled;
            self.references[slot * self.row_lanes..][..self.row_lanes].copy_from_slice(&row);
        }
        Ok(())
    }

    /// Removes `person` and their templates; false when they were not enrolled.
    pub fn remove(&mut self, person: PersonId) -> bool {
        let Some(slot) = self.slots.remove(&person) else {
            return false;
        };
        let removed = self.people.swap_remove(slot);
        self.template_count -= removed.templates.len();
        swap_remove_row(&mut self.references, self.row_lanes, slot);
        self.quantised.swap_remove(slot);
        if let Some(moved) = self.people.get(slot) {
            self.slots.insert(moved.person, slot);
        }
        true
    }

    /// How many people.
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody is enrolled.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// How many templates, of all people.
    pub fn template_count(&self) -> usize {
        self.template_count
    }

    /// A person's templates, in the order that they were inserted in; `None` when the person is not enrolled.
    pub fn templates(&self, person: PersonId) -> Option<&[Embedding]> {
        self.slots.get(&person).map(|&slot| self.people[slot].templates.as_slice())
    }

    /// The best candidate with the runner-up; `None` when nobody is enrolled.
    ///
    /// # Errors
    /// When the probe has another length than the index.
    pub fn best_match(&self, probe: &Embedding) -> Result<Option<Match>, IndexError> {
        let candidates = self.search(probe, 2)?;
        Ok(candidates.first().map(|&best| Match { best, runner_up: candidates.get(1).copied() }))
    }

    /// The `count` people with the highest scores, or all when there are fewer: falling score, equal ones by id.
    ///
    /// # Errors
    /// When the probe has another length than the index.
    pub fn search(&self, probe: &Embedding, count: usize) -> Result<Vec<Candidate>, IndexError> {
        Ok(self.search_counted(probe, count)?.candidates)
    }

    /// [`Index::search`], with how many references its proof could not skip.
    ///
    /// # Errors
    /// When the probe has another length than the index.
    pub fn search_counted(&self, probe: &Embedding, count: usize) -> Result<Search, IndexError> {
        self.scan(probe, Best::new(count, f32::NEG_INFINITY))
    }

    /// The people who look like `reference` (the [`Embedding::mean`] of templates about to be enrolled): at least
    /// `score_min`, falling score, equal ones by id, at most [`limits::LOOK_ALIKES`]. Somebody enrolled already is
    /// their own look-alike.
    ///
    /// # Errors
    /// When the reference has another length than the index.
    pub fn look_alikes_of(
        &self,
        reference: &Embedding,
        score_min: f32,
    ) -> Result<Vec<Candidate>, IndexError> {
        Ok(self.scan(reference, Best::new(limits::LOOK_ALIKES, score_min))?.candidates)
    }

    /// What [`Index::search`] returns, got by reading every f32. The yardstick that tests compare with, and that
    /// benchmarks say how much the 8-bit values save by.
    ///
    /// # Errors
    /// When the probe has another length than the index.
    pub fn search_f32(&self, probe: &Embedding, count: usize) -> Result<Vec<Candidate>, IndexError> {
        self.check_length(probe)?;
        let probe = padded(probe.values());
        let mut best = Best::new(count, f32::NEG_INFINITY);
        let mut scores = [0.0; BLOCK];
        let blocks = self.references.chunks(BLOCK * self.row_lanes).zip(self.people.chunks(BLOCK));
        for (rows, people) in blocks {
            kernels::dots(rows, &probe, &mut scores);
            for (enrolled, &score) in people.iter().zip(&scores) {
                if score >= best.floor() {
                    best.offer(score, enrolled.person);
                }
            }
        }
        Ok(candidates(best))
    }

    /// The sum of all values of all references: reads the memory that [`Index::search_f32`] reads and does as good
    /// as nothing with it. The yardstick for what this machine's memory allows; the number itself means nothing.
    pub fn read_references(&self) -> f32 {
        kernels::sum(&self.references)
    }

    /// The template of `person` that fits the probe best, the first one of equals; `None` when the person is not
    /// enrolled.
    ///
    /// # Errors
    /// When the probe has another length than the index.
    pub fn best_template(
        &self,
        person: PersonId,
        probe: &Embedding,
    ) -> Result<Option<TemplateScore>, IndexError> {
        self.check_length(probe)?;
        let probe = padded(probe.values());
        let mut best = Best::new(1, f32::NEG_INFINITY);
        for (index, template) in self.templates(person).into_iter().flatten().enumerate() {
            best.offer(kernels::dot(&padded(template.values()), &probe), index);
        }
        Ok(best.into_sorted().first().map(|best| TemplateScore { template: best.key, score: best.score }))
    }

    /// How well a probe fits a person: its cosine with their reference; `None` when the person is not enrolled.
    ///
    /// # Errors
    /// When the probe has another length than the index.
    pub fn score(&self, person: PersonId, probe: &Embedding) -> Result<Option<f32>, IndexError> {
        self.check_length(probe)?;
        let reference = self.slots.get(&person).map(|&slot| self.reference(slot));
        Ok(reference.map(|reference| kernels::dot(reference, &padded(probe.values()))))
    }

    /// How much two people look alike: the cosine of their references; `None` when one is not enrolled.
    pub fn likeness(&self, a: PersonId, b: PersonId) -> Option<f32> {
        let (a, b) = (self.slots.get(&a)?, self.slots.get(&b)?);
        Some(kernels::dot(self.reference(*a), self.reference(*b)))
    }

    /// Offers everybody to `best` whose upper bound says that they might matter.
    fn scan(&self, probe: &Embedding, mut best: Best<PersonId>) -> Result<Search, IndexError> {
        self.check_length(probe)?;
        let (row, quantised) = (padded(probe.values()), ProbeI16::new(probe.values()));
        let mut bounds = [0.0; BLOCK];
        let mut rescored = 0;
        for slots in self.blocks() {
            let bounds = &mut bounds[..slots.len()];
            if !kernels::upper_bounds(self.quantised.rows(slots.clone()), &quantised, best.floor(), bounds) {
                continue;
            }
            for (slot, &bound) in slots.zip(&*bounds) {
                if bound >= best.floor() {
                    best.offer(kernels::dot(self.reference(slot), &row), self.people[slot].person);
                    rescored += 1;
                }
            }
        }
        Ok(Search { candidates: candidates(best), rescored })
    }

    /// All slots, [`BLOCK`] at a time.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let len = self.len();
        (0..len).step_by(BLOCK).map(move |start| start..len.min(start + BLOCK))
    }

    /// The reference of a slot.
    pub(crate) fn reference(&self, slot: usize) -> &[Lanes] {
        &self.references[slot * self.row_lanes..][..self.row_lanes]
    }

    fn check_length(&self, embedding: &Embedding) -> Result<(), IndexError> {
        match embedding.len() {
            given if given == self.length => Ok(()),
            given => Err(IndexError::Length { expected: self.length, given }),
        }
    }
}

fn candidates(best: Best<PersonId>) -> Vec<Candidate> {
    let ranked = best.into_sorted().into_iter();
    ranked.map(|ranked| Candidate { person: ranked.key, score: ranked.score }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> PersonId {
        PersonId::from_bytes([n; 16])
    }

    fn unit(values: &[f32]) -> Embedding {
        Embedding::normalised(values.to_vec()).unwrap()
    }

    fn index_of(people: &[(u8, &[f32])]) -> Index {
        let mut index = Index::new(people[0].1.len()).unwrap();
        for &(n, values) in people {
            index.insert(id(n), &[unit(values)]).unwrap();
        }
        index
    }

    fn ids(candidates: &[Candidate]) -> Vec<u8> {
        candidates.iter().map(|c| c.person.to_bytes()[0]).collect()
    }

    /// The score as specified, one addition at a time: 32 interleaved sums, then halves onto halves.
    fn naive_score(a: &Embedding, b: &Embedding) -> f32 {
        let mut sums = [0.0f32; 32];
        for (i, (a, b)) in a.values().iter().zip(b.values()).enumerate() {
            sums[i % 32] += a * b;
        }
        for half in [16, 8, 4, 2, 1] {
            for i in 0..half {
                sums[i] += sums[i + half];
            }
        }
        sums[0]
    }

    /// What the index must do, with no thought of speed.
    #[derive(Default)]
    struct Naive(BTreeMap<PersonId, Vec<Embedding>>);

    impl Naive {
        fn insert(&mut self, person: PersonId, templates: &[Embedding]) -> bool {
            let ok = Embedding::mean(templates).is_ok();
            if ok {
                self.0.insert(person, templates.to_vec());
            }
            ok
        }

        fn references(&self) -> Vec<(PersonId, Embedding)> {
            self.0.iter().map(|(person, t)| (*person, Embedding::mean(t).unwrap())).collect()
        }

        fn search(&self, probe: &Embedding, count: usize) -> Vec<Candidate> {
            let mut all: Vec<Candidate> = (self.references().iter())
                .map(|(person, reference)| Candidate {
                    person: *person,
                    score: naive_score(reference, probe),
                })
                .collect();
            all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.person.cmp(&b.person)));
            all.truncate(count);
            all
        }

        fn look_alikes(&self, score_min: f32) -> Vec<(PersonId, PersonId, f32)> {
            let references = self.references();
            let mut pairs = Vec::new();
            for (i, (a, reference)) in references.iter().enumerate() {
                for (b, other) in &references[i + 1..] {
                    pairs.push((*a, *b, naive_score(reference, other)));
                }
            }
            pairs.retain(|pair| pair.2 >= score_min);
            pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
            pairs
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, Vec<Embedding>),
        Remove(u8),
        Search(Embedding, usize, f32),
    }

    /// Few directions, their opposites and their nearest neighbours, so that ties and near ties are common.
    fn embedding(length: usize) -> impl Strategy<Value = Embedding> {
        let coarse = prop::collection::vec((-1i8..=1).prop_map(f32::from), length);
        let nudged = (coarse.clone(), 0..length, -3i8..=3).prop_map(|(mut values, i, n)| {
            values[i] += f32::from(n) * 1e-6;
            values
        });
        let fine = prop::collection::vec(-1.0f32..1.0, length);
        let few = prop_oneof![Just(1.0f32), Just(-1.0f32)].prop_map(move |v| vec![v; length]);
        prop_oneof![2 => coarse, 2 => nudged, 2 => fine, 2 => few]
            .prop_filter_map("no direction", |values| Embedding::normalised(values).ok())
    }

    fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
        let length = prop_oneof![1usize..6, 30usize..36, Just(128usize)];
        length.prop_flat_map(|length| {
            let insert = (any::<u8>(), prop::collection::vec(embedding(length), 1..4));
            let search = (embedding(length), 0usize..12, -1.0f32..1.0);
            let step = prop_oneof![
                8 => insert.prop_map(|(n, templates)| Step::Insert(n, templates)),
                2 => any::<u8>().prop_map(Step::Remove),
                1 => search.prop_map(|(probe, count, min)| Step::Search(probe, count, min)),
            ];
            (Just(length), prop::collection::vec(step, 1..200))
        })
    }

    proptest! {
        #[test]
        fn after_any_changes_every_answer_is_the_naive_one((length, steps) in steps()) {
            let (mut index, mut naive) = (Index::new(length).unwrap(), Naive::default());
            for step in steps {
                match step {
                    Step::Insert(n, templates) => {
                        let inserted = index.insert(id(n), &templates);
                        prop_assert_eq!(inserted.is_ok(), naive.insert(id(n), &templates));
                    }
                    Step::Remove(n) => {
                        prop_assert_eq!(index.remove(id(n)), naive.0.remove(&id(n)).is_some());
                    }
                    Step::Search(probe, count, min) => {
                        let expected = naive.search(&probe, count);
                        prop_assert_eq!(&index.search(&probe, count).unwrap(), &expected);
                        prop_assert_eq!(&index.search_f32(&probe, count).unwrap(), &expected);
                        let mut alike = naive.search(&probe, usize::MAX);
                        alike.retain(|c| c.score >= min);
                        prop_assert_eq!(index.look_alikes_of(&probe, min).unwrap(), alike);
                        let pairs: Vec<_> =
                            index.look_alikes(min).iter().map(|p| (p.a, p.b, p.score)).collect();
                        let mut expected = naive.look_alikes(min);
                        expected.truncate(limits::LOOK_ALIKES);
                        prop_assert_eq!(pairs, expected);
                    }
                }
                prop_assert_eq!(index.len(), naive.0.len());
                prop_assert_eq!(index.template_count(), naive.0.values().map(Vec::len).sum::<usize>());
            }
            for (person, templates) in &naive.0 {
                prop_assert_eq!(index.templates(*person), Some(templates.as_slice()));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn results_do_not_depend_on_the_order_of_insertion(
            (people, probe, order) in (100usize..200).prop_flat_map(|n| (
                prop::collection::vec(embedding(33), n),
                embedding(33),
                Just((0..n as u8).collect::<Vec<_>>()).prop_shuffle(),
            ))
        ) {
            let build = |order: &[u8]| {
                let mut index = Index::new(33).unwrap();
                order.iter().for_each(|&n| index.insert(id(n), &[people[n as usize].clone()]).unwrap());
                let mut cross = Vec::new();
                index.for_each_cross_score(|place, _, scores| cross.push((place, scores.to_vec())));
                (index.search(&probe, 10).unwrap(), index.look_alikes(0.5), cross)
            };
            let rising: Vec<u8> = (0..people.len() as u8).collect();
            prop_assert_eq!(build(&rising), build(&order));
        }
    }

    #[test]
    fn f092_a_gallery_of_nobody_answers_with_nobody() {
        let index = Index::new(2).unwrap();
        let probe = unit(&[1.0, 0.0]);
        assert_eq!(index.search(&probe, 5).unwrap(), []);
        assert_eq!(index.search_f32(&probe, 5).unwrap(), []);
        assert_eq!(index.best_match(&probe).unwrap(), None);
        assert_eq!(index.look_alikes(-1.0), []);
        assert_eq!(index.best_template(id(1), &probe).unwrap(), None);
        index.for_each_cross_score(|_, _, _| panic!("nobody has a score"));
    }

    #[test]
    fn f092_a_gallery_of_one_has_a_best_and_no_margin() {
        let index = index_of(&[(1, &[1.0, 0.0])]);
        let found = index.best_match(&unit(&[3.0, 4.0])).unwrap().unwrap();
        assert_eq!((found.best.person, found.runner_up, found.margin()), (id(1), None, None));
        assert!((found.best.score - 0.6).abs() < 1e-6);
        index.for_each_cross_score(|_, _, _| panic!("there is no other person"));
    }

    #[test]
    fn f092_when_all_are_equal_the_lowest_ids_come_first() {
        let same = [0.3, -0.2, 0.9];
        let people: Vec<(u8, &[f32])> = (0..200).rev().map(|n| (n, same.as_slice())).collect();
        let found = index_of(&people).search_counted(&unit(&same), 3).unwrap();
        assert_eq!((ids(&found.candidates), found.rescored), (vec![0, 1, 2], 200));
    }

    #[test]
    fn f092_opposite_people_score_one_and_minus_one() {
        let index = index_of(&[(1, &[-0.6, -0.8]), (2, &[0.6, 0.8])]);
        let found = index.best_match(&unit(&[0.6, 0.8])).unwrap().unwrap();
        assert_eq!(found.best.person, id(2));
        assert!((found.best.score - 1.0).abs() < 1e-6 && (found.margin().unwrap() - 2.0).abs() < 1e-6);
    }

    #[test]
    fn more_candidates_than_people_are_all_the_people_and_none_are_none() {
        let index = index_of(&[(3, &[0.0, 1.0]), (2, &[1.0, 1.0]), (1, &[1.0, 0.0])]);
        assert_eq!(ids(&index.search(&unit(&[1.0, 0.1]), usize::MAX).unwrap()), [1, 2, 3]);
        assert_eq!(index.search(&unit(&[1.0, 0.1]), 0).unwrap(), []);
    }

    #[test]
    fn f020_an_embedding_of_another_length_is_refused_with_both_lengths() {
        let mut index = index_of(&[(1, &[1.0, 0.0])]);
        let long = unit(&[1.0, 0.0, 0.0]);
        let error = IndexError::Length { expected: 2, given: 3 };
        assert_eq!(
            error.to_string(),
            "the embedding has 3 values, this gallery's have 2; was it made by another model?"
        );
        assert_eq!(index.insert(id(1), &[unit(&[0.0, 1.0]), long.clone()]), Err(error.clone()));
        assert_eq!(index.search(&long, 1), Err(error.clone()));
        assert_eq!(index.search_f32(&long, 1), Err(error.clone()));
        assert_eq!(index.look_alikes_of(&long, 0.0), Err(error.clone()));
        assert_eq!(index.best_template(id(1), &long), Err(error));
        assert!(matches!(Index::new(0), Err(IndexError::NoSuchLength { length: 0 })));
        assert!(matches!(Index::new(1025), Err(IndexError::NoSuchLength { length: 1025 })));
    }

    #[test]
    fn a_refused_insertion_leaves_the_former_templates() {
        let mut index = index_of(&[(1, &[1.0, 0.0])]);
        assert_eq!(index.insert(id(1), &[]), Err(IndexError::NoTemplates { person: id(1) }));
        let opposite = [unit(&[1.0, 0.0]), unit(&[-1.0, 0.0])];
        assert!(matches!(index.insert(id(1), &opposite), Err(IndexError::Reference { .. })));
        let many = vec![unit(&[0.0, 1.0]); limits::GALLERY_TEMPLATES];
        assert_eq!(
            index.insert(id(2), &many),
            Err(IndexError::Full { templates: limits::GALLERY_TEMPLATES + 1 })
        );
        assert_eq!(index.templates(id(1)), Some([unit(&[1.0, 0.0])].as_slice()));
        assert_eq!((index.len(), index.template_count()), (1, 1));
        assert_eq!(index.insert(id(1), &many), Ok(()));
    }

    #[test]
    fn the_explanation_names_the_template_that_fits_best() {
        let mut index = Index::new(2).unwrap();
        let (x, y) = (unit(&[1.0, 0.0]), unit(&[0.0, 1.0]));
        index.insert(id(1), &[x.clone(), y.clone(), y.clone()]).unwrap();
        let best = |probe| index.best_template(id(1), probe).unwrap().unwrap();
        assert_eq!(best(&x), TemplateScore { template: 0, score: 1.0 });
        assert_eq!(best(&y), TemplateScore { template: 1, score: 1.0 });
    }
}
