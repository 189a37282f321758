//! A hub that lost changes, because it was restored from a backup: it begins another history, and takes back from its
//! terminals whom they have and it has not.
//!
//! Each row that a terminal kept has the hub's own code of authenticity, and the rest of what the hub knew, sealed so
//! that only the hub reads it: the person is restored as they were, with consents, external id, groups and the quality of
//! templates. Not the pictures that templates were made of.
//!
//! Nobody who is in the erasure ledger comes back. Of two who have the same external id, the one whose row is later has
//! it. Whoever was changed here since the history began stays as they are. All of it is listed for an operator.

use std::collections::HashMap;

use rollcall_core::{GalleryId, GroupId, PersonId, UtcInstant};
use rollcall_proto::v1;
use rollcall_store::Tx;

use super::Gallery;
use crate::GalleryError;
use crate::person::PersonFields;
use crate::recogniser::{TEMPLATE_TABLE, off_runtime};
use crate::recovery::Recovery;
use crate::row::{Row, Told};
use crate::seal::{Place, Seal};
use crate::store::histories::{self, Taken};
use crate::store::templates::{self, NewTemplate};
use crate::store::whole::WholeCredential;
use crate::store::{changes, consents, credentials, erasures, groups, mismatches, people, rows};

/// What became of the rows of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// People who were taken back.
    pub taken: usize,
    /// Rows that this hub did not make, or that are none: whoever sent them is not to be trusted.
    pub refused: usize,
}

/// Somebody who came back from a terminal, for an operator to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameBack {
    /// Its number, rising.
    pub number: i64,
    /// Who.
    pub person: PersonId,
    /// When.
    pub at: UtcInstant,
    /// As what.
    pub outcome: Outcome,
    /// Who had the same external id; the one of the two whose row was later has it now.
    pub other: Option<PersonId>,
}

/// What became of somebody who came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Was not here, and is now.
    Missing,
    /// Was here as they were before, and is as the terminal had them.
    Older,
    /// Was changed here since, and stays so; what the terminal had is lost.
    ChangedHere,
}

impl Outcome {
    const ALL: [(i64, Self); 3] = [(1, Self::Missing), (2, Self::Older), (3, Self::ChangedHere)];

    fn number(self) -> i64 {
        Self::ALL.into_iter().find(|(_, outcome)| *outcome == self).map_or(0, |(number, _)| number)
    }
}

/// A row that this hub made, with the rest of what it knew.
struct Kept {
    row: Row,
    told: Told,
    recovery: Recovery,
    sealed_templates: Vec<Vec<u8>>,
}

