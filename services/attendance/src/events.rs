//! Reading events: lists and single ones.

use std::collections::HashMap;

use rollcall_core::EventId;

use crate::cursor::Feed;
use crate::store::events::{EventFilter, StoredEvent};
use crate::{Attendance, AttendanceError, store};

/// An event with what is kept beside the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventView {
    pub stored: StoredEvent,
    pub note: String,
    pub cursor: String,
}

/// A page of events.
#[derive(Debug)]
pub(crate) struct EventList {
    pub events: Vec<EventView>,
    pub next_cursor: String,
    pub more: bool,
}

impl Attendance {
    /// Events after a cursor, in the order in which they were stored; at most `size`.
    pub(crate) async fn list_events(
        &self,
        cursor: &str,
        filter: &EventFilter,
        size: usize,
    ) -> Result<EventList, AttendanceError> {
        let people = match filter.person_id {
            Some(person) => self.ids_of(person).await?,
            None => Vec::new(),
        };
        let mut tx = self.log().db().read().await?;
        let feed = feed(&mut tx).await?;
        let after = feed.position_of(cursor)?;
        let page = store::events::page(&mut tx, &feed, after, filter, &people, size).await?;
        drop(tx);
        let events = self.with_notes(&feed, page.events).await?;
        Ok(EventList { events, next_cursor: feed.cursor(page.next), more: page.more })
    }

    /// The event with this id.
    pub(crate) async fn event(&self, event_id: EventId) -> Result<EventView, AttendanceError> {
        let mut tx = self.log().db().read().await?;
        let feed = feed(&mut tx).await?;
        let stored = store::events::find(&mut tx, event_id).await?;
        drop(tx);
        let stored = stored.ok_or_else(|| AttendanceError::NotFound(event_id.name()))?;
        let mut events = self.with_notes(&feed, vec![stored]).await?;
        events.pop().ok_or(AttendanceError::Internal("an event was lost between two reads"))
    }

    /// Adds the notes, which are in another database: a note that was erased meanwhile is not there.
    async fn with_notes(
        &self,
        feed: &Feed,
        events: Vec<StoredEvent>,
    ) -> Result<Vec<EventView>, AttendanceError> {
        let ids: Vec<EventId> = events.iter().filter_map(|event| event.event_id).collect();
        let mut tx = self.site().read().await?;
        let notes = store::notes::of_events(&mut tx, &ids).await?;
        let mut notes: HashMap<Vec<u8>, String> = notes.into_iter().collect();
        let view = |stored: StoredEvent| EventView {
            note: stored.event_id.and_then(|id| notes.remove(id.as_bytes())).unwrap_or_default(),
            cursor: feed.cursor(stored.position),
            stored,
        };
        Ok(events.into_iter().map(view).collect())
    }
}

pub(crate) async fn feed(tx: &mut rollcall_store::Tx) -> Result<Feed, AttendanceError> {
    let feed = store::log::feed(tx).await?;
    feed.ok_or(AttendanceError::Internal("the database has no feed of events"))
}
