//! How long it takes to import 20,000 people from a file and to list them. Prints milliseconds.
#![allow(clippy::expect_used, missing_docs, reason = "a bench fails by panicking")]

use std::fmt::Write as _;
use std::time::Instant;

use prost::bytes::Bytes;
use rollcall_core::{SiteZone, UtcInstant, limits};
use rollcall_gallery::{Gallery, GalleryOptions, GalleryServer, ImportFile, Key};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_service_server::GalleryService as _;
use rollcall_store::{Db, SqliteOptions, Writes, requests};
use tonic::Request;

const PEOPLE: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let migrations = [requests::MIGRATIONS, Gallery::migrations()];
    let options = SqliteOptions { secure_delete: true };
    let db = Db::open_sqlite(&folder.path().join("gallery.db"), options, &migrations).await.expect("a file");
    let options = GalleryOptions {
        db,
        writes: Writes::new(),
        key: Key::new([7; 32]),
        zone: SiteZone::utc(),
        erasures: folder.path().join("erasures.ledger"),
        terminal: None,
    };
    let gallery = Gallery::open(options, UtcInstant::now()).await.expect("a gallery");

    for pass in ["import, all new", "import, all known"] {
        let start = Instant::now();
        let done = gallery.import_people(file(), false, "", UtcInstant::now()).await.expect("an import");
        println!("{pass}: {} ms, {done:?}", start.elapsed().as_millis());
    }
    let server = GalleryServer::new(gallery.clone());
    for (what, query, page_size) in
        [("all pages of 1,000", "", 1_000), ("all pages of 100", "", 100), ("a beginning", "some", 100)]
    {
        let mut request = v1::ListPeopleRequest { query: query.into(), page_size, ..Default::default() };
        let (mut people, mut slowest_us, start) = (0, 0, Instant::now());
        loop {
            let page_start = Instant::now();
            let page = server.list_people(Request::new(request.clone())).await.expect("a page").into_inner();
            slowest_us = slowest_us.max(page_start.elapsed().as_micros());
            people += page.people.len();
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        println!("{what}: {people} people, {} ms, slowest page {slowest_us} us", start.elapsed().as_millis());
    }
    let mut request = v1::ListPeopleRequest { page_size: 1, ..Default::default() };
    let person = server
        .list_people(Request::new(request.clone()))
        .await
        .expect("a page")
        .into_inner()
        .people
        .remove(0);
    request.external_id = person.external_id;
    let start = Instant::now();
    server.list_people(Request::new(request)).await.expect("a page");
    println!("one by external id: {} us", start.elapsed().as_micros());
    let start = Instant::now();
    server
        .erase_person(Request::new(v1::ErasePersonRequest { name: person.name }))
        .await
        .expect("an erasure");
    println!("an erasure: {} ms", start.elapsed().as_millis());
}

/// Everybody in one of 800 classes.
fn file() -> ImportFile {
    let mut text = String::from("name,external_id,groups\n");
    for number in 0..PEOPLE {
        writeln!(text, "Somebody Número {number},{number},Class {}", number % 800).expect("text");
    }
    let mut file = ImportFile::default();
    for piece in text.as_bytes().chunks(limits::IMPORT_CHUNK_SIZE_BYTES) {
        file.push(Bytes::copy_from_slice(piece)).expect("a piece");
    }
    file
}
