//! What terminals are asked to do at once, and the hints that bring it to them.
//!
//! Whoever asks writes a row and waits for its answer, in whichever process. The process that the terminal is connected
//! to takes the row, once, and the terminal answers wherever its next call arrives. A row that nobody took in time is
//! made void by whoever asked; the moment of that is one update, which either the taking or the voiding wins.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::{CommandId, TerminalId, UtcInstant, limits};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Fleet, Site, known, rows};
use crate::TerminalError;
use crate::command::{Answer, Command, What};
use crate::registered::Registered;
use crate::store::commands::{self, State};

const PATIENCE: Duration = Duration::from_millis(limits::COMMAND_PATIENCE_MS);

/// Something for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// There is another revision to be pulled.
    Settings(i64),
    /// To be done now.
    Command(Command),
}

/// The hints for one connection of a terminal. The newest connection gets them; the one before ends, so that a
/// connection which died unnoticed takes no command.
pub struct Hints {
    fleet: Fleet,
    terminal: TerminalId,
    connection: i64,
    /// The revision that the terminal has or was told of.
    revision: i64,
    settings_news: watch::Receiver<i64>,
    commands_news: watch::Receiver<i64>,
    site_news: watch::Receiver<Site>,
    /// Whether settings or commands are still to be looked at: until that is done, should the caller go meanwhile.
    has_settings_news: bool,
    has_commands_news: bool,
    /// Taken, and not given yet: kept here by the task that took them, should the caller be gone by then.
    taken: Arc<Mutex<VecDeque<Command>>>,
}

impl Fleet {
    /// Opens a terminal's door for its usual time, and waits until it did.
    ///
    /// # Errors
    /// `NOT_FOUND`; `LIMIT_REACHED`: too many wait already; `UNAVAILABLE`: it was not taken, or not answered, within
    /// [`limits::COMMAND_PATIENCE_MS`]; what the terminal answers, `HARDWARE_ABSENT` mostly; the database.
    pub async fn open_door(&self, terminal: TerminalId, by: String) -> Result<(), TerminalError> {
        let deadline = Instant::now() + PATIENCE;
        let mut news = self.inner.commands_news.subscribe();
        let (registered, command) = self.ask(terminal, What::OpenDoor, by).await?;
        loop {
            if let Some(answer) = self.answered(terminal, command).await? {
                return done(answer);
            }
            tokio::select! {
                // The sender lives as long as this.
                _ = news.changed() => {}
                () = sleep_until(deadline) => return self.give_up(&registered, command).await,
            }
        }
    }

    async fn ask(
        &self,
        terminal: TerminalId,
        what: What,
        by: String,
    ) -> Result<(Registered, CommandId), TerminalError> {
        let this = self.clone();
        let ask = async move {
            let now = UtcInstant::now();
            let mut tx = this.inner.db.write().await?;
            let registered = Self::locked(&mut tx, terminal).await?;
            if registered.revoked.is_some() {
                let problem = format!("{} was revoked; adopt it anew", door(&registered));
                return Err(TerminalError::Unreachable(problem));
            }
            let kept = Duration::from_millis(limits::COMMAND_KEPT_MS);
            commands::delete_before(&mut tx, now.before(kept)).await?;
            let waiting = commands::count_waiting(&mut tx, terminal, now).await?;
            if usize::try_from(waiting).unwrap_or(usize::MAX) >= limits::COMMANDS_WAITING {
                let problem = format!("{waiting} orders for {} wait already", door(&registered));
                return Err(TerminalError::Limit(problem));
            }
            let command = Command { id: CommandId::generate(), what, by, void: now.after(PATIENCE) };
            commands::insert(&mut tx, terminal, &command, now).await?;
            let news = rows::tell_commands(&mut tx).await?;
            tx.commit().await?;
            this.inner.publish(news);
            Ok((registered, command.id))
        };
        self.inner.writes.run(ask).await
    }

    async fn answered(
        &self,
        terminal: TerminalId,
        command: CommandId,
    ) -> Result<Option<Answer>, TerminalError> {
        match commands::state(&mut self.inner.db.read().await?, terminal, command).await? {
            Some(State::Answered(answer)) => Ok(Some(answer)),
            _ => Ok(None),
        }
    }

    /// Nobody waits any more: what was not taken is void. An answer that has just come counts.
    async fn give_up(&self, registered: &Registered, command: CommandId) -> Result<(), TerminalError> {
        let (db, terminal) = (self.inner.db.clone(), registered.terminal);
        let end = async move {
            let mut tx = db.write().await?;
            let nobody_took_it = commands::put_void(&mut tx, command).await?;
            let state = commands::state(&mut tx, terminal, command).await?;
            let heard = rows::received(&mut tx, terminal).await?.heard;
            tx.commit().await?;
            Ok::<_, TerminalError>((nobody_took_it, state, heard))
        };
        let (nobody_took_it, state, heard) = self.inner.writes.run(end).await?;
        if let Some(State::Answered(answer)) = state {
            return done(answer);
        }
        let (door, seconds) = (door(registered), PATIENCE.as_secs());
        let heard = heard.map_or_else(|| "never".to_owned(), |heard| heard.to_string());
        Err(TerminalError::Unreachable(if nobody_took_it {
            format!(
                "{door} did not take the order within {seconds} s and will not do it any more; it was last heard from: \
                 {heard}; see whether it runs and reaches the hub"
            )
        } else {
            format!(
                "{door} took the order and has not said within {seconds} s whether it did it; its event log will say"
            )
        }))
    }

