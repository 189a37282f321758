//! A terminal that belongs to a hub: what it takes over, what it does not, and what it tells.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Instant;

use prost::Message as _;
use rollcall_core::{CommandId, GroupId, Reason};
use rollcall_proto::v1;
use rollcall_proto::v1::terminal_service_server::TerminalService as _;
use rollcall_terminals::{Grpc, Lockdown, MIGRATIONS, Pulled, Settings, SettingsField, Terminals};
use support::{Fake, HUB, open, reason, request, second, settings, site};

/// A lockdown that somebody asked the hub for at this second.
fn said(is_on: bool, at: i64) -> Lockdown {
    Lockdown::asked(is_on, vec![], "accounts/hub".into(), second(at)).unwrap()
}

fn pulled(settings: &Settings, lockdown: &Lockdown) -> Pulled {
    Pulled::new(settings, lockdown, &site())
}

/// The hub says so of the lockdown, and nothing new of the settings.
async fn take(terminals: &Terminals<Fake>, lockdown: &Lockdown) {
    terminals.take(pulled(&settings(), lockdown)).await.unwrap();
}

async fn ask_here(terminals: &Terminals<Fake>, is_on: bool) {
    let terminal = terminals.identity().terminal;
    terminals.set_lockdown(terminal, is_on, vec![], "accounts/here".into()).await.unwrap();
}

async fn adopted(db: &rollcall_store::Db, device: &Fake) -> Terminals<Fake> {
    let terminals = open(db, device.clone()).await;
    terminals.catch_up().await.unwrap();
    terminals.belong_to(Some(HUB.into())).await.unwrap();
    terminals
}

