//! Between the contract's types and ours.

use std::time::Duration;

use prost_types::Timestamp;
use rollcall_core::{GroupId, Hours, SiteTime, UtcInstant, Weekdays, limits};
use rollcall_proto::v1;

use crate::terminals::Status;
use crate::{
    AccessRule, Asking, Lockdown, Registered, Revised, Settings, SettingsField, TerminalError, WithoutClock,
};

pub(crate) fn settings_to_proto(settings: &Settings) -> v1::TerminalSettings {
    v1::TerminalSettings {
        display_name: settings.display_name.clone(),
        direction: settings.direction.into(),
        groups: names(&settings.groups),
        fpir_target: settings.fpir_target,
        keep_pictures: settings.keep_pictures,
        revision: 0,
        etag: String::new(),
        access_rules: settings.access_rules.iter().map(rule_to_proto).collect(),
        without_clock: match settings.without_clock {
            WithoutClock::Allow => v1::WithoutClock::Allow.into(),
            WithoutClock::Refuse => v1::WithoutClock::Refuse.into(),
        },
    }
}

fn rule_to_proto(rule: &AccessRule) -> v1::AccessRule {
    v1::AccessRule {
        groups: names(&rule.groups),
        weekdays: rule.weekdays.iso(),
        start: Some(time_of_day(rule.hours.start)),
        end: Some(time_of_day(rule.hours.end)),
        on_holidays: rule.on_holidays,
    }
}

fn rule_from_proto(rule: v1::AccessRule) -> Result<AccessRule, TerminalError> {
    let weekdays = Weekdays::from_iso(&rule.weekdays).ok_or(TerminalError::Field {
        field: "access_rules.weekdays",
        problem: "are no days; give ISO numbers, 1 Monday to 7 Sunday, each once".to_owned(),
    })?;
    let (start, end) = (time("access_rules.start", rule.start)?, time("access_rules.end", rule.end)?);
    Ok(AccessRule {
        groups: groups(&rule.groups)?,
        weekdays,
        hours: Hours { start, end },
        on_holidays: rule.on_holidays,
    })
}

fn time(field: &'static str, time: Option<v1::TimeOfDay>) -> Result<SiteTime, TerminalError> {
    let part = |number: i32| i8::try_from(number).ok();
    let made = time
        .and_then(|time| SiteTime::new(part(time.hours)?, part(time.minutes)?, part(time.seconds)?, 0).ok());
    made.ok_or_else(|| TerminalError::Field {
        field,
        problem: "is no time of day; give 00:00:00 to 23:59:59".to_owned(),
    })
}

fn time_of_day(time: SiteTime) -> v1::TimeOfDay {
    let (hours, minutes) = (time.hour().into(), time.minute().into());
    v1::TimeOfDay { hours, minutes, seconds: time.second().into() }
}

pub(crate) fn lockdown_to_proto(lockdown: &Lockdown) -> v1::Lockdown {
    v1::Lockdown {
        lockdown: lockdown.is_on,
        exempt_groups: names(&lockdown.exempt),
        change_time: lockdown.since.map(timestamp),
        by: lockdown.by.clone(),
    }
}

pub(crate) fn lockdown_from_proto(lockdown: v1::Lockdown) -> Result<Lockdown, TerminalError> {
    let since = lockdown.change_time.map(|time| instant("change_time", time)).transpose()?;
    let by = text("by", lockdown.by, limits::LOGIN_CHARS)?;
    let exempt = groups(&lockdown.exempt_groups)?;
    let asked = Lockdown::asked(lockdown.lockdown, exempt, by, since.unwrap_or(UtcInstant::from_micros(0)))?;
    Ok(Lockdown { since, ..asked })
}

pub(crate) fn registered_to_proto(terminal: &Registered) -> v1::Terminal {
    v1::Terminal {
        name: terminal.terminal.name(),
        display_name: terminal.display_name.clone(),
        adopt_time: Some(timestamp(terminal.adopted)),
        revoke_time: terminal.revoked.map(timestamp),
        software: terminal.software.clone(),
    }
}

pub(crate) fn asking_to_proto(asking: Asking) -> v1::AdoptionRequest {
    v1::AdoptionRequest {
        terminal: asking.terminal.name(),
        digits: asking.digits,
        address: asking.address,
        request_time: Some(timestamp(asking.since)),
        display_name: asking.display_name,
        software: asking.software,
        people: whole(asking.people),
        events: whole(asking.events),
    }
}

/// A text of the other side.
pub(crate) fn text(field: &'static str, text: String, chars: usize) -> Result<String, TerminalError> {
    let problem = match text.chars().count() {
        count if count > chars => format!("has {count} characters; give at most {chars}"),
        _ if text.chars().any(char::is_control) => "has a control character; leave it out".to_owned(),
        _ => return Ok(text),
    };
    Err(TerminalError::Field { field, problem })
}

fn names(groups: &[GroupId]) -> Vec<String> {
    groups.iter().map(|group| group.name()).collect()
}

pub(crate) fn groups(names: &[String]) -> Result<Vec<GroupId>, TerminalError> {
    Ok(names.iter().map(|name| GroupId::from_name(name)).collect::<Result<_, _>>()?)
}

pub(crate) fn revised_to_proto(revised: &Revised) -> v1::TerminalSettings {
    v1::TerminalSettings {
        revision: revised.revision,
        etag: revised.etag(),
        ..settings_to_proto(&revised.settings)
    }
}

