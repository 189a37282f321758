//! A terminal that belongs to a hub: the hub's people, each change, and nothing of its own.

use std::time::Duration;

use prost::Message as _;
use rollcall_store::both_engines;
use rollcall_store::testing;

use super::rows::{HUB_KEY, MODEL, embedding, group_id, hub, told};
use super::*;
use crate::{CredentialKind, CredentialState, Scope};

pub(super) const ADDRESS: &str = "hub.example:7443";

/// A terminal with a file of its own, that belongs to a hub.
pub(super) struct Terminal {
    pub(super) site: Site,
    pub(super) db: Db,
    /// The folder of the file.
    pub(super) data: TempDir,
}

pub(super) const TERMINAL: TerminalId = TerminalId::from_bytes([9; 16]);

impl Terminal {
    pub(super) async fn alone() -> Self {
        let (db, data) = testing::sqlite(&migrations()).await;
        let folder = tempfile::tempdir().unwrap();
        let gallery = open_as(&db, folder.path(), Some(TERMINAL), [2; 32], UtcInstant::now()).await.unwrap();
        Self { site: Site { server: GalleryServer::new(gallery.clone()), gallery, folder }, db, data }
    }

    pub(super) async fn of(hub: &Site) -> Self {
        let terminal = Self::alone().await;
        terminal.join(hub).await;
        terminal
    }

    pub(super) async fn join(&self, hub: &Site) {
        let key = hub.gallery.credential_key();
        self.site.gallery.belong_to(ADDRESS, Some(Key::new(key))).await.unwrap();
    }

    /// Pulls as the protocol does: what changed where that leads there, else everybody. Whether it was everybody.
    pub(super) async fn pull(&self, hub: &Site, scope: &Scope) -> bool {
        let have = self.site.gallery.replica_state().await.unwrap();
        let mut moment = hub.gallery.moment().await.unwrap();
        let state = moment.state(scope).await.unwrap();
        let known = moment.history_hash_at(have.revision).await.unwrap();
        let goes_on = have.gallery_id == state.gallery_id
            && have.scope == state.scope
            && known.is_some_and(|known| known[..] == have.history_hash[..]);
        if goes_on && let Some(rows) = moment.rows_after(have.revision, scope).await.unwrap() {
            drop(moment);
            match self.site.gallery.apply_delta(rows, state, UtcInstant::now()).await {
                Err(GalleryError::SetHash { .. }) => {}
                applied => {
                    applied.unwrap();
                    return false;
                }
            }
        }
        self.pull_everybody(hub, scope).await;
        true
    }

    pub(super) async fn pull_everybody(&self, hub: &Site, scope: &Scope) {
        let mut snapshot = hub.gallery.snapshot(scope).await.unwrap();
        self.site.gallery.begin_snapshot().await.unwrap();
        while let Some(chunk) = snapshot.next().await.unwrap() {
            self.site.gallery.take_snapshot_rows(chunk.rows).await.unwrap();
        }
        self.site.gallery.swap_snapshot(snapshot.end(), UtcInstant::now()).await.unwrap();
    }

    /// Whether what is here is what the hub has for this scope.
    pub(super) async fn is_as(&self, hub: &Site, scope: &Scope) -> bool {
        let state = hub.gallery.moment().await.unwrap().state(scope).await.unwrap();
        self.site.gallery.replica_state().await.unwrap() == state
    }

    pub(super) async fn names(&self) -> Vec<String> {
        let request = v1::ListPeopleRequest { page_size: 1_000, ..Default::default() };
        let people = self.site.server.list_people(Request::new(request)).await.unwrap().into_inner().people;
        people.into_iter().map(|person| person.display_name).collect()
    }

