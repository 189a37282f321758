//! What a consent ledger amounts to.
//!
//! The ledger is a list of lines that are never changed. The last line of each giver is their last word. A refusal or
//! a withdrawal that is somebody's last word wins, the person's own above all; else consent is in force while the days
//! of at least one given consent last. The last day of the person ends it in any case.
//!
//! Days are the site's, first and last included.

use jiff::ToSpan as _;
use rollcall_core::{ConsentId, SiteDay, SiteTime, SiteZone, UtcInstant, limits};

use crate::{GalleryError, text};

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
pub(crate) enum Giver {
    /// The person: one giver, whatever the label on the form.
    Person,
    /// A parent or guardian, told apart by the folded label.
    Guardian(String),
}

/// A line of the ledger, as far as the rule needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Who.
    pub(crate) giver: Giver,
    /// What.
    pub(crate) decision: Decision,
}

/// A line as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Which.
    pub id: ConsentId,
    /// What was said, by whom and on what form.
    pub said: Said,
    /// When the line was written.
    pub recorded: UtcInstant,
    /// By which account or token.
    pub recorded_by: String,
}

/// What a new line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub decision: Decision,
    /// Whether it is the person's own word; else a guardian's.
    pub by: GiverKind,
    /// Who that is, as written.
    pub giver_label: String,
    /// The form that was signed.
    pub form: String,
}

/// Whose word it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiverKind {
    /// The person's own.
    Person,
    /// A parent's or guardian's.
    Guardian,
}

impl Said {
    /// The same, if it can be stored.
    ///
    /// # Errors
    /// A text that is too long or has several lines; days in the wrong order.
    pub(crate) fn checked(self) -> Result<Self, GalleryError> {
        text::optional_line("consent.giver_label", &self.giver_label, limits::CONSENT_TEXT_CHARS)?;
        text::optional_line("consent.form", &self.form, limits::CONSENT_TEXT_CHARS)?;
        if let Decision::Given { start: Some(start), end: Some(end) } = self.decision
            && end < start
        {
            return Err(GalleryError::invalid("consent.end_date", "is before start_date"));
        }
        Ok(self)
    }

