//! A terminal that had people before it was adopted: nobody is lost, and nobody merged in silence.

use std::sync::{Arc, Mutex};

use rollcall_store::both_engines;

use super::replication::{TERMINAL, Terminal};
use super::rows::hub;
use super::*;
use crate::{AliasFuture, Aliases, Scope};

/// What was said of whose events count for whom.
#[derive(Default)]
struct Said(Mutex<Vec<(PersonId, PersonId)>>);

impl Aliases for Said {
    fn set(&self, old: PersonId, person: PersonId) -> AliasFuture<'_> {
        self.0.lock().unwrap().push((old, person));
        Box::pin(async { Ok(()) })
    }
}

/// Offers everybody of a terminal; how many are new to the hub.
async fn offer(terminal: &Terminal, hub: &Site) -> usize {
    let (mut new, mut after) = (0, None);
    loop {
        let (offers, last) = terminal.site.gallery.offered_people(after, UtcInstant::now()).await.unwrap();
        if offers.is_empty() {
            return new;
        }
        after = last;
        new += hub.gallery.propose(TERMINAL, offers, UtcInstant::now()).await.unwrap();
    }
}

async fn proposals(hub: &Site) -> Vec<v1::Proposal> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListProposalsRequest { page_size: 100, page_token };
        let page = hub.server.list_proposals(called(request)).await.unwrap().into_inner();
        all.extend(page.proposals);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn accept(hub: &Site, person: &str, as_person: &str) -> Result<v1::Person, Status> {
    let name = person.replace("people/", "proposals/");
    let request = v1::AcceptProposalRequest { name, person: as_person.into() };
    Ok(hub.server.accept_proposal(called(request)).await?.into_inner())
}

async fn refuse(hub: &Site, person: &str) -> Result<(), Status> {
    let request = v1::RefuseProposalRequest { name: person.replace("people/", "proposals/") };
    hub.server.refuse_proposal(called(request)).await.map(tonic::Response::into_inner)
}

fn with_external_id(display_name: &str, external_id: &str) -> v1::Person {
    v1::Person { display_name: display_name.into(), external_id: external_id.into(), ..Default::default() }
}

