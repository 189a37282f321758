//! The tables of the gallery.
//!
//! `gallery_head` has one row: which gallery this is and its newest revision. Whoever writes locks it first
//! ([`super::changes::begin`]), so that revisions are committed in their order and a gallery has one writer at a time on
//! both engines.
//!
//! What belongs to a person goes with the row of the person (`on delete cascade`). What stays when one is erased, the
//! change feed and the erasures, has ids and instants only.

use rollcall_store::Migration;

/// Oldest first. 0001.. is about people, 0101.. about faces, 0201.. about what a hub and its terminals tell each other.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "gallery/0001_people",
        sql: "create table gallery_head (
                one INTEGER not null primary key check (one = 1),
                gallery_id BLOB,
                revision INTEGER not null,
                -- The zone that standing_until_us of everybody was reckoned in.
                zone TEXT
            ) STRICT;
            insert into gallery_head (one, gallery_id, revision, zone) values (1, null, 0, null);

            create table gallery_change (
                revision INTEGER not null primary key,
                person_id BLOB not null,
                erased INTEGER not null check (erased in (0, 1)),
                changed_us INTEGER not null
            ) STRICT;

            create table gallery_person (
                person_id BLOB not null primary key,
                display_name TEXT not null,
                display_name_folded TEXT not null,
                external_id TEXT unique,
                external_id_folded TEXT,
                leave_day TEXT,
                created_us INTEGER not null,
                -- The newest change of this person.
                revision INTEGER not null,
                -- When consent_state changes although nobody says anything; null: it does not.
                standing_until_us INTEGER
            ) STRICT;
            create index gallery_person_by_name on gallery_person (display_name_folded, person_id);
            create index gallery_person_by_folded_external_id on gallery_person (external_id_folded);
            create index gallery_person_by_standing on gallery_person (standing_until_us);

            create table gallery_group (
                group_id BLOB not null primary key,
                display_name TEXT not null unique,
                display_name_folded TEXT not null,
                version INTEGER not null
            ) STRICT;
            create index gallery_group_by_name on gallery_group (display_name_folded, group_id);

            create table gallery_member (
                person_id BLOB not null references gallery_person (person_id) on delete cascade,
                group_id BLOB not null references gallery_group (group_id) on delete cascade,
                primary key (person_id, group_id)
            ) STRICT;
            create index gallery_member_by_group on gallery_member (group_id, person_id);

            create table gallery_consent (
                consent_id BLOB not null primary key,
                person_id BLOB not null references gallery_person (person_id) on delete cascade,
                -- 1, 2, 3 in the ledger of the person: the order that the last word goes by, whatever the clock says.
                line INTEGER not null,
                -- 1 given, 2 refused, 3 withdrawn
                decision INTEGER not null,
                -- 1 the person, 2 a guardian
                giver INTEGER not null,
                giver_label TEXT not null,
                form TEXT not null,
                start_day TEXT,
                end_day TEXT,
                recorded_us INTEGER not null,
                recorded_by TEXT not null,
                unique (person_id, line)
            ) STRICT;

            create table gallery_credential (
                credential_id BLOB not null primary key,
                person_id BLOB not null references gallery_person (person_id) on delete cascade,
                -- 1 PIN, 2 card, 3 badge
                kind INTEGER not null,
                -- Keyed digest of what is presented; null once revoked, so that a card can go to somebody else.
                verifier BLOB,
                created_us INTEGER not null,
                revoked_us INTEGER,
                unique (kind, verifier)
            ) STRICT;
            create index gallery_credential_by_person on gallery_credential (person_id, credential_id);

            create table gallery_erasure (
                erasure_id BLOB not null primary key,
                person_id BLOB not null unique,
                -- The line of the ledger file.
                line INTEGER not null unique,
                erased_us INTEGER not null
            ) STRICT;
            create index gallery_erasure_by_time on gallery_erasure (erased_us, erasure_id);
            create table gallery_erasure_device (
                erasure_id BLOB not null references gallery_erasure (erasure_id) on delete cascade,
                device TEXT not null,
                confirmed_us INTEGER,
                primary key (erasure_id, device)
            ) STRICT;",
    },
    Migration {
        name: "gallery/0101_templates",
        sql: "create table gallery_template (
                template_id BLOB not null primary key,
                person_id BLOB not null references gallery_person (person_id) on delete cascade,
                -- SHA-256 of the network, and its name for people.
                model_hash BLOB not null,
                model TEXT not null,
                -- The embedding, as seal.rs has it.
                sealed BLOB not null,
                created_us INTEGER not null,
                eyes_px REAL not null,
                sharpness REAL not null,
                yaw_deg REAL not null,
                roll_deg REAL not null,
                nose_height REAL not null,
                brightness REAL not null,
                contrast REAL not null
            ) STRICT;
            create index gallery_template_by_person on gallery_template (person_id, template_id);

            -- The picture of a template, where the site keeps them.
            create table gallery_picture (
                template_id BLOB not null primary key references gallery_template (template_id) on delete cascade,
                sealed BLOB not null
            ) STRICT;

            -- What became of each picture that was offered for a person.
            create table gallery_enrolment (
                person_id BLOB not null references gallery_person (person_id) on delete cascade,
                picture_sha256 BLOB not null,
                -- By which network: another one judges anew.
                model_hash BLOB not null,
                verdict INTEGER not null,
                explanation TEXT not null,
                looks_like BLOB,
                looks_like_score REAL,
                template_id BLOB references gallery_template (template_id) on delete cascade,
                recorded_us INTEGER not null,
                -- The face meant; null: none.
                box_left REAL,
                box_top REAL,
                box_right REAL,
                box_bottom REAL,
                eyes_px REAL,
                sharpness REAL,
                yaw_deg REAL,
                roll_deg REAL,
                nose_height REAL,
                brightness REAL,
                contrast REAL,
                primary key (person_id, picture_sha256)
            ) STRICT;
            create index gallery_enrolment_by_time on gallery_enrolment (person_id, recorded_us, picture_sha256);
            create index gallery_enrolment_by_template on gallery_enrolment (template_id);

            create table gallery_mismatch (
                mismatch_id BLOB not null primary key,
                -- Who was named wrongly, and who it was.
                person_id BLOB not null references gallery_person (person_id) on delete cascade,
                actual_person_id BLOB references gallery_person (person_id) on delete set null,
                score REAL not null,
                threshold REAL not null,
                reported_us INTEGER not null,
                reported_by TEXT not null
            ) STRICT;
            create index gallery_mismatch_by_time on gallery_mismatch (reported_us, mismatch_id);
            create index gallery_mismatch_by_person on gallery_mismatch (person_id);
            create index gallery_mismatch_by_actual on gallery_mismatch (actual_person_id);",
    },
    Migration {
        name: "gallery/0201_replication",
        sql: "-- At a hub: up to which change rows and history are made, and by which format and key.
            alter table gallery_head add column rows_revision INTEGER not null default 0;
            alter table gallery_head add column rows_made_by BLOB;
            alter table gallery_head add column history_hash BLOB;

            -- At a hub: the chain over its changes, after each.
            create table gallery_chain (
                revision INTEGER not null primary key,
                history_hash BLOB not null
            ) STRICT;

            -- A person as terminals have it, sealed: at a hub as made, at a terminal as it came.
            create table gallery_row (
                person_id BLOB not null primary key references gallery_person (person_id) on delete cascade,
                revision INTEGER not null,
                row_hash BLOB not null,
                -- Empty: what it held has ended here by its date.
                sealed BLOB not null,
                mac BLOB not null
            ) STRICT;
            -- At a terminal: a snapshot that is coming in.
            create table gallery_row_new (
                person_id BLOB not null primary key,
                revision INTEGER not null,
                erased INTEGER not null check (erased in (0, 1)),
                row_hash BLOB not null,
                sealed BLOB not null,
                mac BLOB not null
            ) STRICT;

            -- At a terminal: the hub that it belongs to, and what that has told it last.
            create table gallery_hub (
                one INTEGER not null primary key check (one = 1),
                address TEXT not null,
                -- What verifies the credentials of the hub's people, sealed; null: not told yet.
                credential_key BLOB,
                -- Null: nothing was pulled yet.
                gallery_id BLOB,
                revision INTEGER,
                history_hash BLOB,
                scope BLOB
            ) STRICT;
            -- 0: of this device.
            alter table gallery_person add column from_hub INTEGER not null default 0;
            -- Of the hub's people: the first moment at which nothing lets them in.
            alter table gallery_person add column leave_us INTEGER;
            alter table gallery_group add column from_hub INTEGER not null default 0;
            -- What reports at the hub ask of its people here.
            create table gallery_told_report (
                person_id BLOB not null references gallery_person (person_id) on delete cascade,
                number INTEGER not null,
                actual_person_id BLOB,
                threshold REAL not null,
                primary key (person_id, number)
            ) STRICT;

            -- At a hub: the unbroken histories that the gallery has had before, oldest first, and since which revision
            -- each is a history of its own.
            create table gallery_history (
                number INTEGER not null primary key,
                gallery_id BLOB not null unique,
                since_revision INTEGER not null,
                began_us INTEGER not null
            ) STRICT;
            -- At a hub: what came back from terminals.
            create table gallery_taken_back (
                number INTEGER not null primary key,
                person_id BLOB not null,
                taken_us INTEGER not null,
                -- The revision that the row had in its history, and the one that the person got here.
                row_revision INTEGER not null,
                revision INTEGER not null,
                -- 1 was missing, 2 was older, 3 changed here since and left as it is
                outcome INTEGER not null,
                -- Who lost the external id that two had, or keeps it against this person.
                other_person_id BLOB
            ) STRICT;
            create index gallery_taken_back_by_person on gallery_taken_back (person_id, number);",
    },
    Migration {
        name: "gallery/0203_proposals",
        sql: "-- At a hub: people whom a terminal had before it was adopted.
            create table gallery_proposal (
                person_id BLOB not null primary key,
                terminal_id BLOB not null,
                -- OfferPeopleRequest, sealed; null once it is decided.
                sealed BLOB,
                offered_us INTEGER not null,
                -- 0 open, 1 taken in as a new person, 2 as somebody else, 3 refused
                decision INTEGER not null,
                decided_us INTEGER
            ) STRICT;
            create index gallery_proposal_by_decision on gallery_proposal (decision, person_id);",
    },
];
