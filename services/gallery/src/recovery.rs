//! The rest of what a hub knows of a person, as it travels with the row: a hub that lost the person takes it back.
//!
//! Terminals cannot read it. It is sealed with a key that only the hub has, so that the same person gives the same bytes.
//! Everything is in it but kept pictures and the verdicts on pictures, which are only a help to whoever enrols; where a
//! row would become too long, credentials that were ended go first, then the oldest reports, then the oldest lines of the
//! consent ledger that are nobody's last word.

use std::collections::HashMap;

use prost::Message;
use rollcall_core::{
    ConsentId, CredentialId, GroupId, MismatchId, PersonId, SiteDay, TemplateId, UtcInstant,
};
use rollcall_vision::Quality;
use zeroize::Zeroizing;

use crate::consent::Giver;
use crate::keys::Key;
use crate::seal::{Place, Seal};
use crate::store::mismatches::Mismatch;
use crate::store::whole::{WholeCredential, WholePerson};
use crate::{Consent, CredentialKind, Decision, GiverKind, Said, SealError};

/// Where it is sealed: in the row of a person.
const PLACE: &str = "gallery_row.recovery";

/// What a row does not say in the clear.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Recovery {
    #[prost(string, optional, tag = "1")]
    pub(crate) external_id: Option<String>,
    #[prost(int64, tag = "2")]
    pub(crate) created_us: i64,
    /// As stored: `2026-11-24`.
    #[prost(string, optional, tag = "3")]
    pub(crate) leave_day: Option<String>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) groups: Vec<RecoveryGroup>,
    /// In the order of their lines.
    #[prost(message, repeated, tag = "5")]
    consents: Vec<RecoveryConsent>,
    #[prost(message, repeated, tag = "6")]
    templates: Vec<RecoveryTemplate>,
    /// Those in force too, for when they were given.
    #[prost(message, repeated, tag = "7")]
    credentials: Vec<RecoveryCredential>,
    #[prost(message, repeated, tag = "8")]
    mismatches: Vec<RecoveryMismatch>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecoveryGroup {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) group_id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) display_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct RecoveryConsent {
    #[prost(bytes = "vec", tag = "1")]
    consent_id: Vec<u8>,
    /// 1 given, 2 refused, 3 withdrawn.
    #[prost(int64, tag = "2")]
    decision: i64,
    #[prost(bool, tag = "3")]
    by_guardian: bool,
    #[prost(string, tag = "4")]
    giver_label: String,
    #[prost(string, tag = "5")]
    form: String,
    #[prost(string, optional, tag = "6")]
    start_day: Option<String>,
    #[prost(string, optional, tag = "7")]
    end_day: Option<String>,
    #[prost(int64, tag = "8")]
    recorded_us: i64,
    #[prost(string, tag = "9")]
    recorded_by: String,
}

