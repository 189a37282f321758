//! The rules of the schema's history, and crashes in the middle of it.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use rollcall_store::testing::postgres_url;
use rollcall_store::{Db, Engine, Migration, SqliteOptions, StoreError, both_engines, check_integrity, on};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use support::{child, killed_at, told};

const FIRST: Migration =
    Migration { name: "a/0001_first", sql: "create table first (id INTEGER primary key) STRICT" };
const SECOND: Migration = Migration {
    name: "a/0002_second",
    sql: "create table second (id INTEGER primary key, first INTEGER references first (id)) STRICT;
        insert into first (id) values (1);
        alter table second add column note TEXT;
        insert into second (id, first, note) values (1, 1, 'x');",
};
const OTHER: Migration =
    Migration { name: "b/0001_other", sql: "create table other (id INTEGER primary key) STRICT" };

/// The same database again with another list of migrations.
async fn reopen(db: &Db, migrations: &[&[Migration]]) -> Result<Db, StoreError> {
    match db.engine() {
        Engine::Sqlite => {
            Db::open_sqlite(Path::new(db.place()), SqliteOptions { secure_delete: true }, migrations).await
        }
        Engine::Postgres => {
            let mut tx = db.read().await?;
            let sql = "select current_database() || '?host=' || current_setting('unix_socket_directories')";
            let rest: String = on!(tx, connection => sqlx::query_scalar(sql).fetch_one(connection).await)?;
            Db::connect_postgres(&format!("postgres://postgres@localhost/{rest}"), migrations).await
        }
    }
}

async fn names(db: &Db) -> Vec<String> {
    let mut tx = db.read().await.unwrap();
    let names = on!(tx, connection => {
        sqlx::query_scalar("select name from migration order by name").fetch_all(connection).await
    });
    names.unwrap()
}

both_engines! {
    migrations = &[&[FIRST]];

    async fn what_is_missing_is_applied_once(db: Db) {
        for _ in 0..2 {
            let again = reopen(&db, &[&[FIRST, SECOND], &[OTHER]]).await.unwrap();
            assert_eq!(names(&again).await, ["a/0001_first", "a/0002_second", "b/0001_other"]);
            again.close().await;
        }
    }

    async fn a_schema_of_a_newer_program_is_refused(db: Db) {
        reopen(&db, &[&[FIRST, SECOND]]).await.unwrap().close().await;
        let error = reopen(&db, &[&[FIRST]]).await.err().unwrap();
        assert!(matches!(&error, StoreError::Newer { migration, .. } if migration == SECOND.name), "{error}");
        assert!(error.to_string().contains("newer version of this program"), "{error}");
    }

    async fn applied_text_that_was_changed_is_refused(db: Db) {
        let changed = Migration { sql: "create table first (id INTEGER primary key, more TEXT) STRICT", ..FIRST };
        let error = reopen(&db, &[&[changed]]).await.err().unwrap();
        assert!(matches!(error, StoreError::MigrationChanged { .. }), "{error}");
    }

    async fn a_migration_slipped_in_before_an_applied_one_is_refused(db: Db) {
        let slipped = Migration { name: "a/0000_slipped", ..OTHER };
        let error = reopen(&db, &[&[slipped, FIRST]]).await.err().unwrap();
        assert!(error.to_string().contains("a/0000_slipped"), "{error}");
        let error = reopen(&db, &[&[FIRST], &[FIRST]]).await.err().unwrap();
        assert!(error.to_string().contains("twice"), "{error}");
        // Another service's are another list.
        reopen(&db, &[&[OTHER], &[FIRST]]).await.unwrap().close().await;
    }

    async fn a_migration_that_fails_leaves_the_schema_before_it(db: Db) {
        let broken = Migration { sql: "create table second (id INTEGER primary key) STRICT; select * from nowhere", ..SECOND };
        let error = reopen(&db, &[&[FIRST, broken]]).await.err().unwrap();
        assert!(matches!(&error, StoreError::MigrationFailed { migration, .. } if migration == SECOND.name), "{error}");
        assert_eq!(names(&db).await, ["a/0001_first"]);
        reopen(&db, &[&[FIRST, SECOND]]).await.unwrap().close().await;
    }
}

