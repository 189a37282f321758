//! Random runs of terminals and a hub: nothing that must hold is violated, and each rule is missed when it is taken away.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../simulator/mod.rs"]
mod simulator;

use simulator::{Report, Rule, run};

/// Runs of each test run; `examples/simulate.rs` runs as many as one likes.
const SEEDS: u64 = 500;

/// Rules whose lack shows within a few runs. That of the others takes thousands: `examples/simulate.rs --table`.
const SOON_MISSED: &[Rule] = &[
    Rule::HashesAreCompared,
    Rule::PendingIsKept,
    Rule::HubsStepBack,
    Rule::GapsAreFlagged,
    Rule::TwoBackups,
    Rule::RepeatsCountOnce,
];

/// Runs within which their lack must be noticed.
const SEEDS_TO_NOTICE: u64 = 400;

#[test]
fn whatever_happens_everything_comes_out_right() {
    let mut report = Report::default();
    for seed in 0..SEEDS {
        match run(seed, None) {
            Ok(one) => report.add(&one),
            Err(failure) => panic!("{failure}"),
        }
    }
    // What never happens is not tested.
    assert!(report.rollbacks > 100 && report.clones > 100 && report.restores > 100, "{report:?}");
    assert!(report.forks > 100 && report.gaps > 5 && report.pruned > 100, "{report:?}");
    assert!(report.histories > 100 && report.taken_back > 10 && report.forged > 10, "{report:?}");
    assert!(report.erasures > 100 && report.anchors > 100, "{report:?}");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let once = format!("{:?}", (0..50).map(|seed| run(seed, None)).collect::<Vec<_>>());
    let again = format!("{:?}", (0..50).map(|seed| run(seed, None)).collect::<Vec<_>>());
    assert_eq!(once, again);
}

#[test]
fn the_lack_of_a_rule_is_noticed() {
    for rule in SOON_MISSED {
        let noticed = (0..SEEDS_TO_NOTICE).find_map(|seed| run(seed, Some(*rule)).err());
        assert!(noticed.is_some(), "nothing notices that {rule:?} is gone: {}", rule.says());
    }
}

#[test]
fn a_rule_goes_by_the_name_that_is_printed() {
    for rule in Rule::ALL {
        assert_eq!(Rule::named(&format!("{rule:?}")), Some(*rule));
    }
}
