//! Backups hold a moment that existed, and a restore takes nothing else.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rollcall_store::testing::postgres;
use rollcall_store::{
    Backup, DataFolder, Db, FactsFuture, Kind, Manifest, Migration, RESTORED, SecretString, SqliteOptions,
    StoreError, Tx, Writes, on, restore,
};
use support::{child, killed_at, strace, told};

const LOG: &[Migration] = &[Migration {
    name: "log/0001_event",
    sql: "create table event (seq INTEGER not null primary key, person INTEGER not null) STRICT;
        create table head (one INTEGER not null primary key, seq INTEGER not null) STRICT;
        insert into head (one, seq) values (1, 0);",
}];
const GALLERY: &[Migration] = &[Migration {
    name: "gallery/0001_person",
    sql: "create table person (id INTEGER not null primary key, name TEXT not null) STRICT",
}];
const KNOWN: &[&[Migration]] = &[LOG, GALLERY];

/// A data folder with two databases and a key.
struct Site {
    folder: DataFolder,
    log: Db,
    gallery: Db,
}

impl Site {
    async fn open(path: &Path) -> Self {
        let folder = DataFolder::open(path).unwrap();
        let log = Db::open_sqlite(&folder.file("log.db"), SqliteOptions::default(), &[LOG]).await.unwrap();
        let options = SqliteOptions { secure_delete: true };
        let gallery = Db::open_sqlite(&folder.file("gallery.db"), options, &[GALLERY]).await.unwrap();
        rollcall_store::Secret::open_or_create(&folder.file("gallery.key")).unwrap();
        Self { folder, log, gallery }
    }

    fn backup(&self) -> Backup<'_> {
        Backup::new(&self.folder)
            .database("log.db", &self.log, log_facts)
            .database("gallery.db", &self.gallery, gallery_facts)
            .key("gallery.key")
    }

    /// Somebody new, who then comes in: the log refers to the gallery.
    async fn event(&self) {
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

    async fn close(self) {
        self.log.close().await;
        self.gallery.close().await;
    }
}

async fn head(tx: &mut Tx) -> Result<i64, StoreError> {
    on!(tx, connection => sqlx::query_scalar("select seq from head").fetch_one(connection).await)
}

async fn numbers(tx: &mut Tx, sql: &'static str) -> Result<Vec<i64>, StoreError> {
    on!(tx, connection => sqlx::query_scalar(sql).fetch_all(connection).await)
}

fn log_facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async { Ok(BTreeMap::from([("head".to_owned(), head(tx).await?.to_string())])) })
}

fn gallery_facts(tx: &mut Tx) -> FactsFuture<'_> {
    Box::pin(async {
        let people = numbers(tx, "select id from person").await?.len();
        Ok(BTreeMap::from([("people".to_owned(), people.to_string())]))
    })
}

fn passphrase() -> Option<SecretString> {
    Some(SecretString::from("correct horse battery".to_owned()))
}