    /// What a terminal says has become of a command that it was given. Saying the same again changes nothing, and an
    /// answer that nobody waits for any more is kept all the same.
    ///
    /// # Errors
    /// `NOT_FOUND`: this terminal was given no such command; the database.
    pub async fn answer(
        &self,
        terminal: TerminalId,
        command: CommandId,
        answer: Answer,
    ) -> Result<(), TerminalError> {
        let this = self.clone();
        let put = async move {
            let mut tx = this.inner.db.write().await?;
            if !commands::put_answer(&mut tx, terminal, command, &answer).await? {
                let state = commands::state(&mut tx, terminal, command).await?;
                let is_answered = matches!(state, Some(State::Answered(_)));
                return is_answered.then_some(()).ok_or_else(|| TerminalError::NoCommand(command.name()));
            }
            let news = rows::tell_commands(&mut tx).await?;
            tx.commit().await?;
            this.inner.publish(news);
            Ok(())
        };
        self.inner.writes.run(put).await
    }

    /// The hints for a new connection of a terminal, which was told of `revision` in its Welcome. The connection that it
    /// had before gets no more.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn hints(&self, terminal: TerminalId, revision: i64) -> Result<Hints, TerminalError> {
        let this = self.clone();
        let connect = async move {
            let mut tx = this.inner.db.write().await?;
            let connection = rows::next_connection(&mut tx, terminal).await?;
            let connection = connection.ok_or_else(|| TerminalError::NotFound(terminal.name()))?;
            // So that the connection before notices.
            let news = rows::tell_commands(&mut tx).await?;
            tx.commit().await?;
            this.inner.publish(news);
            Ok::<_, TerminalError>(connection)
        };
        let connection = self.inner.writes.run(connect).await?;
        Ok(Hints {
            fleet: self.clone(),
            terminal,
            connection,
            revision,
            settings_news: self.inner.settings_news.subscribe(),
            commands_news: self.inner.commands_news.subscribe(),
            site_news: self.inner.site.subscribe(),
            // From before it subscribed.
            has_settings_news: true,
            has_commands_news: true,
            taken: Arc::default(),
        })
    }
}

impl Hints {
    /// The next hint; `None` when the terminal has a newer connection, or is revoked. Dropped before it is ready it loses
    /// nothing.
    ///
    /// # Errors
    /// The database.
    pub async fn next(&mut self) -> Result<Option<Hint>, TerminalError> {
        loop {
            if let Some(command) = self.taken.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return Ok(Some(Hint::Command(command)));
            }
            // A command before everything: somebody stands at a door.
            if self.has_commands_news {
                if !self.take().await? {
                    return Ok(None);
                }
                self.has_commands_news = false;
            } else if self.has_settings_news {
                let hint = self.settings().await?;
                self.has_settings_news = false;
                if hint.is_some() {
                    return Ok(hint);
                }
            } else {
                tokio::select! {
                    _ = self.commands_news.changed() => self.has_commands_news = true,
                    _ = self.settings_news.changed() => self.has_settings_news = true,
                    _ = self.site_news.changed() => self.has_settings_news = true,
                }
            }
        }
    }

    /// Takes what waits for this terminal; whether this is still the connection that may.
    async fn take(&self) -> Result<bool, TerminalError> {
        let (db, terminal, mine) = (self.fleet.inner.db.clone(), self.terminal, self.connection);
        let taken = Arc::clone(&self.taken);
        let take = async move {
            let now = UtcInstant::now();
            let mut tx = db.read().await?;
            let is_newest = rows::connection(&mut tx, terminal).await? == Some(mine);
            if !is_newest || known(&mut tx, terminal).await?.revoked.is_some() {
                return Ok(false);
            }
            if commands::count_waiting(&mut tx, terminal, now).await? == 0 {
                return Ok(true);
            }
            drop(tx);
            let mut tx = db.write().await?;
            rows::lock(&mut tx, terminal).await?;
            if rows::connection(&mut tx, terminal).await? != Some(mine) {
                return Ok(false);
            }
            let commands = commands::take(&mut tx, terminal, now).await?;
            tx.commit().await?;
            taken.lock().unwrap_or_else(PoisonError::into_inner).extend(commands);
            Ok(true)
        };
        self.fleet.inner.writes.run(take).await
    }

    async fn settings(&mut self) -> Result<Option<Hint>, TerminalError> {
        let revision = self.fleet.pulled(self.terminal).await?.revision();
        let is_new = std::mem::replace(&mut self.revision, revision) != revision;
        Ok(is_new.then_some(Hint::Settings(revision)))
    }
}

fn done(answer: Answer) -> Result<(), TerminalError> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Refused(fault) => Err(TerminalError::Refused(fault)),
    }
}

fn door(registered: &Registered) -> String {
    format!("{} ({})", registered.display_name, registered.terminal.name())
}
