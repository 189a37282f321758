//! What a hub asks terminals to do at once, and the hints that bring it, through one process of the hub and through two.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use rollcall_core::{CommandId, Fault, Reason, TerminalId};
use rollcall_store::{Db, Engine};
use rollcall_terminals::{
    Answer, Command, FLEET_MIGRATIONS, Fleet, Hint, Hints, MIGRATIONS, Settings, SettingsField, Site, What,
};
use support::{fleet, register, settings, site};
use tokio::task::JoinSet;

const BY: &str = "accounts/x";

/// Long enough for anything that comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The hints of a connection that knows all settings.
async fn connect(fleet: &Fleet, terminal: TerminalId) -> Hints {
    let revision = fleet.pulled(terminal).await.unwrap().revision();
    fleet.hints(terminal, revision).await.unwrap()
}

async fn next(hints: &mut Hints) -> Option<Hint> {
    tokio::time::timeout(PATIENCE, hints.next()).await.expect("a hint in time").unwrap()
}

async fn command(hints: &mut Hints) -> Command {
    match next(hints).await {
        Some(Hint::Command(command)) => command,
        other => panic!("{other:?} is no command"),
    }
}

fn reason(done: Result<(), rollcall_terminals::TerminalError>) -> Reason {
    done.unwrap_err().fault().reason
}

/// Two processes of one hub. A file has one process: there both are the same.
async fn two(db: &Db, tasks: &mut JoinSet<()>) -> (Fleet, Fleet) {
    let one = fleet(db).await;
    let other = if db.engine() == Engine::Sqlite { one.clone() } else { fleet(db).await };
    for fleet in [one.clone(), other.clone()] {
        tasks.spawn(async move { fleet.listen().await });
    }
    (one, other)
}

