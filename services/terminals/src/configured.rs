//! What the configuration file said, against what was said over the API since.
//!
//! Both may set the same things. Whoever spoke last is obeyed: a value of the file counts when it is another than the
//! file had at the last start, and is left alone when only the API has changed it since.

use std::collections::BTreeMap;

use rollcall_store::{Db, StoreError, Writes};

use crate::store;

/// Values of the file by key: only the keys that it has.
pub type Configured = BTreeMap<String, String>;

/// The keys whose values are news: others than at the last start, or not there then.
pub fn news(before: &Configured, now: &Configured) -> Vec<String> {
    now.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key.clone()).collect()
}

/// The keys of the file whose values are news to this database: these the file may set, all others were last set over
/// the API.
///
/// # Errors
/// The database.
pub async fn news_to(db: &Db, said: &Configured) -> Result<Vec<String>, StoreError> {
    let before = store::configured(&mut db.read().await?).await?;
    Ok(news(&before, said))
}

/// Remembers what the file says, once it was obeyed.
///
/// # Errors
/// The database.
pub async fn remember(db: &Db, writes: &Writes, said: Configured) -> Result<(), StoreError> {
    let db = db.clone();
    let remember = async move {
        let mut tx = db.write().await?;
        store::put_configured(&mut tx, &said).await?;
        tx.commit().await
    };
    writes.run(remember).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(values: &[(&str, &str)]) -> Configured {
        values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_file_counts_when_it_was_edited() {
        let first = file(&[("name", "Gate A"), ("rate", "0.001")]);
        assert_eq!(news(&file(&[]), &first), ["name", "rate"]);
        assert!(news(&first, &first).is_empty(), "what the API has changed since stays");
        assert_eq!(news(&first, &file(&[("name", "Gate B"), ("rate", "0.001")])), ["name"]);
        assert!(news(&first, &file(&[("name", "Gate A")])).is_empty(), "a line taken out is no wish");
    }
}
