//! Credentials.

use rollcall_core::{CredentialId, PersonId, UtcInstant, limits};
use rollcall_store::Tx;

use super::{Gallery, Retry, retry};
use crate::GalleryError;
use crate::credential::{
    self, Credential, CredentialHolder, CredentialKind, Leaving, badge, badge_id, card, chosen_pin,
    pin_digits, random_pin, verifier,
};
use crate::keys::Key;
use crate::store::{changes, credentials, id, people};

/// Random PINs that are tried before giving up: with the digits that are chosen, one in a thousand is taken.
const PIN_ATTEMPTS: u32 = 100;

/// How a random PIN was made; with the key and the seed it is made again.
#[derive(Clone, Copy)]
struct PinRecipe {
    attempt: u32,
    digits: u32,
}

impl Gallery {
    /// Gives a person a credential; with the PIN's digits or the badge's text. `value`: what the reader sends of a card,
    /// the digits of a PIN, or nothing for a random one.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`], [`GalleryError::Erased`], a value that cannot be or is taken, too many.
    pub async fn create_credential(
        &self,
        person: PersonId,
        kind: CredentialKind,
        value: String,
        retry: Option<Retry>,
        now: UtcInstant,
    ) -> Result<(Credential, String), GalleryError> {
        let seed = match &retry {
            Some(retry) => retry.seed(),
            None => random_seed()?,
        };
        let gallery = self.clone();
        let write = async move {
            let key = &gallery.shared.keys.credentials;
            let mut tx = gallery.begin().await?;
            if let Some(known) = retry::recall(&mut tx, retry.as_ref()).await? {
                let (credential, recipe) = read_memory(&known)?;
                let found = credentials::get(&mut tx, credential).await?;
                let (credential, _) = found.ok_or(GalleryError::Erased(person))?;
                let secret = secret_again(key, &credential, &value, &seed, recipe)?;
                return Ok((credential, secret));
            }
            people::leave_day(&mut tx, person).await?;
            if credentials::of(&mut tx, person).await?.len() >= limits::PERSON_CREDENTIALS {
                let limit = limits::PERSON_CREDENTIALS;
                return Err(GalleryError::Limit { what: "credentials of one person", limit });
            }
            let credential =
                Credential { id: CredentialId::generate(), person, kind, created: now, revoked: None };
            let (verifier, secret, recipe) = make(&mut tx, key, &credential, &value, &seed).await?;
            credentials::insert(&mut tx, &credential, &verifier).await?;
            retry::remember(&mut tx, retry.as_ref(), &memory(credential.id, recipe), now).await?;
            changes::record(&mut tx, person, false, now).await?;
            gallery.commit(tx).await?;
            Ok((credential, secret))
        };
        self.shared.writes.run(write).await
    }

    /// The credentials of a person, oldest first, ended ones too.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`].
    pub async fn credentials(&self, person: PersonId) -> Result<Vec<Credential>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        if !people::exists(&mut tx, person).await? {
            return Err(GalleryError::NotFound { name: person.name() });
        }
        credentials::of(&mut tx, person).await
    }

    /// Ends a credential of a person. Ending it again does nothing.
    ///
    /// # Errors
    /// [`GalleryError::NotFound`].
    pub async fn revoke_credential(
        &self,
        person: PersonId,
        credential: CredentialId,
        now: UtcInstant,
    ) -> Result<(), GalleryError> {
        let gallery = self.clone();
        let write = async move {
            let mut tx = gallery.begin().await?;
            let found = credentials::get(&mut tx, credential).await?;
            if found.is_none_or(|(found, _)| found.person != person) {
                let name = format!("{}/{}", person.name(), credential.name());
                return Err(GalleryError::NotFound { name });
            }
            if credentials::revoke(&mut tx, credential, now).await? {
                changes::record(&mut tx, person, false, now).await?;
            }
            gallery.commit(tx).await
        };
        self.shared.writes.run(write).await
    }

    /// Whose credential this is, as it was typed, read or seen at the door; `None` for one that nobody has. A PIN or
    /// card that was ended is nobody's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn credential_holder(
        &self,
        kind: CredentialKind,
        presented: &str,
        now: UtcInstant,
    ) -> Result<Option<CredentialHolder>, GalleryError> {
        let mut tx = self.shared.db.read().await?;
        // The hub's key for its people, the own one for those of this device.
        let hubs = if self.is_hub() { None } else { self.hubs_credential_key(&mut tx).await? };
        let mut found = None;
        for key in hubs.iter().chain([&self.shared.keys.credentials]) {
            found = presented_as(&mut tx, key, kind, presented).await?;
            if found.is_some() {
                break;
            }
        }
        let today = self.zone().day(now);
        Ok(found.map(|(credential, leaving)| CredentialHolder {
            person: credential.person,
            credential: credential.id,
            state: credential::state(credential.revoked.is_some(), leaving, today, now),
        }))
    }
}

