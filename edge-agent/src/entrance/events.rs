//! What the log gets of a passage. Ids and numbers alone.

use rollcall_core::{CredentialId, PersonId};
use rollcall_gallery::decide::{Decision, Outcome};
use rollcall_gallery::{CredentialState, decision_trace};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;

use crate::recognition::{Liveness, Verdict};

/// Why somebody was not let in, as `EntryRefused.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A picture, as far as can be told.
    LivenessFailed,
    /// Nobody's PIN, card or badge.
    CredentialInvalid,
    /// It was ended.
    CredentialRevoked,
    /// The last day of its holder is over.
    Left,
    /// The door is locked down.
    Lockdown,
    /// Their groups may not pass this door.
    NotAllowedHere,
    /// They may, at other times.
    NotNow,
    /// Too many wrong ones before.
    TooManyAttempts,
    /// The decision came too late.
    Stale,
}

impl Refused {
    const fn as_str(self) -> &'static str {
        match self {
            Self::LivenessFailed => "LIVENESS_FAILED",
            Self::CredentialInvalid => "CREDENTIAL_INVALID",
            Self::CredentialRevoked => "CREDENTIAL_REVOKED",
            Self::Left => "LEFT",
            Self::Lockdown => "LOCKDOWN",
            Self::NotAllowedHere => "NOT_ALLOWED_HERE",
            Self::NotNow => "NOT_NOW",
            Self::TooManyAttempts => "TOO_MANY_ATTEMPTS",
            Self::Stale => "STALE",
        }
    }

    /// Why a credential of somebody is not taken; `None`: it is.
    pub const fn of(state: CredentialState) -> Option<Self> {
        match state {
            CredentialState::InForce => None,
            CredentialState::Revoked => Some(Self::CredentialRevoked),
            CredentialState::HolderLeft => Some(Self::Left),
        }
    }
}

/// A person was let in by their face.
pub fn recognised(person: PersonId, direction: v1::Direction, verdict: &Verdict) -> Kind {
    Kind::Recognised(v1::Recognised {
        person: person.name(),
        direction: direction.into(),
        trace: Some(trace(verdict, Outcome::Recognised(person))),
    })
}

/// A face is nobody's, or it cannot be told whose.
pub fn unknown(verdict: &Verdict) -> Kind {
    let outcome = match verdict.outcome {
        Outcome::Ambiguous => v1::Outcome::Ambiguous,
        Outcome::Unusable => v1::Outcome::Unusable,
        Outcome::Unknown | Outcome::Recognised(_) => v1::Outcome::Unknown,
    };
    let trace = trace(verdict, verdict.outcome);
    Kind::UnknownFace(v1::UnknownFace { outcome: outcome.into(), trace: Some(trace) })
}

/// Somebody was let in by PIN, card or badge.
pub fn credential_used(person: PersonId, credential: CredentialId, direction: v1::Direction) -> Kind {
    Kind::CredentialUsed(v1::CredentialUsed {
        person: person.name(),
        credential: format!("{}/{}", person.name(), credential.name()),
        direction: direction.into(),
    })
}

/// Somebody with a face was not let in.
pub fn face_refused(person: Option<PersonId>, reason: Refused, verdict: &Verdict) -> Kind {
    let outcome = person.map_or(Outcome::Unknown, Outcome::Recognised);
    Kind::EntryRefused(v1::EntryRefused { trace: Some(trace(verdict, outcome)), ..refusal(person, reason) })
}

/// Somebody with a credential was not let in.
pub fn credential_refused(person: Option<PersonId>, reason: Refused) -> Kind {
    Kind::EntryRefused(refusal(person, reason))
}

/// The state of the door changed.
pub fn door_changed(state: &str, by: &str) -> Kind {
    Kind::DoorChanged(v1::DoorChanged { state: state.to_owned(), by: by.to_owned() })
}

/// Something needs a human, or is over.
pub fn alarm(name: &str, cleared: bool) -> Kind {
    Kind::AlarmRaised(v1::AlarmRaised { alarm: name.to_owned(), cleared, value: 0 })
}

fn refusal(person: Option<PersonId>, reason: Refused) -> v1::EntryRefused {
    v1::EntryRefused {
        person: person.map(PersonId::name).unwrap_or_default(),
        reason: reason.as_str().to_owned(),
        trace: None,
    }
}

fn trace(verdict: &Verdict, outcome: Outcome) -> v1::DecisionTrace {
    let check = match verdict.liveness {
        Liveness::NotChecked => "NOT_CHECKED",
        Liveness::ChallengePassed => "CHALLENGE_PASSED",
        Liveness::ChallengeFailed => "CHALLENGE_FAILED",
        Liveness::NetworkPassed => "NETWORK_PASSED",
        Liveness::NetworkFailed => "NETWORK_FAILED",
        Liveness::TooManyFailed => "TOO_MANY_FAILED",
    };
    let decided_in = verdict.evidence_at.saturating_duration_since(verdict.first_good_at);
    let decision = Decision { outcome, between: None, trace: verdict.trace.clone() };
    v1::DecisionTrace {
        liveness_check: check.to_owned(),
        decided_in_ms: i32::try_from(decided_in.as_millis()).unwrap_or(i32::MAX),
        ..decision_trace(&decision)
    }
}
