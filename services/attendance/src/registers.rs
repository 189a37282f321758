//! The registers of a site: read, amended, closed. What stands in them is decided in `register.rs`.
//!
//! An open register is made anew from events each time it is asked for. A closed one was made once, by its closing, and
//! stored. Amendments are events in both cases.
//!
//! A closing is an event first, whose id follows from the session's name, and then the stored lines. A crash in between
//! leaves the event; whoever closes next finds it there and makes the lines from what was stored up to it.

use std::collections::{BTreeMap, HashMap};

use jiff::ToSpan as _;
use rollcall_core::{EventId, PersonId, SiteDay, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::StoreError;
use rollcall_store::requests;
use sha2::{Digest as _, Sha256};

use crate::codes::Code;
use crate::people::Member;
use crate::planning::{Found, Repeatable, found, sessions_of};
use crate::register::{self, Amendment, Known, Mark, Passage, Proposal, Visit};
use crate::store::registers::{self as store, Closing};
use crate::store::{events, notes, timetable};
use crate::timetable::{Session, SessionName};
use crate::{Attendance, AttendanceError, NewEvent};

/// Names that are asked for at once.
const NAMES_AT_ONCE: usize = limits::PAGE_SIZE;

/// A register, as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub(crate) session: Session,
    /// By display name.
    pub(crate) lines: Vec<Line>,
    pub(crate) as_of: UtcInstant,
    pub(crate) known: Known,
    pub(crate) closed: Option<UtcInstant>,
}

impl Register {
    /// Whether some mark may still change by itself.
    pub(crate) fn is_provisional(&self) -> bool {
        self.closed.is_none() && !self.known.is_final(&self.session)
    }
}

/// One person in it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) person: PersonId,
    /// Empty: erased.
    pub(crate) display_name: String,
    pub(crate) mark: Mark,
    pub(crate) visit: Visit,
    /// Oldest first.
    pub(crate) amendments: Vec<Amendment>,
    /// The amendments' reasons; none for one that was erased.
    pub(crate) reasons: HashMap<EventId, String>,
}

/// What to set a mark to.
#[derive(Clone, Debug)]
pub(crate) struct NewMark {
    pub(crate) session: SessionName,
    pub(crate) person: PersonId,
    pub(crate) code: String,
    pub(crate) reason: String,
    /// accounts/ID or tokens/ID.
    pub(crate) by: String,
    /// Empty: whatever the line is now.
    pub(crate) etag: String,
}

impl Attendance {
    /// The register of a session.
    pub(crate) async fn register(
        &self,
        name: SessionName,
        now: UtcInstant,
    ) -> Result<Register, AttendanceError> {
        let found = self.found(name).await?;
        let Found { session, closing, code_set } = found;
        let (people, proposals, known) = match &closing {
            Some(_) => {
                let stored = store::lines(&mut self.site().read().await?, name).await?;
                let proposals: HashMap<PersonId, Proposal> =
                    stored.into_iter().map(|line| (line.person, line.proposal)).collect();
                let people = self.names_of(proposals.keys().copied().collect()).await?;
                (people, proposals, Known::all(&session))
            }
            None => {
                let people = self.expected(&session).await?;
                let known = self.known(&session, now).await?;
                let seen = self.seen(&session, people.keys(), i64::MAX).await?;
                let proposals = people.keys().map(|person| {
                    let passages = seen.get(person).map_or(&[][..], Vec::as_slice);
                    (*person, register::propose(&session, code_set, passages, &known))
                });
                let proposals = proposals.collect();
                (people, proposals, known)
            }
        };
        let aliases = self.aliases().await?;
        let mut lines = Vec::with_capacity(people.len());
        for (person, display_name) in people {
            if let Some(proposal) = proposals.get(&person) {
                lines.push(self.line(name, &aliases.ids(person), display_name, *proposal).await?);
            }
        }
        lines.sort_by(|a, b| (&a.display_name, a.person).cmp(&(&b.display_name, b.person)));
        Ok(Register { session, lines, as_of: now, known, closed: closing.map(|closing| closing.closed) })
    }

