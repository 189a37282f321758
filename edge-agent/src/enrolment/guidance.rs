//! What whoever is being enrolled is asked to do, and which frames become pictures. Pure: glimpses, verdicts and times in.
//!
//! Five pictures: twice straight ahead, once a little to either side, and once more ahead. Turning is measured against
//! how the same person looked ahead, because a camera hangs askew and a nose is seldom in the middle. Who cannot turn, or
//! does not, is enrolled all the same: a side that was asked for in vain is replaced by one more picture from ahead.

use std::time::{Duration, Instant};

use rollcall_core::limits;
use rollcall_proto::v1;
use rollcall_proto::v1::EnrolmentPrompt as Ask;
use rollcall_vision::{Quality, QualityIssue, QualityLimits};

use crate::recognition::capture::Glimpse;

/// A face turned less is one that looks ahead, in degrees. People stand as they do, and the measure errs by as much.
const AHEAD_MAX_DEG: f32 = 14.0;

/// A face that is turned so much further than when it looked ahead is turned to the side.
const SIDE_MIN_DEG: f32 = 7.0;

/// Between two pictures: people move meanwhile, and what is asked next is read.
const PICTURE_EVERY: Duration = Duration::from_millis(700);

/// A side is asked for so long while the face is seen well.
const SIDE_PATIENCE: Duration = Duration::from_secs(5);

/// A face that was not seen for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// See [`limits::ENROLMENT_SECONDS`].
const LASTS: Duration = Duration::from_secs(limits::ENROLMENT_SECONDS);

/// See [`limits::ENROLMENT_ARRIVAL_SECONDS`].
const ARRIVES_WITHIN: Duration = Duration::from_secs(limits::ENROLMENT_ARRIVAL_SECONDS);

/// How the head is held on a picture. Sides are the person's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pose {
    /// Looking at the camera.
    Ahead,
    /// Turned a little to the left.
    Left,
    /// Turned a little to the right.
    Right,
}

/// In this order.
const WANTED: [Pose; limits::ENROLMENT_PICTURES] =
    [Pose::Ahead, Pose::Ahead, Pose::Left, Pose::Right, Pose::Ahead];

/// What follows from a glimpse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// What the person is asked to do.
    pub ask: Ask,
    /// How well the face is seen, 0 to 1; 1: well enough.
    pub quality: f32,
    /// Whether the glimpse's picture is to be enrolled, and as what.
    pub takes: Option<Taken>,
}

/// A picture that is offered to the gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    pose: Pose,
    yaw_deg: f32,
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every picture was made.
    Complete,
    /// A face looks like somebody else's: whoever is responsible has to look.
    LooksLike,
    /// Too many pictures were refused.
    Refused,
    /// Time is over.
    TimeOver,
    /// Nobody came before the camera.
    NobodyCame,
}

/// See the module.
#[derive(Debug)]
pub struct Guidance {
    begun: Instant,
    enrolled: usize,
    refused: usize,
    looks_like: bool,
    /// Yaw of each picture from ahead.
    ahead_deg: Vec<f32>,
    taken_at: Option<Instant>,
    face_at: Option<Instant>,
    /// Since when the pose that is wanted is asked of a face that is seen well.
    asked_at: Option<Instant>,
    /// What was said last: a face that is out of sight for a moment changes nothing.
    said: Option<(Ask, f32)>,
}