pub(crate) fn settings_from_proto(settings: v1::TerminalSettings) -> Result<Settings, TerminalError> {
    let direction = v1::Direction::try_from(settings.direction).map_err(|unknown| TerminalError::Field {
        field: "direction",
        problem: format!("is none: {unknown}"),
    })?;
    let without_clock = match v1::WithoutClock::try_from(settings.without_clock) {
        Ok(v1::WithoutClock::Allow) => WithoutClock::Allow,
        Ok(v1::WithoutClock::Refuse) => WithoutClock::Refuse,
        Err(unknown) => {
            let problem = format!("is none: {unknown}");
            return Err(TerminalError::Field { field: "without_clock", problem });
        }
    };
    let rules = settings.access_rules.into_iter().map(rule_from_proto);
    Ok(Settings {
        display_name: settings.display_name,
        direction,
        groups: groups(&settings.groups)?,
        fpir_target: settings.fpir_target,
        keep_pictures: settings.keep_pictures,
        access_rules: rules.collect::<Result<_, _>>()?,
        without_clock,
    })
}

/// The settings that a mask names; `*` names all.
pub(crate) fn mask_from_proto(
    mask: Option<prost_types::FieldMask>,
) -> Result<Vec<SettingsField>, TerminalError> {
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() {
        return Err(TerminalError::Mask(String::new()));
    }
    let mut fields = Vec::new();
    for path in paths {
        match SettingsField::ALL.into_iter().find(|field| field.as_str() == path) {
            Some(field) => fields.push(field),
            None if path == "*" => fields.extend(SettingsField::ALL),
            None => return Err(TerminalError::Mask(path.chars().take(80).collect())),
        }
    }
    Ok(fields)
}

pub(crate) fn status_to_proto(status: Status) -> v1::TerminalStatus {
    let Status { terminal, report, uptime, machine, readings, lockdown } = status;
    v1::TerminalStatus {
        terminal: terminal.name(),
        report_time: Some(timestamp(report)),
        last_recognition_time: readings.last_recognition.map(timestamp),
        clock_quality: readings.clock_quality.into(),
        camera: readings.camera.into(),
        disk_free_bytes: whole(machine.disk_free_bytes),
        disk_size_bytes: whole(machine.disk_size_bytes),
        temperature_celsius: machine.temperature_celsius,
        memory_bytes: whole(machine.memory_bytes),
        uptime: Some(duration(uptime)),
        alarms: readings.alarms,
        events_in_log: whole(readings.events_in_log),
        events_pending: whole(readings.events_pending),
        people: i32::try_from(readings.people).unwrap_or(i32::MAX),
        templates: i32::try_from(readings.templates).unwrap_or(i32::MAX),
        lockdown: Some(lockdown_to_proto(&lockdown)),
    }
}

pub(crate) fn instant(field: &'static str, time: Timestamp) -> Result<UtcInstant, TerminalError> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        let problem = format!("has {} nanoseconds; give 0 to 999999999", time.nanos);
        return Err(TerminalError::Field { field, problem });
    }
    let micros = time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos / 1_000));
    Ok(UtcInstant::from_micros(micros))
}

pub(crate) fn timestamp(instant: UtcInstant) -> Timestamp {
    Timestamp {
        seconds: instant.micros().div_euclid(1_000_000),
        nanos: i32::try_from(instant.micros().rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: whole(duration.as_secs()),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_mask_names_settings_and_nothing_else() {
        let mask = |paths: &[&str]| {
            mask_from_proto(Some(prost_types::FieldMask {
                paths: paths.iter().map(|p| (*p).to_owned()).collect(),
            }))
        };
        assert_eq!(mask(&["fpir_target"]).unwrap(), [SettingsField::FpirTarget]);
        assert_eq!(mask(&["*"]).unwrap().len(), 7);
        for wrong in [vec![], vec!["revision"], vec!["display_name", "etag"], vec!["settings.display_name"]] {
            assert!(mask(&wrong).is_err(), "{wrong:?}");
        }
        assert!(mask_from_proto(None).is_err());
    }

    #[test]
    fn settings_travel_there_and_back() {
        let settings = Settings {
            display_name: "Gate A".into(),
            direction: v1::Direction::Out,
            groups: vec![GroupId::generate()],
            fpir_target: 0.01,
            keep_pictures: true,
            access_rules: vec![AccessRule {
                groups: vec![GroupId::generate()],
                weekdays: Weekdays::from_iso(&[1, 5]).unwrap(),
                hours: Hours::from_seconds(79_200, 21_599).unwrap(),
                on_holidays: true,
            }],
            without_clock: WithoutClock::Refuse,
        };
        assert_eq!(settings_from_proto(settings_to_proto(&settings)).unwrap(), settings);
        let good = settings_to_proto(&settings);
        let unknown = [
            v1::TerminalSettings { direction: 9, ..good.clone() },
            v1::TerminalSettings { without_clock: 9, ..good.clone() },
        ];
        assert!(unknown.into_iter().all(|unknown| settings_from_proto(unknown).is_err()));
        let rule = good.access_rules[0].clone();
        for wrong in [
            v1::AccessRule { weekdays: vec![], ..rule.clone() },
            v1::AccessRule { weekdays: vec![8], ..rule.clone() },
            v1::AccessRule { start: None, ..rule.clone() },
            v1::AccessRule { end: Some(v1::TimeOfDay { hours: 24, minutes: 0, seconds: 0 }), ..rule.clone() },
            v1::AccessRule { groups: vec!["people/1".into()], ..rule.clone() },
        ] {
            let wrong = v1::TerminalSettings { access_rules: vec![wrong], ..good.clone() };
            assert!(settings_from_proto(wrong).is_err());
        }
    }

    #[test]
    fn moments_before_1970_are_written_as_the_contract_has_them() {
        let before = timestamp(UtcInstant::from_micros(-1));
        assert_eq!((before.seconds, before.nanos), (-1, 999_999_000));
    }
}
