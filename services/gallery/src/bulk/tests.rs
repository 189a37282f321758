use std::io::{Cursor, Write as _};

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

fn zip_bytes(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A folder with the ZIP, and its path.
fn zipped(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = folder(&[("batch.zip", bytes)]);
    let path = folder.path().join("batch.zip");
    (folder, path)
}

/// The same number of bytes in the place of others, wherever they are.
fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// Everything that a batch has: person, member, bytes as text.
fn contents(batch: &Batch) -> Vec<(PersonKey, String, String)> {
    let read = |picture: Picture<'_>| String::from_utf8(picture.bytes().unwrap()).unwrap();
    batch.pictures().map(|p| (p.person_key().clone(), p.member().to_owned(), read(p))).collect()
}

fn external(id: &str) -> PersonKey {
    PersonKey::ExternalId(id.into())
}

fn either(id: &str) -> PersonKey {
    PersonKey::ExternalIdOrName(id.into())
}

fn kinds(batch: &Batch) -> Vec<(&str, &ProblemKind)> {
    batch.problems().iter().map(|problem| (problem.member.as_str(), &problem.kind)).collect()
}

const FILES: &[(&str, &[u8])] = &[
    ("1042.jpg", b"a"),
    ("1042_2.JPEG", b"b"),
    ("7_a.png", b"c"),
    ("Linh Nguyen/1.webp", b"d"),
    ("__MACOSX/._1042.jpg", b"x"),
    (".DS_Store", b"x"),
    ("list.txt", b"x"),
    ("more.zip", b"x"),
];

#[test]
fn file_names_say_who_is_on_a_picture_in_a_folder_as_in_a_zip() {
    let folder = folder(FILES);
    let (_kept, path) = zipped(&zip_bytes(FILES));
    for batch in [Batch::open(folder.path(), None).unwrap(), Batch::open(&path, None).unwrap()] {
        let expected = [
            (external("1042"), "1042.jpg", "a"),
            (external("1042"), "1042_2.JPEG", "b"),
            (external("7_a"), "7_a.png", "c"),
            (either("Linh Nguyen"), "Linh Nguyen/1.webp", "d"),
        ];
        let expected = expected.map(|(key, member, text)| (key, member.to_owned(), text.to_owned()));
        assert_eq!(contents(&batch), expected);
        assert_eq!(
            batch.people()[0],
            BatchPerson { key: external("1042"), display_name: None, groups: vec![], picture_count: 2 }
        );
        let mut problems = kinds(&batch);
        problems.sort_by_key(|(member, _)| *member);
        assert_eq!(problems, [("list.txt", &ProblemKind::NotAPicture), ("more.zip", &ProblemKind::Archive)]);
    }
}

#[test]
fn a_folder_around_everything_names_nobody() {
    let folder = folder(&[("photos/A/1.jpg", b"a"), ("photos/B/1.jpg", b"b")]);
    let batch = Batch::open(folder.path(), None).unwrap();
    assert_eq!(
        batch.people().iter().map(|person| &person.key).collect::<Vec<_>>(),
        [&either("A"), &either("B")]
    );
}

fn with_csv(files: &[(&str, &[u8])], csv: &[u8]) -> Result<Batch, BulkError> {
    let (folder, table) = (folder(files), folder(&[("people.csv", csv)]));
    Batch::open(folder.path(), Some(&table.path().join("people.csv")))
}

#[test]
fn a_csv_says_who_is_on_a_picture_and_what_is_wrong_by_row() {
    let files: &[(&str, &[u8])] =
        &[("a/1.jpg", b"1"), ("a/2.jpg", b"2"), ("b/2.jpg", b"2"), ("3.jpg", b"3"), ("4.jpg", b"4")];
    let csv = "picture,external_id,name,groups\n\
        1.jpg,17,Lan Tran,5b; 5c\n\
        a/2.jpg,,Linh Nguyen,\n\
        2.jpg,18,,\n\
        9.jpg,18,,\n\
        3.jpg,,,\n\
        ,19,,\n\
        a/1.jpg,20,,\n\
        a\\1.jpg,17,,\n";
    let batch = with_csv(files, csv.as_bytes()).unwrap();
    let person = |key, display_name: Option<&str>, groups: &[&str]| BatchPerson {
        key,
        display_name: display_name.map(str::to_owned),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        picture_count: 1,
    };
    let linh = PersonKey::Name("Linh Nguyen".into());
    assert_eq!(
        batch.people(),
        [person(external("17"), Some("Lan Tran"), &["5b", "5c"]), person(linh, Some("Linh Nguyen"), &[])]
    );
    let rows: Vec<_> = batch.problems().iter().map(|problem| (problem.row, &problem.kind)).collect();
    assert_eq!(
        rows,
        [
            (Some(4), &ProblemKind::Unclear),
            (Some(5), &ProblemKind::Missing),
            (Some(6), &ProblemKind::Lacks("person: external_id or name")),
            (Some(7), &ProblemKind::Lacks("picture")),
            (Some(8), &ProblemKind::TwoPeople { earlier: 2 }),
            (None, &ProblemKind::NoRow),
            (None, &ProblemKind::NoRow),
            (None, &ProblemKind::NoRow),
        ]
    );
}

#[test]
fn a_csv_may_be_in_the_encodings_and_with_the_separators_that_spreadsheets_write() {
    let text = "Picture;Name\r\n1.jpg;Zoë Müller\r\n";
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let windows: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for csv in [text.as_bytes(), &format!("\u{feff}{text}").into_bytes(), &utf16, &windows] {
        let batch = with_csv(&[("1.jpg", b"1")], csv).unwrap();
        assert_eq!(batch.people()[0].key, PersonKey::Name("Zoë Müller".into()));
        assert!(batch.problems().is_empty(), "{:?}", batch.problems());
    }
}

#[test]
fn a_csv_that_is_none_says_where() {
    for (csv, row) in [("name\nx\n", 1), ("picture\nx\n", 1), ("picture,name\n1.jpg,a\n2.jpg\n", 3)] {
        let refused = with_csv(&[("1.jpg", b"1")], csv.as_bytes()).err().unwrap();
        assert!(matches!(refused, BulkError::Csv { row: at, .. } if at == row), "{refused}");
    }
}

#[test]
fn f098_a_member_whose_name_leads_out_is_not_opened() {
    for name in ["../x.jpg", "/xyz.jpg", "a\\b1.jpg", "a/\0b1.jpg", "c:x1.jpg", "a/../.jpg", "a//b1.jpg"] {
        let placeholder = format!("{}.jpg", "q".repeat(name.len() - 4));
        let bytes = zip_bytes(&[(&placeholder, b"evil"), ("1.jpg", b"good")]);
        let (_kept, path) = zipped(&replaced(bytes, &placeholder, name));
        let batch = Batch::open(&path, None).unwrap();
        assert_eq!(contents(&batch), [(external("1"), "1.jpg".into(), "good".into())], "{name:?}");
        assert_eq!(batch.problems()[0].kind, ProblemKind::UnsafeName, "{name:?}");
        assert!(!batch.problems()[0].member.contains('\0'));
    }
}

#[test]
fn f098_links_and_devices_are_not_followed() {
    let outside = folder(&[("secret.jpg", b"secret")]);
    let inside = folder(&[("1.jpg", b"good")]);
    std::os::unix::fs::symlink(outside.path().join("secret.jpg"), inside.path().join("2.jpg")).unwrap();
    std::os::unix::fs::symlink(outside.path(), inside.path().join("3")).unwrap();
    let fifo = inside.path().join("4.jpg");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let batch = Batch::open(inside.path(), None).unwrap();
    assert_eq!(contents(&batch), [(external("1"), "1.jpg".into(), "good".into())]);
    assert_eq!(batch.problems().len(), 3);
    assert!(batch.problems().iter().all(|problem| problem.kind == ProblemKind::NotAFile));
    // A link that takes the place of a picture after the list was made.
    std::fs::remove_file(inside.path().join("1.jpg")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.jpg"), inside.path().join("1.jpg")).unwrap();
    assert!(batch.pictures().next().unwrap().bytes().is_err());

    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("1.jpg", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let (_kept, path) = zipped(&writer.finish().unwrap().into_inner());
    let batch = Batch::open(&path, None).unwrap();
    assert_eq!((batch.len(), kinds(&batch)), (0, vec![("1.jpg", &ProblemKind::NotAFile)]));
}

#[test]
fn f099_a_member_that_unpacks_to_more_than_a_picture_is_refused_by_what_it_declares() {
    let (_kept, path) = zipped(&zip_bytes(&[("1.jpg", &vec![0; (8 << 20) + 1]), ("2.jpg", b"good")]));
    assert!(std::fs::metadata(&path).unwrap().len() < 100_000);
    let batch = Batch::open(&path, None).unwrap();
    assert_eq!(kinds(&batch), [("1.jpg", &ProblemKind::TooLarge { size_bytes: (8 << 20) + 1 })]);
    assert_eq!(batch.len(), 1);
}

#[test]
fn f099_a_member_that_is_larger_than_it_declares_is_refused_when_it_is_read() {
    let honest = zip_bytes(&[("1.jpg", &[b'x'; 1_000_000])]);
    // The uncompressed size stands at 22 in the local header and at 24 in the central one.
    let declared = 1_000_000u32.to_le_bytes();
    let mut lying = honest.clone();
    let places: Vec<usize> =
        (0..honest.len() - 4).filter(|at| honest[*at..].starts_with(&declared)).collect();
    assert_eq!(places.len(), 2);
    places.into_iter().for_each(|at| lying[at..at + 4].copy_from_slice(&10u32.to_le_bytes()));
    let (_kept, path) = zipped(&lying);
    let batch = Batch::open(&path, None).unwrap();
    let refused = batch.pictures().next().unwrap().bytes().unwrap_err();
    assert!(matches!(refused, BulkError::Deceives { .. }), "{refused}");
}

#[test]
fn f099_a_list_that_is_too_long_is_refused_before_it_is_read() {
    // An end record that claims 1,000,000 members needs a ZIP64 record; one of 46 bytes for each would be 46 MB. The
    // claim alone, without a list, must not be believed either.
    let empty = zip_bytes(&[]);
    let mut claims = empty.clone();
    let end = claims.len() - 22;
    claims[end + 8..end + 12].copy_from_slice(&[0xfe, 0xff, 0xfe, 0xff]);
    let (_kept, path) = zipped(&claims);
    assert!(Batch::open(&path, None).is_err());
}

#[test]
fn f099_two_headers_that_disagree_are_refused() {
    let bytes = zip_bytes(&[("1.jpg", b"good")]);
    // Only the name in the local header, which comes first.
    let at = bytes.windows(5).position(|window| window == b"1.jpg").unwrap();
    let mut two_faced = bytes;
    two_faced[at] = b'2';
    let (_kept, path) = zipped(&two_faced);
    assert!(matches!(Batch::open(&path, None).err().unwrap(), BulkError::Zip { .. }));
}

#[test]
fn what_is_no_folder_or_zip_is_refused_in_words() {
    let (_kept, path) = zipped(b"not a zip");
    assert!(matches!(Batch::open(&path, None).err().unwrap(), BulkError::NotABatch { .. }));
    let gone = path.with_file_name("gone.zip");
    assert!(matches!(Batch::open(&gone, None).err().unwrap(), BulkError::Unreadable { .. }));
}

#[test]
fn a_zip_cut_off_or_with_a_changed_byte_never_panics_or_gives_other_bytes() {
    let bytes = zip_bytes(FILES);
    let look = |bytes: &[u8]| {
        let (_kept, path) = zipped(bytes);
        if let Ok(batch) = Batch::open(&path, None) {
            for picture in batch.pictures() {
                if let Ok(read) = picture.bytes() {
                    assert_eq!(read.len(), 1);
                }
            }
        }
    };
    (0..bytes.len()).step_by(7).for_each(|cut| look(&bytes[..cut]));
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        look(&changed);
    }
}
