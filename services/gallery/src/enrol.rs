//! Whether a picture becomes a template: pure judgement, each refusal with a sentence for the person who chose it.
//!
//! In this order: is there one face, is it seen well enough, is it somebody else's, is it like the person's others. The
//! first complaint is the verdict.

use rollcall_core::PersonId;
use rollcall_vision::{Face, Quality, QualityIssue, QualityLimits, face_meant};

use crate::Candidate;

/// A second face counts from this share of the width of the one meant. Classmates in the background are smaller; two
/// people side by side are about the same.
const SECOND_FACE_WIDTH: f32 = 0.5;

/// What became of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is a template now.
    Enrolled,
    /// There is no face on it.
    NoFace,
    /// There is no telling which face is meant.
    SeveralFaces,
    /// Too few pixels.
    TooSmall,
    /// Out of focus, moved, or enlarged.
    Blurred,
    /// Not looking at the camera.
    TurnedAway,
    /// Too little light.
    TooDark,
    /// Too much light.
    TooBright,
    /// The face is somebody else's, or very like it.
    LooksLike,
    /// The face is not like the person's other templates.
    UnlikeOthers,
    /// Another complaint about the picture.
    PoorQuality,
    /// No picture that can be read.
    Unreadable,
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What became of it.
    pub verdict: Verdict,
    /// In a sentence, for people. It names nobody.
    pub explanation: String,
    /// Who the face looks like.
    pub looks_like: Option<Candidate>,
}

/// What a face is compared with before it is enrolled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// The best other person.
    pub other: Option<Candidate>,
    /// Score with the person's own reference; `None` without templates.
    pub own: Option<f32>,
    /// From here on the face may be the other person's.
    pub duplicate: f32,
    /// Below, it is not the person's own.
    pub unlike: f32,
    /// Whether somebody has looked and said that they are two people.
    pub accept_look_alike: bool,
}

impl Judgement {
    fn new(verdict: Verdict, explanation: impl Into<String>) -> Self {
        Self { verdict, explanation: explanation.into(), looks_like: None }
    }

    /// Of bytes that are no picture, with the decoder's reason.
    pub fn unreadable(why: impl std::fmt::Display) -> Self {
        Self::new(Verdict::Unreadable, format!("The picture cannot be read: {why}."))
    }
}

/// The one face that a picture of this size is of.
///
/// # Errors
/// The refusal when there is none or more than one.
pub fn face_of(faces: &[Face], width: usize, height: usize) -> Result<&Face, Judgement> {
    let Some(meant) = face_meant(faces, width, height) else {
        return Err(no_face());
    };
    let beside = faces.iter().filter(|face| {
        !std::ptr::eq(*face, meant) && face.bounds.width() >= SECOND_FACE_WIDTH * meant.bounds.width()
    });
    match beside.count() {
        0 => Ok(meant),
        others => Err(Judgement::new(
            Verdict::SeveralFaces,
            format!("There are {} faces on it; cut out the person who is meant.", others + 1),
        )),
    }
}

/// The refusal of a picture without a face.
pub fn no_face() -> Judgement {
    Judgement::new(
        Verdict::NoFace,
        "There is no face on it, or it is very small; take a picture from near, with the whole face.",
    )
}

/// The refusal of a face that is not seen well enough to be compared with for years; `None` when it is.
pub fn seen_badly(quality: &Quality) -> Option<Judgement> {
    let issues = quality.issues(&QualityLimits::ENROL);
    let issue = issues.first()?;
    let verdict = match issue {
        QualityIssue::Small { .. } => Verdict::TooSmall,
        QualityIssue::Blurred { .. } => Verdict::Blurred,
        QualityIssue::Turned { .. } | QualityIssue::Nodding { .. } => Verdict::TurnedAway,
        QualityIssue::Dark { .. } => Verdict::TooDark,
        QualityIssue::Bright { .. } => Verdict::TooBright,
        QualityIssue::Tilted { .. } | QualityIssue::Flat { .. } => Verdict::PoorQuality,
    };
    Some(Judgement::new(verdict, format!("The face is {issue}.")))
}

