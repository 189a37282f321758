//! What a hub tells a terminal to be, and what the terminal says of itself. Pure.
//!
//! [`Pulled`] has one revision over all that is in it. The revision is made of the content (63 bits of its SHA-256), so
//! that every process of a hub gives the same for the same, and a hub that was restored from a backup never gives a
//! revision that the terminal has with something else in it. It does not rise: another one says that there is something
//! to be taken.
//!
//! A terminal reads it part by part, the lockdown first: a part that an older terminal does not understand must not hold
//! up an emergency.

use prost::Message as _;
use rollcall_core::limits;
use rollcall_proto::v1;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::convert::{lockdown_from_proto, lockdown_to_proto, text};
use crate::{Lockdown, Settings, TerminalError};

/// All that a terminal is told: settings, lockdown, and what every terminal of the site is told.
#[derive(Clone)]
pub struct Pulled(v1::PullSettingsResponse);

/// What every terminal of a site is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Site {
    /// The site's name, as the screens show it.
    pub display_name: String,
    /// IANA name of the site's zone. A terminal may be older than the zone.
    pub time_zone: String,
    /// The key of the verifiers of credentials.
    pub credential_key: Zeroizing<[u8; 32]>,
    /// Authorities that certificates are taken from, DER.
    pub authorities: Vec<Vec<u8>>,
    /// Where the hub is reached, host:port, the best first.
    pub addresses: Vec<String>,
    /// Powered hours without an Open after which a terminal forgets the gallery; 0: never.
    pub forget_after_hours: u32,
}

/// What a terminal says of itself, after each Open and each minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How it is.
    pub status: v1::TerminalStatus,
    /// Of what it took last; 0: nothing yet.
    pub settings_revision: i64,
    /// The lockdown in force, where it was asked for at the terminal and the hub has not taken it over.
    pub lockdown_asked_here: Option<Lockdown>,
}

impl Pulled {
    /// This, told together.
    pub fn new(settings: &Settings, lockdown: &Lockdown, site: &Site) -> Self {
        let mut message = v1::PullSettingsResponse {
            revision: 0,
            settings: settings.encode().into(),
            site: Some(site.to_proto()),
            lockdown: Some(lockdown_to_proto(lockdown)),
        };
        let digest = Sha256::digest(message.encode_to_vec());
        let first = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // Positive, and never the 0 of a terminal that has nothing.
        message.revision = i64::try_from(first >> 1).unwrap_or(i64::MAX).max(1);
        Self(message)
    }

    /// Of all of it.
    pub fn revision(&self) -> i64 {
        self.0.revision
    }

    /// Whether the door is locked down, as far as the hub knows.
    ///
    /// # Errors
    /// `FIELD_INVALID`: it is none that could be meant.
    pub fn lockdown(&self) -> Result<Lockdown, TerminalError> {
        lockdown_from_proto(self.0.lockdown.clone().unwrap_or_default())
    }

    /// The hash of the hub's word on the lockdown: when it was asked for, and by whom, is part of it.
    pub(crate) fn lockdown_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.lockdown.clone().unwrap_or_default().encode_to_vec()).into()
    }

    /// What the terminal is to be.
    ///
    /// # Errors
    /// `FIELD_INVALID`: a value is one that this version does not know, or out of its range.
    pub fn settings(&self) -> Result<Settings, TerminalError> {
        Settings::decode(&self.0.settings)
    }

    /// What the site's terminals are told.
    ///
    /// # Errors
    /// `FIELD_INVALID`: it is not there, or a value is out of its range.
    pub fn site(&self) -> Result<Site, TerminalError> {
        Site::from_proto(self.0.site.clone().unwrap_or_default())
    }
}

impl From<v1::PullSettingsResponse> for Pulled {
    fn from(message: v1::PullSettingsResponse) -> Self {
        Self(message)
    }
}

impl From<Pulled> for v1::PullSettingsResponse {
    fn from(pulled: Pulled) -> Self {
        pulled.0
    }
}

