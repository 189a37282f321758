//! Restoring a backup: all of it is checked, beside the data folder, and then put in place by one rename.
//!
//! On disk: `.NAME.restoring` beside the folder NAME, locked (flock) while a restore works in it; a crash leaves it,
//! and the next restore empties it. A kill at any moment leaves no data folder (or the empty one that was there) or the
//! whole one.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;

use super::{Kind, Manifest, archive, blocking, checked_copy};
use crate::folder::{self, RESERVED, RESTORED, file_error};
use crate::migrate::{self, Migration};
use crate::{StoreError, replace_file};

/// Makes the data folder `into` from a backup. `into` is not there yet, or empty. `known` are the migrations of this
/// program. The folder then has `restored.json`, the backup's manifest; when `into` was there, everything is its
/// owner's.
///
/// # Errors
/// When the backup is damaged, encrypted otherwise than said, or of a newer program, or `into` is in use or not empty.
/// Nothing was changed then.
pub async fn restore(
    file: &Path,
    passphrase: Option<SecretString>,
    into: &Path,
    known: &[&[Migration]],
) -> Result<Manifest, StoreError> {
    let (staging, target) = blocking({
        let into = into.to_owned();
        move || {
            let target = Target::claim(&into)?;
            Ok((Staging::claim(&target)?, target))
        }
    })
    .await?;
    let manifest = blocking({
        let (file, place) = (file.to_owned(), staging.path.clone());
        move || archive::unpack(&file, passphrase, &place)
    })
    .await?;
    for one in manifest.files.iter().filter(|one| one.kind == Kind::Database) {
        check_database(file, &one.name, &staging.path.join(&one.name), known).await?;
    }
    blocking({
        let manifest = manifest.clone();
        move || put_in_place(&staging, target, &manifest)
    })
    .await?;
    tracing::info!(made_at_us = manifest.made_at_us, "backup restored");
    Ok(manifest)
}

/// What a backup says is in it: to look at before it is restored. Only the beginning of the file is read.
///
/// # Errors
/// When the beginning is damaged, encrypted otherwise than said, or of a newer program.
pub async fn read_manifest(file: &Path, passphrase: Option<SecretString>) -> Result<Manifest, StoreError> {
    let file = file.to_owned();
    blocking(move || archive::manifest(&file, passphrase)).await
}

/// An unpacked database must be sound, and no newer than this program.
async fn check_database(
    file: &Path,
    name: &str,
    copy: &Path,
    known: &[&[Migration]],
) -> Result<(), StoreError> {
    let mut tx = checked_copy(file, name, copy).await?;
    match migrate::check(&mut tx, known).await {
        Ok(()) => Ok(()),
        Err(StoreError::Newer { migration, .. } | StoreError::MigrationChanged { migration, .. }) => {
            Err(StoreError::BackupNewer {
                file: file.to_owned(),
                what: format!("\"{name}\" has the migration \"{migration}\", which this program has not"),
            })
        }
        Err(error) => Err(StoreError::BackupDamaged { file: file.to_owned(), problem: error.to_string() }),
    }
}

/// The data folder to be.
struct Target {
    path: PathBuf,
    parent: PathBuf,
    /// Of an empty folder that is there: its lock, when it has one, and its owner.
    there: Option<(Option<File>, std::fs::Metadata)>,
}

impl Target {
    /// Looks that it is free, and keeps it so.
    fn claim(into: &Path) -> Result<Self, StoreError> {
        let occupied =
            |problem: &str| StoreError::Occupied { path: into.to_owned(), problem: problem.to_owned() };
        let name = into.file_name().ok_or_else(|| occupied("is no name for a data folder"))?;
        let parent = match into.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = parent.canonicalize().map_err(|source| file_error("find the folder", parent, source))?;
        let path = parent.join(name);
        let Ok(metadata) = path.symlink_metadata() else { return Ok(Self { path, parent, there: None }) };
        if !metadata.is_dir() {
            return Err(occupied("is no folder; restore to a new one"));
        }
        let lock = match path.join(RESERVED[0]).exists() {
            true => Some(folder::lock(&path)?),
            false => None,
        };
        let names = list(&path)?;
        let [lock_name, tmp_name, _] = RESERVED;
        if names.iter().any(|name| name != lock_name && name != tmp_name) {
            return Err(occupied("is not empty; restore to a new folder, or move what is in it away"));
        }
        Ok(Self { path, parent, there: Some((lock, metadata)) })
    }
}

/// Names in a folder.
fn list(path: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    let entries = std::fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
    });
    entries.map_err(|source| file_error("list", path, source))
}

/// The folder that a backup is unpacked to. Removed when dropped, unless it was renamed.
struct Staging {
    path: PathBuf,
    _lock: File,
}

impl Staging {
    fn claim(target: &Target) -> Result<Self, StoreError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.path.file_name().unwrap_or_default());
        name.push(".restoring");
        let path = target.parent.join(name);
        folder::make_folder(&path)?;
        let opened = File::open(&path).map_err(|source| file_error("open", &path, source))?;
        if opened.try_lock().is_err() {
            return Err(StoreError::Occupied {
                path,
                problem: "is in use by another restore; wait for that".to_owned(),
            });
        }
        // What a crash left.
        folder::remove_tree(&path)?;
        folder::make_folder(&path)?;
        let opened = File::open(&path).map_err(|source| file_error("open", &path, source))?;
        opened.try_lock().map_err(|source| file_error("lock", &path, source.into()))?;
        Ok(Self { path, _lock: opened })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = folder::remove_tree(&self.path) {
            tracing::warn!(%error, "an unfinished restore stays until the next");
        }
    }
}

/// Syncs everything, and renames.
fn put_in_place(staging: &Staging, target: Target, manifest: &Manifest) -> Result<(), StoreError> {
    let listed = serde_json::to_vec_pretty(manifest);
    let listed = listed.map_err(|error| file_error("write", &target.path, error.into()))?;
    replace_file(&staging.path.join(RESTORED), &listed)?;
    for name in list(&staging.path)? {
        let path = staging.path.join(name);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|source| file_error("sync", &path, source))?;
        give(&path, &target)?;
    }
    give(&staging.path, &target)?;
    folder::sync_folder(&staging.path)?;
    if target.there.is_some() {
        let [lock, tmp, _] = RESERVED;
        folder::remove_tree(&target.path.join(tmp))?;
        let lock = target.path.join(lock);
        if let Err(source) = std::fs::remove_file(&lock)
            && source.kind() != std::io::ErrorKind::NotFound
        {
            return Err(file_error("remove", &lock, source));
        }
    }
    std::fs::rename(&staging.path, &target.path)
        .map_err(|source| file_error("put the restored folder at", &target.path, source))?;
    folder::sync_folder(&target.parent)
}

/// Gives a file to the owner of the folder that was there: an administrator restores for the service's account.
fn give(path: &Path, target: &Target) -> Result<(), StoreError> {
    let Some((_, owner)) = &target.there else { return Ok(()) };
    let ours = path.symlink_metadata().map_err(|source| file_error("look at", path, source))?;
    if (ours.uid(), ours.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))
        .map_err(|source| file_error("give to its owner", path, source))
}
