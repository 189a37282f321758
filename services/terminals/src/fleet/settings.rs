//! Settings and lockdowns of a hub's terminals. The hub's word is what is stored here; a terminal takes it over when it
//! can, and says in its report what it took.

use rollcall_core::{GroupId, TerminalId, UtcInstant};
use rollcall_store::Tx;

use super::{Fleet, Origin, known, rows, store};
use crate::{Lockdown, Pulled, Revised, Settings, SettingsField, Site, TerminalError};

impl Fleet {
    /// A terminal's settings.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn settings(&self, terminal: TerminalId) -> Result<Revised, TerminalError> {
        let mut tx = self.inner.db.read().await?;
        known(&mut tx, terminal).await?;
        settings(&mut tx, terminal).await
    }

    /// Changes the settings that `mask` names. The terminal is hinted to take them.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ETAG_MISMATCH`, `FIELD_INVALID`; the database.
    pub async fn update(
        &self,
        terminal: TerminalId,
        wanted: Settings,
        mask: Vec<SettingsField>,
        etag: String,
        by: String,
    ) -> Result<Revised, TerminalError> {
        let this = self.clone();
        let update = async move {
            let mut tx = this.inner.db.write().await?;
            Self::locked(&mut tx, terminal).await?;
            let before = settings(&mut tx, terminal).await?;
            let after = before.updated(&wanted, &mask, &etag)?;
            if after.revision != before.revision {
                store::put_settings(&mut tx, terminal, &after, &by, UtcInstant::now()).await?;
                let news = rows::tell_settings(&mut tx).await?;
                tx.commit().await?;
                this.inner.publish(news);
                tracing::info!(%terminal, revision = after.revision, by, "settings changed");
            }
            Ok(after)
        };
        self.inner.writes.run(update).await
    }

    /// The hub's word on a terminal's lockdown. What the terminal does is in its status.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn lockdown(&self, terminal: TerminalId) -> Result<Lockdown, TerminalError> {
        let mut tx = self.inner.db.read().await?;
        known(&mut tx, terminal).await?;
        Ok(store::lockdown(&mut tx, terminal).await?.lockdown)
    }

    /// Asks for a terminal's lockdown, or for its end, and answers with what is stored: the terminal is hinted to take it
    /// over, at once where it is connected, else when it is again. Asking for what is there changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FIELD_INVALID`; the database.
    pub async fn set_lockdown(
        &self,
        terminal: TerminalId,
        is_on: bool,
        exempt: Vec<GroupId>,
        by: String,
    ) -> Result<Lockdown, TerminalError> {
        let asked = Lockdown::asked(is_on, exempt, by, UtcInstant::now())?;
        let this = self.clone();
        let set = async move {
            let mut tx = this.inner.db.write().await?;
            Self::locked(&mut tx, terminal).await?;
            let before = store::lockdown(&mut tx, terminal).await?.lockdown;
            if before.is_same(&asked) {
                return Ok(before);
            }
            let asked = asked.later_than(&before);
            let news = put_lockdown(&mut tx, terminal, &asked).await?;
            tx.commit().await?;
            this.inner.publish(news);
            Ok(asked)
        };
        self.inner.writes.run(set).await
    }

    /// All that a terminal is to take over.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn pulled(&self, terminal: TerminalId) -> Result<Pulled, TerminalError> {
        let site = self.inner.site.borrow().clone();
        pulled(&mut self.inner.db.read().await?, terminal, &site).await
    }
}

pub(super) async fn pulled(tx: &mut Tx, terminal: TerminalId, site: &Site) -> Result<Pulled, TerminalError> {
    known(tx, terminal).await?;
    let settings = settings(tx, terminal).await?.settings;
    let lockdown = store::lockdown(tx, terminal).await?.lockdown;
    Ok(Pulled::new(&settings, &lockdown, site))
}

/// Stores the hub's word on a lockdown.
pub(super) async fn put_lockdown(
    tx: &mut Tx,
    terminal: TerminalId,
    lockdown: &Lockdown,
) -> Result<rows::News, TerminalError> {
    store::put_lockdown(tx, terminal, lockdown, Origin::Hub).await?;
    tracing::warn!(%terminal, is_on = lockdown.is_on, by = lockdown.by, "lockdown changed");
    Ok(rows::tell_settings(tx).await?)
}

async fn settings(tx: &mut Tx, terminal: TerminalId) -> Result<Revised, TerminalError> {
    let stored = store::settings(tx, terminal).await?;
    Ok(stored.ok_or(TerminalError::Unreadable("it has no settings"))?.revised)
}
