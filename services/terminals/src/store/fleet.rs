//! What a hub knows of its terminals besides their settings and lockdowns: who they are, how contact stands, what was
//! received, what they said of themselves, and two numbers that rise with every change, by which one process of a hub
//! learns what another has done.
//!
//! Unsigned numbers of the contract that may be anything (`contact`, `gallery_revision`, `ledger_count`) are kept as the
//! same 64 bits, signed; no statement compares them.

use rollcall_core::{GalleryId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1::ClockQuality;
use rollcall_store::{Migration, StoreError, Tx, dialect, on};

use crate::TerminalError;
use crate::contact::{ClockReading, Contact, HeldGallery, Opened, Received};
use crate::registered::{Adopted, KeyHash, Registered};

/// The tables of a hub, beside those that a terminal has too. A history of its own: the other one goes on before it.
pub const FLEET_MIGRATIONS: &[Migration] = &[Migration {
    name: "fleet/0001_fleet",
    sql: "
        create table terminal_registered (
            terminal_id BLOB primary key check (length(terminal_id) = 16),
            hardware_id TEXT not null,
            software TEXT not null,
            address TEXT not null,
            adopt_time_us INTEGER not null,
            adopted_by TEXT not null,
            revoke_time_us INTEGER,
            revoked_by TEXT,
            key_sha256 BLOB not null check (length(key_sha256) = 32),
            certificate_expire_us INTEGER not null,
            connection INTEGER not null default 0
        ) STRICT;
        create table terminal_contact (
            terminal_id BLOB primary key references terminal_registered (terminal_id),
            contact INTEGER not null,
            nonce BLOB not null,
            cloned_us INTEGER
        ) STRICT;
        create table terminal_contact_fork (
            terminal_id BLOB not null references terminal_registered (terminal_id),
            position INTEGER not null,
            fork_us INTEGER not null,
            primary key (terminal_id, position)
        ) STRICT;
        create table terminal_contact_machine (
            terminal_id BLOB not null references terminal_registered (terminal_id),
            position INTEGER not null,
            hardware_id TEXT not null,
            primary key (terminal_id, position)
        ) STRICT;
        create table terminal_received (
            terminal_id BLOB primary key references terminal_registered (terminal_id),
            heard_us INTEGER,
            opened_us INTEGER,
            pushed_us INTEGER,
            gallery_id BLOB check (length(gallery_id) = 16),
            gallery_revision INTEGER,
            gallery_set_hash BLOB,
            ledger_count INTEGER,
            ledger_hash BLOB,
            clock_said_us INTEGER,
            clock_quality INTEGER,
            clock_read_us INTEGER
        ) STRICT;
        create table terminal_status (
            terminal_id BLOB primary key references terminal_registered (terminal_id),
            receive_time_us INTEGER not null,
            settings_revision INTEGER not null,
            status BLOB not null
        ) STRICT;
        create table terminal_command (
            command_id BLOB primary key check (length(command_id) = 16),
            terminal_id BLOB not null references terminal_registered (terminal_id),
            what INTEGER not null,
            asked_by TEXT not null,
            ask_time_us INTEGER not null,
            void_time_us INTEGER not null,
            state INTEGER not null,
            reason TEXT not null,
            message TEXT not null
        ) STRICT;
        create index terminal_command_waiting on terminal_command (terminal_id, ask_time_us) where state = 0;
        create index terminal_command_asked on terminal_command (ask_time_us);
        create table terminal_news (
            one INTEGER primary key check (one = 1),
            settings INTEGER not null,
            commands INTEGER not null
        ) STRICT;
        insert into terminal_news (one, settings, commands) values (1, 0, 0);
    ",
}];

fn unreadable(what: &'static str) -> TerminalError {
    TerminalError::Unreadable(what)
}

#[derive(sqlx::FromRow)]
struct RegisteredRow {
    terminal_id: Vec<u8>,
    display_name: String,
    hardware_id: String,
    software: String,
    address: String,
    adopt_time_us: i64,
    revoke_time_us: Option<i64>,
    cloned_us: Option<i64>,
    key_sha256: Vec<u8>,
    certificate_expire_us: i64,
}

impl RegisteredRow {
    fn registered(self) -> Result<Registered, TerminalError> {
        let key = self.key_sha256.try_into().map_err(|_| unreadable("the hash of its key"))?;
        Ok(Registered {
            terminal: terminal_id(&self.terminal_id)?,
            display_name: self.display_name,
            hardware: self.hardware_id,
            software: self.software,
            address: self.address,
            adopted: UtcInstant::from_micros(self.adopt_time_us),
            revoked: self.revoke_time_us.map(UtcInstant::from_micros),
            cloned: self.cloned_us.map(UtcInstant::from_micros),
            key: KeyHash::from_bytes(key),
            certificate_expires: UtcInstant::from_micros(self.certificate_expire_us),
        })
    }
}

pub(super) fn terminal_id(bytes: &[u8]) -> Result<TerminalId, TerminalError> {
    TerminalId::try_from(bytes).map_err(|_| unreadable("its id"))
}

/// A terminal; its row is kept from changing with [`lock`] alone.
pub(crate) async fn registered(
    tx: &mut Tx,
    terminal: TerminalId,
) -> Result<Option<Registered>, TerminalError> {
    let row: Option<RegisteredRow> = on!(tx, connection => {
        sqlx::query_as(
            "select r.terminal_id, s.display_name, r.hardware_id, r.software, r.address, r.adopt_time_us,
                r.revoke_time_us, c.cloned_us, r.key_sha256, r.certificate_expire_us
            from terminal_registered r join terminal_settings s on s.terminal_id = r.terminal_id
            left join terminal_contact c on c.terminal_id = r.terminal_id
            where r.terminal_id = $1",
        )
        .bind(terminal.as_bytes())
        .fetch_optional(connection)
        .await
    })?;
    row.map(RegisteredRow::registered).transpose()
}

/// Terminals by display name, then id, after this one.
pub(crate) async fn registered_after(
    tx: &mut Tx,
    display_name: &str,
    terminal: &[u8],
    limit: usize,
) -> Result<Vec<Registered>, TerminalError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<RegisteredRow> = on!(tx, connection => {
        sqlx::query_as(
            "select r.terminal_id, s.display_name, r.hardware_id, r.software, r.address, r.adopt_time_us,
                r.revoke_time_us, c.cloned_us, r.key_sha256, r.certificate_expire_us
            from terminal_registered r join terminal_settings s on s.terminal_id = r.terminal_id
            left join terminal_contact c on c.terminal_id = r.terminal_id
            where (s.display_name, r.terminal_id) > ($1, $2)
            order by s.display_name, r.terminal_id limit $3",
        )
        .bind(display_name)
        .bind(terminal)
        .bind(limit)
        .fetch_all(connection)
        .await
    })?;
    rows.into_iter().map(RegisteredRow::registered).collect()
}

