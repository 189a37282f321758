//! "Turn your head": an attempt to show that somebody is alive, judged by the nose alone.
//!
//! Of a head that turns the nose moves from between the eyes towards one of them, because it stands out; of a picture,
//! flat or bent, it hardly does. Measured in inter-ocular widths: flat prints up to 0.11, a print bent to half a cylinder
//! 0.20 (geometry), heads 0.24 to 0.77. What an attempt asks for, in this order, for each of its sides:
//! 1. the face is seen frontal;
//! 2. the nose moves to that side without a leap, is seen on the way, and beyond 0.27 on two frames;
//! 3. all the while it is one track and the face that was recognised, which is compared on the way.
//!
//! Turning to the wrong side, another face, a track that breaks, and running out of time end it. A leap, which a picture
//! put in place of another makes, begins the turn anew. It does not stop a recording that turns as it is asked to, nor
//! a mask: `deploy/LIVENESS.md`.

use std::time::{Duration, Instant};

use rollcall_core::PersonId;
use rollcall_vision::Embedding;
use sha2::{Digest as _, Sha256};

use super::Prompt;

/// Beyond this offset a head is turned: prints stay below 0.2, and a head with a flat nose reaches 0.24 at 30 degrees.
const TURNED_MIN: f32 = 0.27;

/// Up to this offset a face is frontal.
const FRONTAL_MAX: f32 = 0.12;

/// Frames beyond the limit that a turn needs, and frames on the wrong side that end the attempt: one may be a mistake of
/// the detector.
const TURNED_FRAMES: usize = 2;

/// The nose of a turning head moves by no more from one frame to the next. A frontal picture that is replaced by a
/// turned one moves it by at least 0.15 more than a frontal face may be off, and is never seen on the way.
const STEP_MAX: f32 = 0.2;

/// Nor faster, in inter-ocular widths a second: a head turned by 30 degrees in a tenth of a second.
const SPEED_MAX: f32 = 3.0;

/// Frames are at least so far apart: closer ones would leave less room than the landmarks tremble.
const STEP_TIME_MIN: Duration = Duration::from_millis(40);

/// A track without a frame for longer is broken.
const GAP_MAX: Duration = Duration::from_millis(600);

/// From this cosine on a turned face is the one that was recognised: lower than that of frontal frames, because a turn
/// changes what is seen. A choice: of the scores between two people of LFW one in 300 reaches it.
const TURNED_SAME_MIN: f32 = 0.4;

/// Frames with another face that end the attempt; a single one, a blurred one say, begins the turn anew.
const STRANGE_FRAMES: usize = 2;

/// To which side the nose is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The left of the mirrored picture, which is the person's own left.
    Left,
    /// The right of both.
    Right,
}

impl Side {
    /// How far an offset lies to this side. The camera's picture is not mirrored: somebody who faces it has their own
    /// left at its right, where offsets are positive. A mirrored picture has it at the left, as a mirror does.
    pub fn towards(self, nose_offset: f32) -> f32 {
        match self {
            Self::Left => nose_offset,
            Self::Right => -nose_offset,
        }
    }
}

/// The sides that are asked for: not to be foreseen by whoever does not know the seed, whatever was asked before.
#[derive(Debug)]
pub struct Sides {
    seed: [u8; 32],
    asked: u64,
}

impl Sides {
    /// `seed` must be random.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, asked: 0 }
    }

    /// The next one.
    pub fn next_side(&mut self) -> Side {
        self.asked += 1;
        let digest = Sha256::new().chain_update(self.seed).chain_update(self.asked.to_le_bytes()).finalize();
        if digest[0] & 1 == 0 { Side::Left } else { Side::Right }
    }
}

/// One frame during an attempt.
#[derive(Clone, Copy, Debug)]
pub struct TurnFrame<'a> {
    /// When it was captured.
    pub at: Instant,
    /// As in [`super::Observation`].
    pub nose_offset: f32,
    /// The face, where it can be compared.
    pub embedding: Option<&'a Embedding>,
    /// Whom it alone would name.
    pub names: Option<PersonId>,
}

/// How an attempt stands after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    Going,
    /// Every turn was made; it still ends when another face comes, or time runs out.
    Turned,
    /// It has failed.
    Failed(Failure),
}

/// Why an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No time is left.
    OutOfTime,
    /// The head was turned to the other side.
    WrongSide,
    /// Another face was seen.
    AnotherFace,
    /// The face was out of sight.
    Broken,
}

/// What was seen of the turn that is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    is_frontal_seen: bool,
    is_between_seen: bool,
    /// Frames on the way or beyond that were compared.
    compared: usize,
    /// Frames beyond the limit.
    beyond: usize,
    /// Frames beyond it on the wrong side.
    wrong: usize,
}

/// An attempt.
#[derive(Debug)]
pub struct Challenge {
    /// Who was recognised.
    pub person: PersonId,
    probe: Embedding,
    /// Those that are left.
    sides: Vec<Side>,
    until: Instant,
    last: (Instant, f32),
    turn: Turn,
    strange: usize,
}

