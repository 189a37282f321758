//! Reports of a site: each person's sessions over some days, counted.
//!
//! One person is read at a time: what closed registers say of them, their passages in the time of sessions that are
//! still open, and their amendments. So a report over a term takes the memory of one person's term, whatever the number
//! of events. Sessions that have not begun are not counted.

use std::collections::{BTreeSet, HashMap};

use rollcall_core::{Fault, GroupId, PeriodId, PersonId, Reason, SiteDay, UtcInstant, limits, page};

use crate::aliases::Aliases;
use crate::codes::CodeSet;
use crate::people::Member;
use crate::planning::{Page, sessions_of};
use crate::register::{self, Amendment, Known};
use crate::report::Counts;
use crate::store::{registers as store, timetable};
use crate::timetable::{Session, SessionName};
use crate::{Attendance, AttendanceError};

/// Whose sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All in which this person was expected.
    Person(PersonId),
    /// Those of this group, for each who is in it now.
    Group(GroupId),
}

/// Of whom and of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportRange {
    subject: Subject,
    first: SiteDay,
    last: SiteDay,
}

impl ReportRange {
    /// The report from `first` to `last`, both included.
    ///
    /// # Errors
    /// When `last` is before `first`, or more than [`limits::REPORT_DAYS`] days are asked for.
    pub fn new(subject: Subject, first: SiteDay, last: SiteDay) -> Result<Self, AttendanceError> {
        let bad = |problem: String| Err(AttendanceError::Field { field: "end_date", problem });
        if last < first {
            return bad("is before start_date".to_owned());
        }
        let days = (last - first).get_days() + 1;
        if days > limits::REPORT_DAYS {
            return bad(format!("makes {days} days; ask for at most {}", limits::REPORT_DAYS));
        }
        Ok(Self { subject, first, last })
    }

    /// The first day.
    pub fn first(&self) -> SiteDay {
        self.first
    }

    /// The last day.
    pub fn last(&self) -> SiteDay {
        self.last
    }
}

/// One person's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    /// Who.
    pub person: PersonId,
    /// The name on lists.
    pub display_name: String,
    /// Their sessions.
    pub counts: Counts,
}

/// What is the same for every person of a report.
struct Plan {
    code_set: CodeSet,
    /// Open sessions that have begun, by opening, and how much of them is known.
    open: Vec<(Session, Known)>,
    /// Of which closed registers count; `None`: all.
    periods: Option<BTreeSet<PeriodId>>,
    /// By which ids people are known.
    aliases: Aliases,
}

impl Attendance {
    /// A page of a report, at most `size` people by display name, and the token of the next page; empty: there is none.
    ///
    /// # Errors
    /// When there is no such person or group, or the token is of another report.
    pub async fn report(
        &self,
        range: ReportRange,
        size: usize,
        token: &str,
        now: UtcInstant,
    ) -> Result<(Vec<ReportRow>, String), AttendanceError> {
        let page = match range.subject {
            Subject::Person(person) => self.report_of_person(person, range, now).await?,
            Subject::Group(group) => self.report_of_group(group, range, size, token, now).await?,
        };
        Ok((page.items, page.next_token))
    }

    async fn report_of_person(
        &self,
        person: PersonId,
        range: ReportRange,
        now: UtcInstant,
    ) -> Result<Page<ReportRow>, AttendanceError> {
        let found = self.people().person(person).await?;
        let (member, groups) = found.ok_or_else(|| AttendanceError::NotFound(person.name()))?;
        let mut plan = Plan {
            code_set: self.settings().await?.code_set,
            open: Vec::new(),
            periods: None,
            aliases: self.aliases().await?,
        };
        for group in groups {
            plan.open.extend(self.plan(group, range, now).await?.open);
        }
        plan.open.sort_by_key(|(session, _)| (session.open, session.name));
        let row = self.row(&plan, range, member).await?;
        Ok(Page { items: vec![row], next_token: String::new() })
    }

