//! Reports and files: the same numbers everywhere, and nothing that a spreadsheet would run.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod site;

use std::io::Read as _;

use rollcall_attendance::{LOG_MIGRATIONS, SITE_MIGRATIONS};
use rollcall_core::{PersonId, Role};
use rollcall_proto::v1;
use rollcall_proto::v1::Direction::{In, Out};
use rollcall_proto::v1::attendance_service_server::AttendanceService;
use rollcall_store::{both_engines, requests};
use tokio_stream::StreamExt as _;

use site::{Site, at, call, csv_rows, instant, reason, session};

fn export(what: v1::export_request::What, format: v1::FileFormat) -> v1::ExportRequest {
    v1::ExportRequest { what: Some(what), format: format.into() }
}

/// The text of a sheet's XML.
fn sheet(file: &[u8]) -> String {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(file)).unwrap();
    let mut text = String::new();
    archive.by_name("xl/worksheets/sheet1.xml").unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Two days: the first closed, the second not; the third has not begun.
async fn two_days(site: &Site) -> [PersonId; 3] {
    let session = session(&site.period().await);
    let people = ["Anna", "Ben", "Chi"].map(|name| site.people.add(site.group, name));
    let [anna, ben, chi] = people;
    site.pass("08:40", anna, In).await;
    site.pass("09:00", ben, In).await;
    site.pass("11:00", anna, Out).await;
    site.set(at("12:00"));
    assert_eq!(site.service.close_due(at("12:00")).await.unwrap(), 1);
    site.amend(&session, chi, "excused").await.unwrap();
    site.set(instant("2026-11-25T08:40:00Z"));
    let seen = v1::Recognised { person: anna.name(), direction: In.into(), trace: None };
    site.service.log().append(v1::event_kind::Kind::Recognised(seen)).await.unwrap();
    site.set(instant("2026-11-25T10:00:00Z"));
    people
}

/// Name, possible, present, late, left early, absent, authorised.
fn numbers(row: &v1::ReportRow) -> (&str, [i32; 6]) {
    let counts = [row.possible, row.present, row.late, row.left_early, row.absent, row.authorised_absence];
    (&row.display_name, counts)
}

async fn whole_report(site: &Site, page_size: i32) -> Vec<v1::ReportRow> {
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::GetReportRequest { page_size, page_token, ..site.report_request() };
        let page = site.service.get_report(call(request)).await.unwrap().into_inner();
        rows.extend(page.rows);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return rows;
        }
    }
}