rollcall_store::both_engines! {
    migrations = &[MIGRATIONS, FLEET_MIGRATIONS];

    async fn a_door_opens_through_whichever_process_its_terminal_is_connected_to(db: Db) {
        let mut tasks = JoinSet::new();
        let (asked, connected) = two(&db, &mut tasks).await;
        let terminal = register(&asked, "Gate A").await;
        let mut hints = connect(&connected, terminal).await;
        tasks.spawn(async move {
            let command = command(&mut hints).await;
            assert_eq!((command.what, command.by.as_str()), (What::OpenDoor, BY));
            connected.answer(terminal, command.id, Answer::Done).await.unwrap();
            std::future::pending().await
        });
        asked.open_door(terminal, BY.into()).await.unwrap();
    }

    async fn a_terminal_says_why_its_door_did_not_open(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let mut hints = connect(&fleet, terminal).await;
        let absent = Fault::new(Reason::HardwareAbsent, "this terminal has no door");
        let answer = async {
            let command = command(&mut hints).await;
            fleet.answer(terminal, command.id, Answer::Refused(absent.clone())).await.unwrap();
        };
        let (opened, ()) = tokio::join!(fleet.open_door(terminal, BY.into()), answer);
        assert_eq!(opened.unwrap_err().fault(), absent);
    }

    async fn a_command_is_void_after_its_patience_and_given_to_nobody_after_it(db: Db) {
        let fleet = fleet(&db).await;
        let (silent, deaf) = (register(&fleet, "Gate A").await, register(&fleet, "Gate B").await);
        let mut hints = connect(&fleet, deaf).await;
        let taken = async { command(&mut hints).await };
        let (not_taken, not_answered, command) =
            tokio::join!(fleet.open_door(silent, BY.into()), fleet.open_door(deaf, BY.into()), taken);
        let (not_taken, not_answered) = (not_taken.unwrap_err().fault(), not_answered.unwrap_err().fault());
        assert_eq!((not_taken.reason, not_answered.reason), (Reason::Unavailable, Reason::Unavailable));
        assert!(not_taken.message.starts_with("Gate A (terminals/") && not_taken.message.contains("did not take"));
        assert!(not_answered.message.contains("has not said"), "{}", not_answered.message);

        let mut late = connect(&fleet, silent).await;
        fleet.set_lockdown(silent, true, vec![], BY.into()).await.unwrap();
        assert!(matches!(next(&mut late).await, Some(Hint::Settings(_))), "the door is not opened now");
        fleet.answer(deaf, command.id, Answer::Done).await.expect("a late answer is kept");
    }

    async fn of_two_connections_of_a_terminal_the_newest_alone_gets_its_commands_and_once(db: Db) {
        let mut tasks = JoinSet::new();
        let (one, other) = two(&db, &mut tasks).await;
        let terminal = register(&one, "Gate A").await;
        let mut dead = connect(&one, terminal).await;
        let mut alive = connect(&other, terminal).await;
        let answer = async {
            let command = command(&mut alive).await;
            other.answer(terminal, command.id, Answer::Done).await.unwrap();
        };
        let (opened, (), ended) = tokio::join!(one.open_door(terminal, BY.into()), answer, next(&mut dead));
        opened.unwrap();
        assert_eq!(ended, None);
    }

    async fn a_hint_that_nobody_read_is_not_lost(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let mut hints = connect(&fleet, terminal).await;
        let answer = async {
            // Whoever reads looks after other things too, and drops what it waits for.
            let mut dropped = 0;
            let command = loop {
                let patience = if dropped < 20 { Duration::from_micros(300) } else { PATIENCE };
                match tokio::time::timeout(patience, hints.next()).await {
                    Ok(hint) => break hint.unwrap(),
                    Err(_) => dropped += 1,
                }
            };
            let Some(Hint::Command(command)) = command else { panic!("{command:?} is no command") };
            fleet.answer(terminal, command.id, Answer::Done).await.unwrap();
        };
        let (opened, ()) = tokio::join!(fleet.open_door(terminal, BY.into()), answer);
        opened.unwrap();
    }

    async fn settings_are_hinted_to_their_terminal_alone_and_once(db: Db) {
        let mut tasks = JoinSet::new();
        let (one, other) = two(&db, &mut tasks).await;
        let (terminal, neighbour) = (register(&one, "Gate A").await, register(&one, "Gate B").await);
        let (mut hints, mut quiet) = (connect(&other, terminal).await, connect(&other, neighbour).await);
        let wanted = Settings { keep_pictures: true, ..settings() };
        one.update(terminal, wanted, vec![SettingsField::KeepPictures], String::new(), BY.into()).await.unwrap();
        let told = one.pulled(terminal).await.unwrap().revision();
        assert_eq!(next(&mut hints).await, Some(Hint::Settings(told)));
        one.set_lockdown(terminal, true, vec![], BY.into()).await.unwrap();
        let told = one.pulled(terminal).await.unwrap().revision();
        assert_eq!(next(&mut hints).await, Some(Hint::Settings(told)));
        other.set_site(Site { forget_after_hours: 5, ..site() });
        let told = other.pulled(neighbour).await.unwrap().revision();
        assert_eq!(next(&mut quiet).await, Some(Hint::Settings(told)), "the site's are everybody's, and the first");
    }

    async fn a_terminal_that_missed_a_change_is_hinted_at_once(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let mut hints = fleet.hints(terminal, 0).await.unwrap();
        let told = fleet.pulled(terminal).await.unwrap().revision();
        assert_eq!(next(&mut hints).await, Some(Hint::Settings(told)));
    }

    async fn f067_the_hints_of_a_revoked_terminal_end_and_its_door_is_not_opened(db: Db) {
        let mut tasks = JoinSet::new();
        let (one, other) = two(&db, &mut tasks).await;
        let terminal = register(&one, "Gate A").await;
        let mut hints = connect(&other, terminal).await;
        one.revoke(terminal, BY.into(), support::second(5)).await.unwrap();
        assert_eq!(next(&mut hints).await, None);
        assert_eq!(reason(one.open_door(terminal, BY.into()).await), Reason::Unavailable);
    }

    async fn a_terminal_answers_its_own_commands_alone(db: Db) {
        let fleet = fleet(&db).await;
        let (terminal, other) = (register(&fleet, "Gate A").await, register(&fleet, "Gate B").await);
        let mut hints = connect(&fleet, terminal).await;
        let answer = async {
            let command = command(&mut hints).await;
            assert_eq!(reason(fleet.answer(other, command.id, Answer::Done).await), Reason::NotFound);
            let none = CommandId::generate();
            assert_eq!(reason(fleet.answer(terminal, none, Answer::Done).await), Reason::NotFound);
            fleet.answer(terminal, command.id, Answer::Done).await.unwrap();
            fleet.answer(terminal, command.id, Answer::Done).await.expect("saying it again changes nothing");
        };
        let (opened, ()) = tokio::join!(fleet.open_door(terminal, BY.into()), answer);
        opened.unwrap();
        assert_eq!(reason(fleet.open_door(TerminalId::generate(), BY.into()).await), Reason::NotFound);
    }

    async fn more_commands_than_may_wait_are_refused_at_once(db: Db) {
        let fleet = fleet(&db).await;
        let terminal = register(&fleet, "Gate A").await;
        let mut tasks = JoinSet::new();
        for _ in 0..17 {
            let fleet = fleet.clone();
            tasks.spawn(async move { reason(fleet.open_door(terminal, BY.into()).await) });
        }
        let reasons = tasks.join_all().await;
        assert_eq!(reasons.iter().filter(|reason| **reason == Reason::LimitReached).count(), 1);
    }
}
