//! Between the contract's types and ours.

use std::time::Duration;

use prost_types::Timestamp;
use rollcall_core::{GroupId, UtcInstant};
use rollcall_proto::v1;

use crate::terminals::Status;
use crate::{Revised, Settings, SettingsField, TerminalError};

pub(crate) fn settings_to_proto(settings: &Settings) -> v1::TerminalSettings {
    v1::TerminalSettings {
        display_name: settings.display_name.clone(),
        direction: settings.direction.into(),
        groups: settings.groups.iter().map(|group| group.name()).collect(),
        fpir_target: settings.fpir_target,
        keep_pictures: settings.keep_pictures,
        revision: 0,
        etag: String::new(),
    }
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
    let groups: Result<Vec<GroupId>, _> =
        settings.groups.iter().map(|name| GroupId::from_name(name)).collect();
    Ok(Settings {
        display_name: settings.display_name,
        direction,
        groups: groups?,
        fpir_target: settings.fpir_target,
        keep_pictures: settings.keep_pictures,
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
    let Status { terminal, report, uptime, machine, readings } = status;
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
    }
}

fn timestamp(instant: UtcInstant) -> Timestamp {
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
        assert_eq!(mask(&["*"]).unwrap().len(), 5);
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
        };
        assert_eq!(settings_from_proto(settings_to_proto(&settings)).unwrap(), settings);
        let unknown = v1::TerminalSettings { direction: 9, ..settings_to_proto(&settings) };
        assert!(settings_from_proto(unknown).is_err());
    }

    #[test]
    fn moments_before_1970_are_written_as_the_contract_has_them() {
        let before = timestamp(UtcInstant::from_micros(-1));
        assert_eq!((before.seconds, before.nanos), (-1, 999_999_000));
    }
}
