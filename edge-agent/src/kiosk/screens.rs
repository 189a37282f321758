//! Every state that the page has, fixed: `tests/screens.sh` makes a picture of each.
//!
//! With `ROLLCALL_SCREENS` set, the test below serves them: the name of a state on standard input is shown by the screens
//! whose addresses it prints, until the input ends. Without, it checks that each can be shown.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::BufRead as _;

use rollcall_core::UtcInstant;
use rollcall_proto::v1::EnrolmentPrompt;

use super::config::Language;
use super::tests::{Screen, any_port};
use std::time::Instant;

use super::*;
use crate::recognition::{FaceInView, PictureState, Prompt, TrackId};

const FRAME: &[u8] = include_bytes!("../commands/bench/frame.jpg");

struct Fixed {
    name: &'static str,
    view: View,
    announced: Option<(Announced, bool)>,
    status: Status,
    enrolment: Option<Guiding>,
    has_picture: bool,
}

impl Fixed {
    fn new(name: &'static str) -> Self {
        let status = Status { door: "Main gate".into(), ..Status::default() };
        Self { name, view: View::default(), announced: None, status, enrolment: None, has_picture: true }
    }

    fn face(mut self, prompt: Prompt) -> Self {
        let bounds = rollcall_vision::Rect { x0: 0.35, y0: 0.17, x1: 0.55, y1: 0.49 };
        let track = TrackId(self.view.faces.len() as u64 + 1);
        self.view.faces.push(FaceInView { track, bounds, prompt });
        self
    }

    fn says(mut self, what: Announced) -> Self {
        self.announced = Some((what, true));
        self.face(Prompt::Done)
    }

    fn with(mut self, change: impl FnOnce(&mut Status)) -> Self {
        change(&mut self.status);
        self
    }

    fn enrols(mut self, ask: EnrolmentPrompt, quality_percent: u8, enrolled: usize) -> Self {
        self.enrolment = Some(Guiding { first_name: "Linh".into(), ask, quality_percent, enrolled });
        self.face(Prompt::Wait)
    }

    fn picture(mut self, state: PictureState) -> Self {
        self.view.picture = state;
        self
    }

    fn without_picture(mut self) -> Self {
        self.has_picture = false;
        self
    }

    fn not_logged(mut self) -> Self {
        self.announced = self.announced.map(|(what, _)| (what, false));
        self
    }
}

fn hours_ago(hours: u64) -> Option<UtcInstant> {
    Some(UtcInstant::now().before(Duration::from_secs(hours * 3600)))
}

fn all() -> Vec<Fixed> {
    let welcome = |name: &str| Announced::Welcome { first_name: name.into(), is_leaving: false };
    vec![
        Fixed::new("idle"),
        Fixed::new("closer").face(Prompt::ComeCloser),
        Fixed::new("light").face(Prompt::MoreLight),
        Fixed::new("hold-still").face(Prompt::HoldStill),
        Fixed::new("turn-left").face(Prompt::TurnLeft),
        Fixed::new("turn-right").face(Prompt::TurnRight),
        Fixed::new("welcome").says(welcome("Linh")),
        Fixed::new("welcome-long").says(welcome("Maximiliane-Josephine")),
        Fixed::new("welcome-not-logged")
            .says(welcome("Ngọc Ánh"))
            .not_logged()
            .with(|status| status.not_logged = 3),
        Fixed::new("goodbye").says(Announced::Welcome { first_name: "Linh".into(), is_leaving: true }),
        Fixed::new("stranger").says(Announced::UseAnother),
        Fixed::new("between").says(Announced::Between("Anna".into(), "Ella".into())),
        Fixed::new("not-now").says(Announced::NotNow),
        Fixed::new("invalid").says(Announced::CredentialInvalid),
        Fixed::new("wait").says(Announced::WaitSeconds(30)),
        Fixed::new("door-locked-down").says(Announced::LockedDown).with(|status| status.locked_down = true),
        Fixed::new("enrol-closer").enrols(EnrolmentPrompt::ComeCloser, 60, 0),
        Fixed::new("enrol-left").enrols(EnrolmentPrompt::TurnALittleLeft, 100, 2),
        Fixed::new("enrol-hold-still").enrols(EnrolmentPrompt::HoldStill, 100, 4),
        Fixed::new("offline").with(|status| status.offline_since = hours_ago(2)),
        Fixed::new("locked-down").with(|status| status.locked_down = true),
        Fixed::new("fire").with(|status| status.fire = true),
        Fixed::new("adoption-digits").with(|status| status.digits = Some("012345".into())),
        Fixed::new("clock-unset").with(|status| status.clock_unset = true),
        Fixed::new("no-camera").without_picture().with(|status| status.camera_lost = true),
        Fixed::new("covered").picture(PictureState::Covered),
        Fixed::new("black").picture(PictureState::Black),
        Fixed::new("frozen").without_picture().picture(PictureState::Frozen),
        Fixed::new("overexposed").picture(PictureState::Overexposed),
        Fixed::new("everything")
            .with(|status| {
                status.fire = true;
                status.locked_down = true;
                status.not_logged = 1234;
                status.clock_unset = true;
                status.offline_since = hours_ago(70);
                status.door = "Cổng chính, dãy nhà phía đông, tầng trệt, cạnh thư viện".into();
            })
            .face(Prompt::ComeCloser),
    ]
}

