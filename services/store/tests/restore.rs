//! A restore takes a whole backup of ours and nothing else, and touches nothing before it knows.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rollcall_store::{DataFolder, Migration, SecretString, StoreError, restore};
use support::site::{GALLERY, KNOWN, LOG, Made, assert_a_moment, made, names, passphrase};
use support::{child, killed_at, told};

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

/// What a child of the sweep below runs: restores `NAME.backup` to `NAME`.
#[tokio::test]
async fn a_child_restores_what_it_is_told() {
    let Some(subject) = told() else { return };
    let backup = Path::new(&subject).with_extension("backup");
    restore(&backup, None, Path::new(&subject), KNOWN).await.unwrap();
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
