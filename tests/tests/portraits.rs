//! Enrolment at the camera, with the whole program: a head that turns as asked becomes five templates and opens the door;
//! nobody is looked at without consent; credentials work meanwhile.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};

use rollcall_proto::v1;
use rollcall_proto::v1::consent::Decision;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::client::reason;
use rollcall_tests::scene::{Film, Scene};
use rollcall_tests::terminal::{PIN, passages};
use rollcall_tests::{Agent, Client, Ended, Terminal, run};

/// The processor: programs that share it follow no face at the camera's pace.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const NOBODY_IS_ASKED: &str = "[liveness]\npolicy = \"off\"\n[recognition]\nhold_off_s = 2\n";
const CAPTURED: &str = "rollcall_frames_total{what=\"captured\"}";

/// Runs `edge-agent enrol --camera` while a head turns before the camera again and again.
fn enrol_sitting(terminal: &Terminal, options: &[&str]) -> Ended {
    let frames = terminal.player.film(Scene::Portraits);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                terminal.player.play(&frames);
            }
        });
        let mut command = terminal.agent.command(&["enrol", "--camera", "--name", "Linh Nguyen"]);
        let ended = run(command.args(options));
        is_over.store(true, Ordering::Relaxed);
        ended
    })
}

async fn linh(client: &mut Client) -> Option<v1::Person> {
    let people = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap();
    people.into_inner().people.into_iter().find(|person| person.display_name == "Linh Nguyen")
}

async fn request(client: &mut Client, person: &str) -> v1::EnrolAtCameraRequest {
    let terminals = client.terminals.list_terminals(v1::ListTerminalsRequest::default()).await.unwrap();
    let terminal = terminals.into_inner().terminals.remove(0).name;
    v1::EnrolAtCameraRequest { terminal, person: person.to_owned(), accept_look_alike: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_enrolled_at_the_camera_is_then_let_in() {
    let _alone = ALONE.lock().await;
    let terminal = Terminal::start(Film::default(), NOBODY_IS_ASKED);
    let mut client = terminal.agent.client().await;
    let mut screen = terminal.screen();
    let (said, enrolled) = std::thread::scope(|threads| {
        let said = threads.spawn(|| {
            let mut said = Vec::new();
            let mut state = screen.wait_for(|state| !state["enrolment"].is_null());
            while !state["enrolment"].is_null() {
                assert_eq!(state["enrolment"]["title"], "Pictures of Linh");
                said.push(state["prompt"]["arrow"].as_str().unwrap_or_default().to_owned());
                state = screen.next_state();
            }
            said
        });
        let options = ["--external-id", "44", "--groups", "Staff", "--consent-form", "Form A", "--yes"];
        let enrolled = enrol_sitting(&terminal, &options);
        (said.join().unwrap(), enrolled)
    });
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");
    println!("{}{}", enrolled.stdout, enrolled.stderr);
    assert_eq!(enrolled.stdout.lines().filter(|line| *line == "picture: ENROLLED").count(), 5);
    assert!(enrolled.stderr.contains("turn the head a little to the left"), "{}", enrolled.stderr);
    assert!(said.contains(&"left".to_owned()) && said.contains(&"right".to_owned()), "{said:?}");
    let person = linh(&mut client).await.unwrap();
    assert_eq!((person.template_count, person.groups.len()), (5, 1));
    assert_eq!((person.external_id.as_str(), person.consent_state()), ("44", v1::ConsentState::Valid));

    terminal.player.nobody();
    let before = passages(&mut client).await;
    let pulses = terminal.pulses().len();
    terminal.player.scene(Scene::WalkUp);
    let after = passages(&mut client).await.split_off(before.len());
    let [Kind::Recognised(event)] = &after[..] else { panic!("{after:?}") };
    assert_eq!((&event.person, terminal.pulses().len() - pulses), (&person.name, 1));
    let own = |kind: &Kind| matches!(kind, Kind::Recognised(event) if event.person == person.name);
    assert!(before.iter().all(own), "nothing was decided while they were enrolled: {before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consent_no_frame_is_looked_at() {
    let _alone = ALONE.lock().await;
    let settings = "[liveness]\npolicy = \"off\"\n[recognition]\nmode = \"deliberate\"\n\
        [recognition.deliberate]\ninter_ocular_min_px = 500\n";
    let terminal = Terminal::start(Film::default(), settings);
    let mut client = terminal.agent.client().await;
    let refused = enrol_sitting(&terminal, &[]);
    assert!(refused.code == Some(1) && refused.stderr.contains("--consent-form"), "{refused:?}");
    let refused = enrol_sitting(&terminal, &["--consent-form", "Form A"]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("--yes"),
        "nobody is there to be asked: {refused:?}"
    );
    assert!(linh(&mut client).await.is_none(), "nobody was made");
    let person = client.create_person("Linh Nguyen", "").await.name;
    client.record_consent(&person, Decision::Refused).await;
    let refused = enrol_sitting(&terminal, &["--consent-form", "Form A", "--yes"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("CONSENT_MISSING"), "{refused:?}");
    assert_eq!(linh(&mut client).await.unwrap().template_count, 0);
    assert_eq!(terminal.metric("rollcall_embeddings_total"), 0.0);
    assert_eq!(terminal.metric(CAPTURED), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_at_a_time_is_enrolled_and_a_pin_opens_meanwhile() {
    let _alone = ALONE.lock().await;
    let terminal = Terminal::start_with_a_pin().await;
    let mut client = terminal.agent.client().await;
    let person = client.create_person("Linh Nguyen", "").await.name;
    client.record_consent(&person, Decision::Given).await;
    let request = request(&mut client, &person).await;
    terminal.player.nobody();
    let mut told = client.terminals.enrol_at_camera(request.clone()).await.unwrap().into_inner();
    let first = told.message().await.unwrap().unwrap();
    assert_eq!((first.prompt(), first.pictures_wanted), (v1::EnrolmentPrompt::ComeHere, 5));
    let refused = client.terminals.enrol_at_camera(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "STATE_FORBIDS");
    assert!(terminal.type_pin(PIN));
    terminal.player.nobody();
    assert_eq!(terminal.pulses().len(), 1);
    let over = loop {
        match told.message().await {
            Ok(progress) => assert_eq!(progress.unwrap().pictures_enrolled, 0),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&over), "DEADLINE_EXCEEDED", "nobody came");
    let again = client.terminals.enrol_at_camera(request).await.unwrap().into_inner();
    drop(again);
}

#[tokio::test]
async fn a_terminal_without_a_camera_says_so() {
    let agent = Agent::start();
    let mut client = agent.client().await;
    let person = client.create_person("Linh Nguyen", "").await.name;
    let request = request(&mut client, &person).await;
    let refused = client.terminals.enrol_at_camera(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "CONSENT_MISSING", "the same answer as EnrolPicture gives");
    client.record_consent(&person, Decision::Given).await;
    let refused = client.terminals.enrol_at_camera(request).await.unwrap_err();
    assert_eq!(reason(&refused), "HARDWARE_ABSENT");
}