impl Challenge {
    /// Asks the person of `probe`, whose nose was at `nose_offset`, to turn to each of `sides`, the last one first.
    pub fn ask(
        person: PersonId,
        probe: Embedding,
        sides: Vec<Side>,
        (at, nose_offset): (Instant, f32),
        time_for_a_turn: Duration,
    ) -> Self {
        let until = at + time_for_a_turn * sides.len() as u32;
        Self { person, probe, sides, until, last: (at, nose_offset), turn: Turn::default(), strange: 0 }
    }

    /// Takes the next frame.
    pub fn step(&mut self, frame: &TurnFrame) -> Step {
        let (last_at, last_offset) = self.last;
        self.last = (frame.at, frame.nose_offset);
        let since = frame.at.saturating_duration_since(last_at);
        if self.is_over(frame.at) {
            return Step::Failed(Failure::OutOfTime);
        }
        if since > GAP_MAX {
            return Step::Failed(Failure::Broken);
        }
        if self.is_strange(frame) {
            self.strange += 1;
            if self.strange >= STRANGE_FRAMES {
                return Step::Failed(Failure::AnotherFace);
            }
            self.begin_anew();
            return Step::Going;
        }
        let Some(&side) = self.sides.last() else { return Step::Turned };
        if is_leap(frame.nose_offset - last_offset, since) {
            self.begin_anew();
        }
        self.follow(side.towards(frame.nose_offset), frame.embedding.is_some())
    }

    /// Whether no time is left at `now`.
    pub fn is_over(&self, now: Instant) -> bool {
        now > self.until
    }

    /// What the person is told.
    pub fn prompt(&self) -> Prompt {
        match self.sides.last() {
            Some(Side::Left) if self.turn.is_frontal_seen => Prompt::TurnLeft,
            Some(Side::Right) if self.turn.is_frontal_seen => Prompt::TurnRight,
            _ => Prompt::HoldStill,
        }
    }

    fn follow(&mut self, towards: f32, is_compared: bool) -> Step {
        let turn = &mut self.turn;
        if towards.abs() <= FRONTAL_MAX && is_compared {
            turn.is_frontal_seen = true;
        }
        if !turn.is_frontal_seen {
            return Step::Going;
        }
        turn.is_between_seen |= (FRONTAL_MAX..TURNED_MIN).contains(&towards);
        turn.compared += usize::from(towards > FRONTAL_MAX && is_compared);
        turn.beyond += usize::from(towards >= TURNED_MIN);
        turn.wrong += usize::from(towards <= -TURNED_MIN);
        if turn.wrong >= TURNED_FRAMES {
            return Step::Failed(Failure::WrongSide);
        }
        if turn.beyond >= TURNED_FRAMES && turn.is_between_seen && turn.compared > 0 {
            self.sides.pop();
            self.turn = Turn::default();
            return if self.sides.is_empty() { Step::Turned } else { Step::Going };
        }
        Step::Going
    }

    fn is_strange(&self, frame: &TurnFrame) -> bool {
        frame.names.is_some_and(|named| named != self.person)
            || frame.embedding.is_some_and(|face| face.cosine(&self.probe) < TURNED_SAME_MIN)
    }

    /// The turn is made again from its beginning; what went the wrong way stays.
    fn begin_anew(&mut self) {
        self.turn = Turn { wrong: self.turn.wrong, ..Turn::default() };
    }
}