impl Screen {
    fn fix(&self, fixed: &Fixed, number: u64) {
        self.view.send_replace(fixed.view.clone());
        self.status.send_replace(fixed.status.clone());
        self.enrolment.send_replace(fixed.enrolment.clone());
        self.announcement.send_replace(fixed.announced.clone().map(|(what, is_logged)| Announcement {
            number,
            at: UtcInstant::now(),
            what,
            is_logged,
        }));
        let preview = Preview { jpeg: FRAME.into(), number, captured: Instant::now() };
        self.preview.send_replace(Some(preview).filter(|_| fixed.has_picture));
    }
}

#[tokio::test]
async fn every_state_of_the_page_can_be_shown() {
    let mut screens = Vec::new();
    for language in [Language::En, Language::Vi] {
        for button in [HereButton::Absent, HereButton::Shown] {
            screens.push(
                Screen::start(&KioskConfig { language, ..any_port() }, button, Patience::default()).await,
            );
        }
    }
    let states = all();
    for (number, fixed) in (1..).zip(&states) {
        for screen in &screens {
            screen.fix(fixed, number);
        }
    }
    if std::env::var_os("ROLLCALL_SCREENS").is_some() {
        let names: Vec<&str> = states.iter().map(|fixed| fixed.name).collect();
        let addresses: Vec<String> = screens.iter().map(|screen| screen.address.to_string()).collect();
        println!("ready: {} {}", addresses.join(","), names.join(","));
        serve(&screens, &states).await;
    }
}

/// Shows what standard input asks for, and a picture every 100 ms as a camera would, until the input ends.
async fn serve(screens: &[Screen], states: &[Fixed]) {
    let (asked, mut names) = mpsc::channel(1);
    let input = std::thread::Builder::new().name("input".into());
    input
        .spawn(move || {
            for line in std::io::stdin().lock().lines() {
                asked.blocking_send(line.unwrap()).unwrap();
            }
        })
        .unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let (mut number, mut shown) = (0_u64, 0);
    loop {
        tokio::select! {
            name = names.recv() => {
                let Some(name) = name else { return };
                shown = states.iter().position(|fixed| fixed.name == name).unwrap();
                number += 1;
                for screen in screens {
                    screen.fix(&states[shown], number);
                }
            }
            _ = ticks.tick() => {
                for screen in screens.iter().filter(|_| states[shown].has_picture) {
                    screen.preview.send_modify(|preview| {
                        if let Some(preview) = preview {
                            preview.number += 1_000_000;
                            preview.captured = Instant::now();
                        }
                    });
                }
            }
        }
    }
}
