//! What is said of SQLite is so: settings, failing disks, damaged files, deleted bytes.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use rollcall_store::{
    Db, Migration, SqliteOptions, StoreError, Tx, check_integrity, checkpoint, on, testing, vacuum,
};
use support::{child, strace, told};

const NOTES: &[Migration] = &[Migration {
    name: "test/0001_note",
    sql: "create table note (id INTEGER not null primary key, text TEXT not null) STRICT;
        create index note_text on note (text)",
}];

async fn open(path: &Path) -> Result<Db, StoreError> {
    Db::open_sqlite(path, SqliteOptions { secure_delete: true }, &[NOTES]).await
}

async fn write(db: &Db, id: i64, text: &str) -> Result<(), StoreError> {
    let mut tx = db.write().await?;
    on!(tx, connection => {
        sqlx::query("insert into note (id, text) values ($1, $2)")
            .bind(id)
            .bind(text)
            .execute(connection)
            .await
            .map(|_| ())
    })?;
    tx.commit().await
}

async fn ids(tx: &mut Tx) -> Result<Vec<i64>, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select id from note order by id").fetch_all(connection).await)
}

/// Every byte of the files of a database.
fn bytes(path: &Path) -> Vec<u8> {
    let beside = |suffix| fs::read(format!("{}{suffix}", path.display())).unwrap_or_default();
    [beside(""), beside("-wal"), beside("-shm")].concat()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_setting_that_does_not_hold_is_refused() {
    // SQLite keeps a database in memory out of WAL, as it does one on a network share, without a word.
    let error = Db::open_sqlite(Path::new(":memory:"), SqliteOptions::default(), &[]).await.err().unwrap();
    assert!(matches!(error, StoreError::Setting { setting: "journal_mode", .. }), "{error}");
    assert!(error.to_string().contains("journal_mode") && error.to_string().contains("wal"), "{error}");
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    fs::write(&path, "no database ".repeat(1_000)).unwrap();
    let error = open(&path).await.err().unwrap();
    assert!(matches!(&error, StoreError::Damaged { place, .. } if Path::new(place) == path), "{error}");
    assert_eq!(fs::read(&path).unwrap().len(), 12_000, "left as it was");
    let nowhere = open(&folder.path().join("nowhere/log.db")).await.err().unwrap();
    assert!(matches!(nowhere, StoreError::Disk { .. }), "{nowhere}");
}

#[tokio::test]
async fn damage_in_the_structure_of_any_page_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let db = open(&path).await.unwrap();
    for id in 0..100 {
        write(&db, id, &format!("{id} {}", "x".repeat(500))).await.unwrap();
    }
    check_integrity(&db).await.unwrap();
    db.close().await;
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4_096;
    assert!(pages > 20);
    for page in 0..pages {
        let mut damaged = whole.clone();
        damaged[page * 4_096..][..40].fill(0xa5);
        fs::write(&path, damaged).unwrap();
        let found = match open(&path).await {
            Ok(db) => {
                let found = check_integrity(&db).await;
                db.close().await;
                found.err()
            }
            Err(error) => Some(error),
        };
        let error = found.unwrap_or_else(|| panic!("damage in page {page} was not found"));
        assert!(error.to_string().contains("log.db"), "{error}");
        let typed = matches!(error, StoreError::Damaged { .. });
        // In the pages of the schema it may read as another schema.
        assert!(typed || page < 4, "{page}: {error:?}");
    }
}

#[tokio::test]
async fn what_was_deleted_is_in_none_of_the_files_after_a_checkpoint() {
    let (db, _folder) = testing::sqlite(&[NOTES]).await;
    let path = Path::new(db.place()).to_owned();
    for id in 0..50 {
        let text = format!("{}{}", if id % 2 == 0 { "erased-" } else { "kept---" }, "y".repeat(900));
        write(&db, id, &text).await.unwrap();
    }
    let mut tx = db.write().await.unwrap();
    on!(tx, connection => {
        sqlx::query("delete from note where text like 'erased-%'").execute(connection).await.map(|_| ())
    })
    .unwrap();
    tx.commit().await.unwrap();
    assert!(contains(&bytes(&path), "erased-"), "the log still has it, or the test shows nothing");
    checkpoint(&db).await.unwrap();
    assert!(!contains(&bytes(&path), "erased-"));
    assert!(contains(&bytes(&path), "kept---"));
    vacuum(&db).await.unwrap();
    checkpoint(&db).await.unwrap();
    assert!(!contains(&bytes(&path), "erased-"));
    assert_eq!(ids(&mut db.read().await.unwrap()).await.unwrap().len(), 25);
}

