//! The faces of a gallery: loaded once, then following its changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Gallery;
use crate::recogniser::{FaceOptions, Recogniser, off_runtime};
use crate::{GalleryError, RecogniseError};

/// How often the feed is asked for changes of other processes, and the thresholds are solved again when they are old.
const POLL: Duration = Duration::from_secs(1);

/// Thresholds are not solved again before so many times as long as it took: at most a fifth of a core goes to it.
const CALIBRATION_PAUSES: u32 = 4;

impl Gallery {
    /// Loads the networks and everybody's templates, and solves the thresholds. Once; before it, the calls that need
    /// them answer NOT_SERVED_HERE. [`Gallery::follow_faces`] keeps them up to date.
    ///
    /// # Errors
    /// When a network is missing or the database does not answer.
    pub async fn load_faces(&self, options: FaceOptions) -> Result<Arc<Recogniser>, GalleryError> {
        let key = self.shared.keys.templates.clone();
        let recogniser = Arc::new(off_runtime(move || Recogniser::load(options, &key)).await??);
        let mut tx = self.shared.db.read().await?;
        recogniser.catch_up(&mut tx).await?;
        drop(tx);
        recogniser.calibrate().await?;
        Ok(Arc::clone(self.shared.recogniser.get_or_init(|| recogniser)))
    }

    /// The faces, to decide by.
    ///
    /// # Errors
    /// When they were not loaded.
    pub fn recogniser(&self) -> Result<&Arc<Recogniser>, RecogniseError> {
        self.shared.recogniser.get().ok_or(RecogniseError::NotServed)
    }

    /// Keeps faces and thresholds up to date, for ever: the program runs it as a task. What fails is tried again with
    /// the next change or second.
    pub async fn follow_faces(&self) {
        let Ok(recogniser) = self.recogniser() else { return };
        let mut revisions = self.revisions();
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut not_before = Instant::now();
        loop {
            let ticked = tokio::select! {
                changed = revisions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    false
                }
                _ = poll.tick() => true,
            };
            if let Err(error) = self.follow_once(recogniser).await {
                tracing::warn!(error = %error.fault().reason.as_str(), "the faces could not follow the gallery");
                continue;
            }
            if ticked && recogniser.is_calibration_old() && Instant::now() >= not_before {
                let begun = Instant::now();
                if recogniser.calibrate().await.is_err() {
                    tracing::warn!("the thresholds could not be solved; the former stay in force");
                }
                not_before = Instant::now() + begun.elapsed() * CALIBRATION_PAUSES;
            }
        }
    }

    async fn follow_once(&self, recogniser: &Arc<Recogniser>) -> Result<(), GalleryError> {
        let mut tx = self.shared.db.read().await?;
        recogniser.catch_up(&mut tx).await
    }

    /// The faces with all that this process has committed.
    pub(super) async fn current_faces(&self) -> Result<&Arc<Recogniser>, GalleryError> {
        let recogniser = self.recogniser()?;
        let newest = *self.revisions().borrow();
        if !recogniser.has_followed(newest) {
            self.follow_once(recogniser).await?;
        }
        Ok(recogniser)
    }
}
