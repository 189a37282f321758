//! Galleries for measurements and tests: people with templates that no picture was read for.
//!
//! With the feature `testing`, from a dev-dependency.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has nothing to print")]

use rollcall_core::{ConsentId, PersonId, TemplateId, UtcInstant};
use rollcall_vision::{Embedding, Models, Quality};

use crate::recogniser::TEMPLATE_TABLE;
use crate::seal::{Place, Seal};
use crate::store::templates::NewTemplate;
use crate::store::{changes, consents, people, templates};
use crate::{Consent, Decision, Gallery, GiverKind, PersonFields, Said};

/// Adds people who have consented, with these templates of the embedding network of `models`, in one transaction, past
/// verdicts.
pub async fn fill(gallery: &Gallery, models: &Models, everybody: Vec<Vec<Embedding>>, now: UtcInstant) {
    let mut model_hash = [0; 32];
    hex::decode_to_slice(&models.embedding().unwrap().sha256, &mut model_hash).unwrap();
    let seal = Seal::new(gallery.shared.keys.templates.bytes());
    let quality = Quality {
        inter_ocular_px: 60.0,
        sharpness: 12.0,
        yaw_deg: 0.0,
        roll_deg: 0.0,
        nose_height: 0.5,
        brightness: 120.0,
        contrast: 50.0,
    };
    let mut tx = gallery.begin().await.unwrap();
    for (number, embeddings) in everybody.into_iter().enumerate() {
        let person = PersonId::generate();
        let display_name = format!("Person {number}");
        let fields = PersonFields { display_name, external_id: None, groups: Vec::new(), leave_day: None };
        people::insert(&mut tx, person, &fields, now).await.unwrap();
        let given = Decision::Given { start: None, end: None };
        let said =
            Said { decision: given, by: GiverKind::Person, giver_label: String::new(), form: String::new() };
        let (id, recorded_by) = (ConsentId::generate(), String::new());
        let consent = Consent { id, said, recorded: now, recorded_by };
        consents::insert(&mut tx, person, 1, &consent).await.unwrap();
        for embedding in embeddings {
            let template = TemplateId::generate();
            let row = template.as_bytes();
            let place = Place { table: TEMPLATE_TABLE, person, row, model: &model_hash };
            let sealed = seal.seal_embedding(place, &embedding).unwrap();
            let (model_hash, model) = (&model_hash[..], "measured");
            let new =
                NewTemplate { template, person, model_hash, model, sealed: &sealed, quality, created: now };
            templates::insert(&mut tx, &new).await.unwrap();
        }
        changes::record(&mut tx, person, false, now).await.unwrap();
    }
    gallery.commit(tx).await.unwrap();
}
