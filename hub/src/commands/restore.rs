//! `hub restore`: a hub from a backup. No hub must run on it; everything is checked before anything is put in place.
//!
//! Who was erased is in no backup. So a hub that is replaced gives that to the one that takes its place, with its
//! authorities, and its gallery's key where the backup has none: whoever was erased after the backup was made stays erased.
//! The two folders are exchanged in one step; the former is put aside and stays.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use rollcall_core::UtcInstant;
use rollcall_program::folder;
use rollcall_program::shell::{passphrase, runtime, tell_restored};
use rollcall_server::{CA_NEXT_FILE, CA_NEXT_KEY_FILE};
use rollcall_store::{DataFolder, Manifest, SecretString, check_empty_postgres, read_manifest};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::databases::{ALL, known};
use crate::place::{Place, Store};
use crate::restored;

/// The site's authorities, all of one folder.
const AUTHORITIES: [&str; 4] = [folder::CA, folder::CA_KEY, CA_NEXT_FILE, CA_NEXT_KEY_FILE];

/// Options of `hub restore`.
#[derive(clap::Args)]
pub struct Args {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Put the hub that is in the data folder aside, and take from it who was erased since and keys that the backup lacks
    #[arg(long)]
    replace: bool,
    /// File with the passphrase that it was made with
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (config, data) = args.place.read()?;
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let store = Store::of(&config.store)?;
    runtime()?.block_on(restore(args, &data, &store, passphrase))?;
    Ok(ExitCode::SUCCESS)
}

async fn restore(
    args: &Args,
    data: &Path,
    store: &Store,
    passphrase: Option<SecretString>,
) -> anyhow::Result<()> {
    check_engine(&args.file, &read_manifest(&args.file, passphrase.clone()).await?, store)?;
    if let Store::Server { url } = store {
        check_empty_postgres(url).await?;
    }
    let manifest = match args.replace {
        false => rollcall_store::restore(&args.file, passphrase, data, &known()).await?,
        true => replace(&args.file, passphrase, data).await?,
    };
    restored::finish(data, store).await?;
    tell_restored(data, &manifest);
    Ok(())
}

/// A backup of one engine is not restored to the other.
fn check_engine(file: &Path, manifest: &Manifest, store: &Store) -> anyhow::Result<()> {
    let is_of_server = manifest.files.iter().any(|file| file.name == ALL);
    let shown = file.display();
    match (is_of_server, store) {
        (true, Store::Files) => anyhow::bail!(
            "{shown} is of a hub on PostgreSQL: give it a configuration whose [store] names an empty database"
        ),
        (false, Store::Server { .. }) => anyhow::bail!(
            "{shown} is of a hub on SQLite files: give it a configuration without a database in [store]"
        ),
        _ => Ok(()),
    }
}

/// Restores beside the folder that is there, and exchanges the two.
async fn replace(file: &Path, passphrase: Option<SecretString>, data: &Path) -> anyhow::Result<Manifest> {
    // Nobody runs on it, and nobody starts to.
    let former = DataFolder::of_another(data).and_then(|_| DataFolder::open(data))?;
    let beside = named_after(former.path(), ".restored");
    let owner = former.path().metadata().with_context(|| former.path().display().to_string())?;
    std::fs::DirBuilder::new().mode(0o700).create(&beside).with_context(|| {
        format!(
            "cannot make {}; if an earlier restore has left it, look what is in it and move it away",
            beside.display()
        )
    })?;
    give(&beside, &owner)?;
    let manifest = rollcall_store::restore(file, passphrase, &beside, &known()).await?;
    if former.file(folder::CA_KEY).exists() {
        // One may have taken over since, and it is the one that terminals trust.
        for name in AUTHORITIES {
            remove(&beside.join(name))?;
            keep(&former.file(name), &beside.join(name), &owner)?;
        }
    }
    for name in [folder::ERASURES, folder::GALLERY_KEY] {
        keep(&former.file(name), &beside.join(name), &owner)?;
    }
    let exchanged = renameat_with(CWD, &beside, CWD, former.path(), RenameFlags::EXCHANGE);
    exchanged
        .with_context(|| format!("cannot put {} in the place of {}", beside.display(), data.display()))?;
    let aside = named_after(former.path(), &format!(".before-{}", UtcInstant::now().micros() / 1_000_000));
    std::fs::rename(&beside, &aside).with_context(|| format!("cannot rename {}", beside.display()))?;
    println!("{}: what was there before", aside.display());
    Ok(manifest)
}

fn named_after(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    folder.with_file_name(name)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Copies a file that is there to a place where none is.
fn keep(from: &Path, to: &Path, owner: &std::fs::Metadata) -> anyhow::Result<()> {
    if !from.exists() || to.exists() {
        return Ok(());
    }
    let copy = || {
        let mut target = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        std::io::copy(&mut std::fs::File::open(from)?, &mut target)?;
        target.sync_all()
    };
    copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    give(to, owner)
}

/// An administrator restores for the service's account.
fn give(path: &Path, owner: &std::fs::Metadata) -> anyhow::Result<()> {
    let given = std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()));
    given.with_context(|| format!("cannot give {} to its owner", path.display()))
}