/// The verdict of a face that is seen well.
pub fn judge(likeness: &Likeness) -> Judgement {
    let other = likeness.other.filter(|other| other.score >= likeness.duplicate);
    // Whoever fits themselves better than the other has a look-alike, and that is known already.
    let better_own = |other: Candidate| likeness.own.is_some_and(|own| own > other.score);
    if let Some(other) = other.filter(|other| !likeness.accept_look_alike && !better_own(*other)) {
        let explanation = look_alike_sentence("somebody else", other.score);
        return Judgement { looks_like: Some(other), ..Judgement::new(Verdict::LooksLike, explanation) };
    }
    match likeness.own {
        Some(own) if own < likeness.unlike => Judgement::new(
            Verdict::UnlikeOthers,
            format!(
                "The face is not like this person's other pictures (score {own:.2}, {:.2} needed); is it of somebody \
                 else, or are the others?",
                likeness.unlike
            ),
        ),
        _ => Judgement::new(Verdict::Enrolled, "Enrolled."),
    }
}

/// The explanation of a look-alike, with the name of the other person where it may be told. It is put in when somebody
/// asks, not stored, so that it goes with that person.
pub fn look_alike_sentence(other: &str, score: f32) -> String {
    format!(
        "The face looks like that of {other} (score {score:.2}); if they are two people, accept it, and they will need \
         a wider margin."
    )
}

/// Whether a verdict that is remembered answers a new call, or has to be found anew: somebody has looked meanwhile.
pub fn still_answers(verdict: Verdict, accept_look_alike: bool) -> bool {
    !(verdict == Verdict::LooksLike && accept_look_alike)
}

/// Who a remembered look-alike was.
pub fn looks_like(person: Option<PersonId>, score: Option<f32>) -> Option<Candidate> {
    person.zip(score).map(|(person, score)| Candidate { person, score })
}

#[cfg(test)]
mod tests {
    use rollcall_vision::{Landmarks, Rect};

    use super::*;

    fn face(x0: f32, side: f32) -> Face {
        let bounds = Rect { x0, y0: 0.0, x1: x0 + side, y1: side };
        Face { bounds, score: 1.0, landmarks: Landmarks { points: [[0.0; 2]; 5] } }
    }

    fn likeness(other: Option<f32>, own: Option<f32>, accept_look_alike: bool) -> Likeness {
        let other = other.map(|score| Candidate { person: PersonId::from_bytes([2; 16]), score });
        Likeness { other, own, duplicate: 0.6, unlike: 0.4, accept_look_alike }
    }

    #[test]
    fn a_second_face_counts_when_it_is_half_as_wide() {
        let verdict =
            |faces: &[Face]| face_of(faces, 400, 200).map(|face| face.bounds.x0).map_err(|no| no.verdict);
        assert_eq!(verdict(&[]), Err(Verdict::NoFace));
        assert_eq!(verdict(&[face(150.0, 100.0)]), Ok(150.0));
        assert_eq!(verdict(&[face(150.0, 100.0), face(0.0, 49.0), face(300.0, 30.0)]), Ok(150.0));
        assert_eq!(verdict(&[face(150.0, 100.0), face(0.0, 50.0)]), Err(Verdict::SeveralFaces));
        // The one meant is in the middle; a larger one at the edge counts all the more.
        assert_eq!(verdict(&[face(350.0, 120.0), face(150.0, 100.0)]), Err(Verdict::SeveralFaces));
    }

    #[test]
    fn each_likeness_has_its_verdict() {
        let cases = [
            (likeness(None, None, false), Verdict::Enrolled),
            (likeness(Some(0.59), None, false), Verdict::Enrolled),
            (likeness(Some(0.6), None, false), Verdict::LooksLike),
            (likeness(Some(0.6), None, true), Verdict::Enrolled),
            (likeness(Some(0.6), Some(0.3), false), Verdict::LooksLike),
            (likeness(Some(0.6), Some(0.3), true), Verdict::UnlikeOthers),
            (likeness(Some(0.65), Some(0.8), false), Verdict::Enrolled),
            (likeness(Some(0.1), Some(0.39), false), Verdict::UnlikeOthers),
            (likeness(Some(0.1), Some(0.4), false), Verdict::Enrolled),
        ];
        for (likeness, verdict) in cases {
            let judgement = judge(&likeness);
            assert_eq!(judgement.verdict, verdict, "{likeness:?}");
            assert_eq!(judgement.looks_like.is_some(), verdict == Verdict::LooksLike);
        }
    }

    #[test]
    fn only_a_look_alike_is_judged_anew_when_somebody_has_looked() {
        assert!(still_answers(Verdict::LooksLike, false));
        assert!(!still_answers(Verdict::LooksLike, true));
        assert!(still_answers(Verdict::Blurred, true));
    }
}
