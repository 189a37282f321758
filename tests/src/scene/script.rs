//! What happens in each scene: who is where at which second. Pure.

use super::draw::{Actor, Form};
use super::lens::{Behind, Moment};
use super::people::Who;
use super::{HEIGHT, Scene, WIDTH};

/// In [`Scene::Frozen`] the camera sends nothing new from this second on.
pub const FREEZES_AT_S: f32 = 0.6;

/// In [`Scene::HeadLeft`] and [`Scene::HeadRight`] the head turns from this second on.
pub const TURNS_AT_S: f32 = 2.0;

/// How long a scene lasts.
pub fn seconds(scene: Scene) -> f32 {
    match scene {
        Scene::WalkUp | Scene::Stranger | Scene::Dark => 6.0,
        Scene::Crossing | Scene::Passages | Scene::Portraits => 8.0,
        Scene::Blurred | Scene::PasserBy => 3.0,
        Scene::Overexposed | Scene::Black | Scene::Covered => 5.0,
        Scene::Frozen | Scene::Badge | Scene::Nobody | Scene::Photograph => 6.0,
        Scene::HeadLeft | Scene::HeadRight | Scene::Five => 5.0,
    }
}

/// What is before the camera at a second.
pub fn moment(scene: Scene, at: f32) -> Moment {
    let room = |actors| Moment { actors, behind: Behind::Room, exposure: 1.0, shutter: 0.0 };
    match scene {
        Scene::WalkUp => room(vec![comes_and_goes(Form::Person(Who::First), at)]),
        Scene::Stranger => room(vec![comes_and_goes(Form::Person(Who::Stranger), at)]),
        Scene::Dark => Moment { exposure: 0.1, ..room(vec![comes_and_goes(Form::Person(Who::First), at)]) },
        Scene::Crossing => room(crossing(at)),
        Scene::Blurred => Moment { shutter: 1.0, ..room(vec![runs(at)]) },
        Scene::Overexposed => {
            let person = stands(Form::Person(Who::First), [320.0, 200.0], 52.0, at);
            Moment { exposure: 10.0, ..room(vec![person]) }
        }
        Scene::Black => Moment { exposure: 0.0, ..room(Vec::new()) },
        Scene::Covered => {
            Moment { behind: Behind::Hand, exposure: 1.0 + 0.05 * (at * 2.0).sin(), ..room(Vec::new()) }
        }
        Scene::Frozen => {
            let from_the_side = -120.0 + 440.0 * eased(at, 0.4, 0.7);
            room(vec![stands(Form::Person(Who::First), [from_the_side, 200.0], 52.0, at)])
        }
        Scene::Nobody => Moment { exposure: 1.0 + 0.08 * (at * 0.9).sin(), ..room(Vec::new()) },
        Scene::Photograph => {
            let print = Form::Print(Who::FirstFrontal, 40.0 * (at * std::f32::consts::TAU / 3.0).sin());
            room(vec![stands(print, [320.0, 210.0], 56.0, at)])
        }
        Scene::HeadLeft => room(vec![turns(-TURN_DEG, at)]),
        Scene::HeadRight => room(vec![turns(TURN_DEG, at)]),
        Scene::Five => room(five(at)),
        Scene::PasserBy => {
            let into_view = 130.0 * (1.0 - (at - 1.5).abs() / 1.5);
            let head = Form::Head(Who::FirstFrontal, 55.0);
            room(vec![Actor { at: [690.0 - into_view, 190.0], eyes_px: 34.0 + 4.0 * at, form: head }])
        }
        Scene::Badge => room(badge(at)),
        Scene::Passages => room(passages(at)),
        Scene::Portraits => room(vec![sits(at)]),
    }
}

/// From 0 before `start` to 1 after `end`, smoothly.
fn eased(at: f32, start: f32, end: f32) -> f32 {
    let part = ((at - start) / (end - start)).clamp(0.0, 1.0);
    part * part * (3.0 - 2.0 * part)
}

/// Nobody stands quite still.
fn stands(form: Form, at: [f32; 2], eyes_px: f32, seconds: f32) -> Actor {
    let sway = [3.0 * (seconds * 2.1).sin(), 1.5 * (seconds * 3.3).sin()];
    Actor {
        at: [at[0] + sway[0], at[1] + sway[1]],
        eyes_px: eyes_px * (1.0 + 0.01 * (seconds * 1.7).sin()),
        form,
    }
}

