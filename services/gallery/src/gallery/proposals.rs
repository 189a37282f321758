//! People of a terminal that was adopted, until an operator of the hub has decided on each.
//!
//! Nobody is merged in silence: the terminal's people are matched at its own door as before, and at the hub they are
//! proposals, shown with whom they may be. Taken in as a new person, they keep their id, and the hub's row takes the place
//! of the terminal's. Taken in as somebody who is there, that person gets their templates, and their events by an alias
//! that attendance keeps. Then, and when they are refused, the terminal is told to forget them.
//!
//! Cards, PINs and badges do not come along: what verifies them was made with the terminal's own key.

use std::pin::Pin;
use std::sync::Arc;

use rollcall_core::{ConsentId, Fault, GroupId, PersonId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_store::Tx;
use rollcall_vision::Embedding;

use super::Gallery;
use crate::decide::LOOK_ALIKE_SCORE_MIN;
use crate::offered::{self, Offered};
use crate::person::PersonFields;
use crate::recogniser::{TEMPLATE_TABLE, off_runtime};
use crate::seal::{Place, Seal, unit};
use crate::store::proposals::{self, Decided, StoredProposal};
use crate::store::templates::{self, NewTemplate};
use crate::store::{changes, consents, erasures, groups, people, whole};
use crate::{Consent, GalleryError, Person, RecogniseError, SealError};

/// The table of proposals: part of what each is sealed with.
const TABLE: &str = "gallery_proposal";

/// Candidates that are shown with a proposal.
const CANDIDATES: usize = 5;

/// People that a terminal reads at once to offer them.
const BATCH: usize = 50;

/// The answer of [`Aliases`].
pub type AliasFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// Where events say that one person is another.
pub trait Aliases: Send + Sync + 'static {
    /// From now on events of `old` count for `person`. Repeating it changes nothing.
    fn set(&self, old: PersonId, person: PersonId) -> AliasFuture<'_>;
}

/// Somebody whom a terminal knew before it was adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who: the id that their events have.
    pub person: PersonId,
    /// Whose.
    pub terminal: TerminalId,
    /// What they are called there.
    pub display_name: String,
    /// Their id in another system.
    pub external_id: Option<String>,
    /// The groups that they belong to there.
    pub group_names: Vec<String>,
    /// How many templates they have.
    pub template_count: usize,
    /// Who they may be: who has the same external id first, then who looks alike.
    pub candidates: Vec<PersonId>,
}

impl Gallery {
    /// At a hub: where aliases are kept. Once, before anything is served.
    pub fn set_aliases(&self, aliases: Arc<dyn Aliases>) {
        let _first = self.shared.aliases.set(aliases);
    }

    /// At a terminal: its own people after this one, as a hub is offered them, at most [`limits::GALLERY_CHUNK_SIZE_BYTES`]
    /// more than the first, and whom to go on after. Empty after the last.
    ///
    /// # Errors
    /// At a hub; a database that does not answer.
    pub async fn offered_people(
        &self,
        after: Option<PersonId>,
        now: UtcInstant,
    ) -> Result<(Vec<v1::OfferPeopleRequest>, Option<PersonId>), GalleryError> {
        self.demand_terminal()?;
        let mut tx = self.shared.db.read().await?;
        let own = people::own_after(&mut tx, after, BATCH).await?;
        let mut whole = whole::of(&mut tx, &own).await?;
        drop(tx);
        let gallery = self.clone();
        let last = own.last().copied().or(after);
        let offers = off_runtime(move || {
            let seal = Seal::new(gallery.shared.keys.templates.bytes());
            let offers = own.iter().filter_map(|person| {
                let whole = whole.remove(person)?;
                let open = |template: &whole::WholeTemplate| {
                    let row = template.template.as_bytes();
                    let place =
                        Place { table: TEMPLATE_TABLE, person: *person, row, model: &template.model_hash };
                    seal.open(place, &template.sealed).ok()
                };
                let embeddings = whole.templates.iter().map(open).collect();
                Some(offered::offer(&whole, embeddings, &gallery.zone(), now))
            });
            offers.collect()
        });
        Ok((offers.await?, last))
    }

