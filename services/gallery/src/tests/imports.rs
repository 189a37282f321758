//! Files of people, all or nothing.

use prost::bytes::Bytes;
use rollcall_core::{Reason, limits};
use rollcall_store::both_engines;

use super::*;
use crate::{ImportFile, Imported};

/// A file in pieces that cut characters and rows.
fn file(bytes: &[u8]) -> ImportFile {
    pieces(bytes, 7)
}

fn pieces(bytes: &[u8], size: usize) -> ImportFile {
    let mut file = ImportFile::default();
    for piece in bytes.chunks(size) {
        file.push(Bytes::copy_from_slice(piece)).unwrap();
    }
    file
}

async fn import(site: &Site, bytes: &[u8]) -> Result<Imported, GalleryError> {
    site.gallery.import_people(file(bytes), false, "", UtcInstant::now()).await
}

/// Everybody as `name|external id|groups`.
async fn everybody(site: &Site) -> Vec<String> {
    let request = v1::ListPeopleRequest { page_size: 1_000, ..Default::default() };
    let people = site.server.list_people(Request::new(request)).await.unwrap().into_inner().people;
    let request = v1::ListGroupsRequest { page_size: 1_000, ..Default::default() };
    let groups = site.server.list_groups(Request::new(request)).await.unwrap().into_inner().groups;
    let name =
        |group: &String| groups.iter().find(|known| known.name == *group).unwrap().display_name.clone();
    let line = |person: v1::Person| {
        let mut groups: Vec<String> = person.groups.iter().map(name).collect();
        groups.sort();
        format!("{}|{}|{}", person.display_name, person.external_id, groups.join(","))
    };
    people.into_iter().map(line).collect()
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
}

const TEXT: &str = "Name;External ID;Groups\r\nMüller, Zoë;1;7B\r\n\"Ánh \"\"A\"\"\";2;\"7B; Chess\"\r\n";

both_engines! {
    migrations = &migrations();

    async fn f111_every_encoding_and_separator_reads_the_same(db: Db) {
        let site = Site::new(&db).await;
        let western = "name,external_id,groups\nM\u{fc}ller,3,\nO\u{2019}Brien,4,\n";
        let (western, _, _) = encoding_rs::WINDOWS_1252.encode(western);
        let files = [
            TEXT.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", TEXT.as_bytes()].concat(),
            utf16(TEXT, u16::to_le_bytes),
            utf16(TEXT, u16::to_be_bytes),
            TEXT.replace("\"7B; Chess\"", "7B; Chess").replace(';', "\t").replace("\t Chess", "; Chess").into_bytes(),
        ];
        let wanted = ["Müller, Zoë|1|7B", "Ánh \"A\"|2|7B,Chess"];
        for (number, bytes) in files.iter().enumerate() {
            let done = import(&site, bytes).await.unwrap();
            let first = number == 0;
            assert_eq!((done.created, done.unchanged, done.groups_created), if first { (2, 0, 2) } else { (0, 2, 0) }, "{number}");
            assert_eq!(everybody(&site).await, wanted);
        }
        import(&site, &western).await.unwrap();
        let all = everybody(&site).await;
        assert!(all.contains(&"Müller|3|".to_owned()) && all.contains(&"O’Brien|4|".to_owned()), "{all:?}");
    }

    async fn f111_one_bad_row_and_nothing_is_written(db: Db) {
        let site = Site::new(&db).await;
        let mut text = String::from("name,external_id\n");
        for number in 0..1_000 {
            text.push_str(&format!("Somebody {number},{number}\n"));
        }
        let rows = text.lines().count();
        let cases = [
            (",x\n".to_owned(), "the name is empty"),
            (format!("{},x\n", "y".repeat(201)), "more than 200"),
            ("\"two\nlines\",x\n".to_owned(), "more than one line"),
            ("Ada,5\n".to_owned(), "that of row 7"),
            ("Ada\n".to_owned(), "not 2 columns"),
            ("Ada,x,y\n".to_owned(), "not 2 columns"),
            ("A\0a,x\n".to_owned(), "control characters"),
        ];
        for (bad, words) in cases {
            let error = import(&site, format!("{text}{bad}").as_bytes()).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.to_string().contains(&format!("row {}", rows + 1)), "{error}");
            let fault = error.fault();
            assert_eq!(fault.reason, Reason::FieldInvalid);
            assert!(fault.metadata.contains(&("rows", (rows + 1).to_string())), "{fault:?}");
            assert_eq!(everybody(&site).await, [""; 0]);
        }
        assert_eq!(*site.gallery.revisions().borrow(), 0);
        assert_eq!(import(&site, text.as_bytes()).await.unwrap().created, 1_000);
        assert_eq!(*site.gallery.revisions().borrow(), 1_000);
    }

    async fn f111_a_dry_run_says_what_would_be_done_and_does_nothing(db: Db) {
        let site = Site::new(&db).await;
        let dry = site.gallery.import_people(file(TEXT.as_bytes()), true, "", UtcInstant::now()).await.unwrap();
        assert_eq!(everybody(&site).await, [""; 0]);
        assert_eq!(import(&site, TEXT.as_bytes()).await.unwrap(), dry);
        let bad = site.gallery.import_people(file(b"name\n\n \n"), true, "", UtcInstant::now()).await;
        assert!(matches!(bad, Err(GalleryError::Import(_))), "{bad:?}");
    }

    async fn who_exists_is_updated_and_keeps_what_the_file_does_not_say(db: Db) {
        let site = Site::new(&db).await;
        import(&site, b"name,external_id,groups\nAda,1,7A;Chess\nBo,2,7A\nCy,3,\n").await.unwrap();
        let cy = site.server.list_people(Request::new(v1::ListPeopleRequest { external_id: "3".into(), ..Default::default() }));
        let cy = cy.await.unwrap().into_inner().people.remove(0);
        let done = import(&site, b"external_id,name\n1,Ada L.\n2,Bo\n4,Di\n").await.unwrap();
        assert_eq!(done, Imported { created: 1, updated: 1, unchanged: 1, groups_created: 0 });
        assert_eq!(everybody(&site).await, ["Ada L.|1|7A,Chess", "Bo|2|7A", "Cy|3|", "Di|4|"]);
        let done = import(&site, b"name,external_id,groups\nBo,2,8B\nCy,3,7A\nDi,4,\n").await.unwrap();
        assert_eq!(done, Imported { created: 0, updated: 2, unchanged: 1, groups_created: 1 });
        assert_eq!(everybody(&site).await, ["Ada L.|1|7A,Chess", "Bo|2|8B", "Cy|3|7A", "Di|4|"]);
        assert_ne!(site.get(&cy.name).await.unwrap().etag, cy.etag);
        // People who were added and changed are in the feed once each, in order.
        assert_eq!(*site.gallery.revisions().borrow(), 3 + 2 + 2);
    }

    async fn a_repeated_import_imports_nothing_twice(db: Db) {
        let site = Site::new(&db).await;
        let id = "0193a5c0-0000-7000-8000-000000000001";
        let bytes = b"name\nAda\nAda\n";
        let now = UtcInstant::now();
        let first = site.gallery.import_people(file(bytes), false, id, now).await.unwrap();
        let again = site.gallery.import_people(pieces(bytes, 3), false, id, now).await.unwrap();
        assert_eq!((first.created, again), (2, first));
        let other = site.gallery.import_people(file(b"name\nBo\n"), false, id, now).await.unwrap_err();
        assert_eq!(other.fault().reason, Reason::RequestIdReused);
        assert_eq!(everybody(&site).await.len(), 2);
    }

    async fn what_is_no_file_of_people_is_refused_with_words(db: Db) {
        let site = Site::new(&db).await;
        for (bytes, words) in [
            (&b""[..], "no column \"name\""),
            (b"\n\n", "no column \"name\""),
            (b"Ada\nBo\n", "a column \"Ada\""),
            (b"name,external_idd\nAda,1\n", "a column \"external_idd\""),
            (b"name,Name\nAda,1\n", "twice"),
            (b"PK\x03\x04\x14\x00\x06\x00", "a column"),
            (&[0xff; 100], "a column"),
        ] {
            let error = import(&site, bytes).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.fault().reason, Reason::FieldInvalid);
        }
        assert_eq!(import(&site, b"NAME\n").await.unwrap(), Imported::default());
    }
}

