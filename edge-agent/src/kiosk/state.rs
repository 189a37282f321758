//! What the page shows: from what the terminal knows and the time to one value, in words of one language. Pure.
//!
//! Promises: a name is in it only where somebody was announced with it or is being enrolled; there is no score; an announcement is over after
//! [`limits::KIOSK_ANNOUNCEMENT_SECONDS`].

use std::time::Duration;

use rollcall_core::{SiteZone, UtcInstant, limits};
use rollcall_proto::v1::EnrolmentPrompt as Ask;
use rollcall_terminals::adoption::spaced;
use serde::Serialize;

use super::texts::{Say, Texts};
use crate::enrolment::Guiding;
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
    /// Who is being enrolled.
    pub enrolment: Option<&'a Guiding>,
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
    /// Whether the camera shows anything that faces and badges are seen in.
    pub camera_sees: bool,
    /// Nobody is told anything, and the camera sees: "look here".
    pub is_idle: bool,
    /// What whoever stands there is asked to do.
    pub prompt: Option<PromptText>,
    /// What became of the latest passage, while it is news.
    pub announcement: Option<Said>,
    /// How the enrolment goes, while somebody is enrolled; `prompt` is theirs then.
    pub enrolment: Option<EnrolmentText>,
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

/// An enrolment in words.
#[derive(Debug, PartialEq, Serialize)]
pub struct EnrolmentText {
    /// Whose.
    pub title: String,
    /// "2 of 5".
    pub count: String,
    /// How well the face is seen, 0 to 100.
    pub quality_percent: u8,
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
        // A badge is read by the camera too.
        let use_card = || PromptText { text: texts.say(Say::UseCard), arrow: None };
        let prompt = match moment.enrolment {
            _ if !camera_sees => Some(use_card()),
            Some(guiding) => asked(guiding.ask, texts),
            None => prompt(followed, texts),
        };
        Self {
            page: page.to_owned(),
            door: moment.status.door.clone(),
            time: clock(moment.now, moment),
            camera_sees,
            is_idle: camera_sees && prompt.is_none() && announcement.is_none() && moment.enrolment.is_none(),
            faces: followed.iter().map(ring).collect(),
            prompt,
            announcement,
            enrolment: moment.enrolment.map(|guiding| enrolment(guiding, texts)),
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

fn enrolment(guiding: &Guiding, texts: &Texts) -> EnrolmentText {
    let name: String = guiding.first_name.chars().take(limits::PERSON_NAME_CHARS).collect();
    let (enrolled, wanted) = (guiding.enrolled, limits::ENROLMENT_PICTURES);
    EnrolmentText {
        title: texts.say_with(Say::EnrolTitle, [("name", name.into())]),
        count: texts.say_with(Say::EnrolCount, [("enrolled", enrolled.into()), ("wanted", wanted.into())]),
        quality_percent: guiding.quality_percent.min(100),
    }
}

/// What whoever is being enrolled is asked to do.
fn asked(ask: Ask, texts: &Texts) -> Option<PromptText> {
    let (say, arrow) = match ask {
        Ask::Unspecified | Ask::Done => return None,
        Ask::ComeHere => (Say::EnrolComeHere, None),
        Ask::LookStraight => (Say::EnrolLookStraight, None),
        Ask::TurnALittleLeft => (Say::EnrolTurnLeft, Some(Arrow::Left)),
        Ask::TurnALittleRight => (Say::EnrolTurnRight, Some(Arrow::Right)),
        Ask::TurnBackALittle => (Say::EnrolTurnBack, None),
        Ask::ChinUp => (Say::EnrolChinUp, None),
        Ask::ChinDown => (Say::EnrolChinDown, None),
        Ask::ComeCloser => (Say::ComeCloser, None),
        Ask::MoveToTheMiddle => (Say::EnrolMiddle, None),
        Ask::MoreLight => (Say::MoreLight, None),
        Ask::LessLight => (Say::EnrolLessLight, None),
        Ask::HoldStill => (Say::HoldStill, None),
        Ask::OnePersonOnly => (Say::EnrolOnePerson, None),
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
    if let Some(digits) = &status.digits {
        add(Level::Act, texts.say_with(Say::AdoptionDigits, [("digits", spaced(digits).into())]));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rollcall_vision::Rect;

    use super::super::config::Language;
    use super::*;
    use crate::recognition::TrackId;

    /// 08:41 in Ho Chi Minh City on 24 November 2026.
    const MORNING: i64 = 1_795_484_460_000_000;

    fn compose(language: Language, view: &View, said: Option<(Announced, u64)>, status: &Status) -> State {
        let at = UtcInstant::from_micros(MORNING);
        let announcement = said.map(|(what, age)| {
            (Announcement { number: 7, at, what, is_logged: false }, Duration::from_secs(age))
        });
        let moment = Moment {
            now: at.after(Duration::from_secs(60)),
            zone: &SiteZone::named("Asia/Ho_Chi_Minh").unwrap(),
            view,
            announcement: announcement.as_ref().map(|(announcement, age)| (announcement, *age)),
            status,
            enrolment: None,
        };
        State::compose(&moment, &Texts::new(language).unwrap(), "x")
    }

    fn announced(language: Language, what: Announced) -> (String, Said) {
        let state = compose(language, &View::default(), Some((what, 0)), &Status::default());
        assert!(!state.is_idle && state.states.len() == 1);
        let said = state.announcement.unwrap();
        let Sentence { before, name, after } = &said.text;
        (format!("{before}{name}{after}"), said)
    }

    #[test]
    fn whoever_is_enrolled_is_guided_and_nobody_else_is_told_anything() {
        let view = View { faces: vec![face(Prompt::ComeCloser, 0.2)], picture: PictureState::Fine };
        let enrol = |language, ask, status: &Status| {
            let guiding = Guiding { first_name: "Linh".into(), ask, quality_percent: 80, enrolled: 2 };
            let moment = Moment {
                now: UtcInstant::from_micros(MORNING),
                zone: &SiteZone::utc(),
                view: &view,
                announcement: None,
                status,
                enrolment: Some(&guiding),
            };
            State::compose(&moment, &Texts::new(language).unwrap(), "x")
        };
        let fine = Status::default();
        let state = enrol(Language::En, Ask::TurnALittleLeft, &fine);
        let shown =
            EnrolmentText { title: "Pictures of Linh".into(), count: "2 of 5".into(), quality_percent: 80 };
        assert_eq!(state.enrolment, Some(shown));
        let prompt =
            PromptText { text: "Turn your head a little to the left".into(), arrow: Some(Arrow::Left) };
        assert_eq!((state.prompt, state.is_idle), (Some(prompt), false));
        let state = enrol(Language::Vi, Ask::TurnALittleRight, &fine);
        let prompt =
            PromptText { text: "Quay mặt sang phải một chút".into(), arrow: Some(Arrow::Right) };
        assert_eq!(state.prompt, Some(prompt));
        assert_eq!(state.enrolment.unwrap().title, "Chụp ảnh đăng ký: Linh");
        let mut said = std::collections::BTreeSet::new();
        for ask in (1..=13).map(|number| Ask::try_from(number).unwrap()) {
            said.insert(enrol(Language::Vi, ask, &fine).prompt.unwrap().text);
        }
        assert_eq!(said.len(), 13, "each has its words: {said:?}");
        let state = enrol(Language::En, Ask::Done, &fine);
        assert_eq!((state.prompt, state.is_idle), (None, false));
        let lost = Status { camera_lost: true, ..Status::default() };
        assert_eq!(
            enrol(Language::En, Ask::HoldStill, &lost).prompt.unwrap().text,
            "Please use your card or PIN"
        );
    }

    fn face(prompt: Prompt, width: f32) -> FaceInView {
        let bounds = Rect { x0: 0.1, y0: 0.1, x1: 0.1 + width, y1: 0.5 };
        FaceInView { track: TrackId(1), bounds, prompt }
    }

    #[test]
    fn each_announcement_has_its_words() {
        let linh = |is_leaving| Announced::Welcome { first_name: "Linh".into(), is_leaving };
        let between = || Announced::Between("Anna".into(), "Ella".into());
        for (what, en, en_next, vi) in [
            (linh(false), "Good morning, Linh", None, "Chào buổi sáng, Linh"),
            (linh(true), "Goodbye, Linh", None, "Tạm biệt, Linh"),
            (Announced::UseAnother, "Please use your badge or PIN", None, "Vui lòng dùng thẻ hoặc mã PIN"),
            (between(), "Anna or Ella?", Some("Please use your badge or PIN"), "Anna hay Ella?"),
            (
                Announced::NotNow,
                "You cannot come in here right now",
                Some("Please ask at the office"),
                "Hiện chưa thể vào cửa này",
            ),
            (
                Announced::CredentialInvalid,
                "That was not valid",
                Some("Please try again"),
                "Thẻ hoặc mã chưa đúng",
            ),
            (
                Announced::WaitSeconds(30),
                "Please wait 30 seconds",
                Some("Then try again"),
                "Vui lòng chờ 30 giây",
            ),
            (
                Announced::LockedDown,
                "The door is locked",
                Some("Please follow the instructions of the staff"),
                "Cửa đang khóa",
            ),
        ] {
            let (text, said) = announced(Language::En, what.clone());
            assert_eq!(
                (text.as_str(), said.next.as_deref(), said.time.as_deref()),
                (en, en_next, Some("08:41"))
            );
            let is_welcome = matches!(what, Announced::Welcome { .. });
            assert_eq!(said.kind, if is_welcome { Kind::Welcome } else { Kind::Another });
            assert_eq!(said.note.as_deref(), is_welcome.then_some("Not yet logged"));
            assert_eq!(announced(Language::Vi, what).0, vi);
        }
    }

    #[test]
    fn the_name_stands_apart_and_a_stranger_has_none() {
        let name = "</script>\u{fffc}".to_owned();
        let (_, said) =
            announced(Language::En, Announced::Welcome { first_name: name.clone(), is_leaving: false });
        assert_eq!(said.text, Sentence { before: "Good morning, ".into(), name, after: String::new() });
        let (_, said) = announced(Language::En, Announced::UseAnother);
        assert_eq!(said.text.name, "");
        let stranger =
            compose(Language::En, &View::default(), Some((Announced::UseAnother, 0)), &Status::default());
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let json = serde_json::to_value(&stranger).unwrap();
        assert_eq!(
            keys(&json),
            [
                "announcement",
                "camera_sees",
                "door",
                "enrolment",
                "faces",
                "is_idle",
                "page",
                "prompt",
                "states",
                "time"
            ]
        );
        assert_eq!(keys(&json["announcement"]), ["kind", "next", "note", "number", "text", "time"]);
        assert!(!json.to_string().contains("score"));
    }

    #[test]
    fn an_announcement_is_over_after_four_seconds() {
        let after = |age| {
            compose(Language::En, &View::default(), Some((Announced::UseAnother, age)), &Status::default())
        };
        assert!(after(3).announcement.is_some());
        assert!(after(4).announcement.is_none() && after(4).is_idle);
    }

    #[test]
    fn the_day_is_divided_as_the_language_divides_it() {
        let at = UtcInstant::from_micros(MORNING);
        for (hours, en, vi) in [
            (0, "Good morning", "Chào buổi sáng"),
            (3, "Good morning", "Chào buổi trưa"),
            (4, "Good afternoon", "Chào buổi trưa"),
            (5, "Good afternoon", "Chào buổi chiều"),
            (10, "Good evening", "Chào buổi tối"),
            (19, "Good evening", "Chào buổi tối"),
            (20, "Good morning", "Chào buổi sáng"),
        ] {
            let said_at = |language, status: &Status| {
                let at = at.after(Duration::from_secs(hours * 3600));
                let what = Announced::Welcome { first_name: "Linh".into(), is_leaving: false };
                let announcement = Announcement { number: 1, at, what, is_logged: true };
                let moment = Moment {
                    now: at,
                    zone: &SiteZone::named("Asia/Ho_Chi_Minh").unwrap(),
                    view: &View::default(),
                    announcement: Some((&announcement, Duration::ZERO)),
                    status,
                    enrolment: None,
                };
                State::compose(&moment, &Texts::new(language).unwrap(), "x").announcement.unwrap()
            };
            assert_eq!(said_at(Language::En, &Status::default()).text.before, format!("{en}, "));
            assert_eq!(said_at(Language::Vi, &Status::default()).text.before, format!("{vi}, "));
            let unset = Status { clock_unset: true, ..Status::default() };
            let said = said_at(Language::En, &unset);
            assert_eq!((said.text.before.as_str(), said.time), ("Hello, ", None));
        }
    }

    #[test]
    fn one_prompt_is_shown_and_a_turn_comes_first() {
        let prompt = |faces: Vec<FaceInView>| {
            let view = View { faces, ..View::default() };
            compose(Language::En, &view, None, &Status::default()).prompt
        };
        assert_eq!(prompt(vec![]), None);
        assert_eq!(prompt(vec![face(Prompt::Wait, 0.4)]), None);
        let far_and_near = vec![face(Prompt::ComeCloser, 0.1), face(Prompt::HoldStill, 0.3)];
        assert_eq!(prompt(far_and_near).unwrap().text, "Hold still, please");
        let turning = prompt(vec![face(Prompt::TurnRight, 0.1), face(Prompt::HoldStill, 0.3)]).unwrap();
        assert_eq!(
            (turning.text.as_str(), turning.arrow),
            ("Turn your head to the right", Some(Arrow::Right))
        );
        assert_eq!(prompt(vec![face(Prompt::MoreLight, f32::NAN)]).unwrap().text, "More light, please");
    }

    #[test]
    fn a_ring_is_teal_when_the_face_is_seen_well_and_never_off_the_scale() {
        for (prompt, is_ready) in [
            (Prompt::HoldStill, true),
            (Prompt::Done, true),
            (Prompt::Wait, false),
            (Prompt::TurnLeft, false),
        ] {
            assert_eq!(ring(&face(prompt, 0.2)).is_ready, is_ready);
        }
        let wild = ring(&face(Prompt::Wait, f32::INFINITY));
        assert_eq!((wild.x, wild.width), (0.1, 0.0));
        let view = View { faces: vec![face(Prompt::Wait, 0.2); 100], ..View::default() };
        let state = compose(Language::En, &view, None, &Status::default());
        assert_eq!(state.faces.len(), limits::KIOSK_RINGS);
    }

    #[test]
    fn the_line_of_state_says_the_most_urgent_first() {
        let lines = |status: &Status| {
            let state = compose(Language::En, &View::default(), None, status);
            state.states.into_iter().map(|line| (line.level, line.text)).collect::<Vec<_>>()
        };
        assert_eq!(lines(&Status::default()), [(Level::Fine, "Ready".to_owned())]);
        let at = UtcInstant::from_micros(MORNING);
        let all = Status {
            door: "Gate".into(),
            camera_lost: true,
            locked_down: true,
            fire: true,
            digits: Some("012345".into()),
            not_logged: 3,
            offline_since: Some(at.before(Duration::from_secs(7200))),
            clock_unset: true,
        };
        let levels: Vec<Level> = lines(&all).iter().map(|(level, _)| *level).collect();
        assert!(levels.is_sorted() && levels.len() == 7);
        for (age, words) in [(60, "1 min"), (3600, "1 h"), (7200, "2 h"), (172_800, "2 days"), (0, "0 min")] {
            let since = at.after(Duration::from_secs(60)).before(Duration::from_secs(age));
            let status = Status { offline_since: Some(since), ..Status::default() };
            assert_eq!(lines(&status), [(Level::Fine, format!("All kept, offline {words}"))]);
        }
    }

    #[test]
    fn the_digits_of_an_adoption_are_on_the_screen() {
        for (language, words) in
            [(Language::En, "Hub asks for: 012 345"), (Language::Vi, "Mã cho máy chủ: 012 345")]
        {
            let status = Status { digits: Some("012345".into()), ..Status::default() };
            let state = compose(language, &View::default(), None, &status);
            assert_eq!((state.states[0].level, state.states[0].text.as_str()), (Level::Act, words));
        }
    }

    #[test]
    fn f087_a_picture_of_no_use_is_told_and_nobody_is_asked_to_look_at_it() {
        for (picture, words) in [
            (PictureState::Black, "The camera sees nothing: more light, please"),
            (PictureState::Frozen, "The camera's picture has stopped"),
            (PictureState::Covered, "Something is in front of the camera"),
            (PictureState::Overexposed, "Too much light for the camera"),
        ] {
            let view = View { faces: vec![face(Prompt::ComeCloser, 0.2)], picture };
            let state = compose(Language::En, &view, None, &Status::default());
            assert!(!state.is_idle && !state.camera_sees && state.faces.is_empty());
            assert_eq!((state.states[0].level, state.states[0].text.as_str()), (Level::Look, words));
        }
        let lost = Status { camera_lost: true, ..Status::default() };
        let state = compose(Language::En, &View::default(), None, &lost);
        assert_eq!(state.prompt.unwrap().text, "Please use your card or PIN");
        assert_eq!(state.states[0].text, "No camera");
    }
}
