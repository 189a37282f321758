//! What a report over a school year with a million events costs, and its files, on SQLite.
//!
//! `cargo bench -p rollcall-attendance` fills a log by the log's own means: 2,500 people come and go on 200 days. Then it
//! prints, for a report over all of them while every register is open, and again once all are closed, the time and the
//! most memory that the process took, beside what it took before.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to print"
)]

#[path = "../tests/site/mod.rs"]
mod site;

use std::time::{Duration, Instant};

use rollcall_attendance::{LOG_MIGRATIONS, NewEvent, SITE_MIGRATIONS};
use rollcall_core::{PersonId, Role, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::attendance_service_server::AttendanceService;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::requests;
use tokio_stream::StreamExt as _;

use site::{DAY, Site, as_role, at, call};

const PEOPLE: usize = 2_500;
const DAYS: u64 = 200;
const A_DAY: Duration = Duration::from_secs(86_400);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(run());
}

async fn run() {
    let migrations = &[LOG_MIGRATIONS, SITE_MIGRATIONS, requests::MIGRATIONS];
    let (db, _folder) = rollcall_store::testing::sqlite(migrations).await;
    let site = Site::open(db).await;
    let period = site.period().await;
    let people: Vec<PersonId> =
        (0..PEOPLE).map(|number| site.people.add(site.group, &format!("Pupil {number:04}"))).collect();
    let began = Instant::now();
    for day in 0..DAYS {
        pass(&site, &people, day, "08:40", v1::Direction::In).await;
        pass(&site, &people, day, "11:55", v1::Direction::Out).await;
    }
    println!("{} events written in {:.1?}", PEOPLE as u64 * DAYS * 2, began.elapsed());
    site.set(at("12:00").after(A_DAY * u32::try_from(DAYS).unwrap()));

    println!("{:44} {:>9} {:>10} {:>10}", "", "time", "RSS before", "RSS peak");
    measure("a page of 100 people, registers open", page(&site, 100)).await;
    measure("all 2,500 people, registers open", report(&site)).await;
    measure("the same as CSV", file(&site, v1::FileFormat::Csv)).await;
    measure("the same as XLSX", file(&site, v1::FileFormat::Xlsx)).await;
    measure("one register of 2,500, open", register(&site, &period)).await;
    measure("200 registers closed", close(&site, &period)).await;
    measure("a page of 100 people, registers closed", page(&site, 100)).await;
    measure("all 2,500 people, registers closed", report(&site)).await;
    measure("one register of 2,500, closed", register(&site, &period)).await;
    measure("1,000,000 events as CSV", events(&site, v1::FileFormat::Csv)).await;
}

async fn pass(site: &Site, people: &[PersonId], day: u64, time: &str, direction: v1::Direction) {
    site.set(at(time).after(A_DAY * u32::try_from(day).unwrap()));
    for some in people.chunks(250) {
        let seen = some.iter().map(|person| {
            let direction = direction.into();
            NewEvent::from(Kind::Recognised(v1::Recognised { person: person.name(), direction, trace: None }))
        });
        site.service.log().append_all(seen.collect()).await.unwrap();
    }
}

async fn measure(what: &str, work: impl Future<Output = ()>) {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, began) = (memory("VmRSS"), Instant::now());
    work.await;
    let (took, peak) = (began.elapsed(), memory("VmHWM"));
    println!("{what:44} {:>7.2} s {:>6.1} MiB {:>6.1} MiB", took.as_secs_f64(), before, peak);
}

/// A line of /proc/self/status, in MiB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

fn request(site: &Site) -> v1::GetReportRequest {
    let last = at("00:00").after(A_DAY * u32::try_from(DAYS - 1).unwrap());
    let last = rollcall_core::SiteZone::utc().day(last);
    let end_date =
        Some(v1::Date { year: last.year().into(), month: last.month().into(), day: last.day().into() });
    v1::GetReportRequest { start_date: Some(DAY), end_date, ..site.report_request() }
}

async fn page(site: &Site, page_size: i32) {
    let request = v1::GetReportRequest { page_size, ..request(site) };
    let rows = site.service.get_report(call(request)).await.unwrap().into_inner().rows;
    check(&rows[0]);
}

async fn report(site: &Site) {
    let (mut page_token, mut count) = (String::new(), 0);
    loop {
        let request = v1::GetReportRequest { page_size: 1_000, page_token, ..request(site) };
        let page = site.service.get_report(call(request)).await.unwrap().into_inner();
        page.rows.iter().for_each(check);
        count += page.rows.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(count, PEOPLE);
}

fn check(row: &v1::ReportRow) {
    let days = i32::try_from(DAYS).unwrap();
    assert_eq!((row.possible, row.present), (days, days));
}

async fn file(site: &Site, format: v1::FileFormat) {
    take(site, v1::export_request::What::Report(request(site)), format).await;
}

async fn events(site: &Site, format: v1::FileFormat) {
    take(site, v1::export_request::What::Events(v1::EventFilter::default()), format).await;
}

async fn take(site: &Site, what: v1::export_request::What, format: v1::FileFormat) {
    let request = v1::ExportRequest { what: Some(what), format: format.into() };
    let mut stream = site.service.export(as_role(Role::Office, request)).await.unwrap().into_inner();
    let mut size = 0;
    while let Some(piece) = stream.next().await {
        size += piece.unwrap().data.len();
    }
    assert!(size > 0);
}

async fn register(site: &Site, period: &v1::Period) {
    assert_eq!(site.register(&site::session(period)).await.lines.len(), PEOPLE);
}

async fn close(site: &Site, period: &v1::Period) {
    for day in 0..DAYS {
        let noon: UtcInstant = at("12:00").after(A_DAY * u32::try_from(day).unwrap());
        let day = rollcall_core::SiteZone::utc().day(noon);
        let request = v1::CloseRegisterRequest { session: format!("{}/sessions/{day}", period.name) };
        site.service.close_register(call(request)).await.unwrap();
    }
}
