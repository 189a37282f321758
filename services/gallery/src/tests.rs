//! The gallery on both engines, called as a script calls it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod consents;
mod credentials;
mod erasures;
mod faces;
mod groups;
mod histories;
mod imports;
mod ledger;
mod people;
mod proposals;
mod replication;
mod rows;

use std::path::Path;

use rollcall_core::{
    AccountId, Caller, CallerId, PersonId, Role, SiteZone, TemplateId, TerminalId, UtcInstant,
};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_service_server::GalleryService as _;
use rollcall_store::{Db, Migration, Writes, requests};
use rollcall_vision::Quality;
use tempfile::TempDir;
use tonic::{Request, Status};

use crate::keys::Key;
use crate::store::templates;
use crate::{Gallery, GalleryError, GalleryOptions, GalleryServer};

/// The tables of the gallery and of its requests.
fn migrations() -> Vec<&'static [Migration]> {
    vec![requests::MIGRATIONS, Gallery::migrations()]
}

/// Bytes that stand for a sealed template, and are looked for where none may be.
const SEALED: &[u8] = b"a sealed template that must not be left";

/// A gallery, the server of it, and the folder of its ledger.
struct Site {
    gallery: Gallery,
    server: GalleryServer,
    folder: TempDir,
}

impl Site {
    async fn new(db: &Db) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gallery = open(db, folder.path(), UtcInstant::now()).await.unwrap();
        Self { server: GalleryServer::new(gallery.clone()), gallery, folder }
    }

    async fn add(&self, display_name: &str) -> v1::Person {
        self.create(v1::Person { display_name: display_name.into(), ..Default::default() }).await.unwrap()
    }

    async fn create(&self, person: v1::Person) -> Result<v1::Person, Status> {
        let request = v1::CreatePersonRequest { person: Some(person), request_id: String::new() };
        Ok(self.server.create_person(Request::new(request)).await?.into_inner())
    }

    async fn get(&self, name: &str) -> Result<v1::Person, Status> {
        let request = v1::GetPersonRequest { name: name.into() };
        Ok(self.server.get_person(Request::new(request)).await?.into_inner())
    }

    async fn say(&self, person: &str, consent: v1::Consent) -> Result<v1::Consent, Status> {
        let request =
            v1::RecordConsentRequest { person: person.into(), consent: Some(consent), ..Default::default() };
        Ok(self.server.record_consent(called(request)).await?.into_inner())
    }

    /// Adds a template, as an enrolment does, if consent is in force.
    async fn enrol(&self, person: &str, now: UtcInstant) -> Result<(), GalleryError> {
        let person = PersonId::from_name(person).unwrap();
        let mut tx = self.gallery.begin().await?;
        let zone = self.gallery.zone();
        let standing = crate::store::consents::face_until(&mut tx, person, &zone, now).await?;
        if !standing.allows_face() {
            return Err(GalleryError::ConsentMissing { person, state: standing.state.word() });
        }
        let template = templates::NewTemplate {
            template: TemplateId::generate(),
            person,
            model_hash: &[1; 32],
            model: "test",
            sealed: SEALED,
            quality: Quality {
                inter_ocular_px: 1.0,
                sharpness: 1.0,
                yaw_deg: 1.0,
                roll_deg: 1.0,
                nose_height: 1.0,
                brightness: 1.0,
                contrast: 1.0,
            },
            created: now,
        };
        templates::insert(&mut tx, &template).await?;
        crate::store::changes::record(&mut tx, person, false, now).await?;
        self.gallery.commit(tx).await
    }

    async fn erase(&self, person: &str) -> Result<v1::Erasure, Status> {
        let request = v1::ErasePersonRequest { name: person.into() };
        Ok(self.server.erase_person(Request::new(request)).await?.into_inner())
    }
}

/// Opens the gallery of a database as the same site each time.
async fn open(db: &Db, folder: &Path, now: UtcInstant) -> Result<Gallery, GalleryError> {
    open_as(db, folder, Some(TerminalId::from_bytes([9; 16])), [7; 32], now).await
}

/// Opens the gallery of a database as a terminal's or a hub's, with this secret.
async fn open_as(
    db: &Db,
    folder: &Path,
    terminal: Option<TerminalId>,
    key: [u8; 32],
    now: UtcInstant,
) -> Result<Gallery, GalleryError> {
    let options = GalleryOptions {
        db: db.clone(),
        writes: Writes::new(),
        key: Key::new(key),
        zone: SiteZone::named("Asia/Ho_Chi_Minh").unwrap(),
        erasures: folder.join("erasures.ledger"),
        terminal,
    };
    Gallery::open(options, now).await
}

/// A request as it comes out of the server's check of who calls.
fn called<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    let id = CallerId::Account(AccountId::from_bytes([5; 16]));
    request.extensions_mut().insert(Caller { id, role: Role::Office });
    request
}

/// The reason in a status.
fn reason(status: &Status) -> String {
    rollcall_proto::reason(status).unwrap_or_else(|| panic!("{status:?}"))
}

/// A yes of the person, for these days.
fn yes(start_date: Option<v1::Date>, end_date: Option<v1::Date>) -> v1::Consent {
    v1::Consent {
        decision: v1::consent::Decision::Given.into(),
        giver: v1::consent::Giver::Person.into(),
        form: "Face consent 2026, version 2".into(),
        start_date,
        end_date,
        ..Default::default()
    }
}

/// What a guardian says.
fn guardian(label: &str, decision: v1::consent::Decision) -> v1::Consent {
    v1::Consent {
        decision: decision.into(),
        giver: v1::consent::Giver::Guardian.into(),
        giver_label: label.into(),
        ..Default::default()
    }
}