    /// Sets a mark: the line as it is then. A request that was made before answers with the line as it is now.
    pub(crate) async fn amend(
        &self,
        new: NewMark,
        request: Repeatable,
        now: UtcInstant,
    ) -> Result<Line, AttendanceError> {
        let this = self.clone();
        self.writes().run(async move { this.amend_in_turn(new, request, now).await }).await
    }

    async fn amend_in_turn(
        &self,
        new: NewMark,
        request: Repeatable,
        now: UtcInstant,
    ) -> Result<Line, AttendanceError> {
        const METHOD: &str = "AmendMark";
        let _turn = self.turn().acquire().await.map_err(|_| StoreError::Stopping)?;
        let (line, half) = self.one_line(new.session, new.person, now).await?;
        let mut tx = self.site().write().await?;
        let repeated = match request.id {
            Some(id) => requests::recall(&mut tx, METHOD, id, &request.sha256).await?,
            None => None,
        };
        let event_id = match repeated {
            Some(event_id) => {
                let event_id = EventId::try_from(&event_id[..])
                    .map_err(|_| AttendanceError::Internal("a request id leads to no event"))?;
                // After a crash before the event was written its note has been swept.
                if line.amendments.iter().all(|amendment| amendment.event != event_id)
                    && notes::of_events(&mut tx, &[event_id]).await?.is_empty()
                {
                    notes::insert(&mut tx, event_id, new.person, &new.reason).await?;
                }
                event_id
            }
            None => {
                if !new.etag.is_empty() && new.etag != register::etag(&line.amendments) {
                    let what = format!("the mark of {} in {}", new.person.name(), new.session);
                    return Err(AttendanceError::Changed(what));
                }
                let event_id = EventId::generate();
                notes::insert(&mut tx, event_id, new.person, &new.reason).await?;
                if let Some(id) = request.id {
                    requests::remember(&mut tx, METHOD, id, &request.sha256, event_id.as_bytes(), now)
                        .await?;
                }
                event_id
            }
        };
        let settable = found(&mut tx, new.session).await?.code_set.settable(&new.code, half);
        let code: &Code = settable.ok_or_else(|| AttendanceError::Field {
            field: "code",
            problem: "is not a code that may be set in this session; GetAttendanceSettings lists the codes"
                .to_owned(),
        })?;
        tx.commit().await?;
        let kind = Kind::MarkAmended(v1::MarkAmended {
            session: new.session.to_string(),
            person: new.person.name(),
            old_code: line.mark.code.code.to_owned(),
            new_code: code.code.to_owned(),
            by: new.by,
        });
        // One that is in the log already is not written again.
        self.log().append(NewEvent { event_id, kind }).await?;
        let mut tx = self.site().write().await?;
        notes::settle(&mut tx, event_id).await?;
        tx.commit().await?;
        Ok(self.one_line(new.session, new.person, now).await?.0)
    }

    /// Closes a register, which changes nothing when it is closed. `by` is accounts/ID or tokens/ID; empty: by itself.
    pub(crate) async fn close(
        &self,
        name: SessionName,
        by: String,
        now: UtcInstant,
    ) -> Result<(), AttendanceError> {
        let this = self.clone();
        self.writes().run(async move { this.close_in_turn(name, by, now).await }).await
    }

