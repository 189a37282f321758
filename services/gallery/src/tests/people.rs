//! People: what comes back, what is refused, pages.

use proptest::test_runner::{Config, TestRunner};
use prost_types::FieldMask;
use rollcall_store::both_engines;

use super::*;

fn person(display_name: &str, external_id: &str) -> v1::Person {
    v1::Person { display_name: display_name.into(), external_id: external_id.into(), ..Default::default() }
}

async fn list(site: &Site, request: v1::ListPeopleRequest) -> Result<v1::ListPeopleResponse, Status> {
    Ok(site.server.list_people(Request::new(request)).await?.into_inner())
}

async fn names(site: &Site, request: v1::ListPeopleRequest) -> Vec<String> {
    list(site, request).await.unwrap().people.into_iter().map(|person| person.display_name).collect()
}

async fn update(site: &Site, person: v1::Person, paths: &[&str]) -> Result<v1::Person, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = v1::UpdatePersonRequest { person: Some(person), update_mask: Some(FieldMask { paths }) };
    Ok(site.server.update_person(Request::new(request)).await?.into_inner())
}

/// Names that other programs have choked on.
const HOSTILE: &[&str] = &[
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1:A9)",
    "\"quoted\", with; separators",
    "' or '1'='1",
    "'; drop table gallery_person; --",
    "%_\\",
    "$1 ? :name",
    "\u{202e}gnp.exe",
    "Nguyễn Thị Ánh",
    "Nguye\u{302}\u{303}n",
    "👩‍👩‍👧‍👦",
    " spaces kept ",
    "O’Brien-Λάμδα",
    "null",
];

