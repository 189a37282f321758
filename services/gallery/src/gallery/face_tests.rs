//! Faces of a gallery on both engines: every statement of `store/faces.rs`, `templates.rs`, `enrolments.rs`,
//! `mismatches.rs`, by what must hold for whoever calls.

use std::path::{Path, PathBuf};

use prost::bytes::Bytes;
use rollcall_core::{Reason, SiteZone, TemplateId};
use rollcall_store::both_engines;
use rollcall_vision::Embedding;

use super::*;
use crate::decide::{MARGIN, Outcome, Rule};
use crate::enrol::Verdict;
use crate::recogniser::{FaceOptions, TEMPLATE_TABLE};
use crate::store::templates::{self, NewTemplate};
use crate::{RecogniseError, SealError};
use rollcall_core::PersonId;
use rollcall_store::on;

const TABLES: &[&[Migration]] = &[rollcall_store::requests::MIGRATIONS, schema::MIGRATIONS];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn picture(name: &str) -> Bytes {
    std::fs::read(root().join("deploy/demo").join(name)).unwrap().into()
}

fn obama(number: u8) -> Bytes {
    match number {
        1 => picture("gallery/Barack Obama/obama.jpg"),
        2 => picture("gallery/Barack Obama/obama2.jpg"),
        _ => picture("pictures/obama3.jpg"),
    }
}

fn biden() -> Bytes {
    picture("pictures/biden.jpg")
}

fn now() -> UtcInstant {
    UtcInstant::from_micros(1_800_000_000_000_000)
}

async fn opened(db: &Db, keep_pictures: bool) -> Gallery {
    opened_in(db, keep_pictures, &tempfile::tempdir().unwrap()).await
}

/// With the erasure ledger in this folder.
async fn opened_in(db: &Db, keep_pictures: bool, folder: &tempfile::TempDir) -> Gallery {
    let options = GalleryOptions {
        db: db.clone(),
        writes: Writes::new(),
        key: Key::new([7; 32]),
        zone: SiteZone::utc(),
        erasures: folder.path().join("erasures"),
        terminal: None,
    };
    let gallery = Gallery::open(options, now()).await.unwrap();
    let faces = FaceOptions { models: root().join("models"), fpir_target: 0.001, keep_pictures, threads: 1 };
    gallery.load_faces(faces).await.unwrap();
    gallery
}

/// Somebody with consent.
async fn person(gallery: &Gallery, name: &str) -> PersonId {
    let person = PersonId::generate();
    let mut tx = gallery.begin().await.unwrap();
    on!(tx, connection => {
        sqlx::query(
            "insert into gallery_person (person_id, display_name, display_name_folded, created_us, revision)
                values ($1, $2, $2, 0, 0)",
        )
        .bind(person.as_bytes())
        .bind(name)
        .execute(&mut *connection)
        .await
        .map(|done| done.rows_affected())?;
        sqlx::query(
            "insert into gallery_consent
                (consent_id, person_id, line, decision, giver, giver_label, form, recorded_us, recorded_by)
                values ($1, $1, 1, 1, 1, '', '', 0, '')",
        )
        .bind(person.as_bytes())
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
    })
    .unwrap();
    head::record(&mut tx, person, false, now()).await.unwrap();
    gallery.commit(tx).await.unwrap();
    person
}

async fn run(gallery: &Gallery, person: PersonId, statement: &'static str) {
    let mut tx = gallery.begin().await.unwrap();
    on!(tx, connection => {
        sqlx::query(statement)
            .bind(person.as_bytes())
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
    })
    .unwrap();
    head::record(&mut tx, person, false, now()).await.unwrap();
    gallery.commit(tx).await.unwrap();
}

async fn count(gallery: &Gallery, statement: &'static str) -> i64 {
    let mut tx = gallery.shared.db.read().await.unwrap();
    on!(tx, connection => sqlx::query_scalar(statement).fetch_one(connection).await).unwrap()
}

async fn enrol(gallery: &Gallery, person: PersonId, picture: Bytes) -> Enrolled {
    gallery.enrol_picture(person, picture, EnrolOptions::default(), now()).await.unwrap()
}

fn verdict(enrolled: &Enrolled) -> Verdict {
    enrolled.enrolment.judgement.verdict
}

