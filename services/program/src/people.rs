//! What the services ask of each other.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use rollcall_attendance::{Answer, Member, People};
use rollcall_core::{Fault, GroupId, PersonId, Reason, UtcInstant};
use rollcall_gallery::{Elsewhere, Gallery, Person};
use rollcall_store::{Db, checkpoint, vacuum};

/// The gallery, as attendance sees it.
pub struct Directory(pub Gallery);

impl People for Directory {
    fn exists(&self, person: PersonId) -> Answer<'_, bool> {
        Box::pin(async move { Ok(self.find(person).await?.is_some()) })
    }

    fn members(
        &self,
        group: GroupId,
        after: Option<(String, PersonId)>,
        limit: usize,
    ) -> Answer<'_, Option<Vec<Member>>> {
        Box::pin(async move {
            let members = self.0.members(group, after, limit, UtcInstant::now()).await;
            let members = members.map_err(|error| error.fault())?;
            Ok(members.map(|people| people.iter().map(member).collect()))
        })
    }

    fn person(&self, person: PersonId) -> Answer<'_, Option<(Member, Vec<GroupId>)>> {
        Box::pin(async move {
            let found = self.find(person).await?;
            Ok(found.map(|person| (member(&person), person.fields.groups)))
        })
    }

    fn names(&self, people: Vec<PersonId>) -> Answer<'_, BTreeMap<PersonId, String>> {
        Box::pin(async move { self.0.names(&people).await.map_err(|error| error.fault()) })
    }
}

impl Directory {
    async fn find(&self, person: PersonId) -> Result<Option<Person>, Fault> {
        match self.0.person(person, UtcInstant::now()).await {
            Ok(person) => Ok(Some(person)),
            Err(error) => match error.fault() {
                fault if matches!(fault.reason, Reason::NotFound | Reason::PersonErased) => Ok(None),
                fault => Err(fault),
            },
        }
    }
}

fn member(person: &Person) -> Member {
    Member {
        person: person.id,
        display_name: person.fields.display_name.clone(),
        leave_day: person.fields.leave_day,
    }
}

/// What is known of people in `site.db`.
pub struct SiteNotes(pub Db);

impl Elsewhere for SiteNotes {
    fn forget(&self, person: PersonId) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + '_>> {
        Box::pin(async move {
            rollcall_attendance::forget(&self.0, person).await.map_err(|error| error.fault())?;
            vacuum(&self.0).await.map_err(|error| error.fault())?;
            checkpoint(&self.0).await.map_err(|error| error.fault())
        })
    }
}
