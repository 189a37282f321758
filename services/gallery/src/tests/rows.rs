//! What a hub keeps ready for its terminals.

use rollcall_core::{GroupId, limits};
use rollcall_store::both_engines;
use rollcall_vision::Embedding;

use super::*;
use crate::recogniser::TEMPLATE_TABLE;
use crate::seal::{Place, Seal};
use crate::{Scope, in_chunks};

/// The secret of the hub of these tests.
pub(super) const HUB_KEY: [u8; 32] = [1; 32];

/// The network of the templates of these tests.
pub(super) const MODEL: [u8; 32] = [6; 32];

/// A hub.
pub(super) async fn hub(db: &Db) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let gallery = open_as(db, folder.path(), None, HUB_KEY, UtcInstant::now()).await.unwrap();
    Site { server: GalleryServer::new(gallery.clone()), gallery, folder }
}

/// An embedding of 128 values of its own for each number.
pub(super) fn embedding(number: usize) -> Embedding {
    let values = (0..128).map(|at| ((at * (number + 3)) as f32 * 0.37).sin() + 1e-3).collect();
    Embedding::normalised(values).unwrap()
}

impl Site {
    /// Adds a template with this embedding, if consent is in force.
    pub(super) async fn enrol_as(&self, person: &str, number: usize, now: UtcInstant) -> TemplateId {
        let person = PersonId::from_name(person).unwrap();
        let template = TemplateId::generate();
        let row = template.as_bytes();
        let place = Place { table: TEMPLATE_TABLE, person, row, model: &MODEL };
        let seal = Seal::new(self.gallery.shared.keys.templates.bytes());
        let sealed = seal.seal_embedding(place, &embedding(number)).unwrap();
        let mut tx = self.gallery.begin().await.unwrap();
        let quality = Quality {
            inter_ocular_px: 61.5,
            sharpness: 12.0,
            yaw_deg: -3.0,
            roll_deg: 1.0,
            nose_height: 0.5,
            brightness: 120.0,
            contrast: 50.0,
        };
        let (model_hash, model) = (&MODEL[..], "measured 060606060606");
        let new = templates::NewTemplate {
            template,
            person,
            model_hash,
            model,
            sealed: &sealed,
            quality,
            created: now,
        };
        templates::insert(&mut tx, &new).await.unwrap();
        crate::store::changes::record(&mut tx, person, false, now).await.unwrap();
        self.gallery.commit(tx).await.unwrap();
        template
    }

    /// Somebody with consent and a template.
    pub(super) async fn enrolled(&self, display_name: &str, number: usize) -> String {
        let person = self.add(display_name).await.name;
        self.say(&person, yes(None, None)).await.unwrap();
        self.enrol_as(&person, number, UtcInstant::now()).await;
        person
    }

    pub(super) async fn group(&self, display_name: &str) -> String {
        let group = Some(v1::Group { display_name: display_name.into(), ..Default::default() });
        let request = v1::CreateGroupRequest { group, ..Default::default() };
        self.server.create_group(Request::new(request)).await.unwrap().into_inner().name
    }

    pub(super) async fn change(&self, person: v1::Person, paths: &[&str]) -> v1::Person {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = v1::UpdatePersonRequest { person: Some(person), update_mask };
        self.server.update_person(Request::new(request)).await.unwrap().into_inner()
    }

    /// Everybody's row, by person.
    pub(super) async fn rows(&self, scope: &Scope) -> Vec<v1::GalleryRow> {
        let mut snapshot = self.gallery.snapshot(scope).await.unwrap();
        let mut rows = Vec::new();
        while let Some(chunk) = snapshot.next().await.unwrap() {
            assert!(prost::Message::encoded_len(&chunk) <= limits::REQUEST_CHUNK_SIZE_BYTES);
            rows.extend(chunk.rows);
        }
        assert_eq!(snapshot.begin().row_count as usize, rows.len());
        rows
    }
}

pub(super) fn group_id(name: &str) -> GroupId {
    GroupId::from_name(name).unwrap()
}