impl Site {
    fn to_proto(&self) -> v1::SiteSettings {
        v1::SiteSettings {
            display_name: self.display_name.clone(),
            time_zone: self.time_zone.clone(),
            credential_key: self.credential_key.to_vec().into(),
            authorities: self.authorities.iter().map(|der| der.clone().into()).collect(),
            addresses: self.addresses.clone(),
            forget_after_hours: i32::try_from(self.forget_after_hours).unwrap_or(i32::MAX),
        }
    }

    fn from_proto(site: v1::SiteSettings) -> Result<Self, TerminalError> {
        let wrong = |field, problem: String| TerminalError::Field { field, problem };
        let key = <[u8; 32]>::try_from(&site.credential_key[..])
            .map_err(|_| wrong("credential_key", "has not 32 bytes".to_owned()))?;
        let forget_after_hours = u32::try_from(site.forget_after_hours).map_err(|_| {
            wrong("forget_after_hours", format!("is {}; give 0 or more", site.forget_after_hours))
        })?;
        if site.authorities.is_empty() || site.authorities.len() > limits::AUTHORITIES {
            let problem = format!("are {}; give 1 to {}", site.authorities.len(), limits::AUTHORITIES);
            return Err(wrong("authorities", problem));
        }
        if site.authorities.iter().any(|der| der.is_empty() || der.len() > limits::AUTHORITY_SIZE_BYTES) {
            let problem = format!("have one that is not of 1 to {} bytes", limits::AUTHORITY_SIZE_BYTES);
            return Err(wrong("authorities", problem));
        }
        if site.addresses.len() > limits::HUB_ADDRESSES {
            let problem = format!("are {}; give at most {}", site.addresses.len(), limits::HUB_ADDRESSES);
            return Err(wrong("addresses", problem));
        }
        let address = |address| text("addresses", address, limits::ADDRESS_CHARS);
        Ok(Self {
            display_name: text("display_name", site.display_name, limits::DISPLAY_NAME_CHARS)?,
            time_zone: text("time_zone", site.time_zone, limits::TERMINAL_NAME_CHARS)?,
            credential_key: Zeroizing::new(key),
            authorities: site.authorities.iter().map(|der| der.to_vec()).collect(),
            addresses: site.addresses.into_iter().map(address).collect::<Result<_, _>>()?,
            forget_after_hours,
        })
    }
}

/// Without the key.
impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("display_name", &self.display_name).finish_non_exhaustive()
    }
}

impl From<Report> for v1::ReportStatusRequest {
    fn from(report: Report) -> Self {
        Self {
            status: Some(report.status),
            settings_revision: report.settings_revision,
            lockdown_asked_here: report.lockdown_asked_here.as_ref().map(lockdown_to_proto),
        }
    }
}

impl TryFrom<v1::ReportStatusRequest> for Report {
    type Error = TerminalError;

