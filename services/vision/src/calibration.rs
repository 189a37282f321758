//! The threshold that keeps a stated share of strangers out, solved from scores and not from taste.
//!
//! A stranger is let in when their best score in the gallery reaches the threshold. With N people enrolled and a
//! false match rate FMR(t) for one comparison, that happens with FPIR(t) = 1 - (1 - FMR(t))^N (ISO/IEC 19795-1,
//! open-set identification). So a target FPIR and N ask for one FMR, and the threshold is where the site's FMR is
//! that low.
//!
//! FMR depends on who is at the site: one threshold lets in some twenty times more strangers among East Asian faces
//! than among those of LFW. The site's own people tell: each template against every *other* person's reference is
//! an impostor comparison. From these come the mean and the deviation of the site's impostor scores; how fast the
//! tail falls beyond what so few can show is taken from the populations in the manifest, in units of deviations.
//! Until there are many people, the most cautious of these populations counts as [`PRIOR_PEOPLE`] more people:
//!
//! ```text
//! FMR(t) = (n * FMR_site(t) + PRIOR_PEOPLE * max over populations FMR_population(t)) / (n + PRIOR_PEOPLE)
//! ```
//!
//! The threshold is never below what the site's scores ask by themselves: neither the t with FMR_site(t) at the
//! asked rate, nor the t that the site's own people, each as a stranger to the others, would have to be kept out by.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// As how many people the most cautious population counts beside the site's own.
pub const PRIOR_PEOPLE: f64 = 20.0;

/// Share of the scores from which on they are the tail.
const TAIL: f64 = 0.1;

/// Scores measured on one population with references of so many templates.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreDistribution {
    /// Who.
    pub population: String,
    /// How and on what it was measured.
    pub measured: String,
    /// Templates in each reference.
    pub templates: usize,
    /// Scores of pictures with the references of other people. Its tail says how many score *at least* so much.
    pub impostor: Scores,
    /// Scores of pictures with the reference of the same person. Its tail says how many score *less* than so much.
    pub genuine: Scores,
}

/// What is known of a set of scores.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// (share, score): that share of the scores lies in the tail beyond that score. Falling shares.
    pub tail: Vec<(f64, f64)>,
}

/// What the enrolled people score with each other, gathered row by row.
#[derive(Clone, Debug)]
pub struct SiteScores {
    /// For each person: count, sum and sum of squares as probe and as reference together.
    people: Vec<[f64; 3]>,
    total: [f64; 3],
    /// The best score of each template with somebody else.
    best: Vec<f32>,
}

/// A solved threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// Accept at this cosine or above.
    pub score: f64,
    /// The least that the site's own scores ask for; None with fewer than three people.
    pub site_asks: Option<f64>,
    /// What the most cautious population asks for by itself.
    pub prior_asks: f64,
    /// Standard error of the threshold over the choice of who is enrolled (jackknife over people).
    pub standard_error: Option<f64>,
    /// FMR of a single comparison that the target asks for.
    pub fmr: f64,
}

/// Why there is no threshold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// Nothing to start from.
    #[error(
        "the embedding network has no score distributions in its manifest entry; measure them with `edge-agent evaluate scores`"
    )]
    NoDistributions,
    /// A distribution that contradicts itself.
    #[error("the scores of population {population} are not usable: {why}; measure them again")]
    Distribution {
        /// Whose.
        population: String,
        /// What is wrong.
        why: String,
    },
    /// A target that means nothing.
    #[error("a false positive identification rate is above 0 and at most 0.5, not {0}")]
    Target(f64),
}

/// The populations that thresholds are solved from.
#[derive(Clone, Debug)]
pub struct Calibration {
    populations: Vec<Population>,
}

#[derive(Clone, Debug)]
struct Population {
    name: String,
    mean: f64,
    deviation: f64,
    /// (probit of 1 - share, score): both rising.
    curve: Vec<(f64, f64)>,
    /// The point of the curve from which on it is extrapolated: the first with a share of at most [`TAIL`].
    tail_begins: usize,
}

/// Mean and deviation of the site's impostor scores, and how many people they are from.
#[derive(Clone, Copy, Debug)]
struct Site {
    people: f64,
    mean: f64,
    deviation: f64,
}