/// The credential that this is under a key, and when its holder is let in no more.
async fn presented_as(
    tx: &mut Tx,
    key: &Key,
    kind: CredentialKind,
    presented: &str,
) -> Result<Option<(Credential, Leaving)>, GalleryError> {
    let found = match kind {
        CredentialKind::Badge => match badge_id(key, presented) {
            Some(credential) => credentials::get(tx, credential).await?,
            None => None,
        },
        CredentialKind::Pin | CredentialKind::Card => {
            credentials::by_verifier(tx, kind, &verifier(key, kind, presented.as_bytes())).await?
        }
    };
    Ok(found.filter(|(credential, _)| credential.kind == kind))
}

/// What is stored of a new credential, what its holder is told, and how a random PIN was made.
async fn make(
    tx: &mut Tx,
    key: &Key,
    credential: &Credential,
    value: &str,
    seed: &[u8],
) -> Result<([u8; 32], String, Option<PinRecipe>), GalleryError> {
    let kind = credential.kind;
    let taken = |what| GalleryError::Exists { what, hint: "give another" };
    match kind {
        CredentialKind::Badge if !value.is_empty() => {
            Err(GalleryError::invalid("value", "is for cards and PINs; a badge's text is made here"))
        }
        CredentialKind::Badge => {
            Ok((verifier(key, kind, credential.id.as_bytes()), badge(key, credential.id), None))
        }
        CredentialKind::Card => {
            let verifier = verifier(key, kind, card(value)?.as_bytes());
            match credentials::by_verifier(tx, kind, &verifier).await? {
                Some(_) => Err(taken("this card")),
                None => Ok((verifier, String::new(), None)),
            }
        }
        CredentialKind::Pin if !value.is_empty() => {
            let verifier = verifier(key, kind, chosen_pin(value)?.as_bytes());
            match credentials::by_verifier(tx, kind, &verifier).await? {
                Some(_) => Err(taken("this PIN")),
                None => Ok((verifier, value.to_owned(), None)),
            }
        }
        CredentialKind::Pin => {
            let digits = pin_digits(u64::try_from(credentials::pins(tx).await?).unwrap_or(0) + 1);
            for attempt in 0..PIN_ATTEMPTS {
                let Some(pin) = random_pin(key, seed, attempt, digits) else { continue };
                let verifier = verifier(key, kind, pin.as_bytes());
                if credentials::by_verifier(tx, kind, &verifier).await?.is_none() {
                    return Ok((verifier, pin, Some(PinRecipe { attempt, digits })));
                }
            }
            Err(GalleryError::State("no free PIN was found; choose one".to_owned()))
        }
    }
}

/// What the holder was told when the credential was made.
fn secret_again(
    key: &Key,
    credential: &Credential,
    value: &str,
    seed: &[u8],
    recipe: Option<PinRecipe>,
) -> Result<String, GalleryError> {
    match (credential.kind, recipe) {
        (CredentialKind::Badge, _) => Ok(badge(key, credential.id)),
        (CredentialKind::Card, _) => Ok(String::new()),
        (CredentialKind::Pin, None) => Ok(value.to_owned()),
        (CredentialKind::Pin, Some(PinRecipe { attempt, digits })) => {
            random_pin(key, seed, attempt, digits).ok_or(GalleryError::Damaged("a request"))
        }
    }
}

/// What is remembered of the request: the credential, and how a random PIN was made.
fn memory(credential: CredentialId, recipe: Option<PinRecipe>) -> Vec<u8> {
    let mut memory = credential.as_bytes().to_vec();
    if let Some(PinRecipe { attempt, digits }) = recipe {
        memory.extend(attempt.to_be_bytes());
        memory.extend(digits.to_be_bytes());
    }
    memory
}

fn read_memory(memory: &[u8]) -> Result<(CredentialId, Option<PinRecipe>), GalleryError> {
    const WHAT: &str = "a request";
    let (credential, recipe) = memory.split_at_checked(16).ok_or(GalleryError::Damaged(WHAT))?;
    let recipe = match recipe {
        [] => None,
        [a, b, c, d, e, f, g, h] => Some(PinRecipe {
            attempt: u32::from_be_bytes([*a, *b, *c, *d]),
            digits: u32::from_be_bytes([*e, *f, *g, *h]).min(10),
        }),
        _ => return Err(GalleryError::Damaged(WHAT)),
    };
    Ok((id(credential, WHAT)?, recipe))
}

fn random_seed() -> Result<[u8; 16], GalleryError> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed)
        .map_err(|error| GalleryError::State(format!("the system gave no random numbers: {error}")))?;
    Ok(seed)
}
