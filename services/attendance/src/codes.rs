//! Attendance codes: what may stand in a register, and what it means.
//!
//! Two sets. PLAIN has words. DFE has the codes that schools in England must use from 19 August 2024 (Department for
//! Education, "Working together to improve school attendance"; The School Attendance (Pupil Registration) (England)
//! Regulations 2024, regulation 10). The descriptions are ours and short; the guidance decides what a code is for.
//!
//! A code means one thing: no code is in both sets, so that a mark set under one keeps its meaning after a site has
//! changed to the other.
//!
//! Not here: when somebody is late (`register.rs`).

use crate::timetable::Half;

/// What a mark means, whatever the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Came in time.
    Present,
    /// Came after the late time and before the close.
    Late,
    /// Did not come, and no reason is known.
    Absent,
    /// Came, and left before the end.
    LeftEarly,
    /// Absent with a reason that the school accepts.
    AuthorisedAbsence,
    /// Absent with a reason that it does not accept.
    UnauthorisedAbsence,
    /// At an approved activity elsewhere.
    Elsewhere,
    /// Not counted.
    NotRequired,
    /// It will be seen.
    NotYetKnown,
}

/// What the doors tell of a person and a session: all that a machine may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Here at the start, or came before the late time.
    OnTime,
    /// The same, and left early.
    LeftEarly,
    /// Came from the late time on and before the close.
    Late,
    /// Came from the close on.
    AfterClose,
    /// Did not come.
    NotSeen,
    /// May still come, or may have: not every door has reported.
    NotYetKnown,
    /// There was nothing to come to.
    Cancelled,
}

/// One code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// As it stands in the register.
    pub code: &'static str,
    /// What it means.
    pub state: State,
    /// What it means, in words.
    pub description: &'static str,
    /// Whether a person may set it.
    pub settable: bool,
}

/// The codes that a site uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSet {
    /// Words.
    Plain,
    /// The Department for Education's.
    Dfe,
}

const fn code(code: &'static str, state: State, description: &'static str) -> Code {
    Code { code, state, description, settable: true }
}

const fn machine_only(code: &'static str, state: State, description: &'static str) -> Code {
    Code { code, state, description, settable: false }
}

const PLAIN: &[Code] = &[
    code("present", State::Present, "Came in time"),
    code("late", State::Late, "Came late"),
    code("left_early", State::LeftEarly, "Left before the end"),
    code("absent", State::Absent, "Did not come, or came too late to be counted"),
    code("excused", State::AuthorisedAbsence, "Absent with an accepted reason"),
    code("unexcused", State::UnauthorisedAbsence, "Absent with a reason that is not accepted"),
    code("elsewhere", State::Elsewhere, "At an approved activity elsewhere"),
    code("not_required", State::NotRequired, "Not expected, or nothing took place"),
    machine_only("unknown", State::NotYetKnown, "Not known yet"),
];

const DFE: &[Code] = &[
    code("/", State::Present, "Present in the morning"),
    code("\\", State::Present, "Present in the afternoon"),
    code("L", State::Late, "Came late, before the register closed"),
    code("K", State::Elsewhere, "At provision that the local authority arranged"),
    code("V", State::Elsewhere, "On a school trip or visit"),
    code("P", State::Elsewhere, "At an approved sport"),
    code("W", State::Elsewhere, "On work experience"),
    code("B", State::Elsewhere, "At another approved educational activity"),
    code("D", State::NotRequired, "At the other school where the pupil is registered too"),
    code("C1", State::AuthorisedAbsence, "On leave for a regulated performance or for work abroad"),
    code("M", State::AuthorisedAbsence, "At a medical or dental appointment"),
    code("J1", State::AuthorisedAbsence, "At an interview for a job or for a place elsewhere"),
    code("S", State::AuthorisedAbsence, "On study leave for a public examination"),
    code("X", State::NotRequired, "Below or above school age and not expected"),
    code("C2", State::AuthorisedAbsence, "Not timetabled: on a part-time timetable for now"),
    code("C", State::AuthorisedAbsence, "On leave granted for an exceptional circumstance"),
    code("T", State::AuthorisedAbsence, "Travelling with a parent whose trade asks for it"),
    code("R", State::AuthorisedAbsence, "Observing a religious day"),
    code("I", State::AuthorisedAbsence, "Ill"),
    code("E", State::AuthorisedAbsence, "Suspended or excluded, with no other provision"),
    code(
        "Q",
        State::NotRequired,
        "Kept away: the authority owes transport or access and has not arranged it",
    ),
    code("Y1", State::NotRequired, "Kept away: the usual arranged transport did not run"),
    code("Y2", State::NotRequired, "Kept away: travel was widely disrupted"),
    code("Y3", State::NotRequired, "Kept away: a part of the site was closed"),
    code("Y4", State::NotRequired, "Kept away: the whole site closed unexpectedly"),
    code("Y5", State::NotRequired, "Kept away: in custody or detention"),
    code("Y6", State::NotRequired, "Kept away: by law or guidance on public health"),
    code("Y7", State::NotRequired, "Kept away: by another cause that could not be avoided"),
    code("G", State::UnauthorisedAbsence, "On a holiday that the school did not allow"),
    code("N", State::Absent, "Absent, reason not known yet"),
    code("O", State::UnauthorisedAbsence, "Absent without a reason that counts"),
    code("U", State::UnauthorisedAbsence, "Came after the register closed"),
    code("Z", State::NotRequired, "Not on the admission register yet"),
    code("#", State::NotRequired, "School closed to all as planned"),
    // Not the Department's: what the register shows until there is something to put there.
    machine_only("?", State::NotYetKnown, "Not known yet"),
];

