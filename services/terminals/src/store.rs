//! The tables of this service: who this terminal is, its settings with the rules of its door, its lockdown, what its hub
//! last said, and what the configuration file last said. A hub has settings and lockdown of each of its terminals in the
//! same tables; what it knows of them besides is in `fleet` and `commands`.

pub(crate) mod commands;
pub(crate) mod fleet;

pub(crate) mod adoption;

use rollcall_core::{GroupId, Hours, TerminalId, UtcInstant, Weekdays};
use rollcall_proto::v1::Direction;
use rollcall_store::{Migration, StoreError, Tx, dialect, on};

use crate::configured::Configured;
use crate::lockdown::Origin;
use crate::{AccessRule, Lockdown, Revised, Settings, TerminalError, WithoutClock};

/// The tables, as they came to be.
pub const MIGRATIONS: &[Migration] = &[SETTINGS, ACCESS, HUB];

const SETTINGS: Migration = Migration {
    name: "terminals/0001_settings",
    sql: "
        create table terminal_self (
            one INTEGER primary key check (one = 1),
            terminal_id BLOB not null check (length(terminal_id) = 16),
            hardware_id TEXT not null,
            create_time_us INTEGER not null
        ) STRICT;
        create table terminal_settings (
            terminal_id BLOB primary key,
            revision INTEGER not null check (revision >= 1),
            announced_revision INTEGER not null check (announced_revision <= revision),
            display_name TEXT not null,
            direction INTEGER not null,
            groups BLOB not null check (length(groups) % 16 = 0),
            fpir_target REAL not null,
            keep_pictures INTEGER not null check (keep_pictures in (0, 1)),
            changed_by TEXT not null,
            change_time_us INTEGER not null
        ) STRICT;
        create table terminal_configured (
            key TEXT primary key,
            value TEXT not null
        ) STRICT;
    ",
};

/// `without_clock` is 0 for allow and 1 for refuse.
const ACCESS: Migration = Migration {
    name: "terminals/0002_access",
    sql: "
        alter table terminal_settings add column without_clock INTEGER not null default 0;
        create table terminal_access_rule (
            terminal_id BLOB not null references terminal_settings (terminal_id),
            position INTEGER not null,
            groups BLOB not null check (length(groups) % 16 = 0),
            weekdays INTEGER not null,
            start_s INTEGER not null,
            end_s INTEGER not null,
            on_holidays INTEGER not null check (on_holidays in (0, 1)),
            primary key (terminal_id, position)
        ) STRICT;
        create table terminal_lockdown (
            terminal_id BLOB primary key,
            is_on INTEGER not null check (is_on in (0, 1)),
            exempt_groups BLOB not null check (length(exempt_groups) % 16 = 0),
            since_us INTEGER not null,
            asked_by TEXT not null,
            is_announced INTEGER not null check (is_announced in (0, 1))
        ) STRICT;
    ",
};

/// What a terminal's hub last said: all of it by its revision, and its word on the lockdown by its hash.
const HUB: Migration = Migration {
    name: "terminals/0003_hub",
    sql: "
        alter table terminal_lockdown add column is_of_hub INTEGER not null default 0;
        create table terminal_hub (
            one INTEGER primary key check (one = 1),
            revision INTEGER not null,
            lockdown_sha256 BLOB not null check (length(lockdown_sha256) = 32)
        ) STRICT;
    ",
};

#[derive(sqlx::FromRow)]
struct SelfRow {
    terminal_id: Vec<u8>,
    hardware_id: String,
}

/// The terminal of this database and the hardware that it was made on.
pub(crate) async fn identity(tx: &mut Tx) -> Result<Option<(TerminalId, String)>, TerminalError> {
    let row = on!(tx, connection => {
        sqlx::query_as::<_, SelfRow>("select terminal_id, hardware_id from terminal_self")
            .fetch_optional(connection)
            .await
    })?;
    row.map(|row| {
        let terminal = TerminalId::try_from(row.terminal_id.as_slice());
        let terminal = terminal.map_err(|_| TerminalError::Unreadable("its id"))?;
        Ok((terminal, row.hardware_id))
    })
    .transpose()
}

