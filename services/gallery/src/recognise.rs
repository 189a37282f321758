//! From a picture to its faces, on threads of their own.
//!
//! Reading a picture takes a tenth of a second to seconds, so no runtime thread does it. A few named threads have a set
//! of networks each and take pictures from one queue of [`limits::INFERENCE_QUEUE`]; when it is full a picture is refused
//! at once ([`RecogniseError::Busy`]), because whoever is at the end of a longer one has given up before it is read. A
//! picture that makes a network panic is lost with an error; the thread goes on with the next.
//!
//! Bombs do not get here: `rollcall_vision::decode` refuses them by their headers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_core::{Fault, Reason, limits};
use rollcall_vision::decode::{DecodeError, decode};
use rollcall_vision::{
    CalibrationError, EmbedError, Embedding, Face, FaceReader, ModelError, Models, Quality, QualityLimits,
};
use tokio::sync::oneshot;

use crate::enrol::{Judgement, face_of, no_face, seen_badly};
use crate::{IndexError, SealError};

/// Smallest face of interest at a door, in pixels: the quality limits ask for 18 between the eyes.
const IDENTIFY_FACE_MIN_PX: u32 = 40;

/// Smallest face looked for in a portrait, in pixels. One of 20 is far too small to enrol, but saying so is better than
/// not seeing it.
const ENROL_FACE_MIN_PX: u32 = 20;

/// And at least this fraction of the shorter side: nobody means a face that is so small, and looking for it in a
/// photograph of 12 megapixels takes seconds.
const ENROL_FACE_MIN_PART: usize = 32;