impl Gallery {
    /// Begins another history in place of `former`, as of a gallery that stepped back: every terminal then offers what it
    /// has before it is sent anything. When another process has done it already, nothing. Which history is in force.
    ///
    /// # Errors
    /// Not at a hub; a database that does not answer.
    pub async fn new_history(&self, former: GalleryId, now: UtcInstant) -> Result<GalleryId, GalleryError> {
        self.demand_hub()?;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            let head = rows::head(&mut tx).await?;
            if head.gallery != former {
                return Ok(head.gallery);
            }
            let new = GalleryId::generate();
            histories::begin(&mut tx, former, new, head.revision, now).await?;
            gallery.commit(tx).await?;
            tracing::warn!(
                revision = head.revision,
                "the gallery stepped back; terminals are asked for what was lost"
            );
            Ok(new)
        };
        self.shared.writes.run(write).await
    }

    /// Takes back the people of these rows whom this hub lacks, or has only as they were before. `history` is the one that
    /// the terminal was told.
    ///
    /// # Errors
    /// Not at a hub; [`GalleryError::State`] for rows of the history in force, of which none can be missing; a database
    /// that does not answer. Rows that are no rows are counted, and no error.
    pub async fn take_back(
        &self,
        history: GalleryId,
        offered: Vec<v1::GalleryRow>,
        now: UtcInstant,
    ) -> Result<TakenBack, GalleryError> {
        self.demand_hub()?;
        let count = offered.len();
        let gallery = self.clone();
        let kept: Vec<Kept> =
            off_runtime(move || offered.iter().filter_map(|row| gallery.kept(row)).collect()).await?;
        let refused = count - kept.len();
        if refused > 0 {
            tracing::error!(
                refused,
                "a terminal offered rows that this hub did not make; look at it before you trust it"
            );
        }
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            let shared = histories::shared_with(&mut tx, history).await?;
            let shared = shared.ok_or_else(|| {
                GalleryError::State(
                    "rows of the history in force are not taken back; begin a new one first".into(),
                )
            })?;
            let people: Vec<PersonId> = kept.iter().map(|kept| kept.row.person).collect();
            let erased = erasures::among(&mut tx, &people).await?;
            let mut taken = 0;
            for kept in kept.into_iter().filter(|kept| !erased.contains(&kept.row.person)) {
                let person = kept.row.person;
                let outcome = match gallery.former_revision(&mut tx, person, shared).await? {
                    Former::NotHere => Outcome::Missing,
                    Former::At(revision) if kept.row.revision > revision => Outcome::Older,
                    Former::Changed if kept.row.revision > shared => Outcome::ChangedHere,
                    Former::At(_) | Former::Changed => continue,
                };
                let row_revision = kept.row.revision;
                let (revision, other) = match outcome {
                    Outcome::ChangedHere => (0, None),
                    _ => {
                        taken += 1;
                        gallery.restore(&mut tx, kept, outcome, shared, now).await?
                    }
                };
                let taken = Taken { person, row_revision, revision, outcome: outcome.number(), other };
                histories::add(&mut tx, &taken, now).await?;
            }
            gallery.commit(tx).await?;
            Ok(TakenBack { taken, refused })
        };
        self.shared.writes.run(write).await
    }

    /// Who came back, newest first, at most `limit` before the one with this number.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn came_back(&self, before: Option<i64>, limit: usize) -> Result<Vec<CameBack>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        let rows = histories::page(&mut tx, before.unwrap_or(i64::MAX), limit).await?;
        let came_back = |row: &histories::TakenRow| {
            let outcome = Outcome::ALL.into_iter().find(|(number, _)| *number == row.outcome);
            Ok(CameBack {
                number: row.number,
                person: row.person()?,
                at: UtcInstant::from_micros(row.taken_us),
                outcome: outcome.ok_or(GalleryError::Damaged("what came back"))?.1,
                other: row.other()?,
            })
        };
        rows.iter().map(came_back).collect()
    }

    /// A row that this hub made and can read.
    fn kept(&self, row: &v1::GalleryRow) -> Option<Kept> {
        let keys = &self.shared.keys;
        let row = Row::read(row, None).ok()?;
        if !row.is_of(&keys.authenticity) {
            return None;
        }
        let told = row.upsert.as_ref()?.told.clone();
        let recovery = Recovery::opened(&keys.recovery, row.person, &told.recovery)?;
        let seal = Seal::new(keys.templates.bytes());
        let sealed = told.templates.iter().map(|template| {
            let (person, row) = (row.person, template.template.as_bytes());
            seal.seal(
                Place { table: TEMPLATE_TABLE, person, row, model: &template.model_hash },
                &template.embedding,
            )
        });
        let sealed_templates = sealed.collect::<Result<_, _>>().ok()?;
        Some(Kept { row, told, recovery, sealed_templates })
    }

    /// At which revision of the shared history, or of the one that it came back from, a person is here.
    async fn former_revision(
        &self,
        tx: &mut Tx,
        person: PersonId,
        shared: i64,
    ) -> Result<Former, GalleryError> {
        let Some(here) = rows::of(tx, &[person], &[]).await?.pop() else {
            return Ok(if people::exists(tx, person).await? { Former::Changed } else { Former::NotHere });
        };
        if here.revision <= shared {
            return Ok(Former::At(here.revision));
        }
        let came_back = histories::row_revision(tx, person, here.revision).await?;
        Ok(came_back.map_or(Former::Changed, Former::At))
    }

    /// Makes a person as they were; since which revision they are so, and who had the same external id.
    async fn restore(
        &self,
        tx: &mut Tx,
        kept: Kept,
        outcome: Outcome,
        shared: i64,
        now: UtcInstant,
    ) -> Result<(i64, Option<PersonId>), GalleryError> {
        let Kept { row, told, recovery, sealed_templates } = kept;
        let person = row.person;
        let damaged = || GalleryError::Damaged("what a terminal kept");
        let (external_id, other) = self.external_id(tx, &row, &recovery, shared, now).await?;
        let leave_day = recovery.leave_day.as_deref().map(str::parse).transpose().map_err(|_| damaged())?;
        let groups = restored_groups(tx, &told.groups, &recovery).await?;
        let fields = PersonFields { display_name: told.display_name.clone(), external_id, groups, leave_day };
        match outcome {
            Outcome::Missing => people::insert(tx, person, &fields, now).await?,
            _ => people::update(tx, person, &fields).await?,
        }
        histories::set_created(tx, person, UtcInstant::from_micros(recovery.created_us)).await?;
        people::set_groups(tx, person, &fields.groups).await?;
        histories::clear(tx, person).await?;
        for (line, consent) in (1..).zip(recovery.consents().ok_or_else(damaged)?) {
            consents::insert(tx, person, line, &consent).await?;
        }
        restore_credentials(tx, person, &told, &recovery, now).await?;
        for mut mismatch in recovery.mismatches(person) {
            if let Some(actual) = mismatch.actual
                && !people::exists(tx, actual).await?
            {
                mismatch.actual = None;
            }
            mismatches::insert(tx, &mismatch).await?;
        }
        restore_templates(tx, person, &told, &recovery, &sealed_templates, now).await?;
        self.settle(tx, person, now).await?;
        Ok((changes::record(tx, person, false, now).await?, other))
    }

    /// The external id that a restored person has: theirs, unless somebody has it whose row is later, who is the second
    /// value then; else whoever had it loses it.
    async fn external_id(
        &self,
        tx: &mut Tx,
        row: &Row,
        recovery: &Recovery,
        shared: i64,
        now: UtcInstant,
    ) -> Result<(Option<String>, Option<PersonId>), GalleryError> {
        let Some(external_id) = &recovery.external_id else { return Ok((None, None)) };
        let holder = people::by_external_id(tx, external_id).await?;
        let holder = holder.map(|holder| holder.id()).transpose()?.filter(|holder| *holder != row.person);
        let Some(other) = holder else { return Ok((Some(external_id.clone()), None)) };
        match self.former_revision(tx, other, shared).await? {
            Former::At(revision) if revision < row.revision => {
                histories::clear_external_id(tx, other).await?;
                changes::record(tx, other, false, now).await?;
                Ok((Some(external_id.clone()), Some(other)))
            }
            _ => Ok((None, Some(other))),
        }
    }
}

