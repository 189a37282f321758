//! GalleryService: convert, call, convert. No rule lives here.

mod faces;

use std::pin::Pin;

use prost::Message;
use rollcall_core::{Caller, Fault, Reason, UtcInstant, page};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_service_server::GalleryService;
use rollcall_proto::v1::import_people_request::Part;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::{Gallery, GalleryError, Group, ImportFile, Person, Retry, convert};

/// Serves a gallery: wrap it in `rollcall_proto::v1::gallery_service_server::GalleryServiceServer`.
#[derive(Clone)]
pub struct GalleryServer {
    gallery: Gallery,
}

impl GalleryServer {
    /// Serves this gallery.
    pub fn new(gallery: Gallery) -> Self {
        Self { gallery }
    }

    /// What EnrolPicture answers, for whoever takes the picture in this program.
    ///
    /// # Errors
    /// As the contract has them.
    pub async fn enrol(
        &self,
        request: v1::EnrolPictureRequest,
    ) -> Result<v1::EnrolPictureResponse, GalleryError> {
        faces::enrol_picture(&self.gallery, request).await
    }

    fn retry(
        &self,
        method: &'static str,
        request_id: &str,
        request: &impl Message,
    ) -> Result<Option<Retry>, Status> {
        self.gallery.retry(method, request_id, &request.encode_to_vec()).map_err(status)
    }
}

/// An error as it travels.
fn status(error: GalleryError) -> Status {
    faulty(error.fault())
}

fn faulty(fault: Fault) -> Status {
    rollcall_proto::status(fault.reason.code().grpc(), fault.message, fault.reason.as_str(), fault.metadata)
}

fn hub_alone(what: &str) -> Status {
    faulty(Fault::new(Reason::NotServedHere, format!("{what} is done at the hub")))
}

/// Who calls, as ledgers keep it.
fn caller<T>(request: &Request<T>) -> Result<String, Status> {
    let caller = request.extensions().get::<Caller>();
    caller.map(Caller::name).ok_or_else(|| Status::internal("a call came through without a caller"))
}

/// A result as it travels.
fn answer<T, M: From<T>>(result: Result<T, GalleryError>) -> Result<Response<M>, Status> {
    result.map(|value| Response::new(value.into())).map_err(status)
}

/// The things of one page, of which one more was asked for, and a copy of the last when there are more.
fn cut<T: Clone>(mut things: Vec<T>, size: usize) -> (Vec<T>, Option<T>) {
    let more = things.len() > size;
    things.truncate(size);
    let last = things.last().filter(|_| more).cloned();
    (things, last)
}

#[tonic::async_trait]
impl GalleryService for GalleryServer {
    async fn create_person(
        &self,
        request: Request<v1::CreatePersonRequest>,
    ) -> Result<Response<v1::Person>, Status> {
        let request = request.into_inner();
        let retry = self.retry("CreatePerson", &request.request_id, &request)?;
        let fields = convert::person_fields(request.person).map_err(status)?;
        let person = self.gallery.create_person(fields, retry, UtcInstant::now()).await;
        answer(person)
    }

    async fn get_person(
        &self,
        request: Request<v1::GetPersonRequest>,
    ) -> Result<Response<v1::Person>, Status> {
        let person = convert::person_id("name", &request.get_ref().name).map_err(status)?;
        answer(self.gallery.person(person, UtcInstant::now()).await)
    }

    async fn list_people(
        &self,
        request: Request<v1::ListPeopleRequest>,
    ) -> Result<Response<v1::ListPeopleResponse>, Status> {
        let request = request.into_inner();
        let size = page::size(request.page_size).map_err(faulty)?;
        let (filter, bound) = convert::people_filter(&request).map_err(status)?;
        let after = convert::name_key(&bound, &request.page_token).map_err(status)?;
        let people =
            self.gallery.people(&filter, after, size + 1, UtcInstant::now()).await.map_err(status)?;
        let (people, last) = cut(people, size);
        let token =
            |last: &Person| convert::name_token(&bound, &last.fields.display_name, last.id.as_bytes());
        let next_page_token = last.as_ref().map(token).unwrap_or_default();
        let people = people.into_iter().map(v1::Person::from).collect();
        Ok(Response::new(v1::ListPeopleResponse { people, next_page_token }))
    }

    async fn update_person(
        &self,
        request: Request<v1::UpdatePersonRequest>,
    ) -> Result<Response<v1::Person>, Status> {
        let (person, change, etag) = convert::person_change(request.into_inner()).map_err(status)?;
        answer(self.gallery.update_person(person, change, etag, UtcInstant::now()).await)
    }