/// Comes from afar in two seconds and a half, stands for two, and is out of the picture at five and a half.
fn comes_and_goes(form: Form, at: f32) -> Actor {
    let (near, away) = (eased(at, 0.0, 2.5), eased(at, 4.5, 5.5));
    let x = 420.0 - 100.0 * near - 520.0 * away;
    stands(form, [x, 170.0 + 30.0 * near], 14.0 + 40.0 * near, at)
}

/// The one in front goes from left to right, the one behind from right to left.
fn crossing(at: f32) -> Vec<Actor> {
    let across = |from: f32, first: f32, second: f32, to: f32| {
        let come = eased(at, 0.0, 1.2);
        let cross = eased(at, 3.2, 4.6);
        let go = eased(at, 6.6, 7.8);
        from + (first - from) * come + (second - first) * cross + (to - second) * go
    };
    let front = Form::Person(Who::First);
    let behind = Form::Person(Who::Second);
    vec![
        stands(behind, [across(760.0, 470.0, 170.0, -120.0), 180.0], 40.0, at + 1.0),
        stands(front, [across(-120.0, 170.0, 470.0, 760.0), 215.0], 50.0, at),
    ]
}

/// From one side to the other in less than a second, three times.
fn runs(at: f32) -> Actor {
    let x = -150.0 + 950.0 * at.fract();
    Actor { at: [x, 200.0], eyes_px: 50.0, form: Form::Person(Who::First) }
}

/// Looks ahead, to a side for a second, and ahead again.
fn turns(to_deg: f32, at: f32) -> Actor {
    let part = eased(at, TURNS_AT_S, TURNS_AT_S + 1.0) - eased(at, TURNS_AT_S + 2.0, TURNS_AT_S + 3.0);
    stands(Form::Head(Who::FirstFrontal, to_deg * part), [320.0, 200.0], 56.0, at)
}

/// Ahead for two seconds and a half, to each side for a second and a half, and ahead.
fn sits(at: f32) -> Actor {
    let right = eased(at, 2.5, 3.0) - eased(at, 4.5, 5.0);
    let left = eased(at, 5.0, 5.5) - eased(at, 7.0, 7.5);
    let head = Form::Head(Who::FirstFrontal, SITS_DEG * (right - left));
    stands(head, [320.0, 200.0], 56.0, at)
}

/// How far the head is turned: enough to be asked for, and not more than a template may be.
const SITS_DEG: f32 = 16.0;

/// How far the head is turned: the nose then stands beyond 0.3 inter-ocular widths.
const TURN_DEG: f32 = 37.0;

fn five(at: f32) -> Vec<Actor> {
    let who = [Who::Made, Who::MadeOther, Who::Stranger, Who::Second, Who::First];
    let places = [[250.0, 120.0], [400.0, 125.0], [90.0, 210.0], [560.0, 205.0], [325.0, 240.0]];
    let sizes = [27.0, 26.0, 33.0, 31.0, 36.0];
    let all = who.into_iter().zip(places).zip(sizes).enumerate();
    all.map(|(number, ((who, place), size))| stands(Form::Person(who), place, size, at + number as f32))
        .collect()
}

/// Held up from below, for four seconds, by somebody whose face is small.
fn badge(at: f32) -> Vec<Actor> {
    let held = eased(at, 0.5, 1.2) - eased(at, 5.0, 5.7);
    let middle = [300.0, HEIGHT as f32 + 130.0 - 290.0 * held];
    vec![
        stands(Form::Person(Who::Stranger), [430.0, 110.0], 15.0, at),
        stands(Form::Badge(8.0 * (at * 1.3).sin()), middle, 60.0, at),
    ]
}

/// Each comes from the left, stops, and goes on to the right; two of each in a scene.
fn passages(at: f32) -> Vec<Actor> {
    let turn = (at / 2.0) as usize;
    let within = at % 2.0;
    let x = -110.0 + (WIDTH as f32 / 2.0 + 110.0) * (eased(within, 0.0, 0.4) + eased(within, 1.6, 2.0));
    let (who, size) = if turn.is_multiple_of(2) { (Who::First, 52.0) } else { (Who::Second, 46.0) };
    vec![stands(Form::Person(who), [x, 200.0], size, at)]
}
