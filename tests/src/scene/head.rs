//! A head that can be turned: an ellipsoid with a nose, as a height over the portrait's plane, in inter-ocular widths.
//!
//! A head's half axes are about 76 mm across, 120 mm up and 95 mm to the front, its eyes 63 mm apart and its nose some
//! 20 mm before the ellipsoid; turning moves what stands out further, which a flat print cannot imitate. What the
//! turn uncovers beside the portrait's edge is filled with the edge's own colours: ear and hair, roughly.

use super::canvas::Canvas;
use super::draw::Actor;
use super::people::{People, Who};
use super::{HEIGHT, WIDTH};

const HALF_ACROSS: f32 = 1.2;
const HALF_UP: f32 = 1.85;
const HALF_FRONT: f32 = 1.5;

/// The nose's height over the ellipsoid at its tip, where the tip is below the eyes, and how far it spreads.
const NOSE: f32 = 0.36;
const NOSE_TIP_DOWN: f32 = 0.58;
const NOSE_SPREAD: [f32; 2] = [0.2, 0.34];

/// Points of a row are computed so many times as close as its pixels.
const OVERSAMPLING: f32 = 3.0;

/// Draws the head turned by `yaw_deg`, positive to the picture's right, over the person.
pub fn draw(canvas: &mut Canvas, people: &People, actor: &Actor, who: Who, yaw_deg: f32) {
    let ([x, y], size) = (actor.at, actor.eyes_px);
    let (sin, cos) = yaw_deg.to_radians().sin_cos();
    // The turn is about the head's middle axis; the eyes stay where they are in the middle.
    let eyes_at = HALF_FRONT * (1.0 - (0.5 / HALF_ACROSS).powi(2)).sqrt() * sin;
    let (top, bottom) = ((y - HALF_UP * size).max(0.0) as usize, ((y + HALF_UP * size) as usize).min(HEIGHT));
    let mut row = vec![Nearest::default(); WIDTH];
    for py in top..bottom {
        row.fill(Nearest::default());
        let v = (py as f32 - y) / size;
        trace_row(v, sin, cos, size, |across, depth, u| {
            let px = x + (across - eyes_at * 0.5) * size;
            if (0.0..WIDTH as f32 - 0.5).contains(&px) {
                row[px.round() as usize].offer(depth, u);
            }
        });
        for (px, nearest) in row.iter().enumerate() {
            if let Some(light) = nearest.u.and_then(|u| people.at(who, u, v, size)) {
                canvas.cover(px, py, light, 1.0);
            }
        }
    }
}

/// The surface point next to the camera on a pixel.
#[derive(Clone, Copy, Default)]
struct Nearest {
    depth: f32,
    u: Option<f32>,
}

impl Nearest {
    fn offer(&mut self, depth: f32, u: f32) {
        if self.u.is_none() || depth > self.depth {
            *self = Self { depth, u: Some(u) };
        }
    }
}

/// The points of one height of the turned head: how far across, how far to the front, and where on the portrait.
fn trace_row(v: f32, sin: f32, cos: f32, size: f32, mut point: impl FnMut(f32, f32, f32)) {
    let half = HALF_ACROSS * (1.0 - (v / HALF_UP).powi(2)).max(0.0).sqrt();
    let front = HALF_FRONT * half / HALF_ACROSS;
    let steps = (HALF_FRONT * 8.0 * size * OVERSAMPLING) as usize;
    for step in 0..steps {
        // Round the whole ellipse, from the left edge over the front to the right edge and back behind.
        let angle = step as f32 / steps as f32 * std::f32::consts::TAU;
        let (side, ahead) = (-angle.cos() * half, angle.sin() * front);
        let is_front = ahead >= 0.0;
        let height = ahead + if is_front { nose(side, v) } else { 0.0 };
        let across = side * cos + height * sin;
        let depth = height * cos - side * sin;
        // The edge is seen at a grazing angle in the portrait: colours of what lies behind come from beside it.
        let edge = half * 0.93;
        point(across, depth, if is_front { side.clamp(-edge, edge) } else { edge.copysign(side) });
    }
}

/// How much the nose stands out at a point.
fn nose(u: f32, v: f32) -> f32 {
    let down = (v - NOSE_TIP_DOWN) / if v < NOSE_TIP_DOWN { NOSE_SPREAD[1] } else { NOSE_SPREAD[0] };
    NOSE * (-(u / NOSE_SPREAD[0]).powi(2) - down * down).exp()
}
