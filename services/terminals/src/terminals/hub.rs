//! A terminal that belongs to a hub: what it takes over, what it tells, and what it does when it is asked to.
//!
//! What the hub says is stored, obeyed and logged like what is said here, each change of the settings as this terminal's
//! own next revision: the hub's numbers are the hub's.

use std::time::{Duration, Instant};

use rollcall_core::{CommandId, Fault, Reason, UtcInstant};
use rollcall_proto::v1;

use super::{Device, Inner, Terminals};
use crate::convert::status_to_proto;
use crate::lockdown::{self, Origin, Word};
use crate::{Answer, Lockdown, Pulled, Report, Settings, SettingsField, TerminalError, store};

impl<D: Device> Terminals<D> {
    /// Where the hub is reached that this terminal belongs to; `None`: it stands alone.
    pub fn hub(&self) -> Option<String> {
        self.inner.hub.borrow().clone()
    }

    /// Says that this terminal belongs to a hub, or to none. The program says so at each start, before it serves, and
    /// whenever it changes. A terminal that belongs to none forgets what a hub said: its settings and its lockdown stay
    /// as they are, and are its own.
    ///
    /// # Errors
    /// The database; then it is as it was.
    pub async fn belong_to(&self, hub: Option<String>) -> Result<(), TerminalError> {
        let this = self.clone();
        let belong = async move {
            let _turn = this.inner.turn.acquire().await;
            if hub.is_none() {
                this.inner.forget_hub().await?;
            }
            this.inner.hub.send_replace(hub);
            Ok(())
        };
        self.inner.writes.run(belong).await
    }

    /// Takes over what the hub says: obeyed and told to the event log, where it changes something. The lockdown goes
    /// first, so that settings which this version does not know do not hold up an emergency.
    ///
    /// Two may ask for a lockdown, the hub and whoever stands here. The later word counts where it was said with the other
    /// one known. What the hub had said before somebody asked here is not news, and what was asked here stays until the
    /// hub has taken it over. Where both spoke without knowing, during a broken network, the hub's lockdown is obeyed,
    /// and its release is not; nor is that of a hub which was restored from a backup and forgot that it locked down. A
    /// lockdown too many is ended by a word, one too few by nobody.
    ///
    /// # Errors
    /// `STATE_FORBIDS`: it belongs to no hub. `FIELD_INVALID`: something that this version does not know; what could be
    /// obeyed was. The device's fault; the database. [`Terminals::settings_revision`] is then not that of `told`, and taking it again goes on.
    pub async fn take(&self, told: Pulled) -> Result<(), TerminalError> {
        let this = self.clone();
        self.inner.writes.run(async move { this.inner.take(&told).await }).await
    }

    /// The revision of what the hub said that was taken over last; 0: nothing, or not all of it. It says whether there is
    /// something to be pulled: when the hub's is another one, not when it is higher.
    ///
    /// # Errors
    /// The database.
    pub async fn settings_revision(&self) -> Result<i64, TerminalError> {
        let hub = store::hub(&mut self.inner.db.read().await?).await?;
        Ok(hub.map_or(0, |hub| hub.revision))
    }

    /// What the hub is told of this terminal, after each contact and each minute.
    ///
    /// # Errors
    /// A part that cannot tell; the database.
    pub async fn report(&self) -> Result<Report, TerminalError> {
        let terminal = self.inner.identity.terminal;
        let status = status_to_proto(self.status(terminal).await?);
        let stored = store::lockdown(&mut self.inner.db.read().await?, terminal).await?;
        let is_asked_here = stored.origin == Origin::Here;
        Ok(Report {
            status,
            settings_revision: self.settings_revision().await?,
            lockdown_asked_here: is_asked_here.then_some(stored.lockdown),
        })
    }

    /// Does what the hub asks for at once, and says what became of it. Not what arrives after its patience, which began
    /// when it was received: whoever it was for has gone.
    ///
    /// # Errors
    /// `FIELD_INVALID`: it has no id to be answered with.
    pub async fn perform(
        &self,
        command: v1::Command,
        received: Instant,
    ) -> Result<v1::AnswerCommandRequest, TerminalError> {
        let id = CommandId::try_from(&command.command_id[..]).map_err(|_| TerminalError::Field {
            field: "command_id",
            problem: "has not 16 bytes".to_owned(),
        })?;
        let patience = Duration::from_millis(u64::try_from(command.patience_ms).unwrap_or(0));
        let refused = |words: &str| Answer::Refused(Fault::new(Reason::Unavailable, words));
        let answer = match command.what {
            _ if received.elapsed() >= patience => refused("the order came too late to be obeyed; ask again"),
            Some(v1::command::What::OpenDoor(_)) => {
                match self.open_door(self.inner.identity.terminal, command.by).await {
                    Ok(()) => Answer::Done,
                    Err(error) => Answer::Refused(error.fault()),
                }
            }
            None => refused("this terminal's version does not know that order; update it"),
        };
        Ok(answer.to_proto(id))
    }
}

impl<D: Device> Inner<D> {
    async fn take(&self, told: &Pulled) -> Result<(), TerminalError> {
        let _turn = self.turn.acquire().await;
        if self.hub.borrow().is_none() {
            let words = "this terminal belongs to no hub any more; what the hub said is not taken over";
            return Err(TerminalError::Refused(Fault::new(Reason::StateForbids, words)));
        }
        self.take_lockdown(told).await?;
        self.take_settings(&told.settings()?).await?;
        let mut tx = self.db.write().await?;
        store::put_hub_revision(&mut tx, told.revision()).await?;
        Ok(tx.commit().await?)
    }

    async fn take_lockdown(&self, told: &Pulled) -> Result<(), TerminalError> {
        let (said, said_sha256) = (told.lockdown()?, told.lockdown_sha256());
        let mut tx = self.db.read().await?;
        let before = store::lockdown(&mut tx, self.identity.terminal).await?;
        let is_known = store::hub(&mut tx).await?.is_some_and(|hub| hub.lockdown_sha256 == said_sha256);
        drop(tx);
        let word = if is_known { Word::Known } else { Word::New };
        if lockdown::is_obeyed(&before.lockdown, before.origin, &said, word) {
            // A hub that was never asked for a lockdown has no time of it.
            let since = said.since.or_else(|| Some(UtcInstant::now()));
            self.enforce(Lockdown { since, ..said }, Some(said_sha256)).await?;
        } else {
            let mut tx = self.db.write().await?;
            store::put_hub_lockdown(&mut tx, &said_sha256).await?;
            store::put_lockdown_of_here(&mut tx, self.identity.terminal).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn take_settings(&self, wanted: &Settings) -> Result<(), TerminalError> {
        self.store_settings(wanted, &SettingsField::ALL, "", "hub").await?;
        self.announce().await.map(|_| ())
    }

    /// Settings and lockdown are this terminal's own from now on.
    async fn forget_hub(&self) -> Result<(), TerminalError> {
        let mut tx = self.db.write().await?;
        if store::hub(&mut tx).await?.is_some() {
            store::delete_hub(&mut tx).await?;
            store::put_lockdown_of_here(&mut tx, self.identity.terminal).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
