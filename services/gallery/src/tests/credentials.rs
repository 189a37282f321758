//! Credentials: one holder each, secrets told once, found at the door.

use rollcall_core::CredentialId;
use rollcall_store::both_engines;

use super::*;
use crate::{CredentialKind, CredentialState, PersonChange};

async fn give(
    site: &Site,
    person: &str,
    kind: v1::CredentialKind,
    value: &str,
    request_id: &str,
) -> Result<v1::CreateCredentialResponse, Status> {
    let request = v1::CreateCredentialRequest {
        person: person.into(),
        kind: kind.into(),
        value: value.into(),
        request_id: request_id.into(),
    };
    Ok(site.server.create_credential(Request::new(request)).await?.into_inner())
}

async fn revoke(site: &Site, name: &str) -> Result<(), Status> {
    let request = v1::RevokeCredentialRequest { name: name.into() };
    site.server.revoke_credential(Request::new(request)).await.map(tonic::Response::into_inner)
}

/// Who is let in with this, and how.
async fn holder(site: &Site, kind: CredentialKind, presented: &str) -> Option<(String, CredentialState)> {
    let found = site.gallery.credential_holder(kind, presented, UtcInstant::now()).await.unwrap();
    found.map(|found| (found.person.name(), found.state))
}

both_engines! {
    migrations = &migrations();

    async fn a_credential_finds_its_holder(db: Db) {
        let site = Site::new(&db).await;
        let (ada, bo) = (site.add("Ada").await.name, site.add("Bo").await.name);
        let pin = give(&site, &ada, v1::CredentialKind::Pin, "", "").await.unwrap().secret;
        assert!(pin.len() == 6 && pin.bytes().all(|digit| digit.is_ascii_digit()), "{pin}");
        let chosen = give(&site, &bo, v1::CredentialKind::Pin, "90210876", "").await.unwrap().secret;
        assert_eq!(chosen, "90210876");
        let badge = give(&site, &ada, v1::CredentialKind::Badge, "", "").await.unwrap().secret;
        assert!(badge.starts_with("RC1."));
        assert_eq!(give(&site, &bo, v1::CredentialKind::Card, "04:A2:24", "").await.unwrap().secret, "");
        let in_force = |person: &str| Some((person.to_owned(), CredentialState::InForce));
        assert_eq!(holder(&site, CredentialKind::Pin, &pin).await, in_force(&ada));
        assert_eq!(holder(&site, CredentialKind::Pin, &chosen).await, in_force(&bo));
        assert_eq!(holder(&site, CredentialKind::Badge, &badge).await, in_force(&ada));
        assert_eq!(holder(&site, CredentialKind::Card, "04:A2:24").await, in_force(&bo));
        for (kind, wrong) in [
            (CredentialKind::Card, pin.as_str()),
            (CredentialKind::Badge, pin.as_str()),
            (CredentialKind::Pin, badge.as_str()),
            (CredentialKind::Pin, ""),
            (CredentialKind::Card, "04:a2:24"),
            (CredentialKind::Pin, "\0"),
        ] {
            assert_eq!(holder(&site, kind, wrong).await, None);
        }
    }

    async fn an_ended_credential_opens_nothing_and_its_card_can_be_given_again(db: Db) {
        let site = Site::new(&db).await;
        let (ada, bo) = (site.add("Ada").await.name, site.add("Bo").await.name);
        let card = give(&site, &ada, v1::CredentialKind::Card, "0004711", "").await.unwrap().credential.unwrap();
        let taken = give(&site, &bo, v1::CredentialKind::Card, "0004711", "").await.unwrap_err();
        assert_eq!(reason(&taken), "ALREADY_EXISTS");
        let badge = give(&site, &ada, v1::CredentialKind::Badge, "", "").await.unwrap();
        let others = card.name.replace(&ada, &bo);
        assert_eq!(reason(&revoke(&site, &others).await.unwrap_err()), "NOT_FOUND");
        let badge_name = badge.credential.unwrap().name;
        for name in [&card.name, &card.name, &badge_name] {
            revoke(&site, name).await.unwrap();
        }
        assert_eq!(holder(&site, CredentialKind::Card, "0004711").await, None);
        assert_eq!(holder(&site, CredentialKind::Badge, &badge.secret).await, Some((ada.clone(), CredentialState::Revoked)));
        give(&site, &bo, v1::CredentialKind::Card, "0004711", "").await.unwrap();
        assert_eq!(holder(&site, CredentialKind::Card, "0004711").await, Some((bo, CredentialState::InForce)));
        let request = v1::ListCredentialsRequest { person: ada.clone() };
        let listed = site.server.list_credentials(Request::new(request)).await.unwrap().into_inner().credentials;
        assert_eq!(listed.len(), 2);
        assert!(listed.iter().all(|credential| credential.revoke_time.is_some()));
        let nobody = format!("{ada}/{}", CredentialId::generate().name());
        assert_eq!(reason(&revoke(&site, &nobody).await.unwrap_err()), "NOT_FOUND");
    }

    async fn a_credential_counts_to_the_last_day_of_its_holder(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.add("Ada").await.name;
        let badge = give(&site, &ada, v1::CredentialKind::Badge, "", "").await.unwrap().secret;
        let now = UtcInstant::now();
        let past = site.gallery.zone().day(now.before(std::time::Duration::from_secs(86_400)));
        let change = PersonChange { leave_day: Some(Some(past)), ..Default::default() };
        let id = PersonId::from_name(&ada).unwrap();
        site.gallery.update_person(id, change, String::new(), now).await.unwrap();
        assert_eq!(holder(&site, CredentialKind::Badge, &badge).await, Some((ada, CredentialState::HolderLeft)));
    }

    async fn a_repeated_request_tells_the_same_secret(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.add("Ada").await.name;
        for (kind, value, last) in [
            (v1::CredentialKind::Pin, "", 1),
            (v1::CredentialKind::Pin, "483920", 2),
            (v1::CredentialKind::Badge, "", 3),
            (v1::CredentialKind::Card, "0004711", 4),
        ] {
            let request_id = format!("0193a5c0-0000-7000-8000-00000000000{last}");
            let first = give(&site, &ada, kind, value, &request_id).await.unwrap();
            assert_eq!(give(&site, &ada, kind, value, &request_id).await.unwrap(), first);
        }
        let request_id = "0193a5c0-0000-7000-8000-000000000001";
        let other = give(&site, &ada, v1::CredentialKind::Badge, "", request_id).await.unwrap_err();
        assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    }

    async fn values_that_cannot_be_are_refused(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.add("Ada").await.name;
        for (kind, value) in [
            (v1::CredentialKind::Pin, "123456"),
            (v1::CredentialKind::Pin, "12345"),
            (v1::CredentialKind::Card, ""),
            (v1::CredentialKind::Card, "a\0bc"),
            (v1::CredentialKind::Badge, "mine"),
            (v1::CredentialKind::Unspecified, ""),
        ] {
            assert_eq!(reason(&give(&site, &ada, kind, value, "").await.unwrap_err()), "FIELD_INVALID");
        }
        let nobody = PersonId::generate().name();
        let error = give(&site, &nobody, v1::CredentialKind::Badge, "", "").await.unwrap_err();
        assert_eq!(reason(&error), "NOT_FOUND");
        for _ in 0..rollcall_core::limits::PERSON_CREDENTIALS {
            give(&site, &ada, v1::CredentialKind::Badge, "", "").await.unwrap();
        }
        let error = give(&site, &ada, v1::CredentialKind::Badge, "", "").await.unwrap_err();
        assert_eq!(reason(&error), "LIMIT_REACHED");
    }
}
