//! Runs the simulator over many seeds, on all processors.
//!
//!     cargo run --release -p rollcall-sync --example simulate -- SEEDS [FIRST] [--without RULE] [--table]
//!
//! `--without` takes one rule away; `--table` takes away one after the other, and prints which share of the seeds notices
//! and the first that does.

#[path = "../simulator/mod.rs"]
mod simulator;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use simulator::{Failure, Report, Rule, run};

const USAGE: &str = "simulate SEEDS [FIRST] [--without RULE] [--table]";

/// What was asked for.
struct Asked {
    seeds: Range<u64>,
    without: Option<Rule>,
    table: bool,
}

/// What came of many runs.
#[derive(Default)]
struct Outcome {
    report: Report,
    failures: u64,
    first: Option<Failure>,
}

fn main() -> ExitCode {
    let Some(asked) = asked(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        for rule in Rule::ALL {
            eprintln!("  {:26} {}", format!("{rule:?}"), rule.says());
        }
        return ExitCode::from(2);
    };
    if asked.table {
        return table(&asked.seeds);
    }
    let outcome = run_all(&asked.seeds, asked.without);
    print(&asked.seeds, &outcome);
    if outcome.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn asked(words: impl Iterator<Item = String>) -> Option<Asked> {
    let (mut numbers, mut without, mut table) = (Vec::new(), None, false);
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--table" => table = true,
            "--without" => without = Some(Rule::named(&words.next()?)?),
            number => numbers.push(number.parse::<u64>().ok()?),
        }
    }
    let (count, first) = match numbers[..] {
        [count] => (count, 0),
        [count, first] => (count, first),
        _ => return None,
    };
    Some(Asked { seeds: first..first.checked_add(count)?, without, table })
}

/// Runs the seeds, some on each processor.
fn run_all(seeds: &Range<u64>, without: Option<Rule>) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut outcome = Outcome::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return outcome;
            }
            match run(seed, without) {
                Ok(report) => outcome.report.add(&report),
                Err(failure) => outcome.failed(1, Some(failure)),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Outcome::default();
        for worker in workers {
            match worker.join() {
                Ok(outcome) => {
                    all.report.add(&outcome.report);
                    all.failed(outcome.failures, outcome.first);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

impl Outcome {
    fn failed(&mut self, failures: u64, first: Option<Failure>) {
        self.failures += failures;
        let candidates = [self.first.take(), first];
        self.first = candidates.into_iter().flatten().min_by_key(|failure| failure.seed);
    }
}

fn print(seeds: &Range<u64>, outcome: &Outcome) {
    let Report {
        rollbacks,
        clones,
        restores,
        forks,
        gaps,
        pruned,
        histories,
        taken_back,
        forged,
        erasures,
        anchors,
    } = outcome.report;
    let rows = [
        ("seeds", (seeds.end - seeds.start) as usize),
        ("rollbacks", rollbacks),
        ("clones", clones),
        ("hub restores", restores),
        ("forks", forks),
        ("gaps", gaps),
        ("events deleted", pruned),
        ("new histories", histories),
        ("rows taken back", taken_back),
        ("rows forged", forged),
        ("erasures", erasures),
        ("anchors", anchors),
        ("failures", outcome.failures as usize),
    ];
    for (what, count) in rows {
        println!("{what:16} {count:>10}");
    }
    if let Some(first) = &outcome.first {
        println!("{first}");
    }
}

/// Takes each rule away.
fn table(seeds: &Range<u64>) -> ExitCode {
    println!("{:26} {:>9} {:>8}  first violation", "without", "noticed", "seed");
    let mut unnoticed = 0;
    for rule in Rule::ALL {
        let outcome = run_all(seeds, Some(*rule));
        let share = outcome.failures as f64 * 100.0 / (seeds.end - seeds.start).max(1) as f64;
        let name = format!("{rule:?}");
        match &outcome.first {
            Some(first) => println!("{name:26} {share:>7.3} % {:>8}  {}", first.seed, first.violation),
            None => {
                unnoticed += 1;
                println!("{name:26} {share:>7.3} % {:>8}  nothing notices", "-");
            }
        }
    }
    if unnoticed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