pub(crate) async fn insert_identity(
    tx: &mut Tx,
    terminal: TerminalId,
    hardware_id: &str,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_self (one, terminal_id, hardware_id, create_time_us) values (1, $1, $2, $3)",
        )
        .bind(terminal.as_bytes())
        .bind(hardware_id)
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

#[derive(sqlx::FromRow)]
struct SettingsRow {
    revision: i64,
    announced_revision: i64,
    display_name: String,
    direction: i64,
    groups: Vec<u8>,
    fpir_target: f64,
    keep_pictures: i64,
    without_clock: i64,
}

#[derive(sqlx::FromRow)]
struct RuleRow {
    groups: Vec<u8>,
    weekdays: i64,
    start_s: i64,
    end_s: i64,
    on_holidays: i64,
}

#[derive(sqlx::FromRow)]
struct LockdownRow {
    is_on: i64,
    exempt_groups: Vec<u8>,
    since_us: i64,
    asked_by: String,
    is_announced: i64,
    is_of_hub: i64,
}

/// A lockdown, and who knows of it.
pub(crate) struct StoredLockdown {
    pub(crate) lockdown: Lockdown,
    /// Whether the device was told of it.
    pub(crate) is_announced: bool,
    pub(crate) origin: Origin,
}

/// Settings, and the revision that the event log was last told of.
pub(crate) struct Stored {
    pub(crate) revised: Revised,
    pub(crate) announced_revision: i64,
}

/// The settings; in a write nobody else changes them until it ends.
pub(crate) async fn settings(tx: &mut Tx, terminal: TerminalId) -> Result<Option<Stored>, TerminalError> {
    let select =
        "select revision, announced_revision, display_name, direction, groups, fpir_target, keep_pictures,
            without_clock from terminal_settings where terminal_id = $1";
    let row = on!(tx, connection => {
        sqlx::query_as::<_, SettingsRow>(select).bind(terminal.as_bytes()).fetch_optional(connection).await
    })?;
    let Some(row) = row else { return Ok(None) };
    let rules: Vec<RuleRow> = on!(tx, connection => {
        sqlx::query_as(
            "select groups, weekdays, start_s, end_s, on_holidays from terminal_access_rule
                where terminal_id = $1 order by position",
        )
        .bind(terminal.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    stored(row, rules).map(Some)
}

/// Keeps everybody else from changing the settings until this transaction ends.
pub(crate) async fn lock_settings(tx: &mut Tx, terminal: TerminalId) -> Result<(), StoreError> {
    let select = dialect::for_update(tx, "select revision from terminal_settings where terminal_id = $1");
    on!(tx, connection => {
        sqlx::query_scalar::<_, i64>(select)
            .bind(terminal.as_bytes())
            .fetch_optional(connection)
            .await
            .map(|_| ())
    })
}

fn stored(row: SettingsRow, rules: Vec<RuleRow>) -> Result<Stored, TerminalError> {
    let direction = i32::try_from(row.direction).ok().and_then(|value| Direction::try_from(value).ok());
    let settings = Settings {
        display_name: row.display_name,
        direction: direction.ok_or(TerminalError::Unreadable("direction"))?,
        groups: groups(&row.groups)?,
        fpir_target: row.fpir_target,
        keep_pictures: row.keep_pictures != 0,
        access_rules: rules.into_iter().map(rule).collect::<Result<_, _>>()?,
        without_clock: match row.without_clock {
            0 => WithoutClock::Allow,
            1 => WithoutClock::Refuse,
            _ => return Err(TerminalError::Unreadable("without_clock")),
        },
    };
    Ok(Stored {
        revised: Revised { settings, revision: row.revision },
        announced_revision: row.announced_revision,
    })
}

fn rule(row: RuleRow) -> Result<AccessRule, TerminalError> {
    const DAMAGED: TerminalError = TerminalError::Unreadable("access_rules");
    Ok(AccessRule {
        groups: groups(&row.groups)?,
        weekdays: Weekdays::from_bits(row.weekdays).ok_or(DAMAGED)?,
        hours: Hours::from_seconds(row.start_s, row.end_s).ok_or(DAMAGED)?,
        on_holidays: row.on_holidays != 0,
    })
}

fn groups(bytes: &[u8]) -> Result<Vec<GroupId>, TerminalError> {
    let groups = bytes.chunks(16).map(GroupId::try_from).collect::<Result<_, _>>();
    groups.map_err(|_| TerminalError::Unreadable("groups"))
}

fn bytes(groups: &[GroupId]) -> Vec<u8> {
    groups.iter().flat_map(|group| group.to_bytes()).collect()
}

pub(crate) async fn put_settings(
    tx: &mut Tx,
    terminal: TerminalId,
    revised: &Revised,
    by: &str,
    now: UtcInstant,
) -> Result<(), StoreError> {
    let settings = &revised.settings;
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_settings (terminal_id, revision, announced_revision, display_name, direction,
                groups, fpir_target, keep_pictures, changed_by, change_time_us, without_clock)
            values ($1, $2, 0, $3, $4, $5, $6, $7, $8, $9, $10)
            on conflict (terminal_id) do update set revision = excluded.revision,
                display_name = excluded.display_name, direction = excluded.direction, groups = excluded.groups,
                fpir_target = excluded.fpir_target, keep_pictures = excluded.keep_pictures,
                changed_by = excluded.changed_by, change_time_us = excluded.change_time_us,
                without_clock = excluded.without_clock",
        )
        .bind(terminal.as_bytes())
        .bind(revised.revision)
        .bind(&settings.display_name)
        .bind(i64::from(i32::from(settings.direction)))
        .bind(bytes(&settings.groups))
        .bind(settings.fpir_target)
        .bind(i64::from(settings.keep_pictures))
        .bind(by)
        .bind(now.micros())
        .bind(match settings.without_clock {
            WithoutClock::Allow => 0_i64,
            WithoutClock::Refuse => 1,
        })
        .execute(connection)
        .await
        .map(|_| ())
    })?;
    put_rules(tx, terminal, &settings.access_rules).await
}

