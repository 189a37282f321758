//! Enrolment and recognition as a script calls them. What must hold of each statement is in `gallery/face_tests.rs`.

use rollcall_store::both_engines;

use super::*;
use crate::FaceOptions;

fn picture(name: &str) -> prost::bytes::Bytes {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo");
    std::fs::read(root.join(name)).unwrap().into()
}

fn obama(number: u8) -> prost::bytes::Bytes {
    match number {
        1 => picture("gallery/Barack Obama/obama.jpg"),
        2 => picture("gallery/Barack Obama/obama2.jpg"),
        _ => picture("pictures/obama3.jpg"),
    }
}

async fn with_faces(db: &Db) -> Site {
    let site = Site::new(db).await;
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let faces = FaceOptions { models, fpir_target: 0.001, keep_pictures: false, threads: 1 };
    site.gallery.load_faces(faces).await.unwrap();
    site
}

impl Site {
    async fn consenting(&self, display_name: &str) -> String {
        let person = self.add(display_name).await.name;
        self.say(&person, yes(None, None)).await.unwrap();
        person
    }

    async fn offer(&self, person: &str, picture: impl Into<prost::bytes::Bytes>) -> v1::EnrolPictureResponse {
        let (person, picture) = (person.to_owned(), picture.into());
        let request = v1::EnrolPictureRequest { person, picture, ..Default::default() };
        self.server.enrol_picture(called(request)).await.unwrap().into_inner()
    }

    async fn largest(&self, picture: prost::bytes::Bytes) -> v1::IdentifiedFace {
        let request = called(v1::IdentifyRequest { picture });
        self.server.identify(request).await.unwrap().into_inner().faces.remove(0)
    }

    async fn enrolments(
        &self,
        person: &str,
        page_size: i32,
        page_token: &str,
    ) -> Result<v1::ListEnrolmentsResponse, Status> {
        let (person, page_token) = (person.to_owned(), page_token.to_owned());
        let request = called(v1::ListEnrolmentsRequest { person, page_size, page_token });
        Ok(self.server.list_enrolments(request).await?.into_inner())
    }
}

