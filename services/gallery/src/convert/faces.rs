//! Faces: verdicts, templates, decisions, thresholds.

use std::collections::HashMap;

use rollcall_core::{BadName, MismatchId, PersonId, TemplateId};
use rollcall_proto::v1;
use rollcall_vision::{Quality, QualityIssue, QualityLimits, Rect};

use crate::GalleryError;
use crate::Thresholds;
use crate::convert::timestamp;
use crate::decide::{Decision, Outcome, Rule};
use crate::enrol::{Verdict, look_alike_sentence};
use crate::gallery::{AlikePair, Enrolled, Evidence, Identified, Report};
use crate::store::enrolments::Enrolment;
use crate::store::mismatches::Mismatch;
use crate::store::templates::Template;

/// The person and template of `people/ID/templates/ID`.
pub(crate) fn template_name(field: &'static str, name: &str) -> Result<(PersonId, TemplateId), GalleryError> {
    let at = name.match_indices('/').nth(1).map_or(name.len(), |(at, _)| at);
    let (person, template) = name.split_at(at);
    let bad = |source: BadName| GalleryError::BadName { field, source };
    let template = TemplateId::from_name(template.strip_prefix('/').unwrap_or_default()).map_err(bad)?;
    Ok((PersonId::from_name(person).map_err(bad)?, template))
}

/// The mismatch that a field names.
pub(crate) fn mismatch_id(field: &'static str, name: &str) -> Result<MismatchId, GalleryError> {
    MismatchId::from_name(name).map_err(|source| GalleryError::BadName { field, source })
}

/// A report of a mismatch, made by this caller.
pub(crate) fn report(
    request: v1::ReportMismatchRequest,
    reported_by: String,
) -> Result<Report, GalleryError> {
    use v1::report_mismatch_request::Evidence as Given;
    let person = super::person_id("person", &request.person)?;
    let actual = match request.actual_person.as_str() {
        "" => None,
        name => Some(super::person_id("actual_person", name)?),
    };
    if actual == Some(person) {
        return Err(GalleryError::invalid(
            "actual_person",
            "is the person themselves; name another, or nobody",
        ));
    }
    let evidence = match request.evidence {
        Some(Given::Score(score)) if score > 0.0 && score <= 1.0 => Evidence::Score(score),
        Some(Given::Score(_)) => {
            return Err(GalleryError::invalid(
                "score",
                "is not above 0 and at most 1; send the trace's score",
            ));
        }
        Some(Given::Picture(picture)) => Evidence::Picture(picture),
        None => {
            return Err(GalleryError::invalid("evidence", "is missing; send the score or a picture"));
        }
    };
    Ok(Report { person, actual, evidence, reported_by })
}

/// The lowest score that a list of look-alikes asks for.
pub(crate) fn score_min(score: f32) -> Result<f32, GalleryError> {
    match (-1.0..=1.0).contains(&score) {
        true => Ok(score),
        false => Err(GalleryError::invalid("score_min", "is not from -1 to 1; send 0 for the usual one")),
    }
}

fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn boxed(bounds: Rect) -> v1::Box {
    v1::Box { left: bounds.x0, top: bounds.y0, right: bounds.x1, bottom: bounds.y1 }
}

/// A quality with what is wrong with it for a purpose.
fn quality(quality: &Quality, limits: &QualityLimits) -> v1::FaceQuality {
    let complaint = |issue: QualityIssue| match issue {
        QualityIssue::Small { .. } => "TOO_SMALL",
        QualityIssue::Blurred { .. } => "BLURRED",
        QualityIssue::Turned { .. } => "TURNED_AWAY",
        QualityIssue::Tilted { .. } => "TILTED",
        QualityIssue::Nodding { .. } => "LOOKING_UP_OR_DOWN",
        QualityIssue::Dark { .. } => "TOO_DARK",
        QualityIssue::Bright { .. } => "TOO_BRIGHT",
        QualityIssue::Flat { .. } => "LOW_CONTRAST",
    };
    v1::FaceQuality {
        eye_distance_px: quality.inter_ocular_px,
        // Measured as a deviation, told as a variance.
        sharpness: quality.sharpness * quality.sharpness,
        yaw_degrees: quality.yaw_deg,
        roll_degrees: quality.roll_deg,
        brightness: quality.brightness,
        complaints: quality.issues(limits).into_iter().map(|issue| complaint(issue).to_owned()).collect(),
    }
}

