//! A repeated creation answers as the first did.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::time::Duration;

use rollcall_core::{Reason, UtcInstant, limits};
use rollcall_store::requests::{self, RequestError, RequestId};
use rollcall_store::{Db, StoreError, both_engines};

const METHOD: &str = "rollcall.v1.GalleryService/CreatePerson";
const REQUEST: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [2; 32];

fn id(last: u8) -> RequestId {
    RequestId::parse(&format!("0193a5c0-0000-7000-8000-0000000000{last:02x}")).unwrap().unwrap()
}

/// Creates, or answers as before; `true` when it created.
async fn create(db: &Db, id: RequestId, request: [u8; 32], now: UtcInstant) -> Result<bool, RequestError> {
    let mut tx = db.write().await?;
    let known = requests::recall(&mut tx, METHOD, id, &request).await?;
    if let Some(response) = known {
        assert_eq!(response, request);
        return Ok(false);
    }
    requests::remember(&mut tx, METHOD, id, &request, &request, now).await?;
    tx.commit().await?;
    Ok(true)
}

both_engines! {
    migrations = &[requests::MIGRATIONS];

    async fn the_same_request_is_carried_out_once(db: Db) {
        let now = UtcInstant::now();
        assert!(create(&db, id(1), REQUEST, now).await.unwrap());
        assert!(!create(&db, id(1), REQUEST, now).await.unwrap());
        assert!(create(&db, id(2), REQUEST, now).await.unwrap());
    }

    async fn the_same_id_with_another_request_is_refused(db: Db) {
        let now = UtcInstant::now();
        create(&db, id(1), REQUEST, now).await.unwrap();
        let error = create(&db, id(1), OTHER, now).await.unwrap_err();
        assert_eq!(error.fault().reason, Reason::RequestIdReused);
    }

    async fn the_ids_of_one_method_are_not_those_of_another(db: Db) {
        create(&db, id(1), REQUEST, UtcInstant::now()).await.unwrap();
        let mut tx = db.write().await.unwrap();
        assert_eq!(requests::recall(&mut tx, "another", id(1), &OTHER).await.unwrap(), None);
    }

    async fn a_request_is_remembered_for_days_and_then_gone(db: Db) {
        let now = UtcInstant::now();
        create(&db, id(1), REQUEST, now).await.unwrap();
        let last = now.after(Duration::from_secs(limits::REQUEST_ID_DAYS * 86_400));
        create(&db, id(2), REQUEST, last).await.unwrap();
        assert!(!create(&db, id(1), REQUEST, last).await.unwrap());
        create(&db, id(3), REQUEST, last.after(Duration::from_micros(1))).await.unwrap();
        assert!(create(&db, id(1), REQUEST, last).await.unwrap());
    }

    async fn what_is_rolled_back_is_not_remembered(db: Db) {
        let mut tx = db.write().await.unwrap();
        requests::remember(&mut tx, METHOD, id(1), &REQUEST, b"x", UtcInstant::now()).await.unwrap();
        drop(tx);
        assert!(create(&db, id(1), REQUEST, UtcInstant::now()).await.unwrap());
    }

    async fn many_at_once_with_one_id_create_one_thing(db: Db) {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let db = db.clone();
            tasks.spawn(async move { create(&db, id(1), REQUEST, UtcInstant::now()).await.unwrap() });
        }
        let created = tasks.join_all().await.into_iter().filter(|created| *created).count();
        assert_eq!(created, 1);
    }

    async fn what_was_not_recalled_is_a_conflict_not_an_overwrite(db: Db) {
        create(&db, id(1), REQUEST, UtcInstant::now()).await.unwrap();
        let mut tx = db.write().await.unwrap();
        let error = requests::remember(&mut tx, METHOD, id(1), &OTHER, b"x", UtcInstant::now()).await;
        assert!(matches!(error, Err(StoreError::Conflict { .. })), "{error:?}");
    }
}
