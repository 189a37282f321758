//! The terminal as a whole: scenes before its camera, and what its door, its log and its screen make of them.
//!
//! Each test has a program of its own; two run at once and no more, because a processor that is shared by several of
//! them follows no face at the camera's pace.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::player::Frames;
use rollcall_tests::scene::{Film, Scene, TURNS_AT_S};
use rollcall_tests::terminal::{
    PIN, alarms, assert_each_entry_has_its_pulse, assert_each_pulse_has_its_event, listed, passages,
};
use rollcall_tests::{Client, Terminal};
use tokio::sync::Semaphore;

/// Tests that run at once.
static PLACES: Semaphore = Semaphore::const_new(2);

const NOBODY_IS_ASKED: &str = "[liveness]\npolicy = \"off\"\n";
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
    let _place = PLACES.acquire().await;
    let terminal = Terminal::start(Film::default(), NOBODY_IS_ASKED);
    let [first, second] = terminal.enrol_both().await;
    let mut client = terminal.agent.client().await;

    // Before all others: who has just passed is held off.
    let (events, pulses) = play(&terminal, &mut client, Scene::Crossing).await;
    let mut both = persons(&events);
    both.sort_unstable();
    let mut expected = [first.as_str(), second.as_str()];
    expected.sort_unstable();
    assert_eq!(both, expected, "each once");
    // The second may come while the lock is released still: then it stays released.
    assert!((1..=2).contains(&pulses), "{pulses}");

    let (events, pulses) = play(&terminal, &mut client, Scene::Stranger).await;
    let [Kind::UnknownFace(unknown)] = &events[..] else { panic!("{events:?}") };
    let trace = unknown.trace.as_ref().unwrap();
    assert!(trace.template.is_empty() && trace.runner_up.is_empty(), "a stranger has no nearest: {trace:?}");
    assert_eq!(pulses, 0, "no stranger is admitted");

    let (events, pulses) = play(&terminal, &mut client, Scene::WalkUp).await;
    assert_eq!((persons(&events), pulses), (vec![first.as_str()], 1));

    for scene in [Scene::Nobody, Scene::Dark, Scene::Blurred, Scene::PasserBy] {
        let (events, pulses) = play(&terminal, &mut client, scene).await;
        assert_eq!((events.len(), pulses), (0, 0), "{}: {events:?}", scene.name());
    }
    let black = |is_over| ("CAMERA_BLACK".to_owned(), is_over);
    assert_eq!(alarms(&mut client).await, [black(false), black(true)], "of the dark scene alone");
    assert_entries_are_pulses(&terminal, &mut client).await;
}

/// Each recognition released the lock at once, each release was of one, and each has ended.
async fn assert_entries_are_pulses(terminal: &Terminal, client: &mut Client) {
    let since_boot = |event: v1::Event| event.stamp.unwrap().boottime_us as u64 / 1_000;
    let entries: Vec<u64> = listed(client, &["recognised"]).await.into_iter().map(since_boot).collect();
    let pulses = terminal.pulses();
    assert_each_pulse_has_its_event(&pulses, &entries, "of all scenes");
    assert_each_entry_has_its_pulse(&pulses, &entries, "of all scenes");
}