/// The outcome and rule of the largest face.
async fn largest(gallery: &Gallery, picture: Bytes, at: UtcInstant) -> (Outcome, Rule) {
    let seen = gallery.identify(picture, at).await.unwrap();
    (seen.faces[0].1.outcome, seen.faces[0].1.trace.rule)
}

/// Puts a template into the database as another process would.
async fn put_template(gallery: &Gallery, person: PersonId, sealed: &[u8], model_hash: &[u8]) -> TemplateId {
    let template = TemplateId::generate();
    let quality = rollcall_vision::Quality {
        inter_ocular_px: 60.0,
        sharpness: f32::INFINITY,
        yaw_deg: f32::NAN,
        roll_deg: 0.0,
        nose_height: 0.5,
        brightness: 100.0,
        contrast: 40.0,
    };
    let mut tx = gallery.begin().await.unwrap();
    let new =
        NewTemplate { template, person, model_hash, model: "a network", sealed, quality, created: now() };
    templates::insert(&mut tx, &new).await.unwrap();
    head::record(&mut tx, person, false, now()).await.unwrap();
    gallery.commit(tx).await.unwrap();
    template
}

fn unit(at: usize) -> Embedding {
    let values = (0..128).map(|n| if n == at { 1.0 } else { 0.01 }).collect();
    Embedding::normalised(values).unwrap()
}