    /// The templates that recognition would load, opened.
    async fn embeddings(&self, person: &str) -> Vec<rollcall_vision::Embedding> {
        let person = PersonId::from_name(person).unwrap();
        let mut tx = self.db.read().await.unwrap();
        let stored = crate::store::faces::of(&mut tx, person, &MODEL).await.unwrap();
        let seal = crate::seal::Seal::new(self.site.gallery.shared.keys.templates.bytes());
        let open = |(template, sealed): &(TemplateId, Vec<u8>)| {
            let table = crate::recogniser::TEMPLATE_TABLE;
            let place = crate::seal::Place { table, person, row: template.as_bytes(), model: &MODEL };
            seal.open_embedding(place, sealed, 128).unwrap()
        };
        stored.templates.iter().map(open).collect()
    }
}

/// Whether any file of a folder has these bytes.
pub(super) fn found(folder: &Path, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.into_iter().any(|content| content.windows(bytes.len()).any(|window| window == bytes))
}

fn everybody() -> Scope {
    Scope::everybody()
}

async fn card(site: &Site, person: &str, value: &str) -> String {
    let request = v1::CreateCredentialRequest {
        person: person.into(),
        kind: v1::CredentialKind::Card.into(),
        value: value.into(),
        ..Default::default()
    };
    let made = site.server.create_credential(Request::new(request)).await.unwrap().into_inner();
    made.credential.unwrap().name
}

async fn holder(site: &Site, presented: &str, now: UtcInstant) -> Option<(String, CredentialState)> {
    let found = site.gallery.credential_holder(CredentialKind::Card, presented, now).await.unwrap();
    found.map(|found| (found.person.name(), found.state))
}