#[tokio::test]
async fn programs_that_start_at_once_migrate_one_postgres_once() {
    let url = postgres_url().await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let url = url.clone();
        starts.spawn(async move { Db::connect_postgres(&url, &[&[FIRST, SECOND], &[OTHER]]).await });
    }
    for db in starts.join_all().await {
        assert_eq!(names(&db.unwrap()).await.len(), 3);
    }
}

/// What a child of the sweeps below runs: opens the database that it is told with all migrations.
#[tokio::test]
async fn a_child_migrates_what_it_is_told() {
    let Some(subject) = told() else { return };
    let migrations: &[&[Migration]] = &[&[FIRST, SECOND], &[OTHER]];
    let db = match subject.strip_prefix('/') {
        Some(_) => Db::open_sqlite(Path::new(&subject), SqliteOptions::default(), migrations).await,
        None => Db::connect_postgres(&subject, migrations).await,
    };
    db.unwrap().close().await;
}

/// Which migrations a database has, and whether its tables agree, seen without this crate.
macro_rules! schema_of {
    ($connection:expr, $tables:expr) => {{
        let tables: BTreeSet<String> =
            sqlx::query_scalar($tables).fetch_all(&mut *$connection).await.unwrap().into_iter().collect();
        let applied: BTreeSet<String> = match tables.contains("migration") {
            true => {
                sqlx::query_scalar("select name from migration").fetch_all(&mut *$connection).await.unwrap()
            }
            false => Vec::new(),
        }
        .into_iter()
        .collect();
        for (migration, table) in [(FIRST, "first"), (SECOND, "second"), (OTHER, "other")] {
            assert_eq!(applied.contains(migration.name), tables.contains(table), "{applied:?} {tables:?}");
        }
        if tables.contains("second") {
            let join = "select count(*) from second join first on first.id = second.first where note = 'x'";
            let rows: i64 = sqlx::query_scalar(join).fetch_one(&mut *$connection).await.unwrap();
            assert_eq!(rows, 1);
        }
        applied.len()
    }};
}

#[tokio::test]
async fn f013_a_crash_at_any_write_of_a_migration_leaves_the_old_or_the_new_schema() {
    let mut seen = BTreeSet::new();
    let mut crashes = 0;
    for calls in ["pwrite64", "fdatasync", "ftruncate", "unlink"] {
        for nth in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("test.db");
            let child = child("a_child_migrates_what_it_is_told", path.to_str().unwrap());
            let ended = killed_at(&child, calls, nth);
            if path.exists() {
                let mut file = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
                let tables = "select name from sqlite_schema where type = 'table'";
                seen.insert(schema_of!(&mut file, tables));
                file.close().await.unwrap();
            }
            let db = Db::open_sqlite(&path, SqliteOptions::default(), &[&[FIRST, SECOND], &[OTHER]]).await;
            let db = db.unwrap();
            check_integrity(&db).await.unwrap();
            assert_eq!(names(&db).await.len(), 3);
            db.close().await;
            if ended {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes >= 20, "only {crashes} crashes");
    assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]), "crashes between all migrations");
}

#[tokio::test]
async fn f013_a_crash_at_any_message_to_postgres_leaves_the_old_or_the_new_schema() {
    let mut seen = BTreeSet::new();
    for nth in 1.. {
        let url = postgres_url().await;
        let ended = killed_at(&child("a_child_migrates_what_it_is_told", &url), "sendto", nth);
        let mut server = PgConnection::connect(&url).await.unwrap();
        // The server may still be busy with what the dead child had sent.
        let lock = sqlx::query("select pg_advisory_lock(8245928655518264428)");
        lock.execute(&mut server).await.unwrap();
        let tables = "select cast(tablename as text) from pg_tables where schemaname = 'public'";
        seen.insert(schema_of!(&mut server, tables));
        server.close().await.unwrap();
        let db = Db::connect_postgres(&url, &[&[FIRST, SECOND], &[OTHER]]).await.unwrap();
        assert_eq!(names(&db).await.len(), 3);
        db.close().await;
        if ended {
            break;
        }
    }
    assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]), "crashes between all migrations");
}