impl Calibration {
    /// Takes, of each population, the distribution with the most templates up to `templates` a person, or else the
    /// one with the fewest.
    ///
    /// # Errors
    /// When there is no distribution or one is not usable.
    pub fn new(distributions: &[ScoreDistribution], templates: usize) -> Result<Self, CalibrationError> {
        let mut chosen: Vec<&ScoreDistribution> = Vec::new();
        for distribution in distributions {
            let fits = |d: &ScoreDistribution| {
                (
                    d.templates <= templates,
                    if d.templates <= templates { d.templates } else { usize::MAX - d.templates },
                )
            };
            match chosen.iter_mut().find(|d| d.population == distribution.population) {
                Some(best) if fits(best) < fits(distribution) => *best = distribution,
                Some(_) => {}
                None => chosen.push(distribution),
            }
        }
        if chosen.is_empty() {
            return Err(CalibrationError::NoDistributions);
        }
        Ok(Self { populations: chosen.into_iter().map(Population::new).collect::<Result<_, _>>()? })
    }

    /// The same with one population alone: what a calibration that knows no other would do.
    pub fn only(&self, population: &str) -> Option<Self> {
        let of = self.populations.iter().filter(|p| p.name == population).cloned();
        let populations: Vec<_> = of.collect();
        (!populations.is_empty()).then_some(Self { populations })
    }

    /// Names of the populations.
    pub fn populations(&self) -> impl Iterator<Item = &str> {
        self.populations.iter().map(|p| p.name.as_str())
    }

    /// The threshold for a gallery of `gallery_size` people that lets in at most `fpir` of strangers (above 0, at
    /// most 0.5), given what the enrolled score with each other.
    ///
    /// # Errors
    /// [`CalibrationError::Target`].
    pub fn threshold(
        &self,
        fpir: f64,
        gallery_size: usize,
        site: &SiteScores,
    ) -> Result<Threshold, CalibrationError> {
        if !(fpir > 0.0 && fpir <= 0.5) {
            return Err(CalibrationError::Target(fpir));
        }
        let fmr = -((-fpir).ln_1p() / gallery_size.max(1) as f64).exp_m1();
        let prior_asks = solve(fmr, |t| self.most_cautious(t));
        let Some(whole) = site.estimate(None) else {
            return Ok(Threshold {
                score: prior_asks,
                site_asks: None,
                prior_asks,
                standard_error: None,
                fmr,
            });
        };
        let (score, asks) = self.for_site(fmr, whole);
        let site_asks = asks.max(site.best_kept_out_by(fpir));
        let without = (0..site.people.len()).filter_map(|i| site.estimate(Some(i)));
        let others: Vec<f64> =
            without.map(|s| self.for_site(fmr, s)).map(|(score, asks)| score.max(asks)).collect();
        let standard_error = jackknife(&others);
        Ok(Threshold {
            score: score.max(site_asks),
            site_asks: Some(site_asks),
            prior_asks,
            standard_error,
            fmr,
        })
    }

    /// Where the blended rate, and where the site's rate alone, is `fmr`.
    fn for_site(&self, fmr: f64, site: Site) -> (f64, f64) {
        let blended = |t: f64| {
            (site.people * self.of_site(site, t) + PRIOR_PEOPLE * self.most_cautious(t))
                / (site.people + PRIOR_PEOPLE)
        };
        (solve(fmr, blended), solve(fmr, |t| self.of_site(site, t)))
    }

    /// The site's FMR at `t`: its mean and deviation, with a tail as the populations have on average.
    fn of_site(&self, site: Site, t: f64) -> f64 {
        let z = (t - site.mean) / site.deviation;
        let tails = self.populations.iter().map(|p| p.share_above(p.mean + z * p.deviation));
        tails.sum::<f64>() / self.populations.len() as f64
    }

    fn most_cautious(&self, t: f64) -> f64 {
        self.populations.iter().map(|p| p.share_above(t)).fold(0.0, f64::max)
    }
}

impl Population {
    fn new(distribution: &ScoreDistribution) -> Result<Self, CalibrationError> {
        let Scores { mean, deviation, ref tail, .. } = distribution.impostor;
        let fail = |why: &str| {
            Err(CalibrationError::Distribution {
                population: distribution.population.clone(),
                why: why.into(),
            })
        };
        if !(mean.is_finite() && deviation > 0.0 && deviation.is_finite()) {
            return fail("its mean and deviation are not those of scores");
        }
        let shares = tail.iter().all(|(share, score)| *share > 0.0 && *share < 1.0 && score.is_finite());
        let falling = tail.is_sorted_by(|a, b| a.0 > b.0 && a.1 < b.1);
        if tail.len() < 2 || !shares || !falling {
            return fail("its tail needs two or more falling shares of rising scores");
        }
        let curve = tail.iter().map(|&(share, score)| (-normal().inverse_cdf(share), score)).collect();
        let before_last = tail.len() - 2;
        let tail_begins =
            tail.iter().position(|(share, _)| *share <= TAIL).unwrap_or(before_last).min(before_last);
        Ok(Self { name: distribution.population.clone(), mean, deviation, curve, tail_begins })
    }