impl Guidance {
    /// Begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            begun: now,
            enrolled: 0,
            refused: 0,
            looks_like: false,
            ahead_deg: Vec::new(),
            taken_at: None,
            face_at: None,
            asked_at: None,
            said: None,
        }
    }

    /// Pictures that became templates.
    pub fn enrolled(&self) -> usize {
        self.enrolled
    }

    /// What follows from what is seen.
    pub fn see(&mut self, seen: &Glimpse, now: Instant) -> Step {
        let step = match seen {
            Glimpse::Nobody => {
                let is_gone = |at| now.saturating_duration_since(at) >= GONE_AFTER;
                let (ask, quality) = match self.said {
                    Some(said) if !self.face_at.is_none_or(is_gone) => said,
                    _ => (Ask::ComeHere, 0.0),
                };
                Step { ask, quality, takes: None }
            }
            Glimpse::Several => Step { ask: Ask::OnePersonOnly, quality: 0.0, takes: None },
            Glimpse::Face { quality, is_whole, picture } => {
                self.face_at = Some(now);
                let whole = is_whole.then_some(quality);
                let (ask, fits) = self.look(whole, now);
                let takes = fits.filter(|_| picture.is_some() && self.is_due(now));
                Step { ask, quality: share(quality), takes }
            }
        };
        self.said = Some((step.ask, step.quality));
        step
    }

    /// What the gallery made of a picture.
    pub fn judged(&mut self, taken: Taken, verdict: v1::Verdict, now: Instant) {
        self.taken_at = Some(now);
        match verdict {
            v1::Verdict::Enrolled => {
                self.enrolled += 1;
                self.asked_at = None;
                if taken.pose == Pose::Ahead {
                    self.ahead_deg.push(taken.yaw_deg);
                }
            }
            v1::Verdict::LooksLike => self.looks_like = true,
            _ => self.refused += 1,
        }
    }

    /// Whether it is over.
    pub fn end(&self, now: Instant) -> Option<End> {
        let lasted = now.saturating_duration_since(self.begun);
        if self.enrolled >= WANTED.len() {
            Some(End::Complete)
        } else if self.looks_like {
            Some(End::LooksLike)
        } else if self.refused >= limits::ENROLMENT_REFUSALS {
            Some(End::Refused)
        } else if self.face_at.is_none() && lasted >= ARRIVES_WITHIN {
            Some(End::NobodyCame)
        } else {
            (lasted >= LASTS).then_some(End::TimeOver)
        }
    }

    /// What a face is asked for, and as what it can be taken. `whole` is its quality where all of it is seen.
    fn look(&mut self, whole: Option<&Quality>, now: Instant) -> (Ask, Option<Taken>) {
        let Some(quality) = whole else { return (Ask::MoveToTheMiddle, None) };
        let pose = self.wanted(now);
        if let Some(complaint) = complaint(quality, pose) {
            return (complaint, None);
        }
        self.asked_at.get_or_insert(now);
        match self.is_held(pose, quality.yaw_deg) {
            true => (Ask::HoldStill, Some(Taken { pose, yaw_deg: quality.yaw_deg })),
            false => (asks_for(pose), None),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.taken_at.is_none_or(|last| now.saturating_duration_since(last) >= PICTURE_EVERY)
    }

    fn wanted(&self, now: Instant) -> Pose {
        let in_vain = |at: Instant| now.saturating_duration_since(at) >= SIDE_PATIENCE;
        match WANTED.get(self.enrolled) {
            Some(pose) if !self.asked_at.is_some_and(in_vain) => *pose,
            _ => Pose::Ahead,
        }
    }

    /// Whether a head with this yaw is held as wanted.
    fn is_held(&self, pose: Pose, yaw_deg: f32) -> bool {
        let ahead_deg = self.ahead_deg.iter().sum::<f32>() / self.ahead_deg.len().max(1) as f32;
        match pose {
            Pose::Ahead => yaw_deg.abs() <= AHEAD_MAX_DEG,
            // The nose of whoever turns to their left goes to the right of the picture.
            Pose::Left => yaw_deg - ahead_deg >= SIDE_MIN_DEG,
            Pose::Right => ahead_deg - yaw_deg >= SIDE_MIN_DEG,
        }
    }
}

fn asks_for(pose: Pose) -> Ask {
    match pose {
        Pose::Ahead => Ask::LookStraight,
        Pose::Left => Ask::TurnALittleLeft,
        Pose::Right => Ask::TurnALittleRight,
    }
}

/// What to do about the first thing that keeps a face from being enrolled: light and distance first, because what comes
/// after them follows from them.
fn complaint(quality: &Quality, pose: Pose) -> Option<Ask> {
    let rank = |issue: &QualityIssue| match issue {
        QualityIssue::Small { .. } => 0,
        QualityIssue::Dark { .. } | QualityIssue::Bright { .. } | QualityIssue::Flat { .. } => 1,
        QualityIssue::Turned { .. } | QualityIssue::Tilted { .. } | QualityIssue::Nodding { .. } => 2,
        QualityIssue::Blurred { .. } => 3,
    };
    let issue = quality.issues(&QualityLimits::ENROL).into_iter().min_by_key(rank)?;
    let (_, highest) = QualityLimits::ENROL.nose_height;
    Some(match issue {
        QualityIssue::Small { .. } => Ask::ComeCloser,
        QualityIssue::Dark { .. } | QualityIssue::Flat { .. } => Ask::MoreLight,
        QualityIssue::Bright { .. } => Ask::LessLight,
        QualityIssue::Turned { .. } => match (pose, quality.yaw_deg > 0.0) {
            (Pose::Left, true) | (Pose::Right, false) => Ask::TurnBackALittle,
            _ => asks_for(pose),
        },
        QualityIssue::Tilted { .. } => Ask::LookStraight,
        QualityIssue::Nodding { height } if height > highest => Ask::ChinUp,
        QualityIssue::Nodding { .. } => Ask::ChinDown,
        QualityIssue::Blurred { .. } => Ask::HoldStill,
    })
}

