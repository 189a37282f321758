//! The feed: every change once, in order, over a reconnect too.

use rollcall_core::limits;
use rollcall_store::both_engines;
use tokio_stream::StreamExt as _;

use super::*;

async fn watch(site: &Site, revision: i64) -> Result<<GalleryServer as GalleryStream>::Stream, Status> {
    let request = v1::WatchChangesRequest { revision };
    Ok(site.server.watch_changes(Request::new(request)).await?.into_inner())
}

/// Names the stream of the server.
trait GalleryStream {
    type Stream;
}

impl GalleryStream for GalleryServer {
    type Stream = <GalleryServer as v1::gallery_service_server::GalleryService>::WatchChangesStream;
}

both_engines! {
    migrations = &migrations();

    async fn a_watcher_sees_what_was_and_then_what_happens_once_each(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.add("Ada").await.name;
        let mut stream = watch(&site, 0).await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!((first.revision, first.person.as_str(), first.erased), (1, ada.as_str(), false));
        site.say(&ada, yes(None, None)).await.unwrap();
        site.erase(&ada).await.unwrap();
        let second = stream.next().await.unwrap().unwrap();
        assert_eq!((second.revision, second.erased), (2, false));
        drop(stream);
        let mut stream = watch(&site, second.revision).await.unwrap();
        let third = stream.next().await.unwrap().unwrap();
        assert_eq!((third.revision, third.person.as_str(), third.erased), (3, ada.as_str(), true));
        let waiting = tokio::spawn(async move { stream.next().await.unwrap().unwrap().revision });
        site.add("Bo").await;
        assert_eq!(waiting.await.unwrap(), 4);
    }

    async fn many_writers_at_once_leave_no_gap_for_many_watchers(db: Db) {
        let site = Site::new(&db).await;
        let mut watchers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let stream = watch(&site, 0).await.unwrap();
            watchers.spawn(async move {
                stream.take(40).map(|change| change.unwrap().revision).collect::<Vec<i64>>().await
            });
        }
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..4 {
            let server = site.server.clone();
            writers.spawn(async move {
                for number in 0..10 {
                    let display_name = format!("{writer} {number}");
                    let person = Some(v1::Person { display_name, ..Default::default() });
                    let request = v1::CreatePersonRequest { person, ..Default::default() };
                    server.create_person(Request::new(request)).await.unwrap();
                }
            });
        }
        writers.join_all().await;
        for seen in watchers.join_all().await {
            assert_eq!(seen, (1..=40).collect::<Vec<i64>>());
        }
    }

    async fn a_cursor_ahead_or_negative_and_a_watcher_too_many_are_refused(db: Db) {
        let site = Site::new(&db).await;
        site.add("Ada").await;
        assert_eq!(reason(&watch(&site, 2).await.err().unwrap()), "CURSOR_AHEAD");
        assert_eq!(reason(&watch(&site, -1).await.err().unwrap()), "FIELD_INVALID");
        let mut held = Vec::new();
        for _ in 0..limits::GALLERY_WATCHERS {
            held.push(watch(&site, 1).await.unwrap());
        }
        assert_eq!(reason(&watch(&site, 1).await.err().unwrap()), "LIMIT_REACHED");
        held.pop();
        held.push(watch(&site, 1).await.unwrap());
    }

    async fn a_cursor_whose_changes_are_gone_is_told_so(db: Db) {
        let site = Site::new(&db).await;
        for _ in 0..4 {
            site.add("Ada").await;
        }
        crate::store::changes::forget_before(&db, 3).await.unwrap();
        for (cursor, next) in [(0, Some(3)), (1, None), (2, Some(3)), (3, Some(4))] {
            match (watch(&site, cursor).await, next) {
                (Ok(mut stream), Some(next)) => assert_eq!(stream.next().await.unwrap().unwrap().revision, next),
                (Err(error), None) => assert_eq!(reason(&error), "CURSOR_EXPIRED"),
                (answer, _) => panic!("{cursor}: {:?}", answer.err()),
            }
        }
    }

    async fn a_gallery_keeps_its_id(db: Db) {
        let site = Site::new(&db).await;
        let again = open(&db, site.folder.path(), UtcInstant::now()).await.unwrap();
        assert_eq!(again.gallery_id().await.unwrap(), site.gallery.gallery_id().await.unwrap());
    }
}
