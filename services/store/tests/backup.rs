//! Backups hold a moment that existed, and count when they were read back.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rollcall_store::testing::postgres;
use rollcall_store::{
    Backup, DataFolder, Db, FactsFuture, Kind, RESTORED, SecretString, StoreError, Tx, Writes, restore,
};
use support::site::{GALLERY, KNOWN, Site, assert_a_moment, head, log_facts, made, names, passphrase};
use support::{child, killed_at, strace, told};

#[tokio::test]
async fn what_was_backed_up_comes_back_with_its_key_only_when_it_is_encrypted() {
    for passphrase in [None, passphrase()] {
        let parent = tempfile::tempdir().unwrap();
        let site = Site::open(&parent.path().join("data")).await;
        for _ in 0..3 {
            site.event().await;
        }
        let settings = parent.path().join("settings.toml");
        fs::write(&settings, "site = 1\n").unwrap();
        let out = parent.path().join("site.backup");
        let report =
            site.backup().file("settings.toml", &settings).write(&out, passphrase.clone()).await.unwrap();
        assert_eq!(report.encrypted, passphrase.is_some());
        assert_eq!(report.size_bytes, fs::metadata(&out).unwrap().len());
        assert_eq!(fs::metadata(&out).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(site.folder.file("tmp")).unwrap().count(), 0, "no copies are left");
        assert_eq!(names(parent.path()), ["data", "settings.toml", "site.backup"]);
        let into = parent.path().join("restored");
        let manifest = restore(&out, passphrase.clone(), &into, KNOWN).await.unwrap();
        assert_eq!(manifest, report.manifest);
        assert_eq!(names(parent.path()), ["data", "restored", "settings.toml", "site.backup"]);
        let mut expected = vec!["gallery.db", "log.db", RESTORED, "settings.toml"];
        match passphrase {
            Some(_) => {
                assert!(report.keys_left_out.is_empty());
                expected.insert(1, "gallery.key");
                let key = |folder: &Path| fs::read(folder.join("gallery.key")).unwrap();
                assert_eq!(key(&into), key(site.folder.path()));
            }
            None => assert_eq!(report.keys_left_out, ["gallery.key"]),
        }
        assert_eq!(names(&into), expected);
        assert_eq!(fs::metadata(&into).unwrap().mode() & 0o777, 0o700);
        for name in names(&into) {
            assert_eq!(fs::metadata(into.join(&name)).unwrap().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(assert_a_moment(&into, &manifest).await, 3);
        site.close().await;
    }
}

#[tokio::test]
async fn a_program_that_runs_is_backed_up_by_another() {
    let parent = tempfile::tempdir().unwrap();
    let site = Site::open(&parent.path().join("data")).await;
    site.event().await;
    let folder = DataFolder::of_another(site.folder.path()).unwrap();
    let log = Db::sqlite_of_another(&folder.file("log.db"));
    let gallery = Db::sqlite_of_another(&folder.file("gallery.db"));
    let out = parent.path().join("site.backup");
    let backup = Backup::new(&folder).database("log.db", &log, log_facts);
    let backup = backup.database("gallery.db", &gallery, support::site::gallery_facts);
    backup.write(&out, None).await.unwrap();
    site.event().await;
    site.close().await;
    let into = parent.path().join("restored");
    let manifest = restore(&out, None, &into, KNOWN).await.unwrap();
    assert_eq!(assert_a_moment(&into, &manifest).await, 1);
    let nowhere = parent.path().join("nowhere");
    assert!(DataFolder::of_another(&nowhere).is_err() && !nowhere.exists());
}

#[tokio::test]
async fn any_tar_reads_a_backup_that_is_not_encrypted() {
    let made = made(None).await;
    let plain = made.parent.path().join("by-tar");
    fs::create_dir(&plain).unwrap();
    for command in [["tar", "-xf", made.file.to_str().unwrap()], ["sha256sum", "-c", "manifest.sha256"]] {
        let output = Command::new(command[0]).args(&command[1..]).current_dir(&plain).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(names(&plain), ["gallery.db", "log.db", "manifest.json", "manifest.sha256"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f116_a_backup_made_while_writing_at_full_speed_is_of_a_moment_that_existed() {
    let parent = tempfile::tempdir().unwrap();
    let site = std::sync::Arc::new(Site::open(&parent.path().join("data")).await);
    let (stop, mut stopped) = tokio::sync::watch::channel(());
    stopped.mark_unchanged();
    let writing = {
        let site = std::sync::Arc::clone(&site);
        tokio::spawn(async move {
            let mut events = 0;
            while !stopped.has_changed().unwrap() {
                site.event().await;
                events += 1;
            }
            events
        })
    };
    let mut heads = Vec::new();
    for number in 0..4 {
        // Some events between two backups, however slow the disk is.
        let before = head(&mut site.log.read().await.unwrap()).await.unwrap();
        while head(&mut site.log.read().await.unwrap()).await.unwrap() < before + 5 {
            tokio::task::yield_now().await;
        }
        let out = parent.path().join(format!("{number}.backup"));
        let report = site.backup().write(&out, None).await.unwrap();
        let into = parent.path().join(format!("restored-{number}"));
        let manifest = restore(&out, None, &into, KNOWN).await.unwrap();
        assert_eq!(manifest, report.manifest);
        heads.push(assert_a_moment(&into, &manifest).await);
    }
    stop.send(()).unwrap();
    let events = writing.await.unwrap();
    assert!(heads.is_sorted() && heads[0] >= 5 && heads[3] <= events, "{heads:?} of {events}");
}

#[tokio::test]
async fn what_cannot_be_backed_up_rightly_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let site = Site::open(&parent.path().join("data")).await;
    let out = parent.path().join("site.backup");
    let short = Some(SecretString::from("short".to_owned()));
    assert!(matches!(site.backup().write(&out, short).await, Err(StoreError::BackupPassphrase { .. })));
    for name in ["../x", "/etc/passwd", "lock", "manifest.json", "", "a b"] {
        let refused = site.backup().file(name, Path::new("/etc/hostname")).write(&out, None).await;
        assert!(matches!(refused, Err(StoreError::File { .. })), "{name}");
    }
    let link = parent.path().join("link");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    assert!(site.backup().file("hostname", &link).write(&out, None).await.is_err());
    let older = postgres(&[GALLERY]).await;
    let backup = Backup::new(&site.folder).postgres("all.db", &older, KNOWN, log_facts);
    assert!(matches!(backup.write(&out, None).await, Err(StoreError::Behind { .. })));
    assert!(!out.exists());
    fs::write(&out, "an older backup").unwrap();
    assert!(matches!(site.backup().write(&out, None).await, Err(StoreError::Occupied { .. })));
    assert_eq!(fs::read(&out).unwrap(), b"an older backup");
    assert_eq!(fs::read_dir(site.folder.file("tmp")).unwrap().count(), 0);
    site.close().await;
}

#[tokio::test]
async fn a_damaged_database_makes_no_backup() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let site = Site::open(&path).await;
    for _ in 0..200 {
        site.event().await;
    }
    site.close().await;
    let mut bytes = fs::read(path.join("gallery.db")).unwrap();
    let last = bytes.len() - 4_096;
    bytes[last..].fill(0xa5);
    fs::write(path.join("gallery.db"), bytes).unwrap();
    let site = Site::open(&path).await;
    let out = parent.path().join("site.backup");
    let error = site.backup().write(&out, None).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. } | StoreError::BackupDamaged { .. }), "{error}");
    assert!(!out.exists());
    site.close().await;
}

/// Tells something else each time, as a database would that came back from the disk as another.
fn fickle_facts(_: &mut Tx) -> FactsFuture<'_> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    Box::pin(async move { Ok(BTreeMap::from([("asked".to_owned(), asked.to_string())])) })
}

