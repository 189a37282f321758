//! What the inputs say, without bounces: the door contact with its alarms, the exit button, the fire input. State
//! machines over time, without pins.
//!
//! "Forced" needs to know who goes out: without an exit button, somebody who leaves by the handle looks the same as
//! somebody who forces the door. So where no exit button is wired, nothing is called forced. In a fire there are no
//! alarms of the contact.

use std::time::{Duration, Instant};

use super::DoorEvent;
use super::pins::Inputs;

/// For so long a contact must not change before it counts. Reeds and buttons bounce for some milliseconds.
pub const DEBOUNCE: Duration = Duration::from_millis(30);

/// Opening so shortly after the lock was released is not forced: a bolt moves slowly, and people do.
pub const GRACE: Duration = Duration::from_secs(2);

/// An input whose changes count once they have lasted. The first reading counts at once.
#[derive(Clone, Debug, Default)]
pub struct Debounced {
    level: Option<bool>,
    changing_since: Option<Instant>,
}

impl Debounced {
    /// Takes a reading; gives the new level when that has changed.
    pub fn read(&mut self, level: bool, now: Instant) -> Option<bool> {
        if self.level == Some(level) {
            self.changing_since = None;
            return None;
        }
        let since = *self.changing_since.get_or_insert(now);
        if self.level.is_some() && now < since + DEBOUNCE {
            return None;
        }
        self.changing_since = None;
        self.level = Some(level);
        Some(level)
    }

    /// The level that counts; none before the first reading.
    pub fn level(&self) -> Option<bool> {
        self.level
    }

    /// When a change would count if it lasts.
    pub fn due(&self) -> Option<Instant> {
        self.changing_since.map(|since| since + DEBOUNCE)
    }
}

/// The exit button: one press is one opening, however long it lasts. Pressed when we start is no press: a stuck button
/// must not open at every start.
#[derive(Clone, Debug, Default)]
pub struct ExitButton(Debounced);

impl ExitButton {
    /// Takes a reading; whether the button was pressed.
    pub fn read(&mut self, is_pressed: bool, now: Instant) -> bool {
        let is_first = self.0.level().is_none();
        self.0.read(is_pressed, now) == Some(true) && !is_first
    }

    /// When to read again.
    pub fn due(&self) -> Option<Instant> {
        self.0.due()
    }
}

/// The door contact.
#[derive(Clone, Debug)]
pub struct Contact {
    held_open: Duration,
    input: Debounced,
    /// When the alarm is due; none while it is closed or after the alarm was given.
    alarm_at: Option<Instant>,
    released_last: Option<Instant>,
}

/// What the contact is read together with.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Whether the lock is released.
    pub is_released: bool,
    /// Whether there is a fire.
    pub is_fire: bool,
    /// Whether the lock is one that can be forced: there is a lock, and an exit button.
    pub can_be_forced: bool,
}

impl Contact {
    /// A contact of which nothing is known yet.
    pub fn new(held_open: Duration) -> Self {
        Self { held_open, input: Debounced::default(), alarm_at: None, released_last: None }
    }

    /// Takes a reading and gives what has happened.
    pub fn read(&mut self, inputs: Inputs, around: Around, now: Instant) -> Option<DoorEvent> {
        if around.is_released {
            self.released_last = Some(now);
        }
        let is_open = inputs.is_open?;
        let is_first = self.input.level().is_none();
        match self.input.read(is_open, now) {
            // Whoever starts us with the door open wants no event, but the alarm if it stays so.
            Some(true) if is_first => self.alarm_at = Some(now + self.held_open),
            Some(false) if is_first => {}
            Some(true) => {
                self.alarm_at = Some(now + self.held_open);
                let is_permitted = self.released_last.is_some_and(|at| now < at + GRACE);
                let is_forced = around.can_be_forced && !around.is_fire && !is_permitted;
                return Some(if is_forced { DoorEvent::Forced } else { DoorEvent::Opened });
            }
            Some(false) => {
                self.alarm_at = None;
                return Some(DoorEvent::Closed);
            }
            None => {}
        }
        if around.is_fire {
            self.alarm_at = self.alarm_at.map(|_| now + self.held_open);
        }
        let is_due = self.alarm_at.is_some_and(|at| at <= now);
        is_due.then(|| {
            self.alarm_at = None;
            DoorEvent::HeldOpen
        })
    }

    /// Whether the door is open; none while that is not known.
    pub fn is_open(&self) -> Option<bool> {
        self.input.level()
    }

