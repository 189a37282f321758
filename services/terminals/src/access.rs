//! Who may pass a door when. Pure.
//!
//! Whoever is recognised, or shows a credential that counts, passes unless one of three says no, in this order: the door
//! is locked down and they are in no exempt group; they are in none of the door's groups; none of their rules holds now.
//! Each only takes away: a lockdown lets nobody in who would not pass without it. Without rules there is no "now".
//!
//! Times are those that the clocks of the site show, so that a rule from 08:00 begins when the clock on the wall says so,
//! on the two days of a clock change too: hours that the clocks skip never come, and those shown twice hold twice.
//!
//! Not here: the exit button and the fire input, which nobody's rules hold up.

use rollcall_core::{GroupId, Hours, SiteDay, SiteTime, SiteZone, UtcInstant, Weekdays, limits};

use crate::{Lockdown, Settings, TerminalError};

/// People pass at these times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Whose; empty: of everybody who may pass the door.
    pub groups: Vec<GroupId>,
    /// Days on which it begins to hold.
    pub weekdays: Weekdays,
    /// From when to when. The end itself is no longer in it.
    pub hours: Hours,
    /// Whether it begins to hold on holidays too.
    pub on_holidays: bool,
}

/// What becomes of the rules while the clock was not set.
///
/// Allowing is the default. A Raspberry Pi has no clock that outlives its power, so a school without internet would lock
/// out its first staff after each power cut, and a door like that is soon wedged open. Who passes is still somebody who
/// is known and may pass here, and the log says that its time is not to be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutClock {
    /// People pass as if their rule held.
    #[default]
    Allow,
    /// Only rules that hold at any time on any day count.
    Refuse,
}

/// When somebody stands at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The site's day.
    pub day: SiteDay,
    /// What the site's clocks show.
    pub time: SiteTime,
    /// Whether the day is a holiday.
    pub is_holiday: bool,
    /// Whether the day before was one: a rule that goes over midnight belongs to the day on which it begins.
    pub follows_holiday: bool,
}

/// Why somebody who is known does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Their groups may not pass this door at any time.
    NotAllowedHere,
    /// They may, and not at this time.
    NotNow,
    /// The door is locked down.
    LockedDown,
}

/// Whether somebody in these groups passes. `moment` is `None` while the clock was not set.
///
/// # Errors
/// Why not.
pub fn decide(
    settings: &Settings,
    lockdown: &Lockdown,
    person: &[GroupId],
    moment: Option<&Moment>,
) -> Result<(), Refusal> {
    if lockdown.is_on && !share(&lockdown.exempt, person) {
        return Err(Refusal::LockedDown);
    }
    if !is_for(&settings.groups, person) {
        return Err(Refusal::NotAllowedHere);
    }
    if settings.access_rules.is_empty() {
        return Ok(());
    }
    let mut theirs = settings.access_rules.iter().filter(|rule| is_for(&rule.groups, person)).peekable();
    if theirs.peek().is_none() {
        return Err(Refusal::NotAllowedHere);
    }
    let holds = match (moment, settings.without_clock) {
        (Some(moment), _) => theirs.any(|rule| rule.holds(moment)),
        (None, WithoutClock::Allow) => true,
        (None, WithoutClock::Refuse) => theirs.any(AccessRule::is_timeless),
    };
    holds.then_some(()).ok_or(Refusal::NotNow)
}

/// Whether somebody in `person` is meant by `groups`, where none means everybody.
fn is_for(groups: &[GroupId], person: &[GroupId]) -> bool {
    groups.is_empty() || share(groups, person)
}

fn share(groups: &[GroupId], person: &[GroupId]) -> bool {
    groups.iter().any(|group| person.contains(group))
}

impl Moment {
    /// What the site's clocks show at `now`; [`Moment::days`] says of which days it is to be known whether they are
    /// holidays.
    pub fn new(zone: &SiteZone, now: UtcInstant, is_holiday: bool, follows_holiday: bool) -> Self {
        Self { day: zone.day(now), time: zone.time(now), is_holiday, follows_holiday }
    }

    /// The day that it is at `now`, and the day before.
    pub fn days(zone: &SiteZone, now: UtcInstant) -> [SiteDay; 2] {
        let day = zone.day(now);
        [day, day.yesterday().unwrap_or(day)]
    }
}

impl AccessRule {
    /// Whether it holds then.
    pub fn holds(&self, moment: &Moment) -> bool {
        let begins_on =
            |day: SiteDay, is_holiday: bool| self.weekdays.has(day) && (self.on_holidays || !is_holiday);
        let Hours { start, end } = self.hours;
        let over_midnight = self.hours.ends_next_day();
        let from_today = moment.time >= start && (over_midnight || moment.time < end);
        let from_yesterday = over_midnight && moment.time < end;
        from_today && begins_on(moment.day, moment.is_holiday)
            || from_yesterday
                && moment.day.yesterday().is_ok_and(|day| begins_on(day, moment.follows_holiday))
    }

    /// Whether it holds at any time on any day.
    pub fn is_timeless(&self) -> bool {
        self.weekdays == Weekdays::ALL && self.on_holidays && self.hours.start == self.hours.end
    }

    /// # Errors
    /// More groups than there may be.
    pub(crate) fn check(&self) -> Result<(), TerminalError> {
        check_groups("access_rules.groups", &self.groups)
    }
}

/// # Errors
/// More than there may be.
pub(crate) fn check_groups(field: &'static str, groups: &[GroupId]) -> Result<(), TerminalError> {
    if groups.len() > limits::TERMINAL_GROUPS {
        let problem = format!("has {} groups; give at most {}", groups.len(), limits::TERMINAL_GROUPS);
        return Err(TerminalError::Field { field, problem });
    }
    Ok(())
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
