//! Somebody whom a terminal knew before it was adopted: what it tells the hub, and what is let in of it.

use prost::Message as _;
use rollcall_core::{PersonId, TemplateId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_vision::Quality;
use zeroize::Zeroizing;

use crate::consent::{ConsentState, Line, standing};
use crate::convert::{date, day};
use crate::seal::unit;
use crate::store::templates::UNKNOWN_QUALITY;
use crate::store::whole::WholePerson;
use crate::{Consent, Decision, GalleryError, GiverKind, Said, group, person, text};

/// A person of a terminal.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) person: PersonId,
    pub(crate) display_name: String,
    pub(crate) external_id: Option<String>,
    pub(crate) group_names: Vec<String>,
    pub(crate) leave_day: Option<rollcall_core::SiteDay>,
    pub(crate) consent: Option<(Said, UtcInstant)>,
    pub(crate) templates: Vec<OfferedTemplate>,
}

#[derive(Clone, Debug)]
pub(crate) struct OfferedTemplate {
    pub(crate) template: TemplateId,
    pub(crate) model_hash: [u8; 32],
    pub(crate) model: String,
    pub(crate) embedding: Zeroizing<Vec<u8>>,
    pub(crate) quality: Quality,
}

impl Offered {
    /// Reads what a terminal offers.
    ///
    /// # Errors
    /// [`GalleryError::Row`] for what no terminal offers.
    pub(crate) fn read(offer: &v1::OfferPeopleRequest) -> Result<Self, GalleryError> {
        let person = PersonId::try_from(&offer.person_id[..]);
        let name = person.map_or_else(|_| "a person".to_owned(), PersonId::name);
        let bad = |problem: String| GalleryError::Row { row: name.clone(), problem };
        let person = person.map_err(|_| bad("has a person_id that is not of 16 bytes".into()))?;
        if offer.encoded_len() > limits::GALLERY_ROW_SIZE_BYTES {
            return Err(bad(format!("has more than {} bytes", limits::GALLERY_ROW_SIZE_BYTES)));
        }
        if offer.group_names.len() > limits::PERSON_GROUPS {
            return Err(bad(format!("has more than {} groups", limits::PERSON_GROUPS)));
        }
        if offer.templates.len() > limits::TEMPLATES_PER_PERSON {
            return Err(bad(format!("has more than {} templates", limits::TEMPLATES_PER_PERSON)));
        }
        let field = |error: GalleryError| bad(format!("cannot be taken in: {error}"));
        let mut group_names: Vec<String> = offer
            .group_names
            .iter()
            .map(|name| group::display_name(name))
            .collect::<Result<_, _>>()
            .map_err(field)?;
        group_names.sort_unstable();
        group_names.dedup();
        Ok(Self {
            person,
            display_name: person::display_name(&offer.display_name).map_err(field)?,
            external_id: person::external_id(&offer.external_id).map_err(field)?,
            group_names,
            leave_day: day("leave_date", offer.leave_date).map_err(field)?,
            consent: offer.consent.as_ref().map(consent).transpose().map_err(field)?,
            templates: offer.templates.iter().map(template).collect::<Result<_, _>>().map_err(bad)?,
        })
    }
}

fn consent(offered: &v1::OfferedConsent) -> Result<(Said, UtcInstant), GalleryError> {
    let decision = match offered.decision.as_str() {
        "CONSENT_GIVEN" => Decision::Given {
            start: day("consent.start_date", offered.start_date)?,
            end: day("consent.end_date", offered.end_date)?,
        },
        "CONSENT_REFUSED" => Decision::Refused,
        "CONSENT_WITHDRAWN" => Decision::Withdrawn,
        _ => return Err(GalleryError::invalid("consent.decision", "is not given, refused or withdrawn")),
    };
    let by = if offered.by_guardian { GiverKind::Guardian } else { GiverKind::Person };
    let (giver_label, form) = (offered.giver_label.clone(), offered.form.clone());
    let said = Said { decision, by, giver_label, form }.checked()?;
    Ok((said, UtcInstant::from_micros(offered.recorded_us)))
}