#[tokio::test(flavor = "multi_thread")]
async fn f088_of_a_crowd_before_a_fast_camera_frames_are_dropped_and_counted_and_nobody_waits() {
    let _place = PLACES.acquire().await;
    let settings = "[liveness]\npolicy = \"off\"\n[recognition]\nhold_off_s = 60\n";
    let terminal = Terminal::start(Film { fps: 30, ..Film::default() }, settings);
    let enrolled = terminal.enrol_both().await;
    let mut client = terminal.agent.client().await;
    let crowd = terminal.player.film(Scene::Five);
    // Twice, so that a busy machine has seen each of the five often enough.
    terminal.player.play(&crowd);
    terminal.player.play(&crowd);
    terminal.player.burst(&crowd);
    terminal.player.nobody();
    let frames = |what: &str| terminal.metric(&format!("rollcall_frames_total{{what=\"{what}\"}}"));
    let (taken, dropped, stale) = (frames("taken"), frames("dropped"), frames("stale"));
    println!("{taken} frames taken, {dropped} dropped, {stale} stale");
    assert!(dropped > 0.0, "there is one place for a frame, and the latest is in it");
    let is_person = |kind: &Kind| matches!(kind, Kind::Recognised(_));
    let (known, others): (Vec<Kind>, Vec<Kind>) =
        passages(&mut client).await.into_iter().partition(is_person);
    let mut known = persons(&known);
    known.sort_unstable();
    assert_eq!(known, enrolled, "each once, however many stand there");
    // A decision on evidence of more than a second ago would be a refusal.
    assert!(others.iter().all(|kind| matches!(kind, Kind::UnknownFace(_))), "{others:?}");
    assert_entries_are_pulses(&terminal, &mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_of_no_use_is_an_alarm_until_it_is_one_again_and_opens_nothing() {
    let _place = PLACES.acquire().await;
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
async fn a_head_that_turns_as_asked_comes_in_and_a_photograph_or_the_wrong_side_does_not() {
    let _place = PLACES.acquire().await;
    let terminal = Terminal::start(Film::default(), EVERYBODY_IS_ASKED);
    let [first, _] = terminal.enrol_both().await;
    let mut client = terminal.agent.client().await;

    assert_eq!(turn(&terminal, Turns::AsAsked), 1);
    assert_eq!(let_in(&mut client, 0).await, std::slice::from_ref(&first));
    assert_eq!(terminal.pulses().len(), 1);

    terminal.player.scene(Scene::Photograph);
    terminal.player.nobody();
    // A photograph turns no nose.
    let refused = assert_one_attempt_failed(&mut client, 1).await;

    // One failed, so that two turns are asked for.
    assert_eq!(turn(&terminal, Turns::AsAsked), 2);
    assert_eq!(let_in(&mut client, 1 + refused).await, [&*first]);
    assert_eq!(terminal.pulses().len(), 2);

    assert_eq!(turn(&terminal, Turns::TheOtherWay), 1);
    assert_one_attempt_failed(&mut client, 2 + refused).await;
    assert_eq!(terminal.pulses().len(), 2, "who was refused opened nothing");
}

/// Who was let in after so many passages, each with the challenge passed; nothing else may have happened.
async fn let_in(client: &mut Client, before: usize) -> Vec<String> {
    let events = passages(client).await.split_off(before);
    for kind in &events {
        let Kind::Recognised(event) = kind else { panic!("{kind:?}") };
        assert_eq!(event.trace.as_ref().unwrap().liveness_check, "CHALLENGE_PASSED");
    }
    persons(&events).into_iter().map(str::to_owned).collect()
}

/// One attempt failed after so many passages, and then, where the face was lost and found again on a busy machine, it had
/// to wait for the next. How many refusals that is; nothing else may have happened.
async fn assert_one_attempt_failed(client: &mut Client, before: usize) -> usize {
    let refusal = |kind| match kind {
        Kind::EntryRefused(refused) => (refused.reason, refused.trace.unwrap().liveness_check),
        other => panic!("{other:?}"),
    };
    let all: Vec<(String, String)> =
        passages(client).await.split_off(before).into_iter().map(refusal).collect();
    assert_eq!(all[0], ("LIVENESS_FAILED".to_owned(), "CHALLENGE_FAILED".to_owned()));
    assert!(all[1..].iter().all(|(reason, _)| reason == "TOO_MANY_ATTEMPTS"), "{all:?}");
    all.len()
}

/// What somebody makes of the screen's arrows.
#[derive(Clone, Copy, PartialEq)]
enum Turns {
    AsAsked,
    TheOtherWay,
}

/// The first person looks ahead, and turns the head whenever the screen has an arrow, until it says what became of it;
/// then leaves. How many arrows there were.
fn turn(terminal: &Terminal, how: Turns) -> usize {
    let turns_at = TURNS_AT_S as usize * Film::default().fps as usize;
    // An arrow to the left is the left of the mirrored picture: the right of the camera's.
    let sides = [("left", Scene::HeadRight), ("right", Scene::HeadLeft)].map(|(arrow, scene)| {
        let film = terminal.player.film(scene);
        (arrow, Frames::from(&film[..turns_at]), Frames::from(&film[turns_at..]))
    });
    let mut screen = terminal.screen();
    let said = |state: &serde_json::Value| state["announcement"]["number"].as_u64();
    let before = said(screen.now());
    let mut arrows = 0;
    for _ in 0..LOOKS_MAX {
        let state = screen.now();
        if said(state).is_some() && said(state) != before {
            terminal.player.nobody();
            terminal.player.nobody();
            return arrows;
        }
        let arrow = state["prompt"]["arrow"].as_str().map(str::to_owned);
        let Some(arrow) = arrow else {
            terminal.player.play(&sides[0].1);
            continue;
        };
        arrows += 1;
        let is_meant = |side: &&(&str, Frames, Frames)| (side.0 == arrow) == (how == Turns::AsAsked);
        terminal.player.play(&sides.iter().find(is_meant).unwrap().2);
    }
    panic!("after {LOOKS_MAX} looks nothing was said");
}

/// Two seconds each.
const LOOKS_MAX: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_only_a_badge_or_pin_comes_in_is_in_the_register_and_is_never_measured() {
    let _place = PLACES.acquire().await;
    // The badge's text is known only once the person is there: the film is made then.
    let settings = "[liveness]\npolicy = \"off\"\n[recognition]\nmode = \"deliberate\"\n";
    let terminal = Terminal::start(Film::default(), settings);
    let mut client = terminal.agent.client().await;
    let people = [client.create_person("Badge Only", "").await.name, terminal.add_pin("PIN Only").await];
    let session = client.expect_every_day(&people).await;
    let badge = v1::CreateCredentialRequest {
        person: people[0].clone(),
        kind: v1::CredentialKind::Badge.into(),
        ..Default::default()
    };
    let badge = client.gallery.create_credential(badge).await.unwrap().into_inner().secret;
    let film = Film { badge, ..Film::default() };
    let frames: Frames = film.frames(Scene::Badge).map(|frame| rollcall_tests::scene::jpeg(&frame)).collect();
    terminal.player.play(&frames);
    terminal.player.nobody();
    assert!(terminal.type_pin(PIN));
    let events = passages(&mut client).await;
    let [Kind::CredentialUsed(badge), Kind::CredentialUsed(pin)] = &events[..] else { panic!("{events:?}") };
    assert_eq!([&badge.person, &pin.person], [&people[0], &people[1]]);
    assert_eq!(terminal.pulses().len(), 2);
    let register = v1::GetRegisterRequest { session };
    let register = client.attendance.get_register(register).await.unwrap().into_inner();
    assert_eq!(register.lines.len(), 2, "{register:?}");
    assert!(register.lines.iter().all(|line| line.arrive_time.is_some()), "{register:?}");
    assert_eq!(terminal.metric("rollcall_embeddings_total"), 0.0);
}