both_engines! {
    migrations = &[LOG_MIGRATIONS, SITE_MIGRATIONS, requests::MIGRATIONS];

    async fn a_report_counts_closed_and_open_sessions_and_no_others(db: Db) {
        let site = Site::open(db).await;
        let [anna, ..] = two_days(&site).await;
        let rows = whole_report(&site, 0).await;
        assert_eq!(rows.iter().map(numbers).collect::<Vec<_>>(), [
            ("Anna", [2, 1, 0, 1, 0, 0]),
            ("Ben", [2, 0, 1, 0, 1, 0]),
            ("Chi", [2, 0, 0, 0, 1, 1]),
        ]);
        assert_eq!(whole_report(&site, 1).await, rows);
        let subject = Some(v1::get_report_request::Subject::Person(anna.name()));
        let request = v1::GetReportRequest { subject, ..site.report_request() };
        let row = site.service.get_report(call(request)).await.unwrap().into_inner();
        assert_eq!(row.rows, rows[..1]);
        let codes: i32 = rows[0].codes.iter().map(|code| code.count).sum();
        assert_eq!(codes, 2);
    }

    async fn a_report_has_a_range_of_days_and_somebody_to_be_about(db: Db) {
        let site = Site::open(db).await;
        let day = |year, month, day| Some(v1::Date { year, month, day });
        for (spoiled, why) in [
            (v1::GetReportRequest { subject: None, ..site.report_request() }, "FIELD_INVALID"),
            (v1::GetReportRequest { start_date: None, ..site.report_request() }, "FIELD_INVALID"),
            (v1::GetReportRequest { end_date: day(2026, 11, 23), ..site.report_request() }, "FIELD_INVALID"),
            (v1::GetReportRequest { end_date: day(9999, 12, 31), ..site.report_request() }, "FIELD_INVALID"),
            (v1::GetReportRequest { page_size: -1, ..site.report_request() }, "FIELD_INVALID"),
            (v1::GetReportRequest {
                subject: Some(v1::get_report_request::Subject::Person(PersonId::generate().name())),
                ..site.report_request()
            }, "NOT_FOUND"),
        ] {
            assert_eq!(reason(site.service.get_report(call(spoiled.clone())).await), why, "{spoiled:?}");
        }
    }

    async fn the_numbers_in_a_file_are_those_on_the_screen(db: Db) {
        let site = Site::open(db).await;
        two_days(&site).await;
        let rows = whole_report(&site, 0).await;
        let what = || v1::export_request::What::Report(site.report_request());
        let (name, csv) = site.file(Role::Viewer, export(what(), v1::FileFormat::Csv)).await.unwrap();
        assert_eq!(name, "report-2026-11-24-2026-11-30.csv");
        let (name, xlsx) = site.file(Role::Viewer, export(what(), v1::FileFormat::Xlsx)).await.unwrap();
        assert_eq!(name, "report-2026-11-24-2026-11-30.xlsx");
        let file = csv_rows(&csv);
        let sheet = sheet(&xlsx);
        assert_eq!(file.len(), rows.len() + 1);
        for (index, (row, written)) in rows.iter().zip(&file[1..]).enumerate() {
            assert_eq!((&written[0], &written[1]), (&row.person, &row.display_name));
            let (_, counts) = numbers(row);
            let read: Vec<i32> = written[2..8].iter().map(|cell| cell.parse().unwrap()).collect();
            assert_eq!(read, counts);
            for (column, count) in ('C'..='H').zip(counts) {
                let cell = format!("<c r=\"{column}{}\"><v>{count}</v></c>", index + 2);
                assert!(sheet.contains(&cell), "{cell}");
            }
        }
    }

    async fn a_register_in_a_file_shows_the_mark_before_and_the_reason_to_whom_it_is_for(db: Db) {
        let site = Site::open(db).await;
        two_days(&site).await;
        let period = v1::ListPeriodsRequest::default();
        let period = site.service.list_periods(call(period)).await.unwrap().into_inner().periods.remove(0);
        let what = v1::export_request::What::Register(session(&period));
        let request = export(what, v1::FileFormat::Csv);
        let (_, bytes) = site.file(Role::Teacher, request.clone()).await.unwrap();
        let rows = csv_rows(&bytes);
        let cell = |row: usize, column: &str| {
            rows[row][rows[0].iter().position(|name| name == column).expect(column)].clone()
        };
        assert_eq!((cell(3, "name"), cell(3, "code"), cell(3, "original_code")), ("Chi".into(), "excused".into(), "absent".into()));
        assert_eq!((cell(3, "reason"), cell(3, "amendments")), ("a phone call".into(), "1".into()));
        assert_eq!((cell(1, "arrived"), cell(1, "left_utc")), ("2026-11-24 08:40:00".into(), "2026-11-24T11:00:00Z".into()));
        let (_, bytes) = site.file(Role::Viewer, request).await.unwrap();
        assert!(!csv_rows(&bytes)[0].contains(&"reason".to_owned()));
        assert!(!String::from_utf8(bytes).unwrap().contains("a phone call"));
    }

    async fn events_in_a_file_are_those_of_the_list(db: Db) {
        let site = Site::open(db).await;
        let [anna, ..] = two_days(&site).await;
        let filter = v1::EventFilter { person: anna.name(), ..Default::default() };
        let what = v1::export_request::What::Events(filter.clone());
        let (name, bytes) = site.file(Role::Office, export(what.clone(), v1::FileFormat::Csv)).await.unwrap();
        assert_eq!(name, "events-2026-11-25.csv");
        let list = v1::ListEventsRequest { filter: Some(filter), ..Default::default() };
        let events = site.service.list_events(call(list)).await.unwrap().into_inner().events;
        let rows = csv_rows(&bytes);
        assert_eq!((rows.len() - 1, events.len()), (3, 3));
        for (row, event) in rows[1..].iter().zip(&events) {
            assert_eq!((&row[6], &row[3]), (&event.name, &event.terminal));
            assert_eq!((row[7].as_str(), row[9].as_str()), ("recognised", "Anna"));
        }
        let (_, bytes) = site.file(Role::Office, export(what, v1::FileFormat::Xlsx)).await.unwrap();
        assert!(sheet(&bytes).contains(&events[0].name));
        let recorded = v1::RecordManuallyRequest {
            person: anna.name(),
            direction: Out.into(),
            time: Some(prost_types::Timestamp { seconds: at("12:00").micros() / 1_000_000, nanos: 0 }),
            note: "=1+1".into(),
            ..Default::default()
        };
        site.service.record_manually(call(recorded)).await.unwrap();
        let filter = v1::EventFilter { kinds: vec!["recorded_manually".into()], ..Default::default() };
        let what = v1::export_request::What::Events(filter);
        let (_, bytes) = site.file(Role::Office, export(what.clone(), v1::FileFormat::Csv)).await.unwrap();
        let row = csv_rows(&bytes).remove(1);
        assert_eq!((row[13].as_str(), row[15].as_str()), ("2026-11-24T12:00:00Z", "'=1+1"));
        let (_, bytes) = site.file(Role::Viewer, export(what, v1::FileFormat::Csv)).await.unwrap();
        assert!(csv_rows(&bytes).iter().all(|row| row.len() == 15), "a viewer reads no notes");
        let wrong = v1::EventFilter { kinds: vec!["' or 1=1 --".into()], ..Default::default() };
        let wrong = export(v1::export_request::What::Events(wrong), v1::FileFormat::Csv);
        assert_eq!(reason(site.file(Role::Office, wrong).await), "FILTER_INVALID");
    }

    async fn f096_hostile_names_are_text_in_every_file(db: Db) {
        let site = Site::open(db).await;
        let session = session(&site.period().await);
        let long = "漢".repeat(10 << 10);
        let names = [
            "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1+1)*cmd|' /C calc'!A0", "\t=1", "\r=1", "\"=1\"", "'=1", "a\r\nb,\"c\"",
            "\u{202e}gpj.exe", "😀", "＝1", " =1", &long,
        ];
        let people: Vec<PersonId> = names.iter().map(|name| site.people.add(site.group, name)).collect();
        for person in &people {
            site.pass("08:40", *person, In).await;
            let amend = v1::AmendMarkRequest {
                session: session.clone(),
                person: person.name(),
                code: "late".into(),
                reason: "=HYPERLINK(\"http://evil.example\")".into(),
                ..Default::default()
            };
            site.amend_with(amend).await.unwrap();
        }
        let filter = v1::EventFilter { kinds: vec!["recognised".into()], ..Default::default() };
        for what in [
            v1::export_request::What::Register(session.clone()),
            v1::export_request::What::Report(site.report_request()),
            v1::export_request::What::Events(filter),
        ] {
            let (_, csv) = site.file(Role::Office, export(what.clone(), v1::FileFormat::Csv)).await.unwrap();
            let rows = csv_rows(&csv);
            let column = rows[0].iter().position(|column| column == "name").unwrap();
            let mut shown: Vec<String> = rows[1..].iter().map(|row| row[column].clone()).collect();
            for cell in rows[1..].iter().flatten() {
                let bare = cell.trim_start_matches([' ', '"', '\u{202e}']);
                assert!(!bare.starts_with(['=', '+', '-', '@', '\t', '\r', '＝']), "{cell:?}");
            }
            let mut given = names.map(|name| match name {
                "a\r\nb,\"c\"" | "\u{202e}gpj.exe" | "😀" => name.to_owned(),
                name if name == long => name.to_owned(),
                name => format!("'{name}"),
            });
            shown.sort();
            given.sort();
            assert_eq!(shown, given);
            let (_, xlsx) = site.file(Role::Office, export(what, v1::FileFormat::Xlsx)).await.unwrap();
            let sheet = sheet(&xlsx);
            assert!(!sheet.contains("<f>") && !sheet.contains("<f ") && !sheet.contains("t=\"str\""));
            assert!(sheet.contains("t=\"inlineStr\"><is><t>=cmd|' /C calc'!A0</t>"));
            assert!(sheet.contains(&long));
        }
    }

    async fn an_export_whose_client_goes_away_stops_and_leaves_nothing(db: Db) {
        let site = Site::open(db).await;
        site.period().await;
        // Names that no compression makes shorter than the pieces that wait for a client.
        for _ in 0..3_000 {
            let name: String = (0..20).map(|_| PersonId::generate().to_string()).collect();
            site.people.add(site.group, &name);
        }
        for format in [v1::FileFormat::Csv, v1::FileFormat::Xlsx] {
            let request = || {
                let what = v1::export_request::What::Report(site.report_request());
                call(export(what, format))
            };
            let mut running = Vec::new();
            // Those that were dropped end at their next step, and then there is room; if they never did, this would
            // never end.
            while running.len() < 4 {
                match site.service.export(request()).await {
                    Ok(stream) => running.push(stream.into_inner()),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
            assert_eq!(reason(site.service.export(request()).await), "LIMIT_REACHED");
            for stream in &mut running {
                stream.next().await.unwrap().unwrap();
            }
        }
        while site.service.export(call(export(v1::export_request::What::Report(site.report_request()), v1::FileFormat::Csv))).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(std::fs::read_dir(site.tmp.path()).unwrap().count(), 0);
    }

    async fn what_is_not_there_is_an_error_before_the_first_piece(db: Db) {
        let site = Site::open(db).await;
        let period = site.period().await;
        let register = |name: &str| export(v1::export_request::What::Register(name.into()), v1::FileFormat::Csv);
        let missing = format!("{}/sessions/2020-01-01", period.name);
        assert_eq!(reason(site.file(Role::Office, register(&missing)).await), "NOT_FOUND");
        assert_eq!(reason(site.file(Role::Office, register("' or 1=1 --")).await), "FIELD_INVALID");
        let unsaid = v1::ExportRequest { format: 0, ..register(&session(&period)) };
        assert_eq!(reason(site.file(Role::Office, unsaid).await), "FIELD_INVALID");
        assert_eq!(reason(site.file(Role::Office, v1::ExportRequest { what: None, format: 1 }).await), "FIELD_INVALID");
    }
}
