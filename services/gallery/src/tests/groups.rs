//! Groups and who belongs to them.

use prost_types::FieldMask;
use rollcall_store::both_engines;

use super::*;

async fn create(site: &Site, display_name: &str) -> Result<v1::Group, Status> {
    let group = Some(v1::Group { display_name: display_name.into(), ..Default::default() });
    let request = v1::CreateGroupRequest { group, request_id: String::new() };
    Ok(site.server.create_group(Request::new(request)).await?.into_inner())
}

async fn rename(site: &Site, group: v1::Group) -> Result<v1::Group, Status> {
    let update_mask = Some(FieldMask { paths: vec!["display_name".into()] });
    let request = v1::UpdateGroupRequest { group: Some(group), update_mask };
    Ok(site.server.update_group(Request::new(request)).await?.into_inner())
}

async fn delete(site: &Site, name: &str, etag: &str) -> Result<(), Status> {
    let request = v1::DeleteGroupRequest { name: name.into(), etag: etag.into() };
    site.server.delete_group(Request::new(request)).await.map(tonic::Response::into_inner)
}

both_engines! {
    migrations = &migrations();

    async fn groups_are_listed_by_name_and_count_their_people(db: Db) {
        let site = Site::new(&db).await;
        let (b, a) = (create(&site, "7b").await.unwrap(), create(&site, "7A").await.unwrap());
        for name in ["Ada", "Bo"] {
            let groups = vec![a.name.clone(), b.name.clone(), a.name.clone()];
            let made = site.create(v1::Person { display_name: name.into(), groups, ..Default::default() }).await.unwrap();
            assert_eq!(made.groups.len(), 2);
        }
        site.add("Cy").await;
        let listed = site.server.list_groups(Request::new(v1::ListGroupsRequest { page_size: 1, ..Default::default() }));
        let first = listed.await.unwrap().into_inner();
        assert_eq!((first.groups[0].display_name.as_str(), first.groups[0].person_count), ("7A", 2));
        let second = v1::ListGroupsRequest { page_size: 1, page_token: first.next_page_token };
        let second = site.server.list_groups(Request::new(second)).await.unwrap().into_inner();
        assert_eq!((second.groups[0].display_name.as_str(), second.next_page_token.as_str()), ("7b", ""));
        let members = v1::ListPeopleRequest { group: a.name.clone(), ..Default::default() };
        let members = site.server.list_people(Request::new(members)).await.unwrap().into_inner().people;
        assert_eq!(members.iter().map(|person| person.display_name.as_str()).collect::<Vec<_>>(), ["Ada", "Bo"]);
    }

    async fn a_name_belongs_to_one_group(db: Db) {
        let site = Site::new(&db).await;
        let a = create(&site, "7A").await.unwrap();
        let b = create(&site, "7B").await.unwrap();
        assert_eq!(reason(&create(&site, "7A").await.unwrap_err()), "ALREADY_EXISTS");
        let stolen = v1::Group { display_name: "7A".into(), ..b.clone() };
        assert_eq!(reason(&rename(&site, stolen).await.unwrap_err()), "ALREADY_EXISTS");
        let renamed = rename(&site, v1::Group { display_name: "8A".into(), ..a.clone() }).await.unwrap();
        assert_ne!(renamed.etag, a.etag);
        let stale = v1::Group { display_name: "9A".into(), ..a.clone() };
        assert_eq!(reason(&rename(&site, stale).await.unwrap_err()), "ETAG_MISMATCH");
        assert_eq!(reason(&delete(&site, &a.name, &a.etag).await.unwrap_err()), "ETAG_MISMATCH");
        for bad in ["", "a\nb", &"x".repeat(101)] {
            assert_eq!(reason(&create(&site, bad).await.unwrap_err()), "FIELD_INVALID");
        }
    }

    async fn the_people_of_a_removed_group_stay_and_change(db: Db) {
        let site = Site::new(&db).await;
        let group = create(&site, "7A").await.unwrap();
        let groups = vec![group.name.clone()];
        let ada = site.create(v1::Person { display_name: "Ada".into(), groups, ..Default::default() }).await.unwrap();
        let before = *site.gallery.revisions().borrow();
        delete(&site, &group.name, "").await.unwrap();
        assert_eq!(*site.gallery.revisions().borrow(), before + 1);
        let after = site.get(&ada.name).await.unwrap();
        assert_eq!(after.groups, [""; 0]);
        assert_ne!(after.etag, ada.etag);
        assert_eq!(reason(&delete(&site, &group.name, "").await.unwrap_err()), "NOT_FOUND");
        let gone = v1::Person { display_name: "Bo".into(), groups: vec![group.name], ..Default::default() };
        assert_eq!(reason(&site.create(gone).await.unwrap_err()), "NOT_FOUND");
    }
}
