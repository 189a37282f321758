//! Everybody against everybody: who looks like whom, and the scores that calibrate the threshold.

use rollcall_core::{PersonId, limits};
use rollcall_vision::Embedding;

use crate::kernels::{self, BLOCK, Lanes, ProbeI16, padded, unpadded};
use crate::ranking::Best;
use crate::{Index, IndexError};

/// Two people whose references are alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookAlike {
    /// The one with the lower id.
    pub a: PersonId,
    /// The one with the higher id.
    pub b: PersonId,
    /// Cosine of their references, -1 to 1 within 1e-4 of rounding.
    pub score: f32,
}

/// See [`Index::cross_scores`].
pub struct CrossScores {
    people: usize,
    /// Row after row, by rising id.
    references: Vec<Lanes>,
    /// The place of a person by rising id, and their templates.
    templates: Vec<(usize, Vec<Embedding>)>,
}

impl CrossScores {
    /// How many people there are.
    pub fn people(&self) -> usize {
        self.people
    }

    /// How many pairs of two people the scores come from.
    pub fn pair_count(&self) -> usize {
        let sampled = self.templates.len();
        sampled * self.people.saturating_sub(1) - sampled * sampled.saturating_sub(1) / 2
    }

    /// Calls `visit` for each template with the place of its person by rising id (from 0), its index among the
    /// person's templates, and its scores with the references of all *other* people by rising id: what an impostor
    /// scores in this gallery, and their highest what a stranger would have to beat. People come by rising id; nobody
    /// comes when fewer than two are enrolled.
    pub fn for_each(&self, mut visit: impl FnMut(usize, usize, &[f32])) {
        let mut all = vec![0.0; self.people];
        let mut others = Vec::with_capacity(self.people);
        for (place, templates) in &self.templates {
            for (index, template) in templates.iter().enumerate() {
                kernels::dots(&self.references, &padded(template.values()), &mut all);
                others.clear();
                others.extend_from_slice(&all[..*place]);
                others.extend_from_slice(&all[*place + 1..]);
                visit(*place, index, &others);
            }
        }
    }
}

impl Index {
    /// All pairs of people whose references score at least `score_min`: falling score, equal ones by ids. At most
    /// [`limits::LOOK_ALIKES`], the most alike. Exact, as a search is.
    ///
    /// Takes time in the square of the number of people: 20,000 about a second on one core of a PC.
    pub fn look_alikes(&self, score_min: f32) -> Vec<LookAlike> {
        let mut best = Best::new(limits::LOOK_ALIKES, score_min);
        let mut bounds = [0.0; BLOCK];
        // A block of rows stays in the first-level cache while a block of probes passes over it.
        for (first, probe_slots) in self.blocks().enumerate() {
            let probes: Vec<_> = probe_slots
                .map(|slot| (slot, ProbeI16::new(&unpadded(self.reference(slot), self.length))))
                .collect();
            for slots in self.blocks().skip(first) {
                let rows = self.quantised.rows(slots.clone());
                let bounds = &mut bounds[..slots.len()];
                for (probe_slot, probe) in &probes {
                    if !kernels::upper_bounds(rows, probe, best.floor(), bounds) {
                        continue;
                    }
                    for (slot, &bound) in slots.clone().zip(&*bounds) {
                        if slot > *probe_slot && bound >= best.floor() {
                            let score = kernels::dot(self.reference(slot), self.reference(*probe_slot));
                            best.offer(score, self.ids_in_order(slot, *probe_slot));
                        }
                    }
                }
            }
        }
        let ranked = best.into_sorted().into_iter();
        ranked.map(|pair| LookAlike { a: pair.key.0, b: pair.key.1, score: pair.score }).collect()
    }

    /// The pairs of [`Index::look_alikes`] that this person is one of; none when they are not enrolled.
    ///
    /// # Errors
    /// Never, with the index's own references.
    pub fn look_alikes_with(&self, person: PersonId, score_min: f32) -> Result<Vec<LookAlike>, IndexError> {
        let Some(templates) = self.templates(person) else { return Ok(Vec::new()) };
        let reference =
            Embedding::mean(templates).map_err(|source| IndexError::Reference { person, source })?;
        let others = self.look_alikes_of(&reference, score_min)?.into_iter();
        let pair = |other: crate::Candidate| LookAlike {
            a: person.min(other.person),
            b: person.max(other.person),
            score: other.score,
        };
        Ok(others.filter(|other| other.person != person).map(pair).collect())
    }

