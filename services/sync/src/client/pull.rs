//! The gallery down, and up where the hub has lost it.

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt as _};
use rollcall_core::{Fault, GalleryId, PersonId, Reason, UtcInstant, limits};
use rollcall_gallery::GalleryError;
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_row::Change;
use rollcall_proto::v1::pull_gallery_response::Part as Sent;
use rollcall_terminals::Device;
use tokio::time::timeout;

use super::{End, MESSAGE, Session, call, fault, silent};
use crate::convert;
use crate::gallery::GalleryState;
use crate::replica::{Action, Refusal, Replica};

impl<D: Device> Session<'_, D> {
    /// Exchanges lines of the ledger until both sides have the same. Whether any came that were new here.
    pub(super) async fn exchange_ledger(&mut self, mut hub: v1::LedgerState) -> Result<bool, Fault> {
        let gallery = &self.parts.gallery;
        let mut has_news = false;
        // Each round brings lines, one way or the other, or ends it.
        for _ in 0..limits::LEDGER_ROUNDS {
            let have = gallery.ledger_state().await.map_err(|error| error.fault())?;
            if have == hub {
                break;
            }
            let lines = gallery.ledger_lines_lacking(&hub, &[]).await.map_err(|error| error.fault())?;
            let sent = lines.len();
            let request = v1::ExchangeLedgerRequest { have: Some(have), lines };
            let answer = call(self.hub.exchange_ledger(request)).await?;
            hub = answer.have.unwrap_or_default();
            let new = gallery.take_ledger(&answer.lines, UtcInstant::now()).await;
            let new = new.map_err(|error| error.fault())?;
            has_news |= new > 0;
            if new == 0 && sent == 0 {
                break;
            }
        }
        Ok(has_news)
    }

    /// Offers what the hub asks for, and pulls the gallery.
    pub(super) async fn pull_all(&mut self, welcome: &v1::Welcome) -> Result<(), End> {
        let hubs = welcome.gallery.clone().unwrap_or_default();
        let hubs = GalleryState::try_from(&hubs)
            .map_err(|error| Fault::new(Reason::FieldInvalid, format!("the hub's answer: {error}")))?;
        if welcome.offer_gallery {
            self.offer_gallery().await?;
        }
        if welcome.offer_people {
            self.offer_people().await?;
        }
        let own = self.replica_state().await?;
        if own == hubs {
            return Ok(());
        }
        self.pull_gallery(hubs.gallery_id).await.map(|_| ())
    }

    pub(super) async fn replica_state(&self) -> Result<GalleryState, Fault> {
        let state = self.parts.gallery.replica_state().await.map_err(|error| error.fault())?;
        GalleryState::try_from(&state).map_err(|error| Fault::new(Reason::DataDamaged, error))
    }

    /// Pulls what is new, or everything where what is here is not what the hub says. `offered_to`: the history to which the
    /// rows here were offered. Whether anybody went, who may have been erased.
    pub(super) async fn pull_gallery(&mut self, offered_to: Option<GalleryId>) -> Result<bool, End> {
        let own = self.replica_state().await?;
        match self.pull_once(own, own, offered_to).await {
            Err(Pull::Again) => match self.pull_once(own, own.anew(), offered_to).await {
                Err(Pull::Again) => Err(Fault::new(Reason::DataDamaged, Refusal::SetHash).into()),
                Err(Pull::End(end)) => Err(end),
                Ok(has_gone) => Ok(has_gone),
            },
            Err(Pull::End(end)) => Err(end),
            Ok(has_gone) => Ok(has_gone),
        }
    }

    async fn pull_once(
        &mut self,
        own: GalleryState,
        said: GalleryState,
        offered_to: Option<GalleryId>,
    ) -> Result<bool, Pull> {
        let gallery = self.parts.gallery.clone();
        let request = v1::PullGalleryRequest { have: Some(said.into()) };
        let mut parts = call(self.hub.pull_gallery(request)).await?;
        let mut replica = Replica::new(own, offered_to);
        let known = gallery.row_hashes().await.map_err(|error| error.fault())?;
        let mut changes = Vec::new();
        let mut summaries = Vec::new();
        loop {
            let part = timeout(MESSAGE, parts.message()).await.map_err(|_| silent())?;
            let Some(message) = part.map_err(|status| fault(&status))? else {
                return Err(Fault::new(Reason::Unavailable, "the hub's answer is not whole").into());
            };
            let part = convert::part(&message, &mut summaries);
            let part =
                part.map_err(|error| Fault::new(Reason::FieldInvalid, format!("the hub's rows: {error}")))?;
            let action = replica.take(part, |person: PersonId| known.get(&person).copied())?;
            let rows = match message.part {
                Some(Sent::Delta(rows) | Sent::Snapshot(rows)) => rows.rows,
                _ => Vec::new(),
            };
            let now = UtcInstant::now();
            match action {
                Action::StageAnew => gallery.begin_snapshot().await?,
                Action::Stage if replica.is_snapshot() => gallery.take_snapshot_rows(rows).await?,
                Action::Stage => changes.extend(rows),
                Action::Commit(state) => {
                    let has_gone = changes.iter().any(|row| row.change == Some(Change::Erase(true)));
                    gallery.apply_delta(changes, state.into(), now).await?;
                    return Ok(has_gone);
                }
                Action::Swap(state) => {
                    gallery.swap_snapshot(state.into(), now).await?;
                    return Ok(false);
                }
            }
        }
    }

    /// Shows the hub the rows of a history that it has lost.
    async fn offer_gallery(&mut self) -> Result<(), Fault> {
        let own = self.replica_state().await?;
        let Some(history) = own.gallery_id else { return Ok(()) };
        let gallery = self.parts.gallery.clone();
        let rows = pages(move |after| {
            let gallery = gallery.clone();
            Box::pin(async move { gallery.held_rows(after).await })
        });
        let offers = rows.map(move |rows| v1::OfferGalleryRequest {
            rows: Some(v1::GalleryRows { rows }),
            gallery_id: history.to_bytes().to_vec().into(),
        });
        let answer = call(self.hub.offer_gallery(offers)).await?;
        tracing::warn!(
            taken = answer.taken,
            refused = answer.refused,
            "the hub was offered the people it had lost"
        );
        Ok(())
    }

    /// Proposes the people of before the adoption.
    async fn offer_people(&mut self) -> Result<(), Fault> {
        let now = UtcInstant::now();
        let (first, _) = self.parts.gallery.offered_people(None, now).await.map_err(|error| error.fault())?;
        if first.is_empty() {
            return Ok(());
        }
        let gallery = self.parts.gallery.clone();
        let people = pages(move |after| {
            let gallery = gallery.clone();
            Box::pin(async move { gallery.offered_people(after, now).await })
        });
        let offers = people.flat_map(stream::iter);
        let answer = call(self.hub.offer_people(offers)).await?;
        if answer.taken > 0 {
            tracing::info!(taken = answer.taken, "people of before the adoption were proposed to the hub");
        }
        Ok(())
    }
}

