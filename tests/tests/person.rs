//! The life of a person, from the first word to the last: consent, a portrait, recognition, events, a correction, and
//! being forgotten.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use rollcall_proto::v1::consent::Decision;
use rollcall_proto::v1::{self, Outcome, Verdict};
use rollcall_tests::client::reason;
use rollcall_tests::pictures::portrait;
use rollcall_tests::{Agent, Client};

/// A name that no other byte of a data folder spells by chance.
const NAME: &str = "Xuân Quỳnh Zephyrine";

#[tokio::test]
async fn a_person_is_enrolled_with_consent_recognised_corrected_and_forgotten() {
    let mut agent = Agent::start();
    let mut client = agent.client().await;
    let person = client.create_person(NAME, "EXT-93417").await;
    let refused = client.enrol(&person.name, portrait("obama.jpg")).await.unwrap_err();
    assert_eq!(reason(&refused), "CONSENT_MISSING");
    client.record_consent(&person.name, Decision::Given).await;
    for picture in ["obama.jpg", "obama2.jpg"] {
        let enrolled = client.enrol(&person.name, portrait(picture)).await.unwrap();
        assert_eq!(enrolled.enrolment.unwrap().verdict(), Verdict::Enrolled, "{picture}");
    }
    assert_recognised(&mut client, &person.name).await;
    assert_stranger(&mut client, "biden.jpg").await;
    agent.kill();
    agent.restart();
    let mut client = agent.client().await;
    assert_recognised(&mut client, &person.name).await;
    assert_event_is_recorded_once(&mut client, &person.name).await;
    assert_mark_is_amended(&mut client, &person.name).await;
    let erase = v1::ErasePersonRequest { name: person.name.clone() };
    let erasure = client.gallery.erase_person(erase).await.unwrap().into_inner();
    assert!(erasure.complete, "{erasure:?}");
    assert_stranger(&mut client, "obama3.jpg").await;
    let gone = client.gallery.get_person(v1::GetPersonRequest { name: person.name.clone() }).await;
    assert!(["NOT_FOUND", "PERSON_ERASED"].contains(&reason(&gone.unwrap_err()).as_str()));
    assert_forgotten(&agent.data());
    agent.stop();
    assert_forgotten(&agent.data());
}

async fn assert_recognised(client: &mut Client, person: &str) {
    let seen = client.identify(portrait("obama3.jpg")).await;
    let [face] = &seen.faces[..] else { panic!("{seen:?}") };
    assert_eq!((face.outcome(), face.person.as_str()), (Outcome::Recognised, person), "{face:?}");
    assert_eq!(face.display_name, NAME);
    let trace = face.trace.as_ref().unwrap();
    assert!(trace.score >= trace.threshold && trace.template.starts_with(person), "{trace:?}");
    assert!(!trace.rule.is_empty() && trace.quality.is_some(), "{trace:?}");
}

async fn assert_stranger(client: &mut Client, picture: &str) {
    let seen = client.identify(portrait(picture)).await;
    assert!(!seen.faces.is_empty());
    for face in &seen.faces {
        assert_eq!(face.outcome(), Outcome::Unknown, "{face:?}");
        assert!(face.person.is_empty() && face.display_name.is_empty(), "{face:?}");
        let trace = face.trace.as_ref().unwrap();
        assert!(trace.template.is_empty() && trace.runner_up.is_empty(), "{trace:?}");
    }
}

async fn assert_event_is_recorded_once(client: &mut Client, person: &str) {
    let record = v1::RecordManuallyRequest {
        person: person.to_owned(),
        direction: v1::Direction::In.into(),
        note: "seen at the gate".into(),
        request_id: "0193a5c0-0000-7000-8000-000000000001".into(),
        ..Default::default()
    };
    let first = client.attendance.record_manually(record.clone()).await.unwrap().into_inner();
    let again = client.attendance.record_manually(record).await.unwrap().into_inner();
    assert_eq!(first.name, again.name);
    let filter = v1::EventFilter { person: person.to_owned(), ..Default::default() };
    let events = v1::ListEventsRequest { filter: Some(filter), ..Default::default() };
    let events = client.attendance.list_events(events).await.unwrap().into_inner().events;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].note, "seen at the gate");
}

async fn assert_mark_is_amended(client: &mut Client, person: &str) {
    let session = client.expect_every_day(&[person.to_owned()]).await;
    let register = v1::GetRegisterRequest { session: session.clone() };
    let register = client.attendance.get_register(register).await.unwrap().into_inner();
    let [line] = &register.lines[..] else { panic!("{register:?}") };
    assert_eq!(line.person, person);
    let amend = v1::AmendMarkRequest {
        session,
        person: person.to_owned(),
        code: "excused".into(),
        reason: "a letter from home".into(),
        etag: line.etag.clone(),
        ..Default::default()
    };
    let amended = client.attendance.amend_mark(amend).await.unwrap().into_inner();
    assert_eq!(amended.mark.as_ref().unwrap().code, "excused");
    let [amendment] = &amended.amendments[..] else { panic!("{amended:?}") };
    assert_eq!(amendment.reason, "a letter from home");
    let code = |mark: &Option<v1::Mark>| mark.as_ref().map(|mark| mark.code.clone());
    assert_eq!(code(&amendment.old_mark), code(&line.mark));
}

/// No byte of the folder spells the name, the external id or the notes.
fn assert_forgotten(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_forgotten(&path);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in [NAME, "Zephyrine", "EXT-93417", "ext-93417", "seen at the gate", "a letter from home"]
        {
            assert!(!text.contains(secret), "{secret} is in {}", path.display());
        }
    }
}
