//! What other services ask: who is in a group, what people are called, how many there are.

use std::collections::BTreeMap;

use rollcall_core::{GroupId, PersonId, UtcInstant};

use super::{Gallery, PeopleFilter};
use crate::store::{groups, people};
use crate::{GalleryError, Person, text};

/// How much is in a gallery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// People.
    pub people: usize,
    /// Templates of them.
    pub templates: usize,
}

impl Gallery {
    /// At most `limit` members of a group by name and id, those after the one with this name and id. `None`: there is
    /// no such group.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn members(
        &self,
        group: GroupId,
        after: Option<(String, PersonId)>,
        limit: usize,
        now: UtcInstant,
    ) -> Result<Option<Vec<Person>>, GalleryError> {
        if groups::first_missing(&mut self.shared.db.read().await?, &[group]).await?.is_some() {
            return Ok(None);
        }
        let after = after.map(|(name, person)| (text::sort_key(&name), person.to_bytes().to_vec()));
        let filter = PeopleFilter { group: Some(group), ..PeopleFilter::default() };
        self.people(&filter, after, limit, now).await.map(Some)
    }

    /// What those of these people are called who are here; at most a page of them.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn names(&self, of: &[PersonId]) -> Result<BTreeMap<PersonId, String>, GalleryError> {
        people::names_of(&mut self.shared.db.read().await?, of).await
    }

    /// How much there is.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn counts(&self) -> Result<Counts, GalleryError> {
        let (people, templates) = people::counts(&mut self.shared.db.read().await?).await?;
        let whole = |count| usize::try_from(count).unwrap_or(0);
        Ok(Counts { people: whole(people), templates: whole(templates) })
    }
}