async fn put_rules(tx: &mut Tx, terminal: TerminalId, rules: &[AccessRule]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from terminal_access_rule where terminal_id = $1")
            .bind(terminal.as_bytes())
            .execute(&mut *connection)
            .await?;
        for (position, rule) in (0_i64..).zip(rules) {
            let (start_s, end_s) = rule.hours.seconds();
            sqlx::query(
                "insert into terminal_access_rule (terminal_id, position, groups, weekdays, start_s, end_s,
                    on_holidays) values ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(terminal.as_bytes())
            .bind(position)
            .bind(bytes(&rule.groups))
            .bind(rule.weekdays.bits())
            .bind(start_s)
            .bind(end_s)
            .bind(i64::from(rule.on_holidays))
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    })
}

/// The lockdown of a terminal. One that was never asked for is nobody's, so that a hub has its say.
pub(crate) async fn lockdown(tx: &mut Tx, terminal: TerminalId) -> Result<StoredLockdown, TerminalError> {
    let row: Option<LockdownRow> = on!(tx, connection => {
        sqlx::query_as(
            "select is_on, exempt_groups, since_us, asked_by, is_announced, is_of_hub from terminal_lockdown
                where terminal_id = $1",
        )
        .bind(terminal.as_bytes())
        .fetch_optional(connection)
        .await
    })?;
    let Some(row) = row else {
        let lockdown = Lockdown::default();
        return Ok(StoredLockdown { lockdown, is_announced: true, origin: Origin::Hub });
    };
    let lockdown = Lockdown {
        is_on: row.is_on != 0,
        exempt: groups(&row.exempt_groups)?,
        since: Some(UtcInstant::from_micros(row.since_us)),
        by: row.asked_by,
    };
    let origin = if row.is_of_hub == 0 { Origin::Here } else { Origin::Hub };
    Ok(StoredLockdown { lockdown, is_announced: row.is_announced != 0, origin })
}

