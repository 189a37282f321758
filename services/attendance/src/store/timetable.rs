//! Periods, what operators changed of single sessions, and the site's settings, in `site.db`.
//!
//! Days are text, YYYY-MM-DD, which sorts; times of day are seconds since midnight. A period's row changes in its last
//! day alone, and `version` counts how often: it is the etag.

use std::collections::BTreeMap;

use rollcall_core::{GroupId, Hours, PeriodId, SiteDay, SiteZone, TerminalId, UtcInstant, Weekdays};
use rollcall_store::{Migration, StoreError, Tx, dialect, on};

use crate::codes::CodeSet;
use crate::timetable::{Override, Period, SessionName, day_from_text};

/// The tables.
pub(crate) const MIGRATION: Migration = Migration {
    name: "attendance/0101_timetable",
    sql: "\
create table attendance_period (
    period_id BLOB not null primary key,
    group_id BLOB not null,
    display_name TEXT not null,
    weekdays INTEGER not null,
    start_s INTEGER not null,
    end_s INTEGER not null,
    early_minutes INTEGER not null,
    late_after_minutes INTEGER not null,
    closes_after_minutes INTEGER not null,
    leave_early_minutes INTEGER not null,
    first_day TEXT not null,
    last_day TEXT,
    terminals BLOB not null,
    version INTEGER not null,
    created_us INTEGER not null
) STRICT;
create index attendance_period_group on attendance_period (group_id, period_id);
create table attendance_override (
    period_id BLOB not null references attendance_period (period_id),
    day TEXT not null,
    is_cancelled INTEGER not null check (is_cancelled in (0, 1)),
    start_s INTEGER,
    end_s INTEGER,
    primary key (period_id, day)
) STRICT;
create table attendance_settings (
    one INTEGER not null primary key check (one = 1),
    time_zone TEXT not null,
    code_set INTEGER not null,
    version INTEGER not null
) STRICT;
insert into attendance_settings (one, time_zone, code_set, version) values (1, 'UTC', 1, 1)",
};

/// A period and how often it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPeriod {
    pub(crate) period: Period,
    pub(crate) version: i64,
}

/// What a site has chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) zone: SiteZone,
    pub(crate) code_set: CodeSet,
    pub(crate) version: i64,
}

#[derive(sqlx::FromRow)]
struct PeriodRow {
    period_id: Vec<u8>,
    group_id: Vec<u8>,
    display_name: String,
    weekdays: i64,
    start_s: i64,
    end_s: i64,
    early_minutes: i64,
    late_after_minutes: i64,
    closes_after_minutes: i64,
    leave_early_minutes: i64,
    first_day: String,
    last_day: Option<String>,
    terminals: Vec<u8>,
    version: i64,
}

#[derive(sqlx::FromRow)]
struct OverrideRow {
    day: String,
    is_cancelled: i64,
    start_s: Option<i64>,
    end_s: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct SettingsRow {
    time_zone: String,
    code_set: i64,
    version: i64,
}

pub(super) fn damaged(table: &'static str) -> StoreError {
    StoreError::Damaged {
        place: "of this site".into(),
        detail: format!("a row of {table} does not make sense"),
    }
}

impl PeriodRow {
    fn parse(self) -> Result<StoredPeriod, StoreError> {
        let version = self.version;
        let period = self.period().ok_or_else(|| damaged("attendance_period"))?;
        Ok(StoredPeriod { period, version })
    }

    fn period(self) -> Option<Period> {
        let minutes = |value: i64| u32::try_from(value).ok();
        let last_day = match self.last_day {
            Some(day) => Some(day_from_text(&day)?),
            None => None,
        };
        Some(Period {
            id: PeriodId::try_from(&self.period_id[..]).ok()?,
            display_name: self.display_name,
            group: GroupId::try_from(&self.group_id[..]).ok()?,
            weekdays: Weekdays::from_bits(self.weekdays)?,
            hours: Hours::from_seconds(self.start_s, self.end_s)?,
            early_minutes: minutes(self.early_minutes)?,
            late_after_minutes: minutes(self.late_after_minutes)?,
            closes_after_minutes: minutes(self.closes_after_minutes)?,
            leave_early_minutes: minutes(self.leave_early_minutes)?,
            first_day: day_from_text(&self.first_day)?,
            last_day,
            terminals: self
                .terminals
                .chunks(16)
                .map(|id| TerminalId::try_from(id).ok())
                .collect::<Option<_>>()?,
        })
    }
}

fn code_set(number: i64) -> Option<CodeSet> {
    [CodeSet::Plain, CodeSet::Dfe].into_iter().find(|set| code_set_number(*set) == number)
}

const fn code_set_number(set: CodeSet) -> i64 {
    match set {
        CodeSet::Plain => 1,
        CodeSet::Dfe => 2,
    }
}

/// Adds a period.
pub(crate) async fn insert_period(tx: &mut Tx, period: &Period, now: UtcInstant) -> Result<(), StoreError> {
    let terminals: Vec<u8> = period.terminals.iter().flat_map(|id| id.to_bytes()).collect();
    let (start_s, end_s) = period.hours.seconds();
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_period (period_id, group_id, display_name, weekdays, start_s, end_s,
                early_minutes, late_after_minutes, closes_after_minutes, leave_early_minutes, first_day, last_day,
                terminals, version, created_us)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14)",
        )
        .bind(period.id.as_bytes())
        .bind(period.group.as_bytes())
        .bind(&period.display_name)
        .bind(period.weekdays.bits())
        .bind(start_s)
        .bind(end_s)
        .bind(i64::from(period.early_minutes))
        .bind(i64::from(period.late_after_minutes))
        .bind(i64::from(period.closes_after_minutes))
        .bind(i64::from(period.leave_early_minutes))
        .bind(period.first_day.to_string())
        .bind(period.last_day.map(|day| day.to_string()))
        .bind(terminals)
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// How many periods there are.
pub(crate) async fn count_periods(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select count(*) from attendance_period").fetch_one(connection).await)
}

