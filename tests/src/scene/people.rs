//! Who is in the scenes: the demonstration's portraits, each laid out by its eyes, and two people who do not exist,
//! made of two of the portraits.
//!
//! Points of a face are told from the middle between the eyes, in inter-ocular widths: `u` along the eyes to the
//! right, `v` down. The eyes' places were measured once by `edge-agent detect`.

use rollcall_vision::decode::decode;

use super::texture::Texture;
use crate::pictures;

/// The portrait of whom scenes call the first enrolled person. Not one of the two that the demonstration enrols.
pub const FIRST: &str = "obama3.jpg";
/// The portrait of the second enrolled person.
pub const SECOND: &str = "astronaut.png";
/// The portrait of whoever is not enrolled.
pub const STRANGER: &str = "biden.jpg";

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// [`FIRST`].
    First,
    /// Another portrait of the same person, from the front: what can be held up as a photograph, and turned as a head.
    FirstFrontal,
    /// [`SECOND`].
    Second,
    /// [`STRANGER`].
    Stranger,
    /// Nobody: the features of the stranger with some of the second person's.
    Made,
    /// Nobody: the same with less of them, mirrored, in a narrower face.
    MadeOther,
}

/// The portraits, ready to be drawn.
pub struct People {
    first: Portrait,
    frontal: Portrait,
    second: Portrait,
    stranger: Portrait,
}

/// How much room the hair takes beside and above the eyes, in inter-ocular widths.
#[derive(Clone, Copy)]
pub struct Outline {
    /// Half the head's width with its hair.
    pub half_width: f32,
    /// From the eyes to the top.
    pub top: f32,
}

struct Portrait {
    texture: Texture,
    /// Left and right eye in pixels of the picture.
    eyes: [[f32; 2]; 2],
    outline: Outline,
}

impl People {
    /// Reads the portraits.
    pub fn read() -> Self {
        let portrait = |name, eyes, half_width, top| {
            let picture = decode(&pictures::portrait(name)).expect("a bundled portrait decodes");
            Portrait { texture: Texture::new(&picture), eyes, outline: Outline { half_width, top } }
        };
        Self {
            first: portrait(FIRST, [[736.6, 385.0], [859.9, 400.8]], 1.35, 1.75),
            frontal: portrait("obama.jpg", [[445.0, 213.0], [550.6, 212.0]], 1.4, 1.95),
            second: portrait(SECOND, [[205.4, 101.5], [246.9, 103.1]], 1.8, 2.2),
            stranger: portrait(STRANGER, [[534.7, 319.0], [655.6, 344.8]], 1.5, 1.9),
        }
    }

    /// The light at a point of somebody's face, drawn so that the eyes are `eyes_px` apart.
    pub fn at(&self, who: Who, u: f32, v: f32, eyes_px: f32) -> Option<[f32; 3]> {
        let mix = |a: [f32; 3], b: [f32; 3], part: f32| [0, 1, 2].map(|at| a[at] + (b[at] - a[at]) * part);
        match who {
            Who::First => self.first.at(u, v, eyes_px),
            Who::FirstFrontal => self.frontal.at(u, v, eyes_px),
            Who::Second => self.second.at(u, v, eyes_px),
            Who::Stranger => self.stranger.at(u, v, eyes_px),
            Who::Made => Some(mix(self.stranger.at(u, v, eyes_px)?, self.second.at(u, v, eyes_px)?, 0.18)),
            Who::MadeOther => {
                let (u, v) = (-1.12 * u, 0.94 * v);
                Some(mix(self.stranger.at(u, v, eyes_px)?, self.second.at(u, v, eyes_px)?, 0.12))
            }
        }
    }

    /// The outline of somebody's head.
    pub fn outline(&self, who: Who) -> Outline {
        match who {
            Who::First => self.first.outline,
            Who::FirstFrontal => self.frontal.outline,
            Who::Second => self.second.outline,
            Who::Stranger | Who::Made | Who::MadeOther => self.stranger.outline,
        }
    }
}

impl Portrait {
    fn at(&self, u: f32, v: f32, eyes_px: f32) -> Option<[f32; 3]> {
        let [[x0, y0], [x1, y1]] = self.eyes;
        let (across, down) = (x1 - x0, y1 - y0);
        let x = (x0 + x1) / 2.0 + u * across - v * down;
        let y = (y0 + y1) / 2.0 + u * down + v * across;
        self.texture.at(x, y, across.hypot(down) / eyes_px)
    }
}