    async fn import_people(
        &self,
        request: Request<Streaming<v1::ImportPeopleRequest>>,
    ) -> Result<Response<v1::ImportPeopleResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(Part::Config(config)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(status(GalleryError::invalid("config", "is missing: it comes in the first message")));
        };
        let mut file = ImportFile::default();
        while let Some(message) = parts.message().await? {
            let Some(Part::Data(piece)) = message.part else {
                return Err(status(GalleryError::invalid("data", "is missing in a message after the first")));
            };
            file.push(piece).map_err(status)?;
        }
        let now = UtcInstant::now();
        answer(self.gallery.import_people(file, config.validate_only, &config.request_id, now).await)
    }

    async fn erase_person(
        &self,
        request: Request<v1::ErasePersonRequest>,
    ) -> Result<Response<v1::Erasure>, Status> {
        let person = convert::person_id("name", &request.get_ref().name).map_err(status)?;
        answer(self.gallery.erase_person(person, UtcInstant::now()).await)
    }

    async fn get_erasure(
        &self,
        request: Request<v1::GetErasureRequest>,
    ) -> Result<Response<v1::Erasure>, Status> {
        let erasure = convert::erasure_id(&request.get_ref().name).map_err(status)?;
        answer(self.gallery.erasure(erasure).await)
    }

    async fn list_erasures(
        &self,
        request: Request<v1::ListErasuresRequest>,
    ) -> Result<Response<v1::ListErasuresResponse>, Status> {
        const BOUND: &str = "erasures";
        let request = request.into_inner();
        let size = page::size(request.page_size).map_err(faulty)?;
        let before = convert::erasure_key(BOUND, &request.page_token).map_err(status)?;
        let erasures = self.gallery.erasures(before, size + 1).await.map_err(status)?;
        let (erasures, last) = cut(erasures, size);
        let next_page_token = last.map(|last| convert::erasure_token(BOUND, &last)).unwrap_or_default();
        let erasures = erasures.into_iter().map(v1::Erasure::from).collect();
        Ok(Response::new(v1::ListErasuresResponse { erasures, next_page_token }))
    }

    async fn create_group(
        &self,
        request: Request<v1::CreateGroupRequest>,
    ) -> Result<Response<v1::Group>, Status> {
        let request = request.into_inner();
        let retry = self.retry("CreateGroup", &request.request_id, &request)?;
        let name = convert::group_name(request.group).map_err(status)?;
        answer(self.gallery.create_group(name, retry, UtcInstant::now()).await)
    }

    async fn get_group(&self, request: Request<v1::GetGroupRequest>) -> Result<Response<v1::Group>, Status> {
        let group = convert::group_id("name", &request.get_ref().name).map_err(status)?;
        answer(self.gallery.group(group).await)
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        const BOUND: &str = "groups";
        let request = request.into_inner();
        let size = page::size(request.page_size).map_err(faulty)?;
        let after = convert::name_key(BOUND, &request.page_token).map_err(status)?;
        let groups = self.gallery.groups(after, size + 1).await.map_err(status)?;
        let (groups, last) = cut(groups, size);
        let token = |last: &Group| convert::name_token(BOUND, &last.display_name, last.id.as_bytes());
        let next_page_token = last.as_ref().map(token).unwrap_or_default();
        let groups = groups.into_iter().map(v1::Group::from).collect();
        Ok(Response::new(v1::ListGroupsResponse { groups, next_page_token }))
    }

    async fn update_group(
        &self,
        request: Request<v1::UpdateGroupRequest>,
    ) -> Result<Response<v1::Group>, Status> {
        let (group, name, etag) = convert::group_change(request.into_inner()).map_err(status)?;
        answer(self.gallery.update_group(group, name, etag).await)
    }

    async fn delete_group(&self, request: Request<v1::DeleteGroupRequest>) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        let group = convert::group_id("name", &request.name).map_err(status)?;
        answer(self.gallery.delete_group(group, request.etag, UtcInstant::now()).await)
    }

    async fn record_consent(
        &self,
        request: Request<v1::RecordConsentRequest>,
    ) -> Result<Response<v1::Consent>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let retry = self.retry("RecordConsent", &request.request_id, &request)?;
        let person = convert::person_id("person", &request.person).map_err(status)?;
        let said = convert::said(request.consent).map_err(status)?;
        let consent = self.gallery.record_consent(person, said, caller, retry, UtcInstant::now()).await;
        consent.map(|consent| Response::new(convert::consent(person, consent))).map_err(status)
    }

    async fn list_consents(
        &self,
        request: Request<v1::ListConsentsRequest>,
    ) -> Result<Response<v1::ListConsentsResponse>, Status> {
        let request = request.into_inner();
        let size = page::size(request.page_size).map_err(faulty)?;
        let person = convert::person_id("person", &request.person).map_err(status)?;
        let bound = format!("consents {person}");
        let after = convert::number_key(&bound, &request.page_token).map_err(status)?.unwrap_or(0);
        let listed = self.gallery.consents(person, after, size + 1, UtcInstant::now()).await;
        let (consents, state) = listed.map_err(status)?;
        let (consents, last) = cut(consents, size);
        let next_page_token = last.map(|(line, _)| convert::number_token(&bound, line)).unwrap_or_default();
        let consents = consents.into_iter().map(|(_, consent)| convert::consent(person, consent)).collect();
        let state = convert::consent_state(state).into();
        Ok(Response::new(v1::ListConsentsResponse { consents, next_page_token, state }))
    }

    async fn enrol_picture(
        &self,
        request: Request<v1::EnrolPictureRequest>,
    ) -> Result<Response<v1::EnrolPictureResponse>, Status> {
        answer(self.enrol(request.into_inner()).await)
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        answer(faces::list_templates(&self.gallery, request.into_inner()).await)
    }

    async fn delete_template(
        &self,
        request: Request<v1::DeleteTemplateRequest>,
    ) -> Result<Response<()>, Status> {
        answer(faces::delete_template(&self.gallery, request.into_inner()).await)
    }

    async fn list_enrolments(
        &self,
        request: Request<v1::ListEnrolmentsRequest>,
    ) -> Result<Response<v1::ListEnrolmentsResponse>, Status> {
        answer(faces::list_enrolments(&self.gallery, request.into_inner()).await)
    }

    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        answer(faces::identify(&self.gallery, request.into_inner()).await)
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        answer(faces::verify(&self.gallery, request.into_inner()).await)
    }

    async fn list_look_alikes(
        &self,
        request: Request<v1::ListLookAlikesRequest>,
    ) -> Result<Response<v1::ListLookAlikesResponse>, Status> {
        answer(faces::list_look_alikes(&self.gallery, request.into_inner()).await)
    }

    async fn report_mismatch(
        &self,
        request: Request<v1::ReportMismatchRequest>,
    ) -> Result<Response<v1::Mismatch>, Status> {
        let reported_by = caller(&request)?;
        answer(faces::report_mismatch(&self.gallery, request.into_inner(), reported_by).await)
    }

    async fn list_mismatches(
        &self,
        request: Request<v1::ListMismatchesRequest>,
    ) -> Result<Response<v1::ListMismatchesResponse>, Status> {
        answer(faces::list_mismatches(&self.gallery, request.into_inner()).await)
    }

    async fn delete_mismatch(
        &self,
        request: Request<v1::DeleteMismatchRequest>,
    ) -> Result<Response<()>, Status> {
        answer(faces::delete_mismatch(&self.gallery, request.into_inner()).await)
    }

    async fn get_calibration(
        &self,
        _request: Request<v1::GetCalibrationRequest>,
    ) -> Result<Response<v1::Calibration>, Status> {
        answer(faces::get_calibration(&self.gallery))
    }

    async fn create_credential(
        &self,
        request: Request<v1::CreateCredentialRequest>,
    ) -> Result<Response<v1::CreateCredentialResponse>, Status> {
        let request = request.into_inner();
        let retry = self.retry("CreateCredential", &request.request_id, &request)?;
        let person = convert::person_id("person", &request.person).map_err(status)?;
        let kind = convert::credential_kind(request.kind()).map_err(status)?;
        let made =
            self.gallery.create_credential(person, kind, request.value, retry, UtcInstant::now()).await;
        let (credential, secret) = made.map_err(status)?;
        Ok(Response::new(v1::CreateCredentialResponse { credential: Some(credential.into()), secret }))
    }

    async fn list_credentials(
        &self,
        request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        let person = convert::person_id("person", &request.get_ref().person).map_err(status)?;
        let credentials = self.gallery.credentials(person).await.map_err(status)?;
        let credentials = credentials.into_iter().map(v1::Credential::from).collect();
        Ok(Response::new(v1::ListCredentialsResponse { credentials }))
    }

    async fn revoke_credential(
        &self,
        request: Request<v1::RevokeCredentialRequest>,
    ) -> Result<Response<()>, Status> {
        let (person, credential) = convert::credential_id(&request.get_ref().name).map_err(status)?;
        answer(self.gallery.revoke_credential(person, credential, UtcInstant::now()).await)
    }

    type WatchChangesStream = Pin<Box<dyn Stream<Item = Result<v1::GalleryChange, Status>> + Send>>;

    async fn watch_changes(
        &self,
        request: Request<v1::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let changes = self.gallery.watch_changes(request.get_ref().revision).await.map_err(status)?;
        let changes = changes.map(|change| change.map(v1::GalleryChange::from).map_err(status));
        Ok(Response::new(Box::pin(changes)))
    }

    async fn list_proposals(
        &self,
        _: Request<v1::ListProposalsRequest>,
    ) -> Result<Response<v1::ListProposalsResponse>, Status> {
        Err(hub_alone("listing proposals"))
    }

    async fn accept_proposal(
        &self,
        _: Request<v1::AcceptProposalRequest>,
    ) -> Result<Response<v1::Person>, Status> {
        Err(hub_alone("accepting a proposal"))
    }

    async fn refuse_proposal(
        &self,
        _: Request<v1::RefuseProposalRequest>,
    ) -> Result<Response<()>, Status> {
        Err(hub_alone("refusing a proposal"))
    }
}
