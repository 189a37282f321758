//! The words of the page, in English and Vietnamese: Fluent messages of `texts/*.ftl`, compiled in.
//!
//! Both files have the same messages with the same variables, and none that nothing uses; tests hold them to it.

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

use super::config::Language;

/// The messages that the program says. Those of the page itself are named in `page/index.html`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    TooMany,
    PinUnreachable,
    ComeCloser,
    MoreLight,
    HoldStill,
    TurnLeft,
    TurnRight,
    EnrolTitle,
    EnrolCount,
    EnrolComeHere,
    EnrolLookStraight,
    EnrolTurnLeft,
    EnrolTurnRight,
    EnrolTurnBack,
    EnrolChinUp,
    EnrolChinDown,
    EnrolMiddle,
    EnrolLessLight,
    EnrolOnePerson,
    Welcome,
    Goodbye,
    UseAnother,
    UseCard,
    Between,
    NotNow,
    NotNowNext,
    CredentialInvalid,
    CredentialInvalidNext,
    WaitSeconds,
    WaitSecondsNext,
    DoorLockedDown,
    DoorLockedDownNext,
    NotYetLogged,
    Ready,
    NoCamera,
    PictureBlack,
    PictureFrozen,
    PictureCovered,
    PictureOverexposed,
    AdoptionDigits,
    Fire,
    LockedDown,
    WaitingToBeLogged,
    OfflineMinutes,
    OfflineHours,
    OfflineDays,
    ClockUnset,
}

impl Say {
    fn id(self) -> &'static str {
        match self {
            Self::TooMany => "too-many",
            Self::PinUnreachable => "pin-unreachable",
            Self::ComeCloser => "come-closer",
            Self::MoreLight => "more-light",
            Self::HoldStill => "hold-still",
            Self::TurnLeft => "turn-left",
            Self::TurnRight => "turn-right",
            Self::EnrolTitle => "enrol-title",
            Self::EnrolCount => "enrol-count",
            Self::EnrolComeHere => "enrol-come-here",
            Self::EnrolLookStraight => "enrol-look-straight",
            Self::EnrolTurnLeft => "enrol-turn-left",
            Self::EnrolTurnRight => "enrol-turn-right",
            Self::EnrolTurnBack => "enrol-turn-back",
            Self::EnrolChinUp => "enrol-chin-up",
            Self::EnrolChinDown => "enrol-chin-down",
            Self::EnrolMiddle => "enrol-middle",
            Self::EnrolLessLight => "enrol-less-light",
            Self::EnrolOnePerson => "enrol-one-person",
            Self::Welcome => "welcome",
            Self::Goodbye => "goodbye",
            Self::UseAnother => "use-another",
            Self::UseCard => "use-card",
            Self::Between => "between",
            Self::NotNow => "not-now",
            Self::NotNowNext => "not-now-next",
            Self::CredentialInvalid => "credential-invalid",
            Self::CredentialInvalidNext => "credential-invalid-next",
            Self::WaitSeconds => "wait-seconds",
            Self::WaitSecondsNext => "wait-seconds-next",
            Self::DoorLockedDown => "door-locked-down",
            Self::DoorLockedDownNext => "door-locked-down-next",
            Self::NotYetLogged => "not-yet-logged",
            Self::Ready => "ready",
            Self::NoCamera => "no-camera",
            Self::PictureBlack => "picture-black",
            Self::PictureFrozen => "picture-frozen",
            Self::PictureCovered => "picture-covered",
            Self::PictureOverexposed => "picture-overexposed",
            Self::AdoptionDigits => "adoption-digits",
            Self::Fire => "fire",
            Self::LockedDown => "locked-down",
            Self::WaitingToBeLogged => "waiting-to-be-logged",
            Self::OfflineMinutes => "offline-minutes",
            Self::OfflineHours => "offline-hours",
            Self::OfflineDays => "offline-days",
            Self::ClockUnset => "clock-unset",
        }
    }
}

/// One language's words.
pub struct Texts {
    bundle: FluentBundle<FluentResource>,
    tag: &'static str,
}