both_engines! {
    migrations = &migrations();

    async fn a_terminal_has_the_hubs_people_and_then_each_change(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        assert!(terminal.pull(&hub, &everybody()).await, "the first time everybody comes");
        assert!(terminal.is_as(&hub, &everybody()).await);
        assert_eq!(terminal.names().await, ["Ada"]);
        assert!(terminal.embeddings(&ada).await[0].cosine(&embedding(1)) > 0.999_999);
        let here = terminal.site.get(&ada).await.unwrap();
        assert_eq!((here.consent_state(), here.template_count), (v1::ConsentState::Valid, 1));

        let bo = hub.enrolled("Bo", 2).await;
        hub.enrol_as(&ada, 3, UtcInstant::now()).await;
        assert!(!terminal.pull(&hub, &everybody()).await, "then what changed");
        assert!(terminal.is_as(&hub, &everybody()).await);
        assert_eq!((terminal.embeddings(&ada).await.len(), terminal.embeddings(&bo).await.len()), (2, 1));

        hub.erase(&bo).await.unwrap();
        assert!(!terminal.pull(&hub, &everybody()).await);
        assert_eq!(terminal.names().await, ["Ada"]);
        assert!(!terminal.pull(&hub, &everybody()).await && terminal.is_as(&hub, &everybody()).await);
    }

    async fn a_terminal_of_some_groups_has_their_people_alone(db: Db) {
        let hub = hub(&db).await;
        let (a, b) = (hub.group("5a").await, hub.group("5b").await);
        let mut people = Vec::new();
        for (name, groups) in [("Ada", vec![a.clone()]), ("Bo", vec![b.clone()]), ("Cy", vec![a.clone(), b.clone()]), ("Di", vec![])] {
            people.push(hub.create(v1::Person { display_name: name.into(), groups, ..Default::default() }).await.unwrap());
        }
        let scope = Scope::of([group_id(&a)]);
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &scope).await;
        assert_eq!(terminal.names().await, ["Ada", "Cy"]);
        let member = terminal.site.get(&people[0].name).await.unwrap();
        assert_eq!(member.groups, std::slice::from_ref(&a));
        // One leaves the group, one comes into it.
        hub.change(v1::Person { groups: vec![b.clone()], ..people[2].clone() }, &["groups"]).await;
        hub.change(v1::Person { groups: vec![a.clone()], ..people[3].clone() }, &["groups"]).await;
        assert!(!terminal.pull(&hub, &scope).await);
        assert_eq!(terminal.names().await, ["Ada", "Di"]);
        assert!(terminal.is_as(&hub, &scope).await);
        // Other groups are another set: everybody of them comes anew.
        let wider = Scope::of([group_id(&a), group_id(&b)]);
        assert!(terminal.pull(&hub, &wider).await);
        assert_eq!(terminal.names().await, ["Ada", "Bo", "Cy", "Di"]);
    }

    async fn f019_a_terminal_that_lost_its_gallery_pulls_it_again_whole(db: Db) {
        let hub = hub(&db).await;
        hub.enrolled("Ada", 1).await;
        let before = Terminal::of(&hub).await;
        before.pull(&hub, &everybody()).await;
        let after = Terminal::of(&hub).await;
        assert_eq!(after.site.gallery.replica_state().await.unwrap(), v1::GalleryState::default());
        assert!(after.pull(&hub, &everybody()).await);
        assert_eq!(after.site.gallery.replica_state().await.unwrap(), before.site.gallery.replica_state().await.unwrap());
    }

    async fn people_who_are_not_the_hubs_any_more_are_found_and_a_snapshot_makes_them_so(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        // As damage would, past all rules.
        let mut tx = terminal.site.gallery.begin_upkeep().await.unwrap();
        crate::store::replica::delete_people(&mut tx, &[PersonId::from_name(&ada).unwrap()]).await.unwrap();
        terminal.site.gallery.commit(tx).await.unwrap();
        assert!(!terminal.is_as(&hub, &everybody()).await);
        hub.add("Bo").await;
        assert!(terminal.pull(&hub, &everybody()).await, "what changed does not lead there");
        assert!(terminal.is_as(&hub, &everybody()).await);
        assert_eq!(terminal.names().await, ["Ada", "Bo"]);
    }

    async fn f020_a_row_with_one_bad_value_is_refused_whole_and_all_that_came_with_it(db: Db) {
        let hub = hub(&db).await;
        hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        let before = terminal.site.gallery.replica_state().await.unwrap();
        hub.enrolled("Bo", 2).await;
        hub.enrolled("Cy", 3).await;
        let mut moment = hub.gallery.moment().await.unwrap();
        let state = moment.state(&everybody()).await.unwrap();
        let rows = moment.rows_after(before.revision, &everybody()).await.unwrap().unwrap();
        drop(moment);
        let of = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let good = embedding(2).values().to_vec();
        let with = |at: usize, value: f32| {
            let mut values = good.clone();
            values[at] = value;
            of(&values)
        };
        let long = vec![0.01; rollcall_core::limits::EMBEDDING_LENGTH + 1];
        type Spoil = Box<dyn Fn(&mut v1::GalleryPerson)>;
        let bad: Vec<Spoil> = vec![
            with(3, f32::NAN), with(3, f32::INFINITY), of(&[0.0; 128]), of(&[1e-40; 128]), of(&[1.0; 128]), vec![1, 2, 3],
            Vec::new(), of(&long),
        ].into_iter().map(|bytes| Box::new(move |person: &mut v1::GalleryPerson| person.templates[0].embedding = bytes.clone().into()) as Spoil)
        .chain([
            Box::new(|person: &mut v1::GalleryPerson| person.templates[0].template_id = vec![1; 15].into()) as Spoil,
            Box::new(|person| person.templates[0].model_hash = vec![1; 31].into()),
            Box::new(|person| person.templates.push(person.templates[0].clone())),
            Box::new(|person| person.person_id = vec![7; 16].into()),
            Box::new(|person| person.display_name = "\u{7}".into()),
            Box::new(|person| person.display_name = "x".repeat(201)),
            Box::new(|person| person.group_ids = vec![vec![1; 17].into()]),
            Box::new(|person| person.face_until_us = -1),
            Box::new(|person| person.threshold_min = f32::NAN),
            Box::new(|person| person.threshold_min = 1.5),
            Box::new(|person| person.recovery = vec![0; 70_000].into()),
            Box::new(|person| person.credentials = vec![v1::GalleryCredential { form: 1, ..Default::default() }]),
        ])
        .collect();
        for (number, spoil) in bad.iter().enumerate() {
            let mut rows = rows.clone();
            let mut person = told(&rows[1]);
            spoil(&mut person);
            rows[1].change = Some(v1::gallery_row::Change::Upsert(person.encode_to_vec().into()));
            let applied = terminal.site.gallery.apply_delta(rows.clone(), state.clone(), UtcInstant::now()).await;
            assert!(matches!(applied, Err(GalleryError::Row { .. })), "{number}: {applied:?}");
            terminal.site.gallery.begin_snapshot().await.unwrap();
            let staged = terminal.site.gallery.take_snapshot_rows(rows).await;
            assert!(matches!(staged, Err(GalleryError::Row { .. })), "{number}: {staged:?}");
        }
        assert_eq!(terminal.site.gallery.replica_state().await.unwrap(), before);
        assert_eq!(terminal.names().await, ["Ada"]);
        // A row that is sound and was changed on the way does not add up.
        let mut changed = rows.clone();
        let person = v1::GalleryPerson { display_name: "Mallory".into(), ..told(&rows[1]) };
        changed[1].change = Some(v1::gallery_row::Change::Upsert(person.encode_to_vec().into()));
        let applied = terminal.site.gallery.apply_delta(changed, state.clone(), UtcInstant::now()).await;
        assert!(matches!(applied, Err(GalleryError::SetHash { .. })), "{applied:?}");
        assert_eq!(terminal.names().await, ["Ada"]);
        terminal.site.gallery.apply_delta(rows, state, UtcInstant::now()).await.unwrap();
        assert_eq!(terminal.names().await, ["Ada", "Bo", "Cy"]);
    }

    async fn f042_a_snapshot_that_is_cut_anywhere_changes_nothing_until_one_is_whole(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        for number in 0..60 {
            hub.add(&format!("Somebody {number:02}")).await;
        }
        let before = terminal.site.gallery.replica_state().await.unwrap();
        for cut in [0, 1, 7, 20, 33, 41, 59, 60, 61] {
            let rows = hub.rows(&everybody()).await;
            let state = hub.gallery.moment().await.unwrap().state(&everybody()).await.unwrap();
            terminal.site.gallery.begin_snapshot().await.unwrap();
            for rows in rows[..cut].chunks(10) {
                terminal.site.gallery.take_snapshot_rows(rows.to_vec()).await.unwrap();
            }
            assert_eq!(terminal.site.gallery.replica_state().await.unwrap(), before);
            assert_eq!(terminal.embeddings(&ada).await.len(), 1, "she is matched meanwhile");
            if cut < rows.len() {
                let swapped = terminal.site.gallery.swap_snapshot(state, UtcInstant::now()).await;
                assert!(matches!(swapped, Err(GalleryError::SetHash { .. })), "{cut}: {swapped:?}");
            }
            hub.change(v1::Person { name: ada.clone(), display_name: format!("Ada {cut}"), ..Default::default() }, &["display_name"]).await;
        }
        assert_eq!(terminal.names().await, ["Ada"]);
        terminal.pull_everybody(&hub, &everybody()).await;
        assert!(terminal.is_as(&hub, &everybody()).await);
        assert_eq!(terminal.names().await.len(), 61);
    }

    async fn a_snapshot_touches_only_who_differs(db: Db) {
        let hub = hub(&db).await;
        for name in ["Ada", "Bo", "Cy"] {
            hub.enrolled(name, name.len()).await;
        }
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        let bo = hub.enrolled("Bob", 7).await;
        let start = *terminal.site.gallery.revisions().borrow();
        terminal.pull_everybody(&hub, &everybody()).await;
        let mut tx = terminal.db.read().await.unwrap();
        let changes = crate::store::changes::after(&mut tx, start, 100).await.unwrap();
        assert_eq!(changes.iter().map(|change| change.person.name()).collect::<Vec<_>>(), [bo]);
    }

    async fn a_terminal_that_belongs_to_a_hub_refuses_every_change_and_names_the_hub(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        let server = &terminal.site.server;
        let person = v1::Person { name: ada.clone(), display_name: "x".into(), ..Default::default() };
        let a_group = v1::Group { name: rollcall_core::GroupId::generate().name(), display_name: "x".into(), ..Default::default() };
        let group = Some(a_group.clone());
        let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".into()] });
        let name = ada.clone();
        let refused = [
            server.create_person(called(v1::CreatePersonRequest { person: Some(person.clone()), ..Default::default() })).await.err(),
            server.update_person(called(v1::UpdatePersonRequest { person: Some(person), update_mask })).await.err(),
            server.erase_person(called(v1::ErasePersonRequest { name: name.clone() })).await.err(),
            server.create_group(called(v1::CreateGroupRequest { group: group.clone(), ..Default::default() })).await.err(),
            server.update_group(called(v1::UpdateGroupRequest { group: group.clone(), ..Default::default() })).await.err(),
            server.delete_group(called(v1::DeleteGroupRequest { name: a_group.name, ..Default::default() })).await.err(),
            server.record_consent(called(v1::RecordConsentRequest { person: name.clone(), consent: Some(yes(None, None)), ..Default::default() })).await.err(),
            server.create_credential(called(v1::CreateCredentialRequest { person: name.clone(), kind: 1, ..Default::default() })).await.err(),
            server.revoke_credential(called(v1::RevokeCredentialRequest { name: format!("{name}/credentials/{}", rollcall_core::CredentialId::generate()) })).await.err(),
            server.delete_template(called(v1::DeleteTemplateRequest { name: format!("{name}/templates/{}", TemplateId::generate()) })).await.err(),
            server.delete_mismatch(called(v1::DeleteMismatchRequest { name: rollcall_core::MismatchId::generate().name() })).await.err(),
            server.report_mismatch(called(v1::ReportMismatchRequest {
                person: name.clone(), evidence: Some(v1::report_mismatch_request::Evidence::Score(0.6)), ..Default::default()
            })).await.err(),
        ];
        for (number, refused) in refused.into_iter().enumerate() {
            let refused = refused.unwrap_or_else(|| panic!("{number} was done"));
            assert_eq!(reason(&refused), "TERMINAL_ADOPTED", "{number}");
            assert!(refused.message().contains(ADDRESS), "{number}");
        }
        let may = terminal.site.gallery.may_enrol(PersonId::from_name(&ada).unwrap(), UtcInstant::now()).await;
        let fault = may.unwrap_err().fault();
        assert_eq!(fault.metadata, [("hub", ADDRESS.to_owned())]);
        let file = crate::ImportFile::default();
        let imported = terminal.site.gallery.import_people(file, true, "", UtcInstant::now()).await;
        assert!(matches!(imported, Err(GalleryError::Adopted { .. })), "{imported:?}");
        assert!(terminal.is_as(&hub, &everybody()).await);
    }

    async fn a_card_of_the_hub_opens_at_the_terminal_and_can_go_to_somebody_else(db: Db) {
        let hub = hub(&db).await;
        let (ada, bo) = (hub.add("Ada").await.name, hub.add("Bo").await.name);
        let credential = card(&hub, &ada, "0004711").await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        let now = UtcInstant::now();
        assert_eq!(holder(&terminal.site, "0004711", now).await, Some((ada.clone(), CredentialState::InForce)));
        // Ended for the one, given to the other, and the one changed once more after it.
        hub.server.revoke_credential(Request::new(v1::RevokeCredentialRequest { name: credential })).await.unwrap();
        card(&hub, &bo, "0004711").await;
        hub.change(v1::Person { name: ada.clone(), display_name: "Ada B".into(), ..Default::default() }, &["display_name"]).await;
        assert!(!terminal.pull(&hub, &everybody()).await);
        assert_eq!(holder(&terminal.site, "0004711", now).await, Some((bo, CredentialState::InForce)));
        assert!(terminal.is_as(&hub, &everybody()).await);
    }

    async fn what_ends_by_its_date_ends_at_a_terminal_without_a_network(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.add("Ada").await;
        let end = v1::Date { year: 2030, month: 1, day: 31 };
        hub.say(&ada.name, yes(None, Some(end))).await.unwrap();
        hub.enrol_as(&ada.name, 1, UtcInstant::now()).await;
        let leaving = v1::Person { leave_date: Some(v1::Date { year: 2030, month: 7, day: 31 }), ..ada.clone() };
        hub.change(v1::Person { etag: String::new(), ..leaving }, &["leave_date"]).await;
        card(&hub, &ada.name, "0004711").await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        let here = terminal.site.get(&ada.name).await.unwrap();
        assert_eq!(here.leave_date, Some(v1::Date { year: 2030, month: 7, day: 31 }));
        let consent_over = UtcInstant::from_micros(1_896_109_200_000_000);
        let just_before = consent_over.before(Duration::from_secs(1));
        let person = PersonId::from_name(&ada.name).unwrap();
        let mut tx = terminal.db.read().await.unwrap();
        let faces = crate::store::faces::of(&mut tx, person, &MODEL).await.unwrap();
        assert_eq!(faces.until, Some(consent_over), "it is not matched from then on");
        drop(tx);
        terminal.site.gallery.expire(just_before).await.unwrap();
        assert_eq!(terminal.embeddings(&ada.name).await.len(), 1);
        let before = terminal.site.gallery.replica_state().await.unwrap();
        terminal.site.gallery.expire(consent_over).await.unwrap();
        assert_eq!(terminal.embeddings(&ada.name).await.len(), 0);
        let (held, _) = terminal.site.gallery.held_rows(None).await.unwrap();
        assert_eq!(held, [], "the row as it came had the template too");
        assert_eq!(terminal.site.gallery.replica_state().await.unwrap(), before);
        let left = UtcInstant::from_micros(1_911_747_600_000_000);
        let state = |at| holder(&terminal.site, "0004711", at);
        assert_eq!(state(left.before(Duration::from_secs(1))).await.unwrap().1, CredentialState::InForce);
        assert_eq!(state(left).await.unwrap().1, CredentialState::HolderLeft);
    }

    async fn people_from_before_the_adoption_stay_until_the_hub_says_what_became_of_them(db: Db) {
        let hub = hub(&db).await;
        hub.enrolled("Ada", 1).await;
        let terminal = Terminal::alone().await;
        let own = terminal.site.enrolled("Own", 5).await;
        let other = terminal.site.enrolled("Other", 6).await;
        card(&terminal.site, &own, "0815-0815").await;
        terminal.join(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        terminal.pull_everybody(&hub, &everybody()).await;
        assert_eq!(terminal.names().await, ["Ada", "Other", "Own"]);
        assert!(terminal.is_as(&hub, &everybody()).await, "they do not count");
        assert_eq!(terminal.embeddings(&own).await.len(), 1);
        let now = UtcInstant::now();
        assert_eq!(holder(&terminal.site, "0815-0815", now).await, Some((own.clone(), CredentialState::InForce)));
        // The hub takes one in, with its id, and says of the other that they are gone.
        let fields = crate::PersonFields { display_name: "Taken in".into(), external_id: None, groups: Vec::new(), leave_day: None };
        let mut tx = hub.gallery.begin().await.unwrap();
        crate::store::people::insert(&mut tx, PersonId::from_name(&own).unwrap(), &fields, now).await.unwrap();
        for (person, erased) in [(&own, false), (&other, true)] {
            crate::store::changes::record(&mut tx, PersonId::from_name(person).unwrap(), erased, now).await.unwrap();
        }
        hub.gallery.commit(tx).await.unwrap();
        assert!(!terminal.pull(&hub, &everybody()).await);
        assert_eq!(terminal.names().await, ["Ada", "Taken in"]);
        assert!(terminal.is_as(&hub, &everybody()).await);
    }

    async fn reports_at_the_hub_count_at_the_terminal(db: Db) {
        let hub = hub(&db).await;
        let (ada, bo) = (hub.enrolled("Ada", 1).await, hub.enrolled("Bo", 2).await);
        for score in [0.6, 0.5] {
            let report = v1::ReportMismatchRequest {
                person: ada.clone(),
                actual_person: bo.clone(),
                evidence: Some(v1::report_mismatch_request::Evidence::Score(score)),
                request_id: String::new(),
            };
            hub.server.report_mismatch(called(report)).await.unwrap();
        }
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        let loaded = async |db: &Db| {
            let person = PersonId::from_name(&ada).unwrap();
            let mut tx = db.read().await.unwrap();
            let reports = crate::store::faces::of(&mut tx, person, &MODEL).await.unwrap().reports;
            let most = reports.iter().map(|report| report.threshold).fold(0.0, f32::max);
            (most, reports.iter().filter_map(|report| report.actual).count())
        };
        assert_eq!(loaded(&terminal.db).await, loaded(&db).await);
        assert_eq!(loaded(&db).await.1, 2);
    }

    async fn a_terminal_that_forgets_has_no_byte_of_the_hubs_people_and_keeps_its_own(db: Db) {
        let hub = hub(&db).await;
        hub.enrolled("Unmistakable Zwölfmüller", 1).await;
        let terminal = Terminal::alone().await;
        terminal.site.enrolled("Own", 5).await;
        terminal.join(&hub).await;
        terminal.pull(&hub, &everybody()).await;
        terminal.site.gallery.begin_snapshot().await.unwrap();
        terminal.site.gallery.take_snapshot_rows(hub.rows(&everybody()).await).await.unwrap();
        terminal.site.gallery.forget(UtcInstant::now()).await.unwrap();
        assert_eq!(terminal.names().await, ["Own"]);
        assert!(!found(terminal.data.path(), "Zwölfmüller".as_bytes()));
        assert_eq!(terminal.site.gallery.replica_state().await.unwrap(), v1::GalleryState::default());
        assert_eq!(terminal.site.gallery.hub().await.unwrap().as_deref(), Some(ADDRESS));
        assert!(terminal.pull(&hub, &everybody()).await && terminal.is_as(&hub, &everybody()).await);
        terminal.site.gallery.leave_hub(UtcInstant::now()).await.unwrap();
        assert_eq!(terminal.site.gallery.hub().await.unwrap(), None);
        terminal.site.add("Of its own again").await;
        assert_eq!(terminal.names().await, ["Of its own again", "Own"]);
    }
}

