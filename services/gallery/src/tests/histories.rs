//! A hub that was restored from a backup gets from its terminals what it lost.

use rollcall_store::{both_engines, on};
use v1::consent::Decision as Said;

use super::replication::Terminal;
use super::rows::hub;
use super::*;
use crate::store::rows::StoredRow;
use crate::{CameBackAs, Scope, TakenBack};

/// What a backup has: the rows, what people are called, and where the gallery was.
struct Backup {
    revision: i64,
    rows: Vec<StoredRow>,
    names: Vec<(PersonId, String)>,
}

impl Backup {
    async fn of(db: &Db) -> Self {
        let mut tx = db.read().await.unwrap();
        let rows = crate::store::rows::page(&mut tx, &[], None, 1_000).await.unwrap();
        let people: Vec<PersonId> = rows.iter().map(|row| row.person).collect();
        let names = crate::store::people::names_of(&mut tx, &people).await.unwrap().into_iter().collect();
        Self { revision: crate::store::changes::newest(&mut tx).await.unwrap(), rows, names }
    }

    /// Makes the database as it was, as far as these tests change it.
    async fn restore(&self, db: &Db) {
        let mut tx = db.write().await.unwrap();
        for person in crate::store::rows::everybody(&mut tx).await.unwrap() {
            if !self.names.iter().any(|(known, _)| *known == person) {
                crate::store::people::delete(&mut tx, person).await.unwrap();
            }
        }
        crate::store::rows::put(&mut tx, &self.rows).await.unwrap();
        let history = crate::store::rows::link(&mut tx, self.revision).await.unwrap().unwrap();
        on!(tx, connection => {
            for (person, name) in &self.names {
                sqlx::query("update gallery_person set display_name = $1 where person_id = $2")
                    .bind(name)
                    .bind(person.as_bytes())
                    .execute(&mut *connection)
                    .await?;
            }
            for table in ["gallery_change", "gallery_chain"] {
                let sql = sqlx::AssertSqlSafe(format!("delete from {table} where revision > $1"));
                sqlx::query(sql).bind(self.revision).execute(&mut *connection).await?;
            }
            sqlx::query("update gallery_head set revision = $1").bind(self.revision).execute(&mut *connection).await?;
            Ok(())
        })
        .unwrap();
        crate::store::rows::set_head(&mut tx, self.revision, &history).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Offers all that a terminal has of a hub, as the protocol does when the hub has stepped back.
async fn offer(terminal: &Terminal, hub: &Site) -> TakenBack {
    let history = rollcall_core::GalleryId::try_from(
        &terminal.site.gallery.replica_state().await.unwrap().gallery_id[..],
    );
    let mut all = TakenBack::default();
    let mut after = None;
    loop {
        let (rows, last) = terminal.site.gallery.held_rows(after).await.unwrap();
        if rows.is_empty() {
            return all;
        }
        after = last;
        let done = hub.gallery.take_back(history.unwrap(), rows, UtcInstant::now()).await.unwrap();
        all = TakenBack { taken: all.taken + done.taken, refused: all.refused + done.refused };
    }
}

async fn step_back(hub: &Site) {
    let former = hub.gallery.gallery_id().await.unwrap();
    hub.gallery.new_history(former, UtcInstant::now()).await.unwrap();
}

/// Whether a hub has another history than a terminal was told.
async fn has_stepped_back(terminal: &Terminal, hub: &Site) -> bool {
    let told = terminal.site.gallery.replica_state().await.unwrap();
    let mut moment = hub.gallery.moment().await.unwrap();
    let state = moment.state(&Scope::everybody()).await.unwrap();
    let here = moment.history_hash_at(told.revision).await.unwrap();
    told.revision > state.revision || here.is_some_and(|here| here[..] != told.history_hash[..])
}

/// All that a script can see of a person, but when they were changed.
async fn seen(
    site: &Site,
    person: &str,
) -> (v1::Person, Vec<v1::Consent>, Vec<v1::Template>, Vec<v1::Credential>) {
    let name = person.to_owned();
    let consents = v1::ListConsentsRequest { person: name.clone(), ..Default::default() };
    let templates = v1::ListTemplatesRequest { person: name.clone() };
    let credentials = v1::ListCredentialsRequest { person: name };
    (
        v1::Person { etag: String::new(), ..site.get(person).await.unwrap() },
        site.server.list_consents(Request::new(consents)).await.unwrap().into_inner().consents,
        site.server.list_templates(Request::new(templates)).await.unwrap().into_inner().templates,
        site.server.list_credentials(Request::new(credentials)).await.unwrap().into_inner().credentials,
    )
}

/// Somebody with all that comes back.
async fn whole_person(hub: &Site, name: &str, external_id: &str) -> String {
    let class = hub.group(&format!("Class of {name}")).await;
    let person = v1::Person {
        display_name: name.into(),
        external_id: external_id.into(),
        groups: vec![class],
        leave_date: Some(v1::Date { year: 2031, month: 7, day: 31 }),
        ..Default::default()
    };
    let person = hub.create(person).await.unwrap().name;
    let end = Some(v1::Date { year: 2031, month: 1, day: 1 });
    hub.say(&person, v1::Consent { form: "2026, version 2".into(), ..yes(None, end) }).await.unwrap();
    hub.say(&person, guardian("mother", Said::Given)).await.unwrap();
    hub.enrol_as(&person, 3, UtcInstant::now()).await;
    hub.enrol_as(&person, 4, UtcInstant::now()).await;
    for value in ["0004711", "0004712"] {
        let request = v1::CreateCredentialRequest {
            person: person.clone(),
            kind: v1::CredentialKind::Card.into(),
            value: format!("{value}{external_id}"),
            ..Default::default()
        };
        let made = hub.server.create_credential(Request::new(request)).await.unwrap().into_inner();
        if value.ends_with('2') {
            let name = made.credential.unwrap().name;
            hub.server.revoke_credential(Request::new(v1::RevokeCredentialRequest { name })).await.unwrap();
        }
    }
    person
}

async fn names(hub: &Site) -> Vec<String> {
    let request = v1::ListPeopleRequest { page_size: 1_000, ..Default::default() };
    let people = hub.server.list_people(Request::new(request)).await.unwrap().into_inner().people;
    people.into_iter().map(|person| person.display_name).collect()
}

both_engines! {
    migrations = &migrations();

    async fn f038_what_was_lost_comes_back_as_it_was_and_what_came_since_stays(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &Scope::everybody()).await;
        let backup = Backup::of(&db).await;
        let bo = whole_person(&hub, "Bo", "pupil-2").await;
        hub.change(v1::Person { name: ada.clone(), display_name: "Ada B".into(), ..Default::default() }, &["display_name"]).await;
        let before = seen(&hub, &bo).await;
        terminal.pull(&hub, &Scope::everybody()).await;
        assert!(!has_stepped_back(&terminal, &hub).await);

        backup.restore(&db).await;
        for name in ["Xi", "Yu", "Zoë"] {
            hub.enrolled(name, name.len()).await;
        }
        assert_eq!(names(&hub).await, ["Ada", "Xi", "Yu", "Zoë"]);
        assert!(has_stepped_back(&terminal, &hub).await);
        step_back(&hub).await;
        assert_eq!(offer(&terminal, &hub).await, TakenBack { taken: 2, refused: 0 });
        assert_eq!(names(&hub).await, ["Ada B", "Bo", "Xi", "Yu", "Zoë"]);
        assert_eq!(seen(&hub, &bo).await, before);
        assert_eq!(offer(&terminal, &hub).await, TakenBack::default(), "repeating it changes nothing");
        let listed = hub.gallery.came_back(None, 10).await.unwrap();
        let listed: Vec<(String, CameBackAs)> = listed.into_iter().rev().map(|one| (one.person.name(), one.outcome)).collect();
        assert_eq!(listed, [(ada, CameBackAs::Older), (bo, CameBackAs::Missing)]);
        assert!(terminal.pull(&hub, &Scope::everybody()).await && terminal.is_as(&hub, &Scope::everybody()).await);
        assert_eq!(terminal.names().await, ["Ada B", "Bo", "Xi", "Yu", "Zoë"]);
    }

    async fn f039_rows_that_this_hub_did_not_make_are_refused_and_counted(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::of(&hub).await;
        let backup = Backup::of(&db).await;
        hub.enrolled("Ada", 1).await;
        hub.enrolled("Bo", 2).await;
        terminal.pull(&hub, &Scope::everybody()).await;
        let history = hub.gallery.gallery_id().await.unwrap();
        backup.restore(&db).await;
        step_back(&hub).await;
        let (rows, _) = terminal.site.gallery.held_rows(None).await.unwrap();
        let spoilt = |spoil: &dyn Fn(&mut v1::GalleryRow)| {
            let mut row = rows[0].clone();
            spoil(&mut row);
            row
        };
        let forged = vec![
            spoilt(&|row| row.mac = vec![7; 32].into()),
            spoilt(&|row| row.mac = vec![7; 31].into()),
            spoilt(&|row| row.revision += 1),
            spoilt(&|row| row.person_id = rows[1].person_id.clone()),
            spoilt(&|row| row.change = rows[1].change.clone()),
            spoilt(&|row| row.change = Some(v1::gallery_row::Change::Erase(true))),
            spoilt(&|row| row.change = None),
        ];
        let count = forged.len();
        let done = hub.gallery.take_back(history, forged, UtcInstant::now()).await.unwrap();
        assert_eq!(done, TakenBack { taken: 0, refused: count });
        assert_eq!(names(&hub).await, [""; 0]);
        // The right one beside a forged one is taken.
        let done = hub.gallery.take_back(history, vec![spoilt(&|row| row.revision += 1), rows[1].clone()], UtcInstant::now()).await;
        assert_eq!(done.unwrap(), TakenBack { taken: 1, refused: 1 });
    }

    async fn of_two_terminals_the_one_that_heard_more_counts_in_either_order(db: Db) {
        let hub = hub(&db).await;
        let (early, late) = (Terminal::of(&hub).await, Terminal::of(&hub).await);
        let backup = Backup::of(&db).await;
        let rename = async |name: &str, to: &str| {
            hub.change(v1::Person { name: name.into(), display_name: to.into(), ..Default::default() }, &["display_name"]).await;
        };
        let ada = hub.enrolled("Ada 1", 1).await;
        early.pull(&hub, &Scope::everybody()).await;
        rename(&ada, "Ada 2").await;
        late.pull(&hub, &Scope::everybody()).await;
        for (first, second) in [(&early, &late), (&late, &early)] {
            backup.restore(&db).await;
            step_back(&hub).await;
            assert_eq!(offer(first, &hub).await.refused, 0);
            offer(second, &hub).await;
            assert_eq!(names(&hub).await, ["Ada 2"]);
        }
    }

    async fn whoever_was_changed_since_stays_as_they_are_and_is_shown(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        let backup = Backup::of(&db).await;
        let rename = async |to: &str| {
            hub.change(v1::Person { name: ada.clone(), display_name: to.into(), ..Default::default() }, &["display_name"]).await;
        };
        rename("Ada lost").await;
        terminal.pull(&hub, &Scope::everybody()).await;
        backup.restore(&db).await;
        // As a restore does it: at once.
        step_back(&hub).await;
        rename("Ada since").await;
        assert_eq!(offer(&terminal, &hub).await, TakenBack::default());
        assert_eq!(names(&hub).await, ["Ada since"]);
        let listed = hub.gallery.came_back(None, 10).await.unwrap();
        assert_eq!((listed[0].person.name(), listed[0].outcome), (ada, CameBackAs::ChangedHere));
    }

    async fn of_two_with_the_same_external_id_the_later_row_has_it_and_both_are_shown(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::of(&hub).await;
        let backup = Backup::of(&db).await;
        let lost = whole_person(&hub, "Ada", "pupil-1").await;
        terminal.pull(&hub, &Scope::everybody()).await;
        backup.restore(&db).await;
        step_back(&hub).await;
        let again = hub.create(v1::Person { display_name: "Ada again".into(), external_id: "pupil-1".into(), ..Default::default() }).await.unwrap();
        assert_eq!(offer(&terminal, &hub).await.taken, 1);
        assert_eq!(hub.get(&lost).await.unwrap().external_id, "");
        assert_eq!(hub.get(&again.name).await.unwrap().external_id, "pupil-1");
        let listed = hub.gallery.came_back(None, 10).await.unwrap();
        assert_eq!((listed[0].person.name(), listed[0].other.map(PersonId::name)), (lost, Some(again.name)));
    }

    async fn f113_whoever_is_in_the_ledger_does_not_come_back(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::of(&hub).await;
        let backup = Backup::of(&db).await;
        let (ada, _bo) = (hub.enrolled("Ada", 1).await, hub.enrolled("Bo", 2).await);
        terminal.pull(&hub, &Scope::everybody()).await;
        hub.erase(&ada).await.unwrap();
        backup.restore(&db).await;
        step_back(&hub).await;
        assert_eq!(offer(&terminal, &hub).await, TakenBack { taken: 1, refused: 0 });
        assert_eq!(names(&hub).await, ["Bo"]);
    }

    async fn a_new_history_is_begun_once_and_rows_of_the_one_in_force_are_not_taken_back(db: Db) {
        let hub = hub(&db).await;
        hub.enrolled("Ada", 1).await;
        let former = hub.gallery.gallery_id().await.unwrap();
        let now = UtcInstant::now();
        let first = hub.gallery.new_history(former, now).await.unwrap();
        assert_eq!(hub.gallery.new_history(former, now).await.unwrap(), first, "another process was there before");
        assert_ne!(first, former);
        let refused = hub.gallery.take_back(first, Vec::new(), now).await;
        assert!(matches!(refused, Err(GalleryError::State(_))), "{refused:?}");
        let unknown = rollcall_core::GalleryId::generate();
        hub.gallery.take_back(unknown, Vec::new(), now).await.unwrap();
    }
}