#[tokio::test]
async fn a_backup_that_tells_other_facts_when_it_is_read_back_does_not_count() {
    let parent = tempfile::tempdir().unwrap();
    let site = Site::open(&parent.path().join("data")).await;
    let out = parent.path().join("site.backup");
    let backup = Backup::new(&site.folder).database("log.db", &site.log, fickle_facts);
    let error = backup.write(&out, None).await.unwrap_err();
    assert!(error.to_string().contains("\"log.db\" came back changed"), "{error}");
    assert!(!out.exists());
    site.close().await;
}

/// What a child of the sweeps below runs: makes `NAME.backup` of the site in `NAME`.
#[tokio::test]
async fn a_child_backs_up_what_it_is_told() {
    let Some(subject) = told() else { return };
    let site = Site::open(Path::new(&subject)).await;
    let out = Path::new(&subject).with_extension("backup");
    let writes = Writes::new();
    let report = writes.run(async move { site.backup().write(&out, None).await });
    if let Err(error) = report.await {
        println!("\nrefused: {error}");
    }
}

#[tokio::test]
async fn a_backup_that_the_disk_did_not_take_is_not_reported_as_made() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("site");
    Site::open(&path).await.close().await;
    let out = path.with_extension("backup");
    let child = child("a_child_backs_up_what_it_is_told", path.to_str().unwrap());
    let partial = parent.path().join("site.backup.partial");
    // The kernel says that it wrote, and did not.
    let output = strace(&child, "write", "retval=1:when=1", Some(&partial)).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && words.contains("refused: the backup"), "{output:?}");
    assert!(!out.exists());
}

#[tokio::test]
async fn a_backup_killed_at_any_moment_leaves_no_half_one() {
    let mut crashes = 0;
    for call in ["write", "fsync", "rename", "unlink", "openat"] {
        // Reading its libraries alone opens dozens of files.
        let step = if call == "openat" { 7 } else { 1 };
        for nth in (1..).step_by(step) {
            let parent = tempfile::tempdir().unwrap();
            let path = parent.path().join("site");
            let site = Site::open(&path).await;
            site.event().await;
            site.close().await;
            let out = path.with_extension("backup");
            let ended =
                killed_at(&child("a_child_backs_up_what_it_is_told", path.to_str().unwrap()), call, nth);
            if !out.exists() {
                assert!(!ended);
                let site = Site::open(&path).await;
                site.backup().write(&out, None).await.unwrap();
                site.close().await;
                assert_eq!(names(parent.path()), ["site", "site.backup"]);
            }
            let into = parent.path().join("restored");
            let manifest = restore(&out, None, &into, KNOWN).await.unwrap();
            assert_eq!(assert_a_moment(&into, &manifest).await, 1);
            if ended {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes >= 10, "only {crashes} crashes");
}

#[test]
fn a_manifest_says_what_each_file_is() {
    assert_eq!(
        serde_json::to_string(&[Kind::Database, Kind::Key, Kind::File]).unwrap(),
        r#"["database","key","file"]"#
    );
}
