//! The terminal's hardware, in use: camera -> recognition -> desk -> lock, lights and screen, with the readers beside it.
//!
//! It is taken in use after everything that the services need, and given up before it: first nothing more is seen, then
//! the desk ends what it has, then the door locks. What is missing is left out: a terminal without camera takes badges,
//! one without door takes attendance.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rollcall_core::limits;
use rollcall_vision::{FaceReader, Models};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::device::ThisDevice;
use super::{Plan, status};
use crate::camera::{self, CameraThread, Settings as CameraSettings};
use crate::config::Config;
use crate::door::{Door, DoorEvent};
use crate::entrance::{self, Announcement, Desk, GivenName, Inbox, Rules};
use crate::kiosk::{self, HereButton, Kiosk, KioskCommand, Language};
use crate::readers::Presented;
use crate::readers::badge::Badges;
use crate::readers::card::CardReader;
use crate::readers::pin::Limiter;
use crate::recognition::policy::{Mode, Policy};
use crate::recognition::thread::{self as recognition, Handle};
use crate::recognition::{LivePicture, Verdict, View, counters};

/// Time for the screen to go.
const KIOSK_DRAIN: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Hardware {
    camera: CameraThread,
    recognition: Option<Arc<Handle>>,
    card: Option<CardReader>,
    kiosk: Option<kiosk::Running>,
    screen: Option<String>,
    door: Option<Arc<Door>>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// Where everything that wants something from the desk is put.
struct Senders {
    verdicts: mpsc::Sender<Verdict>,
    presented: mpsc::Sender<Presented>,
    commands: mpsc::Sender<KioskCommand>,
}

/// The door, if there is one, with what it tells.
pub(super) type OpenDoor = Option<(Arc<Door>, mpsc::Receiver<DoorEvent>)>;

/// Takes the door in use.
pub(super) async fn open_door(config: &Config, is_locked_down: bool) -> anyhow::Result<OpenDoor> {
    let door = config.door.clone();
    let started = tokio::task::spawn_blocking(move || Door::start(&door, is_locked_down)).await?;
    Ok(started?.map(|(door, events)| (Arc::new(door), events)))
}

impl Hardware {
    /// Takes everything but the door in use, which `door` is already.
    pub(super) async fn start(
        plan: &Plan,
        device: &ThisDevice,
        rules: Rules,
        door: OpenDoor,
        digits: watch::Receiver<Option<String>>,
    ) -> anyhow::Result<Self> {
        counters::describe();
        entrance::counters::describe();
        let config = &plan.config;
        let stop = CancellationToken::new();
        let (door, door_events) = match door {
            Some((door, events)) => (Some(door), events),
            None => (None, mpsc::channel(1).1),
        };
        let (senders, inbox) = channels(door_events);
        let settings = config.camera.settings().context("[camera]")?;
        let policy = Policy { recognition: config.recognition.clone(), liveness: config.liveness.clone() };
        let is_deliberate = policy.recognition.mode == Mode::Deliberate;
        let has_camera = settings != CameraSettings::Off;
        let (camera, feed) = camera::start(settings).context("the camera")?;
        let recognition = match has_camera {
            true => {
                let badges =
                    config.readers.badge.then(|| Badges::spawn(senders.presented.clone())).transpose()?;
                Some(start_recognition(plan, device, &feed, policy, badges, senders.verdicts)?)
            }
            false => None,
        };
        let card = config.readers.card.clone();
        let card = card.map(|path| CardReader::spawn(path, senders.presented.clone())).transpose()?;
        let view = recognition.as_ref().map_or_else(|| watch::channel(View::default()).1, |eyes| eyes.view());
        let _first = device.parts.camera.set(feed.state.clone());
        let _first = device.parts.view.set(view.clone());
        if let Some(eyes) = &recognition {
            device.enrolments.set_eyes(Arc::clone(eyes), feed.state.clone());
        }
        let announcements = watch::Sender::new(None);
        let (status, zone) = (watch::Sender::default(), watch::Sender::new(device.gallery.zone()));
        let kiosk = match config.kiosk.enabled {
            true => {
                let inputs = kiosk::Inputs {
                    view: view.clone(),
                    announcement: announcements.subscribe(),
                    status: status.subscribe(),
                    preview: recognition.as_ref().map_or_else(LivePicture::default, |eyes| eyes.preview()),
                    zone: zone.subscribe(),
                    enrolment: device.enrolments.shown(),
                    button: if is_deliberate { HereButton::Shown } else { HereButton::Absent },
                    commands: senders.commands,
                };
                Some(Kiosk::build(&config.kiosk, inputs).await?)
            }
            false => None,
        };
        let mut tasks = JoinSet::new();
        let sources = status::Sources {
            device: device.clone(),
            camera: feed.state,
            view,
            lockdown: rules.lockdown.clone(),
            door: door.as_ref().map(|door| door.state()),
            digits,
        };
        tasks.spawn(status::follow(sources, status, zone, stop.clone()));
        let desk = desk(config, device, rules, &door, &recognition, announcements);
        tasks.spawn(desk.run(inbox, stop.clone()));
        let screen = kiosk.as_ref().map(Kiosk::url);
        let kiosk = kiosk.map(Kiosk::spawn);
        Ok(Self { camera, recognition, card, kiosk, screen, door, tasks, stop })
    }

    /// Where the screen's page is.
    pub(super) fn screen(&self) -> Option<&str> {
        self.screen.as_deref()
    }

    /// Returns, with the reason, when recognition cannot go on.
    pub(super) async fn failed(&self) -> String {
        match &self.recognition {
            Some(recognition) => recognition.failed().await.to_string(),
            None => std::future::pending().await,
        }
    }

    /// Whether the thread that recognises goes round.
    pub(super) fn heartbeat(&self) -> impl Fn() -> bool + Send + use<> {
        let recognition = self.recognition.clone();
        move || recognition.as_ref().is_none_or(|recognition| recognition.goes_round())
    }

    /// Gives everything up, in order; the door is locked when this returns.
    pub(super) async fn stop(mut self) {
        if let Some(kiosk) = self.kiosk {
            kiosk.drain(KIOSK_DRAIN).await;
        }
        let (camera, card, recognition) = (self.camera, self.card, self.recognition);
        let joined = tokio::task::spawn_blocking(move || {
            camera.stop();
            drop(card);
            if let Some(recognition) = recognition {
                recognition.end();
            }
        });
        if joined.await.is_err() {
            tracing::error!("camera or recognition did not end well");
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        if tokio::task::spawn_blocking(move || drop(self.door)).await.is_err() {
            tracing::error!("the door did not end well");
        }
    }
}

/// Where the given name stands in the names of this site.
pub(super) fn given_name(config: &Config) -> GivenName {
    match config.kiosk.language {
        Language::En => GivenName::First,
        Language::Vi => GivenName::Last,
    }
}

fn channels(door: mpsc::Receiver<DoorEvent>) -> (Senders, Inbox) {
    let (verdicts, verdicts_in) = mpsc::channel(limits::VERDICTS_WAITING);
    let (presented, presented_in) = mpsc::channel(limits::PRESENTED_WAITING);
    let (commands, commands_in) = mpsc::channel(limits::KIOSK_COMMANDS);
    let inbox = Inbox { verdicts: verdicts_in, presented: presented_in, commands: commands_in, door };
    (Senders { verdicts, presented, commands }, inbox)
}

fn start_recognition(
    plan: &Plan,
    device: &ThisDevice,
    feed: &camera::CameraFeed,
    policy: Policy,
    badges: Option<Badges>,
    verdicts: mpsc::Sender<Verdict>,
) -> anyhow::Result<Arc<Handle>> {
    let models = Models::open(&plan.models);
    let networks = models.and_then(|models| Ok((FaceReader::load(&models)?, models)));
    let (networks, models) =
        networks.with_context(|| format!("the networks in {}", plan.models.display()))?;
    if plan.config.door.has_lock() && policy.liveness.passes_pictures(&models) {
        tracing::warn!(
            "a good photograph of somebody opens this door: see deploy/LIVENESS.md, [liveness] policy"
        );
    }
    let recogniser = device.gallery.recogniser().map_err(|error| anyhow::anyhow!(error))?;
    let setup = recognition::Setup {
        slot: Arc::clone(&feed.slot),
        reading: Box::new(networks),
        judge: recognition::judge(Arc::clone(recogniser)),
        policy,
        badges,
        verdicts,
    };
    Ok(Arc::new(recognition::start(setup).context("the thread that recognises")?))
}

fn desk(
    config: &Config,
    device: &ThisDevice,
    rules: Rules,
    door: &Option<Arc<Door>>,
    recognition: &Option<Arc<Handle>>,
    announcements: watch::Sender<Option<Announcement>>,
) -> Desk {
    Desk {
        log: device.log.clone(),
        gallery: device.gallery.clone(),
        rules,
        door: door.clone(),
        recognition: recognition.clone(),
        alarms: device.alarms.clone(),
        parts: Arc::clone(&device.parts),
        given_name: given_name(config),
        announcements,
        limiter: Limiter::default(),
        has_noted_wait: false,
    }
}
