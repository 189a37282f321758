//! Kinds of events, and what is read out of an event's bytes.
//!
//! The bytes are the truth; everything else that a table says of an event is derived from them here, and can be derived
//! again. Bytes that this program cannot read, or of a kind that it does not know, are kept and passed on all the same.

use prost::Message as _;
use rollcall_core::{EventId, PersonId};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;

use crate::time::{Anchor, Quality, Reading};

/// Every kind by its number and name in `EventKind`.
const KINDS: [(i64, &str); 12] = [
    (1, "recognised"),
    (2, "credential_used"),
    (3, "unknown_face"),
    (4, "entry_refused"),
    (5, "door_changed"),
    (6, "recorded_manually"),
    (7, "mark_amended"),
    (8, "register_closed"),
    (9, "clock_anchor"),
    (10, "settings_applied"),
    (11, "alarm_raised"),
    (12, "log_opened"),
];

/// The number of the kind with this name.
pub fn number_of(name: &str) -> Option<i64> {
    KINDS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// The names of all kinds.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(_, name)| *name)
}

/// The name of a kind.
pub fn name_of(kind: &Kind) -> &'static str {
    let number = number(kind);
    KINDS.iter().find(|(known, _)| *known == number).map_or("", |(_, name)| name)
}

/// The number of a kind, as tables keep it.
pub fn number(kind: &Kind) -> i64 {
    match kind {
        Kind::Recognised(_) => 1,
        Kind::CredentialUsed(_) => 2,
        Kind::UnknownFace(_) => 3,
        Kind::EntryRefused(_) => 4,
        Kind::DoorChanged(_) => 5,
        Kind::RecordedManually(_) => 6,
        Kind::MarkAmended(_) => 7,
        Kind::RegisterClosed(_) => 8,
        Kind::ClockAnchor(_) => 9,
        Kind::SettingsApplied(_) => 10,
        Kind::AlarmRaised(_) => 11,
        Kind::LogOpened(_) => 12,
    }
}

/// Whom an event is about.
fn person(kind: &Kind) -> Option<PersonId> {
    let name = match kind {
        Kind::Recognised(event) => &event.person,
        Kind::CredentialUsed(event) => &event.person,
        Kind::EntryRefused(event) => &event.person,
        Kind::RecordedManually(event) => &event.person,
        Kind::MarkAmended(event) => &event.person,
        Kind::UnknownFace(_)
        | Kind::DoorChanged(_)
        | Kind::RegisterClosed(_)
        | Kind::ClockAnchor(_)
        | Kind::SettingsApplied(_)
        | Kind::AlarmRaised(_)
        | Kind::LogOpened(_) => return None,
    };
    PersonId::from_name(name).ok()
}

/// What an event's bytes say.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// Its id; `None` when the bytes cannot be read.
    pub event_id: Option<EventId>,
    /// The kind's number in `EventKind`; 0 when this program does not know it.
    pub kind: i64,
    /// Whom it is about.
    pub person_id: Option<PersonId>,
    /// What the terminal's clocks said.
    pub reading: Reading,
    /// The time that somebody says it happened, where that is another than that of its writing; microseconds.
    pub stated_us: Option<i64>,
    /// The true time that it tells of.
    pub anchor: Option<Anchor>,
}

/// Reads an event's bytes.
pub fn derive(bytes: &[u8]) -> Derived {
    let record = v1::EventRecord::decode(bytes).unwrap_or_default();
    let stamp = record.stamp.unwrap_or_default();
    let kind = record.kind.and_then(|kind| kind.kind);
    let stated_us = match &kind {
        Some(Kind::RecordedManually(event)) if event.at_us != 0 => Some(event.at_us),
        _ => None,
    };
    Derived {
        event_id: EventId::try_from(&record.event_id[..]).ok(),
        kind: kind.as_ref().map_or(0, number),
        person_id: kind.as_ref().and_then(person),
        reading: Reading {
            boot_id: stamp.boot_id[..].try_into().unwrap_or_default(),
            boottime_us: stamp.boottime_us,
            wall_us: stamp.wall_us,
            quality: quality(stamp.wall_quality),
        },
        stated_us,
        anchor: kind.as_ref().and_then(anchor),
    }
}

fn anchor(kind: &Kind) -> Option<Anchor> {
    let Kind::ClockAnchor(anchor) = kind else { return None };
    Some(Anchor {
        boot_id: anchor.boot_id[..].try_into().ok()?,
        boottime_us: anchor.boottime_us,
        true_us: anchor.true_us,
        error_us: anchor.error_us.max(0),
    })
}

/// The quality that a number of the contract means; one that is not known counts as never set.
pub fn quality(number: i32) -> Quality {
    match v1::ClockQuality::try_from(number) {
        Ok(v1::ClockQuality::Hub) => Quality::Hub,
        Ok(v1::ClockQuality::Ntp) => Quality::Ntp,
        Ok(v1::ClockQuality::Rtc) => Quality::Rtc,
        Ok(v1::ClockQuality::Saved) => Quality::Saved,
        Ok(v1::ClockQuality::Unset | v1::ClockQuality::Unspecified) | Err(_) => Quality::Unset,
    }
}

/// The quality as the contract has it.
pub fn quality_number(quality: Quality) -> i32 {
    let quality = match quality {
        Quality::Unset => v1::ClockQuality::Unset,
        Quality::Saved => v1::ClockQuality::Saved,
        Quality::Rtc => v1::ClockQuality::Rtc,
        Quality::Ntp => v1::ClockQuality::Ntp,
        Quality::Hub => v1::ClockQuality::Hub,
    };
    quality.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_kind_of_the_contract_has_its_name() {
        let proto = include_str!("../../../proto/rollcall/v1/event.proto");
        let (_, kinds) = proto.split_once("oneof kind {").unwrap();
        let (kinds, _) = kinds.split_once('}').unwrap();
        let fields: Vec<(i64, &str)> = kinds
            .split(';')
            .filter_map(|field| {
                let (field, number) = field.split_once('=')?;
                Some((number.trim().parse().unwrap(), field.split_whitespace().nth(1)?))
            })
            .collect();
        assert_eq!(fields, KINDS);
    }

    #[test]
    fn unreadable_bytes_and_unknown_kinds_are_events_too() {
        for bytes in [&[0xff_u8; 40][..], b"", b"\x1a\x03\xfa\x7f\x00"] {
            assert_eq!(derive(bytes).kind, 0);
        }
    }
}
