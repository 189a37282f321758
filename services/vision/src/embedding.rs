//! What a face becomes: a unit vector, compared by its cosine.

use rollcall_core::limits;

/// An L2-normalised embedding: finite values, norm 1 within 1e-5, 1 to [`limits::EMBEDDING_LENGTH`] of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Vec<f32>);

/// Why values are no embedding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EmbeddingError {
    /// No values, or more than the limit.
    #[error("an embedding has 1 to {max} values, this one has {length}", max = limits::EMBEDDING_LENGTH)]
    Length {
        /// How many there were.
        length: usize,
    },
    /// NaN or infinite.
    #[error("value {index} of the embedding is {value}; every value must be finite")]
    NotFinite {
        /// Where.
        index: usize,
        /// What stood there.
        value: f32,
    },
    /// The zero vector, or one so short or long that its direction is lost.
    #[error("the embedding has norm {norm:e}, so it has no direction")]
    NoDirection {
        /// The Euclidean norm.
        norm: f64,
    },
}

impl Embedding {
    /// Normalises `values` to length 1.
    ///
    /// # Errors
    /// When there are none or too many, when one is not finite, and when the norm is outside 1e-12 to 1e12.
    pub fn normalised(mut values: Vec<f32>) -> Result<Self, EmbeddingError> {
        if values.is_empty() || values.len() > limits::EMBEDDING_LENGTH {
            return Err(EmbeddingError::Length { length: values.len() });
        }
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(EmbeddingError::NotFinite { index, value: values[index] });
        }
        let norm = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        if !(1e-12..1e12).contains(&norm) {
            return Err(EmbeddingError::NoDirection { norm });
        }
        for v in &mut values {
            *v = (f64::from(*v) / norm) as f32;
        }
        Ok(Self(values))
    }

    /// The renormalised mean: a person's reference from their templates.
    ///
    /// # Errors
    /// When there is none, lengths differ, or they cancel out.
    pub fn mean<'a>(embeddings: impl IntoIterator<Item = &'a Embedding>) -> Result<Self, EmbeddingError> {
        Self::weighted_mean(embeddings.into_iter().map(|embedding| (embedding, 1.0)))
    }

    /// The renormalised mean in which each counts by its weight: a probe fused over frames. Weights are above 0.
    ///
    /// # Errors
    /// When there is none, lengths differ, they cancel out, or a weight is no number.
    pub fn weighted_mean<'a>(
        embeddings: impl IntoIterator<Item = (&'a Embedding, f32)>,
    ) -> Result<Self, EmbeddingError> {
        let mut sum: Vec<f32> = Vec::new();
        for (e, weight) in embeddings {
            if sum.is_empty() {
                sum.resize(e.len(), 0.0);
            }
            if sum.len() != e.len() {
                return Err(EmbeddingError::Length { length: e.len() });
            }
            sum.iter_mut().zip(&e.0).for_each(|(s, v)| *s += v * weight);
        }
        Self::normalised(sum)
    }

    /// Cosine of the angle to `other`, -1 to 1. Both must have the same length.
    pub fn cosine(&self, other: &Embedding) -> f32 {
        debug_assert_eq!(self.len(), other.len());
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true; here because a length has it beside it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values, of norm 1.
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_scaled_to_norm_one() {
        let e = Embedding::normalised(vec![3.0, 4.0]).unwrap();
        assert_eq!(e.values(), [0.6, 0.8]);
    }

    #[test]
    fn f020_an_embedding_that_is_not_a_direction_is_refused() {
        let refused = |v: Vec<f32>| Embedding::normalised(v).unwrap_err();
        assert!(matches!(refused(vec![]), EmbeddingError::Length { length: 0 }));
        assert!(matches!(refused(vec![0.1; 1025]), EmbeddingError::Length { length: 1025 }));
        assert!(matches!(refused(vec![1.0, f32::NAN]), EmbeddingError::NotFinite { index: 1, .. }));
        assert!(matches!(refused(vec![f32::INFINITY]), EmbeddingError::NotFinite { index: 0, .. }));
        assert!(matches!(refused(vec![0.0; 128]), EmbeddingError::NoDirection { .. }));
        assert!(matches!(refused(vec![f32::MIN_POSITIVE / 4.0; 128]), EmbeddingError::NoDirection { .. }));
    }

    #[test]
    fn opposite_embeddings_have_no_mean() {
        let (a, b) = (vec![1.0, 0.0], vec![-1.0, 0.0]);
        let (a, b) = (Embedding::normalised(a).unwrap(), Embedding::normalised(b).unwrap());
        assert!(matches!(Embedding::mean([&a, &b]), Err(EmbeddingError::NoDirection { .. })));
    }

    #[test]
    fn a_heavier_embedding_pulls_the_mean_to_itself() {
        let (a, b) = (vec![1.0, 0.0], vec![0.0, 1.0]);
        let (a, b) = (Embedding::normalised(a).unwrap(), Embedding::normalised(b).unwrap());
        let mean = Embedding::weighted_mean([(&a, 3.0), (&b, 4.0)]).unwrap();
        assert!((mean.values()[0] - 0.6).abs() < 1e-6 && (mean.values()[1] - 0.8).abs() < 1e-6);
        assert_eq!(Embedding::weighted_mean([(&a, 1.0), (&b, 1.0)]), Embedding::mean([&a, &b]));
        let refused = Embedding::weighted_mean([(&a, f32::NAN)]);
        assert!(matches!(refused, Err(EmbeddingError::NotFinite { .. })));
    }
}
