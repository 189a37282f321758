//! The first start after a restore: what terminals have may be newer than what is here, and must not look older.
//!
//! A restored folder has `restored.json`, the listing of its backup. The hub notes which of these it has taken notice of,
//! and that is in the backup too, so that every restore is noticed, also one of the same backup again. It is in force
//! until the gallery has begun a new history: a crash before that is made up for by the next start.

use rollcall_core::UtcInstant;
use rollcall_gallery::{Gallery, Key};
use rollcall_program::folder;
use rollcall_store::{DataFolder, Db};

use crate::restored::listing_sha256;
use crate::store::{self, Head};

/// Makes the erasure ledger of a folder that a backup was put back into, on another machine, out of what the backup knows;
/// what it does not know the terminals bring. Elsewhere a ledger that is missing stays an error.
pub(super) async fn renew_ledger(folder: &DataFolder, gallery: &Db, key: &Key) -> anyhow::Result<()> {
    let ledger = folder.file(folder::ERASURES);
    if listing_sha256(folder.path())?.is_some() && !ledger.exists() {
        let lines = Gallery::renew_ledger(gallery, key, ledger).await?;
        tracing::warn!(
            lines,
            "the erasure ledger was made anew from the backup; terminals bring what it lacks"
        );
    }
    Ok(())
}

/// Takes notice of a restore, if there was one since the last start.
pub(super) async fn go_on(
    folder: &DataFolder,
    site: &Db,
    head: &Head,
    gallery: &Gallery,
) -> anyhow::Result<()> {
    let listing = listing_sha256(folder.path())?;
    let is_news = listing.is_some_and(|found| head.restored_sha256.as_deref() != Some(&found[..]));
    if let Some(listing) = listing.filter(|_| is_news) {
        store::set_restored(site, &listing).await?;
    }
    if !is_news && !head.is_stepped_back {
        return Ok(());
    }
    tracing::warn!("this hub was restored from a backup: the gallery begins a new history");
    let former = gallery.gallery_id().await?;
    gallery.new_history(former, UtcInstant::now()).await?;
    Ok(store::set_gone_on(site).await?)
}