    /// # Errors
    /// `FIELD_INVALID`: a part is missing, too large, or none that could be meant.
    fn try_from(request: v1::ReportStatusRequest) -> Result<Self, TerminalError> {
        let wrong = |problem: String| TerminalError::Field { field: "status", problem };
        let status = request.status.ok_or_else(|| wrong("is missing".to_owned()))?;
        let (size_bytes, alarms) = (status.encoded_len(), status.alarms.len());
        if size_bytes > limits::STATUS_SIZE_BYTES {
            return Err(wrong(format!("has {size_bytes} bytes; give at most {}", limits::STATUS_SIZE_BYTES)));
        }
        if alarms > limits::STATUS_ALARMS {
            return Err(wrong(format!("has {alarms} alarms; give at most {}", limits::STATUS_ALARMS)));
        }
        let lockdown_asked_here = request.lockdown_asked_here.map(lockdown_from_proto).transpose()?;
        Ok(Self { status, settings_revision: request.settings_revision, lockdown_asked_here })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_core::{Reason, UtcInstant};

    use super::*;

    fn site() -> Site {
        Site {
            display_name: "North School".into(),
            time_zone: "Europe/London".into(),
            credential_key: Zeroizing::new([7; 32]),
            authorities: vec![vec![1, 2, 3]],
            addresses: vec!["hub.local:7443".into()],
            forget_after_hours: 336,
        }
    }

    fn lockdown(is_on: bool, at_us: i64) -> Lockdown {
        Lockdown::asked(is_on, vec![], "tokens/x".into(), UtcInstant::from_micros(at_us)).unwrap()
    }

    #[test]
    fn the_same_has_the_same_revision_and_anything_else_another() {
        let gate = Settings::first("Gate".into());
        let told = Pulled::new(&gate, &lockdown(true, 5), &site());
        assert_eq!(told.revision(), Pulled::new(&gate, &lockdown(true, 5), &site()).revision());
        let keyed = Site { credential_key: Zeroizing::new([8; 32]), ..site() };
        for other in [
            Pulled::new(&Settings::first("Door".into()), &lockdown(true, 5), &site()),
            Pulled::new(&gate, &lockdown(false, 5), &site()),
            Pulled::new(&gate, &lockdown(true, 6), &site()),
            Pulled::new(&gate, &lockdown(true, 5), &keyed),
        ] {
            assert!(other.revision() > 0 && other.revision() != told.revision());
        }
    }

    #[test]
    fn a_terminal_reads_what_its_hub_says() {
        let (gate, locked) = (Settings::first("Gate".into()), lockdown(true, 5));
        let sent = v1::PullSettingsResponse::from(Pulled::new(&gate, &locked, &site()));
        let read = Pulled::from(v1::PullSettingsResponse::decode(&sent.encode_to_vec()[..]).unwrap());
        assert_eq!(read.revision(), sent.revision);
        assert_eq!(
            (read.settings().unwrap(), read.lockdown().unwrap(), read.site().unwrap()),
            (gate, locked, site())
        );
    }

    #[test]
    fn settings_that_a_terminal_does_not_know_hold_no_lockdown_up() {
        let told = Pulled::new(&Settings::first("Gate".into()), &lockdown(true, 5), &site());
        let mut newer = v1::PullSettingsResponse::from(told);
        newer.settings =
            v1::TerminalSettings { without_clock: 9, ..Default::default() }.encode_to_vec().into();
        let newer = Pulled::from(newer);
        assert_eq!(newer.settings().unwrap_err().fault().reason, Reason::FieldInvalid);
        assert!(newer.lockdown().unwrap().is_on);
    }

    #[test]
    fn a_site_out_of_its_range_is_refused_by_name() {
        let good = site().to_proto();
        for (field, wrong) in [
            ("credential_key", v1::SiteSettings { credential_key: vec![1; 31].into(), ..good.clone() }),
            ("authorities", v1::SiteSettings { authorities: vec![], ..good.clone() }),
            ("authorities", v1::SiteSettings { authorities: vec![vec![0; 9_000].into()], ..good.clone() }),
            ("addresses", v1::SiteSettings { addresses: vec!["a\nb".into()], ..good.clone() }),
            ("addresses", v1::SiteSettings { addresses: vec![String::new(); 17], ..good.clone() }),
            ("forget_after_hours", v1::SiteSettings { forget_after_hours: -1, ..good.clone() }),
        ] {
            let fault = Site::from_proto(wrong).unwrap_err().fault();
            assert_eq!(fault.metadata, [("field", field.to_owned())]);
        }
    }

    #[test]
    fn the_key_is_in_no_line_of_the_log() {
        assert!(!format!("{:?}", site()).contains('7'));
    }

    #[test]
    fn a_report_that_is_too_large_is_refused() {
        let report = |status| Report::try_from(v1::ReportStatusRequest { status, ..Default::default() });
        let alarm = |count, chars| vec!["A".repeat(chars); count];
        let status = |alarms| Some(v1::TerminalStatus { alarms, ..Default::default() });
        assert!(report(status(alarm(64, 20))).is_ok());
        for wrong in [None, status(alarm(65, 1)), status(alarm(1, 20_000))] {
            assert_eq!(report(wrong).unwrap_err().fault().reason, Reason::FieldInvalid);
        }
    }
}
