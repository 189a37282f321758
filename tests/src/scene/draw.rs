//! Puts people, photographs and badges on the canvas.

use super::canvas::{Canvas, Part};
use super::head;
use super::people::{People, Who};
use super::texture::Texture;
use super::{HEIGHT, WIDTH};

/// The camera's focal length in pixels: 56 degrees across.
const FOCAL_PX: f32 = 600.0;

/// Somebody, or something, before the camera.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// Middle between the eyes, or of the badge, in pixels.
    pub at: [f32; 2],
    /// Between the eyes, or a quarter of the badge's width, in pixels.
    pub eyes_px: f32,
    /// What.
    pub form: Form,
}

/// See [`Actor`].
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Head and shoulders as in the portrait.
    Person(Who),
    /// The same with the head turned by so many degrees, positive to the picture's right.
    Head(Who, f32),
    /// A print of the portrait, turned about the vertical by so many degrees.
    Print(Who, f32),
    /// The QR badge, turned likewise.
    Badge(f32),
}

/// Draws one.
pub fn draw(canvas: &mut Canvas, people: &People, badge: &Texture, actor: &Actor) {
    match actor.form {
        Form::Person(who) => person(canvas, people, actor, who),
        Form::Head(who, yaw_deg) => {
            person(canvas, people, actor, who);
            head::draw(canvas, people, actor, who, yaw_deg);
        }
        Form::Print(who, yaw_deg) => card(canvas, actor, yaw_deg, |u, v, eyes_px| {
            let is_print = u.abs() < 1.9 && (-1.9..2.9).contains(&v);
            let is_paper = u.abs() < 2.05 && (-2.05..3.05).contains(&v);
            match is_print.then(|| people.at(who, u, v, eyes_px)).flatten() {
                None if is_paper => Some([0.85; 3]),
                seen => seen,
            }
        }),
        Form::Badge(yaw_deg) => card(canvas, actor, yaw_deg, |u, v, eyes_px| {
            let side = badge.width() as f32;
            badge.at((u / 4.0 + 0.5) * side, (v / 4.0 + 0.5) * side, side / (4.0 * eyes_px))
        }),
    }
}

/// Head and shoulders, with soft edges.
fn person(canvas: &mut Canvas, people: &People, actor: &Actor, who: Who) {
    let ([x, y], size) = (actor.at, actor.eyes_px);
    let outline = people.outline(who);
    let part = Part::clipped(x - 4.0 * size, y - outline.top * size - size, x + 4.0 * size, HEIGHT as f32);
    canvas.paint(part, |px, py| {
        let (u, v) = ((px - x) / size, (py - y) / size);
        let cover = head_cover(u, v, outline.half_width, outline.top).max(body_cover(u, v));
        (cover > 0.0).then(|| Some((people.at(who, u, v, size)?, cover))).flatten()
    });
}

/// How much of a point belongs to the head, 0 to 1.
fn head_cover(u: f32, v: f32, half_width: f32, top: f32) -> f32 {
    let height = if v < 0.0 { top } else { 2.0 };
    let distance = (u / half_width).hypot(v / height);
    ((1.04 - distance) / 0.08).clamp(0.0, 1.0)
}

/// How much of a point belongs to neck and shoulders, 0 to 1.
fn body_cover(u: f32, v: f32) -> f32 {
    let neck = ((0.85 - u.abs()) / 0.1).clamp(0.0, 1.0) * ((v - 1.0) / 0.2).clamp(0.0, 1.0);
    let shoulder =
        ((v - 2.0 - 0.16 * u * u) / 0.15).clamp(0.0, 1.0) * ((2.9 - u.abs()) / 0.15).clamp(0.0, 1.0);
    neck.max(shoulder)
}

/// A flat thing, in perspective: `seen` gives its light at a point in inter-ocular widths from its middle.
fn card(canvas: &mut Canvas, actor: &Actor, yaw_deg: f32, seen: impl Fn(f32, f32, f32) -> Option<[f32; 3]>) {
    let (sin, cos) = yaw_deg.to_radians().sin_cos();
    let distance = FOCAL_PX / actor.eyes_px;
    let ray = |x: f32, y: f32| [(x - WIDTH as f32 / 2.0) / FOCAL_PX, (y - HEIGHT as f32 / 2.0) / FOCAL_PX];
    let [cx, cy] = ray(actor.at[0], actor.at[1]).map(|tangent| tangent * distance);
    canvas.paint(Part::clipped(0.0, 0.0, WIDTH as f32, HEIGHT as f32), |x, y| {
        // Where the ray meets the plane through the middle with the normal (-sin, 0, cos).
        let [rx, ry] = ray(x, y);
        let depth = (distance * cos - cx * sin) / (cos - rx * sin);
        let (px, pz) = (rx * depth - cx, depth - distance);
        let (u, v) = (px * cos + pz * sin, ry * depth - cy);
        (u.abs() < 4.0 && v.abs() < 5.0).then(|| Some((seen(u, v, FOCAL_PX / depth)?, 1.0))).flatten()
    });
}