impl Texts {
    /// The words of `language`.
    ///
    /// # Errors
    /// What is wrong with the file that was compiled in.
    pub fn new(language: Language) -> Result<Self, String> {
        let (tag, text) = match language {
            Language::En => ("en", include_str!("texts/en.ftl")),
            Language::Vi => ("vi", include_str!("texts/vi.ftl")),
        };
        let id: LanguageIdentifier = tag.parse().map_err(|error| format!("{tag}: {error}"))?;
        let resource = FluentResource::try_new(text.to_owned())
            .map_err(|(_, errors)| format!("{tag}.ftl: {errors:?}"))?;
        let mut bundle = FluentBundle::new_concurrent(vec![id]);
        // The marks are for text that runs the other way; on the page they would be boxes.
        bundle.set_use_isolating(false);
        bundle.add_resource(resource).map_err(|errors| format!("{tag}.ftl: {errors:?}"))?;
        Ok(Self { bundle, tag })
    }

    /// The language's tag, for the page's `lang`.
    pub fn tag(&self) -> &'static str {
        self.tag
    }

    /// A message without variables.
    pub fn say(&self, what: Say) -> String {
        self.say_with(what, [])
    }

    /// A message with its variables.
    pub fn say_with<const N: usize>(&self, what: Say, args: [(&'static str, FluentValue<'_>); N]) -> String {
        self.by_id(what.id(), &args.into_iter().collect()).unwrap_or_default()
    }

    /// The message that the page calls `id`; `None` when there is none.
    pub fn page_text(&self, id: &str) -> Option<String> {
        self.by_id(id, &FluentArgs::new())
    }

    fn by_id(&self, id: &str, args: &FluentArgs<'_>) -> Option<String> {
        let pattern = self.bundle.get_message(id)?.value()?;
        Some(self.bundle.format_pattern(pattern, Some(args), &mut Vec::new()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const EN: &str = include_str!("texts/en.ftl");
    const VI: &str = include_str!("texts/vi.ftl");

    /// Each message's variables.
    fn messages(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut messages = BTreeMap::new();
        let mut current = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((id, _)) =
                line.split_once(" = ").filter(|_| line.starts_with(|c: char| c.is_ascii_lowercase()))
            {
                assert!(messages.insert(id, BTreeSet::new()).is_none(), "{id} stands twice");
                current = id;
            }
            for variable in line.split('$').skip(1) {
                let end = variable.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
                messages.get_mut(current).unwrap().insert(&variable[..end]);
            }
        }
        messages
    }

    #[test]
    fn both_languages_have_the_same_messages_with_the_same_variables() {
        assert_eq!(messages(EN), messages(VI));
        for language in [Language::En, Language::Vi] {
            let texts = Texts::new(language).unwrap();
            for id in messages(EN).keys() {
                assert!(texts.bundle.has_message(id), "{id}");
            }
        }
    }

    #[test]
    fn every_message_is_used_and_every_used_one_is_there() {
        let source = include_str!("texts.rs").split("#[cfg(test)]").next().unwrap();
        let page = include_str!("page/index.html");
        let quoted: BTreeSet<&str> =
            source.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let on_page = page.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
        let used: BTreeSet<&str> = on_page.filter(|key| !key.starts_with('@')).chain(quoted).collect();
        assert_eq!(used, messages(EN).into_keys().collect());
    }

    #[test]
    fn numbers_and_names_stand_in_the_words() {
        let (en, vi) = (Texts::new(Language::En).unwrap(), Texts::new(Language::Vi).unwrap());
        let say = |texts: &Texts, n: u32| texts.say_with(Say::WaitSeconds, [("seconds", n.into())]);
        assert_eq!(say(&en, 1), "Please wait 1 second");
        assert_eq!(say(&en, 30), "Please wait 30 seconds");
        assert_eq!(say(&vi, 1), "Vui lòng chờ 1 giây");
        let between = [("first", "Anna".into()), ("second", "Ella".into())];
        assert_eq!(vi.say_with(Say::Between, between), "Anna hay Ella?");
    }
}