both_engines! {
    migrations = &migrations();

    async fn identify_names_who_is_enrolled_and_of_a_stranger_nothing(db: Db) {
        let site = with_faces(&db).await;
        let person = site.consenting("Barack").await;
        let enrolled = site.offer(&person, obama(1)).await;
        let template = enrolled.template.unwrap();
        assert_eq!(enrolled.enrolment.unwrap().verdict(), v1::Verdict::Enrolled);
        assert!(template.name.starts_with(&format!("{person}/templates/")));
        let face = site.largest(obama(2)).await;
        assert_eq!((face.outcome(), face.person.as_str()), (v1::Outcome::Recognised, person.as_str()));
        assert_eq!(face.display_name, "Barack");
        let trace = face.trace.unwrap();
        assert_eq!((trace.rule.as_str(), trace.template), ("THRESHOLD", template.name));
        assert!(trace.quality.unwrap().complaints.is_empty() && trace.model.starts_with("mobilefacenet-128 "));

        let face = site.largest(picture("pictures/biden.jpg")).await;
        assert_eq!(face.outcome(), v1::Outcome::Unknown);
        assert!(face.person.is_empty() && face.display_name.is_empty());
        let trace = face.trace.unwrap();
        assert!(trace.template.is_empty() && trace.runner_up.is_empty() && trace.template_score.is_none());
        assert!(trace.score.unwrap() < trace.threshold.unwrap());
    }

    async fn verdicts_are_listed_page_by_page_under_tokens_of_their_list(db: Db) {
        let site = with_faces(&db).await;
        let person = site.consenting("Barack").await;
        for text in ["a", "b", "c"] {
            let enrolment = site.offer(&person, text).await.enrolment.unwrap();
            assert_eq!(enrolment.verdict(), v1::Verdict::Unreadable);
            assert!(enrolment.explanation.ends_with('.'));
        }
        let first = site.enrolments(&person, 2, "").await.unwrap();
        assert_eq!(first.enrolments.len(), 2);
        let rest = site.enrolments(&person, 2, &first.next_page_token).await.unwrap();
        assert_eq!((rest.enrolments.len(), rest.next_page_token.as_str()), (1, ""));
        let mut hashes: Vec<_> =
            first.enrolments.into_iter().chain(rest.enrolments).map(|one| one.picture_sha256).collect();
        hashes.dedup();
        assert_eq!(hashes.len(), 3);
        let other = site.consenting("B").await;
        let refused = site.enrolments(&other, 2, &first.next_page_token).await.unwrap_err();
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
        let cut = rollcall_core::page::token(&format!("enrolments?person={}", &person[7..]), b"short");
        assert_eq!(reason(&site.enrolments(&person, 2, &cut).await.unwrap_err()), "FIELD_INVALID");
    }

    async fn a_look_alike_is_told_by_name_until_they_are_erased(db: Db) {
        let site = with_faces(&db).await;
        let (first, second) = (site.consenting("Barack").await, site.consenting("Somebody").await);
        site.offer(&first, obama(1)).await;
        site.offer(&first, obama(2)).await;
        let told = site.offer(&second, obama(3)).await.enrolment.unwrap();
        assert_eq!((told.verdict(), told.looks_like.as_str()), (v1::Verdict::LooksLike, first.as_str()));
        assert!(told.explanation.contains("Barack") && told.looks_like_score.unwrap() > 0.4, "{told:?}");
        site.erase(&first).await.unwrap();
        let told = site.enrolments(&second, 0, "").await.unwrap().enrolments.remove(0);
        assert!(told.explanation.contains("somebody else") && !told.explanation.contains("Barack"));
    }

    async fn a_mismatch_is_reported_listed_and_taken_back(db: Db) {
        let site = with_faces(&db).await;
        let (person, other) = (site.consenting("A").await, site.consenting("B").await);
        let report = |actual: &str, evidence| v1::ReportMismatchRequest {
            person: person.clone(),
            actual_person: actual.to_owned(),
            evidence,
            request_id: "0193a5c0-0000-7000-8000-000000000001".into(),
        };
        let score = |score| Some(v1::report_mismatch_request::Evidence::Score(score));
        for (actual, evidence) in [
            (other.as_str(), None),
            (other.as_str(), score(0.0)),
            (other.as_str(), score(f32::NAN)),
            (other.as_str(), score(1.5)),
            (person.as_str(), score(0.6)),
            ("people/x", score(0.6)),
        ] {
            let refused = site.server.report_mismatch(called(report(actual, evidence.clone()))).await.unwrap_err();
            assert_eq!(reason(&refused), "FIELD_INVALID", "{actual} {evidence:?}");
        }
        let reported = site.server.report_mismatch(called(report(&other, score(0.6)))).await.unwrap().into_inner();
        assert!(reported.threshold > 0.6 && reported.reported_by.starts_with("accounts/"));
        let again = site.server.report_mismatch(called(report(&other, score(0.6)))).await.unwrap().into_inner();
        assert_eq!(again, reported);
        let reused = site.server.report_mismatch(called(report(&other, score(0.7)))).await.unwrap_err();
        assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
        let nobody = site.server.report_mismatch(Request::new(report(&other, score(0.6)))).await.unwrap_err();
        assert_eq!(nobody.code(), tonic::Code::Internal);

        let list = || called(v1::ListMismatchesRequest::default());
        let listed = site.server.list_mismatches(list()).await.unwrap().into_inner();
        assert_eq!(listed.mismatches, std::slice::from_ref(&reported));
        let delete = || called(v1::DeleteMismatchRequest { name: reported.name.clone() });
        site.server.delete_mismatch(delete()).await.unwrap();
        assert!(site.server.list_mismatches(list()).await.unwrap().into_inner().mismatches.is_empty());
        assert_eq!(reason(&site.server.delete_mismatch(delete()).await.unwrap_err()), "NOT_FOUND");
    }
}

#[test]
fn without_networks_the_calls_about_faces_are_not_served_here() {
    rollcall_store::testing::on_sqlite(&migrations(), async |db| {
        let site = Site::new(&db).await;
        let person = site.consenting("A").await;
        let picture = obama(1);
        let request = v1::EnrolPictureRequest { person, picture, ..Default::default() };
        let refused = site.server.enrol_picture(called(request)).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_SERVED_HERE");
        let refused = site.server.get_calibration(called(v1::GetCalibrationRequest {})).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_SERVED_HERE");
    });
}

#[test]
fn the_calibration_of_an_empty_gallery_rests_on_the_manifest() {
    rollcall_store::testing::on_sqlite(&migrations(), async |db| {
        let site = with_faces(&db).await;
        let answer = site.server.get_calibration(called(v1::GetCalibrationRequest {})).await.unwrap();
        let calibration = answer.into_inner();
        assert_eq!(
            (calibration.gallery_size, calibration.site_pairs, calibration.site_threshold),
            (0, 0, None)
        );
        assert_eq!((calibration.fpir_target, calibration.basis.as_str()), (0.001, "East Asian"));
        assert!((0.4..0.9).contains(&calibration.threshold));
    });
}