    async fn close_in_turn(
        &self,
        name: SessionName,
        by: String,
        now: UtcInstant,
    ) -> Result<(), AttendanceError> {
        let _turn = self.turn().acquire().await.map_err(|_| StoreError::Stopping)?;
        let before = self.found(name).await?;
        if before.closing.is_some() {
            return Ok(());
        }
        if now < before.session.end {
            let end = before.session.end;
            return Err(AttendanceError::Forbidden(format!(
                "{name} is not over before {end}; close it then"
            )));
        }
        let event_id = closing_id(name);
        let kind = Kind::RegisterClosed(v1::RegisterClosed { session: name.to_string(), by });
        self.log().append(NewEvent { event_id, kind }).await?;
        let terminal_id = self.log().opened().terminal_id;
        let mut tx = self.log().db().read().await?;
        let written = events::find_of(&mut tx, terminal_id, event_id).await?;
        drop(tx);
        let position = written.ok_or(AttendanceError::Internal("the log has lost an event"))?.position;
        let people = self.expected(&before.session).await?;
        let seen = self.seen(&before.session, people.keys(), position).await?;
        let known = Known::all(&before.session);
        let propose = |person: PersonId| {
            let passages = seen.get(&person).map_or(&[][..], Vec::as_slice);
            (person, register::propose(&before.session, before.code_set, passages, &known))
        };
        let lines: Vec<(PersonId, Proposal)> = people.into_keys().map(propose).collect();
        let mut tx = self.site().write().await?;
        // Another process may have moved the session, or closed it, since it was read.
        timetable::period_to_change(&mut tx, name.period).await?;
        let after = found(&mut tx, name).await?;
        if after.closing.is_some() {
            return Ok(());
        }
        if after.session != before.session {
            return Err(AttendanceError::Changed(name.to_string()));
        }
        let zone = timetable::settings(&mut tx).await?.zone;
        let closing = Closing { session: name, position, closed: now, zone };
        store::insert_closing(&mut tx, &closing, &lines).await?;
        Ok(tx.commit().await?)
    }