/// Why faces were not read or compared.
#[derive(Debug, thiserror::Error)]
pub enum RecogniseError {
    /// Not a picture that can be read.
    #[error("{0}")]
    Unreadable(#[from] DecodeError),
    /// No bytes, or more than a request may have.
    #[error("a picture has 1 to {max} bytes, this one {0}; send a smaller one", max = limits::REQUEST_PICTURE_SIZE_BYTES)]
    Size(usize),
    /// No face that can be compared.
    #[error("{0}")]
    NoUsableFace(String),
    /// Too many pictures at once.
    #[error("{max} pictures wait to be read already; try again in a moment", max = limits::INFERENCE_QUEUE)]
    Busy,
    /// This process has no networks.
    #[error("this process does not recognise faces; ask the terminal or the hub")]
    NotServed,
    /// The picture made the program panic.
    #[error("the picture could not be read because of a fault of this program; the log has the message")]
    Panicked,
    /// A network is missing or not the right one.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A network does not fit.
    #[error(transparent)]
    Network(#[from] EmbedError),
    /// The index refuses.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// There is no threshold.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// Nothing can be sealed.
    #[error("a template cannot be sealed: {0}")]
    Seal(#[from] SealError),
    /// A thread cannot be had.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl RecogniseError {
    /// What a caller is told.
    pub fn fault(&self) -> Fault {
        let reason = match self {
            Self::Unreadable(_) | Self::Size(_) => Reason::PictureUnreadable,
            Self::NoUsableFace(_) => Reason::NoUsableFace,
            Self::Busy => Reason::Unavailable,
            Self::NotServed => Reason::NotServedHere,
            Self::Panicked
            | Self::Model(_)
            | Self::Network(_)
            | Self::Index(_)
            | Self::Calibration(_)
            | Self::Seal(_)
            | Self::Thread(_) => Reason::Internal,
        };
        Fault::new(reason, self)
    }
}

/// A face of a picture.
#[derive(Clone, Debug)]
pub struct SeenFace {
    /// Where.
    pub face: Face,
    /// How well it is seen; `None` when its landmarks make no face.
    pub quality: Option<Quality>,
    /// `None` when it is not seen well enough to be compared.
    pub embedding: Option<Embedding>,
}

/// The faces of a picture, the largest first.
#[derive(Clone, Debug)]
pub struct SeenPicture {
    /// Columns, upright.
    pub width_px: usize,
    /// Rows, upright.
    pub height_px: usize,
    /// At most [`limits::FACES_IDENTIFIED`].
    pub faces: Vec<SeenFace>,
}

/// A picture offered for enrolment, as far as it says anything by itself.
#[derive(Clone, Debug)]
pub struct Portrait {
    /// The face meant, when there is one.
    pub face: Option<Face>,
    /// How well it is seen.
    pub quality: Option<Quality>,
    /// Its embedding, or why it is refused.
    pub embedding: Result<Embedding, Judgement>,
}

/// The faces of a picture, with the embeddings of those seen well enough.
///
/// # Errors
/// When the picture cannot be read or a network does not fit.
pub fn read_picture(reader: &mut FaceReader, bytes: &[u8]) -> Result<SeenPicture, RecogniseError> {
    let image = decode(bytes)?;
    let mut found = reader.detect(&image, IDENTIFY_FACE_MIN_PX, &mut |_| {}).map_err(EmbedError::from)?;
    found.truncate(limits::FACES_IDENTIFIED);
    let mut faces = Vec::with_capacity(found.len());
    for face in found {
        let looked = reader.look(&image, &face);
        let embedding = match &looked {
            Some((aligned, quality)) if quality.issues(&QualityLimits::RECOGNISE).is_empty() => {
                Some(reader.embed(aligned)?)
            }
            _ => None,
        };
        faces.push(SeenFace { face, quality: looked.map(|(_, quality)| quality), embedding });
    }
    Ok(SeenPicture { width_px: image.width(), height_px: image.height(), faces })
}

/// The face that a portrait is of, if it is good enough to learn from.
///
/// # Errors
/// When a network does not fit. A picture that cannot be read is refused like any other.
pub fn read_portrait(reader: &mut FaceReader, bytes: &[u8]) -> Result<Portrait, RecogniseError> {
    let refused = |judgement| Ok(Portrait { face: None, quality: None, embedding: Err(judgement) });
    let image = match decode(bytes) {
        Ok(image) => image,
        Err(error) => return refused(Judgement::unreadable(error)),
    };
    let part = image.width().min(image.height()) / ENROL_FACE_MIN_PART;
    let face_min_px = ENROL_FACE_MIN_PX.max(u32::try_from(part).unwrap_or(u32::MAX));
    let faces = reader.detect(&image, face_min_px, &mut |_| {}).map_err(EmbedError::from)?;
    let face = match face_of(&faces, image.width(), image.height()) {
        Ok(face) => *face,
        Err(judgement) => return refused(judgement),
    };
    let Some((aligned, quality)) = reader.look(&image, &face) else {
        return refused(no_face());
    };
    let embedding = match seen_badly(&quality) {
        Some(judgement) => Err(judgement),
        None => Ok(reader.embed(&aligned)?),
    };
    Ok(Portrait { face: Some(face), quality: Some(quality), embedding })
}

type Job = Box<dyn FnOnce(&mut FaceReader) + Send>;

/// The threads that read faces. They end when this is dropped and the queue is empty.
pub(crate) struct Inference {
    queue: SyncSender<Job>,
}

impl Inference {
    /// Loads the networks once for each of `threads` threads, and starts these.
    pub(crate) fn start(models: &Models, threads: usize) -> Result<Self, RecogniseError> {
        let (queue, jobs) = sync_channel(limits::INFERENCE_QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let (mut reader, jobs) = (FaceReader::load(models)?, Arc::clone(&jobs));
            std::thread::Builder::new()
                .name(format!("faces-{number}"))
                .spawn(move || work(&jobs, &mut reader))?;
        }
        Ok(Self { queue })
    }

    /// Runs `job` on one of the threads.
    ///
    /// # Errors
    /// [`RecogniseError::Busy`] when the queue is full, [`RecogniseError::Panicked`], and what `job` returns.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut FaceReader) -> Result<T, RecogniseError> + Send + 'static,
    ) -> Result<T, RecogniseError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            // Whoever asked may have gone while the picture waited.
            if !answer.is_closed() {
                let _gone = answer.send(job(reader));
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => answered.await.unwrap_or(Err(RecogniseError::Panicked)),
            Err(TrySendError::Full(_)) => Err(RecogniseError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(RecogniseError::Panicked),
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>, reader: &mut FaceReader) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The buffers of a reader are filled anew for each picture, so a panic leaves nothing half done in them.
        if catch_unwind(AssertUnwindSafe(|| job(&mut *reader))).is_err() {
            tracing::error!("reading faces panicked; that picture is lost");
        }
    }
}

/// The bytes of a picture in a request, if they can be one.
///
/// # Errors
/// [`RecogniseError::Size`].
pub(crate) fn checked_size(bytes: &[u8]) -> Result<(), RecogniseError> {
    match bytes.len() {
        1..=limits::REQUEST_PICTURE_SIZE_BYTES => Ok(()),
        size => Err(RecogniseError::Size(size)),
    }
}
