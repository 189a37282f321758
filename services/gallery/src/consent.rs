//! What a consent ledger amounts to.
//!
//! The ledger is a list of lines that are never changed. The last line of each giver is their last word. A refusal or
//! a withdrawal that is somebody's last word wins, the person's own above all; else consent is in force while the days
//! of at least one given consent last. The last day of the person ends it in any case.
//!
//! Days are the site's, first and last included.

use jiff::ToSpan as _;
use rollcall_core::{SiteDay, SiteTime, SiteZone, UtcInstant};

/// What somebody said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for these days.
    Given {
        /// First day; `None`: at once.
        start: Option<SiteDay>,
        /// Last day; `None`: until it is taken back.
        end: Option<SiteDay>,
    },
    /// No.
    Refused,
    /// No longer.
    Withdrawn,
}

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Giver {
    /// The person: one giver, whatever the label on the form.
    Person,
    /// A parent or guardian, told apart by the folded label.
    Guardian(String),
}

/// A line of the ledger, as far as the rule needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who.
    pub giver: Giver,
    /// What.
    pub decision: Decision,
}

/// What a ledger amounts to at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentState {
    /// Nobody has said anything.
    None,
    /// In force.
    Valid,
    /// It begins later.
    NotYet,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Withdrawn,
    /// Somebody refused.
    Refused,
}

impl ConsentState {
    /// In a word, for messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none recorded",
            Self::Valid => "valid",
            Self::NotYet => "not yet in force",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Refused => "refused",
        }
    }
}

/// The state, and how long it stays so when nobody says anything more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the ledger amounts to.
    pub state: ConsentState,
    /// The instant from which on it is another state; `None`: it stays.
    pub until: Option<UtcInstant>,
}

impl Standing {
    /// Whether a face may be used at this moment.
    pub fn allows_face(self) -> bool {
        self.state == ConsentState::Valid
    }
}

/// What `lines`, oldest first, amount to at `now` for somebody whose last day is `leave`.
pub fn standing(lines: &[Line], leave: Option<SiteDay>, zone: &SiteZone, now: UtcInstant) -> Standing {
    let stays = |state| Standing { state, until: None };
    let words = last_words(lines);
    if words.is_empty() {
        return stays(ConsentState::None);
    }
    if let Some(state) = objection(&words) {
        return stays(state);
    }
    let today = zone.day(now);
    if leave.is_some_and(|leave| leave < today) {
        return stays(ConsentState::Expired);
    }
    let spans: Vec<Span> = words.iter().filter_map(|line| Span::of(line.decision)).collect();
    if let Some(last) = last_day(&spans, today) {
        let last = [last, leave].into_iter().flatten().min();
        return Standing {
            state: ConsentState::Valid,
            until: last.and_then(|last| day_after(last)).map(|day| first_moment(zone, day)),
        };
    }
    match spans.iter().map(|span| span.start).filter(|start| *start > today).min() {
        None => stays(ConsentState::Expired),
        // It begins after the last day: that day ends the waiting.
        Some(start) => {
            let left = leave.and_then(day_after);
            let next = left.map_or(start, |left| left.min(start));
            Standing { state: ConsentState::NotYet, until: Some(first_moment(zone, next)) }
        }
    }
}

/// Each giver's last line.
fn last_words(lines: &[Line]) -> Vec<&Line> {
    let mut words: Vec<&Line> = Vec::new();
    for line in lines {
        match words.iter_mut().find(|word| word.giver == line.giver) {
            Some(word) => *word = line,
            None => words.push(line),
        }
    }
    words
}

/// The refusal or withdrawal that counts, if there is one: the person's own, then a refusal, then a withdrawal.
fn objection(words: &[&Line]) -> Option<ConsentState> {
    let state = |line: &&Line| match line.decision {
        Decision::Given { .. } => None,
        Decision::Refused => Some(ConsentState::Refused),
        Decision::Withdrawn => Some(ConsentState::Withdrawn),
    };
    let own = words.iter().filter(|line| line.giver == Giver::Person).find_map(state);
    let any = |wanted| words.iter().filter_map(state).find(|state| *state == wanted);
    own.or_else(|| any(ConsentState::Refused)).or_else(|| any(ConsentState::Withdrawn))
}

/// The days of one given consent.
#[derive(Clone, Copy)]
struct Span {
    start: SiteDay,
    /// `None`: no last day.
    end: Option<SiteDay>,
}

impl Span {
    fn of(decision: Decision) -> Option<Self> {
        match decision {
            Decision::Given { start, end } => Some(Self { start: start.unwrap_or(SiteDay::MIN), end }),
            Decision::Refused | Decision::Withdrawn => None,
        }
    }
}

/// The last day of the unbroken run of days with a consent that `today` is in: `None` when today has none,
/// `Some(None)` when the run has no end.
fn last_day(spans: &[Span], today: SiteDay) -> Option<Option<SiteDay>> {
    let covering = |day: SiteDay| {
        let spans =
            spans.iter().filter(move |span| span.start <= day && span.end.is_none_or(|end| end >= day));
        // The longest of them; no end is longest.
        spans.map(|span| span.end).max_by_key(|end| (end.is_none(), *end))
    };
    let mut last = covering(today)?;
    while let Some(next) = last.and_then(day_after).and_then(covering) {
        last = next;
    }
    Some(last)
}

fn day_after(day: SiteDay) -> Option<SiteDay> {
    day.checked_add(1.day()).ok()
}

fn first_moment(zone: &SiteZone, day: SiteDay) -> UtcInstant {
    zone.instant(day, SiteTime::midnight())
}