/// Whether there is such a terminal. If so nobody else changes what is kept of it until this transaction ends.
pub(crate) async fn lock(tx: &mut Tx, terminal: TerminalId) -> Result<bool, StoreError> {
    let select = dialect::for_update(
        tx,
        "select certificate_expire_us from terminal_registered where terminal_id = $1",
    );
    let found: Option<i64> = on!(tx, connection => {
        sqlx::query_scalar(select).bind(terminal.as_bytes()).fetch_optional(connection).await
    })?;
    Ok(found.is_some())
}

pub(crate) async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select count(*) from terminal_registered").fetch_one(connection).await
    })
}

/// Of the terminals that are not revoked: how many there are, and how many spoke since then.
pub(crate) async fn count_heard(tx: &mut Tx, since: UtcInstant) -> Result<(i64, i64), StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select count(*), count(h.terminal_id) from terminal_registered r
            left join terminal_received h on h.terminal_id = r.terminal_id and h.heard_us >= $1
            where r.revoke_time_us is null",
        )
        .bind(since.micros())
        .fetch_one(connection)
        .await
    })
}

/// A terminal with the key in force from now on.
pub(crate) async fn put_registered(
    tx: &mut Tx,
    adopted: &Adopted,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_registered (terminal_id, hardware_id, software, address, adopt_time_us, adopted_by,
                key_sha256, certificate_expire_us) values ($1, $2, $3, $4, $5, $6, $7, $8)
            on conflict (terminal_id) do update set hardware_id = excluded.hardware_id,
                software = excluded.software, address = excluded.address,
                adopt_time_us = excluded.adopt_time_us, adopted_by = excluded.adopted_by, revoke_time_us = null,
                revoked_by = null, key_sha256 = excluded.key_sha256,
                certificate_expire_us = excluded.certificate_expire_us",
        )
        .bind(adopted.terminal.as_bytes())
        .bind(&adopted.hardware)
        .bind(&adopted.software)
        .bind(&adopted.address)
        .bind(now.micros())
        .bind(&adopted.by)
        .bind(adopted.key.to_bytes().to_vec())
        .bind(adopted.certificate_expires.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

pub(crate) async fn put_certificate(
    tx: &mut Tx,
    terminal: TerminalId,
    expires: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("update terminal_registered set certificate_expire_us = $2 where terminal_id = $1")
            .bind(terminal.as_bytes())
            .bind(expires.micros())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

pub(crate) async fn put_revoked(
    tx: &mut Tx,
    terminal: TerminalId,
    by: &str,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update terminal_registered set revoke_time_us = $2, revoked_by = $3 where terminal_id = $1",
        )
        .bind(terminal.as_bytes())
        .bind(now.micros())
        .bind(by)
        .execute(connection)
        .await
        .map(|_| ())
    })
}