/// What became of a picture; `names` has what people are called whom it looks like.
pub(crate) fn enrolment(enrolment: &Enrolment, names: &HashMap<PersonId, String>) -> v1::Enrolment {
    let judgement = &enrolment.judgement;
    let other = judgement.looks_like;
    let named = other.and_then(|other| Some(look_alike_sentence(names.get(&other.person)?, other.score)));
    v1::Enrolment {
        verdict: verdict(judgement.verdict).into(),
        explanation: named.unwrap_or_else(|| judgement.explanation.clone()),
        r#box: enrolment.bounds.map(boxed),
        quality: enrolment.quality.map(|seen| quality(&seen, &QualityLimits::ENROL)),
        looks_like: other.map(|other| other.person.name()).unwrap_or_default(),
        looks_like_score: other.map(|other| other.score),
        picture_sha256: hex::encode(enrolment.picture_sha256),
        record_time: Some(timestamp(enrolment.recorded)),
    }
}

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Enrolled => v1::Verdict::Enrolled,
        Verdict::NoFace => v1::Verdict::NoFace,
        Verdict::SeveralFaces => v1::Verdict::SeveralFaces,
        Verdict::TooSmall => v1::Verdict::TooSmall,
        Verdict::Blurred => v1::Verdict::Blurred,
        Verdict::TurnedAway => v1::Verdict::TurnedAway,
        Verdict::TooDark => v1::Verdict::TooDark,
        Verdict::TooBright => v1::Verdict::TooBright,
        Verdict::LooksLike => v1::Verdict::LooksLike,
        Verdict::UnlikeOthers => v1::Verdict::UnlikeOthers,
        Verdict::PoorQuality => v1::Verdict::PoorQuality,
        Verdict::Unreadable => v1::Verdict::Unreadable,
    }
}

/// What a picture became, with its template.
pub(crate) fn enrolled(
    enrolled: &Enrolled,
    person: PersonId,
    names: &HashMap<PersonId, String>,
) -> v1::EnrolPictureResponse {
    v1::EnrolPictureResponse {
        enrolment: Some(enrolment(&enrolled.enrolment, names)),
        template: enrolled.template.as_ref().map(|made| template(person, made)),
    }
}

/// A template without its embedding.
pub(crate) fn template(person: PersonId, template: &Template) -> v1::Template {
    v1::Template {
        name: full_name(person, template.template),
        create_time: Some(timestamp(template.created)),
        model: template.model.clone(),
        quality: Some(quality(&template.quality, &QualityLimits::ENROL)),
        picture_kept: template.picture_kept,
    }
}

fn full_name(person: PersonId, template: TemplateId) -> String {
    format!("{}/{}", person.name(), template.name())
}

/// The faces of a picture, each with its decision.
pub(crate) fn identified(seen: &Identified) -> v1::IdentifyResponse {
    let faces = seen.faces.iter().map(|(face, decision)| {
        let person = recognised(decision);
        let display_name = person.and_then(|person| seen.display_names.get(&person).cloned());
        v1::IdentifiedFace {
            r#box: Some(boxed(face.bounds)),
            detection_score: face.score,
            outcome: outcome(decision.outcome).into(),
            person: person.map(PersonId::name).unwrap_or_default(),
            display_name: display_name.unwrap_or_default(),
            trace: Some(decision_trace(decision)),
        }
    });
    v1::IdentifyResponse {
        faces: faces.collect(),
        width_px: count(seen.width_px),
        height_px: count(seen.height_px),
    }
}

/// Whether a face was the person's.
pub(crate) fn verified(decision: &Decision) -> v1::VerifyResponse {
    v1::VerifyResponse { verified: recognised(decision).is_some(), trace: Some(decision_trace(decision)) }
}

