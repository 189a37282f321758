//! This terminal's hardware and what its settings reach.

use std::sync::Arc;

use rollcall_attendance::{Clock as _, Log, Quality, SystemClock};
use rollcall_core::{Fault, Reason};
use rollcall_gallery::Gallery;
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_terminals::{Device, Lockdown, Readings, Revised, Settings};

/// See the module.
#[derive(Clone)]
pub(super) struct ThisDevice {
    pub(super) log: Log,
    pub(super) gallery: Gallery,
    pub(super) clock: Arc<SystemClock>,
}

impl Device for ThisDevice {
    async fn readings(&self) -> Result<Readings, Fault> {
        let counts = self.gallery.counts().await.map_err(|error| error.fault())?;
        let log = self.log.health();
        let clock_quality = clock_quality(self.clock.read().quality);
        let mut alarms = Vec::new();
        if log.is_disk_full {
            alarms.push("DISK_FULL".to_owned());
        }
        if clock_quality == v1::ClockQuality::Unset {
            alarms.push("CLOCK_UNSET".to_owned());
        }
        Ok(Readings {
            // A camera sees people, and there is none.
            last_recognition: None,
            camera: v1::CameraState::None,
            clock_quality,
            alarms,
            events_in_log: self.log.events().await.map_err(|error| error.fault())?,
            events_pending: 0,
            people: counts.people,
            templates: counts.templates,
        })
    }

    async fn open_door(&self, _by: &str) -> Result<(), Fault> {
        Err(Fault::new(Reason::HardwareAbsent, "this terminal has no door that it could open"))
    }

    async fn obey(&self, settings: &Revised) -> Result<(), Fault> {
        let event =
            v1::SettingsApplied { revision: settings.revision, sha256: settings.sha256().to_vec().into() };
        self.log.append(Kind::SettingsApplied(event)).await.map_err(|error| error.fault())?;
        let recogniser = self.gallery.recogniser().map_err(|error| error.fault())?;
        let Settings { fpir_target, keep_pictures, .. } = settings.settings;
        recogniser.set(fpir_target, keep_pictures).await.map_err(|error| error.fault())
    }

    async fn lock_down(&self, lockdown: &Lockdown) -> Result<(), Fault> {
        let state = if lockdown.is_on { "LOCKED_DOWN" } else { "RELEASED" };
        let event = v1::DoorChanged { state: state.to_owned(), by: lockdown.by.clone() };
        self.log.append(Kind::DoorChanged(event)).await.map(drop).map_err(|error| error.fault())
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
