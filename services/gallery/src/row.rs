//! A person as the terminals have it: how a row is made, how it is hashed, and what is let in of one that came.
//!
//! A row is `GalleryPerson` of the contract, encoded. The same person gives the same bytes each time. Who wrote it is
//! told by a code of authenticity that only the hub can make: a terminal keeps it with the row, so that a hub that lost a
//! person can take them back from whoever has them.
//!
//! What came is looked at whole before any of it counts: a row with one template that is no embedding is refused whole.

use std::collections::BTreeSet;

use prost::Message as _;
use prost::bytes::Bytes;
use rollcall_core::{CredentialId, GroupId, PersonId, TemplateId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_credential::CredentialForm;
use rollcall_proto::v1::gallery_row::Change;
use rollcall_vision::Embedding;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::decide::{REPORTED_THRESHOLD_MAX, reports_of_margin};
use crate::keys::Key;
use crate::seal::unit;
use crate::{CredentialKind, GalleryError, person};

/// Another number when the same person gives other bytes than before: then every row is made anew.
pub(crate) const FORMAT: u32 = 1;

/// What a row counts as in a set hash.
pub(crate) fn hash(person: PersonId, upsert: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(person.as_bytes()).chain_update(upsert).finalize().into()
}

/// The code of authenticity of a row.
pub(crate) fn mac(key: &Key, revision: i64, person: PersonId, upsert: &[u8]) -> [u8; 32] {
    key.mac(&[&revision.to_be_bytes(), person.as_bytes(), upsert])
}

/// A row that may be taken in.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) revision: i64,
    pub(crate) person: PersonId,
    /// `None`: not here any more.
    pub(crate) upsert: Option<Upsert>,
}

/// What a row says of a person.
#[derive(Clone, Debug)]
pub(crate) struct Upsert {
    /// As it came.
    pub(crate) bytes: Bytes,
    pub(crate) hash: [u8; 32],
    pub(crate) mac: [u8; 32],
    pub(crate) told: Told,
}

