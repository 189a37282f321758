//! The terminal as a whole: scenes before its camera, and what its door, its log and its screen make of them.
//!
//! Each test has a program of its own; they run one after the other, because a processor that is shared by several of
//! them follows no face at the camera's pace.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::player::Frames;
use rollcall_tests::scene::{Film, Scene, TURNS_AT_S};
use rollcall_tests::terminal::{alarms, passages};
use rollcall_tests::{Client, Terminal};

/// The processor.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const NOBODY_IS_ASKED: &str = "[liveness]\npolicy = \"off\"\n[recognition]\nhold_off_s = 2\n";
const EVERYBODY_IS_ASKED: &str = "[liveness]\npolicy = \"challenge\"\n[recognition]\nhold_off_s = 2\n";

/// The passages that a scene added, and how often it opened the door.
async fn play(terminal: &Terminal, client: &mut Client, scene: Scene) -> (Vec<Kind>, usize) {
    let (before, pulses) = (passages(client).await.len(), terminal.pulses().len());
    terminal.player.scene(scene);
    let after = passages(client).await;
    (after[before..].to_vec(), terminal.pulses().len() - pulses)
}

/// Whoever was recognised; nothing else may have happened.
fn persons(events: &[Kind]) -> Vec<&str> {
    events.iter().map(person).collect()
}

