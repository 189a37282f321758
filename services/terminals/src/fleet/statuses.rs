//! What terminals say of themselves.

use std::fmt;
use std::time::Duration;

use prost::Message as _;
use rollcall_core::{TerminalId, UtcInstant, limits};
use rollcall_proto::v1::{self, ClockQuality};
use rollcall_store::Tx;

use super::settings::{pulled, put_lockdown};
use super::{Fleet, known, rows, store};
use crate::convert::{instant, timestamp};
use crate::{Lockdown, Report, Site, TerminalError};

/// How many terminals speak. Its words are for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// That said something in the last minutes ([`limits::FLEET_SILENCE_MS`]).
    pub heard: i64,
    /// That are trusted.
    pub terminals: i64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = limits::FLEET_SILENCE_MS / 60_000;
        write!(f, "{} of {} terminals heard from in {minutes} minutes", self.heard, self.terminals)
    }
}

impl Fleet {
    /// Takes a terminal's report: how it is, what its clock says, and a lockdown that somebody asked for there. The
    /// lockdown becomes the hub's word when the terminal had taken all that the hub says; otherwise the hub's word is news
    /// to it, and the terminal weighs the two first ([`crate::Terminals::take`]).
    ///
    /// What the report says of whose it is and when it was made does not count: the certificate and the hub's clock do.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn reported(
        &self,
        terminal: TerminalId,
        report: Report,
        now: UtcInstant,
    ) -> Result<(), TerminalError> {
        let (this, site) = (self.clone(), self.inner.site.borrow().clone());
        let store = async move {
            let mut tx = this.inner.db.write().await?;
            Self::locked(&mut tx, terminal).await?;
            let clock = clock(&report.status);
            let (revision, encoded) = (report.settings_revision, stored(terminal, report.status, now));
            rows::put_status(&mut tx, terminal, (revision, encoded), clock, now).await?;
            let asked = report.lockdown_asked_here.map(|lockdown| asked_there(lockdown, terminal, now));
            let news = match asked {
                Some(asked) => take_over(&mut tx, terminal, asked, revision, &site).await?,
                None => None,
            };
            tx.commit().await?;
            if let Some(news) = news {
                this.inner.publish(news);
            }
            Ok(())
        };
        self.inner.writes.run(store).await
    }

    /// How a terminal is, as it last said. `report_time` is when the hub heard it.
    ///
    /// # Errors
    /// `NOT_FOUND`; `UNAVAILABLE`: it has not said anything yet; the database.
    pub async fn status(&self, terminal: TerminalId) -> Result<v1::TerminalStatus, TerminalError> {
        let mut tx = self.inner.db.read().await?;
        let registered = known(&mut tx, terminal).await?;
        let row = rows::status(&mut tx, terminal).await?.ok_or_else(|| {
            TerminalError::Unreachable(format!(
                "{} ({}) has not said yet how it is; it does within a minute of its first contact",
                registered.display_name,
                terminal.name()
            ))
        })?;
        let status = v1::TerminalStatus::decode(&row.status[..]);
        let status = status.map_err(|_| TerminalError::Unreadable("its status"))?;
        let heard = UtcInstant::from_micros(row.receive_time_us);
        Ok(v1::TerminalStatus { report_time: Some(timestamp(heard)), ..status })
    }

    /// Whether a terminal has taken over all that the hub says, as it last said.
    ///
    /// # Errors
    /// `NOT_FOUND`; the database.
    pub async fn is_settled(&self, terminal: TerminalId) -> Result<bool, TerminalError> {
        let site = self.inner.site.borrow().clone();
        let mut tx = self.inner.db.read().await?;
        let said = pulled(&mut tx, terminal, &site).await?.revision();
        Ok(rows::status(&mut tx, terminal).await?.is_some_and(|row| row.settings_revision == said))
    }

    /// How many of the trusted terminals speak.
    ///
    /// # Errors
    /// The database.
    pub async fn summary(&self, now: UtcInstant) -> Result<Summary, TerminalError> {
        let since = now.before(Duration::from_millis(limits::FLEET_SILENCE_MS));
        let (terminals, heard) = rows::count_heard(&mut self.inner.db.read().await?, since).await?;
        Ok(Summary { heard, terminals })
    }
}

/// What a terminal's clock said when it made its report.
fn clock(status: &v1::TerminalStatus) -> Option<(UtcInstant, ClockQuality)> {
    let said = instant("report_time", status.report_time?).ok()?;
    Some((said, ClockQuality::try_from(status.clock_quality).ok()?))
}

/// The status as it is kept.
fn stored(terminal: TerminalId, status: v1::TerminalStatus, now: UtcInstant) -> Vec<u8> {
    let (terminal, report_time) = (terminal.name(), Some(timestamp(now)));
    v1::TerminalStatus { terminal, report_time, ..status }.encode_to_vec()
}

/// The terminal answers for who asked there: its accounts are none of the hub's.
fn asked_there(lockdown: Lockdown, terminal: TerminalId, now: UtcInstant) -> Lockdown {
    Lockdown { by: terminal.name(), since: Some(now), ..lockdown }
}

/// Makes a lockdown that was asked for at the terminal the hub's word, if `revision` says that the terminal knew it.
async fn take_over(
    tx: &mut Tx,
    terminal: TerminalId,
    asked: Lockdown,
    revision: i64,
    site: &Site,
) -> Result<Option<rows::News>, TerminalError> {
    let is_known = pulled(tx, terminal, site).await?.revision() == revision;
    let said = store::lockdown(tx, terminal).await?.lockdown;
    if !is_known || said.is_same(&asked) {
        return Ok(None);
    }
    put_lockdown(tx, terminal, &asked.later_than(&said)).await.map(Some)
}