/// What this hub has of somebody whom a terminal offers.
enum Former {
    NotHere,
    /// As they were at this revision.
    At(i64),
    /// Changed in the history in force.
    Changed,
}

/// The groups by their ids; one that is not here is made with the name that it had, or is the one that has its name now.
async fn restored_groups(
    tx: &mut Tx,
    wanted: &[GroupId],
    recovery: &Recovery,
) -> Result<Vec<GroupId>, GalleryError> {
    let names: HashMap<&[u8], &str> = recovery
        .groups
        .iter()
        .map(|group| (group.group_id.as_slice(), group.display_name.as_str()))
        .collect();
    let mut restored = Vec::with_capacity(wanted.len());
    for group in wanted {
        if groups::get(tx, *group).await?.is_some() {
            restored.push(*group);
            continue;
        }
        let Some(name) = names.get(group.as_bytes()) else { continue };
        match groups::by_name(tx, name).await? {
            Some(same) => restored.push(same),
            None => {
                groups::insert(tx, *group, name).await?;
                restored.push(*group);
            }
        }
    }
    restored.sort_unstable();
    restored.dedup();
    Ok(restored)
}

/// Every credential that the person had. One that somebody else has been given meanwhile has ended.
async fn restore_credentials(
    tx: &mut Tx,
    person: PersonId,
    told: &Told,
    recovery: &Recovery,
    now: UtcInstant,
) -> Result<(), GalleryError> {
    let mut known = recovery.credentials();
    for in_force in &told.credentials {
        let place = known.iter_mut().find(|known| known.credential == in_force.credential);
        match place {
            Some(known) => known.verifier = Some(in_force.verifier),
            None => known.push(WholeCredential {
                credential: in_force.credential,
                kind: in_force.kind,
                created: now,
                revoked: None,
                verifier: Some(in_force.verifier),
            }),
        }
    }
    for mut credential in known {
        let taken = match &credential.verifier {
            Some(verifier) => credentials::by_verifier(tx, credential.kind, verifier).await?.is_some(),
            None => false,
        };
        if taken || credential.verifier.is_none() {
            credential.verifier = None;
            credential.revoked = credential.revoked.or(Some(now));
        }
        histories::add_credential(tx, person, &credential).await?;
    }
    Ok(())
}

/// The templates of the row: those that are here stay with what hangs on them, the others are made again.
async fn restore_templates(
    tx: &mut Tx,
    person: PersonId,
    told: &Told,
    recovery: &Recovery,
    sealed: &[Vec<u8>],
    now: UtcInstant,
) -> Result<(), GalleryError> {
    let wanted: Vec<_> = told.templates.iter().map(|template| template.template).collect();
    let here = histories::keep_templates(tx, person, &wanted).await?;
    for (template, sealed) in told.templates.iter().zip(sealed) {
        if here.contains(&template.template) {
            continue;
        }
        let unknown = || (hex::encode(&template.model_hash[..6]), now, templates::UNKNOWN_QUALITY);
        let (model, created, quality) = recovery.template(template.template).unwrap_or_else(unknown);
        let new = NewTemplate {
            template: template.template,
            person,
            model_hash: &template.model_hash,
            model: &model,
            sealed,
            quality,
            created,
        };
        templates::insert(tx, &new).await?;
    }
    Ok(())
}
