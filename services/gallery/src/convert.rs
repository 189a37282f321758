//! Between the messages of the contract and the types of the gallery. What comes in is checked here, once.

pub(crate) mod faces;

use prost_types::{FieldMask, Timestamp};
use rollcall_core::{ConsentId, CredentialId, ErasureId, GroupId, PersonId, SiteDay, UtcInstant, page};
use rollcall_proto::v1;

use crate::gallery::{NameKey, PeopleFilter};
use crate::{
    Change, Consent, ConsentState, Credential, CredentialKind, Decision, Erasure, GalleryError, GiverKind,
    Group, Imported, Person, PersonChange, PersonFields, Proposal, Said, group, person, text,
};
use rollcall_core::limits;

/// The person that a field names.
pub(crate) fn person_id(field: &'static str, name: &str) -> Result<PersonId, GalleryError> {
    PersonId::from_name(name).map_err(|source| GalleryError::BadName { field, source })
}

/// The group that a field names.
pub(crate) fn group_id(field: &'static str, name: &str) -> Result<GroupId, GalleryError> {
    GroupId::from_name(name).map_err(|source| GalleryError::BadName { field, source })
}

/// The erasure that a field names.
pub(crate) fn erasure_id(name: &str) -> Result<ErasureId, GalleryError> {
    ErasureId::from_name(name).map_err(|source| GalleryError::BadName { field: "name", source })
}

/// The person of `proposals/ID`.
pub(crate) fn proposal_id(name: &str) -> Result<PersonId, GalleryError> {
    let id = name.strip_prefix("proposals/").unwrap_or_default();
    id.parse()
        .map_err(|_| GalleryError::invalid("name", "is not the name of a proposal; write it as proposals/ID"))
}

/// Where the list of proposals goes on.
pub(crate) fn proposal_key(token: &str) -> Result<Option<PersonId>, GalleryError> {
    let Some(key) = page::key("proposals", token).map_err(GalleryError::Page)? else { return Ok(None) };
    PersonId::try_from(key.as_slice()).map(Some).map_err(|_| bad_token())
}

/// The token for the page after this proposal.
pub(crate) fn proposal_token(last: PersonId) -> String {
    page::token("proposals", last.as_bytes())
}

impl From<Proposal> for v1::Proposal {
    fn from(proposal: Proposal) -> Self {
        Self {
            name: format!("proposals/{}", proposal.person),
            terminal: proposal.terminal.name(),
            display_name: proposal.display_name,
            external_id: proposal.external_id.unwrap_or_default(),
            group_names: proposal.group_names,
            templates: i32::try_from(proposal.template_count).unwrap_or(i32::MAX),
            candidates: proposal.candidates.into_iter().map(PersonId::name).collect(),
        }
    }
}

/// The person and credential of `people/ID/credentials/ID`.
pub(crate) fn credential_id(name: &str) -> Result<(PersonId, CredentialId), GalleryError> {
    let (person, credential) = name.match_indices('/').nth(1).map_or((name, ""), |(at, _)| name.split_at(at));
    let credential = CredentialId::from_name(credential.strip_prefix('/').unwrap_or(credential));
    Ok((
        person_id("name", person)?,
        credential.map_err(|source| GalleryError::BadName { field: "name", source })?,
    ))
}

/// A day of the calendar; absent stays absent.
pub(crate) fn day(field: &'static str, date: Option<v1::Date>) -> Result<Option<SiteDay>, GalleryError> {
    let Some(date) = date else { return Ok(None) };
    let number = |number: i32| i8::try_from(number).ok();
    let year = i16::try_from(date.year).ok().filter(|year| *year > 0);
    let day = year
        .zip(number(date.month))
        .zip(number(date.day))
        .and_then(|((year, month), day)| SiteDay::new(year, month, day).ok());
    day.map(Some).ok_or_else(|| GalleryError::invalid(field, "is no day of the calendar"))
}

pub(crate) fn date(day: SiteDay) -> v1::Date {
    v1::Date { year: i32::from(day.year()), month: i32::from(day.month()), day: i32::from(day.day()) }
}

