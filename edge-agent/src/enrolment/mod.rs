//! Enrolment at the camera: guides one person through some pictures, each of which the gallery judges and makes a template
//! of as it does with any picture.
//!
//! [`Enrolments`] is the place at the camera: one person at a time. Consent is asked for before a frame is looked at, and
//! again by the gallery with every picture. [`guidance`] says what comes next; the frames come from the recognition, which
//! decides nothing meanwhile ([`capture`](crate::recognition::capture)).
//!
//! The work is done as the stream is read: a caller who goes has ended it, and what waits for one is over with the
//! capture's time. No picture is kept here, and none goes into a log.

pub mod guidance;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::stream::unfold;
use rollcall_core::{Fault, Reason, UtcInstant, limits};
use rollcall_gallery::{Gallery, GalleryServer};
use rollcall_proto::v1;
use rollcall_terminals::{Enrolling, Enrolment};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::camera::CameraState;
use crate::entrance::{GivenName, first_name};
use crate::recognition::capture::Glimpse;
use crate::recognition::thread::Handle;
use guidance::{End, Guidance, Step, Taken};

/// Without a frame for so long nobody is there.
const GLIMPSE_WITHIN: Duration = Duration::from_millis(250);

/// Between two messages of which only the quality differs.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// A capture outlives its enrolment by no more than this.
const CAPTURE_GRACE: Duration = Duration::from_secs(2);

/// What the screen shows of an enrolment.
#[derive(Clone, Debug, PartialEq)]
pub struct Guiding {
    /// Of whom.
    pub first_name: String,
    /// What they are asked to do.
    pub ask: v1::EnrolmentPrompt,
    /// How well the face is seen, 0 to 100.
    pub quality_percent: u8,
    /// Pictures that became templates.
    pub enrolled: usize,
}

/// The place at the camera.
pub struct Enrolments {
    gallery: Gallery,
    given_name: GivenName,
    eyes: OnceLock<Eyes>,
    turn: Arc<Semaphore>,
    shown: watch::Sender<Option<Guiding>>,
}

/// What sees.
struct Eyes {
    recognition: Arc<Handle>,
    camera: watch::Receiver<CameraState>,
}

impl Enrolments {
    /// A place without a camera yet.
    pub fn new(gallery: Gallery, given_name: GivenName) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { gallery, given_name, eyes: OnceLock::new(), turn, shown: watch::Sender::new(None) }
    }

    /// The camera was taken in use. Once.
    pub fn set_eyes(&self, recognition: Arc<Handle>, camera: watch::Receiver<CameraState>) {
        let _first = self.eyes.set(Eyes { recognition, camera });
    }

    /// What the screen shows.
    pub fn shown(&self) -> watch::Receiver<Option<Guiding>> {
        self.shown.subscribe()
    }

    /// Begins to enrol somebody.
    ///
    /// # Errors
    /// See [`rollcall_terminals::Device::enrol`].
    pub async fn begin(&self, enrolment: Enrolment) -> Result<Enrolling, Fault> {
        let now = UtcInstant::now();
        self.gallery.may_enrol(enrolment.person, now).await.map_err(|error| error.fault())?;
        let person = self.gallery.person(enrolment.person, now).await.map_err(|error| error.fault())?;
        let absent = |what: &str| Fault::new(Reason::HardwareAbsent, what);
        let eyes =
            self.eyes.get().ok_or_else(|| absent("this terminal has no camera; enrol from photographs"))?;
        works(&eyes.camera)?;
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| {
            Fault::new(Reason::StateForbids, "somebody is being enrolled at this terminal; wait for the end")
        })?;
        let begun = Instant::now();
        let until = begun + Duration::from_secs(limits::ENROLMENT_SECONDS) + CAPTURE_GRACE;
        let guiding = Guiding {
            first_name: first_name(&person.fields.display_name, self.given_name).to_owned(),
            ask: v1::EnrolmentPrompt::ComeHere,
            quality_percent: 0,
            enrolled: 0,
        };
        let session = Session {
            server: GalleryServer::new(self.gallery.clone()),
            enrolment,
            glimpses: eyes.recognition.capture(until),
            camera: eyes.camera.clone(),
            guidance: Guidance::new(begun),
            screen: Screen::new(self.shown.clone(), guiding),
            told: None,
            is_over: false,
            _turn: turn,
        };
        tracing::info!("an enrolment at the camera begins");
        Ok(Box::pin(unfold(session, async |mut session| Some((session.next().await?, session)))))
    }
}

fn works(camera: &watch::Receiver<CameraState>) -> Result<(), Fault> {
    let absent = |what: &str| Err(Fault::new(Reason::HardwareAbsent, what));
    match &*camera.borrow() {
        CameraState::Working { .. } => Ok(()),
        CameraState::Off | CameraState::Ended => {
            absent("this terminal has no camera; enrol from photographs")
        }
        CameraState::Opening | CameraState::Lost { .. } => {
            absent("the terminal's camera gives no picture; see edge-agent doctor")
        }
    }
}

