//! Identifiers: 16-byte UUIDv7 values, one newtype for each kind of thing, and the resource names made of them.
//!
//! An id is ordered by its creation time, because a UUIDv7 begins with its millisecond. It says nothing about what it
//! names. On the wire a thing is called by its resource name, `people/0193a5c0-...` (Google AIP-122).

use std::fmt;
use std::str::FromStr;

/// A text that is no id, or no resource name of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{given}\" is not the name of one of the {collection}; write it as {collection}/ID, with the ID as 8-4-4-4-12 hex digits"
)]
pub struct BadName {
    /// The collection of the names that would have been right.
    pub collection: &'static str,
    /// What was given, cut to a length that can be shown.
    pub given: String,
}

/// Characters of a wrong name that an error repeats.
const SHOWN_CHARS: usize = 80;

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident in $collection:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The first part of the resource name.
            pub const COLLECTION: &str = $collection;

            /// A new id of this moment.
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7().into_bytes())
            }

            /// The id with these 16 bytes, as stored.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, as stored.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0
            }

            /// The 16 bytes, to bind to a statement.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The resource name: collection, slash, id.
            pub fn name(self) -> String {
                format!("{}/{self}", Self::COLLECTION)
            }

            /// The id in a resource name.
            ///
            /// # Errors
            /// When it is not the collection, a slash and a hyphenated UUID.
            pub fn from_name(name: &str) -> Result<Self, BadName> {
                name.strip_prefix(Self::COLLECTION)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .ok_or(())
                    .and_then(|id| id.parse().map_err(|_| ()))
                    .map_err(|()| BadName {
                        collection: Self::COLLECTION,
                        given: name.chars().take(SHOWN_CHARS).collect(),
                    })
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            /// Reads the hyphenated form alone; other spellings of a UUID would make two names of one thing.
            fn from_str(text: &str) -> Result<Self, BadName> {
                let id = uuid::Uuid::try_parse(text).ok().filter(|id| id.hyphenated().to_string() == text);
                id.map(|id| Self(id.into_bytes())).ok_or_else(|| BadName {
                    collection: Self::COLLECTION,
                    given: text.chars().take(SHOWN_CHARS).collect(),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )+};
}

ids! {
    /// A person, enrolled or not.
    PersonId in "people";
    /// A group of people: a class, a team.
    GroupId in "groups";
    /// One enrolled embedding of a person.
    TemplateId in "templates";
    /// One record of the consent ledger.
    ConsentId in "consents";
    /// A credential that is no face: PIN, card, QR badge.
    CredentialId in "credentials";
    /// A report that a recognition was wrong.
    MismatchId in "mismatches";
    /// The removal of a person, for ever.
    ErasureId in "erasures";
    /// A device at a door.
    TerminalId in "terminals";
    /// What a hub asks one terminal to do at once.
    CommandId in "commands";
    /// One unbroken life of a terminal's event log.
    LogId in "logs";
    /// One event, whichever logs carry it.
    EventId in "events";
    /// A recurring entry of the timetable.
    PeriodId in "periods";
    /// Somebody who signs in.
    AccountId in "accounts";
    /// A script's secret.
    TokenId in "tokens";
    /// One unbroken history of the gallery.
    GalleryId in "galleries";
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_resource_name_reads_back_as_its_id() {
        let id = PersonId::generate();
        assert_eq!(PersonId::from_name(&id.name()), Ok(id));
    }

    #[test]
    fn only_one_spelling_names_a_thing() {
        let id = PersonId::generate();
        for wrong in [
            id.to_string(),
            format!("people/{}", id.to_string().to_uppercase()),
            format!("people/{}", id.to_string().replace('-', "")),
            format!("people/{{{id}}}"),
            format!("groups/{id}"),
            format!("people/{id}/"),
            "people/".into(),
            "x".repeat(10_000),
        ] {
            let error = PersonId::from_name(&wrong).unwrap_err();
            assert!(error.given.len() <= SHOWN_CHARS, "{error}");
        }
    }

    #[test]
    fn ids_made_later_sort_later() {
        let ids: Vec<EventId> = (0..1_000).map(|_| EventId::generate()).collect();
        assert!(ids.is_sorted());
    }
}
