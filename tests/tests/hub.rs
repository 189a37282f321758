//! A hub and its terminals: adoption, people down, events up, a network that breaks.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_tests::hub::Hub;
use rollcall_tests::scene::Film;
use rollcall_tests::terminal::PIN;
use rollcall_tests::wire::{Harm, Wire};
use rollcall_tests::{Client, Terminal};

/// What is waited for comes within this time, or never.
const DEADLINE: Duration = Duration::from_secs(90);

/// A hub that terminals reach over a wire, and the wire.
fn hub_behind_a_wire() -> (Hub, Wire) {
    let wire = Wire::to("127.0.0.1:1".parse().unwrap());
    let mut hub = Hub::configured(&format!("[hub]\naddresses = [\"{}\"]\n", wire.address()));
    hub.restart();
    wire.lead_to(address(&hub));
    (hub, wire)
}

fn address(hub: &Hub) -> std::net::SocketAddr {
    hub.url().trim_start_matches("https://").parse().unwrap()
}

async fn adopt(hub: &Hub, terminal: &Terminal, name: &str) {
    let request = v1::CreateAdoptionTokenRequest { display_name: name.to_owned() };
    let token = hub.client().await.terminals.create_adoption_token(request).await.unwrap().into_inner().token;
    let request = v1::JoinHubRequest { address: String::new(), token };
    let mut steps = terminal.agent.client().await.terminals.join_hub(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(step) = steps.message().await.unwrap() {
        last = Some(step.state());
    }
    assert_eq!(last, Some(v1::JoinHubState::Adopted));
}

/// Adds somebody at the hub whose PIN is [`PIN`]; who they are.
async fn person_with_a_pin(hub: &Hub, display_name: &str) -> String {
    person_with(hub, display_name, PIN).await
}

async fn person_with(hub: &Hub, display_name: &str, pin: &str) -> String {
    let mut client = hub.client().await;
    let person = client.create_person(display_name, "").await.name;
    let request = v1::CreateCredentialRequest {
        person: person.clone(),
        kind: v1::CredentialKind::Pin.into(),
        value: pin.to_owned(),
        ..Default::default()
    };
    client.gallery.create_credential(request).await.unwrap();
    person
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Events of a terminal that the hub is not known to have.
async fn pending(terminal: &Terminal) -> i64 {
    let mut client = terminal.agent.client().await;
    let name = client.this_terminal().await;
    let status = client.terminals.get_terminal_status(v1::GetTerminalStatusRequest { name }).await;
    status.unwrap().into_inner().events_pending
}

/// How often this person came in by PIN, as this program's log has it.
async fn entries(client: &mut Client, person: &str) -> usize {
    let filter = v1::EventFilter { person: person.to_owned(), ..Default::default() };
    let request = v1::ListEventsRequest { filter: Some(filter), page_size: 1_000, ..Default::default() };
    let events = client.attendance.list_events(request).await.unwrap().into_inner().events;
    let is_entry = |event: &v1::Event| {
        matches!(event.kind.as_ref().and_then(|kind| kind.kind.as_ref()), Some(Kind::CredentialUsed(_)))
    };
    events.iter().filter(|event| is_entry(event)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_terminal_lets_the_hubs_people_in_and_the_hub_has_its_events() {
    let (hub, _wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    adopt(&hub, &terminal, "Main door").await;
    let person = person_with_a_pin(&hub, "Somebody").await;
    until("the PIN opens the door", async || terminal.type_pin(PIN).then_some(())).await;
    let mut client = hub.client().await;
    until("the entry is at the hub", async || (entries(&mut client, &person).await == 1).then_some(())).await;
    let listed =
        client.terminals.list_terminals(v1::ListTerminalsRequest::default()).await.unwrap().into_inner();
    let names: Vec<&str> = listed.terminals.iter().map(|terminal| terminal.display_name.as_str()).collect();
    assert_eq!(names, ["Main door"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_network_is_cut_the_door_works_and_afterwards_every_entry_is_at_the_hub_once() {
    let (hub, wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    adopt(&hub, &terminal, "Main door").await;
    let person = person_with_a_pin(&hub, "Somebody").await;
    until("the PIN opens the door", async || terminal.type_pin(PIN).then_some(())).await;
    wire.harm(Harm::Cut);
    for _ in 0..5 {
        assert!(terminal.type_pin(PIN), "the door does not need the hub");
    }
    assert!(pending(&terminal).await >= 5, "what the hub does not have is pending");
    let before = wire.accepted();
    wire.heal();
    wire.wait_for_connection_after(before, DEADLINE);
    let mut client = hub.client().await;
    until("every entry is at the hub", async || (entries(&mut client, &person).await == 6).then_some(()))
        .await;
    until("nothing is pending", async || (pending(&terminal).await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_at_an_adopted_terminal_is_refused_with_the_hubs_address() {
    let (hub, wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    adopt(&hub, &terminal, "Main door").await;
    let mut client = terminal.agent.client().await;
    let person = v1::Person { display_name: "Somebody".to_owned(), ..Default::default() };
    let request = v1::CreatePersonRequest { person: Some(person), request_id: String::new() };
    let refused = client.gallery.create_person(request).await.unwrap_err();
    assert_eq!(rollcall_proto::reason(&refused).as_deref(), Some("TERMINAL_ADOPTED"));
    assert!(refused.message().contains(&wire.address().to_string()), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_at_the_hub_is_gone_from_a_terminal_and_the_certificate_says_so() {
    let (hub, _wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    adopt(&hub, &terminal, "Main door").await;
    let person = person_with_a_pin(&hub, "Somebody").await;
    until("the PIN opens the door", async || terminal.type_pin(PIN).then_some(())).await;
    let mut client = hub.client().await;
    let request = v1::ErasePersonRequest { name: person };
    let erasure = client.gallery.erase_person(request).await.unwrap().into_inner();
    assert_eq!(erasure.devices.len(), 2, "the hub and the terminal: {erasure:?}");
    until("the PIN opens nothing", async || (!terminal.type_pin(PIN)).then_some(())).await;
    let request = v1::GetErasureRequest { name: erasure.name };
    until("each device has confirmed", async || {
        let erasure = client.gallery.get_erasure(request.clone()).await.unwrap().into_inner();
        erasure.complete.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f046_a_hub_that_hangs_is_given_up_and_the_door_works_meanwhile() {
    let (hub, wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    adopt(&hub, &terminal, "Main door").await;
    let person = person_with_a_pin(&hub, "Somebody").await;
    until("the PIN opens the door", async || terminal.type_pin(PIN).then_some(())).await;
    let before = wire.accepted();
    wire.harm(Harm::Silent);
    assert!(terminal.type_pin(PIN), "the door does not need the hub");
    // It hangs up by itself, and calls again.
    wire.wait_for_connection_after(before, DEADLINE);
    wire.reset();
    wire.heal();
    let mut client = hub.client().await;
    until("both entries are at the hub", async || (entries(&mut client, &person).await == 2).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f067_a_revoked_terminal_is_told_nothing_more_and_its_events_are_not_taken() {
    let (hub, _wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    adopt(&hub, &terminal, "Main door").await;
    let person = person_with_a_pin(&hub, "Somebody").await;
    until("the PIN opens the door", async || terminal.type_pin(PIN).then_some(())).await;
    let mut client = hub.client().await;
    until("the entry is at the hub", async || (entries(&mut client, &person).await == 1).then_some(())).await;
    let name = terminal.agent.client().await.this_terminal().await;
    client.terminals.revoke_terminal(v1::RevokeTerminalRequest { name }).await.unwrap();
    until("the terminal notices", async || {
        terminal.agent.log().contains("this terminal was revoked").then_some(())
    })
    .await;
    assert!(terminal.type_pin(PIN), "the door goes on");
    assert_eq!(entries(&mut client, &person).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f035_a_hub_that_is_restored_has_the_people_and_erasures_since_the_backup_from_its_terminals() {
    const NEW_PIN: &str = "314159";
    let (mut hub, wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    adopt(&hub, &terminal, "Main door").await;
    let old = person_with_a_pin(&hub, "Before the backup").await;
    until("the PIN opens the door", async || terminal.type_pin(PIN).then_some(())).await;
    let file = hub.folder().join("yesterday.backup");
    hub.run(&["backup", file.to_str().unwrap()]).success();
    let new = person_with(&hub, "After the backup", NEW_PIN).await;
    let mut client = hub.client().await;
    client.gallery.erase_person(v1::ErasePersonRequest { name: old.clone() }).await.unwrap();
    until("the terminal has both changes", async || {
        (terminal.type_pin(NEW_PIN) && !terminal.type_pin(PIN)).then_some(())
    })
    .await;
    hub.kill();
    hub.run(&["restore", "--replace", file.to_str().unwrap()]).success();
    hub.restart();
    wire.lead_to(address(&hub));
    let mut client = hub.client().await;
    until("who came after the backup is back", async || {
        client.gallery.get_person(v1::GetPersonRequest { name: new.clone() }).await.ok()
    })
    .await;
    let erased = client.gallery.get_person(v1::GetPersonRequest { name: old }).await;
    assert!(erased.is_err(), "who was erased after the backup stays erased: {erased:?}");
    until("the entries since the backup are back", async || {
        (entries(&mut client, &new).await > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f082_people_of_a_terminal_that_is_adopted_pass_until_they_are_decided_on_and_keep_their_id() {
    let (hub, _wire) = hub_behind_a_wire();
    let terminal = Terminal::start(Film::default(), "");
    let person = terminal.add_pin("Of before").await;
    assert!(terminal.type_pin(PIN));
    adopt(&hub, &terminal, "Main door").await;
    let mut client = hub.client().await;
    let proposal = until("the person is proposed", async || {
        let request = v1::ListProposalsRequest::default();
        let listed = client.gallery.list_proposals(request).await.unwrap().into_inner();
        listed.proposals.into_iter().next()
    })
    .await;
    assert_eq!(proposal.display_name, "Of before");
    assert!(terminal.type_pin(PIN), "nobody is shut out because a hub came");
    let request = v1::AcceptProposalRequest { name: proposal.name, person: String::new() };
    let accepted = client.gallery.accept_proposal(request).await.unwrap().into_inner();
    assert_eq!(accepted.name, person, "the events before name the same person");
    until("the entries of before are at the hub", async || {
        (entries(&mut client, &person).await == 2).then_some(())
    })
    .await;
}
