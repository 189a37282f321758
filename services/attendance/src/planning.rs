//! The timetable and the settings of a site: read and changed.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use rollcall_core::{Fault, GroupId, PeriodId, Reason, SiteDay, SiteZone, UtcInstant, limits, page};
use rollcall_store::requests::{self, RequestId};
use rollcall_store::{Db, StoreError, Tx};

use crate::codes::CodeSet;
use crate::store::registers::{self, Closing};
use crate::store::timetable::{self as store, Settings, StoredPeriod};
use crate::timetable::{Override, Period, Session, SessionName};
use crate::{Attendance, AttendanceError};

/// The request of a creation that may be repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeatable {
    pub(crate) id: Option<RequestId>,
    /// Of the request without its id.
    pub(crate) sha256: [u8; 32],
}

/// What to change of the settings; `None`: nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingsChange {
    pub(crate) zone: Option<SiteZone>,
    pub(crate) code_set: Option<CodeSet>,
}

/// A page of a list, and the token of the next; empty: there is none.
#[derive(Clone, Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_token: String,
}

/// A session, and whether its register is closed.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) session: Session,
    pub(crate) closing: Option<Closing>,
    pub(crate) code_set: CodeSet,
}

pub(crate) fn no_period(id: PeriodId) -> AttendanceError {
    AttendanceError::NotFound(id.name())
}

/// The time zone of a site, from its database.
///
/// # Errors
/// A database that does not answer.
pub async fn zone(site: &Db) -> Result<SiteZone, AttendanceError> {
    Ok(store::settings(&mut site.read().await?).await?.zone)
}

impl Attendance {
    /// The settings.
    pub(crate) async fn settings(&self) -> Result<Settings, AttendanceError> {
        Ok(store::settings(&mut self.site().read().await?).await?)
    }

