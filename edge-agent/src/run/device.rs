//! This terminal's hardware and what its settings reach.

use std::sync::Arc;

use rollcall_attendance::Log;
use rollcall_core::{Fault, Reason};
use rollcall_gallery::Gallery;
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_terminals::{Device, Readings, Revised};

/// See the module.
#[derive(Clone)]
pub(super) struct ThisDevice {
    pub(super) log: Log,
    pub(super) gallery: Gallery,
}

impl Device for ThisDevice {
    async fn readings(&self) -> Result<Readings, Fault> {
        let counts = self.gallery.counts().await.map_err(|error| error.fault())?;
        let log = self.log.health();
        let clock_quality = self.log.clock_quality();
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
            events_in_log: self.log.len().await.map_err(|error| error.fault())?,
            events_pending: 0,
            people: counts.people,
            templates: counts.templates,
        })
    }

    async fn open_door(&self, _by: &str) -> Result<(), Fault> {
        Err(Fault::new(Reason::HardwareAbsent, "this terminal has no door that it could open"))
    }

    async fn obey(&self, settings: &Revised) -> Result<(), Fault> {
        let event = v1::SettingsApplied { revision: settings.revision, sha256: settings.sha256().to_vec().into() };
        self.log.append(Kind::SettingsApplied(event)).await.map_err(|error| error.fault())?;
        let recogniser = self.gallery.recogniser().map_err(|error| error.fault())?;
        recogniser.set(settings.settings.fpir_target, settings.settings.keep_pictures).await;
        Ok(())
    }
}