#[test]
fn a_file_has_a_largest_size() {
    let mut file = ImportFile::default();
    let piece = Bytes::from(vec![b'x'; limits::IMPORT_CHUNK_SIZE_BYTES]);
    let oversize = Bytes::from(vec![b'x'; limits::IMPORT_CHUNK_SIZE_BYTES + 1]);
    assert!(matches!(file.push(oversize), Err(GalleryError::Limit { .. })));
    for _ in 0..limits::IMPORT_SIZE_BYTES / limits::IMPORT_CHUNK_SIZE_BYTES {
        file.push(piece.clone()).unwrap();
    }
    assert!(matches!(file.push(Bytes::from_static(b"x")), Err(GalleryError::Limit { .. })));
}

#[test]
fn f111_a_hundred_thousand_rows_are_read_and_one_more_is_refused() {
    let mut text = String::from("name,external_id\n");
    for number in 0..limits::IMPORT_ROWS {
        text.push_str(&format!("Somebody {number},{number}\n"));
    }
    let rows = crate::import::read(&pieces(text.as_bytes(), limits::IMPORT_CHUNK_SIZE_BYTES)).unwrap();
    assert_eq!(rows.len(), limits::IMPORT_ROWS);
    text.push_str("One,more\n");
    let more = crate::import::read(&pieces(text.as_bytes(), limits::IMPORT_CHUNK_SIZE_BYTES));
    assert!(matches!(more, Err(GalleryError::Limit { .. })));
}

#[test]
fn f111_a_file_of_mistakes_is_told_in_few_words() {
    let mut text = String::from("name,external_id\n");
    for number in 0..5_000 {
        text.push_str(&format!("Ada,{}\n,{number}\n", number % 50));
    }
    let error = crate::import::read(&pieces(text.as_bytes(), 4_096)).unwrap_err();
    let fault = error.fault();
    assert!(fault.message.len() < 1_500, "{}", fault.message);
    assert!(fault.message.contains("more mistakes"), "{}", fault.message);
    let rows = &fault.metadata.iter().find(|(name, _)| *name == "rows").unwrap().1;
    assert_eq!(rows.split(',').count(), limits::IMPORT_MISTAKES);
}
