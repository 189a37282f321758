//! A terminal's settings and the rules of changing them. Pure.

use prost::Message as _;
use rollcall_core::{GroupId, limits};
use rollcall_proto::v1::{self, Direction};
use sha2::{Digest as _, Sha256};

use crate::access::check_groups;
use crate::{AccessRule, TerminalError, WithoutClock, convert};

/// What a terminal is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The door's name, 1 to 100 characters.
    pub display_name: String,
    /// Which way people pass it.
    pub direction: Direction,
    /// Whose people may be matched and pass here; empty: everybody's. Groups that do not exist have no people.
    pub groups: Vec<GroupId>,
    /// The false positive identification rate accepted.
    pub fpir_target: f64,
    /// Keep enrolment pictures.
    pub keep_pictures: bool,
    /// When people pass; none: always. See [`crate::access`].
    pub access_rules: Vec<AccessRule>,
    /// What becomes of them while the clock was not set.
    pub without_clock: WithoutClock,
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsField {
    /// `display_name`
    DisplayName,
    /// `direction`
    Direction,
    /// `groups`
    Groups,
    /// `fpir_target`
    FpirTarget,
    /// `keep_pictures`
    KeepPictures,
    /// `access_rules`
    AccessRules,
    /// `without_clock`
    WithoutClock,
}

impl SettingsField {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::DisplayName,
        Self::Direction,
        Self::Groups,
        Self::FpirTarget,
        Self::KeepPictures,
        Self::AccessRules,
        Self::WithoutClock,
    ];

    /// As in an update mask.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Direction => "direction",
            Self::Groups => "groups",
            Self::FpirTarget => "fpir_target",
            Self::KeepPictures => "keep_pictures",
            Self::AccessRules => "access_rules",
            Self::WithoutClock => "without_clock",
        }
    }
}

/// Settings with the number of their change.
#[derive(Clone, Debug, PartialEq)]
pub struct Revised {
    /// The settings.
    pub settings: Settings,
    /// From 1, one more with each change.
    pub revision: i64,
}

impl Revised {
    /// What it changes with.
    pub fn etag(&self) -> String {
        format!("r{}", self.revision)
    }

    /// The hash that the event log keeps: of the settings in the encoding of the contract, fields in their order,
    /// without revision and etag. A setting that a later version adds is not in the encoding while it has its default, so
    /// that what was hashed before has the same hash.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.settings.encode()).into()
    }

    /// These with the fields that `mask` names taken from `wanted`. The same revision when nothing differs.
    ///
    /// # Errors
    /// When `etag` is given and not this one's, or a value is out of its range.
    pub fn updated(
        &self,
        wanted: &Settings,
        mask: &[SettingsField],
        etag: &str,
    ) -> Result<Self, TerminalError> {
        if !etag.is_empty() && etag != self.etag() {
            return Err(TerminalError::EtagMismatch { given: shortened(etag), current: self.etag() });
        }
        let mut settings = self.settings.clone();
        for field in mask {
            match field {
                SettingsField::DisplayName => settings.display_name.clone_from(&wanted.display_name),
                SettingsField::Direction => settings.direction = wanted.direction,
                SettingsField::Groups => settings.groups.clone_from(&wanted.groups),
                SettingsField::FpirTarget => settings.fpir_target = wanted.fpir_target,
                SettingsField::KeepPictures => settings.keep_pictures = wanted.keep_pictures,
                SettingsField::AccessRules => settings.access_rules.clone_from(&wanted.access_rules),
                SettingsField::WithoutClock => settings.without_clock = wanted.without_clock,
            }
        }
        settings.check()?;
        let revision = self.revision.saturating_add(i64::from(settings != self.settings));
        Ok(Self { settings, revision })
    }
}

impl Settings {
    /// What a terminal is told that says nothing of itself: everybody passes in, at any time.
    pub fn first(display_name: String) -> Self {
        Self {
            display_name,
            direction: Direction::In,
            groups: Vec::new(),
            fpir_target: limits::FPIR_TARGET_DEFAULT,
            keep_pictures: false,
            access_rules: Vec::new(),
            without_clock: WithoutClock::default(),
        }
    }

    /// `TerminalSettings` without revision and etag, encoded, as a terminal and its hub tell them each other.
    pub fn encode(&self) -> Vec<u8> {
        convert::settings_to_proto(self).encode_to_vec()
    }

