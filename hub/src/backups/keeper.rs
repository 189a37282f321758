//! Backups by the clock: made, read back, noted, and removed again when they are old.
//!
//! Every process with a backup folder looks once a minute; one at a time makes a backup. A backup is noted once it was
//! read back, with how far each log goes in it: events go from terminals only once the two newest have them. A file that
//! is gone keeps nothing, and is counted again when it is back. What fails is an alarm, in the log and in the health of
//! every process, and is tried again after an hour.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rollcall_attendance::{Clock as _, Log, Quality, SystemClock};
use rollcall_core::UtcInstant;
use rollcall_program::health::part;
use rollcall_program::shell::passphrase;
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_server::health::Probe;
use rollcall_store::{DataFolder, Db, StoreError, Turn};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::calendar::Calendar;
use super::make;
use crate::config;
use crate::place::Store;
use crate::store::backups::{self as table, Known, Made};

/// A backup is late so much at most.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure: a disk that is full or gone is so for a while.
const TRY_AGAIN: Duration = Duration::from_secs(3_600);
/// Two nights without one: something is wrong that no attempt has told of.
const OLD: Duration = Duration::from_secs(50 * 3_600);
/// How a file's name begins.
const NAME: &str = "rollcall-";
/// The alarm in the event log.
const ALARM: &str = "BACKUP_FAILED";

/// What makes the backups of a process that has a folder for them.
pub struct Keeper {
    folder: PathBuf,
    passphrase_file: Option<PathBuf>,
    calendar: Calendar,
    store: Store,
    site: Db,
    log: Log,
    clock: Arc<SystemClock>,
    /// What is wrong, for whoever asks.
    problem: Arc<Mutex<Option<String>>>,
}

impl Keeper {
    /// As configured; `None` without a folder.
    pub fn new(
        config: &config::Backup,
        store: &Store,
        site: &Db,
        log: &Log,
        clock: &Arc<SystemClock>,
    ) -> Option<Self> {
        let calendar = Calendar {
            hour: u8::try_from(config.hour.get()).unwrap_or(0),
            daily: config.keep_daily.get() as usize,
            weekly: config.keep_weekly.get() as usize,
        };
        Some(Self {
            folder: config.folder.clone()?,
            passphrase_file: config.passphrase_file.clone(),
            calendar,
            store: store.clone(),
            site: site.clone(),
            log: log.clone(),
            clock: Arc::clone(clock),
            problem: Arc::default(),
        })
    }

