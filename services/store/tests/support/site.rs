//! A data folder with two databases and a key, as a terminal has it, and backups of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rollcall_store::{
    Backup, DataFolder, Db, FactsFuture, Manifest, Migration, SecretString, SqliteOptions, StoreError, Tx,
    on, replace_file, restore,
};

pub const LOG: &[Migration] = &[Migration {
    name: "log/0001_event",
    sql: "create table event (seq INTEGER not null primary key, person INTEGER not null) STRICT;
        create table head (one INTEGER not null primary key, seq INTEGER not null) STRICT;
        insert into head (one, seq) values (1, 0);",
}];
pub const GALLERY: &[Migration] = &[Migration {
    name: "gallery/0001_person",
    sql: "create table person (id INTEGER not null primary key, name TEXT not null) STRICT",
}];
pub const KNOWN: &[&[Migration]] = &[LOG, GALLERY];

/// A data folder with two databases and a key.
pub struct Site {
    pub folder: DataFolder,
    pub log: Db,
    pub gallery: Db,
}

impl Site {
    pub async fn open(path: &Path) -> Self {
        let folder = DataFolder::open(path).unwrap();
        let log = Db::open_sqlite(&folder.file("log.db"), SqliteOptions::default(), &[LOG]).await.unwrap();
        let options = SqliteOptions { secure_delete: true };
        let gallery = Db::open_sqlite(&folder.file("gallery.db"), options, &[GALLERY]).await.unwrap();
        replace_file(&folder.file("gallery.key"), &[7; 32]).unwrap();
        Self { folder, log, gallery }
    }

    pub fn backup(&self) -> Backup<'_> {
        Backup::new(&self.folder)
            .database("log.db", &self.log, log_facts)
            .database("gallery.db", &self.gallery, gallery_facts)
            .key("gallery.key")
    }

    /// Somebody new, who then comes in: the log refers to the gallery.
    pub async fn event(&self) {
        let mut tx = self.log.write().await.unwrap();
        let seq = head(&mut tx).await.unwrap() + 1;
        let mut people = self.gallery.write().await.unwrap();
        on!(people, connection => {
            sqlx::query("insert into person (id, name) values ($1, $2)")
                .bind(seq)
                .bind(format!("person {seq}"))
                .execute(connection)
                .await
                .map(|_| ())
        })
        .unwrap();
        people.commit().await.unwrap();
        on!(tx, connection => {
            sqlx::query("insert into event (seq, person) values ($1, $1)")
                .bind(seq)
                .execute(&mut *connection)
                .await?;
            sqlx::query("update head set seq = $1").bind(seq).execute(connection).await.map(|_| ())
        })
        .unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn close(self) {
        self.log.close().await;
        self.gallery.close().await;
    }
}

pub async fn head(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select seq from head").fetch_one(connection).await)
}

pub async fn numbers(tx: &mut Tx, sql: &'static str) -> Result<Vec<i64>, StoreError> {
    on!(tx, connection => sqlx::query_scalar(sql).fetch_all(connection).await)
}

pub fn log_facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async { Ok(BTreeMap::from([("head".to_owned(), head(tx).await?.to_string())])) })
}

pub fn gallery_facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async {
        let people = numbers(tx, "select id from person").await?.len();
        Ok(BTreeMap::from([("people".to_owned(), people.to_string())]))
    })
}

pub fn passphrase() -> Option<SecretString> {
    Some(SecretString::from("correct horse battery".to_owned()))
}

/// Both databases tell one moment, and the facts of the manifest.
pub async fn assert_a_moment(path: &Path, manifest: &Manifest) -> i64 {
    let site = Site::open(path).await;
    let mut log = site.log.read().await.unwrap();
    let head = head(&mut log).await.unwrap();
    let events = numbers(&mut log, "select seq from event order by seq").await.unwrap();
    assert!(events.iter().copied().eq(1..=head), "the log has all events up to its head");
    let mut gallery = site.gallery.read().await.unwrap();
    let people = numbers(&mut gallery, "select id from person order by id").await.unwrap();
    assert!(people.iter().copied().eq(1..=people.len() as i64), "the gallery has all people");
    assert!(people.len() as i64 >= head, "every event's person is in the gallery");
    assert_eq!(manifest.files[0].facts["head"], head.to_string());
    assert_eq!(manifest.files[1].facts["people"], people.len().to_string());
    drop((log, gallery));
    site.close().await;
    head
}

pub fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A backup of three events, and what is around it.
pub struct Made {
    pub parent: tempfile::TempDir,
    pub file: PathBuf,
    pub manifest: Manifest,
}

pub async fn made(passphrase: Option<SecretString>) -> Made {
    let parent = tempfile::tempdir().unwrap();
    let site = Site::open(&parent.path().join("data")).await;
    for _ in 0..3 {
        site.event().await;
    }
    let file = parent.path().join("site.backup");
    let report = site.backup().write(&file, passphrase).await.unwrap();
    site.close().await;
    Made { parent, file, manifest: report.manifest }
}

impl Made {
    pub fn target(&self) -> PathBuf {
        self.parent.path().join("restored")
    }

    /// Restoring these bytes must fail and leave nothing.
    pub async fn refuse(&self, bytes: &[u8], passphrase: Option<SecretString>) -> StoreError {
        let file = self.parent.path().join("changed.backup");
        fs::write(&file, bytes).unwrap();
        let before = names(self.parent.path());
        let error = restore(&file, passphrase, &self.target(), KNOWN).await.expect_err("a refusal");
        assert_eq!(names(self.parent.path()), before, "{error}");
        error
    }
}
