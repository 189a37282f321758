//! The data folder and its keys.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use proptest::prelude::*;
use rollcall_store::{DataFolder, Secret, StoreError, read_private, replace_file};
use support::{child, killed_at, told};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn words(result: Result<impl Sized, StoreError>) -> String {
    result.err().expect("a refusal").to_string()
}

/// What the child of the next test runs: holds the folder until its input ends.
#[test]
fn a_child_holds_what_it_is_told() {
    let Some(subject) = told() else { return };
    let _folder = DataFolder::open(Path::new(&subject)).unwrap();
    println!("\nheld");
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn f015_a_second_process_on_a_data_folder_is_refused_and_told_of_the_first() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let mut first = child("a_child_holds_what_it_is_told", path.to_str().unwrap());
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "held"));
    let refusal = words(DataFolder::open(&path));
    assert!(refusal.contains(&format!("process {} (folder-", first.id())), "{refusal}");
    assert!(refusal.contains(path.to_str().unwrap()), "{refusal}");
    first.kill().unwrap();
    first.wait().unwrap();
    let second = DataFolder::open(&path).unwrap();
    assert!(words(DataFolder::open(&path)).contains(&format!("process {} ", std::process::id())));
    drop(second);
    DataFolder::open(&path).unwrap();
}

#[test]
fn a_new_folder_is_for_its_owner_alone_and_unfinished_work_in_it_is_removed() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("of/data");
    let folder = DataFolder::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.file("lock")).unwrap().mode() & 0o777, 0o600);
    fs::create_dir(folder.file("tmp/backup")).unwrap();
    fs::write(folder.file("tmp/backup/half"), "x").unwrap();
    fs::write(folder.file("log.db"), "kept").unwrap();
    drop(folder);
    let folder = DataFolder::open(&path).unwrap();
    assert_eq!(fs::read_dir(folder.file("tmp")).unwrap().count(), 0);
    assert!(folder.file("log.db").exists());
}

#[test]
fn a_folder_that_others_can_use_is_refused_with_the_command_that_mends_it() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    drop(DataFolder::open(&path).unwrap());
    for mode in [0o755, 0o710, 0o702, 0o777] {
        chmod(&path, mode);
        let refusal = words(DataFolder::open(&path));
        assert!(refusal.contains(&format!("chmod 700 {}", path.display())), "{refusal}");
    }
    chmod(&path, 0o700);
    DataFolder::open(&path).unwrap();
}

#[test]
fn a_key_is_made_once_and_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery.key");
    let first = Secret::open_or_create(&path).unwrap();
    let again = Secret::open_or_create(&path).unwrap();
    assert_eq!(first.bytes(), again.bytes());
    assert_ne!(first.bytes(), &[0; 32]);
    assert_ne!(first.bytes(), Secret::open_or_create(&folder.path().join("other")).unwrap().bytes());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(format!("{first:?}"), "Secret(..)");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside the two");
}

#[test]
fn f078_a_key_that_others_can_use_is_refused_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery.key");
    Secret::open_or_create(&path).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o601] {
        chmod(&path, mode);
        let refusal = words(Secret::open_or_create(&path));
        assert!(refusal.contains(&format!("chmod 600 {}", path.display())), "{refusal}");
    }
    chmod(&path, 0o400);
    Secret::open_or_create(&path).unwrap();
}

#[test]
fn f078_a_key_of_another_owner_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery.key");
    Secret::open_or_create(&path).unwrap();
    // Only root can give a file away; /proc has files of root's for everybody else.
    let us = fs::metadata(&path).unwrap().uid();
    let foreign = if us == 0 {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        path.as_path()
    } else {
        Path::new("/proc/1/stat")
    };
    let refusal = words(Secret::open_or_create(foreign));
    assert!(refusal.contains(&format!("run: chown {us} {}", foreign.display())), "{refusal}");
}

#[test]
fn f078_a_symbolic_link_or_what_is_no_file_is_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("real.key");
    Secret::open_or_create(&path).unwrap();
    let link = folder.path().join("link.key");
    symlink(&path, &link).unwrap();
    assert!(words(Secret::open_or_create(&link)).contains("symbolic link"));
    let dangling = folder.path().join("dangling.key");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    assert!(words(Secret::open_or_create(&dangling)).contains("symbolic link"));
    assert!(!folder.path().join("nowhere").exists());
    assert!(words(Secret::open_or_create(folder.path())).contains("is not a file"));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(words(Secret::open(&pipe)).contains("is not a file"));
}

#[test]
fn a_key_of_another_length_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery.key");
    for length in [0, 1, 31, 33, 64] {
        replace_file(&path, &vec![7; length]).unwrap();
        words(Secret::open_or_create(&path));
        assert_eq!(fs::read(&path).unwrap(), vec![7; length]);
    }
    replace_file(&path, &[7; 32]).unwrap();
    assert_eq!(Secret::open_or_create(&path).unwrap().bytes(), &[7; 32]);
}

/// What the child of the next test runs: makes the key that it is told.
#[test]
fn a_child_makes_the_key_it_is_told() {
    let Some(subject) = told() else { return };
    Secret::open_or_create(Path::new(&subject)).unwrap();
}

#[test]
fn a_crash_while_a_key_is_made_leaves_none_or_a_whole_one() {
    for call in ["write", "fsync", "rename", "openat"] {
        for nth in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("gallery.key");
            let ended =
                killed_at(&child("a_child_makes_the_key_it_is_told", path.to_str().unwrap()), call, nth);
            let left = fs::read(&path);
            let key = Secret::open_or_create(&path).unwrap();
            assert!(left.is_err() || left.is_ok_and(|left| left == key.bytes()));
            if ended {
                break;
            }
        }
    }
}

proptest! {
    #[test]
    fn a_private_file_is_read_whole_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0_u64..200) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        match read_private(file.path(), max) {
            Ok(read) => prop_assert_eq!(read.as_slice(), bytes.as_slice()),
            Err(_) => prop_assert!(bytes.len() as u64 > max),
        }
    }
}
