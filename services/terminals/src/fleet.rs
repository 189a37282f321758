//! [`Fleet`]: the terminals of a hub.
//!
//! Everything is in the database, so that several processes of a hub share it: what one of them changes, the others learn
//! by looking at a row of two numbers ([`Fleet::listen`]) and then read anew. Whoever waits in a process that made the
//! change is woken at once.
//!
//! A terminal has one key in force. It is trusted by that key and its id alone, as [`Fleet::trust`] reads them at each
//! call; so a revocation counts from its commit, in every process.
//!
//! Not here: adoption itself ([`crate::Adopting`]), certificates, and what contact means, which `services/sync` decides
//! with what is kept here ([`Fleet::contact`]).

mod commands;
mod contacts;
mod settings;
mod statuses;

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::{TerminalId, UtcInstant, limits};
use rollcall_store::{Db, Engine, Tx, Writes};
use tokio::sync::watch;

pub use self::commands::{Hint, Hints};
pub use self::statuses::Summary;
use crate::lockdown::Origin;
use crate::registered::{Adopted, KeyHash, Registered, Trust};
use crate::store::{self, fleet as rows};
use crate::{Revised, SettingsField, Site, TerminalError};

/// See the module. A clone is another handle to the same.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    writes: Writes,
    /// What every terminal is told besides its own. Its sender says so when it changes.
    site: watch::Sender<Site>,
    settings_news: watch::Sender<i64>,
    commands_news: watch::Sender<i64>,
}

