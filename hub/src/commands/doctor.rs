//! `hub doctor`: looks at the machine and says what keeps a hub from working, and what to do about it. It changes nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rollcall_program::doctor::{self, Finding, State};
use rollcall_program::shell::{models_folder, runtime};
use rollcall_program::{folder, key};
use rollcall_store::{DataFolder, Db, StoreError, check_integrity};

use crate::config::Config;
use crate::place::{Place, Store};
use crate::store::backups as table;

/// Options of `hub doctor`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Status 0 when nothing is wrong.
pub fn run(models: Option<PathBuf>, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, data) = args.place.read()?;
    let store = Store::of(&config.store)?;
    let runtime = runtime()?;
    let mut findings = vec![key(&data), networks(models.or_else(|| config.models.clone()))];
    match &store {
        Store::Files => {
            for name in [folder::LOG, folder::GALLERY, folder::SITE] {
                findings.push(runtime.block_on(file(&data.join(name))));
            }
        }
        Store::Server { url } => findings.push(runtime.block_on(server(url))),
    }
    findings.extend([doctor::clock(), doctor::disk(&data)]);
    findings.extend(backup_folder(&config));
    findings.push(runtime.block_on(backups(&store, &data)));
    Ok(doctor::tell(findings.into_iter()))
}

fn key(data: &Path) -> Finding {
    const WHAT: &str = "key";
    if !data.exists() {
        let said = format!("no hub has run on {} yet", data.display());
        return Finding::new(WHAT, State::Look, said);
    }
    let found = DataFolder::of_another(data).map_err(Into::into).and_then(|data| key::of_another(&data));
    match found {
        Ok(_) => Finding::new(WHAT, State::Well, "the gallery's key is there, for the hub alone"),
        Err(error) => Finding::new(WHAT, State::Wrong, format!("{error:#}")),
    }
}

fn networks(models: Option<PathBuf>) -> Finding {
    const WHAT: &str = "networks";
    match models_folder(models) {
        Ok(folder) if folder.join("manifest.toml").is_file() => Finding::new(
            WHAT,
            State::Well,
            format!("{}; the hub checks them when it starts", folder.display()),
        ),
        Ok(folder) => {
            let said = format!("{} has no manifest.toml; is it the right folder?", folder.display());
            Finding::new(WHAT, State::Wrong, said)
        }
        Err(error) => Finding::new(WHAT, State::Wrong, error.to_string()),
    }
}

/// Every page of a file.
async fn file(path: &Path) -> Finding {
    const WHAT: &str = "database";
    if !path.exists() {
        return Finding::new(WHAT, State::Look, format!("{} is not there yet", path.display()));
    }
    let db = Db::sqlite_of_another(path);
    let checked = check_integrity(&db).await;
    db.close().await;
    match checked {
        Ok(()) => Finding::new(WHAT, State::Well, format!("{} is sound", path.display())),
        Err(error) => Finding::new(WHAT, State::Wrong, error.to_string()),
    }
}

async fn server(url: &str) -> Finding {
    const WHAT: &str = "database";
    let reached = async {
        let db = Db::postgres_of_another(url)?;
        db.read().await?;
        Ok::<_, StoreError>(db.place().to_owned())
    };
    match reached.await {
        Ok(place) => Finding::new(WHAT, State::Well, format!("{place} answers")),
        Err(error) => Finding::new(WHAT, State::Wrong, error.to_string()),
    }
}

/// What is noted of backups by the clock.
async fn backups(store: &Store, data: &Path) -> Finding {
    const WHAT: &str = "backups";
    let db = match store {
        Store::Files => Ok(Db::sqlite_of_another(&data.join(folder::SITE))),
        Store::Server { url } => Db::postgres_of_another(url),
    };
    let noted = async { table::known(&db?).await };
    let Ok(known) = noted.await else {
        return Finding::new(WHAT, State::Look, "none is noted: the hub has not run here yet");
    };
    if let Some((failed, problem)) = known.failed {
        return Finding::new(WHAT, State::Wrong, format!("the backup of {failed} failed: {problem}"));
    }
    let Some(newest) = known.there.first() else {
        return Finding::new(WHAT, State::Look, "there is none by the clock yet");
    };
    let free = match known.there.len() {
        1 => "terminals keep every event until there is a second one, or 30 days have passed",
        _ => "terminals may forget what is in the two newest",
    };
    let (count, made) = (known.there.len(), newest.made);
    Finding::new(WHAT, State::Well, format!("{count} were read back, the newest of {made}; {free}"))
}

fn backup_folder(config: &Config) -> Vec<Finding> {
    const WHAT: &str = "backups";
    match &config.backup.folder {
        None => {
            let said =
                "none are made by the clock: name a folder on another disk in [backup] of the configuration";
            vec![Finding::new(WHAT, State::Look, said)]
        }
        Some(folder) if !folder.is_dir() => {
            let said = format!("{} is not there: make it, or mount its disk", folder.display());
            vec![Finding::new(WHAT, State::Wrong, said)]
        }
        Some(folder) => {
            let mut findings = vec![doctor::disk(folder)];
            if config.backup.passphrase_file.is_none() {
                let said = "they have no passphrase, so gallery.key and ca.key are not in them: keep these elsewhere";
                findings.push(Finding::new(WHAT, State::Look, said));
            }
            findings
        }
    }
}
