//! What the lights and the buzzer do: patterns as data, played by the time.
//!
//! The red light says that the door is locked down or that its lock is not kept. It never answers a person: who was not
//! recognised hears two soft tones and sees no light.

use std::time::{Duration, Instant};

use super::Signal;

/// Which of them are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lights {
    /// Come in.
    pub green: bool,
    /// Locked down, or a fault.
    pub red: bool,
    /// The tone.
    pub buzzer: bool,
}

struct Step {
    green: bool,
    buzzer: bool,
    ms: u64,
}

const fn step(green: bool, buzzer: bool, ms: u64) -> Step {
    Step { green, buzzer, ms }
}

const WELCOME: &[Step] = &[step(true, true, 120), step(true, false, 2_880)];
/// A tone that is too short to be loud.
const USE_ANOTHER: &[Step] = &[step(false, true, 60), step(false, false, 140), step(false, true, 60)];
const ALARM: &[Step] = &[step(false, true, 500), step(false, false, 500)];

fn pattern(signal: Signal) -> &'static [Step] {
    match signal {
        Signal::Welcome => WELCOME,
        Signal::UseAnother => USE_ANOTHER,
        Signal::Alarm => ALARM,
    }
}

/// Plays the last signal that it was given, the alarm again and again until it is ended. A signal that comes during the
/// alarm is played once over it.
#[derive(Debug, Default)]
pub struct Player {
    once: Option<(Signal, Instant)>,
    alarm: Option<Instant>,
    is_red: bool,
}

impl Player {
    /// Begins a signal.
    pub fn play(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::Alarm => self.alarm = self.alarm.or(Some(now)),
            _ => self.once = Some((signal, now)),
        }
    }

    /// Ends the alarm.
    pub fn end_alarm(&mut self) {
        self.alarm = None;
    }

    /// The red light.
    pub fn set_red(&mut self, is_on: bool) {
        self.is_red = is_on;
    }

    /// What is on, and when that changes next.
    pub fn lights(&self, now: Instant) -> (Lights, Option<Instant>) {
        let once = self.once.and_then(|(signal, began)| at(pattern(signal), began, now));
        let alarm = || {
            let began = self.alarm?;
            let round = Duration::from_millis(ALARM.iter().map(|step| step.ms).sum());
            let rounds = u32::try_from((now - began).as_millis() / round.as_millis()).unwrap_or(u32::MAX);
            at(ALARM, began + round * rounds, now)
        };
        let dark = Lights { red: self.is_red, ..Lights::default() };
        match once.or_else(alarm) {
            Some((step, until)) => (Lights { green: step.green, buzzer: step.buzzer, ..dark }, Some(until)),
            None => (dark, None),
        }
    }
}

/// The step of a pattern that began at `began`, and its end; none once the pattern is over.
fn at(pattern: &'static [Step], began: Instant, now: Instant) -> Option<(&'static Step, Instant)> {
    let mut until = began;
    pattern.iter().find_map(|step| {
        until += Duration::from_millis(step.ms);
        (now < until).then_some((step, until))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All changes within 10 s of what is on: milliseconds, green, red, buzzer.
    fn played(player: &Player, zero: Instant) -> Vec<(u64, bool, bool, bool)> {
        let mut seen: Vec<(u64, bool, bool, bool)> = Vec::new();
        for ms in 0..10_000 {
            let (lights, _) = player.lights(zero + Duration::from_millis(ms));
            let now = (lights.green, lights.red, lights.buzzer);
            if seen.last().is_none_or(|last| (last.1, last.2, last.3) != now) {
                seen.push((ms, now.0, now.1, now.2));
            }
        }
        seen
    }

    #[test]
    fn a_welcome_is_green_with_one_short_tone() {
        let (mut player, zero) = (Player::default(), Instant::now());
        player.play(Signal::Welcome, zero);
        assert_eq!(
            played(&player, zero),
            [(0, true, false, true), (120, true, false, false), (3_000, false, false, false)]
        );
    }

    #[test]
    fn who_is_not_recognised_hears_two_soft_tones_and_sees_no_light() {
        let (mut player, zero) = (Player::default(), Instant::now());
        player.play(Signal::UseAnother, zero);
        let seen = played(&player, zero);
        assert_eq!(seen.iter().filter(|step| step.3).count(), 2);
        assert!(seen.iter().all(|step| !step.1 && !step.2), "{seen:?}");
        let sounding: u64 = seen.windows(2).filter(|pair| pair[0].3).map(|pair| pair[1].0 - pair[0].0).sum();
        assert!(sounding <= 200, "{sounding} ms");
    }

    #[test]
    fn an_alarm_goes_on_until_it_is_ended_and_a_welcome_is_heard_over_it() {
        let (mut player, zero) = (Player::default(), Instant::now());
        player.play(Signal::Alarm, zero);
        assert_eq!(played(&player, zero).iter().filter(|step| step.3).count(), 10);
        // A second one does not begin it anew.
        player.play(Signal::Alarm, zero + Duration::from_millis(400));
        assert!(!player.lights(zero + Duration::from_millis(600)).0.buzzer);
        player.play(Signal::Welcome, zero + Duration::from_millis(600));
        assert!(player.lights(zero + Duration::from_millis(700)).0.green);
        player.end_alarm();
        assert_eq!(player.lights(zero + Duration::from_secs(5)), (Lights::default(), None));
    }

    #[test]
    fn red_is_for_the_door_and_never_for_a_person() {
        let (mut player, zero) = (Player::default(), Instant::now());
        for signal in [Signal::Welcome, Signal::UseAnother, Signal::Alarm] {
            player.play(signal, zero);
            assert!(played(&player, zero).iter().all(|step| !step.2), "{signal:?}");
        }
        player.set_red(true);
        assert!(played(&player, zero).iter().all(|step| step.2));
    }
}