/// A person as a hub tells of them.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) display_name: String,
    pub(crate) groups: Vec<GroupId>,
    pub(crate) face_until: Option<UtcInstant>,
    pub(crate) leave: Option<UtcInstant>,
    pub(crate) templates: Vec<ToldTemplate>,
    pub(crate) credentials: Vec<ToldCredential>,
    /// What reports ask for: the threshold of each, and who it was instead.
    pub(crate) reports: Vec<(f32, Option<PersonId>)>,
    pub(crate) recovery: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) struct ToldTemplate {
    pub(crate) template: TemplateId,
    pub(crate) model_hash: [u8; 32],
    /// f32, little-endian, of length 1. Overwritten when dropped.
    pub(crate) embedding: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldCredential {
    pub(crate) credential: CredentialId,
    pub(crate) kind: CredentialKind,
    pub(crate) verifier: [u8; 32],
}

impl Row {
    /// Reads a row. `running` is the network that faces are matched by here, and the values of its embeddings.
    ///
    /// # Errors
    /// [`GalleryError::Row`].
    pub(crate) fn read(
        row: &v1::GalleryRow,
        running: Option<(&[u8; 32], usize)>,
    ) -> Result<Self, GalleryError> {
        let person = PersonId::try_from(&*row.person_id).map_err(|_| {
            refused("a row", format!("has a person_id of {} bytes, not 16", row.person_id.len()))
        })?;
        let whose = person.name();
        let revision = i64::try_from(row.revision).ok().filter(|revision| *revision >= 0);
        let revision = revision.ok_or_else(|| refused(&whose, "has a revision that cannot be".into()))?;
        let upsert = match &row.change {
            Some(Change::Erase(true)) => None,
            Some(Change::Upsert(bytes)) => {
                let told = Told::read(person, bytes, running).map_err(|problem| refused(&whose, problem))?;
                let mac =
                    (&*row.mac).try_into().map_err(|_| refused(&whose, "has a mac that is none".into()))?;
                Some(Upsert { hash: hash(person, bytes), bytes: bytes.clone(), mac, told })
            }
            _ => {
                return Err(refused(&whose, "says neither what the person is nor that they are gone".into()));
            }
        };
        Ok(Self { revision, person, upsert })
    }

    /// Whether this hub made the row.
    pub(crate) fn is_of(&self, key: &Key) -> bool {
        self.upsert.as_ref().is_some_and(|upsert| {
            let right = mac(key, self.revision, self.person, &upsert.bytes);
            bool::from(right.ct_eq(&upsert.mac))
        })
    }
}

fn refused(row: &str, problem: String) -> GalleryError {
    GalleryError::Row { row: row.to_owned(), problem }
}

impl Told {
    fn read(whose: PersonId, bytes: &[u8], running: Option<(&[u8; 32], usize)>) -> Result<Self, String> {
        if bytes.len() > limits::GALLERY_ROW_SIZE_BYTES {
            return Err(format!("has {} bytes, more than {}", bytes.len(), limits::GALLERY_ROW_SIZE_BYTES));
        }
        let told = v1::GalleryPerson::decode(bytes).map_err(|error| format!("cannot be read: {error}"))?;
        if *told.person_id != *whose.as_bytes() {
            return Err("is of another person than it says".into());
        }
        let display_name = person::display_name(&told.display_name).map_err(|error| error.to_string())?;
        let groups: Result<Vec<GroupId>, String> = told.group_ids.iter().map(|id| group(id)).collect();
        let groups = person::groups(groups?).map_err(|error| error.to_string())?;
        let templates: Result<Vec<_>, String> =
            told.templates.into_iter().enumerate().map(|(at, one)| template(at, one, running)).collect();
        let templates = templates?;
        distinct("templates", templates.iter().map(|one| one.template), limits::TEMPLATES_PER_PERSON)?;
        let credentials: Result<Vec<_>, String> = told.credentials.iter().map(credential).collect();
        // Of a form that a newer hub knows: the row is kept, the credential opens nothing here.
        let credentials: Vec<_> = credentials?.into_iter().flatten().collect();
        distinct("credentials", credentials.iter().map(|one| one.credential), limits::PERSON_CREDENTIALS)?;
        Ok(Self {
            display_name,
            groups,
            face_until: moment("face_until_us", told.face_until_us)?,
            leave: moment("leave_us", told.leave_us)?,
            templates,
            credentials,
            reports: reports(told.threshold_min, &told.pair_margins)?,
            recovery: told.recovery,
        })
    }
}

fn group(id: &[u8]) -> Result<GroupId, String> {
    GroupId::try_from(id).map_err(|_| format!("has a group_id of {} bytes, not 16", id.len()))
}

fn template(
    at: usize,
    told: v1::GalleryTemplate,
    running: Option<(&[u8; 32], usize)>,
) -> Result<ToldTemplate, String> {
    let problem = |what: String| format!("has a template (number {at}) {what}");
    let template = TemplateId::try_from(&*told.template_id)
        .map_err(|_| problem(format!("with an id of {} bytes, not 16", told.template_id.len())))?;
    let model_hash: [u8; 32] = (&*told.model_hash)
        .try_into()
        .map_err(|_| problem(format!("with a model_hash of {} bytes, not 32", told.model_hash.len())))?;
    let length = running.filter(|(running, _)| **running == model_hash).map(|(_, length)| length);
    let _sound: Embedding =
        unit(&told.embedding, length).map_err(|error| problem(format!("that is no embedding: {error}")))?;
    Ok(ToldTemplate { template, model_hash, embedding: Zeroizing::new(told.embedding.to_vec()) })
}

fn credential(told: &v1::GalleryCredential) -> Result<Option<ToldCredential>, String> {
    let credential =
        CredentialId::try_from(&*told.credential_id).map_err(|_| "has a credential without an id")?;
    let verifier =
        (&*told.verifier).try_into().map_err(|_| "has a credential whose verifier is not of 32 bytes")?;
    let kind = match told.form() {
        CredentialForm::Pin => CredentialKind::Pin,
        CredentialForm::Card => CredentialKind::Card,
        CredentialForm::Badge => CredentialKind::Badge,
        CredentialForm::Unspecified => return Ok(None),
    };
    Ok(Some(ToldCredential { credential, kind, verifier }))
}

/// What is sent as the least threshold and a margin for each other person, as the reports that ask for them.
fn reports(threshold_min: f32, margins: &[v1::PairMargin]) -> Result<Vec<(f32, Option<PersonId>)>, String> {
    if !(0.0..=REPORTED_THRESHOLD_MAX).contains(&threshold_min) {
        return Err("has a threshold_min that no report asks for".into());
    }
    if margins.len() > limits::GALLERY_ROW_PAIRS {
        return Err(format!("has more than {} pair_margins", limits::GALLERY_ROW_PAIRS));
    }
    let mut reports: Vec<_> = (threshold_min > 0.0).then_some((threshold_min, None)).into_iter().collect();
    for pair in margins {
        let other = PersonId::try_from(&*pair.other_person_id).map_err(|_| "has a pair with nobody")?;
        let count = reports_of_margin(pair.margin).ok_or("has a margin that no report asks for")?;
        reports.extend((0..count).map(|_| (threshold_min, Some(other))));
    }
    Ok(reports)
}

fn moment(field: &str, micros: i64) -> Result<Option<UtcInstant>, String> {
    match micros {
        0 => Ok(None),
        micros if micros > 0 => Ok(Some(UtcInstant::from_micros(micros))),
        _ => Err(format!("has a {field} before 1970")),
    }
}

fn distinct<T: Ord>(what: &str, ids: impl ExactSizeIterator<Item = T>, most: usize) -> Result<(), String> {
    let count = ids.len();
    if count > most {
        return Err(format!("has {count} {what}, more than {most}"));
    }
    match ids.collect::<BTreeSet<T>>().len() == count {
        true => Ok(()),
        false => Err(format!("has one of its {what} twice")),
    }
}
