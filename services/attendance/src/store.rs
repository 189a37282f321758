//! The tables of attendance, and every statement about them, by subject in `store/`.
//!
//! `log.db` has logs and events ([`LOG_MIGRATIONS`]); `site.db` has the rest ([`SITE_MIGRATIONS`]). A hub has both sets
//! in one database, so each set has a history of its own.

pub(crate) mod aliases;
pub(crate) mod events;
pub(crate) mod log;
pub(crate) mod notes;
pub(crate) mod received;
pub(crate) mod registers;
pub(crate) mod rows;
pub(crate) mod timetable;

use rollcall_store::Migration;

/// Tables of `log.db`.
pub const LOG_MIGRATIONS: &[Migration] = &[EVENTS, registers::LOG_MIGRATION, received::LOG_MIGRATION];

const EVENTS: Migration = Migration {
    name: "attendance-log/0001_events",
    sql: "\
create table attendance_feed (
    one INTEGER not null primary key check (one = 1),
    feed_id BLOB not null,
    position INTEGER not null,
    pruned_through INTEGER not null
) STRICT;
create table attendance_log (
    log_id BLOB not null primary key,
    terminal_id BLOB not null,
    hw_id TEXT not null,
    parent_log_id BLOB,
    parent_head INTEGER,
    parent_hash BLOB,
    first_seq INTEGER not null,
    before_hash BLOB not null,
    head INTEGER not null,
    head_hash BLOB not null,
    is_current INTEGER not null,
    opened_us INTEGER not null,
    reason TEXT not null
) STRICT;
create table attendance_event (
    position INTEGER not null primary key,
    log_id BLOB not null references attendance_log (log_id),
    seq INTEGER not null,
    hash BLOB not null,
    bytes BLOB not null,
    event_id BLOB,
    kind INTEGER not null,
    person_id BLOB,
    terminal_id BLOB not null,
    boot_id BLOB,
    boottime_us INTEGER not null,
    wall_us INTEGER not null,
    stamped_us INTEGER not null,
    time_trust INTEGER not null,
    at_us INTEGER not null,
    damage INTEGER not null,
    unique (log_id, seq)
) STRICT;
create index attendance_event_id on attendance_event (event_id);
create index attendance_event_person on attendance_event (person_id, at_us) where person_id is not null;
create index attendance_event_person_position on attendance_event (person_id, position) where person_id is not null;
create index attendance_event_at on attendance_event (at_us);",
};

/// Tables of `site.db`.
pub const SITE_MIGRATIONS: &[Migration] =
    &[NOTES, timetable::MIGRATION, registers::MIGRATION, aliases::MIGRATION];

const NOTES: Migration = Migration {
    name: "attendance/0001_notes",
    sql: "\
create table attendance_note (
    event_id BLOB not null primary key,
    person_id BLOB,
    note TEXT not null,
    is_settled INTEGER not null
) STRICT;
create index attendance_note_person on attendance_note (person_id);
create index attendance_note_unsettled on attendance_note (is_settled) where is_settled = 0;",
};