both_engines! {
    migrations = &migrations();

    async fn f096_names_come_back_byte_for_byte(db: Db) {
        let site = Site::new(&db).await;
        let longest = "漢".repeat(200);
        for (number, name) in HOSTILE.iter().copied().chain([longest.as_str()]).enumerate() {
            let made = site.create(person(name, &format!("{name:.60}{number}"))).await.unwrap();
            let read = site.get(&made.name).await.unwrap();
            assert_eq!(read.display_name.as_bytes(), name.as_bytes());
            assert_eq!(read, made);
            let request = v1::ListPeopleRequest { external_id: made.external_id.clone(), ..Default::default() };
            assert_eq!(list(&site, request).await.unwrap().people, [made]);
        }
    }

    async fn f096_names_of_several_lines_and_floods_are_refused(db: Db) {
        let site = Site::new(&db).await;
        for name in ["", " ", "a\nb", "a\rb", "a\tb", "\0", "\u{1b}[2J", &"x".repeat(10 << 10), &"漢".repeat(201)] {
            let error = site.create(person(name, "")).await.unwrap_err();
            assert_eq!(reason(&error), "FIELD_INVALID", "{name:?}");
            let error = site.create(person("Ada", name)).await;
            assert_eq!(error.is_ok(), name.is_empty(), "{name:?}");
        }
    }

    async fn f097_sql_in_any_text_is_text(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.create(person("Ada", "1")).await.unwrap();
        for sql in ["'", "' or 1=1 --", "\"; drop table gallery_person; --", "%", "_", "\\", "x' union select 1 --", "$1", "\0"] {
            let text = sql.to_owned();
            for request in [
                v1::ListPeopleRequest { query: text.clone(), ..Default::default() },
                v1::ListPeopleRequest { external_id: text.clone(), ..Default::default() },
                v1::ListPeopleRequest { group: text.clone(), ..Default::default() },
                v1::ListPeopleRequest { page_token: text.clone(), ..Default::default() },
            ] {
                match list(&site, request).await {
                    Ok(answer) => assert_eq!(answer.people, [], "{sql}"),
                    Err(error) => {
                        assert!(["FIELD_INVALID", "PAGE_TOKEN_INVALID"].contains(&reason(&error).as_str()), "{sql}");
                    }
                }
            }
            // A token of this list whose key is hostile.
            let bound = format!("people {:?} {:?} {:?}", "", "", "");
            let page_token = rollcall_core::page::token(&bound, &[sql.as_bytes(), &[0; 16]].concat());
            let answer = list(&site, v1::ListPeopleRequest { page_token, ..Default::default() }).await;
            assert!(answer.is_ok() || sql == "\0", "{answer:?}");
            for answer in [
                site.get(&text).await.map(|_| ()),
                update(&site, person("x", ""), &[sql]).await.map(|_| ()),
                update(&site, v1::Person { name: ada.name.clone(), ..Default::default() }, &[sql]).await.map(|_| ()),
                site.erase(&text).await.map(|_| ()),
                site.say(&text, yes(None, None)).await.map(|_| ()),
                site.say(&ada.name, v1::Consent { form: text.clone(), giver_label: text.clone(), ..yes(None, None) }).await.map(|_| ()),
                site.create(v1::Person { groups: vec![text.clone()], ..person("x", "") }).await.map(|_| ()),
                site.server.get_erasure(Request::new(v1::GetErasureRequest { name: text.clone() })).await.map(|_| ()),
                site.server.get_group(Request::new(v1::GetGroupRequest { name: text.clone() })).await.map(|_| ()),
                site.server.list_erasures(Request::new(v1::ListErasuresRequest { page_token: text.clone(), ..Default::default() })).await.map(|_| ()),
                site.server.list_groups(Request::new(v1::ListGroupsRequest { page_token: text.clone(), ..Default::default() })).await.map(|_| ()),
                site.server.revoke_credential(Request::new(v1::RevokeCredentialRequest { name: text.clone() })).await.map(|_| ()),
                site.server.list_consents(Request::new(v1::ListConsentsRequest { person: ada.name.clone(), page_token: text.clone(), ..Default::default() })).await.map(|_| ()),
            ] {
                if let Err(error) = answer {
                    assert!(["FIELD_INVALID", "PAGE_TOKEN_INVALID", "UPDATE_MASK_INVALID"].contains(&reason(&error).as_str()), "{sql}: {error:?}");
                }
            }
        }
        assert_eq!(names(&site, v1::ListPeopleRequest::default()).await, ["Ada"]);
    }

    async fn every_person_is_on_one_page_whatever_the_size(db: Db) {
        let site = Site::new(&db).await;
        for number in 0..23 {
            site.add(&format!("{} {}", ["Ada", "ada", "Bo", "Ünal"][number % 4], number / 8)).await;
        }
        let all = list(&site, v1::ListPeopleRequest::default()).await.unwrap();
        assert_eq!((all.people.len(), all.next_page_token.as_str()), (23, ""));
        for page_size in [1, 2, 5, 22, 23, 24] {
            let mut request = v1::ListPeopleRequest { page_size, ..Default::default() };
            let mut people = Vec::new();
            loop {
                let page = list(&site, request.clone()).await.unwrap();
                people.extend(page.people);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(people, all.people, "{page_size}");
        }
        let error = list(&site, v1::ListPeopleRequest { page_size: -1, ..Default::default() }).await;
        assert_eq!(reason(&error.unwrap_err()), "FIELD_INVALID");
        let first = list(&site, v1::ListPeopleRequest { page_size: 1, ..Default::default() }).await.unwrap();
        let other = v1::ListPeopleRequest { query: "a".into(), page_token: first.next_page_token, ..Default::default() };
        assert_eq!(reason(&list(&site, other).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    }

    async fn a_list_begins_with_what_was_typed_in_capitals_or_not(db: Db) {
        let site = Site::new(&db).await;
        for (name, external_id) in [("Ánh", "A-1"), ("anna", "b-2"), ("ANNE", ""), ("Bob", "an-3"), ("%x", ""), ("_y", "")] {
            site.create(person(name, external_id)).await.unwrap();
        }
        let of = async |query: &str| names(&site, v1::ListPeopleRequest { query: query.into(), ..Default::default() }).await;
        assert_eq!(of("an").await, ["anna", "ANNE", "Bob"]);
        assert_eq!(of("AN").await, ["anna", "ANNE", "Bob"]);
        assert_eq!(of("á").await, ["Ánh"]);
        assert_eq!(of("A\u{301}").await, ["Ánh"]);
        assert_eq!(of("%").await, ["%x"]);
        assert_eq!(of("_").await, ["_y"]);
        assert_eq!(of("zz").await, [""; 0]);
        assert_eq!(of("").await.len(), 6);
    }

    async fn an_external_id_belongs_to_one_person(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.create(person("Ada", "1")).await.unwrap();
        let bo = site.create(person("Bo", "2")).await.unwrap();
        assert_eq!(reason(&site.create(person("Cy", "1")).await.unwrap_err()), "ALREADY_EXISTS");
        let stolen = v1::Person { external_id: "1".into(), ..bo.clone() };
        assert_eq!(reason(&update(&site, stolen, &["external_id"]).await.unwrap_err()), "ALREADY_EXISTS");
        // Taking one's own again, letting it go, and somebody else taking it.
        update(&site, ada.clone(), &["external_id"]).await.unwrap();
        let free = update(&site, v1::Person { external_id: String::new(), ..ada }, &["external_id"]).await.unwrap();
        assert_eq!(free.external_id, "");
        let taken = update(&site, v1::Person { external_id: "1".into(), ..bo }, &["external_id"]).await.unwrap();
        assert_eq!(taken.external_id, "1");
    }

    async fn an_update_changes_what_its_mask_names(db: Db) {
        let site = Site::new(&db).await;
        let leave_date = Some(v1::Date { year: 2099, month: 2, day: 28 });
        let ada = site.create(v1::Person { leave_date, ..person("Ada", "1") }).await.unwrap();
        assert_eq!(ada.leave_date, leave_date);
        let asked = v1::Person { name: ada.name.clone(), display_name: "Ada L.".into(), ..Default::default() };
        let renamed = update(&site, asked.clone(), &["display_name"]).await.unwrap();
        assert_eq!((renamed.display_name.as_str(), renamed.external_id.as_str()), ("Ada L.", "1"));
        assert_ne!(renamed.etag, ada.etag);
        // No mask: what is filled in. Nothing new: nothing changes.
        assert_eq!(update(&site, asked.clone(), &[]).await.unwrap(), renamed);
        let stale = v1::Person { etag: ada.etag, ..asked.clone() };
        assert_eq!(reason(&update(&site, stale, &["display_name"]).await.unwrap_err()), "ETAG_MISMATCH");
        let all = update(&site, v1::Person { etag: renamed.etag, ..asked.clone() }, &["*"]).await.unwrap();
        assert_eq!((all.external_id.as_str(), all.leave_date), ("", None));
        assert_eq!(reason(&update(&site, asked, &["etag"]).await.unwrap_err()), "UPDATE_MASK_INVALID");
        let nobody = v1::Person { name: PersonId::generate().name(), ..person("x", "") };
        assert_eq!(reason(&update(&site, nobody, &["display_name"]).await.unwrap_err()), "NOT_FOUND");
        for (year, month, day) in [(0, 1, 1), (2026, 13, 1), (2026, 2, 29), (2026, 300, 1), (10_000, 1, 1)] {
            let leave_date = Some(v1::Date { year, month, day });
            let error = site.create(v1::Person { leave_date, ..person("x", "") }).await.unwrap_err();
            assert_eq!(reason(&error), "FIELD_INVALID");
        }
    }

    async fn a_repeated_creation_makes_one_person(db: Db) {
        let site = Site::new(&db).await;
        let mut request = v1::CreatePersonRequest {
            person: Some(person("Ada", "1")),
            request_id: "0193a5c0-0000-7000-8000-000000000001".into(),
        };
        let create = async |request: &v1::CreatePersonRequest| {
            site.server.create_person(Request::new(request.clone())).await.map(tonic::Response::into_inner)
        };
        let first = create(&request).await.unwrap();
        assert_eq!(create(&request).await.unwrap(), first);
        request.person = Some(person("Bo", ""));
        assert_eq!(reason(&create(&request).await.unwrap_err()), "REQUEST_ID_REUSED");
        request.request_id = "x".into();
        assert_eq!(reason(&create(&request).await.unwrap_err()), "FIELD_INVALID");
        assert_eq!(names(&site, v1::ListPeopleRequest::default()).await, ["Ada"]);
    }

    async fn any_name_that_is_let_in_comes_back(db: Db) {
        let site = Site::new(&db).await;
        let mut runner = TestRunner::new(Config::with_cases(0));
        let strategy = "\\PC{1,40}";
        for _ in 0..40 {
            let name = proptest::strategy::Strategy::new_tree(&strategy, &mut runner).unwrap();
            let name = proptest::strategy::ValueTree::current(&name);
            if let Ok(made) = site.create(person(&name, "")).await {
                assert_eq!(site.get(&made.name).await.unwrap().display_name, name);
                let query = name.chars().take(3).collect::<String>();
                let found = list(&site, v1::ListPeopleRequest { query, page_size: 1_000, ..Default::default() }).await;
                assert!(found.unwrap().people.contains(&made), "{name:?}");
            }
        }
    }
}
