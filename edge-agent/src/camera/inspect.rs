//! What cameras there are, and how fast the chosen one is: for `edge-agent doctor`. Prints nothing.

use std::sync::Arc;
use std::time::Duration;

use super::choice::Wanted;
use super::clock::{Clock, SystemClock};
use super::thread::{format_name, guarded};
use super::{CameraError, Grabbed, Settings, Source, v4l};

pub use super::choice::{Offer, OfferedSize};
pub use super::node::{Node, Usability};

/// How long a camera is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// How long it may take to its first frame.
const PATIENCE: Duration = Duration::from_millis(rollcall_core::limits::CAMERA_START_MS);

/// All V4L2 devices by number, or why one cannot be looked at. Of sizes in steps, rates are those of the size that is
/// nearest to what is wanted.
pub fn nodes(wanted: &Wanted) -> Vec<(std::path::PathBuf, Result<Node, CameraError>)> {
    v4l::nodes(wanted)
}

/// What a camera did in two seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Device, program or file.
    pub name: String,
    /// Format and size, such as "MJPEG 640x480".
    pub format: String,
    /// Frames a second that it agreed to, where that is known.
    pub agreed_rate: Option<f64>,
    /// Good frames a second that came.
    pub rate: f64,
    /// Frames that were torn, too short or of another size.
    pub unusable: u64,
}

/// Opens the camera and counts its frames for two seconds, beginning with the first good one. `None` when no camera is
/// configured. Not while the program runs: a camera has one user.
///
/// # Errors
/// When it cannot be opened, fails, or gives no good frame.
pub fn measure(settings: Settings) -> Result<Option<Measured>, CameraError> {
    let clock = Arc::new(SystemClock::default());
    let Some(mut source) = super::source(settings, Arc::clone(&clock) as Arc<dyn Clock>) else {
        return Ok(None);
    };
    measure_source(source.as_mut(), clock.as_ref()).map(Some)
}

pub(super) fn measure_source(source: &mut dyn Source, clock: &dyn Clock) -> Result<Measured, CameraError> {
    let mut camera = guarded("opening", || source.open())?;
    let opened = clock.now();
    let (mut first, mut good, mut unusable) = (None, 0_u64, 0);
    let mut format = String::new();
    let mut why = String::new();
    let mut bytes = Vec::new();
    let over = loop {
        let grabbed = guarded("reading", || camera.next(&mut bytes));
        let now = clock.now();
        match grabbed {
            Ok(Grabbed { layout, passed_over }) => match layout.check(&bytes) {
                Ok(()) => {
                    if first.is_none() {
                        first = Some(now);
                        format = format!("{} {}x{}", format_name(layout.format), layout.width, layout.height);
                    } else {
                        good += 1 + passed_over;
                    }
                }
                Err(error) => {
                    unusable += 1;
                    why = format!("; the latest: {error}");
                }
            },
            Err(CameraError::TimedOut) => {}
            Err(CameraError::Unusable(problem)) => {
                unusable += 1;
                why = format!("; the latest: {problem}");
            }
            Err(CameraError::Ended) if first.is_some() => break now,
            Err(error) => return Err(error),
        }
        match first {
            Some(first) if now.saturating_duration_since(first) >= MEASURED => break now,
            None if now.saturating_duration_since(opened) >= PATIENCE => {
                return Err(CameraError::Silent { camera: camera.name(), why });
            }
            _ => {}
        }
    };
    let seconds = over.saturating_duration_since(first.unwrap_or(over)).as_secs_f64();
    let rate = if seconds > 0.0 { good as f64 / seconds } else { 0.0 };
    let measured = Measured { name: camera.name(), format, agreed_rate: camera.rate(), rate, unusable };
    let _ = guarded("closing", || {
        drop(camera);
        Ok(())
    });
    Ok(measured)
}