#[tokio::test]
async fn a_checkpoint_says_when_a_reader_keeps_it_from_emptying_the_log() {
    let (db, _folder) = testing::sqlite(&[NOTES]).await;
    write(&db, 1, "x").await.unwrap();
    let mut reader = db.read().await.unwrap();
    assert_eq!(ids(&mut reader).await.unwrap(), [1]);
    write(&db, 2, "x").await.unwrap();
    assert!(matches!(checkpoint(&db).await, Err(StoreError::Unavailable { .. })));
    drop(reader);
    checkpoint(&db).await.unwrap();
}

#[tokio::test]
async fn a_second_writer_waits_and_is_then_told_to_try_again() {
    let (db, _folder) = testing::sqlite(&[NOTES]).await;
    let held = db.write().await.unwrap();
    let error = db.write().await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert_eq!(error.fault().reason, rollcall_core::Reason::Unavailable);
    drop(held);
    write(&db, 1, "x").await.unwrap();
}

/// What a child of the next test runs: opens the file that it is told and writes until a write fails.
#[tokio::test]
async fn a_child_writes_until_it_fails() {
    let Some(subject) = told() else { return };
    let db = open(Path::new(&subject)).await.unwrap();
    println!("\nopen");
    for id in 0..200 {
        if let Err(error) = write(&db, id, &"z".repeat(500)).await {
            println!("failed at {id}: {error:?}");
            break;
        }
        println!("committed {id}");
    }
}

#[tokio::test]
async fn a_failing_disk_is_told_apart_from_a_full_one_and_nothing_committed_is_lost() {
    for (call, what, words) in [
        ("fdatasync", "error=EIO:when=40+", "Disk {"),
        ("pwrite64", "error=EIO:when=150+", "Disk {"),
        ("pwrite64", "error=ENOSPC:when=150+", "Full {"),
        ("pwrite64", "error=EROFS:when=150+", "Disk {"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let child = child("a_child_writes_until_it_fails", path.to_str().unwrap());
        let output = strace(&child, call, what, None).output().unwrap();
        let output = String::from_utf8_lossy(&output.stdout);
        let failed = output.lines().find(|line| line.starts_with("failed at"));
        let failed = failed.unwrap_or_else(|| panic!("{call} {what} did not fail: {output}"));
        assert!(failed.contains(words), "{call} {what}: {failed}");
        let committed = output.lines().filter(|line| line.starts_with("committed")).count();
        assert!(committed > 5, "{call} {what}: {committed}");
        let db = open(&path).await.unwrap();
        check_integrity(&db).await.unwrap();
        let found = ids(&mut db.read().await.unwrap()).await.unwrap();
        assert!(found.len() >= committed, "{call} {what}: {} of {committed}", found.len());
        db.close().await;
    }
}

#[tokio::test]
async fn a_log_torn_at_any_kilobyte_loses_only_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let db = open(&path).await.unwrap();
    for id in 0..10 {
        write(&db, id, &"t".repeat(300)).await.unwrap();
    }
    let (file, log) = (fs::read(&path).unwrap(), fs::read(folder.path().join("log.db-wal")).unwrap());
    db.close().await;
    let mut most = 0;
    for length in (0..log.len()).step_by(1_024).chain([log.len()]) {
        let torn = tempfile::tempdir().unwrap();
        let path = torn.path().join("log.db");
        fs::write(&path, &file).unwrap();
        fs::write(torn.path().join("log.db-wal"), &log[..length]).unwrap();
        let db = open(&path).await.unwrap();
        check_integrity(&db).await.unwrap();
        let found = ids(&mut db.read().await.unwrap()).await.unwrap();
        assert!(
            found.iter().copied().eq(0..found.len() as i64) && found.len() >= most,
            "{length}: {found:?}"
        );
        most = found.len();
        db.close().await;
    }
    assert_eq!(most, 10);
}
