//! What a backup says of the logs in it: `logs/ID` and how far that log goes, `HEAD HASH`. Only what is in two backups that
//! were read back may go from the terminals.

use std::collections::BTreeMap;

use rollcall_core::LogId;
use rollcall_store::{StoreError, Tx};

use crate::store::log;

/// Every log of the database with its head and the hash of that.
///
/// # Errors
/// A database that does not answer, or has logs that are none.
pub async fn facts(tx: &mut Tx) -> Result<BTreeMap<String, String>, StoreError> {
    let tips = log::tips(tx).await?;
    let fact =
        |tip: log::Tip| (tip.log_id.name(), format!("{} {}", tip.head, hex::encode(tip.hash.as_bytes())));
    Ok(tips.into_iter().map(fact).collect())
}

/// How far the logs go that these facts are of: the number of the last event that is there.
pub fn positions(facts: &BTreeMap<String, String>) -> BTreeMap<LogId, i64> {
    let position = |(name, fact): (&String, &String)| {
        let head = fact.split_once(' ')?.0.parse().ok()?;
        Some((LogId::from_name(name).ok()?, head))
    };
    facts.iter().filter_map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_log_has_no_position() {
        let log = LogId::generate();
        let facts =
            [(log.name(), "17 00ff"), ("gallery".to_owned(), "3"), (LogId::generate().name(), "many")];
        let facts = facts.into_iter().map(|(name, fact)| (name, fact.to_owned())).collect();
        assert_eq!(positions(&facts), BTreeMap::from([(log, 17)]));
    }
}