/// How near a face is to being good enough, 0 to 1: by what it lacks most.
fn share(quality: &Quality) -> f32 {
    let limits = QualityLimits::ENROL;
    let (darkest, brightest) = limits.brightness;
    let at_most = |value: f32, max: f32| max / value.abs().max(max);
    let shares = [
        quality.inter_ocular_px / limits.inter_ocular_min_px,
        quality.sharpness / limits.sharpness_min,
        quality.contrast / limits.contrast_min,
        quality.brightness / darkest,
        (255.0 - quality.brightness) / (255.0 - brightest),
        at_most(quality.yaw_deg, limits.yaw_max_deg),
        at_most(quality.roll_deg, limits.roll_max_deg),
    ];
    shares.into_iter().fold(1.0, f32::min).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(100);

    fn good(yaw_deg: f32) -> Quality {
        Quality {
            inter_ocular_px: 50.0,
            sharpness: 12.0,
            yaw_deg,
            roll_deg: 0.0,
            nose_height: 0.5,
            brightness: 120.0,
            contrast: 50.0,
        }
    }

    fn face(quality: Quality) -> Glimpse {
        Glimpse::Face { quality, is_whole: true, picture: Some(Vec::new()) }
    }

    /// Somebody who does what they are asked, ten frames a second, until it is over.
    struct Person {
        guidance: Guidance,
        now: Instant,
        begun: Instant,
        asked: Vec<Ask>,
        poses: Vec<Pose>,
    }

    impl Person {
        fn new() -> Self {
            let begun = Instant::now();
            Self { guidance: Guidance::new(begun), now: begun, begun, asked: Vec::new(), poses: Vec::new() }
        }

        fn see(&mut self, seen: &Glimpse, verdict: v1::Verdict) -> Step {
            self.now += FRAME;
            let step = self.guidance.see(seen, self.now);
            if self.asked.last() != Some(&step.ask) {
                self.asked.push(step.ask);
            }
            if let Some(taken) = step.takes {
                self.guidance.judged(taken, verdict, self.now);
                self.poses.push(taken.pose);
            }
            step
        }

        fn play(&mut self, frames: u32, seen: &Glimpse) {
            for _ in 0..frames {
                self.see(seen, v1::Verdict::Enrolled);
            }
        }

        fn until_over(&mut self, verdict: v1::Verdict, mut yaw_deg: impl FnMut(Ask) -> f32) -> End {
            let mut ask = Ask::LookStraight;
            loop {
                ask = self.see(&face(good(yaw_deg(ask))), verdict).ask;
                if let Some(end) = self.guidance.end(self.now) {
                    return end;
                }
            }
        }

        fn seconds(&self) -> f32 {
            (self.now - self.begun).as_secs_f32()
        }
    }

    #[test]
    fn whoever_does_as_asked_is_enrolled_in_ten_seconds_from_three_sides() {
        for ahead_deg in [-11.0, 0.0, 11.0] {
            let mut person = Person::new();
            let mut yaw_deg = ahead_deg;
            let end = person.until_over(v1::Verdict::Enrolled, |ask| {
                yaw_deg = match ask {
                    Ask::TurnALittleLeft => ahead_deg + 9.0,
                    Ask::TurnALittleRight => ahead_deg - 9.0,
                    Ask::HoldStill => yaw_deg,
                    _ => ahead_deg,
                };
                yaw_deg
            });
            assert_eq!(end, End::Complete);
            assert_eq!(person.poses[..2], [Pose::Ahead; 2]);
            assert!(person.poses.contains(&Pose::Left) && person.poses.contains(&Pose::Right));
            assert!(person.seconds() <= 10.0, "{}", person.seconds());
        }
    }

    #[test]
    fn whoever_does_not_turn_is_enrolled_from_ahead() {
        let mut person = Person::new();
        assert_eq!(person.until_over(v1::Verdict::Enrolled, |_| 0.0), End::Complete);
        assert_eq!(person.poses, [Pose::Ahead; 5]);
        assert!(person.seconds() < limits::ENROLMENT_SECONDS as f32);
    }

    #[test]
    fn what_is_wrong_is_said_in_the_order_in_which_it_is_mended() {
        let small = |q| Quality { inter_ocular_px: 29.0, ..q };
        let dark = |q| Quality { brightness: 49.0, ..q };
        let blurred = |q| Quality { sharpness: 4.9, ..q };
        for (quality, ask) in [
            (small(dark(blurred(good(0.0)))), Ask::ComeCloser),
            (dark(blurred(good(0.0))), Ask::MoreLight),
            (Quality { contrast: 14.0, ..good(0.0) }, Ask::MoreLight),
            (Quality { brightness: 216.0, ..good(0.0) }, Ask::LessLight),
            (blurred(good(0.0)), Ask::HoldStill),
            (blurred(good(30.0)), Ask::LookStraight),
            (good(30.0), Ask::LookStraight),
            (good(20.0), Ask::LookStraight),
            (Quality { roll_deg: -26.0, ..good(0.0) }, Ask::LookStraight),
            (Quality { nose_height: 0.8, ..good(0.0) }, Ask::ChinUp),
            (Quality { nose_height: 0.2, ..good(0.0) }, Ask::ChinDown),
            (good(0.0), Ask::HoldStill),
        ] {
            let mut person = Person::new();
            let step = person.see(&face(quality), v1::Verdict::Enrolled);
            assert_eq!(step.ask, ask, "{quality:?}");
            let is_good = quality.issues(&QualityLimits::ENROL).is_empty();
            assert_eq!(step.takes.is_some(), is_good && ask == Ask::HoldStill, "{quality:?}");
            assert!(!is_good || step.quality == 1.0);
        }
        let mut person = Person::new();
        person.play(20, &face(good(0.0)));
        assert_eq!(person.see(&face(good(30.0)), v1::Verdict::Enrolled).ask, Ask::TurnBackALittle);
        assert_eq!(person.see(&face(good(-30.0)), v1::Verdict::Enrolled).ask, Ask::TurnALittleLeft);
    }

    #[test]
    fn nothing_is_taken_of_two_people_of_a_cut_face_or_too_soon() {
        let mut person = Person::new();
        assert_eq!(person.see(&Glimpse::Several, v1::Verdict::Enrolled).ask, Ask::OnePersonOnly);
        let cut = Glimpse::Face { quality: good(0.0), is_whole: false, picture: Some(Vec::new()) };
        assert_eq!(person.see(&cut, v1::Verdict::Enrolled).ask, Ask::MoveToTheMiddle);
        let without = Glimpse::Face { quality: good(0.0), is_whole: true, picture: None };
        assert_eq!(person.see(&without, v1::Verdict::Enrolled).ask, Ask::HoldStill);
        assert!(person.poses.is_empty());
        person.play(7, &face(good(0.0)));
        assert_eq!(person.poses.len(), 1);
        person.play(1, &face(good(0.0)));
        assert_eq!(person.poses.len(), 2);
    }

    #[test]
    fn whoever_is_out_of_sight_for_a_moment_is_not_called() {
        let mut person = Person::new();
        person.play(1, &Glimpse::Nobody);
        person.play(1, &face(good(0.0)));
        person.play(9, &Glimpse::Nobody);
        assert_eq!(person.asked, [Ask::ComeHere, Ask::HoldStill]);
        person.play(1, &Glimpse::Nobody);
        assert_eq!(person.asked.last(), Some(&Ask::ComeHere));
    }

    #[test]
    fn it_ends_in_time_and_when_it_leads_nowhere() {
        let mut person = Person::new();
        person.play(149, &Glimpse::Nobody);
        assert_eq!(person.guidance.end(person.now), None);
        person.play(1, &Glimpse::Nobody);
        assert_eq!(person.guidance.end(person.now), Some(End::NobodyCame));
        let mut person = Person::new();
        person.play(1, &face(Quality { inter_ocular_px: 10.0, ..good(0.0) }));
        person.play(298, &Glimpse::Nobody);
        assert_eq!(person.guidance.end(person.now), None);
        person.play(1, &Glimpse::Nobody);
        assert_eq!(person.guidance.end(person.now), Some(End::TimeOver));
        for (verdict, end, pictures) in
            [(v1::Verdict::LooksLike, End::LooksLike, 1), (v1::Verdict::Blurred, End::Refused, 5)]
        {
            let mut person = Person::new();
            assert_eq!(person.until_over(verdict, |_| 0.0), end);
            assert_eq!((person.guidance.enrolled(), person.poses.len()), (0, pictures));
        }
    }
}
