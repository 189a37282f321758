//! Whoever was erased is gone everywhere, and each device has said so.

use std::sync::Arc;

use rollcall_store::{both_engines, testing};

use super::replication::{TERMINAL, Terminal, found};
use super::rows::{HUB_KEY, hub};
use super::*;
use crate::{Holders, HoldersFuture, Scope};

/// Terminals that were adopted.
struct Fleet(Vec<TerminalId>);

impl Holders for Fleet {
    fn terminals(&self) -> HoldersFuture<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// Exchanges lines as the protocol does: the terminal says what it has, and each gets what it lacks.
async fn exchange(terminal: &Terminal, hub: &Site) {
    let (here, there) = (&terminal.site.gallery, &hub.gallery);
    let now = UtcInstant::now();
    let hub_state = there.ledger_state().await.unwrap();
    let lines = here.ledger_lines_lacking(&hub_state, &[]).await.unwrap();
    let have = here.ledger_state().await.unwrap();
    there.take_ledger(&lines, now).await.unwrap();
    let answer = there.ledger_lines_lacking(&have, &lines).await.unwrap();
    here.take_ledger(&answer, now).await.unwrap();
}

/// What the terminal says at its next contact.
async fn contact(terminal: &Terminal, hub: &Site) {
    let have = terminal.site.gallery.ledger_state().await.unwrap();
    hub.gallery.confirm_erasures(TERMINAL, &have, UtcInstant::now()).await.unwrap();
}

async fn erasure(hub: &Site, name: &str) -> v1::Erasure {
    let request = v1::GetErasureRequest { name: name.into() };
    hub.server.get_erasure(Request::new(request)).await.unwrap().into_inner()
}

both_engines! {
    migrations = &migrations();

    async fn an_erasure_is_complete_once_every_terminal_has_said_so(db: Db) {
        let hub = hub(&db).await;
        let away = TerminalId::from_bytes([8; 16]);
        hub.gallery.set_holders(Arc::new(Fleet(vec![TERMINAL, away])));
        let ada = hub.enrolled("Ada", 1).await;
        let terminal = Terminal::of(&hub).await;
        terminal.pull(&hub, &Scope::everybody()).await;
        let made = hub.erase(&ada).await.unwrap();
        assert!(!made.complete);
        let devices: Vec<(String, bool)> =
            made.devices.iter().map(|one| (one.device.clone(), one.confirm_time.is_some())).collect();
        assert_eq!(devices, [("hub".to_owned(), true), (away.name(), false), (TERMINAL.name(), false)]);
        contact(&terminal, &hub).await;
        assert!(erasure(&hub, &made.name).await.devices[2].confirm_time.is_none(), "it has not heard of it");
        exchange(&terminal, &hub).await;
        assert_eq!(terminal.names().await, [""; 0], "gone before anything else is pulled");
        contact(&terminal, &hub).await;
        let after = erasure(&hub, &made.name).await;
        assert!(after.devices[2].confirm_time.is_some() && after.devices[1].confirm_time.is_none());
        hub.gallery.confirm_erasures(away, &hub.gallery.ledger_state().await.unwrap(), UtcInstant::now()).await.unwrap();
        assert!(erasure(&hub, &made.name).await.complete);
    }

    async fn lines_go_both_ways_and_repeating_them_changes_nothing(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::of(&hub).await;
        let same = async || terminal.site.gallery.ledger_state().await.unwrap() == hub.gallery.ledger_state().await.unwrap();
        assert!(same().await);
        for name in ["Ada", "Bo", "Cy"] {
            let person = hub.add(name).await.name;
            hub.erase(&person).await.unwrap();
            assert!(!same().await);
            exchange(&terminal, &hub).await;
            assert!(same().await, "{name}");
        }
        exchange(&terminal, &hub).await;
        let state = terminal.site.gallery.ledger_state().await.unwrap();
        assert_eq!((state.count, same().await), (3, true));
        assert_eq!(hub.gallery.ledger_lines_lacking(&state, &[]).await.unwrap(), []);
    }

    async fn what_a_terminal_erased_alone_is_its_own(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::alone().await;
        let own = terminal.site.add("Own").await.name;
        terminal.site.erase(&own).await.unwrap();
        let lines = hub.gallery.ledger_lines_lacking(&v1::LedgerState::default(), &[]).await.unwrap();
        let refused = terminal.site.gallery.take_ledger(&lines, UtcInstant::now()).await;
        assert!(matches!(refused, Err(GalleryError::State(_))), "it belongs to no hub: {refused:?}");
        terminal.join(&hub).await;
        exchange(&terminal, &hub).await;
        assert_eq!(hub.gallery.ledger_state().await.unwrap().count, 0);
        assert_eq!(terminal.site.gallery.ledger_state().await.unwrap().count, 0);
    }

    async fn f023_a_line_that_the_hub_did_not_make_is_refused_with_all_that_came_with_it(db: Db) {
        let hub = hub(&db).await;
        let terminal = Terminal::of(&hub).await;
        let (ada, bo) = (hub.add("Ada").await.name, hub.add("Bo").await.name);
        hub.erase(&bo).await.unwrap();
        exchange(&terminal, &hub).await;
        let mut lines = terminal.site.gallery.ledger_lines_lacking(&v1::LedgerState::default(), &[]).await.unwrap();
        let forged = v1::LedgerLine {
            person_id: PersonId::from_name(&ada).unwrap().as_bytes().to_vec().into(),
            erasure_id: vec![5; 16].into(),
            ..lines[0].clone()
        };
        lines.push(forged);
        let before = hub.gallery.ledger_state().await.unwrap();
        let refused = hub.gallery.take_ledger(&lines, UtcInstant::now()).await;
        assert!(matches!(refused, Err(GalleryError::Row { .. })), "{refused:?}");
        lines[1].mac = vec![1, 2].into();
        assert!(matches!(hub.gallery.take_ledger(&lines, UtcInstant::now()).await, Err(GalleryError::Row { .. })));
        assert_eq!(hub.gallery.ledger_state().await.unwrap(), before);
        hub.get(&ada).await.unwrap();
    }

    async fn f112_a_person_erased_while_a_snapshot_of_them_is_on_its_way_is_gone_from_the_terminal(db: Db) {
        const NAME: &str = "Thảo Zwölfmüller-Quintanilla";
        let hub = hub(&db).await;
        for number in 0..30 {
            hub.add(&format!("Somebody {number}")).await;
        }
        let ada = hub.enrolled(NAME, 1).await;
        let terminal = Terminal::of(&hub).await;
        let gallery = &terminal.site.gallery;
        let mut snapshot = hub.gallery.snapshot(&Scope::everybody()).await.unwrap();
        gallery.begin_snapshot().await.unwrap();
        while let Some(chunk) = snapshot.next().await.unwrap() {
            gallery.take_snapshot_rows(chunk.rows).await.unwrap();
        }
        let erased = hub.erase(&ada).await.unwrap();
        assert!(erased.complete, "at the hub at once, whoever is being sent what");
        // The line comes between the last row and the swap, or after it.
        exchange(&terminal, &hub).await;
        gallery.begin_snapshot().await.unwrap();
        let mut again = hub.gallery.snapshot(&Scope::everybody()).await.unwrap();
        while let Some(chunk) = again.next().await.unwrap() {
            gallery.take_snapshot_rows(chunk.rows).await.unwrap();
        }
        gallery.swap_snapshot(again.end(), UtcInstant::now()).await.unwrap();
        assert_eq!(terminal.names().await.len(), 30);
        rollcall_store::checkpoint(&terminal.db).await.unwrap();
        assert!(!found(terminal.data.path(), NAME.as_bytes()));
        assert!(terminal.is_as(&hub, &Scope::everybody()).await);
    }

    async fn whoever_is_in_the_ledger_is_dropped_from_what_comes_later(db: Db) {
        let hub = hub(&db).await;
        let (ada, _bo) = (hub.enrolled("Ada", 1).await, hub.enrolled("Bo", 2).await);
        let terminal = Terminal::of(&hub).await;
        // Rows from before the erasure, as a hub that was restored would send them.
        let rows = hub.rows(&Scope::everybody()).await;
        let state = hub.gallery.moment().await.unwrap().state(&Scope::everybody()).await.unwrap();
        hub.erase(&ada).await.unwrap();
        exchange(&terminal, &hub).await;
        terminal.site.gallery.begin_snapshot().await.unwrap();
        terminal.site.gallery.take_snapshot_rows(rows).await.unwrap();
        terminal.site.gallery.swap_snapshot(state, UtcInstant::now()).await.unwrap();
        assert_eq!(terminal.names().await, ["Bo"]);
    }

    async fn f113_a_hub_without_its_ledger_learns_from_a_terminal_who_must_stay_away(db: Db) {
        let first = hub(&db).await;
        let terminal = Terminal::of(&first).await;
        let ada = first.enrolled("Ada", 1).await;
        let id = PersonId::from_name(&ada).unwrap();
        first.erase(&ada).await.unwrap();
        exchange(&terminal, &first).await;
        // Another machine: an older copy of the database, where she still is, and no ledger at all.
        let (copy, _data) = testing::sqlite(&migrations()).await;
        let folder = tempfile::tempdir().unwrap();
        let gallery = open_as(&copy, folder.path(), None, HUB_KEY, UtcInstant::now()).await.unwrap();
        let restored = Site { server: GalleryServer::new(gallery.clone()), gallery, folder };
        let fields = crate::PersonFields { display_name: "Ada".into(), external_id: None, groups: Vec::new(), leave_day: None };
        let mut tx = restored.gallery.begin().await.unwrap();
        crate::store::people::insert(&mut tx, id, &fields, UtcInstant::now()).await.unwrap();
        crate::store::changes::record(&mut tx, id, false, UtcInstant::now()).await.unwrap();
        restored.gallery.commit(tx).await.unwrap();
        restored.get(&ada).await.unwrap();
        exchange(&terminal, &restored).await;
        assert_eq!(reason(&restored.get(&ada).await.unwrap_err()), "NOT_FOUND");
        assert_eq!(reason(&restored.say(&ada, yes(None, None)).await.unwrap_err()), "PERSON_ERASED");
        assert_eq!(restored.gallery.ledger_state().await.unwrap(), first.gallery.ledger_state().await.unwrap());
        let again = open_as(&copy, restored.folder.path(), None, HUB_KEY, UtcInstant::now()).await.unwrap();
        assert_eq!(again.ledger_state().await.unwrap().count, 1);
    }
}

#[test]
fn processes_over_one_database_have_the_same_ledger_each() {
    testing::on_postgres(&migrations(), |db| async move {
        let (first, second) = (hub(&db).await, hub(&db).await);
        let mut people = Vec::new();
        for name in ["Ada", "Bo", "Cy"] {
            people.push(first.add(name).await.name);
        }
        first.erase(&people[0]).await.unwrap();
        second.erase(&people[1]).await.unwrap();
        first.erase(&people[2]).await.unwrap();
        let lines = |site: &Site| {
            let text = std::fs::read_to_string(site.folder.path().join("erasures.ledger")).unwrap();
            text.lines().count()
        };
        for site in [&first, &second] {
            site.gallery.expire(UtcInstant::now()).await.unwrap();
            assert_eq!(lines(site), 3);
        }
        assert_eq!(first.gallery.ledger_state().await.unwrap(), second.gallery.ledger_state().await.unwrap());
        // A third that has no file yet, and a database that was put back to before all this.
        let third = hub(&db).await;
        assert_eq!(lines(&third), 3);
        let mut tx = db.write().await.unwrap();
        rollcall_store::on!(tx, connection => {
            sqlx::query("delete from gallery_erasure").execute(connection).await.map(|_| ())
        })
        .unwrap();
        tx.commit().await.unwrap();
        open_as(&db, second.folder.path(), None, HUB_KEY, UtcInstant::now()).await.unwrap();
        assert_eq!(first.gallery.ledger_state().await.unwrap().count, 3);
        assert_eq!(reason(&first.say(&people[1], yes(None, None)).await.unwrap_err()), "PERSON_ERASED");
    });
}
