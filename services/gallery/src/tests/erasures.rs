//! Erasure: gone, everywhere, for ever.

use rollcall_store::{SqliteOptions, both_engines};
use tokio_stream::StreamExt as _;

use super::*;

/// A name, an external id and texts that would be found again.
const NAME: &str = "Thảo Zwölfmüller-Quintanilla";
const EXTERNAL_ID: &str = "pupil-4711-unmistakable";
const FORM: &str = "a form that only this person signed";

/// Somebody with all that a person can have.
async fn whole_person(site: &Site) -> String {
    let person =
        v1::Person { display_name: NAME.into(), external_id: EXTERNAL_ID.into(), ..Default::default() };
    let request_id = "0193a5c0-0000-7000-8000-0000000000ff".to_owned();
    let request = v1::CreatePersonRequest { person: Some(person), request_id };
    let name = site.server.create_person(Request::new(request)).await.unwrap().into_inner().name;
    site.say(&name, v1::Consent { form: FORM.into(), ..yes(None, None) }).await.unwrap();
    for _ in 0..5 {
        site.enrol(&name, UtcInstant::now()).await.unwrap();
    }
    let request = v1::CreateCredentialRequest {
        person: name.clone(),
        kind: v1::CredentialKind::Card.into(),
        value: "0004711".into(),
        ..Default::default()
    };
    site.server.create_credential(Request::new(request)).await.unwrap();
    name
}

/// Whether any file below a folder has these bytes.
fn found(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        if content.windows(bytes.len()).any(|window| window == bytes) {
            files.push(path.display().to_string());
        }
    }
    files
}

async fn sqlite(folder: &Path) -> Db {
    let options = SqliteOptions { secure_delete: true };
    Db::open_sqlite(&folder.join("gallery.db"), options, &migrations()).await.unwrap()
}

#[tokio::test]
async fn nothing_of_an_erased_person_is_left_in_any_byte_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let db = sqlite(folder.path()).await;
    let gallery = open(&db, folder.path(), UtcInstant::now()).await.unwrap();
    let site = Site { server: GalleryServer::new(gallery.clone()), gallery, folder };
    // Enough others that pages split and rows move.
    for number in 0..300 {
        site.add(&format!("Somebody {number}")).await;
    }
    let person = whole_person(&site).await;
    for number in 300..600 {
        site.add(&format!("Somebody {number}")).await;
    }
    let folded = crate::text::folded(NAME);
    let marks: [&[u8]; 5] =
        [NAME.as_bytes(), folded.as_bytes(), EXTERNAL_ID.as_bytes(), FORM.as_bytes(), SEALED];
    for mark in marks {
        assert!(!found(site.folder.path(), mark).is_empty(), "it was there");
    }
    let erasure = site.erase(&person).await.unwrap();
    assert!(erasure.complete, "{erasure:?}");
    for mark in marks {
        assert_eq!(found(site.folder.path(), mark), [""; 0], "{}", String::from_utf8_lossy(mark));
    }
    // The others are still there.
    let request = v1::ListPeopleRequest { page_size: 1_000, ..Default::default() };
    let people = site.server.list_people(Request::new(request)).await.unwrap().into_inner().people;
    assert_eq!(people.len(), 600);
}

