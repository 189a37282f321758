//! Groups.

use rollcall_core::{GroupId, UtcInstant, limits};
use rollcall_store::Tx;

use super::people::NameKey;
use super::{Gallery, Retry, retry};
use crate::GalleryError;
use crate::group::Group;
use crate::store::{changes, groups, id};

impl Gallery {
    /// Adds a group.
    ///
    /// # Errors
    /// A name that is taken; too many groups.
    pub async fn create_group(
        &self,
        display_name: String,
        retry: Option<Retry>,
        now: UtcInstant,
    ) -> Result<Group, GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            let group = match retry::recall(&mut tx, retry.as_ref()).await? {
                Some(known) => id(&known, "a request")?,
                None => {
                    let group = insert(&mut tx, &display_name).await?;
                    retry::remember(&mut tx, retry.as_ref(), group.as_bytes(), now).await?;
                    group
                }
            };
            let group = read(&mut tx, group).await?;
            gallery.commit(tx).await?;
            Ok(group)
        };
        self.shared.writes.run(write).await
    }

    /// One group.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`].
    pub async fn group(&self, group: GroupId) -> Result<Group, GalleryError> {
        read(&mut self.shared.db.read().await?, group).await
    }

    /// At most `limit` groups after a key, by folded name and id.
    pub(crate) async fn groups(
        &self,
        after: Option<NameKey>,
        limit: usize,
    ) -> Result<Vec<Group>, GalleryError> {
        groups::page(&mut self.shared.db.read().await?, &after.unwrap_or_default(), limit).await
    }

    /// Gives a group another name; `None` leaves it.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`], [`GalleryError::Etag`], a name that is taken.
    pub async fn update_group(
        &self,
        group: GroupId,
        display_name: Option<String>,
        etag: String,
    ) -> Result<Group, GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            let before = read(&mut tx, group).await?;
            check_etag(&before, &etag)?;
            let Some(display_name) = display_name.filter(|name| *name != before.display_name) else {
                return Ok(before);
            };
            check_name(&mut tx, &display_name, Some(group)).await?;
            groups::rename(&mut tx, group, &display_name).await?;
            let group = read(&mut tx, group).await?;
            gallery.commit(tx).await?;
            Ok(group)
        };
        self.shared.writes.run(write).await
    }

    /// Removes a group. Its people stay, and change.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`], [`GalleryError::Etag`].
    pub async fn delete_group(
        &self,
        group: GroupId,
        etag: String,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            check_etag(&read(&mut tx, group).await?, &etag)?;
            let members = groups::members(&mut tx, group).await?;
            groups::delete(&mut tx, group).await?;
            for person in members {
                changes::record(&mut tx, person, false, now).await?;
            }
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }
}

async fn read(tx: &mut Tx, group: GroupId) -> Result<Group, GalleryError> {
    groups::get(tx, group).await?.ok_or_else(|| GalleryError::NotFound { name: group.name() })
}

fn check_etag(group: &Group, etag: &str) -> Result<(), GalleryError> {
    if etag.is_empty() || etag == group.etag {
        return Ok(());
    }
    Err(GalleryError::Etag { name: group.id.name() })
}

async fn check_name(tx: &mut Tx, display_name: &str, group: Option<GroupId>) -> Result<(), GalleryError> {
    if groups::name_taken(tx, display_name, group).await? {
        let hint = "use that one, or give another name";
        return Err(GalleryError::Exists { what: "a group with this display_name", hint });
    }
    Ok(())
}

pub(super) async fn insert(tx: &mut Tx, display_name: &str) -> Result<GroupId, GalleryError> {
    let count = groups::count(tx).await?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= limits::GALLERY_GROUPS {
        return Err(GalleryError::Limit { what: "groups in one gallery", limit: limits::GALLERY_GROUPS });
    }
    check_name(tx, display_name, None).await?;
    let group = GroupId::generate();
    groups::insert(tx, group, display_name).await?;
    Ok(group)
}