/// A lockdown of which the device is still to be told.
pub(crate) async fn put_lockdown(
    tx: &mut Tx,
    terminal: TerminalId,
    lockdown: &Lockdown,
    origin: Origin,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_lockdown (terminal_id, is_on, exempt_groups, since_us, asked_by, is_announced,
                is_of_hub) values ($1, $2, $3, $4, $5, 0, $6)
            on conflict (terminal_id) do update set is_on = excluded.is_on,
                exempt_groups = excluded.exempt_groups, since_us = excluded.since_us,
                asked_by = excluded.asked_by, is_announced = 0, is_of_hub = excluded.is_of_hub",
        )
        .bind(terminal.as_bytes())
        .bind(i64::from(lockdown.is_on))
        .bind(bytes(&lockdown.exempt))
        .bind(lockdown.since.map_or(0, UtcInstant::micros))
        .bind(&lockdown.by)
        .bind(i64::from(origin == Origin::Hub))
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// The lockdown is the hub's word, who asked for the same at this time.
pub(crate) async fn put_lockdown_of_hub(
    tx: &mut Tx,
    terminal: TerminalId,
    since: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update terminal_lockdown set is_of_hub = 1, since_us = $2 where terminal_id = $1")
            .bind(terminal.as_bytes())
            .bind(since.micros())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// The lockdown is this terminal's own.
pub(crate) async fn put_lockdown_of_here(tx: &mut Tx, terminal: TerminalId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update terminal_lockdown set is_of_hub = 0 where terminal_id = $1")
            .bind(terminal.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

pub(crate) async fn put_lockdown_announced(tx: &mut Tx, terminal: TerminalId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update terminal_lockdown set is_announced = 1 where terminal_id = $1")
            .bind(terminal.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

pub(crate) async fn put_announced(
    tx: &mut Tx,
    terminal: TerminalId,
    revision: i64,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update terminal_settings set announced_revision = $2
            where terminal_id = $1 and announced_revision < $2",
        )
        .bind(terminal.as_bytes())
        .bind(revision)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// What a terminal's hub last said.
#[derive(sqlx::FromRow)]
pub(crate) struct HubRow {
    /// Of all that it said; 0 when not all of it was obeyed.
    pub(crate) revision: i64,
    pub(crate) lockdown_sha256: Vec<u8>,
}

/// `None` for a terminal that no hub has told anything.
pub(crate) async fn hub(tx: &mut Tx) -> Result<Option<HubRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as("select revision, lockdown_sha256 from terminal_hub").fetch_optional(connection).await
    })
}

/// The hub's word on the lockdown was obeyed, or weighed and found too old; the rest is still to be.
pub(crate) async fn put_hub_lockdown(tx: &mut Tx, sha256: &[u8; 32]) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_hub (one, revision, lockdown_sha256) values (1, 0, $1)
            on conflict (one) do update set revision = 0, lockdown_sha256 = excluded.lockdown_sha256",
        )
        .bind(&sha256[..])
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// All that the hub said was obeyed.
pub(crate) async fn put_hub_revision(tx: &mut Tx, revision: i64) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update terminal_hub set revision = $1")
            .bind(revision)
            .execute(connection)
            .await
            .map(|_| ())
    })
}

/// There is no hub any more.
pub(crate) async fn delete_hub(tx: &mut Tx) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from terminal_hub").execute(connection).await.map(|_| ())
    })
}

/// What the file said when it was last obeyed.
pub(crate) async fn configured(tx: &mut Tx) -> Result<Configured, StoreError> {
    let rows: Vec<(String, String)> = on!(tx, connection => {
        sqlx::query_as("select key, value from terminal_configured").fetch_all(connection).await
    })?;
    Ok(rows.into_iter().collect())
}

pub(crate) async fn put_configured(tx: &mut Tx, said: &Configured) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from terminal_configured").execute(&mut *connection).await?;
        for (key, value) in said {
            sqlx::query("insert into terminal_configured (key, value) values ($1, $2)")
                .bind(key)
                .bind(value)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    })
}
