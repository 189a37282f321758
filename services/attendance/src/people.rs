//! What this service asks of others, which it does not know: the program gives it answerers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rollcall_core::{Fault, GroupId, PersonId, SiteDay, UtcInstant};

use crate::Log;
use crate::register::Watermark;

/// An answer that may have to be read from a database.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// A person, as registers show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person: PersonId,
    /// The name on lists.
    pub display_name: String,
    /// The last day on which they are expected; `None`: none is known.
    pub leave_day: Option<SiteDay>,
}

/// Who there is: the gallery.
pub trait People: Send + Sync + 'static {
    /// Whether the person is known and not erased.
    fn exists(&self, person: PersonId) -> Answer<'_, bool>;

    /// At most `limit` members of a group by display name and id, those after `after`. `None`: there is no such group.
    fn members(
        &self,
        group: GroupId,
        after: Option<(String, PersonId)>,
        limit: usize,
    ) -> Answer<'_, Option<Vec<Member>>>;

    /// A person with the groups that they are in. `None`: not known, or erased.
    fn person(&self, person: PersonId) -> Answer<'_, Option<(Member, Vec<GroupId>)>>;

    /// The display names of those who are known and not erased. At most 1,000 are asked for.
    fn names(&self, people: Vec<PersonId>) -> Answer<'_, BTreeMap<PersonId, String>>;
}

/// How far the doors have reported: the log on a lone terminal, sync on a hub.
pub trait Doors: Send + Sync + 'static {
    /// Every terminal of the site that takes attendance, with the time before which all that it saw is stored here. A
    /// terminal answers for itself with the present time.
    fn watermarks(&self) -> Answer<'_, Vec<Watermark>>;
}

/// Longer than an event takes from its door to the disk, where nothing is wrong.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// A lone terminal: its own log is all there is. While events wait in memory for room on the disk, nothing is certain.
impl Doors for Log {
    fn watermarks(&self) -> Answer<'_, Vec<Watermark>> {
        let reported = match self.health().kept {
            0 => self.now().before(ON_ITS_WAY),
            _ => UtcInstant::from_micros(i64::MIN),
        };
        let mark = Watermark { terminal: self.opened().terminal_id, reported };
        Box::pin(async move { Ok(vec![mark]) })
    }
}
