//! Backups: one file, made while everything runs, read back before it counts.
//!
//! On disk a backup is a tar file that any tar reads, and when a passphrase was given that tar file in the age format
//! (age-encryption.org/v1, scrypt), which any age opens. `backup/archive.rs` has the layout to the byte. While it is
//! made it is called `NAME.partial`; a crash leaves that, and the next backup of the name writes over it.
//!
//! Promises: each database is as it was at one moment; the databases are of moments in the order given, so that what an
//! earlier one refers to is in the later ones. `NAME` appears when all of it was read back from the disk: decrypted,
//! unpacked, every file hashed, every database checked page by page and found to tell the same facts as the copy it
//! was made of. Keys go only into an encrypted backup.
//!
//! A PostgreSQL database is in it as a SQLite file with the same tables (`rows.rs`).
//!
//! Not here: what is scheduled and what is kept.

mod archive;
mod restore;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use age::secrecy::{ExposeSecret as _, SecretString};
use rollcall_core::{UtcInstant, limits};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::folder::{self, RESERVED, file_error};
use crate::migrate::{self, Migration};
use crate::{DataFolder, Db, StoreError, Tx, db, rows};

pub use restore::{read_manifest, restore};

/// The newest format that this program writes and reads.
const FORMAT: u32 = 1;

/// What a service says about its database in a manifest: log heads, the hash of the gallery. Asked of the copy.
pub type Facts = for<'a> fn(&'a mut Tx) -> FactsFuture<'a>;

/// See [`Facts`].
pub type FactsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<BTreeMap<String, String>, StoreError>> + Send + 'a>>;

/// What goes into a backup.
pub struct Backup<'a> {
    folder: &'a DataFolder,
    /// Each with the migrations that it has, where it is to be made into a file.
    databases: Vec<(String, Db, &'a [&'a [Migration]], Facts)>,
    files: Vec<(String, Source, Kind)>,
}

/// What a file of a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A SQLite file.
    Database,
    /// A key: in encrypted backups only.
    Key,
    /// Anything else, such as settings.
    File,
}

/// What is in a backup: its first file, `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of what is around the files; this program reads 1.
    pub format: u32,
    /// The program that made it.
    pub program_version: String,
    /// When: microseconds since 1970 in UTC.
    pub made_at_us: i64,
    /// In the order in which they follow.
    pub files: Vec<ManifestFile>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Its name in the data folder.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its size.
    pub size_bytes: u64,
    /// Its hash, in hex.
    pub sha256: String,
    /// Of a database: the migrations that it has.
    pub migrations: Vec<String>,
    /// Of a database: what its service says about it.
    pub facts: BTreeMap<String, String>,
}

/// A backup that was made and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Where it is.
    pub path: PathBuf,
    /// How large.
    pub size_bytes: u64,
    /// Whether a passphrase is needed.
    pub encrypted: bool,
    /// What is in it.
    pub manifest: Manifest,
    /// Keys that are not in it, because it is not encrypted. Without them what they encrypted cannot be read; they must
    /// be kept elsewhere.
    pub keys_left_out: Vec<String>,
}

impl<'a> Backup<'a> {
    /// An empty one.
    pub fn new(folder: &'a DataFolder) -> Self {
        Self { folder, databases: Vec::new(), files: Vec::new() }
    }

    /// Adds a SQLite database under the name that its file shall have in the data folder. The log comes first: what it refers
    /// to is then in the databases after it.
    #[must_use]
    pub fn database(mut self, name: &str, db: &Db, facts: Facts) -> Self {
        self.databases.push((name.to_owned(), db.clone(), &[], facts));
        self
    }