rollcall_store::both_engines! {
    migrations = &[MIGRATIONS];

    async fn what_the_hub_says_is_stored_obeyed_and_logged_as_the_next_revision(db: Db) {
        let device = Fake::default();
        let terminals = adopted(&db, &device).await;
        let terminal = terminals.identity().terminal;
        let wanted = Settings { groups: vec![GroupId::generate()], keep_pictures: true, ..settings() };
        let told = pulled(&wanted, &said(true, 1));
        assert_eq!(terminals.settings_revision().await.unwrap(), 0);
        terminals.take(told.clone()).await.unwrap();
        let taken = terminals.settings(terminal).await.unwrap();
        assert_eq!((taken.revision, &taken.settings), (2, &wanted));
        assert_eq!(terminals.lockdown(), said(true, 1));
        assert_eq!(terminals.settings_revision().await.unwrap(), told.revision());

        terminals.take(told).await.unwrap();
        assert_eq!(*device.obeyed.lock().unwrap(), [1, 2], "the same once more is nothing new");
        assert_eq!(*device.locked.lock().unwrap(), [said(true, 1)]);
        let restarted = open(&db, device).await;
        assert!(restarted.lockdown().is_on);
        assert_eq!(restarted.settings(terminal).await.unwrap(), taken);
    }

    async fn settings_of_an_adopted_terminal_are_changed_at_its_hub(db: Db) {
        let terminals = adopted(&db, &Fake::default()).await;
        let terminal = terminals.identity().terminal;
        let change = || {
            let wanted = Settings { keep_pictures: true, ..settings() };
            terminals.update(terminal, wanted, vec![SettingsField::KeepPictures], String::new(), "tokens/x".into())
        };
        let fault = change().await.unwrap_err().fault();
        assert_eq!((fault.reason, fault.metadata), (Reason::TerminalAdopted, vec![("hub", HUB.to_owned())]));
        let grpc = Grpc::new(terminals.clone(), "1.2.3");
        let settings = grpc.get_terminal_settings(request(v1::GetTerminalSettingsRequest { terminal: terminal.name() }));
        let update = v1::UpdateTerminalSettingsRequest {
            terminal: terminal.name(),
            settings: Some(settings.await.unwrap().into_inner()),
            update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
        };
        let refused = grpc.update_terminal_settings(request(update)).await.unwrap_err();
        assert_eq!(reason(&refused), "TERMINAL_ADOPTED");
        terminals.belong_to(None).await.unwrap();
        assert_eq!(change().await.unwrap().revision, 2);
        let late = terminals.take(pulled(&support::settings(), &said(true, 1))).await.unwrap_err();
        assert_eq!(late.fault().reason, Reason::StateForbids);
    }

    async fn settings_that_could_not_be_obeyed_are_taken_again(db: Db) {
        let device = Fake::default();
        let terminals = adopted(&db, &device).await;
        let told = pulled(&Settings { keep_pictures: true, ..settings() }, &said(true, 1));
        *device.broken.lock().unwrap() = true;
        assert_eq!(terminals.take(told.clone()).await.unwrap_err().fault().reason, Reason::Unavailable);
        assert!(terminals.lockdown().is_on, "a lockdown counts before it is written down");
        assert_eq!(terminals.settings_revision().await.unwrap(), 0, "there is still something to be taken");
        *device.broken.lock().unwrap() = false;
        terminals.take(told.clone()).await.unwrap();
        assert_eq!(*device.obeyed.lock().unwrap(), [1, 2]);
        assert_eq!(device.locked.lock().unwrap().len(), 1);
        assert_eq!(terminals.settings_revision().await.unwrap(), told.revision());
    }

    async fn settings_of_a_newer_hub_hold_no_lockdown_up(db: Db) {
        let terminals = adopted(&db, &Fake::default()).await;
        let mut told = v1::PullSettingsResponse::from(pulled(&settings(), &said(true, 1)));
        told.settings = v1::TerminalSettings { direction: 9, ..Default::default() }.encode_to_vec().into();
        assert_eq!(terminals.take(told.into()).await.unwrap_err().fault().reason, Reason::FieldInvalid);
        assert!(terminals.lockdown().is_on);
        assert_eq!(terminals.settings_revision().await.unwrap(), 0);
    }

    async fn a_lockdown_asked_for_here_stays_until_the_hub_has_taken_it_over_and_then_ends_at_its_word(db: Db) {
        let device = Fake::default();
        let terminals = adopted(&db, &device).await;
        take(&terminals, &said(false, 1)).await;
        assert_eq!(terminals.report().await.unwrap().lockdown_asked_here, None);
        ask_here(&terminals, true).await;
        let report = terminals.report().await.unwrap();
        assert!(report.lockdown_asked_here.is_some_and(|lockdown| lockdown.is_on));
        assert_eq!(report.settings_revision, terminals.settings_revision().await.unwrap());
        assert_eq!(report.status.terminal, terminals.identity().terminal.name());

        take(&terminals, &said(false, 1)).await;
        assert!(terminals.lockdown().is_on, "the hub had said so before");
        take(&terminals, &said(true, 2)).await;
        assert_eq!(terminals.report().await.unwrap().lockdown_asked_here, None, "the hub has it");
        assert_eq!(device.locked.lock().unwrap().len(), 1);
        take(&terminals, &said(false, 3)).await;
        assert!(!terminals.lockdown().is_on);
    }

    async fn the_hubs_lockdown_can_be_ended_here_and_a_new_one_counts_again(db: Db) {
        let terminals = adopted(&db, &Fake::default()).await;
        take(&terminals, &said(true, 1)).await;
        ask_here(&terminals, false).await;
        take(&terminals, &said(true, 1)).await;
        assert!(!terminals.lockdown().is_on, "whoever ended it here knew of it");
        take(&terminals, &said(true, 2)).await;
        assert!(terminals.lockdown().is_on);
    }

    async fn a_release_ends_no_lockdown_that_it_did_not_know_of(db: Db) {
        let terminals = adopted(&db, &Fake::default()).await;
        take(&terminals, &said(true, 1)).await;
        ask_here(&terminals, false).await;
        ask_here(&terminals, true).await;
        take(&terminals, &said(false, 2)).await;
        assert!(terminals.lockdown().is_on, "the two crossed");
        let report = terminals.report().await.unwrap();
        assert!(report.lockdown_asked_here.is_some(), "the hub is told");
    }

    async fn being_adopted_or_left_alone_releases_no_door(db: Db) {
        let device = Fake::default();
        let alone = open(&db, device.clone()).await;
        ask_here(&alone, true).await;
        let terminals = adopted(&db, &device).await;
        take(&terminals, &Lockdown::default()).await;
        assert!(terminals.lockdown().is_on && terminals.report().await.unwrap().lockdown_asked_here.is_some());
        take(&terminals, &said(true, 1)).await;
        terminals.belong_to(None).await.unwrap();
        assert!(terminals.lockdown().is_on && terminals.hub().is_none());
        terminals.belong_to(Some("another:7443".into())).await.unwrap();
        take(&terminals, &Lockdown::default()).await;
        assert!(terminals.lockdown().is_on, "another hub never knew of it");
    }

    async fn a_hub_that_was_restored_and_forgot_its_lockdown_ends_it_by_its_next_word_alone(db: Db) {
        let terminals = adopted(&db, &Fake::default()).await;
        take(&terminals, &said(false, 1)).await;
        take(&terminals, &said(true, 2)).await;
        for forgotten in [said(false, 1), Lockdown::default()] {
            take(&terminals, &forgotten).await;
            assert!(terminals.lockdown().is_on);
        }
        assert!(terminals.report().await.unwrap().lockdown_asked_here.is_some(), "the hub is told");
        take(&terminals, &said(true, 3)).await;
        take(&terminals, &said(false, 4)).await;
        assert!(!terminals.lockdown().is_on);
    }

    async fn an_order_of_the_hub_is_answered_with_what_became_of_it(db: Db) {
        let terminals = adopted(&db, &Fake::default()).await;
        let id = CommandId::generate();
        let order = |patience_ms, what| v1::Command {
            command_id: id.to_bytes().to_vec().into(),
            by: "tokens/x".into(),
            patience_ms,
            what,
        };
        let open = Some(v1::command::What::OpenDoor(v1::command::OpenTheDoor {}));
        for (order, reason) in [
            (order(5_000, open), Reason::HardwareAbsent),
            (order(0, open), Reason::Unavailable),
            (order(-1, open), Reason::Unavailable),
            (order(5_000, None), Reason::Unavailable),
        ] {
            let answer = terminals.perform(order, Instant::now()).await.unwrap();
            assert_eq!((&answer.command_id[..], answer.reason.as_str()), (&id.to_bytes()[..], reason.as_str()));
            assert!(!answer.message.is_empty());
        }
        let nameless = v1::Command { command_id: vec![1].into(), ..order(5_000, open) };
        assert_eq!(terminals.perform(nameless, Instant::now()).await.unwrap_err().fault().reason, Reason::FieldInvalid);
    }
}
