//! Consent in the database: what it gates and what ends with it.

use std::time::Duration;

use rollcall_core::{SiteDay, SiteTime};
use rollcall_store::both_engines;
use v1::consent::Decision;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn state(person: &v1::Person) -> (v1::ConsentState, i32) {
    (person.consent_state(), person.template_count)
}

fn date(day: SiteDay) -> v1::Date {
    v1::Date { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}

both_engines! {
    migrations = &migrations();

    async fn no_template_without_consent_and_none_after_it(db: Db) {
        let site = Site::new(&db).await;
        let now = UtcInstant::now();
        let ada = site.add("Ada").await.name;
        assert!(matches!(site.enrol(&ada, now).await, Err(GalleryError::ConsentMissing { .. })));
        site.say(&ada, yes(None, None)).await.unwrap();
        site.enrol(&ada, now).await.unwrap();
        assert_eq!(state(&site.get(&ada).await.unwrap()), (v1::ConsentState::Valid, 1));
        let before = *site.gallery.revisions().borrow();
        site.say(&ada, guardian("Father", Decision::Refused)).await.unwrap();
        assert_eq!(state(&site.get(&ada).await.unwrap()), (v1::ConsentState::Refused, 0));
        assert_eq!(*site.gallery.revisions().borrow(), before + 1);
        assert!(matches!(site.enrol(&ada, now).await, Err(GalleryError::ConsentMissing { .. })));
        site.say(&ada, guardian(" FATHER", Decision::Given)).await.unwrap();
        assert_eq!(state(&site.get(&ada).await.unwrap()), (v1::ConsentState::Valid, 0));
    }

    async fn templates_go_when_consent_ends_by_its_date(db: Db) {
        let site = Site::new(&db).await;
        let now = UtcInstant::now();
        let zone = site.gallery.zone();
        let last = zone.day(now.after(3 * DAY));
        let (ada, bo) = (site.add("Ada").await.name, site.add("Bo").await.name);
        site.say(&ada, yes(None, Some(date(last)))).await.unwrap();
        site.say(&bo, yes(None, None)).await.unwrap();
        site.enrol(&ada, now).await.unwrap();
        site.enrol(&bo, now).await.unwrap();
        let end = zone.span(last).end;
        let before = *site.gallery.revisions().borrow();
        site.gallery.expire(end.before(Duration::from_micros(1))).await.unwrap();
        assert_eq!(site.get(&ada).await.unwrap().template_count, 1);
        assert_eq!(*site.gallery.revisions().borrow(), before);
        site.gallery.expire(end).await.unwrap();
        assert_eq!(site.get(&ada).await.unwrap().template_count, 0);
        assert_eq!(site.get(&bo).await.unwrap().template_count, 1);
        site.gallery.expire(end).await.unwrap();
        assert_eq!(*site.gallery.revisions().borrow(), before + 1);
    }

    async fn templates_go_after_the_last_day_also_when_nobody_ran(db: Db) {
        let site = Site::new(&db).await;
        let now = UtcInstant::now();
        let ada = site.add("Ada").await;
        site.say(&ada.name, yes(None, None)).await.unwrap();
        site.enrol(&ada.name, now).await.unwrap();
        let last = site.gallery.zone().day(now.after(DAY));
        let change = crate::PersonChange { leave_day: Some(Some(last)), ..Default::default() };
        let id = PersonId::from_name(&ada.name).unwrap();
        site.gallery.update_person(id, change, String::new(), now).await.unwrap();
        assert_eq!(site.get(&ada.name).await.unwrap().template_count, 1);
        let again = open(&db, site.folder.path(), now.after(3 * DAY)).await.unwrap();
        assert_eq!(again.person(id, now).await.unwrap().template_count, 0);
        // A last day in the past takes them at once.
        let change = crate::PersonChange { leave_day: Some(None), ..Default::default() };
        site.gallery.update_person(id, change, String::new(), now).await.unwrap();
        site.enrol(&ada.name, now).await.unwrap();
        let past = site.gallery.zone().day(now.before(DAY));
        let change = crate::PersonChange { leave_day: Some(Some(past)), ..Default::default() };
        let person = site.gallery.update_person(id, change, String::new(), now).await.unwrap();
        assert_eq!((person.template_count, person.consent), (0, crate::ConsentState::Expired));
    }

    async fn another_zone_moves_the_end_of_a_day(db: Db) {
        let site = Site::new(&db).await;
        let now = UtcInstant::now();
        let last = site.gallery.zone().day(now.after(DAY));
        let ada = site.add("Ada").await.name;
        site.say(&ada, yes(None, Some(date(last)))).await.unwrap();
        site.enrol(&ada, now).await.unwrap();
        let london = SiteZone::named("Europe/London").unwrap();
        let here = site.gallery.zone().span(last).end;
        site.gallery.set_zone(london.clone(), now).await.unwrap();
        site.gallery.expire(here).await.unwrap();
        assert_eq!(site.get(&ada).await.unwrap().template_count, 1);
        site.gallery.expire(london.span(last).end).await.unwrap();
        assert_eq!(site.get(&ada).await.unwrap().template_count, 0);
    }

    async fn the_ledger_comes_back_as_written_oldest_first(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.add("Ada").await.name;
        let (start, end) = (v1::Date { year: 2026, month: 2, day: 28 }, v1::Date { year: 2028, month: 2, day: 29 });
        let mut said = Vec::new();
        for consent in [yes(Some(start), Some(end)), guardian("Mother", Decision::Withdrawn), guardian("", Decision::Given)] {
            let recorded = site.say(&ada, consent.clone()).await.unwrap();
            assert_eq!(recorded.recorded_by, AccountId::from_bytes([5; 16]).name());
            assert!(recorded.name.starts_with(&format!("{ada}/consents/")));
            let same = v1::Consent { name: String::new(), record_time: None, recorded_by: String::new(), ..recorded.clone() };
            assert_eq!(same, consent);
            said.push(recorded);
        }
        let mut request = v1::ListConsentsRequest { person: ada.clone(), page_size: 2, ..Default::default() };
        let first = site.server.list_consents(Request::new(request.clone())).await.unwrap().into_inner();
        assert_eq!((first.consents.as_slice(), first.state()), (&said[..2], v1::ConsentState::Withdrawn));
        request.page_token = first.next_page_token;
        let second = site.server.list_consents(Request::new(request)).await.unwrap().into_inner();
        assert_eq!((second.consents.as_slice(), second.next_page_token.as_str()), (&said[2..], ""));
        assert_eq!(site.gallery.zone().time(site.gallery.zone().span(SiteDay::constant(2026, 2, 28)).start), SiteTime::midnight());
    }

    async fn lines_that_cannot_be_are_refused(db: Db) {
        let site = Site::new(&db).await;
        let ada = site.add("Ada").await.name;
        let (early, late) = (v1::Date { year: 2026, month: 1, day: 1 }, v1::Date { year: 2026, month: 1, day: 2 });
        for bad in [
            v1::Consent { decision: 0, ..yes(None, None) },
            v1::Consent { decision: 99, ..yes(None, None) },
            v1::Consent { giver: 0, ..yes(None, None) },
            v1::Consent { form: "a\nb".into(), ..yes(None, None) },
            v1::Consent { giver_label: "x".repeat(101), ..yes(None, None) },
            yes(Some(late), Some(early)),
            v1::Consent { end_date: Some(late), ..guardian("x", Decision::Refused) },
        ] {
            assert_eq!(reason(&site.say(&ada, bad).await.unwrap_err()), "FIELD_INVALID");
        }
        let nobody = PersonId::generate().name();
        assert_eq!(reason(&site.say(&nobody, yes(None, None)).await.unwrap_err()), "NOT_FOUND");
        let request = v1::RecordConsentRequest { person: ada, consent: Some(yes(None, None)), ..Default::default() };
        let nameless = site.server.record_consent(Request::new(request)).await.unwrap_err();
        assert_eq!(nameless.code(), tonic::Code::Internal);
    }
}