    /// What calibrates the threshold, copied out: the references of everybody, and the templates of those who are
    /// compared with them. Whoever holds a lock on the index can let go of it before the long work begins.
    ///
    /// When there are more than [`limits::CALIBRATION_PAIRS`] pairs (over 2,000 people), the templates are those of
    /// a sample of people, at even distances by id, as many as the limit allows; each still meets everybody else.
    /// The same gallery gives the same sample.
    pub fn cross_scores(&self) -> CrossScores {
        let mut by_id: Vec<usize> = (0..self.len()).collect();
        by_id.sort_unstable_by_key(|&slot| self.people[slot].person);
        let references = by_id.iter().flat_map(|&slot| self.reference(slot)).copied().collect();
        let sampled = (limits::CALIBRATION_PAIRS / self.len().max(1)).clamp(1, self.len().max(1));
        let places = (0..sampled).map(|sample| sample * self.len() / sampled);
        let templates = places
            .filter(|_| self.len() > 1)
            .map(|place| (place, self.people[by_id[place]].templates.clone()))
            .collect();
        CrossScores { people: self.len(), references, templates }
    }

    /// [`CrossScores::for_each`] of this index as it is now.
    pub fn for_each_cross_score(&self, visit: impl FnMut(usize, usize, &[f32])) {
        self.cross_scores().for_each(visit);
    }

    fn ids_in_order(&self, a: usize, b: usize) -> (PersonId, PersonId) {
        let (a, b) = (self.people[a].person, self.people[b].person);
        (a.min(b), a.max(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> PersonId {
        PersonId::from_bytes((n as u128).to_be_bytes())
    }

    fn unit(values: [f32; 2]) -> Embedding {
        Embedding::normalised(values.to_vec()).unwrap()
    }

    #[test]
    fn a_template_meets_everybody_but_its_own_person_by_rising_id() {
        let mut index = Index::new(2).unwrap();
        let (x, y) = (unit([1.0, 0.0]), unit([0.0, 1.0]));
        index.insert(id(3), &[unit([-1.0, 0.0])]).unwrap();
        index.insert(id(1), &[x.clone(), x.clone()]).unwrap();
        index.insert(id(2), &[y]).unwrap();
        let mut visited = Vec::new();
        index
            .for_each_cross_score(|place, template, scores| visited.push((place, template, scores.to_vec())));
        let expected = [
            (0, 0, vec![0.0, -1.0]),
            (0, 1, vec![0.0, -1.0]),
            (1, 0, vec![0.0, 0.0]),
            (2, 0, vec![-1.0, 0.0]),
        ];
        assert_eq!(visited, expected);
    }

    #[test]
    fn a_large_gallery_is_sampled_evenly_within_the_limit() {
        let mut index = Index::new(2).unwrap();
        (0..8_000).for_each(|n| index.insert(id(n), &[unit([1.0, n as f32])]).unwrap());
        let mut places = Vec::new();
        index.for_each_cross_score(|place, _, scores| {
            assert_eq!(scores.len(), 7_999);
            places.push(place);
        });
        assert_eq!(places, (0..500).map(|n| n * 16).collect::<Vec<_>>());
    }

    #[test]
    fn only_the_most_alike_pairs_are_kept() {
        let mut index = Index::new(2).unwrap();
        (0..200).for_each(|n| index.insert(id(n), &[unit([1.0, 0.0])]).unwrap());
        let pairs = index.look_alikes(0.5);
        assert_eq!(pairs.len(), limits::LOOK_ALIKES);
        assert_eq!((pairs[0].a, pairs[0].b, pairs[0].score), (id(0), id(1), 1.0));
        assert!(pairs.is_sorted_by_key(|pair| (pair.a, pair.b)));
    }
}