/// One period; no other transaction changes it until this one ends, when this one writes.
pub(crate) async fn period_to_change(tx: &mut Tx, id: PeriodId) -> Result<Option<StoredPeriod>, StoreError> {
    let select = dialect::for_update(tx, "select * from attendance_period where period_id = $1");
    let row: Option<PeriodRow> =
        on!(tx, connection => sqlx::query_as(select).bind(id.as_bytes()).fetch_optional(connection).await)?;
    row.map(PeriodRow::parse).transpose()
}

/// One period.
pub(crate) async fn period(tx: &mut Tx, id: PeriodId) -> Result<Option<StoredPeriod>, StoreError> {
    let row: Option<PeriodRow> = on!(tx, connection => {
        sqlx::query_as("select * from attendance_period where period_id = $1")
            .bind(id.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    row.map(PeriodRow::parse).transpose()
}

/// At most `limit` periods by id, which is by creation, after `after`: of one group, or all.
pub(crate) async fn periods(
    tx: &mut Tx,
    group: Option<GroupId>,
    after: PeriodId,
    limit: usize,
) -> Result<Vec<StoredPeriod>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<PeriodRow> = match group {
        Some(group) => on!(tx, connection => {
            sqlx::query_as(
                "select * from attendance_period where group_id = $1 and period_id > $2 order by period_id limit $3",
            )
            .bind(group.as_bytes())
            .bind(after.as_bytes())
            .bind(limit)
            .fetch_all(connection)
            .await
        })?,
        None => on!(tx, connection => {
            sqlx::query_as("select * from attendance_period where period_id > $1 order by period_id limit $2")
                .bind(after.as_bytes())
                .bind(limit)
                .fetch_all(connection)
                .await
        })?,
    };
    rows.into_iter().map(PeriodRow::parse).collect()
}

/// The periods of one group, or all, that may have a session on a day from `first` to `last`.
pub(crate) async fn periods_on(
    tx: &mut Tx,
    group: Option<GroupId>,
    first: SiteDay,
    last: SiteDay,
) -> Result<Vec<Period>, StoreError> {
    let (first, last) = (first.to_string(), last.to_string());
    let rows: Vec<PeriodRow> = match group {
        Some(group) => on!(tx, connection => {
            sqlx::query_as(
                "select * from attendance_period
                    where group_id = $1 and first_day <= $2 and (last_day is null or last_day >= $3)
                    order by period_id",
            )
            .bind(group.as_bytes())
            .bind(&last)
            .bind(&first)
            .fetch_all(connection)
            .await
        })?,
        None => on!(tx, connection => {
            sqlx::query_as(
                "select * from attendance_period
                    where first_day <= $1 and (last_day is null or last_day >= $2)
                    order by period_id",
            )
            .bind(&last)
            .bind(&first)
            .fetch_all(connection)
            .await
        })?,
    };
    rows.into_iter().map(|row| row.parse().map(|stored| stored.period)).collect()
}

/// How many periods lie how to a day.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub(crate) struct PeriodsAround {
    /// Over before it.
    pub(crate) ended: i64,
    /// In force on it, whatever the day of the week.
    pub(crate) in_force: i64,
    /// Begin after it.
    pub(crate) to_come: i64,
    /// Have a session on it.
    pub(crate) sessions: i64,
    /// Have a cancelled one.
    pub(crate) cancelled: i64,
}

/// See [`PeriodsAround`].
pub(crate) async fn periods_around(tx: &mut Tx, day: SiteDay) -> Result<PeriodsAround, StoreError> {
    let select = "
        with around as (
            select case when last_day < $1 then 1 else 0 end as ended,
                case when first_day <= $1 and (last_day is null or last_day >= $1) then 1 else 0 end as in_force,
                case when first_day > $1 then 1 else 0 end as to_come,
                case when (weekdays & $2) <> 0 then 1 else 0 end as is_weekday,
                case when exists (select 1 from attendance_override o
                    where o.period_id = p.period_id and o.day = $1 and o.is_cancelled = 1)
                    then 1 else 0 end as is_cancelled
            from attendance_period p
        )
        select cast(coalesce(sum(ended), 0) as BIGINT) as ended,
            cast(coalesce(sum(in_force), 0) as BIGINT) as in_force,
            cast(coalesce(sum(to_come), 0) as BIGINT) as to_come,
            cast(coalesce(sum(in_force * is_weekday), 0) as BIGINT) as sessions,
            cast(coalesce(sum(in_force * is_weekday * is_cancelled), 0) as BIGINT) as cancelled
        from around";
    on!(tx, connection => {
        sqlx::query_as(select)
            .bind(day.to_string())
            .bind(Weekdays::of(day).bits())
            .fetch_one(connection)
            .await
    })
}

/// Sets a period's last day.
pub(crate) async fn set_last_day(tx: &mut Tx, id: PeriodId, day: SiteDay) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update attendance_period set last_day = $1, version = version + 1 where period_id = $2")
            .bind(day.to_string())
            .bind(id.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// What was changed of the sessions of a period from `first` to `last`.
pub(crate) async fn overrides(
    tx: &mut Tx,
    period: PeriodId,
    first: SiteDay,
    last: SiteDay,
) -> Result<BTreeMap<SiteDay, Override>, StoreError> {
    let rows: Vec<OverrideRow> = on!(tx, connection => {
        sqlx::query_as(
            "select day, is_cancelled, start_s, end_s from attendance_override
                where period_id = $1 and day >= $2 and day <= $3",
        )
        .bind(period.as_bytes())
        .bind(first.to_string())
        .bind(last.to_string())
        .fetch_all(connection)
        .await
    })?;
    let parse = |row: OverrideRow| {
        let change = match row.is_cancelled {
            1 => Override::Cancelled,
            _ => Override::Moved(Hours::from_seconds(row.start_s?, row.end_s?)?),
        };
        Some((day_from_text(&row.day)?, change))
    };
    rows.into_iter().map(|row| parse(row).ok_or_else(|| damaged("attendance_override"))).collect()
}

/// Changes a session, or makes it again what the timetable says.
pub(crate) async fn set_override(
    tx: &mut Tx,
    session: SessionName,
    change: Option<Override>,
) -> Result<(), StoreError> {
    let day = session.day.to_string();
    let Some(change) = change else {
        return on!(tx, connection => {
            sqlx::query("delete from attendance_override where period_id = $1 and day = $2")
                .bind(session.period.as_bytes())
                .bind(&day)
                .execute(connection)
                .await
                .map(|_| ())
        });
    };
    let hours = match change {
        Override::Cancelled => None,
        Override::Moved(hours) => Some(hours),
    };
    on!(tx, connection => {
        sqlx::query(
            "insert into attendance_override (period_id, day, is_cancelled, start_s, end_s)
                values ($1, $2, $3, $4, $5)
                on conflict (period_id, day) do update set is_cancelled = excluded.is_cancelled,
                    start_s = excluded.start_s, end_s = excluded.end_s",
        )
        .bind(session.period.as_bytes())
        .bind(&day)
        .bind(i64::from(hours.is_none()))
        .bind(hours.map(|hours| hours.seconds().0))
        .bind(hours.map(|hours| hours.seconds().1))
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// The settings.
pub(crate) async fn settings(tx: &mut Tx) -> Result<Settings, StoreError> {
    let row: SettingsRow = on!(tx, connection => {
        sqlx::query_as("select time_zone, code_set, version from attendance_settings where one = 1")
            .fetch_one(connection)
            .await
    })?;
    let zone = SiteZone::named(&row.time_zone).map_err(|_| damaged("attendance_settings"))?;
    let code_set = code_set(row.code_set).ok_or_else(|| damaged("attendance_settings"))?;
    Ok(Settings { zone, code_set, version: row.version })
}

/// Changes the settings if they have the version that they are given with; says whether they had.
pub(crate) async fn set_settings(tx: &mut Tx, settings: &Settings) -> Result<bool, StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update attendance_settings set time_zone = $1, code_set = $2, version = version + 1
                where one = 1 and version = $3",
        )
        .bind(settings.zone.name())
        .bind(code_set_number(settings.code_set))
        .bind(settings.version)
        .execute(connection)
        .await
        .map(|done| done.rows_affected() == 1)
    })
}