    /// The site's time zone.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn zone(&self) -> Result<SiteZone, AttendanceError> {
        zone(self.site()).await
    }

    /// Sets the time zone and the codes, where they are given, as `UpdateAttendanceSettings` does.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn configure(
        &self,
        zone: Option<SiteZone>,
        code_set: Option<CodeSet>,
    ) -> Result<(), AttendanceError> {
        self.change_settings(SettingsChange { zone, code_set }, String::new()).await.map(|_| ())
    }

    /// Changes them, when they still have the etag; empty: in any case.
    pub(crate) async fn change_settings(
        &self,
        change: SettingsChange,
        etag: String,
    ) -> Result<Settings, AttendanceError> {
        let this = self.clone();
        let write = async move {
            let mut tx = this.site().write().await?;
            let mut settings = store::settings(&mut tx).await?;
            if !etag.is_empty() && etag != settings.version.to_string() {
                return Err(AttendanceError::Changed("attendance settings".to_owned()));
            }
            settings.zone = change.zone.unwrap_or(settings.zone);
            settings.code_set = change.code_set.unwrap_or(settings.code_set);
            if !store::set_settings(&mut tx, &settings).await? {
                return Err(AttendanceError::Changed("attendance settings".to_owned()));
            }
            tx.commit().await?;
            Ok(Settings { version: settings.version + 1, ..settings })
        };
        self.writes().run(write).await
    }

    /// Adds a period. The one that is given has been checked.
    pub(crate) async fn create_period(
        &self,
        period: Period,
        request: Repeatable,
        now: UtcInstant,
    ) -> Result<StoredPeriod, AttendanceError> {
        const METHOD: &str = "CreatePeriod";
        if self.people().members(period.group, None, 1).await?.is_none() {
            return Err(AttendanceError::NotFound(period.group.name()));
        }
        let this = self.clone();
        let write = async move {
            let mut tx = this.site().write().await?;
            if let Some(id) = request.id
                && let Some(made) = requests::recall(&mut tx, METHOD, id, &request.sha256).await?
            {
                let made = PeriodId::try_from(&made[..])
                    .map_err(|_| AttendanceError::Internal("a request id leads to no period"))?;
                return store::period(&mut tx, made).await?.ok_or_else(|| no_period(made));
            }
            if usize::try_from(store::count_periods(&mut tx).await?)
                .is_ok_and(|count| count >= limits::PERIODS)
            {
                let max = limits::PERIODS;
                return Err(AttendanceError::Full(format!(
                    "the timetable has {max} periods already, which is the most"
                )));
            }
            store::insert_period(&mut tx, &period, now).await?;
            if let Some(id) = request.id {
                requests::remember(&mut tx, METHOD, id, &request.sha256, period.id.as_bytes(), now).await?;
            }
            tx.commit().await?;
            Ok(StoredPeriod { period, version: 1 })
        };
        self.writes().run(write).await
    }

    /// One period.
    pub(crate) async fn period(&self, id: PeriodId) -> Result<StoredPeriod, AttendanceError> {
        store::period(&mut self.site().read().await?, id).await?.ok_or_else(|| no_period(id))
    }

    /// A page of the timetable.
    pub(crate) async fn periods(
        &self,
        group: Option<GroupId>,
        size: usize,
        token: &str,
    ) -> Result<Page<StoredPeriod>, AttendanceError> {
        let request = format!("periods?group={}", group.map(GroupId::name).unwrap_or_default());
        let bad = || Fault::new(Reason::PageTokenInvalid, "page_token is damaged; begin again without one");
        let after = match page::key(&request, token)? {
            Some(key) => PeriodId::try_from(&key[..]).map_err(|_| bad())?,
            None => PeriodId::from_bytes([0; 16]),
        };
        let mut items = store::periods(&mut self.site().read().await?, group, after, size + 1).await?;
        let more = items.len() > size;
        items.truncate(size);
        let last = items.last().filter(|_| more);
        let next_token =
            last.map(|last| page::token(&request, last.period.id.as_bytes())).unwrap_or_default();
        Ok(Page { items, next_token })
    }

    /// Sets a period's last day, when it still has the etag; empty: in any case.
    pub(crate) async fn end_period(
        &self,
        id: PeriodId,
        last_day: SiteDay,
        etag: String,
    ) -> Result<StoredPeriod, AttendanceError> {
        let this = self.clone();
        let write = async move {
            let mut tx = this.site().write().await?;
            let stored = store::period_to_change(&mut tx, id).await?.ok_or_else(|| no_period(id))?;
            if !etag.is_empty() && etag != stored.version.to_string() {
                return Err(AttendanceError::Changed(id.name()));
            }
            let bad = |problem: String| Err(AttendanceError::Field { field: "end_date", problem });
            if last_day < stored.period.first_day {
                return bad("is before the period's first day".to_owned());
            }
            if let Some(closed) = registers::last_closed_day(&mut tx, id).await?.filter(|day| *day > last_day)
            {
                return bad(format!(
                    "is before {closed}, whose register is closed; give that day or a later one"
                ));
            }
            store::set_last_day(&mut tx, id, last_day).await?;
            tx.commit().await?;
            let period = Period { last_day: Some(last_day), ..stored.period };
            Ok(StoredPeriod { period, version: stored.version + 1 })
        };
        self.writes().run(write).await
    }

    /// Changes one session; `None`: it is again as the timetable has it.
    pub(crate) async fn override_session(
        &self,
        name: SessionName,
        change: Option<Override>,
    ) -> Result<Session, AttendanceError> {
        let this = self.clone();
        let write = async move {
            let mut tx = this.site().write().await?;
            let stored = store::period_to_change(&mut tx, name.period).await?;
            let period = stored.ok_or_else(|| no_period(name.period))?.period;
            if registers::closing(&mut tx, name).await?.is_some() {
                return Err(AttendanceError::Forbidden(format!(
                    "the register of {name} is closed; amend its marks"
                )));
            }
            let zone = store::settings(&mut tx).await?.zone;
            let session = period.session(name.day, change.as_ref(), &zone).ok_or_else(|| no_session(name))?;
            store::set_override(&mut tx, name, change).await?;
            tx.commit().await?;
            Ok(session)
        };
        self.writes().run(write).await
    }

    /// The sessions of a day, by start; `None`: of today.
    pub(crate) async fn sessions_on(
        &self,
        day: Option<SiteDay>,
        group: Option<GroupId>,
        now: UtcInstant,
    ) -> Result<Vec<Session>, AttendanceError> {
        let mut tx = self.site().read().await?;
        let zone = store::settings(&mut tx).await?.zone;
        let day = day.unwrap_or_else(|| zone.day(now));
        let mut sessions = Vec::new();
        for period in store::periods_on(&mut tx, group, day, day).await? {
            let overrides = store::overrides(&mut tx, period.id, day, day).await?;
            let name = SessionName { period: period.id, day };
            let closing = registers::closing(&mut tx, name).await?;
            let zone = closing.map_or_else(|| zone.clone(), |closing| closing.zone);
            sessions.extend(period.session(day, overrides.get(&day), &zone));
        }
        sessions.sort_by_key(|session| (session.start, session.name));
        Ok(sessions)
    }

    /// Whether a day is a holiday: the timetable has sessions on it and all are cancelled, or it lies between two terms,
    /// which is to say that no period is in force on it, one has ended before and one begins later. Where there is no
    /// timetable there are no holidays. Reads every period of the timetable: milliseconds.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn is_holiday(&self, day: SiteDay) -> Result<bool, AttendanceError> {
        let seen = store::periods_around(&mut self.site().read().await?, day).await?;
        let is_cancelled = seen.sessions > 0 && seen.cancelled == seen.sessions;
        let is_between = seen.in_force == 0 && seen.ended > 0 && seen.to_come > 0;
        Ok(is_cancelled || is_between)
    }

    /// One session. A closed one is in the zone that it was closed in.
    pub(crate) async fn found(&self, name: SessionName) -> Result<Found, AttendanceError> {
        found(&mut self.site().read().await?, name).await
    }
}

pub(crate) fn no_session(name: SessionName) -> AttendanceError {
    AttendanceError::NotFound(name.to_string())
}

/// One session, as this transaction sees it.
pub(crate) async fn found(tx: &mut Tx, name: SessionName) -> Result<Found, AttendanceError> {
    let settings = store::settings(tx).await?;
    let period = store::period(tx, name.period).await?.ok_or_else(|| no_session(name))?.period;
    let overrides = store::overrides(tx, name.period, name.day, name.day).await?;
    let closing = registers::closing(tx, name).await?;
    let zone = closing.as_ref().map_or(&settings.zone, |closing| &closing.zone);
    let session = period.session(name.day, overrides.get(&name.day), zone).ok_or_else(|| no_session(name))?;
    Ok(Found { session, closing, code_set: settings.code_set })
}

/// The sessions of a period from `first` to `last`, by day, in the site's zone of today.
pub(crate) async fn sessions_of(
    tx: &mut Tx,
    period: &Period,
    first: SiteDay,
    last: SiteDay,
    zone: &SiteZone,
) -> Result<Vec<Session>, StoreError> {
    let overrides: BTreeMap<SiteDay, Override> = store::overrides(tx, period.id, first, last).await?;
    let first = first.max(period.first_day);
    let last = period.last_day.map_or(last, |end| end.min(last));
    let days = first.series(1.day()).take_while(|day| *day <= last);
    Ok(days.filter_map(|day| period.session(day, overrides.get(&day), zone)).collect())
}
