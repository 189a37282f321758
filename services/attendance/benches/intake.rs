//! How fast a hub takes in what terminals kept for a week, beside the plain insert rate of the same rows.
//!
//! `cargo bench -p rollcall-attendance --bench intake`: 10 terminals with 5,000 events each push them at once, in batches
//! of 500, into SQLite and into PostgreSQL (a server as the tests start it). Then the rows that this made are inserted
//! into an empty database of the same schema: the same table with the same indexes, as many at once in a transaction, by as
//! many tasks, with the same durability, and nothing else: no hash, no look for repeats, no order of the feed.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to print"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use rollcall_attendance::{ChainHash, Identity, LOG_MIGRATIONS, Log, SITE_MIGRATIONS, SystemClock, verify};
use rollcall_core::{EventId, LogId, PersonId, TerminalId, UtcInstant};
use rollcall_proto::v1;
use rollcall_proto::v1::event_kind::Kind;
use rollcall_store::{Db, Migration, on, requests, testing};
use sqlx::AssertSqlSafe;

const TERMINALS: u8 = 10;
const EVENTS: usize = 5_000;
const BATCH: usize = 500;
const ROWS_AT_ONCE: usize = 100;
const MIGRATIONS: &[&[Migration]] = &[LOG_MIGRATIONS, SITE_MIGRATIONS, requests::MIGRATIONS];

/// 2026-11-02 03:00 UTC.
const MONDAY_US: i64 = 1_793_588_400_000_000;
const HOUR_US: i64 = 3_600_000_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(run());
}

async fn run() {
    let logs: Vec<Arc<Vec<Vec<u8>>>> = (0..TERMINALS).map(|number| Arc::new(week(number))).collect();
    let size_bytes: usize = logs.iter().flat_map(|log| log.iter()).map(Vec::len).sum();
    let total = usize::from(TERMINALS) * EVENTS;
    println!("{TERMINALS} terminals, {EVENTS} events each, {} bytes an event", size_bytes / total);
    for engine in ["SQLite", "PostgreSQL"] {
        let ((hub, _hub_folder), (plain, _plain_folder)) = (database(engine).await, database(engine).await);
        let took = intake(&hub, &logs).await;
        let rows = rows(&hub).await;
        let plain_took = insert(&plain, rows).await;
        let rate = |took: Duration| total as f64 / took.as_secs_f64();
        println!(
            "{engine:10}  intake {:>6.2} s, {:>7.0} events/s   plain insert {:>6.2} s, {:>7.0} rows/s   share {:.2}",
            took.as_secs_f64(),
            rate(took),
            plain_took.as_secs_f64(),
            rate(plain_took),
            rate(took) / rate(plain_took),
        );
    }
}

async fn database(engine: &str) -> (Db, Option<tempfile::TempDir>) {
    if engine == "SQLite" {
        let (db, folder) = testing::sqlite(MIGRATIONS).await;
        return (db, Some(folder));
    }
    (testing::postgres(MIGRATIONS).await, None)
}

/// What a terminal wrote in a week, with an anchor an hour, as it has while its clock is right.
fn week(terminal: u8) -> Vec<Vec<u8>> {
    let step_us = 7 * 24 * HOUR_US / i64::try_from(EVENTS).unwrap();
    let mut anchored_us = i64::MIN;
    let event = |number: usize| {
        let boottime_us = step_us * i64::try_from(number).unwrap();
        let stamp = v1::ClockStamp {
            boot_id: vec![terminal + 1; 16].into(),
            boottime_us,
            wall_us: MONDAY_US + boottime_us,
            wall_quality: v1::ClockQuality::Ntp.into(),
        };
        let kind = if boottime_us.saturating_sub(anchored_us) > HOUR_US {
            anchored_us = boottime_us;
            Kind::ClockAnchor(v1::ClockAnchor {
                boot_id: stamp.boot_id.clone(),
                boottime_us,
                true_us: stamp.wall_us,
                source: stamp.wall_quality,
                error_us: 1_000_000,
            })
        } else {
            let person = PersonId::from_bytes([u8::try_from(number % 250).unwrap(); 16]).name();
            let direction = v1::Direction::In.into();
            Kind::Recognised(v1::Recognised { person, direction, trace: Some(trace()) })
        };
        let record = v1::EventRecord {
            event_id: EventId::generate().to_bytes().to_vec().into(),
            stamp: Some(stamp),
            kind: Some(v1::EventKind { kind: Some(kind) }),
        };
        record.encode_to_vec()
    };
    (0..EVENTS).map(event).collect()
}

/// Why somebody was recognised.
fn trace() -> v1::DecisionTrace {
    v1::DecisionTrace {
        rule: "THRESHOLD".to_owned(),
        score: Some(0.71),
        threshold: Some(0.6),
        runner_up_score: Some(0.4),
        margin: Some(0.31),
        margin_needed: Some(0.05),
        gallery_size: 400,
        frames: 5,
        ..v1::DecisionTrace::default()
    }
}

