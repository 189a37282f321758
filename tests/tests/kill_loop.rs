//! kill -9 again and again while people come in: each opening of the door has its event, each event has its opening but
//! the last before a kill, and none is there twice (FAULTS.md 2). tests/drills/kill_loop.sh does it for longer.
//!
//! People come in faster than a lock opens and locks again, so that one pulse is of several. So pulses and events are
//! compared by time, which both records have from the same clock.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollcall_tests::Terminal;
use rollcall_tests::terminal::{PIN, assert_each_pulse_has_its_event, entries_ms, has_its_pulse};

const ROUNDS: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn f002_killed_again_and_again_each_opening_of_the_door_has_its_event_once() {
    let rounds = std::env::var("ROLLCALL_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut terminal = Terminal::start_with_a_pin().await;
    let mut answered = 0;
    for round in 0..rounds {
        // 50 to 549 ms, each in some round, near ones far apart.
        let lives = Duration::from_millis(50 + u64::from(round * 211 % 500));
        let is_killed = AtomicBool::new(false);
        answered += std::thread::scope(|threads| {
            let types = threads.spawn(|| {
                let mut answered = 0;
                while !is_killed.load(Ordering::Relaxed) {
                    answered += usize::from(terminal.type_pin(PIN));
                }
                answered
            });
            // Not a wait for anything: this is when it is killed.
            std::thread::sleep(lives);
            rollcall_tests::ended::kill(terminal.agent.pid());
            is_killed.store(true, Ordering::Relaxed);
            types.join().unwrap()
        });
        terminal.agent.kill();
        terminal.agent.restart();
    }
    let entries = entries_ms(&mut terminal.agent.client().await).await;
    let pulses = terminal.pulses();
    let shut_out = entries.iter().filter(|entry| !has_its_pulse(&pulses, **entry)).count();
    println!(
        "{rounds} kills, {answered} answers, {} events, {} pulses, {shut_out} events whose opening was killed",
        entries.len(),
        pulses.len()
    );
    assert!(entries.len() >= answered, "an event that was told of is lost");
    assert!(pulses.len() > rounds as usize / 4, "the door hardly opened: {}", pulses.len());
    assert_each_pulse_has_its_event(&pulses, &entries, "after all");
    assert!(shut_out <= rounds as usize, "{shut_out} events of nobody whom the door opened for");
    terminal.agent.stop();
    terminal.agent.run(&["verify-log"]).success();
}