both_engines! {
    migrations = &migrations();

    async fn an_erased_person_is_refused_for_ever_and_the_answer_stays(db: Db) {
        let site = Site::new(&db).await;
        let person = whole_person(&site).await;
        let erasure = site.erase(&person).await.unwrap();
        assert!(erasure.complete);
        assert_eq!(erasure.person, person);
        assert_eq!(erasure.devices[0].device, TerminalId::from_bytes([9; 16]).name());
        assert_eq!(site.erase(&person).await.unwrap(), erasure);
        let request = v1::GetErasureRequest { name: erasure.name.clone() };
        assert_eq!(site.server.get_erasure(Request::new(request)).await.unwrap().into_inner(), erasure);
        assert_eq!(reason(&site.get(&person).await.unwrap_err()), "NOT_FOUND");
        assert_eq!(reason(&site.say(&person, yes(None, None)).await.unwrap_err()), "PERSON_ERASED");
        assert!(matches!(site.enrol(&person, UtcInstant::now()).await, Err(GalleryError::Erased(_))));
        let update = v1::UpdatePersonRequest {
            person: Some(v1::Person { name: person.clone(), display_name: "x".into(), ..Default::default() }),
            update_mask: None,
        };
        assert_eq!(reason(&site.server.update_person(Request::new(update)).await.unwrap_err()), "PERSON_ERASED");
        let kind = v1::CredentialKind::Badge.into();
        let request = v1::CreateCredentialRequest { person: person.clone(), kind, ..Default::default() };
        let refused = site.server.create_credential(Request::new(request)).await.unwrap_err();
        assert_eq!(reason(&refused), "PERSON_ERASED");
        let card = site.gallery.credential_holder(crate::CredentialKind::Card, "0004711", UtcInstant::now()).await;
        assert_eq!(card.unwrap(), None);
        // Their external id is free, and their creation is not repeated.
        site.create(v1::Person { display_name: "Bo".into(), external_id: EXTERNAL_ID.into(), ..Default::default() }).await.unwrap();
        let again = v1::CreatePersonRequest {
            person: Some(v1::Person { display_name: NAME.into(), external_id: EXTERNAL_ID.into(), ..Default::default() }),
            request_id: "0193a5c0-0000-7000-8000-0000000000ff".into(),
        };
        assert_eq!(reason(&site.server.create_person(Request::new(again)).await.unwrap_err()), "PERSON_ERASED");
        let nobody = PersonId::generate().name();
        assert_eq!(reason(&site.erase(&nobody).await.unwrap_err()), "NOT_FOUND");
    }

    async fn erasures_are_listed_newest_first(db: Db) {
        let site = Site::new(&db).await;
        let mut erased = Vec::new();
        for name in ["Ada", "Bo", "Cy"] {
            let person = site.add(name).await.name;
            erased.insert(0, site.erase(&person).await.unwrap());
        }
        let mut request = v1::ListErasuresRequest { page_size: 2, ..Default::default() };
        let first = site.server.list_erasures(Request::new(request.clone())).await.unwrap().into_inner();
        assert_eq!(first.erasures, erased[..2]);
        request.page_token = first.next_page_token;
        let second = site.server.list_erasures(Request::new(request)).await.unwrap().into_inner();
        assert_eq!((second.erasures.as_slice(), second.next_page_token.as_str()), (&erased[2..], ""));
    }

    async fn f112_a_person_erased_while_enrolled_and_watched_is_gone(db: Db) {
        let site = Site::new(&db).await;
        for round in 0..5 {
            let person = site.add(&format!("Ada {round}")).await.name;
            site.say(&person, yes(None, None)).await.unwrap();
            let start = *site.gallery.revisions().borrow();
            let mut changes = site.gallery.watch_changes(start).await.unwrap();
            let enrolling = {
                let site = Site { gallery: site.gallery.clone(), server: site.server.clone(), folder: tempfile::tempdir().unwrap() };
                let person = person.clone();
                tokio::spawn(async move {
                    loop {
                        match site.enrol(&person, UtcInstant::now()).await {
                            Ok(()) => {}
                            Err(error) => break error,
                        }
                    }
                })
            };
            // Once some are enrolled.
            for _ in 0..3 {
                assert!(!changes.next().await.unwrap().unwrap().erased);
            }
            site.erase(&person).await.unwrap();
            assert!(matches!(enrolling.await.unwrap(), GalleryError::Erased(_)));
            // The erasure is the last that the feed has of them.
            let mut last = changes.next().await.unwrap().unwrap();
            while !last.erased {
                last = changes.next().await.unwrap().unwrap();
            }
            assert_eq!((last.person.name(), last.revision), (person.clone(), *site.gallery.revisions().borrow()));
            assert_eq!(reason(&site.get(&person).await.unwrap_err()), "NOT_FOUND");
            let mut tx = db.read().await.unwrap();
            let left = crate::store::people::get(&mut tx, PersonId::from_name(&person).unwrap()).await.unwrap();
            assert!(left.is_none());
        }
    }

    async fn two_erasures_of_one_person_at_once_are_one(db: Db) {
        let site = Site::new(&db).await;
        let person = site.add("Ada").await.name;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (server, name) = (site.server.clone(), person.clone());
            tasks.spawn(async move {
                server.erase_person(Request::new(v1::ErasePersonRequest { name })).await.unwrap().into_inner().name
            });
        }
        let names: std::collections::BTreeSet<String> = tasks.join_all().await.into_iter().collect();
        assert_eq!(names.len(), 1);
    }
}