/// All terminals push at once. Returns how long it took, once the counts are known to be exact.
async fn intake(db: &Db, logs: &[Arc<Vec<Vec<u8>>>]) -> Duration {
    let identity = Identity { terminal_id: TerminalId::from_bytes([0xcc; 16]), hw_id: "the site".to_owned() };
    let clock = Arc::new(SystemClock::new(UtcInstant::from_micros(0)));
    let hub = Log::open_in(db.clone(), identity, clock).await.unwrap();
    let own = hub.events().await.unwrap();
    let began = Instant::now();
    let mut pushes = tokio::task::JoinSet::new();
    for (number, log) in (1..).zip(logs) {
        let (received, log) = (hub.received(), Arc::clone(log));
        pushes.spawn(async move {
            let (terminal, log_id) = (TerminalId::from_bytes([number; 16]), LogId::from_bytes([number; 16]));
            let mut expected = ChainHash::ZERO;
            for events in log.chunks(BATCH) {
                let mut part = received.lock(terminal, log_id, UtcInstant::now()).await.unwrap();
                assert_eq!(part.position().hash, expected);
                part.append(events).await.unwrap();
                expected = part.commit().await.unwrap().hash;
            }
        });
    }
    pushes.join_all().await;
    let took = began.elapsed();
    let total = u64::try_from(logs.iter().map(|log| log.len()).sum::<usize>()).unwrap();
    assert_eq!(hub.events().await.unwrap() - own, total, "exact");
    let findings = verify(db).await.unwrap();
    assert_eq!((findings.events, findings.changed.len()), (total + own, 0));
    took
}

/// A row as the intake wrote it.
#[derive(sqlx::FromRow)]
struct PlainRow {
    position: i64,
    log_id: Vec<u8>,
    seq: i64,
    hash: Vec<u8>,
    bytes: Vec<u8>,
    event_id: Option<Vec<u8>>,
    kind: i64,
    person_id: Option<Vec<u8>>,
    terminal_id: Vec<u8>,
    boot_id: Option<Vec<u8>>,
    boottime_us: i64,
    wall_us: i64,
    stamped_us: i64,
    time_trust: i64,
    at_us: i64,
    damage: i64,
    repeat_of: Option<i64>,
}

/// What the intake wrote, a list for each terminal.
async fn rows(db: &Db) -> Vec<Vec<PlainRow>> {
    let mut tx = db.read().await.unwrap();
    let mut rows = Vec::new();
    for number in 1..=TERMINALS {
        let of_log: Result<Vec<PlainRow>, _> = on!(tx, connection => {
            sqlx::query_as("select * from attendance_event where log_id = $1 order by seq")
                .bind(vec![number; 16])
                .fetch_all(connection)
                .await
        });
        rows.push(of_log.unwrap());
    }
    rows
}

/// Inserts them in transactions of the same size, a task for each terminal.
async fn insert(db: &Db, rows: Vec<Vec<PlainRow>>) -> Duration {
    let mut tx = db.write().await.unwrap();
    for number in 1..=TERMINALS {
        let made: Result<(), _> = on!(tx, connection => {
            sqlx::query(
                "insert into attendance_log (log_id, terminal_id, hw_id, first_seq, before_hash, head, head_hash,
                        is_current, opened_us, reason)
                    values ($1, $1, '', 1, $1, 0, $1, 0, 0, '')",
            )
            .bind(vec![number; 16])
            .execute(connection)
            .await
            .map(|_| ())
        });
        made.unwrap();
    }
    tx.commit().await.unwrap();
    let sql = statement();
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for rows in rows {
        let (db, sql) = (db.clone(), sql.clone());
        tasks.spawn(async move {
            for batch in rows.chunks(BATCH) {
                let mut tx = db.write().await.unwrap();
                for some in batch.chunks(ROWS_AT_ONCE) {
                    let done: Result<(), _> = on!(tx, connection => {
                        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
                        for row in some {
                            query = query
                                .bind(row.position)
                                .bind(&row.log_id)
                                .bind(row.seq)
                                .bind(&row.hash)
                                .bind(&row.bytes)
                                .bind(&row.event_id)
                                .bind(row.kind)
                                .bind(&row.person_id)
                                .bind(&row.terminal_id)
                                .bind(&row.boot_id)
                                .bind(row.boottime_us)
                                .bind(row.wall_us)
                                .bind(row.stamped_us)
                                .bind(row.time_trust)
                                .bind(row.at_us)
                                .bind(row.damage)
                                .bind(row.repeat_of);
                        }
                        query.execute(connection).await.map(|_| ())
                    });
                    done.unwrap();
                }
                tx.commit().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    began.elapsed()
}

fn statement() -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=17).map(|column| format!("${}", row * 17 + column)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..ROWS_AT_ONCE).map(row).collect();
    format!(
        "insert into attendance_event (position, log_id, seq, hash, bytes, event_id, kind, person_id, terminal_id,
                boot_id, boottime_us, wall_us, stamped_us, time_trust, at_us, damage, repeat_of)
            values {}",
        rows.join(", ")
    )
}
