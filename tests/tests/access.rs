//! Who passes when: lockdown, access rules, the exit button, a human who opens from afar, and PINs that are guessed.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::scene::{Film, Scene};
use rollcall_tests::terminal::{PIN, events, passages, wait_for_event};
use rollcall_tests::{Client, Terminal};

/// The latest passage: who, and why they were refused; nothing when they passed.
async fn latest(client: &mut Client) -> (String, Option<String>) {
    match passages(client).await.pop().unwrap() {
        Kind::Recognised(event) => (event.person, None),
        Kind::CredentialUsed(event) => (event.person, None),
        Kind::EntryRefused(event) => (event.person, Some(event.reason)),
        other => panic!("{other:?}"),
    }
}

async fn set_lockdown(client: &mut Client, lockdown: bool, exempt_groups: Vec<String>) {
    let terminal = client.this_terminal().await;
    let request = v1::SetLockdownRequest { terminal, lockdown, exempt_groups };
    let set = client.terminals.set_lockdown(request).await.unwrap().into_inner();
    assert_eq!(set.lockdown, lockdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_down_only_an_exempt_group_passes_also_after_a_kill_and_whoever_is_inside_gets_out() {
    let settings = "[liveness]\npolicy = \"off\"\n[recognition]\nhold_off_s = 2\n";
    let mut terminal = Terminal::start(Film::default(), settings);
    let [first, _] = terminal.enrol_both().await;
    let exempt = terminal.add_pin("Exempt").await;
    let mut client = terminal.agent.client().await;
    let group = client.create_group("May pass in a lockdown").await;
    client.put_into(&exempt, &group).await;
    let lockdown = Some("LOCKDOWN".to_owned());

    set_lockdown(&mut client, true, vec![group]).await;
    terminal.player.scene(Scene::WalkUp);
    assert_eq!(latest(&mut client).await, (first.clone(), lockdown.clone()));
    assert_eq!(terminal.pulses().len(), 0);
    assert!(terminal.type_pin(PIN));
    assert_eq!(latest(&mut client).await, (exempt, None));
    assert_eq!(terminal.pulses().len(), 1);

    terminal.agent.kill();
    terminal.agent.restart();
    let mut client = terminal.agent.client().await;
    terminal.player.scene(Scene::WalkUp);
    assert_eq!(latest(&mut client).await, (first.clone(), lockdown));
    assert_eq!(terminal.pulses().len(), 1);

    terminal.set_exit("pressed");
    let is_exit = |kind: &Kind| matches!(kind, Kind::DoorChanged(door) if door.state == "EXIT_PRESSED");
    wait_for_event(&mut client, "door_changed", is_exit).await;
    terminal.set_exit("idle");
    terminal.wait_for_pulses(2);
    let name = client.this_terminal().await;
    client.terminals.open_door(v1::OpenDoorRequest { name }).await.unwrap();
    terminal.wait_for_pulses(3);

    set_lockdown(&mut client, false, Vec::new()).await;
    terminal.player.scene(Scene::WalkUp);
    assert_eq!(latest(&mut client).await, (first, None));
    assert_eq!(terminal.pulses().len(), 4);
    assert_eq!(passages(&mut client).await.len(), 4);
    let door = |kind| match kind {
        Kind::DoorChanged(door) => (door.state, door.by.starts_with("tokens/")),
        other => panic!("{other:?}"),
    };
    let changes: Vec<(String, bool)> =
        events(&mut client, &["door_changed"]).await.into_iter().map(door).collect();
    let expected =
        [("LOCKED_DOWN", true), ("EXIT_PRESSED", false), ("OPENED_REMOTELY", true), ("RELEASED", true)];
    assert_eq!(changes, expected.map(|(state, by)| (state.to_owned(), by)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_rule_that_holds_now_does_not_pass() {
    let terminal = Terminal::start_with_a_pin().await;
    let mut client = terminal.agent.client().await;
    let person = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap().into_inner();
    let person = person.people[0].name.clone();
    let (theirs, others) = (client.create_group("Theirs").await, client.create_group("Others").await);
    client.put_into(&person, &theirs).await;
    for (group, weekdays, refused) in [
        (&theirs, &[weekday_in_three_days()][..], Some("NOT_NOW")),
        (&others, &EVERY_DAY, Some("NOT_ALLOWED_HERE")),
        (&theirs, &EVERY_DAY, None),
    ] {
        client.set_rule(group, weekdays, v1::WithoutClock::Refuse).await;
        assert!(terminal.type_pin(PIN));
        assert_eq!(latest(&mut client).await, (person.clone(), refused.map(str::to_owned)));
    }
    terminal.wait_for_pulses(1);
}

const EVERY_DAY: [i32; 7] = [1, 2, 3, 4, 5, 6, 7];

/// Neither today nor tomorrow, wherever the site is.
fn weekday_in_three_days() -> i32 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    // 1 January 1970 was a Thursday.
    let days = since_1970.as_secs() / 86_400 + 3;
    ((days + 3) % 7 + 1) as i32
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_wrong_pins_the_door_takes_none_for_a_while_not_even_a_right_one() {
    let terminal = Terminal::start_with_a_pin().await;
    for wrong in 0..5 {
        let answer = terminal.pin_answer(&format!("31415{wrong}")).unwrap();
        assert_eq!(answer["is_over"], false, "{answer}");
    }
    assert!(!terminal.type_pin(PIN), "it has to wait");
    let mut client = terminal.agent.client().await;
    let refusal = |kind| match kind {
        Kind::EntryRefused(event) => event.reason,
        other => panic!("{other:?}"),
    };
    let refusals: Vec<String> = passages(&mut client).await.into_iter().map(refusal).collect();
    let expected = ["CREDENTIAL_INVALID"; 5].into_iter().chain(["TOO_MANY_ATTEMPTS"]);
    assert!(refusals.iter().map(String::as_str).eq(expected), "{refusals:?}");
    assert_eq!(terminal.pulses().len(), 0);
}
