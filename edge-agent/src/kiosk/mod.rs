//! The screen at the door: a page for a kiosk browser on this machine, served on loopback alone.
//!
//! The way of what is shown: watch channels of the others -> `composer` -> [`state`] -> one JSON text -> `/events` of each
//! viewer. The picture is fetched by the page, one JPEG after another. What is done on the page comes out as
//! [`KioskCommand`].
//!
//! Promises: no page but ours is answered (`guard`), nothing of another origin is loaded, at most
//! [`limits::KIOSK_VIEWERS`] screens at once, and nobody takes more memory or time than `limits` says. No PIN is in an
//! address or a log line. The page reads nothing from the disk and writes nothing to it.

mod composer;
mod config;
mod guard;
mod page;
mod routes;
mod serve;
mod state;
mod texts;

#[cfg(test)]
mod screens;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::{SiteZone, limits};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::enrolment::Guiding;
use crate::entrance::{Announced, Announcement, Status};
use crate::recognition::{LivePicture, Preview, View};

pub use config::{KioskConfig, Language, LoopbackAddress};

/// What was done on the page.
pub enum KioskCommand {
    /// Digits were typed.
    Pin {
        /// 4 to 12 ASCII digits. A secret.
        digits: String,
        /// What was announced because of them, within [`limits::KIOSK_PIN_PATIENCE_SECONDS`].
        reply: oneshot::Sender<Announced>,
    },
    /// "I am here": somebody asks to be looked at.
    ButtonPressed,
}

/// Digits are not for a log.
impl std::fmt::Debug for KioskCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pin { .. } => "Pin",
            Self::ButtonPressed => "ButtonPressed",
        })
    }
}

/// How the door works, as far as the page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HereButton {
    /// No button.
    Absent,
    /// "I am here": nobody is looked at who did not ask for it.
    Shown,
}

/// What the page shows, and where what is done on it goes.
pub struct Inputs {
    /// What the camera shows.
    pub view: watch::Receiver<View>,
    /// The latest announcement.
    pub announcement: watch::Receiver<Option<Announcement>>,
    /// The terminal.
    pub status: watch::Receiver<Status>,
    /// The latest picture, subscribed to while a screen waits for one; after [`limits::KIOSK_PICTURE_AGE_MS`] it is not
    /// shown.
    pub preview: LivePicture,
    /// The site's zone.
    pub zone: watch::Receiver<SiteZone>,
    /// Who is being enrolled.
    pub enrolment: watch::Receiver<Option<Guiding>>,
    /// Whether there is a button.
    pub button: HereButton,
    /// Made with [`limits::KIOSK_COMMANDS`].
    pub commands: mpsc::Sender<KioskCommand>,
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum KioskError {
    /// The address is taken.
    #[error(
        "the screen cannot listen on {address}: {source}; give another [kiosk] address, or enabled = false"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// What was compiled in is wrong.
    #[error("the screen's page is broken: {0}; install the program again")]
    Page(String),
}

/// How long is waited for others.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the head of a request, its body, and the reading of an answer.
    request: Duration,
    /// For the answer to a PIN.
    pin: Duration,
    /// For the next picture.
    picture: Duration,
    /// For the end of a connection.
    connection: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(limits::KIOSK_REQUEST_PATIENCE_SECONDS),
            pin: Duration::from_secs(limits::KIOSK_PIN_PATIENCE_SECONDS),
            picture: Duration::from_millis(limits::KIOSK_PICTURE_WAIT_MS),
            connection: Duration::from_secs(limits::KIOSK_CONNECTION_SECONDS),
        }
    }
}

/// A screen that is bound, and not yet served.
pub struct Kiosk {
    listener: TcpListener,
    address: SocketAddr,
    inputs: Inputs,
    texts: Arc<texts::Texts>,
    page: page::Page,
    patience: Patience,
}

impl Kiosk {
    /// Makes the page and binds.
    ///
    /// # Errors
    /// An address that is taken.
    pub async fn build(config: &KioskConfig, inputs: Inputs) -> Result<Self, KioskError> {
        let texts = Arc::new(texts::Texts::new(config.language).map_err(KioskError::Page)?);
        let page = page::Page::new(config, inputs.button, &texts).map_err(KioskError::Page)?;
        let failed = |source| KioskError::Bind { address: config.address.get(), source };
        let listener = TcpListener::bind(config.address.get()).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, inputs, texts, page, patience: Patience::default() })
    }

    /// Where a browser on this machine finds it.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves from now on.
    pub fn spawn(self) -> Running {
        let (tracker, stopping) = (TaskTracker::new(), CancellationToken::new());
        let Inputs { view, announcement, status, preview, zone, enrolment, button: _, commands } =
            self.inputs;
        let watched = composer::Watched { view, announcement, status, zone, enrolment };
        let (state, states) = watch::channel(Arc::from(""));
        let composed = composer::run(watched, Arc::clone(&self.texts), self.page.id().to_owned(), state);
        let shared = Arc::new(routes::Shared {
            guard: guard::Guard::new(self.address),
            page: self.page,
            texts: self.texts,
            states,
            preview,
            commands,
            viewers: Arc::new(Semaphore::new(limits::KIOSK_VIEWERS)),
            pictures: Semaphore::new(limits::KIOSK_VIEWERS),
            stopping: stopping.clone(),
            patience: self.patience,
        });
        #[cfg(test)]
        let viewers = Arc::clone(&shared.viewers);
        let stop = stopping.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = composed => {}
            }
        });
        let connections = serve::Connections {
            patience: self.patience,
            tracker: tracker.clone(),
            stopping: stopping.clone(),
        };
        tracker.spawn(serve::run(self.listener, routes::router(shared), connections));
        Running {
            tracker,
            stopping,
            #[cfg(test)]
            viewers,
        }
    }
}

/// A screen that is served. Dropped without [`Running::drain`], it stops at once.
pub struct Running {
    tracker: TaskTracker,
    stopping: CancellationToken,
    #[cfg(test)]
    viewers: Arc<Semaphore>,
}

impl Running {
    /// How many screens show the page.
    #[cfg(test)]
    fn viewers(&self) -> usize {
        limits::KIOSK_VIEWERS - self.viewers.available_permits()
    }

    /// Ends every stream and connection, and waits for them for `patience`. Returns how many were left.
    pub async fn drain(self, patience: Duration) -> usize {
        self.stopping.cancel();
        self.tracker.close();
        match tokio::time::timeout(patience, self.tracker.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tracker.len(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