fn person(kind: &Kind) -> &str {
    let Kind::Recognised(event) = kind else { panic!("nobody was recognised: {kind:?}") };
    let trace = event.trace.as_ref().expect("a trace");
    assert!(trace.score >= trace.threshold && trace.frames >= 3, "{trace:?}");
    assert!(trace.template.starts_with(&event.person), "{trace:?}");
    &event.person
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scene_gives_exactly_its_events_and_pulses() {
    let _alone = ALONE.lock().await;
    let terminal = Terminal::start(Film::default(), NOBODY_IS_ASKED);
    let [first, second] = terminal.enrol_both().await;
    let mut client = terminal.agent.client().await;

    let (events, pulses) = play(&terminal, &mut client, Scene::Stranger).await;
    let [Kind::UnknownFace(unknown)] = &events[..] else { panic!("{events:?}") };
    let trace = unknown.trace.as_ref().unwrap();
    assert!(trace.template.is_empty() && trace.runner_up.is_empty(), "a stranger has no nearest: {trace:?}");
    assert_eq!(pulses, 0, "no stranger is admitted");

    let (events, pulses) = play(&terminal, &mut client, Scene::WalkUp).await;
    assert_eq!((persons(&events), pulses), (vec![first.as_str()], 1));

    let (events, pulses) = play(&terminal, &mut client, Scene::Crossing).await;
    let mut both = persons(&events);
    both.sort_unstable();
    let mut expected = [first.as_str(), second.as_str()];
    expected.sort_unstable();
    assert_eq!(both, expected, "each once");
    // The second may come while the lock is released still: then it stays released.
    assert!((1..=2).contains(&pulses), "{pulses}");

    for scene in [Scene::Nobody, Scene::Dark, Scene::Blurred, Scene::PasserBy] {
        let (events, pulses) = play(&terminal, &mut client, scene).await;
        let recognised = events.iter().filter(|kind| matches!(kind, Kind::Recognised(_))).count();
        assert_eq!((recognised, pulses), (0, 0), "{}: {events:?}", scene.name());
    }
    let black = |is_over| ("CAMERA_BLACK".to_owned(), is_over);
    assert_eq!(alarms(&mut client).await, [black(false), black(true)], "of the dark scene alone");
    let pulses = terminal.pulses();
    assert!(pulses.iter().all(|pulse| pulse.locked_ms.is_some()), "{pulses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_of_no_use_is_an_alarm_until_it_is_one_again_and_opens_nothing() {
    let _alone = ALONE.lock().await;
    let terminal = Terminal::start(Film::default(), NOBODY_IS_ASKED);
    terminal.enrol_both().await;
    let mut client = terminal.agent.client().await;
    for (scene, alarm) in [
        (Scene::Black, "CAMERA_BLACK"),
        (Scene::Covered, "CAMERA_COVERED"),
        (Scene::Overexposed, "CAMERA_OVEREXPOSED"),
        (Scene::Frozen, "CAMERA_FROZEN"),
    ] {
        let before = alarms(&mut client).await.len();
        let (events, pulses) = play(&terminal, &mut client, scene).await;
        assert_eq!((events.len(), pulses), (0, 0), "{}: {events:?}", scene.name());
        let raised = alarms(&mut client).await.split_off(before);
        assert_eq!(raised, [(alarm.to_owned(), false), (alarm.to_owned(), true)], "{}", scene.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turned_photograph_is_refused_and_a_head_that_turns_as_asked_comes_in() {
    let _alone = ALONE.lock().await;
    let terminal = Terminal::start(Film::default(), EVERYBODY_IS_ASKED);
    let [first, _] = terminal.enrol_both().await;
    let mut client = terminal.agent.client().await;

    // Held up for longer than an attempt takes.
    terminal.player.play(&terminal.player.film(Scene::Photograph));
    let (events, pulses) = play(&terminal, &mut client, Scene::Photograph).await;
    assert_eq!(pulses, 0);
    let [Kind::EntryRefused(refused), ..] = &events[..] else { panic!("{events:?}") };
    assert_eq!(refused.reason, "LIVENESS_FAILED");
    assert_eq!(refused.trace.as_ref().unwrap().liveness_check, "CHALLENGE_FAILED");
    let is_refusal = |kind: &Kind| matches!(kind, Kind::EntryRefused(_));
    assert!(passages(&mut client).await.iter().all(is_refusal), "a photograph is nothing else");

    let before = passages(&mut client).await.len();
    turn_as_asked(&terminal);
    let events = passages(&mut client).await.split_off(before);
    assert_eq!(persons(&events), [first.as_str()]);
    let Kind::Recognised(event) = &events[0] else { unreachable!() };
    assert_eq!(event.trace.as_ref().unwrap().liveness_check, "CHALLENGE_PASSED");
    assert_eq!(terminal.pulses().len(), 1);
}

/// Looks ahead until the screen says whereto, then turns there.
fn turn_as_asked(terminal: &Terminal) {
    let film = Film::default();
    let turns = TURNS_AT_S as usize * film.fps as usize;
    // An arrow to the left is the left of the mirrored picture: the right of the camera's.
    let left = terminal.player.film(Scene::HeadRight);
    let right = terminal.player.film(Scene::HeadLeft);
    let ahead: Frames = Arc::from(&left[..turns]);
    let asked = Mutex::new(None);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let has_arrow = |state: &serde_json::Value| state["prompt"]["arrow"].is_string();
            let state = terminal.screen().wait_for(has_arrow);
            *asked.lock().unwrap() = state["prompt"]["arrow"].as_str().map(str::to_owned);
        });
        for _ in 0..5 {
            terminal.player.play(&ahead);
            if asked.lock().unwrap().is_some() {
                break;
            }
        }
    });
    let asked = asked.into_inner().unwrap().expect("an arrow");
    let turn = if asked == "left" { left } else { right };
    terminal.player.play(&Arc::from(&turn[turns..]));
    terminal.player.nobody();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_only_a_badge_or_pin_comes_in_is_in_the_register_and_is_never_measured() {
    let _alone = ALONE.lock().await;
    // The badge's text is known only once the person is there: the film is made then.
    let settings = "[liveness]\npolicy = \"off\"\n[recognition]\nmode = \"deliberate\"\n";
    let terminal = Terminal::start(Film::default(), settings);
    let mut client = terminal.agent.client().await;
    let person = client.create_person("Badge Only", "").await.name;
    let session = every_day(&mut client, &person).await;
    let badge = credential(&mut client, &person, v1::CredentialKind::Badge).await;
    let film = Film { badge, ..Film::default() };
    let frames: Frames = film.frames(Scene::Badge).map(|frame| rollcall_tests::scene::jpeg(&frame)).collect();
    terminal.player.play(&frames);
    terminal.player.nobody();
    let events = passages(&mut client).await;
    let [Kind::CredentialUsed(used)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(used.person, person);
    assert_eq!(terminal.pulses().len(), 1);
    let register = v1::GetRegisterRequest { session };
    let register = client.attendance.get_register(register).await.unwrap().into_inner();
    let [line] = &register.lines[..] else { panic!("{register:?}") };
    assert_eq!(line.person, person);
    assert!(line.arrive_time.is_some(), "{line:?}");
    assert_eq!(terminal.metric("rollcall_embeddings_total"), 0.0);
}

async fn credential(client: &mut Client, person: &str, kind: v1::CredentialKind) -> String {
    let request =
        v1::CreateCredentialRequest { person: person.to_owned(), kind: kind.into(), ..Default::default() };
    client.gallery.create_credential(request).await.unwrap().into_inner().secret
}

/// A group with this person that is expected all day, every day; today's session.
async fn every_day(client: &mut Client, person: &str) -> String {
    let group = v1::Group { display_name: "Everybody".into(), ..Default::default() };
    let group = v1::CreateGroupRequest { group: Some(group), ..Default::default() };
    let group = client.gallery.create_group(group).await.unwrap().into_inner();
    let update = v1::UpdatePersonRequest {
        person: Some(v1::Person {
            name: person.to_owned(),
            groups: vec![group.name.clone()],
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["groups".into()] }),
    };
    client.gallery.update_person(update).await.unwrap();
    let midnight = v1::TimeOfDay { hours: 0, minutes: 0, seconds: 0 };
    let period = v1::Period {
        display_name: "Every day".into(),
        group: group.name,
        weekdays: (1..=7).collect(),
        start: Some(midnight),
        end: Some(midnight),
        start_date: Some(v1::Date { year: 2020, month: 1, day: 1 }),
        end_date: Some(v1::Date { year: 2099, month: 12, day: 31 }),
        ..Default::default()
    };
    let period = v1::CreatePeriodRequest { period: Some(period), ..Default::default() };
    client.attendance.create_period(period).await.unwrap();
    let sessions =
        client.attendance.list_sessions(v1::ListSessionsRequest::default()).await.unwrap().into_inner();
    sessions.sessions.first().expect("today's session").name.clone()
}
