//! What the tests of the event log share: a clock that is told the time, a log in any database, calls as a script makes
//! them.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rollcall_attendance::register::Watermark;
use rollcall_attendance::{
    Answer, Attendance, Clock, Doors, Identity, LOG_MIGRATIONS, Log, Member, People, Quality, Reading,
    SITE_MIGRATIONS,
};
use rollcall_core::{Caller, CallerId, GroupId, PersonId, Role, TerminalId, TokenId, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::attendance_service_server::AttendanceService as _;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{DataFolder, Db, Migration, Writes, requests};
use tempfile::TempDir;
use tonic::{Request, Status};

/// Every table that attendance needs, in one database, as a hub has them.
pub const MIGRATIONS: &[&[Migration]] = &[LOG_MIGRATIONS, SITE_MIGRATIONS, requests::MIGRATIONS];

/// 2026-11-02 03:00 UTC.
pub const MORNING_US: i64 = 1_793_588_400_000_000;

/// A clock that shows what it was told, a millisecond later at each look.
pub struct TestClock(Mutex<Reading>);

impl TestClock {
    pub fn new(quality: Quality) -> Arc<Self> {
        let reading = Reading { boot_id: [1; 16], boottime_us: 5_000_000, wall_us: MORNING_US, quality };
        Arc::new(Self(Mutex::new(reading)))
    }

    pub fn set(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl Clock for TestClock {
    fn read(&self) -> Reading {
        let mut reading = self.0.lock().unwrap();
        reading.boottime_us += 1_000;
        reading.wall_us += 1_000;
        *reading
    }

    fn raise_floor(&self, _: UtcInstant) {}
}

/// Everybody but those whose id ends in a zero byte.
pub struct Everybody;

impl People for Everybody {
    fn exists(&self, person: PersonId) -> Answer<'_, bool> {
        Box::pin(async move { Ok(person.to_bytes()[15] != 0) })
    }

    fn members(
        &self,
        _: GroupId,
        _: Option<(String, PersonId)>,
        _: usize,
    ) -> Answer<'_, Option<Vec<Member>>> {
        Box::pin(async { Ok(None) })
    }

    fn person(&self, _: PersonId) -> Answer<'_, Option<(Member, Vec<GroupId>)>> {
        Box::pin(async { Ok(None) })
    }

    fn names(&self, _: Vec<PersonId>) -> Answer<'_, BTreeMap<PersonId, String>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }
}

impl Doors for Everybody {
    fn watermarks(&self) -> Answer<'_, Vec<Watermark>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// A service whose people and doors are [`Everybody`].
async fn opened(log: Log, site: Db) -> Attendance {
    let tmp = std::env::temp_dir();
    Attendance::open(log, site, Writes::new(), Arc::new(Everybody), Arc::new(Everybody), tmp).await.unwrap()
}

pub fn identity() -> Identity {
    Identity { terminal_id: TerminalId::from_bytes([9; 16]), hw_id: "board 7".to_owned() }
}

/// A log and its service in one database.
pub async fn service(db: &Db, clock: Arc<TestClock>) -> Attendance {
    let log = Log::open_in(db.clone(), identity(), clock).await.unwrap();
    opened(log, db.clone()).await
}

/// The service over a log in a database that has the site too: a hub's.
pub async fn service_in(log: Log) -> Attendance {
    let db = log.db().clone();
    opened(log, db).await
}

/// A folder for the owner alone, as a data folder must be.
pub fn folder() -> TempDir {
    let owner = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(owner).tempdir().unwrap()
}

/// The log of a data folder.
pub async fn open(folder: &Path) -> Log {
    let folder = DataFolder::open(folder).unwrap();
    Log::open(&folder, identity(), TestClock::new(Quality::Saved)).await.unwrap()
}

pub fn person(number: u8) -> PersonId {
    PersonId::from_bytes([number; 16])
}

pub fn recognised(number: u8) -> Kind {
    Kind::Recognised(v1::Recognised {
        person: person(number).name(),
        direction: v1::Direction::In.into(),
        trace: None,
    })
}

pub fn door(state: &str) -> Kind {
    Kind::DoorChanged(v1::DoorChanged { state: state.to_owned(), by: String::new() })
}

/// A request of a script that may make it.
pub fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = CallerId::Token(TokenId::from_bytes([5; 16]));
    request.extensions_mut().insert(Caller { id, role: Role::Office });
    request
}

pub fn reason(status: &Status) -> String {
    rollcall_proto::reason(status).unwrap_or_else(|| format!("no reason: {status:?}"))
}

/// A page of events.
pub async fn list(
    service: &Attendance,
    cursor: &str,
    page_size: i32,
    filter: Option<v1::EventFilter>,
) -> Result<v1::ListEventsResponse, Status> {
    let cursor = cursor.to_owned();
    let answer = service.list_events(request(v1::ListEventsRequest { cursor, page_size, filter })).await;
    answer.map(tonic::Response::into_inner)
}

/// Every event, page by page.
pub async fn all(service: &Attendance, filter: Option<v1::EventFilter>) -> Vec<v1::Event> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(service, &cursor, 1_000, filter.clone()).await.unwrap();
        events.extend(page.events);
        cursor = page.next_cursor;
        if !page.more {
            return events;
        }
    }
}

/// The service over a folder's log, with its own site database.
pub async fn service_of(log: &Log) -> (Attendance, Db, TempDir) {
    let (site, folder) = rollcall_store::testing::sqlite(&[SITE_MIGRATIONS, requests::MIGRATIONS]).await;
    (opened(log.clone(), site.clone()).await, site, folder)
}