/// Makes a new connection of a terminal the one that gets its commands.
pub(crate) async fn next_connection(tx: &mut Tx, terminal: TerminalId) -> Result<Option<i64>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar(
            "update terminal_registered set connection = connection + 1 where terminal_id = $1
            returning connection",
        )
        .bind(terminal.as_bytes())
        .fetch_optional(connection)
        .await
    })
}

/// The connection that gets a terminal's commands.
pub(crate) async fn connection(tx: &mut Tx, terminal: TerminalId) -> Result<Option<i64>, StoreError> {
    on!(tx, connection => {
        sqlx::query_scalar("select connection from terminal_registered where terminal_id = $1")
            .bind(terminal.as_bytes())
            .fetch_optional(connection)
            .await
    })
}

#[derive(sqlx::FromRow)]
struct ContactRow {
    contact: i64,
    nonce: Vec<u8>,
    cloned_us: Option<i64>,
}

pub(crate) async fn contact(tx: &mut Tx, terminal: TerminalId) -> Result<Option<Contact>, StoreError> {
    let row: Option<ContactRow> = on!(tx, connection => {
        sqlx::query_as("select contact, nonce, cloned_us from terminal_contact where terminal_id = $1")
            .bind(terminal.as_bytes())
            .fetch_optional(connection)
            .await
    })?;
    let Some(row) = row else { return Ok(None) };
    let forks: Vec<i64> = on!(tx, connection => {
        sqlx::query_scalar("select fork_us from terminal_contact_fork where terminal_id = $1 order by position")
            .bind(terminal.as_bytes())
            .fetch_all(connection)
            .await
    })?;
    let hardware: Vec<String> = on!(tx, connection => {
        sqlx::query_scalar(
            "select hardware_id from terminal_contact_machine where terminal_id = $1 order by position",
        )
        .bind(terminal.as_bytes())
        .fetch_all(connection)
        .await
    })?;
    Ok(Some(Contact {
        number: row.contact.cast_unsigned(),
        nonce: row.nonce,
        forks: forks.into_iter().map(UtcInstant::from_micros).collect(),
        hardware,
        cloned: row.cloned_us.map(UtcInstant::from_micros),
    }))
}

pub(crate) async fn put_contact(
    tx: &mut Tx,
    terminal: TerminalId,
    contact: &Contact,
) -> Result<(), StoreError> {
    delete_forks(tx, terminal).await?;
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_contact (terminal_id, contact, nonce, cloned_us) values ($1, $2, $3, $4)
            on conflict (terminal_id) do update set contact = excluded.contact, nonce = excluded.nonce,
                cloned_us = excluded.cloned_us",
        )
        .bind(terminal.as_bytes())
        .bind(contact.number.cast_signed())
        .bind(&contact.nonce)
        .bind(contact.cloned.map(UtcInstant::micros))
        .execute(&mut *connection)
        .await?;
        for (position, fork) in (0_i64..).zip(&contact.forks) {
            sqlx::query("insert into terminal_contact_fork (terminal_id, position, fork_us) values ($1, $2, $3)")
                .bind(terminal.as_bytes())
                .bind(position)
                .bind(fork.micros())
                .execute(&mut *connection)
                .await?;
        }
        for (position, hardware) in (0_i64..).zip(&contact.hardware) {
            sqlx::query(
                "insert into terminal_contact_machine (terminal_id, position, hardware_id) values ($1, $2, $3)",
            )
            .bind(terminal.as_bytes())
            .bind(position)
            .bind(hardware)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    })
}

/// The terminal begins anew: the next contact is its first.
pub(crate) async fn delete_contact(tx: &mut Tx, terminal: TerminalId) -> Result<(), StoreError> {
    delete_forks(tx, terminal).await?;
    on!(tx, connection => {
        sqlx::query("delete from terminal_contact where terminal_id = $1")
            .bind(terminal.as_bytes())
            .execute(connection)
            .await
            .map(|_| ())
    })
}