#[derive(Clone, PartialEq, Message)]
struct RecoveryTemplate {
    #[prost(bytes = "vec", tag = "1")]
    template_id: Vec<u8>,
    #[prost(string, tag = "2")]
    model: String,
    #[prost(int64, tag = "3")]
    created_us: i64,
    /// In the order of `Quality`.
    #[prost(float, repeated, tag = "4")]
    quality: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct RecoveryCredential {
    #[prost(bytes = "vec", tag = "1")]
    credential_id: Vec<u8>,
    #[prost(int64, tag = "2")]
    kind: i64,
    #[prost(int64, tag = "3")]
    created_us: i64,
    #[prost(int64, optional, tag = "4")]
    revoked_us: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct RecoveryMismatch {
    #[prost(bytes = "vec", tag = "1")]
    mismatch_id: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    actual_person_id: Option<Vec<u8>>,
    #[prost(float, tag = "3")]
    score: f32,
    #[prost(float, tag = "4")]
    threshold: f32,
    #[prost(int64, tag = "5")]
    reported_us: i64,
    #[prost(string, tag = "6")]
    reported_by: String,
}

impl Recovery {
    /// What is to be known of a person, within so many bytes.
    pub(crate) fn of(person: &WholePerson, size_bytes: usize) -> Self {
        let mut recovery = Self {
            external_id: person.external_id.clone(),
            created_us: person.created.micros(),
            leave_day: person.leave_day.map(|day| day.to_string()),
            groups: person.groups.iter().map(RecoveryGroup::of).collect(),
            consents: person.consents.iter().map(RecoveryConsent::of).collect(),
            templates: Vec::new(),
            credentials: person.credentials.iter().map(RecoveryCredential::of).collect(),
            mismatches: person.mismatches.iter().map(RecoveryMismatch::of).collect(),
        };
        for template in &person.templates {
            let quality = &template.quality;
            recovery.templates.push(RecoveryTemplate {
                template_id: template.template.as_bytes().to_vec(),
                model: template.model.clone(),
                created_us: template.created.micros(),
                quality: vec![
                    quality.inter_ocular_px,
                    quality.sharpness,
                    quality.yaw_deg,
                    quality.roll_deg,
                    quality.nose_height,
                    quality.brightness,
                    quality.contrast,
                ],
            });
        }
        recovery.shorten(&person.consents, size_bytes);
        recovery
    }

    /// Leaves out what can be spared until the rest is short enough.
    fn shorten(&mut self, consents: &[Consent], size_bytes: usize) {
        if self.encoded_len() <= size_bytes {
            return;
        }
        self.credentials.retain(|credential| credential.revoked_us.is_none());
        let mut last_words: HashMap<Giver, ConsentId> = HashMap::new();
        for consent in consents {
            last_words.insert(consent.said.line().giver, consent.id);
        }
        let is_last = |consent: &RecoveryConsent| {
            last_words.values().any(|last| last.as_bytes() == consent.consent_id.as_slice())
        };
        while self.encoded_len() > size_bytes && !self.mismatches.is_empty() {
            self.mismatches.remove(0);
        }
        while self.encoded_len() > size_bytes {
            let Some(oldest) = self.consents.iter().position(|consent| !is_last(consent)) else { break };
            self.consents.remove(oldest);
        }
    }

    /// Sealed into the row of this person.
    pub(crate) fn sealed(&self, key: &Key, person: PersonId) -> Result<Vec<u8>, SealError> {
        let text = Zeroizing::new(self.encode_to_vec());
        Seal::new(key.bytes()).seal_same(&key.derive("nonces"), place(person), &text)
    }

    /// What was sealed into the row of this person by this hub; `None` when it was not, or cannot be read.
    pub(crate) fn opened(key: &Key, person: PersonId, sealed: &[u8]) -> Option<Self> {
        let text = Seal::new(key.bytes()).open(place(person), sealed).ok()?;
        Self::decode(text.as_slice()).ok()
    }

    /// The consent ledger, oldest line first; `None` when it holds what no ledger does.
    pub(crate) fn consents(&self) -> Option<Vec<Consent>> {
        self.consents.iter().map(RecoveryConsent::read).collect()
    }

    /// What was known of a template: network, when, how good.
    pub(crate) fn template(&self, template: TemplateId) -> Option<(String, UtcInstant, Quality)> {
        let known = self.templates.iter().find(|known| known.template_id == template.as_bytes())?;
        let [inter_ocular_px, sharpness, yaw_deg, roll_deg, nose_height, brightness, contrast] =
            *<&[f32; 7]>::try_from(known.quality.as_slice()).ok()?;
        let quality =
            Quality { inter_ocular_px, sharpness, yaw_deg, roll_deg, nose_height, brightness, contrast };
        Some((known.model.clone(), UtcInstant::from_micros(known.created_us), quality))
    }

    /// Every credential with when it was given and ended, without what verifies it.
    pub(crate) fn credentials(&self) -> Vec<WholeCredential> {
        let read = |known: &RecoveryCredential| {
            Some(WholeCredential {
                credential: CredentialId::try_from(known.credential_id.as_slice()).ok()?,
                kind: CredentialKind::of(known.kind)?,
                created: UtcInstant::from_micros(known.created_us),
                revoked: known.revoked_us.map(UtcInstant::from_micros),
                verifier: None,
            })
        };
        self.credentials.iter().filter_map(read).collect()
    }

    /// The reports about this person.
    pub(crate) fn mismatches(&self, person: PersonId) -> Vec<Mismatch> {
        let read = |known: &RecoveryMismatch| {
            Some(Mismatch {
                mismatch: MismatchId::try_from(known.mismatch_id.as_slice()).ok()?,
                person,
                actual: known.actual_person_id.as_deref().and_then(|id| PersonId::try_from(id).ok()),
                score: known.score,
                threshold: known.threshold,
                reported: UtcInstant::from_micros(known.reported_us),
                reported_by: known.reported_by.clone(),
            })
        };
        self.mismatches.iter().filter_map(read).collect()
    }
}

fn place(person: PersonId) -> Place<'static> {
    Place { table: PLACE, person, row: &[], model: &[] }
}

impl RecoveryGroup {
    fn of((group, display_name): &(GroupId, String)) -> Self {
        Self { group_id: group.as_bytes().to_vec(), display_name: display_name.clone() }
    }
}

impl RecoveryConsent {
    fn of(consent: &Consent) -> Self {
        let (decision, start, end) = match consent.said.decision {
            Decision::Given { start, end } => (1, start, end),
            Decision::Refused => (2, None, None),
            Decision::Withdrawn => (3, None, None),
        };
        Self {
            consent_id: consent.id.as_bytes().to_vec(),
            decision,
            by_guardian: consent.said.by == GiverKind::Guardian,
            giver_label: consent.said.giver_label.clone(),
            form: consent.said.form.clone(),
            start_day: start.map(|day| day.to_string()),
            end_day: end.map(|day| day.to_string()),
            recorded_us: consent.recorded.micros(),
            recorded_by: consent.recorded_by.clone(),
        }
    }

    fn read(&self) -> Option<Consent> {
        let day = |text: &Option<String>| text.as_deref().map(str::parse::<SiteDay>).transpose().ok();
        let decision = match self.decision {
            1 => Decision::Given { start: day(&self.start_day)?, end: day(&self.end_day)? },
            2 => Decision::Refused,
            3 => Decision::Withdrawn,
            _ => return None,
        };
        Some(Consent {
            id: ConsentId::try_from(self.consent_id.as_slice()).ok()?,
            said: Said {
                decision,
                by: if self.by_guardian { GiverKind::Guardian } else { GiverKind::Person },
                giver_label: self.giver_label.clone(),
                form: self.form.clone(),
            },
            recorded: UtcInstant::from_micros(self.recorded_us),
            recorded_by: self.recorded_by.clone(),
        })
    }
}

impl RecoveryCredential {
    fn of(credential: &WholeCredential) -> Self {
        Self {
            credential_id: credential.credential.as_bytes().to_vec(),
            kind: credential.kind.number(),
            created_us: credential.created.micros(),
            revoked_us: credential.revoked.map(UtcInstant::micros),
        }
    }
}

impl RecoveryMismatch {
    fn of(mismatch: &Mismatch) -> Self {
        Self {
            mismatch_id: mismatch.mismatch.as_bytes().to_vec(),
            actual_person_id: mismatch.actual.map(|actual| actual.as_bytes().to_vec()),
            score: mismatch.score,
            threshold: mismatch.threshold,
            reported_us: mismatch.reported.micros(),
            reported_by: mismatch.reported_by.clone(),
        }
    }
}
