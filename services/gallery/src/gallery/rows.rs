//! What a hub keeps ready for its terminals: each person's row, and the chain over all changes.
//!
//! Whoever changes a person notes it in the feed; at the commit of that transaction the row of each changed person is made
//! anew and the chain goes on, so that rows, chain and feed are always of one moment. The chain after a change is SHA-256
//! of the chain before it, the revision, the person and the row's hash, zeros where there is none. It says whether two
//! galleries have the same history, whomever each of them has.
//!
//! A terminal that stands alone makes none of this.

use std::collections::{BTreeMap, HashMap};

use prost::Message as _;
use prost::bytes::Bytes;
use rollcall_core::{GalleryId, PersonId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_credential::CredentialForm;
use rollcall_store::Tx;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Gallery;
use crate::change::Change;
use crate::decide::{REPORTED_THRESHOLD_MAX, margin_of_reports};
use crate::recogniser::{TEMPLATE_TABLE, off_runtime};
use crate::recovery::Recovery;
use crate::row;
use crate::seal::{Place, Seal, unit};
use crate::store::changes;
use crate::store::rows::{self, StoredRow};
use crate::store::whole::{self, WholePerson, WholeTemplate};
use crate::{CredentialKind, GalleryError, RecogniseError, SealError, consent};

/// Changes that are taken together.
const BATCH: i64 = 500;

/// The table of the rows: part of what each is sealed with.
const ROW_TABLE: &str = "gallery_row";

/// Who has changed, when, and at which revision last.
type Changed = BTreeMap<PersonId, (i64, UtcInstant)>;

impl Gallery {
    /// Begins to keep rows, at a hub: at the first start, and when rows are made otherwise than before, everybody's is
    /// made, and terminals are told so as of any change.
    pub(super) async fn begin_rows(&self, now: UtcInstant) -> Result<(), GalleryError> {
        if !self.is_hub() {
            return Ok(());
        }
        let made_by = self.shared.keys.authenticity.mac(&[b"rows", &row::FORMAT.to_be_bytes()]);
        let mut tx = self.begin_upkeep().await?;
        let head = rows::head(&mut tx).await?;
        if head.made_by.as_deref() == Some(&made_by[..]) {
            return Ok(());
        }
        if head.history_hash.is_none() {
            let newest = changes::newest(&mut tx).await?;
            let first = first_link(head.gallery);
            rows::set_head(&mut tx, newest, &first).await?;
            rows::add_links(&mut tx, &[(newest, first)], -1).await?;
        }
        rows::set_made_by(&mut tx, &made_by).await?;
        let everybody = rows::everybody(&mut tx).await?;
        changes::record_many(&mut tx, &everybody, false, now).await?;
        self.commit(tx).await
    }

    /// Brings rows and chain up to the newest change of this transaction.
    pub(super) async fn keep_rows(&self, tx: &mut Tx) -> Result<(), GalleryError> {
        if !self.is_hub() {
            return Ok(());
        }
        let head = rows::head(tx).await?;
        let mut history = head.history_hash.ok_or(GalleryError::Damaged("the gallery's history"))?;
        let mut last = head.revision;
        loop {
            let batch = changes::after(tx, last, BATCH).await?;
            let Some(newest) = batch.last().map(|change| change.revision) else { break };
            let hashes = self.make_rows(tx, &batch).await?;
            let mut links = Vec::with_capacity(batch.len());
            for change in &batch {
                history = next_link(&history, change, hashes.get(&change.person));
                links.push((change.revision, history));
            }
            rows::add_links(tx, &links, newest.saturating_sub(limits::GALLERY_CHANGES)).await?;
            last = newest;
        }
        if last > head.revision {
            rows::set_head(tx, last, &history).await?;
        }
        Ok(())
    }

    /// Makes the rows of whoever changed, and gives their hashes; whoever is gone has none.
    async fn make_rows(
        &self,
        tx: &mut Tx,
        batch: &[Change],
    ) -> Result<HashMap<PersonId, [u8; 32]>, GalleryError> {
        let changed: Changed =
            batch.iter().map(|change| (change.person, (change.revision, change.changed))).collect();
        let people: Vec<PersonId> = changed.keys().copied().collect();
        let whole = whole::of(tx, &people).await?;
        let gallery = self.clone();
        let made = off_runtime(move || {
            let made = changed.iter().filter_map(|(person, (revision, at))| {
                whole.get(person).map(|whole| gallery.make_row(whole, *revision, *at))
            });
            made.collect::<Result<Vec<StoredRow>, SealError>>()
        });
        let made = made.await?.map_err(RecogniseError::from)?;
        rows::put(tx, &made).await?;
        Ok(made.into_iter().map(|row| (row.person, row.hash)).collect())
    }

    fn make_row(&self, whole: &WholePerson, revision: i64, at: UtcInstant) -> Result<StoredRow, SealError> {
        let keys = &self.shared.keys;
        let mut told = self.told(whole, at);
        let rest = told.encoded_len() + SEALED_MORE_BYTES;
        let recovery = Recovery::of(whole, limits::GALLERY_ROW_SIZE_BYTES.saturating_sub(rest));
        told.recovery = recovery.sealed(&keys.recovery, whole.person)?.into();
        let upsert = Zeroizing::new(told.encode_to_vec());
        Ok(StoredRow {
            person: whole.person,
            revision,
            hash: row::hash(whole.person, &upsert),
            sealed: self.seal_row(whole.person, &upsert)?,
            mac: row::mac(&keys.authenticity, revision, whole.person, &upsert),
        })
    }

    /// What terminals must know of a person, as of this moment.
    fn told(&self, whole: &WholePerson, at: UtcInstant) -> v1::GalleryPerson {
        let zone = self.zone();
        let lines: Vec<_> = whole.consents.iter().map(|consent| consent.said.line()).collect();
        let standing = consent::standing(&lines, whole.leave_day, &zone, at);
        let face_until = standing.until.filter(|_| standing.allows_face());
        let leave = whole.leave_day.map(|day| consent::end_of(&zone, day));
        let templates = if standing.allows_face() { self.templates_told(whole) } else { Vec::new() };
        let in_force = whole.credentials.iter().filter_map(|credential| {
            Some(v1::GalleryCredential {
                credential_id: credential.credential.to_bytes().to_vec().into(),
                form: form(credential.kind).into(),
                verifier: credential.verifier?.to_vec().into(),
            })
        });
        let thresholds = whole.mismatches.iter().map(|report| report.threshold);
        v1::GalleryPerson {
            person_id: whole.person.to_bytes().to_vec().into(),
            display_name: whole.display_name.clone(),
            group_ids: whole.groups.iter().map(|(group, _)| group.to_bytes().to_vec().into()).collect(),
            face_until_us: face_until.map_or(0, UtcInstant::micros),
            leave_us: leave.map_or(0, UtcInstant::micros),
            templates,
            credentials: in_force.collect(),
            threshold_min: thresholds.fold(0.0, f32::max).min(REPORTED_THRESHOLD_MAX),
            pair_margins: pair_margins(whole),
            recovery: Bytes::new(),
        }
    }

    /// The templates that open, oldest first; where they are too large together, the newest of them.
    fn templates_told(&self, whole: &WholePerson) -> Vec<v1::GalleryTemplate> {
        let seal = Seal::new(self.shared.keys.templates.bytes());
        let mut told = Vec::with_capacity(whole.templates.len());
        let mut size_bytes = 0;
        for template in whole.templates.iter().rev() {
            let Some(embedding) = opened(&seal, whole.person, template) else {
                tracing::warn!("a stored template does not open or is no embedding; no terminal is sent it");
                continue;
            };
            let one = v1::GalleryTemplate {
                template_id: template.template.to_bytes().to_vec().into(),
                model_hash: template.model_hash.clone().into(),
                embedding: embedding.to_vec().into(),
            };
            size_bytes += one.encoded_len();
            if size_bytes > limits::GALLERY_ROW_TEMPLATES_SIZE_BYTES {
                tracing::warn!("a person's templates are too large for one row; the oldest are not sent");
                break;
            }
            told.push(one);
        }
        told.reverse();
        told
    }

    pub(super) fn seal_row(&self, person: PersonId, upsert: &[u8]) -> Result<Vec<u8>, SealError> {
        Seal::new(self.shared.keys.templates.bytes()).seal(row_place(person), upsert)
    }

    /// A stored row as it is sent.
    pub(super) fn open_row(&self, stored: &StoredRow) -> Result<v1::GalleryRow, SealError> {
        let seal = Seal::new(self.shared.keys.templates.bytes());
        let upsert = seal.open(row_place(stored.person), &stored.sealed)?;
        Ok(v1::GalleryRow {
            revision: stored.revision.unsigned_abs(),
            person_id: stored.person.to_bytes().to_vec().into(),
            mac: stored.mac.to_vec().into(),
            change: Some(v1::gallery_row::Change::Upsert(upsert.to_vec().into())),
        })
    }
}

/// What sealing, and the field itself, add to the text of the recovery.
const SEALED_MORE_BYTES: usize = 64;

fn row_place(person: PersonId) -> Place<'static> {
    Place { table: ROW_TABLE, person, row: &[], model: &[] }
}