/// A page of people, and whom to go on after.
type Page<T> = Pin<Box<dyn Future<Output = Result<(Vec<T>, Option<PersonId>), GalleryError>> + Send>>;

/// Page after page, until one is empty. One that cannot be read ends it: what was not offered is offered again.
fn pages<T: Send + 'static>(
    page: impl Fn(Option<PersonId>) -> Page<T> + Send + 'static,
) -> impl Stream<Item = Vec<T>> + Send + 'static {
    stream::unfold((page, None), |(page, after)| async move {
        let (some, last) = page(after).await.ok()?;
        (!some.is_empty()).then_some((some, (page, last)))
    })
}

/// Why a pull did not end well.
enum Pull {
    /// What is here is not what the hub says: everything is to be pulled.
    Again,
    /// The session ends.
    End(End),
}

impl From<Fault> for Pull {
    fn from(fault: Fault) -> Self {
        Self::End(match fault.reason {
            Reason::OpenAgain => End::OpenAgain,
            _ => End::Failed(fault),
        })
    }
}

impl From<Refusal> for Pull {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SetHash => Self::Again,
            Refusal::NotOffered => Self::End(End::OpenAgain),
            _ => Fault::new(Reason::FieldInvalid, refusal).into(),
        }
    }
}

impl From<GalleryError> for Pull {
    fn from(error: GalleryError) -> Self {
        match error {
            GalleryError::SetHash { .. } => Self::Again,
            _ => error.fault().into(),
        }
    }
}