    /// The share of impostor scores of at least `t`. Between measured points the scores are taken to be spread as a
    /// normal distribution spreads them; beyond the last, as on the line through it and the one where the tail
    /// begins, because the last two alone rest on few scores.
    fn share_above(&self, t: f64) -> f64 {
        let (last, after) = (self.curve.len() - 1, self.curve.partition_point(|&(_, score)| score < t));
        let (from, to) = match after {
            0 => (0, 1),
            _ if after <= last => (after - 1, after),
            _ => (self.tail_begins, last),
        };
        let ((z0, s0), (z1, s1)) = (self.curve[from], self.curve[to]);
        normal().sf(z1 + (t - s1) * (z1 - z0) / (s1 - s0))
    }
}

impl SiteScores {
    /// Nothing known yet of a gallery of `people`.
    pub fn new(people: usize) -> Self {
        Self { people: vec![[0.0; 3]; people], total: [0.0; 3], best: Vec::new() }
    }

    /// Adds the scores of one template of the person at place `own` with the references of all others, in order of
    /// their places.
    pub fn add(&mut self, own: usize, scores: &[f32]) {
        let others = (0..self.people.len()).filter(|&other| other != own);
        for (other, &score) in others.zip(scores) {
            let score = f64::from(score);
            for (at, value) in [1.0, score, score * score].into_iter().enumerate() {
                self.people[other][at] += value;
                self.people[own][at] += value;
                self.total[at] += value;
            }
        }
        self.best.extend(scores.iter().copied().reduce(f32::max));
    }

    /// Mean and deviation of all scores, or of those without one person. None with fewer than three people, or when
    /// all scores are one.
    fn estimate(&self, without: Option<usize>) -> Option<Site> {
        let left = without.map_or([0.0; 3], |i| self.people[i]);
        let people = self.people.len() - usize::from(without.is_some());
        let [count, sum, squares] = [0, 1, 2].map(|at| self.total[at] - left[at]);
        let mean = sum / count;
        let deviation = (squares / count - mean * mean).max(0.0).sqrt();
        (people >= 3 && count > 0.0 && deviation > 1e-6).then_some(Site {
            people: people as f64,
            mean,
            deviation,
        })
    }

    /// The lowest threshold at which at most `fpir` of the templates would be taken for somebody else.
    fn best_kept_out_by(&self, fpir: f64) -> f64 {
        let mut best = self.best.clone();
        best.sort_by(|a, b| b.total_cmp(a));
        let let_in = (fpir * best.len() as f64) as usize;
        best.get(let_in).map_or(f64::NEG_INFINITY, |&score| f64::from(score.next_up()))
    }
}

/// The lowest score from -1 to 1 at which the falling `rate` is at most `wanted`, to 1e-9.
fn solve(wanted: f64, rate: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-1.0, 1.0);
    for _ in 0..31 {
        let middle = (low + high) / 2.0;
        if rate(middle) > wanted { low = middle } else { high = middle }
    }
    high
}

/// Standard error from estimates that each leave one person out (Efron and Stein 1981).
fn jackknife(estimates: &[f64]) -> Option<f64> {
    let n = estimates.len() as f64;
    let mean = estimates.iter().sum::<f64>() / n;
    let squares = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>();
    (estimates.len() >= 3).then(|| ((n - 1.0) / n * squares).sqrt())
}