fn opened(seal: &Seal, person: PersonId, template: &WholeTemplate) -> Option<Zeroizing<Vec<u8>>> {
    let row = template.template.as_bytes();
    let place = Place { table: TEMPLATE_TABLE, person, row, model: &template.model_hash };
    let embedding = seal.open(place, &template.sealed).ok()?;
    unit(&embedding, None).is_ok().then_some(embedding)
}

fn form(kind: CredentialKind) -> CredentialForm {
    match kind {
        CredentialKind::Pin => CredentialForm::Pin,
        CredentialKind::Card => CredentialForm::Card,
        CredentialKind::Badge => CredentialForm::Badge,
    }
}

/// What reports ask of each pair, by rising id; of many the pairs with the most reports.
fn pair_margins(whole: &WholePerson) -> Vec<v1::PairMargin> {
    let mut reports: BTreeMap<PersonId, usize> = BTreeMap::new();
    for actual in whole.mismatches.iter().filter_map(|report| report.actual) {
        *reports.entry(actual).or_default() += 1;
    }
    let mut pairs: Vec<(PersonId, usize)> = reports.into_iter().collect();
    pairs.sort_by_key(|(person, count)| (std::cmp::Reverse(*count), *person));
    pairs.truncate(limits::GALLERY_ROW_PAIRS);
    pairs.sort_by_key(|(person, _)| *person);
    let pair = |(other, count): (PersonId, usize)| v1::PairMargin {
        other_person_id: other.to_bytes().to_vec().into(),
        margin: margin_of_reports(count),
    };
    pairs.into_iter().map(pair).collect()
}

/// The chain before the first change that it has.
fn first_link(gallery: GalleryId) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"rollcall gallery history 1")
        .chain_update(gallery.as_bytes())
        .finalize()
        .into()
}

fn next_link(before: &[u8; 32], change: &Change, row_hash: Option<&[u8; 32]>) -> [u8; 32] {
    Sha256::new()
        .chain_update(before)
        .chain_update(change.revision.to_be_bytes())
        .chain_update(change.person.as_bytes())
        .chain_update(row_hash.unwrap_or(&[0; 32]))
        .finalize()
        .into()
}
