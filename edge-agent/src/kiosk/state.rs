//! What the page shows: from what the terminal knows and the time to one value, in words of one language. Pure.
//!
//! Promises: a name is in it only where somebody was announced with it; there is no score; an announcement is over after
//! [`limits::KIOSK_ANNOUNCEMENT_SECONDS`].

use std::time::Duration;

use rollcall_core::{SiteZone, UtcInstant, limits};
use serde::Serialize;

use super::texts::{Say, Texts};
use crate::entrance::{Announced, Announcement, Status};
use crate::recognition::{FaceInView, PictureState, Prompt, View};

/// What the terminal knows at one moment.
pub struct Moment<'a> {
    /// By the wall clock.
    pub now: UtcInstant,
    /// The site's zone.
    pub zone: &'a SiteZone,
    /// What the camera shows.
    pub view: &'a View,
    /// The latest announcement, and for how long it has been there.
    pub announcement: Option<(&'a Announcement, Duration)>,
    /// The terminal.
    pub status: &'a Status,
}

/// The whole page's content.
#[derive(Debug, PartialEq, Serialize)]
pub struct State {
    /// Which page this is for: another than the browser has, and it loads the page again.
    pub page: String,
    /// The door's name.
    pub door: String,
    /// What the clock shows; `None` while the clock is not set.
    pub time: Option<String>,
    /// Rings on the picture.
    pub faces: Vec<Ring>,
    /// Nobody is told anything, and the camera sees: "look here".
    pub is_idle: bool,
    /// What whoever stands there is asked to do.
    pub prompt: Option<PromptText>,
    /// What became of the latest passage, while it is news.
    pub announcement: Option<Said>,
    /// The line of state, the most urgent first; never empty.
    pub states: Vec<StateLine>,
}

/// A ring round a face, in parts of the picture's width and height, not mirrored.
#[derive(Debug, PartialEq, Serialize)]
pub struct Ring {
    /// Which face, so that a ring moves with it.
    pub track: u64,
    /// Left.
    pub x: f32,
    /// Top.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// Whether it is seen well.
    pub is_ready: bool,
}

/// A prompt.
#[derive(Debug, PartialEq, Serialize)]
pub struct PromptText {
    /// Words.
    pub text: String,
    /// Where the arrow points, if there is one.
    pub arrow: Option<Arrow>,
}

/// Sides as seen on the mirrored picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrow {
    /// To the left.
    Left,
    /// To the right.
    Right,
}

/// An announcement in words.
#[derive(Debug, PartialEq, Serialize)]
pub struct Said {
    /// The announcement's number: each is sounded once.
    pub number: u64,
    /// How it looks and sounds.
    pub kind: Kind,
    /// The sentence, with the name apart because it is written larger.
    pub text: Sentence,
    /// What to do next.
    pub next: Option<String>,
    /// When it was; `None` while the clock is not set.
    pub time: Option<String>,
    /// "Not yet logged", where it is so.
    pub note: Option<String>,
}

/// How an announcement looks and sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody passes.
    Welcome,
    /// Everything else: neutral, and never an alarm.
    Another,
}

/// Words with a name among them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// Before the name; everything where there is none.
    pub before: String,
    /// The name.
    pub name: String,
    /// After it.
    pub after: String,
}

/// One entry in the line of state.
#[derive(Debug, PartialEq, Serialize)]
pub struct StateLine {
    /// How urgent.
    pub level: Level,
    /// Words.
    pub text: String,
}

/// Who is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Act now.
    Act,
    /// Somebody should look at this.
    Look,
    /// Nobody.
    Fine,
}

impl State {
    /// The page's content at `moment`. `page` names the page that it is for.
    pub fn compose(moment: &Moment<'_>, texts: &Texts, page: &str) -> Self {
        let shown = |(_, age): &(_, Duration)| age.as_secs() < limits::KIOSK_ANNOUNCEMENT_SECONDS;
        let announcement =
            moment.announcement.filter(shown).map(|(announcement, _)| said(announcement, moment, texts));
        let camera_sees = !moment.status.camera_lost && moment.view.picture == PictureState::Fine;
        let followed: &[FaceInView] = if camera_sees {
            moment.view.faces.get(..limits::KIOSK_RINGS).unwrap_or(&moment.view.faces)
        } else {
            &[]
        };
        let prompt = prompt(followed, texts);
        Self {
            page: page.to_owned(),
            door: moment.status.door.clone(),
            time: clock(moment.now, moment),
            is_idle: camera_sees && prompt.is_none() && announcement.is_none(),
            faces: followed.iter().map(ring).collect(),
            prompt,
            announcement,
            states: states(moment, texts),
        }
    }
}

fn clock(at: UtcInstant, moment: &Moment<'_>) -> Option<String> {
    (!moment.status.clock_unset).then(|| {
        let time = moment.zone.time(at);
        format!("{:02}:{:02}", time.hour(), time.minute())
    })
}

fn ring(face: &FaceInView) -> Ring {
    let within =
        |part: f32| if part.is_finite() { (part.clamp(-1.0, 2.0) * 1000.0).round() / 1000.0 } else { 0.0 };
    let (x, y) = (within(face.bounds.x0), within(face.bounds.y0));
    Ring {
        track: face.track.0,
        x,
        y,
        width: within(face.bounds.width()).max(0.0),
        height: within(face.bounds.height()).max(0.0),
        is_ready: matches!(face.prompt, Prompt::HoldStill | Prompt::Done),
    }
}