    async fn report_of_group(
        &self,
        group: GroupId,
        range: ReportRange,
        size: usize,
        token: &str,
        now: UtcInstant,
    ) -> Result<Page<ReportRow>, AttendanceError> {
        let request = format!("report?group={group}&first={}&last={}", range.first, range.last);
        let after = page::key(&request, token)?.map(|key| page_key(&key)).transpose()?;
        let members = self.people().members(group, after, size + 1).await?;
        let mut members = members.ok_or_else(|| AttendanceError::NotFound(group.name()))?;
        let more = members.len() > size;
        members.truncate(size);
        let next_token = match members.last() {
            Some(last) if more => {
                page::token(&request, &[last.person.as_bytes(), last.display_name.as_bytes()].concat())
            }
            _ => String::new(),
        };
        let plan = Plan { aliases: self.aliases().await?, ..self.plan(group, range, now).await? };
        let mut items = Vec::with_capacity(members.len());
        for member in members {
            items.push(self.row(&plan, range, member).await?);
        }
        Ok(Page { items, next_token })
    }

    async fn plan(
        &self,
        group: GroupId,
        range: ReportRange,
        now: UtcInstant,
    ) -> Result<Plan, AttendanceError> {
        let watermarks = self.doors().watermarks().await?;
        let mut tx = self.site().read().await?;
        let settings = timetable::settings(&mut tx).await?;
        let mut plan = Plan {
            code_set: settings.code_set,
            open: Vec::new(),
            periods: Some(BTreeSet::new()),
            aliases: Aliases::default(),
        };
        for period in timetable::periods_on(&mut tx, Some(group), range.first, range.last).await? {
            let closed = store::closed_days(&mut tx, period.id, range.first, range.last).await?;
            let sessions = sessions_of(&mut tx, &period, range.first, range.last, &settings.zone).await?;
            let begun = sessions.into_iter().filter(|session| session.start <= now);
            for session in begun.filter(|session| !closed.contains(&session.name.day)) {
                let known = Known::of(&session, &watermarks, now);
                plan.open.push((session, known));
            }
            plan.periods.get_or_insert_default().insert(period.id);
        }
        plan.open.sort_by_key(|(session, _)| (session.open, session.name));
        Ok(plan)
    }

    /// Reads one database after the other: whoever held a reader of one and waited for one of the other would, with
    /// as many others, wait for ever where both are one.
    async fn row(
        &self,
        plan: &Plan,
        range: ReportRange,
        member: Member,
    ) -> Result<ReportRow, AttendanceError> {
        let ids = plan.aliases.ids(member.person);
        let mut log = self.log().db().read().await?;
        let amendments = by_session(store::amendments_of(&mut log, &ids).await?);
        let ends = plan.open.iter().map(|(session, _)| session.end).max();
        let passages = match plan.open.first().zip(ends) {
            Some(((first, _), end)) => store::passages_of(&mut log, &ids, first.open, end).await?,
            None => Vec::new(),
        };
        drop(log);
        let mut site = self.site().read().await?;
        let closed = store::lines_of(&mut site, member.person, range.first, range.last).await?;
        drop(site);
        let amended = |name: SessionName| amendments.get(&name).map_or(&[][..], Vec::as_slice);
        let mut counts = Counts::default();
        for line in closed {
            if plan.periods.as_ref().is_none_or(|periods| periods.contains(&line.session.period)) {
                counts.add(register::standing(&line.proposal, amended(line.session)));
            }
        }
        let expects = |session: &Session| member.leave_day.is_none_or(|leave| leave >= session.name.day);
        for (session, known) in plan.open.iter().filter(|(session, _)| expects(session)) {
            let from = passages.partition_point(|passage| passage.time < session.open);
            let to = passages.partition_point(|passage| passage.time < session.end);
            let proposal = register::propose(session, plan.code_set, &passages[from..to], known);
            counts.add(register::standing(&proposal, amended(session.name)));
        }
        Ok(ReportRow { person: member.person, display_name: member.display_name, counts })
    }
}

fn by_session(amendments: Vec<(SessionName, Amendment)>) -> HashMap<SessionName, Vec<Amendment>> {
    let mut sorted: HashMap<SessionName, Vec<Amendment>> = HashMap::new();
    for (session, amendment) in amendments {
        sorted.entry(session).or_default().push(amendment);
    }
    sorted
}

fn page_key(key: &[u8]) -> Result<(String, PersonId), AttendanceError> {
    let parsed = key.split_at_checked(16).and_then(|(person, name)| {
        Some((std::str::from_utf8(name).ok()?.to_owned(), PersonId::try_from(person).ok()?))
    });
    let bad = || Fault::new(Reason::PageTokenInvalid, "page_token is damaged; begin again without one");
    Ok(parsed.ok_or_else(bad)?)
}