    /// Adds a PostgreSQL database, which has these migrations, as a SQLite file of this name: what
    /// [`crate::restore_postgres`] takes.
    #[must_use]
    pub fn postgres(mut self, name: &str, db: &Db, migrations: &'a [&'a [Migration]], facts: Facts) -> Self {
        self.databases.push((name.to_owned(), db.clone(), migrations, facts));
        self
    }

    /// Adds a key of the data folder, which goes into an encrypted backup only.
    #[must_use]
    pub fn key(mut self, name: &str) -> Self {
        self.files.push((name.to_owned(), Source::File(self.folder.file(name)), Kind::Key));
        self
    }

    /// Adds a key that lies in the data folder in a form that is worth nothing elsewhere, as it shall be restored: into an
    /// encrypted backup only.
    #[must_use]
    pub fn opened_key(mut self, name: &str, key: &[u8]) -> Self {
        self.files.push((name.to_owned(), Source::Memory(Zeroizing::new(key.to_vec())), Kind::Key));
        self
    }

    /// Adds another file under the name that it shall have in the data folder. It must be replaced as a whole when it
    /// changes ([`crate::replace_file`]).
    #[must_use]
    pub fn file(mut self, name: &str, path: &Path) -> Self {
        self.files.push((name.to_owned(), Source::File(path.to_owned()), Kind::File));
        self
    }

    /// Makes the backup as the file `out`, which must not be there. Takes room for the databases in the data folder,
    /// twice over.
    ///
    /// # Errors
    /// When it could not be made, or not be read back; `out` is not there then.
    pub async fn write(
        self,
        out: &Path,
        passphrase: Option<SecretString>,
    ) -> Result<BackupReport, StoreError> {
        check_passphrase(out, passphrase.as_ref())?;
        if out.symlink_metadata().is_ok() {
            return Err(StoreError::Occupied {
                path: out.to_owned(),
                problem: "is there already; a backup does not write over another".to_owned(),
            });
        }
        let scratch = Scratch::make(self.folder)?;
        let encrypted = passphrase.is_some();
        let (manifest, keys_left_out) = self.copy(&scratch.copies, encrypted).await?;
        let partial = partial_name(out);
        blocking({
            let (partial, copies) = (partial.clone(), scratch.copies.clone());
            let (manifest, passphrase) = (manifest.clone(), passphrase.clone());
            move || {
                archive::write(open_partial(&partial)?, &partial, passphrase, &manifest, &copies)?;
                folder::remove_tree(&copies)
            }
        })
        .await?;
        let found = blocking({
            let (partial, read_back) = (partial.clone(), scratch.read_back.clone());
            move || archive::unpack(&partial, passphrase, &read_back)
        })
        .await?;
        self.compare(&partial, &found, &manifest, &scratch.read_back).await?;
        let size_bytes = blocking({
            let (partial, out) = (partial.clone(), out.to_owned());
            move || put_in_place(&partial, &out)
        })
        .await?;
        tracing::info!(size_bytes, encrypted, "backup made and read back");
        Ok(BackupReport { path: out.to_owned(), size_bytes, encrypted, manifest, keys_left_out })
    }

    /// Copies everything into a folder. Gives the manifest of the copies and the keys that were left out.
    async fn copy(&self, copies: &Path, encrypted: bool) -> Result<(Manifest, Vec<String>), StoreError> {
        let mut files = Vec::new();
        for (name, db, migrations, facts) in &self.databases {
            check_name(name)?;
            let copy = copies.join(name);
            match db {
                Db::Sqlite(file) => db::copy_sqlite(file, &copy).await?,
                Db::Postgres(_) => rows::to_file(db, &copy, migrations).await?,
            }
            let mut tx = db::read_copy(&copy).await?;
            let migrations = migrate::names(&mut tx).await?;
            let facts = facts(&mut tx).await?;
            files.push((name, Kind::Database, migrations, facts));
        }
        let (included, left_out): (Vec<_>, Vec<_>) =
            self.files.iter().partition(|(_, _, kind)| *kind != Kind::Key || encrypted);
        for (name, source, kind) in included {
            check_name(name)?;
            let (source, copy) = (source.clone(), copies.join(name));
            blocking(move || source.copy(&copy)).await?;
            files.push((name, *kind, Vec::new(), BTreeMap::new()));
        }
        let mut listed = Vec::new();
        for (name, kind, migrations, facts) in files {
            let copy = copies.join(name);
            let (size_bytes, sha256) = blocking(move || archive::measure(&copy)).await?;
            listed.push(ManifestFile { name: name.clone(), kind, size_bytes, sha256, migrations, facts });
        }
        let manifest = Manifest {
            format: FORMAT,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            made_at_us: UtcInstant::now().micros(),
            files: listed,
        };
        Ok((manifest, left_out.into_iter().map(|(name, ..)| name.clone()).collect()))
    }

    /// Whether what came back from the disk is what went there.
    async fn compare(
        &self,
        partial: &Path,
        found: &Manifest,
        manifest: &Manifest,
        read_back: &Path,
    ) -> Result<(), StoreError> {
        let damaged = |problem: String| StoreError::BackupDamaged { file: partial.to_owned(), problem };
        if found != manifest {
            return Err(damaged("its manifest came back changed".to_owned()));
        }
        for ((name, _, _, facts), file) in self.databases.iter().zip(&manifest.files) {
            let copy = read_back.join(name);
            let mut tx = checked_copy(partial, name, &copy).await?;
            let facts = facts(&mut tx).await?;
            if facts != file.facts || migrate::names(&mut tx).await? != file.migrations {
                return Err(damaged(format!("\"{name}\" came back changed")));
            }
        }
        Ok(())
    }
}

