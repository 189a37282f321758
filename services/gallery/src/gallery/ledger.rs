//! The erasure ledger between a hub and its terminals.
//!
//! Whoever lacks a line gets it from the other, both ways, for ever: so whoever was erased is gone from each terminal at
//! its next contact, and a hub that lost its ledger learns from any terminal who must stay away. Each line has a code that
//! only the hub can make; a terminal keeps it as it came. What a terminal erased while it stood alone is its own matter.
//!
//! A line counts at a terminal once the person is removed and swept from the file: so the state that it says at each
//! contact confirms each erasure for the certificate.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use rollcall_core::{ErasureId, Fault, PersonId, TerminalId, UtcInstant, limits};
use rollcall_proto::v1;

use super::Gallery;
use crate::GalleryError;
use crate::erasure::{self, Removal};
use crate::store::erasures;

/// The answer of [`Holders`].
pub type HoldersFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<TerminalId>, Fault>> + Send + 'a>>;

/// Which terminals have, or may have, data of people: each has to confirm an erasure.
pub trait Holders: Send + Sync + 'static {
    /// Every terminal that was adopted and not revoked.
    fn terminals(&self) -> HoldersFuture<'_>;
}

impl Gallery {
    /// At a hub: who has to confirm erasures from now on. Once, before anything is served.
    pub fn set_holders(&self, holders: Arc<dyn Holders>) {
        let _first = self.shared.holders.set(holders);
    }

    /// The devices that an erasure made now has to be confirmed by.
    pub(super) async fn devices(&self) -> Result<Vec<String>, GalleryError> {
        let mut devices = vec![self.shared.device.clone()];
        if let Some(holders) = self.shared.holders.get() {
            let terminals = holders.terminals().await.map_err(GalleryError::Elsewhere)?;
            devices.extend(terminals.into_iter().map(TerminalId::name));
        }
        Ok(devices)
    }

    /// How many lines of the hub's ledger are here, and their hash: at a hub all, at a terminal those that have taken
    /// effect.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn ledger_state(&self) -> Result<v1::LedgerState, GalleryError> {
        Ok(erasure::state_of(&self.removals().await?))
    }

    /// The lines here that somebody lacks who has this state, and these lines; at most [`limits::LEDGER_LINES`]. When the
    /// states are the same, none; when the other has the beginning of what is here, the rest.
    ///
    /// # Errors
    /// A line that is none; a database that does not answer.
    pub async fn ledger_lines_lacking(
        &self,
        have: &v1::LedgerState,
        theirs: &[v1::LedgerLine],
    ) -> Result<Vec<v1::LedgerLine>, GalleryError> {
        let here = self.removals().await?;
        let lacking: Vec<Removal> = match erasure::prefix_of(&here, have) {
            Some(count) => here[count..].to_vec(),
            None => {
                let theirs: Vec<Removal> = theirs.iter().map(Removal::read).collect::<Result<_, _>>()?;
                let theirs: HashSet<ErasureId> = theirs.iter().map(|removal| removal.erasure).collect();
                here.into_iter().filter(|removal| !theirs.contains(&removal.erasure)).collect()
            }
        };
        Ok(lacking.iter().take(limits::LEDGER_LINES).map(Removal::line).collect())
    }

    /// Takes lines in that were not here: each person is removed, and swept from the file. How many were new.
    ///
    /// # Errors
    /// [`GalleryError::Row`] for what is no line, and at a hub for a line that it did not make: nothing is taken then. A
    /// ledger or database that cannot be written, and then repeating it goes on.
    pub async fn take_ledger(
        &self,
        lines: &[v1::LedgerLine],
        now: UtcInstant,
    ) -> Result<usize, GalleryError> {
        if lines.len() > limits::LEDGER_LINES {
            let limit = limits::LEDGER_LINES;
            return Err(GalleryError::Limit { what: "lines of the erasure ledger in one message", limit });
        }
        let removals: Vec<Removal> = lines.iter().map(Removal::read).collect::<Result<_, _>>()?;
        if !self.is_hub() && self.hub().await?.is_none() {
            return Err(GalleryError::State("this terminal belongs to no hub; join one first".into()));
        }
        let key = &self.shared.keys.authenticity;
        if self.is_hub() && removals.iter().any(|removal| !removal.is_of(key)) {
            return Err(GalleryError::Row {
                row: "a line of the erasure ledger".into(),
                problem: "has a code that this hub did not make".into(),
            });
        }
        let gallery = self.clone();
        let write = async move {
            let own = removals.into_iter().map(|removal| match gallery.is_hub() {
                // Its code is made again whenever it is told.
                true => Removal { hub_mac: None, ..removal },
                false => removal,
            });
            let new = gallery.take_into_ledger(own.collect()).await?.len();
            gallery.keep_away(now).await?;
            gallery.sweep_or_later(now).await;
            Ok(new)
        };
        self.shared.writes.run(write).await
    }

    /// At a hub: a terminal said that these lines have taken effect on it. Every erasure among them is confirmed there.
    ///
    /// # Errors
    /// Not at a hub; a database that does not answer.
    pub async fn confirm_erasures(
        &self,
        terminal: TerminalId,
        have: &v1::LedgerState,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        self.demand_hub()?;
        let device = terminal.name();
        let mut tx = self.shared.db.read().await?;
        let pending = erasures::unconfirmed(&mut tx, &device).await?;
        drop(tx);
        if pending.is_empty() {
            return Ok(());
        }
        let here = self.removals().await?;
        let Some(count) = erasure::prefix_of(&here, have) else { return Ok(()) };
        let effective: HashSet<ErasureId> = here[..count].iter().map(|removal| removal.erasure).collect();
        let confirmed: Vec<ErasureId> =
            pending.into_iter().filter(|erasure| effective.contains(erasure)).collect();
        if confirmed.is_empty() {
            return Ok(());
        }
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin_upkeep().await?;
            erasures::confirm(&mut tx, &confirmed, &device, now).await?;
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// The lines of the hub's ledger, oldest first; see [`Gallery::ledger_state`].
    async fn removals(&self) -> Result<Vec<Removal>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        let known = erasures::all(&mut tx).await?;
        if self.is_hub() {
            let key = &self.shared.keys.authenticity;
            return Ok(known.iter().map(|(_, erasure)| erasure.removal().of_hub(key)).collect());
        }
        let pending: HashSet<ErasureId> =
            erasures::unconfirmed(&mut tx, &self.shared.device).await?.into_iter().collect();
        let swept = known.iter().filter(|(_, erasure)| !pending.contains(&erasure.id));
        let swept: HashSet<PersonId> = swept.map(|(_, erasure)| erasure.person).collect();
        let told = self.ledger_entries().into_iter().map(|entry| entry.removal);
        Ok(told.filter(|one| one.hub_mac.is_some() && swept.contains(&one.person)).collect())
    }
}