/// One enrolment.
struct Session {
    server: GalleryServer,
    enrolment: Enrolment,
    glimpses: mpsc::Receiver<Glimpse>,
    camera: watch::Receiver<CameraState>,
    guidance: Guidance,
    screen: Screen,
    told: Option<(Instant, v1::EnrolmentProgress)>,
    is_over: bool,
    _turn: OwnedSemaphorePermit,
}

impl Session {
    /// The next that is told; `None` after the last.
    async fn next(&mut self) -> Option<Result<v1::EnrolmentProgress, Fault>> {
        if self.is_over {
            return None;
        }
        let next = self.look().await;
        self.is_over = next.as_ref().map_or(true, |progress| progress.templates_made.is_some());
        Some(next)
    }

    async fn look(&mut self) -> Result<v1::EnrolmentProgress, Fault> {
        loop {
            if let Some(end) = self.guidance.end(Instant::now()) {
                return self.ending(end);
            }
            works(&self.camera)?;
            let seen = match timeout(GLIMPSE_WITHIN, self.glimpses.recv()).await {
                Ok(Some(glimpse)) => glimpse,
                Ok(None) => {
                    return Err(Fault::new(Reason::Unavailable, "the camera is not looked at any more"));
                }
                Err(_) => Glimpse::Nobody,
            };
            let now = Instant::now();
            let step = self.guidance.see(&seen, now);
            if let (Some(taken), Glimpse::Face { picture: Some(picture), .. }) = (step.takes, seen) {
                return self.enrol(picture, taken, step).await;
            }
            self.screen.show(&step, self.guidance.enrolled());
            let progress = self.progress(&step);
            if self.is_news(&progress, now) {
                self.told = Some((now, progress.clone()));
                return Ok(progress);
            }
        }
    }

    /// Offers a picture to the gallery.
    async fn enrol(
        &mut self,
        picture: Vec<u8>,
        taken: Taken,
        step: Step,
    ) -> Result<v1::EnrolmentProgress, Fault> {
        let request = v1::EnrolPictureRequest {
            person: self.enrolment.person.name(),
            picture: picture.into(),
            validate_only: false,
            accept_look_alike: self.enrolment.accept_look_alike,
        };
        let answer = self.server.enrol(request).await.map_err(|error| error.fault())?;
        let enrolment = answer.enrolment.unwrap_or_default();
        let now = Instant::now();
        self.guidance.judged(taken, enrolment.verdict(), now);
        self.screen.show(&step, self.guidance.enrolled());
        let progress = self.progress(&step);
        self.told = Some((now, progress.clone()));
        Ok(v1::EnrolmentProgress { enrolment: Some(enrolment), ..progress })
    }

    fn progress(&self, step: &Step) -> v1::EnrolmentProgress {
        v1::EnrolmentProgress {
            prompt: step.ask.into(),
            quality: step.quality,
            pictures_enrolled: count(self.guidance.enrolled()),
            pictures_wanted: count(limits::ENROLMENT_PICTURES),
            enrolment: None,
            templates_made: None,
        }
    }

    /// Whether there is anything new in it.
    fn is_news(&self, progress: &v1::EnrolmentProgress, now: Instant) -> bool {
        self.told.as_ref().is_none_or(|(at, told)| {
            let is_due = now.saturating_duration_since(*at) >= TELL_EVERY;
            told.prompt != progress.prompt || (is_due && told != progress)
        })
    }

    fn ending(&self, end: End) -> Result<v1::EnrolmentProgress, Fault> {
        let templates = self.guidance.enrolled();
        tracing::info!(templates, end = ?end, "an enrolment at the camera is over");
        let late = |what| Err(Fault::new(Reason::DeadlineExceeded, what));
        match end {
            End::NobodyCame => late("nobody came before the camera; nobody was enrolled"),
            End::TimeOver if templates == 0 => {
                late("no picture was good enough in the time; see to light and distance, and begin again")
            }
            _ => {
                let step = Step { ask: v1::EnrolmentPrompt::Done, quality: 0.0, takes: None };
                Ok(v1::EnrolmentProgress { templates_made: Some(count(templates)), ..self.progress(&step) })
            }
        }
    }
}

fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The screen, which shows it while this is there.
struct Screen {
    shown: watch::Sender<Option<Guiding>>,
}

impl Screen {
    fn new(shown: watch::Sender<Option<Guiding>>, guiding: Guiding) -> Self {
        shown.send_replace(Some(guiding));
        Self { shown }
    }

    fn show(&self, step: &Step, enrolled: usize) {
        let quality_percent = (step.quality.clamp(0.0, 1.0) * 100.0).round() as u8;
        self.shown.send_if_modified(|shown| {
            let Some(guiding) = shown else { return false };
            let before = guiding.clone();
            guiding.ask = step.ask;
            guiding.quality_percent = quality_percent;
            guiding.enrolled = enrolled;
            *guiding != before
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shown.send_replace(None);
    }
}
