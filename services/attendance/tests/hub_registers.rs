//! Registers and reports at a hub: of events that terminals sent, some of them twice, and of people whom a terminal knew
//! by another id.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod site;

use prost::Message as _;
use rollcall_attendance::{ChainHash, LOG_MIGRATIONS, SITE_MIGRATIONS};
use rollcall_core::{EventId, LogId, PersonId, Role, TerminalId, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::attendance_service_server::AttendanceService;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{both_engines, requests};

use site::{Site, at, call, csv_rows, session};

const GATE: TerminalId = TerminalId::from_bytes([0xa1; 16]);

fn log_id(number: u8) -> LogId {
    LogId::from_bytes([number; 16])
}

/// A person who passes the gate at a time, as the terminal there has it.
fn passage(person: PersonId, time: UtcInstant, direction: v1::Direction) -> Vec<u8> {
    let seen = v1::Recognised { person: person.name(), direction: direction.into(), trace: None };
    let stamp = v1::ClockStamp {
        boot_id: vec![0xb0; 16].into(),
        boottime_us: time.micros() - at("00:00").micros(),
        wall_us: time.micros(),
        wall_quality: v1::ClockQuality::Ntp.into(),
    };
    let record = v1::EventRecord {
        event_id: EventId::generate().to_bytes().to_vec().into(),
        stamp: Some(stamp),
        kind: Some(v1::EventKind { kind: Some(Kind::Recognised(seen)) }),
    };
    record.encode_to_vec()
}

/// Events arrive at the hub, as a log from its beginning.
async fn arrive(site: &Site, log_id: LogId, events: &[Vec<u8>]) {
    let received = site.service.log().received();
    let mut part = received.lock(GATE, log_id, at("12:00")).await.unwrap();
    assert_eq!(part.position().hash, ChainHash::ZERO);
    part.append(events).await.unwrap();
    part.commit().await.unwrap();
}

/// Rows of the file with all events of a kind: who, and the name.
async fn exported(site: &Site, kind: &str) -> Vec<(String, String)> {
    let filter = v1::EventFilter { kinds: vec![kind.to_owned()], ..v1::EventFilter::default() };
    let request = v1::ExportRequest {
        what: Some(v1::export_request::What::Events(filter)),
        format: v1::FileFormat::Csv.into(),
    };
    let (_, bytes) = site.file(Role::Office, request).await.unwrap();
    let rows = csv_rows(&bytes);
    let column = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let (person, name) = (column("person"), column("name"));
    rows[1..].iter().map(|row| (row[person].clone(), row[name].clone())).collect()
}

both_engines! {
    migrations = &[LOG_MIGRATIONS, SITE_MIGRATIONS, requests::MIGRATIONS];

    async fn a_register_sees_every_terminal_and_counts_a_repeated_event_once(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let [anna, ben, _chi] = ["Anna", "Ben", "Chi"].map(|name| site.people.add(site.group, name));
        site.pass("08:40", anna, v1::Direction::In).await;
        let events = [
            passage(ben, at("09:00"), v1::Direction::In),
            passage(anna, at("11:00"), v1::Direction::Out),
        ];
        arrive(&site, log_id(1), &events[..1]).await;
        arrive(&site, log_id(2), &events).await;
        site.set(at("12:00"));
        assert_eq!(site.codes(&session).await, ["Anna left_early", "Ben late", "Chi absent"]);
        let people = exported(&site, "recognised").await;
        assert_eq!(people.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["Anna", "Ben", "Anna"]);
        let report = site.service.get_report(call(site.report_request())).await.unwrap().into_inner();
        let counts: Vec<_> = report.rows.iter().map(|row| (row.left_early, row.late, row.absent)).collect();
        assert_eq!(counts, [(1, 0, 0), (0, 1, 0), (0, 0, 1)]);
    }

    async fn what_a_terminal_saw_of_an_old_id_counts_for_the_person(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let [anna, ben] = ["Anna", "Ben"].map(|name| site.people.add(site.group, name));
        let (old, older) = (PersonId::generate(), PersonId::generate());
        arrive(&site, log_id(1), &[
            passage(older, at("08:40"), v1::Direction::In),
            passage(old, at("11:00"), v1::Direction::Out),
        ])
        .await;
        site.set(at("11:55"));
        assert_eq!(site.codes(&session).await, ["Anna absent?", "Ben absent?"]);
        // Whoever was the old one is the person too, in whichever order it is said.
        site.service.set_alias(older, old).await.unwrap();
        site.service.set_alias(old, anna).await.unwrap();
        assert_eq!(site.service.person_of(older).await.unwrap(), anna);
        site.set(at("12:00"));
        assert_eq!(site.codes(&session).await, ["Anna left_early", "Ben absent"]);
        let mut line = site.amend(&session, anna, "excused").await.unwrap();
        assert_eq!(line.mark.take().unwrap().code, "excused");
        let report = site.service.get_report(call(site.report_request())).await.unwrap().into_inner();
        assert_eq!(report.rows.iter().map(|row| row.authorised_absence).collect::<Vec<_>>(), [1, 0]);
        let of_anna = v1::EventFilter { person: anna.name(), ..v1::EventFilter::default() };
        let request = v1::ListEventsRequest { filter: Some(of_anna), ..v1::ListEventsRequest::default() };
        let events = site.service.list_events(call(request)).await.unwrap().into_inner().events;
        assert_eq!(events.len(), 3, "two passages and the amendment");
        assert_eq!(exported(&site, "recognised").await, [(older.name(), "Anna".into()), (old.name(), "Anna".into())]);
        site.service.close_due(at("12:00")).await.unwrap();
        assert_eq!(site.codes(&session).await, ["Anna excused", "Ben absent"]);
        // Taken back for somebody else, the closed register stays.
        site.service.set_alias(old, ben).await.unwrap();
        assert_eq!(site.codes(&session).await, ["Anna excused", "Ben absent"]);
        assert_eq!(site.service.person_of(older).await.unwrap(), anna);
    }

    async fn an_alias_leads_to_somebody_else_and_ends_with_the_person(db: Db) {
        let site = Site::open(db).await;
        let anna = site.people.add(site.group, "Anna");
        let old = PersonId::generate();
        site.service.set_alias(old, anna).await.unwrap();
        for (old, person) in [(anna, anna), (anna, old)] {
            let refused = site.service.set_alias(old, person).await.unwrap_err();
            assert_eq!(refused.fault().reason.as_str(), "FIELD_INVALID");
        }
        site.service.erase(anna).await.unwrap();
        assert_eq!(site.service.person_of(old).await.unwrap(), old, "the id names nobody");
    }
}
