//! This terminal's hardware and what its settings reach.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use rollcall_attendance::{Clock as _, Log, Quality, SystemClock, unacknowledged};
use rollcall_core::{Fault, LogId, Reason, UtcInstant};
use rollcall_gallery::Gallery;
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_server::HubMembership;
use rollcall_terminals::{Device, Enrolling, Enrolment, Lockdown, Readings, Revised, Settings, hardware_id};
use tokio::sync::watch;

use super::alarms::Alarms;
use super::site::VERSION;
use crate::camera::CameraState;
use crate::door::{Door, Opener};
use crate::enrolment::Enrolments;
use crate::entrance::events;
use crate::hub::{Introducing, Introduction};
use crate::recognition::{PictureState, View};

/// See the module.
#[derive(Clone)]
pub(super) struct ThisDevice {
    pub(super) log: Log,
    pub(super) gallery: Gallery,
    pub(super) clock: Arc<SystemClock>,
    pub(super) alarms: Alarms,
    /// The settings in force, and each change of them.
    pub(super) settings: watch::Sender<Settings>,
    pub(super) parts: Arc<Parts>,
    pub(super) enrolments: Arc<Enrolments>,
    /// The hub, if there is one.
    pub(super) membership: HubMembership,
    /// Up to which number it has each log.
    pub(super) acknowledged: watch::Receiver<BTreeMap<LogId, u64>>,
}

/// What is there of hardware, once it was taken in use.
#[derive(Default)]
pub struct Parts {
    pub(super) door: OnceLock<Arc<Door>>,
    pub(super) camera: OnceLock<watch::Receiver<CameraState>>,
    pub(super) view: OnceLock<watch::Receiver<View>>,
    /// When somebody was last recognised, in microseconds; 0: not since the start.
    last_recognition_us: AtomicI64,
}

impl Parts {
    /// Somebody was recognised now.
    pub fn recognised(&self) {
        self.last_recognition_us.store(UtcInstant::now().micros(), Ordering::Relaxed);
    }

    fn camera(&self) -> v1::CameraState {
        let picture = self.view.get().map(|view| view.borrow().picture).unwrap_or_default();
        match self.camera.get().map(|camera| camera.borrow().clone()) {
            None | Some(CameraState::Off | CameraState::Ended) => v1::CameraState::None,
            Some(CameraState::Opening | CameraState::Lost { .. }) => v1::CameraState::Lost,
            Some(CameraState::Working { .. }) => match picture {
                PictureState::Fine => v1::CameraState::Working,
                PictureState::Black => v1::CameraState::Black,
                PictureState::Frozen => v1::CameraState::Frozen,
                PictureState::Covered => v1::CameraState::Covered,
                PictureState::Overexposed => v1::CameraState::Overexposed,
            },
        }
    }

    fn last_recognition(&self) -> Option<UtcInstant> {
        match self.last_recognition_us.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(UtcInstant::from_micros(micros)),
        }
    }
}

impl ThisDevice {
    /// Events that the hub is not known to have; 0 where there is no hub.
    async fn events_pending(&self) -> Result<u64, Fault> {
        if self.membership.joined().is_none() {
            return Ok(0);
        }
        let logs = self.log.states().await.map_err(|error| error.fault())?;
        Ok(unacknowledged(&logs, &self.acknowledged.borrow()))
    }
}

impl Introducing for ThisDevice {
    fn introduce(&self) -> Pin<Box<dyn Future<Output = Result<Introduction, Fault>> + Send + '_>> {
        Box::pin(async {
            let display_name = self.settings.borrow().display_name.clone();
            Ok(Introduction {
                hardware: hardware_id(),
                display_name,
                software: VERSION.to_owned(),
                people: self.gallery.counts().await.map_err(|error| error.fault())?.people,
                events: self.log.events().await.map_err(|error| error.fault())?,
            })
        })
    }
}

impl Device for ThisDevice {
    async fn readings(&self) -> Result<Readings, Fault> {
        let counts = self.gallery.counts().await.map_err(|error| error.fault())?;
        let log = self.log.health();
        let clock_quality = clock_quality(self.clock.read().quality);
        let mut alarms = self.alarms.raised();
        if log.is_disk_full {
            alarms.push("DISK_FULL".to_owned());
        }
        if clock_quality == v1::ClockQuality::Unset {
            alarms.push("CLOCK_UNSET".to_owned());
        }
        Ok(Readings {
            last_recognition: self.parts.last_recognition(),
            camera: self.parts.camera(),
            clock_quality,
            alarms,
            events_in_log: self.log.events().await.map_err(|error| error.fault())?,
            events_pending: self.events_pending().await?,
            people: counts.people,
            templates: counts.templates,
        })
    }

    async fn open_door(&self, by: &str) -> Result<(), Fault> {
        let Some(door) = self.parts.door.get() else {
            return Err(Fault::new(Reason::HardwareAbsent, "this terminal has no door that it could open"));
        };
        let event = events::door_changed("OPENED_REMOTELY", by);
        self.log.append(event).await.map_err(|error| error.fault())?;
        // Whoever may do this may end a lockdown too.
        door.open(Opener::Exempt).map_err(|error| Fault::new(Reason::Unavailable, error.to_string()))
    }

    async fn enrol(&self, enrolment: Enrolment) -> Result<Enrolling, Fault> {
        self.enrolments.begin(enrolment).await
    }

    async fn obey(&self, settings: &Revised) -> Result<(), Fault> {
        let event =
            v1::SettingsApplied { revision: settings.revision, sha256: settings.sha256().to_vec().into() };
        self.log.append(Kind::SettingsApplied(event)).await.map_err(|error| error.fault())?;
        self.settings.send_replace(settings.settings.clone());
        let recogniser = self.gallery.recogniser().map_err(|error| error.fault())?;
        let Settings { fpir_target, keep_pictures, .. } = settings.settings;
        recogniser.set(fpir_target, keep_pictures).await.map_err(|error| error.fault())
    }

    async fn lock_down(&self, lockdown: &Lockdown) -> Result<(), Fault> {
        if let Some(door) = self.parts.door.get() {
            door.set_lockdown(lockdown.is_on);
        }
        let state = if lockdown.is_on { "LOCKED_DOWN" } else { "RELEASED" };
        let event = events::door_changed(state, &lockdown.by);
        self.log.append(event).await.map(|_| ()).map_err(|error| error.fault())
    }
}

fn clock_quality(quality: Quality) -> v1::ClockQuality {
    match quality {
        Quality::Unset => v1::ClockQuality::Unset,
        Quality::Saved => v1::ClockQuality::Saved,
        Quality::Rtc => v1::ClockQuality::Rtc,
        Quality::Ntp => v1::ClockQuality::Ntp,
        Quality::Hub => v1::ClockQuality::Hub,
    }
}