async fn delete_forks(tx: &mut Tx, terminal: TerminalId) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query("delete from terminal_contact_fork where terminal_id = $1")
            .bind(terminal.as_bytes())
            .execute(&mut *connection)
            .await?;
        sqlx::query("delete from terminal_contact_machine where terminal_id = $1")
            .bind(terminal.as_bytes())
            .execute(&mut *connection)
            .await
            .map(|_| ())
    })
}

pub(crate) async fn put_opened(
    tx: &mut Tx,
    terminal: TerminalId,
    opened: &Opened,
    now: UtcInstant,
) -> Result<(), StoreError> {
    let gallery = opened.gallery.as_ref();
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_received (terminal_id, heard_us, opened_us, gallery_id, gallery_revision,
                gallery_set_hash, ledger_count, ledger_hash) values ($1, $2, $2, $3, $4, $5, $6, $7)
            on conflict (terminal_id) do update set heard_us = excluded.heard_us, opened_us = excluded.opened_us,
                gallery_id = excluded.gallery_id, gallery_revision = excluded.gallery_revision,
                gallery_set_hash = excluded.gallery_set_hash, ledger_count = excluded.ledger_count,
                ledger_hash = excluded.ledger_hash",
        )
        .bind(terminal.as_bytes())
        .bind(now.micros())
        .bind(gallery.map(|gallery| gallery.gallery.to_bytes().to_vec()))
        .bind(gallery.map(|gallery| gallery.revision.cast_signed()))
        .bind(gallery.map(|gallery| gallery.set_hash.to_vec()))
        .bind(opened.ledger_count.cast_signed())
        .bind(opened.ledger_hash.to_vec())
        .execute(&mut *connection)
        .await?;
        sqlx::query("update terminal_registered set software = $2, address = $3 where terminal_id = $1")
            .bind(terminal.as_bytes())
            .bind(&opened.software)
            .bind(&opened.address)
            .execute(connection)
            .await
            .map(|_| ())
    })?;
    put_clock(tx, terminal, opened.clock, now).await
}

/// What a terminal's clock says, after a row of what was received is there.
async fn put_clock(
    tx: &mut Tx,
    terminal: TerminalId,
    (said, quality): (UtcInstant, ClockQuality),
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "update terminal_received set clock_said_us = $2, clock_quality = $3, clock_read_us = $4
            where terminal_id = $1",
        )
        .bind(terminal.as_bytes())
        .bind(said.micros())
        .bind(i64::from(i32::from(quality)))
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

pub(crate) async fn put_pushed(tx: &mut Tx, terminal: TerminalId, now: UtcInstant) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_received (terminal_id, heard_us, pushed_us) values ($1, $2, $2)
            on conflict (terminal_id) do update set heard_us = excluded.heard_us, pushed_us = excluded.pushed_us",
        )
        .bind(terminal.as_bytes())
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })
}

#[derive(sqlx::FromRow)]
struct ReceivedRow {
    heard_us: Option<i64>,
    opened_us: Option<i64>,
    pushed_us: Option<i64>,
    gallery_id: Option<Vec<u8>>,
    gallery_revision: Option<i64>,
    gallery_set_hash: Option<Vec<u8>>,
    ledger_count: Option<i64>,
    ledger_hash: Option<Vec<u8>>,
}

pub(crate) async fn received(tx: &mut Tx, terminal: TerminalId) -> Result<Received, TerminalError> {
    let row: Option<ReceivedRow> = on!(tx, connection => {
        sqlx::query_as(
            "select heard_us, opened_us, pushed_us, gallery_id, gallery_revision, gallery_set_hash, ledger_count,
                ledger_hash from terminal_received where terminal_id = $1",
        )
        .bind(terminal.as_bytes())
        .fetch_optional(connection)
        .await
    })?;
    let Some(row) = row else { return Ok(Received::default()) };
    let gallery = match (row.gallery_id, row.gallery_revision, row.gallery_set_hash) {
        (Some(id), Some(revision), Some(set_hash)) => Some(HeldGallery {
            gallery: GalleryId::try_from(&id[..]).map_err(|_| unreadable("the id of its gallery"))?,
            revision: revision.cast_unsigned(),
            set_hash: set_hash.try_into().map_err(|_| unreadable("the hash of its gallery"))?,
        }),
        _ => None,
    };
    let ledger = match (row.ledger_count, row.ledger_hash) {
        (Some(count), Some(hash)) => {
            let hash = hash.try_into().map_err(|_| unreadable("the hash of its ledger"))?;
            Some((count.cast_unsigned(), hash))
        }
        _ => None,
    };
    Ok(Received {
        heard: row.heard_us.map(UtcInstant::from_micros),
        opened: row.opened_us.map(UtcInstant::from_micros),
        pushed: row.pushed_us.map(UtcInstant::from_micros),
        gallery,
        ledger,
    })
}

