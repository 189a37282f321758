//! GalleryService: convert, call, convert. No rule lives here.

use std::pin::Pin;

use rollcall_core::Caller;
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_service_server::GalleryService;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::{Gallery, GalleryError};

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
}

/// An error as it travels.
fn status(error: &GalleryError) -> Status {
    let fault = error.fault();
    rollcall_proto::status(fault.reason.code().grpc(), fault.message, fault.reason.as_str(), fault.metadata)
}

/// Who calls, as ledgers keep it.
fn caller<T>(request: &Request<T>) -> Result<String, Status> {
    let caller = request.extensions().get::<Caller>();
    caller.map(Caller::name).ok_or_else(|| Status::internal("a call came through without a caller"))
}

fn not_built() -> Status {
    Status::internal("not built yet")
}

#[tonic::async_trait]
impl GalleryService for GalleryServer {
    async fn create_person(
        &self,
        _request: Request<v1::CreatePersonRequest>,
    ) -> Result<Response<v1::Person>, Status> {
        Err(not_built())
    }

    async fn get_person(
        &self,
        _request: Request<v1::GetPersonRequest>,
    ) -> Result<Response<v1::Person>, Status> {
        Err(not_built())
    }

    async fn list_people(
        &self,
        _request: Request<v1::ListPeopleRequest>,
    ) -> Result<Response<v1::ListPeopleResponse>, Status> {
        Err(not_built())
    }

    async fn update_person(
        &self,
        _request: Request<v1::UpdatePersonRequest>,
    ) -> Result<Response<v1::Person>, Status> {
        Err(not_built())
    }

    async fn import_people(
        &self,
        _request: Request<Streaming<v1::ImportPeopleRequest>>,
    ) -> Result<Response<v1::ImportPeopleResponse>, Status> {
        Err(not_built())
    }

    async fn erase_person(
        &self,
        _request: Request<v1::ErasePersonRequest>,
    ) -> Result<Response<v1::Erasure>, Status> {
        Err(not_built())
    }

    async fn get_erasure(
        &self,
        _request: Request<v1::GetErasureRequest>,
    ) -> Result<Response<v1::Erasure>, Status> {
        Err(not_built())
    }

    async fn list_erasures(
        &self,
        _request: Request<v1::ListErasuresRequest>,
    ) -> Result<Response<v1::ListErasuresResponse>, Status> {
        Err(not_built())
    }

    async fn create_group(
        &self,
        _request: Request<v1::CreateGroupRequest>,
    ) -> Result<Response<v1::Group>, Status> {
        Err(not_built())
    }

    async fn get_group(&self, _request: Request<v1::GetGroupRequest>) -> Result<Response<v1::Group>, Status> {
        Err(not_built())
    }

    async fn list_groups(
        &self,
        _request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        Err(not_built())
    }

    async fn update_group(
        &self,
        _request: Request<v1::UpdateGroupRequest>,
    ) -> Result<Response<v1::Group>, Status> {
        Err(not_built())
    }

    async fn delete_group(&self, _request: Request<v1::DeleteGroupRequest>) -> Result<Response<()>, Status> {
        Err(not_built())
    }

    async fn record_consent(
        &self,
        _request: Request<v1::RecordConsentRequest>,
    ) -> Result<Response<v1::Consent>, Status> {
        Err(not_built())
    }

    async fn list_consents(
        &self,
        _request: Request<v1::ListConsentsRequest>,
    ) -> Result<Response<v1::ListConsentsResponse>, Status> {
        Err(not_built())
    }

    async fn enrol_picture(
        &self,
        _request: Request<v1::EnrolPictureRequest>,
    ) -> Result<Response<v1::EnrolPictureResponse>, Status> {
        Err(not_built())
    }

    async fn list_templates(
        &self,
        _request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        Err(not_built())
    }

    async fn delete_template(
        &self,
        _request: Request<v1::DeleteTemplateRequest>,
    ) -> Result<Response<()>, Status> {
        Err(not_built())
    }

    async fn list_enrolments(
        &self,
        _request: Request<v1::ListEnrolmentsRequest>,
    ) -> Result<Response<v1::ListEnrolmentsResponse>, Status> {
        Err(not_built())
    }

    async fn identify(
        &self,
        _request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        Err(not_built())
    }

    async fn verify(
        &self,
        _request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        Err(not_built())
    }

    async fn list_look_alikes(
        &self,
        _request: Request<v1::ListLookAlikesRequest>,
    ) -> Result<Response<v1::ListLookAlikesResponse>, Status> {
        Err(not_built())
    }

    async fn report_mismatch(
        &self,
        _request: Request<v1::ReportMismatchRequest>,
    ) -> Result<Response<v1::Mismatch>, Status> {
        Err(not_built())
    }

    async fn list_mismatches(
        &self,
        _request: Request<v1::ListMismatchesRequest>,
    ) -> Result<Response<v1::ListMismatchesResponse>, Status> {
        Err(not_built())
    }

    async fn delete_mismatch(
        &self,
        _request: Request<v1::DeleteMismatchRequest>,
    ) -> Result<Response<()>, Status> {
        Err(not_built())
    }

    async fn get_calibration(
        &self,
        _request: Request<v1::GetCalibrationRequest>,
    ) -> Result<Response<v1::Calibration>, Status> {
        Err(not_built())
    }

    async fn create_credential(
        &self,
        _request: Request<v1::CreateCredentialRequest>,
    ) -> Result<Response<v1::CreateCredentialResponse>, Status> {
        Err(not_built())
    }

    async fn list_credentials(
        &self,
        _request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        Err(not_built())
    }

    async fn revoke_credential(
        &self,
        _request: Request<v1::RevokeCredentialRequest>,
    ) -> Result<Response<()>, Status> {
        Err(not_built())
    }

    type WatchChangesStream = Pin<Box<dyn Stream<Item = Result<v1::GalleryChange, Status>> + Send>>;

    async fn watch_changes(
        &self,
        _request: Request<v1::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        Err(not_built())
    }
}