both_engines! {
    migrations = &migrations();

    async fn f082_everybody_of_a_lone_terminal_is_proposed_and_nobody_merged_in_silence(db: Db) {
        const PEOPLE: usize = 300;
        let hub = hub(&db).await;
        let known = [("Ada", "pupil-7"), ("Bo", "pupil-8")];
        let mut at_hub = Vec::new();
        for (name, external_id) in known {
            at_hub.push(hub.create(with_external_id(name, external_id)).await.unwrap().name);
        }
        let terminal = Terminal::alone().await;
        let mut own = Vec::new();
        for number in 0..PEOPLE {
            let person = with_external_id(&format!("Somebody {number:03}"), &format!("pupil-{number}"));
            own.push(terminal.site.create(person).await.unwrap().name);
        }
        terminal.join(&hub).await;
        assert_eq!(offer(&terminal, &hub).await, PEOPLE);
        assert_eq!(offer(&terminal, &hub).await, 0, "repeating it changes nothing");
        let listed = proposals(&hub).await;
        let ids: Vec<String> = listed.iter().map(|one| one.name.replace("proposals/", "people/")).collect();
        assert_eq!(ids, own);
        let with_candidates: Vec<&v1::Proposal> = listed.iter().filter(|one| !one.candidates.is_empty()).collect();
        assert_eq!(with_candidates.iter().map(|one| one.candidates[0].clone()).collect::<Vec<_>>(), at_hub);
        assert_eq!(hub.gallery.counts().await.unwrap().people, 2);
        terminal.pull(&hub, &Scope::everybody()).await;
        assert_eq!(terminal.names().await.len(), PEOPLE + 2, "they still come in at their door");
    }

    async fn taken_in_as_a_new_person_they_keep_their_id_consent_and_templates(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::alone().await;
        let class = terminal.site.group("Class 5b").await;
        let person = v1::Person {
            groups: vec![class],
            leave_date: Some(v1::Date { year: 2031, month: 7, day: 31 }),
            ..with_external_id("Ada", "pupil-7")
        };
        let ada = terminal.site.create(person).await.unwrap().name;
        terminal.site.say(&ada, guardian("mother", v1::consent::Decision::Given)).await.unwrap();
        terminal.site.enrol_as(&ada, 1, UtcInstant::now()).await;
        terminal.join(&hub).await;
        offer(&terminal, &hub).await;
        let taken = accept(&hub, &ada, "").await.unwrap();
        assert_eq!((taken.name.as_str(), taken.external_id.as_str(), taken.template_count), (ada.as_str(), "pupil-7", 1));
        assert_eq!((taken.consent_state(), taken.leave_date), (v1::ConsentState::Valid, Some(v1::Date { year: 2031, month: 7, day: 31 })));
        let group = v1::GetGroupRequest { name: taken.groups[0].clone() };
        assert_eq!(hub.server.get_group(called(group)).await.unwrap().into_inner().display_name, "Class 5b");
        assert_eq!(proposals(&hub).await, []);
        assert_eq!(reason(&accept(&hub, &ada, "").await.unwrap_err()), "NOT_FOUND");
        assert_eq!(offer(&terminal, &hub).await, 0);
        terminal.pull(&hub, &Scope::everybody()).await;
        assert!(terminal.is_as(&hub, &Scope::everybody()).await);
        let (left, _) = terminal.site.gallery.offered_people(None, UtcInstant::now()).await.unwrap();
        assert_eq!(left, [], "she is the hub's now");
    }

    async fn taken_in_as_somebody_else_that_person_gets_templates_and_events(db: Db) {
        let hub = hub(&db).await;
        let said = Arc::new(Said::default());
        hub.gallery.set_aliases(Arc::<Said>::clone(&said));
        let there = hub.add("Ada of the hub").await.name;
        let terminal = Terminal::alone().await;
        let own = terminal.site.enrolled("Ada of the door", 1).await;
        terminal.join(&hub).await;
        offer(&terminal, &hub).await;
        assert_eq!(reason(&accept(&hub, &own, &there).await.unwrap_err()), "CONSENT_MISSING");
        hub.say(&there, yes(None, None)).await.unwrap();
        let taken = accept(&hub, &own, &there).await.unwrap();
        assert_eq!((taken.name.as_str(), taken.template_count), (there.as_str(), 1));
        let ids = [&own, &there].map(|name| PersonId::from_name(name).unwrap());
        assert_eq!(*said.0.lock().unwrap(), [(ids[0], ids[1])]);
        terminal.pull(&hub, &Scope::everybody()).await;
        assert_eq!(terminal.names().await, ["Ada of the hub"]);
        assert!(terminal.is_as(&hub, &Scope::everybody()).await);
    }

    async fn refused_they_are_forgotten_whether_changes_come_or_everybody(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::alone().await;
        let (ada, bo) = (terminal.site.enrolled("Ada", 1).await, terminal.site.enrolled("Bo", 2).await);
        terminal.join(&hub).await;
        terminal.pull(&hub, &Scope::everybody()).await;
        offer(&terminal, &hub).await;
        refuse(&hub, &ada).await.unwrap();
        assert_eq!(reason(&refuse(&hub, &ada).await.unwrap_err()), "NOT_FOUND");
        assert!(!terminal.pull(&hub, &Scope::everybody()).await);
        assert_eq!(terminal.names().await, ["Bo"]);
        refuse(&hub, &bo).await.unwrap();
        terminal.pull_everybody(&hub, &Scope::everybody()).await;
        assert_eq!(terminal.names().await, [""; 0]);
        assert!(terminal.is_as(&hub, &Scope::everybody()).await);
    }

    async fn an_external_id_that_somebody_has_is_refused_and_the_proposal_stays(db: Db) {
        let hub = hub(&db).await;
        hub.create(with_external_id("Ada", "pupil-7")).await.unwrap();
        let terminal = Terminal::alone().await;
        let own = terminal.site.create(with_external_id("Ada", "pupil-7")).await.unwrap().name;
        terminal.join(&hub).await;
        offer(&terminal, &hub).await;
        assert_eq!(reason(&accept(&hub, &own, "").await.unwrap_err()), "ALREADY_EXISTS");
        assert_eq!(proposals(&hub).await.len(), 1);
        assert_eq!(hub.gallery.counts().await.unwrap().people, 1);
    }

    async fn a_terminal_lists_no_proposals_and_what_is_none_is_refused(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::alone().await;
        let refused = terminal.site.server.list_proposals(called(v1::ListProposalsRequest::default())).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_SERVED_HERE");
        assert_eq!(reason(&accept(&hub, "people/x", "").await.unwrap_err()), "FIELD_INVALID");
        let good = v1::OfferPeopleRequest { person_id: vec![3; 16].into(), display_name: "Ada".into(), ..Default::default() };
        let template = v1::OfferedTemplate {
            template: Some(v1::GalleryTemplate { template_id: vec![1; 16].into(), model_hash: vec![1; 32].into(), embedding: vec![0; 512].into() }),
            ..Default::default()
        };
        for bad in [
            v1::OfferPeopleRequest { person_id: vec![3; 15].into(), ..good.clone() },
            v1::OfferPeopleRequest { display_name: String::new(), ..good.clone() },
            v1::OfferPeopleRequest { group_names: vec!["a\nb".into()], ..good.clone() },
            v1::OfferPeopleRequest { templates: vec![template], ..good.clone() },
            v1::OfferPeopleRequest { consent: Some(v1::OfferedConsent::default()), ..good.clone() },
        ] {
            let proposed = hub.gallery.propose(TERMINAL, vec![good.clone(), bad], UtcInstant::now()).await;
            assert!(matches!(proposed, Err(GalleryError::Row { .. })), "{proposed:?}");
        }
        assert_eq!(proposals(&hub).await, []);
    }
}