fn template(offered: &v1::OfferedTemplate) -> Result<OfferedTemplate, String> {
    let told = offered.template.as_ref().ok_or("has a template that is empty")?;
    let template = TemplateId::try_from(&told.template_id[..])
        .map_err(|_| "has a template whose id is not of 16 bytes")?;
    let model_hash =
        told.model_hash[..].try_into().map_err(|_| "has a template whose model_hash is not of 32 bytes")?;
    unit(&told.embedding, None).map_err(|error| format!("has a template that is no embedding: {error}"))?;
    let model = text::optional_line("model", &offered.model, limits::GROUP_NAME_CHARS)
        .map_err(|error| format!("has a template whose {error}"))?;
    let quality = offered.quality.as_ref().map_or(UNKNOWN_QUALITY, |quality| Quality {
        inter_ocular_px: quality.eye_distance_px,
        // Told as a variance, measured as a deviation.
        sharpness: quality.sharpness.max(0.0).sqrt(),
        yaw_deg: quality.yaw_degrees,
        roll_deg: quality.roll_degrees,
        brightness: quality.brightness,
        ..UNKNOWN_QUALITY
    });
    let embedding = Zeroizing::new(told.embedding.to_vec());
    Ok(OfferedTemplate { template, model_hash, model, embedding, quality })
}

/// What a terminal tells the hub of somebody. `embeddings` are those of the templates, opened, in their order; what does
/// not open is left out.
pub(crate) fn offer(
    whole: &WholePerson,
    embeddings: Vec<Option<Zeroizing<Vec<u8>>>>,
    zone: &rollcall_core::SiteZone,
    now: UtcInstant,
) -> v1::OfferPeopleRequest {
    let template =
        |(template, embedding): (&crate::store::whole::WholeTemplate, Option<Zeroizing<Vec<u8>>>)| {
            Some(v1::OfferedTemplate {
                template: Some(v1::GalleryTemplate {
                    template_id: template.template.to_bytes().to_vec().into(),
                    model_hash: template.model_hash.clone().into(),
                    embedding: embedding?.to_vec().into(),
                }),
                quality: Some(v1::FaceQuality {
                    eye_distance_px: template.quality.inter_ocular_px,
                    sharpness: template.quality.sharpness * template.quality.sharpness,
                    yaw_degrees: template.quality.yaw_deg,
                    roll_degrees: template.quality.roll_deg,
                    brightness: template.quality.brightness,
                    complaints: Vec::new(),
                }),
                model: template.model.clone(),
            })
        };
    let mut offer = v1::OfferPeopleRequest {
        person_id: whole.person.to_bytes().to_vec().into(),
        display_name: whole.display_name.clone(),
        external_id: whole.external_id.clone().unwrap_or_default(),
        group_names: whole.groups.iter().map(|(_, name)| name.clone()).collect(),
        leave_date: whole.leave_day.map(date),
        consent: last_word(whole, zone, now).map(offered_consent),
        templates: whole.templates.iter().zip(embeddings).filter_map(template).collect(),
    };
    while offer.encoded_len() > limits::GALLERY_ROW_SIZE_BYTES && !offer.templates.is_empty() {
        offer.templates.remove(0);
    }
    offer
}

/// The line of the ledger that counts most: an objection, where one is in force, else the last that was given.
fn last_word<'a>(
    whole: &'a WholePerson,
    zone: &rollcall_core::SiteZone,
    now: UtcInstant,
) -> Option<&'a Consent> {
    let lines: Vec<Line> = whole.consents.iter().map(|consent| consent.said.line()).collect();
    let state = standing(&lines, whole.leave_day, zone, now).state;
    let objected = matches!(state, ConsentState::Refused | ConsentState::Withdrawn);
    let mut heard = Vec::new();
    whole.consents.iter().rev().find(|consent| {
        let giver = consent.said.line().giver;
        let is_last = !heard.contains(&giver);
        heard.push(giver);
        is_last && matches!(consent.said.decision, Decision::Given { .. }) != objected
    })
}

fn offered_consent(consent: &Consent) -> v1::OfferedConsent {
    let (decision, start, end) = match consent.said.decision {
        Decision::Given { start, end } => ("CONSENT_GIVEN", start, end),
        Decision::Refused => ("CONSENT_REFUSED", None, None),
        Decision::Withdrawn => ("CONSENT_WITHDRAWN", None, None),
    };
    v1::OfferedConsent {
        decision: decision.to_owned(),
        by_guardian: consent.said.by == GiverKind::Guardian,
        giver_label: consent.said.giver_label.clone(),
        form: consent.said.form.clone(),
        start_date: start.map(date),
        end_date: end.map(date),
        recorded_us: consent.recorded.micros(),
    }
}