impl CodeSet {
    /// Every code, in the order in which reports count them.
    pub const fn all(self) -> &'static [Code] {
        match self {
            Self::Plain => PLAIN,
            Self::Dfe => DFE,
        }
    }

    /// The code that a machine proposes. A person's code stands above it always.
    pub fn proposed(self, finding: Finding, half: Half) -> &'static Code {
        let code = match (self, finding) {
            (Self::Plain, Finding::OnTime) => "present",
            (Self::Plain, Finding::LeftEarly) => "left_early",
            (Self::Plain, Finding::Late) => "late",
            (Self::Plain, Finding::AfterClose | Finding::NotSeen) => "absent",
            (Self::Plain, Finding::NotYetKnown) => "unknown",
            (Self::Plain, Finding::Cancelled) => "not_required",
            // Whoever was there when the register was taken was there; the Department has no code for leaving.
            (Self::Dfe, Finding::OnTime | Finding::LeftEarly) => present(half),
            (Self::Dfe, Finding::Late) => "L",
            (Self::Dfe, Finding::AfterClose) => "U",
            (Self::Dfe, Finding::NotSeen) => "N",
            (Self::Dfe, Finding::NotYetKnown) => "?",
            (Self::Dfe, Finding::Cancelled) => "#",
        };
        // Every word above is in its set: `every_finding_has_a_code`.
        find(code).unwrap_or(&PLAIN[PLAIN.len() - 1])
    }

    /// The code, when a person may set it in a session of this half of the day.
    pub fn settable(self, code: &str, half: Half) -> Option<&'static Code> {
        let found = self.all().iter().find(|known| known.code == code && known.settable)?;
        let wrong_half = ["/", "\\"].contains(&code) && code != present(half);
        (!wrong_half).then_some(found)
    }
}

const fn present(half: Half) -> &'static str {
    match half {
        Half::Morning => "/",
        Half::Afternoon => "\\",
    }
}

/// The code of either set: what was set stays readable after the site has changed its set.
pub fn find(code: &str) -> Option<&'static Code> {
    PLAIN.iter().chain(DFE).find(|known| known.code == code)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::HashSet;

    use super::*;

    const FINDINGS: [Finding; 7] = [
        Finding::OnTime,
        Finding::LeftEarly,
        Finding::Late,
        Finding::AfterClose,
        Finding::NotSeen,
        Finding::NotYetKnown,
        Finding::Cancelled,
    ];

    #[test]
    fn a_code_means_one_thing() {
        let codes: HashSet<&str> = PLAIN.iter().chain(DFE).map(|code| code.code).collect();
        assert_eq!(codes.len(), PLAIN.len() + DFE.len());
    }

    #[test]
    fn the_set_of_the_department_is_that_of_august_2024() {
        let theirs: HashSet<&str> =
            "/ \\ L K V P W B D C1 M J1 S X C2 C T R I E Q Y1 Y2 Y3 Y4 Y5 Y6 Y7 G N O U Z #"
                .split(' ')
                .collect();
        let ours: HashSet<&str> = DFE.iter().filter(|code| code.settable).map(|code| code.code).collect();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn every_finding_has_a_code() {
        for set in [CodeSet::Plain, CodeSet::Dfe] {
            for half in [Half::Morning, Half::Afternoon] {
                for finding in FINDINGS {
                    let code = set.proposed(finding, half);
                    assert!(set.all().contains(code), "{set:?} {finding:?}");
                    let open = finding == Finding::NotYetKnown;
                    assert_eq!(code.state == State::NotYetKnown, open, "{set:?} {finding:?}");
                }
            }
        }
    }

    #[test]
    fn morning_and_afternoon_have_their_own_stroke() {
        assert_eq!(CodeSet::Dfe.proposed(Finding::OnTime, Half::Morning).code, "/");
        assert_eq!(CodeSet::Dfe.proposed(Finding::OnTime, Half::Afternoon).code, "\\");
        assert_eq!(CodeSet::Dfe.settable("\\", Half::Morning), None);
        assert_eq!(CodeSet::Dfe.settable("/", Half::Morning).unwrap().state, State::Present);
    }

    #[test]
    fn a_machine_never_says_why_somebody_is_away() {
        for finding in FINDINGS {
            let state = CodeSet::Dfe.proposed(finding, Half::Morning).state;
            assert!(![State::AuthorisedAbsence, State::Elsewhere].contains(&state), "{finding:?}");
        }
    }

    #[test]
    fn a_person_sets_codes_of_the_site_alone_and_never_what_is_not_known() {
        assert_eq!(CodeSet::Plain.settable("L", Half::Morning), None);
        assert_eq!(CodeSet::Dfe.settable("late", Half::Morning), None);
        assert_eq!(CodeSet::Dfe.settable("?", Half::Morning), None);
        assert_eq!(CodeSet::Plain.settable("unknown", Half::Morning), None);
        for wrong in ["", "l", "L ", "' or 1=1 --", "\u{ff0f}"] {
            assert_eq!(CodeSet::Dfe.settable(wrong, Half::Morning), None, "{wrong}");
        }
    }

    #[test]
    fn a_register_is_no_formula() {
        // A spreadsheet takes a cell that begins with these for one; a code that did would be written with a quote.
        for code in PLAIN.iter().chain(DFE) {
            assert!(!code.code.starts_with(['=', '+', '-', '@']), "{}", code.code);
        }
    }
}