both_engines! {
    migrations = TABLES;

    async fn an_enrolled_person_is_recognised_and_a_stranger_is_named_by_nothing(db: Db) {
        let gallery = opened(&db, false).await;
        assert_eq!(largest(&gallery, obama(1), now()).await, (Outcome::Unknown, Rule::GalleryEmpty));
        let person = person(&gallery, "Barack").await;
        let enrolled = enrol(&gallery, person, obama(1)).await;
        assert_eq!(verdict(&enrolled), Verdict::Enrolled);
        let seen = gallery.identify(obama(2), now()).await.unwrap();
        let decision = &seen.faces[0].1;
        assert_eq!(decision.outcome, Outcome::Recognised(person));
        assert_eq!(decision.trace.template.unwrap().0, enrolled.template.unwrap().template);
        assert_eq!(seen.display_names[&person], "Barack");
        let seen = gallery.identify(biden(), now()).await.unwrap();
        let decision = &seen.faces[0].1;
        assert_eq!((decision.outcome, decision.trace.rule), (Outcome::Unknown, Rule::Threshold));
        assert_eq!((decision.trace.template, decision.trace.runner_up), (None, None));
        assert!(seen.display_names.is_empty() && decision.trace.score.unwrap() < decision.trace.threshold.unwrap());
    }

    async fn without_consent_no_template_is_made_or_verdict_kept(db: Db) {
        let gallery = opened(&db, true).await;
        let person = person(&gallery, "A").await;
        run(&gallery, person, "update gallery_consent set decision = 3 where person_id = $1").await;
        let refused = gallery.enrol_picture(person, obama(1), EnrolOptions::default(), now()).await.unwrap_err();
        assert_eq!(refused.fault().reason, Reason::ConsentMissing);
        for table in ["select count(*) from gallery_template", "select count(*) from gallery_enrolment"] {
            assert_eq!(count(&gallery, table).await, 0);
        }
        let nobody = PersonId::generate();
        let refused = gallery.enrol_picture(nobody, obama(1), EnrolOptions::default(), now()).await.unwrap_err();
        assert_eq!(refused.fault().reason, Reason::NotFound);
    }

    async fn the_same_picture_answers_with_its_first_verdict_and_makes_one_template(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        let first = enrol(&gallery, person, obama(1)).await;
        let later = now().after(std::time::Duration::from_secs(5));
        let again = gallery.enrol_picture(person, obama(1), EnrolOptions::default(), later).await.unwrap();
        assert_eq!(again.enrolment, first.enrolment);
        assert_eq!(again.template.unwrap().template, first.template.unwrap().template);
        let unreadable = enrol(&gallery, person, Bytes::from_static(b"no picture")).await;
        assert_eq!(verdict(&unreadable), Verdict::Unreadable);
        assert_eq!(gallery.templates(person).await.unwrap().len(), 1);
        let all = gallery.enrolments(person, (i64::MIN, &[]), 10).await.unwrap();
        assert_eq!(all.len(), 2);
        let last = all.last().unwrap();
        let after = (last.recorded.micros(), &last.picture_sha256[..]);
        assert!(gallery.enrolments(person, after, 10).await.unwrap().is_empty());
        let first_one = gallery.enrolments(person, (i64::MIN, &[]), 1).await.unwrap();
        assert_eq!(first_one, all[..1]);
    }

    async fn two_at_once_with_one_picture_make_one_template(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        let enrol = || gallery.enrol_picture(person, obama(1), EnrolOptions::default(), now());
        let (one, two) = tokio::join!(enrol(), enrol());
        assert_eq!(one.unwrap().enrolment, two.unwrap().enrolment);
        assert_eq!(gallery.templates(person).await.unwrap().len(), 1);
    }

    async fn validation_stores_nothing(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        let options = EnrolOptions { validate_only: true, ..EnrolOptions::default() };
        let judged = gallery.enrol_picture(person, obama(1), options, now()).await.unwrap();
        assert_eq!((verdict(&judged), judged.template.is_none()), (Verdict::Enrolled, true));
        assert!(gallery.templates(person).await.unwrap().is_empty());
        assert!(gallery.enrolments(person, (i64::MIN, &[]), 10).await.unwrap().is_empty());
    }

    async fn f086_the_same_person_under_another_name_is_told_with_the_score_and_can_be_accepted(db: Db) {
        let gallery = opened(&db, false).await;
        let (first, second) = (person(&gallery, "Barack").await, person(&gallery, "Somebody").await);
        enrol(&gallery, first, obama(1)).await;
        enrol(&gallery, first, obama(2)).await;
        let refused = enrol(&gallery, second, obama(3)).await;
        assert_eq!(verdict(&refused), Verdict::LooksLike);
        let other = refused.enrolment.judgement.looks_like.unwrap();
        assert_eq!(other.person, first);
        assert!(!refused.enrolment.judgement.explanation.contains("Barack"));
        assert_eq!(verdict(&enrol(&gallery, second, obama(3)).await), Verdict::LooksLike);
        let accept = EnrolOptions { accept_look_alike: true, ..EnrolOptions::default() };
        let accepted = gallery.enrol_picture(second, obama(3), accept, now()).await.unwrap();
        assert_eq!(verdict(&accepted), Verdict::Enrolled);
        let pairs = gallery.look_alikes(None, 0.0, now()).await.unwrap();
        assert_eq!(pairs.len(), 1);
        assert!(pairs[0].margin_needed > MARGIN);
        let of_second = gallery.look_alikes(Some(second), 0.0, now()).await.unwrap();
        assert_eq!(of_second[0].pair.a, pairs[0].pair.a);
        assert!((of_second[0].pair.score - pairs[0].pair.score).abs() < 1e-5);
    }

    async fn a_picture_unlike_the_others_of_a_person_is_refused_until_those_are_gone(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        let wrong = enrol(&gallery, person, biden()).await.template.unwrap().template;
        assert_eq!(verdict(&enrol(&gallery, person, obama(1)).await), Verdict::UnlikeOthers);
        gallery.delete_template(person, wrong, now()).await.unwrap();
        assert_eq!(verdict(&enrol(&gallery, person, obama(1)).await), Verdict::Enrolled);
        let gone = gallery.delete_template(person, wrong, now()).await.unwrap_err();
        assert_eq!(gone.fault().reason, Reason::NotFound);
    }

    async fn a_deleted_template_is_not_matched_and_its_picture_may_be_offered_again(db: Db) {
        let gallery = opened(&db, true).await;
        let person = person(&gallery, "A").await;
        let template = enrol(&gallery, person, obama(1)).await.template.unwrap();
        assert!(template.picture_kept);
        assert_eq!(largest(&gallery, obama(2), now()).await.0, Outcome::Recognised(person));
        gallery.delete_template(person, template.template, now()).await.unwrap();
        assert_eq!(largest(&gallery, obama(2), now()).await, (Outcome::Unknown, Rule::GalleryEmpty));
        assert_eq!(count(&gallery, "select count(*) from gallery_picture").await, 0);
        assert_eq!(verdict(&enrol(&gallery, person, obama(1)).await), Verdict::Enrolled);
    }

    async fn kept_pictures_are_sealed_and_open_in_their_place_alone(db: Db) {
        let gallery = opened(&db, true).await;
        let person = person(&gallery, "A").await;
        let template = enrol(&gallery, person, obama(1)).await.template.unwrap();
        let mut tx = db.read().await.unwrap();
        let sealed: Vec<u8> = on!(tx, connection => {
            sqlx::query_scalar("select sealed from gallery_picture").fetch_one(connection).await
        })
        .unwrap();
        let recogniser = gallery.recogniser().unwrap();
        let place = |person| recogniser.place(crate::recogniser::PICTURE_TABLE, person, template.template.as_bytes());
        assert_eq!(*recogniser.seal().open(place(person), &sealed).unwrap(), obama(1));
        assert!(!sealed.windows(32).any(|window| window == &obama(1)[1_000..1_032]));
        assert_eq!(recogniser.seal().open(place(PersonId::generate()), &sealed), Err(SealError::NotOpened));
        assert!(gallery.templates(person).await.unwrap()[0].picture_kept);
    }

    async fn when_templates_are_removed_with_consent_the_verdicts_go_too(db: Db) {
        let gallery = opened(&db, true).await;
        let person = person(&gallery, "A").await;
        enrol(&gallery, person, obama(1)).await;
        enrol(&gallery, person, Bytes::from_static(b"no picture")).await;
        let mut tx = gallery.begin().await.unwrap();
        assert_eq!(templates::delete_of(&mut tx, person).await.unwrap(), 1);
        head::record(&mut tx, person, false, now()).await.unwrap();
        gallery.commit(tx).await.unwrap();
        for table in [
            "select count(*) from gallery_template",
            "select count(*) from gallery_enrolment",
            "select count(*) from gallery_picture",
        ] {
            assert_eq!(count(&gallery, table).await, 0, "{table}");
        }
        assert_eq!(largest(&gallery, obama(1), now()).await.1, Rule::GalleryEmpty);
    }

    async fn whose_time_is_over_is_not_matched_before_anybody_sweeps(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        enrol(&gallery, person, obama(1)).await;
        run(&gallery, person, "update gallery_person set standing_until_us = 1800000000500000 where person_id = $1").await;
        assert_eq!(largest(&gallery, obama(2), now()).await.0, Outcome::Recognised(person));
        let over = UtcInstant::from_micros(1_800_000_000_500_000);
        assert_eq!(largest(&gallery, obama(2), over).await, (Outcome::Unknown, Rule::GalleryEmpty));
        let refused = gallery.verify(person, obama(2), over).await.unwrap_err();
        assert_eq!(refused.fault().reason, Reason::StateForbids);
    }

    async fn another_process_changes_are_followed(db: Db) {
        let (ours, theirs) = (opened(&db, false).await, opened(&db, false).await);
        let person = person(&theirs, "A").await;
        enrol(&theirs, person, obama(1)).await;
        let recogniser = ours.recogniser().unwrap();
        assert_eq!(recogniser.faces().len(now()), 0);
        recogniser.catch_up(&mut db.read().await.unwrap()).await.unwrap();
        assert_eq!(largest(&ours, obama(2), now()).await.0, Outcome::Recognised(person));
        // And at the next start from the beginning.
        let restarted = opened(&db, false).await;
        assert_eq!(largest(&restarted, obama(2), now()).await.0, Outcome::Recognised(person));
    }

    async fn a_feed_that_was_cut_leads_to_a_new_load(db: Db) {
        let (ours, theirs) = (opened(&db, false).await, opened(&db, false).await);
        let person = person(&theirs, "A").await;
        enrol(&theirs, person, obama(1)).await;
        run(&theirs, person, "delete from gallery_change where person_id = $1").await;
        let recogniser = ours.recogniser().unwrap();
        recogniser.catch_up(&mut db.read().await.unwrap()).await.unwrap();
        assert!(recogniser.faces().matches(person, now()));
    }

    async fn f020_rows_that_do_not_open_or_are_no_embedding_are_skipped_and_the_others_are_there(db: Db) {
        let gallery = opened(&db, false).await;
        let recogniser = Arc::clone(gallery.recogniser().unwrap());
        let (seal, model) = (recogniser.seal(), *recogniser.model_hash());
        let (good, bad) = (person(&gallery, "good").await, person(&gallery, "bad").await);
        // The rows' ids are made later, so these are sealed for other places; the good one is put right below.
        let anywhere = |person| recogniser.place(TEMPLATE_TABLE, person, &[]);
        let sealed = seal.seal_embedding(anywhere(bad), &unit(1)).unwrap();
        put_template(&gallery, bad, &sealed, &model).await;
        put_template(&gallery, bad, &[], &model).await;
        put_template(&gallery, bad, &[0; 552], &model).await;
        let template = put_template(&gallery, good, &[], &model).await;
        let place = recogniser.place(TEMPLATE_TABLE, good, template.as_bytes());
        for (value, matched) in [
            (vec![f32::NAN; 128], false),
            (vec![0.0; 128], false),
            (vec![1e-40; 128], false),
            (unit(2).values()[..64].to_vec(), false),
            (unit(2).values().to_vec(), true),
        ] {
            let bytes: Vec<u8> = value.iter().flat_map(|value| value.to_le_bytes()).collect();
            let sealed = seal.seal(place, &bytes).unwrap();
            let mut tx = gallery.begin().await.unwrap();
            on!(tx, connection => {
                sqlx::query("update gallery_template set sealed = $1 where template_id = $2")
                    .bind(&sealed)
                    .bind(template.as_bytes())
                    .execute(connection)
                    .await
                    .map(|done| done.rows_affected())
            })
            .unwrap();
            head::record(&mut tx, good, false, now()).await.unwrap();
            gallery.commit(tx).await.unwrap();
            let restarted = opened(&db, false).await;
            for gallery in [&gallery, &restarted] {
                gallery.current_faces().await.unwrap();
                let faces = gallery.recogniser().unwrap().faces();
                assert_eq!((faces.matches(good, now()), faces.matches(bad, now())), (matched, false));
            }
        }
    }

    async fn f092_templates_of_another_network_are_listed_and_not_matched(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        put_template(&gallery, person, &[1, 2, 3], &[9; 32]).await;
        let recogniser = gallery.current_faces().await.unwrap();
        assert!(!recogniser.faces().matches(person, now()));
        assert_eq!(gallery.templates(person).await.unwrap()[0].model, "a network");
        assert_eq!(verdict(&enrol(&gallery, person, obama(1)).await), Verdict::Enrolled);
        assert_eq!(gallery.templates(person).await.unwrap().len(), 2);
    }

    async fn a_person_has_at_most_twenty_templates(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        for _ in 0..20 {
            put_template(&gallery, person, &[], &[9; 32]).await;
        }
        let refused = gallery.enrol_picture(person, obama(1), EnrolOptions::default(), now()).await.unwrap_err();
        assert_eq!(refused.fault().reason, Reason::LimitReached);
        assert!(gallery.enrolments(person, (i64::MIN, &[]), 10).await.unwrap().is_empty());
    }

    async fn a_reported_mismatch_changes_the_next_decision_and_can_be_taken_back(db: Db) {
        let gallery = opened(&db, false).await;
        let (person, other) = (person(&gallery, "A").await, person(&gallery, "B").await);
        enrol(&gallery, person, obama(1)).await;
        let report = || Report {
            person,
            actual: Some(other),
            evidence: Evidence::Picture(obama(2)),
            reported_by: "accounts/x".into(),
        };
        let retry = |request| gallery.retry("ReportMismatch", "0193a5c0-0000-7000-8000-000000000001", request).unwrap();
        let reported = gallery.report_mismatch(report(), retry(b"1"), now()).await.unwrap();
        assert_eq!(largest(&gallery, obama(2), now()).await, (Outcome::Unknown, Rule::MismatchReported));
        assert_eq!(gallery.recogniser().unwrap().faces().reports(other, person), 1);
        assert_eq!(gallery.report_mismatch(report(), retry(b"1"), now()).await.unwrap(), reported);
        let refused = gallery.report_mismatch(report(), retry(b"2"), now()).await.unwrap_err();
        assert_eq!(refused.fault().reason, Reason::RequestIdReused);
        let nobody = gallery.report_mismatch(report(), None, now()).await.unwrap_err();
        assert_eq!(nobody.fault().reason, Reason::StateForbids);

        let listed = gallery.mismatches((i64::MAX, &[0xff; 16]), 10).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&reported));
        let before = (reported.reported.micros(), reported.mismatch.as_bytes());
        assert!(gallery.mismatches(before, 10).await.unwrap().is_empty());
        gallery.delete_mismatch(reported.mismatch, now()).await.unwrap();
        assert_eq!(largest(&gallery, obama(2), now()).await.0, Outcome::Recognised(person));
        let gone = gallery.delete_mismatch(reported.mismatch, now()).await.unwrap_err();
        assert_eq!(gone.fault().reason, Reason::NotFound);
    }

    async fn a_report_that_no_threshold_can_heed_is_refused_in_words(db: Db) {
        let gallery = opened(&db, false).await;
        let person = person(&gallery, "A").await;
        let report = |score, actual| Report {
            person,
            actual,
            evidence: Evidence::Score(score),
            reported_by: String::new(),
        };
        let refused = gallery.report_mismatch(report(0.97, None), None, now()).await.unwrap_err();
        assert_eq!(refused.fault().reason, Reason::StateForbids);
        let stranger = Some(PersonId::generate());
        let refused = gallery.report_mismatch(report(0.7, stranger), None, now()).await.unwrap_err();
        assert_eq!(refused.fault().reason, Reason::NotFound);
        let taken = gallery.report_mismatch(report(0.7, None), None, now()).await.unwrap();
        assert!(taken.threshold > 0.7);
    }

    async fn a_person_is_verified_by_their_own_face_alone(db: Db) {
        let gallery = opened(&db, false).await;
        let (one, other) = (person(&gallery, "A").await, person(&gallery, "B").await);
        enrol(&gallery, one, obama(1)).await;
        assert_eq!(gallery.verify(one, obama(2), now()).await.unwrap().outcome, Outcome::Recognised(one));
        assert_eq!(gallery.verify(one, biden(), now()).await.unwrap().outcome, Outcome::Unknown);
        assert_eq!(gallery.verify(other, obama(2), now()).await.unwrap_err().fault().reason, Reason::StateForbids);
        let nobody = PersonId::generate();
        assert_eq!(gallery.verify(nobody, obama(2), now()).await.unwrap_err().fault().reason, Reason::NotFound);
        let unreadable = gallery.verify(one, Bytes::from_static(b"x"), now()).await.unwrap_err();
        assert_eq!(unreadable.fault().reason, Reason::PictureUnreadable);
    }

    async fn f112_a_person_erased_while_being_enrolled_has_nothing_left(db: Db) {
        let folder = tempfile::tempdir().unwrap();
        let gallery = opened_in(&db, true, &folder).await;
        let kept = person(&gallery, "B").await;
        for (enrolled_before, erased_while_it_is_read) in [(true, true), (false, true), (false, false)] {
            let erased = person(&gallery, "A").await;
            if enrolled_before {
                enrol(&gallery, erased, biden()).await;
            }
            let (release, held) = std::sync::mpsc::channel::<()>();
            let reading = gallery.recogniser().unwrap().inference().run(move |_| {
                let _ = held.recv();
                Ok(())
            });
            let enrolling = gallery.enrol_picture(erased, obama(1), EnrolOptions::default(), now());
            let erasing = async {
                if !erased_while_it_is_read {
                    drop(release);
                    return gallery.erase_person(erased, now()).await.unwrap();
                }
                let erasure = gallery.erase_person(erased, now()).await.unwrap();
                drop(release);
                erasure
            };
            let (read, enrolled, _) = tokio::join!(reading, enrolling, erasing);
            read.unwrap();
            match enrolled {
                Ok(_) => assert!(!erased_while_it_is_read),
                Err(refused) => {
                    let reason = refused.fault().reason;
                    assert!([Reason::NotFound, Reason::PersonErased].contains(&reason), "{refused}");
                }
            }
            for table in [
                "select count(*) from gallery_template",
                "select count(*) from gallery_enrolment",
                "select count(*) from gallery_picture",
            ] {
                assert_eq!(count(&gallery, table).await, 0, "{table}");
            }
            assert!(!gallery.current_faces().await.unwrap().faces().matches(erased, now()));
            assert!(gallery.enrol_picture(erased, obama(1), EnrolOptions::default(), now()).await.is_err());
        }
        assert_eq!(verdict(&enrol(&gallery, kept, obama(1)).await), Verdict::Enrolled);
    }

    async fn thresholds_follow_the_gallery(db: Db) {
        let gallery = opened(&db, false).await;
        let recogniser = Arc::clone(gallery.recogniser().unwrap());
        let before = recogniser.thresholds();
        for at in 0..5 {
            let person = person(&gallery, "A").await;
            let template = put_template(&gallery, person, &[], recogniser.model_hash()).await;
            let place = recogniser.place(TEMPLATE_TABLE, person, template.as_bytes());
            let sealed = recogniser.seal().seal_embedding(place, &unit(at)).unwrap();
            let mut tx = gallery.begin().await.unwrap();
            on!(tx, connection => {
                sqlx::query("update gallery_template set sealed = $1 where template_id = $2")
                    .bind(&sealed)
                    .bind(template.as_bytes())
                    .execute(connection)
                    .await
                    .map(|done| done.rows_affected())
            })
            .unwrap();
            head::record(&mut tx, person, false, now()).await.unwrap();
            gallery.commit(tx).await.unwrap();
        }
        gallery.current_faces().await.unwrap();
        assert!(recogniser.is_calibration_old());
        let after = recogniser.calibrate().await.unwrap();
        assert!(!recogniser.is_calibration_old());
        assert_eq!((before.gallery_size, after.gallery_size, after.site_pairs), (0, 5, 10));
        assert!(after.identify > before.identify);
        assert!(after.verify < after.identify && after.unlike < after.duplicate);
        assert!(!after.basis.is_empty());
    }
}

