//! The tables of this service: who this terminal is, its settings, and what the configuration file last said.

use rollcall_core::{GroupId, TerminalId, UtcInstant};
use rollcall_proto::v1::Direction;
use rollcall_store::{Migration, StoreError, Tx, dialect, on};

use crate::configured::Configured;
use crate::{Revised, Settings, TerminalError};

/// The tables, as they came to be.
pub const MIGRATIONS: &[Migration] = &[Migration {
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
}];

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
}

/// Settings, and the revision that the event log was last told of.
pub(crate) struct Stored {
    pub(crate) revised: Revised,
    pub(crate) announced_revision: i64,
}

/// The settings; in a write nobody else changes them until it ends.
pub(crate) async fn settings(tx: &mut Tx, terminal: TerminalId) -> Result<Option<Stored>, TerminalError> {
    let select =
        "select revision, announced_revision, display_name, direction, groups, fpir_target, keep_pictures
        from terminal_settings where terminal_id = $1";
    let row = on!(tx, connection => {
        sqlx::query_as::<_, SettingsRow>(select).bind(terminal.as_bytes()).fetch_optional(connection).await
    })?;
    row.map(stored).transpose()
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

fn stored(row: SettingsRow) -> Result<Stored, TerminalError> {
    let direction = i32::try_from(row.direction).ok().and_then(|value| Direction::try_from(value).ok());
    let groups = row.groups.chunks_exact(16).map(GroupId::try_from).collect::<Result<_, _>>();
    let settings = Settings {
        display_name: row.display_name,
        direction: direction.ok_or(TerminalError::Unreadable("direction"))?,
        groups: groups.map_err(|_| TerminalError::Unreadable("groups"))?,
        fpir_target: row.fpir_target,
        keep_pictures: row.keep_pictures != 0,
    };
    Ok(Stored {
        revised: Revised { settings, revision: row.revision },
        announced_revision: row.announced_revision,
    })
}

pub(crate) async fn put_settings(
    tx: &mut Tx,
    terminal: TerminalId,
    revised: &Revised,
    by: &str,
    now: UtcInstant,
) -> Result<(), StoreError> {
    let settings = &revised.settings;
    let groups: Vec<u8> = settings.groups.iter().flat_map(|group| group.to_bytes()).collect();
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_settings (terminal_id, revision, announced_revision, display_name, direction,
                groups, fpir_target, keep_pictures, changed_by, change_time_us)
            values ($1, $2, 0, $3, $4, $5, $6, $7, $8, $9)
            on conflict (terminal_id) do update set revision = excluded.revision,
                display_name = excluded.display_name, direction = excluded.direction, groups = excluded.groups,
                fpir_target = excluded.fpir_target, keep_pictures = excluded.keep_pictures,
                changed_by = excluded.changed_by, change_time_us = excluded.change_time_us",
        )
        .bind(terminal.as_bytes())
        .bind(revised.revision)
        .bind(&settings.display_name)
        .bind(i64::from(i32::from(settings.direction)))
        .bind(&groups)
        .bind(settings.fpir_target)
        .bind(i64::from(settings.keep_pictures))
        .bind(by)
        .bind(now.micros())
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