    /// Closes the registers of sessions that are over and of which every terminal that counts has reported, oldest
    /// first, at most [`limits::CLOSINGS_AT_ONCE`]: the program calls it every minute. Sessions of more than
    /// [`limits::CLOSING_DAYS`] ago are left to people. Returns how many it closed.
    ///
    /// # Errors
    /// The first that stopped it; what was closed before stays closed.
    pub async fn close_due(&self, now: UtcInstant) -> Result<usize, AttendanceError> {
        let due = self.due(now).await?;
        let mut closed = 0;
        for session in due.into_iter().take(limits::CLOSINGS_AT_ONCE) {
            match self.close(session.name, String::new(), now).await {
                Ok(()) => closed += 1,
                // It was moved since it was found due; a minute later it is due as it is then, or not.
                Err(AttendanceError::Changed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(closed)
    }

    async fn due(&self, now: UtcInstant) -> Result<Vec<Session>, AttendanceError> {
        let watermarks = self.doors().watermarks().await?;
        let mut tx = self.site().read().await?;
        let zone = timetable::settings(&mut tx).await?.zone;
        let last = zone.day(now);
        let first = last.checked_sub(limits::CLOSING_DAYS.days()).unwrap_or(SiteDay::MIN);
        let closed = store::closed_between(&mut tx, first, last).await?;
        let mut due = Vec::new();
        for period in timetable::periods_on(&mut tx, None, first, last).await? {
            let sessions = sessions_of(&mut tx, &period, first, last, &zone).await?;
            due.extend(sessions.into_iter().filter(|session| {
                let over = now >= session.end && !closed.contains(&session.name);
                over && (session.cancelled || Known::of(session, &watermarks, now).waiting_for.is_empty())
            }));
        }
        due.sort_by_key(|session| (session.end, session.name));
        Ok(due)
    }

    /// How much of a session is known.
    async fn known(&self, session: &Session, now: UtcInstant) -> Result<Known, AttendanceError> {
        Ok(Known::of(session, &self.doors().watermarks().await?, now))
    }

    /// Who is expected in a session, with their display names.
    async fn expected(&self, session: &Session) -> Result<BTreeMap<PersonId, String>, AttendanceError> {
        let mut expected = BTreeMap::new();
        let mut after = None;
        loop {
            // A group that was deleted expects nobody.
            let page =
                self.people().members(session.group, after, limits::PAGE_SIZE).await?.unwrap_or_default();
            let Some(last) = page.last() else { return Ok(expected) };
            after = Some((last.display_name.clone(), last.person));
            let expects = |member: &Member| member.leave_day.is_none_or(|leave| leave >= session.name.day);
            expected
                .extend(page.into_iter().filter(expects).map(|member| (member.person, member.display_name)));
        }
    }

    async fn names_of(&self, people: Vec<PersonId>) -> Result<BTreeMap<PersonId, String>, AttendanceError> {
        let mut names: BTreeMap<PersonId, String> =
            people.iter().map(|person| (*person, String::new())).collect();
        for some in people.chunks(NAMES_AT_ONCE) {
            names.extend(self.people().names(some.to_vec()).await?);
        }
        Ok(names)
    }

    /// The passages of these people in a session's time, stored up to `through`.
    async fn seen(
        &self,
        session: &Session,
        people: impl Iterator<Item = &PersonId>,
        through: i64,
    ) -> Result<HashMap<PersonId, Vec<Passage>>, AttendanceError> {
        let mut seen: HashMap<PersonId, Vec<Passage>> = people.map(|person| (*person, Vec::new())).collect();
        let aliases = self.aliases().await?;
        let mut tx = self.log().db().read().await?;
        store::passages(&mut tx, session.open, session.end, through, |id, passage| {
            if let Some(passages) = seen.get_mut(&aliases.person(id)) {
                passages.push(passage);
            }
        })
        .await?;
        Ok(seen)
    }

    /// A person's line, and the half of the day that the session is in.
    async fn one_line(
        &self,
        name: SessionName,
        person: PersonId,
        now: UtcInstant,
    ) -> Result<(Line, crate::timetable::Half), AttendanceError> {
        let Found { session, closing, code_set } = self.found(name).await?;
        let ids = self.ids_of(person).await?;
        let missing = || AttendanceError::NotFound(format!("{} in the register of {name}", person.name()));
        let (display_name, proposal) = match closing {
            Some(_) => {
                let day = name.day;
                let lines = store::lines_of(&mut self.site().read().await?, person, day, day).await?;
                let line = lines.into_iter().find(|line| line.session == name).ok_or_else(missing)?;
                let names = self.names_of(vec![person]).await?;
                (names.into_values().next().unwrap_or_default(), line.proposal)
            }
            None => {
                let (member, groups) = self.people().person(person).await?.ok_or_else(missing)?;
                let expected =
                    groups.contains(&session.group) && member.leave_day.is_none_or(|leave| leave >= name.day);
                if !expected {
                    return Err(missing());
                }
                let known = self.known(&session, now).await?;
                let mut tx = self.log().db().read().await?;
                let passages = store::passages_of(&mut tx, &ids, session.open, session.end).await?;
                (member.display_name, register::propose(&session, code_set, &passages, &known))
            }
        };
        Ok((self.line(name, &ids, display_name, proposal).await?, session.half))
    }

    /// A line, with the amendments that lie over what the doors say. `ids`: the person's, that of today first.
    async fn line(
        &self,
        name: SessionName,
        ids: &[PersonId],
        display_name: String,
        proposal: Proposal,
    ) -> Result<Line, AttendanceError> {
        let person = *ids.first().ok_or(AttendanceError::Internal("a line of nobody"))?;
        let all = store::amendments_of(&mut self.log().db().read().await?, ids).await?;
        let of_session = all.into_iter().filter(|(session, _)| *session == name);
        let amendments = register::in_order(of_session.map(|(_, amendment)| amendment).collect());
        let mut reasons = HashMap::new();
        if !amendments.is_empty() {
            let events: Vec<EventId> = amendments.iter().map(|amendment| amendment.event).collect();
            for (event, note) in notes::of_events(&mut self.site().read().await?, &events).await? {
                reasons.extend(EventId::try_from(&event[..]).map(|event| (event, note)));
            }
        }
        let mark = register::standing(&proposal, &amendments);
        Ok(Line { person, display_name, mark, visit: proposal.visit, amendments, reasons })
    }
}

/// The id of the event that closes a session's register: always the same, so that it is in a log once, and like every
/// event's a UUIDv7. Its time is the session's day.
fn closing_id(name: SessionName) -> EventId {
    let digest = Sha256::digest(format!("rollcall register closed {name}"));
    let mut id: [u8; 16] = std::array::from_fn(|index| digest[index]);
    let midnight = rollcall_core::SiteZone::utc().span(name.day).start;
    let millis = (midnight.micros() / 1_000).to_be_bytes();
    id[..6].copy_from_slice(&millis[2..]);
    id[6] = 0x70 | (id[6] & 0x0f);
    id[8] = 0x80 | (id[8] & 0x3f);
    EventId::from_bytes(id)
}
