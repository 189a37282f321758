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
pub struct Index {
    pub(crate) length: usize,
    pub(crate) row_lanes: usize,
    slots: HashMap<PersonId, usize>,
    pub(crate) people: Vec<Enrolled>,
    pub(crate) references: Vec<Lanes<f32>>,
    pub(crate) quantised: Quantised,
    template_count: usize,
}

/// Who is in a slot.
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
            quantised: Quantised::new(row_lanes),
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
    pub(crate) fn reference(&self, slot: usize) -> &[Lanes<f32>] {
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