#[derive(sqlx::FromRow)]
struct ClockRow {
    terminal_id: Vec<u8>,
    clock_said_us: i64,
    clock_quality: i64,
    clock_read_us: i64,
}

/// Each trusted terminal's word on the time, where the hub's own clock was between the two then.
pub(crate) async fn clocks(
    tx: &mut Tx,
    from: UtcInstant,
    to: UtcInstant,
) -> Result<Vec<ClockReading>, TerminalError> {
    let rows: Vec<ClockRow> = on!(tx, connection => {
        sqlx::query_as(
            "select h.terminal_id, h.clock_said_us, h.clock_quality, h.clock_read_us
            from terminal_received h join terminal_registered r on r.terminal_id = h.terminal_id
            where h.clock_read_us >= $1 and h.clock_read_us <= $2 and h.clock_said_us is not null
                and h.clock_quality is not null and r.revoke_time_us is null
            order by h.terminal_id limit $3",
        )
        .bind(from.micros())
        .bind(to.micros())
        .bind(limits::FLEET_TERMINALS)
        .fetch_all(connection)
        .await
    })?;
    let reading = |row: ClockRow| {
        let quality =
            i32::try_from(row.clock_quality).ok().and_then(|value| ClockQuality::try_from(value).ok());
        Ok(ClockReading {
            terminal: terminal_id(&row.terminal_id)?,
            said: UtcInstant::from_micros(row.clock_said_us),
            quality: quality.ok_or_else(|| unreadable("the quality of its clock"))?,
            at: UtcInstant::from_micros(row.clock_read_us),
        })
    };
    rows.into_iter().map(reading).collect()
}

/// What a terminal says of itself: the settings that it has, its status encoded, and its clock.
pub(crate) async fn put_status(
    tx: &mut Tx,
    terminal: TerminalId,
    (settings_revision, encoded): (i64, Vec<u8>),
    clock: Option<(UtcInstant, ClockQuality)>,
    now: UtcInstant,
) -> Result<(), StoreError> {
    on!(tx, connection => {
        sqlx::query(
            "insert into terminal_status (terminal_id, receive_time_us, settings_revision, status)
            values ($1, $2, $3, $4)
            on conflict (terminal_id) do update set receive_time_us = excluded.receive_time_us,
                settings_revision = excluded.settings_revision, status = excluded.status",
        )
        .bind(terminal.as_bytes())
        .bind(now.micros())
        .bind(settings_revision)
        .bind(encoded)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "insert into terminal_received (terminal_id, heard_us) values ($1, $2)
            on conflict (terminal_id) do update set heard_us = excluded.heard_us",
        )
        .bind(terminal.as_bytes())
        .bind(now.micros())
        .execute(connection)
        .await
        .map(|_| ())
    })?;
    match clock {
        Some(clock) => put_clock(tx, terminal, clock, now).await,
        None => Ok(()),
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct StatusRow {
    pub(crate) receive_time_us: i64,
    pub(crate) settings_revision: i64,
    pub(crate) status: Vec<u8>,
}

pub(crate) async fn status(tx: &mut Tx, terminal: TerminalId) -> Result<Option<StatusRow>, StoreError> {
    on!(tx, connection => {
        sqlx::query_as(
            "select receive_time_us, settings_revision, status from terminal_status where terminal_id = $1",
        )
        .bind(terminal.as_bytes())
        .fetch_optional(connection)
        .await
    })
}

/// The numbers that rise with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct News {
    /// Of settings and lockdowns.
    pub(crate) settings: i64,
    /// Of commands and their answers.
    pub(crate) commands: i64,
}

pub(crate) async fn news(tx: &mut Tx) -> Result<News, StoreError> {
    on!(tx, connection => {
        sqlx::query_as("select settings, commands from terminal_news").fetch_one(connection).await
    })
}

/// The last statement of a change of settings or of a lockdown: the row is everybody's.
pub(crate) async fn tell_settings(tx: &mut Tx) -> Result<News, StoreError> {
    on!(tx, connection => {
        sqlx::query_as("update terminal_news set settings = settings + 1 returning settings, commands")
            .fetch_one(connection)
            .await
    })
}

/// The last statement of a change of a command.
pub(crate) async fn tell_commands(tx: &mut Tx) -> Result<News, StoreError> {
    on!(tx, connection => {
        sqlx::query_as("update terminal_news set commands = commands + 1 returning settings, commands")
            .fetch_one(connection)
            .await
    })
}
