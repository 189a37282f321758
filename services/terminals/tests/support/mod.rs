//! What the tests of this crate share: a device that writes down what it is told, and calls as a server makes them.

#![allow(dead_code, clippy::unwrap_used, reason = "each test takes what it needs, and fails by panicking")]

use std::sync::{Arc, Mutex};

use rollcall_core::{Caller, CallerId, Fault, PersonId, Reason, Role, TerminalId, TokenId, UtcInstant};
use rollcall_proto::v1::{self, CameraState, ClockQuality, Direction};
use rollcall_store::{Db, Writes};
use rollcall_terminals::{
    Adopted, Device, Enrolling, Enrolment, Fleet, Identity, KeyHash, Lockdown, Readings, Revised, Settings,
    Site, Terminals, WithoutClock,
};
use tonic::Request;
use zeroize::Zeroizing;

/// A device that has no door, and whose log can be made to fail.
#[derive(Clone, Default)]
pub struct Fake {
    pub obeyed: Arc<Mutex<Vec<i64>>>,
    pub locked: Arc<Mutex<Vec<Lockdown>>>,
    pub broken: Arc<Mutex<bool>>,
}

impl Device for Fake {
    async fn readings(&self) -> Result<Readings, Fault> {
        Ok(Readings {
            last_recognition: None,
            clock_quality: ClockQuality::Ntp,
            camera: CameraState::None,
            alarms: vec!["DISK_FULL".into()],
            events_in_log: 5,
            events_pending: 0,
            people: 2,
            templates: 3,
        })
    }

    async fn open_door(&self, by: &str) -> Result<(), Fault> {
        assert!(by.starts_with("tokens/"));
        Err(Fault::new(Reason::HardwareAbsent, "this terminal has no door"))
    }

    async fn enrol(&self, enrolment: Enrolment) -> Result<Enrolling, Fault> {
        if enrolment.person == PersonId::from_bytes([1; 16]) {
            return Err(Fault::new(Reason::ConsentMissing, "there is no consent"));
        }
        let first = v1::EnrolmentProgress { pictures_wanted: 5, ..Default::default() };
        let late = Fault::new(Reason::DeadlineExceeded, "nobody came");
        Ok(Box::pin(tokio_stream::iter([Ok(first), Err(late)])))
    }

    async fn obey(&self, settings: &Revised) -> Result<(), Fault> {
        if *self.broken.lock().unwrap() {
            return Err(Fault::new(Reason::Unavailable, "the log cannot be written"));
        }
        self.obeyed.lock().unwrap().push(settings.revision);
        Ok(())
    }

    async fn lock_down(&self, lockdown: &Lockdown) -> Result<(), Fault> {
        if *self.broken.lock().unwrap() {
            return Err(Fault::new(Reason::Unavailable, "the log cannot be written"));
        }
        self.locked.lock().unwrap().push(lockdown.clone());
        Ok(())
    }
}

pub fn settings() -> Settings {
    Settings {
        display_name: "Gate A".into(),
        direction: Direction::In,
        groups: Vec::new(),
        fpir_target: 0.001,
        keep_pictures: false,
        access_rules: Vec::new(),
        without_clock: WithoutClock::default(),
    }
}

pub async fn open(db: &Db, device: Fake) -> Terminals<Fake> {
    let identity = Identity::open(db, "a machine", &settings()).await.unwrap();
    Terminals::open(identity, db.clone(), Writes::new(), device, "/tmp".into()).await.unwrap()
}

pub fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller { id: CallerId::Token(TokenId::generate()), role: Role::Admin });
    request
}

pub fn reason(status: &tonic::Status) -> String {
    rollcall_proto::reason(status).unwrap()
}

/// Where the hub of these tests is reached.
pub const HUB: &str = "hub.local:7443";

pub fn site() -> Site {
    Site {
        display_name: "North School".into(),
        time_zone: "Europe/London".into(),
        credential_key: Zeroizing::new([7; 32]),
        authorities: vec![vec![1, 2, 3]],
        addresses: vec![HUB.into()],
        forget_after_hours: 0,
    }
}

/// One process of a hub.
pub async fn fleet(db: &Db) -> Fleet {
    Fleet::open(db.clone(), Writes::new(), site()).await.unwrap()
}

/// A terminal of this name with the key of this number.
pub fn adopted(display_name: &str, key: u8) -> Adopted {
    Adopted {
        terminal: TerminalId::generate(),
        hardware: "a machine".into(),
        software: "1.2.3".into(),
        address: "192.0.2.7:50000".into(),
        key: KeyHash::from_bytes([key; 32]),
        certificate_expires: second(90),
        settings: Settings { display_name: display_name.into(), ..settings() },
        by: "accounts/x".into(),
    }
}

/// Adopts one.
pub async fn register(fleet: &Fleet, display_name: &str) -> TerminalId {
    fleet.register(adopted(display_name, 1), second(1)).await.unwrap().terminal
}

/// So many seconds after 1970.
pub fn second(second: i64) -> UtcInstant {
    UtcInstant::from_micros(second * 1_000_000)
}