#[tokio::test]
async fn f113_a_restored_backup_brings_nobody_back() {
    let folder = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let copy =
        |from: &Path, to: &Path| std::fs::copy(from.join("gallery.db"), to.join("gallery.db")).unwrap();
    let db = sqlite(folder.path()).await;
    let gallery = open(&db, folder.path(), UtcInstant::now()).await.unwrap();
    let site = Site { server: GalleryServer::new(gallery.clone()), gallery, folder };
    let person = whole_person(&site).await;
    let other = site.add("Bo").await.name;
    db.close().await;
    copy(site.folder.path(), backup.path());

    let db = sqlite(site.folder.path()).await;
    let gallery = open(&db, site.folder.path(), UtcInstant::now()).await.unwrap();
    let site = Site { server: GalleryServer::new(gallery.clone()), gallery, folder: site.folder };
    let erasure = site.erase(&person).await.unwrap();
    db.close().await;

    copy(backup.path(), site.folder.path());
    assert!(!found(site.folder.path(), NAME.as_bytes()).is_empty(), "the backup has them");
    let db = sqlite(site.folder.path()).await;
    let gallery = open(&db, site.folder.path(), UtcInstant::now()).await.unwrap();
    let site = Site { server: GalleryServer::new(gallery.clone()), gallery, folder: site.folder };
    assert_eq!(reason(&site.get(&person).await.unwrap_err()), "NOT_FOUND");
    assert_eq!(reason(&site.say(&person, yes(None, None)).await.unwrap_err()), "PERSON_ERASED");
    site.get(&other).await.unwrap();
    for mark in [NAME.as_bytes(), EXTERNAL_ID.as_bytes(), SEALED] {
        assert_eq!(found(site.folder.path(), mark), [""; 0]);
    }
    let again = site.erase(&person).await.unwrap();
    assert_eq!((&again.name, again.erase_time), (&erasure.name, erasure.erase_time));
    let mut changes = site.gallery.watch_changes(0).await.unwrap();
    let mut last = changes.next().await.unwrap().unwrap();
    while last.revision < *site.gallery.revisions().borrow() {
        last = changes.next().await.unwrap().unwrap();
    }
    assert!(last.erased && last.person.name() == person);
}

#[tokio::test]
async fn f023_a_ledger_that_is_lost_is_written_anew_from_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let db = sqlite(folder.path()).await;
    let gallery = open(&db, folder.path(), UtcInstant::now()).await.unwrap();
    let site = Site { server: GalleryServer::new(gallery.clone()), gallery, folder };
    for name in ["Ada", "Bo"] {
        let person = site.add(name).await.name;
        site.erase(&person).await.unwrap();
    }
    let path = site.folder.path().join("erasures.ledger");
    let renew = async || Gallery::renew_ledger(&db, &Key::new([7; 32]), path.clone()).await;
    assert!(matches!(renew().await, Err(GalleryError::Ledger { .. })), "never over one that is there");
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(renew().await.unwrap(), 2);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    open(&db, site.folder.path(), UtcInstant::now()).await.unwrap();
}

#[tokio::test]
async fn f023_a_gallery_whose_ledger_was_cut_or_changed_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let db = sqlite(folder.path()).await;
    let gallery = open(&db, folder.path(), UtcInstant::now()).await.unwrap();
    let site = Site { server: GalleryServer::new(gallery.clone()), gallery, folder };
    let person = site.add("Ada").await.name;
    site.erase(&person).await.unwrap();
    let path = site.folder.path().join("erasures.ledger");
    let whole = std::fs::read(&path).unwrap();
    let refused = async |bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = open(&db, site.folder.path(), UtcInstant::now()).await.err().unwrap();
        assert!(matches!(error, GalleryError::Ledger { .. }), "{error}");
        assert_eq!(error.fault().reason, rollcall_core::Reason::DataDamaged);
        assert!(error.to_string().contains("erasures.ledger"), "{error}");
    };
    refused(None).await;
    refused(Some(&whole[..whole.len() / 2])).await;
    let mut changed = whole.clone();
    changed[10] ^= 1;
    refused(Some(&changed)).await;
    std::fs::write(&path, &whole).unwrap();
    open(&db, site.folder.path(), UtcInstant::now()).await.unwrap();
}