/// One prompt for all: whoever is asked to turn their head comes first, then the largest face.
fn prompt(faces: &[FaceInView], texts: &Texts) -> Option<PromptText> {
    let is_turn = |face: &FaceInView| matches!(face.prompt, Prompt::TurnLeft | Prompt::TurnRight);
    let order = |a: &&FaceInView, b: &&FaceInView| {
        is_turn(a).cmp(&is_turn(b)).then(a.bounds.area().total_cmp(&b.bounds.area()))
    };
    let (say, arrow) = match faces.iter().max_by(order)?.prompt {
        Prompt::Wait | Prompt::Done => return None,
        Prompt::ComeCloser => (Say::ComeCloser, None),
        Prompt::MoreLight => (Say::MoreLight, None),
        Prompt::HoldStill => (Say::HoldStill, None),
        Prompt::TurnLeft => (Say::TurnLeft, Some(Arrow::Left)),
        Prompt::TurnRight => (Say::TurnRight, Some(Arrow::Right)),
    };
    Some(PromptText { text: texts.say(say), arrow })
}

fn said(announcement: &Announcement, moment: &Moment<'_>, texts: &Texts) -> Said {
    let plain = |say| Sentence { before: texts.say(say), ..Sentence::default() };
    let next = |say| Some(texts.say(say));
    let (text, next) = match &announcement.what {
        Announced::Welcome { first_name, is_leaving: true } => {
            (with_name(first_name, |name| texts.say_with(Say::Goodbye, [("name", name.into())])), None)
        }
        Announced::Welcome { first_name, is_leaving: false } => {
            let part = part_of_day(announcement.at, moment);
            let say =
                |name: &str| texts.say_with(Say::Welcome, [("part", part.into()), ("name", name.into())]);
            (with_name(first_name, say), None)
        }
        Announced::UseAnother => (plain(Say::UseAnother), None),
        Announced::Between(first, second) => {
            let names = [("first", first.as_str().into()), ("second", second.as_str().into())];
            let before = texts.say_with(Say::Between, names);
            (Sentence { before, ..Sentence::default() }, next(Say::UseAnother))
        }
        Announced::NotNow => (plain(Say::NotNow), next(Say::NotNowNext)),
        Announced::CredentialInvalid => (plain(Say::CredentialInvalid), next(Say::CredentialInvalidNext)),
        Announced::WaitSeconds(seconds) => {
            let before = texts.say_with(Say::WaitSeconds, [("seconds", (*seconds).into())]);
            (Sentence { before, ..Sentence::default() }, next(Say::WaitSecondsNext))
        }
        Announced::LockedDown => (plain(Say::DoorLockedDown), next(Say::DoorLockedDownNext)),
    };
    let is_welcome = matches!(announcement.what, Announced::Welcome { .. });
    Said {
        number: announcement.number,
        kind: if is_welcome { Kind::Welcome } else { Kind::Another },
        text,
        next,
        time: clock(announcement.at, moment),
        note: (is_welcome && !announcement.is_logged).then(|| texts.say(Say::NotYetLogged)),
    }
}

/// The sentence taken apart where the name stands in it, wherever that is in the language.
fn with_name(name: &str, say: impl Fn(&str) -> String) -> Sentence {
    const PLACE: &str = "\u{fffc}";
    let sentence = say(PLACE);
    let (before, after) = sentence.split_once(PLACE).unwrap_or((&sentence, ""));
    let name = name.chars().take(limits::PERSON_NAME_CHARS).collect();
    Sentence { before: before.to_owned(), name, after: after.to_owned() }
}

/// The part of the day, as the greetings of the languages divide it.
fn part_of_day(at: UtcInstant, moment: &Moment<'_>) -> &'static str {
    if moment.status.clock_unset {
        return "unknown";
    }
    match moment.zone.time(at).hour() {
        4..11 => "morning",
        11 => "late-morning",
        12 => "noon",
        13..18 => "afternoon",
        _ => "evening",
    }
}

fn states(moment: &Moment<'_>, texts: &Texts) -> Vec<StateLine> {
    let status = moment.status;
    let mut lines = Vec::new();
    let mut add = |level, text| lines.push(StateLine { level, text });
    if status.fire {
        add(Level::Act, texts.say(Say::Fire));
    }
    if status.locked_down {
        add(Level::Look, texts.say(Say::LockedDown));
    }
    if let Some(say) = picture_problem(status, moment.view.picture) {
        add(Level::Look, texts.say(say));
    }
    if status.not_logged > 0 {
        let events = i64::try_from(status.not_logged).unwrap_or(i64::MAX);
        add(Level::Look, texts.say_with(Say::WaitingToBeLogged, [("events", events.into())]));
    }
    if status.clock_unset {
        add(Level::Look, texts.say(Say::ClockUnset));
    }
    if let Some(since) = status.offline_since {
        add(Level::Fine, offline(moment.now.since(since), texts));
    }
    if lines.is_empty() {
        lines.push(StateLine { level: Level::Fine, text: texts.say(Say::Ready) });
    }
    lines
}

fn picture_problem(status: &Status, picture: PictureState) -> Option<Say> {
    if status.camera_lost {
        return Some(Say::NoCamera);
    }
    match picture {
        PictureState::Fine => None,
        PictureState::Black => Some(Say::PictureBlack),
        PictureState::Frozen => Some(Say::PictureFrozen),
        PictureState::Covered => Some(Say::PictureCovered),
        PictureState::Overexposed => Some(Say::PictureOverexposed),
    }
}

/// "All kept": what happens here is written here, and goes to the hub when it is reached again.
fn offline(age: Duration, texts: &Texts) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0..60 => texts.say_with(Say::OfflineMinutes, [("minutes", minutes.into())]),
        60..2880 => texts.say_with(Say::OfflineHours, [("hours", (minutes / 60).into())]),
        _ => texts.say_with(Say::OfflineDays, [("days", (minutes / 1440).into())]),
    }
}