    /// The settings so encoded.
    ///
    /// # Errors
    /// `FIELD_INVALID`: they are none, or a value is out of its range or one that this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, TerminalError> {
        let proto = v1::TerminalSettings::decode(bytes);
        let proto = proto.map_err(|error| TerminalError::Field {
            field: "settings",
            problem: format!("are not TerminalSettings, encoded: {error}"),
        })?;
        let settings = convert::settings_from_proto(proto)?;
        settings.check()?;
        Ok(settings)
    }

    /// # Errors
    /// The first value that is out of its range.
    pub fn check(&self) -> Result<(), TerminalError> {
        let wrong = |field, problem: String| Err(TerminalError::Field { field, problem });
        let chars = self.display_name.chars().count();
        if chars == 0 || chars > limits::TERMINAL_NAME_CHARS {
            return wrong(
                "display_name",
                format!("has {chars} characters; give 1 to {}", limits::TERMINAL_NAME_CHARS),
            );
        }
        if self.display_name.chars().any(char::is_control) {
            return wrong("display_name", "has a control character; leave it out".to_owned());
        }
        if self.direction == Direction::Unspecified {
            return wrong("direction", "is not given; say DIRECTION_IN or DIRECTION_OUT".to_owned());
        }
        check_groups("groups", &self.groups)?;
        if !limits::FPIR_TARGET.contains(&self.fpir_target) {
            let (least, most) = (limits::FPIR_TARGET.start(), limits::FPIR_TARGET.end());
            return wrong("fpir_target", format!("is {}; give {least} to {most}", self.fpir_target));
        }
        let rules = self.access_rules.len();
        if rules > limits::ACCESS_RULES {
            return wrong(
                "access_rules",
                format!("has {rules} rules; give at most {}", limits::ACCESS_RULES),
            );
        }
        self.access_rules.iter().try_for_each(AccessRule::check)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_core::Reason;

    use super::*;

    fn revised() -> Revised {
        let settings = Settings {
            display_name: "Gate A".into(),
            direction: Direction::In,
            groups: Vec::new(),
            fpir_target: 0.001,
            keep_pictures: false,
            access_rules: Vec::new(),
            without_clock: WithoutClock::Allow,
        };
        Revised { settings, revision: 7 }
    }

    #[test]
    fn only_the_fields_of_the_mask_change_and_a_change_is_a_revision() {
        let before = revised();
        let wanted = Settings {
            display_name: "Gate B".into(),
            fpir_target: 0.01,
            keep_pictures: true,
            ..before.settings.clone()
        };
        let after = before.updated(&wanted, &[SettingsField::FpirTarget], "r7").unwrap();
        assert_eq!(after.revision, 8);
        assert_eq!(after.settings, Settings { fpir_target: 0.01, ..before.settings.clone() });
        assert_ne!(after.sha256(), before.sha256());
        let same = after.updated(&wanted, &[SettingsField::FpirTarget], "").unwrap();
        assert_eq!(same, after, "no change is no revision");
    }

    #[test]
    fn an_old_etag_changes_nothing() {
        let error = revised().updated(&revised().settings, &SettingsField::ALL, "r6").unwrap_err();
        assert_eq!(error.fault().reason, Reason::EtagMismatch);
    }

    #[test]
    fn what_one_side_encodes_the_other_reads_and_nothing_else() {
        let settings = revised().settings;
        assert_eq!(Settings::decode(&settings.encode()).unwrap(), settings);
        let wrong = Settings { fpir_target: 1.0, ..settings };
        for bytes in [&b"\xff\xff"[..], b"", &wrong.encode()] {
            assert_eq!(Settings::decode(bytes).unwrap_err().fault().reason, Reason::FieldInvalid);
        }
        assert!(Settings::first("Gate".into()).check().is_ok());
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let good = revised().settings;
        for (field, wrong) in [
            ("display_name", Settings { display_name: String::new(), ..good.clone() }),
            ("display_name", Settings { display_name: "ä".repeat(101), ..good.clone() }),
            ("display_name", Settings { display_name: "a\nb".into(), ..good.clone() }),
            ("direction", Settings { direction: Direction::Unspecified, ..good.clone() }),
            ("groups", Settings { groups: vec![GroupId::generate(); 101], ..good.clone() }),
            ("fpir_target", Settings { fpir_target: 0.0, ..good.clone() }),
            ("fpir_target", Settings { fpir_target: 0.11, ..good.clone() }),
            ("fpir_target", Settings { fpir_target: f64::NAN, ..good.clone() }),
        ] {
            let fault = wrong.check().unwrap_err().fault();
            assert_eq!(fault.metadata, [("field", field.to_owned())], "{}", fault.message);
        }
        assert!(good.check().is_ok());
    }
}
