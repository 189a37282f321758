//! A site for tests: the service over one database, people, doors and a clock that the test sets.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test program uses some of it")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use rollcall_attendance::register::Watermark;
use rollcall_attendance::{
    Answer, Attendance, Clock, Doors, Identity, Log, Member, People, Quality, Reading,
};
use rollcall_core::{
    AccountId, Caller, CallerId, Fault, GroupId, PersonId, Reason, Role, SiteDay, TerminalId, UtcInstant,
};
use rollcall_proto::v1;
use rollcall_proto::v1::attendance_service_server::AttendanceService;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{Db, Writes};
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tonic::{Request, Status};

pub const DOOR: TerminalId = TerminalId::from_bytes([0xd0; 16]);

#[derive(Default)]
pub struct Everybody {
    pub groups: Mutex<BTreeMap<GroupId, Vec<Member>>>,
    /// The gallery does not answer.
    pub is_away: AtomicBool,
}

impl Everybody {
    fn answer<T: Send + 'static>(
        &self,
        found: impl FnOnce(&BTreeMap<GroupId, Vec<Member>>) -> T,
    ) -> Answer<'_, T> {
        let away = self.is_away.load(Ordering::SeqCst);
        let answer = match away {
            true => Err(Fault::new(Reason::Unavailable, "the gallery is away")),
            false => Ok(found(&self.groups.lock().unwrap())),
        };
        Box::pin(async move { answer })
    }

    pub fn add(&self, group: GroupId, name: &str) -> PersonId {
        let person = PersonId::generate();
        let member = Member { person, display_name: name.to_owned(), leave_day: None };
        self.groups.lock().unwrap().entry(group).or_default().push(member);
        person
    }

    pub fn leave(&self, person: PersonId, day: SiteDay) {
        for member in self.groups.lock().unwrap().values_mut().flatten() {
            if member.person == person {
                member.leave_day = Some(day);
            }
        }
    }

    pub fn erase(&self, person: PersonId) {
        for members in self.groups.lock().unwrap().values_mut() {
            members.retain(|member| member.person != person);
        }
    }
}

impl People for Everybody {
    fn exists(&self, person: PersonId) -> Answer<'_, bool> {
        self.answer(|groups| groups.values().flatten().any(|member| member.person == person))
    }

    fn members(
        &self,
        group: GroupId,
        after: Option<(String, PersonId)>,
        limit: usize,
    ) -> Answer<'_, Option<Vec<Member>>> {
        self.answer(|groups| {
            let mut members = groups.get(&group)?.clone();
            members.sort_by_key(|member| (member.display_name.clone(), member.person));
            members.retain(|member| {
                after.as_ref().is_none_or(|after| (&member.display_name, member.person) > (&after.0, after.1))
            });
            members.truncate(limit);
            Some(members)
        })
    }

    fn person(&self, person: PersonId) -> Answer<'_, Option<(Member, Vec<GroupId>)>> {
        self.answer(|groups| {
            let found = groups.iter().filter_map(|(group, members)| {
                let member = members.iter().find(|member| member.person == person)?;
                Some((*group, member.clone()))
            });
            let (in_groups, members): (Vec<GroupId>, Vec<Member>) = found.unzip();
            Some((members.into_iter().next()?, in_groups))
        })
    }

    fn names(&self, people: Vec<PersonId>) -> Answer<'_, BTreeMap<PersonId, String>> {
        assert!(people.len() <= 1_000);
        self.answer(|groups| {
            let all = groups.values().flatten().filter(|member| people.contains(&member.person));
            all.map(|member| (member.person, member.display_name.clone())).collect()
        })
    }
}

/// Terminals and how far each has reported; `None`: up to now.
pub struct AllDoors {
    pub reported: Mutex<BTreeMap<TerminalId, Option<UtcInstant>>>,
    clock: Arc<SetClock>,
}

impl Doors for AllDoors {
    fn watermarks(&self) -> Answer<'_, Vec<Watermark>> {
        let now = self.clock.now();
        let reported = self.reported.lock().unwrap();
        let marks = reported
            .iter()
            .map(|(terminal, reported)| Watermark { terminal: *terminal, reported: reported.unwrap_or(now) })
            .collect();
        Box::pin(async move { Ok(marks) })
    }
}

pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn now(&self) -> UtcInstant {
        UtcInstant::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for SetClock {
    fn read(&self) -> Reading {
        let wall_us = self.now().micros();
        Reading { boot_id: [7; 16], boottime_us: wall_us, wall_us, quality: Quality::Hub }
    }

    fn raise_floor(&self, _: UtcInstant) {}
}

pub struct Site {
    pub service: Attendance,
    pub people: Arc<Everybody>,
    pub doors: Arc<AllDoors>,
    pub clock: Arc<SetClock>,
    pub tmp: TempDir,
    pub group: GroupId,
}

/// 24 November 2026, a Tuesday.
pub const DAY: v1::Date = v1::Date { year: 2026, month: 11, day: 24 };

/// A time of that day in UTC, "08:45" or "08:45:05".
pub fn at(text: &str) -> UtcInstant {
    instant(&format!("2026-11-24T{text}{}Z", if text.len() == 5 { ":00" } else { "" }))
}

pub fn instant(text: &str) -> UtcInstant {
    UtcInstant::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// The session of a period on that day.
pub fn session(period: &v1::Period) -> String {
    format!("{}/sessions/2026-11-24", period.name)
}

pub fn reason<T>(answer: Result<T, Status>) -> String {
    let Err(status) = answer else { return "OK".to_owned() };
    rollcall_proto::reason(&status).unwrap_or_else(|| format!("no reason: {status}"))
}

pub fn as_role<T>(role: Role, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = CallerId::Account(AccountId::from_bytes([0xac; 16]));
    request.extensions_mut().insert(Caller { id, role });
    request
}

pub fn call<T>(message: T) -> Request<T> {
    as_role(Role::Office, message)
}

impl Site {
    /// A site at 08:00 of that day with one door and a group of nobody.
    pub async fn open(db: Db) -> Self {
        let clock = Arc::new(SetClock(AtomicI64::new(at("08:00").micros())));
        let identity = Identity { terminal_id: DOOR, hw_id: "board".to_owned() };
        let log = Log::open_in(db.clone(), identity, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        let people = Arc::new(Everybody::default());
        let group = GroupId::generate();
        people.groups.lock().unwrap().insert(group, Vec::new());
        let reported = Mutex::new(BTreeMap::from([(DOOR, None)]));
        let doors = Arc::new(AllDoors { reported, clock: Arc::clone(&clock) });
        let tmp = tempfile::tempdir().unwrap();
        let service = Attendance::open(
            log,
            db,
            Writes::new(),
            Arc::clone(&people) as Arc<dyn People>,
            Arc::clone(&doors) as Arc<dyn Doors>,
            tmp.path().to_owned(),
        );
        Self { service: service.await.unwrap(), people, doors, clock, tmp, group }
    }

    pub fn set(&self, now: UtcInstant) {
        self.clock.0.store(now.micros(), Ordering::SeqCst);
    }

    /// Somebody passes the door at a time, which it then is.
    pub async fn pass(&self, time: &str, person: PersonId, direction: v1::Direction) {
        self.set(at(time));
        let seen = v1::Recognised { person: person.name(), direction: direction.into(), trace: None };
        self.service.log().append(Kind::Recognised(seen)).await.unwrap();
    }

    /// 08:45 to 12:00 on every day, late from 08:50, closed from 09:15, early before 11:50.
    pub fn draft(&self) -> v1::Period {
        let time = |hours, minutes| Some(v1::TimeOfDay { hours, minutes, seconds: 0 });
        v1::Period {
            display_name: "Morning".into(),
            group: self.group.name(),
            weekdays: (1..=7).collect(),
            start: time(8, 45),
            end: time(12, 0),
            early_minutes: 30,
            late_after_minutes: 5,
            closes_after_minutes: 30,
            leave_early_minutes: 10,
            start_date: Some(DAY),
            ..v1::Period::default()
        }
    }

    pub async fn period(&self) -> v1::Period {
        let request = v1::CreatePeriodRequest { period: Some(self.draft()), request_id: String::new() };
        self.service.create_period(call(request)).await.unwrap().into_inner()
    }

    pub async fn register(&self, session: &str) -> v1::Register {
        let request = v1::GetRegisterRequest { session: session.to_owned() };
        self.service.get_register(call(request)).await.unwrap().into_inner()
    }

    /// Each line's code, by display name; a provisional one with a question mark after it.
    pub async fn codes(&self, session: &str) -> Vec<String> {
        let register = self.register(session).await;
        let code = |line: v1::RegisterLine| {
            let mark = line.mark.unwrap();
            format!("{} {}{}", line.display_name, mark.code, if mark.provisional { "?" } else { "" })
        };
        register.lines.into_iter().map(code).collect()
    }

    pub async fn amend(
        &self,
        session: &str,
        person: PersonId,
        code: &str,
    ) -> Result<v1::RegisterLine, Status> {
        self.amend_with(v1::AmendMarkRequest {
            session: session.to_owned(),
            person: person.name(),
            code: code.to_owned(),
            reason: "a phone call".to_owned(),
            ..v1::AmendMarkRequest::default()
        })
        .await
    }

    pub async fn amend_with(&self, request: v1::AmendMarkRequest) -> Result<v1::RegisterLine, Status> {
        self.service.amend_mark(call(request)).await.map(tonic::Response::into_inner)
    }

    pub async fn use_dfe(&self) {
        let settings =
            v1::AttendanceSettings { code_set: v1::CodeSet::Dfe.into(), ..v1::AttendanceSettings::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["code_set".to_owned()] });
        let request = v1::UpdateAttendanceSettingsRequest { settings: Some(settings), update_mask };
        self.service.update_attendance_settings(call(request)).await.unwrap();
    }

    /// The whole of a file, and its name.
    pub async fn file(&self, role: Role, request: v1::ExportRequest) -> Result<(String, Vec<u8>), Status> {
        let mut stream = self.service.export(as_role(role, request)).await?.into_inner();
        let first = stream.next().await.unwrap()?;
        let mut bytes = first.data.to_vec();
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            assert!(piece.file_name.is_empty() && piece.data.len() <= 64 << 10);
            bytes.extend(piece.data);
        }
        Ok((first.file_name, bytes))
    }

    pub fn report_request(&self) -> v1::GetReportRequest {
        v1::GetReportRequest {
            subject: Some(v1::get_report_request::Subject::Group(self.group.name())),
            start_date: Some(DAY),
            end_date: Some(v1::Date { day: 30, ..DAY }),
            ..v1::GetReportRequest::default()
        }
    }
}

/// A CSV file's rows, the header first.
pub fn csv_rows(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).expect("a byte order mark");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}