    /// The line that the rule sees.
    pub(crate) fn line(&self) -> Line {
        let giver = match self.by {
            GiverKind::Person => Giver::Person,
            GiverKind::Guardian => Giver::Guardian(text::folded(self.giver_label.trim())),
        };
        Line { giver, decision: self.decision }
    }
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
pub(crate) fn standing(lines: &[Line], leave: Option<SiteDay>, zone: &SiteZone, now: UtcInstant) -> Standing {
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
            until: last.and_then(day_after).map(|day| first_moment(zone, day)),
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

/// What is known of the consent of a hub's person, whose ledger is there: they have templates here while it is in force.
pub(crate) fn told(has_templates: bool, until: Option<UtcInstant>, now: UtcInstant) -> ConsentState {
    match has_templates && until.is_none_or(|until| now < until) {
        true => ConsentState::Valid,
        false => ConsentState::None,
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

/// The first moment at which a last day is over.
pub(crate) fn end_of(zone: &SiteZone, last: SiteDay) -> UtcInstant {
    day_after(last).map_or(UtcInstant::from_micros(i64::MAX), |day| first_moment(zone, day))
}

fn first_moment(zone: &SiteZone, day: SiteDay) -> UtcInstant {
    zone.instant(day, SiteTime::midnight())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    const TODAY: SiteDay = date(2026, 11, 24);

    fn zone() -> SiteZone {
        SiteZone::named("Asia/Ho_Chi_Minh").unwrap()
    }

    /// Noon of a day.
    fn noon(day: SiteDay) -> UtcInstant {
        zone().instant(day, SiteTime::midnight()).after(std::time::Duration::from_secs(12 * 3_600))
    }

    fn day(offset: i64) -> SiteDay {
        TODAY.checked_add(offset.days()).unwrap()
    }

    fn own(decision: Decision) -> Line {
        Line { giver: Giver::Person, decision }
    }

    fn by(label: &str, decision: Decision) -> Line {
        Line { giver: Giver::Guardian(label.to_owned()), decision }
    }

    const GIVEN: Decision = Decision::Given { start: None, end: None };

    fn from(start: i64) -> Decision {
        Decision::Given { start: Some(day(start)), end: None }
    }

    fn between(start: i64, end: i64) -> Decision {
        Decision::Given { start: Some(day(start)), end: Some(day(end)) }
    }

    fn at(lines: &[Line], leave: Option<SiteDay>, now: SiteDay) -> Standing {
        standing(lines, leave, &zone(), noon(now))
    }

    #[test]
    fn the_ledger_amounts_to_what_the_last_words_say() {
        use ConsentState::*;
        use Decision::{Refused as No, Withdrawn as Back};
        // Lines, what they amount to today, and the day on which that ends.
        let cases: &[(&[Line], ConsentState, Option<i64>)] = &[
            (&[], None, Option::None),
            (&[own(GIVEN)], Valid, Option::None),
            (&[by("mother", GIVEN)], Valid, Option::None),
            (&[own(No)], Refused, Option::None),
            (&[own(GIVEN), own(Back)], Withdrawn, Option::None),
            (&[own(No), own(GIVEN)], Valid, Option::None),
            // Nobody outvotes a refusal, and a yes does not undo another's no.
            (&[own(No), by("mother", GIVEN), by("father", GIVEN)], Refused, Option::None),
            (&[by("mother", GIVEN), by("father", No)], Refused, Option::None),
            (&[by("father", No), by("mother", GIVEN)], Refused, Option::None),
            (&[by("father", No), by("father", GIVEN)], Valid, Option::None),
            (&[by("father", GIVEN), by("father", Back), by("mother", GIVEN)], Withdrawn, Option::None),
            // The person's own word is the one shown.
            (&[own(Back), by("father", No)], Withdrawn, Option::None),
            (&[by("father", Back), by("mother", No)], Refused, Option::None),
            // Days, first and last included.
            (&[own(between(0, 0))], Valid, Some(1)),
            (&[own(between(-5, 10))], Valid, Some(11)),
            (&[own(between(-5, -1))], Expired, Option::None),
            (&[own(from(1))], NotYet, Some(1)),
            (&[own(from(-1))], Valid, Option::None),
            // A newer yes replaces the older one of the same giver.
            (&[own(GIVEN), own(from(3))], NotYet, Some(3)),
            // Several: as long as one of them lasts, without a gap.
            (&[by("mother", between(-5, 3)), by("father", between(2, 9))], Valid, Some(10)),
            (&[by("mother", between(-5, 3)), by("father", between(4, 9))], Valid, Some(10)),
            (&[by("mother", between(-5, 3)), by("father", between(5, 9))], Valid, Some(4)),
            (&[by("mother", between(-5, 3)), by("father", GIVEN)], Valid, Option::None),
            (&[by("mother", between(-5, -3)), by("father", from(7)), own(from(5))], NotYet, Some(5)),
        ];
        for (lines, state, end) in cases {
            let until = end.map(|end| zone().instant(day(end), SiteTime::midnight()));
            assert_eq!(at(lines, Option::None, TODAY), Standing { state: *state, until }, "{lines:?}");
        }
    }

    #[test]
    fn the_last_day_of_the_person_ends_consent() {
        let start_of = |offset| Some(zone().instant(day(offset), SiteTime::midnight()));
        let valid = |until| Standing { state: ConsentState::Valid, until };
        let expired = Standing { state: ConsentState::Expired, until: None };
        assert_eq!(at(&[own(GIVEN)], Some(TODAY), TODAY), valid(start_of(1)));
        assert_eq!(at(&[own(GIVEN)], Some(day(-1)), TODAY), expired);
        assert_eq!(at(&[own(between(-1, 3))], Some(day(9)), TODAY), valid(start_of(4)));
        assert_eq!(at(&[own(between(-1, 9))], Some(day(3)), TODAY), valid(start_of(4)));
        let waiting = Standing { state: ConsentState::NotYet, until: start_of(3) };
        assert_eq!(at(&[own(from(5))], Some(day(2)), TODAY), waiting);
        assert_eq!(at(&[own(Decision::Refused)], Some(day(-1)), TODAY).state, ConsentState::Refused);
    }

    #[test]
    fn a_day_of_consent_is_the_sites_day() {
        let zone = zone();
        let span = zone.span(TODAY);
        let lines = [own(between(0, 0))];
        let state = |now| standing(&lines, None, &zone, now).state;
        let tick = std::time::Duration::from_micros(1);
        assert_eq!(state(span.start.before(tick)), ConsentState::NotYet);
        assert_eq!(state(span.start), ConsentState::Valid);
        assert_eq!(state(span.end.before(tick)), ConsentState::Valid);
        assert_eq!(state(span.end), ConsentState::Expired);
    }

    fn decisions() -> impl Strategy<Value = Decision> {
        let days = (prop::option::of(-6_i64..6), prop::option::of(0_i64..6));
        let given = days.prop_map(|(start, length)| {
            let end = length.map(|length| day(start.unwrap_or(-6) + length));
            Decision::Given { start: start.map(day), end }
        });
        prop_oneof![4 => given, 1 => Just(Decision::Refused), 1 => Just(Decision::Withdrawn)]
    }

    fn ledgers() -> impl Strategy<Value = Vec<Line>> {
        let giver = prop_oneof![
            Just(Giver::Person),
            Just(Giver::Guardian("mother".into())),
            Just(Giver::Guardian("father".into()))
        ];
        prop::collection::vec((giver, decisions()), 0..7)
            .prop_map(|lines| lines.into_iter().map(|(giver, decision)| Line { giver, decision }).collect())
    }

    proptest! {
        #[test]
        fn a_no_that_is_a_last_word_is_never_outvoted(mut lines in ledgers(), no in any::<bool>(), later in ledgers()) {
            let giver = Giver::Guardian("objector".into());
            lines.push(Line { giver, decision: if no { Decision::Refused } else { Decision::Withdrawn } });
            lines.extend(later);
            prop_assert!(!at(&lines, None, TODAY).allows_face());
        }

        #[test]
        fn nothing_is_valid_without_a_yes(lines in ledgers()) {
            let lines: Vec<Line> =
                lines.into_iter().filter(|line| !matches!(line.decision, Decision::Given { .. })).collect();
            prop_assert!(!at(&lines, None, TODAY).allows_face());
        }

        #[test]
        fn a_state_lasts_until_the_instant_told_and_no_longer(
            lines in ledgers(),
            leave in prop::option::of(-3_i64..8),
        ) {
            let zone = zone();
            let leave = leave.map(day);
            let now = noon(TODAY);
            let told = standing(&lines, leave, &zone, now);
            for offset in 0..20 {
                let span = zone.span(day(offset));
                let now = span.start.max(now);
                let then = standing(&lines, leave, &zone, now);
                match told.until {
                    Some(until) if now >= until => {
                        if now == until {
                            prop_assert_ne!(then.state, told.state);
                        }
                    }
                    _ => prop_assert_eq!(then, told),
                }
            }
        }
    }
}
