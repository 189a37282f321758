//! What a terminal may delete of a log: what would survive the hub's end.
//!
//! A hub is restored from its newest backup, or, when that one is damaged or was taken of what nobody wants back, from the
//! one before. So an event counts as kept when it is in the hub and in each of the two newest backups that were read back
//! after they were made. A hub without two backups must have had it for [`limits::PRUNE_WITHOUT_BACKUP_DAYS`]
//! (`rollcall_core::limits`).
//!
//! A backup of another past does not count: after a restore, events under the same numbers may be others.

use rollcall_attendance::ChainHash;

/// How far a log is in a backup that was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InBackup {
    /// The highest number of the log in it; 0: none.
    pub seq: u64,
    /// The chain there, as it is in the backup.
    pub hash: ChainHash,
    /// The chain there, as it is at the hub; `None`: the hub has not so much, or it is within a gap.
    pub hash_at_hub: Option<ChainHash>,
}

impl InBackup {
    /// Up to where the backup has what the hub has.
    fn agreed(&self) -> u64 {
        if self.hash_at_hub == Some(self.hash) { self.seq } else { 0 }
    }
}

/// Up to which number a terminal may delete a log.
///
/// `have`: what the hub has of it. `aged`: what it has had for long enough to do without backups. `newest_backups`: the log
/// in the backups that were read back, the newest first.
pub fn prune_through(have: u64, aged: u64, newest_backups: &[InBackup]) -> u64 {
    match newest_backups {
        [] => have.min(aged),
        [only] => have.min(aged).min(only.agreed()),
        [newest, before, ..] => have.min(newest.agreed()).min(before.agreed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(seq: u64) -> ChainHash {
        ChainHash::ZERO.after(&seq.to_le_bytes())
    }

    fn backup(seq: u64) -> InBackup {
        InBackup { seq, hash: hash(seq), hash_at_hub: Some(hash(seq)) }
    }

    #[test]
    fn only_what_both_newest_backups_have_may_go() {
        let cases: &[(&[InBackup], u64)] = &[
            (&[], 30),
            (&[backup(80)], 30),
            (&[backup(20)], 20),
            (&[backup(80), backup(60)], 60),
            (&[backup(80), backup(60), backup(10)], 60),
            (&[backup(80), backup(0)], 0),
        ];
        for (backups, expected) in cases {
            assert_eq!(prune_through(100, 30, backups), *expected, "{backups:?}");
        }
    }

    #[test]
    fn f036_a_backup_of_another_past_does_not_count() {
        let ahead = InBackup { hash_at_hub: None, ..backup(80) };
        assert_eq!(prune_through(50, 0, &[ahead, backup(40)]), 0, "the hub was restored to before it");
        let other = InBackup { hash_at_hub: Some(hash(999)), ..backup(40) };
        assert_eq!(prune_through(50, 0, &[backup(40), other]), 0, "other events under the same numbers");
    }

    #[test]
    fn no_backup_gives_more_than_the_hub_has() {
        assert_eq!(prune_through(10, 10, &[backup(80), backup(60)]), 10);
    }
}
