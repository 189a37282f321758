//! The calls about faces.

use std::collections::HashMap;

use prost::Message as _;
use rollcall_core::{PersonId, UtcInstant, page};
use rollcall_proto::v1;

use crate::convert::{self, faces as to};
use crate::gallery::EnrolOptions;
use crate::recogniser::off_runtime;
use crate::store::enrolments::Enrolment;
use crate::{Gallery, GalleryError};

type Answer<T> = Result<T, GalleryError>;

pub(super) async fn enrol_picture(
    gallery: &Gallery,
    request: v1::EnrolPictureRequest,
) -> Answer<v1::EnrolPictureResponse> {
    let person = convert::person_id("person", &request.person)?;
    let options =
        EnrolOptions { validate_only: request.validate_only, accept_look_alike: request.accept_look_alike };
    let enrolled = gallery.enrol_picture(person, request.picture, options, UtcInstant::now()).await?;
    let names = others(gallery, std::slice::from_ref(&enrolled.enrolment)).await?;
    Ok(to::enrolled(&enrolled, person, &names))
}

pub(super) async fn list_templates(
    gallery: &Gallery,
    request: v1::ListTemplatesRequest,
) -> Answer<v1::ListTemplatesResponse> {
    let person = convert::person_id("person", &request.person)?;
    let templates = gallery.templates(person).await?;
    let templates = templates.iter().map(|template| to::template(person, template)).collect();
    Ok(v1::ListTemplatesResponse { templates })
}

pub(super) async fn delete_template(gallery: &Gallery, request: v1::DeleteTemplateRequest) -> Answer<()> {
    let (person, template) = to::template_name("name", &request.name)?;
    gallery.delete_template(person, template, UtcInstant::now()).await
}

pub(super) async fn list_enrolments(
    gallery: &Gallery,
    request: v1::ListEnrolmentsRequest,
) -> Answer<v1::ListEnrolmentsResponse> {
    let person = convert::person_id("person", &request.person)?;
    let size = page::size(request.page_size).map_err(GalleryError::Page)?;
    let list = format!("enrolments?person={person}");
    let key = page::key(&list, &request.page_token).map_err(GalleryError::Page)?;
    let (after_us, after_id) = split_key(key.as_deref(), i64::MIN, &[])?;
    let mut found = gallery.enrolments(person, (after_us, after_id), size as i64 + 1).await?;
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().filter(|_| more);
    let next_page_token = last
        .map(|last| page::token(&list, &join_key(last.recorded, &last.picture_sha256)))
        .unwrap_or_default();
    let names = others(gallery, &found).await?;
    let enrolments = found.iter().map(|enrolment| to::enrolment(enrolment, &names)).collect();
    Ok(v1::ListEnrolmentsResponse { enrolments, next_page_token })
}

pub(super) async fn identify(
    gallery: &Gallery,
    request: v1::IdentifyRequest,
) -> Answer<v1::IdentifyResponse> {
    Ok(to::identified(&gallery.identify(request.picture, UtcInstant::now()).await?))
}

pub(super) async fn verify(gallery: &Gallery, request: v1::VerifyRequest) -> Answer<v1::VerifyResponse> {
    let person = convert::person_id("person", &request.person)?;
    Ok(to::verified(&gallery.verify(person, request.picture, UtcInstant::now()).await?))
}

pub(super) async fn list_look_alikes(
    gallery: &Gallery,
    request: v1::ListLookAlikesRequest,
) -> Answer<v1::ListLookAlikesResponse> {
    let person = match request.person.as_str() {
        "" => None,
        name => Some(convert::person_id("person", name)?),
    };
    let score_min = to::score_min(request.score_min)?;
    let pairs = gallery.look_alikes(person, score_min, UtcInstant::now()).await?;
    Ok(v1::ListLookAlikesResponse { pairs: pairs.iter().map(to::look_alike).collect() })
}

pub(super) async fn report_mismatch(
    gallery: &Gallery,
    request: v1::ReportMismatchRequest,
    reported_by: String,
) -> Answer<v1::Mismatch> {
    // The digest of a picture takes longer than a runtime thread may.
    let (retrying, retried) = (gallery.clone(), request.clone());
    let retry =
        off_runtime(move || retrying.retry("ReportMismatch", &retried.request_id, &retried.encode_to_vec()));
    let retry = retry.await??;
    let report = to::report(request, reported_by)?;
    Ok(to::mismatch(&gallery.report_mismatch(report, retry, UtcInstant::now()).await?))
}

pub(super) async fn list_mismatches(
    gallery: &Gallery,
    request: v1::ListMismatchesRequest,
) -> Answer<v1::ListMismatchesResponse> {
    const LIST: &str = "mismatches";
    let size = page::size(request.page_size).map_err(GalleryError::Page)?;
    let key = page::key(LIST, &request.page_token).map_err(GalleryError::Page)?;
    let before = split_key(key.as_deref(), i64::MAX, &[0xff; 16])?;
    let mut found = gallery.mismatches(before, size as i64 + 1).await?;
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().filter(|_| more);
    let next_page_token = last
        .map(|last| page::token(LIST, &join_key(last.reported, last.mismatch.as_bytes())))
        .unwrap_or_default();
    Ok(v1::ListMismatchesResponse { mismatches: found.iter().map(to::mismatch).collect(), next_page_token })
}

pub(super) async fn delete_mismatch(gallery: &Gallery, request: v1::DeleteMismatchRequest) -> Answer<()> {
    let mismatch = to::mismatch_id("name", &request.name)?;
    gallery.delete_mismatch(mismatch, UtcInstant::now()).await
}

pub(super) fn get_calibration(gallery: &Gallery) -> Answer<v1::Calibration> {
    let recogniser = gallery.recogniser()?;
    Ok(to::calibration(&recogniser.thresholds(), recogniser.model()))
}

/// What the people are called whom these pictures look like.
async fn others(gallery: &Gallery, enrolments: &[Enrolment]) -> Answer<HashMap<PersonId, String>> {
    let others = enrolments.iter().filter_map(|enrolment| enrolment.judgement.looks_like);
    gallery.display_names(others.map(|other| other.person).collect()).await
}

/// The key of a list that goes by time: 8 bytes of microseconds, and the id.
fn join_key(instant: UtcInstant, id: &[u8]) -> Vec<u8> {
    [&instant.micros().to_be_bytes()[..], id].concat()
}

/// The key in a page token; the given one for the first page.
fn split_key<'a>(key: Option<&'a [u8]>, first_us: i64, first_id: &'a [u8]) -> Answer<(i64, &'a [u8])> {
    let Some(key) = key else { return Ok((first_us, first_id)) };
    let (micros, id) = key
        .split_first_chunk()
        .ok_or_else(|| GalleryError::invalid("page_token", "is not of this list; begin again without one"))?;
    Ok((i64::from_be_bytes(*micros), id))
}