fn normal() -> Normal {
    Normal::standard()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A population whose impostor scores are normal, known down to a share of 1e-4.
    fn population(name: &str, templates: usize, mean: f64, deviation: f64) -> ScoreDistribution {
        let at = |share: f64| (share, mean - deviation * normal().inverse_cdf(share));
        let impostor =
            Scores { count: 100_000, mean, deviation, tail: [0.1, 0.01, 1e-3, 1e-4].map(at).to_vec() };
        let genuine = Scores { count: 0, mean: 0.7, deviation: 0.1, tail: vec![] };
        ScoreDistribution {
            population: name.into(),
            measured: "made up".into(),
            templates,
            impostor,
            genuine,
        }
    }

    fn calibration() -> Calibration {
        Calibration::new(&[population("mild", 1, 0.0, 0.14), population("close", 1, 0.13, 0.16)], 1).unwrap()
    }

    /// Scores with a given mean and deviation, the same for everybody.
    fn site(people: usize, mean: f64, deviation: f64) -> SiteScores {
        let mut site = SiteScores::new(people);
        for own in 0..people {
            let score = |other: usize| {
                let share = ((own * 7_919 + other * 104_729) % 9_973) as f64 / 9_973.0 + 0.5 / 9_973.0;
                (mean + deviation * normal().inverse_cdf(share)) as f32
            };
            let scores: Vec<f32> = (1..people).map(score).collect();
            site.add(own, &scores);
        }
        site
    }

    #[test]
    fn without_people_the_most_cautious_population_decides() {
        let threshold = calibration().threshold(0.01, 100, &SiteScores::new(0)).unwrap();
        // 1 - 0.99^(1/100), and a normal tail of that share.
        let want = 0.13 - 0.16 * normal().inverse_cdf(1.00498e-4);
        assert!((threshold.score - want).abs() < 1e-3, "{threshold:?}, not {want}");
        assert_eq!(threshold.site_asks, None);
    }

    #[test]
    fn a_site_of_faces_closer_than_any_population_raises_the_threshold() {
        let threshold = calibration().threshold(0.01, 200, &site(200, 0.25, 0.17)).unwrap();
        let want = 0.25 - 0.17 * normal().inverse_cdf(5.025e-5);
        assert!(threshold.score > want - 0.01, "{threshold:?}, at least {want}");
        assert!(threshold.score > threshold.prior_asks);
    }

    #[test]
    fn many_people_of_a_mild_site_outweigh_the_cautious_population() {
        let few = calibration().threshold(0.01, 20, &site(20, 0.0, 0.14)).unwrap();
        let many = calibration().threshold(0.01, 20, &site(2_000, 0.0, 0.14)).unwrap();
        assert!(many.score < few.score && few.score < few.prior_asks, "{many:?} {few:?}");
        assert!(many.standard_error < few.standard_error);
    }

    #[test]
    fn the_distribution_nearest_from_below_in_templates_is_taken() {
        let of = |templates, mean| population("p", templates, mean, 0.14);
        let means = [(1, 0.0), (2, 0.0), (3, 0.3), (9, 0.3)];
        for (templates, mean) in means {
            let calibration = Calibration::new(&[of(3, 0.3), of(1, 0.0)], templates).unwrap();
            assert_eq!(calibration.populations[0].mean, mean, "{templates} templates");
        }
        assert_eq!(Calibration::new(&[of(5, 0.1), of(3, 0.3)], 1).unwrap().populations[0].mean, 0.3);
    }

    #[test]
    fn distributions_that_are_none_are_refused() {
        let with = |change: fn(&mut Scores)| {
            let mut broken = population("p", 1, 0.0, 0.14);
            change(&mut broken.impostor);
            Calibration::new(&[broken], 1).unwrap_err()
        };
        assert!(matches!(with(|s| s.tail.truncate(1)), CalibrationError::Distribution { .. }));
        assert!(matches!(with(|s| s.tail.reverse()), CalibrationError::Distribution { .. }));
        assert!(matches!(with(|s| s.deviation = f64::NAN), CalibrationError::Distribution { .. }));
        assert_eq!(Calibration::new(&[], 1).unwrap_err(), CalibrationError::NoDistributions);
        let nothing = SiteScores::new(0);
        assert_eq!(calibration().threshold(0.0, 1, &nothing).unwrap_err(), CalibrationError::Target(0.0));
    }

    proptest! {
        #[test]
        fn the_threshold_rises_with_the_gallery_and_as_fewer_strangers_are_accepted(
            people in 3usize..60,
            size in 1usize..10_000,
            fpir in 1e-4f64..0.2,
            mean in -0.1f64..0.4,
        ) {
            let (calibration, site) = (calibration(), site(people, mean, 0.15));
            let threshold = |fpir, size| calibration.threshold(fpir, size, &site).unwrap().score;
            prop_assert!(threshold(fpir, size) <= threshold(fpir, size * 2) + 1e-9);
            prop_assert!(threshold(fpir, size) <= threshold(fpir / 2.0, size) + 1e-9);
        }

        #[test]
        fn the_threshold_is_never_below_what_the_sites_scores_ask(
            people in 3usize..60,
            fpir in 1e-3f64..0.2,
            mean in -0.1f64..0.6,
            deviation in 0.02f64..0.3,
        ) {
            let site = site(people, mean, deviation);
            let threshold = calibration().threshold(fpir, people, &site).unwrap();
            let let_in = site.best.iter().filter(|&&s| f64::from(s) >= threshold.score).count();
            prop_assert!(let_in as f64 <= fpir * site.best.len() as f64);
            prop_assert!(threshold.score >= threshold.site_asks.unwrap());
        }
    }
}