/// Both databases tell one moment, and the facts of the manifest.
async fn assert_a_moment(path: &Path, manifest: &Manifest) -> i64 {
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

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A backup of three events, and what is around it.
struct Made {
    parent: tempfile::TempDir,
    file: PathBuf,
    manifest: Manifest,
}

async fn made(passphrase: Option<SecretString>) -> Made {
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
    fn target(&self) -> PathBuf {
        self.parent.path().join("restored")
    }

    /// Restoring these bytes must fail and leave nothing.
    async fn refuse(&self, bytes: &[u8], passphrase: Option<SecretString>) -> StoreError {
        let file = self.parent.path().join("changed.backup");
        fs::write(&file, bytes).unwrap();
        let before = names(self.parent.path());
        let error = restore(&file, passphrase, &self.target(), KNOWN).await.expect_err("a refusal");
        assert_eq!(names(self.parent.path()), before, "{error}");
        error
    }
}

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
async fn f024_a_backup_cut_off_anywhere_is_refused() {
    let made = made(None).await;
    let whole = fs::read(&made.file).unwrap();
    let blocks = (0..whole.len()).step_by(512).flat_map(|at| [at, at + 1, at + 511]);
    for length in blocks.filter(|length| *length < whole.len()) {
        let error = made.refuse(&whole[..length], None).await;
        assert!(matches!(error, StoreError::BackupDamaged { .. }), "{length}: {error}");
    }
    let more = [&whole[..], &[0]].concat();
    assert!(made.refuse(&more, None).await.to_string().contains("more than its manifest lists"));
}

#[tokio::test]
async fn f024_a_backup_with_one_byte_changed_is_refused() {
    let made = made(None).await;
    let whole = fs::read(&made.file).unwrap();
    // Each byte of the manifest; one in three of the other headers, most of which are zeros; fewer of the rest.
    let mut archive = tar::Archive::new(&whole[..]);
    let headers = archive.entries().unwrap().map(|entry| entry.unwrap().raw_header_position() as usize);
    let headers: Vec<usize> = headers.collect();
    let places = (0..whole.len()).filter(|at| {
        let in_header = headers.iter().any(|header| (*header..header + 512).contains(at));
        *at < headers[1] || (in_header && at % 3 == 0) || at % 61 == 0 || *at + 1 == whole.len()
    });
    for at in places {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        let error = made.refuse(&changed, None).await;
        assert!(
            matches!(error, StoreError::BackupDamaged { .. } | StoreError::BackupNewer { .. }),
            "{at}: {error}"
        );
    }
}

#[tokio::test]
async fn f024_an_encrypted_backup_that_is_cut_off_or_changed_is_refused() {
    let made = made(passphrase()).await;
    let whole = fs::read(&made.file).unwrap();
    for length in [0, 10, 22, 100, 200, whole.len() / 2, whole.len() - 1] {
        made.refuse(&whole[..length], passphrase()).await;
    }
    made.refuse(&[&whole[..], &[0]].concat(), passphrase()).await;
    for at in [0, 21, 30, 60, 90, 120, 160, 200, 1_000, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        made.refuse(&changed, passphrase()).await;
    }
}

#[tokio::test]
async fn f024_a_wrong_or_missing_passphrase_is_refused_with_what_to_do() {
    let sealed = made(passphrase()).await;
    let bytes = fs::read(&sealed.file).unwrap();
    let wrong = Some(SecretString::from("correct horse batterY".to_owned()));
    for (passphrase, words) in [(wrong, "is wrong"), (None, "is needed")] {
        let error = sealed.refuse(&bytes, passphrase).await;
        assert!(
            matches!(error, StoreError::BackupPassphrase { .. }) && error.to_string().contains(words),
            "{error}"
        );
    }
    let plain = made(None).await;
    let error = plain.refuse(&fs::read(&plain.file).unwrap(), passphrase()).await;
    assert!(error.to_string().contains("is not encrypted"), "{error}");
    assert!(!bytes.windows(6).any(|bytes| bytes == b"person"), "nothing can be read in it");
}

#[tokio::test]
async fn f024_a_backup_of_a_newer_program_is_refused() {
    let made = made(None).await;
    for known in [&[LOG][..], &[GALLERY], &[]] {
        let error = restore(&made.file, None, &made.target(), known).await.unwrap_err();
        assert!(matches!(error, StoreError::BackupNewer { .. }), "{error}");
        assert!(!made.target().exists());
    }
    let other = Migration { sql: "create table person (id INTEGER primary key) STRICT", ..GALLERY[0] };
    let error = restore(&made.file, None, &made.target(), &[LOG, &[other]]).await.unwrap_err();
    assert!(matches!(error, StoreError::BackupNewer { .. }), "{error}");
    let newer =
        Crafted::of(&made).manifest(|text| text.replace("\"format\": 1", "\"format\": 2, \"new\": 3"));
    let error = made.refuse(&newer.bytes(), None).await;
    assert!(matches!(error, StoreError::BackupNewer { .. }), "{error}");
}

/// A hostile tar file: entries as given, with right checksums, and a manifest with its right hash.
struct Crafted {
    manifest: String,
    mtime_s: u64,
    entries: Vec<(tar::Header, Vec<u8>)>,
}

impl Crafted {
    /// A backup as it is.
    fn of(made: &Made) -> Self {
        let mut archive = tar::Archive::new(fs::File::open(&made.file).unwrap());
        let mut entries: Vec<(tar::Header, Vec<u8>)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
                (entry.header().clone(), content)
            })
            .collect();
        entries.pop();
        let (header, manifest) = entries.remove(0);
        let manifest = String::from_utf8(manifest).unwrap();
        Self { manifest, mtime_s: header.mtime().unwrap(), entries }
    }

    fn manifest(mut self, change: impl Fn(String) -> String) -> Self {
        let changed = change(self.manifest.clone());
        assert_ne!(self.manifest, changed);
        self.manifest = changed;
        self
    }

    /// Changes the header of the first database.
    fn header(mut self, change: impl Fn(&mut tar::Header)) -> Self {
        change(&mut self.entries[0].0);
        self.entries[0].0.set_cksum();
        self
    }

    fn name(self, name: &str) -> Self {
        self.header(|header| {
            let field = &mut header.as_old_mut().name;
            field.fill(0);
            field[..name.len()].copy_from_slice(name.as_bytes());
        })
    }

    fn bytes(&self) -> Vec<u8> {
        use sha2::Digest as _;
        let hash = hex::encode(sha2::Sha256::digest(&self.manifest));
        let line = format!("{hash}  manifest.json\n");
        let plain = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_path(name).unwrap();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(self.mtime_s);
            header.set_cksum();
            (header, content.to_vec())
        };
        let first = plain("manifest.json", self.manifest.as_bytes());
        let last = plain("manifest.sha256", line.as_bytes());
        let mut bytes = Vec::new();
        for (header, content) in [first].iter().chain(&self.entries).chain([&last]) {
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

#[tokio::test]
async fn a_crafted_backup_that_changes_nothing_is_taken() {
    let made = made(None).await;
    assert_eq!(Crafted::of(&made).bytes(), fs::read(&made.file).unwrap());
}

#[tokio::test]
async fn f098_nothing_but_the_listed_regular_files_is_taken_from_a_backup() {
    use tar::EntryType;
    let made = made(None).await;
    let crafted = || Crafted::of(&made);
    let link = |kind, to: &'static str| {
        crafted().header(move |header| {
            header.set_entry_type(kind);
            header.set_link_name_literal(to).unwrap();
            header.set_size(0);
        })
    };
    let kind = |kind| crafted().header(move |header| header.set_entry_type(kind));
    let mut cases = vec![
        ("a symbolic link", link(EntryType::Symlink, "/etc/passwd")),
        ("a hard link", link(EntryType::Link, "gallery.db")),
        ("a device", kind(EntryType::Char)),
        ("a block device", kind(EntryType::Block)),
        ("a pipe", kind(EntryType::Fifo)),
        ("a folder", kind(EntryType::Directory)),
        ("a long name", kind(EntryType::GNULongName)),
        ("a pax header", kind(EntryType::XHeader)),
        ("a sparse file", kind(EntryType::GNUSparse)),
        ("setuid", crafted().header(|header| header.set_mode(0o4755))),
        ("larger than listed", crafted().header(|header| header.set_size(1 << 40))),
        ("smaller than listed", crafted().header(|header| header.set_size(1))),
    ];
    for name in
        ["../log.db", "/tmp/log.db", "a/log.db", "log.db\\..", "./log.db", "%2e%2e", "log.db ", "", ".."]
    {
        cases.push(("another name", crafted().name(name)));
    }
    // The manifest lists it as well.
    for name in [
        "../log.db",
        "/tmp/log.db",
        "a/log.db",
        "..",
        ".",
        ".hidden",
        "a\\\\b",
        "a\\u0000b",
        "%2e%2e",
        "lock",
        "tmp",
        "restored.json",
        "manifest.json",
        "",
        "Ä",
    ] {
        let listed = crafted().manifest(|text| text.replace("\"log.db\"", &format!("\"{name}\"")));
        cases.push(("a listed name", listed.name(&name.replace("\\\\", "\\").replace("\\u0000", ""))));
    }
    let long = "x".repeat(65);
    let listed = crafted().manifest(|text| text.replace("\"log.db\"", &format!("\"{long}\"")));
    cases.push(("a long listed name", listed.name(&long)));
    cases.push((
        "twice",
        crafted().manifest(|text| text.replace("\"log.db\"", "\"gallery.db\"")).name("gallery.db"),
    ));
    let mut more = crafted();
    more.entries.push(more.entries[0].clone());
    cases.push(("more than listed", more));
    let mut fewer = crafted();
    fewer.entries.pop();
    cases.push(("fewer than listed", fewer));
    let mut swapped = crafted();
    swapped.entries.swap(0, 1);
    cases.push(("in another order", swapped));
    cases.push(("unknown keys", crafted().manifest(|text| text.replacen('{', "{\"extra\": 1,", 1))));
    for (what, case) in cases {
        let error = made.refuse(&case.bytes(), None).await;
        assert!(matches!(error, StoreError::BackupDamaged { .. }), "{what}: {error}");
    }
    for nonsense in [&b""[..], b"\0", &[0; 10_240], b"age-encryption.org/v1\n", b"PK\x03\x04", &[0xff; 4_096]]
    {
        made.refuse(nonsense, None).await;
    }
    // A manifest that would be too large is refused before it is read.
    let mut huge = fs::read(&made.file).unwrap();
    let mut header = tar::Header::from_byte_slice(&huge[..512]).clone();
    header.set_size(2 << 20);
    header.set_cksum();
    huge[..512].copy_from_slice(header.as_bytes());
    assert!(made.refuse(&huge, None).await.to_string().contains("its manifest would have 2097152 bytes"));
}

