//! Whether somebody may pass this door now.

use std::sync::Arc;

use rollcall_attendance::{Attendance, Clock as _, Quality, SystemClock};
use rollcall_core::UtcInstant;
use rollcall_gallery::Person;
use rollcall_proto::v1;
use rollcall_terminals::{Lockdown, Moment, Refusal, Settings, access};
use tokio::sync::watch;

use super::events::Refused;

/// What the rules need to know. A clone sees the same.
#[derive(Clone)]
pub struct Rules {
    pub settings: watch::Receiver<Settings>,
    pub lockdown: watch::Receiver<Lockdown>,
    pub attendance: Attendance,
    pub clock: Arc<SystemClock>,
}

/// By what somebody may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// As always.
    Ordinary,
    /// The door is locked down, and their group is exempt.
    Exempt,
}

impl Rules {
    /// Which way people pass here.
    pub fn direction(&self) -> v1::Direction {
        self.settings.borrow().direction
    }

    /// Whether people go out here.
    pub fn is_way_out(&self) -> bool {
        self.direction() == v1::Direction::Out
    }

    /// Whether this person may pass now.
    pub async fn may_pass(&self, person: &Person) -> Result<Pass, Refused> {
        let moment = self.moment().await;
        let (settings, lockdown) = (self.settings.borrow().clone(), self.lockdown.borrow().clone());
        match access::decide(&settings, &lockdown, &person.fields.groups, moment.as_ref()) {
            Ok(()) if lockdown.is_on => Ok(Pass::Exempt),
            Ok(()) => Ok(Pass::Ordinary),
            Err(Refusal::LockedDown) => Err(Refused::Lockdown),
            Err(Refusal::NotAllowedHere) => Err(Refused::NotAllowedHere),
            Err(Refusal::NotNow) => Err(Refused::NotNow),
        }
    }

    /// What the site's clocks show; `None` while the clock was not set. Without rules nobody asks for it.
    async fn moment(&self) -> Option<Moment> {
        if self.settings.borrow().access_rules.is_empty() || self.clock.read().quality == Quality::Unset {
            return None;
        }
        let now = UtcInstant::now();
        let zone = self.attendance.zone().await.ok()?;
        let [today, yesterday] = Moment::days(&zone, now);
        let is_holiday = self.attendance.is_holiday(today).await.ok()?;
        let follows_holiday = self.attendance.is_holiday(yesterday).await.ok()?;
        Some(Moment::new(&zone, now, is_holiday, follows_holiday))
    }
}
