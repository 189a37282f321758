//! The people of a batch in the gallery: found, or made, with their groups, their consent and the verdicts on record.

use std::collections::HashMap;

use rollcall_gallery::bulk::{BatchPerson, PersonKey};
use rollcall_proto::v1;
use tonic::{Code, Status};

use super::{Args, PAGE_SIZE};
use crate::client::{Client, patiently, refused};

/// Somebody whose pictures can be offered.
pub(super) struct Offered {
    /// `people/ID`; empty for somebody whom a dry run did not make.
    pub(super) name: String,
    /// Verdicts on record by the hash of the picture.
    pub(super) verdicts: HashMap<String, v1::Enrolment>,
}

/// Finds and makes people.
pub(super) struct People<'a> {
    client: &'a Client,
    args: &'a Args,
    /// Groups by display name.
    groups: HashMap<String, String>,
}

impl<'a> People<'a> {
    pub(super) async fn new(client: &'a Client, args: &'a Args) -> anyhow::Result<Self> {
        let mut people = Self { client, args, groups: HashMap::new() };
        people.read_groups().await.map_err(refused)?;
        Ok(people)
    }

    /// The person, ready to be enrolled.
    pub(super) async fn offered(&mut self, planned: &BatchPerson) -> Result<Offered, Status> {
        let found = self.find(&planned.key).await?;
        let is_new = found.is_none();
        if is_new && self.args.dry_run {
            return Ok(Offered { name: String::new(), verdicts: HashMap::new() });
        }
        let groups = match self.args.dry_run {
            true => Vec::new(),
            false => self.groups_named(planned.groups.iter().chain(&self.args.groups)).await?,
        };
        let person = match found {
            Some(person) => self.with_groups(person, groups).await?,
            None => self.create(planned, groups).await?,
        };
        self.record_consent(&person).await?;
        let verdicts = if is_new { HashMap::new() } else { self.verdicts(&person.name).await? };
        Ok(Offered { name: person.name, verdicts })
    }

    pub(super) async fn find(&self, key: &PersonKey) -> Result<Option<v1::Person>, Status> {
        match key {
            PersonKey::ExternalId(id) => self.by_external_id(id).await,
            PersonKey::Name(name) => self.by_name(name).await,
            PersonKey::ExternalIdOrName(text) => match self.by_external_id(text).await? {
                Some(person) => Ok(Some(person)),
                None => self.by_name(text).await,
            },
        }
    }

    async fn by_external_id(&self, id: &str) -> Result<Option<v1::Person>, Status> {
        let request = v1::ListPeopleRequest { external_id: id.to_owned(), ..Default::default() };
        let found = patiently(async || self.client.gallery().list_people(request.clone()).await).await?;
        Ok(found.into_inner().people.into_iter().next())
    }

    /// The only person with this name.
    async fn by_name(&self, name: &str) -> Result<Option<v1::Person>, Status> {
        let mut page_token = String::new();
        let mut found: Option<v1::Person> = None;
        loop {
            let request = v1::ListPeopleRequest {
                query: name.to_owned(),
                page_size: PAGE_SIZE,
                page_token,
                ..Default::default()
            };
            let page = patiently(async || self.client.gallery().list_people(request.clone()).await).await?;
            let page = page.into_inner();
            for person in page.people.into_iter().filter(|person| person.display_name == name) {
                if found.replace(person).is_some() {
                    return Err(rollcall_proto::status(
                        Code::AlreadyExists as i32,
                        "several people have this name; tell them apart by external id in a CSV",
                        "ALREADY_EXISTS",
                        [],
                    ));
                }
            }
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = page.next_page_token;
        }
    }

