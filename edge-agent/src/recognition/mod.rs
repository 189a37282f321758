//! From frames to verdicts: who passes.
//!
//! A thread named `recognition` ([`thread`]) takes the latest frame, follows faces over frames ([`track`],
//! [`pipeline`]), gathers what each says ([`passage`]) and sends one [`Verdict`] for each passage. What people see of it
//! meanwhile is the [`View`]. The decision is a pure state machine: time and evidence in, verdict out. It knows no door
//! and no log.

pub mod attempts;
pub mod budget;
pub mod capture;
pub mod challenge;
pub mod counters;
pub mod decider;
pub mod deliberate;
pub mod evidence;
pub mod liveness;
pub mod motion;
pub mod passage;
pub mod picture;
pub mod pipeline;
pub mod policy;
pub mod reading;
pub mod thread;
pub mod track;

use std::sync::Arc;
use std::time::Instant;

use rollcall_core::PersonId;
use rollcall_gallery::decide::{Outcome, Trace};
use rollcall_vision::{Embedding, Quality, Rect};
use tokio::sync::watch;

/// Which track: from 1, never used again while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u64);

/// What one frame says of one face.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When the frame was captured.
    pub at: Instant,
    /// Where, in parts of the picture's width and height, 0 to 1, not mirrored.
    pub bounds: Rect,
    /// How well the face is seen.
    pub quality: Quality,
    /// `None` when it is not seen well enough to be compared.
    pub embedding: Option<Embedding>,
    /// How far the nose lies from the middle of the eyes along the line of the eyes, in inter-ocular widths; positive to
    /// the picture's right.
    pub nose_offset: f32,
    /// What the liveness network says, 0 to 1; `None` without one.
    pub liveness: Option<f32>,
}

/// What is known of somebody's being alive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Liveness {
    /// It was not asked.
    NotChecked,
    /// It could not be asked: too many attempts have failed here, or with this face.
    TooManyFailed,
    /// The head was turned as asked.
    ChallengePassed,
    /// It was not.
    ChallengeFailed,
    /// The network's score reaches what the site asks.
    NetworkPassed,
    /// It does not.
    NetworkFailed,
}

/// What became of one passage.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Of which track.
    pub track: TrackId,
    /// Whose face it is; [`Outcome::Recognised`] alone names somebody, and then liveness was not failed.
    pub outcome: Outcome,
    /// What is known of their being alive.
    pub liveness: Liveness,
    /// Whoever was recognised although liveness failed: for the log's refusal, never for the screen.
    pub refused: Option<PersonId>,
    /// The two between whom it cannot be told, where the outcome is [`Outcome::Ambiguous`]; for the screen's "Anna or
    /// Ella?", never for the log.
    pub between: Option<(PersonId, PersonId)>,
    /// Why.
    pub trace: Trace,
    /// The newest frame that counted. A verdict whose evidence is older than a second opens nothing.
    pub evidence_at: Instant,
    /// The first frame of the track in which the face was good enough.
    pub first_good_at: Instant,
}

/// What somebody before the camera is asked to do, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing: look here.
    Wait,
    /// The face is too small.
    ComeCloser,
    /// The face is too dark.
    MoreLight,
    /// The face is seen well and being compared.
    HoldStill,
    /// Turn the head so that the nose goes to the left of the mirrored picture.
    TurnLeft,
    /// The same to the right.
    TurnRight,
    /// It was decided.
    Done,
}

/// A face on the screen.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceInView {
    /// Which track.
    pub track: TrackId,
    /// Where, in parts of the picture's width and height, 0 to 1, not mirrored.
    pub bounds: Rect,
    /// What it is told.
    pub prompt: Prompt,
}

/// How the picture is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureState {
    /// As it should be, or not known yet.
    #[default]
    Fine,
    /// Next to no light in it.
    Black,
    /// The same picture again and again.
    Frozen,
    /// Something is before the lens.
    Covered,
    /// Next to everything is white.
    Overexposed,
}

/// The live picture, for the screen.
#[derive(Clone, Debug)]
pub struct Preview {
    /// A whole JPEG, not mirrored.
    pub jpeg: Arc<[u8]>,
    /// Of the frame: another one than that of the picture before.
    pub number: u64,
    /// When it was captured.
    pub captured: Instant,
}

/// Where the live picture is put, for whoever subscribes: it is made only while somebody does.
pub type LivePicture = watch::Sender<Option<Preview>>;

/// What the camera's picture shows, for the screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The faces that are followed.
    pub faces: Vec<FaceInView>,
    /// How the picture is.
    pub picture: PictureState,
}