    /// At a hub: proposes people of a terminal. Whoever is here, was proposed before or was erased is passed over; how
    /// many are new.
    ///
    /// # Errors
    /// [`GalleryError::Row`] for what no terminal offers: nothing of it is proposed; too many proposals.
    pub async fn propose(
        &self,
        terminal: TerminalId,
        offers: Vec<v1::OfferPeopleRequest>,
        now: UtcInstant,
    ) -> Result<usize, GalleryError> {
        self.demand_hub()?;
        let gallery = self.clone();
        let read = off_runtime(move || {
            let seal = Seal::new(gallery.shared.keys.templates.bytes());
            let sealed = |offer: &v1::OfferPeopleRequest| {
                let person = Offered::read(offer)?.person;
                let text = zeroize::Zeroizing::new(prost::Message::encode_to_vec(offer));
                let sealed = seal.seal(place(person), &text).map_err(RecogniseError::from)?;
                Ok::<_, GalleryError>(StoredProposal { person, terminal, sealed })
            };
            offers.iter().map(sealed).collect::<Result<Vec<_>, _>>()
        });
        let proposed = read.await??;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            let ids: Vec<PersonId> = proposed.iter().map(|one| one.person).collect();
            let erased = erasures::among(&mut tx, &ids).await?;
            let mut room = limits::PROPOSALS
                .saturating_sub(usize::try_from(proposals::count(&mut tx).await?).unwrap_or(usize::MAX));
            let mut new = 0;
            for proposal in &proposed {
                let person = proposal.person;
                if erased.contains(&person)
                    || proposals::is_known(&mut tx, person).await?
                    || people::exists(&mut tx, person).await?
                {
                    continue;
                }
                room = room.checked_sub(1).ok_or(GalleryError::Limit {
                    what: "proposals that nobody has decided on",
                    limit: limits::PROPOSALS,
                })?;
                proposals::insert(&mut tx, proposal, now).await?;
                new += 1;
            }
            gallery.commit(tx).await?;
            Ok(new)
        };
        self.shared.writes.run(write).await
    }

    /// At a hub: at most `limit` proposals that nobody has decided on, after this person.
    ///
    /// # Errors
    /// [`GalleryError::HubAlone`]; a database that does not answer.
    pub async fn proposals(
        &self,
        after: Option<PersonId>,
        limit: usize,
    ) -> Result<Vec<Proposal>, GalleryError> {
        self.demand_hub()?;
        let mut tx = self.shared.db.read().await?;
        let stored = proposals::page(&mut tx, after, limit).await?;
        let gallery = self.clone();
        let read = off_runtime(move || {
            let shown = |stored: &StoredProposal| {
                let offered = gallery.offered(stored)?;
                let alike = gallery.look_alikes_of_offered(&offered);
                Ok::<_, GalleryError>((stored.terminal, offered, alike))
            };
            stored.iter().map(shown).collect::<Result<Vec<_>, _>>()
        });
        let mut proposals = Vec::new();
        for (terminal, offered, alike) in read.await?? {
            let same = match &offered.external_id {
                Some(external_id) => people::by_external_id(&mut tx, external_id).await?,
                None => None,
            };
            let mut candidates: Vec<PersonId> = same.map(|row| row.id()).transpose()?.into_iter().collect();
            candidates.extend(
                alike.into_iter().filter(|alike| candidates.first() != Some(alike)).collect::<Vec<_>>(),
            );
            candidates.truncate(CANDIDATES);
            proposals.push(Proposal {
                person: offered.person,
                terminal,
                display_name: offered.display_name,
                external_id: offered.external_id,
                group_names: offered.group_names,
                template_count: offered.templates.len(),
                candidates,
            });
        }
        Ok(proposals)
    }

    /// At a hub: takes a proposal in, as a new person with its id, or as somebody who is here: they get its templates, as
    /// far as there is room, and its events. The person.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`]; [`GalleryError::Exists`] for an external id that somebody has;
    /// [`GalleryError::ConsentMissing`] of whoever would get templates; a full gallery.
    pub async fn accept_proposal(
        &self,
        proposed: PersonId,
        person: Option<PersonId>,
        now: UtcInstant,
    ) -> Result<Person, GalleryError> {
        self.demand_hub()?;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            let stored = proposals::get(&mut tx, proposed).await?;
            let stored = stored.ok_or_else(|| GalleryError::NotFound { name: name(proposed) })?;
            let opening = gallery.clone();
            let terminal = stored.terminal;
            let offered = off_runtime(move || opening.offered(&stored)).await??;
            let taken = match person {
                None => {
                    gallery.take_in(&mut tx, &offered, terminal, now).await?;
                    proposals::decide(&mut tx, proposed, Decided::AsNew, now).await?;
                    proposed
                }
                Some(person) => {
                    gallery.give_templates(&mut tx, &offered, person, now).await?;
                    proposals::decide(&mut tx, proposed, Decided::AsAnother, now).await?;
                    changes::record(&mut tx, proposed, true, now).await?;
                    if let Some(aliases) = gallery.shared.aliases.get() {
                        // Before the commit: repeating it is harmless, and missing it would lose events.
                        aliases.set(proposed, person).await.map_err(GalleryError::Elsewhere)?;
                    }
                    person
                }
            };
            changes::record(&mut tx, taken, false, now).await?;
            let person = gallery.read_person(&mut tx, taken, now).await?;
            gallery.commit(tx).await?;
            Ok(person)
        };
        self.shared.writes.run(write).await
    }

    /// At a hub: does not take a proposal in. What was offered is gone, and the terminal is told to forget the person.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`]; a database that does not answer.
    pub async fn refuse_proposal(&self, proposed: PersonId, now: UtcInstant) -> Result<(), GalleryError> {
        self.demand_hub()?;
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            if proposals::get(&mut tx, proposed).await?.is_none() {
                return Err(GalleryError::NotFound { name: name(proposed) });
            }
            proposals::decide(&mut tx, proposed, Decided::Refused, now).await?;
            changes::record(&mut tx, proposed, true, now).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    fn offered(&self, stored: &StoredProposal) -> Result<Offered, GalleryError> {
        let seal = Seal::new(self.shared.keys.templates.bytes());
        let text = seal.open(place(stored.person), &stored.sealed).map_err(RecogniseError::from)?;
        let offer = <v1::OfferPeopleRequest as prost::Message>::decode(text.as_slice());
        Offered::read(&offer.map_err(|_| GalleryError::Damaged("a proposal"))?)
    }

    /// Who looks like somebody who was offered; nobody where no faces are loaded.
    fn look_alikes_of_offered(&self, offered: &Offered) -> Vec<PersonId> {
        let Ok(recogniser) = self.recogniser() else { return Vec::new() };
        let of_network = offered.templates.iter().filter(|one| &one.model_hash == recogniser.model_hash());
        let embeddings: Vec<Embedding> = of_network
            .filter_map(|one| unit(&one.embedding, Some(recogniser.embedding_length())).ok())
            .collect();
        let Ok(reference) = Embedding::mean(&embeddings) else { return Vec::new() };
        let alike = recogniser.faces().index().look_alikes_of(&reference, LOOK_ALIKE_SCORE_MIN);
        alike.unwrap_or_default().into_iter().map(|candidate| candidate.person).take(CANDIDATES).collect()
    }

    async fn take_in(
        &self,
        tx: &mut Tx,
        offered: &Offered,
        terminal: TerminalId,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let person = offered.person;
        let groups = groups_named(tx, &offered.group_names).await?;
        let fields = PersonFields {
            display_name: offered.display_name.clone(),
            external_id: offered.external_id.clone(),
            groups,
            leave_day: offered.leave_day,
        };
        super::people::demand_room(tx).await?;
        super::people::check(tx, &fields, None).await?;
        people::insert(tx, person, &fields, now).await?;
        people::set_groups(tx, person, &fields.groups).await?;
        if let Some((said, recorded)) = &offered.consent {
            let (said, recorded) = (said.clone(), *recorded);
            let consent = Consent { id: ConsentId::generate(), said, recorded, recorded_by: terminal.name() };
            consents::insert(tx, person, 1, &consent).await?;
        }
        self.insert_offered(tx, offered, person, limits::TEMPLATES_PER_PERSON, now).await?;
        self.settle(tx, person, now).await?;
        Ok(())
    }

    async fn give_templates(
        &self,
        tx: &mut Tx,
        offered: &Offered,
        person: PersonId,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let standing = consents::face_until(tx, person, &self.zone(), now).await?;
        if offered.templates.is_empty() {
            return Ok(());
        }
        if !standing.allows_face() {
            return Err(GalleryError::ConsentMissing { person, state: standing.state.word() });
        }
        let own = usize::try_from(templates::count(tx, person).await?).unwrap_or(usize::MAX);
        let room = limits::TEMPLATES_PER_PERSON.saturating_sub(own);
        self.insert_offered(tx, offered, person, room, now).await
    }

    /// Makes the newest of the templates offered this person's.
    async fn insert_offered(
        &self,
        tx: &mut Tx,
        offered: &Offered,
        person: PersonId,
        room: usize,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let passed_over = offered.templates.len().saturating_sub(room);
        let seal = Seal::new(self.shared.keys.templates.bytes());
        for template in offered.templates.iter().skip(passed_over) {
            let row = template.template.as_bytes();
            let place = Place { table: TEMPLATE_TABLE, person, row, model: &template.model_hash };
            let sealed: Result<Vec<u8>, SealError> = seal.seal(place, &template.embedding);
            let new = NewTemplate {
                template: template.template,
                person,
                model_hash: &template.model_hash,
                model: &template.model,
                sealed: &sealed.map_err(RecogniseError::from)?,
                quality: template.quality,
                created: now,
            };
            templates::insert(tx, &new).await?;
        }
        Ok(())
    }
}

fn name(proposed: PersonId) -> String {
    format!("proposals/{proposed}")
}

fn place(person: PersonId) -> Place<'static> {
    Place { table: TABLE, person, row: &[], model: &[] }
}

/// The groups with these names, made where there is none.
async fn groups_named(tx: &mut Tx, names: &[String]) -> Result<Vec<GroupId>, GalleryError> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let group = match groups::by_name(tx, name).await? {
            Some(group) => group,
            None => super::groups::insert(tx, name).await?,
        };
        found.push(group);
    }
    found.sort_unstable();
    Ok(found)
}