    /// When to read again.
    pub fn due(&self) -> Option<Instant> {
        self.input.due().into_iter().chain(self.alarm_at).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HELD_OPEN: Duration = Duration::from_secs(30);

    type Happened = Vec<(u64, DoorEvent)>;

    struct Story {
        contact: Contact,
        zero: Instant,
        happened: Happened,
    }

    impl Story {
        fn new() -> Self {
            Self { contact: Contact::new(HELD_OPEN), zero: Instant::now(), happened: Vec::new() }
        }

        /// Reads every 10 ms from `from` until `to`.
        fn read(mut self, ms: std::ops::Range<u64>, is_open: bool, around: Around) -> Self {
            let inputs = Inputs { is_open: Some(is_open), ..Inputs::default() };
            for ms in ms.step_by(10) {
                let event = self.contact.read(inputs, around, self.zero + Duration::from_millis(ms));
                self.happened.extend(event.map(|event| (ms, event)));
            }
            self
        }
    }

    const LOCKED: Around = Around { is_released: false, is_fire: false, can_be_forced: true };
    const RELEASED: Around = Around { is_released: true, ..LOCKED };
    const FIRE: Around = Around { is_released: true, is_fire: true, can_be_forced: true };
    const NO_EXIT: Around = Around { can_be_forced: false, ..LOCKED };

    #[test]
    fn the_contact_says_what_happened_as_the_table_says() {
        use DoorEvent::*;
        let story = Story::new;
        let cases: Vec<(&str, Story, Happened)> = vec![
            ("nothing", story().read(0..99_000, false, LOCKED), vec![]),
            (
                "in and closed",
                story().read(0..100, false, RELEASED).read(100..3_000, true, RELEASED).read(
                    3_000..9_000,
                    false,
                    LOCKED,
                ),
                vec![(130, Opened), (3_030, Closed)],
            ),
            (
                "forced",
                story().read(0..5_000, false, LOCKED).read(5_000..6_000, true, LOCKED),
                vec![(5_030, Forced)],
            ),
            (
                "opened just after the lock has locked",
                story().read(0..100, false, RELEASED).read(100..1_900, false, LOCKED).read(
                    1_900..2_000,
                    true,
                    LOCKED,
                ),
                vec![(1_930, Opened)],
            ),
            (
                "out by the handle where there is no exit button",
                story().read(0..5_000, false, NO_EXIT).read(5_000..6_000, true, NO_EXIT),
                vec![(5_030, Opened)],
            ),
            (
                "held open, told once",
                story().read(0..100, false, RELEASED).read(100..99_000, true, LOCKED),
                vec![(130, Opened), (30_130, HeldOpen)],
            ),
            ("open at the start", story().read(0..99_000, true, LOCKED), vec![(30_000, HeldOpen)]),
            (
                "a bounce is nothing",
                story().read(0..5_000, false, LOCKED).read(5_000..5_030, true, LOCKED).read(
                    5_030..6_000,
                    false,
                    LOCKED,
                ),
                vec![],
            ),
            (
                "no alarm in a fire, and its time begins anew after it",
                story().read(0..100, false, FIRE).read(100..60_000, true, FIRE).read(
                    60_000..99_000,
                    true,
                    LOCKED,
                ),
                vec![(130, Opened), (89_990, HeldOpen)],
            ),
        ];
        for (name, story, expected) in cases {
            assert_eq!(story.happened, expected, "{name}");
        }
    }

    #[test]
    fn one_press_is_one_opening_and_a_stuck_button_is_none() {
        let (mut button, zero) = (ExitButton::default(), Instant::now());
        let mut presses = 0;
        let mut read = |ms: std::ops::Range<u64>, is_pressed| {
            for ms in ms.step_by(10) {
                presses += u32::from(button.read(is_pressed, zero + Duration::from_millis(ms)));
            }
            presses
        };
        assert_eq!(read(0..10_000, true), 0);
        assert_eq!(read(10_000..10_100, false), 0);
        assert_eq!(read(10_100..20_000, true), 1);
        assert_eq!(read(20_000..20_020, false), 1);
        assert_eq!(read(20_020..21_000, true), 1);
    }

    proptest! {
        #[test]
        fn opened_and_closed_alternate_and_nothing_is_held_open_that_is_closed(
            readings in prop::collection::vec((1_u64..20_000, any::<bool>(), any::<bool>()), 0..300),
        ) {
            let (mut contact, mut now) = (Contact::new(HELD_OPEN), Instant::now());
            let mut is_open: Option<bool> = None;
            for (pause_ms, open, released) in readings {
                now += Duration::from_millis(pause_ms);
                let inputs = Inputs { is_open: Some(open), ..Inputs::default() };
                let event = contact.read(inputs, Around { is_released: released, ..LOCKED }, now);
                match event {
                    Some(DoorEvent::Opened | DoorEvent::Forced) => prop_assert_eq!(is_open, Some(false)),
                    Some(DoorEvent::Closed) => prop_assert_eq!(is_open, Some(true)),
                    Some(DoorEvent::HeldOpen) => prop_assert_eq!(contact.is_open(), Some(true)),
                    _ => {}
                }
                is_open = contact.is_open();
                prop_assert!(contact.due().is_none_or(|at| at > now));
            }
        }
    }
}
