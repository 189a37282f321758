//! The data folder: who may use it, and the keys in it.
//!
//! On disk, all for the owner alone (folder 0700, files 0600):
//!
//! - `lock`: locked (flock) by the one process that uses the folder, with its pid and program as text. A file that is
//!   left by a crash is not locked.
//! - `tmp/`: unfinished work, such as a backup being made. Emptied when the folder is opened.
//! - `restored.json`: when the folder came from a backup, that backup's manifest.
//! - keys and tokens ([`read_private`]): for the owner alone. Written to `NAME.new`, synced and renamed, so a torn one is never read.
//! - everything else belongs to the services.
//!
//! What this protects: other accounts of the machine cannot read the folder. Root can, and so can whoever takes the
//! disk, except what is encrypted with a key that is kept elsewhere.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rollcall_core::limits;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::StoreError;

const LOCK: &str = "lock";
const TMP: &str = "tmp";

/// The manifest of the backup that a folder was restored from; a service that must not go on as if nothing had
/// happened looks for it.
pub const RESTORED: &str = "restored.json";

/// Names in a data folder that are not a service's.
pub(crate) const RESERVED: [&str; 3] = [LOCK, TMP, RESTORED];

/// Bits of a mode that give something to the group or to others.
const OTHERS: u32 = 0o077;

/// A folder that this process alone uses, until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Absent: the folder of another process.
    lock: Option<File>,
}

impl DataFolder {
    /// Opens the folder, makes it when it is not there, and locks it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] names the process that has it; [`StoreError::Exposed`] when others may read or write it,
    /// or it is somebody else's.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| file_error("make the data folder", path, source))?;
        // So that no message and no child depends on where the program was started.
        let path = path.canonicalize().map_err(|source| file_error("find the data folder", path, source))?;
        check_folder(&path)?;
        let lock = Some(lock(&path)?);
        let folder = Self { path, lock };
        remove_tree(&folder.path.join(TMP))?;
        make_folder(&folder.path.join(TMP))?;
        Ok(folder)
    }

    /// The folder of a program that may be running, to back it up: it is not locked, and nothing in it is changed but
    /// `tmp`. A program that starts meanwhile empties `tmp`, and the backup fails.
    ///
    /// # Errors
    /// When it is not there; [`StoreError::Exposed`] as [`DataFolder::open`].
    pub fn of_another(path: &Path) -> Result<Self, StoreError> {
        let path = path.canonicalize().map_err(|source| file_error("find the data folder", path, source))?;
        check_folder(&path)?;
        make_folder(&path.join(TMP))?;
        Ok(Self { path, lock: None })
    }

    /// Where it is: absolute, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The place of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder for unfinished work.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.path.join(TMP)
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // Closing the file would not do: a child that is just being started has it open too, until it runs.
        let _ = self.lock.as_ref().map(File::unlock);
    }
}

/// Takes the lock of a folder for this process.
pub(crate) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    loop {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW))
            .open(&path);
        let mut file = opened.map_err(|source| file_error("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // What cannot be read is not named; the folder is in use all the same.
                let _ = file.take(limits::LOCK_FILE_SIZE_BYTES).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    holder => holder.to_owned(),
                };
                return Err(StoreError::InUse { folder: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &path, source)),
        }
        // Between the two calls a restore may have put another folder in this one's place.
        if is_same_file(&file, &path) {
            let program = std::env::current_exe().ok();
            let program = program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
            let text = format!("process {} ({})\n", std::process::id(), program.unwrap_or("unknown".into()));
            let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
            written.map_err(|source| file_error("write", &path, source))?;
            return Ok(file);
        }
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (Ok(open), Ok(named)) = (file.metadata(), path.symlink_metadata()) else { return false };
    identity(open) == identity(named)
}

/// Reads a file that holds a secret: a key, a password, a token.
///
/// # Errors
/// [`StoreError::Exposed`] when it is a symbolic link or no file, when others may read or write it, when it is somebody
/// else's, or when it is larger than `size_max_bytes`.
pub fn read_private(path: &Path, size_max_bytes: u64) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    // A pipe in the file's place must not keep us waiting.
    let opened =
        OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(exposed(path, "is a symbolic link", "put the file itself there"));
        }
        opened => opened.map_err(|source| file_error("open", path, source))?,
    };
    let metadata = file.metadata().map_err(|source| file_error("look at", path, source))?;
    if !metadata.is_file() {
        return Err(exposed(path, "is not a file", "put a file there"));
    }
    check_owner(path, &metadata, 0o600)?;
    if metadata.len() > size_max_bytes {
        let problem =
            format!("has {} bytes, more than the {size_max_bytes} that it may have", metadata.len());
        return Err(exposed(path, &problem, "look whether it is the right file"));
    }
    // Room for one byte more, so that the buffer is not moved and left behind while it grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    let read = file.take(size_max_bytes).read_to_end(&mut bytes);
    read.map_err(|source| file_error("read", path, source))?;
    Ok(bytes)
}

fn check_folder(path: &Path) -> Result<(), StoreError> {
    let metadata = path.metadata().map_err(|source| file_error("look at the data folder", path, source))?;
    check_owner(path, &metadata, 0o700)
}

/// Nobody but us may have a right, and it is ours.
fn check_owner(path: &Path, metadata: &std::fs::Metadata, mode: u32) -> Result<(), StoreError> {
    let us = rustix::process::geteuid();
    if metadata.uid() != us.as_raw() {
        let problem = format!("belongs to user {}, not to {us:?}, who runs this", metadata.uid());
        return Err(exposed(path, &problem, &format!("run: chown {} {}", us.as_raw(), path.display())));
    }
    if metadata.mode() & OTHERS != 0 {
        let problem = format!("can be used by others (mode {:03o})", metadata.mode() & 0o777);
        return Err(exposed(path, &problem, &format!("run: chmod {mode:o} {}", path.display())));
    }
    Ok(())
}

fn exposed(path: &Path, problem: &str, remedy: &str) -> StoreError {
    StoreError::Exposed { path: path.to_owned(), problem: problem.to_owned(), remedy: remedy.to_owned() }
}

/// Puts a file with these bytes, for the owner alone, in the place of whatever is there. A crash leaves the old one or
/// the new one; when this returns, the new one survives a power cut.
///
/// # Errors
/// What the disk says.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    if let Err(source) = std::fs::remove_file(&new)
        && source.kind() != io::ErrorKind::NotFound
    {
        return Err(file_error("remove", &new, source));
    }
    let mut file = create_private(&new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| file_error("write", &new, source))?;
    std::fs::rename(&new, path).map_err(|source| file_error("rename a new file to", path, source))?;
    sync_folder(path.parent().unwrap_or(Path::new("/")))
}

/// Makes a file for the owner alone. There must be none.
pub(crate) fn create_private(path: &Path) -> Result<File, StoreError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(|source| file_error("make", path, source))
}

/// Makes a folder for the owner alone, unless it is there.
pub(crate) fn make_folder(path: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(file_error("make", path, source)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it, if it is there. Symbolic links are removed, not followed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path, source)),
        _ => Ok(()),
    }
}

/// Makes what was created, renamed or removed in a folder survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| file_error("sync", path, source))
}

pub(crate) fn file_error(doing: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File { doing, path: path.to_owned(), source }
}

pub(crate) fn flags(flags: OFlags) -> i32 {
    // The kernel's type; the bits are small.
    flags.bits().cast_signed()
}
