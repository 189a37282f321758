//! The thresholds of a gallery, solved from the scores between its own people and the manifest's populations.
//!
//! All come from the same calibration and differ in the question: how often a stranger may be taken for any of N, or for
//! one. They are solved again when the gallery has changed, on a thread of their own, from a copy: no recognition waits
//! for it.

use rollcall_vision::models::Entry;
use rollcall_vision::{Calibration, CalibrationError, SiteScores};

use crate::CrossScores;

/// One honest enrolment picture in a hundred is asked about, because it looks like somebody else's. A lower rate would
/// let more people be enrolled twice; the question costs one look.
const DUPLICATE_RATE: f64 = 0.01;

/// Of pictures of somebody else under this person's name, two in a hundred are taken for theirs. At the scores of the
/// shipped network that refuses about as many of their own.
const UNLIKE_RATE: f64 = 0.02;

/// What scores mean in this gallery.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// The false positive identification rate that the site accepts.
    pub fpir_target: f64,
    /// People that they were solved for.
    pub gallery_size: usize,
    /// From here on a face is somebody of the gallery.
    pub identify: f32,
    /// From here on a face is the one person who it is compared with, at the same rate.
    pub verify: f32,
    /// From here on a picture offered for enrolment may be of somebody enrolled.
    pub duplicate: f32,
    /// Below, a picture is not of the person whose other templates it is compared with.
    pub unlike: f32,
    /// Pairs of the site's own people that they rest on.
    pub site_pairs: usize,
    /// What the site's scores alone ask for; `None` when there are too few.
    pub site_threshold: Option<f32>,
    /// The population that decided, or "site".
    pub basis: String,
}

impl Thresholds {
    /// Solves them for a gallery and this network: `templates` in all, `fpir` above 0 and at most 0.5. Takes time with
    /// the number of people: 20,000 about a second on one core of a PC.
    ///
    /// # Errors
    /// When the network's entry has no usable distributions, or the rate means nothing.
    pub fn solve(
        network: &Entry,
        fpir: f64,
        templates: usize,
        scores: &CrossScores,
    ) -> Result<Self, CalibrationError> {
        let people = scores.people();
        let mut site = SiteScores::new(people);
        scores.for_each(|place, _, scores| site.add(place, scores));
        let calibration = Calibration::new(&network.scores, templates / people.max(1))?;
        let solved = calibration.threshold(fpir, people, &site)?;
        // These three ask for single comparisons or a coarser rate; the standard error is of no use to them.
        let score = |rate, size| calibration.threshold(rate, size, &site).map(|solved| up(solved.score));
        let basis = match solved.site_asks {
            Some(asks) if asks >= solved.score => "site".to_owned(),
            _ => most_cautious(&calibration, fpir, people)?,
        };
        Ok(Self {
            fpir_target: fpir,
            gallery_size: people,
            identify: up(solved.score),
            verify: score(fpir, 1)?,
            duplicate: score(DUPLICATE_RATE, people)?,
            unlike: score(UNLIKE_RATE, 1)?,
            site_pairs: scores.pair_count(),
            site_threshold: solved.site_asks.map(|asks| asks as f32),
            basis,
        })
    }
}

/// The population that asks for the highest threshold.
fn most_cautious(calibration: &Calibration, fpir: f64, people: usize) -> Result<String, CalibrationError> {
    let nobody = SiteScores::new(0);
    let mut most: (f64, &str) = (f64::NEG_INFINITY, "");
    for name in calibration.populations() {
        let alone = calibration.only(name).map(|only| only.threshold(fpir, people, &nobody)).transpose()?;
        if let Some(asks) = alone.map(|alone| alone.prior_asks).filter(|asks| *asks > most.0) {
            most = (asks, name);
        }
    }
    Ok(most.1.to_owned())
}

/// The nearest f32 that is not below.
fn up(score: f64) -> f32 {
    let near = score as f32;
    if f64::from(near) < score { near.next_up() } else { near }
}