/// Opens the database that was unpacked from `backup` to `copy`, after looking for damage in every page.
async fn checked_copy(backup: &Path, name: &str, copy: &Path) -> Result<Tx, StoreError> {
    let checked = async {
        let mut tx = db::read_copy(copy).await?;
        db::check_every_page(&mut tx).await?;
        Ok(tx)
    };
    checked.await.map_err(|error: StoreError| StoreError::BackupDamaged {
        file: backup.to_owned(),
        problem: format!("\"{name}\" in it is no sound database: {error}"),
    })
}

/// Names are those of files in the data folder itself, in characters that mean nothing to a shell.
fn check_name(name: &str) -> Result<(), StoreError> {
    if is_plain_name(name) {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "a backup cannot have a file of that name");
    Err(file_error("back up", Path::new(name), source))
}

/// Whether a file in a backup may have this name.
fn is_plain_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=limits::BACKUP_NAME_BYTES).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && ![archive::MANIFEST, archive::MANIFEST_HASH].contains(&name)
        && !RESERVED.contains(&name)
}

fn check_passphrase(out: &Path, passphrase: Option<&SecretString>) -> Result<(), StoreError> {
    let short = |passphrase: &SecretString| {
        passphrase.expose_secret().chars().count() < limits::BACKUP_PASSPHRASE_CHARS_MIN
    };
    if passphrase.is_some_and(short) {
        return Err(StoreError::BackupPassphrase {
            file: out.to_owned(),
            problem: "is too short for what it protects; take at least 12 characters, better six random words",
        });
    }
    Ok(())
}

fn partial_name(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    out.with_file_name(name)
}

/// Opens `NAME.partial`, for this process alone, empty.
fn open_partial(partial: &Path) -> Result<File, StoreError> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(folder::flags(OFlags::NOFOLLOW))
        .open(partial);
    let file = opened.map_err(|source| file_error("make", partial, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::Occupied {
                path: partial.to_owned(),
                problem: "is being written by another backup".to_owned(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(file_error("lock", partial, source)),
    }
    file.set_len(0).map_err(|source| file_error("empty", partial, source))?;
    Ok(file)
}

/// Gives a finished backup its name. Returns its size.
fn put_in_place(partial: &Path, out: &Path) -> Result<u64, StoreError> {
    std::fs::rename(partial, out).map_err(|source| file_error("rename the backup to", out, source))?;
    folder::sync_folder(out.parent().unwrap_or(Path::new("/")))?;
    let metadata = out.metadata().map_err(|source| file_error("look at", out, source))?;
    Ok(metadata.len())
}

/// Where a file of a backup comes from.
#[derive(Clone)]
enum Source {
    File(PathBuf),
    Memory(Zeroizing<Vec<u8>>),
}

impl Source {
    fn copy(&self, to: &Path) -> Result<(), StoreError> {
        match self {
            Self::File(from) => copy_file(from, to),
            Self::Memory(bytes) => {
                let written = folder::create_private(to)?.write_all(bytes);
                written.map_err(|source| file_error("write", to, source))
            }
        }
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(folder::flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(from);
    let mut file = opened.map_err(|source| file_error("open", from, source))?;
    let copied = io::copy(&mut file, &mut folder::create_private(to)?);
    copied.map(|_| ()).map_err(|source| file_error("copy", from, source))
}

/// Folders for the copies and for what is read back; removed when dropped.
struct Scratch {
    root: PathBuf,
    copies: PathBuf,
    read_back: PathBuf,
}

impl Scratch {
    fn make(folder: &DataFolder) -> Result<Self, StoreError> {
        let mut number = [0; 8];
        let random = getrandom::fill(&mut number);
        random.map_err(|error| file_error("get random bytes for", folder.path(), error.into()))?;
        let root = folder.tmp().join(format!("backup-{}", hex::encode(number)));
        let scratch = Self { copies: root.join("copies"), read_back: root.join("read-back"), root };
        for path in [&scratch.root, &scratch.copies, &scratch.read_back] {
            folder::make_folder(path)?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = folder::remove_tree(&self.root) {
            tracing::warn!(%error, "copies of a backup stay until the next start");
        }
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(StoreError::Panicked),
        Err(_) => Err(StoreError::Stopping),
    }
}
