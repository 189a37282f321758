//! Contact with terminals and what was received: kept and given back, within the transaction of whoever decides.

use std::time::Duration;

use rollcall_core::{TerminalId, UtcInstant, limits};
use rollcall_store::Tx;

use super::Fleet;
use crate::TerminalError;
use crate::contact::{ClockReading, Contact, Opened, Received};
use crate::convert::text;
use crate::store::fleet as rows;

impl Fleet {
    /// How contact with a terminal stands; `None`: it was just adopted, and whatever contact it comes with is the first.
    /// Asked in a write: until that ends, every other Open of this terminal waits here.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn contact(tx: &mut Tx, terminal: TerminalId) -> Result<Option<Contact>, TerminalError> {
        Self::locked(tx, terminal).await?;
        Ok(rows::contact(tx, terminal).await?)
    }

    /// How it stands from now on, in the transaction in which [`Fleet::contact`] was asked.
    ///
    /// # Errors
    /// `FIELD_INVALID`: more than is kept; the database.
    pub async fn put_contact(
        tx: &mut Tx,
        terminal: TerminalId,
        contact: &Contact,
    ) -> Result<(), TerminalError> {
        contact.check()?;
        Ok(rows::put_contact(tx, terminal, contact).await?)
    }

    /// What a terminal said in an Open that is answered with this transaction.
    ///
    /// # Errors
    /// `FIELD_INVALID`; the database.
    pub async fn opened(
        tx: &mut Tx,
        terminal: TerminalId,
        opened: &Opened,
        now: UtcInstant,
    ) -> Result<(), TerminalError> {
        text("software", opened.software.clone(), limits::SOFTWARE_CHARS)?;
        text("address", opened.address.clone(), limits::ADDRESS_CHARS)?;
        Ok(rows::put_opened(tx, terminal, opened, now).await?)
    }

    /// Events of a terminal were committed.
    ///
    /// # Errors
    /// The database.
    pub async fn pushed(tx: &mut Tx, terminal: TerminalId, now: UtcInstant) -> Result<(), TerminalError> {
        Ok(rows::put_pushed(tx, terminal, now).await?)
    }

    /// What was last received from a terminal.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn received(&self, terminal: TerminalId) -> Result<Received, TerminalError> {
        let mut tx = self.inner.db.read().await?;
        super::known(&mut tx, terminal).await?;
        rows::received(&mut tx, terminal).await
    }

    /// What each terminal that is trusted said of the time, at most [`limits::FLEET_CLOCK_MS`] ago. One terminal has one
    /// voice, and a clock of the hub that was set anew meanwhile makes what was compared with it too old.
    ///
    /// # Errors
    /// The database.
    pub async fn clocks(&self, now: UtcInstant) -> Result<Vec<ClockReading>, TerminalError> {
        let age = Duration::from_millis(limits::FLEET_CLOCK_MS);
        rows::clocks(&mut self.inner.db.read().await?, now.before(age), now.after(age)).await
    }
}
