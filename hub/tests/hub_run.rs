//! Hubs that run: on SQLite with nothing set up, on PostgreSQL, several over one database.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use rollcall_proto::v1;
use rollcall_proto::v1::consent::Decision;
use rollcall_proto::v1::{Outcome, Verdict};
use rollcall_store::testing::postgres_url;
use rollcall_tests::client::reason;
use rollcall_tests::pictures::portrait;
use rollcall_tests::{Client, Hub};

async fn names(client: &mut Client) -> Vec<String> {
    let listed = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap().into_inner();
    listed.people.into_iter().map(|person| person.display_name).collect()
}

/// Events of a kind that this hub knows of.
async fn events(client: &mut Client, kind: &str) -> Vec<v1::Event> {
    let filter = v1::EventFilter { kinds: vec![kind.to_owned()], ..Default::default() };
    let list = v1::ListEventsRequest { filter: Some(filter), page_size: 1_000, ..Default::default() };
    client.attendance.list_events(list).await.unwrap().into_inner().events
}

async fn record(client: &mut Client, person: &str) -> v1::Event {
    let request = v1::RecordManuallyRequest {
        person: person.to_owned(),
        direction: v1::Direction::In.into(),
        ..Default::default()
    };
    client.attendance.record_manually(request).await.unwrap().into_inner()
}

/// Enrols somebody, records them, and finds both again after kill -9.
async fn assert_survives_a_kill(mut hub: Hub) {
    let mut client = hub.client().await;
    let person = client.create_person("Ada", "A1").await;
    client.record_consent(&person.name, Decision::Given).await;
    for picture in ["obama.jpg", "obama2.jpg"] {
        let enrolled = client.enrol(&person.name, portrait(picture)).await.unwrap();
        assert_eq!(enrolled.enrolment.unwrap().verdict(), Verdict::Enrolled);
    }
    record(&mut client, &person.name).await;
    hub.kill();
    hub.restart();
    let mut client = hub.client().await;
    let seen = client.identify(portrait("obama3.jpg")).await;
    assert_eq!((seen.faces[0].outcome(), &seen.faces[0].person), (Outcome::Recognised, &person.name));
    assert_eq!(events(&mut client, "recorded_manually").await.len(), 1);
    assert!(hub.run(&["verify-log"]).success().contains("none is damaged"));
    assert_eq!(hub.stop().code, Some(0), "{}", hub.log());
}

#[tokio::test]
async fn a_hub_without_any_set_up_keeps_people_and_events_through_a_kill() {
    assert_survives_a_kill(Hub::start()).await;
}

#[tokio::test]
async fn a_hub_on_postgresql_keeps_people_and_events_through_a_kill() {
    assert_survives_a_kill(Hub::start_on(&postgres_url().await)).await;
}

#[tokio::test]
async fn two_hubs_over_one_database_are_one_hub() {
    let url = postgres_url().await;
    let mut first = Hub::start_on(&url);
    let second = first.start_beside(&url);
    let (mut one, mut other) = (first.client().await, second.client().await);
    let person = one.create_person("Ada", "A1").await;
    other.create_person("Bela", "B1").await;
    for client in [&mut one, &mut other] {
        assert_eq!(names(client).await, ["Ada", "Bela"]);
    }
    for _ in 0..20 {
        let (here, there) = tokio::join!(record(&mut one, &person.name), record(&mut other, &person.name));
        assert_ne!(here.name, there.name);
    }
    first.kill();
    assert_eq!(events(&mut other, "recorded_manually").await.len(), 40);
    assert!(second.run(&["verify-log"]).success().contains("none is damaged"));
    // Each folder's token is its own: the second start has not withdrawn the first one's.
    first.restart();
    assert_eq!(names(&mut first.client().await).await.len(), 2);
}

#[tokio::test]
async fn hubs_that_start_at_once_on_an_empty_database_make_it_once() {
    let url = postgres_url().await;
    let mut first = Hub::start_on(&url);
    let mut second = first.start_beside(&url);
    first.kill();
    second.kill();
    std::thread::scope(|threads| {
        threads.spawn(|| first.restart());
        threads.spawn(|| second.restart());
    });
    let (mut one, mut other) = (first.client().await, second.client().await);
    one.create_person("Ada", "A1").await;
    assert_eq!(names(&mut other).await, ["Ada"]);
}

#[tokio::test]
async fn a_hub_with_another_key_than_the_database_does_not_start() {
    let url = postgres_url().await;
    let _first = Hub::start_on(&url);
    let mut second = Hub::configured(&format!("[store]\nurl = \"{url}\"\n"));
    second.try_restart().unwrap_err();
    assert!(second.log().contains("gallery.key is missing"), "{}", second.log());
    let mut third = Hub::start();
    third.stop();
    third.configure(&format!("[store]\nurl = \"{url}\"\n"));
    third.try_restart().unwrap_err();
    assert!(third.log().contains("is not the key that the people in"), "{}", third.log());
}

#[tokio::test]
async fn f015_a_second_hub_on_one_folder_names_the_first() {
    let hub = Hub::start();
    let refusal = hub.run(&["run", "--address", "127.0.0.1:0"]).refusal();
    let last = refusal.lines().last().unwrap();
    assert!(last.contains(&format!("process {}", hub.pid())), "{refusal}");
}

#[tokio::test]
async fn what_a_process_is_not_for_it_does_not_serve() {
    let url = postgres_url().await;
    let mut hub = Hub::configured(&format!("[store]\nurl = \"{url}\"\n[hub]\nservices = [\"attendance\"]\n"));
    hub.restart();
    let mut client = hub.client().await;
    assert!(events(&mut client, "recorded_manually").await.is_empty());
    let refused = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented, "{refused:?}");
    let health = client.health.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner();
    assert_eq!(health.program, "hub");
}

#[tokio::test]
async fn f022_a_configuration_is_checked_without_starting_anything() {
    let hub = Hub::configured("[store]\nurl = \"mysql://x\"\n");
    let ended = hub.run(&["run", "--check-config"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.refusal().contains("line 2, store.url: must begin with postgres://"));
    assert!(!hub.data().exists());
}

#[tokio::test]
async fn a_token_of_the_hub_does_what_its_scopes_say() {
    let hub = Hub::start();
    let mut client = hub.client_with(&hub.token("viewer", "health.read")).await;
    client.health.get_health(v1::GetHealthRequest {}).await.unwrap();
    let refused = client.gallery.list_people(v1::ListPeopleRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), "SCOPE_MISSING");
}

#[test]
fn the_printed_configuration_is_one() {
    let hub = Hub::configured("");
    let printed = hub.run(&["config"]).success();
    hub.configure(&printed);
    assert_eq!(hub.run(&["run", "--check-config"]).success(), "nothing is wrong\n");
}