#[tokio::test]
async fn f024_a_sound_archive_of_a_damaged_database_is_refused() {
    use sha2::Digest as _;
    let made = made(None).await;
    let mut crafted = Crafted::of(&made);
    let old = hex::encode(sha2::Sha256::digest(&crafted.entries[0].1));
    crafted.entries[0].1[4_096..4_200].fill(0xff);
    let new = hex::encode(sha2::Sha256::digest(&crafted.entries[0].1));
    let crafted = crafted.manifest(|text| text.replace(&old, &new));
    let error = made.refuse(&crafted.bytes(), None).await;
    assert!(error.to_string().contains("\"log.db\" in it is no sound database"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_in_use_or_not_empty_is_never_restored_to() {
    let made = made(None).await;
    let into = made.target();
    let words = async || restore(&made.file, None, &into, KNOWN).await.unwrap_err().to_string();
    let running = DataFolder::open(&into).unwrap();
    let refusal = words().await;
    assert!(refusal.contains(&format!("in use by process {}", std::process::id())), "{refusal}");
    drop(running);
    fs::write(into.join("log.db"), "theirs").unwrap();
    assert!(words().await.contains("is not empty"));
    assert_eq!(fs::read(into.join("log.db")).unwrap(), b"theirs");
    fs::remove_file(into.join("log.db")).unwrap();
    // Opened once and left: as good as empty.
    let manifest = restore(&made.file, None, &into, KNOWN).await.unwrap();
    assert_eq!(manifest, made.manifest);
    assert_a_moment(&into, &manifest).await;
    assert!(words().await.contains("is not empty"));
    fs::remove_dir_all(&into).unwrap();
    fs::write(&into, "a file").unwrap();
    assert!(words().await.contains("is no folder"));
    fs::remove_file(&into).unwrap();
    std::os::unix::fs::symlink(made.parent.path(), &into).unwrap();
    assert!(words().await.contains("is no folder"));
}

#[tokio::test]
async fn a_restored_folder_belongs_to_the_owner_of_the_one_that_was_there() {
    let made = made(None).await;
    let into = made.target();
    fs::create_dir(&into).unwrap();
    fs::set_permissions(&into, fs::Permissions::from_mode(0o700)).unwrap();
    let us = fs::metadata(&into).unwrap().uid();
    // Only root can give files away; anybody else's stay theirs.
    let owner = if us == 0 { 12_345 } else { us };
    std::os::unix::fs::chown(&into, Some(owner), None).unwrap();
    restore(&made.file, None, &into, KNOWN).await.unwrap();
    assert_eq!(fs::metadata(&into).unwrap().uid(), owner);
    for name in names(&into) {
        assert_eq!(fs::metadata(into.join(name)).unwrap().uid(), owner);
    }
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
    let server = postgres(&[LOG]).await;
    let error =
        Backup::new(&site.folder).database("log.db", &server, log_facts).write(&out, None).await.unwrap_err();
    assert!(error.to_string().contains("pg_dump"), "{error}");
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

/// Likewise: restores `NAME.backup` to `NAME`.
#[tokio::test]
async fn a_child_restores_what_it_is_told() {
    let Some(subject) = told() else { return };
    let backup = Path::new(&subject).with_extension("backup");
    restore(&backup, None, Path::new(&subject), KNOWN).await.unwrap();
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

#[tokio::test]
async fn f024_a_restore_killed_at_any_moment_leaves_nothing_or_the_whole() {
    let made = made(None).await;
    let mut seen = [false; 2];
    for (call, there) in [
        ("write", false),
        ("fsync", false),
        ("rename", false),
        ("rename", true),
        ("unlink", true),
        ("unlinkat", true),
        ("fsync", true),
        ("mkdir", true),
        ("rmdir", true),
    ] {
        for nth in 1.. {
            let into = made.parent.path().join("site");
            if there {
                drop(DataFolder::open(&into).unwrap());
            }
            let ended =
                killed_at(&child("a_child_restores_what_it_is_told", into.to_str().unwrap()), call, nth);
            let whole = into.join("log.db").exists();
            seen[usize::from(whole)] = true;
            if !whole {
                restore(&made.file, None, &into, KNOWN).await.unwrap();
            }
            assert_eq!(assert_a_moment(&into, &made.manifest).await, 3);
            assert_eq!(names(made.parent.path()), ["data", "site", "site.backup"]);
            fs::remove_dir_all(&into).unwrap();
            if ended {
                break;
            }
        }
    }
    assert_eq!(seen, [true, true], "killed before and after the rename");
}

#[test]
fn a_manifest_says_what_each_file_is() {
    assert_eq!(
        serde_json::to_string(&[Kind::Database, Kind::Key, Kind::File]).unwrap(),
        r#"["database","key","file"]"#
    );
}