/// Whether the nose moved further than that of a head does in this time. An offset that is no number is a leap.
fn is_leap(step: f32, time: Duration) -> bool {
    let most = (SPEED_MAX * time.max(STEP_TIME_MIN).as_secs_f32()).min(STEP_MAX);
    step.is_nan() || step.abs() > most
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const PERSON: PersonId = PersonId::from_bytes([1; 16]);
    const STEP_MS: u64 = 100;

    fn face(x: f32, y: f32) -> Embedding {
        Embedding::normalised(vec![x, y]).unwrap()
    }

    /// Shows `offsets`, ten frames a second, to an attempt that asks for `sides`; the first step that is not going on.
    fn shown(sides: &[Side], offsets: &[f32]) -> Step {
        let start = Instant::now();
        let time = Duration::from_secs(6);
        let mut challenge = Challenge::ask(PERSON, face(1.0, 0.0), sides.to_vec(), (start, 0.0), time);
        let seen = face(1.0, 0.5);
        let steps = offsets.iter().enumerate().map(|(n, &nose_offset)| {
            let at = start + Duration::from_millis(STEP_MS * (n as u64 + 1));
            challenge.step(&TurnFrame { at, nose_offset, embedding: Some(&seen), names: None })
        });
        steps.into_iter().find(|step| *step != Step::Going).unwrap_or(Step::Going)
    }

    #[test]
    fn the_persons_own_left_is_the_left_of_the_mirrored_picture() {
        // The camera's picture, not mirrored, of somebody who faces it and turns to their own left: the nose goes to the
        // picture's right, where x is larger. Mirrored, that is the left.
        let (eyes, nose, inter_ocular) = ([100.0f32, 140.0f32], 134.0f32, 40.0f32);
        let offset = (nose - (eyes[0] + eyes[1]) / 2.0) / inter_ocular;
        let mirrored = |x: f32| 240.0 - x;
        assert!(mirrored(nose) < (mirrored(eyes[0]) + mirrored(eyes[1])) / 2.0);
        assert!(Side::Left.towards(offset) > TURNED_MIN);
        assert!(Side::Right.towards(offset) < -TURNED_MIN);
        assert_eq!(shown(&[Side::Left], &[0.0, 0.15, 0.3, 0.35]), Step::Turned);
        assert_eq!(shown(&[Side::Right], &[0.0, -0.15, -0.3, -0.35]), Step::Turned);
    }

    #[test]
    fn a_turn_is_judged_by_all_that_it_needs() {
        use Failure::{OutOfTime, WrongSide};
        let left = [Side::Left];
        for (offsets, expected) in [
            (&[0.0, 0.1, 0.2, 0.3, 0.3][..], Step::Turned),
            (&[0.0, 0.1, 0.2, 0.3][..], Step::Going),
            (&[0.0, 0.1, 0.2, 0.26, 0.26, 0.26][..], Step::Going),
            // Never frontal.
            (&[0.15, 0.2, 0.3, 0.3, 0.3][..], Step::Going),
            // A leap, and not frontal since.
            (&[0.0, 0.35, 0.35, 0.35][..], Step::Going),
            // Not seen on the way.
            (&[0.11, 0.28, 0.3, 0.35][..], Step::Going),
            // A leap, and then done well.
            (&[0.0, 0.35, 0.2, 0.05, 0.2, 0.3, 0.3][..], Step::Turned),
            (&[0.0, f32::NAN, 0.1, 0.2, 0.3, 0.3][..], Step::Turned),
            (&[0.0, 0.2, f32::NAN, 0.3, 0.3][..], Step::Going),
            (&[0.0, -0.15, -0.3, -0.3][..], Step::Failed(WrongSide)),
            (&[0.0, -0.15, -0.3, -0.15, 0.0, 0.15, 0.3, 0.3][..], Step::Turned),
            (&[0.0; 61][..], Step::Failed(OutOfTime)),
        ] {
            assert_eq!(shown(&left, offsets), expected, "{offsets:?}");
        }
    }

    #[test]
    fn each_of_several_turns_begins_from_the_front() {
        let both = [Side::Right, Side::Left];
        let there = [0.0, 0.15, 0.3, 0.3];
        assert_eq!(shown(&both, &there), Step::Going);
        assert_eq!(shown(&both, &[0.0, 0.15, 0.3, 0.3, 0.15, 0.0, -0.15, -0.3, -0.3]), Step::Turned);
        assert_eq!(shown(&[Side::Left, Side::Left], &[0.0, 0.15, 0.3, 0.3, 0.3, 0.3, 0.3]), Step::Going);
    }

    #[test]
    fn another_face_and_a_gap_end_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ask =
            || Challenge::ask(PERSON, face(1.0, 0.0), vec![Side::Left], (start, 0.0), Duration::from_secs(6));
        let (same, other) = (face(1.0, 0.0), face(0.3, 1.0));
        let frame = |ms, embedding, names| TurnFrame { at: at(ms), nose_offset: 0.0, embedding, names };

        let mut challenge = ask();
        assert_eq!(challenge.step(&frame(100, Some(&other), None)), Step::Going);
        assert_eq!(challenge.step(&frame(200, Some(&other), None)), Step::Failed(Failure::AnotherFace));

        let (mut challenge, stranger) = (ask(), Some(PersonId::from_bytes([2; 16])));
        assert_eq!(challenge.step(&frame(100, Some(&same), stranger)), Step::Going);
        assert_eq!(challenge.step(&frame(200, Some(&same), stranger)), Step::Failed(Failure::AnotherFace));

        let mut challenge = ask();
        assert_eq!(challenge.step(&frame(100, Some(&same), Some(PERSON))), Step::Going);
        assert_eq!(challenge.step(&frame(701, Some(&same), None)), Step::Failed(Failure::Broken));
    }

    #[test]
    fn a_turn_of_which_no_frame_can_be_compared_does_not_count() {
        let start = Instant::now();
        let sides = vec![Side::Left];
        let probe = face(1.0, 0.0);
        let mut challenge =
            Challenge::ask(PERSON, probe.clone(), sides, (start, 0.0), Duration::from_secs(6));
        for (n, nose_offset) in [0.0, 0.15, 0.3, 0.35, 0.35, 0.35].into_iter().enumerate() {
            let at = start + Duration::from_millis(100 * (n as u64 + 1));
            let embedding = (n == 0).then_some(&probe);
            assert_eq!(challenge.step(&TurnFrame { at, nose_offset, embedding, names: None }), Step::Going);
        }
    }

    #[test]
    fn sides_follow_from_the_seed_and_both_come() {
        let draw = |seed| {
            let mut sides = Sides::new([seed; 32]);
            (0..200).map(|_| sides.next_side()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let left = draw(1).into_iter().filter(|side| *side == Side::Left).count();
        assert!((60..140).contains(&left), "{left}");
    }
}