#[test]
fn pictures_that_are_too_large_or_empty_are_refused_before_they_are_read() {
    rollcall_store::testing::on_sqlite(TABLES, async |db| {
        let gallery = opened(&db, false).await;
        for picture in [Bytes::new(), Bytes::from(vec![0; (8 << 20) + 1])] {
            let refused = gallery.identify(picture, now()).await.unwrap_err();
            assert_eq!(refused.fault().reason, Reason::PictureUnreadable);
        }
    });
}

#[test]
fn a_full_queue_refuses_and_a_panic_costs_one_picture() {
    rollcall_store::testing::on_sqlite(TABLES, async |db| {
        let gallery = opened(&db, false).await;
        let recogniser = gallery.recogniser().unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let blocking = recogniser.inference().run(move |_| {
            let _ = begun.send(());
            let _ = held.recv();
            Ok(())
        });
        let mut waiting = tokio::task::JoinSet::new();
        let this = Arc::clone(recogniser);
        tokio::pin!(blocking);
        tokio::select! {
            _ = &mut blocking => panic!("it waits to be released"),
            _ = begins => {}
        }
        let mut refused = 0;
        let (queued, mut in_queue) = tokio::sync::mpsc::channel(100);
        for _ in 0..rollcall_core::limits::INFERENCE_QUEUE + 3 {
            let (this, queued) = (Arc::clone(&this), queued.clone());
            waiting.spawn(async move {
                let job = this.inference().run(|_| Ok(()));
                tokio::pin!(job);
                // Polled once, it is in the queue or refused.
                let first = futures_util::poll!(&mut job);
                queued
                    .send(matches!(first, std::task::Poll::Ready(Err(RecogniseError::Busy))))
                    .await
                    .unwrap();
                if first.is_pending() {
                    job.await.unwrap();
                }
            });
        }
        for _ in 0..rollcall_core::limits::INFERENCE_QUEUE + 3 {
            refused += usize::from(in_queue.recv().await.unwrap());
        }
        assert_eq!(refused, 3);
        release.send(()).unwrap();
        blocking.await.unwrap();
        while let Some(done) = waiting.join_next().await {
            done.unwrap();
        }
        let lost = recogniser.inference().run(|_| -> Result<(), RecogniseError> { panic!("injected") }).await;
        assert!(matches!(lost, Err(RecogniseError::Panicked)));
        recogniser.inference().run(|_| Ok(())).await.unwrap();
    });
}
