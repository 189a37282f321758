//! How the terminal is, followed: for the screen's line of state, and as alarms.

use std::time::Duration;

use rollcall_attendance::{Clock as _, Quality};
use rollcall_core::SiteZone;
use rollcall_terminals::Lockdown;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::device::ThisDevice;
use crate::camera::CameraState;
use crate::door::DoorState;
use crate::entrance::Status;
use crate::recognition::{PictureState, View};

/// A change is on the screen so much later at most.
const LOOK: Duration = Duration::from_millis(250);

/// What is looked at.
pub(super) struct Sources {
    pub(super) device: ThisDevice,
    pub(super) camera: watch::Receiver<CameraState>,
    pub(super) view: watch::Receiver<View>,
    pub(super) lockdown: watch::Receiver<Lockdown>,
    pub(super) door: Option<watch::Receiver<DoorState>>,
    /// Of an adoption.
    pub(super) digits: watch::Receiver<Option<String>>,
}

/// Follows it all until `stop`.
pub(super) async fn follow(
    sources: Sources,
    status: watch::Sender<Status>,
    zone: watch::Sender<SiteZone>,
    stop: CancellationToken,
) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_worked = false;
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = sources.status();
        status.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        let now = sources.device.gallery.zone();
        zone.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        let camera = sources.camera.borrow().clone();
        has_worked |= matches!(camera, CameraState::Working { .. });
        sources.alarms(&camera, has_worked).await;
    }
}

impl Sources {
    fn status(&self) -> Status {
        let camera_lost = match &*self.camera.borrow() {
            CameraState::Working { .. } => self.view.borrow().picture != PictureState::Fine,
            CameraState::Opening | CameraState::Lost { .. } => true,
            CameraState::Off | CameraState::Ended => false,
        };
        Status {
            door: self.device.settings.borrow().display_name.clone(),
            camera_lost,
            locked_down: self.lockdown.borrow().is_on,
            fire: self.door.as_ref().is_some_and(|door| door.borrow().keeping.is_fire),
            not_logged: self.device.log.health().kept,
            offline_since: None,
            digits: self.digits.borrow().clone(),
            clock_unset: self.device.clock.read().quality == Quality::Unset,
        }
    }

    /// A camera that was never there is no alarm: a terminal may be meant to have none.
    async fn alarms(&self, camera: &CameraState, has_worked: bool) {
        let alarms = &self.device.alarms;
        let is_lost = has_worked && matches!(camera, CameraState::Lost { .. });
        alarms.set("CAMERA_LOST", is_lost).await;
        let picture = match camera {
            CameraState::Working { .. } => self.view.borrow().picture,
            _ => PictureState::Fine,
        };
        for (alarm, state) in [
            ("CAMERA_BLACK", PictureState::Black),
            ("CAMERA_FROZEN", PictureState::Frozen),
            ("CAMERA_COVERED", PictureState::Covered),
            ("CAMERA_OVEREXPOSED", PictureState::Overexposed),
        ] {
            alarms.set(alarm, picture == state).await;
        }
    }
}
