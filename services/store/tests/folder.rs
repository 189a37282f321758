//! The data folder and its keys.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use proptest::prelude::*;
use rollcall_store::{DataFolder, StoreError, read_private, replace_file};
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
fn a_file_that_is_replaced_is_for_its_owner_alone_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery.key");
    for key in [[7; 32], [8; 32]] {
        replace_file(&path, &key).unwrap();
        assert_eq!(read_private(&path, 32).unwrap()[..], key);
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn f078_a_key_that_others_can_use_is_refused_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery.key");
    replace_file(&path, &[7; 32]).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o601] {
        chmod(&path, mode);
        let refusal = words(read_private(&path, 32));
        assert!(refusal.contains(&format!("chmod 600 {}", path.display())), "{refusal}");
    }
    chmod(&path, 0o400);
    read_private(&path, 32).unwrap();
}

#[test]
fn f078_a_key_of_another_owner_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery.key");
    replace_file(&path, &[7; 32]).unwrap();
    // Only root can give a file away; /proc has files of root's for everybody else.
    let us = fs::metadata(&path).unwrap().uid();
    let foreign = if us == 0 {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        path.as_path()
    } else {
        Path::new("/proc/1/stat")
    };
    let refusal = words(read_private(foreign, 32));
    assert!(refusal.contains(&format!("run: chown {us} {}", foreign.display())), "{refusal}");
}

#[test]
fn f078_a_symbolic_link_or_what_is_no_file_is_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("real.key");
    replace_file(&path, &[7; 32]).unwrap();
    let link = folder.path().join("link.key");
    symlink(&path, &link).unwrap();
    assert!(words(read_private(&link, 32)).contains("symbolic link"));
    let dangling = folder.path().join("dangling.key");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    assert!(words(read_private(&dangling, 32)).contains("symbolic link"));
    assert!(!folder.path().join("nowhere").exists());
    assert!(words(read_private(folder.path(), 32)).contains("is not a file"));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(words(read_private(&pipe, 32)).contains("is not a file"));
}

/// What the child of the next test runs: makes the key that it is told.
#[test]
fn a_child_makes_the_key_it_is_told() {
    let Some(subject) = told() else { return };
    replace_file(Path::new(&subject), &[7; 32]).unwrap();
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
            assert!(left.is_err() || left.is_ok_and(|left| left == [7; 32]));
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