    async fn create(&self, planned: &BatchPerson, groups: Vec<String>) -> Result<v1::Person, Status> {
        let (key, external_id) = match &planned.key {
            PersonKey::ExternalId(id) => (id, id.as_str()),
            PersonKey::Name(name) | PersonKey::ExternalIdOrName(name) => (name, ""),
        };
        let person = v1::Person {
            display_name: planned.display_name.as_ref().unwrap_or(key).clone(),
            external_id: external_id.to_owned(),
            groups,
            ..Default::default()
        };
        let request_id = uuid::Uuid::now_v7().to_string();
        let request = v1::CreatePersonRequest { person: Some(person), request_id };
        let made = patiently(async || self.client.gallery().create_person(request.clone()).await).await?;
        Ok(made.into_inner())
    }

    /// The person, in these groups too.
    async fn with_groups(&self, person: v1::Person, groups: Vec<String>) -> Result<v1::Person, Status> {
        let missing: Vec<String> =
            groups.into_iter().filter(|group| !person.groups.contains(group)).collect();
        if missing.is_empty() {
            return Ok(person);
        }
        let mut wanted = person;
        wanted.groups.extend(missing);
        let update_mask = Some(prost_types::FieldMask { paths: vec!["groups".to_owned()] });
        let request = v1::UpdatePersonRequest { person: Some(wanted), update_mask };
        let updated = patiently(async || self.client.gallery().update_person(request.clone()).await).await?;
        Ok(updated.into_inner())
    }

    /// Records consent where the operator states it and nobody has said anything.
    async fn record_consent(&self, person: &v1::Person) -> Result<(), Status> {
        let Some(form) = &self.args.consent_form else { return Ok(()) };
        if self.args.dry_run || person.consent_state() != v1::ConsentState::None {
            return Ok(());
        }
        let consent = v1::Consent {
            decision: v1::consent::Decision::Given.into(),
            giver: v1::consent::Giver::from(self.args.consent_by).into(),
            form: form.clone(),
            ..Default::default()
        };
        let request = v1::RecordConsentRequest {
            person: person.name.clone(),
            consent: Some(consent),
            request_id: uuid::Uuid::now_v7().to_string(),
        };
        patiently(async || self.client.gallery().record_consent(request.clone()).await).await?;
        Ok(())
    }

    /// The verdicts on record, by picture.
    async fn verdicts(&self, person: &str) -> Result<HashMap<String, v1::Enrolment>, Status> {
        let mut verdicts = HashMap::new();
        let mut page_token = String::new();
        loop {
            let request =
                v1::ListEnrolmentsRequest { person: person.to_owned(), page_size: PAGE_SIZE, page_token };
            let page =
                patiently(async || self.client.gallery().list_enrolments(request.clone()).await).await?;
            let page = page.into_inner();
            verdicts.extend(page.enrolments.into_iter().map(|one| (one.picture_sha256.clone(), one)));
            if page.next_page_token.is_empty() {
                return Ok(verdicts);
            }
            page_token = page.next_page_token;
        }
    }

    /// The groups of these display names, made where they are not there.
    async fn groups_named(&mut self, names: impl Iterator<Item = &String>) -> Result<Vec<String>, Status> {
        let mut groups = Vec::new();
        for name in names {
            if !self.groups.contains_key(name) {
                let group = v1::Group { display_name: name.clone(), ..Default::default() };
                let request_id = uuid::Uuid::now_v7().to_string();
                let request = v1::CreateGroupRequest { group: Some(group), request_id };
                let made =
                    patiently(async || self.client.gallery().create_group(request.clone()).await).await?;
                self.groups.insert(name.clone(), made.into_inner().name);
            }
            groups.extend(self.groups.get(name).cloned());
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    async fn read_groups(&mut self) -> Result<(), Status> {
        let mut page_token = String::new();
        loop {
            let request = v1::ListGroupsRequest { page_size: PAGE_SIZE, page_token };
            let page = patiently(async || self.client.gallery().list_groups(request.clone()).await).await?;
            let page = page.into_inner();
            self.groups.extend(page.groups.into_iter().map(|group| (group.display_name, group.name)));
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            page_token = page.next_page_token;
        }
    }
}
