//! How long 20,000 people with five templates each take from a hub to a new terminal, in how many bytes, and how long one
//! change takes to the next. Both sides of one machine, without a network between them. Prints milliseconds and bytes.
#![allow(clippy::expect_used, missing_docs, reason = "a bench fails by panicking")]

use std::path::Path;
use std::time::Instant;

use prost::Message as _;
use rollcall_core::{SiteZone, TerminalId, UtcInstant};
use rollcall_gallery::{Gallery, GalleryOptions, Key, PersonFields, Scope, testing};
use rollcall_store::{Db, SqliteOptions, Writes, requests};
use rollcall_vision::{Embedding, Models};

const PEOPLE: usize = 20_000;
const TEMPLATES: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = open(&folder.path().join("hub"), None).await;
    let models =
        Models::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")).expect("the networks");
    let everybody =
        (0..PEOPLE).map(|person| (0..TEMPLATES).map(|n| embedding(person * TEMPLATES + n)).collect());
    let start = Instant::now();
    testing::fill(&hub, &models, everybody.collect(), UtcInstant::now()).await;
    println!(
        "{PEOPLE} people with {TEMPLATES} templates each are made at the hub: {} ms",
        start.elapsed().as_millis()
    );

    let terminal = open(&folder.path().join("terminal"), Some(TerminalId::generate())).await;
    terminal.belong_to("hub.example:7443", Some(Key::new(hub.credential_key()))).await.expect("a hub");
    let scope = Scope::everybody();
    let start = Instant::now();
    let mut snapshot = hub.snapshot(&scope).await.expect("a snapshot");
    println!("the hub reads a snapshot: {} ms", start.elapsed().as_millis());
    terminal.begin_snapshot().await.expect("room");
    let (mut bytes, mut rows, mut staging) = (0, 0, std::time::Duration::ZERO);
    while let Some(chunk) = snapshot.next().await.expect("rows") {
        bytes += chunk.encoded_len();
        rows += chunk.rows.len();
        let begun = Instant::now();
        terminal.take_snapshot_rows(chunk.rows).await.expect("rows that are right");
        staging += begun.elapsed();
    }
    let swapping = Instant::now();
    terminal.swap_snapshot(snapshot.end(), UtcInstant::now()).await.expect("the whole");
    println!(
        "a snapshot of {rows} people, {bytes} bytes: {} ms (of these {} to take the rows in, {} to swap)",
        start.elapsed().as_millis(),
        staging.as_millis(),
        swapping.elapsed().as_millis()
    );

    let now = UtcInstant::now();
    let fields = PersonFields {
        display_name: "Somebody new".to_owned(),
        external_id: None,
        groups: Vec::new(),
        leave_day: None,
    };
    let start = Instant::now();
    hub.create_person(fields, None, now).await.expect("a person");
    println!("one more person at the hub: {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    let have = terminal.replica_state().await.expect("a state");
    let mut moment = hub.moment().await.expect("a moment");
    let state = moment.state(&scope).await.expect("a state");
    let rows = moment.rows_after(have.revision, &scope).await.expect("rows").expect("few");
    drop(moment);
    terminal.apply_delta(rows, state, UtcInstant::now()).await.expect("a change");
    println!("the change at the terminal: {} ms", start.elapsed().as_millis());
}

async fn open(folder: &Path, terminal: Option<TerminalId>) -> Gallery {
    std::fs::create_dir(folder).expect("a folder");
    let migrations = [requests::MIGRATIONS, Gallery::migrations()];
    let options = SqliteOptions { secure_delete: true };
    let db = Db::open_sqlite(&folder.join("gallery.db"), options, &migrations).await.expect("a file");
    let options = GalleryOptions {
        db,
        writes: Writes::new(),
        key: Key::new([if terminal.is_some() { 7 } else { 8 }; 32]),
        zone: SiteZone::utc(),
        erasures: folder.join("erasures.ledger"),
        terminal,
    };
    Gallery::open(options, UtcInstant::now()).await.expect("a gallery")
}

/// Another direction for each number.
fn embedding(number: usize) -> Embedding {
    let mut state = number as u64 + 1;
    let values = (0..128).map(|_| {
        // xorshift: what the directions are does not matter.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    Embedding::normalised(values.collect()).expect("a direction")
}
