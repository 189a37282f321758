//! People who are known by two ids: a terminal that stood alone made one, and the hub's operators said whom of the hub's
//! people it is. What the terminal saw of the old id then counts for the person, in registers, reports and lists. The
//! log stays as it is.
//!
//! Site and log may be two databases, so ids are looked up first and events asked for by them.

use std::collections::BTreeMap;

use rollcall_core::{PersonId, limits};

use crate::store::aliases as store;
use crate::{Attendance, AttendanceError};

impl Attendance {
    /// From now on events of `old` count for `person`, and so do those of whoever was `old`. Closed registers stay as they
    /// are.
    ///
    /// # Errors
    /// Somebody who would be themselves; more than [`limits::ALIASES`]; a database that does not answer.
    pub async fn set_alias(&self, old: PersonId, person: PersonId) -> Result<(), AttendanceError> {
        let site = self.site().clone();
        let write = async move {
            let mut tx = site.write().await?;
            let person = store::resolve(&mut tx, person).await?;
            if person == old {
                let problem = format!("is {} already", old.name());
                return Err(AttendanceError::Field { field: "person", problem });
            }
            let is_known = store::resolve(&mut tx, old).await? != old;
            let count = usize::try_from(store::count(&mut tx).await?).unwrap_or(usize::MAX);
            if !is_known && count >= limits::ALIASES {
                let max = limits::ALIASES;
                return Err(AttendanceError::Full(format!("{max} people have an old id, which is the most")));
            }
            store::set(&mut tx, old, person).await?;
            Ok(tx.commit().await?)
        };
        self.writes().run(write).await
    }

    /// The person that an id is.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn person_of(&self, id: PersonId) -> Result<PersonId, AttendanceError> {
        Ok(store::resolve(&mut self.site().read().await?, id).await?)
    }

    /// Every id by which events name a person, that of the person first.
    pub(crate) async fn ids_of(&self, person: PersonId) -> Result<Vec<PersonId>, AttendanceError> {
        let mut ids = vec![person];
        ids.extend(store::of_person(&mut self.site().read().await?, person).await?);
        Ok(ids)
    }

    /// All old ids: for whoever asks for many people.
    pub(crate) async fn aliases(&self) -> Result<Aliases, AttendanceError> {
        Ok(Aliases::new(store::all(&mut self.site().read().await?).await?))
    }
}

/// Who is known by which ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aliases {
    people: BTreeMap<PersonId, PersonId>,
    old: BTreeMap<PersonId, Vec<PersonId>>,
}

impl Aliases {
    fn new(people: BTreeMap<PersonId, PersonId>) -> Self {
        let mut old: BTreeMap<PersonId, Vec<PersonId>> = BTreeMap::new();
        for (id, person) in &people {
            old.entry(*person).or_default().push(*id);
        }
        Self { people, old }
    }

    /// The person that an id is.
    pub fn person(&self, id: PersonId) -> PersonId {
        self.people.get(&id).copied().unwrap_or(id)
    }

    /// Every id by which events name a person, that of the person first.
    pub fn ids(&self, person: PersonId) -> Vec<PersonId> {
        let old = self.old.get(&person).map_or(&[][..], Vec::as_slice);
        std::iter::once(person).chain(old.iter().copied()).collect()
    }
}
