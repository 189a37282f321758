//! What a backup says of the logs in it: `logs/ID` and how far that log goes, `HEAD HASH`. Only what is in two backups that
//! were read back may go from the terminals.

use std::collections::BTreeMap;

use rollcall_core::LogId;
use rollcall_store::{StoreError, Tx};

use crate::chain::ChainHash;
use crate::received::Position;
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

/// How far the logs go that these facts are of.
pub fn positions(facts: &BTreeMap<String, String>) -> BTreeMap<LogId, Position> {
    let position = |(name, fact): (&String, &String)| {
        let (seq, hash) = fact.split_once(' ')?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        let position = Position { seq: seq.parse().ok()?, hash: ChainHash::from_bytes(bytes) };
        Some((LogId::from_name(name).ok()?, position))
    };
    facts.iter().filter_map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_log_has_no_position() {
        let (log, hash) = (LogId::generate(), ChainHash::ZERO.after(b"an event"));
        let facts = [
            (log.name(), format!("17 {}", hex::encode(hash.as_bytes()))),
            ("gallery".to_owned(), "3".to_owned()),
            (LogId::generate().name(), "18 00ff".to_owned()),
            (LogId::generate().name(), "many".to_owned()),
        ];
        assert_eq!(positions(&facts.into()), BTreeMap::from([(log, Position { seq: 17, hash })]));
    }
}
