//! The terminals of a hub on both engines: whom it trusts, what it keeps of them, and what it tells them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use rollcall_core::{GalleryId, GroupId, Reason, TerminalId, UtcInstant};
use rollcall_proto::v1::{self, ClockQuality};
use rollcall_store::Db;
use rollcall_terminals::{
    Adopted, Contact, FLEET_MIGRATIONS, Fleet, HeldGallery, KeyHash, Lockdown, MIGRATIONS, Opened, Report,
    Settings, SettingsField, Site, Trust,
};
use support::{adopted, fleet, register, second, settings, site};

fn opened(clock: (UtcInstant, ClockQuality)) -> Opened {
    Opened {
        gallery: None,
        ledger_count: 0,
        ledger_hash: [0; 32],
        clock,
        software: "1.2.4".into(),
        address: "192.0.2.8:50000".into(),
    }
}

/// An Open whose clock says this, at this second of the hub.
async fn open_at(db: &Db, terminal: TerminalId, clock: (UtcInstant, ClockQuality), at: i64) {
    let mut tx = db.write().await.unwrap();
    Fleet::opened(&mut tx, terminal, &opened(clock), second(at)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn put_contact(db: &Db, terminal: TerminalId, contact: &Contact) {
    let mut tx = db.write().await.unwrap();
    Fleet::put_contact(&mut tx, terminal, contact).await.unwrap();
    tx.commit().await.unwrap();
}

async fn contact(db: &Db, terminal: TerminalId) -> Option<Contact> {
    Fleet::contact(&mut db.write().await.unwrap(), terminal).await.unwrap()
}

fn report(status: v1::TerminalStatus) -> Report {
    Report { status, settings_revision: 0, lockdown_asked_here: None }
}

/// A lockdown that was asked for at the terminal, which had taken this revision.
fn asked_there(is_on: bool, settings_revision: i64) -> Report {
    let asked = Lockdown::asked(is_on, vec![], "accounts/there".into(), second(5)).unwrap();
    Report { status: v1::TerminalStatus::default(), settings_revision, lockdown_asked_here: Some(asked) }
}

async fn revision(fleet: &Fleet, terminal: TerminalId) -> i64 {
    fleet.pulled(terminal).await.unwrap().revision()
}

rollcall_store::both_engines! {
    migrations = &[MIGRATIONS, FLEET_MIGRATIONS];

    async fn a_terminal_is_trusted_by_the_one_key_in_force(db: Db) {
        let fleet = fleet(&db).await;
        let first = adopted("Gate A", 1);
        let terminal = first.terminal;
        let trust = |key| fleet.trust(terminal, KeyHash::from_bytes([key; 32]));
        assert_eq!(trust(1).await.unwrap(), Trust::Unknown);
        fleet.register(first.clone(), second(1)).await.unwrap();
        assert_eq!(trust(1).await.unwrap(), Trust::Trusted);
        assert_eq!(trust(2).await.unwrap(), Trust::OtherKey);
        fleet.register(Adopted { key: KeyHash::from_bytes([2; 32]), ..first }, second(2)).await.unwrap();
        assert_eq!(trust(1).await.unwrap(), Trust::OtherKey);
        assert_eq!(trust(2).await.unwrap(), Trust::Trusted);
    }

    async fn f067_a_revoked_terminal_is_trusted_by_no_process_of_the_hub(db: Db) {
        let (one, other) = (fleet(&db).await, fleet(&db).await);
        let terminal = register(&one, "Gate A").await;
        let key = KeyHash::from_bytes([1; 32]);
        assert_eq!(other.trust(terminal, key).await.unwrap(), Trust::Trusted);
        let revoked = one.revoke(terminal, "accounts/x".into(), second(5)).await.unwrap();
        assert_eq!(revoked.revoked, Some(second(5)));
        assert_eq!(other.trust(terminal, key).await.unwrap(), Trust::Revoked);
        let again = other.revoke(terminal, "accounts/y".into(), second(9)).await.unwrap();
        assert_eq!(again, revoked, "it is revoked already");
        let renewal = other.renewed(terminal, key, second(99)).await.unwrap_err();
        assert_eq!(renewal.fault().reason, Reason::CredentialsInvalid);
        let anew = Adopted { terminal, ..adopted("Gate A", 3) };
        assert_eq!(one.register(anew, second(10)).await.unwrap().revoked, None);
        assert_eq!(other.trust(terminal, KeyHash::from_bytes([3; 32])).await.unwrap(), Trust::Trusted);
        assert_eq!(other.trust(terminal, key).await.unwrap(), Trust::OtherKey);
    }

    async fn an_adoption_that_is_repeated_changes_nothing(db: Db) {
        let fleet = fleet(&db).await;
        let first = adopted("Gate A", 1);
        let once = fleet.register(first.clone(), second(1)).await.unwrap();
        put_contact(&db, first.terminal, &Contact { number: 3, ..Contact::default() }).await;
        let renamed = Settings { display_name: "Gate B".into(), ..settings() };
        assert_eq!(fleet.register(Adopted { settings: renamed, ..first }, second(9)).await.unwrap(), once);
        assert_eq!(contact(&db, once.terminal).await.unwrap().number, 3);
    }

    async fn a_terminal_keeps_what_it_brings_and_then_what_the_hub_has_but_for_the_name(db: Db) {
        let fleet = fleet(&db).await;
        let brought = Settings { groups: vec![GroupId::generate()], fpir_target: 0.01, ..settings() };
        let first = Adopted { settings: brought.clone(), ..adopted("", 1) };
        let terminal = first.terminal;
        fleet.register(first, second(1)).await.unwrap();
        let kept = fleet.settings(terminal).await.unwrap();
        assert_eq!((kept.revision, &kept.settings), (1, &brought));
        let wanted = Settings { keep_pictures: true, ..brought.clone() };
        let mask = vec![SettingsField::KeepPictures];
        fleet.update(terminal, wanted.clone(), mask, String::new(), "accounts/x".into()).await.unwrap();
        let reset = Adopted { terminal, settings: Settings::first("Yard".into()), ..adopted("", 2) };
        assert_eq!(fleet.register(reset, second(2)).await.unwrap().display_name, "Yard");
        let kept = fleet.settings(terminal).await.unwrap();
        assert_eq!((kept.revision, kept.settings), (3, Settings { display_name: "Yard".into(), ..wanted }));
    }

    async fn terminals_are_listed_by_name_page_by_page(db: Db) {
        let fleet = fleet(&db).await;
        for name in ["Yard", "Gate B", "Gate A", "Gate B", "über"] {
            register(&fleet, name).await;
        }
        let all = fleet.list(None, 10).await.unwrap();
        let names: Vec<&str> = all.iter().map(|terminal| terminal.display_name.as_str()).collect();
        assert_eq!(names, ["Gate A", "Gate B", "Gate B", "Yard", "über"]);
        let mut paged = fleet.list(None, 2).await.unwrap();
        while let Some(last) = paged.last().cloned() {
            let next = fleet.list(Some((&last.display_name, last.terminal)), 2).await.unwrap();
            if next.is_empty() {
                break;
            }
            paged.extend(next);
        }
        assert_eq!(paged, all, "of two with one name neither is lost");
    }

    async fn what_a_terminal_says_of_itself_has_limits(db: Db) {
        let fleet = fleet(&db).await;
        for (field, wrong) in [
            ("hw_id", Adopted { hardware: "x".repeat(65), ..adopted("Gate A", 1) }),
            ("software", Adopted { software: "1.0\n2.0".into(), ..adopted("Gate A", 1) }),
            ("address", Adopted { address: "x".repeat(300), ..adopted("Gate A", 1) }),
            ("display_name", adopted("", 1)),
        ] {
            let fault = fleet.register(wrong, second(1)).await.unwrap_err().fault();
            assert_eq!(fault.metadata, [("field", field.to_owned())]);
        }
        assert!(fleet.list(None, 10).await.unwrap().is_empty());
    }

    async fn f032_what_tells_a_clone_is_kept_until_the_terminal_is_adopted_anew(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        assert_eq!(contact(&db, terminal).await, None, "its first contact is the first");
        let cloned = Contact {
            number: u64::MAX,
            nonce: vec![9; 16],
            forks: vec![second(3), second(4)],
            hardware: vec!["a machine".into(), "another".into()],
            cloned: Some(second(4)),
        };
        put_contact(&db, terminal, &cloned).await;
        assert_eq!(contact(&db, terminal).await, Some(cloned.clone()));
        assert_eq!(fleet.get(terminal).await.unwrap().cloned, Some(second(4)));
        let fewer = Contact { forks: vec![second(4)], hardware: vec![], ..cloned };
        put_contact(&db, terminal, &fewer).await;
        assert_eq!(contact(&db, terminal).await, Some(fewer), "nothing of before is left");
        fleet.register(Adopted { terminal, ..adopted("Gate A", 2) }, second(5)).await.unwrap();
        assert_eq!(contact(&db, terminal).await, None);
        assert_eq!(fleet.get(terminal).await.unwrap().cloned, None);
    }

    async fn two_opens_of_one_terminal_at_once_count_one_after_the_other(db: Db) {
        let terminal = register(&fleet(&db).await, "Gate A").await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let db = db.clone();
            tasks.spawn(async move {
                let mut tx = db.write().await.unwrap();
                let before = Fleet::contact(&mut tx, terminal).await.unwrap().unwrap_or_default();
                let next = Contact { number: before.number + 1, ..before };
                Fleet::put_contact(&mut tx, terminal, &next).await.unwrap();
                tx.commit().await.unwrap();
            });
        }
        tasks.join_all().await;
        assert_eq!(contact(&db, terminal).await.unwrap().number, 8);
    }

    async fn contact_with_a_terminal_that_was_never_adopted_is_none(db: Db) {
        let mut tx = db.write().await.unwrap();
        let error = Fleet::contact(&mut tx, TerminalId::generate()).await.unwrap_err();
        assert_eq!(error.fault().reason, Reason::NotFound);
    }

    async fn what_was_received_is_known_by_its_time(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        assert_eq!(fleet.received(terminal).await.unwrap(), Default::default());
        let gallery = HeldGallery { gallery: GalleryId::generate(), revision: u64::MAX, set_hash: [3; 32] };
        let first = Opened {
            gallery: Some(gallery),
            ledger_count: 5,
            ledger_hash: [4; 32],
            ..opened((second(9), ClockQuality::Ntp))
        };
        let mut tx = db.write().await.unwrap();
        Fleet::opened(&mut tx, terminal, &first, second(10)).await.unwrap();
        Fleet::pushed(&mut tx, terminal, second(11)).await.unwrap();
        tx.commit().await.unwrap();
        fleet.reported(terminal, report(v1::TerminalStatus::default()), second(12)).await.unwrap();
        let received = fleet.received(terminal).await.unwrap();
        assert_eq!((received.opened, received.pushed, received.heard), (Some(second(10)), Some(second(11)), Some(second(12))));
        assert_eq!((received.gallery, received.ledger), (Some(gallery), Some((5, [4; 32]))));
        let registered = fleet.get(terminal).await.unwrap();
        assert_eq!((registered.software.as_str(), registered.address.as_str()), ("1.2.4", "192.0.2.8:50000"));
    }

    async fn f051_a_terminal_that_lies_about_the_time_has_one_voice_and_is_known_by_it(db: Db) {
        let fleet = fleet(&db).await;
        let mut terminals = Vec::new();
        for name in ["Gate A", "Gate B", "Yard"] {
            terminals.push(register(&fleet, name).await);
        }
        let liar = terminals[1];
        for at in 1_000..1_010 {
            open_at(&db, liar, (second(at + 9_000_000), ClockQuality::Ntp), at).await;
        }
        for honest in [terminals[0], terminals[2]] {
            open_at(&db, honest, (second(1_009), ClockQuality::Ntp), 1_009).await;
        }
        let clocks = fleet.clocks(second(1_010)).await.unwrap();
        assert_eq!(clocks.len(), 3, "however often it says so");
        let far: Vec<TerminalId> =
            clocks.iter().filter(|clock| clock.offset_us().abs() > 300_000_000).map(|clock| clock.terminal).collect();
        assert_eq!(far, [liar]);
        fleet.revoke(liar, "accounts/x".into(), second(1_010)).await.unwrap();
        assert_eq!(fleet.clocks(second(1_010)).await.unwrap().len(), 2);
    }

    async fn f050_what_was_compared_with_a_clock_that_was_set_since_does_not_count(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let ten_years = 315_360_000;
        open_at(&db, terminal, (second(ten_years), ClockQuality::Ntp), 100).await;
        let wrong = fleet.clocks(second(101)).await.unwrap();
        assert_eq!(wrong[0].offset_us(), (ten_years - 100) * 1_000_000, "the hub is ten years behind");
        assert!(fleet.clocks(second(ten_years)).await.unwrap().is_empty(), "the hub's clock was set");
        let status = v1::TerminalStatus {
            report_time: Some(prost_types::Timestamp { seconds: ten_years + 2, nanos: 0 }),
            clock_quality: ClockQuality::Ntp.into(),
            ..Default::default()
        };
        fleet.reported(terminal, report(status), second(ten_years + 3)).await.unwrap();
        let right = fleet.clocks(second(ten_years + 4)).await.unwrap();
        assert_eq!((right[0].offset_us(), right[0].quality), (-1_000_000, ClockQuality::Ntp));
    }

    async fn everything_a_terminal_is_told_makes_one_revision_in_every_process(db: Db) {
        let (one, other) = (fleet(&db).await, fleet(&db).await);
        let terminal = register(&one, "Gate A").await;
        let first = revision(&one, terminal).await;
        assert_eq!(revision(&other, terminal).await, first);
        let wanted = Settings { keep_pictures: true, ..settings() };
        let mask = vec![SettingsField::KeepPictures];
        one.update(terminal, wanted, mask, String::new(), "accounts/x".into()).await.unwrap();
        let second = revision(&other, terminal).await;
        one.set_lockdown(terminal, true, vec![], "accounts/x".into()).await.unwrap();
        let third = revision(&other, terminal).await;
        other.set_site(Site { forget_after_hours: 5, ..site() });
        let fourth = revision(&other, terminal).await;
        let revisions = std::collections::HashSet::from([first, second, third, fourth]);
        assert_eq!(revisions.len(), 4);
        let told = other.pulled(terminal).await.unwrap();
        assert!(told.settings().unwrap().keep_pictures && told.lockdown().unwrap().is_on);
        assert_eq!(told.site().unwrap().forget_after_hours, 5);
    }

    async fn settings_of_a_terminal_have_masks_etags_and_revisions(db: Db) {
        let fleet = fleet(&db).await;
        let (terminal, other) = (register(&fleet, "Gate A").await, register(&fleet, "Gate B").await);
        let wanted = Settings { fpir_target: 0.01, ..settings() };
        let update = |terminal, etag: &str| {
            let mask = vec![SettingsField::FpirTarget];
            fleet.update(terminal, wanted.clone(), mask, etag.to_owned(), "accounts/x".into())
        };
        let after = update(terminal, "r1").await.unwrap();
        assert_eq!((after.revision, after.settings.display_name.as_str()), (2, "Gate A"));
        assert_eq!(update(terminal, "r1").await.unwrap_err().fault().reason, Reason::EtagMismatch);
        assert_eq!(update(TerminalId::generate(), "").await.unwrap_err().fault().reason, Reason::NotFound);
        assert_eq!(fleet.settings(other).await.unwrap().revision, 1, "another terminal's are its own");
    }

    async fn a_lockdown_is_answered_with_what_is_stored_and_the_same_again_is_the_first(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        assert_eq!(fleet.lockdown(terminal).await.unwrap(), Lockdown::default());
        let on = fleet.set_lockdown(terminal, true, vec![], "accounts/x".into()).await.unwrap();
        assert_eq!(fleet.set_lockdown(terminal, true, vec![], "accounts/y".into()).await.unwrap(), on);
        assert_eq!(fleet.lockdown(terminal).await.unwrap(), on);
        let unknown = fleet.set_lockdown(TerminalId::generate(), true, vec![], "accounts/x".into()).await;
        assert_eq!(unknown.unwrap_err().fault().reason, Reason::NotFound);
    }

    async fn a_lockdown_asked_for_at_the_terminal_becomes_the_hubs_word(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let known = revision(&fleet, terminal).await;
        fleet.reported(terminal, asked_there(true, known), second(50)).await.unwrap();
        let taken = fleet.lockdown(terminal).await.unwrap();
        assert_eq!((taken.is_on, taken.by, taken.since), (true, terminal.name(), Some(second(50))));
        let known = revision(&fleet, terminal).await;
        fleet.reported(terminal, asked_there(true, known), second(51)).await.unwrap();
        assert_eq!(revision(&fleet, terminal).await, known, "the same again is nothing new");
        fleet.reported(terminal, asked_there(false, known), second(52)).await.unwrap();
        assert!(!fleet.lockdown(terminal).await.unwrap().is_on);
    }

    async fn what_was_asked_for_at_the_terminal_without_knowing_the_hubs_word_waits(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let before = revision(&fleet, terminal).await;
        let on = fleet.set_lockdown(terminal, true, vec![], "accounts/x".into()).await.unwrap();
        fleet.reported(terminal, asked_there(false, before), second(50)).await.unwrap();
        assert_eq!(fleet.lockdown(terminal).await.unwrap(), on);
        assert!(!fleet.is_settled(terminal).await.unwrap());
        let known = revision(&fleet, terminal).await;
        let settled = Report { settings_revision: known, ..report(v1::TerminalStatus::default()) };
        fleet.reported(terminal, settled, second(51)).await.unwrap();
        assert!(fleet.is_settled(terminal).await.unwrap());
    }

    async fn a_status_is_the_certificates_and_as_old_as_the_hub_heard_it(db: Db) {
        let fleet = fleet(&db).await;
        let (terminal, other) = (register(&fleet, "Gate A").await, register(&fleet, "Gate B").await);
        let silent = fleet.status(terminal).await.unwrap_err().fault();
        assert_eq!(silent.reason, Reason::Unavailable, "{}", silent.message);
        let status = v1::TerminalStatus {
            terminal: other.name(),
            report_time: Some(prost_types::Timestamp { seconds: 9_999_999, nanos: 0 }),
            people: 20,
            alarms: vec!["DISK_FULL".into()],
            ..Default::default()
        };
        fleet.reported(terminal, report(status), second(12)).await.unwrap();
        let last = fleet.status(terminal).await.unwrap();
        assert_eq!((last.terminal, last.people, last.alarms), (terminal.name(), 20, vec!["DISK_FULL".to_owned()]));
        assert_eq!(last.report_time, Some(prost_types::Timestamp { seconds: 12, nanos: 0 }));
        assert_eq!(fleet.status(other).await.unwrap_err().fault().reason, Reason::Unavailable);
    }

    async fn the_summary_counts_the_trusted_who_spoke_in_the_last_minutes(db: Db) {
        let fleet = fleet(&db).await;
        let mut terminals = Vec::new();
        for name in ["A", "B", "C", "D"] {
            terminals.push(register(&fleet, name).await);
        }
        open_at(&db, terminals[0], (second(1), ClockQuality::Unset), 1_000).await;
        open_at(&db, terminals[1], (second(1), ClockQuality::Unset), 1_200).await;
        open_at(&db, terminals[2], (second(1), ClockQuality::Unset), 1_300).await;
        fleet.revoke(terminals[2], "accounts/x".into(), second(1_300)).await.unwrap();
        let summary = fleet.summary(second(1_400)).await.unwrap();
        assert_eq!(summary.to_string(), "1 of 3 terminals heard from in 5 minutes");
    }
}