    /// Whether backups are made as they should, for HealthService.
    pub fn probe(&self) -> Probe {
        let problem = Arc::clone(&self.problem);
        Box::new(move || part("backup", problem.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    /// Looks whether one is due, until `stop`. A backup that is being made then is not finished.
    pub async fn run(self, data: PathBuf, stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = stop.cancelled() => return,
            }
            // No backup is thrown away by a clock that was not set.
            if self.clock.read().quality == Quality::Unset {
                continue;
            }
            tokio::select! {
                looked = self.look(&data, UtcInstant::now()) => if let Err(error) = looked {
                    tracing::warn!(%error, "it is not known whether a backup is due");
                },
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&self, data: &Path, now: UtcInstant) -> anyhow::Result<()> {
        let zone = rollcall_attendance::zone(&self.site).await?;
        let known = table::known(&self.site).await?;
        self.show(&known, now);
        let is_due = |known: &Known| {
            let newest = known.there.first().map(|newest| newest.made);
            let waits = known.failed.as_ref().is_some_and(|(failed, _)| *failed > now.before(TRY_AGAIN));
            !waits && self.calendar.is_due(newest, &zone, now)
        };
        if !is_due(&known) {
            return Ok(());
        }
        let Some(_turn) = Turn::take(&self.site, "backup").await? else { return Ok(()) };
        self.find_files().await?;
        // Another process may have made it meanwhile.
        if !is_due(&table::known(&self.site).await?) {
            return Ok(());
        }
        match self.make(data, now).await {
            Ok(()) => self.made(&known).await,
            Err(error) => self.failed(&error, now).await?,
        }
        let made: Vec<Made> = table::known(&self.site).await?.there;
        let times: Vec<UtcInstant> = made.iter().map(|one| one.made).collect();
        let kept = self.calendar.kept(&times, &zone);
        for (old, _) in made.iter().zip(kept).filter(|(_, kept)| !kept) {
            self.remove(old).await?;
        }
        self.show(&table::known(&self.site).await?, now);
        Ok(())
    }

    async fn make(&self, data: &Path, now: UtcInstant) -> anyhow::Result<()> {
        let passphrase = self.passphrase_file.as_deref().map(passphrase).transpose()?;
        anyhow::ensure!(
            self.folder.is_dir(),
            "the backup folder {} is not there: make it, or mount its disk",
            self.folder.display()
        );
        self.remove_unfinished()?;
        let file = file_name(now);
        let data = DataFolder::of_another(data)?;
        let report = make(&data, &self.store, &self.folder.join(&file), passphrase).await?;
        let facts = report.manifest.files.iter().flat_map(|file| file.facts.clone()).collect();
        let positions = rollcall_attendance::positions(&facts);
        let made = UtcInstant::from_micros(report.manifest.made_at_us);
        let size_bytes = i64::try_from(report.size_bytes).unwrap_or(i64::MAX);
        table::insert(&self.site, &Made { file, made, size_bytes }, &positions).await?;
        Ok(())
    }

    /// Removes what a crash, or a stop while a backup was being made, has left.
    fn remove_unfinished(&self) -> anyhow::Result<()> {
        let listed = || -> std::io::Result<()> {
            for entry in std::fs::read_dir(&self.folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(NAME) && name.ends_with(".partial") {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        listed().with_context(|| self.folder.display().to_string())
    }

    async fn made(&self, before: &Known) {
        if before.failed.is_some() {
            self.raise(true).await;
        }
    }

    async fn failed(&self, error: &anyhow::Error, now: UtcInstant) -> Result<(), StoreError> {
        let problem = format!("{error:#}");
        tracing::error!(error = problem, "no backup could be made");
        if table::set_failed(&self.site, &problem, now).await? {
            self.raise(false).await;
        }
        Ok(())
    }

    async fn raise(&self, cleared: bool) {
        let alarm = v1::AlarmRaised { alarm: ALARM.to_owned(), cleared, value: 0 };
        if let Err(error) = self.log.append(Kind::AlarmRaised(alarm)).await {
            tracing::warn!(error = error.fault().reason.as_str(), "the log did not take an alarm");
        }
    }

    /// Looks which files are there.
    async fn find_files(&self) -> Result<(), StoreError> {
        let listed = table::list(&mut self.site.read().await?).await?;
        for (made, was_there) in listed {
            let is_there = self.folder.join(&made.file).is_file();
            if is_there != was_there {
                tracing::warn!(file = made.file, is_there, "a backup's file has come or gone");
                table::set_there(&self.site, &made.file, is_there).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, old: &Made) -> anyhow::Result<()> {
        table::delete(&self.site, &old.file).await?;
        let path = self.folder.join(&old.file);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        tracing::info!(file = old.file, "an old backup was removed");
        Ok(())
    }

    fn show(&self, known: &Known, now: UtcInstant) {
        let problem = match (&known.failed, known.there.first()) {
            (Some((failed, problem)), _) => Some(format!("the backup of {failed} failed: {problem}")),
            (None, Some(newest)) if newest.made < now.before(OLD) => {
                Some(format!("the newest backup is of {}", newest.made))
            }
            _ => None,
        };
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// "rollcall-20261129-020013.backup", in UTC.
fn file_name(made: UtcInstant) -> String {
    let digits: String = made.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at(digits.len().min(8));
    format!("{NAME}{day}-{time}.backup")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_moment() {
        let made = UtcInstant::from_micros(1_793_552_399_123_456);
        assert_eq!(file_name(made), "rollcall-20261101-165959.backup");
    }
}