fn recognised(decision: &Decision) -> Option<PersonId> {
    match decision.outcome {
        Outcome::Recognised(person) => Some(person),
        Outcome::Unknown | Outcome::Ambiguous | Outcome::Unusable => None,
    }
}

fn outcome(outcome: Outcome) -> v1::Outcome {
    match outcome {
        Outcome::Recognised(_) => v1::Outcome::Recognised,
        Outcome::Unknown => v1::Outcome::Unknown,
        Outcome::Ambiguous => v1::Outcome::Ambiguous,
        Outcome::Unusable => v1::Outcome::Unusable,
    }
}

/// Why a decision came out as it did, as the contract and the event log have it. What is known of liveness and of the
/// time that it took is added by whoever knows it.
pub fn decision_trace(decision: &Decision) -> v1::DecisionTrace {
    let trace = &decision.trace;
    let rule = match trace.rule {
        Rule::Threshold => "THRESHOLD",
        Rule::Margin => "MARGIN",
        Rule::LookAlikeMargin => "LOOK_ALIKE_MARGIN",
        Rule::MismatchReported => "MISMATCH_REPORTED",
        Rule::Quality => "QUALITY",
        Rule::GalleryEmpty => "GALLERY_EMPTY",
    };
    let template = recognised(decision).zip(trace.template);
    v1::DecisionTrace {
        rule: rule.to_owned(),
        score: trace.score,
        threshold: trace.threshold,
        runner_up_score: trace.runner_up_score,
        margin: trace.margin(),
        margin_needed: trace.margin_needed,
        template: template.map(|(person, (template, _))| full_name(person, template)).unwrap_or_default(),
        template_score: template.map(|(_, (_, score))| score),
        runner_up: trace.runner_up.map(PersonId::name).unwrap_or_default(),
        quality: trace.quality.map(|seen| quality(&seen, &QualityLimits::RECOGNISE)),
        gallery_size: count(trace.gallery_size),
        frames: count(trace.frames),
        model: trace.model.to_string(),
        ..v1::DecisionTrace::default()
    }
}

/// Two people who look alike.
pub(crate) fn look_alike(alike: &AlikePair) -> v1::LookAlike {
    v1::LookAlike {
        person: alike.pair.a.name(),
        other_person: alike.pair.b.name(),
        score: alike.pair.score,
        margin_needed: alike.margin_needed,
    }
}

/// A reported mismatch.
pub(crate) fn mismatch(mismatch: &Mismatch) -> v1::Mismatch {
    v1::Mismatch {
        name: mismatch.mismatch.name(),
        person: mismatch.person.name(),
        actual_person: mismatch.actual.map(PersonId::name).unwrap_or_default(),
        score: mismatch.score,
        threshold: mismatch.threshold,
        report_time: Some(timestamp(mismatch.reported)),
        reported_by: mismatch.reported_by.clone(),
    }
}

/// The thresholds in force.
pub(crate) fn calibration(thresholds: &Thresholds, model: &str) -> v1::Calibration {
    v1::Calibration {
        fpir_target: thresholds.fpir_target,
        gallery_size: count(thresholds.gallery_size),
        threshold: thresholds.identify,
        site_pairs: i64::try_from(thresholds.site_pairs).unwrap_or(i64::MAX),
        site_threshold: thresholds.site_threshold,
        basis: thresholds.basis.clone(),
        model: model.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rollcall_core::UtcInstant;

    use super::*;

    #[test]
    fn a_templates_name_has_two_ids_and_nothing_else() {
        let (person, template) = (PersonId::generate(), TemplateId::generate());
        assert_eq!(template_name("name", &full_name(person, template)).unwrap(), (person, template));
        let (person, template) = (person.name(), template.name());
        for wrong in [
            String::new(),
            person.clone(),
            template.clone(),
            format!("{person}/"),
            format!("{person}//{template}"),
            format!("{person}/{template}/"),
            format!("{template}/{person}"),
            format!("/{person}/{template}"),
        ] {
            assert!(template_name("name", &wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instant_before_1970_has_nanoseconds_that_count_up() {
        let before = timestamp(UtcInstant::from_micros(-1));
        assert_eq!((before.seconds, before.nanos), (-1, 999_999_000));
    }
}