impl Fleet {
    /// The fleet of this database. `site` is what every terminal is told: each process of a hub gives the same.
    ///
    /// # Errors
    /// The database.
    pub async fn open(db: Db, writes: Writes, site: Site) -> Result<Self, TerminalError> {
        let news = rows::news(&mut db.read().await?).await?;
        let inner = Inner {
            db,
            writes,
            site: watch::Sender::new(site),
            settings_news: watch::Sender::new(news.settings),
            commands_news: watch::Sender::new(news.commands),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tells every terminal something else from now on, for example that another authority counts too.
    pub fn set_site(&self, site: Site) {
        self.inner.site.send_if_modified(|current| {
            let differs = *current != site;
            *current = site;
            differs
        });
    }

    /// Learns what other processes of this hub change, until it is dropped. Without it, what they change comes to the
    /// terminals of this process at their next contact, and no command of theirs.
    pub async fn listen(&self) {
        if self.inner.db.engine() == Engine::Sqlite {
            // A file has one process.
            return std::future::pending().await;
        }
        let mut is_deaf = false;
        loop {
            tokio::time::sleep(Duration::from_millis(limits::FLEET_POLL_MS)).await;
            let news = self.news().await;
            if let (Err(error), false) = (&news, is_deaf) {
                let reason = error.fault().reason.as_str();
                tracing::warn!(error = reason, "what other processes change cannot be read");
            }
            is_deaf = news.is_err();
            if let Ok(news) = news {
                self.inner.publish(news);
            }
        }
    }

    async fn news(&self) -> Result<rows::News, TerminalError> {
        Ok(rows::news(&mut self.inner.db.read().await?).await?)
    }

    /// Takes in a terminal that was adopted: from the commit on, its key is the one in force. One that was adopted
    /// before keeps its settings, but for the name, and begins anew with its contact: it is no clone of anybody any more.
    /// The same key once more changes nothing, so that an adoption whose answer was lost can be repeated.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `LIMIT_REACHED`; the database.
    pub async fn register(&self, adopted: Adopted, now: UtcInstant) -> Result<Registered, TerminalError> {
        let this = self.clone();
        let register = async move {
            let mut tx = this.inner.db.write().await?;
            let registered = Self::register_in(&mut tx, &adopted, now).await?;
            let news = rows::tell_settings(&mut tx).await?;
            tx.commit().await?;
            this.inner.publish(news);
            Ok(registered)
        };
        self.inner.writes.run(register).await
    }

    /// [`Fleet::register`] as part of a transaction that does more. Its commit wakes nobody; nobody waits for a terminal
    /// that was not adopted.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `LIMIT_REACHED`; the database.
    pub async fn register_in(
        tx: &mut Tx,
        adopted: &Adopted,
        now: UtcInstant,
    ) -> Result<Registered, TerminalError> {
        adopted.check()?;
        let terminal = adopted.terminal;
        let before =
            if rows::lock(tx, terminal).await? { rows::registered(tx, terminal).await? } else { None };
        match before {
            Some(before) if before.trust(adopted.key) == Trust::Trusted => return Ok(before),
            Some(_) => rows::delete_contact(tx, terminal).await?,
            None if rows::count(tx).await? >= limits::FLEET_TERMINALS => {
                let problem =
                    format!("there are {} terminals, as many as there may be", limits::FLEET_TERMINALS);
                return Err(TerminalError::Limit(problem));
            }
            None => {}
        }
        let kept = store::settings(tx, terminal).await?.map(|stored| stored.revised);
        let settings = match &kept {
            Some(kept) => kept.updated(&adopted.settings, &[SettingsField::DisplayName], "")?,
            None => Revised { settings: adopted.settings.clone(), revision: 1 },
        };
        if kept.as_ref() != Some(&settings) {
            store::put_settings(tx, terminal, &settings, &adopted.by, now).await?;
        }
        rows::put_registered(tx, adopted, now).await?;
        tracing::info!(%terminal, by = adopted.by, "terminal adopted");
        rows::registered(tx, terminal).await?.ok_or(TerminalError::Unreadable("it is not there"))
    }

    /// A terminal's certificate was made anew for the key in force.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CREDENTIALS_INVALID`: the key is not the one in force, or the terminal was revoked; the database.
    pub async fn renewed(
        &self,
        terminal: TerminalId,
        key: KeyHash,
        expires: UtcInstant,
    ) -> Result<(), TerminalError> {
        let db = self.inner.db.clone();
        let renew = async move {
            let mut tx = db.write().await?;
            let registered = Self::locked(&mut tx, terminal).await?;
            if registered.trust(key) != Trust::Trusted {
                return Err(TerminalError::KeyNotInForce(terminal.name()));
            }
            rows::put_certificate(&mut tx, terminal, expires).await?;
            Ok(tx.commit().await?)
        };
        self.inner.writes.run(renew).await
    }

    /// Ends the trust in a terminal. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn revoke(
        &self,
        terminal: TerminalId,
        by: String,
        now: UtcInstant,
    ) -> Result<Registered, TerminalError> {
        let this = self.clone();
        let revoke = async move {
            let mut tx = this.inner.db.write().await?;
            let registered = Self::locked(&mut tx, terminal).await?;
            if registered.revoked.is_some() {
                return Ok(registered);
            }
            rows::put_revoked(&mut tx, terminal, &by, now).await?;
            // Its connections look again, and end.
            let news = rows::tell_commands(&mut tx).await?;
            tx.commit().await?;
            this.inner.publish(news);
            tracing::warn!(%terminal, by, "terminal revoked");
            Ok(Registered { revoked: Some(now), ..registered })
        };
        self.inner.writes.run(revoke).await
    }

    /// Whether a certificate that names this terminal and has this key is trusted.
    ///
    /// # Errors
    /// The database: then nobody knows, and nobody is to be trusted.
    pub async fn trust(&self, terminal: TerminalId, key: KeyHash) -> Result<Trust, TerminalError> {
        let registered = rows::registered(&mut self.inner.db.read().await?, terminal).await?;
        Ok(registered.map_or(Trust::Unknown, |registered| registered.trust(key)))
    }

    /// A terminal.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn get(&self, terminal: TerminalId) -> Result<Registered, TerminalError> {
        known(&mut self.inner.db.read().await?, terminal).await
    }

    /// Terminals by display name, after the one that `after` has the key of; `None`: from the first. Those that were
    /// revoked are among them. At most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn list(
        &self,
        after: Option<(&str, TerminalId)>,
        limit: usize,
    ) -> Result<Vec<Registered>, TerminalError> {
        // No name is empty, so that every terminal comes after this.
        let (name, terminal) = after.map_or(("", Vec::new()), |(name, id)| (name, id.to_bytes().to_vec()));
        rows::registered_after(&mut self.inner.db.read().await?, name, &terminal, limit).await
    }

    /// A terminal that nobody else changes until the transaction ends.
    async fn locked(tx: &mut Tx, terminal: TerminalId) -> Result<Registered, TerminalError> {
        rows::lock(tx, terminal).await?;
        known(tx, terminal).await
    }
}

impl Inner {
    fn publish(&self, news: rows::News) {
        for (sender, number) in [(&self.settings_news, news.settings), (&self.commands_news, news.commands)] {
            sender.send_if_modified(|current| std::mem::replace(current, number) != number);
        }
    }
}

async fn known(tx: &mut Tx, terminal: TerminalId) -> Result<Registered, TerminalError> {
    rows::registered(tx, terminal).await?.ok_or_else(|| TerminalError::NotFound(terminal.name()))
}