/// What a row says of a person.
pub(super) fn told(row: &v1::GalleryRow) -> v1::GalleryPerson {
    match &row.change {
        Some(v1::gallery_row::Change::Upsert(bytes)) => prost::Message::decode(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

both_engines! {
    migrations = &migrations();

    async fn a_row_has_what_a_terminal_must_know_and_not_what_it_need_not(db: Db) {
        let hub = hub(&db).await;
        let class = hub.group("Class 5b").await;
        let person = hub.create(v1::Person {
            display_name: "Ada".into(),
            external_id: "pupil-4711".into(),
            groups: vec![class.clone()],
            leave_date: Some(v1::Date { year: 2030, month: 7, day: 31 }),
            ..Default::default()
        }).await.unwrap().name;
        let end = v1::Date { year: 2030, month: 1, day: 31 };
        hub.say(&person, v1::Consent { form: "Form-77".into(), ..yes(None, Some(end)) }).await.unwrap();
        let template = hub.enrol_as(&person, 1, UtcInstant::now()).await;
        let rows = hub.rows(&Scope::everybody()).await;
        let row = told(&rows[0]);
        assert_eq!(row.display_name, "Ada");
        assert_eq!(row.group_ids, [group_id(&class).as_bytes().to_vec()]);
        // Midnight in Hồ Chí Minh City after each last day.
        assert_eq!(row.face_until_us, 1_896_109_200_000_000);
        assert_eq!(row.leave_us, 1_911_747_600_000_000);
        assert_eq!((&row.templates[0].template_id[..], &row.templates[0].model_hash[..]), (template.as_bytes(), &MODEL[..]));
        let values: Vec<f32> = row.templates[0].embedding.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        assert!(Embedding::normalised(values).unwrap().cosine(&embedding(1)) > 0.999_999);
        let Some(v1::gallery_row::Change::Upsert(bytes)) = &rows[0].change else { panic!("{rows:?}") };
        for secret in ["pupil-4711", "Form-77", "Class 5b"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
    }

    async fn without_consent_there_is_no_template_in_a_row(db: Db) {
        let hub = hub(&db).await;
        let person = hub.enrolled("Ada", 1).await;
        assert_eq!(told(&hub.rows(&Scope::everybody()).await[0]).templates.len(), 1);
        let withdrawn = v1::Consent { decision: v1::consent::Decision::Withdrawn.into(), ..yes(None, None) };
        hub.say(&person, withdrawn).await.unwrap();
        assert_eq!(told(&hub.rows(&Scope::everybody()).await[0]).templates, []);
    }

    async fn a_consent_ledger_too_long_for_a_row_keeps_everybodys_last_word(db: Db) {
        let hub = hub(&db).await;
        let ada = hub.add("Ada").await.name;
        let person = PersonId::from_name(&ada).unwrap();
        let mut tx = hub.gallery.begin().await.unwrap();
        for line in 1..=limits::CONSENT_LINES as i64 {
            let said = crate::Said {
                decision: crate::Decision::Given { start: None, end: None },
                by: crate::GiverKind::Guardian,
                giver_label: if line == 1 { "father".into() } else { "mother".into() },
                form: "ả".repeat(100),
            };
            let (id, recorded_by) = (rollcall_core::ConsentId::generate(), "accounts/x".into());
            let consent = crate::Consent { id, said, recorded: UtcInstant::now(), recorded_by };
            crate::store::consents::insert(&mut tx, person, line, &consent).await.unwrap();
        }
        crate::store::changes::record(&mut tx, person, false, UtcInstant::now()).await.unwrap();
        hub.gallery.commit(tx).await.unwrap();
        hub.enrol_as(&ada, 1, UtcInstant::now()).await;
        let rows = hub.rows(&Scope::everybody()).await;
        let Some(v1::gallery_row::Change::Upsert(bytes)) = &rows[0].change else { panic!("{rows:?}") };
        assert!(bytes.len() <= limits::GALLERY_ROW_SIZE_BYTES, "{}", bytes.len());
        let key = &hub.gallery.shared.keys.recovery;
        let recovery = crate::recovery::Recovery::opened(key, person, &told(&rows[0]).recovery).unwrap();
        let kept = recovery.consents().unwrap();
        assert!(kept.len() > 50);
        let labels: Vec<&str> = kept.iter().map(|consent| consent.said.giver_label.as_str()).collect();
        assert_eq!((labels[0], labels[1]), ("father", "mother"));
        let mut tx = db.read().await.unwrap();
        let last = crate::store::consents::page(&mut tx, person, limits::CONSENT_LINES as i64 - 1, 1).await.unwrap();
        assert_eq!(kept.last(), Some(&last[0].1));
    }

    async fn the_same_person_gives_the_same_row_and_another_start_makes_none_anew(db: Db) {
        let hub = hub(&db).await;
        hub.enrolled("Ada", 1).await;
        let before = hub.gallery.moment().await.unwrap().state(&Scope::everybody()).await.unwrap();
        let again = open_as(&db, hub.folder.path(), None, HUB_KEY, UtcInstant::now()).await.unwrap();
        assert_eq!(again.moment().await.unwrap().state(&Scope::everybody()).await.unwrap(), before);
        let mut tx = again.begin().await.unwrap();
        let person = crate::store::rows::everybody(&mut tx).await.unwrap()[0];
        crate::store::changes::record(&mut tx, person, false, UtcInstant::now()).await.unwrap();
        again.commit(tx).await.unwrap();
        let after = again.moment().await.unwrap().state(&Scope::everybody()).await.unwrap();
        assert_eq!((after.revision, &after.set_hash), (before.revision + 1, &before.set_hash));
        assert_ne!(after.history_hash, before.history_hash);
    }

    async fn a_gallery_that_becomes_a_hubs_has_everybodys_row(db: Db) {
        let alone = Site::new(&db).await;
        for name in ["Ada", "Bo", "Cy"] {
            alone.add(name).await;
        }
        assert!(matches!(alone.gallery.moment().await.err(), Some(GalleryError::HubAlone)));
        let folder = tempfile::tempdir().unwrap();
        let gallery = open_as(&db, folder.path(), None, [7; 32], UtcInstant::now()).await.unwrap();
        let hub = Site { server: GalleryServer::new(gallery.clone()), gallery, folder };
        let rows = hub.rows(&Scope::everybody()).await;
        let names: Vec<String> = rows.iter().map(|row| told(row).display_name).collect();
        assert_eq!(names, ["Ada", "Bo", "Cy"]);
        let mut moment = hub.gallery.moment().await.unwrap();
        assert_eq!((moment.oldest_change().await.unwrap(), moment.state(&Scope::everybody()).await.unwrap().revision), (3, 6));
    }

    async fn rows_after_a_revision_are_of_whoever_changed_in_order_and_of_who_is_gone(db: Db) {
        let hub = hub(&db).await;
        let class = hub.group("5b").await;
        let scope = Scope::of([group_id(&class)]);
        let mut people = Vec::new();
        for name in ["Ada", "Bo", "Cy", "Di"] {
            people.push(hub.create(v1::Person { display_name: name.into(), groups: vec![class.clone()], ..Default::default() }).await.unwrap());
        }
        let start = hub.gallery.moment().await.unwrap().state(&scope).await.unwrap().revision;
        let named = |person: &v1::Person, name: &str| v1::Person { display_name: name.into(), ..person.clone() };
        hub.change(named(&people[0], "Ada B"), &["display_name"]).await;
        let out = v1::Person { groups: Vec::new(), ..people[1].clone() };
        hub.change(out, &["groups"]).await;
        hub.erase(&people[2].name).await.unwrap();
        hub.change(v1::Person { etag: String::new(), ..named(&people[0], "Ada C") }, &["display_name"]).await;
        let mut moment = hub.gallery.moment().await.unwrap();
        let rows = moment.rows_after(start, &scope).await.unwrap().unwrap();
        let said: Vec<(u64, Option<String>)> = rows.iter().map(|row| match &row.change {
            Some(v1::gallery_row::Change::Upsert(_)) => (row.revision, Some(told(row).display_name)),
            _ => (row.revision, None),
        }).collect();
        assert_eq!(said, [(start + 2, None), (start + 3, None), (start + 4, Some("Ada C".into()))]);
        let everybody = moment.rows_after(start, &Scope::everybody()).await.unwrap().unwrap();
        assert_eq!(everybody.iter().filter(|row| row.mac.is_empty()).count(), 1, "only one was erased");
    }

    async fn more_changes_than_a_terminal_takes_at_once_are_a_snapshot(db: Db) {
        let hub = hub(&db).await;
        let person = PersonId::from_name(&hub.add("Ada").await.name).unwrap();
        let many = |count: usize| vec![person; count];
        let mut tx = hub.gallery.begin().await.unwrap();
        crate::store::changes::record_many(&mut tx, &many(limits::GALLERY_DELTA_CHANGES), false, UtcInstant::now()).await.unwrap();
        hub.gallery.commit(tx).await.unwrap();
        let mut moment = hub.gallery.moment().await.unwrap();
        assert_eq!(moment.rows_after(0, &Scope::everybody()).await.unwrap(), None);
        assert_eq!(moment.rows_after(1, &Scope::everybody()).await.unwrap().unwrap().len(), 1);
        // Each change has its link, and none beyond.
        assert!(moment.history_hash_at(2_001).await.unwrap().is_some());
        for beyond in [2_002, u64::MAX] {
            assert_eq!(moment.history_hash_at(beyond).await.unwrap(), None);
        }
    }

    async fn f041_a_slow_change_keeps_the_next_from_overtaking_it(db: Db) {
        let hub = hub(&db).await;
        let (slow, fast) = (hub.add("slow").await, hub.add("fast").await);
        let start = hub.gallery.moment().await.unwrap().state(&Scope::everybody()).await.unwrap();
        let mut tx = hub.gallery.begin().await.unwrap();
        let first = PersonId::from_name(&slow.name).unwrap();
        crate::store::changes::record(&mut tx, first, false, UtcInstant::now()).await.unwrap();
        let other = Site { gallery: hub.gallery.clone(), server: hub.server.clone(), folder: tempfile::tempdir().unwrap() };
        let next = tokio::spawn(async move {
            other.change(v1::Person { display_name: "faster".into(), ..fast }, &["display_name"]).await
        });
        let mut moment = hub.gallery.moment().await.unwrap();
        assert_eq!(moment.state(&Scope::everybody()).await.unwrap(), start);
        assert_eq!(moment.rows_after(start.revision, &Scope::everybody()).await.unwrap().unwrap(), []);
        drop(moment);
        hub.gallery.commit(tx).await.unwrap();
        next.await.unwrap();
        let mut moment = hub.gallery.moment().await.unwrap();
        let rows = moment.rows_after(start.revision, &Scope::everybody()).await.unwrap().unwrap();
        assert_eq!(rows.iter().map(|row| row.revision - start.revision).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(told(&rows[0]).display_name, "slow");
    }
}

#[test]
fn rows_are_cut_into_messages_in_their_order() {
    let row = |revision, size: usize| v1::GalleryRow {
        revision,
        change: Some(v1::gallery_row::Change::Upsert(vec![1; size].into())),
        ..Default::default()
    };
    let rows: Vec<_> = (1..=20).map(|revision| row(revision, 60_000)).collect();
    let chunks = in_chunks(rows.clone());
    assert_eq!(chunks.len(), 5);
    assert!(
        chunks
            .iter()
            .all(|chunk| prost::Message::encoded_len(chunk) <= limits::GALLERY_CHUNK_SIZE_BYTES + 100)
    );
    assert_eq!(chunks.into_iter().flat_map(|chunk| chunk.rows).collect::<Vec<_>>(), rows);
    assert_eq!(in_chunks(Vec::new()), []);
}
