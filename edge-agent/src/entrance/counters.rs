//! What comes to pass at the door, as metrics: numbers alone.

use metrics::counter;
use rollcall_attendance::Logged;
use rollcall_gallery::decide::Outcome;

use super::rules::Pass;
use crate::recognition::{Liveness, Verdict};

/// Says what the metrics are; once, when the recorder is there.
pub fn describe() {
    metrics::describe_counter!("rollcall_verdicts_total", "Passages of faces that were decided, by outcome.");
    metrics::describe_counter!(
        "rollcall_door_openings_total",
        "Times that the door was opened for somebody."
    );
    metrics::describe_counter!(
        "rollcall_log_pending_total",
        "Events of the door that the disk took longer over than somebody at a door can wait."
    );
}

/// One more passage.
pub fn verdict(verdict: &Verdict) {
    let outcome = match (verdict.liveness, verdict.outcome) {
        (Liveness::ChallengeFailed | Liveness::NetworkFailed, _) => "liveness_failed",
        (Liveness::TooManyFailed, _) => "too_many_attempts",
        (_, Outcome::Recognised(_)) => "recognised",
        (_, Outcome::Unknown) => "unknown",
        (_, Outcome::Ambiguous) => "ambiguous",
        (_, Outcome::Unusable) => "unusable",
    };
    counter!("rollcall_verdicts_total", "outcome" => outcome).increment(1);
}

/// The door was opened.
pub fn opening(pass: Pass) {
    let pass = match pass {
        Pass::Ordinary => "ordinary",
        Pass::Exempt => "exempt",
    };
    counter!("rollcall_door_openings_total", "pass" => pass).increment(1);
}

/// An event was given to the log.
pub fn logged(logged: &Logged) {
    if matches!(logged, Logged::Pending) {
        counter!("rollcall_log_pending_total").increment(1);
    }
}