/// An instant as it is sent.
pub(crate) fn timestamp(instant: UtcInstant) -> Timestamp {
    let micros = instant.micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

fn count(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn needed<T>(field: &'static str, value: Option<T>) -> Result<T, GalleryError> {
    value.ok_or_else(|| GalleryError::invalid(field, "is missing"))
}

fn group_ids(field: &'static str, names: &[String]) -> Result<Vec<GroupId>, GalleryError> {
    if names.len() > limits::PERSON_GROUPS {
        return Err(GalleryError::Limit { what: "groups of one person", limit: limits::PERSON_GROUPS });
    }
    let groups = names.iter().map(|name| group_id(field, name)).collect::<Result<_, _>>()?;
    person::groups(groups)
}

/// The fields of a new person.
pub(crate) fn person_fields(person: Option<v1::Person>) -> Result<PersonFields, GalleryError> {
    let person = needed("person", person)?;
    Ok(PersonFields {
        display_name: person::display_name(&person.display_name)?,
        external_id: person::external_id(&person.external_id)?,
        groups: group_ids("person.groups", &person.groups)?,
        leave_day: day("person.leave_date", person.leave_date)?,
    })
}

/// Whom an update is about, what it changes, and the etag that was read.
pub(crate) fn person_change(
    request: v1::UpdatePersonRequest,
) -> Result<(PersonId, PersonChange, String), GalleryError> {
    const ALLOWED: &str = "display_name, external_id, groups and leave_date";
    let person = needed("person", request.person)?;
    let id = person_id("person.name", &person.name)?;
    let filled = || {
        let filled = [
            ("display_name", !person.display_name.is_empty()),
            ("external_id", !person.external_id.is_empty()),
            ("groups", !person.groups.is_empty()),
            ("leave_date", person.leave_date.is_some()),
        ];
        filled.into_iter().filter(|(_, filled)| *filled).map(|(path, _)| path.to_owned()).collect()
    };
    let mut change = PersonChange::default();
    for path in
        mask(request.update_mask, filled, &["display_name", "external_id", "groups", "leave_date"], ALLOWED)?
    {
        match path.as_str() {
            "display_name" => change.display_name = Some(person::display_name(&person.display_name)?),
            "external_id" => change.external_id = Some(person::external_id(&person.external_id)?),
            "groups" => change.groups = Some(group_ids("person.groups", &person.groups)?),
            _ => change.leave_day = Some(day("person.leave_date", person.leave_date)?),
        }
    }
    Ok((id, change, person.etag))
}

/// The paths of a mask: what it names, all for `*`, and what is filled in when it is empty (AIP-134).
fn mask(
    mask: Option<FieldMask>,
    filled: impl FnOnce() -> Vec<String>,
    known: &[&str],
    allowed: &'static str,
) -> Result<Vec<String>, GalleryError> {
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() {
        return Ok(filled());
    }
    if paths == ["*"] {
        return Ok(known.iter().map(|path| (*path).to_owned()).collect());
    }
    match paths.iter().find(|path| !known.contains(&path.as_str())) {
        Some(path) => Err(GalleryError::Mask { path: path.chars().take(80).collect(), allowed }),
        None => Ok(paths),
    }
}

/// Whom a list of people has, and the words that its page tokens are bound to.
pub(crate) fn people_filter(request: &v1::ListPeopleRequest) -> Result<(PeopleFilter, String), GalleryError> {
    let group = match request.group.as_str() {
        "" => None,
        name => Some(group_id("group", name)?),
    };
    let query = text::optional_line("query", &request.query, limits::PERSON_NAME_CHARS)?;
    let external_id = text::optional_line("external_id", &request.external_id, limits::EXTERNAL_ID_CHARS)?;
    let bound = format!("people {:?} {query:?} {external_id:?}", request.group);
    Ok((PeopleFilter { group, query, external_id }, bound))
}

/// Where a list that is sorted by names goes on.
pub(crate) fn name_key(bound: &str, token: &str) -> Result<Option<NameKey>, GalleryError> {
    let Some(key) = page::key(bound, token).map_err(GalleryError::Page)? else { return Ok(None) };
    let read = key.split_at_checked(key.len().saturating_sub(16)).and_then(|(name, id)| {
        let name = String::from_utf8(name.to_vec()).ok().filter(|name| !name.contains('\0'))?;
        (id.len() == 16).then(|| (name, id.to_vec()))
    });
    read.map(Some).ok_or_else(bad_token)
}

/// The token for the page after the thing with this name and id.
pub(crate) fn name_token(bound: &str, name: &str, id: &[u8]) -> String {
    page::token(bound, &[text::sort_key(name).as_bytes(), id].concat())
}

/// Where a list that is sorted by a number goes on.
pub(crate) fn number_key(bound: &str, token: &str) -> Result<Option<i64>, GalleryError> {
    let Some(key) = page::key(bound, token).map_err(GalleryError::Page)? else { return Ok(None) };
    key.try_into().map(|key| Some(i64::from_be_bytes(key))).map_err(|_| bad_token())
}

/// The token for the page after the thing with this number.
pub(crate) fn number_token(bound: &str, number: i64) -> String {
    page::token(bound, &number.to_be_bytes())
}

/// Where the list of erasures goes on.
pub(crate) fn erasure_key(bound: &str, token: &str) -> Result<Option<(i64, ErasureId)>, GalleryError> {
    let Some(key) = page::key(bound, token).map_err(GalleryError::Page)? else { return Ok(None) };
    let read = key.split_at_checked(8).and_then(|(erased, id)| {
        Some((i64::from_be_bytes(erased.try_into().ok()?), ErasureId::try_from(id).ok()?))
    });
    read.map(Some).ok_or_else(bad_token)
}

/// The token for the page after this erasure.
pub(crate) fn erasure_token(bound: &str, erasure: &Erasure) -> String {
    page::token(bound, &[&erasure.erased.micros().to_be_bytes()[..], erasure.id.as_bytes()].concat())
}

fn bad_token() -> GalleryError {
    let message = "page_token is not one of this list with these filters; begin again without one";
    GalleryError::Page(rollcall_core::Fault::new(rollcall_core::Reason::PageTokenInvalid, message))
}

/// The name of a new group.
pub(crate) fn group_name(group: Option<v1::Group>) -> Result<String, GalleryError> {
    group::display_name(&needed("group", group)?.display_name)
}

/// Which group an update is about, its new name, and the etag that was read.
pub(crate) fn group_change(
    request: v1::UpdateGroupRequest,
) -> Result<(GroupId, Option<String>, String), GalleryError> {
    let group = needed("group", request.group)?;
    let id = group_id("group.name", &group.name)?;
    let filled = || if group.display_name.is_empty() { Vec::new() } else { vec!["display_name".to_owned()] };
    let paths = mask(request.update_mask, filled, &["display_name"], "display_name")?;
    let name = (!paths.is_empty()).then(|| group::display_name(&group.display_name)).transpose()?;
    Ok((id, name, group.etag))
}

/// What a new line of a ledger says.
pub(crate) fn said(consent: Option<v1::Consent>) -> Result<Said, GalleryError> {
    use v1::consent::{Decision as Word, Giver};
    let consent = needed("consent", consent)?;
    let start = day("consent.start_date", consent.start_date)?;
    let end = day("consent.end_date", consent.end_date)?;
    let decision = match consent.decision() {
        Word::Given => Decision::Given { start, end },
        Word::Refused | Word::Withdrawn if start.or(end).is_some() => {
            let problem = "is for a consent that is given; a refusal or withdrawal holds at once";
            return Err(GalleryError::invalid("consent.start_date or end_date", problem));
        }
        Word::Refused => Decision::Refused,
        Word::Withdrawn => Decision::Withdrawn,
        Word::Unspecified => {
            return Err(GalleryError::invalid("consent.decision", "is not given, refused or withdrawn"));
        }
    };
    let by = match consent.giver() {
        Giver::Person => GiverKind::Person,
        Giver::Guardian => GiverKind::Guardian,
        Giver::Unspecified => {
            return Err(GalleryError::invalid("consent.giver", "is not person or guardian"));
        }
    };
    Said { decision, by, giver_label: consent.giver_label, form: consent.form }.checked()
}

/// What kind of credential is asked for.
pub(crate) fn credential_kind(kind: v1::CredentialKind) -> Result<CredentialKind, GalleryError> {
    match kind {
        v1::CredentialKind::Pin => Ok(CredentialKind::Pin),
        v1::CredentialKind::Card => Ok(CredentialKind::Card),
        v1::CredentialKind::Badge => Ok(CredentialKind::Badge),
        v1::CredentialKind::Unspecified => Err(GalleryError::invalid("kind", "is not PIN, card or badge")),
    }
}

/// What a ledger amounts to, as it is sent.
pub(crate) fn consent_state(state: ConsentState) -> v1::ConsentState {
    match state {
        ConsentState::None => v1::ConsentState::None,
        ConsentState::Valid => v1::ConsentState::Valid,
        ConsentState::NotYet => v1::ConsentState::NotYet,
        ConsentState::Expired => v1::ConsentState::Expired,
        ConsentState::Withdrawn => v1::ConsentState::Withdrawn,
        ConsentState::Refused => v1::ConsentState::Refused,
    }
}

impl From<Person> for v1::Person {
    fn from(person: Person) -> Self {
        Self {
            name: person.id.name(),
            display_name: person.fields.display_name,
            external_id: person.fields.external_id.unwrap_or_default(),
            groups: person.fields.groups.into_iter().map(GroupId::name).collect(),
            leave_date: person.fields.leave_day.map(date),
            consent_state: consent_state(person.consent).into(),
            template_count: count(person.template_count),
            create_time: Some(timestamp(person.created)),
            etag: person.etag,
        }
    }
}

impl From<Group> for v1::Group {
    fn from(group: Group) -> Self {
        Self {
            name: group.id.name(),
            display_name: group.display_name,
            person_count: count(group.person_count),
            etag: group.etag,
        }
    }
}

/// A line of a person's ledger, as it is sent.
pub(crate) fn consent(person: PersonId, consent: Consent) -> v1::Consent {
    use v1::consent::{Decision as Word, Giver};
    let (word, start, end) = match consent.said.decision {
        Decision::Given { start, end } => (Word::Given, start, end),
        Decision::Refused => (Word::Refused, None, None),
        Decision::Withdrawn => (Word::Withdrawn, None, None),
    };
    let giver = match consent.said.by {
        GiverKind::Person => Giver::Person,
        GiverKind::Guardian => Giver::Guardian,
    };
    v1::Consent {
        name: format!("{}/{}/{}", person.name(), ConsentId::COLLECTION, consent.id),
        decision: word.into(),
        giver: giver.into(),
        giver_label: consent.said.giver_label,
        form: consent.said.form,
        start_date: start.map(date),
        end_date: end.map(date),
        record_time: Some(timestamp(consent.recorded)),
        recorded_by: consent.recorded_by,
    }
}

impl From<Credential> for v1::Credential {
    fn from(credential: Credential) -> Self {
        let kind = match credential.kind {
            CredentialKind::Pin => v1::CredentialKind::Pin,
            CredentialKind::Card => v1::CredentialKind::Card,
            CredentialKind::Badge => v1::CredentialKind::Badge,
        };
        Self {
            name: format!("{}/{}", credential.person.name(), credential.id.name()),
            kind: kind.into(),
            create_time: Some(timestamp(credential.created)),
            revoke_time: credential.revoked.map(timestamp),
        }
    }
}

impl From<Erasure> for v1::Erasure {
    fn from(erasure: Erasure) -> Self {
        let complete = erasure.devices.iter().all(|device| device.confirmed.is_some());
        let device = |device: crate::DeviceErasure| v1::DeviceErasure {
            device: device.device,
            confirm_time: device.confirmed.map(timestamp),
        };
        Self {
            name: erasure.id.name(),
            person: erasure.person.name(),
            erase_time: Some(timestamp(erasure.erased)),
            devices: erasure.devices.into_iter().map(device).collect(),
            complete,
        }
    }
}

impl From<Change> for v1::GalleryChange {
    fn from(change: Change) -> Self {
        Self {
            revision: change.revision,
            person: change.person.name(),
            erased: change.erased,
            change_time: Some(timestamp(change.changed)),
        }
    }
}

impl From<Imported> for v1::ImportPeopleResponse {
    fn from(imported: Imported) -> Self {
        let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        Self {
            created: count(imported.created),
            updated: count(imported.updated),
            unchanged: count(imported.unchanged),
            groups_created: count(imported.groups_created),
        }
    }
}