#[tokio::test]
async fn templates_of_another_network_are_kept_and_not_matched() {
    let (db, _data) = testing::sqlite(&migrations()).await;
    let hub = hub(&db).await;
    let ada = hub.enrolled("Ada", 1).await;
    let terminal = Terminal::of(&hub).await;
    terminal.pull(&hub, &everybody()).await;
    let mut tx = terminal.db.read().await.unwrap();
    let person = PersonId::from_name(&ada).unwrap();
    assert_eq!(crate::store::faces::of(&mut tx, person, &[8; 32]).await.unwrap().templates.len(), 0);
    drop(tx);
    assert_eq!(terminal.site.get(&ada).await.unwrap().template_count, 1);
}

#[tokio::test]
async fn a_terminals_file_shows_nobodys_row_without_its_key() {
    let (db, _data) = testing::sqlite(&migrations()).await;
    let hub = hub(&db).await;
    hub.enrolled("Ada", 1).await;
    let terminal = Terminal::of(&hub).await;
    terminal.pull(&hub, &everybody()).await;
    let folder = terminal.data.path();
    let upsert = told(&hub.rows(&everybody()).await[0]).templates[0].embedding.clone();
    assert!(
        !found(folder, &upsert) && !found(folder, &HUB_KEY) && !found(folder, &hub.gallery.credential_key())
    );
}
